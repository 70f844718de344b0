"""Class means from labelled and unlabelled samples, by EM with a guard."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from sklearn.utils import gen_batches

from .._class_means import (
    class_sums,
    leave_one_out_residuals,
    make_whitener,
    shrink_class_means,
)
from .._record_sets import first_copies

_N_FOLDS = 3
_MAX_ITER = 30
# Unlabelled samples are left out where they are farther from the nearest class mean
# than this share of the labelled ones from that of their own class.
_QUANTILE = 0.99
_MAX_TEMPERATURE = 100.0
# Numbers that are held at a time: 32 MiB.
_BLOCK_NUMBERS = 2**22


@dataclass
class PooledMeans:
    """Class means after EM, and what the unlabelled samples gave to them.

    `means` has the shape (n_classes, n_features), `count`, the unlabelled samples that
    each class got, (n_classes,), and so has `prior`, the class prior of the unlabelled
    samples. After no iteration, `means` are those of the labelled samples, and `prior`
    is None.
    """

    means: np.ndarray
    count: np.ndarray
    prior: np.ndarray | None
    n_iter: int


def pool_class_means(Z, codes, Z_unlabeled, means, shift):
    r"""Return `PooledMeans`: those of `ClassMeans` moved by unlabelled samples.

    Each iteration of EM takes the probabilities of the classes under :math:`\pi_c
    N(m_c, T W)` as weights of an unlabelled sample, and then estimates :math:`\pi` and
    the shrunk means anew. The temperature T makes the probabilities of labelled samples
    honest when each is left out of its class mean: classes are not Gaussian, and
    without it every sample is given to one class with certainty.

    Three fits without a third of the labelled samples of each class follow the same
    iterations. These go on as long as they move held-out samples nearer to the mean of
    their class, averaged over the classes, by more than the standard error.

    `means` are those of the labelled samples `Z`. `shift`, of shape (n_classes,
    n_features), is what they are shrunk to, minus the mean of the labelled samples.
    """
    counts = np.bincount(codes)
    unchanged = PooledMeans(means.shrunk, np.zeros(len(counts)), None, 0)
    if Z_unlabeled is None or not len(Z_unlabeled):
        return unchanged
    if counts.max() < 2 or np.isinf(means.k0):
        return unchanged
    whiten, restore = make_whitener(means.covariance)
    Z, U, raw, shift = (whiten(a) for a in (Z, Z_unlabeled, means.raw, shift))
    away = _leave_one_out(Z - shift[codes], codes, raw - shift, means.k0)
    start = _Mixture.of(Z, codes, len(counts), shift + Z.mean(axis=0), means.k0)
    start.temperature = _fit_temperature(Z, codes, start.means(), away)
    U = U[_nearest(U, start.means()) <= _weighted_quantile(away, codes)]
    if not len(U):
        return unchanged
    start.estimate_prior(U)
    n_iter = _choose_n_iter(Z, codes, U, start)
    for _ in range(n_iter):
        start.step(U)
    if n_iter == 0:
        return unchanged
    return PooledMeans(restore(start.means()), start.received, start.prior, n_iter)


class _Mixture:
    """Whitened class means between a centre, labelled and unlabelled samples."""

    def __init__(self, counts, sums, centre, k0):
        self.counts, self.sums, self.centre, self.k0 = counts, sums, centre, k0
        self.received = np.zeros(len(counts))
        self.moved = np.zeros_like(sums)
        self.prior = np.full(len(counts), 1 / len(counts))
        self.temperature = 1.0

    @classmethod
    def of(cls, Z, codes, n_classes, centre, k0):
        """Return the mixture of labelled samples."""
        counts = np.bincount(codes, minlength=n_classes)
        return cls(counts, class_sums(Z, codes, n_classes), centre, k0)

    def means(self):
        """Return the shrunk mean of each class, shape (n_classes, n_features)."""
        counts = self.counts + self.received
        raw = (self.sums + self.moved) / counts[:, None]
        return shrink_class_means(raw, self.centre, counts, self.k0)

    def step(self, U):
        """Share the unlabelled samples out to the classes."""
        self.received, self.moved = self._share(U)
        self._set_prior(self.received)

    def estimate_prior(self, U):
        """Set the prior by one iteration that leaves the means where they are."""
        self._set_prior(self._share(U)[0])

    def _set_prior(self, received):
        # One more sample for each class: none becomes impossible.
        self.prior = (received + 1) / (received.sum() + len(received))

    def _share(self, U):
        """Return the number and the sum of the samples that each class gets."""
        means = self.means()
        offset = np.log(self.prior) - (means**2).sum(axis=1) / (2 * self.temperature)
        received, sums = np.zeros(len(means)), np.zeros_like(means)
        for block in _blocks(U, means):
            share = softmax(U[block] @ means.T / self.temperature + offset, axis=1)
            received += share.sum(axis=0)
            sums += share.T @ U[block]
        return received, sums


def _choose_n_iter(Z, codes, U, start):
    """Return the number of iterations that bring held-out samples nearer."""
    counts = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    rank = np.empty(len(codes), dtype=int)
    rank[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    fold = (rank % _N_FOLDS)[first_copies(Z, codes)]
    fold[counts[codes] < 2] = -1
    parts = []
    for number in range(_N_FOLDS):
        train, test = fold != number, fold == number
        labelled = Z[train], codes[train], len(counts)
        mixture = _Mixture.of(*labelled, start.centre, start.k0)
        mixture.temperature, mixture.prior = start.temperature, start.prior
        parts.append((mixture, Z[test], codes[test]))
    held_out = np.concatenate([test_codes for _, _, test_codes in parts])

    def distances():
        return np.concatenate(
            [((A - mixture.means()[a]) ** 2).sum(axis=1) for mixture, A, a in parts]
        )

    last = distances()
    for n_iter in range(_MAX_ITER):
        for mixture, _, _ in parts:
            mixture.step(U)
        now = distances()
        if not _is_gain(last - now, held_out):
            return n_iter
        last = now
    return _MAX_ITER


def _is_gain(gains, codes):
    """Tell whether the mean over classes exceeds its standard error."""
    _, codes, counts = np.unique(codes, return_inverse=True, return_counts=True)
    mean = np.bincount(codes, gains) / counts
    squares = np.bincount(codes, (gains - mean[codes]) ** 2)
    error = np.sqrt(np.sum(squares / (counts * (counts - 1)))) / len(counts)
    return mean.mean() > error


def _fit_temperature(Z, codes, means, away):
    """Return the temperature of least loss of labelled samples, each left out.

    The loss is averaged over the classes of at least two samples. Where there are many
    classes and samples, a part of these will do.
    """
    weight = _class_balanced(codes)
    used = np.flatnonzero(weight)[:: _stride(len(codes), len(means))]
    weight = weight[used] / weight[used].sum()
    squares = _squared_distances(Z[used], means)
    squares[np.arange(len(used)), codes[used]] = away[used]

    def loss(log_temperature):
        halves = squares / (-2 * np.exp(log_temperature))
        own = away[used] / (-2 * np.exp(log_temperature))
        return weight @ (logsumexp(halves, axis=1) - own)

    bounds = (0, np.log(_MAX_TEMPERATURE))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def _stride(n_samples, n_classes):
    return max(1, n_samples * n_classes // _BLOCK_NUMBERS)


def _leave_one_out(Z, codes, raw, k0):
    """Return squared distances from the shrunk mean of the class without the sample."""
    return (leave_one_out_residuals(Z, codes, raw, k0) ** 2).sum(axis=1)


def _class_balanced(codes):
    """Return weights that sum to 1 for each class, and 0 for classes of one sample."""
    counts = np.bincount(codes)[codes]
    return np.where(counts > 1, 1 / counts, 0.0)


def _weighted_quantile(values, codes):
    weight = _class_balanced(codes)
    order = np.argsort(values)
    cumulative = np.cumsum(weight[order])
    place = np.searchsorted(cumulative, _QUANTILE * cumulative[-1])
    return values[order][place]


def _nearest(U, means):
    """Return the squared distance of each sample from the nearest mean."""
    return np.concatenate(
        [_squared_distances(U[b], means).min(axis=1) for b in _blocks(U, means)]
    )


def _squared_distances(A, means):
    products = A @ means.T
    return (A**2).sum(axis=1)[:, None] - 2 * products + (means**2).sum(axis=1)


def _blocks(U, means):
    return gen_batches(len(U), max(1, _BLOCK_NUMBERS // len(means)))
