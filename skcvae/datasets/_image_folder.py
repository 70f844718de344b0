"""Paths and labels of images, from class folders or a CSV file."""

import csv
import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from .._warnings import warn_user

_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp"),
    *(".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
)
_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


@validate_params(
    {"path": [str, os.PathLike], "split": [str, None]},
    prefer_skip_nested_validation=True,
)
def load_image_folder(
    path: str | os.PathLike[str], *, split: str | None = None
) -> Bunch:
    """Load the paths and labels of images from class folders or from a CSV file.

    No image is opened. In a folder, each sub-folder is a class, and all images below it
    belong to that class, as with torchvision's `ImageFolder`. Hidden files and folders
    are left out. Links to files and folders are followed, except links to a folder
    that is read anyway: a parent folder, a class, or a folder already read for the
    class.

    A CSV file has a header with the columns `path` and `label`, and optionally `group`,
    such as a patient; other columns are ignored. It uses UTF-8 and commas. Paths are
    relative to the folder of the file.

    Parameters
    ----------
    path : str or path-like
        The folder or the CSV file.

    split : str, default=None
        Sub-folder that holds the class folders, such as "train" in
        ``train/cat/1.jpg``.

    Returns
    -------
    images : Bunch
        - `paths`, object array of str of shape (n_images,): from a folder, the files
          with the extensions of JPEG, PNG, GIF, BMP, TIFF, WebP or PPM in any case,
          sorted by class and path; from a CSV file, the paths in the order of its
          lines. The function does not check that files exist and can be read.
        - `y`, array of str of shape (n_images,): labels.
        - `filenames`, `target` and `target_names`, as scikit-learn's loaders name
          them: the paths, codes of the labels, and the labels by their codes.
        - `groups`, array of str of shape (n_images,), or None.
        - `skipped`, list of str: files in the folder with other extensions, or outside
          of the class folders.

    Raises
    ------
    FileNotFoundError, PermissionError
        If the folder, a folder in it, or the file cannot be read.

    ValueError
        If there is no image, a split must be chosen or is unknown, two classes are
        links to one folder, or the CSV file lacks a column or value.

    Warns
    -----
    UserWarning
        If a class folder holds no image.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skcvae.datasets import load_image_folder
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("dog/1.JPG", "cat/b/2.png", "cat/a.jpg", "cat/notes.txt"):
    ...     file = folder / name
    ...     file.parent.mkdir(parents=True, exist_ok=True)
    ...     file.touch()
    >>> images = load_image_folder(folder)
    >>> [pathlib.Path(path).relative_to(folder).as_posix() for path in images.paths]
    ['cat/a.jpg', 'cat/b/2.png', 'dog/1.JPG']
    >>> images.y.tolist(), len(images.skipped)
    (['cat', 'cat', 'dog'], 1)
    """
    if os.path.isdir(path):
        paths, labels, skipped = _read_folder(os.fspath(path), split)
        groups = None
    else:
        if split is not None:
            raise ValueError(f"split is for folders, and {path} is a file.")
        paths, labels, groups = _read_csv(Path(path))
        skipped = []
    names, codes = np.unique(labels, return_inverse=True)
    return Bunch(
        paths=np.array(paths, dtype=object),
        y=np.array(labels),
        filenames=np.array(paths, dtype=object),
        target=codes,
        target_names=names.tolist(),
        groups=None if groups is None else np.array(groups),
        skipped=skipped,
    )


def _read_folder(root, split):
    """Return paths, labels and skipped files of class folders."""
    if split is not None:
        root = _choose_split(root, split)
    classes, skipped = _list_folder(root)
    folders = {label: os.path.join(root, label) for label in classes}
    folders = {k: v for k, v in folders.items() if not _leads_up(v, root)}
    if split is None:
        _refuse_splits(root, folders)
    known = {os.path.realpath(root), *_distinct_folders(folders)}
    skipped = [os.path.join(root, name) for name in skipped]
    paths, labels, empty = [], [], []
    for label, folder in folders.items():
        files = _files_below(folder, known)
        images = [file for file in files if _is_image(file)]
        skipped += [file for file in files if not _is_image(file)]
        paths += images
        labels += [label] * len(images)
        if not images:
            empty.append(label)
    if not paths:
        raise ValueError(
            f"{root} has no image in a sub-folder: each sub-folder is a class, with "
            f"images of the extensions {', '.join(_EXTENSIONS)}. "
            f"{len(skipped)} other files were found."
        )
    if empty:
        warn_user(f"Classes without images in {root}: {empty}.")
    return paths, labels, skipped


def _list_folder(folder):
    """Return the names of folders and of files, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name[0] != ".")
    folders = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    return folders, sorted({*names} - {*folders})


def _choose_split(root, split):
    folders = _list_folder(root)[0]
    if split not in folders:
        raise ValueError(f"{root} has no split {split!r}; its folders are {folders}.")
    return os.path.join(root, split)


def _refuse_splits(root, folders):
    """Refuse class folders that are named train, val or test."""
    if folders and all(
        label.lower() in _SPLITS and _list_folder(folder)[0]
        for label, folder in folders.items()
    ):
        raise ValueError(
            f"The sub-folders of {root} are splits, not classes: {list(folders)}. "
            f"Choose one, such as split={next(iter(folders))!r}."
        )


def _leads_up(folder, root):
    """Return whether a folder is a link to the root or to a folder above it."""
    return Path(os.path.realpath(root)).is_relative_to(os.path.realpath(folder))


def _distinct_folders(folders):
    """Return the real paths of class folders, and refuse one folder of two classes."""
    label_of = {}
    for label, folder in folders.items():
        other = label_of.setdefault(os.path.realpath(folder), label)
        if other != label:
            raise ValueError(
                f"The classes {other!r} and {label!r} are one folder: {folder} is a "
                "link. Remove it."
            )
    return label_of


def _files_below(top, known):
    """Return the files below a folder, sorted; known folders are not entered again."""
    known = set(known)
    files = []
    for folder, folders, names in os.walk(top, onerror=_stop, followlinks=True):
        # os.walk enters what this list holds. If two links lead to one folder, only the
        # first one is followed, so the order matters.
        folders[:] = [
            name
            for name in sorted(folders)
            if name[0] != "." and _is_new(os.path.join(folder, name), top, known)
        ]
        files += [os.path.join(folder, name) for name in names if name[0] != "."]
    return sorted(files, key=lambda file: file.replace(os.sep, "/"))


def _is_new(folder, top, known):
    """Return whether a folder must be entered, and add it to the known ones."""
    real = os.path.realpath(folder)
    if real in known or _leads_up(folder, top):
        return False
    known.add(real)
    return True


def _stop(error):
    """Raise the error of an unreadable folder, which os.walk would ignore."""
    raise error


def _is_image(file):
    return os.path.splitext(file)[1].lower() in _EXTENSIONS


def _read_csv(path):
    """Return paths, labels and groups (or None) of a CSV file."""
    try:
        # Excel writes a byte order mark before the first column; utf-8-sig skips it.
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = _columns(path, reader)
            lines = [_values(path, reader.line_num, row, columns) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}.") from error
    if not lines:
        raise ValueError(f"{path} names no image: it has a header only.")
    paths, labels, *groups = zip(*lines, strict=True)
    paths = [os.path.join(path.parent, file) for file in paths]
    return paths, labels, groups[0] if groups else None


def _columns(path, reader):
    """Return the columns to read, in the order path, label, group."""
    names = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = names
    counts = {name: names.count(name) for name in ("path", "label", "group")}
    if counts["path"] != 1 or counts["label"] != 1 or counts["group"] > 1:
        raise ValueError(
            f"{path} needs a header with the columns path and label, separated by "
            f"commas, and may have group, each once; it has {names}."
        )
    return [name for name, count in counts.items() if count]


def _values(path, line, row, columns):
    """Return the values of a line, none of them empty."""
    # DictReader puts surplus values under the key None, and None for missing values.
    if None in row or None in row.values():
        raise ValueError(
            f"{path}, line {line}: the number of values is not the number of columns. "
            "Values with commas need quotes."
        )
    values = [row[name].strip() for name in columns]
    if not all(values):
        raise ValueError(f"{path}, line {line}: {columns[values.index('')]} is empty.")
    return values
