"""Latent means of samples in the plane."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_scalar

from .._extras import import_pyplot
from ._base import (
    GREY,
    Axes,
    BaseDisplay,
    add_legend_beside,
    check_classes,
    fitted_generator,
    line_defaults,
    line_style,
    principal_plane,
    shorten,
    spread_by_size,
    thin,
)

# Radius of the circle that holds 95 % of a standard normal distribution in the plane.
_RADIUS = np.sqrt(-2 * np.log(0.05))


@dataclass(kw_only=True, eq=False, repr=False)
class LatentSpaceDisplay(BaseDisplay):
    """Latent means of samples, coloured by class.

    The decoder of a conditional autoencoder knows the class, so the latents need not
    contain it: the classes should overlap, around the origin. If they lie apart,
    samples drawn for one class from the latents of all classes get features of other
    classes.

    With more than two latent dimensions, their two principal components are drawn. The
    circle contains 95 % of the standard normal distribution. The means of a
    well-trained encoder spread less, because they lack the encoder's variance.

    Parameters
    ----------
    points : dict of label to ndarray of shape (n_points, 2)
        Points of each class that has a colour.

    others : ndarray of shape (n_points, 2)
        Points of all other classes, in grey.

    n_others : int
        Number of the other classes.

    axis_labels : tuple of str
        Labels of the two axes.

    Attributes
    ----------
    lines_ : dict of label to matplotlib Line2D
        Points by class.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skcvae.generators import CVAE
    >>> from skcvae.inspection import LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> cvae = CVAE(latent_dim=2, max_epochs=30, device="cpu", random_state=0).fit(X, y)
    >>> display = LatentSpaceDisplay.from_estimator(cvae, X, y)
    >>> display.points[0].shape
    (50, 2)
    """

    _title = "Latent space"

    points: dict[Any, np.ndarray]
    others: np.ndarray
    n_others: int
    axis_labels: tuple[str, str]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Encode samples and draw their latent means.

        Parameters
        ----------
        estimator : object
            Fitted :class:`~skcvae.CVAE`, or a fitted sampler or anonymizer whose
            `generator_` is one, or another object with a method `encode(X, y)`.

        X : array-like of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,)
            Their classes.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :meth:`from_data`, and of :class:`matplotlib.lines.Line2D`
            for the points.

        Returns
        -------
        display : LatentSpaceDisplay
            The display.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        Z = fitted_generator(estimator, "encode").encode(X, y)
        return cls.from_data(Z, y, ax=ax, **kwargs)

    @classmethod
    def from_data(
        cls,
        Z: ArrayLike,
        y: ArrayLike,
        *,
        max_classes: int = 10,
        max_points: int = 10_000,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw given latents, for example of another encoder.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            Latents, of at least two dimensions.

        y : array-like of shape (n_samples,)
            Classes of the samples.

        max_classes : int, default=10
            Number of classes that have a colour. If there are more, the coloured
            classes are spread evenly from the largest to the smallest, and the others
            are grey.

        max_points : int, default=10000
            Approximate number of points drawn. If there are more samples, points are
            left out evenly in each class.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for the points.

        Returns
        -------
        display : LatentSpaceDisplay
            The display.

        Raises
        ------
        ValueError
            If there is only one latent dimension, or lengths differ.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        check_scalar(max_classes, "max_classes", Integral, min_val=1)
        check_scalar(max_points, "max_points", Integral, min_val=1)
        Z = check_array(Z, dtype=np.float64, input_name="Z")
        labels = check_classes(y, Z, "y")
        plane, axis_labels = _to_plane(Z)
        shown = spread_by_size(labels, max_classes)
        hidden = ~np.isin(labels, shown)
        n_others = len(np.unique(labels[hidden]))
        n_points = max(1, max_points // (len(shown) + bool(n_others)))
        points = {c: thin(plane[labels == c], n_points) for c in shown.tolist()}
        n_drawn = sum(map(len, points.values()))
        return cls(
            points=points,
            others=thin(plane[hidden], max(1, max_points - n_drawn)),
            n_others=n_others,
            axis_labels=axis_labels,
        ).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        common = {"linestyle": "none", "markersize": 3.5, "alpha": 0.6}
        if len(self.others):
            style = line_defaults(kwargs, **common, marker=".")
            label = f"{self.n_others} other classes"
            ax.plot(*self.others.T, **{**style, "color": GREY, "label": label})
        self.lines_ = {}
        for i, (label, points) in enumerate(self.points.items()):
            style = {**line_style(i), **common, "markeredgewidth": 0}
            style = line_defaults(kwargs, **style, label=shorten(label))
            (self.lines_[label],) = ax.plot(*points.T, **style)
        angle = np.linspace(0, 2 * np.pi, 200)
        circle = _RADIUS * np.cos(angle), _RADIUS * np.sin(angle)
        ax.plot(*circle, color="black", linestyle="--", label="95 % of N(0, I)")
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])
        ax.set_aspect("equal", adjustable="datalim")
        add_legend_beside(ax, markerscale=2)


def _to_plane(Z):
    """Return latents in two dimensions, and the labels of these."""
    if Z.shape[1] < 2:
        raise ValueError(
            "The latents have one dimension, and two are needed. Draw a histogram of "
            "`encode(X, y)`, or use latent_dim=2."
        )
    if Z.shape[1] == 2:
        return Z, ("$z_1$", "$z_2$")
    pca, shares = principal_plane(Z)
    labels = (f"component {i} ({share})" for i, share in enumerate(shares, 1))
    # The latents are not centred.
    return Z @ pca.components_.T, tuple(labels)
