"""The smallest distance that new rows may have to given ones, as users state it."""

from numbers import Real

import numpy as np

from ._nearest import nearest_neighbors


def check_min_distance(min_distance):
    """Refuse what is neither None, a distance, nor ("quantile", q)."""
    if min_distance is None or (
        isinstance(min_distance, Real)
        and not isinstance(min_distance, bool)
        and min_distance >= 0
    ):
        return
    if (
        isinstance(min_distance, tuple)
        and len(min_distance) == 2
        and min_distance[0] == "quantile"
        and isinstance(min_distance[1], Real)
        and 0 <= min_distance[1] <= 1
    ):
        return
    raise ValueError(
        "min_distance must be None, a distance of at least 0, or ('quantile', q) with "
        f"q in [0, 1], got {min_distance!r}."
    )


def resolve_min_distance(X, min_distance):
    """Return the distance in the units of X.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Training rows.

    min_distance : float or tuple
        Euclidean distance in the units of `X`, or ("quantile", q) of the distances
        of the training rows to their nearest neighbours.

    Returns
    -------
    distance : float
        The distance.
    """
    if not isinstance(min_distance, tuple):
        return min_distance
    nearest, _ = nearest_neighbors(X, X, exclude_self=True)
    return float(np.quantile(nearest, min_distance[1]))
