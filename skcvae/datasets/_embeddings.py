"""Embeddings from NumPy files."""

import zipfile
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

_KEYS = (("X_train", "y_train", "X_test", "y_test"), ("X", "y"))


def load_embeddings(path):
    """Load labelled embeddings from a ``.npz`` file.

    The file holds `X_train`, `y_train`, `X_test` and `y_test`, or `X` and `y` without
    a split. Object arrays are refused, since reading them runs code of the file.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    embeddings : Bunch
        The arrays that were found, by key. `X...` are float32 of shape (n_samples,
        n_features), `y...` are of shape (n_samples,).

    Raises
    ------
    ValueError
        If the file is not a ``.npz``, lacks a key, or its shapes do not fit.

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
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = next((k for k in _KEYS if set(k) <= set(file)), None)
            if keys is None:
                raise ValueError(
                    f"{path} needs the arrays X_train, y_train, X_test and y_test, or "
                    f"X and y; it holds {sorted(file)}."
                )
            arrays = {key: file[key] for key in keys}
    except (zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a .npz file.") from error
    embeddings = Bunch(**arrays)
    for X_key, y_key in zip(keys[::2], keys[1::2], strict=True):
        embeddings[X_key] = embeddings[X_key].astype(np.float32)
        _check_shapes(path, X_key, embeddings[X_key], y_key, embeddings[y_key])
    return embeddings


def _check_shapes(path, X_key, X, y_key, y):
    if X.ndim != 2 or y.shape != (len(X),):
        raise ValueError(
            f"{path}: {X_key} must have the shape (n_samples, n_features) and {y_key} "
            f"(n_samples,), got {X.shape} and {y.shape}."
        )
