"""Estimates with intervals: shares, quantiles, and what an attack reached."""

import math
from dataclasses import fields, is_dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import expit, logit
from sklearn.utils import check_array

# Non-members that must lie above a threshold for the threshold to mean anything.
_MIN_FALSE_POSITIVES = 5


class Estimate(NamedTuple):
    """A value with the bounds of its interval.

    All intervals here are over records: they say how the value would vary with other
    members and other non-members of the same population, given this one release. How
    it varies from one training run to the next is not in them.
    """

    value: float
    low: float
    high: float


def to_plain(value):
    """Return a value as JSON has it: no arrays, no tuples, no NaN."""
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Estimate):
        return to_plain(value._asdict())
    if isinstance(value, dict):
        return {str(name): to_plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return (
        value if value is None or isinstance(value, str | int | float) else str(value)
    )


def proportion(n_success, n_total, confidence=0.95):
    """Estimate a probability from successes, with Wilson's interval.

    The numbers of successes and of independent trials may be fractions. Raise
    ValueError if there is no trial, or there are more successes than trials.

    References
    ----------
    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
    Inference", JASA 22, 1927.

    Examples
    --------
    >>> from skcvae._statistics import proportion
    >>> [round(bound, 3) for bound in proportion(0, 100)]
    [0.0, 0.0, 0.037]
    """
    if n_total < 1 or not 0 <= n_success <= n_total:
        raise ValueError(
            f"{n_success} successes of {n_total} trials give no share: it needs at "
            "least one trial, and 0 to as many successes."
        )
    share = n_success / n_total
    z2 = _normal_quantile(confidence) ** 2
    center = (share + z2 / (2 * n_total)) / (1 + z2 / n_total)
    spread = z2 * (share * (1 - share) / n_total + z2 / (4 * n_total**2))
    half = np.sqrt(spread) / (1 + z2 / n_total)
    # Without successes, the bound is 0 but for rounding; likewise 1 without failures.
    low = 0.0 if n_success == 0 else center - half
    high = 1.0 if n_success == n_total else center + half
    return Estimate(float(share), float(low), float(high))


def share_of(found):
    """Estimate the probability of True by independent values, as `proportion` does."""
    return proportion(np.count_nonzero(found), len(found))


def difference(first, second):
    """Estimate `first` minus `second`, independent estimates of the same confidence.

    Newcombe's interval [1]_ for the difference of shares, and the same construction
    for other estimates: each distance of a bound from its value counts as an error
    of its own, and squares add up.

    References
    ----------
    .. [1] R. G. Newcombe, "Interval Estimation for the Difference Between Independent
       Proportions", Statistics in Medicine 17, 1998 (method 10).

    Examples
    --------
    >>> from skcvae._statistics import difference, proportion
    >>> [round(b, 3) for b in difference(proportion(56, 70), proportion(48, 80))]
    [0.2, 0.052, 0.334]
    """
    value = first.value - second.value
    low = np.hypot(first.value - first.low, second.high - second.value)
    high = np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, float(value - low), float(value + high))


def quantile(values, q=0.5, confidence=0.95):
    """Estimate a quantile of independent values, between order statistics.

    The interval holds for any distribution, and needs no bootstrap: the number of
    values below the true quantile is binomial. Where there are too few values for a
    bound, as for the 5 % quantile of fewer than 72, it is the smallest or largest.

    Examples
    --------
    >>> from skcvae._statistics import quantile
    >>> quantile(range(101))
    Estimate(value=50.0, low=40.0, high=60.0)
    """
    values = np.sort(_check_scores(values, "values", 1))
    n_values = len(values)
    tail = (1 - confidence) / 2
    # The largest rank with P(fewer values below the quantile than that) <= tail, and
    # its mirror image.
    low = stats.binom.ppf(tail, n_values, q) - 1
    high = n_values - stats.binom.ppf(tail, n_values, 1 - q)
    low, high = (int(np.clip(rank, 0, n_values - 1)) for rank in (low, high))
    value = np.quantile(values, q)
    return Estimate(float(value), float(values[low]), float(values[high]))


def auc(member_scores, nonmember_scores, confidence=0.95):
    r"""Estimate the area under the ROC curve, with DeLong's variance.

    The area is the share of pairs of a member and a non-member in which the member
    scores higher, ties counting half. Its variance is DeLong's [1]_, computed from
    ranks [2]_, and the interval is symmetric on the logit scale. Scores that are all
    the same, or that separate the two sets, have an estimated variance of 0; then the
    interval is Newcombe's [3]_, all :math:`\theta` with
    :math:`\lvert \hat\theta - \theta \rvert \le z \sqrt{V(\theta)}` for

    .. math:: V(\theta) = \frac{\theta (1 - \theta)}{m n} \left[ 1 + (n^* - 1)
        \left( \frac{1 - \theta}{2 - \theta} + \frac{\theta}{1 + \theta} \right)
        \right], \quad n^* = \frac{m + n}{2},

    of which Wilson's interval is the case of a share.

    The interval is over records, given this one release; 0.5 is guessing. Raise
    ValueError if a set has fewer than two scores, or scores are not finite.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the Areas
       under Two or More Correlated Receiver Operating Characteristic
       Curves", Biometrics 44, 1988.
    .. [2] X. Sun and W. Xu, "Fast Implementation of DeLong's Algorithm", IEEE Signal
       Processing Letters 21, 2014.
    .. [3] R. G. Newcombe, "Confidence intervals for an effect size measure based on
       the Mann-Whitney statistic. Part 2", Statistics in Medicine 25, 2006 (method 5).

    Examples
    --------
    >>> from skcvae._statistics import auc
    >>> [round(bound, 3) for bound in auc([3, 4, 5, 6], [1, 2, 3, 4])]
    [0.875, 0.427, 0.985]
    """
    members = _check_scores(member_scores, "member_scores", 2)
    others = _check_scores(nonmember_scores, "nonmember_scores", 2)
    m, n = len(members), len(others)
    pooled = stats.rankdata(np.concatenate([members, others]))
    # Of each score, how many of the other set it beats: multiples of 1/2, so that
    # equal shares have a variance of exactly 0.
    beaten = pooled[:m] - stats.rankdata(members)
    beating = m - (pooled[m:] - stats.rankdata(others))
    area = beaten.sum() / (m * n)
    variance = beaten.var(ddof=1) / (m * n**2) + beating.var(ddof=1) / (n * m**2)
    z = _normal_quantile(confidence)
    if variance == 0:
        low, high = _newcombe_bounds(area, m, n, z)
    else:
        half = z * np.sqrt(variance) / (area * (1 - area))
        low, high = expit(logit(area) - half), expit(logit(area) + half)
    return Estimate(float(area), float(low), float(high))


def resampled_mean(values, test_ratio, confidence=0.95):
    r"""Estimate the mean of scores, or of paired differences, over repeated splits.

    The training parts of random splits overlap, so that scores are correlated. Nadeau
    and Bengio multiply their variance by :math:`1 / J + n_2 / n_1` in place of
    :math:`1 / J`, for J splits and the ratio :math:`n_2 / n_1`, `test_ratio`, of test
    to training samples. The interval is that of a t distribution of J - 1 degrees of
    freedom.

    Returns
    -------
    estimate : Estimate
        Without spread of the values, its bounds are the mean.

    p_value : float
        Of the hypothesis that the mean is 0, two-sided.

    References
    ----------
    C. Nadeau and Y. Bengio, "Inference for the Generalization Error", Machine Learning
    52, 2003.

    Examples
    --------
    >>> from skcvae._statistics import resampled_mean
    >>> estimate, p_value = resampled_mean([1.0, 2.0, 3.0], test_ratio=0.25)
    >>> [round(bound, 2) for bound in estimate], round(p_value, 3)
    ([2.0, -1.29, 5.29], 0.12)
    """
    values = _check_scores(values, "values", 2)
    mean, n_values = float(values.mean()), len(values)
    error = float(values.std(ddof=1) * np.sqrt(1 / n_values + test_ratio))
    half = stats.t.ppf((1 + confidence) / 2, n_values - 1) * error
    p_value = 1.0
    if mean != 0:
        statistic = abs(mean) / error if error > 0 else np.inf
        p_value = float(2 * stats.t.sf(statistic, n_values - 1))
    return Estimate(mean, mean - float(half), mean + float(half)), p_value


def tpr_at_fpr(
    member_scores: ArrayLike,
    nonmember_scores: ArrayLike,
    fpr: float = 0.01,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the share of members found at a small share of false accusations.

    The threshold is a score of the non-members, the empirical quantile of `1 - fpr`
    or the next higher one; members strictly above it are found. No ROC curve is
    interpolated, so that at most `fpr` of these non-members is accused.

    Parameters
    ----------
    member_scores : array-like of shape (n_members,)
        Scores of members; higher says "member".

    nonmember_scores : array-like of shape (n_nonmembers,)
        Scores of non-members, at least `5 / fpr`.

    fpr : float, default=0.01
        Share of non-members that may be accused, in (0, 1).

    confidence : float, default=0.95
        Coverage of the interval.

    Returns
    -------
    estimate : Estimate
        In [0, 1]; `fpr` is guessing. The interval is that of Clopper and Pearson, over
        members, given the release and the threshold: that other non-members would
        give another threshold is not in it.

    Raises
    ------
    ValueError
        If there are fewer than `5 / fpr` non-members. The threshold would rest on
        fewer than five of them, and the share of non-members beyond it could be
        several times `fpr`: for 100 non-members and 1 %, up to 5.5 %.

    References
    ----------
    N. Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P
    2022, `arXiv 2112.03570 <https://arxiv.org/abs/2112.03570>`_.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.privacy import tpr_at_fpr
    >>> estimate = tpr_at_fpr(np.arange(1000) + 500, np.arange(1000))
    >>> estimate.value
    0.509
    """
    members = _check_scores(member_scores, "member_scores", 1)
    others = _check_scores(nonmember_scores, "nonmember_scores", 1)
    if not 0 < fpr < 1:
        raise ValueError(f"fpr must be in (0, 1), got {fpr}.")
    # Up to rounding: 500 * 0.01 need not be 5.
    needed = int(np.ceil(_MIN_FALSE_POSITIVES / fpr - 1e-6))
    if len(others) < needed:
        raise TooFewScoresError(
            f"A true-positive rate at a false-positive rate of {fpr:g} needs at least "
            f"{needed} non-members, got {len(others)}: the threshold would rest on "
            f"fewer than {_MIN_FALSE_POSITIVES} of them. Report the AUC instead."
        )
    threshold = np.quantile(others, 1 - fpr, method="higher")
    n_found, n_members = int(np.count_nonzero(members > threshold)), len(members)
    interval = stats.binomtest(n_found, n_members).proportion_ci(
        confidence, method="exact"
    )
    return Estimate(n_found / n_members, float(interval.low), float(interval.high))


class TooFewScoresError(ValueError):
    """Too few non-members for a false-positive rate."""


def _newcombe_bounds(area, m, n, z):
    """Return the bounds of Newcombe's interval of an area."""

    def excess(theta):
        balance = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = theta * (1 - theta) / (m * n) * (1 + ((m + n) / 2 - 1) * balance)
        return np.abs(area - theta) - z * np.sqrt(variance)

    return _crossing(excess, area, 0.0), _crossing(excess, area, 1.0)


def _crossing(excess, inside, outside):
    """Return where a function turns positive from `inside` to `outside`."""
    for _ in range(60):
        middle = (inside + outside) / 2
        if excess(middle) > 0:
            outside = middle
        else:
            inside = middle
    return inside


def _normal_quantile(confidence):
    """Return how many standard deviations an interval goes to each side."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}.")
    return stats.norm.ppf((1 + confidence) / 2)


def _check_scores(scores, name, n_min):
    """Return finite scores as a float64 vector."""
    scores = check_array(scores, ensure_2d=False, dtype=np.float64, input_name=name)
    if scores.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {scores.shape}.")
    if len(scores) < n_min:
        raise ValueError(f"{name} has {len(scores)} values, needs {n_min} or more.")
    return scores
