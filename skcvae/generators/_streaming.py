"""Draw noise chunk by chunk, ahead of the computation that needs it."""

from concurrent.futures import ThreadPoolExecutor

import torch

# Few enough rows that a chunk stays in the processor's cache.
CHUNK_SIZE = 2048


def noise_ahead(n_rows, width, generator):
    """Yield standard normal noise for chunks of rows.

    torch draws normal numbers with one thread: the next chunk is drawn in the
    background, while the other threads compute with this one.

    Parameters
    ----------
    n_rows : int
        Number of rows in all.

    width : int
        Number of values per row.

    generator : torch.Generator
        Where the numbers come from, and on which device.

    Yields
    ------
    start : int
        Position of the chunk's first row.

    noise : Tensor of shape (n, width)
        Its noise; n is `CHUNK_SIZE` but for the last chunk.
    """
    with ThreadPoolExecutor(1) as pool:

        def draw(start):
            size = min(CHUNK_SIZE, n_rows - start)
            return pool.submit(
                torch.randn, size, width, generator=generator, device=generator.device
            )

        starts = range(0, n_rows, CHUNK_SIZE)
        upcoming = draw(0) if n_rows else None
        for start in starts:
            noise = upcoming.result()
            if start != starts[-1]:
                upcoming = draw(start + CHUNK_SIZE)
            yield start, noise
