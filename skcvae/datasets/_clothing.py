"""A public data set of photos, downloaded at first use."""

import os
import shutil
import tempfile
import zipfile
from numbers import Integral, Real
from pathlib import Path, PurePosixPath

import numpy as np
from filelock import FileLock
from sklearn.datasets import fetch_file, get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

_COMMIT = "11961516512414bf9f6c150a832cfd21b54a6b54"
_URL = f"https://github.com/alexeygrigorev/clothing-dataset-small/archive/{_COMMIT}.zip"
_SPLITS = ("train", "validation", "test")
# Number of photos of each class in each split.
_COUNTS = {
    "dress": (241, 32, 15),
    "hat": (123, 14, 12),
    "longsleeve": (455, 49, 72),
    "outwear": (184, 24, 38),
    "pants": (468, 49, 42),
    "shirt": (290, 29, 26),
    "shoes": (198, 26, 73),
    "shorts": (202, 25, 30),
    "skirt": (112, 12, 12),
    "t-shirt": (795, 81, 52),
}


@validate_params(
    {
        "subset": [StrOptions({*_SPLITS, "all"})],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
        "n_retries": [Interval(Integral, 0, None, closed="left")],
        "delay": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def fetch_clothing(
    *,
    subset: str = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch:
    """Load the paths and labels of 3,781 photos of clothes.

    The photos are downloaded at the first call, and kept. No photo is opened. The
    classes are naturally imbalanced.

    =================   ==================
    Classes                             10
    Photos a class      112 to 795 (train)
    Photos              3068 / 341 / 372
    =================   ==================

    Parameters
    ----------
    subset : {"train", "validation", "test", "all"}, default="train"
        Which photos to list. All of them are downloaded.

    data_home : str or path-like, default=None
        Folder of downloaded data sets; None is that of scikit-learn,
        `~/scikit_learn_data`.

    download_if_missing : bool, default=True
        Whether to download photos that are missing, or to raise an error.

    n_retries : int, default=3
        How often a download that fails is tried again.

    delay : float, default=1.0
        Seconds between two tries.

    Returns
    -------
    photos : Bunch
        - `filenames`, object array of str of shape (n_photos,): paths, sorted by split,
          class and name
        - `target`, int array of shape (n_photos,): codes of the classes
        - `target_names`, list of str: names of the classes, by code
        - `paths` and `y`, the paths and the names of their classes, as of
          :func:`load_image_folder`
        - `DESCR`, str: where the photos come from

    Raises
    ------
    OSError
        If photos are missing and cannot be downloaded, or the download is damaged or
        does not hold as many photos of each class as it should.

    Notes
    -----
    The photos are `clothing-dataset-small
    <https://github.com/alexeygrigorev/clothing-dataset-small>`_ by A. Grigorev and
    contributors, in the public domain (CC0), at a fixed commit.

    Examples
    --------
    >>> from skcvae.datasets import fetch_clothing
    >>> photos = fetch_clothing(subset="test")  # doctest: +SKIP
    >>> len(photos.filenames), photos.target_names[:3]  # doctest: +SKIP
    (372, ['dress', 'hat', 'longsleeve'])
    """
    home = Path(get_data_home(data_home))
    folder = home / "skcvae_clothing"
    with FileLock(home / "skcvae_clothing.lock"):
        if _counts(folder) != _COUNTS:
            if not download_if_missing:
                raise OSError(
                    f"The photos are not in {folder}, and download_if_missing=False."
                )
            _download(folder, n_retries, delay)
    splits = _SPLITS if subset == "all" else (subset,)
    found = [
        (str(path), label)
        for split in splits
        for label in _COUNTS
        for path in _photos(folder / split / label)
    ]
    paths, labels = zip(*found, strict=True)
    names, codes = np.unique(labels, return_inverse=True)
    return Bunch(
        filenames=np.array(paths, dtype=object),
        target=codes,
        target_names=names.tolist(),
        paths=np.array(paths, dtype=object),
        y=np.array(labels),
        DESCR=f"Photos of ten kinds of clothes, public domain (CC0), from {_URL}",
    )


def _photos(folder):
    return sorted(folder.glob("*.jpg"))


def _counts(folder):
    """Return the number of photos of each class in each split."""
    return {
        label: tuple(len(_photos(folder / split / label)) for split in _SPLITS)
        for label in _COUNTS
    }


def _download(folder, n_retries, delay):
    """Download the photos to a folder, all of them or none."""
    # In the same file system, so that the folder gets its name in one step.
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        try:
            archive = fetch_file(
                _URL,
                folder=scratch,
                local_filename="photos.zip",
                n_retries=n_retries,
                delay=delay,
            )
            new = Path(scratch) / "photos"
            _extract(archive, new)
        except (OSError, zipfile.BadZipFile) as error:
            raise OSError(
                f"The photos could not be downloaded from {_URL}: {error}\nTry again "
                "later. On a machine without network, copy the folders train, "
                f"validation and test of a clone of that repository to {folder}."
            ) from error
        if _counts(new) != _COUNTS:
            raise OSError(
                f"The archive {_URL} holds {_counts(new)} photos of the splits "
                f"{_SPLITS}, and not {_COUNTS}."
            )
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(new, folder)


def _extract(archive, folder):
    """Write the photos of an archive, and nothing else of it, into class folders."""
    with zipfile.ZipFile(archive) as photos:
        for entry in photos.infolist():
            # repository-commit/split/class/photo.jpg
            _, split, label, name = (*PurePosixPath(entry.filename).parts, *[""] * 4)[
                :4
            ]
            known = split in _SPLITS and label in _COUNTS
            if known and name.endswith(".jpg") and Path(name).name == name:
                target = folder / split / label / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(photos.read(entry))
