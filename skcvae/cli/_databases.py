"""Databases of samples and labels: what the commands read and write."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._files import write_whole
from .._formats import STATEMENT, WRITERS, find_file, read_header, reader
from .._npz import SPLITS, read_arrays

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
    the file. `files` are the names of the photos, if the database holds them.
    """

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None
    names: tuple[str, str]
    dtype: np.dtype
    is_column: bool
    statement: dict[str, Any] | None
    files: np.ndarray | None

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
    path = _find_database(path, split)
    kinds = ("groups", "files")
    further = {f"{kind}{end}" for kind in kinds for end in ("", f"_{split}")}
    further.add(STATEMENT)
    names, arrays = read_arrays(path, further, read or reader(path))
    suffix = "" if "X" in names else f"_{split}"
    if f"X{suffix}" not in names:
        raise ValueError(
            f"{path} has no samples of the split {split!r}, only {sorted(arrays)}. "
            f"Give a file with X_{split} and y_{split}, or one without splits."
        )
    X_name, y_name = names[f"X{suffix}"], names[f"y{suffix}"]
    X, y = arrays[X_name], arrays[y_name]
    groups, files = (_values_of(path, arrays, f"{k}{suffix}", len(X)) for k in kinds)
    dtype = np.float64 if X.dtype == np.float64 else np.float32
    return Samples(
        X=X.astype(dtype, copy=False),
        y=y.ravel(),
        groups=groups,
        names=(X_name, y_name),
        dtype=X.dtype,
        is_column=y.ndim == 2,
        statement=_read_statement(path, arrays.get(STATEMENT)),
        files=files,
    )


def _find_database(path, split):
    """Return the file of a split, and refuse photos that are not embedded."""
    is_split = path.is_dir() and any(find_file(path, s).exists() for s in SPLITS)
    if path.suffix == ".csv" or (path.is_dir() and not is_split):
        output = path.resolve().with_suffix(".npz").name
        raise ValueError(
            f"{path} is no database. If it holds or lists photos, run "
            f"`skcvae embed {path} -o {output}` first, and give {output}."
        )
    return find_file(path, split)


def _values_of(path, arrays, name, n_samples):
    """Return an array of one value for each sample, or None without it."""
    values = arrays.get(name)
    if values is None:
        return None
    if values.shape not in ((n_samples,), (n_samples, 1)):
        raise ValueError(
            f"{path}: {name} must have one value for each of {n_samples} samples, got "
            f"the shape {values.shape}."
        )
    return values.ravel()


def read_unlabelled(path: Path, split: str) -> tuple[Samples, bool]:
    """Return samples as `read_samples`, and whether they have labels: else `y` is 0."""
    read_format = reader(_find_database(path, split))
    missing: dict[str, str] = {}

    def read(path, choose):
        def chosen(held):
            missing.update({y: X for X, y in _PAIRS if X in held and y not in held})
            return [n for n in choose(held | missing.keys()) if n not in missing]

        arrays = read_format(path, chosen)
        for y, X in missing.items():
            if X in arrays:
                arrays[y] = np.zeros(arrays[X].shape[:1])
        return arrays

    samples = read_samples(path, split, read)
    return samples, samples.names[1] not in missing


def check_finite(path: Path, *parts: Samples) -> None:
    """Refuse samples with values that are not finite."""
    if not all(np.isfinite(part.X).all() for part in parts):
        raise ValueError(
            f"{path} holds values that are not finite. Leave these samples out."
        )


def check_widths(path: Path, *parts: Samples) -> None:
    """Refuse splits of different numbers of features."""
    widths = [part.X.shape[1] for part in parts]
    if len(set(widths)) > 1:
        raise ValueError(f"{path}: all splits need the same features, got {widths}.")


def read_finite(path: Path, split: str, *, any_value: bool = False) -> Samples:
    """Return samples as `read_samples`; refuse values that are not finite.

    With `any_value`, for a private fit, no error depends on the values.
    """
    samples = read_samples(path, split)
    if not any_value:
        check_finite(path, samples)
    return samples


def read_splits(path: Path) -> dict[str, Samples]:
    """Return the samples of each split of a database; "train" is all of one without."""
    _find_database(path, "train")
    if path.is_dir():
        found = [s for s in SPLITS if s == "train" or find_file(path, s).exists()]
        return {split: read_samples(path, split) for split in found}
    names, _ = read_arrays(path, (), reader(path))
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
        for kind in ("groups", "files"):
            if (values := getattr(samples, kind)) is not None:
                arrays[f"{kind}_{split}" if is_split else kind] = values
    statement = splits["train"].statement
    write_database(output, arrays, json.dumps(statement) if statement else None)


def write_database(
    output: Path, arrays: dict[str, np.ndarray], statement: str | None = None
) -> None:
    """Write arrays in the format of the suffix, completely or not at all."""
    write_whole(output, WRITERS[output.suffix](arrays, statement))


def write_folder(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays of each split to a file of its own, ``train.npz`` and so on.

    Samples and labels have the names `embeddings` and `labels` there.
    """
    folder.mkdir(exist_ok=True)
    new_names = {"X": "embeddings", "y": "labels"}
    splits: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        kind, _, split = name.partition("_")
        splits.setdefault(split, {})[new_names.get(kind, kind)] = array
    for split, held in splits.items():
        write_database(folder / f"{split}.npz", held)


def is_release(path: Path) -> bool:
    """Tell whether a file is a release of a generator, and no database."""
    if path.suffix != ".safetensors":
        return False
    try:
        return not {"X", "X_train", "embeddings"} & set(read_header(path))
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
