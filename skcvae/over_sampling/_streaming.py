"""Over-sampling block by block, for samples that are larger than memory."""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from imblearn.utils import check_sampling_strategy
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.utils import assert_all_finite
from sklearn.utils.metaestimators import available_if

from .._blocks import BLOCK_NUMBERS, Blocks, check_blocks, read_block
from .._files import make_private_folder, replacing
from .._generation import drawing_seed, unfrozen
from .._tables import to_pandas
from .._validation import forget_fit
from ._discrete import round_discrete


def _draws_plainly(sampler):
    """Say why there is no `iter_resample`."""
    if not sampler._draws_plainly():
        raise AttributeError(f"{type(sampler).__name__} needs all samples to draw one.")
    return True


class StreamingMixin:
    """The methods of an over-sampler that never hold more than a block of samples."""

    @available_if(_draws_plainly)
    @_fit_context(prefer_skip_nested_validation=False)
    def iter_resample(
        self, X: ArrayLike, y: ArrayLike
    ) -> Iterator[tuple[NDArray, NDArray]]:
        """Learn from the samples, and yield them and the new ones in blocks.

        The samples are those of :meth:`fit_resample` with the same seed, new ones
        sorted by class. A block has 64 MiB in float64, or one chunk of `X` if that is
        larger. Learning is over when the call returns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples. Arrays of zarr, h5py and Dask, and memory maps of more
            than 1 GiB, are read in blocks, also to learn from.

        y : array-like of shape (n_samples,)
            Class of each sample.

        Yields
        ------
        X_block : ndarray of shape (n_block, n_features)
            Samples, in the type of the numbers of `X`: first those of `X`, then new
            ones. Data frames come as arrays.

        y_block : ndarray of shape (n_block,)
            Their classes.
        """
        blocks, plan = self._learn_and_plan(X, y)
        own = (
            _read_own(blocks.X[start:stop], blocks.y[start:stop], start, blocks.dtype)
            for start, stop in blocks.spans()
        )
        return chain(own, self._draw_plan(plan, blocks))

    @available_if(_draws_plainly)
    def write_resampled(
        self, X: ArrayLike, y: ArrayLike, folder: str | os.PathLike
    ) -> list[Path]:
        """Write the blocks of :meth:`iter_resample`, each to a file of its own.

        The training samples come first, in their order, and then the generated ones.

        For an array of Dask, its workers write the files, and draw the new samples. The
        folder must then be one that all of them share. The files of a lost worker are
        written again by another one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Class of each sample.

        folder : str or PathLike
            Folder for the files, which is made if there is none. It may hold no other
            ``.npz`` file.

        Returns
        -------
        paths : list of Path
            Files ``00000.npz`` and so on, with the arrays "X" and "y". Each is written
            whole or not at all. :func:`skcvae.datasets.load_embeddings` reads them.
        """
        folder = Path(folder)
        make_private_folder(folder)
        if any(folder.glob("*.npz")):
            raise ValueError(f"The folder {folder} holds .npz files. Name another one.")
        if not hasattr(X, "to_delayed"):
            return [
                _write(folder / f"{i:05d}.npz", block)
                for i, block in enumerate(self.iter_resample(X, y))
            ]
        from dask import compute, delayed

        blocks, plan = self._learn_and_plan(X, y)
        read, draw, write = delayed(_read_own), delayed(_draw_one), delayed(_write)
        sampler = delayed(self)
        made = [
            read(chunk, blocks.y[start:stop], start, blocks.dtype)
            for chunk, start, stop in blocks.chunks()
        ]
        empty = Blocks(np.empty((1, blocks.shape[1]), blocks.X.dtype), blocks.y[:1])
        made += [draw(sampler, part, empty) for part in plan]
        return list(
            compute(
                *[write(folder / f"{i:05d}.npz", block) for i, block in enumerate(made)]
            )
        )

    def _learn_and_plan(self, X, y):
        """Train the generator; return the `Blocks`, and the plan of what to draw."""
        kind = type(unfrozen(self._make_generator()))
        plan_blocks = getattr(kind.sample, "plan_blocks", None)
        if plan_blocks is None:
            raise TypeError(
                f"{kind.__name__} draws all samples at once, and no blocks."
            )
        X, y = self._check_and_count(to_pandas(X), to_pandas(y))
        blocks = X if isinstance(X, Blocks) else Blocks(X, y)
        self._train(X, y)
        seed = drawing_seed(self.generator_, self.random_state)
        labels = self._missing_labels(y)
        size = max(1, BLOCK_NUMBERS // blocks.shape[1])
        return blocks, plan_blocks(unfrozen(self.generator_), labels, seed, size)

    def _check_blocks(self, X, y):
        """Return samples that are read in blocks, and set `sampling_strategy_`."""
        forget_fit(self)
        blocks = check_blocks(X, y)
        self._discrete = []
        self.n_features_in_ = blocks.shape[1]
        self.sampling_strategy_ = check_sampling_strategy(
            self.sampling_strategy, blocks.y, self._sampling_type
        )
        return blocks

    def _draw_plan(self, plan, blocks):
        """Yield the blocks of a plan, in the types of X and y."""
        generator = unfrozen(self.generator_)
        name = type(generator).__name__
        for X, y in type(generator).sample.draw_blocks(generator, plan):
            assert_all_finite(X, estimator_name=name, input_name="drawn samples")
            X = round_discrete(X, blocks.X.dtype, self._discrete)
            yield X, y.astype(blocks.y.dtype, copy=False)


def _read_own(values, y, start, dtype):
    """Return a copy of a block of the training samples, after a check."""
    values = np.array(values)
    read_block(values, start, dtype)
    return values, y


def _draw_one(sampler, part, blocks):
    """Return one block of a plan."""
    return next(sampler._draw_plan([part], blocks))


def _write(path, block):
    """Write a block whole, and return the path."""
    with replacing(path) as file:
        np.savez(file, X=block[0], y=block[1])
    return path
