"""The class Gaussian from noisy statistics."""

import numpy as np
from numpy.typing import ArrayLike

from ..._thin_covariance import check_size
from ..._warnings import warn_user
from ._accounting import gaussian_epsilon, gaussian_mu
from ._base import BasePrivateGenerator
from ._statistics import second_moment, shrink_noisy_covariance, shrink_noisy_means

# Shares of the budget, as squares of sensitivity over noise.
_SHARES = {
    "counts": 0.04,
    "raw_norm": 0.02,
    "center": 0.02,
    "data_norm": 0.02,
    "sums": 0.7,
    "residual_norm": 0.02,
    "second_moment": 0.18,
}


class DPClassGaussian(BasePrivateGenerator):
    r"""Class Gaussian with differential privacy: from noisy counts, sums and moments.

    The model is that of :class:`ClassGaussian`,
    :math:`x \mid y = c \sim N(m_c, v_c W)`. Its fit is (`epsilon`,
    `delta`)-differentially private [1]_: for any two data sets D and D' that differ by
    one sample and any set S of outcomes,

    .. math:: P(\text{fit}(D) \in S) \le e^\varepsilon P(\text{fit}(D') \in S) + \delta.

    Every statistic of the samples gets Gaussian noise: the number of samples of each
    class, the norms to which samples are clipped, the mean of all samples, the sum of
    the samples of each class and the second moment of the residuals. Their costs are
    added up exactly [2]_ [3]_. Means and covariance are then shrunk, the more the
    noisier they are.

    Any number of samples drawn by :meth:`sample` has the same guarantee. A
    `random_state` voids it.

    Parameters
    ----------
    epsilon : float, default=8.0
        Bound of the privacy loss, above 0. At 1 the guarantee is strong; well above
        10 it says little.

    delta : float, default=1e-5
        Probability in (0, 1) with which the bound may fail. Choose it well below one
        over the number of samples.

    classes : array-like of shape (n_classes,), default=None
        All labels that may occur, from public knowledge; a class may have no sample,
        and samples of other labels are left out, without a message. None takes the
        labels of `y`, and warns: the guarantee then does not cover the set of labels.

    data_norm : float, default=None
        Euclidean norm to which centred samples are clipped, in the units of `X`, from
        public knowledge: an upper bound if there is one. None takes a noisy estimate of
        the 90 % quantile of their norms.

    center : float or array-like of shape (n_features,), default=None
        Vector that is subtracted from all samples, from public knowledge. None takes
        their noisy mean.

    variance : float, dict or array-like of shape (n_classes,), default=1.0
        Factor :math:`v_c` of the covariance at sampling: one number, one for each
        class in the order of `classes_`, or a dict from label to number (1 for the
        labels it lacks).

    random_state : int, RandomState instance or None, default=None
        Seed of the noise and of :meth:`sample`. Whoever knows or guesses a seed can
        subtract the noise, so that a seed voids the guarantee. With None, the noise of
        :meth:`fit` comes from the operating system.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Noisy number of samples of each class, rounded.

    class_means_ : ndarray of shape (n_classes, n_features)
        Shrunk class means, in scaled units: (x - `offset_`) / `scale_`.

    covariance_ : ndarray of shape (n_features, n_features)
        Within-class covariance, in scaled units.

    mean_shrinkage_ : float
        Number of pseudo-samples at the overall mean.

    data_norm_ : float
        Norm to which centred samples were clipped.

    offset_, scale_ : ndarray of shape (n_features,)
        Centre, and the scale that all features share.

    privacy_ : dict
        `guarantee`; `epsilon` and `delta`; `noise_multiplier`, `sample_rate`, `steps`
        and `accountant`, from which they follow; `unit` and `adjacency`; `mechanisms`;
        and in `outside` a sentence for each thing that is not covered.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    ClassGaussian : The same without noise, and without a guarantee.
    DPCVAE : A private variational autoencoder.

    References
    ----------
    .. [1] C. Dwork and A. Roth, "The Algorithmic Foundations of Differential Privacy",
       2014.
    .. [2] B. Balle and Y.-X. Wang, "Improving the Gaussian Mechanism for Differential
       Privacy", ICML 2018, arXiv 1805.06530.
    .. [3] J. Dong, A. Roth and W. J. Su, "Gaussian Differential Privacy", 2022, arXiv
       1905.02383.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import DPClassGaussian
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = DPClassGaussian(epsilon=3.0, classes=range(10)).fit(X, y)
    >>> X_new, y_new = generator.sample(y=[3, 3, 8])
    >>> X_new.shape, round(generator.privacy_["epsilon"], 6)
    ((3, 64), 3.0)
    """

    _parameter_constraints: dict = {**BasePrivateGenerator._parameter_constraints}

    def __init__(
        self,
        *,
        epsilon: float = 8.0,
        delta: float = 1e-5,
        classes: ArrayLike | None = None,
        data_norm: float | None = None,
        center: ArrayLike | None = None,
        variance: ArrayLike | dict = 1.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.classes = classes
        self.data_norm = data_norm
        self.center = center
        self.variance = variance
        self.random_state = random_state

    def _fit(self, X, codes, seed):
        check_size(*2 * X.shape[1:], "DPClassGaussian")
        mu = gaussian_mu(self.epsilon, self.delta)
        ledger, private, residuals, bound = self._read_class_means(
            X, codes, mu, _SHARES, seed
        )
        moment, noise_std = second_moment(residuals, bound, private.n_samples, ledger)
        covariance = shrink_noisy_covariance(moment, noise_std)
        means, self.mean_shrinkage_ = shrink_noisy_means(private, covariance)
        scale = private.data_norm / np.sqrt(X.shape[1])
        self.covariance_ = covariance / scale**2
        self._remember(private, means, scale)
        self.privacy_ = self._describe_privacy(
            epsilon=gaussian_epsilon(ledger.mu, self.delta),
            noise_multiplier=1 / ledger.mu,
            sample_rate=1.0,
            steps=1,
            accountant="exact, for Gaussian mechanisms",
            mechanisms=ledger.describe(),
        )
        self._warn_about_noise(private)

    def _warn_about_noise(self, private):
        """Warn if the noise of most class means exceeds their possible spread."""
        needed = private.noise_std * np.sqrt(self.n_features_in_) / private.data_norm
        n_lost = int((private.counts < needed).sum())
        if 2 * n_lost > len(self.classes_):
            warn_user(
                f"For {n_lost} of {len(self.classes_)} classes the noise of the mean "
                "exceeds the norm of the samples: they are drawn around the mean of "
                f"all samples. With epsilon={self.epsilon:g} and "
                f"{self.n_features_in_} features, a class needs more than about "
                f"{needed:.0f} samples. Use a larger epsilon, fewer features or fewer "
                "classes.",
            )

    def _make_sampler(self):
        from .._samplers import GaussianSampler, make_factor

        return GaussianSampler(make_factor(self.covariance_))
