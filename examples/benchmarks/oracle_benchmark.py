"""What a generator could be worth at best: parts of it known from all samples.

    python examples/benchmarks/oracle_benchmark.py --data FOLDER

FOLDER holds cifar100_lt_vit_tiny.npz, the long tail, and cifar100_rest_vit_tiny.npz,
the samples that it leaves out. An oracle knows both: 500 samples of each class. Means
or covariances of the generator come from the long tail or from the oracle. No figure is
a result: it says how much a better estimate of one part could gain.
"""

import copy
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from skcvae.datasets import load_embeddings
from skcvae.generators import ClassGaussian
from skcvae.long_tail import LongTailClassifier
from skcvae.metrics import shot_accuracy_score

GROUPS = ("overall", "many", "medium", "few")
SEEDS = (0, 1, 2)
NO_GENERATOR = {"augment": None}
ONLY_GENERATED = {"augment": "always", "sampling": "balanced"}


class RealSamples(BaseEstimator):
    """Generator that draws real samples of a class: a perfect one."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.X_ = X
        self.members_ = [np.flatnonzero(y == label) for label in self.classes_]
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        rng = check_random_state(random_state)
        y = rng.choice(self.classes_, n_samples) if y is None else np.asarray(y)
        codes = np.searchsorted(self.classes_, y)
        sizes = np.array([len(members) for members in self.members_])
        drawn = (rng.random_sample(len(y)) * sizes[codes]).astype(int)
        chosen = [self.members_[code][i] for code, i in zip(codes, drawn, strict=True)]
        return self.X_[chosen], y


def with_means_of(generator, other):
    """Return a copy of a Gaussian generator with the class means of another."""
    means = other.offset_ + other.class_means_ * other.scale_
    factor = np.divide(
        1, generator.scale_, out=np.zeros_like(means[0]), where=generator.scale_ > 0
    )
    changed = copy.deepcopy(generator)
    changed.class_means_ = (means - generator.offset_) * factor
    return changed


def contenders(tail, everything):
    """Return pairs of a generator and parameters of the classifier, by name.

    All but the default are fitted, and used as they are. The default is fitted anew
    where the closed form holds samples out, as it would else have seen them.
    """
    tied = ClassGaussian().fit(*tail)
    full = ClassGaussian(covariance_type="full", mean_shrinkage=0).fit(*everything)
    true_means = FrozenEstimator(with_means_of(tied, full))
    real = FrozenEstimator(RealSamples().fit(*everything))
    return {
        "no generator": (None, NO_GENERATOR),
        "tied covariance, shrunk means: the default": (ClassGaussian(), {}),
        "true class covariances, shrunk means": (
            FrozenEstimator(with_means_of(full, tied)),
            {},
        ),
        "tied covariance, true means": (true_means, {}),
        "true class covariances, true means": (FrozenEstimator(full), {}),
        "real samples": (real, {}),
        "tied covariance, true means, generated only": (true_means, ONLY_GENERATED),
        "real samples, generated only": (real, ONLY_GENERATED),
    }


def score(cifar, generator, solver, seed, params):
    """Return the accuracies of GROUPS on the test samples, in percent."""
    classifier = LongTailClassifier(
        generator, solver=solver, device="cpu", random_state=seed, **params
    ).fit(cifar.X_train, cifar.y_train)
    predicted = classifier.predict(cifar.X_test)
    scores = shot_accuracy_score(cifar.y_test, predicted, y_train=cifar.y_train)
    return [100 * scores[group] for group in GROUPS]


def main(data: Annotated[Path, typer.Option(help="Folder of the embeddings.")]):
    """Print accuracies by SGD, the mean of three seeds, and by the closed form."""
    torch.set_num_threads(1)
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    rest = load_embeddings(data / "cifar100_rest_vit_tiny.npz")
    tail = cifar.X_train, cifar.y_train
    everything = np.concatenate([tail[0], rest.X]), np.append(tail[1], rest.y)
    print("| generator | solver | " + " | ".join(GROUPS) + " |")
    print("|---" * (len(GROUPS) + 2) + "|")
    with threadpool_limits(1):
        for name, (generator, params) in contenders(tail, everything).items():
            solvers = {"SGD": ("sgd", SEEDS)}
            # The closed form takes a Gaussian with one covariance, or none.
            if "class covariances" not in name and "real" not in name:
                solvers["closed form"] = ("closed_form", SEEDS[:1])
            for label, (solver, seeds) in solvers.items():
                scores = [score(cifar, generator, solver, s, params) for s in seeds]
                cells = [f"{mean:.2f}" for mean in np.mean(scores, axis=0)]
                print(f"| {name} | {label} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
