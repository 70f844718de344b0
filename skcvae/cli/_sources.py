"""What `compare` reads: digits, a database or photos, and the code that reads them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from .._formats import SUFFIXES, find_file
from .._validation import check_finite_in_float32
from ._databases import read_finite
from ._embed import find_splits
from ._leaks import describe_copies
from ._methods import code_of

_TRAIN_ONLY = "Compared on training samples: validation and test samples stay unused."

_READ_DIGITS = """\
X, y = load_digits(return_X_y=True)
"""
_READ_NPZ = """\
database = load_embeddings({path!r})
X, y = database.{X}, database.{y}
"""
_READ_PARQUET = """\
table = read_table({path!r}{split})
X = np.array(table[{X!r}].to_pylist(), dtype=np.float32)
y = np.array(table[{y!r}].to_pylist()).ravel()
"""
_READ_SAFETENSORS = """\
with safe_open({path!r}, "numpy") as file:
    X = file.get_tensor({X!r}).astype(np.float32)
    y = file.get_tensor({y!r}).ravel()
    texts = (file.metadata() or {{}}).get({values!r})
if texts is not None:
    y = np.array(json.loads(texts))[y]
"""
_READ_PHOTOS = """\
embedder = {embedder}
photos = embed_folder({path!r}, embedder{split}, on_error="skip")
X, y = photos.X, photos.y
"""


@dataclass(frozen=True)
class Source:
    """Samples and labels to compare on, and Python code that reads them as X and y.

    `notes` say what was left out.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    imports: tuple[str, ...]
    code: str
    notes: tuple[str, ...] = ()


def digits() -> Source:
    """Return the digits of scikit-learn."""
    imports = ("from sklearn.datasets import load_digits",)
    X, y = load_digits(return_X_y=True)
    return Source("scikit-learn's digits", X, y, imports, _READ_DIGITS)


def read_source(path: Path, embedder: Any) -> Source:
    """Return the samples of a database, or the embeddings of photos.

    Of a source with splits, only the training samples are taken. `embedder` is for
    photos.
    """
    is_database = path.suffix in SUFFIXES or find_file(path, "train").is_file()
    source = _database(path) if is_database else _photos(path, embedder)
    return replace(source, notes=(*source.notes, *describe_copies(source.X)))


def _database(path):
    samples = read_finite(path, "train")
    check_finite_in_float32(samples.X)
    file = find_file(path, "train")
    X_name, y_name = samples.names
    place = str(file.resolve())
    if file.suffix == ".npz":
        keys = ("X_train", "y_train") if X_name == "X_train" else ("X", "y")
        imports = ("from skcvae.datasets import load_embeddings",)
        code = _READ_NPZ.format(path=place, X=keys[0], y=keys[1])
    elif file.suffix == ".parquet":
        imports = ("import numpy as np", "from pyarrow.parquet import read_table")
        is_split = X_name == "X_train"
        split = ', filters=[("split", "==", "train")]' if is_split else ""
        code = _READ_PARQUET.format(
            path=place,
            split=split,
            X=X_name.removesuffix("_train"),
            y=y_name.removesuffix("_train"),
        )
    else:
        imports = (
            "import json",
            "import numpy as np",
            "from safetensors import safe_open",
        )
        code = _READ_SAFETENSORS.format(
            path=place, X=X_name, y=y_name, values=f"values of {y_name}"
        )
    notes = (_TRAIN_ONLY,) if X_name == "X_train" or path.is_dir() else ()
    X = samples.X.astype(np.float32)
    return Source(str(path), X, samples.y, imports, code, notes)


def _photos(path, embedder):
    """Return the embeddings of photos; those that cannot be read are left out."""
    from ..embedding import embed_folder

    split = find_splits(path).get("_train")
    found = embed_folder(path, embedder, split=split, on_error="skip")
    code = _READ_PHOTOS.format(
        embedder=code_of(embedder)[1].replace("\n", "\n" + " " * len("embedder = ")),
        path=str(path.resolve()),
        split="" if split is None else f", split={split!r}",
    )
    imports = ("from skcvae.embedding import FoundationEmbedder, embed_folder",)
    notes = () if split is None else (_TRAIN_ONLY,)
    notes += tuple(f"not read: {f.source}: {f.reason}" for f in found.failures)
    return Source(str(path), found.X, found.y.astype(str), imports, code, notes)
