"""Distances to the nearest record."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._extras import import_pyplot
from .._neighbors import nearest_distances
from .._record_sets import check_disjoint, check_record_sets
from ._base import COLORS, LINES, Axes, BaseDisplay, add_legend, line_defaults

_LABELS = {
    "synthetic": "generated to members",
    "holdout": "hold-out to members",
    "members": "members to other members",
}


@dataclass(kw_only=True, eq=False, repr=False)
class NearestNeighborDistanceDisplay(BaseDisplay):
    """Distances from generated samples, and from real ones, to the nearest member.

    Members are the samples that the generator was fitted on. Compare the curve of
    generated samples with that of hold-out samples, which are near to members by chance
    only. Generated samples that are nearer resemble single members too much. Copies of
    members have the distance 0, where the curves start.

    Equal distances of generated and hold-out samples do not prove privacy, because
    distances miss most of what an attacker can learn. Run
    :func:`~skcvae.privacy.privacy_audit`.

    Parameters
    ----------
    distances : dict of str to ndarray
        Euclidean or cosine distances to the nearest member of the samples "synthetic",
        "holdout" and "members"; members are compared with the other members.

    metric : str
        The metric.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        Cumulative distributions by the same names.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    See Also
    --------
    skcvae.privacy.distance_to_closest_record_share : The comparison as one number.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.inspection import NearestNeighborDistanceDisplay
    >>> X_members, X_holdout = np.random.RandomState(0).randn(2, 100, 5)
    >>> display = NearestNeighborDistanceDisplay.from_data(
    ...     X_members + 0.01, X_members, X_holdout)
    >>> bool(display.distances["synthetic"].max() < 0.1)
    True
    """

    _title = "Distances to the nearest member"

    distances: dict[str, np.ndarray]
    metric: str = "euclidean"

    @classmethod
    def from_data(
        cls,
        X_synthetic: ArrayLike,
        X_members: ArrayLike,
        X_holdout: ArrayLike,
        *,
        metric: str = "euclidean",
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Find the nearest members and draw.

        Parameters
        ----------
        X_synthetic : array-like of shape (n_synthetic, n_features)
            Generated samples.

        X_members : array-like of shape (n_members, n_features)
            Samples that the generator was fitted on.

        X_holdout : array-like of shape (n_holdout, n_features)
            Samples of the same distribution that it was not fitted on. If the data have
            groups, such as patients, they must be of other groups.

        metric : {"euclidean", "cosine"}, default="euclidean"
            Distance, see :func:`~skcvae.metrics.nearest_neighbors`.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for all curves.

        Returns
        -------
        display : NearestNeighborDistanceDisplay
            The display.

        Raises
        ------
        ValueError
            If members and hold-out share a sample, or numbers of features differ.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        S, M, H = check_record_sets(
            X_synthetic=X_synthetic, X_members=X_members, X_holdout=X_holdout
        ).values()
        check_disjoint(X_members=M, X_holdout=H)
        distances = {
            "synthetic": nearest_distances(S, M, metric=metric),
            "holdout": nearest_distances(H, M, metric=metric),
            "members": nearest_distances(M, M, exclude_self=True, metric=metric),
        }
        return cls(distances=distances, metric=metric).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        self.lines_ = {}
        for i, (name, distances) in enumerate(self.distances.items()):
            style = line_defaults(
                kwargs, color=COLORS[i], linestyle=LINES[i], label=_LABELS[name]
            )
            self.lines_[name] = ax.ecdf(distances, **style)
        # A single sample that is far away must not stretch the axis.
        farthest = max(np.quantile(found, 0.999) for found in self.distances.values())
        ax.set_xlim(0, 1.05 * farthest or 1)
        metric = self.metric.replace("euclidean", "Euclidean")
        ax.set(xlabel=f"{metric} distance", ylabel="share of samples")
        add_legend(ax)
