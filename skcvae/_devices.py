"""The one place that knows devices: which one computes, and its random generator."""

import threading
from contextlib import contextmanager

import torch

# torch's global generator is shared by all threads: two trainings at the same time
# would draw from one stream, and neither could be reproduced.
_GLOBAL_RNG_LOCK = threading.RLock()


def resolve_device(device):
    """Return the torch device for "auto", a device name or a torch.device."""
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not a torch device.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch sees no CUDA device. "
            "Use device='auto' or device='cpu'."
        )
    return device


@contextmanager
def fork_torch_rng(seed, device):
    """Seed torch inside the block and give its global random state back after it."""
    on_cuda = device.type == "cuda"
    with _GLOBAL_RNG_LOCK, torch.random.fork_rng([device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
