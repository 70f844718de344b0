"""Noisy statistics of labelled samples, their privacy cost, and estimates from them.

Functions that read samples add Gaussian noise through a `NoiseLedger`. Their results
may be published and used freely. Neighbouring data sets differ by one sample that is
added or removed.
"""

from dataclasses import dataclass

import numpy as np

from ..._class_means import class_sums

# Candidates for a bound on the norm of samples: a public grid in steps of a fourth of
# an octave, wide enough for all embeddings.
_NORM_GRID = 2.0 ** (np.arange(-256, 263) / 4)
# The bound is one of so many candidates, from the median on.
_N_ABOVE = 8
# Binary searches among 512 and 8 candidates.
_N_QUESTIONS = 12
# Candidates for the number of pseudo-samples at the overall mean.
_K0_GRID = 10.0 ** np.linspace(-2, 4, 121)
# Smallest variance in any direction, relative to the mean over all directions.
_SMALLEST_VARIANCE = 0.02


class NoiseLedger:
    r"""Add Gaussian noise to statistics, and record the cost of each.

    Gaussian mechanisms compose to one of ratio :math:`\mu = \sqrt{\sum_i \Delta_i^2 /
    \sigma_i^2}`, also where one reads the output of another (Dong, Roth and Su, arXiv
    1905.02383, corollary 3.3). `mu` is that of all statistics together, and `shares`
    has the share of each name in its square. `rng` makes the noise.
    """

    def __init__(self, mu, shares, rng):
        total = sum(shares.values())
        self._mu = {n: mu * np.sqrt(share / total) for n, share in shares.items()}
        self._rng = rng
        self.releases = []

    def noise_std(self, name, sensitivity, n_releases=1):
        """Return the standard deviation of the noise of a statistic."""
        return sensitivity * np.sqrt(n_releases) / self._mu[name]

    def release(self, name, value, sensitivity, n_releases=1):
        """Return a statistic with noise; `n_releases` share the budget of the name."""
        std = self._record(name, sensitivity, n_releases)
        return value + std * self._rng.standard_normal(np.shape(value))

    def release_symmetric(self, name, matrix, sensitivity):
        """Return a symmetric matrix with noise; `sensitivity` is in Frobenius norm.

        Off the diagonal the noise has half of the variance, because each of these
        entries counts twice in the norm.
        """
        std = self._record(name, sensitivity, 1)
        noise = std * self._rng.standard_normal(matrix.shape)
        return matrix + (noise + noise.T) / 2

    def _record(self, name, sensitivity, n_releases):
        std = self.noise_std(name, sensitivity, n_releases)
        self.releases.append((name, float(sensitivity), float(std)))
        return std

    def describe(self):
        """Return the noise multiplier and number of releases of each statistic."""
        described = {}
        for name, sensitivity, std in self.releases:
            entry = described.setdefault(
                name, {"noise_multiplier": std / sensitivity, "releases": 0}
            )
            entry["releases"] += 1
        return described

    @property
    def mu(self):
        """Ratio of sensitivity to noise of all releases together."""
        return float(np.sqrt(sum((s / std) ** 2 for _, s, std in self.releases)))


def clip_to_norm(X, bound):
    """Return the samples; those of a larger Euclidean norm are scaled to `bound`."""
    norms = np.linalg.norm(X, axis=1)
    return X * (bound / np.maximum(norms, bound))[:, None]


def noisy_norm_bound(norms, ledger, name):
    """Return a bound of about nine in ten norms, from a public grid.

    A first binary search finds their median, which needs few samples. A second one
    finds their 90 % quantile among the candidates just above the median. Each step
    asks whether the norms above a candidate outweigh those below it; one norm changes
    the answer by at most one.
    """

    def search(low, high, weight):
        while low < high:
            middle = (low + high) // 2
            n_above = np.count_nonzero(norms > _NORM_GRID[middle])
            balance = n_above - weight * (len(norms) - n_above)
            if ledger.release(name, balance, 1.0, _N_QUESTIONS) > 0:
                low = middle + 1
            else:
                high = middle
        return low

    median = search(0, len(_NORM_GRID) - _N_ABOVE, 1.0)
    return float(_NORM_GRID[search(median, median + _N_ABOVE - 1, 1 / 9)])


@dataclass
class PrivateSums:
    """Noisy counts and sums of classes, around a noisy centre.

    `centre` was subtracted from all samples, and `data_norm` is the norm to which they
    were clipped. `counts`, of shape (n_classes,), are at least 0, their total
    `n_samples` at least 1. `sums` has the shape (n_classes, n_features). `noise_std`
    and `count_std` are the standard deviations of the noise of each entry of `sums`,
    and of each count.
    """

    centre: np.ndarray
    data_norm: float
    counts: np.ndarray
    n_samples: float
    sums: np.ndarray
    noise_std: float
    count_std: float


def sum_classes(X, codes, n_classes, ledger, center=None, data_norm=None):
    """Return noisy counts and sums of the classes, a `PrivateSums`."""
    counts = np.bincount(codes, minlength=n_classes).astype(float)
    counts = ledger.release("counts", counts, 1.0)
    n_samples = max(float(counts.sum()), 1.0)
    if center is None:
        bound = noisy_norm_bound(np.linalg.norm(X, axis=1), ledger, "raw_norm")
        total = ledger.release("center", clip_to_norm(X, bound).sum(axis=0), bound)
        center = total / n_samples
    X = X - center
    if data_norm is None:
        data_norm = noisy_norm_bound(np.linalg.norm(X, axis=1), ledger, "data_norm")
    sums = class_sums(clip_to_norm(X, data_norm), codes, n_classes)
    return PrivateSums(
        centre=np.broadcast_to(center, X.shape[1]).astype(float),
        data_norm=float(data_norm),
        counts=np.maximum(counts, 0),
        n_samples=n_samples,
        sums=ledger.release("sums", sums, data_norm),
        noise_std=float(ledger.noise_std("sums", data_norm)),
        count_std=float(ledger.noise_std("counts", 1.0)),
    )


def residual_bound(residuals, ledger, data_norm):
    """Return a norm to clip residuals to, at most `data_norm`."""
    bound = noisy_norm_bound(np.linalg.norm(residuals, axis=1), ledger, "residual_norm")
    return min(bound, data_norm)


def second_moment(residuals, bound, n_samples, ledger):
    """Return the noisy mean of r r' and the deviation of its diagonal's noise."""
    clipped = clip_to_norm(residuals, bound)
    noise_std = ledger.noise_std("second_moment", bound**2) / n_samples
    # The Frobenius norm of r r' is |r|².
    total = ledger.release_symmetric("second_moment", clipped.T @ clipped, bound**2)
    return total / n_samples, float(noise_std)


def private_shares(shares, center, data_norm):
    """Return the shares of the budget, without those of values that the user gave."""
    unneeded = ("raw_norm", "center") if center is not None else ()
    unneeded += ("data_norm",) if data_norm is not None else ()
    return {name: share for name, share in shares.items() if name not in unneeded}


# The functions below read noisy statistics only, and so cost no privacy.


def shrink_noisy_covariance(moment, noise_std):
    r"""Return a positive definite covariance from a matrix with symmetric noise.

    Noise of deviation :math:`\sigma`, `noise_std`, on the diagonal and :math:`\sigma /
    \sqrt 2` off it spreads eigenvalues by up to :math:`b = \sigma \sqrt{2 d}` to either
    side. A deviation y from the common level becomes :math:`\operatorname{sign}(y)
    \sqrt{\max(y^2 - b^2, 0)}`, the estimate of least squared error for few large
    eigenvalues (Gavish and Donoho, arXiv 1405.7511); the level keeps the trace.
    """
    values, vectors = np.linalg.eigh(moment)
    spread = noise_std * np.sqrt(2 * len(values))
    # With few samples, the noise of the trace can exceed the trace.
    total = max(values.sum(), noise_std, np.finfo(float).tiny)
    smallest = _SMALLEST_VARIANCE * total / len(values)

    def shrunk(level):
        deviation = values - level
        kept = np.sqrt(np.maximum(deviation**2 - spread**2, 0))
        return np.maximum(level + np.sign(deviation) * kept, smallest)

    # Bisection: but for rounding, the sum grows with the level.
    low, high = 0.0, max(values.max(), total)
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if shrunk(level).sum() < total else (low, level)
    values = shrunk(high)
    values *= total / values.sum()
    return (vectors * values) @ vectors.T


def shrink_noisy_means(private, covariance):
    r"""Return class means from `PrivateSums`, shrunk towards the overall mean, and k0.

    In a direction of within-class variance :math:`w`, a noisy sum of the samples of a
    class with noisy count n has the variance :math:`(n^2 + \tau^2) w / k_0 + n w +
    \sigma^2`: that of class means, of samples around them and of the mechanism's noise,
    :math:`\tau` in the count and :math:`\sigma` in the sum. The mean is the estimate of
    least squared error; :math:`k_0`, the number of pseudo-samples at the overall mean,
    has the largest likelihood.

    The means, of shape (n_classes, n_features), are around the noisy centre.
    """
    within, vectors = np.linalg.eigh(covariance)
    counts = private.counts[:, None]
    overall = private.sums.sum(axis=0) / private.n_samples
    sums = (private.sums - counts * overall) @ vectors
    noise = counts * within + private.noise_std**2
    squared_counts = counts**2 + private.count_std**2

    def cost(k0):
        variance = squared_counts * within / k0 + noise
        return np.sum(np.log(variance) + sums**2 / variance)

    k0 = min(_K0_GRID, key=cost)
    between = within / k0
    means = counts * between * sums / (squared_counts * between + noise)
    return overall + means @ vectors.T, float(k0)
