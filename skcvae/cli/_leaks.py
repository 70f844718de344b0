"""Samples that are in two splits or twice in one set, equal or nearly so."""

from itertools import combinations
from typing import Any

import numpy as np

from .._files import printable

# Part of the usual distance of neighbours within which images are nearly equal.
_NEAR = 0.1
# Relative rounding error of embeddings that are computed in batches of other sizes.
_ROUNDING = 1e-4


def describe_leaks(splits: dict[str, tuple[np.ndarray, Any]]) -> list[str]:
    """Return a line for each two splits that share equal or nearly equal images.

    `splits` holds embeddings and images (paths or arrays of pixels) by the name of the
    split. Of each image of a split, the nearest one of another split counts. Two images
    are equal if their pixels are, and nearly equal if their embeddings are nearer than
    a tenth of the median distance between neighbours of the first split.
    """
    lines = []
    for (first, (X, images)), (second, (Z, others)) in combinations(splits.items(), 2):
        pairs, limit = _near_pairs(X, Z)
        if not len(pairs):
            continue
        same = [_same_pixels(images[i], others[j]) for i, j in pairs]
        example = others[pairs[int(np.argmax(same))][1]]
        where = f", such as {printable(example)}" if isinstance(example, str) else ""
        lines.append(
            f"Images of {second} that are also in {first}: {sum(same)}; that are "
            f"nearly equal to one of {first}: {len(same) - sum(same)} (nearer than "
            f"{limit:.2g}, a tenth of the usual distance of neighbours){where}. Leave "
            "them out of one split, because they make scores too high."
        )
    return lines


def describe_copies(X: np.ndarray) -> tuple[str, ...]:
    """Return a sentence about samples of one set that are equal or nearly so, or none.

    Two samples are nearly equal if they are nearer than a tenth of the median distance
    between neighbours. Cross-validation puts such samples into both parts.
    """
    from .._neighbors import nearest_neighbors

    if len(X) < 3:
        return ()
    own, _ = nearest_neighbors(X, X, exclude_self=True)
    n_equal, n_near = np.sum(own == 0), np.sum(own.ravel() < _limit(X, own))
    if not n_near:
        return ()
    return (
        f"{n_near} samples have an equal or nearly equal one ({n_equal} and "
        f"{n_near - n_equal}). In the training and in the test part, they flatter "
        "every method: keep one of each.",
    )


def _limit(X, own):
    """Return the distance below which samples are nearly equal."""
    return max(_NEAR * np.median(own), _ROUNDING * np.linalg.norm(X, axis=1).max())


def _near_pairs(X, Z):
    """Return indices of near samples, shape (n, 2), one for each near one of Z."""
    from .._neighbors import nearest_neighbors

    known, new = (np.flatnonzero(np.isfinite(rows).all(axis=1)) for rows in (X, Z))
    if len(known) < 2 or not len(new):
        return np.empty((0, 2), dtype=int), 0.0
    X, Z = X[known], Z[new]
    own, _ = nearest_neighbors(X, X, exclude_self=True)
    limit = _limit(X, own)
    distances, indices = nearest_neighbors(Z, X)
    near = np.flatnonzero(distances.ravel() < limit)
    return np.column_stack([known[indices.ravel()[near]], new[near]]), limit


def _same_pixels(first, second):
    """Tell whether two images, which have been read before, have the same pixels."""
    first, second = (_pixels(image) for image in (first, second))
    return first.shape == second.shape and bool((first == second).all())


def _pixels(image):
    from PIL import Image, ImageOps

    if isinstance(image, np.ndarray):
        return image
    with Image.open(image) as opened:
        return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
