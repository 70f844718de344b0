"""Embeddings from files."""

import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from .._formats import find_file, reader
from .._npz import SPLITS, read_arrays


def load_embeddings(path: str | os.PathLike[str]) -> Bunch:
    """Load labelled embeddings from a file, or from a folder with one per split.

    The file is a ``.npz`` or ``.safetensors`` file of arrays, or a ``.parquet`` file
    with a column of lists for the samples, one of labels, and perhaps one named `split`
    with the values ``train``, ``val`` and ``test``: what the commands write.

    A file with splits holds `X_train` and `y_train`, and optionally `X_val`, `y_val`,
    `X_test` and `y_test`. A file without splits holds `X` and `y`, or `embeddings` and
    `labels`, like the databases of [1]_. A folder holds ``train.npz``, and optionally
    ``val.npz`` and ``test.npz``, or the same of another format, each of them a file
    without splits. Object arrays are
    refused, because reading them would run code from the file. Labels of bytes are
    decoded as UTF-8. Samples that are complex numbers, texts or dates are refused.

    Parameters
    ----------
    path : str or path-like
        The file or folder.

    Returns
    -------
    embeddings : Bunch
        `X` and `y`, or `X_train`, `y_train` and, if they exist, `X_val`, `y_val`,
        `X_test` and `y_test`. Samples are float32 of shape (n_samples, n_features),
        labels have the shape (n_samples,).

    Raises
    ------
    ValueError
        If a file is damaged, lacks an array, or shapes or types do not fit.

    ImportError
        If a ``.parquet`` file is read and pyarrow is missing.

    OSError
        If a file cannot be opened.

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
    files = {split: find_file(path, split) for split in SPLITS}
    found = [split for split, file in files.items() if file.is_file()]
    if "train" not in found:
        raise ValueError(
            f"The folder {path} needs train.npz, and optionally val.npz and test.npz; "
            f"it holds {sorted(p.name for p in path.iterdir())[:5]}."
        )
    embeddings = Bunch()
    for split in found:
        part = _load_file(files[split])
        if "X" not in part:
            raise ValueError(
                f"{files[split]} is one split of its folder and must hold X and y, "
                f"or embeddings and labels, got {sorted(part)}."
            )
        embeddings |= {f"X_{split}": part.X, f"y_{split}": part.y}
    return embeddings


def _load_file(path):
    """Return the samples and labels of one file, by the keys of `load_embeddings`."""
    names, arrays = read_arrays(path, read=reader(path))
    return Bunch(
        **{
            key: _to_float32(path, name, arrays[name])
            if key[0] == "X"
            else arrays[name].ravel()
            for key, name in names.items()
        }
    )


def _to_float32(path, name, X):
    """Return samples as float32; refuse values that would become infinite."""
    with np.errstate(over="ignore"):
        samples = X.astype(np.float32)
    if np.isinf(samples).any() and not np.isinf(X[np.isinf(samples)]).all():
        raise ValueError(f"{path}: {name} has values too large for float32. Scale it.")
    return samples
