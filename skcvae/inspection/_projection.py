"""Real and generated samples in the plane."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import check_scalar, column_or_1d

from .._extras import import_pyplot
from .._record_sets import check_record_sets
from ._base import (
    COLORS,
    Axes,
    BaseDisplay,
    add_legend_beside,
    all_labels,
    check_classes,
    line_defaults,
    principal_plane,
    shorten,
    spread_by_size,
    thin,
)

_MARKERS = {"real": "o", "synthetic": "x"}
_LABELS = {"real": "real", "synthetic": "generated"}


@dataclass(kw_only=True, eq=False, repr=False)
class ProjectionDisplay(BaseDisplay):
    """Real and generated samples of some classes, projected to two dimensions.

    The projection is fitted on the real samples of these classes and applied to the
    generated ones, so differences in other directions are not visible. If the generated
    samples form a smaller or larger cloud than the real ones, or lie in a gap between
    two clouds, try another `variance` or a longer training. Samples that agree here may
    still differ: see :class:`NearestNeighborDistanceDisplay`, too.

    Parameters
    ----------
    real, synthetic : dict of label to ndarray of shape (n_points, 2)
        Points of each class.

    axis_labels : tuple of str
        Labels of the two axes.

    Attributes
    ----------
    lines_ : dict of (str, label) to matplotlib Line2D
        Points by "real" or "synthetic" and class.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skcvae.generators import ClassGaussian
    >>> from skcvae.inspection import ProjectionDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X_new, y_new = ClassGaussian(random_state=0).fit(X, y).sample(y=[0, 0, 1])
    >>> display = ProjectionDisplay.from_data(X, y, X_new, y_new, classes=[0, 1])
    >>> display.real[0].shape, display.synthetic[0].shape
    ((50, 2), (2, 2))
    """

    _title = "Real and generated samples"

    real: dict[Any, np.ndarray]
    synthetic: dict[Any, np.ndarray]
    axis_labels: tuple[str, str]

    @classmethod
    def from_data(
        cls,
        X_real: ArrayLike,
        y_real: ArrayLike,
        X_synthetic: ArrayLike,
        y_synthetic: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        transformer: Any = None,
        max_points: int = 10_000,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Project and draw samples.

        Parameters
        ----------
        X_real : array-like of shape (n_real, n_features)
            Real samples.

        y_real : array-like of shape (n_real,)
            Their classes.

        X_synthetic : array-like of shape (n_synthetic, n_features)
            Generated samples.

        y_synthetic : array-like of shape (n_synthetic,)
            Their classes.

        classes : array-like of shape (n_classes,), default=None
            Classes to draw, at most 7, the number of colours. None draws at most 5
            classes, spread evenly from the largest to the smallest.

        transformer : object, default=None
            Transformer with two outputs. It is cloned and fitted on the real samples of
            these classes and their labels, so it may be supervised, as linear
            discriminant analysis is. None uses two principal components.

        max_points : int, default=10000
            Approximate number of points drawn. If there are more samples, points are
            left out evenly in each class.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for the points.

        Returns
        -------
        display : ProjectionDisplay
            The display.

        Raises
        ------
        ValueError
            If a class has no real samples, shapes do not fit, or the transformer does
            not return two columns.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        check_scalar(max_points, "max_points", Integral, min_val=1)
        X, S = check_record_sets(X_real=X_real, X_synthetic=X_synthetic).values()
        y = check_classes(y_real, X, "y_real")
        y_S = check_classes(y_synthetic, S, "y_synthetic")
        all_labels(y, y_S)
        shown = _check_shown(classes, y)
        kept = np.isin(y, shown)
        project, axis_labels = _fit(transformer, X[kept], y[kept])
        n_points = max(1, max_points // (2 * len(shown)))
        real, synthetic = (
            {c: project(thin(part[labels == c], n_points)) for c in shown.tolist()}
            for part, labels in ((X, y), (S, y_S))
        )
        display = cls(real=real, synthetic=synthetic, axis_labels=axis_labels)
        return display.plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        self.lines_ = {}
        for source, points_of in (("real", self.real), ("synthetic", self.synthetic)):
            for i, (label, points) in enumerate(points_of.items()):
                style = line_defaults(
                    kwargs,
                    linestyle="none",
                    marker=_MARKERS[source],
                    color=COLORS[i],
                    markersize=5,
                    markerfacecolor="none",
                    alpha=0.7,
                    label=f"{shorten(label)}, {_LABELS[source]}",
                )
                (self.lines_[source, label],) = ax.plot(*points.T, **style)
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])
        handles = [
            self.lines_[source, label]
            for label in self.real
            for source in _MARKERS
            if len(self.lines_[source, label].get_xdata())
        ]
        add_legend_beside(ax, handles=handles)


def _check_shown(classes, y_real):
    """Return the classes to draw."""
    if classes is None:
        return spread_by_size(y_real, 5)
    classes = column_or_1d(classes)
    unknown = [c for c in classes.tolist() if c not in set(y_real.tolist())]
    if unknown:
        raise ValueError(f"There are no real samples of the classes {unknown[:5]}.")
    if not 1 <= len(classes) <= len(COLORS):
        raise ValueError(
            f"{len(classes)} classes were asked for. Choose 1 to {len(COLORS)}: more "
            "colours cannot be told apart."
        )
    return classes


def _fit(transformer, X, y):
    """Return a projection to the plane, and the labels of its axes."""
    axis_labels = ("dimension 1", "dimension 2")
    if transformer is None:
        if X.shape[1] < 2 or len(X) < 2:
            raise ValueError(
                "Two principal components need two features and two real samples, got "
                f"{X.shape[1]} and {len(X)}."
            )
        transformer, shares = principal_plane(X)
        axis_labels = tuple(
            f"component {i} ({share} of variance)" for i, share in enumerate(shares, 1)
        )
    elif not hasattr(transformer, "transform"):
        raise ValueError(
            f"{type(transformer).__name__} has no `transform` to project new samples."
        )
    else:
        transformer = clone(transformer).fit(X, y)

    def project(samples):
        points = np.empty((0, 2))
        if len(samples):
            points = np.asarray(transformer.transform(samples), dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(
                f"The transformer must return two columns, got shape {points.shape}."
            )
        return points

    return project, axis_labels
