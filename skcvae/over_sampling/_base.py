"""What all over-samplers share."""

from abc import abstractmethod
from collections.abc import Sized
from typing import Self, TypeVar

import numpy as np
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy, check_target_type
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.base import _fit_context
from sklearn.utils import get_tags
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    validate_data,
)

from .._blocks import is_blocked
from .._doc_links import DocLinkMixin
from .._generation import draw, drawing_seed, fit_into
from .._several_labels import check_one_hot
from .._states import ArrayStateMixin
from .._tables import back_to_polars, to_pandas
from .._validation import (
    check_finite_in_float32,
    check_labels,
    check_numbers,
    forget_fit,
)
from ._discrete import discrete_ranges, round_discrete
from ._streaming import StreamingMixin

_XType = TypeVar("_XType", bound=Sized)
_YType = TypeVar("_YType", bound=Sized)


class BaseDenseOverSampler(DocLinkMixin, ArrayStateMixin, BaseOverSampler):
    """Over-sampler of dense data: checks it, and keeps its container and types.

    A subclass implements `_draw_samples`, which returns a sample for each label that
    is missing.
    """

    #: Whether samples may be maps, with more than one axis.
    _allow_nd = False

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Check the samples, count the missing ones, and train a model if there is one.

        :meth:`fit_resample` does all of this, too: call `fit` only for its attributes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Class of each sample.

        Returns
        -------
        self : object
            The fitted sampler.
        """
        self._train(*self._check_and_count(to_pandas(X), to_pandas(y)))
        return self

    def fit_resample(
        self, X: _XType, y: _YType, *, sample_weight: ArrayLike | None = None
    ) -> tuple[_XType, _YType]:
        """Learn from the samples, and add those that the strategy asks for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples: NumPy array, list, or DataFrame of pandas or polars.

        y : array-like of shape (n_samples,)
            Class of each sample.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights, at least 0, for the classifier that comes after. They do not change
            the samples, but set `sample_weight_` of shape (n_samples_new,): these
            weights, and for a new sample the mean weight of its class.
            :class:`ResampledClassifier` passes them on. A pipeline loses them, also
            with metadata routing.

        Returns
        -------
        X_resampled : array-like of shape (n_samples_new, n_features)
            The samples of `X`, first and unchanged, then the new ones, in the type of
            `X`. New values of integer and boolean columns are rounded.

        y_resampled : array-like of shape (n_samples_new,)
            Their classes, in the type of `y`.
        """
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, np.empty(_num_samples(y)), ensure_non_negative=True
            )
        resampled = self._fit_resample_frames(to_pandas(X), to_pandas(y))
        if sample_weight is not None:
            self.sample_weight_ = _extend_weights(sample_weight, resampled[1])
        X_resampled, y_resampled = map(back_to_polars, resampled, (X, y))
        return X_resampled, y_resampled

    def _fit_resample_frames(self, X, y):
        """Return samples and labels in the types of `X` and `y`, which pandas has."""
        forget_fit(self)
        check_labels(y)
        X_resampled, y_resampled = super().fit_resample(X, y)
        if hasattr(X, "iloc") and len(set(getattr(X, "dtypes", ()))) > 1:
            # Columns of several types went through float64, which large integers do
            # not survive.
            import pandas as pd

            X_resampled = pd.concat([X, X_resampled[len(X) :]], ignore_index=True)
        return X_resampled, y_resampled

    def _train(self, X, y):
        """Train the model, if the sampler has one."""

    @abstractmethod
    def _draw_samples(self, X, y, labels):
        """Return samples of shape (n_new, n_features), and the label of each."""

    def _check_and_count(self, X, y):
        """Return validated samples and labels, and set `sampling_strategy_`."""
        forget_fit(self)
        check_labels(y)
        X, y, _ = self._check_X_y(X, y)
        self.sampling_strategy_ = check_sampling_strategy(
            self.sampling_strategy, y, self._sampling_type
        )
        return X, y

    def _check_X_y(self, X, y):
        X = check_numbers(X, self._allow_nd)
        y = np.asarray(y) if isinstance(y, list) else y
        check_one_hot(y)
        y, binarize_y = check_target_type(y, indicate_one_vs_all=True)
        self._discrete = discrete_ranges(X)
        finite = not get_tags(self).input_tags.allow_nan
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=False,
            allow_nd=self._allow_nd,
            ensure_min_samples=2,
            ensure_all_finite=finite,
        )
        if finite:
            check_finite_in_float32(X, getattr(self, "feature_names_in_", None))
        return X, y, binarize_y

    def _missing_labels(self, y):
        """Return a label for each sample to add."""
        missing = {k: n for k, n in self.sampling_strategy_.items() if n}
        return np.repeat(np.array(list(missing), dtype=y.dtype), list(missing.values()))

    def _fit_resample(self, X, y):
        # imbalanced-learn switches off the checks of the parameters of nested ones.
        with config_context(skip_parameter_validation=False):
            return self._resample(X, y)

    def _resample(self, X, y):
        labels = self._missing_labels(y)
        drawn, labels = self._draw_samples(X, y, labels)
        drawn = round_discrete(drawn, X.dtype, self._discrete)
        return np.concatenate([X, drawn]), np.concatenate([y, labels.astype(y.dtype)])

    def __sklearn_is_fitted__(self):
        return hasattr(self, "sampling_strategy_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


class BaseGenerativeOverSampler(StreamingMixin, BaseDenseOverSampler):
    """Over-sampler around a generator: trains it, then draws what is missing.

    A subclass implements `_make_generator`, which returns an unfitted generator, and
    has the parameters `sampling_strategy`, `memory` and `random_state`.
    """

    @abstractmethod
    def _make_generator(self):
        """Return the unfitted generator."""

    def _train(self, X, y):
        fit_into(self, self._make_generator(), X, y, self.memory)

    def _draws_plainly(self):
        """Tell whether new samples are those of the generator, as they come."""
        kind, base = type(self), BaseGenerativeOverSampler
        own = kind._draw_samples, kind._draw_fitted
        return own == (base._draw_samples, base._draw_fitted)

    def _check_and_count(self, X, y):
        if not (is_blocked(X) and self._draws_plainly()):
            return super()._check_and_count(X, y)
        blocks = self._check_blocks(X, y)
        return blocks, blocks.y

    def _fit_resample_frames(self, X, y):
        if not (is_blocked(X) and self._draws_plainly()):
            return super()._fit_resample_frames(X, y)
        parts = zip(*self.iter_resample(X, y), strict=True)
        return tuple(np.concatenate(part) for part in parts)

    def _resample(self, X, y):
        plain = not self._discrete and X.dtype in (np.float32, np.float64)
        if not (plain and self._draws_plainly()):
            return super()._resample(X, y)
        labels = self._missing_labels(y)
        self._train(X, y)
        seed = drawing_seed(self.generator_, self.random_state)
        # One array for all: the samples are copied once, and drawn into their place.
        resampled = np.empty((len(X) + len(labels), X.shape[1]), dtype=X.dtype)
        resampled[: len(X)] = X
        draw(self.generator_, labels, random_state=seed, out=resampled[len(X) :])
        return resampled, np.concatenate([y, labels])

    def _draw_samples(self, X, y, labels):
        self._train(X, y)
        seed = drawing_seed(self.generator_, self.random_state)
        return self._draw_fitted(X, y, labels, seed)

    def _draw_fitted(self, X, y, labels, random_state):
        """Return samples of the fitted generator, and the label of each."""
        return draw(self.generator_, labels, random_state=random_state)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "generator_")


def _extend_weights(sample_weight, y_resampled):
    """Return weights of old samples, and the mean weight of their class of new ones."""
    labels = np.asarray(y_resampled)
    labels = labels.argmax(axis=1) if labels.ndim == 2 else labels
    _, codes = np.unique(labels, return_inverse=True)
    n = len(sample_weight)
    means = np.bincount(codes[:n], sample_weight) / np.bincount(codes[:n])
    return np.concatenate([sample_weight, means[codes[n:]]])
