"""What the training options of the thesis's program are worth for our CVAE.

    python examples/benchmarks/cvae_training_options.py --data FOLDER [--seeds 3]

FOLDER holds `cifar100_lt_vit_tiny.npz`. Each option is a callback, a loader or a
sampler that users can pass to `CVAE` as it is; none of them is a parameter of it.
Columns: accuracy of logistic regression on rows that the generator balanced, overall
and of classes of fewer than 20 rows; Fréchet distance of the classes less its bias, and
of all rows extrapolated; active latent dimensions on two moons, which have two
features.
"""

import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from _common import global_scale
from imblearn.over_sampling import SMOTE
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback

from skcvae._training import TensorLoader
from skcvae.datasets import load_embeddings
from skcvae.generators import CVAE
from skcvae.metrics import (
    class_frechet_distance,
    extrapolated_frechet_distance,
    shot_accuracy_score,
)
from skcvae.over_sampling import PowerStrategy

COLUMNS = ("overall", "few", "class FD", "whole FD", "moons")
FEW = 20


class KLAnnealing(Callback):
    """Raises the weight of the KL term from 0 to its value over the first epochs."""

    def __init__(self, share=0.3):
        self.share = share

    def on_train_begin(self, net, **kwargs):
        """Remember the weight."""
        self.beta_ = net.criterion_.beta

    def on_epoch_begin(self, net, **kwargs):
        """Set the weight of this epoch."""
        done = len(net.history) - 1
        net.criterion_.beta = self.beta_ * min(
            1, done / max(self.share * net.max_epochs, 1)
        )


class BalancedLoader(TensorLoader):
    """Draws rows with weight n_c^-0.5, so that tail classes count more in the loss."""

    def __iter__(self):
        x, y = self.dataset.x, self.dataset.y
        weights = torch.bincount(y).float().rsqrt()[y]
        rows = torch.multinomial(weights, len(y), replacement=True)
        for batch in rows.split(self.batch_size):
            yield {"x": x[batch], "y": y[batch]}, x[batch]


class NoisyTailLoader(TensorLoader):
    """Adds noise to the encoder's input of classes of few rows, not to its target."""

    def __iter__(self):
        sizes = torch.bincount(self.dataset.y)
        for batch, x in super().__iter__():
            std = 0.3 * (sizes[batch["y"]] < FEW).float()[:, None] * x.std()
            yield {**batch, "x": x + std * torch.randn_like(x)}, x


class MixupLoader(TensorLoader):
    """Mixes each row with another of its class in the batch, where there is one."""

    def __iter__(self):
        for batch, x in super().__iter__():
            y = batch["y"]
            order = torch.argsort(y + torch.rand(len(y), device=y.device))
            partner = order.clone()
            same = y[order][1:] == y[order][:-1]
            partner[:-1][same] = order[1:][same]
            mixed = x.clone()
            share = torch.rand(len(x), 1, device=x.device)
            mixed[order] = share * x[order] + (1 - share) * x[partner]
            yield {"x": mixed, "y": y}, mixed


def smote_first(X, y, seed):
    """Return the rows with SMOTE's, by the square root of the class sizes."""
    sampler = SMOTE(
        sampling_strategy=PowerStrategy(0.5), k_neighbors=4, random_state=seed
    )
    return sampler.fit_resample(X, y)


OPTIONS = {
    "default": {},
    "no clipping": {"net_params": {"callbacks__gradient_clipping": None}},
    "KL annealing": {"net_params": {"callbacks": [("annealing", KLAnnealing())]}},
    "beta 0.1": {"beta": 0.1},
    "beta 0.5": {"beta": 0.5},
    "class weights": {"net_params": {"iterator_train": BalancedLoader}},
    "noise on tail inputs": {"net_params": {"iterator_train": NoisyTailLoader}},
    "mixup within classes": {"net_params": {"iterator_train": MixupLoader}},
    "SMOTE first": {},
}


def make_cvae(name, seed):
    """Return the CVAE of an option."""
    return CVAE(device="cpu", random_state=seed, **OPTIONS[name])


def measure(name, data, seed):
    """Return the metrics of an option."""
    X, y, X_test, y_test = data
    rows = smote_first(X, y, seed) if name == "SMOTE first" else (X, y)
    cvae = make_cvae(name, seed).fit(*rows)
    sizes = np.bincount(y)
    missing = np.repeat(np.arange(len(sizes)), sizes.max() - sizes)
    X_new, y_new = cvae.sample(y=missing)
    head = LogisticRegression(C=0.01, max_iter=100)
    head.fit(np.concatenate([X, X_new]), np.concatenate([y, y_new]))
    scores = shot_accuracy_score(y_test, head.predict(X_test), y_train=y)
    X_new, y_new = cvae.sample(y=y_test)
    frechet = class_frechet_distance(
        X_test,
        X_new,
        y_real=y_test,
        y_synthetic=y_new,
        n_permutations=3,
        random_state=0,
    )
    whole = extrapolated_frechet_distance(X_test, X_new, random_state=0)
    moons = make_moons(500, noise=0.1, random_state=seed)
    return [
        100 * scores.overall,
        100 * scores.few,
        frechet.mean - frechet.mean_bias,
        whole.distance,
        make_cvae(name, seed).fit(*moons).n_active_dims_,
    ]


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Options to run.")] = None,
):
    """Measure all options, and print means and standard deviations over seeds."""
    warnings.simplefilter("ignore")
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    X, X_test = global_scale(cifar.X_train, cifar.X_test)
    split = X, cifar.y_train, X_test, cifar.y_test
    print(f"{'':22}" + "".join(f"{name:>16}" for name in COLUMNS))
    for name in only or OPTIONS:
        rows = np.array([measure(name, split, seed) for seed in range(seeds)])
        cells = zip(rows.mean(axis=0), rows.std(axis=0), strict=True)
        line = "".join(f"{m:9.2f} ± {s:4.2f}" for m, s in cells)
        print(f"{name:22}{line}", flush=True)


if __name__ == "__main__":
    typer.run(main)
