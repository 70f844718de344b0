"""Images of samples, by a function of the user or by the shape of their pixels."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils import gen_batches

# How many samples are rendered at a time.
_RENDERED = 64


def render(decoder, samples):
    """Return what a function makes of samples, in parts."""
    images = [
        np.asarray(decoder(samples[part]))
        for part in gen_batches(len(samples), _RENDERED)
    ]
    n_images = sum(len(part) for part in images)
    if n_images != len(samples):
        raise ValueError(
            f"decoder must return an image for each sample, got {n_images} images for "
            f"{len(samples)} samples."
        )
    return np.concatenate(images) if images else np.empty(0)


def are_fractions(pixels):
    """Tell whether pixels lie in [0, 1], and not only at its ends."""
    within = pixels.size and pixels.min() >= 0 and pixels.max() <= 1
    return bool(within) and not np.isin(pixels, (0, 1)).all()


def is_image_shape(shape):
    """Tell whether a shape is one of two or three integers above 0."""
    known = isinstance(shape, tuple | list) and len(shape) in (2, 3)
    return known and all(
        isinstance(n, Integral) and not isinstance(n, bool) and n > 0 for n in shape
    )


def hint_channels(shape):
    """Return a hint for the shape of an image whose channels come first, or ""."""
    if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3):
        return ". Channels come last: call X = np.moveaxis(X, 1, -1) first."
    return ""


def check_renders(decoder, image_shape):
    """Refuse both or neither of a decoder and the shape of images."""
    if (decoder is None) == (image_shape is None):
        raise ValueError(
            "Give either image_shape=(h, w) or (h, w, 3), where samples are pixels, or "
            "decoder, a function of samples that returns their images."
        )
    if decoder is not None and not callable(decoder):
        raise TypeError(f"decoder must be a function, got {decoder!r}.")
    if decoder is None and not is_image_shape(image_shape):
        raise ValueError(
            "image_shape must be two or three integers above 0, (h, w) or (h, w, 3), "
            f"got {image_shape!r}."
        )


def to_images(samples, decoder=None, image_shape=None):
    """Return images of shape (n, h, w) or (n, h, w, 3) of samples."""
    check_renders(decoder, image_shape)
    if decoder is None:
        images = _reshape(np.asarray(samples), tuple(image_shape))
        source = "image_shape"
    else:
        images, source = render(decoder, samples), "decoder"
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim != 3 and not (images.ndim == 4 and images.shape[3] == 3):
        raise ValueError(
            f"{source} must give images of shape (h, w), (h, w, 1) or (h, w, 3), got "
            f"{images.shape[1:]}. The axis of channels comes last."
        )
    if images.dtype.kind not in "biuf" or not np.isfinite(images).all():
        raise ValueError(f"{source} must give finite numbers.")
    return images


def _reshape(samples, image_shape):
    n_pixels = math.prod(image_shape)
    if samples.shape[1:] != (n_pixels,):
        raise ValueError(
            f"image_shape={image_shape} has {n_pixels} values, and a sample has "
            f"{samples.shape[1]}. Where samples are not pixels, give a decoder."
        )
    return samples.reshape(-1, *image_shape)
