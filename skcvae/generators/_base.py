"""What all generators share: input checks, scaling, labels and streamed sampling."""

from abc import abstractmethod
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from .._doc_links import DocLinkMixin
from .._training import draw_seeds
from ._fit_checks import warn_about_generation
from ._sampling import SamplingMixin
from ._scaling import (
    check_finite_in_float32,
    estimate_scale,
    scale_rows,
    warn_about_rows,
)

#: What `_parameter_constraints` allow as a variance.
VARIANCE_CONSTRAINT = [
    Interval(Real, 0, None, closed="left"),
    StrOptions({"auto"}),
    dict,
    "array-like",
]


def check_numbers(X):
    """Refuse numbers written as strings, which NumPy would parse silently."""
    values = np.asarray(X)
    if values.dtype.kind in "SU" or (
        values.dtype == object and any(isinstance(v, str) for v in values.flat)
    ):
        raise ValueError(
            f"X contains strings{_locate_strings(X, values)}. Convert them to numbers "
            "first: numbers with astype(float), categories with scikit-learn's "
            "OneHotEncoder."
        )


def _locate_strings(X, values):
    """Return which columns of a data frame hold strings, as a part of a sentence."""
    if not hasattr(X, "columns"):
        return ""
    columns = [
        name
        for name, column in zip(X.columns, values.T, strict=True)
        if any(isinstance(value, str) for value in column)
    ]
    return f" in the columns {columns}"


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


def check_rows(estimator, X, y, reset=True):
    """Validate rows and labels of an estimator; float32 and float64 are kept."""
    check_numbers(X)
    check_labels(y)
    check_classification_targets(y)
    if type_of_target(y).startswith("multilabel"):
        raise ValueError(
            "Multilabel targets are not supported: y must hold one class per row."
        )
    X, y = validate_data(
        estimator,
        X,
        y,
        reset=reset,
        dtype=[np.float64, np.float32],
        order="C",
        ensure_min_samples=2 if reset else 1,
    )
    check_finite_in_float32(X, getattr(estimator, "feature_names_in_", None))
    if reset:
        warn_about_rows(X)
    return X, y


class BaseGenerator(SamplingMixin, DocLinkMixin, BaseEstimator):
    """Base class of the generators.

    A subclass has `variance` and `random_state` parameters and implements two
    hooks: `_fit`, which learns from scaled rows and class codes, and `_make_sampler`,
    which returns a module that draws scaled rows for class codes. Checks, scaling,
    label encoding, seeds and chunks are here, and nowhere else.
    """

    #: Parameters that do not change what is learned.
    _sampling_parameters = ("variance",)
    #: Whether `fit` draws rows, and warns where they are unlike the training rows.
    _checks_generation = True

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

        Warns
        -----
        ConvergenceWarning
            If rows drawn with a variance of 1 have more than four times, or less than
            a quarter of, the variance of the training rows within their classes, or
            are less than half as far from a training row as training rows are from
            one another: then look at more, by :func:`skcvae.inspection.report`.
            :class:`ClassGaussian` and private generators do not look.

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
        X, y = check_rows(self, X, y)
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
        if self._checks_generation:
            # Up to the caller of `fit`.
            warn_about_generation(self, Z, codes, seed, stacklevel=4)

    @abstractmethod
    def _fit(self, Z, codes, seed):
        """Learn from scaled rows and class codes; set `class_means_` among others."""

    def _check_ready(self):
        check_is_fitted(self)

    def _class_weights(self):
        return self.class_count_

    def _default_n_samples(self):
        return round(self.class_count_.sum())

    def _centres(self):
        return self.offset_ + self.class_means_ * self.scale_

    def _auto_variance(self):
        if not hasattr(self, "mean_shrinkage_"):
            return super()._auto_variance()
        # The mean of a class is known up to W / (n_c + k0), and a new row scatters
        # around it with W.
        return 1 + 1 / (self.class_count_ + self.mean_shrinkage_)

    def _keeps_interrupted(self):
        """Tell whether an interrupted training left a usable model."""
        return False

    def _estimate_scaling(self, X):
        """Return offset and scale of the features, shape (n_features,) each."""
        return estimate_scale(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
