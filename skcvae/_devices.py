"""The one place that knows devices: which one computes, its memory and its seeds."""

import math
import threading
from contextlib import contextmanager

import torch

CPU = torch.device("cpu")
# Share of the free memory of a device that samples may take. The rest is for a second
# copy of a part of them, for the net, and for what a step computes.
_SHARE_OF_SAMPLES = 0.5
# torch's global generator is shared by all threads: two trainings at the same time
# would draw from one stream, and neither could be reproduced.
_GLOBAL_RNG_LOCK = threading.RLock()


def resolve_device(device):
    """Return the torch device for "auto", a device name or a torch.device.

    "auto" is the accelerator that torch reports, such as CUDA, XPU or MPS, else the
    CPU.
    """
    if isinstance(device, str) and device == "auto":
        is_there = torch.accelerator.is_available()
        return torch.accelerator.current_accelerator() if is_there else CPU
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not a torch device.") from error
    if not is_present(device):
        index = "" if device.index is None else f" {device.index}"
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch sees no "
            f"{device.type.upper()} device{index}. Use device='auto' or device='cpu'."
        )
    return device


def is_present(device):
    """Tell whether this machine has the device."""
    if device.type == "cpu":
        return True
    if not torch.accelerator.is_available():
        return False
    is_kind = torch.accelerator.current_accelerator().type == device.type
    return is_kind and (device.index or 0) < torch.accelerator.device_count()


def has_float64(device):
    """Tell whether the device computes in float64; MPS does not."""
    return device.type != "mps"


def half_type(device):
    """Return the type of 16 bits that a device computes fast in, float32 if none."""
    # Others than CUDA and XPU do not say.
    is_supported = getattr(torch.get_device_module(device), "is_bf16_supported", None)
    if is_supported is None or device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if is_supported() else torch.float16


def drawing_device(device, dtype):
    """Return where samples of a NumPy type are drawn: the device, or else the CPU.

    It is the CPU where this machine lacks the device, or the device lacks the type.
    """
    lacks_type = dtype.itemsize > 4 and not has_float64(device)
    return device if is_present(device) and not lacks_type else CPU


@contextmanager
def fork_torch_rng(seed, device):
    """Seed torch inside the block and give its global random state back after it."""
    forked = [] if device.type == "cpu" else [device]
    with _GLOBAL_RNG_LOCK, torch.random.fork_rng(forked, device_type=device.type):
        torch.default_generator.manual_seed(seed)
        for of_accelerator in forked:
            # What manual_seed of the backend does, but of one device, not the current.
            state = torch.Generator(of_accelerator).manual_seed(seed).get_state()
            module = torch.get_device_module(of_accelerator)
            module.set_rng_state(state, of_accelerator)
        yield


def free_memory(device):
    """Return the free bytes of a device; infinity if they are the host's, or unknown.

    MPS shares the memory of the host, and has no such function.
    """
    measure = getattr(torch.get_device_module(device), "mem_get_info", None)
    return math.inf if measure is None else measure(device)[0]


def empty_cache(device):
    """Give memory back to a device that torch keeps for later."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()


def place_samples(x, device):
    """Return samples on a device, or where they are if its memory is short.

    They may take half of the free memory. `take_samples` reads both sorts.
    """
    n_bytes = x.numel() * x.element_size()
    fits = n_bytes <= _SHARE_OF_SAMPLES * free_memory(device)
    return x.to(device) if fits else x


def take_samples(x, places, device):
    """Return the samples at some places, indices on the device of `x`, on a device.

    `x` is on that device or on the host. Samples of the host pass through pinned
    memory, so that the copy runs while the device computes.
    """
    if x.device.type == device.type:
        # index_select gathers samples several times faster than indexing does.
        return x.index_select(0, places)
    shape = (len(places), *x.shape[1:])
    batch = torch.empty(shape, dtype=x.dtype, pin_memory=True)
    torch.index_select(x, 0, places, out=batch)
    return batch.to(device, non_blocking=True)
