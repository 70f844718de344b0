"""Class means shrunk by empirical Bayes, and the covariance around them."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular
from sklearn.covariance import ledoit_wolf
from sklearn.utils import gen_batches

from ._factor_covariance import contrasts, factor_covariance
from ._thin_covariance import (
    ThinCovariance,
    is_wide,
    principal_directions,
)

# What keeps a covariance of features that never vary positive definite.
_JITTER = 1e-10
# Numbers of a block of samples in float64: 16 MiB.
_BLOCK_NUMBERS = 2**21
# The same of 1 MiB: several arrays of this size stay in the cache.
_RESIDUAL_NUMBERS = 2**17


@dataclass
class ClassMeans:
    """Class means before and after shrinkage, and what they were shrunk by.

    `raw` and `shrunk` have the shape (n_classes, n_features). `covariance` is that
    within the classes, an array or, for wide data, a `ThinCovariance`. `k0` is the
    number of pseudo-samples at the mean of all samples. `scatter` is what both were
    estimated from.
    """

    raw: np.ndarray
    shrunk: np.ndarray
    covariance: np.ndarray | ThinCovariance
    k0: float
    scatter: "Scatter"


@dataclass
class Scatter:
    """Sum of the products of residuals: what the estimates within classes read.

    `matrix` is the sum, an array of shape (n_features, n_features) or, for wide data, a
    `ThinCovariance`. `freedom` is the number of degrees of freedom of the `n_samples`
    residuals. `fourth` is the sum of the fourth powers of their lengths, which only the
    shrinkage of Ledoit and Wolf reads.
    """

    matrix: np.ndarray | ThinCovariance
    n_samples: int
    freedom: int
    fourth: float | None = None

    def covariance(self, shrinkage):
        """Return the covariance, shrunk towards the identity.

        "auto" is the shrinkage of Ledoit and Wolf, "oas" that of Chen et al.
        """
        thin = isinstance(self.matrix, ThinCovariance)
        total = self.matrix.values.sum() if thin else np.trace(self.matrix)
        size = total / len(self.matrix)
        if shrinkage == "auto":
            shrinkage = self._ledoit_wolf(size)
        elif shrinkage == "oas":
            shrinkage = self._oracle_approximating(size)
        kept, added = (1 - shrinkage) / self.freedom, shrinkage * size / self.freedom
        if thin:
            return self.matrix.shift(kept, added)
        covariance = kept * self.matrix
        covariance.flat[:: len(covariance) + 1] += added
        return covariance

    def _ledoit_wolf(self, size):
        """Return Ledoit and Wolf's weight of the identity, for the mean of squares."""
        squares, n = self._squares(), self.n_samples
        away = squares - len(self.matrix) * size**2
        error = self.fourth - squares / n
        return min(max(error / away, 0.0), 1.0) if away > 0 else 0.0

    def _oracle_approximating(self, size):
        """Return the weight of the identity of Chen et al., as scikit-learn's OAS."""
        n_features = len(self.matrix)
        mean = self._squares() / n_features**2
        away = (self.freedom + 1) * (mean - size**2 / n_features)
        return min((mean + size**2) / away, 1.0) if away > 0 else 1.0

    def _squares(self):
        """Return the squared Frobenius norm of the sum."""
        values = getattr(self.matrix, "values", self.matrix)
        return float(np.vdot(values, values))


def fit_class_means(Z, codes, n_classes, k0="auto", covariance_shrinkage="auto"):
    """Estimate means, covariance and shrinkage of the classes, a `ClassMeans`."""
    raw = raw_class_means(Z, codes, n_classes)
    scatter = within_scatter(Z, codes, raw)
    if covariance_shrinkage == "factors":
        covariance = within_class_covariance(Z, codes, raw, covariance_shrinkage)
    else:
        covariance = scatter.covariance(covariance_shrinkage)
    counts = np.bincount(codes, minlength=n_classes)
    return shrink_means(raw, Z.mean(axis=0), counts, scatter, covariance, k0)


def shrink_means(raw, overall_mean, counts, scatter, covariance, k0="auto"):
    """Return the `ClassMeans` of raw ones, for a scatter and a covariance."""
    if k0 == "auto":
        k0 = _mean_shrinkage(raw, overall_mean, counts, scatter, covariance)
    shrunk = shrink_class_means(raw, overall_mean, counts, k0)
    return ClassMeans(raw, shrunk, covariance, k0, scatter)


def indices_of_classes(codes, n_classes):
    """Return the indices of the samples of each class."""
    ends = np.cumsum(np.bincount(codes, minlength=n_classes))
    return np.split(np.argsort(codes, kind="stable"), ends[:-1])


def raw_class_means(Z, codes, n_classes):
    """Return the mean of each class, shape (n_classes, n_features), in float64."""
    sums = class_sums(Z, codes, n_classes)
    return sums / np.bincount(codes, minlength=n_classes)[:, None]


def class_sums(Z, codes, n_classes):
    """Return the sum of the samples of each class, in float64.

    A sparse product adds in the order of the samples, as `np.add.at` does, and is many
    times faster. It takes a few features at a time, for it copies them to float64.
    """
    n_samples, n_features = Z.shape
    indicator = sparse.csr_array(
        (np.ones(n_samples), codes, np.arange(n_samples + 1)), (n_samples, n_classes)
    ).T
    sums = np.empty((n_classes, n_features))
    for block in gen_batches(n_features, max(16, _BLOCK_NUMBERS // max(n_samples, 1))):
        sums[:, block] = indicator @ Z[:, block]
    return sums


def within_scatter(Z, codes, means, freedom=None):
    """Return the `Scatter` of samples around the raw mean of their class.

    Where every class has one sample only, it is around the mean of all samples, unless
    the number of degrees of freedom is given.
    """
    n_samples, n_features = Z.shape
    if freedom is None:
        freedom = n_samples - len(means)
    if not freedom:
        means, codes = Z.mean(axis=0, dtype=float)[None], np.zeros_like(codes)
        freedom = max(n_samples - 1, 1)
    if is_wide(freedom, n_features):
        residuals = Z - means[codes]
        vectors, values = principal_directions(residuals)
        squares = np.einsum("ij,ij->i", residuals, residuals)
        matrix = ThinCovariance(vectors, values, 0.0)
        return Scatter(matrix, n_samples, freedom, np.sum(squares**2))
    matrix, fourth = np.zeros((n_features, n_features)), 0.0
    for block in gen_batches(n_samples, max(1, _BLOCK_NUMBERS // n_features)):
        residuals = Z[block] - means[codes[block]]
        matrix += residuals.T @ residuals
        fourth += np.sum(np.einsum("ij,ij->i", residuals, residuals) ** 2)
    return Scatter(matrix, n_samples, freedom, fourth)


def within_class_covariance(Z, codes, means, shrinkage="auto"):
    """Return the covariance that all classes share, shrunk towards the identity.

    Samples are centred on the raw mean of their class; where every class has one sample
    only, on the mean of all samples. "auto" takes Ledoit and Wolf's shrinkage,
    "factors" the `factor_covariance` of the contrasts within the classes. For wide data
    it is a `ThinCovariance`.
    """
    n_samples, n_classes = len(codes), len(means)
    if shrinkage == "factors":
        alone = n_samples == n_classes
        rows = (np.zeros_like(codes), 1) if alone else (codes, n_classes)
        return factor_covariance(contrasts(Z, *rows))
    return within_scatter(Z, codes, means).covariance(shrinkage)


def residual_covariance(residuals):
    """Return the covariance of residuals around zero, positive definite.

    Shrunk as Ledoit and Wolf do, for there may be fewer samples than features.
    """
    covariance, _ = ledoit_wolf(residuals.astype(np.float64), assume_centered=True)
    return make_definite(covariance)


def smooth_residual_factor(residuals, std):
    """Return a factor of the `factor_covariance` of residuals, times `std` of features.

    It is the Cholesky factor, or, for many features, the whole `ThinCovariance`.
    """
    covariance = make_definite(factor_covariance(residuals))
    if isinstance(covariance, ThinCovariance):
        return covariance.rescale(std)
    return std[:, None] * np.linalg.cholesky(covariance)


def residual_factor(residuals):
    """Return the Cholesky factor of `residual_covariance`."""
    return np.linalg.cholesky(residual_covariance(residuals))


def make_definite(covariance):
    """Return a covariance with a little more variance, for features that have none."""
    if isinstance(covariance, ThinCovariance):
        size = covariance.trace() / len(covariance)
        return covariance.shift(1.0, _JITTER * size or _JITTER)
    size = np.trace(covariance) / max(len(covariance), 1)
    return covariance + (_JITTER * size or _JITTER) * np.eye(len(covariance))


def make_whitener(covariance):
    """Return two functions of rows: one whitens them, the other takes that back."""
    covariance = make_definite(covariance)
    if isinstance(covariance, ThinCovariance):
        return (
            lambda rows: covariance.power(rows, -0.5),
            lambda rows: covariance.power(rows, 0.5),
        )
    factor = np.linalg.cholesky(covariance)
    return (
        lambda rows: solve_triangular(factor, rows.T.astype(np.float64), lower=True).T,
        lambda rows: rows @ factor.T,
    )


def _mean_shrinkage(means, overall_mean, counts, scatter, covariance):
    r"""Estimate k0, the number of pseudo-samples at the overall mean.

    A one-way analysis of variance in the metric of the within-class covariance
    :math:`W`: :math:`k_0 = \sigma_w^2 / \sigma_b^2`, with

    .. math::
        \sigma_b^2 = \frac{\sum_c n_c \|m_c - m\|_{W^{-1}}^2 - (C - 1) \sigma_w^2}
        {n - \sum_c n_c^2 / n}.

    Searle, Casella and McCulloch, Variance Components (1992), section 3.6.
    """
    n_samples, n_classes = counts.sum(), len(means)
    if n_classes == 1:
        return 0.0
    if n_samples == n_classes:
        # One sample per class: within and between cannot be told apart.
        return 1.0
    shifts = np.sqrt(counts)[:, None] * (means - overall_mean)
    weight = n_samples - np.sum(counts**2) / n_samples
    return variance_ratio(covariance, scatter, shifts, n_classes - 1, weight)


def variance_ratio(covariance, scatter, explained, rank, weight):
    r"""Return the variance within classes over that between them, both in W.

    The rows of `explained` hold the sum of squares between, of `rank` degrees of
    freedom. It has the expectation :math:`r \sigma_w^2 + w \sigma_b^2`, w is `weight`.
    """
    size = _mean_variance(covariance)
    if not size:
        # No variance within the classes: their means are exact.
        return 0.0
    if not weight:
        # Nothing that differs between samples tells of a variance between.
        return np.inf
    within, between = _in_metric(covariance, _JITTER * size, scatter.matrix, explained)
    within /= scatter.freedom
    between = (between.sum() - rank * within) / weight
    return float(within / between) if between > 0 else np.inf


def _mean_variance(covariance):
    """Return the mean variance of the features."""
    thin = isinstance(covariance, ThinCovariance)
    return (covariance.trace() if thin else np.trace(covariance)) / len(covariance)


def _in_metric(covariance, jitter, scatter, shifts):
    """Return tr(S M) and x' M x of each shift x, for the inverse M of a covariance."""
    if isinstance(covariance, ThinCovariance):
        covariance = covariance.shift(1.0, jitter)
        norms = np.einsum("ij,ij->i", covariance.power(shifts, -1), shifts)
        if isinstance(scatter, ThinCovariance):
            roots = (scatter.vectors * np.sqrt(scatter.values)).T
            return np.vdot(covariance.power(roots, -1), roots), norms
        return np.trace(covariance.power(scatter, -1)), norms
    metric = np.linalg.inv(covariance + jitter * np.eye(len(covariance)))
    norms = np.einsum("ij,ij->i", shifts @ metric, shifts)
    return np.vdot(scatter, metric), norms


def shrink_class_means(means, overall_mean, counts, k0):
    """Return (n_c mean_c + k0 mean) / (n_c + k0) for every class."""
    weight = _weight(counts, k0)[:, None]
    return overall_mean + weight * (means - overall_mean)


def leave_one_out_residuals(
    Z, codes, means, k0, counts=None, overall_mean=None, dtype=np.float64
):
    """Return each sample minus the shrunk mean that its class has without it.

    The mean of a class of five samples lies close to each of the five, so plain
    residuals would teach a model that small classes are narrow. `counts` and
    `overall_mean` are those of all samples, where `Z` is a part of them.
    """
    if counts is None:
        counts = np.bincount(codes, minlength=len(means))
        overall_mean = Z.mean(axis=0)
    others = np.maximum(counts - 1, 1)[:, None]
    weight = _weight(counts - 1, k0)[:, None]
    residuals = np.empty(Z.shape, dtype=dtype)
    for block in gen_batches(len(Z), max(1, _RESIDUAL_NUMBERS // Z.shape[1])):
        of, rows = codes[block], Z[block]
        means_without_row = means[of] + (means[of] - rows) / others[of]
        shift = weight[of] * (means_without_row - overall_mean)
        residuals[block] = rows - overall_mean - shift
    return residuals


def _weight(counts, k0):
    """Return n_c / (n_c + k0), and 0 for an empty class."""
    if np.isinf(k0):
        return np.zeros(len(counts))
    return np.divide(counts, counts + k0, out=np.zeros(len(counts)), where=counts > 0)
