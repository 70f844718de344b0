"""What neighbours and a quadratic head add to LongTailClassifier, by a log-linear pool.

    python examples/benchmarks/fusion_benchmark.py --data FOLDER [--only PART ...]

Parts: ``original`` and ``new`` (long tails of CIFAR-100: that of the data set, and
three drawn anew from all of its 50,000 training samples with the classes in another
order), ``cifar10``, ``mvtec`` (three halves), ``clinc``, and ``memory`` (500,000
synthetic training samples of 192 features, 10,000 queries). Weights and temperatures
are chosen on training samples alone. Intervals are of paired differences from the
classifier alone: over the splits of a part that has several, else over test samples.
"""

import resource
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import joblib
import numpy as np
import typer
from _common import half_widths, read_mvtec
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import gen_batches

from skcvae.datasets import load_embeddings
from skcvae.long_tail import (
    KernelNeighborsClassifier,
    LogLinearPool,
    LongTailClassifier,
    ShrunkQuadraticDiscriminant,
)
from skcvae.metrics import expected_calibration_error, shot_accuracy_score

SEEDS = (0, 1, 2)
# Classes of at most so many training samples are small.
SMALL = 20
COLUMNS = ("overall", "balanced", "many", "medium", "few", "small", "NLL", "ECE")


class Cached(ClassifierMixin, BaseEstimator):
    """Classifier for a uniform target that is trained once for the same samples."""

    def __init__(self, estimator, memory, target_prior="uniform"):
        self.estimator = estimator
        self.memory = memory
        self.target_prior = target_prior

    def fit(self, X, y):
        self.fitted_ = self.memory.cache(fit)(self.estimator, X, y)
        self.classes_ = self.fitted_.classes_
        self.target_prior_ = self.fitted_.target_prior_
        return self

    def predict_proba(self, X):
        return self.fitted_.predict_proba(X)


def fit(estimator, X, y):
    """Fit: a function of its own, which joblib can cache."""
    return estimator.fit(X, y)


def new_tail(data, seed):
    """Return a long tail of CIFAR-100 with the classes in another order."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    rest = load_embeddings(data / "cifar100_rest_vit_tiny.npz")
    X, y = np.concatenate([cifar.X_train, rest.X]), np.append(cifar.y_train, rest.y)
    rng = np.random.RandomState(seed)
    drawn = [
        rng.choice(np.flatnonzero(y == c), int(500 * 0.01 ** (rank / 99)), False)
        for rank, c in enumerate(rng.permutation(100))
    ]
    chosen = np.concatenate(drawn)
    return SimpleNamespace(
        X_train=X[chosen], y_train=y[chosen], X_test=cifar.X_test, y_test=cifar.y_test
    )


def mvtec_half(data, seed):
    """Return two halves of 30 classes of photos."""
    X, y = read_mvtec(data)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    return SimpleNamespace(X_train=X, y_train=y, X_test=X_test, y_test=y_test)


def splits_of(part, data):
    """Return the training and test samples of each split of a part."""
    if part == "new":
        return [new_tail(data, seed) for seed in SEEDS]
    if part == "mvtec":
        return [mvtec_half(data, seed) for seed in SEEDS]
    name = {
        "original": "cifar100_lt_vit_tiny.npz",
        "cifar10": "cifar10_lt_vit_tiny.npz",
        "clinc": "clinc150_lt_minilm.npz",
    }[part]
    return [load_embeddings(data / name)]


def pools(memory):
    """Return the unfitted pools by name; the first is the classifier alone."""
    members = [
        ("classifier", Cached(LongTailClassifier(random_state=0), memory)),
        ("neighbors", Cached(KernelNeighborsClassifier(), memory)),
        ("near", Cached(KernelNeighborsClassifier(temperature="half"), memory)),
        ("quadratic", Cached(ShrunkQuadraticDiscriminant(), memory)),
    ]
    alone = LogLinearPool(members[:1], weights=[1], temperature=1.0)
    return {
        "classifier": alone,
        "+ neighbours": LogLinearPool(members[:3]),
        "+ quadratic": LogLinearPool([members[0], members[3]]),
        "+ both": LogLinearPool(members),
    }


def score(split, pool):
    """Return the measures of COLUMNS on the test samples, and what is right."""
    y, y_test = split.y_train, split.y_test
    pool.fit(split.X_train, y)
    proba = pool.predict_proba(split.X_test)
    predicted = pool.classes_[proba.argmax(axis=1)]
    right = predicted == y_test
    codes = np.searchsorted(pool.classes_, y_test)
    count = np.bincount(codes, minlength=len(pool.classes_))
    recall = np.bincount(codes, right, len(count)) / np.where(count, count, 1)
    groups = shot_accuracy_score(y_test, predicted, y_train=y)
    # NLL and calibration are for a uniform target, accuracy as it comes.
    weight = 1 / count[codes]
    weight /= weight.mean()
    nll = -weight @ np.log(proba[np.arange(len(codes)), codes]) / len(codes)
    error = expected_calibration_error(
        y_test, proba, labels=pool.classes_, sample_weight=weight
    )
    small = recall[(pool.class_count_ <= SMALL) & (count > 0)]
    accuracies = [
        right.mean(),
        recall[count > 0].mean(),
        *(groups[name] for name in ("many", "medium", "few")),
        small.mean() if len(small) else np.nan,
    ]
    return [*(100 * np.array(accuracies)), nll, error], 100 * right


def run_part(part, data, cache):
    """Print the table of a part."""
    splits = splits_of(part, data)
    print(f"\n{part}: {len(splits)} split(s), seeds {SEEDS[: len(splits)]}\n")
    print("| | " + " | ".join(COLUMNS) + " | difference | weights, T, o |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    found = {}
    for i, split in enumerate(splits):
        for name, pool in pools(joblib.Memory(cache, verbose=0)).items():
            found[name, i] = (*score(split, pool), pool)
    for name in dict.fromkeys(name for name, _ in found):
        print_row(name, [found[name, i] for i in range(len(splits))], found)


def print_row(name, results, found):
    """Print the means of a pool and its paired difference."""
    means = np.mean([measures for measures, _, _ in results], axis=0)
    cells = [f"{m:.2f}" for m in means[:6]] + [f"{m:.3f}" for m in means[6:]]
    gains = [
        right - found["classifier", i][1] for i, (_, right, _) in enumerate(results)
    ]
    # Test sets of all splits of a part have the same size.
    over = gains[0] if len(gains) == 1 else np.mean(gains, axis=1)
    change = f"{np.mean(gains):+.2f} ± {half_widths(np.asarray(over)):.2f}"
    chosen = "; ".join(
        f"{np.round(pool.weights_, 2).tolist()}, {pool.temperature_:.2f}, "
        f"{pool.rarity_exponent_:.2f}"
        for _, _, pool in results
    )
    print(f"| {name} | " + " | ".join(cells) + f" | {change} | {chosen} |", flush=True)


def memory_of_neighbors():
    """Print the peak memory and the time of a large training set."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((1000, 192), dtype=np.float32)
    y = rng.integers(1000, size=500_000)
    X = rng.standard_normal((500_000, 192), dtype=np.float32)
    for block in gen_batches(len(X), 50_000):
        X[block] += means[y[block]]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    classifier = KernelNeighborsClassifier().fit(X, y)
    fitted = time.perf_counter()
    classifier.predict(X[:10_000])
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\nmemory: peak {peak:.2f} GiB, of which {before:.2f} GiB with the samples "
        f"before; fit {fitted - start:.0f} s, 10,000 queries {end - fitted:.0f} s"
    )


PARTS = ("original", "new", "cifar10", "mvtec", "clinc", "memory")


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for fitted ones.")] = None,
):
    """Run the parts that are asked for, or all."""
    with tempfile.TemporaryDirectory() as folder:
        for part in only or PARTS:
            if part == "memory":
                memory_of_neighbors()
            else:
                run_part(part, data, cache or folder)


if __name__ == "__main__":
    typer.run(main)
