"""Containers of samples, and columns that hold no fractions."""

import numpy as np


def _is_polars(array):
    return type(array).__module__.partition(".")[0] == "polars"


def to_pandas(array):
    """Return what polars holds in the types of pandas, and other types as they are."""
    if not _is_polars(array):
        return array
    if not hasattr(array, "to_pandas"):
        raise TypeError(
            f"{type(array).__name__} of polars holds no values yet. Give X.collect()."
        )
    return array.to_pandas()


def back_to_polars(resampled, original):
    """Return resampled data in the types of the original, if polars made it."""
    if not _is_polars(original):
        return resampled
    import polars as pl

    converted = pl.from_pandas(resampled)
    if isinstance(original, pl.Series):
        return converted.cast(original.dtype)
    return converted.cast(dict(original.schema))


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
            "are none of their categories. Encode them, for example one-hot."
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
