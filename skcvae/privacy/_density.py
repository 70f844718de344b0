"""Kernel densities in the first principal components."""

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.utils import gen_batches

# Directions of less variance than this share of the largest are rounding errors.
_RANK_TOLERANCE = 1e-10
# Entries of one block of kernel values.
_BLOCK_ENTRIES = 2**24


def principal_components(R, n_components):
    """Return the mean of scaled rows, and the map to components of unit variance."""
    if len(R) < 2:
        raise ValueError("X_reference has one row, and no principal components.")
    covariance = np.atleast_2d(np.cov(R, rowvar=False, dtype=np.float64))
    variances, components = np.linalg.eigh(covariance)
    # eigh sorts upwards.
    variances, components = variances[::-1], components[:, ::-1]
    # Features have a variance of 1, or none.
    rank = np.count_nonzero(variances > _RANK_TOLERANCE * max(variances[0], 1))
    if rank == 0:
        raise ValueError("The rows of X_reference are all the same.")
    kept = slice(min(n_components, rank))
    center = R.mean(axis=0, dtype=np.float64)
    return center, components[:, kept] / np.sqrt(variances[kept])


def log_density(X, data):
    """Return the log of a Gaussian kernel density of data with Scott's bandwidth."""
    n_rows, n_dims = data.shape
    bandwidth = n_rows ** (-1 / (n_dims + 4))
    log_norm = np.log(n_rows) + n_dims * np.log(bandwidth * np.sqrt(2 * np.pi))
    density = np.empty(len(X))
    for rows in gen_batches(len(X), max(1, _BLOCK_ENTRIES // n_rows)):
        kernel = cdist(X[rows], data, "sqeuclidean")
        kernel /= -2 * bandwidth**2
        density[rows] = logsumexp(kernel, axis=1) - log_norm
    return density
