"""Real data sets, split for the benchmarks of generators."""

from dataclasses import dataclass

import numpy as np
from _common import global_scale, read_mvtec
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skcvae.datasets import load_embeddings

# Tabular sets of this size can be split, and take seconds.
MIN_MINORITY, MAX_ROWS, MAX_FEATURES = 20, 5_000, 100


@dataclass
class Split:
    """Rows to learn from, to test on, and strangers of the same classes."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    strangers: np.ndarray


def split_cifar(data, seed):
    """Return long-tailed CIFAR-100; strangers are rows that the long tail left out."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    rest = load_embeddings(data / "cifar100_rest_vit_tiny.npz")
    counts = np.bincount(cifar.y_train)
    rng = np.random.RandomState(seed)
    drawn = [
        rng.permutation(np.flatnonzero(rest.y == label))[: counts[label]]
        for label in range(len(counts))
    ]
    strangers = rest.X[np.concatenate(drawn)]
    # A few photos are in the data set twice.
    known = {row.tobytes() for row in cifar.X_train}
    strangers = strangers[[row.tobytes() not in known for row in strangers]]
    X, X_test, strangers = global_scale(cifar.X_train, cifar.X_test, strangers)
    return Split(X, cifar.y_train, X_test, cifar.y_test, strangers)


def split_mvtec(data, seed):
    """Return two halves of 30 classes of photos: to learn from, and to test on."""
    X, y = read_mvtec(data)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    X, X_test = global_scale(X, X_test)
    return Split(X, y, X_test, y_test, X_test)


def read_table(data, name):
    """Return rows and labels of a tabular set, each different row once."""
    with np.load(data / "tabular_imbalanced.npz") as file:
        X, y = file[f"{name}__X"], file[f"{name}__y"].astype(np.int64)
    _, kept = np.unique(X, axis=0, return_index=True)
    return X[np.sort(kept)], y[np.sort(kept)]


def tabular_names(data):
    """Return the names of the tabular sets that are small enough, by their number."""
    with np.load(data / "tabular_imbalanced.npz") as file:
        names = [key.removesuffix("__X") for key in file if key.endswith("__X")]

    def fits(name):
        X, y = read_table(data, name)
        # The Fréchet distance is extrapolated from fifths of the test rows, a half.
        return (
            10 * X.shape[1] < len(X) <= MAX_ROWS
            and X.shape[1] <= MAX_FEATURES
            and min(np.bincount(y)) >= MIN_MINORITY
        )

    names = [name for name in names if fits(name)]
    return sorted(names, key=lambda name: int(name.split("_")[0]))


def split_table(data, name, seed):
    """Return two halves of a tabular set; the test half are the strangers."""
    X, y = read_table(data, name)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    scaler = StandardScaler().fit(X)
    X_test = scaler.transform(X_test)
    return Split(scaler.transform(X), y, X_test, y_test, X_test)
