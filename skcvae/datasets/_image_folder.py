"""Paths and labels of images, from class folders or a CSV file."""

import csv
import os
import unicodedata
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from .._files import printable
from .._image_formats import count_unread, is_readable, readable_formats
from .._warnings import warn_user
from ._equal_files import equal_files

_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
# What macOS, Windows and Synology leave behind, beside hidden files.
_LITTER = {"__MACOSX", "$RECYCLE.BIN", "System Volume Information", "@eaDir"}


@validate_params(
    {"path": [str, os.PathLike], "split": [str, None]},
    prefer_skip_nested_validation=True,
)
def load_image_folder(
    path: str | os.PathLike[str], *, split: str | None = None
) -> Bunch:
    """Load the paths and labels of images from class folders or from a CSV file.

    No image is decoded. In a folder, each sub-folder is a class, and all images below
    it belong to that class, as with torchvision's `ImageFolder`. Hidden files and
    folders are left out, and what macOS and Windows leave behind. Links to files and
    folders are followed, except links to a folder that is read anyway: a parent folder,
    a class, or a folder already read for the class.

    A CSV file has a header with the columns `path` and `label`, and optionally `group`,
    such as a patient; other columns are ignored, with a warning for a column `split` of
    several values. It uses UTF-8 and commas. Paths are relative to the folder of the
    file, and "~" is the home folder.

    Labels are normalised to the form NFC of Unicode, so that names from macOS and Linux
    are the same.

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
          with the extensions of JPEG, PNG, GIF, BMP, TIFF, WebP, PPM, AVIF (if Pillow
          reads it) or HEIC (with the extra `heif`) in any case, sorted by class and
          path; from a CSV file, the paths in the order of its lines. The function does
          not check that files exist and can be read.
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
        If a class folder holds no image, photos are of formats that cannot be read, the
        classes may be one level deeper, two names differ in case alone, or files of
        equal content are in two classes, or in `split` and in another split.

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
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        paths, labels, skipped = _read_folder(path, split)
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
    top = root
    if split is not None:
        root = _choose_split(root, split)
    classes, skipped = _list_folder(root)
    folders = {name: os.path.join(root, name) for name in sorted(classes, key=_nfc)}
    folders = {k: v for k, v in folders.items() if not _leads_up(v, root)}
    if split is None:
        _refuse_splits(root, folders)
    known = {os.path.realpath(root), *_distinct_folders(folders)}
    skipped = [os.path.join(root, name) for name in skipped]
    loose = [file for file in skipped if is_readable(file)]
    images = {}
    for name, folder in folders.items():
        files = _files_below(folder, known)
        images[name] = [file for file in files if is_readable(file)]
        skipped += [file for file in files if not is_readable(file)]
    paths = [file for files in images.values() for file in files]
    # The same name may have two forms in Unicode: macOS writes another than Linux.
    labels = [_nfc(name) for name, files in images.items() for _ in files]
    if not paths:
        raise ValueError(_no_image(root, skipped))
    _warn_about_files(root, skipped, loose)
    _warn_about_classes(root, {_nfc(name) for name in folders}, labels)
    _warn_about_levels(folders, images)
    others = {} if split is None else _other_splits(top, root)
    _warn_about_copies(paths, labels, others)
    return paths, labels, skipped


def _no_image(root, skipped):
    if unread := count_unread(skipped):
        return f"{root} has no image in a sub-folder, but {unread}"
    extensions = [e for known in readable_formats().values() for e in known]
    return (
        f"{root} has no image in a sub-folder: each sub-folder is a class, with "
        f"images of the extensions {', '.join(extensions)}. "
        f"{len(skipped)} other files were found."
    )


def _nfc(name):
    return unicodedata.normalize("NFC", name)


def _is_litter(name):
    return name[0] == "." or name in _LITTER


def _list_folder(folder):
    """Return the names of folders and of files, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not _is_litter(entry.name))
    folders = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    return folders, sorted({*names} - {*folders})


def _choose_split(root, split):
    folders = _list_folder(root)[0]
    for name in folders:
        if _nfc(name) == _nfc(split):
            return os.path.join(root, name)
    raise ValueError(f"{root} has no split {split!r}; its folders are {folders}.")


def _refuse_splits(root, folders):
    """Refuse folders that are named train, val or test, and share sub-folders."""
    below = {
        name: {_nfc(sub) for sub in _list_folder(folder)[0]}
        for name, folder in folders.items()
        if name.lower() in _SPLITS
    }
    splits = [name for name, subs in below.items() if subs]
    shares = any(
        below[name] & below[other]
        for name in splits
        for other in splits
        if name < other
    )
    if shares or (splits and len(splits) == len(folders)):
        raise ValueError(
            f"The sub-folders of {root} are splits, not classes: {splits}. "
            f"Choose one, such as split={splits[0]!r}."
        )


def _warn_about_files(root, skipped, loose):
    unread = count_unread(skipped)
    if unread:
        warn_user(f"{printable(root)} holds {unread}")
    if loose:
        warn_user(
            f"Images that lie in {printable(root)} itself, and are left out: "
            f"{len(loose)}, such as {printable(loose[0])}. Each sub-folder is a class."
        )


def _warn_about_classes(root, known, labels):
    """Warn about classes that are empty, and names that differ in case alone."""
    if empty := sorted(known.difference(labels)):
        warn_user(f"Classes without images in {root}: {empty}.")
    twins = defaultdict(list)
    for label in sorted(set(labels)):
        twins[label.casefold()].append(label)
    for names in twins.values():
        if len(names) > 1:
            warn_user(
                f"The classes {names} differ in upper and lower case alone. If they "
                "are one class, move their images into one folder."
            )


def _warn_about_levels(folders, images):
    """Warn if the sub-folders of the classes may be the classes."""
    below = [
        {os.path.relpath(file, folders[name]).split(os.sep)[0] for file in files}
        if all(os.path.dirname(file) != folders[name] for file in files)
        else set()
        for name, files in images.items()
        if files
    ]
    names = [name for name, files in images.items() if files]
    if len(below[0]) < 2 or any(subs != below[0] for subs in below):
        return
    if len(names) == 1:
        warn_user(
            f"All images are of one class, {names[0]!r}. If its sub-folders "
            f"{sorted(below[0])[:5]} are the classes, give the folder "
            f"{printable(folders[names[0]])}."
        )
    else:
        warn_user(
            f"The classes {names[:5]} have the same sub-folders "
            f"{sorted(below[0])[:5]}. If these are the classes, choose one with "
            f"split={names[0]!r}."
        )


def _other_splits(top, root):
    """Return the images of the other splits beside one, by the name of the split."""
    names = [name for name in _list_folder(top)[0] if name.lower() in _SPLITS]
    folders = {name: os.path.join(top, name) for name in names}
    return {
        name: [file for file in _files_below(folder, ()) if is_readable(file)]
        for name, folder in folders.items()
        if os.path.realpath(folder) != os.path.realpath(root)
    }


def _warn_about_copies(paths, labels, others):
    """Warn about images that are in two classes, or in another split as well."""
    owners = [None] * len(paths)
    everything = list(paths)
    for name, files in others.items():
        everything += files
        owners += [name] * len(files)
    mixed, shared = [], defaultdict(list)
    for group in equal_files(everything):
        own = [index for index in group if owners[index] is None]
        if len({labels[index] for index in own}) > 1:
            mixed.append(own)
        for name in {owners[index] for index in group} - {None}:
            shared[name] += own
    if mixed:
        first, *_, last = sorted(mixed[0], key=lambda index: labels[index])
        warn_user(
            f"Images in more than one class: {len(mixed)}, such as "
            f"{printable(paths[first])} and {printable(paths[last])}. This is a label "
            "error, or a leak."
        )
    for name, indices in shared.items():
        if indices:
            warn_user(
                f"{len(indices)} of {len(paths)} images are also in the split "
                f"{name!r}, such as {printable(paths[indices[0]])}. A model that is "
                "trained on one of the splits has too high scores on the other."
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
            if not _is_litter(name) and _is_new(os.path.join(folder, name), top, known)
        ]
        files += [os.path.join(folder, name) for name in names if not _is_litter(name)]
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


def _read_csv(path):
    """Return paths, labels and groups (or None) of a CSV file."""
    try:
        # Excel writes a byte order mark before the first column; utf-8-sig skips it.
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = _columns(path, reader)
            splits, lines = set(), []
            for row in reader:
                lines.append(_values(path, reader.line_num, row, columns))
                splits.add(row.get("split"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}.") from error
    if not lines:
        raise ValueError(f"{path} names no image: it has a header only.")
    if len(splits) > 1:
        warn_user(
            f"The column split of {path} is ignored, and the images of its splits "
            f"{sorted(splits)[:5]} are taken together. Write a CSV file for each."
        )
    paths, labels, *groups = zip(*lines, strict=True)
    # "~" is the home folder. An absolute path stays as it is.
    paths = [os.path.join(path.parent, os.path.expanduser(p)) for p in paths]
    labels = [_nfc(label) for label in labels]
    _warn_about_copies(paths, labels, {})
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
    if "://" in values[0]:
        raise ValueError(
            f"{path}, line {line}: {values[0]} is a URL, and only files are read. "
            "Download it first."
        )
    return values
