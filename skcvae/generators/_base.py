"""What all generators share: input checks, scaling, labels and streamed sampling."""

from abc import abstractmethod
from contextlib import contextmanager

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._doc_links import DocLinkMixin
from .._scaling import estimate_scale, scale_rows
from .._training import draw_seeds
from .._validation import check_samples, check_variance, forget_fit, warn_about_zeros
from ._fit_checks import warn_about_generation
from ._sampling import SamplingMixin


class BaseGenerator(SamplingMixin, DocLinkMixin, BaseEstimator):
    """Base class of the generators.

    A subclass has `variance` and `random_state` parameters and implements two
    hooks: `_fit`, which learns from scaled rows and class codes, and `_make_sampler`,
    which returns a module that draws scaled rows for class codes. Checks, scaling,
    label encoding, seeds and chunks are here, and nowhere else.
    """

    #: Parameters that do not change what is learned.
    _sampling_parameters: tuple[str, ...] = ("variance",)
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
            one another: then look at more, by :func:`skcvae.report.report`.
            :class:`ClassGaussian` and private generators do not look.

        Raises
        ------
        ValueError
            If the input is empty, not finite, not two-dimensional, or its labels are
            not classes.
        """
        with self._fitting():
            self._learn(*check_samples(self, X, y))
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def _fit_checked(self, X, y):
        """Fit to samples that the estimator around this one has checked."""
        with self._fitting():
            self.n_features_in_ = X.shape[1]
            is_float = X.dtype in (np.float64, np.float32)
            self._learn(np.asarray(X, X.dtype if is_float else np.float64, "C"), y)
        return self

    fit.for_checked_samples = _fit_checked

    @contextmanager
    def _fitting(self):
        """Leave nothing behind where a fit fails."""
        forget_fit(self)
        try:
            yield
        except BaseException as error:
            finished = (
                isinstance(error, KeyboardInterrupt) and self._keeps_interrupted()
            )
            if not finished:
                forget_fit(self)
            raise

    def _learn(self, X, y):
        """Scale checked samples, encode their labels, and learn from both."""
        encoder = LabelEncoder().fit(y)
        codes = encoder.transform(y)
        check_variance(self.variance, encoder.classes_)
        warn_about_zeros(X)
        offset, scale = self._estimate_scaling(X)
        Z = scale_rows(X, offset, scale)
        seed = draw_seeds(check_random_state(self.random_state), 1)[0]
        self.classes_ = encoder.classes_
        self.class_count_ = np.bincount(codes)
        self.offset_, self.scale_ = offset, scale
        self._output_dtype = X.dtype
        self._fit(Z, codes, seed)
        if self._checks_generation:
            warn_about_generation(self, Z, codes, seed)

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
