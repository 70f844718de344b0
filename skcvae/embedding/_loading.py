"""Images on their way from a source to a batch, and those that fail."""

from collections import namedtuple
from pathlib import Path

import torch
from torch.utils.data import Dataset

from ._images import ImageReadError, fingerprint, read_image
from ._views import View, open_view

_MAX_ASPECT = 100

Failure = namedtuple("Failure", ["index", "source", "reason"])


class ImageDataset(Dataset):
    """Images that are read and transformed one by one.

    Parameters
    ----------
    sources : sequence
        Images, as :func:`read_image` takes them.

    indices : sequence of int
        Which of them, in which order.

    transform : callable
        From an image to a tensor.
    """

    def __init__(self, sources, indices, transform):
        self.sources = sources
        self.indices = indices
        self.transform = transform

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, position):
        """Return the position, and either a tensor or the reason why there is none."""
        try:
            image = read_image(open_view(self.sources[self.indices[position]]))
        except ImageReadError as error:
            return position, None, str(error)
        if max(image.size) > _MAX_ASPECT * min(image.size):
            # Its short side is enlarged to the model's size, and the long one with it.
            return position, None, f"its sides differ by more than {_MAX_ASPECT} times"
        return position, self.transform(image), None


def cache_key(source, settings):
    """Return the key of an image in the cache, None where it cannot be read."""
    try:
        return f"{fingerprint(open_view(source))}-{settings}"
    except ImageReadError:
        return None


def failure_error(failure):
    """Return the error that a failure raises with ``on_error="raise"``."""
    return ValueError(
        f"Image {failure.index} ({failure.source}) cannot be read: {failure.reason}. "
        "With on_error='nan', such images become rows of NaN, listed in failures_."
    )


def collate(items):
    """Return positions and stacked images, and the failures."""
    good = [item for item in items if item[1] is not None]
    failures = [
        (position, reason) for position, image, reason in items if image is None
    ]
    images = torch.stack([image for _, image, _ in good]) if good else None
    return [position for position, *_ in good], images, failures


def describe(source):
    """Return the path of an image, or its type."""
    if isinstance(source, View):
        return f"view of {describe(source.source)}"
    if isinstance(source, (str, Path)):
        return str(source)
    return f"<{type(source).__name__}>"
