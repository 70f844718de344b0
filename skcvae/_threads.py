"""How many threads compute on the CPU."""

from contextlib import contextmanager

import joblib
from threadpoolctl import threadpool_limits

# Operations of a step that one more thread is worth. A CVAE with the default widths and
# 64 features has 2e8: two threads took as long as one on an idle machine, and four
# times as long beside busy processes. With 192 features it has 4e8, and two took 57 %.
_OPERATIONS_PER_THREAD = 2e8


def available_threads():
    """Return how many threads may compute on the CPU.

    This is the number that torch is set to, or fewer: where the process may use fewer
    processors, by its affinity or by the limit of a container.
    """
    import torch

    return min(torch.get_num_threads(), joblib.cpu_count())


def training_threads(module, batch_size):
    """Return how many threads a step of a module is worth: one for a small net.

    A step takes six operations for each weight of a layer, each sample, and each place
    of a convolution. Embeddings only look weights up.
    """
    from torch import nn

    n_places = {}
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            n_places[id(part.weight)] = 0
        elif hasattr(part, "n_places"):
            n_places[id(part.weight)] = part.n_places
    n_weights = sum(
        p.numel() * n_places.get(id(p), 1) for p in module.parameters() if p.ndim > 1
    )
    return threads_for(6 * n_weights * batch_size)


def threads_for(n_operations):
    """Return how many threads a step of so many operations is worth."""
    n_threads = round(n_operations / _OPERATIONS_PER_THREAD)
    return min(max(n_threads, 1), available_threads())


@contextmanager
def limit_threads(n_threads):
    """Let torch compute with so many threads inside the block, and BLAS if it is one.

    More could be more than the user allows BLAS.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(1 if n_threads == 1 else None, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
