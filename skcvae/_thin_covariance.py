"""Covariance of few directions and one variance in all others, for wide data."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

# A covariance of more features is kept as an array only where samples are as many:
# 32 MiB in float64.
MAX_DENSE_FEATURES = 2048
# Samples or features, whichever are fewer: one eigendecomposition of this size takes
# minutes, and half a gibibyte.
MAX_SIZE = 8192
# Directions of less than this share of the largest sum of squares are left out. They
# could not be made orthogonal to the others from products of samples.
_MIN_SHARE = 1e-8
_LOG_2_PI = np.log(2 * np.pi)


@dataclass
class ThinCovariance:
    r"""Covariance :math:`D (V \operatorname{diag}(\lambda) V' + s (I - V V')) D`.

    Parameters
    ----------
    vectors : ndarray of shape (n_features, rank)
        Orthonormal columns V.

    values : ndarray of shape (rank,)
        Variances in these directions.

    rest : float
        Variance s in all other directions.

    scale : ndarray of shape (n_features,) or float, default=1.0
        Diagonal of D.
    """

    vectors: np.ndarray
    values: np.ndarray
    rest: float
    scale: np.ndarray | float = 1.0

    def __len__(self):
        return len(self.vectors)

    @property
    def shape(self):
        """Shape of the array."""
        return len(self), len(self)

    def toarray(self):
        """Return the covariance as an array of shape (n_features, n_features)."""
        dense = self.vectors * (self.values - self.rest) @ self.vectors.T
        dense.flat[:: len(self) + 1] += self.rest
        scale = np.broadcast_to(self.scale, len(self))
        return dense * scale[:, None] * scale

    def rescale(self, scale):
        """Return the covariance of samples that are multiplied by `scale`."""
        return ThinCovariance(self.vectors, self.values, self.rest, self.scale * scale)

    def shift(self, factor, variance):
        """Return `factor` times the covariance, with `variance` more in each direction.

        For covariances with the scale 1.
        """
        values = factor * self.values + variance
        return ThinCovariance(self.vectors, values, factor * self.rest + variance)

    def take(self, features):
        """Return the covariance of some features, where all others are constant."""
        return ThinCovariance(self.vectors[features], self.values, self.rest)

    def trace(self):
        """Return the sum of the variances of the features."""
        lengths = np.square(self.vectors) @ (self.values - self.rest)
        return float(np.sum(np.square(self.scale) * (lengths + self.rest)))

    def power(self, rows, exponent):
        """Return rows times a power of the covariance, for the scale 1.

        Powers are the symmetric ones: they do not depend on the sign of the vectors,
        nor on which vectors span the directions of equal values.
        """
        within, around = self.values**exponent, self.rest**exponent
        inside = (rows @ self.vectors * (within - around)) @ self.vectors.T
        return inside + around * rows


def is_wide(n_rows, n_features):
    """Tell whether a covariance of rows is to be kept as a `ThinCovariance`."""
    return n_features > MAX_DENSE_FEATURES and n_rows < n_features


def check_size(n_samples, n_features, owner):
    """Refuse samples of which both products, of samples and features, are too large."""
    if n_features > MAX_DENSE_FEATURES and min(n_samples, n_features) > MAX_SIZE:
        raise ValueError(
            f"{owner} needs the covariance of {n_samples} samples and {n_features} "
            f"features, and one of the two must be at most {MAX_SIZE}. Put "
            "sklearn.decomposition.PCA before it."
        )


def principal_directions(rows):
    """Return directions that rows span, as columns, and sums of squares, decreasing.

    They come from the products of the rows, for fewer rows than features.
    """
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > _MIN_SHARE * max(values[-1], np.finfo(float).tiny)
    values, vectors = values[kept][::-1], vectors[:, kept][:, ::-1]
    return rows.T @ vectors / np.sqrt(values), values


def quadratic_form(covariance, matrix):
    """Return M' C M for a covariance C, an array or thin."""
    if not isinstance(covariance, ThinCovariance):
        return matrix.T @ covariance @ matrix
    scaled = np.broadcast_to(covariance.scale, len(matrix))[:, None] * matrix
    inner = covariance.vectors.T @ scaled
    around = covariance.rest * scaled.T @ scaled
    return around + (inner.T * (covariance.values - covariance.rest)) @ inner


def gaussian_log_density(residuals, factor, log_scale=0.0):
    """Return the log-density of samples under N(0, s^2 L L'), L lower triangular.

    In place of L, it takes the whole `ThinCovariance`.
    """
    n_features = residuals.shape[1]
    if isinstance(factor, ThinCovariance):
        whitened = factor.power(residuals / factor.scale, -0.5).T
        n_others = n_features - np.square(factor.vectors).sum()
        log_volume = np.log(factor.values).sum() + n_others * np.log(factor.rest)
        scale = np.broadcast_to(factor.scale, n_features)
        log_volume = log_volume / 2 + np.log(scale).sum()
    else:
        whitened = solve_triangular(factor, residuals.T, lower=True, check_finite=False)
        log_volume = np.log(np.diag(factor)).sum()
    squared = np.square(whitened).sum(axis=0) * np.exp(-2 * log_scale)
    log_volume = log_volume + n_features * log_scale
    return -0.5 * (squared + n_features * _LOG_2_PI) - log_volume


def as_array(covariance):
    """Return a covariance as an array."""
    thin = isinstance(covariance, ThinCovariance)
    return covariance.toarray() if thin else covariance
