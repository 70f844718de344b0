"""Embeddings from NumPy files."""

import zipfile
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

# Names of the rows and of the labels in a file, and what they become.
_WHOLE = (("X", "y"), ("embeddings", "labels"))
_SPLITS = ("train", "val", "test")
_ACCEPTED = (
    "X_train and y_train (with X_val, y_val, X_test and y_test where there are some), "
    "X and y, or embeddings and labels"
)


def load_embeddings(path):
    """Load labelled embeddings from a ``.npz`` file, or a folder with one per split.

    A file holds `X_train` and `y_train`, with those of `val` and `test` where it has
    them, or without a split `X` and `y`, or `embeddings` and `labels` as the database
    of [1]_ does. A folder holds ``train.npz`` and, where there are some, ``val.npz``
    and ``test.npz``, each without a split. Object arrays are refused, since reading
    them runs code of the file.

    Parameters
    ----------
    path : str or path-like
        The file or folder.

    Returns
    -------
    embeddings : Bunch
        `X` and `y`, or `X_train`, `y_train` and what there is of `X_val`, `y_val`,
        `X_test` and `y_test`. `X...` are float32 of shape (n_samples, n_features),
        `y...` are of shape (n_samples,).

    Raises
    ------
    ValueError
        If a file is not a ``.npz``, lacks a key, or its shapes do not fit.

    References
    ----------
    .. [1] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
       datasets by capturing feature distributions with Conditional VAEs", BMVC 2024,
       `arXiv 2408.00639 <https://arxiv.org/abs/2408.00639>`_.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from skcvae.datasets import load_embeddings
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "embeddings.npz"
    >>> np.savez(path, X=np.ones((4, 3)), y=[0, 0, 1, 1])
    >>> load_embeddings(path).X.shape
    (4, 3)
    """
    path = Path(path)
    if not path.is_dir():
        return _load_file(path)
    found = [split for split in _SPLITS if (path / f"{split}.npz").is_file()]
    if "train" not in found:
        raise ValueError(
            f"The folder {path} needs train.npz, and val.npz and test.npz where there "
            f"are some; it holds {sorted(p.name for p in path.iterdir())[:5]}."
        )
    embeddings = Bunch()
    for split in found:
        part = _load_file(path / f"{split}.npz")
        if "X" not in part:
            raise ValueError(
                f"{path / split}.npz is one split of its folder and must hold X and y, "
                f"or embeddings and labels, got {sorted(part)}."
            )
        embeddings |= {f"X_{split}": part.X, f"y_{split}": part.y}
    return embeddings


def _load_file(path):
    """Return the rows and labels of one file, by the keys of `load_embeddings`."""
    names, arrays = read_arrays(path)
    return Bunch(
        **{
            key: arrays[name].astype(np.float32)
            if key[0] == "X"
            else arrays[name].ravel()
            for key, name in names.items()
        }
    )


def read_arrays(path):
    """Read the rows and labels of one file as they are there, with checked shapes.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    names : dict of str to str
        Name of each array in the file, by the key of :func:`load_embeddings`.

    arrays : dict of str to ndarray
        The arrays, by their names in the file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = _find_arrays(path, set(file))
            arrays = {name: file[name] for name in names.values()}
    except (zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a .npz file.") from error
    pairs = list(names.values())
    for X_name, y_name in zip(pairs[::2], pairs[1::2], strict=True):
        _check_shapes(path, X_name, arrays[X_name], y_name, arrays[y_name])
    return names, arrays


def _find_arrays(path, held):
    """Return the names of the arrays to read, by the keys that they get."""
    splits = [s for s in _SPLITS if {f"X_{s}", f"y_{s}"} <= held]
    if "train" in splits:
        return {
            f"{kind}_{split}": f"{kind}_{split}" for split in splits for kind in "Xy"
        }
    for pair in _WHOLE:
        if set(pair) <= held:
            return dict(zip("Xy", pair, strict=True))
    raise ValueError(f"{path} needs the arrays {_ACCEPTED}; it holds {sorted(held)}.")


def _check_shapes(path, X_name, X, y_name, y):
    if X.ndim != 2 or y.shape not in ((len(X),), (len(X), 1)):
        raise ValueError(
            f"{path}: {X_name} must have the shape (n_samples, n_features) and "
            f"{y_name} (n_samples,) or (n_samples, 1), got {X.shape} and {y.shape}."
        )
