"""Fill an array chunk by chunk, with one chunk at a time on each core."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from threadpoolctl import threadpool_limits

# Few enough rows that a chunk stays in the processor's cache.
CHUNK_SIZE = 2048


def fill_in_chunks(fill, n_rows, seed, device):
    """Call `fill(rows, generator)` for the slices of consecutive chunks of rows.

    Each chunk has a seed of its own, so that its values do not depend on how many
    threads there are. On a CPU, each thread works through its chunks alone: torch
    draws random numbers with one thread, and all others would wait.

    Parameters
    ----------
    fill : callable
        Takes the slice of a chunk and a :class:`torch.Generator`.

    n_rows : int
        Number of rows in all.

    seed : int
        Seed of all chunks.

    device : torch.device
        Where the generators draw.
    """
    starts = range(0, n_rows, CHUNK_SIZE)
    seeds = np.random.SeedSequence(seed).generate_state(len(starts), np.uint64)

    @torch.inference_mode()
    def fill_chunk(i):
        rows = slice(starts[i], min(starts[i] + CHUNK_SIZE, n_rows))
        fill(rows, torch.Generator(device).manual_seed(int(seeds[i])))

    n_workers = min(len(starts), torch.get_num_threads())
    if n_workers < 2 or device.type != "cpu":
        for i in range(len(starts)):
            fill_chunk(i)
        return
    with ThreadPoolExecutor(n_workers, initializer=_compute_alone) as pool:
        list(pool.map(fill_chunk, range(len(starts))))


def _compute_alone():
    """Let torch's operations use one thread, in this thread only."""
    # torch sets the number of threads at the first call in a thread: ours comes second.
    torch.get_num_threads()
    threadpool_limits(1, user_api="openmp")
