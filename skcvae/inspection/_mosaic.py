"""Many images in one picture."""

import numpy as np

from .._rendering import are_fractions
from ._base import with_defaults


def has_bytes(samples):
    """Return whether samples are pixels of type uint8, other than black and white."""
    pixels = np.asarray(samples)
    return pixels.dtype == np.uint8 and pixels.max(initial=0) > 1


def to_bytes(pixels):
    """Round pixels, and cut them to [0, 255]; refuse those of other units."""
    if are_fractions(pixels):
        raise ValueError(
            "Some samples are pixels of bytes, and others fractions from 0 to 1. Give "
            "all from 0 to 255."
        )
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def make_scale(images):
    """Return a function that scales images to [0, 1] by the range of some."""
    images = list(images)
    low, high = min(i.min() for i in images), max(i.max() for i in images)
    if images[0].dtype == np.uint8:
        low, high = 0, 255
    elif low >= 0 and high <= 1:
        low, high = 0, 1
    width = float(high) - float(low) or 1.0
    return lambda image: np.clip((image.astype(np.float64) - low) / width, 0, 1)


def show_blocks(ax, blocks, kwargs):
    """Draw images in rows; each block has as many columns as its longest row.

    `blocks` holds a list of rows of images in [0, 1] for each block. Returns the drawn
    picture, the centres of the columns of each block, and the upper left corners (x, y)
    of the images of each block by row.
    """
    from matplotlib.image import AxesImage

    every = [image for block in blocks for row in block for image in row]
    height, width = np.max([image.shape[:2] for image in every], axis=0)
    has_colour = any(image.ndim == 3 for image in every)
    gap = max(1, height // 16)
    widths = [max(len(row) for row in block) for block in blocks]
    starts = np.concatenate([[0], np.cumsum(widths)])
    # Between blocks, the gap is wider.
    n_rows = len(blocks[0])
    across = starts[-1] * (width + gap) + (len(blocks) - 1) * 3 * gap
    picture = np.ones((n_rows * (height + gap), across, 3))
    tops = np.arange(n_rows) * (height + gap)
    centres, corners = [], []
    for k, block in enumerate(blocks):
        lefts = (starts[k] + np.arange(widths[k])) * (width + gap) + k * 3 * gap
        centres.append(lefts + width / 2)
        corners.append(
            [[(x, i * (height + gap)) for x in lefts] for i in range(n_rows)]
        )
        for row, places in zip(block, corners[-1], strict=True):
            for image, (x, y) in zip(row, places, strict=False):
                filled = _fill(image, height, width)
                picture[y : y + len(filled), x : x + filled.shape[1]] = filled
    style = with_defaults(kwargs, AxesImage, cmap="gray", vmin=0, vmax=1)
    drawn = ax.imshow(picture if has_colour else picture[..., 0], **style)
    ax.set_yticks(tops + height / 2)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return drawn, centres, corners


def _fill(image, height, width):
    """Return an image with three channels, enlarged by as much as fits."""
    times = max(1, min(height // image.shape[0], width // image.shape[1]))
    enlarged = image.repeat(times, axis=0).repeat(times, axis=1)
    return enlarged if image.ndim == 3 else np.repeat(enlarged[..., None], 3, axis=2)
