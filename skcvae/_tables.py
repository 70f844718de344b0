"""Columns of tables: which hold categories, what is missing, and polars and pandas."""

import warnings
from datetime import date
from numbers import Real

import numpy as np
from sklearn.utils import check_array
from sklearn.utils._missing import is_pandas_na, is_scalar_nan

from ._validation import check_columns, read_tensors, read_values

# Dates and durations, of which one may be missing. NaT of pandas is a date.
_DATES = (np.datetime64, np.timedelta64, date)


def is_polars(array):
    """Tell whether polars made an object."""
    return type(array).__module__.partition(".")[0] == "polars"


def to_pandas(array):
    """Return what polars holds in the types of pandas, and other types as they are."""
    if not is_polars(array):
        return array
    if not hasattr(array, "to_pandas"):
        raise TypeError(
            f"{type(array).__name__} of polars holds no values yet. Give X.collect()."
        )
    frame = array.to_pandas()
    for name in array.columns if hasattr(array, "columns") else ():
        column = array[name]
        if not (column.dtype.is_integer() and column.null_count()):
            continue
        if max(column.max() or 0, -(column.min() or 0)) > 2**53:
            # pandas would make floats of them, which such integers do not survive.
            frame[name] = column.to_pandas(use_pyarrow_extension_array=True)
    return frame


def back_to_polars(values, original):
    """Return values of pandas in the types of the original, if polars made it."""
    if not is_polars(original):
        return values
    import polars as pl

    converted = pl.from_pandas(values)
    if isinstance(original, pl.Series):
        return converted.cast(original.dtype)
    return converted.cast(dict(original.schema))


def cast_like(table, frame):
    """Return a frame in the types of another one; refuse what these cannot hold."""
    changed = [c for c in frame if table[c].dtype != frame[c].dtype]
    try:
        with warnings.catch_warnings(action="ignore"):
            # pandas deprecates values that are none of the categories.
            cast = table.astype({c: frame[c].dtype for c in changed})
        back = cast.astype({c: table[c].dtype for c in changed})
        # Floats may be rounded to other floats.
        floats = {
            c for c in changed if {_kind_of(table[c]), _kind_of(cast[c])} == {"f"}
        }
        lost = [c for c in changed if c not in floats and not back[c].equals(table[c])]
    except (TypeError, ValueError):
        lost = changed
    if lost:
        raise ValueError(
            f"The frozen TableGenerator was fitted to other types: the columns {lost} "
            "of X cannot hold what it draws. Fit it to a table of the types of X."
        )
    return cast


def read_table(X):
    """Return a table as a data frame of pandas, or an array of two dimensions."""
    X = to_pandas(read_tensors(X))
    if hasattr(X, "iloc") and np.ndim(X) == 2:
        return check_columns(X)
    values = X if hasattr(X, "toarray") else read_values(X)
    # scikit-learn's check refuses matrices of NumPy, and a Series.
    values = X if isinstance(X, np.ndarray) or hasattr(X, "iloc") else values
    if values.dtype.kind in "US" and not hasattr(X, "dtype"):
        # A list of numbers and strings: NumPy would make strings of all.
        values = np.asarray(X, dtype=object)
    return check_array(
        values, dtype=None, ensure_all_finite=False, ensure_min_samples=0
    )


def column_names(table):
    """Return the names of the columns of a frame, or the places of an array's."""
    return list(getattr(table, "columns", range(table.shape[1])))


def column_at(table, i):
    """Return column i of a table, as a Series or an array."""
    return table.iloc[:, i] if hasattr(table, "iloc") else table[:, i]


def take(table, places):
    """Return samples of a table, or values of a column, at places."""
    if hasattr(table, "iloc"):
        return table.iloc[places].reset_index(drop=True)
    return table[places]


def find_missing(column):
    """Mark the missing values of a column: None, NaN, NaT and pandas.NA."""
    if hasattr(column, "isna"):
        return column.isna().to_numpy(dtype=bool)
    if column.dtype.kind in "fmM":
        return np.isnan(column)
    if column.dtype != object:
        return np.zeros(len(column), dtype=bool)
    return np.array([_is_missing(value) for value in column], dtype=bool)


def _is_missing(value):
    """Tell whether an object is None, NaN, NaT or pandas.NA."""
    is_nat = isinstance(value, _DATES) and value != value
    return value is None or is_pandas_na(value) or is_scalar_nan(value) or is_nat


def read_columns(columns, is_category):
    """Return the codes or numbers of one column of several tables, on one scale.

    Codes of categories count from 0; -1 and NaN are missing.
    """
    missing = [find_missing(column) for column in columns]
    if is_category:
        known: dict = {}
        return [
            np.array([-1 if m else known.setdefault(v, len(known)) for v, m in pairs])
            for pairs in (
                zip(column.tolist(), lost, strict=True)
                for column, lost in zip(columns, missing, strict=True)
            )
        ]
    read, kinds = [], set()
    for column, lost in zip(columns, missing, strict=True):
        numbers = np.full(len(column), np.nan)
        if not lost.all():
            kind, numbers[~lost] = _read_numbers(take(column, ~lost))
            kinds.add(kind)
        read.append(numbers)
    if len(kinds) > 1:
        raise ValueError(
            f"The column {getattr(columns[0], 'name', None)!r} holds {sorted(kinds)} "
            "in different tables, which cannot be compared. Convert it, for example "
            "by pandas.to_datetime."
        )
    return read


def _read_numbers(present):
    """Return what values are, and their floats: NaN if they are no numbers.

    Dates and durations are in nanoseconds, whatever their units.
    """
    kind = _kind_of(present)
    if kind not in "mM":
        try:
            return "numbers", np.asarray(present, dtype=np.float64)
        except (TypeError, ValueError):
            return "other values", np.nan
    dtype = getattr(present.dtype, "numpy_dtype", present.dtype).base
    unit, count = np.datetime_data(dtype)
    if unit in ("Y", "M"):
        present, unit, count = present.astype(f"{kind}8[D]"), "D", 1
    # In integers, nanoseconds hold no year before 1678.
    scale = np.timedelta64(count, unit) / np.timedelta64(1, "ns")
    floats = np.asarray(present.astype("int64")) * scale
    return "dates" if kind == "M" else "durations", floats


def find_categorical(table, categorical_features="auto"):
    """Mark the columns that hold categories, in an array of shape (n_columns,).

    `categorical_features` are "auto", a mask, places or names, as
    :class:`imblearn.over_sampling.SMOTENC` takes them. Columns of booleans count as
    categories in any case. Raise ValueError if a column that is not listed holds no
    numbers, dates or durations, or a listed one does not exist.
    """
    n_columns = table.shape[1]
    columns = [column_at(table, i) for i in range(n_columns)]
    kinds = [_kind(column) for column in columns]
    if isinstance(categorical_features, str) and categorical_features == "auto":
        listed = np.array([kind == "category" for kind in kinds])
    else:
        listed = np.zeros(n_columns, dtype=bool)
        listed[_places(table, categorical_features)] = True
    listed |= np.array([kind == "bool" for kind in kinds])
    names = column_names(table)
    strange = [
        names[i]
        for i in range(n_columns)
        if not listed[i] and kinds[i] in ("category", "other")
    ]
    if strange:
        raise ValueError(
            f"X contains neither numbers nor dates in the columns {strange}. Name them "
            "in categorical_features, or convert them, for example with "
            "pandas.to_datetime."
        )
    return listed


def private_features(table, categorical_features, categories):
    """Return `categorical_features` that depend on no value of a table.

    What objects are is told by their values alone, so that one of another type would
    change the whole column, or raise an error. Those of `categories`, a mapping from
    names, are categories; refuse others.
    """
    names = column_names(table)
    listed = [j for j, name in enumerate(names) if name in categories]
    objects = [j for j in range(len(names)) if column_at(table, j).dtype == object]
    strange = [names[j] for j in objects if j not in listed]
    if strange:
        raise ValueError(
            f"The columns {strange} hold objects, and a private generator must not "
            "tell from their values what they are. Convert them to a type of numbers "
            "or dates, or give their categories."
        )
    is_auto = isinstance(categorical_features, str)
    return listed if is_auto and objects else categorical_features


def _places(table, categorical_features):
    """Return the places of listed columns."""
    listed = np.asarray(categorical_features)
    n_columns = table.shape[1]
    if listed.ndim != 1:
        raise ValueError(
            "categorical_features must be 'auto' or one-dimensional: a mask, places or "
            f"names. Got {categorical_features!r}."
        )
    if listed.dtype == bool and len(listed) == n_columns:
        return np.flatnonzero(listed)
    if not listed.size:
        return []
    names = column_names(table)
    by_name = listed.dtype.kind in "OU" and hasattr(table, "columns")
    if by_name and all(name in names for name in listed.tolist()):
        return [names.index(name) for name in listed.tolist()]
    if listed.dtype.kind in "iu" and (np.abs(listed + 0.5) < n_columns).all():
        return listed
    raise ValueError(
        f"categorical_features={categorical_features!r} does not fit the "
        f"{n_columns} columns of X: give 'auto', a mask of that length, places from 0 "
        "on, or the names of columns of a data frame."
    )


def _kind_of(column):
    """Return the kind of the type of a column as NumPy names it."""
    return getattr(column.dtype, "kind", "O")


def _kind(column):
    """Return "number", "bool", "category" or "other" for the values of a column."""
    dtype = column.dtype
    if hasattr(dtype, "categories") or "dictionary" in str(dtype):
        return "category"
    kind = _kind_of(column)
    if kind == "V" or str(dtype).startswith("date32"):
        return "other"
    if kind in "bUS":
        return "bool" if kind == "b" else "category"
    if kind in "fiumM":
        return "number"
    held = {type(value) for value in take(column, ~find_missing(column)).tolist()}
    if held and all(issubclass(t, bool | np.bool_) for t in held):
        return "bool"
    if all(issubclass(t, Real) and not issubclass(t, bool) for t in held):
        # A column of objects without any value may hold anything.
        return "number" if held else "category"
    known = str, bytes, bool, np.bool_
    return "category" if all(issubclass(t, known) for t in held) else "other"
