"""Samples that are larger than memory, read a block at a time."""

from functools import reduce
from itertools import pairwise

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from ._several_labels import refuse_label_sets
from ._validation import check_finite_in_float32, check_targets

# A memory map of at most so many bytes is read whole, as joblib hands over arrays.
_MAX_MAPPED = 2**30
# Numbers of what is read from a memory map at once, and is shuffled as a whole.
_PIECE_NUMBERS = 2**17
# Numbers of a block: 64 MiB in float64.
BLOCK_NUMBERS = 2**23
# Sums of blocks that one task of Dask adds. The tree is fixed, and so are its bits.
_BRANCHES = 8


def is_blocked(X):
    """Tell whether samples are read in blocks.

    Arrays of zarr, h5py and Dask are, and memory maps of more than 1 GiB.
    """
    if isinstance(X, Blocks):
        return True
    if isinstance(X, np.ndarray):
        return isinstance(X, np.memmap) and X.nbytes > _MAX_MAPPED
    wanted = "chunks", "shape", "dtype", "__getitem__"
    return all(hasattr(X, name) for name in wanted)


class Blocks:
    """Samples that stay on disk, and their labels, of shape (n_samples,).

    `X`, of shape (n_samples, n_features), is a memory map, or an array of zarr, h5py or
    Dask.
    """

    def __init__(self, X, y):
        self.X, self.y = X, y
        self.shape = X.shape
        #: Type of the blocks, as of checked samples: float16 becomes float64.
        self.dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
        self.edges = _edges(X)
        #: Moments of the classes, once they are known.
        self.moments = None

    def __len__(self):
        return self.shape[0]

    def read(self, start, stop):
        """Return consecutive samples as an array; refuse values that are not finite."""
        return read_block(self.X[start:stop], start, self.dtype)

    def spans(self):
        """Return (start, stop) of blocks, each of a few whole chunks."""
        limit = max(1, BLOCK_NUMBERS // self.shape[1])
        bounds = cut(np.diff(self.edges), limit)
        return list(pairwise(self.edges[bound] for bound in bounds))

    def total(self, function, *args):
        """Return the sums of the tuples `function(X, y, *args)` of all blocks.

        On arrays of Dask, its workers compute and add them, in a fixed order.
        """
        if hasattr(self.X, "to_delayed"):
            return self._total_on_dask(function, args)
        parts = (
            function(self.read(start, stop), self.y[start:stop], *args)
            for start, stop in self.spans()
        )
        return reduce(_add, parts)

    def _total_on_dask(self, function, args):
        from dask import delayed

        args = [delayed(argument) for argument in args]
        apply, add = delayed(_apply), delayed(_add)
        tasks = [
            apply(function, chunk, start, self.dtype, self.y[start:stop], *args)
            for chunk, start, stop in self.chunks()
        ]
        while len(tasks) > 1:
            tasks = [
                add(*tasks[i : i + _BRANCHES]) for i in range(0, len(tasks), _BRANCHES)
            ]
        return tasks[0].compute()

    def chunks(self):
        """Return (delayed chunk, start, stop) of an array of Dask."""
        sizes = tuple(np.diff(self.edges).tolist())
        whole = self.X.rechunk({0: sizes, 1: -1}).to_delayed().ravel()
        return list(zip(whole, self.edges[:-1], self.edges[1:], strict=True))


def check_blocks(X, y):
    """Return the `Blocks` of samples and labels."""
    refuse_label_sets(y)
    # Labels are in memory, also those of Dask.
    y = column_or_1d(np.asarray(y) if hasattr(y, "chunks") else y, warn=True)
    check_targets(y)
    if X.ndim != 2:
        raise ValueError(f"X must have two axes, got an array of shape {X.shape}.")
    if np.dtype(X.dtype).kind not in "fiub":
        raise ValueError(f"X must hold numbers, and holds {X.dtype}.")
    if np.isnan(X.shape).any():
        raise ValueError(
            "Chunks of X have unknown sizes: call X.compute_chunk_sizes()."
        )
    check_consistent_length(X, y)
    if len(y) < 2 or not X.shape[1]:
        raise ValueError(
            f"X has {X.shape[0]} sample(s) and {X.shape[1]} feature(s), and at least "
            "two samples and one feature are required."
        )
    return Blocks(X, y)


def refuse_blocks(what, remedy):
    """Raise ValueError for what reads all samples at once."""
    raise ValueError(
        f"X is read in blocks, and {what} reads all samples at once. {remedy}, or pass "
        "np.asarray(X) if it fits into memory."
    )


def cut(sizes, limit):
    """Return bounds that cut parts in a row into runs, each of at most so much.

    A run has at least one part.
    """
    bounds, total = [0], 0
    for i, size in enumerate(sizes.tolist()):
        if total + size > limit and i > bounds[-1]:
            bounds.append(i)
            total = 0
        total += size
    return [*bounds, len(sizes)]


def _edges(X):
    """Return the bounds of what is read at once: whole chunks, where X has them."""
    chunks = getattr(X, "chunks", None)
    if chunks is not None and not np.isscalar(chunks[0]):
        return np.unique(np.cumsum([0, *chunks[0]])).tolist()
    size = max(1, _PIECE_NUMBERS // X.shape[1])
    if chunks is not None:
        size = chunks[0]
    return [*range(0, X.shape[0], size), X.shape[0]]


def read_block(values, start, dtype):
    """Return values as an array of a type; refuse those missing or not finite."""
    if np.ma.is_masked(values):
        raise ValueError("X is a masked array with missing values. Fill or drop them.")
    block = np.ascontiguousarray(values, dtype=dtype)
    broken = np.argwhere(~np.isfinite(block))
    if len(broken):
        sample, feature = broken[0]
        raise ValueError(
            f"Input X contains NaN or infinity, in sample {start + sample} and feature "
            f"{feature}."
        )
    check_finite_in_float32(block)
    return block


def _apply(function, values, start, dtype, y, *args):
    return function(read_block(values, start, dtype), y, *args)


def _add(*parts):
    """Return the sums of tuples, place by place."""
    return tuple(
        reduce(lambda a, b: a + b, values) for values in zip(*parts, strict=True)
    )
