"""Databases of rows and labels: what the commands read and write."""

import json
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from .._files import write_whole
from ..datasets._embeddings import read_arrays


@dataclass(frozen=True)
class Rows:
    """Rows of a database, and how it holds them.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, of float32 or float64.

    y : ndarray of shape (n_samples,)
        Labels.

    groups : ndarray of shape (n_samples,) or None
        Groups, for example patients.

    names : tuple of (str, str)
        Names of the arrays of rows and of labels.

    dtype : dtype
        Type of the rows in the database.

    is_column : bool
        Whether the labels are a column there.

    statement : dict or None
        Privacy statement, where `write_rows` has written the file.
    """

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None
    names: tuple
    dtype: np.dtype
    is_column: bool
    statement: dict | None

    @property
    def labelled(self):
        """Rows and labels."""
        return self.X, self.y


def read_rows(path, split):
    """Return the rows of a split of a database, or all where it has no splits.

    Parameters
    ----------
    path : Path
        File (.npz), or folder with one for each split.

    split : {"train", "val", "test"}
        Which rows.

    Returns
    -------
    Rows

    Raises
    ------
    ValueError
        If the file is no database, or has other splits.
    """
    if path.is_dir():
        path = path / f"{split}.npz"
    names, arrays = read_arrays(path)
    suffix = "" if "X" in names else f"_{split}"
    if f"X{suffix}" not in names:
        raise ValueError(
            f"{path} has no rows of the split {split!r}, only {sorted(arrays)}. Give a "
            f"file with X_{split} and y_{split}, or one without splits."
        )
    X_name, y_name = names[f"X{suffix}"], names[f"y{suffix}"]
    X, y = arrays[X_name], arrays[y_name]
    with np.load(path, allow_pickle=False) as file:
        groups = file.get(f"groups{suffix}")
        statement = json.loads(str(file["privacy"])) if "privacy" in file else None
    dtype = np.float64 if X.dtype == np.float64 else np.float32
    return Rows(
        X=X.astype(dtype, copy=False),
        y=y.ravel(),
        groups=groups,
        names=(X_name, y_name),
        dtype=X.dtype,
        is_column=y.ndim == 2,
        statement=statement,
    )


def write_rows(output, X, y, like, statement):
    """Write a database whole or not at all.

    Parameters
    ----------
    output : Path
        File (.npz).

    X, y : ndarray
        Rows and labels.

    like : Rows
        Gives names and types. Where its rows are integers, float32 is written.

    statement : dict
        Privacy statement, written as JSON in the array `privacy`.
    """
    dtype = like.dtype if like.dtype.kind == "f" else np.dtype(np.float32)
    with np.errstate(over="ignore"):
        X = X.astype(dtype)
    if not np.isfinite(X).all():
        raise ValueError(
            f"The rows hold values that the type {dtype} of the database cannot. Save "
            "its rows as float32."
        )
    arrays = (X, y[:, None] if like.is_column else y)
    named = dict(zip(like.names, arrays, strict=True))
    buffer = BytesIO()
    np.savez(buffer, **named, privacy=json.dumps(statement, allow_nan=False))
    write_whole(output, buffer.getvalue())
