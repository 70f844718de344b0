"""Scale of the features, and the checks that need to know it."""

import numpy as np
from sklearn.utils import gen_batches

from ._warnings import warn_user

_MAX_SPREAD = 1e3
# Numbers of a block of samples in float64: 2 MiB, which stay in the cache.
_BLOCK_NUMBERS = 2**18


def constant_features(X):
    """Mark features whose range is within rounding error of zero."""
    low, high = X.min(axis=0), X.max(axis=0)
    tolerance = 16 * np.finfo(X.dtype).eps * np.maximum(np.abs(low), np.abs(high))
    return high - low <= tolerance


def estimate_scale(X):
    """Return the mean of each feature and one scale for all of them.

    The features of an embedding share their unit, and those that vary little matter
    little: one scale keeps their proportions. Constant features get the scale 0, so
    that a generated sample holds exactly their constant.
    """
    offset = X.mean(axis=0, dtype=np.float64)
    deviation = _deviation(X, offset)
    varying = ~constant_features(X)
    offset[~varying] = X[0, ~varying]
    return offset, common_scale(deviation, varying)


def common_scale(deviation, varying):
    """Return one scale for all features that vary, and 0 for the others.

    Refuse one that is 0 in float32: nothing could be learned, without a word.
    """
    if not varying.any():
        return np.zeros(len(deviation))
    spread = deviation[varying]
    # The lower median: of two features in different units, one is too large.
    if spread.max() > _MAX_SPREAD * np.quantile(spread, 0.5, method="lower"):
        warn_user(
            "The standard deviations of the features differ by more than a factor "
            f"of {_MAX_SPREAD:g}. Put a StandardScaler before this step, as for any "
            "method that compares features.",
        )
    scale = np.sqrt(np.mean(spread**2))
    if scale < np.finfo(np.float32).tiny:
        raise ValueError(
            "The features vary by less than what float32 can tell from 0. Multiply X "
            "by a constant first."
        )
    # What float32 cannot tell from zero beside the other features is constant, too.
    varying = varying & (deviation > np.finfo(np.float32).eps * scale)
    return np.where(varying, scale, 0.0)


def scale_of_moments(means, counts, scatter, dtype):
    """Return what `estimate_scale` returns, for the moments of classes.

    Ranges are not known: a feature is constant where its standard deviation is within
    rounding error of zero.
    """
    offset = counts @ means / counts.sum()
    between = counts @ np.square(means - offset)
    deviation = np.sqrt((np.diag(scatter) + between) / counts.sum())
    varying = deviation > 16 * np.finfo(dtype).eps * np.abs(offset)
    return offset, common_scale(deviation, varying)


def _deviation(X, mean):
    """Return the standard deviation of each feature; blocks are in float64."""
    squares = np.zeros(X.shape[1])
    for block in gen_batches(len(X), max(1, _BLOCK_NUMBERS // X.shape[1])):
        squares += np.square(X[block] - mean).sum(axis=0)
    return np.sqrt(squares / len(X))


def estimate_range(X):
    """Return minimum and range of each feature, as the reference code scales."""
    low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
    return low, np.where(constant_features(X), 0.0, high - low)


def scale_rows(X, offset, scale):
    """Return (X - offset) / scale as float32; constant features become 0."""
    divisor = np.where(scale > 0, scale, 1)
    Z = X - offset.astype(X.dtype)
    Z /= divisor.astype(X.dtype)
    Z[:, scale == 0] = 0
    return Z.astype(np.float32, copy=False)


def inverse_scale(scale):
    """Return 1 / scale, and 0 for constant features."""
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
