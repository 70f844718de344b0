"""How images are read in batches: views, a data set for torch, and failures."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch.utils.data import Dataset

from .._devices import CPU, fork_torch_rng
from .._files import printable
from ._images import ImageReadError, fingerprint, read_image

_MAX_ASPECT = 100


class Failure(NamedTuple):
    """An image that could not be read."""

    index: int  # type: ignore[assignment]
    source: str
    reason: str


class View:
    """An image and a random transformation of it, which is applied when it is read.

    A view keeps the image as it was given and a seed of torch's random numbers, which
    torchvision uses. So thousands of views need little memory, and a view is the same
    whenever and in whatever process it is read.
    """

    def __init__(self, source, augment: Callable, seed: int):
        self.source = source
        self.augment = augment
        self.seed = seed

    def open(self) -> Image.Image:
        """Return the view, an RGB image of PIL."""
        image = read_image(self.source)
        with fork_torch_rng(self.seed, CPU):
            view = self.augment(image)
        if not isinstance(view, Image.Image):
            raise TypeError(
                f"augment must return an image of PIL, got {type(view).__name__}. "
                "Leave out steps such as ToTensor and Normalize: the embedder does "
                "what its model needs."
            )
        return view.convert("RGB")


def _open_view(source):
    """Return the image of a view, and any other source unchanged."""
    return source.open() if isinstance(source, View) else source


class ImageDataset(Dataset):
    """The `indices` of `sources`, images or views, read and transformed one by one."""

    def __init__(self, sources, indices, transform):
        self.sources = sources
        self.indices = indices
        self.transform = transform

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, position):
        """Return the position, and a tensor and None, or None and why it failed."""
        try:
            image = read_image(_open_view(self.sources[self.indices[position]]))
        except ImageReadError as error:
            return position, None, str(error)
        if max(image.size) > _MAX_ASPECT * min(image.size):
            # The model's transform enlarges the short side, and the long one with it.
            return position, None, f"its sides differ by more than {_MAX_ASPECT} times"
        return position, self.transform(image), None


def first_image(sources):
    """Return the first image that can be read, or None."""
    for source in sources:
        try:
            return read_image(_open_view(source))
        except ImageReadError:
            continue
    return None


def cache_key(source, settings):
    """Return the key of an image in the cache, or None if it cannot be read."""
    try:
        return f"{fingerprint(_open_view(source))}-{settings}"
    except ImageReadError:
        return None


def failure_error(failure):
    """Return the error to raise for a failure with ``on_error="raise"``."""
    return ValueError(
        f"Image {failure.index} ({printable(failure.source)}) cannot be read: "
        f"{failure.reason}. With on_error='nan', such images get an embedding of NaN "
        "and are listed in failures_."
    )


def collate(items):
    """Return positions, images (tensors are stacked), and the failures."""
    good = [item for item in items if item[1] is not None]
    failures = [
        (position, reason) for position, image, reason in items if image is None
    ]
    images = [image for _, image, _ in good]
    if good and isinstance(images[0], torch.Tensor):
        images = torch.stack(images)
    return [position for position, *_ in good], images, failures


def describe(source):
    """Return the path of an image, or its type."""
    if isinstance(source, View):
        return f"view of {describe(source.source)}"
    if isinstance(source, (str, Path)):
        return str(source)
    return f"<{type(source).__name__}>"
