"""Class means shrunk by empirical Bayes, and the covariance around them."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.covariance import ledoit_wolf

from ._factor_covariance import contrasts, factor_covariance

# What keeps a covariance of features that never vary positive definite.
_JITTER = 1e-10


@dataclass
class ClassMeans:
    """Class means before and after shrinkage, and what they were shrunk by.

    `raw` and `shrunk` have the shape (n_classes, n_features). `covariance` is that
    within the classes. `k0` is the number of pseudo-samples at the mean of all samples.
    """

    raw: np.ndarray
    shrunk: np.ndarray
    covariance: np.ndarray
    k0: float


def fit_class_means(Z, codes, n_classes, k0="auto", covariance_shrinkage="auto"):
    """Estimate means, covariance and shrinkage of the classes, a `ClassMeans`."""
    raw = raw_class_means(Z, codes, n_classes)
    covariance = within_class_covariance(Z, codes, raw, covariance_shrinkage)
    if k0 == "auto":
        k0 = estimate_mean_shrinkage(Z, codes, raw, covariance)
    counts = np.bincount(codes, minlength=n_classes)
    shrunk = shrink_class_means(raw, Z.mean(axis=0), counts, k0)
    return ClassMeans(raw, shrunk, covariance, k0)


def raw_class_means(Z, codes, n_classes):
    """Return the mean of each class, shape (n_classes, n_features), in float64."""
    sums = class_sums(Z, codes, n_classes)
    return sums / np.bincount(codes, minlength=n_classes)[:, None]


def class_sums(Z, codes, n_classes):
    """Return the sum of the samples of each class, in float64.

    A sparse product adds in the order of the samples, as `np.add.at` does, and is many
    times faster.
    """
    n_samples = len(codes)
    indicator = sparse.csr_array(
        (np.ones(n_samples), codes, np.arange(n_samples + 1)), (n_samples, n_classes)
    )
    return indicator.T @ Z


def within_class_covariance(Z, codes, means, shrinkage="auto"):
    """Return the covariance that all classes share, shrunk towards the identity.

    Samples are centred on the raw mean of their class; where every class has one sample
    only, on the mean of all samples. "auto" takes Ledoit and Wolf's shrinkage,
    "factors" the `factor_covariance` of the contrasts within the classes.
    """
    n_samples, n_classes = len(codes), len(means)
    if shrinkage == "factors":
        alone = n_samples == n_classes
        rows = (np.zeros_like(codes), 1) if alone else (codes, n_classes)
        return factor_covariance(contrasts(Z, *rows))
    if n_samples > n_classes:
        residuals, freedom = Z - means[codes], n_samples - n_classes
    else:
        residuals, freedom = Z - Z.mean(axis=0), max(n_samples - 1, 1)
    if shrinkage == "auto":
        covariance, _ = ledoit_wolf(residuals, assume_centered=True)
        return covariance * (n_samples / freedom)
    covariance = residuals.T @ residuals / freedom
    target = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return (1 - shrinkage) * covariance + shrinkage * target


def residual_covariance(residuals):
    """Return the covariance of residuals around zero, positive definite.

    Shrunk as Ledoit and Wolf do, for there may be fewer samples than features.
    """
    covariance, _ = ledoit_wolf(residuals.astype(np.float64), assume_centered=True)
    return make_definite(covariance)


def smooth_residual_factor(residuals):
    """Return the Cholesky factor of the `factor_covariance` of residuals."""
    covariance = factor_covariance(residuals.astype(np.float64))
    return np.linalg.cholesky(make_definite(covariance))


def residual_factor(residuals):
    """Return the Cholesky factor of `residual_covariance`."""
    return np.linalg.cholesky(residual_covariance(residuals))


def make_definite(covariance):
    """Return a covariance with a little more variance, for features that have none."""
    size = np.trace(covariance) / max(len(covariance), 1)
    return covariance + (_JITTER * size or _JITTER) * np.eye(len(covariance))


def estimate_mean_shrinkage(Z, codes, means, covariance):
    r"""Estimate k0, the number of pseudo-samples at the overall mean.

    A one-way analysis of variance in the metric of the within-class covariance
    :math:`W`: :math:`k_0 = \sigma_w^2 / \sigma_b^2`, with

    .. math::
        \sigma_b^2 = \frac{\sum_c n_c \|m_c - m\|_{W^{-1}}^2 - (C - 1) \sigma_w^2}
        {n - \sum_c n_c^2 / n}.

    Searle, Casella and McCulloch, Variance Components (1992), section 3.6.
    """
    counts = np.bincount(codes, minlength=len(means))
    n_samples, n_classes = len(codes), len(means)
    if n_classes == 1:
        return 0.0
    if n_samples == n_classes:
        # One sample per class: within and between cannot be told apart.
        return 1.0
    if not covariance.any():
        # No variance within the classes: their means are exact.
        return 0.0
    jitter = _JITTER * np.trace(covariance) / len(covariance)
    metric = np.linalg.inv(covariance + jitter * np.eye(len(covariance)))
    residuals = Z - means[codes]
    within = np.sum(residuals.T @ residuals * metric) / (n_samples - n_classes)
    shifts = means - Z.mean(axis=0)
    between = np.einsum("c,cd,de,ce->", counts, shifts, metric, shifts, optimize=True)
    between -= (n_classes - 1) * within
    between /= n_samples - np.sum(counts**2) / n_samples
    return float(within / between) if between > 0 else np.inf


def shrink_class_means(means, overall_mean, counts, k0):
    """Return (n_c mean_c + k0 mean) / (n_c + k0) for every class."""
    weight = _weight(counts, k0)[:, None]
    return overall_mean + weight * (means - overall_mean)


def leave_one_out_residuals(Z, codes, means, k0):
    """Return each sample minus the shrunk mean that its class has without it.

    The mean of a class of five samples lies close to each of the five, so plain
    residuals would teach a model that small classes are narrow.
    """
    counts = np.bincount(codes, minlength=len(means))
    overall_mean = Z.mean(axis=0)
    others = np.maximum(counts - 1, 1)[codes, None]
    means_without_row = means[codes] + (means[codes] - Z) / others
    weight = _weight(counts - 1, k0)[codes, None]
    return Z - overall_mean - weight * (means_without_row - overall_mean)


def _weight(counts, k0):
    """Return n_c / (n_c + k0), and 0 for an empty class."""
    if np.isinf(k0):
        return np.zeros(len(counts))
    return np.divide(counts, counts + k0, out=np.zeros(len(counts)), where=counts > 0)
