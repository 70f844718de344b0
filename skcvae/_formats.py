"""Formats of databases: reading and writing their arrays.

A ``.npz`` file holds the arrays by name. A ``.safetensors`` file holds them in the same
way, where texts are codes and their values are metadata. A ``.parquet`` file has a
column of lists for the samples, one of labels, and perhaps ``groups`` and ``split``.
"""

import json
from collections.abc import Callable
from io import BytesIO

import numpy as np

from ._extras import import_extra
from ._files import open_regular
from ._npz import SPLITS, read_npz

SUFFIXES = (".npz", ".parquet", ".safetensors")
# Metadata of .safetensors and .parquet files, and the array of .npz files.
STATEMENT = "privacy"
_VALUES = "values of "


def find_file(path, split):
    """Return the file of a split: the path, or a file in it where it is a folder."""
    if not path.is_dir():
        return path
    files = [path / f"{split}{suffix}" for suffix in SUFFIXES]
    return next((file for file in files if file.is_file()), files[0])


def reader(path):
    """Return the function that reads arrays of a file, by its suffix."""
    return _READERS.get(path.suffix, read_npz)


# safetensors


def read_header(path):
    """Return the header of a .safetensors file: tensors by name, and the metadata."""
    with open_regular(path) as (file, size):
        n_bytes = int.from_bytes(file.read(8), "little")
        if n_bytes > size:
            raise ValueError(f"{path} is not a .safetensors file.")
        try:
            header = json.loads(file.read(n_bytes))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not a .safetensors file.") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} is not a .safetensors file.")
    return header


def _read_safetensors(path, choose):
    """Return the arrays of a ``.safetensors`` file that `choose` names."""
    from safetensors import SafetensorError, safe_open

    read_header(path)  # Refuses pipes, at which safe_open would wait.
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            held = set(file.keys()) | (metadata.keys() & {STATEMENT})
            arrays = {n: file.get_tensor(n) for n in choose(held) if n not in metadata}
    except (SafetensorError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    if STATEMENT in metadata:
        arrays[STATEMENT] = np.array(metadata[STATEMENT])
    for name in arrays:
        if (text := metadata.get(_VALUES + name)) is not None:
            arrays[name] = _values_of_codes(path, name, arrays[name], text)
    return arrays


def _values_of_codes(path, name, codes, text):
    """Return the texts that codes stand for."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if (
        not isinstance(values, list)
        or not all(isinstance(value, str) for value in values)
        or codes.dtype.kind not in "iu"
        or (codes.size and not 0 <= codes.min() <= codes.max() < len(values))
    ):
        raise ValueError(f"{path}: the codes of {name} do not fit their values.")
    return np.array(values, dtype=str)[codes]


def _safetensors_bytes(arrays, statement):
    """Return the content of a ``.safetensors`` file."""
    from safetensors.numpy import save

    metadata = {} if statement is None else {STATEMENT: statement}
    tensors = {}
    for name, array in arrays.items():
        if array.dtype.kind == "U":
            values, codes = np.unique(array, return_inverse=True)
            metadata[_VALUES + name] = json.dumps(values.tolist())
            array = codes.reshape(array.shape)
        tensors[name] = np.ascontiguousarray(array)
    return save(tensors, metadata)


# Parquet


def _import_parquet(path):
    return import_extra("pyarrow.parquet", "parquet", f"{path}: Parquet")


def _read_parquet(path, choose):
    """Return the columns of a ``.parquet`` file that `choose` names, as arrays.

    The column `split` says which of the splits a sample belongs to.
    """
    parquet = _import_parquet(path)
    import pyarrow

    with open_regular(path) as (file, _):
        try:
            table = parquet.read_table(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"{path} is not a .parquet file: {error}") from error
    masks = _split_masks(path, table)
    parts = {
        end: table if mask is None else table.filter(pyarrow.array(mask))
        for end, mask in masks.items()
    }
    # A column without values in a split, such as groups, is not held for it.
    places = {
        f"{n}{end}": (n, part[n])
        for end, part in parts.items()
        for n in part.column_names
        if not len(part) or part[n].null_count < len(part)
    }
    statement = (table.schema.metadata or {}).get(STATEMENT.encode())
    arrays = {}
    for name in choose({*places} | ({STATEMENT} if statement else set())):
        if name == STATEMENT:
            arrays[name] = np.array(statement.decode("utf-8", "replace"))
        else:
            arrays[name] = _column(path, *places[name])
    return arrays


def _split_masks(path, table):
    """Return which samples belong to a split, by the end of its arrays' names.

    None is all of a table without splits.
    """
    if "split" not in table.column_names:
        return {"": None}
    of_sample = _column(path, "split", table["split"])
    if not set(np.unique(of_sample)) <= {*SPLITS}:
        raise ValueError(f"{path}: the column split must hold {', '.join(SPLITS)}.")
    return {f"_{s}": of_sample == s for s in SPLITS if (of_sample == s).any()}


def _column(path, name, column):
    """Return a column without missing values as an array; lists become rows."""
    import pyarrow

    column = column.combine_chunks()
    kind = column.type
    is_list = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)
    is_list = is_list or pyarrow.types.is_fixed_size_list(kind)
    values = column.flatten() if is_list else column
    if column.null_count or values.null_count:
        raise ValueError(f"{path}: the column {name} has missing values.")
    array = values.to_numpy(zero_copy_only=False)
    if array.dtype == object:
        if not all(isinstance(value, str) for value in array):
            raise ValueError(
                f"{path}: the column {name} must hold numbers, text, or a list of "
                f"numbers for each sample, and has the type {kind}."
            )
        array = array.astype(str)
    if not is_list:
        return array
    n_samples = len(column)
    lengths = {len(row) for row in column} if n_samples else {0}
    if len(lengths) != 1:
        raise ValueError(f"{path}: the lists in the column {name} differ in length.")
    return array.reshape(n_samples, lengths.pop())


def _parquet_bytes(arrays, statement):
    """Return the content of a ``.parquet`` file."""
    parquet = _import_parquet("A database")
    import pyarrow

    parts = {name: _split_of(name) for name in arrays}
    splits = dict.fromkeys(split for _, split in parts.values())
    tables = []
    for split in splits:
        columns = {}
        for name, (column, of_array) in parts.items():
            if of_array == split:
                columns[column] = _as_column(arrays[name])
        if split is not None:
            n_samples = len(next(iter(columns.values())))
            columns["split"] = pyarrow.array([split] * n_samples)
        tables.append(pyarrow.table(columns))
    try:
        table = pyarrow.concat_tables(tables, promote_options="permissive")
    except pyarrow.ArrowException as error:
        raise ValueError(
            "A .parquet file has one type for each column, and the samples or labels "
            "of the splits have several. Write a .npz or .safetensors file."
        ) from error
    if statement is not None:
        table = table.replace_schema_metadata({STATEMENT: statement})
    buffer = BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _split_of(name):
    """Return the column of an array and its split, or None without one."""
    column, _, split = name.rpartition("_")
    return (column, split) if split in SPLITS else (name, None)


def _as_column(array):
    """Return an array as a column; samples become lists of one length."""
    import pyarrow

    values = pyarrow.array(array.ravel())
    if array.ndim == 1:
        return values
    return pyarrow.FixedSizeListArray.from_arrays(values, array.shape[1])


# npz


def _npz_bytes(arrays, statement):
    """Return the content of a ``.npz`` file."""
    further = {} if statement is None else {STATEMENT: statement}
    buffer = BytesIO()
    np.savez(buffer, **arrays, **further)
    return buffer.getvalue()


_READERS: dict[str, Callable] = {
    ".parquet": _read_parquet,
    ".safetensors": _read_safetensors,
}
WRITERS: dict[str, Callable] = {
    ".npz": _npz_bytes,
    ".parquet": _parquet_bytes,
    ".safetensors": _safetensors_bytes,
}
