"""Smallest spheres around samples."""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_array
from sklearn.utils._param_validation import Interval, validate_params

from .._record_sets import check_one_label_per_sample
from .._warnings import warn_user

# Share of its length by which a sample must leave the span of others to count as
# outside.
_RANK_TOLERANCE = 1e-9

_TOL = {"tol": [Interval(Real, 0, 1, closed="neither")]}


@validate_params({"X": ["array-like"], **_TOL}, prefer_skip_nested_validation=True)
def bounding_sphere(X: ArrayLike, *, tol: float = 1e-6) -> Bunch:
    r"""Find the smallest sphere around samples, and a lower bound of its radius.

    A measure of diversity [1]_. It depends on outliers only, and grows with the number
    of samples: compare sets of the same size.

    Weights :math:`\alpha \ge 0` with a sum of 1 prove a lower bound: with
    :math:`c = \sum_i \alpha_i x_i`,

    .. math:: \sum_i \alpha_i \lVert x_i - c \rVert^2 \le R^2 \le
        \max_i \lVert x_i - c \rVert^2 .

    As in [2]_ and [3]_, the farthest sample joins a support, from which samples leave
    whose weight would be negative in the smallest sphere through it, until both bounds
    are the same: they become so after finitely many steps.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.

    tol : float, default=1e-6
        Share of the radius by which the lower bound may be below it, in (0, 1).

    Returns
    -------
    sphere : Bunch
        `radius`, at least 0, of a sphere that holds all samples; `lower_bound`, which
        no sphere around them can be smaller than; `center`, of shape (n_features,); and
        `support`, the indices of the samples that determine it.

    Warns
    -----
    ConvergenceWarning
        If rounding errors leave a larger gap than `tol`. The bounds hold.

    Raises
    ------
    ValueError
        If there are no samples, or they are not finite.

    See Also
    --------
    class_bounding_spheres : The same for each class.

    References
    ----------
    .. [1] D. Tafler, "Generative Data Augmentation in the Embedding Space of Vision
       Foundation Models to Address Long-Tailed Learning and Privacy Constraints",
       master's thesis, University of Bamberg, 2024 (section 4.4).
    .. [2] K. Fischer, B. Gärtner and M. Kutz, "Fast Smallest-Enclosing-Ball Computation
       in High Dimensions", ESA 2003.
    .. [3] E. A. Yildirim, "Two Algorithms for the Minimum Enclosing Ball Problem", SIAM
       Journal on Optimization 19, 2008.

    Examples
    --------
    >>> from skcvae.metrics import bounding_sphere
    >>> sphere = bounding_sphere([[0, 0], [4, 0], [2, 1]])
    >>> sphere.radius, sphere.center.tolist()
    (2.0, [2.0, 0.0])
    """
    samples = check_array(X, dtype=np.float64, input_name="X")
    offset = samples.mean(axis=0)
    rows = samples - offset
    support, weights = _smallest_sphere(rows, tol)
    center = weights @ rows[support]
    radius = np.linalg.norm(rows - center, axis=1).max()
    squares = np.square(rows[support] - center).sum(axis=1)
    lower_bound = min(np.sqrt(weights @ squares), radius)
    if radius - lower_bound > tol * radius:
        warn_user(
            f"The radius is between {lower_bound:g} and {radius:g}; rounding errors "
            "prevent closer bounds.",
            ConvergenceWarning,
        )
    return Bunch(
        radius=float(radius),
        lower_bound=float(lower_bound),
        center=center + offset,
        support=np.sort(support),
    )


@validate_params(
    {"X": ["array-like"], "y": ["array-like"], **_TOL},
    prefer_skip_nested_validation=True,
)
def class_bounding_spheres(X: ArrayLike, *, y: ArrayLike, tol: float = 1e-6) -> Bunch:
    """Find the smallest sphere around the samples of each class.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.

    y : array-like of shape (n_samples,)
        Their classes.

    tol : float, default=1e-6
        Share of a radius by which its lower bound may be below it, in (0, 1).

    Returns
    -------
    spheres : Bunch
        `classes`, and for each of them, in that order, `radii`, `lower_bounds` and
        `centers` of :func:`bounding_sphere`, and `n_samples`, the number of samples; a
        single sample has the radius 0. Also `mean`, that of the radii.

    Raises
    ------
    ValueError
        If there are no samples, they are not finite, or labels do not fit them.

    Examples
    --------
    >>> from skcvae.metrics import class_bounding_spheres
    >>> spheres = class_bounding_spheres([[0], [2], [5], [9]], y=[0, 0, 1, 1])
    >>> spheres.radii.tolist(), spheres.mean
    ([1.0, 2.0], 1.5)
    """
    samples = check_array(X, dtype=np.float64, input_name="X")
    labels = check_one_label_per_sample(y, samples, "y")
    classes, counts = np.unique(labels, return_counts=True)
    spheres = [bounding_sphere(samples[labels == c], tol=tol) for c in classes]
    radii = np.array([sphere.radius for sphere in spheres])
    return Bunch(
        classes=classes,
        radii=radii,
        lower_bounds=np.array([sphere.lower_bound for sphere in spheres]),
        centers=np.array([sphere.center for sphere in spheres]),
        n_samples=counts,
        mean=float(radii.mean()),
    )


def _smallest_sphere(rows, tol):
    """Return the indices of the support of the smallest sphere, and its weights."""
    squares = np.einsum("ij,ij->i", rows, rows)
    support, weights = np.array([squares.argmax()]), np.ones(1)
    lower = -1.0
    while True:
        center = weights @ rows[support]
        squared = squares - 2 * (rows @ center) + center @ center
        farthest = squared.argmax()
        previous, lower = lower, weights @ squared[support]
        # Each step raises the lower bound, until rounding errors prevent it.
        if squared[farthest] <= lower * (1 + tol) ** 2 or lower <= previous:
            return support, weights
        support, weights = _add(rows, support, weights, farthest)


def _add(rows, support, weights, new):
    """Return the support and weights of the smallest sphere, with another sample."""
    coordinates = _affine_coordinates(rows[support], rows[new])
    support = np.append(support, new)
    weights = np.append(weights, 0.0)
    if coordinates is not None:
        # No sphere in the span goes through all of them: the new sample replaces one.
        weights, kept = _step(weights, np.append(-coordinates, 1.0))
        support, weights = support[kept], weights[kept]
    while True:
        target = _circumcenter_weights(rows[support])
        if (target > 0).all():
            return support, target
        weights, kept = _step(weights, target - weights, longest=1.0)
        support, weights = support[kept], weights[kept]


def _step(weights, direction, longest=np.inf):
    """Go along a direction until a weight is zero; return which ones are not."""
    falling = np.flatnonzero(direction < 0)
    lengths = weights[falling] / -direction[falling]
    weights = weights + min(lengths.min(), longest) * direction
    kept = weights > 0
    kept[falling[lengths.argmin()]] = False
    return weights / weights[kept].sum(), kept


def _affine_coordinates(points, row):
    """Return the weights of points that give a sample; None outside of their span."""
    q, r = np.linalg.qr((points[1:] - points[0]).T)
    row = row - points[0]
    projected = q.T @ row
    if np.linalg.norm(row - q @ projected) > _RANK_TOLERANCE * np.linalg.norm(row):
        return None
    others = solve_triangular(r, projected)
    return np.append(1 - others.sum(), others)


def _circumcenter_weights(points):
    """Return the weights of independent points that give the center through them."""
    edges = points[1:] - points[0]
    r = np.linalg.qr(edges.T, mode="r")
    half = np.einsum("ij,ij->i", edges, edges) / 2
    others = solve_triangular(r, solve_triangular(r, half, trans="T"))
    return np.append(1 - others.sum(), others)
