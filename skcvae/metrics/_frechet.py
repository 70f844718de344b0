"""Fréchet distance of the Gaussians with the moments of two sets of rows."""

from numbers import Integral

import numpy as np
from scipy.stats import linregress
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from threadpoolctl import threadpool_limits

from .._warnings import warn_user
from ._sample_pairs import check_pair, split_by_class

_ROWS = {"X_real": ["array-like"], "X_synthetic": ["array-like"]}


@validate_params(_ROWS, prefer_skip_nested_validation=True)
def frechet_distance(X_real, X_synthetic):
    r"""Compute the squared Fréchet distance of two sets of rows.

    The squared 2-Wasserstein distance of the Gaussians with their means and
    covariances [1]_,

    .. math:: \lVert \mu_r - \mu_s \rVert^2 + \mathrm{tr}\left( \Sigma_r + \Sigma_s
        - 2 (\Sigma_r^{1/2} \Sigma_s \Sigma_r^{1/2})^{1/2} \right),

    which is the FID [2]_ where rows are features of the Inception net. Rows are taken
    as they are. In particular, no set is standardised by its own statistics, as some
    programs do: that hides a wrong mean and a wrong spread, and leaves correlations.

    .. note::
       It is biased upwards: sets of the same distribution have a positive distance,
       larger for fewer rows and more features. Compare distances of the same numbers
       of rows only. :func:`frechet_bias` says how large the bias is, and
       :func:`extrapolated_frechet_distance` takes most of it away, given many rows.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real rows, two or more.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic rows of the same space, two or more.

    Returns
    -------
    distance : float
        At least 0, in squared units of the features; lower is better.

    Raises
    ------
    ValueError
        If a set has fewer than two rows, is not finite, or has other features.

    See Also
    --------
    class_frechet_distance : The same for each class.

    Notes
    -----
    The trace of the root is the sum of the singular values of :math:`R_r R_s^\top`,
    where the triangular :math:`R` of a set comes from the QR decomposition of its
    centred rows, so that :math:`\Sigma = R^\top R`. No covariance is computed or
    inverted: it works for fewer rows than features, too, and sets that are the same
    have the distance 0 up to rounding.

    References
    ----------
    .. [1] D. C. Dowson and B. V. Landau, "The Fréchet Distance between Multivariate
       Normal Distributions", Journal of Multivariate Analysis 12, 1982.
    .. [2] M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to
       a Local Nash Equilibrium", NeurIPS 2017, `arXiv 1706.08500
       <https://arxiv.org/abs/1706.08500>`_.

    Examples
    --------
    >>> from skcvae.metrics import frechet_distance
    >>> X_real, X_synthetic = [[0.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [3.0, 4.0]]
    >>> round(frechet_distance(X_real, X_synthetic), 6)
    12.0
    """
    return _distance(*check_pair(X_real, X_synthetic, 2))


@validate_params(
    {
        **_ROWS,
        "y_real": ["array-like"],
        "y_synthetic": ["array-like"],
        "n_permutations": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def class_frechet_distance(
    X_real, X_synthetic, *, y_real, y_synthetic, n_permutations=0, random_state=None
):
    """Compute the squared Fréchet distance of each class, and their mean.

    The mean over classes is the measure of quality of [1]_, which gives
    both sets the same number of rows per class.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real rows.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic rows of the same space.

    y_real : array-like of shape (n_real,)
        Classes of the real rows.

    y_synthetic : array-like of shape (n_synthetic,)
        Classes of the synthetic rows, all of them classes of real rows.

    n_permutations : int, default=0
        Shuffles to estimate the bias of each class by, as :func:`frechet_bias` does;
        0 does not. Each takes as long as the distances themselves.

    random_state : int, RandomState instance or None, default=None
        Draws the shuffles.

    Returns
    -------
    result : Bunch
        `classes`, those of the real rows; `distances`, one for each, at least 0, lower
        is better; their `mean`; `n_real` and `n_synthetic`, the numbers of rows of
        each class; `n_missing`, the number of classes without a distance, because they
        have fewer than two rows in one of the sets. Their distance is NaN, and the
        mean is that of the others. Where there are shuffles, also `biases` and
        `mean_bias`.

    Warns
    -----
    UserWarning
        If classes have no distance. Means over other classes do not compare.

    Raises
    ------
    ValueError
        If no class has two rows in both sets, a class of synthetic rows has no real
        rows, or rows are not finite, or have other features.

    See Also
    --------
    frechet_distance : The distance, and why it depends on the numbers of rows.

    References
    ----------
    .. [1] D. Tafler, "Generative Data Augmentation in the Embedding Space of Vision
       Foundation Models to Address Long-Tailed Learning and Privacy Constraints",
       master's thesis, University of Bamberg, 2024 (section 4.3, equation 6).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skcvae.metrics import class_frechet_distance
    >>> X, y = load_iris(return_X_y=True)
    >>> result = class_frechet_distance(
    ...     X[::2], X[1::2], y_real=y[::2], y_synthetic=y[1::2])
    >>> result.distances.round(3).tolist(), round(result.mean, 3)
    ([0.04, 0.038, 0.099], 0.059)
    """
    X_real, X_synthetic = check_pair(X_real, X_synthetic)
    classes, members = split_by_class(
        y_real, X_real, y_synthetic, X_synthetic, ("y_real", "y_synthetic")
    )
    n_real, n_synthetic = (np.array([len(rows) for rows in one]) for one in members)
    missing = np.minimum(n_real, n_synthetic) < 2
    _check_missing(classes[missing], len(classes))
    rng = check_random_state(random_state)
    distances, biases = np.full((2, len(classes)), np.nan)
    # Matrices of classes are small: threads would spend their time waiting.
    with threadpool_limits(1, user_api="blas"):
        for c in np.flatnonzero(~missing):
            real, synthetic = X_real[members[0][c]], X_synthetic[members[1][c]]
            distances[c] = _distance(real, synthetic)
            if n_permutations:
                biases[c] = _shuffled(real, synthetic, n_permutations, rng).mean()
    result = Bunch(
        classes=classes,
        distances=distances,
        mean=float(np.nanmean(distances)),
        n_real=n_real,
        n_synthetic=n_synthetic,
        n_missing=int(missing.sum()),
    )
    if n_permutations:
        result.update(biases=biases, mean_bias=float(np.nanmean(biases)))
    return result


@validate_params(
    {
        **_ROWS,
        "n_permutations": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def frechet_bias(X_real, X_synthetic, *, n_permutations=20, random_state=None):
    """Estimate the Fréchet distance that two sets of one distribution would have.

    All rows are shuffled and divided again into sets of the same sizes, so that both
    are samples of the same distribution, the mixture of the two. What distance they
    have is bias. For real and synthetic rows of the same distribution, its expectation
    is exactly that of their distance.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real rows, two or more.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic rows of the same space, two or more.

    n_permutations : int, default=20
        Number of shuffles.

    random_state : int, RandomState instance or None, default=None
        Draws the shuffles.

    Returns
    -------
    bias : Bunch
        `mean`, the mean :func:`frechet_distance` of shuffled rows, and `std`, its
        standard deviation from one shuffle to the next (NaN for one shuffle). A
        distance within two or three of them of the mean is no evidence of a
        difference.

    Raises
    ------
    ValueError
        If a set has fewer than two rows, is not finite, or has other features.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.metrics import frechet_bias, frechet_distance
    >>> X_real, X_synthetic = np.random.RandomState(0).randn(2, 100, 50)
    >>> round(frechet_distance(X_real, X_synthetic), 1)
    12.9
    >>> round(frechet_bias(X_real, X_synthetic, random_state=0).mean, 1)
    13.4
    """
    X_real, X_synthetic = check_pair(X_real, X_synthetic, 2)
    rng = check_random_state(random_state)
    distances = _shuffled(X_real, X_synthetic, n_permutations, rng)
    std = float(distances.std(ddof=1)) if n_permutations > 1 else np.nan
    return Bunch(mean=float(distances.mean()), std=std)


@validate_params(
    {
        **_ROWS,
        "n_parts": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def extrapolated_frechet_distance(X_real, X_synthetic, *, n_parts=5, random_state=None):
    r"""Estimate the squared Fréchet distance for infinitely many rows.

    The bias of the distance of n rows is about proportional to 1/n: the intercept of
    a line through distances against 1/n is the distance without it [1]_. Where [1]_
    draws smaller and smaller subsets of the synthetic rows, here both sets are
    divided at random into :math:`k = 1, 2, \dots` parts, and :func:`frechet_distance`
    is averaged over the k pairs of parts, so that every point of the line is from all
    rows and the bias of both sets is taken away.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real rows.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic rows of the same space.

    n_parts : int, default=5
        The largest number of parts.

    random_state : int, RandomState instance or None, default=None
        Divides the rows.

    Returns
    -------
    result : Bunch
        `distance`, the intercept: lower is better, and about 0, perhaps below, for
        sets of the same distribution; `slope` per part; and the `distances` for each
        number of parts, in `n_parts`.

    Raises
    ------
    ValueError
        If the smallest part would not have more rows than there are features (then
        the line is no line, and the intercept is far too large), or if rows are not
        finite, or have other features.

    References
    ----------
    .. [1] M. J. Chong and D. Forsyth, "Effectively Unbiased FID and Inception Score
       and where to find them", CVPR 2020, `arXiv 1911.07023
       <https://arxiv.org/abs/1911.07023>`_.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.metrics import (
    ...     extrapolated_frechet_distance, frechet_distance)
    >>> X_real, X_synthetic = np.random.RandomState(0).randn(2, 5000, 20)
    >>> round(frechet_distance(X_real, X_synthetic), 3)
    0.047
    >>> result = extrapolated_frechet_distance(X_real, X_synthetic, random_state=0)
    >>> round(result.distance, 3)
    0.0
    """
    X_real, X_synthetic = check_pair(X_real, X_synthetic, 2)
    smallest = min(len(X_real), len(X_synthetic)) // n_parts
    if smallest <= X_real.shape[1]:
        raise ValueError(
            f"A part of {smallest} rows is too small for {X_real.shape[1]} features: "
            "the distance of so few rows is not linear in 1/n. Lower n_parts, give "
            "more rows, or compare frechet_distance with frechet_bias."
        )
    rng = check_random_state(random_state)
    real, synthetic = rng.permutation(len(X_real)), rng.permutation(len(X_synthetic))
    counts = np.arange(1, n_parts + 1)
    distances = np.array(
        [
            np.mean(
                [
                    _distance(X_real[part], X_synthetic[other])
                    for part, other in zip(
                        np.array_split(real, k),
                        np.array_split(synthetic, k),
                        strict=True,
                    )
                ]
            )
            for k in counts
        ]
    )
    line = linregress(counts, distances)
    return Bunch(
        distance=float(line.intercept),
        slope=float(line.slope),
        n_parts=counts,
        distances=distances,
    )


def _distance(real, synthetic):
    """Return the squared distance of checked rows."""
    center, other_center = (
        rows.mean(axis=0, dtype=np.float64) for rows in (real, synthetic)
    )
    root, other_root = (
        _covariance_root(real, center),
        _covariance_root(synthetic, other_center),
    )
    overlap = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    spread = np.square(root).sum() + np.square(other_root).sum()
    distance = np.square(center - other_center).sum() + spread - 2 * overlap
    return float(max(distance, 0))


def _covariance_root(rows, center):
    """Return R of as few rows as it can have, with covariance R'R."""
    centred = np.subtract(rows, center, dtype=np.float64)
    return np.linalg.qr(centred, mode="r") / np.sqrt(len(rows) - 1)


def _shuffled(real, synthetic, n_permutations, rng):
    """Return the distances of shuffled rows in sets of the same sizes."""
    pooled = np.concatenate([real, synthetic])
    orders = (rng.permutation(len(pooled)) for _ in range(n_permutations))
    return np.array(
        [
            _distance(pooled[order[: len(real)]], pooled[order[len(real) :]])
            for order in orders
        ]
    )


def _check_missing(missing, n_classes):
    """Warn of classes without a distance, and refuse when they are all."""
    if len(missing) == n_classes:
        raise ValueError("No class has two rows or more in both sets.")
    if len(missing):
        warn_user(
            f"{len(missing)} of {n_classes} classes have fewer than two rows in a "
            f"set, and no distance: {missing[:5].tolist()}. The mean is that of the "
            "others.",
        )
