"""What the training options of the thesis's program are worth for our CVAE.

    python examples/benchmarks/cvae_training_options.py --data FOLDER [--seeds 3]

FOLDER holds `cifar100_lt_vit_tiny.npz`. Each option goes to `CVAE` as it is: a callback
or an argument in `net_params`, or a sampler before it.
Columns: log-likelihood of the test samples (nats a sample, a lower bound; the loss of
the thesis has none); accuracy of linear discriminant analysis on rows that the
generator balanced, overall and of classes of fewer than 20 rows; epochs.
"""

import warnings
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from _common import Ledger, global_scale
from imblearn.over_sampling import SMOTE
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from skorch.callbacks import Callback
from torch import nn

from skcvae._scaling import scale_rows
from skcvae.datasets import load_embeddings
from skcvae.generators import CVAE, InputNoise, KLAnnealing, early_stopping
from skcvae.generators._cvae_net import ConditionalVAE
from skcvae.generators._held_out import hold_out, log_likelihood_bound
from skcvae.metrics import shot_accuracy_score
from skcvae.over_sampling import PowerStrategy

COLUMNS = ("likelihood", "overall", "few", "epochs")
FEW = 20


class Mixup(Callback):
    """Mixes each row of a batch with another of its class, where there is one."""

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        """Mix the rows of this batch, in place: they are copies."""
        if not training:
            return
        x, y = batch[1], batch[0]["y"]
        order = torch.argsort(y + torch.rand(len(y)))
        partner = order.clone()
        same = y[order][1:] == y[order][:-1]
        partner[:-1][same] = order[1:][same]
        x[order] = torch.lerp(x[partner], x[order], torch.rand(len(x), 1))


class CutMix(Callback):
    """Replaces a run of features by those of another row, and mixes their labels."""

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        """Mix the rows of this batch, in place, and give each shares of two classes."""
        if not training:
            return
        inputs, x = batch
        share = torch.distributions.Beta(0.9, 0.9).sample().item()
        width = round((1 - share) * x.shape[1])
        start = torch.randint(x.shape[1] - width + 1, ()).item()
        x[:, start : start + width] = x.roll(1, 0)[:, start : start + width]
        labels = nn.functional.one_hot(inputs["y"], net.module__n_classes).float()
        rest = width / x.shape[1]
        inputs["y"] = (1 - rest) * labels + rest * labels.roll(1, 0)


class SharesOfClasses(nn.Embedding):
    """Vectors of classes, or of shares of classes (n, n_classes)."""

    def forward(self, y):
        """Return the vectors, or their mean by these shares."""
        return super().forward(y) if y.ndim == 1 else y @ self.weight


class MixedVAE(ConditionalVAE):
    """The networks of the CVAE, told shares of classes."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                module.__class__ = SharesOfClasses


def smote_first(X, y, seed):
    """Return the rows with SMOTE's, by the square root of the class sizes."""
    sampler = SMOTE(
        sampling_strategy=PowerStrategy(0.5), k_neighbors=4, random_state=seed
    )
    return sampler.fit_resample(X, y)


def stop_early(X, y, seed):
    """Return rows without a fifth, and `net_params` that stop by that fifth."""
    held_out = hold_out(X, y, seed)
    net_params = early_stopping(X[held_out], y[held_out], patience=15)
    return (X[~held_out], y[~held_out]), net_params


def _callback(callback):
    return {"callbacks": [("option", callback)]}


# From class sizes to net_params, and parameters.
OPTIONS = {
    "default": (None, {}),
    "KL annealing": (lambda sizes: _callback(KLAnnealing()), {}),
    "beta 0.5": (None, {"beta": 0.5}),
    "class weights": (
        lambda sizes: {"criterion__class_weight": 1 + np.log(sizes.max() / sizes)},
        {},
    ),
    "noise on tail inputs": (
        lambda sizes: _callback(InputNoise(0.3 * (sizes < FEW))),
        {},
    ),
    "mixup within classes": (lambda sizes: _callback(Mixup()), {}),
    "CutMix": (lambda sizes: {"module": MixedVAE, **_callback(CutMix())}, {}),
    "SMOTE first": (None, {}),
    "early stopping": (None, {"max_epochs": 300, "lr": 1e-3}),
    "thesis": (None, {"objective": "reference", "beta": 0.01, "lr": 1e-3}),
    "thesis, not scaled": (
        lambda sizes: {"module__bounded": False},
        {"objective": "reference", "beta": 0.01, "lr": 1e-3},
    ),
}


def fit(name, X, y, seed):
    """Return the fitted CVAE of an option."""
    make_params, params = OPTIONS[name]
    net_params = {} if make_params is None else make_params(np.bincount(y))
    if name == "SMOTE first":
        X, y = smote_first(X, y, seed)
    if name == "early stopping":
        (X, y), net_params = stop_early(X, y, seed)
    cvae = CVAE(device="cpu", random_state=seed, net_params=net_params, **params)
    return cvae.fit(X, y)


def likelihood(cvae, X, y, seed):
    """Return the mean log-likelihood of rows, or NaN where there is none."""
    if cvae.objective == "reference":
        return np.nan
    Z = scale_rows(X, cvae.offset_, cvae.scale_)
    # The unit of a row is the same for all options: that of X.
    per_unit = np.log(cvae.scale_[cvae.scale_ > 0]).sum()
    return log_likelihood_bound(cvae, Z, y, seed).mean() - per_unit


def measure(name, data, seed):
    """Return the metrics of an option."""
    X, y, X_test, y_test = data
    y, y_test = y.astype(np.int64), y_test.astype(np.int64)
    cvae = fit(name, X, y, seed)
    sizes = np.bincount(y)
    missing = np.repeat(np.arange(len(sizes)), sizes.max() - sizes)
    X_new, y_new = cvae.sample(y=missing)
    head = LinearDiscriminantAnalysis(solver="lsqr")
    head.fit(np.concatenate([X, X_new]), np.concatenate([y, y_new]))
    scores = shot_accuracy_score(y_test, head.predict(X_test), y_train=y)
    return [
        likelihood(cvae, X_test, y_test, seed),
        100 * scores.overall,
        100 * scores.few,
        len(cvae.history_),
    ]


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Options to run.")] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="File of finished runs, to go on with.")
    ] = None,
):
    """Measure all options, and print means and standard deviations over seeds."""
    warnings.simplefilter("ignore")
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    X, X_test = global_scale(cifar.X_train, cifar.X_test)
    split = X, cifar.y_train, X_test, cifar.y_test
    names, finished = only or list(OPTIONS), Ledger(ledger)
    runs = {
        (name, seed): finished.get((name, seed), partial(measure, name, split, seed))
        for seed in range(seeds)
        for name in names
    }
    print(f"{'':22}" + "".join(f"{name:>18}" for name in COLUMNS))
    for name in names:
        rows = np.array([runs[name, seed] for seed in range(seeds)])
        cells = zip(rows.mean(axis=0), rows.std(axis=0), strict=True)
        line = "".join(f"{m:11.2f} ± {s:4.2f}" for m, s in cells)
        print(f"{name:22}{line}")


if __name__ == "__main__":
    typer.run(main)
