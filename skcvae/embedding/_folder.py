"""Embeddings of folders of images, on one machine or on a Dask cluster."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch

from .._extras import import_extra
from ..datasets import load_image_folder
from ._embedder import FoundationEmbedder
from ._loading import Failure, failure_error

# Number of images in one task of a cluster. A lost worker loses at most one task.
_SHARD_SIZE = 256


def embed_folder(
    path: str | os.PathLike[str],
    embedder: FoundationEmbedder,
    *,
    split: str | None = None,
    out: str | os.PathLike[str] | None = None,
    on_error: str = "raise",
    client: Any = None,
) -> Bunch:
    """Embed the images of a folder or a CSV file.

    With `out`, the embeddings do not have to fit into memory. If the embedder has
    `memory`, a run that was killed continues when it is started again.

    Parameters
    ----------
    path : str or path-like
        As in :func:`skcvae.datasets.load_image_folder`.

    embedder : FoundationEmbedder
        It is cloned.

    split : str, default=None
        Sub-folder to take, for folders split/class/image.

    out : str or path-like, default=None
        File (.npy) for the embeddings. It is written completely or not at all. None
        keeps the embeddings in memory.

    on_error : {"raise", "nan", "skip"}, default="raise"
        What to do with an image that cannot be read: raise an error, return an
        embedding of NaN, or leave out the image and its label.

    client : distributed.Client, default=None
        Dask cluster whose workers embed shards of images. If a worker is lost, others
        embed its shards. The images must have the same paths there. `num_workers` is
        ignored, because workers of Dask may not start processes.

    Returns
    -------
    embeddings : Bunch
        `X`, float32 of shape (n_images, n_features), a read-only memory map with
        `out`; `y`, the labels; `paths`; `groups`, or None; `kept`, the indices of the
        returned images among all images of the folder; `failures`, a list of Failure.

    Raises
    ------
    ValueError
        If `on_error` is unknown, or an image cannot be read with ``on_error="raise"``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import timm
    >>> from PIL import Image
    >>> from safetensors.torch import save_file
    >>> from skcvae.embedding import FoundationEmbedder, embed_folder
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> save_file(timm.create_model("test_vit").state_dict(), folder / "w.safetensors")
    >>> for label in ("cat", "dog"):
    ...     (folder / "photos" / label).mkdir(parents=True)
    ...     Image.new("RGB", (40, 30)).save(folder / "photos" / label / "0.png")
    >>> embedder = FoundationEmbedder("test_vit", weights=folder / "w.safetensors")
    >>> embeddings = embed_folder(folder / "photos", embedder)
    >>> embeddings.X.shape, embeddings.y.tolist()
    ((2, 64), ['cat', 'dog'])
    """
    if on_error not in ("raise", "nan", "skip"):
        raise ValueError(
            f"on_error must be 'raise', 'nan' or 'skip', got {on_error!r}."
        )
    images = load_image_folder(path, split=split)
    embedder = clone(embedder)
    embedder.set_params(on_error="raise" if on_error == "raise" else "nan")
    n_images = len(images.paths)
    n_features = len(embedder.fit(images.paths).get_feature_names_out())
    shards = _embed_locally if client is None else _embed_on(client)
    array = _OutputArray(out, n_images, n_features)
    failures = []
    with array:
        for indices, block, failed in shards(embedder, images.paths):
            array.X[indices.start : indices.stop] = block
            failures += failed
        failures.sort(key=lambda failure: failure.index)
        kept = np.arange(n_images)
        if on_error == "skip":
            kept = np.delete(kept, [failure.index for failure in failures])
        X = array.finish(kept)
    groups = None if images.groups is None else images.groups[kept]
    return Bunch(
        X=X,
        y=images.y[kept],
        paths=images.paths[kept],
        groups=groups,
        kept=kept,
        failures=failures,
    )


def _embed_locally(embedder, paths):
    """Yield the indices, embeddings and failures of blocks of images."""
    n_seen = 0
    for indices, embeddings in embedder.iter_embeddings(paths):
        failures = embedder.failures_[n_seen:]
        n_seen = len(embedder.failures_)
        yield indices, embeddings, failures


def _embed_on(client):
    """Return a function like `_embed_locally` that runs on a Dask cluster."""
    distributed = import_extra("distributed", "dask", "client=")

    def embed(embedder, paths):
        on_worker = clone(embedder).set_params(num_workers=0, on_error="nan")
        starts = range(0, len(paths), _SHARD_SIZE)
        futures = client.map(
            _embed_shard,
            starts,
            [paths[start : start + _SHARD_SIZE] for start in starts],
            embedder=on_worker,
            pure=False,
        )
        for _, (start, embeddings, failures) in distributed.as_completed(
            futures, with_results=True
        ):
            if failures and embedder.on_error == "raise":
                raise failure_error(failures[0])
            yield range(start, start + len(embeddings)), embeddings, failures

    return embed


def _embed_shard(start, paths, embedder):
    embeddings = embedder.transform(paths)
    failures = [
        Failure(start + f.index, f.source, f.reason) for f in embedder.failures_
    ]
    return start, embeddings, failures


class _OutputArray:
    """Array in memory, or in a temporary file that is finally renamed to `out`."""

    def __init__(self, out, n_images, n_features):
        self.out = None if out is None else Path(out)
        if self.out is not None and self.out.is_dir():
            raise IsADirectoryError(f"out={str(out)!r} is a folder.")
        self._temporary = []
        self.X = self._allocate(n_images, n_features)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for path in self._temporary:
            path.unlink(missing_ok=True)

    def finish(self, kept):
        """Return the embeddings to keep; with a file, write it and give it its name."""
        if len(kept) < len(self.X):
            whole, self.X = self.X, self._allocate(len(kept), self.X.shape[1])
            for start in range(0, len(kept), _SHARD_SIZE):
                chunk = slice(start, start + _SHARD_SIZE)
                self.X[chunk] = whole[kept[chunk]]
        if self.out is None:
            return self.X
        self.X.flush()
        os.replace(self._temporary[-1], self.out)
        return np.load(self.out, mmap_mode="r")

    def _allocate(self, n_images, n_features):
        if self.out is None:
            return np.empty((n_images, n_features), dtype=np.float32)
        # A new file with a random name, which only its owner may read.
        descriptor, name = tempfile.mkstemp(
            prefix=f".{self.out.name}.", dir=self.out.parent
        )
        os.close(descriptor)
        self._temporary.append(Path(name))
        return np.lib.format.open_memmap(
            self._temporary[-1], "w+", np.float32, (n_images, n_features)
        )
