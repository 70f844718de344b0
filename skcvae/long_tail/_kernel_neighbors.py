"""Classification by the mean kernel of each class around a sample."""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval, StrOptions

from .._class_means import make_definite, raw_class_means, within_class_covariance
from .._neighbors import class_kernel_means
from .._thin_covariance import ThinCovariance
from ._exponents import class_weights, evenly, fit_exponents
from ._likelihoods import BaseLikelihoodClassifier

# Bytes of the samples, in double precision, from which the covariance comes.
_COVARIANCE_BYTES = 2**25
_TEMPERATURES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.25, 0.5)
# Samples that are whitened at a time.
_BLOCK_SIZE = 2**14
# Samples that choose the temperature.
_N_CHOOSING = 1000


class KernelNeighborsClassifier(BaseLikelihoodClassifier):
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
    temperature : float, "auto" or "half", default="auto"
        T, the width of the kernel. "auto" takes the value of 0.01 to 0.5 with the least
        class-averaged log loss of training samples that are left out one by one. Up to
        1,000 samples, evenly from the classes, choose it. Where no class has two
        samples, it is 0.1. "half" takes half of that: the width that is best alone is
        too wide beside a linear classifier, which has the coarse picture already.

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

    offset_, scale_ : ndarray of shape (n_features,)
        Mean of the features, and the scale they share.

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
    single precision. The covariance comes from at most 32 MiB of samples, evenly from
    the classes: from 21,845 samples of 192 features.

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
            StrOptions({"auto", "half"}),
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

    def _learn(self, Z, codes):
        order = np.argsort(codes, kind="stable")
        # In place: another array of this size would be the peak of memory.
        Z[:] = Z[order]
        self._starts = np.cumsum(self.class_count_) - self.class_count_
        self._half_whitening = _half_whitening(Z, codes[order])
        for block in gen_batches(len(Z), _BLOCK_SIZE):
            Z[block] = self._half_whiten(Z[block])
        self._samples = Z
        self.temperature_, self.exponent_ = self._choose_constants()

    def _scores(self, Z):
        (scores,) = class_kernel_means(
            self._half_whiten(Z), self._samples, self._starts, [self.temperature_]
        )
        return self.exponent_ * scores

    def _half_whiten(self, Z):
        """Return samples of length 1 in half-whitened features, in float32."""
        if isinstance(self._half_whitening, ThinCovariance):
            Z = self._half_whitening.power(Z, -0.25).astype(np.float32)
        else:
            Z = Z @ self._half_whitening.astype(np.float32)
        norms = np.sqrt(np.einsum("ij,ij->i", Z, Z))
        Z /= np.where(norms > 0, norms, 1)[:, None]
        return Z

    def _choose_constants(self):
        """Return what fits samples that are left out one by one best."""
        automatic = isinstance(self.temperature, str)
        factor = 0.5 if self.temperature == "half" else 1.0
        temperatures = _TEMPERATURES if automatic else (self.temperature,)
        codes = np.repeat(np.arange(len(self.classes_)), self.class_count_)
        candidates = np.flatnonzero(self.class_count_[codes] > 1)
        if not len(candidates):
            return (0.1 * factor if automatic else self.temperature), 1.0
        chosen = candidates[evenly(codes[candidates], _N_CHOOSING)]
        weight = class_weights(codes[chosen], np.ones(len(self.classes_)))

        def fit(temperatures):
            scores = class_kernel_means(
                self._samples[chosen],
                self._samples,
                self._starts,
                temperatures,
                chosen,
            )
            fits = [fit_exponents(s[:, :, None], codes[chosen], weight) for s in scores]
            best = int(np.argmin([fit.loss for fit in fits]))
            return temperatures[best], float(fits[best].exponents[0])

        temperature, exponent = fit(temperatures)
        return fit([factor * temperature]) if factor != 1 else (temperature, exponent)


def _half_whitening(Z, codes):
    """Return S^(-1/4), S the covariance within the classes; codes are sorted.

    For wide data it returns S, a `ThinCovariance`, which has powers of its own.
    """
    n_samples = max(_COVARIANCE_BYTES // (8 * Z.shape[1]), 4 * Z.shape[1])
    if len(Z) > n_samples:
        part = np.linspace(0, len(Z) - 1, n_samples).astype(np.intp)
        Z, codes = Z[part], np.unique(codes[part], return_inverse=True)[1]
    Z = Z.astype(np.float64)
    means = raw_class_means(Z, codes, codes[-1] + 1)
    covariance = make_definite(within_class_covariance(Z, codes, means))
    if isinstance(covariance, ThinCovariance):
        return covariance
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.maximum(values, values[-1] * 1e-10) ** -0.25) @ vectors.T
