"""Noisy statistics of labelled rows, and the privacy that each of them costs.

Every function here that reads rows adds Gaussian noise through a `NoiseLedger`; what
comes out may be published and used freely. Neighbouring data sets differ by one row
that is added or removed.
"""

from dataclasses import dataclass

import numpy as np

# Candidates for the bound on the norm of rows: a public grid, a fourth of an octave
# apart, that covers what embeddings can be.
_NORM_GRID = 2.0 ** (np.arange(-256, 263) / 4)
# How many candidates, from the median on, the bound is chosen among.
_N_ABOVE = 8
# Binary searches among 512 and 8 candidates.
_N_QUESTIONS = 12


class NoiseLedger:
    r"""Add Gaussian noise to statistics, and remember what each of them cost.

    Gaussian mechanisms, also where one reads the output of another, compose to one of
    ratio :math:`\mu = \sqrt{\sum_i \Delta_i^2 / \sigma_i^2}` (Dong, Roth and Su, arXiv
    1905.02383, corollary 3.3).

    Parameters
    ----------
    mu : float
        Ratio of sensitivity to noise of everything together.

    shares : dict
        Name of each statistic, and its part of the budget: of the square of `mu`.

    rng : numpy.random.Generator
        Source of the noise.
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
        """Return a statistic with noise; `n_releases` share what its name has."""
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
        """Ratio of sensitivity to noise of all that was released."""
        return float(np.sqrt(sum((s / std) ** 2 for _, s, std in self.releases)))


def clip_rows(X, bound):
    """Return the rows, those of a larger Euclidean norm shortened to `bound`."""
    norms = np.linalg.norm(X, axis=1)
    return X * (bound / np.maximum(norms, bound))[:, None]


def class_sums(X, codes, n_classes):
    """Return the sum of the rows of each class, shape (n_classes, n_features)."""
    sums = np.zeros((n_classes, X.shape[1]))
    np.add.at(sums, codes, X)
    return sums


def noisy_norm_bound(norms, ledger, name):
    """Return a bound of about nine in ten norms, from a public grid.

    A first binary search finds their median, which needs few rows; a second one, among
    the candidates just above it, their 90 % quantile. Each question is whether the
    norms above a candidate outweigh those below it, and a norm changes the answer by
    one.
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

    Attributes
    ----------
    centre : ndarray of shape (n_features,)
        What was subtracted from all rows.

    row_norm : float
        Norm to which centred rows were shortened.

    counts : ndarray of shape (n_classes,)
        Noisy number of rows of each class, at least 0.

    n_rows : float
        Noisy number of all rows, at least 1.

    sums : ndarray of shape (n_classes, n_features)
        Noisy sum of the centred and shortened rows of each class.

    noise_std, count_std : float
        Standard deviation of the noise of each entry of `sums`, and of each count.
    """

    centre: np.ndarray
    row_norm: float
    counts: np.ndarray
    n_rows: float
    sums: np.ndarray
    noise_std: float
    count_std: float


def sum_classes(X, codes, n_classes, ledger, center=None, row_norm=None):
    """Return noisy counts and sums of the classes, a `PrivateSums`."""
    counts = np.bincount(codes, minlength=n_classes).astype(float)
    counts = ledger.release("counts", counts, 1.0)
    n_rows = max(float(counts.sum()), 1.0)
    if center is None:
        bound = noisy_norm_bound(np.linalg.norm(X, axis=1), ledger, "raw_norm")
        total = ledger.release("center", clip_rows(X, bound).sum(axis=0), bound)
        center = total / n_rows
    X = X - center
    if row_norm is None:
        row_norm = noisy_norm_bound(np.linalg.norm(X, axis=1), ledger, "row_norm")
    sums = class_sums(clip_rows(X, row_norm), codes, n_classes)
    noise_std = float(ledger.noise_std("sums", row_norm))
    sums = ledger.release("sums", sums, row_norm)
    return PrivateSums(
        np.broadcast_to(center, X.shape[1]).astype(float),
        float(row_norm),
        np.maximum(counts, 0),
        n_rows,
        sums,
        noise_std,
        float(ledger.noise_std("counts", 1.0)),
    )


def residual_bound(residuals, ledger, row_norm):
    """Return a norm to shorten residuals to, at most `row_norm`."""
    bound = noisy_norm_bound(np.linalg.norm(residuals, axis=1), ledger, "residual_norm")
    return min(bound, row_norm)


def second_moment(residuals, bound, n_rows, ledger):
    """Return the noisy mean of r r' and the deviation of its diagonal's noise."""
    clipped = clip_rows(residuals, bound)
    noise_std = ledger.noise_std("second_moment", bound**2) / n_rows
    # Of a row r, r r' has the Frobenius norm |r|².
    total = ledger.release_symmetric("second_moment", clipped.T @ clipped, bound**2)
    return total / n_rows, float(noise_std)


def private_shares(shares, center, row_norm):
    """Return the parts of the budget without those of what the user has given."""
    unneeded = ("raw_norm", "center") if center is not None else ()
    unneeded += ("row_norm",) if row_norm is not None else ()
    return {name: share for name, share in shares.items() if name not in unneeded}
