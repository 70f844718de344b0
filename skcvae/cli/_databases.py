"""Databases of samples and labels: what the commands read and write.

A ``.npz`` file holds the arrays by name. A ``.safetensors`` file holds them in the same
way, where texts are codes and their values are metadata. A ``.parquet`` file has a
column of lists for the samples, one of labels, and perhaps ``groups`` and ``split``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .._extras import import_extra
from .._files import open_regular, write_whole
from .._npz import SPLITS, read_arrays, read_npz

SUFFIXES = (".npz", ".parquet", ".safetensors")
# Metadata of .safetensors and .parquet files, and the array of .npz files.
_STATEMENT = "privacy"
_VALUES = "values of "
# Names of samples and of their labels.
_PAIRS = (
    ("X", "y"),
    ("embeddings", "labels"),
    *((f"X_{split}", f"y_{split}") for split in SPLITS),
)


@dataclass(frozen=True)
class Samples:
    """Samples, labels and groups of a database, and how the database stores them.

    `X` is of float32 or float64, `dtype` the type in the database. `names` are those of
    the arrays of samples and labels. `is_column` says that labels have the shape
    (n_samples, 1) there. `statement` is the privacy statement, if `write_samples` wrote
    the file.
    """

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None
    names: tuple[str, str]
    dtype: np.dtype
    is_column: bool
    statement: dict[str, Any] | None

    @property
    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples and labels."""
        return self.X, self.y


def read_samples(
    path: Path, split: str, read: Callable[..., dict[str, Any]] | None = None
) -> Samples:
    """Return the samples of a split of a database, or all if it has no splits.

    The path is a file with one of the `SUFFIXES`, or a folder with one for each split.
    `read` replaces the function that reads its format.
    """
    path = find_file(path, split)
    further = {f"groups{suffix}" for suffix in ("", f"_{split}")} | {_STATEMENT}
    names, arrays = read_arrays(path, further, read or _reader(path))
    suffix = "" if "X" in names else f"_{split}"
    if f"X{suffix}" not in names:
        raise ValueError(
            f"{path} has no samples of the split {split!r}, only {sorted(arrays)}. "
            f"Give a file with X_{split} and y_{split}, or one without splits."
        )
    X_name, y_name = names[f"X{suffix}"], names[f"y{suffix}"]
    X, y = arrays[X_name], arrays[y_name]
    groups = arrays.get(f"groups{suffix}")
    if groups is not None and groups.shape not in ((len(X),), (len(X), 1)):
        raise ValueError(
            f"{path}: groups{suffix} must have one value for each of {len(X)} samples, "
            f"got the shape {groups.shape}."
        )
    dtype = np.float64 if X.dtype == np.float64 else np.float32
    return Samples(
        X=X.astype(dtype, copy=False),
        y=y.ravel(),
        groups=None if groups is None else groups.ravel(),
        names=(X_name, y_name),
        dtype=X.dtype,
        is_column=y.ndim == 2,
        statement=_read_statement(path, arrays.get(_STATEMENT)),
    )


def read_unlabelled(path: Path, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return samples as `read_samples`, and their labels, or None without labels."""
    reader = _reader(find_file(path, split))
    missing: dict[str, str] = {}

    def read(path, choose):
        def chosen(held):
            missing.update({y: X for X, y in _PAIRS if X in held and y not in held})
            return [n for n in choose(held | missing.keys()) if n not in missing]

        arrays = reader(path, chosen)
        for y, X in missing.items():
            if X in arrays:
                arrays[y] = np.zeros(arrays[X].shape[:1])
        return arrays

    samples = read_samples(path, split, read)
    return samples.X, None if samples.names[1] in missing else samples.y


def read_splits(path: Path) -> dict[str, Samples]:
    """Return the samples of each split of a database; "train" is all of one without."""
    if path.is_dir():
        found = [s for s in SPLITS if find_file(path, s).exists()]
        return {split: read_samples(path, split) for split in found or ["train"]}
    names, _ = read_arrays(path, (), _reader(path))
    splits = [s for s in SPLITS if f"X_{s}" in names] or ["train"]
    return {split: read_samples(path, split) for split in splits}


def write_samples(
    output: Path, X: np.ndarray, y: np.ndarray, like: Samples, statement: dict[str, Any]
) -> None:
    """Write synthetic samples as a database, with names and types of `like`.

    The file is written completely or not at all. If the samples of `like` are integers,
    float32 is written. The statement is stored as JSON.
    """
    arrays = _as_stored(X, y, like)
    write_database(output, arrays, json.dumps(statement, allow_nan=False))


def write_splits(output: Path, splits: dict[str, Samples]) -> None:
    """Write all splits of a database, as `read_splits` returns them.

    A privacy statement on the training samples stays: what is made of them tells no
    more than they do.
    """
    arrays: dict[str, np.ndarray] = {}
    for split, samples in splits.items():
        is_split = len(splits) > 1 or samples.names[0] == f"X_{split}"
        names = (f"X_{split}", f"y_{split}") if is_split else samples.names
        stored = _as_stored(samples.X, samples.y, samples, finite=False)
        arrays |= dict(zip(names, stored.values(), strict=True))
        if samples.groups is not None:
            arrays[f"groups_{split}" if is_split else "groups"] = samples.groups
    statement = splits["train"].statement
    write_database(output, arrays, json.dumps(statement) if statement else None)


def write_database(
    output: Path, arrays: dict[str, np.ndarray], statement: str | None = None
) -> None:
    """Write arrays in the format of the suffix, completely or not at all."""
    write_whole(output, _WRITERS[output.suffix](arrays, statement))


def is_release(path: Path) -> bool:
    """Tell whether a file is a release of a generator, and no database."""
    if path.suffix != ".safetensors":
        return False
    try:
        return not {"X", "X_train", "embeddings"} & set(_read_header(path))
    except (OSError, ValueError):
        # The reader of releases says what is wrong.
        return True


def _as_stored(X, y, like, *, finite=True):
    """Return samples and labels by the names and in the types of a database.

    No value becomes infinite, and all are finite if that is asked for.
    """
    dtype = like.dtype if like.dtype.kind == "f" else np.dtype(np.float32)
    with np.errstate(over="ignore"):
        stored = X.astype(dtype)
    if (~np.isfinite(stored) & (finite | np.isfinite(X))).any():
        raise ValueError(
            f"Some values of the new samples are too large for {dtype}, the type "
            "of the database. Save its samples as float32."
        )
    arrays = (stored, y[:, None] if like.is_column else y)
    return dict(zip(like.names, arrays, strict=True))


def find_file(path, split):
    """Return the file of a split: the path, or a file in it where it is a folder."""
    if not path.is_dir():
        return path
    files = [path / f"{split}{suffix}" for suffix in SUFFIXES]
    return next((file for file in files if file.is_file()), files[0])


def _read_statement(path, text):
    """Return the privacy statement in an array of one text, or None without one."""
    if text is None:
        return None
    try:
        statement = json.loads(str(text))
    except (ValueError, RecursionError):
        statement = None
    if not isinstance(statement, dict) or "guarantee" not in statement:
        raise ValueError(f"{path}: the array privacy holds no privacy statement.")
    return statement


def _reader(path):
    """Return the function that reads arrays of a file, by its suffix."""
    return _READERS.get(path.suffix, read_npz)


# safetensors


def _read_header(path):
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

    _read_header(path)  # Refuses pipes, at which safe_open would wait.
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            held = set(file.keys()) | (metadata.keys() & {_STATEMENT})
            arrays = {n: file.get_tensor(n) for n in choose(held) if n not in metadata}
    except (SafetensorError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    if _STATEMENT in metadata:
        arrays[_STATEMENT] = np.array(metadata[_STATEMENT])
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

    metadata = {} if statement is None else {_STATEMENT: statement}
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
    places = {f"{n}{end}": (n, end) for n in table.column_names for end in masks}
    statement = (table.schema.metadata or {}).get(_STATEMENT.encode())
    arrays = {}
    for name in choose({*places} | ({_STATEMENT} if statement else set())):
        if name == _STATEMENT:
            arrays[name] = np.array(statement.decode("utf-8", "replace"))
        else:
            column, end = places[name]
            arrays[name] = _column(path, column, table[column])[masks[end]]
    return arrays


def _split_masks(path, table):
    """Return which samples belong to a split, by the end of its arrays' names."""
    if "split" not in table.column_names:
        return {"": slice(None)}
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
    table = pyarrow.concat_tables(tables, promote_options="default")
    if statement is not None:
        table = table.replace_schema_metadata({_STATEMENT: statement})
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
    further = {} if statement is None else {_STATEMENT: statement}
    buffer = BytesIO()
    np.savez(buffer, **arrays, **further)
    return buffer.getvalue()


_READERS: dict[str, Callable] = {
    ".parquet": _read_parquet,
    ".safetensors": _read_safetensors,
}
_WRITERS: dict[str, Callable] = {
    ".npz": _npz_bytes,
    ".parquet": _parquet_bytes,
    ".safetensors": _safetensors_bytes,
}
