"""Small experiments on results of the thesis that do not come out here.

    python examples/thesis/contradictions.py --data FOLDER --cache CACHE

FOLDER holds cifar100_lt_vit_tiny.npz, cifar100_rest_vit_tiny.npz,
cifar10_lt_vit_tiny.npz, clinc150_lt_minilm.npz and mvtec_resnet18.npz. CACHE keeps the
trained CVAEs; with that of run_all.py, none is trained twice. The page "The sources and
this library" quotes what is printed here.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import _thesis
import numpy as np
import typer
from _figures import balanced_samples
from _methods import LOSSES
from _thesis import PASSES, Setup, algorithm_1, load, thesis_head
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from skcvae.generators import CVAE, ClassGaussian
from skcvae.long_tail import LongTailClassifier
from skcvae.metrics import (
    class_frechet_distance,
    class_nearest_neighbor_coverage,
    shot_accuracy_score,
)

# What the thesis calls variance is a standard deviation.
DEVIATIONS = (0.25, 0.5, 0.75, 1, 2, 3)
EPOCHS = 100
KINDS = ("small", "large")
CIFAR_100, CIFAR_10 = "CIFAR-100-LT", "CIFAR-10-LT"
CLINC, MVTEC = "CLINC150-LT", "MVTec, 30 classes"
FILES = {
    CIFAR_100: "cifar100_lt_vit_tiny.npz",
    CIFAR_10: "cifar10_lt_vit_tiny.npz",
    CLINC: "clinc150_lt_minilm.npz",
}


@dataclass(frozen=True)
class Laboratory:
    """Data, trained CVAEs and the number of heads that a result is the mean of."""

    folder: Path
    cache: Path
    seeds: int

    @cache  # noqa: B019  it lives as long as the script
    def data(self, name):
        """Return training and test samples."""
        if name in FILES:
            return load(self.folder / FILES[name])
        with np.load(self.folder / "mvtec_resnet18.npz") as file:
            X, y = file["X"].astype(np.float32), 2 * file["y"] + file["anomaly"]
        split = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
        return Bunch(
            **dict(zip(("X_train", "X_test", "y_train", "y_test"), split, strict=True))
        )

    @cache  # noqa: B019
    def balanced(self):
        """Return the samples of CIFAR-100 that its long-tailed set is cut from."""
        path = self.folder / "cifar100_rest_vit_tiny.npz"
        return balanced_samples(self.data(CIFAR_100), path)

    def fit(self, generator, name):
        """Return a generator, fitted to the training samples of a data set."""
        return self.fit_samples(generator, self.data(name))

    def fit_samples(self, generator, data):
        """Return a generator, fitted to `X_train` and `y_train`, or loaded."""
        return Setup(data, EPOCHS, self.seeds, self.cache).fit(generator)

    def accuracy(self, name, head, generator=None):
        """Return the means over heads of the accuracies, in percent, by group."""
        data = self.data(name)
        scores = []
        for seed in range(self.seeds):
            source = None if generator is None else FrozenEstimator(generator)
            model = LongTailClassifier(
                source,
                solver="sgd",
                random_state=seed,
                **{"max_epochs": PASSES, **head},
            ).fit(data.X_train, data.y_train)
            scores.append(
                shot_accuracy_score(
                    data.y_test, model.predict(data.X_test), y_train=data.y_train
                )
            )
        return {group: 100 * np.mean([s[group] for s in scores]) for group in scores[0]}


def thesis_cvae(architecture="small", epochs=EPOCHS, **params):
    """Return the thesis's CVAE with given epochs, and whatever else differs."""
    return _thesis.thesis_cvae(architecture, 1, epochs).set_params(**params)


def large_cvae(lab):
    """Return the large net of the thesis with the best variance of its table 4."""
    return lab.fit(thesis_cvae("large", 500, variance=0.5625), CIFAR_100)


def distances(generator, data):
    """Return the mean Fréchet distance to the test samples for each deviation."""
    found = []
    for deviation in DEVIATIONS:
        X, y = generator.sample(
            y=data.y_test, variance=float(deviation**2), random_state=0
        )
        result = class_frechet_distance(
            data.X_test, X, y_real=data.y_test, y_synthetic=y
        )
        found.append(result.mean)
    return found


def show(name, values, digits=2):
    """Print a row."""
    cells = "".join(f"{value:13.{digits}f}" for value in values)
    print(f"{name:44}{cells}", flush=True)


def head_row(name, *groups):
    """Print the names of columns."""
    print(f"{name:44}" + "".join(f"{group:>13}" for group in groups))


def width(generator, data):
    """Return the variance within classes, relative to that of the test samples."""
    X, y = generator.sample(y=data.y_test, variance=1.0, random_state=0)

    def within(X):
        classes = np.unique(y)
        return np.mean([X[y == label].var(axis=0).sum() for label in classes])

    return within(X) / within(data.X_test)


def architecture(lab):
    """Tables 4 and 7, figure 9: is the large net better than the small one?"""
    runs = [(CIFAR_100, kind, epochs) for epochs in (20, 500) for kind in KINDS]
    runs += [(name, kind, EPOCHS) for name in (CLINC, MVTEC) for kind in KINDS]
    columns = ("softmax .75", "softmax 1", "cl.-bal. .75", "cl.-bal. 1", "width")
    head_row("", *columns, *(f"FD {d}" for d in DEVIATIONS))
    for name, kind, epochs in runs:
        generator, data = lab.fit(thesis_cvae(kind, epochs), name), lab.data(name)
        scores = []
        for loss in ("softmax", "class-balanced softmax"):
            head = algorithm_1(**LOSSES[loss])
            for deviation in (0.75, 1.0):
                generator.set_params(variance=deviation**2)
                scores.append(lab.accuracy(name, head, generator)["overall"])
        cells = [*scores, width(generator, data), *distances(generator, data)]
        show(f"{name}, {kind}, {epochs} epochs", cells)


def class_means(X, y):
    """Return the means of the classes."""
    return np.array([X[y == label].mean(axis=0) for label in np.unique(y)])


def means(lab):
    """Figure 9: does the large net miss the means of the classes?"""
    runs = [(CIFAR_100, kind, epochs) for epochs in (20, 500) for kind in KINDS]
    runs += [(name, kind, EPOCHS) for name in (CLINC, MVTEC) for kind in KINDS]
    head_row("squared distance", "all", "many", "few", "ours: all", "many", "few")
    for name, kind, epochs in runs:
        data = lab.data(name)
        classes, counts = np.unique(data.y_train, return_counts=True)
        cells = []
        for unfitted in (thesis_cvae(kind, epochs), CVAE(random_state=0)):
            generator = lab.fit(unfitted, name)
            X, y = generator.sample(
                y=np.repeat(classes, 200), variance=0.0625, random_state=0
            )
            missed = class_means(X, y) - class_means(data.X_test, data.y_test)
            errors = (missed**2).sum(axis=1)
            groups = (counts > 0, counts > 100, counts < 20)
            cells += [errors[g].mean() if g.any() else np.nan for g in groups]
        show(f"{name}, {kind}, {epochs} epochs", cells)


def balanced(lab):
    """Figure 9: is a CVAE of balanced samples nearer to the test samples?"""
    X, y = lab.balanced()
    data = lab.data(CIFAR_100)
    head_row("", *(f"FD {d}" for d in DEVIATIONS))
    for name, samples, epochs in (
        ("long-tailed, 93 epochs, 3,999 steps", data, 93),
        ("balanced, 20 epochs, 3,920 steps", Bunch(X_train=X, y_train=y), 20),
    ):
        generator = lab.fit_samples(thesis_cvae(epochs=epochs), samples)
        show(name, distances(generator, data), 0)


def coverage(lab):
    """Figure 10: do generated samples cover more than reconstructions?"""
    X, y = lab.balanced()
    counts = np.bincount(lab.data(CIFAR_100).y_train)
    groups = {"many": counts > 100, "few": counts < 20}
    head_row("", *(f"{what} {g}" for g in groups for what in ("v=1", "v=4", "rec.")))
    runs = [
        ("100 latents, 500 epochs", thesis_cvae(epochs=500)),
        ("the same, large", thesis_cvae("large", 500)),
    ]
    runs += [
        (f"{n} latents, {EPOCHS} epochs", thesis_cvae(latent_dim=n))
        for n in (100, 25, 6)
    ]
    runs.append((f"beta 0.1, {EPOCHS} epochs", thesis_cvae(beta=0.1)))
    for name, unfitted in runs:
        generator = lab.fit(unfitted, CIFAR_100)
        sets = [
            generator.sample(y=y, variance=v, random_state=0)[0] for v in (1.0, 4.0)
        ]
        sets.append(generator.reconstruct(X, y))
        shares = [
            class_nearest_neighbor_coverage(X, made, y_reference=y, y=y).coverages
            for made in sets
        ]
        show(name, [s[members].mean() for members in groups.values() for s in shares])


def remix(lab):
    """Table 6: which generator beats Remix with class-balanced sampling?"""
    thesis = lab.fit(thesis_cvae(epochs=500), CIFAR_100)
    sources = {
        "thesis's CVAE, small, 500 epochs": (thesis, {}),
        "the same, aggregate prior": (thesis, {"prior": "aggregate"}),
        "the same, aggregate prior and noise": (
            thesis,
            {"prior": "aggregate", "noise": "residual"},
        ),
        "thesis's CVAE, large, 500 epochs": (large_cvae(lab), {}),
        "CVAE, our defaults": (lab.fit(CVAE(random_state=0), CIFAR_100), {}),
        "ClassGaussian": (lab.fit(ClassGaussian(random_state=0), CIFAR_100), {}),
    }
    head_row("", "overall", "few", "Remix", "few")
    groups = ("overall", "few")
    cells = []
    for mixed in (False, True):
        found = lab.accuracy(CIFAR_100, thesis_head(sampling="balanced", remix=mixed))
        cells += [found[group] for group in groups]
    show("class-balanced sampling", cells)
    for name, (generator, params) in sources.items():
        generator.set_params(**params)
        cells = []
        for mixed in (False, True):
            found = lab.accuracy(CIFAR_100, algorithm_1(remix=mixed), generator)
            cells += [found[group] for group in groups]
        show(name, cells)


def losses(lab):
    """Tables 7 and 8: what does a loss that knows the prior do to balanced batches?"""
    soft_weights = {"loss": "class_balanced", "loss_params": {"beta": 0.9}}
    chosen = {
        name: LOSSES[name]
        for name in ("softmax", "class-balanced softmax", "equalization")
    }
    chosen["class-balanced softmax, beta 0.9"] = soft_weights
    sources = {
        (CIFAR_100, "large, 500 epochs"): large_cvae(lab),
        (CIFAR_100, "small, 500 epochs"): lab.fit(thesis_cvae(epochs=500), CIFAR_100),
    }
    for name, epochs in ((CIFAR_10, 500), (CLINC, EPOCHS), (MVTEC, EPOCHS)):
        generator = lab.fit(thesis_cvae(epochs=epochs), name)
        sources[name, f"small, {epochs} epochs"] = generator
    for (data, which), generator in sources.items():
        head_row(
            f"{data}, {which}",
            "alone",
            "many",
            "balanced",
            "many",
            "CVAE",
            "many",
        )
        for name, loss in chosen.items():
            heads = (
                (thesis_head(**loss), None),
                (thesis_head(**loss, sampling="balanced"), None),
                (algorithm_1(**loss), generator),
            )
            found = [lab.accuracy(data, *head) for head in heads]
            show(name, [f[group] for f in found for group in ("overall", "many")])


def ldam(lab):
    """Tables 7 and 8: LDAM with and without a normalised head."""
    heads = {"softmax": LOSSES["softmax"]}
    for scale in (1.0, 5.0, 30.0):
        heads[f"LDAM, plain head times {scale:g}"] = {
            "loss": "ldam",
            "loss_params": {"scale": scale, "max_margin": 0.5},
        }
    heads["no margin, plain head times 30"] = {
        "loss": "ldam",
        "loss_params": {"scale": 30.0, "max_margin": 0.0},
    }
    heads["LDAM, normalised head times 30"] = LOSSES["LDAM (cosine head)"]
    heads["softmax, normalised head"] = {**LOSSES["softmax"], "head": "cosine"}
    for data in (CIFAR_100, CIFAR_10):
        generator = lab.fit(thesis_cvae(epochs=500), data)
        head_row(data, "alone", "CVAE")
        for name, loss in heads.items():
            found = (
                lab.accuracy(data, thesis_head(**loss)),
                lab.accuracy(data, algorithm_1(**loss), generator),
            )
            show(name, [f["overall"] for f in found])


class Stored(BaseEstimator):
    """Samples of a generator that were drawn once, `size` of each class."""

    def __init__(self, generator, size):
        self.generator = generator
        self.size = size

    def fit(self, X, y):
        """Draw the samples that are stored."""
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.unique(y)
        self.stored_ = {
            label: self.generator.sample(y=np.repeat(label, self.size), random_state=0)[
                0
            ]
            for label in self.classes_
        }
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        """Draw from what is stored, with replacement."""
        rng = np.random.default_rng(random_state)
        X = np.empty((len(y), self.n_features_in_), dtype=np.float32)
        for label, stored in self.stored_.items():
            of_class = np.asarray(y) == label
            X[of_class] = stored[rng.integers(len(stored), size=of_class.sum())]
        return X, y


def online(lab):
    """Section 3.3: fresh samples for each batch, or samples that are stored."""
    generator = lab.fit(thesis_cvae(epochs=500), CIFAR_100)
    data = lab.data(CIFAR_100)
    head_row("", "overall", "many", "medium", "few")
    sources = {"online: fresh in each batch": generator}
    for size in (500, 50, 5):
        stored = Stored(generator, size).fit(data.X_train, data.y_train)
        sources[f"offline: {size} stored of each class"] = stored
    for name, source in sources.items():
        found = lab.accuracy(CIFAR_100, algorithm_1(), source)
        show(name, [found[g] for g in ("overall", "many", "medium", "few")])


EXPERIMENTS = (remix, losses, ldam, online, coverage, balanced, architecture, means)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    cache: Annotated[
        Path, typer.Option(help="Folder that keeps trained CVAEs.")
    ] = Path("thesis_results"),
    only: Annotated[list[str] | None, typer.Option(help="Name of one.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Heads of each result.")] = 3,
):
    """Run the experiments, or those that are named."""
    lab = Laboratory(data, cache, seeds)
    known = {experiment.__name__: experiment for experiment in EXPERIMENTS}
    unknown = set(only or ()) - set(known)
    if unknown:
        raise typer.BadParameter(f"There is no {unknown}, only {list(known)}.")
    for name in only or known:
        print(f"\n{name}: {known[name].__doc__}\n")
        known[name](lab)


if __name__ == "__main__":
    typer.run(main)
