"""Classification by the mean kernel of each class around a sample."""

from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from .._class_means import make_definite, raw_class_means, within_class_covariance
from .._doc_links import DocLinkMixin
from .._neighbors import class_kernel_means
from .._validation import (
    check_finite_in_float32,
    check_numbers,
    check_weighted_samples,
    forget_fit,
)
from ._exponents import class_weights, evenly, fit_exponents
from ._priors import resolve_target_prior

# Bytes of the samples, in double precision, from which the covariance comes.
_COVARIANCE_BYTES = 2**27
_TEMPERATURES = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.25, 0.5)
# Samples that choose the temperature.
_N_CHOOSING = 1000


class KernelNeighborsClassifier(DocLinkMixin, ClassifierMixin, BaseEstimator):
    r"""Nearest neighbours, weighted by a kernel and averaged over each class.

    The score of class c is the mean kernel of its :math:`n_c` samples,

    .. math:: s_c(x) = \frac{1}{n_c} \sum_{i: y_i = c}
        \exp\left(\frac{\cos(x, x_i) - 1}{T}\right),

    and :math:`p(c \mid x) \propto t_c \, s_c(x)^\alpha` for the target prior t. Mean,
    not sum: a class of five samples competes with a class of five hundred. Cosines are
    those of half-whitened features :math:`(x - m) S^{-1/4}`, m the mean of the samples
    and S the covariance within the classes, shrunk as Ledoit and Wolf do: directions in
    which samples of a class scatter count less, but noise is not blown up. The exponent
    :math:`\alpha` makes the probabilities as sure as they are right.

    Parameters
    ----------
    temperature : float or "auto", default="auto"
        T, the width of the kernel. "auto" takes the value of 0.02 to 0.5 with the least
        class-averaged log loss of training samples that are left out one by one. Up to
        1,000 samples, evenly from the classes, choose it. Where no class has two
        samples, it is 0.1.

    target_prior : str or array-like of shape (n_classes,), default="uniform"
        Class distribution that the probabilities are for: "uniform", "train", or
        numbers in the order of `classes_`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of samples of each class.

    temperature_ : float
        T.

    exponent_ : float
        :math:`\alpha`, which the same samples choose; 1 where no class has two.

    target_prior_ : ndarray of shape (n_classes,)
        Class distribution that the probabilities are for.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    LogLinearPool : Fuses it with any classifier.
    sklearn.neighbors.KNeighborsClassifier : Votes of a fixed number of neighbours.

    Notes
    -----
    All training samples count for each prediction, by blocks of matrix products: the
    matrix of all kernels is never held. The fitted classifier holds the samples in
    single precision. The covariance comes from at most 128 MiB of samples, evenly from
    the classes: from 87,381 samples of 192 features.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.datasets import make_long_tailed
    >>> from skcvae.long_tail import KernelNeighborsClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, y_train = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    >>> classifier = KernelNeighborsClassifier().fit(X_train, y_train)
    >>> bool(classifier.score(X, y) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        "temperature": [
            Interval(Real, 1e-3, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "target_prior": [StrOptions({"uniform", "train"}), "array-like"],
    }

    def __init__(
        self,
        *,
        temperature: float | str = "auto",
        target_prior: str | ArrayLike = "uniform",
    ):
        self.temperature = temperature
        self.target_prior = target_prior

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Keep the samples, half-whitened, and choose the temperature.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        y : array-like of shape (n_samples,)
            Class of each sample, at least two classes.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If the input is empty or not finite, or has one class only.
        """
        forget_fit(self)
        X, y, _ = check_weighted_samples(self, X, y, None)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.class_count_ = np.bincount(codes)
        self.target_prior_ = resolve_target_prior(self.target_prior, self.class_count_)
        order = np.argsort(codes, kind="stable")
        self._starts = np.cumsum(self.class_count_) - self.class_count_
        self._mean = X.mean(axis=0, dtype=np.float64)
        self._half_whitening = _half_whitening(X, codes, order)
        self._samples = self._half_whiten(X)[order]
        self.temperature_, self.exponent_ = self._choose_constants()
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
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
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
        check_is_fitted(self)
        check_numbers(X)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        check_finite_in_float32(X, getattr(self, "feature_names_in_", None))
        (scores,) = class_kernel_means(
            self._half_whiten(X), self._samples, self._starts, [self.temperature_]
        )
        with np.errstate(divide="ignore"):
            scores = self.exponent_ * scores + np.log(self.target_prior_)
        return softmax(scores, axis=1)

    def predict(self, X: ArrayLike) -> NDArray:
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
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _half_whiten(self, X):
        """Return samples of length 1 in half-whitened features, in float32."""
        Z = X @ self._half_whitening.astype(X.dtype)
        Z -= (self._mean @ self._half_whitening).astype(X.dtype)
        norms = np.sqrt(np.einsum("ij,ij->i", Z, Z))
        Z /= np.where(norms > 0, norms, 1)[:, None]
        return Z.astype(np.float32, copy=False)

    def _choose_constants(self):
        """Return what fits samples that are left out one by one best."""
        automatic = self.temperature == "auto"
        temperatures = _TEMPERATURES if automatic else (self.temperature,)
        codes = np.repeat(np.arange(len(self.classes_)), self.class_count_)
        candidates = np.flatnonzero(self.class_count_[codes] > 1)
        if not len(candidates):
            return (0.1 if automatic else self.temperature), 1.0
        chosen = candidates[evenly(codes[candidates], _N_CHOOSING)]
        scores = class_kernel_means(
            self._samples[chosen], self._samples, self._starts, temperatures, chosen
        )
        weight = class_weights(codes[chosen], np.ones(len(self.classes_)))
        fits = [fit_exponents(s[:, :, None], codes[chosen], weight) for s in scores]
        best = int(np.argmin([fit.loss for fit in fits]))
        return temperatures[best], float(fits[best].exponents[0])


def _half_whitening(X, codes, order):
    """Return S^(-1/4), S the covariance within the classes."""
    n_samples = max(_COVARIANCE_BYTES // (8 * X.shape[1]), 4 * X.shape[1])
    if len(X) > n_samples:
        order = order[np.linspace(0, len(X) - 1, n_samples).astype(np.intp)]
    Z, (_, codes) = X[order], np.unique(codes[order], return_inverse=True)
    means = raw_class_means(Z, codes, codes.max() + 1)
    covariance = make_definite(within_class_covariance(Z, codes, means))
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.maximum(values, values[-1] * 1e-10) ** -0.25) @ vectors.T
