"""Databases of samples and labels: what the commands read and write."""

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .._files import write_whole
from .._npz import read_arrays


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


def read_samples(path: Path, split: str) -> Samples:
    """Return the samples of a split of a database, or all if it has no splits.

    The path is a ``.npz`` file, or a folder with one for each split.
    """
    if path.is_dir():
        path = path / f"{split}.npz"
    further = {f"groups{suffix}" for suffix in ("", f"_{split}")} | {"privacy"}
    names, arrays = read_arrays(path, further)
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
        statement=_read_statement(path, arrays.get("privacy")),
    )


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


def write_samples(
    output: Path, X: np.ndarray, y: np.ndarray, like: Samples, statement: dict[str, Any]
) -> None:
    """Write a database (.npz) completely or not at all, with names and types of `like`.

    If its samples are integers, float32 is written. The array `privacy` holds the
    statement as JSON.
    """
    dtype = like.dtype if like.dtype.kind == "f" else np.dtype(np.float32)
    with np.errstate(over="ignore"):
        X = X.astype(dtype)
    if not np.isfinite(X).all():
        raise ValueError(
            f"Some values of the synthetic samples are too large for {dtype}, the type "
            "of the database. Save its samples as float32."
        )
    arrays = (X, y[:, None] if like.is_column else y)
    named: dict[str, Any] = dict(zip(like.names, arrays, strict=True))
    buffer = BytesIO()
    np.savez(buffer, **named, privacy=json.dumps(statement, allow_nan=False))
    write_whole(output, buffer.getvalue())
