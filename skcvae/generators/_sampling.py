"""Drawing samples from what a generator has learned: labels, seeds, chunks."""

from abc import ABCMeta, abstractmethod
from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._generation import fill_by_class
from .._training import draw_seeds
from .._validation import check_variance, encode_labels


class SamplingMixin(metaclass=ABCMeta):
    """Base class of fitted generators and loaded releases: both draw samples.

    It has `classes_`, `scale_`, `n_features_in_`, `_output_dtype`, `variance` and
    `random_state`, and implements the abstract methods.
    """

    def sample(self, n_samples=None, *, y=None, variance=None, random_state=None):
        """Draw rows, one for each label of `y` or `n_samples` of any class.

        Parameters
        ----------
        n_samples : int, default=None
            Number of rows to draw when `y` is not given, with classes drawn from
            the class distribution of the training rows. None draws as many rows as
            the generator was fitted on.

        y : array-like of shape (n_samples,), default=None
            Labels to draw a row for, in this order. Each must be in `classes_`.

        variance : float, dict, array-like of shape (n_classes,) or "auto", default=None
            Replaces the parameter `variance` in this call.

        random_state : int, RandomState instance or None, default=None
            Seed of this call. None uses the parameter `random_state`: where that is
            an integer, each call returns the same rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Generated rows, in the floating-point type of the training rows.

        y : ndarray of shape (n_samples,)
            Their labels.

        Raises
        ------
        ValueError
            If both `n_samples` and `y` are given, `n_samples` is negative, or `y`
            holds a class that was not in the training rows.
        """
        self._check_ready()
        if random_state is None:
            random_state = self.random_state
        # The first seed of a RandomState is the one that `fit` takes.
        _, label_seed, row_seed = draw_seeds(check_random_state(random_state), 3)
        codes = self._codes_to_draw(n_samples, y, label_seed)
        return self._draw_in_chunks(codes, variance, row_seed), self.classes_[codes]

    def make_stream(self, classes, device, *, variance=None):
        """Return a function that draws on a device, for the batches of a training loop.

        Parameters
        ----------
        classes : array-like of shape (n_classes,)
            Labels that the class codes stand for.

        device : torch.device
            Where to draw.

        variance : float, dict, array-like of shape (n_classes,) or "auto", default=None
            Replaces the parameter `variance`.

        Returns
        -------
        callable
            Takes sorted class codes of shape (n,) and a :class:`torch.Generator`, and
            returns samples of shape (n, n_features), float32, in the units of the
            training samples.
        """
        codes_of = torch.from_numpy(encode_labels(classes, self.classes_)).to(device)
        draw_scaled = self._make_scaled_draw(device, variance)
        to_units = make_units(self._centres(), self.scale_, device, torch.float32)

        @torch.inference_mode()
        def stream(codes, generator):
            codes = codes_of.index_select(0, codes)
            return to_units(draw_scaled(codes, generator), codes)

        return stream

    @abstractmethod
    def _check_ready(self):
        """Raise if there is nothing to draw from."""

    @abstractmethod
    def _make_sampler(self):
        """Return a module on the CPU that draws, :mod:`skcvae.generators._samplers`.

        Its `forward(codes, std, generator)` returns scaled rows around the class
        means, shape (n, n_features). `codes`, sorted, and `std`, the square root of
        the variance of each row, are tensors on the device of `generator`. It is
        called once for each use, so that several threads may draw at the same time.
        """

    @abstractmethod
    def _class_weights(self):
        """Return how often each class is drawn, shape (n_classes,), unnormalised."""

    @abstractmethod
    def _default_n_samples(self):
        """Return how many rows are drawn where no number is given."""

    @abstractmethod
    def _centres(self):
        """Return the mean of each class, shape (n_classes, n_features)."""

    def _sampling_device(self):
        """Return the device to draw on."""
        return torch.device("cpu")

    def _codes_to_draw(self, n_samples, y, seed):
        if y is not None:
            if n_samples is not None:
                raise ValueError("Give either n_samples or y, not both.")
            return encode_labels(y, self.classes_)
        if n_samples is None:
            n_samples = self._default_n_samples()
        if isinstance(n_samples, bool) or not (
            isinstance(n_samples, Integral) and n_samples >= 0
        ):
            raise ValueError(
                f"n_samples must be an integer of at least 0, got {n_samples!r}."
            )
        weights = self._class_weights()
        share = weights / weights.sum()
        return np.random.RandomState(seed).choice(len(share), n_samples, p=share)

    def _resolve_variance(self, variance=None):
        """Return the variance of each class, shape (n_classes,); None is our own."""
        variance = self.variance if variance is None else variance
        if isinstance(variance, str) and variance == "auto":
            return self._auto_variance()
        return check_variance(variance, self.classes_)

    def _auto_variance(self):
        """Return the variance of each class that `variance="auto"` stands for."""
        raise ValueError(
            f"variance='auto' is not known to a {type(self).__name__}: give numbers."
        )

    @torch.inference_mode()
    def _draw_in_chunks(self, codes, variance, seed):
        device = self._sampling_device()
        draw_scaled = self._make_scaled_draw(device, variance)
        dtype = torch.from_numpy(np.empty(0, self._output_dtype)).dtype
        to_units = make_units(self._centres(), self.scale_, device, dtype)

        def draw(_, codes, generator):
            return to_units(draw_scaled(codes, generator), codes)

        size = self.n_features_in_, self._output_dtype
        return fill_by_class(codes, *size, seed, device, draw)

    @torch.inference_mode()
    def _make_scaled_draw(self, device, variance):
        """Return a function from sorted codes and a generator to scaled samples."""
        std = np.sqrt(self._resolve_variance(variance))
        std = torch.from_numpy(std.astype(np.float32)).to(device)
        sampler = self._make_sampler().to(device)

        @torch.inference_mode()
        def draw(codes, generator):
            # index_select gathers samples several times faster than indexing does.
            return sampler(codes, std.index_select(0, codes), generator)

        return draw


@torch.inference_mode()
def make_units(centres, scale, device, dtype):
    """Return a function from scaled samples and codes to samples in their units."""
    # Copies: what a cache maps into memory cannot be written to.
    centres = torch.tensor(centres, dtype=dtype, device=device)
    scale = torch.tensor(scale, dtype=dtype, device=device)

    @torch.inference_mode()
    def to_units(drawn, codes):
        around = centres.index_select(0, codes)
        return around.addcmul_(drawn.to(dtype), scale)

    return to_units
