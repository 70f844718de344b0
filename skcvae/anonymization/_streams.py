"""Endless streams of synthetic samples, for training loops."""

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from torch.utils.data import IterableDataset, get_worker_info

from .._seeds import draw_seeds
from .._validation import encode_labels

# Samples per draw: so many that preparing the generator costs little in comparison.
_BLOCK = 8192


class BatchesMixin:
    """Adds `batches` to a class with `sample` and `random_state`."""

    def batches(
        self,
        batch_size: int = 256,
        *,
        variance: ArrayLike | dict | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Iterator[tuple[NDArray, NDArray]]:
        """Yield batches of new samples without end, for training loops [1]_.

        Classes have the distribution of the training samples, or the class prior of a
        loaded release.

        Parameters
        ----------
        batch_size : int, default=256
            Number of samples in each batch.

        variance : float, dict or array-like of shape (n_classes,), default=None
            Replaces the parameter `variance`.

        random_state : int, RandomState instance or None, default=None
            Seed of the stream. None uses the parameter `random_state`.

        Yields
        ------
        X : ndarray of shape (batch_size, n_features)
            Synthetic samples.

        y : ndarray of shape (batch_size,)
            Their classes.

        Raises
        ------
        ValueError
            If `batch_size` is not a positive integer, or class means tell members with
            an expected AUC above `max_mean_leakage` of an anonymizer.

        References
        ----------
        .. [1] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
           datasets by capturing feature distributions with Conditional VAEs",
           BMVC 2024, arXiv 2408.00639, Algorithm 3.
        """
        if not (isinstance(batch_size, Integral) and batch_size >= 1):
            raise ValueError(
                f"batch_size must be an integer of at least 1, got {batch_size!r}."
            )
        self._check_stream()
        seeds = check_random_state(
            self.random_state if random_state is None else random_state
        )
        return self._stream(int(batch_size), variance, seeds)

    def _check_stream(self):
        """Do nothing: a loaded release has left already."""

    def _stream(self, batch_size, variance, seeds):
        """Draw large blocks and split them into batches."""
        settings = {} if variance is None else {"variance": variance}
        n_samples = batch_size * max(1, _BLOCK // batch_size)
        while True:
            seed = draw_seeds(seeds, 1)[0]
            X, y = self.sample(n_samples, random_state=seed, **settings)
            for start in range(0, n_samples, batch_size):
                stop = start + batch_size
                yield X[start:stop], y[start:stop]


class SyntheticDataset(IterableDataset):
    """Endless batches of synthetic samples as tensors, for torch's DataLoader.

    Targets are class codes, int64, or label sets of 0 and 1, float32. Each worker of a
    loader draws its own samples.

    Parameters
    ----------
    source : object
        Fitted anonymizer or loaded release, with `batches` and `classes_`.

    batch_size : int, default=256
        Number of samples in each batch. Give the loader ``batch_size=None``.

    random_state : int or None, default=None
        Seed. With an integer every iteration, for example every epoch, yields the same
        stream; None draws new samples each time.

    Examples
    --------
    >>> from itertools import islice
    >>> from sklearn.datasets import load_digits
    >>> from torch.utils.data import DataLoader
    >>> from skcvae.anonymization import GenerativeAnonymizer, SyntheticDataset
    >>> X, y = load_digits(return_X_y=True)
    >>> anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    >>> dataset = SyntheticDataset(anonymizer, batch_size=32, random_state=0)
    >>> for x, codes in islice(DataLoader(dataset, batch_size=None), 2):
    ...     print(tuple(x.shape), codes.dtype)
    (32, 64) torch.int64
    (32, 64) torch.int64
    """

    def __init__(
        self, source: Any, batch_size: int = 256, random_state: int | None = None
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self.random_state = random_state

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        seed, worker = self.random_state, get_worker_info()
        if worker is not None:
            seeds = check_random_state(worker.seed % 2**32 if seed is None else seed)
            seed = draw_seeds(seeds, worker.id + 1)[-1]
        for X, y in self.source.batches(self.batch_size, random_state=seed):
            if y.ndim == 2:
                targets = torch.as_tensor(y, dtype=torch.float32)
            else:
                targets = torch.from_numpy(encode_labels(y, self.source.classes_))
            yield torch.as_tensor(X, dtype=torch.float32), targets
