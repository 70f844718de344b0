"""Mini-batches of samples that are read in blocks."""

from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from skorch.dataset import ValidSplit

from ._blocks import cut, refuse_blocks
from ._training import LabelledTensors, TensorLoader

# Numbers of the buffer that is shuffled: 64 MiB in float32.
_BUFFER_NUMBERS = 2**24


class BlockedSamples(LabelledTensors):
    """Samples of `Blocks` as networks read them, and their class codes.

    `convert` takes samples in the units of the user and their codes, and returns what
    the networks read, float32. Batches go to the device.
    """

    def __init__(self, blocks, codes, convert, device):
        super().__init__(None, torch.from_numpy(codes).to(device))
        self.blocks, self.codes, self.convert = blocks, codes, convert

    def __len__(self):
        return len(self.blocks)

    def __getitem__(self, index):
        _refuse_split()

    def read(self, start, stop):
        """Return consecutive samples, an array."""
        codes = self.codes[start:stop]
        return self.convert(self.blocks.read(start, stop), codes)

    def take(self, places):
        """Return samples of sorted places, a tensor on the CPU."""
        taken = torch.empty(len(places), self.blocks.shape[1])
        bounds = np.searchsorted(places, self.blocks.edges).tolist()
        runs = zip(pairwise(self.blocks.edges), pairwise(bounds), strict=True)
        for (start, stop), (first, last) in runs:
            if last > first:
                rows = self.read(start, stop)[places[first:last] - start]
                taken[first:last] = torch.from_numpy(rows)
        return taken

    @cached_property
    def small_classes(self):
        """Places and samples of the smallest classes that a buffer holds, in memory."""
        counts = np.bincount(self.codes)
        by_size = np.argsort(counts, kind="stable")
        fits = np.cumsum(counts[by_size]) <= self._buffer_size()
        places = np.flatnonzero(np.isin(self.codes, by_size[fits]))
        return places, self.take(places)

    def _buffer_size(self):
        return max(1, _BUFFER_NUMBERS // self.blocks.shape[1])

    def shuffled(self, sizes, times=None):
        """Yield samples and codes in random order, in parts of the given sizes.

        Pieces of consecutive samples are read in random order, as many as fill a
        buffer, and the buffer is shuffled: samples that are near each other on disk
        come within the same buffer. With `times`, each sample comes so often. Samples
        of the smallest classes are then kept in memory, and spread over all buffers.
        """
        sizes = iter(sizes)
        size = next(sizes, None)
        x, places = torch.empty(0, self.blocks.shape[1]), np.empty(0, dtype=int)
        for more in self._buffers(times):
            x, places = torch.cat([x, more[0]]), np.concatenate([places, more[1]])
            start = 0
            while size is not None and start + size <= len(x):
                part = slice(start, start + size)
                yield x[part].to(self.y.device), self._codes_of(places[part])
                start, size = start + size, next(sizes, None)
            x, places = x[start:].clone(), places[start:]

    def _codes_of(self, places):
        return self.y[torch.from_numpy(places).to(self.y.device)]

    def _buffers(self, times):
        """Yield samples and their places, shuffled, a buffer at a time."""
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        edges = np.array(self.blocks.edges)
        kept, kept_x = np.empty(0, dtype=int), torch.empty(0, self.blocks.shape[1])
        if times is not None or len(self) <= self._buffer_size():
            kept, kept_x = self.small_classes
        times = np.ones(len(self), dtype=int) if times is None else times.copy()
        drawn = rng.permutation(np.repeat(np.arange(len(kept)), times[kept]))
        times[kept] = 0
        order = rng.permutation(len(edges) - 1)
        n_streamed = np.add.reduceat(times, edges[:-1])[order]
        bounds = cut(n_streamed, self._buffer_size())
        shares = np.array_split(drawn, len(bounds) - 1)
        for (first, last), share in zip(pairwise(bounds), shares, strict=True):
            x, places = [kept_x[torch.from_numpy(share)]], [kept[share]]
            for piece in order[first:last]:
                start, stop = edges[piece : piece + 2].tolist()
                if times[start:stop].any():
                    rows = np.repeat(np.arange(start, stop), times[start:stop])
                    x.append(torch.from_numpy(self.read(start, stop)[rows - start]))
                    places.append(rows)
            mixed = rng.permutation(sum(map(len, places)))
            x = torch.cat(x).index_select(0, torch.from_numpy(mixed))
            yield x, np.concatenate(places)[mixed]


class BlockLoader(TensorLoader):
    """Iterate over batches of `BlockedSamples`, each sample once in a pass."""

    def __iter__(self):
        for x, y in self.dataset.shuffled(np.diff(self._bounds()).tolist()):
            yield {"x": x, "y": y}, x


def check_unsplit(net_params):
    """Refuse a split of the samples for validation, before any work."""
    if isinstance((net_params or {}).get("train_split"), ValidSplit):
        _refuse_split()


def _refuse_split():
    refuse_blocks(
        "a train_split of net_params",
        "Use skorch.helper.predefined_split of samples of their own",
    )
