"""Estimates from noisy statistics; they read no rows, so they cost no privacy."""

import numpy as np

# Number of pseudo-rows at the overall mean, from which the likeliest is taken.
_K0_GRID = 10.0 ** np.linspace(-2, 4, 121)
# Smallest variance in any direction, of the mean over all directions.
_SMALLEST_VARIANCE = 0.02


def shrink_noisy_covariance(moment, noise_std):
    r"""Return a positive definite covariance from a matrix with symmetric noise.

    Noise of deviation :math:`\sigma` on the diagonal and :math:`\sigma / \sqrt 2` off
    it spreads eigenvalues by up to :math:`b = \sigma \sqrt{2 d}` to either side. A
    deviation y from the common level becomes :math:`\operatorname{sign}(y)
    \sqrt{\max(y^2 - b^2, 0)}`, the estimate of least squared error for few large
    eigenvalues (Gavish and Donoho, arXiv 1405.7511); the level keeps the trace.

    Parameters
    ----------
    moment : ndarray of shape (n_features, n_features)
        Symmetric matrix with noise.

    noise_std : float
        Standard deviation of the noise of its diagonal.

    Returns
    -------
    ndarray of shape (n_features, n_features)
    """
    values, vectors = np.linalg.eigh(moment)
    spread = noise_std * np.sqrt(2 * len(values))
    # The noise of the trace can exceed the trace, where there are few rows.
    total = max(values.sum(), noise_std, np.finfo(float).tiny)
    smallest = _SMALLEST_VARIANCE * total / len(values)

    def shrunk(level):
        deviation = values - level
        kept = np.sqrt(np.maximum(deviation**2 - spread**2, 0))
        return np.maximum(level + np.sign(deviation) * kept, smallest)

    # The sum grows with the level but for jumps of rounding size: bisection.
    low, high = 0.0, max(values.max(), total)
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if shrunk(level).sum() < total else (low, level)
    values = shrunk(high)
    values *= total / values.sum()
    return (vectors * values) @ vectors.T


def shrink_noisy_means(private, covariance):
    r"""Return class means from noisy sums, pulled to the mean of all rows.

    In a direction of within-class variance :math:`w`, a noisy sum of the rows of a
    class with noisy count n has the variance :math:`(n^2 + \tau^2) w / k_0 + n w +
    \sigma^2`: that of class means, of rows around them and of the mechanism's noise,
    :math:`\tau` in the count and :math:`\sigma` in the sum. The mean is estimated with
    the weight that least squared error asks for; :math:`k_0`, the number of pseudo-rows
    at the overall mean, is the likeliest.

    Parameters
    ----------
    private : PrivateSums
        Noisy counts and sums.

    covariance : ndarray of shape (n_features, n_features)
        Covariance within the classes.

    Returns
    -------
    means : ndarray of shape (n_classes, n_features)
        Around the centre of `private`.

    k0 : float
        Number of pseudo-rows.
    """
    within, vectors = np.linalg.eigh(covariance)
    counts = private.counts[:, None]
    overall = private.sums.sum(axis=0) / private.n_rows
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
