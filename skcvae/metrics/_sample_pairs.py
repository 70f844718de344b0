"""Samples of two sets, by class, and their squared distances in blocks."""

import numpy as np
from sklearn.utils import gen_batches

from .._record_sets import check_one_label_per_sample, check_record_sets

# Entries of one block of distances.
_BLOCK_ENTRIES = 2**23


def check_pair(first, second, min_samples=1, names=("X_real", "X_synthetic")):
    """Return both sets, finite, in one precision and with enough samples."""
    sets = check_record_sets(**dict(zip(names, (first, second), strict=True)))
    for name, rows in sets.items():
        if len(rows) < min_samples:
            raise ValueError(
                f"{name} has {len(rows)} samples, and needs at least {min_samples}."
            )
    return list(sets.values())


def split_by_class(y, rows, other_y, other_rows, names):
    """Return the classes of y, and the indices of each class in both sets."""
    y, other_y = (
        check_one_label_per_sample(labels, X, name)
        for labels, X, name in zip((y, other_y), (rows, other_rows), names, strict=True)
    )
    classes = np.unique(y)
    unknown = sorted(set(other_y.tolist()) - set(classes.tolist()), key=str)
    if unknown:
        raise ValueError(
            f"{names[1]} holds classes that {names[0]} lacks: {unknown[:5]}. Remove "
            "their samples."
        )
    return classes, [
        [np.flatnonzero(labels == label) for label in classes]
        for labels in (y, other_y)
    ]


def squared_distance_blocks(X, Y):
    """Yield slices of X, and their squared distances to all samples of Y in float64.

    They come from products of centred samples, and are off by rounding errors of at
    most about n_features * 1e-16 times the squared distance from the mean of Y.
    """
    center = Y.mean(axis=0, dtype=np.float64)
    targets = np.subtract(Y, center, dtype=np.float64)
    squares = np.einsum("ij,ij->i", targets, targets)
    for rows in gen_batches(len(X), max(1, _BLOCK_ENTRIES // len(Y))):
        queries = np.subtract(X[rows], center, dtype=np.float64)
        squared = queries @ targets.T
        squared *= -2
        squared += squares
        squared += np.einsum("ij,ij->i", queries, queries)[:, None]
        yield rows, np.maximum(squared, 0, out=squared)
