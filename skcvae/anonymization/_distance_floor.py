"""Keep generated rows away from the training rows."""

import numpy as np

from .._neighbors import nearest_neighbors, resolve_min_distance
from .._training import draw_seeds

_MAX_ROUNDS = 100


class DistanceFloor:
    """The training rows, and how far generated rows must stay from each of them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Training rows.

    min_distance : float or tuple
        Euclidean distance in the units of `X`, or ("quantile", q) of the distances
        of the training rows to their nearest neighbours.
    """

    def __init__(self, X, min_distance):
        self.rows = X
        self.distance = resolve_min_distance(X, min_distance)

    def redraw(self, X, y, sample, random_state):
        """Replace rows that are too close, in place, until there are none.

        Parameters
        ----------
        X, y : ndarray
            Generated rows and their labels.

        sample : callable
            Takes `y` and `random_state` and returns a row for each label.

        random_state : RandomState
            Source of the seeds.

        Returns
        -------
        n_redrawn : int
            Number of rows that were thrown away.

        Raises
        ------
        ValueError
            If rows are still too close after many rounds.
        """
        n_redrawn, open_rows = 0, np.arange(len(X))
        for _ in range(_MAX_ROUNDS):
            if not len(open_rows):
                return n_redrawn
            nearest, _ = nearest_neighbors(X[open_rows], self.rows)
            open_rows = open_rows[nearest[:, 0] < self.distance]
            n_redrawn += len(open_rows)
            if len(open_rows):
                seed = draw_seeds(random_state, 1)[0]
                X[open_rows] = sample(y=y[open_rows], random_state=seed)
        raise ValueError(
            f"{len(open_rows)} of {len(X)} rows were still closer than "
            f"{self.distance:.4g} to a training row after {_MAX_ROUNDS} draws, of the "
            f"classes {np.unique(y[open_rows])[:5].tolist()}. Lower min_distance, or "
            "raise variance."
        )
