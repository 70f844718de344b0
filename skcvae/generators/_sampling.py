"""Drawing rows from what a generator has learned: labels, seeds, chunks and streams."""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._training import draw_seeds
from ._samplers import LatentDecoder
from ._streaming import fill_in_chunks


class SamplingMixin(metaclass=ABCMeta):
    """What draws rows: a fitted generator, or the released part of one.

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

    def open_decoder(self, device="cpu"):
        """Return the decoder as a differentiable function of latent vectors.

        It is what an attack on a released decoder searches, see
        :func:`skcvae.privacy.latent_search_attack`.

        Parameters
        ----------
        device : str or torch.device, default="cpu"
            Where it computes.

        Returns
        -------
        LatentDecoder
            Module that takes standard normal vectors of shape (n, `latent_dim`) and
            class codes, and returns rows in the units of the training rows, without
            observation noise. It has the attributes `latent_dim`, `classes` and
            `noise_std`.
        """
        self._check_ready()
        decoder = LatentDecoder(
            self._make_sampler(),
            torch.tensor(self._centres(), dtype=torch.float32),
            torch.tensor(self.scale_, dtype=torch.float32),
            self.classes_,
        )
        return decoder.requires_grad_(False).to(device)

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

    def _encode_labels(self, y):
        """Return the class codes of labels; refuse a class that was not fitted."""
        y = np.asarray(y)
        if y.ndim != 1:
            raise ValueError(
                f"y should be a 1d array, got an array of shape {y.shape}."
            )
        code_of = {label: code for code, label in enumerate(self.classes_.tolist())}
        codes = np.array(
            [code_of.get(label, -1) for label in y.tolist()], dtype=np.intp
        )
        if (codes < 0).any():
            unseen = list(dict.fromkeys(y[codes < 0].tolist()))
            raise ValueError(f"y contains previously unseen labels: {unseen[:5]}")
        return codes

    def _codes_to_draw(self, n_samples, y, seed):
        if y is not None:
            if n_samples is not None:
                raise ValueError("Give either n_samples or y, not both.")
            return self._encode_labels(y)
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
        return self._check_variance(variance, self.classes_)

    def _auto_variance(self):
        """Return the variance of each class that `variance="auto"` stands for."""
        raise ValueError(
            f"variance='auto' is not known to a {type(self).__name__}: give numbers."
        )

    @staticmethod
    def _check_variance(variance, classes):
        """Return the variance of each class, shape (n_classes,); 1 for "auto"."""
        if isinstance(variance, str) and variance == "auto":
            variance = 1.0
        if isinstance(variance, Mapping):
            known = set(classes.tolist())
            unknown = [label for label in variance if label not in known]
            if unknown:
                raise ValueError(f"variance names classes that y lacks: {unknown}.")
            variance = [variance.get(label, 1.0) for label in classes.tolist()]
        values = np.asarray(variance, dtype=float)
        if values.ndim and values.shape != (len(classes),):
            raise ValueError(
                f"variance must be a number, a dict or one number for each of the "
                f"{len(classes)} classes, got shape {values.shape}."
            )
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"variance must be finite and not negative: {variance!r}.")
        return np.broadcast_to(values, len(classes))

    def _draw_in_chunks(self, codes, variance, seed):
        draw = self._open_scaled_stream(self._sampling_device(), variance)
        return self._fill_by_class(codes, seed, lambda _, codes, g: draw(codes, g))

    @torch.inference_mode()
    def _fill_by_class(self, codes, seed, draw):
        """Fill an array chunk by chunk, so that memory stays bounded.

        `draw` takes the places of rows, their codes and a :class:`torch.Generator`,
        and returns scaled rows. They are drawn class after class: a chunk then holds
        few classes, each of which takes a product with its own matrices.
        """
        device = self._sampling_device()
        X = np.empty((len(codes), self.n_features_in_), dtype=self._output_dtype)
        out = torch.from_numpy(X)
        to_units = self._open_units(device, out.dtype)
        order = torch.from_numpy(np.argsort(codes, kind="stable"))
        codes = torch.from_numpy(codes)

        def fill(rows, generator):
            places = order[rows]
            of = codes.index_select(0, places).to(device)
            drawn = to_units(draw(places, of, generator), of)
            out.index_copy_(0, places, drawn.cpu())

        fill_in_chunks(fill, len(codes), seed, device)
        return X

    @torch.inference_mode()
    def _open_stream(self, device, variance=None, dtype=torch.float32):
        """Return a function that draws rows, in the units of `X`, on the device.

        It takes class codes, sorted, and a :class:`torch.Generator`. What all draws
        need is prepared once, here.
        """
        draw_scaled = self._open_scaled_stream(device, variance)
        to_units = self._open_units(device, dtype)

        @torch.inference_mode()
        def draw(codes, generator):
            return to_units(draw_scaled(codes, generator), codes)

        return draw

    @torch.inference_mode()
    def _open_scaled_stream(self, device, variance):
        """Return a function as `_open_stream` does, for scaled rows around 0."""
        std = np.sqrt(self._resolve_variance(variance))
        std = torch.from_numpy(std.astype(np.float32)).to(device)
        sampler = self._make_sampler().to(device)

        @torch.inference_mode()
        def draw(codes, generator):
            # index_select gathers rows several times faster than indexing does.
            return sampler(codes, std.index_select(0, codes), generator)

        return draw

    @torch.inference_mode()
    def _open_units(self, device, dtype):
        """Return a function from scaled rows and codes to rows in the units of `X`."""
        # Copies: what a cache maps into memory cannot be written to.
        centres = torch.tensor(self._centres(), dtype=dtype, device=device)
        scale = torch.tensor(self.scale_, dtype=dtype, device=device)

        @torch.inference_mode()
        def to_units(drawn, codes):
            around = centres.index_select(0, codes)
            return around.addcmul_(drawn.to(dtype), scale)

        return to_units
