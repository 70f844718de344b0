"""What all generators share: input checks, scaling, labels and streamed sampling."""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from .._training import draw_seeds
from ._scaling import (
    check_finite_in_float32,
    estimate_scale,
    scale_rows,
    warn_about_rows,
)
from ._streaming import fill_in_chunks


def check_numbers(X):
    """Refuse numbers written as strings, which NumPy would parse silently."""
    values = np.asarray(X)
    if values.dtype.kind in "SU" or (
        values.dtype == object and any(isinstance(v, str) for v in values.flat)
    ):
        raise ValueError("X contains strings. Convert them to numbers first.")


def check_labels(y):
    """Refuse missing labels, and strings beside numbers."""
    if y is None or getattr(getattr(y, "dtype", None), "kind", "O") != "O":
        return
    labels = np.asarray(y, dtype=object).ravel().tolist()
    if any(v is None or is_pandas_na(v) or is_scalar_nan(v) for v in labels):
        raise ValueError("Input y contains missing values.")
    if len({isinstance(label, str) for label in labels}) > 1:
        raise TypeError("The labels in y must be uniformly strings or numbers.")


def forget_fit(estimator):
    """Delete what an earlier fit learned: a failed fit leaves nothing behind."""
    fitted = [n for n in vars(estimator) if n.endswith("_") and not n.startswith("_")]
    for name in fitted:
        delattr(estimator, name)


class BaseGenerator(BaseEstimator, metaclass=ABCMeta):
    """Base class of the generators.

    A subclass has `variance` and `random_state` parameters and implements two
    hooks: `_fit`, which learns from scaled rows and class codes, and `_draw`,
    which returns scaled rows for class codes. Checks, scaling, label encoding, seeds
    and chunks are here, and nowhere else.
    """

    #: Parameters that do not change what is learned.
    _sampling_parameters = ("variance",)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn the distribution of the rows of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least two.

        y : array-like of shape (n_samples,)
            Class of each row: numbers or strings. A class may have a single row.

        Returns
        -------
        self : object
            The fitted generator.

        Raises
        ------
        ValueError
            If the input is empty, not finite, not two-dimensional, or its labels are
            not classes.
        """
        forget_fit(self)
        try:
            self._check_and_fit(X, y)
        except BaseException as error:
            finished = (
                isinstance(error, KeyboardInterrupt) and self._keeps_interrupted()
            )
            if not finished:
                forget_fit(self)
            raise
        return self

    def _check_and_fit(self, X, y):
        X, y = self._check_rows(X, y, reset=True)
        encoder = LabelEncoder().fit(y)
        codes = encoder.transform(y)
        self._check_variance(self.variance, encoder.classes_)
        offset, scale = self._estimate_scaling(X)
        Z = scale_rows(X, offset, scale)
        seed = draw_seeds(check_random_state(self.random_state), 1)[0]
        self.classes_ = encoder.classes_
        self.class_count_ = np.bincount(codes)
        self.offset_, self.scale_ = offset, scale
        self._output_dtype = X.dtype
        self._fit(Z, codes, seed)

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

        variance : float, dict or array-like of shape (n_classes,), default=None
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
        check_is_fitted(self)
        if random_state is None:
            random_state = self.random_state
        # The first seed of a RandomState is the one that `fit` takes.
        _, label_seed, row_seed = draw_seeds(check_random_state(random_state), 3)
        codes = self._codes_to_draw(n_samples, y, label_seed)
        return self._draw_in_chunks(codes, variance, row_seed), self.classes_[codes]

    @abstractmethod
    def _fit(self, Z, codes, seed):
        """Learn from scaled rows and class codes; set `class_means_` among others."""

    @abstractmethod
    def _draw(self, state, codes, std, generator):
        """Return scaled rows around the class means, shape (n, n_features).

        `codes`, sorted, and `std` (square root of the variance of each row) are
        tensors on the device of `generator`; `state` is what `_sampling_state`
        returned. Several threads call it at the same time.
        """

    def _sampling_device(self):
        """Return the device to draw on."""
        return torch.device("cpu")

    def _sampling_state(self, device):
        """Return tensors and modules on the device, prepared once per call."""
        return None

    def _keeps_interrupted(self):
        """Tell whether an interrupted training left a usable model."""
        return False

    def _check_rows(self, X, y, reset):
        """Validate rows and labels; float32 and float64 are kept."""
        check_numbers(X)
        check_labels(y)
        check_classification_targets(y)
        if type_of_target(y).startswith("multilabel"):
            raise ValueError(
                "Multilabel targets are not supported: y must hold one class per row."
            )
        X, y = validate_data(
            self,
            X,
            y,
            reset=reset,
            dtype=[np.float64, np.float32],
            order="C",
            ensure_min_samples=2 if reset else 1,
        )
        check_finite_in_float32(X, getattr(self, "feature_names_in_", None))
        if reset:
            warn_about_rows(X)
        return X, y

    def _estimate_scaling(self, X):
        """Return offset and scale of the features, shape (n_features,) each."""
        return estimate_scale(X)

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
            n_samples = int(self.class_count_.sum())
        if isinstance(n_samples, bool) or not (
            isinstance(n_samples, Integral) and n_samples >= 0
        ):
            raise ValueError(
                f"n_samples must be an integer of at least 0, got {n_samples!r}."
            )
        share = self.class_count_ / self.class_count_.sum()
        return np.random.RandomState(seed).choice(len(share), n_samples, p=share)

    @staticmethod
    def _check_variance(variance, classes):
        """Return the variance of each class, shape (n_classes,)."""
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

    @torch.inference_mode()
    def _draw_in_chunks(self, codes, variance, seed):
        """Fill an array chunk by chunk, so that memory stays bounded.

        Rows are drawn class after class: a chunk then holds few classes, each of
        which takes a product with its own matrices.
        """
        device = self._sampling_device()
        X = np.empty((len(codes), self.n_features_in_), dtype=self._output_dtype)
        out = torch.from_numpy(X)
        draw = self._open_stream(device, variance, out.dtype)
        order = torch.from_numpy(np.argsort(codes, kind="stable"))
        codes = torch.from_numpy(codes)

        def fill(rows, generator):
            places = order[rows]
            drawn = draw(codes.index_select(0, places).to(device), generator)
            out.index_copy_(0, places, drawn.cpu())

        fill_in_chunks(fill, len(codes), seed, device)
        return X

    @torch.inference_mode()
    def _open_stream(self, device, variance=None, dtype=torch.float32):
        """Return a function that draws rows, in the units of `X`, on the device.

        It takes class codes, sorted, and a :class:`torch.Generator`. What all draws
        need is prepared once, here.
        """
        variance = self.variance if variance is None else variance
        std = np.sqrt(self._check_variance(variance, self.classes_))
        centres = self.offset_ + self.class_means_ * self.scale_
        std = torch.from_numpy(std.astype(np.float32)).to(device)
        # Copies: what a cache maps into memory cannot be written to.
        centres = torch.tensor(centres, dtype=dtype, device=device)
        scale = torch.tensor(self.scale_, dtype=dtype, device=device)
        state = self._sampling_state(device)

        @torch.inference_mode()
        def draw(codes, generator):
            # index_select gathers rows several times faster than indexing does.
            drawn = self._draw(state, codes, std.index_select(0, codes), generator)
            around = centres.index_select(0, codes)
            return around.addcmul_(drawn.to(dtype), scale)

        return draw

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
