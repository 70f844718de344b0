"""What classifiers by scores of each class have in common."""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils.validation import check_is_fitted

from .._doc_links import DocLinkMixin
from .._scaling import estimate_scale, scale_rows
from .._validation import (
    check_samples,
    check_samples_alone,
    check_two_classes,
    fitting,
    warn_about_zeros,
)
from ._priors import resolve_target_prior


class LogProbabilitiesMixin:
    """Probabilities and labels of a classifier with `predict_log_proba`."""

    def predict_proba(self: Any, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of the classes under the target prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of `classes_`; each row sums to 1.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self: Any, X: ArrayLike) -> NDArray:
        """Return the most probable class under the target prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        log_proba = self.predict_log_proba(X)
        return self.classes_[log_proba.argmax(axis=1)]


class BaseLikelihoodClassifier(
    LogProbabilitiesMixin, DocLinkMixin, ClassifierMixin, BaseEstimator, ABC
):
    """Classifier whose scores have no class prior: it adds that of `target_prior`.

    A subclass implements `_learn` and `_scores`.
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to the samples, and choose what is "auto".

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        y : array-like of shape (n_samples,)
            Class of each sample, at least two classes. A class may have one sample.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If the input is empty or not finite, or has one class only.
        """
        with fitting(self):
            self._check_and_fit(X, y)
        return self

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the log of the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        X = check_samples_alone(self, X)
        scores = self._scores(scale_rows(X, self.offset_, self.scale_))
        with np.errstate(divide="ignore"):
            return log_softmax(scores + np.log(self.target_prior_), axis=1)

    def _check_and_fit(self, X, y):
        X, y = check_samples(self, X, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        check_two_classes(self.classes_)
        self.class_count_ = np.bincount(codes)
        self.target_prior_ = resolve_target_prior(self.target_prior, self.class_count_)
        warn_about_zeros(X)
        self.offset_, self.scale_ = estimate_scale(X)
        self._learn(scale_rows(X, self.offset_, self.scale_), codes)

    @abstractmethod
    def _learn(self, Z, codes):
        """Learn from scaled samples, in float32, and their classes."""

    @abstractmethod
    def _scores(self, Z):
        """Return log-likelihoods of shape (n_samples, n_classes) of scaled samples."""
