"""Arrays of ``.npz`` files: read without pickles, and refused before they are large."""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from math import prod
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ._files import open_regular

SPLITS = ("train", "val", "test")
# Names of the arrays of samples and of labels in a file without splits.
_WHOLE = (("X", "y"), ("embeddings", "labels"))
_ACCEPTED = (
    "X_train and y_train (with X_val, y_val, X_test and y_test where there are some), "
    "X and y, or embeddings and labels"
)
# What the parsers of zip files and of arrays raise for damaged or forged ones.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
# Deflate makes zeros at most 1032 times smaller.
_MAX_RATIO = 1100


def read_npz(path: str | PathLike, choose=None) -> dict[str, NDArray]:
    """Return arrays of a ``.npz`` file by name: all, or those that `choose` returns.

    `choose` takes the set of all names. Raise OSError if the file cannot be opened, and
    ValueError if it is not a ``.npz`` file, or an array is damaged, larger than the
    file can hold, or of Python objects, which pickles would restore.
    """
    with open_regular(path) as (file, size):
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGE as error:
            raise ValueError(f"{path} is not a .npz file.") from error
        with archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            chosen = members if choose is None else choose(set(members))
            return {name: _read(path, archive, members[name], size) for name in chosen}


def _read(path, archive, member, size):
    """Return the array of a member of a zip file of `size` bytes."""
    place = f"{path}: the array {member.filename.removesuffix('.npy')}"
    try:
        with archive.open(member) as stream:
            shape, dtype = _read_header(stream)
        # Items of no bytes could be any number.
        n_bytes = prod(shape) * max(1, dtype.itemsize)
        if not dtype.hasobject and n_bytes <= min(member.file_size, _MAX_RATIO * size):
            with archive.open(member) as stream:
                return npy.read_array(stream, allow_pickle=False)
    except _DAMAGE as error:
        raise ValueError(f"{place} cannot be read: {error}") from error
    if dtype.hasobject:
        raise ValueError(
            f"{place} holds Python objects, and only plain arrays are read. Save "
            "labels and groups by astype(str), and samples by astype(float)."
        )
    raise ValueError(f"{place} says that it has {n_bytes:,} bytes: it is damaged.")


def _read_header(stream):
    """Return shape and type of an array in the format of NumPy."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def read_arrays(
    path: Path,
    further: Iterable[str] = (),
    read: Callable[..., dict[str, NDArray]] = read_npz,
) -> tuple[dict[str, str], dict[str, NDArray]]:
    """Read samples and labels of a database; check their shapes and types.

    Return the name of each array in the file, by the key of
    :func:`skcvae.datasets.load_embeddings`, and the arrays by their names. Numbers are
    unchanged, and bytes become text. `further` arrays are read if the file has them.
    `read` reads another format than ``.npz``, with the arguments of :func:`read_npz`.
    """
    names: dict[str, str] = {}

    def choose(held):
        names.update(_find_arrays(path, held))
        return [*names.values(), *held.intersection(further)]

    arrays = {n: _decode(path, n, a) for n, a in read(path, choose).items()}
    pairs = list(names.values())
    for X_name, y_name in zip(pairs[::2], pairs[1::2], strict=True):
        X, y = arrays[X_name], arrays[y_name]
        if X.ndim != 2 or y.shape not in ((len(X),), (len(X), 1)):
            raise ValueError(
                f"{path}: {X_name} must have the shape (n_samples, n_features) and "
                f"{y_name} (n_samples,) or (n_samples, 1), got {X.shape} and {y.shape}."
            )
        if X.dtype.kind not in "fiub":
            raise ValueError(
                f"{path}: {X_name} must hold numbers, and has the type {X.dtype}. "
                "Convert it before it is saved: nothing is guessed here."
            )
        if y.dtype.kind not in "fiubU":
            raise ValueError(
                f"{path}: {y_name} must hold numbers or text, and has the type "
                f"{y.dtype}. Save it by astype(str)."
            )
    return names, arrays


def _find_arrays(path, held):
    """Return the names of the arrays to read, by their keys."""
    splits = [s for s in SPLITS if {f"X_{s}", f"y_{s}"} <= held]
    if "train" in splits:
        found = [f"{kind}_{split}" for split in splits for kind in "Xy"]
        return dict(zip(found, found, strict=True))
    for pair in _WHOLE:
        if set(pair) <= held:
            return dict(zip("Xy", pair, strict=True))
    raise ValueError(f"{path} needs the arrays {_ACCEPTED}; it holds {sorted(held)}.")


def _decode(path, name, array):
    """Return an array of bytes as text, and any other array as it is."""
    if array.dtype.kind != "S":
        return array
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: the array {name} holds bytes that are no text in UTF-8. Save it "
            "by astype(str)."
        ) from error
