"""The attacks on released samples that an audit runs, on one release or several."""

import numpy as np

from .._neighbors import nearest_distances, nearest_neighbors
from .._record_sets import first_of_equals, is_among, scale_by
from ._audit_parts import Part, Parts
from ._class_gaussian import SCORES, fit_class_gaussians
from ._hidden_copies import aligned_copy_scores
from ._membership import distance_ratio

_SCALES = {"nearest_neighbor": "common", "nearest_by_feature": "feature"}
SAMPLE_ATTACKS = (*_SCALES, *SCORES, "aligned_copies")
# So many of the non-members are nearer to a member than a near copy may be.
_SHARE_NEAR = 0.01


class SampleAttacks:
    """Scores of members and non-members by each attack, and copies of them.

    What does not depend on the release is computed once.

    Parameters
    ----------
    parts : Parts
        Members, non-members and reference. Equal samples of a part count once.
    """

    def __init__(self, parts):
        parts = self.parts = Parts(*map(_distinct, parts))
        y = np.concatenate([parts.members.y, parts.nonmembers.y])
        self._labels, self._codes = np.unique(y, return_inverse=True)
        self._X = X = np.concatenate([parts.members.X, parts.nonmembers.X])
        self._real = {
            scale: scale_by(parts.reference.X, X, parts.reference.X, scale=scale)
            for scale in _SCALES.values()
        }
        self._to_reference = {
            scale: nearest_distances(*both) for scale, both in self._real.items()
        }
        X, R = self._real["common"]
        self._reference = fit_class_gaussians(R, parts.reference.y, self._labels)
        to_members, _ = nearest_neighbors(*self._sides(X)[::-1])
        self._near = np.quantile(to_members, _SHARE_NEAR)
        self._latest = None, None

    def score(self, name, released):
        """Return scores of members and of non-members, NaN for those left out."""
        scale = _SCALES.get(name, "common")
        X, R = self._real[scale]
        S = self._scaled(released.X, scale)
        if name in _SCALES:
            to_release = self._to_release(released, scale)
            return self._sides(distance_ratio(to_release, self._to_reference[scale]))
        if name == "aligned_copies":
            return aligned_copy_scores(S, *self._sides(X), R)
        release = fit_class_gaussians(S, released.y, self._labels)
        return self._sides(SCORES[name](release, self._reference, X, self._codes))

    def count_copies(self, released):
        """Return how many members and non-members are in a release, or nearly so."""
        exact = self._sides(is_among(self._X, released.X))
        near = self._sides(self._to_release(released, "common") < self._near)
        return {
            "exact": [int(one.sum()) for one in exact],
            "near": [int(one.sum()) for one in near],
            "sizes": [len(one) for one in exact],
        }

    def _to_release(self, released, scale):
        """Return distances to the nearest released sample."""
        if scale == "common" and self._latest[0] is released:
            return self._latest[1]
        X, _ = self._real[scale]
        distances = nearest_distances(X, self._scaled(released.X, scale))
        if scale == "common":
            # Copies of the same release are counted next.
            self._latest = released, distances
        return distances

    def _scaled(self, S, scale):
        """Return released samples in the precision and on the scale of the others."""
        R = self.parts.reference.X
        return scale_by(R, S.astype(R.dtype, copy=False), scale=scale)[0]

    def _sides(self, of_all):
        """Return what belongs to members, and what belongs to non-members."""
        n_members = len(self.parts.members.X)
        return of_all[:n_members], of_all[n_members:]


def _distinct(part):
    """Return a part without repeated samples.

    A sample on both sides of the split of an attack would find itself, and one that
    counts twice is taken for more evidence than it is.
    """
    kept = first_of_equals(part.X)
    return Part(part.X[kept], part.y[kept], None)
