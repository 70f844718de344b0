"""Columns that hold no fractions."""

import numpy as np


def discrete_ranges(X):
    """Return (column, lowest, highest) for integer and boolean columns of a frame."""
    dtypes = getattr(X, "dtypes", None)
    if dtypes is None or np.ndim(X) != 2:
        return []
    categorical = [
        c
        for c, dtype in dtypes.items()
        if hasattr(dtype, "categories") or "dictionary" in str(dtype)
    ]
    if categorical:
        raise ValueError(
            f"The columns {categorical} of X are categorical, and generated numbers "
            "are none of their categories. Encode them, for example one-hot, or use "
            'GenerativeOverSampler(categorical_features="auto").'
        )
    return [
        (column, *_range(dtype))
        for column, dtype in enumerate(dtypes)
        if getattr(dtype, "kind", "O") in "iub"
    ]


def _range(dtype):
    """Return the lowest and highest value of an integer or boolean type."""
    dtype = np.dtype(getattr(dtype, "numpy_dtype", dtype))
    if dtype.kind == "b":
        return 0, 1
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if int(float(high)) > high:
        # float64 rounds the largest 64-bit integers up, beyond their type.
        high = int(np.nextafter(float(high), 0))
    return low, high


def round_discrete(drawn, dtype, discrete):
    """Cast generated samples to `dtype`, rounding what cannot hold fractions."""
    for column, low, high in discrete:
        drawn[:, column] = np.rint(drawn[:, column]).clip(low, high)
    if dtype.kind in "iub":
        drawn = np.rint(drawn).clip(*_range(dtype))
    if dtype == np.float16:
        drawn = drawn.clip(np.finfo(dtype).min, np.finfo(dtype).max)
    return drawn.astype(dtype, copy=False)
