"""Drawing samples by class: labels, seeds and chunks."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ._generation import CHUNK_SIZE, fill_by_class
from ._seeds import draw_seeds
from ._validation import encode_labels

if TYPE_CHECKING:
    import torch


class DrawingMixin(metaclass=ABCMeta):
    """Base class of what draws samples by class: labels, seeds and chunks.

    A subclass has the attributes below and implements the abstract methods.
    """

    classes_: NDArray
    n_features_in_: int
    random_state: int | np.random.RandomState | None
    _output_dtype: np.dtype

    def sample(
        self,
        n_samples: int | None = None,
        *,
        y: ArrayLike | None = None,
        variance: ArrayLike | dict | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[NDArray, NDArray]:
        """Draw samples, one for each label of `y` or `n_samples` of any class.

        Parameters
        ----------
        n_samples : int, default=None
            Number of samples to draw when `y` is not given. Their classes are drawn
            from the class distribution of the training samples. None draws as many
            samples as the generator was fitted on.

        y : array-like of shape (n_samples,), default=None
            Labels, each in `classes_`. One sample is drawn for each, in this order.

        variance : float, dict, array-like of shape (n_classes,) or "auto", default=None
            Replaces the parameter `variance` in this call.

        random_state : int, RandomState instance or None, default=None
            Seed of this call. None uses the parameter `random_state`: where that is
            an integer, each call returns the same samples.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Generated samples, in the floating-point type of the training samples.

        y : ndarray of shape (n_samples,)
            Their labels.

        Raises
        ------
        ValueError
            If both `n_samples` and `y` are given, `n_samples` is negative, or `y`
            holds a class that was not in the training samples.
        """
        return self._sample_into(None, n_samples, y, variance, random_state)

    def _sample_into(
        self, out, n_samples=None, y=None, variance=None, random_state=None
    ):
        """Draw samples into an array of their type, or into a new one for None."""
        self._check_ready()
        label_seed, sample_seed = self._draw_seeds(random_state)
        source, codes, labels = self._resolve_labels(n_samples, y, label_seed)
        return source._make_fill(variance)(codes, sample_seed, out), labels

    sample.into = _sample_into  # type: ignore[attr-defined]

    def _resolve_labels(self, n_samples, y, seed):
        """Return what draws by class codes, the codes, and the labels."""
        codes = draw_codes(
            n_samples,
            y,
            seed,
            self.classes_,
            self._class_weights(),
            self._default_n_samples,
        )
        return self, codes, self.classes_[codes]

    def _draw_seeds(self, random_state):
        """Return the seeds of labels and of samples."""
        if random_state is None:
            random_state = self.random_state
        # The first seed of a RandomState is the one that `fit` takes.
        return draw_seeds(check_random_state(random_state), 3)[1:]

    def _plan_blocks(self, y, random_state, n_samples):
        """Return blocks for `_draw_blocks`: together what `sample` draws, by class.

        A block has about `n_samples` samples.
        """
        self._check_ready()
        if hasattr(self, "label_sets_"):
            raise ValueError(
                f"This {type(self).__name__} draws label sets, and one class for each "
                "sample is asked for."
            )
        _, seed = self._draw_seeds(random_state)
        codes = np.sort(encode_labels(y, self.classes_))
        n_chunks = max(1, n_samples // CHUNK_SIZE)
        return [
            (codes[CHUNK_SIZE * first :][: CHUNK_SIZE * n_chunks], seed, first)
            for first in range(0, -(-len(codes) // CHUNK_SIZE), n_chunks)
        ]

    def _draw_blocks(self, plan):
        """Yield samples and labels of each block of a plan."""
        fill = self._make_fill(None)
        for codes, seed, first in plan:
            yield fill(codes, seed, first=first), self.classes_[codes]

    sample.plan_blocks = _plan_blocks  # type: ignore[attr-defined]
    sample.draw_blocks = _draw_blocks  # type: ignore[attr-defined]

    def make_stream(
        self,
        classes: ArrayLike,
        device: "torch.device",
        *,
        variance: ArrayLike | dict | None = None,
    ) -> "Callable[[torch.Tensor, torch.Generator], torch.Tensor]":
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
        import torch

        codes_of = torch.from_numpy(encode_labels(classes, self.classes_)).to(device)
        draw = self._make_draw(device, variance, torch.float32)

        @torch.inference_mode()
        def stream(codes, generator):
            return draw(codes_of.index_select(0, codes), generator)

        return stream

    @abstractmethod
    def _check_ready(self):
        """Raise if there is nothing to draw from."""

    @abstractmethod
    def _make_draw(self, device, variance, dtype):
        """Return a function that draws on a device.

        It takes sorted class codes of shape (n,) and a :class:`torch.Generator`, and
        returns samples of shape (n, n_features) and of the type `dtype`.
        """

    @abstractmethod
    def _class_weights(self):
        """Return how often each class is drawn, shape (n_classes,), unnormalised."""

    @abstractmethod
    def _default_n_samples(self):
        """Return how many samples are drawn where no number is given."""

    def _sampling_device(self):
        """Return the device to draw on."""
        import torch

        return torch.device("cpu")

    def _make_fill(self, variance):
        """Return a function of codes, seed, array or None, and number of chunks before.

        It returns samples in their units.
        """
        import torch

        device = self._sampling_device()
        dtype = torch.from_numpy(np.empty(0, self._output_dtype)).dtype
        draw = self._make_draw(device, variance, dtype)
        size = self.n_features_in_, self._output_dtype

        def draw_chunk(_, codes, generator):
            return draw(codes, generator)

        def fill(codes, seed, out=None, first=0):
            if out is not None and out.dtype != self._output_dtype:
                out[:] = fill_by_class(codes, *size, seed, device, draw_chunk)
                return out
            return fill_by_class(codes, *size, seed, device, draw_chunk, out, first)

        return fill


def draw_codes(n_samples, y, seed, classes, weights, default):
    """Return the codes of labels, or of `n_samples` classes drawn by their weights.

    `default` is a function that returns the number of samples where none is given.
    """
    if y is not None:
        if n_samples is not None:
            raise ValueError("Give either n_samples or y, not both.")
        return encode_labels(y, classes)
    n_samples = default() if n_samples is None else n_samples
    if isinstance(n_samples, bool) or not (
        isinstance(n_samples, Integral) and n_samples >= 0
    ):
        raise ValueError(
            f"n_samples must be an integer of at least 0, got {n_samples!r}."
        )
    share = weights / weights.sum()
    return np.random.RandomState(seed).choice(len(share), n_samples, p=share)
