"""Where the encoder puts rows."""

from numbers import Integral

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_scalar

from .._extras import import_pyplot
from ._base import (
    GREY,
    BaseDisplay,
    add_legend_beside,
    fitted_generator,
    line_style,
    with_defaults,
)
from ._classes import check_classes, shorten, spread_by_size, thin

# Radius of the circle that holds 95 % of a standard normal distribution in the plane.
_RADIUS = np.sqrt(-2 * np.log(0.05))


class LatentSpaceDisplay(BaseDisplay):
    """Latent means of rows, coloured by class.

    A conditional autoencoder is told the class, and need not encode it: its classes
    should lie on top of each other, around the origin. Where they lie apart, rows drawn
    for one class from the latents of all would have features of the others.

    With more than two latent dimensions, their two principal components are drawn.
    The circle holds 95 % of the standard normal distribution, in either case. Means of
    a well-trained encoder spread less than it: what lacks is the encoder's variance.

    Parameters
    ----------
    points : dict of label to ndarray of shape (n_rows, 2)
        Points to draw of each class that has a colour.

    others : ndarray of shape (n_rows, 2)
        Points to draw of all other classes, in grey.

    n_others : int
        Number of the other classes.

    axis_labels : tuple of str
        Labels of the two axes.

    Attributes
    ----------
    lines_ : dict of label to matplotlib Line2D
        Points by class.

    ax_ : matplotlib Axes
        The axes.

    figure_ : matplotlib Figure
        The figure.

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

    def __init__(self, *, points, others, n_others, axis_labels):
        self.points = points
        self.others = others
        self.n_others = n_others
        self.axis_labels = axis_labels

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None, **kwargs):
        """Encode rows and draw their latent means.

        Parameters
        ----------
        estimator : object
            Fitted :class:`~skcvae.CVAE`, or a fitted sampler or anonymizer whose
            `generator_` is one: anything with a method `encode(X, y)`.

        X : array-like of shape (n_samples, n_features)
            Rows.

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
            What was drawn.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        Z = fitted_generator(estimator, "encode").encode(X, y)
        return cls.from_data(Z, y, ax=ax, **kwargs)

    @classmethod
    def from_data(cls, Z, y, *, max_classes=10, max_points=10_000, ax=None, **kwargs):
        """Draw latents that are there already, as of another encoder.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            Latents, of at least two dimensions.

        y : array-like of shape (n_samples,)
            Classes of the rows.

        max_classes : int, default=10
            Number of classes that have a colour. Of more classes, so many are
            picked, evenly from the largest to the smallest, and the others are grey.

        max_points : int, default=10000
            Number of points drawn, about; of more rows, each class is thinned out
            evenly.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for the points.

        Returns
        -------
        display : LatentSpaceDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If there is only one latent dimension, or rows and labels do not fit.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        check_scalar(max_classes, "max_classes", Integral, min_val=1)
        check_scalar(max_points, "max_points", Integral, min_val=1)
        Z = check_array(Z, dtype=np.float64, input_name="Z")
        y = check_classes(y, Z, "y")
        plane, axis_labels = _to_plane(Z)
        shown = spread_by_size(y, max_classes)
        hidden = ~np.isin(y, shown)
        n_others = len(np.unique(y[hidden]))
        n_points = max(1, max_points // (len(shown) + bool(n_others)))
        points = {c: thin(plane[y == c], n_points) for c in shown.tolist()}
        n_drawn = sum(len(rows) for rows in points.values())
        return cls(
            points=points,
            others=thin(plane[hidden], max(1, max_points - n_drawn)),
            n_others=n_others,
            axis_labels=axis_labels,
        ).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        from matplotlib.lines import Line2D

        common = {"linestyle": "none", "markersize": 3.5, "alpha": 0.6}
        if len(self.others):
            style = with_defaults(kwargs, Line2D, **common, marker=".")
            label = f"{self.n_others} other classes"
            ax.plot(*self.others.T, **{**style, "color": GREY, "label": label})
        self.lines_ = {}
        for i, (label, points) in enumerate(self.points.items()):
            style = {**line_style(i), **common, "markeredgewidth": 0}
            style = with_defaults(kwargs, Line2D, **style, label=shorten(label))
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
    # A solver that draws no random numbers. The origin stays where it is.
    pca = PCA(2, svd_solver="covariance_eigh").fit(Z)
    shares = pca.explained_variance_ratio_
    labels = (f"component {i + 1} ({100 * s:.0f} %)" for i, s in enumerate(shares))
    return Z @ pca.components_.T, tuple(labels)
