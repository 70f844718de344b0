"""Copies that were rotated, permuted, mirrored, scaled or shifted."""

import numpy as np

from .._neighbors import nearest_distances, nearest_neighbors
from ._membership import distance_ratio

# Directions of less covariance than this share of the largest are rounding errors.
_RANK_TOLERANCE = 1e-6


def aligned_copy_scores(S, M, H, R):
    r"""Return scores of members and non-members after undoing a similarity map.

    No rotation, permutation of features, mirroring, scale or shift changes the profile
    :math:`x^\top C^k x`, k = 0, ..., 4, of a centred sample, with the covariance C of
    its set, of trace 1. Each of half of the members is paired with the released sample
    of the nearest profile, and the best similarity map is fitted to these pairs
    (Procrustes). The score of each other record is minus its distance to the nearest
    mapped sample over that to the nearest reference sample. The members of the pairs
    get NaN: they would prove nothing.
    """
    # Drawn, because members may be in an order, such as that of their classes.
    chosen = np.random.RandomState(0).permutation(len(M))
    pairs, attacked = chosen[::2], chosen[1::2]
    targets = M[pairs].astype(np.float64)
    profiles, of_members = _profiles(S), _profiles(M)
    scale = of_members.std(axis=0)
    scale[scale == 0] = 1
    _, nearest = nearest_neighbors(of_members[pairs] / scale, profiles / scale)
    sources = S[nearest[:, 0]].astype(np.float64)
    map_released, map_real = _fit_similarity(sources, targets)
    released, reference = map_released(S), map_real(R)
    of_members, of_others = (
        distance_ratio(*(nearest_distances(X, rows) for rows in (released, reference)))
        for X in map(map_real, (M[attacked], H))
    )
    scores = np.full(len(M), np.nan)
    scores[attacked] = of_members
    return scores, of_others


def _profiles(X):
    """Return the logarithms of the profiles, shape (n, 5)."""
    X = X - X.mean(axis=0, dtype=np.float64)
    trace = np.square(X).sum(axis=1).mean() or 1.0
    X /= np.sqrt(trace)
    covariance = X.T @ X / len(X)
    once = X @ covariance
    twice = once @ covariance
    pairs = (X, X), (X, once), (once, once), (once, twice), (twice, twice)
    products = [np.einsum("nd,nd->n", *pair) for pair in pairs]
    return np.log(np.maximum(np.stack(products, axis=1), np.finfo(float).tiny))


def _fit_similarity(sources, targets):
    """Return maps of released and of real samples to the directions of the pairs."""
    first, second = (rows - rows.mean(axis=0) for rows in (sources, targets))
    # Of fewer pairs than features, the small factors have all singular vectors.
    (basis, small), (other_basis, other) = (np.linalg.qr(a.T) for a in (first, second))
    left, values, right = np.linalg.svd(small @ other.T)
    kept = values > _RANK_TOLERANCE * values[0]
    kept[0] = True
    left, right = basis @ left[:, kept], other_basis @ right[kept].T
    left *= values[kept].sum() / (np.square(first).sum() or 1.0)
    return (
        lambda X: (X - sources.mean(axis=0)) @ left,
        lambda X: (X - targets.mean(axis=0)) @ right,
    )
