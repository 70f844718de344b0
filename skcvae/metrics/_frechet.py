"""Fréchet distance of the Gaussians with the moments of two sets of samples."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import linregress
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from threadpoolctl import threadpool_limits

from .._record_sets import array_likes
from .._warnings import warn_user
from ._sample_pairs import check_pair, split_by_class

_SETS = array_likes("X_real", "X_synthetic")


@validate_params(_SETS, prefer_skip_nested_validation=True)
def frechet_distance(X_real: ArrayLike, X_synthetic: ArrayLike) -> float:
    r"""Compute the squared Fréchet distance of two sets of samples.

    The squared 2-Wasserstein distance of the Gaussians with their means and
    covariances [1]_,

    .. math:: \lVert \mu_r - \mu_s \rVert^2 + \mathrm{tr}\left( \Sigma_r + \Sigma_s
        - 2 (\Sigma_r^{1/2} \Sigma_s \Sigma_r^{1/2})^{1/2} \right),

    which is the FID [2]_ where samples are features of the Inception net. Samples are
    taken as they are. In particular, no set is standardised by its own statistics, as
    some programs do: that hides a wrong mean and a wrong spread, and leaves
    correlations.

    .. note::
       It is biased upwards: sets of the same distribution have a positive distance,
       larger for fewer samples and more features. Compare distances of the same numbers
       of samples only. :func:`frechet_bias` says how large the bias is, and
       :func:`extrapolated_frechet_distance` takes most of it away, given many samples.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real samples, two or more.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic samples of the same space, two or more.

    Returns
    -------
    distance : float
        At least 0, in squared units of the features; lower is better.

    Raises
    ------
    ValueError
        If a set has fewer than two samples, is not finite, or has other features.

    See Also
    --------
    class_frechet_distance : The same for each class.

    Notes
    -----
    The trace of the root is the sum of the singular values of :math:`R_r R_s^\top`,
    where the triangular :math:`R` of a set comes from the QR decomposition of its
    centred samples, so that :math:`\Sigma = R^\top R`. No covariance is computed or
    inverted: it works for fewer samples than features, too, and sets that are the same
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
        **_SETS,
        **array_likes("y_real", "y_synthetic"),
        "n_permutations": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def class_frechet_distance(
    X_real: ArrayLike,
    X_synthetic: ArrayLike,
    *,
    y_real: ArrayLike,
    y_synthetic: ArrayLike,
    n_permutations: int = 0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Compute the squared Fréchet distance of each class, and their mean.

    The mean over classes is the measure of quality of [1]_, which gives
    both sets the same number of samples per class.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real samples.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic samples of the same space.

    y_real : array-like of shape (n_real,)
        Classes of the real samples.

    y_synthetic : array-like of shape (n_synthetic,)
        Classes of the synthetic samples, all of them classes of real samples.

    n_permutations : int, default=0
        Shuffles to estimate the bias of each class by, as :func:`frechet_bias` does;
        0 does not. Each takes as long as the distances themselves.

    random_state : int, RandomState instance or None, default=None
        Draws the shuffles.

    Returns
    -------
    result : Bunch
        `classes`, those of the real samples; `distances`, one for each, at least 0,
        lower is better; their `mean`; `n_real` and `n_synthetic`, the numbers of
        samples of each class; `n_missing`, the number of classes without a distance,
        because they have fewer than two samples in one of the sets. Their distance is
        NaN, and the mean is that of the others. Where there are shuffles, also `biases`
        and `mean_bias`.

    Warns
    -----
    UserWarning
        If classes have no distance. Means over other classes do not compare.

    Raises
    ------
    ValueError
        If no class has two samples in both sets, a class of synthetic samples has no
        real samples, or samples are not finite, or have other features.

    See Also
    --------
    frechet_distance : The distance, and why it depends on the numbers of samples.

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
    sets = check_pair(X_real, X_synthetic)
    classes, members = split_by_class(
        y_real, sets[0], y_synthetic, sets[1], ("y_real", "y_synthetic")
    )
    n_real, n_synthetic = (np.array([len(rows) for rows in one]) for one in members)
    missing = np.minimum(n_real, n_synthetic) < 2
    _check_missing(classes[missing], len(classes))
    rng = check_random_state(random_state)
    distances, biases = np.full((2, len(classes)), np.nan)
    # The matrices of one class are small: more threads would be slower.
    with threadpool_limits(1, user_api="blas"):
        for c in np.flatnonzero(~missing):
            real, synthetic = sets[0][members[0][c]], sets[1][members[1][c]]
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
        **_SETS,
        "n_permutations": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def frechet_bias(
    X_real: ArrayLike,
    X_synthetic: ArrayLike,
    *,
    n_permutations: int = 20,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Estimate the Fréchet distance that two sets of one distribution would have.

    All samples are shuffled and divided again into sets of the same sizes, so that both
    are samples of the same distribution, the mixture of the two. Their distance is
    bias. For real and synthetic samples of the same distribution, its expectation is
    exactly that of their distance.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real samples, two or more.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic samples of the same space, two or more.

    n_permutations : int, default=20
        Number of shuffles.

    random_state : int, RandomState instance or None, default=None
        Draws the shuffles.

    Returns
    -------
    bias : Bunch
        `mean`, the mean :func:`frechet_distance` of shuffled samples, and `std`, its
        standard deviation from one shuffle to the next (NaN for one shuffle). A
        distance within two or three of them of the mean is no evidence of a
        difference.

    Raises
    ------
    ValueError
        If a set has fewer than two samples, is not finite, or has other features.

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
    real, synthetic = check_pair(X_real, X_synthetic, 2)
    rng = check_random_state(random_state)
    distances = _shuffled(real, synthetic, n_permutations, rng)
    std = float(distances.std(ddof=1)) if n_permutations > 1 else np.nan
    return Bunch(mean=float(distances.mean()), std=std)


@validate_params(
    {
        **_SETS,
        "n_parts": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def extrapolated_frechet_distance(
    X_real: ArrayLike,
    X_synthetic: ArrayLike,
    *,
    n_parts: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Estimate the squared Fréchet distance for infinitely many samples.

    The bias of the distance of n samples is about proportional to 1/n: the intercept of
    a line through distances against 1/n is the distance without it [1]_. Where [1]_
    draws smaller and smaller subsets of the synthetic samples, here both sets are
    divided at random into :math:`k = 1, 2, \dots` parts, and :func:`frechet_distance`
    is averaged over the k pairs of parts, so that every point of the line is from all
    samples and the bias of both sets is taken away.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real samples.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic samples of the same space.

    n_parts : int, default=5
        The largest number of parts.

    random_state : int, RandomState instance or None, default=None
        Divides the samples.

    Returns
    -------
    result : Bunch
        `distance`, the intercept: lower is better, and about 0, perhaps below, for
        sets of the same distribution; `slope` per part; and the `distances` for each
        number of parts, in `n_parts`.

    Raises
    ------
    ValueError
        If the smallest part would not have more samples than there are features (then
        the distance is not linear in 1/n, and the intercept far too large), or samples
        are not finite, or have other features.

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
    real, synthetic = check_pair(X_real, X_synthetic, 2)
    smallest = min(len(real), len(synthetic)) // n_parts
    if smallest <= real.shape[1]:
        raise ValueError(
            f"A part of {smallest} samples is too small for {real.shape[1]} features: "
            "the distance of so few samples is not linear in 1/n. Lower n_parts, give "
            "more samples, or compare frechet_distance with frechet_bias."
        )
    rng = check_random_state(random_state)
    real, synthetic = (X[rng.permutation(len(X))] for X in (real, synthetic))
    counts = np.arange(1, n_parts + 1)
    distances = np.array([_mean_of_parts(real, synthetic, k) for k in counts])
    line = linregress(counts, distances)
    return Bunch(
        distance=float(line.intercept),
        slope=float(line.slope),
        n_parts=counts,
        distances=distances,
    )


def _mean_of_parts(real, synthetic, n_parts):
    """Return the mean squared distance of as many pairs of parts."""
    parts = (np.array_split(rows, n_parts) for rows in (real, synthetic))
    return np.mean([_distance(*pair) for pair in zip(*parts, strict=True)])


def _distance(real, synthetic):
    (center, root), (other_center, other_root) = map(_moments, (real, synthetic))
    overlap = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    spread = np.square(root).sum() + np.square(other_root).sum()
    distance = np.square(center - other_center).sum() + spread - 2 * overlap
    return float(max(distance, 0))


def _moments(X):
    """Return the mean of samples, and the triangular root R of their covariance."""
    center = X.mean(axis=0, dtype=np.float64)
    centred = np.subtract(X, center, dtype=np.float64)
    return center, np.linalg.qr(centred, mode="r") / np.sqrt(len(X) - 1)


def _shuffled(real, synthetic, n_permutations, rng):
    """Return the distances of shuffled samples in sets of the same sizes."""
    pooled = np.concatenate([real, synthetic])
    shuffled = (pooled[rng.permutation(len(pooled))] for _ in range(n_permutations))
    return np.array([_distance(s[: len(real)], s[len(real) :]) for s in shuffled])


def _check_missing(missing, n_classes):
    """Warn of classes without a distance, and refuse when they are all."""
    if len(missing) == n_classes:
        raise ValueError("No class has two samples or more in both sets.")
    if len(missing):
        warn_user(
            f"{len(missing)} of {n_classes} classes have fewer than two samples in a "
            f"set, and no distance: {missing[:5].tolist()}. The mean is that of the "
            "others."
        )
