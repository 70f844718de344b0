"""Utility of releases against what attacks find in them, as a curve for each method.

    python examples/benchmarks/privacy_frontier.py --data FOLDER \\
        [--only curves --keep FILE --figure FILE]

FOLDER holds `mvtec_resnet18.npz` (30 classes), `cifar100_lt_vit_tiny.npz`, of which
every other one of the 60 most frequent classes is taken, and `site_pacs_vit_tiny.npz`
(7 classes). Of each class, 40 % are members, from which the release is made, 40 % are
non-members, and 20 % the reference of the attacker. Utility is the balanced accuracy,
on the non-members, of a logistic regression trained on the release for at most 50
iterations. Parts, by `--only`:

- curves: real samples, k-Same, ClassGaussian, the CVAE, and larger releases
- ablation: the parts of the CVAE, changed one by one, on CIFAR-100 and PACS

With `--keep`, each row is written to a file once it is known, and a run that was
interrupted goes on from there. The seed of a row sets its split, training and draw.
"""

import warnings
from collections.abc import Callable
from copy import copy
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _common import Ledger, global_scale, half_widths, read_mvtec
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, KSameAnonymizer
from skcvae.generators import CVAE, ClassGaussian
from skcvae.privacy import class_gaussian_attack, nearest_neighbor_attack

VARIANCES = (0.5, 1.0, 1.5)
TIMES = (3, 10)
COLUMNS = ("utility", "NN AUC", "likelihood", "means")
SHARES = (0.4, 0.8)


def load_set(data, name):
    """Return samples and classes of a data set, each different sample once."""
    if name == "mvtec":
        X, y = read_mvtec(data)
    elif name == "pacs":
        with np.load(data / "site_pacs_vit_tiny.npz") as file:
            X, y = file["X"].astype(np.float32), file["y"].astype(int)
    else:
        with np.load(data / "cifar100_lt_vit_tiny.npz") as file:
            X, y = file["X_train"].astype(np.float32), file["y_train"].astype(int)
        kept = np.isin(y, np.arange(0, 60, 2))
        X, y = X[kept], y[kept]
    first = np.sort(np.unique(X, axis=0, return_index=True)[1])
    return X[first], y[first]


def split_classes(X, y, seed):
    """Return members, non-members and reference, as pairs of samples and classes."""
    rng = np.random.RandomState(seed)
    part = np.empty(len(y), dtype=int)
    for label in np.unique(y):
        of_class = rng.permutation(np.flatnonzero(y == label))
        ends = [round(share * len(of_class)) for share in SHARES]
        for i, rows in enumerate(np.split(of_class, ends)):
            part[rows] = i
    return [(X[part == i], y[part == i]) for i in range(3)]


def measure(X, y, sets):
    """Return the utility of a release, and the AUC of three attacks on it."""
    (M, y_M), (H, y_H), (R, y_R) = sets
    scaled, test = global_scale(X, H)
    head = LogisticRegression(max_iter=50).fit(scaled, y)
    attacked = (X, y, M, y_M, H, y_H, R, y_R)
    return [
        100 * balanced_accuracy_score(y_H, head.predict(test)),
        nearest_neighbor_attack(X, M, H, R).auc.value,
        class_gaussian_attack(*attacked).auc.value,
        class_gaussian_attack(*attacked, score="class_means").auc.value,
    ]


def real(sets, seed):
    """Return the members themselves."""
    return {"real samples": lambda: sets[0]}


def k_same(k):
    """Return a method that publishes means of k samples."""

    def releases(sets, seed):
        anonymizer = KSameAnonymizer(k, small_classes="merge")
        return {f"k-Same {k}": lambda: (anonymizer.fit_transform(*sets[0]), sets[0][1])}

    return releases


def trained_once(make, draws):
    """Return a method that trains a generator, and draws from it in several ways.

    `draws` are functions of the fitted generator, the labels and a seed, by name.
    Nothing is trained if the ledger knows all of their rows.
    """

    def releases(sets, seed):
        fit = cache(lambda: make(seed).fit(*sets[0]))
        return {
            name: lambda draw=draw: draw(fit(), sets[0][1], seed + 1)
            for name, draw in draws.items()
        }

    return releases


def draw(fitted, y, seed, variance=None, times=1, change=None):
    """Draw some samples for each label, from a generator or a changed copy of it."""
    source = fitted if change is None else change(fitted)
    labels = np.tile(y, times)
    return source.sample(y=labels, variance=variance, random_state=seed)


def curve(name, make, times=()):
    """Return a method that draws by variance and by number of samples."""
    draws = {f"{name}, variance {v}": partial(draw, variance=v) for v in VARIANCES}
    for n in times:
        draws[f"{name}, {n} times the samples"] = partial(draw, times=n)
    return trained_once(make, draws)


def gaussian(covariance_type):
    """Return the function that makes an anonymizer by a Gaussian of each class."""

    def make(seed):
        generator = ClassGaussian(covariance_type=covariance_type)
        return GenerativeAnonymizer(generator, random_state=seed)

    return make


def anonymizing_cvae(seed):
    """Return the anonymizer by a CVAE, at its defaults."""
    return CVAEAnonymizer(device="cpu", random_state=seed)


CURVES = [
    real,
    *(k_same(k) for k in (2, 5, 10, 20)),
    curve("ClassGaussian", gaussian("tied"), TIMES),
    curve("ClassGaussian, full", gaussian("full")),
    curve("CVAE", anonymizing_cvae, TIMES),
]


def with_tied_latents(generator):
    """Return a CVAE whose classes share the covariance of their latents."""
    prior = copy(generator.latent_prior_)
    factor = prior.factor.astype(np.float64)
    weight = generator.class_count_ / generator.class_count_.sum()
    covariance = np.einsum("c,cij,ckj->ik", weight, factor, factor)
    prior.factor = np.broadcast_to(np.linalg.cholesky(covariance), factor.shape)
    changed = copy(generator)
    changed.latent_prior_ = prior
    return changed


def with_params(**params):
    """Return a function that sets parameters of sampling in a copy of a CVAE."""
    return lambda generator: copy(generator).set_params(**params)


def cvae(**params):
    """Return the function that makes a CVAE, by default 512 wide."""
    return lambda seed: CVAE(device="cpu", random_state=seed, **params)


def trained_with(name, **params):
    """Return a method that trains a CVAE with other parameters, and draws once."""
    return trained_once(cvae(**params), {name: draw})


SAMPLING_PARTS = {
    "CVAE(), of width 512": draw,
    "classes share the covariance of latents": partial(draw, change=with_tied_latents),
    "prior='standard'": partial(draw, change=with_params(prior="standard")),
    "noise=None": partial(draw, change=with_params(noise=None)),
}
ABLATION = [
    trained_once(cvae(), SAMPLING_PARTS),
    trained_with("latent_dim=8", latent_dim=8),
    trained_with("beta=2", beta=2.0),
    trained_with("max_epochs=10", max_epochs=10),
    trained_with("hidden_dim=64", hidden_dim=64),
    trained_with("hidden_dim=32", hidden_dim=32),
    trained_with("hidden_dim=64, beta=2", hidden_dim=64, beta=2.0),
]

PARTS: dict[str, list[Callable]] = {"curves": CURVES, "ablation": ABLATION}
SETS = {"curves": ("cifar", "pacs", "mvtec"), "ablation": ("cifar", "pacs")}


def run(methods, sets_of_seed, name, ledger):
    """Return the rows of a data set by release, one for each seed."""
    rows: dict[str, list] = {}
    for seed, sets in enumerate(sets_of_seed):
        for method in methods:
            for label, release in method(sets, seed).items():
                key = (name, seed, label)
                row = ledger.get(key, lambda r=release, s=sets: measure(*r(), s))
                rows.setdefault(label, []).append(row)
    return {label: np.array(found) for label, found in rows.items()}


def print_rows(name, sets, rows):
    """Print means over the seeds, and how far their intervals reach."""
    size, n_classes = len(sets[0][1]), len(np.unique(sets[0][1]))
    n_seeds = len(next(iter(rows.values())))
    print(f"\n{name}: {size:,} members of {n_classes} classes, {n_seeds} seeds\n")
    print(f"{'':40}" + "".join(f"{column:>14}" for column in COLUMNS))
    for label, found in rows.items():
        means, widths = found.mean(axis=0), half_widths(found)
        cells = f"{means[0]:8.1f} ±{widths[0]:4.1f}"
        for mean, width in zip(means[1:], widths[1:], strict=True):
            cells += f"  {mean:.3f} ±{width:.3f}"
        print(f"{label:40}{cells}", flush=True)


def plot(curves, path):
    """Draw utility against the AUC of nearest neighbours, a panel for each data set."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(curves), figsize=(4 * len(curves), 3.6), layout="constrained"
    )
    for ax, (name, rows) in zip(np.atleast_1d(axes), curves.items(), strict=True):
        for family in ("k-Same", "ClassGaussian, v", "ClassGaussian, full, v", "CVAE"):
            points = [r.mean(axis=0) for n, r in rows.items() if n.startswith(family)]
            utility, auc = np.array(points)[: 4 if family == "k-Same" else 3, :2].T
            ax.plot(auc, utility, "o-", label=family.removesuffix(", v"))
        ax.axhline(
            rows["real samples"].mean(axis=0)[0], color="0.6", ls=":", label="real"
        )
        # k-Same begins near an AUC of 1, and all others end below 0.65.
        ax.set(title=name, xlabel="AUC of the nearest-neighbour attack")
        ax.set_xlim(0.495, 0.7)
    np.atleast_1d(axes)[0].set_ylabel("balanced accuracy (%)")
    np.atleast_1d(axes)[-1].legend()
    figure.savefig(path)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    keep: Annotated[Path | None, typer.Option(help="File of known rows.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Image of the curves.")] = None,
):
    """Run the parts in turn."""
    warnings.simplefilter("ignore")
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(PARTS)}.")
    ledger, curves = Ledger(keep), {}
    for part in only or PARTS:
        for name in SETS[part]:
            X, y = load_set(data, name)
            splits = [split_classes(X, y, seed) for seed in range(seeds)]
            rows = run(PARTS[part], splits, name, ledger)
            print_rows(f"{part}, {name}", splits[0], rows)
            if part == "curves":
                curves[name] = rows
    if figure is not None and curves:
        plot(curves, figure)


if __name__ == "__main__":
    typer.run(main)
