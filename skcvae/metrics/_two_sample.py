"""Tests of whether two sets of samples are of the same distribution."""

from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from sklearn.base import BaseEstimator, clone
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, check_random_state, resample
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)

from .._record_sets import array_likes
from .._statistics import proportion
from ._sample_pairs import check_pair, squared_distance_blocks

# The median distance is that of at most so many samples.
_MEDIAN_SAMPLES = 2000


@validate_params(
    {
        **array_likes("X_real", "X_synthetic"),
        "bandwidth": [
            StrOptions({"median"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "n_permutations": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def maximum_mean_discrepancy(
    X_real: ArrayLike,
    X_synthetic: ArrayLike,
    *,
    bandwidth: float | str = "median",
    n_permutations: int = 0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Estimate the squared maximum mean discrepancy, and test whether it is 0.

    With a Gaussian kernel :math:`k(x, y) = \exp(-\lVert x - y \rVert^2 / (2 h^2))`, the
    unbiased estimate [1]_ is

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne i'} k(x_i, x_{i'})
        + \frac{1}{m (m - 1)} \sum_{j \ne j'} k(s_j, s_{j'})
        - \frac{2}{n m} \sum_{i, j} k(x_i, s_j) .

    The discrepancy of distributions is 0 only if they are the same. Its expectation
    does not depend on the numbers of samples, as that of :func:`frechet_distance` does.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real samples, two or more.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic samples of the same space, two or more.

    bandwidth : "median" or float, default="median"
        The distance h > 0. "median" is the median distance of all samples, real and
        synthetic (of 2000 random ones, where there are more). Discrepancies of
        different bandwidths do not compare: give all generators the same number.

    n_permutations : int, default=0
        Shuffles of the test. 0 does not test. The p-value is at least
        1 / (n_permutations + 1).

    random_state : int, RandomState instance or None, default=None
        Draws the samples for the median and the shuffles.

    Returns
    -------
    result : Bunch
        `discrepancy`, at most 2, lower is better, and about 0, perhaps below, for sets
        of the same distribution; the `bandwidth` in use; and `p_value`, the share of
        shuffles, in which real and synthetic samples change places, of as large a
        discrepancy (the samples as they are count as one of them), in (0, 1]; None
        without shuffles. A low p-value says that the distributions differ; a high one
        does not say that they are the same.

    Raises
    ------
    ValueError
        If a set has fewer than two samples, is not finite, or has other features, or
        the median distance is 0.

    References
    ----------
    .. [1] A. Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.metrics import maximum_mean_discrepancy
    >>> X_real, X_synthetic = np.random.RandomState(0).randn(2, 100, 5)
    >>> same = maximum_mean_discrepancy(
    ...     X_real, X_synthetic, n_permutations=99, random_state=0)
    >>> moved = maximum_mean_discrepancy(
    ...     X_real, X_synthetic + 1, n_permutations=99, random_state=0)
    >>> round(same.discrepancy, 3), round(moved.discrepancy, 3), moved.p_value
    (-0.002, 0.221, 0.01)
    """
    real, synthetic = check_pair(X_real, X_synthetic, 2)
    pooled = np.concatenate([real, synthetic])
    rng = check_random_state(random_state)
    width = _median_distance(pooled, rng) if bandwidth == "median" else bandwidth
    is_real = np.zeros((len(pooled), 1 + n_permutations))
    is_real[: len(real), 0] = 1
    for column in is_real.T[1:]:
        column[rng.permutation(len(pooled))[: len(real)]] = 1
    observed, *shuffled = _discrepancies(pooled, is_real, width)
    p_value = None
    if n_permutations:
        n_larger = np.count_nonzero(np.array(shuffled) >= observed)
        p_value = (1 + int(n_larger)) / (1 + n_permutations)
    return Bunch(discrepancy=float(observed), bandwidth=float(width), p_value=p_value)


@validate_params(
    {
        **array_likes("X_real", "X_synthetic"),
        "classifier": [HasMethods(["fit", "predict_proba"]), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def classifier_two_sample_test(
    X_real: ArrayLike,
    X_synthetic: ArrayLike,
    *,
    classifier: BaseEstimator | None = None,
    cv: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Test by a classifier whether synthetic samples can be told from real ones.

    A classifier learns to tell real from synthetic samples, and is tested on samples
    that it has not seen [1]_, each sample once, in cross-validation. If it is right
    more often than by guessing, the distributions differ; if not, this classifier sees
    no difference. A random part of the larger set is used, so that guessing is right
    half of the time.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real samples, `cv` or more.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic samples of the same space, `cv` or more. Copies of one another or of
        real samples would be seen in training and in test: remove them.

    classifier : estimator, default=None
        Classifier with `predict_proba`. None takes quadratic discriminant analysis with
        the covariance shrinkage of Ledoit and Wolf, on standardised features: it sees
        differences of means and of covariances, and no others. It told synthetic from
        real embeddings of CIFAR-100 more often than logistic regression, a small net,
        nearest neighbours and boosted trees did.

    cv : int, default=5
        Number of folds, stratified and shuffled.

    random_state : int, RandomState instance or None, default=None
        Draws the part of the larger set and the folds. It does not seed the
        classifier.

    Returns
    -------
    result : Bunch
        `accuracy`, an :class:`Estimate` in [0, 1]: 0.5 is best; `p_value` of the test
        of an accuracy above 0.5; `auc`, the mean over folds of the area under the ROC
        curve, in [0, 1]: 0.5 is best; and `n_tested`, the number of samples.

    Raises
    ------
    ValueError
        If a set has fewer samples than `cv`, is not finite, or has other features.

    Notes
    -----
    Classifiers of k folds share samples to learn from, so that the accuracy of n
    samples varies more than that of n independent ones. Interval and p-value count them
    as
    :math:`n (k - 1) / (2 k - 1)`, by the correction of Nadeau and Bengio [2]_, which
    is cautious. The p-value is that of the normal approximation in [1]_.

    References
    ----------
    .. [1] D. Lopez-Paz and M. Oquab, "Revisiting Classifier Two-Sample Tests", ICLR
       2017, `arXiv 1610.06545 <https://arxiv.org/abs/1610.06545>`_.
    .. [2] C. Nadeau and Y. Bengio, "Inference for the Generalization Error", Machine
       Learning 52, 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.metrics import classifier_two_sample_test
    >>> X_real, X_synthetic = np.random.RandomState(0).randn(2, 200, 3)
    >>> result = classifier_two_sample_test(X_real, X_synthetic + 1, random_state=0)
    >>> round(result.accuracy.value, 2), round(result.auc, 2), result.p_value < 0.001
    (0.83, 0.91, True)
    """
    sets = check_pair(X_real, X_synthetic, cv)
    rng = check_random_state(random_state)
    size = min(map(len, sets))
    X = np.concatenate(
        [
            resample(rows, replace=False, n_samples=size, random_state=rng)
            for rows in sets
        ]
    )
    y = np.repeat([0, 1], size)
    if classifier is None:
        gaussian = QuadraticDiscriminantAnalysis(solver="eigen", shrinkage="auto")
        classifier = make_pipeline(StandardScaler(), gaussian)
    folds = StratifiedKFold(cv, shuffle=True, random_state=rng)
    n_correct, areas = 0, []
    for train, test in folds.split(X, y):
        fitted = clone(classifier).fit(X[train], y[train])
        n_correct += int(np.count_nonzero(fitted.predict(X[test]) == y[test]))
        areas.append(roc_auc_score(y[test], fitted.predict_proba(X[test])[:, 1]))
    share, n_independent = n_correct / len(y), len(y) * (cv - 1) / (2 * cv - 1)
    return Bunch(
        accuracy=proportion(share * n_independent, n_independent),
        p_value=float(norm.sf((share - 0.5) * 2 * np.sqrt(n_independent))),
        auc=float(np.mean(areas)),
        n_tested=len(y),
    )


def _discrepancies(pooled, real, bandwidth):
    """Return the estimate for each column that says which samples are the real ones."""
    sums = np.empty_like(real)
    totals = np.empty(len(pooled))
    for rows, squared in squared_distance_blocks(pooled, pooled):
        kernel = squared
        kernel /= -2 * bandwidth**2
        np.exp(kernel, out=kernel)
        # Pairs of a sample and itself do not count.
        kernel[np.arange(len(kernel)), np.arange(rows.start, rows.stop)] = 0
        sums[rows] = kernel @ real
        totals[rows] = kernel.sum(axis=1)
    n = int(real[:, 0].sum())
    m = len(pooled) - n
    within = np.einsum("ij,ij->j", real, sums)
    across = totals @ real - within
    others = totals.sum() - within - 2 * across
    return within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * across / (n * m)


def _median_distance(pooled, rng):
    if len(pooled) > _MEDIAN_SAMPLES:
        pooled = pooled[rng.choice(len(pooled), _MEDIAN_SAMPLES, replace=False)]
    squared = np.concatenate(
        [block for _, block in squared_distance_blocks(pooled, pooled)]
    )
    median = np.sqrt(np.median(squared[np.triu_indices(len(pooled), 1)]))
    if not median > 0:
        raise ValueError(
            "The median distance of the samples is 0: most of them are the same. "
            "Give a bandwidth, or remove duplicates."
        )
    return median
