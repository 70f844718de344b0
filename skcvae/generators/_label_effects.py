"""Means of label sets as sums of the effects of their labels, by empirical Bayes."""

from dataclasses import dataclass

import numpy as np

from .._class_means import (
    ClassMeans,
    class_sums,
    fit_class_means,
    variance_ratio,
    within_scatter,
)
from .._factor_covariance import factor_covariance
from .._label_sets import have_one_label

# Eigenvalues of the labels' products below this share of the largest are zero.
_RANK_TOLERANCE = 1e-10
# A sample whose own mean follows it entirely is held against the mean of all.
_MIN_FREE = 1e-6


@dataclass
class LabelEffects:
    r"""The mean of a label set s is `intercept` + s @ `effects`, in scaled units.

    `effects` has the shape (n_labels, n_features). The error of such a mean has the
    covariance of the samples within sets times :meth:`leverage`, (s - `centre`)'
    `inverse` (s - `centre`) + `base`.
    """

    intercept: np.ndarray
    effects: np.ndarray
    inverse: np.ndarray
    centre: np.ndarray
    base: float

    def means(self, sets):
        """Return the means of label sets, shape (n_sets, n_features)."""
        return self.intercept + sets.astype(float) @ self.effects

    def leverage(self, sets):
        """Return the variance of the means' errors, in that within sets, (n_sets,)."""
        away = sets - self.centre
        return self.base + np.einsum("ij,ij->i", away @ self.inverse, away)


def fit_label_effects(Z, sets, codes, k0="auto", covariance_shrinkage="auto"):
    r"""Estimate the means of label sets; return `ClassMeans` and `LabelEffects`.

    Ridge regression of the samples on their labels with a free intercept,

    .. math::
        B = (Y_c^\top Y_c + k_0 I)^{-1} Y_c^\top Z_c,

    for centred labels and samples. It is the posterior mean where an effect is N(0, W /
    k0) and a sample scatters with W within sets. :math:`k_0 = \sigma_w^2 / \sigma_b^2`
    is estimated in the metric of W by Henderson's method 3,

    .. math::
        \sigma_b^2 = \frac{\mathrm{SS} - r \sigma_w^2}{\mathrm{tr}(Y_c^\top Y_c)},

    with the sum of squares SS that the labels explain, and their rank r (Searle,
    Casella and McCulloch, Variance Components, 1992, section 5.5). For sets of one
    label each this would be the estimate of `fit_class_means`; there, that function is
    used, whose mean of all samples is the intercept.
    """
    if have_one_label(sets):
        means = fit_class_means(Z, codes, len(sets), k0, covariance_shrinkage)
        return means, _effects_of_classes(Z, sets, codes, means)
    products, across, overall, centre = _label_products(Z, sets, codes)
    values, vectors = np.linalg.eigh(products)
    explained = values > _RANK_TOLERANCE * max(values[-1], 1)
    turned = vectors.T @ across
    rank, n_samples = int(explained.sum()), len(codes)
    freedom = n_samples - 1 - rank
    inverse_values = np.divide(1, values, out=np.zeros_like(values), where=explained)
    if freedom < 1:
        # As many labels as samples: within and between cannot be told apart.
        freedom, inverse_values = max(n_samples - 1, 1), np.zeros_like(values)
        k0 = 1.0 if k0 == "auto" else k0
    fitted = vectors @ (inverse_values[:, None] * turned)
    raw = overall + (sets - centre) @ fitted
    scatter = within_scatter(Z, codes, raw, freedom)
    if covariance_shrinkage == "factors":
        residuals = (Z - raw[codes]) * np.sqrt(n_samples / freedom)
        covariance = factor_covariance(residuals)
    else:
        covariance = scatter.covariance(covariance_shrinkage)
    if k0 == "auto":
        directions = turned[explained] / np.sqrt(values[explained])[:, None]
        k0 = variance_ratio(
            covariance, scatter, directions, rank, values[explained].sum()
        )
    weights = _inverse(values, explained, k0)
    effects = vectors @ (np.where(explained, weights, 0)[:, None] * turned)
    inverse = (vectors * weights) @ vectors.T
    found = LabelEffects(
        overall - centre @ effects, effects, inverse, centre, 1 / n_samples
    )
    return ClassMeans(raw, found.means(sets), covariance, k0, scatter), found


def leave_one_out_of_sets(Z, sets, codes, effects, dtype=np.float32):
    """Return each sample minus the mean that its label set has without it.

    Exact for ridge regression: r / (1 - h), for the residual r and the leverage h.
    """
    residuals = Z - effects.means(sets)[codes]
    free = 1 - effects.leverage(sets)[codes]
    alone = free < _MIN_FREE
    residuals /= np.where(alone, 1, free)[:, None]
    residuals[alone] = Z[alone] - Z.mean(axis=0)
    return residuals.astype(dtype)


def _label_products(Z, sets, codes):
    """Return Yc'Yc, Yc'Zc, the mean sample and the mean of the labels."""
    n_samples = len(codes)
    counts = np.bincount(codes, minlength=len(sets))
    labels = sets.astype(float)
    sums = class_sums(Z, codes, len(sets))
    overall, centre = sums.sum(axis=0) / n_samples, counts @ labels / n_samples
    products = (labels * counts[:, None]).T @ labels
    products -= n_samples * np.outer(centre, centre)
    across = labels.T @ sums - n_samples * np.outer(centre, overall)
    return products, across, overall, centre


def _inverse(values, explained, k0):
    """Return 1 / (d + k0) of each eigenvalue d, and 0 where that is not finite."""
    total = np.where(explained, values, 0) + k0
    return np.divide(1, total, out=np.zeros_like(total), where=total > 0)


def _effects_of_classes(Z, sets, codes, means):
    """Return the effects of labels of which each sample has one."""
    labels = sets.argmax(axis=1)
    n_labels = sets.shape[1]
    overall = Z.mean(axis=0, dtype=float)
    effects = np.zeros((n_labels, Z.shape[1]))
    effects[labels] = means.shrunk - overall
    known = np.zeros(n_labels)
    known[labels] = np.bincount(codes, minlength=len(sets))
    total = known + means.k0
    inverse = np.divide(1, total, out=np.zeros(n_labels), where=total > 0)
    return LabelEffects(overall, effects, np.diag(inverse), np.zeros(n_labels), 0.0)
