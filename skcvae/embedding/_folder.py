"""Embeddings of folders of images, of any size, on one machine or several."""

import os
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch

from ..datasets import load_image_folder
from ._loading import Failure, failure_error

# Images of one task of a cluster: what is lost with a worker.
_SHARD_SIZE = 256


def embed_folder(
    path, embedder, *, split=None, out=None, on_error="raise", client=None
):
    """Embed the images of a folder or a CSV file.

    Memory stays flat where `out` is given. What is embedded is kept, where the
    embedder has `memory`: a run that was killed goes on there.

    Parameters
    ----------
    path : str or path-like
        As in :func:`skcvae.datasets.load_image_folder`.

    embedder : FoundationEmbedder
        It is cloned.

    split : str, default=None
        Sub-folder to take, for folders split/class/image.

    out : str or path-like, default=None
        File (.npy) that the embeddings are written to, whole or not at all. None
        keeps them in memory.

    on_error : {"raise", "nan", "skip"}, default="raise"
        What an image does that cannot be read: stop; become a row of NaN; or be left
        out, with its label.

    client : distributed.Client, default=None
        Dask cluster that embeds shards of images on all its workers, and those of a
        worker that is lost on others. The images must have the same paths there.
        `num_workers` does not count: workers of Dask may start no processes.

    Returns
    -------
    embeddings : Bunch
        `X`, float32 of shape (n_images, n_features), a read-only memory map with
        `out`; `y`, the labels; `paths`; `groups`, or None; `kept`, the indices of the
        rows among all images of the folder; `failures`, a list of Failure.

    Raises
    ------
    ValueError
        For an unknown `on_error`, and for the first image that cannot be read with
        ``on_error="raise"``.

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
    rows = _RowFile(out, n_images, n_features)
    failures = []
    with rows:
        for indices, block, failed in shards(embedder, images.paths):
            rows.X[indices.start : indices.stop] = block
            failures += failed
        failures.sort(key=lambda failure: failure.index)
        kept = np.arange(n_images)
        if on_error == "skip":
            kept = np.delete(kept, [failure.index for failure in failures])
        X = rows.finish(kept)
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
    """Yield the indices, rows and failures of blocks of images."""
    n_seen = 0
    for indices, rows in embedder.iter_embeddings(paths):
        failures = embedder.failures_[n_seen:]
        n_seen = len(embedder.failures_)
        yield indices, rows, failures


def _embed_on(client):
    """Return a function like `_embed_locally` that runs on a Dask cluster."""
    try:
        from distributed import as_completed
    except ImportError as error:
        raise ImportError("client= needs Dask: pip install 'skcvae[dask]'.") from error

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
        for _, (start, rows, failures) in as_completed(futures, with_results=True):
            if failures and embedder.on_error == "raise":
                raise failure_error(failures[0])
            yield range(start, start + len(rows)), rows, failures

    return embed


def _embed_shard(start, paths, embedder):
    """Embed a shard on a worker."""
    rows = embedder.transform(paths)
    failures = [
        Failure(start + f.index, f.source, f.reason) for f in embedder.failures_
    ]
    return start, rows, failures


class _RowFile:
    """Rows in memory, or in a temporary file that becomes `out` when it is whole."""

    def __init__(self, out, n_rows, n_features):
        self.out = None if out is None else Path(out)
        if self.out is not None and self.out.is_dir():
            raise IsADirectoryError(f"out={str(out)!r} is a folder.")
        self._temporary = []
        self.X = self._allocate(n_rows, n_features)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for path in self._temporary:
            path.unlink(missing_ok=True)

    def finish(self, kept):
        """Return the rows to keep, written and renamed where there is a file."""
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

    def _allocate(self, n_rows, n_features):
        if self.out is None:
            return np.empty((n_rows, n_features), dtype=np.float32)
        name = f".{self.out.name}.{os.getpid()}.{len(self._temporary)}"
        self._temporary.append(self.out.with_name(name))
        return np.lib.format.open_memmap(
            self._temporary[-1], "w+", np.float32, (n_rows, n_features)
        )
