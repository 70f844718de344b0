"""What a generator of images needs beside its convolutional networks."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from .._rendering import are_fractions, hint_channels, is_image_shape
from ._conv_net import ConvNet

_SIDES = (8, 64)
_CHANNELS = (1, 3)
_MAX_WIDTH = 256
# Ranges that say nothing of the samples. The smallest that holds them is taken, if they
# fill half of it.
_USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
# How far from 0 a range may lie, in multiples of itself: rounding of values beside
# their ends must not lead beyond.
_MAX_OFFSET = 10
# New images farther from the middle of the range, of width 1, have other units.
_MAX_FROM_MIDDLE = 1.5
# So have training images that fill less of a given range.
_LEAST_FILLED = 0.01


@dataclass(frozen=True)
class ConvBackbone:
    """Convolutional networks for images, as the `architecture` of a generator.

    Samples stay two-dimensional: an image of shape (height, width) or (height, width,
    channels) is one sample ``image.reshape(-1)``. Give this to
    :class:`~skcvae.generators.CVAE`, :class:`~skcvae.generators.VAE` or
    :class:`~skcvae.generators.CGAN`, or to a sampler or an anonymizer that takes an
    `architecture`. Then

    - convolutions of stride 2 halve the image until its sides are at most 4, and
      sub-pixel convolutions [1]_ double it again;
    - all generated values lie in the range of the pixels, between 0 and 255 for
      example. Pixels that are the same in all training images keep their value;
    - images are drawn as the network decodes them. Observation noise would put grain
      on them, so that `noise` has no effect;
    - there are no class means: the networks model the pixels themselves;
    - `width` counts, and a number as `hidden_dim` has no effect. "auto", the default of
      :class:`~skcvae.anonymization.CVAEAnonymizer`, chooses the number of epochs of a
      CVAE or VAE in place of the width, where `max_epochs` is "auto" too: an eighth of
      the usual number is doubled up to that, as long as a held-out fifth of the images
      gets more likely, by more than the standard error, and training images do not get
      so by more, beyond two standard errors of the difference;
    - there is no private training.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width) or (height, width, channels), with sides from 8 to 64 pixels and
        1 or 3 channels, the channels last. Their product is the number of features.

    width : int, default=16
        Number of channels of the largest maps, from 1 to 256. Smaller maps have twice
        as many.

    value_range : tuple of float, default=None
        Lowest and highest value that a pixel can have, for example ``(0, 255)``. None
        is the smallest of [0, 1], [-1, 1] and [0, 255] that holds all training samples,
        if they fill at least half of it, else the range of the training samples. That
        one cannot be released, because it tells of samples that attain it.

    dtype : {"uint8"}, default=None
        Type of the images that `sample` of a generator returns. "uint8" rounds them to
        whole numbers, and needs a range within [0, 255]. None is the floating-point
        type of the training samples, or float32 of a loaded release.

    Raises
    ------
    ValueError
        If a parameter has another value. In `fit`: if samples are not in the units of
        `value_range` or `dtype`.

    See Also
    --------
    skcvae.embedding.FoundationEmbedder : Embeddings of images of any size.

    Notes
    -----
    On a GPU, sums of convolutions may have another order in each run: the same seed
    then gives the same images only to rounding.

    References
    ----------
    .. [1] W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an
       Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016, arXiv 1609.05158.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import CVAE, ConvBackbone
    >>> X, y = load_digits(return_X_y=True)
    >>> backbone = ConvBackbone((8, 8), width=4)
    >>> generator = CVAE(architecture=backbone, max_epochs=2, random_state=0).fit(X, y)
    >>> images, _ = generator.sample(y=[3, 3, 8])
    >>> images.reshape(-1, 8, 8).shape, bool((0 <= images).all())
    ((3, 8, 8), True)
    """

    image_shape: tuple[int, ...]
    width: int = 16
    value_range: tuple[float, float] | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        shape = check_image_shape(self.image_shape)
        object.__setattr__(self, "image_shape", shape)
        check_width(self.width)
        if self.dtype not in (None, "uint8"):
            raise ValueError(f"dtype must be None or 'uint8', got {self.dtype!r}.")
        if self.value_range is not None:
            low, high = _check_range(self.value_range)
            object.__setattr__(self, "value_range", (low, high))

    def __call__(self, n_features: int, n_classes: int, latent_dim: int) -> "ConvNet":
        """Return the networks of a CVAE, untrained.

        Parameters
        ----------
        n_features : int
            Number of pixels times channels.

        n_classes : int
            Number of classes.

        latent_dim : int
            Dimension of z.

        Returns
        -------
        module : torch.nn.Module
            Has `encode` and `decode`, as an architecture of :class:`CVAE` must.
        """
        self._check_features(n_features)
        return ConvNet(self.image_shape, self.width, n_classes, latent_dim)

    def _check_features(self, n_features):
        product = int(np.prod(self.image_shape))
        if product != n_features:
            raise ValueError(
                f"ConvBackbone(image_shape={self.image_shape}) needs {product} "
                f"features, and X has {n_features}. An image is one sample: "
                "X.reshape(len(X), -1)."
            )

    def _estimate_scaling(self, X):
        """Return lowest value and range of each feature; 0 for a constant one."""
        self._check_features(X.shape[1])
        low, high = self._resolve_range(float(X.min()), float(X.max()))
        if self.dtype == "uint8" and are_fractions(X):
            raise ValueError(
                "dtype='uint8' would round the pixels of X, which are fractions from 0 "
                "to 1. Give them from 0 to 255: np.rint(255 * X)."
            )
        if self.dtype == "uint8" and not 0 <= low <= high <= 255:
            raise ValueError(
                f"dtype='uint8' needs values from 0 to 255, and the range is [{low:g}, "
                f"{high:g}]."
            )
        offset, scale = np.full((2, X.shape[1]), [[low], [high - low]])
        constant = (X[0] == X).all(axis=0)
        offset[constant], scale[constant] = X[0, constant], 0.0
        return offset, scale

    def _resolve_range(self, lowest, highest):
        """Return lowest and highest value of a pixel, for those of the samples."""
        if self.value_range is not None:
            low, high = self.value_range
            if lowest < low or highest > high:
                raise ValueError(
                    f"value_range={self.value_range} does not hold X, whose values are "
                    f"from {lowest:g} to {highest:g}."
                )
            if 0 < highest - lowest < _LEAST_FILLED * (high - low):
                raise ValueError(
                    f"The values of X are from {lowest:g} to {highest:g}, which is "
                    f"next to nothing of value_range={self.value_range}. Give both in "
                    "the same units."
                )
            return low, high
        for low, high in _USUAL_RANGES:
            fills_half = 2 * (highest - lowest) >= high - low
            if low <= lowest and highest <= high and fills_half:
                return low, high
        if lowest == highest:
            return lowest, highest
        return _check_range((lowest, highest))

    def _check_release(self, generator):
        """Refuse a range that was read from the training samples."""
        varying = generator.scale_ > 0
        low = generator.offset_[varying]
        found = {*zip(low, low + generator.scale_[varying], strict=True)}
        if self.value_range is None and not found <= set(_USUAL_RANGES):
            raise ValueError(
                "The range of the pixels was read from the training samples, and tells "
                "of those that attain it. Give ConvBackbone the value_range, for "
                "example (0, 255), and fit anew."
            )


def check_image_shape(shape):
    """Return the shape of images as a tuple of int; refuse what networks lack."""
    if not is_image_shape(shape):
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), got "
            f"{shape!r}."
        )
    smallest, largest = _SIDES
    if not all(smallest <= side <= largest for side in shape[:2]):
        raise ValueError(
            f"image_shape must have sides from {smallest} to {largest} pixels, got "
            f"{shape!r}"
            + (hint_channels(shape) or ". Resize images, or use FoundationEmbedder.")
        )
    if len(shape) == 3 and shape[2] not in _CHANNELS:
        raise ValueError(
            f"image_shape must have 1 or 3 channels, the channels last, got {shape!r}."
        )
    return tuple(int(side) for side in shape)


def check_width(width):
    """Refuse a number of channels that is none, or too large."""
    is_int = isinstance(width, Integral) and not isinstance(width, bool)
    if not is_int or not 1 <= width <= _MAX_WIDTH:
        raise ValueError(
            f"width must be an integer from 1 to {_MAX_WIDTH}, got {width!r}."
        )


def _check_range(value_range):
    """Return lowest and highest value as floats."""
    is_pair = isinstance(value_range, tuple | list) and len(value_range) == 2
    if not is_pair or not all(isinstance(end, Real) for end in value_range):
        raise ValueError(f"value_range must be a pair of numbers, got {value_range!r}.")
    low, high = map(float, value_range)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(
            f"value_range must be finite and increasing, got {value_range!r}."
        )
    if max(abs(low), abs(high)) > _MAX_OFFSET * (high - low):
        raise ValueError(
            f"The pixels have the range [{low:g}, {high:g}], which is narrow beside "
            "its distance from 0. Subtract the lowest value, and divide by the range."
        )
    return low, high


class ImagesMixin:
    """Mixin of generators whose `architecture` may be a `ConvBackbone`.

    Then they model pixels between 0 and 1, without class means.
    """

    class_means_: NDArray
    mean_shrinkage_: float
    _output_dtype: np.dtype

    @property
    def _images(self):
        """The `ConvBackbone`, or None where samples are not images."""
        is_backbone = isinstance(self.architecture, ConvBackbone)
        return self.architecture if is_backbone else None

    def _estimate_scaling(self, X):
        if self._images is None:
            return super()._estimate_scaling(X)
        return self._images._estimate_scaling(X)

    def _residuals(self, Z, codes):
        if self._images is not None and (np.abs(Z - 0.5) > _MAX_FROM_MIDDLE).any():
            raise ValueError(
                "The pixels of X lie far outside of the range of the training images. "
                "Give them in the same units."
            )
        return super()._residuals(Z, codes)

    def _centre(self, Z, codes):
        if self._images is None:
            return super()._centre(Z, codes)
        if self._images.dtype is not None:
            self._output_dtype = np.dtype(self._images.dtype)
        self.mean_shrinkage_ = np.inf
        self.class_means_ = np.zeros((len(self.classes_), Z.shape[1]))
        return Z
