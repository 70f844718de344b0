"""Over-sampling with mixtures that keep the label of the smaller class."""

from numbers import Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from .._remix import remix_label_share
from ._base import BaseDenseOverSampler


class RemixSampler(BaseDenseOverSampler):
    r"""Over-sample with mixtures of samples, labelled in favour of small classes.

    A sample for class c is a mixture of a sample b of that class and a sample a of any
    class, drawn uniformly from all samples:

    .. math:: x = \lambda x_a + (1 - \lambda) x_b, \quad
        \lambda \sim \text{Beta}(\alpha, \alpha).

    Remix [1]_ gives the label of a the share :math:`\lambda_y`. It is
    :math:`\lambda`, except where one class has at least :math:`\kappa` times as many
    samples as the other: the small one then gets the whole label while the large one
    has a share below :math:`\tau` in the mixture. The mixture has the label with the
    larger share; on a tie, that is c. Mixtures with another label than c are drawn
    again.

    .. note::
        Samplers of imbalanced-learn return hard labels: the shares decide the label of
        a mixture, and are not returned. `LongTailClassifier(remix=True)` trains on the
        shares themselves, as the paper does.

        At the paper's :math:`\tau = 0.5`, and below, the rule never changes a hard
        label: at least half of each new sample is of its own class, whatever `kappa`.
        With a larger `tau`, a sample of a small class may have up to that share of a
        large one, which moves decision boundaries towards large classes.

    Features are mixed one by one, so their units do not matter, and no scaling is
    needed. Classes with a single sample work: new samples lie between it and others.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as in :class:`CVAEOverSampler`.

    alpha : float, default=1.0
        Parameter :math:`\alpha > 0` of the Beta distribution. 1 draws shares uniformly;
        smaller values leave new samples closer to a training sample.

    kappa : float, default=3.0
        Ratio of class sizes, above 1, from which on the small class is favoured. Sizes
        are those of `y`, before resampling.

    tau : float, default=0.5
        The small class keeps the label while the share of the large one is below this
        number in [0, 1].

    random_state : int, RandomState instance or None, default=None
        Seed.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of samples to add to each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    GenerativeOverSampler : Draws samples from a generator.
    imblearn.over_sampling.SMOTE : Mixes neighbours of the same class.

    References
    ----------
    .. [1] H.-P. Chou, S.-C. Chang, J.-Y. Pan, W. Wei and D.-C. Juan, "Remix: Rebalanced
       Mixup", ECCV 2020 workshops, `arXiv 2007.03943
       <https://arxiv.org/abs/2007.03943>`_.

    Examples
    --------
    >>> from collections import Counter
    >>> from sklearn.datasets import make_classification
    >>> from skcvae.over_sampling import RemixSampler
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> X_res, y_res = RemixSampler(tau=0.8, random_state=0).fit_resample(X, y)
    >>> sorted(Counter(y_res.tolist()).items())
    [(0, 91), (1, 91)]
    """

    _parameter_constraints: dict = {
        **BaseDenseOverSampler._parameter_constraints,
        "alpha": [Interval(Real, 0, np.inf, closed="neither")],
        "kappa": [Interval(Real, 1, np.inf, closed="neither")],
        "tau": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        sampling_strategy="auto",
        alpha=1.0,
        kappa=3.0,
        tau=0.5,
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.alpha = alpha
        self.kappa = kappa
        self.tau = tau
        self.random_state = random_state

    def _draw_samples(self, X, y, labels):
        rng = check_random_state(self.random_state)
        classes, codes = np.unique(y, return_inverse=True)
        wanted = np.searchsorted(classes, labels)
        places, partners, share = self._draw_pairs(codes, wanted, rng)
        # Integers and float16 cannot hold differences and fractions.
        dtype = np.result_type(X.dtype, np.float32)
        drawn = X[places].astype(dtype, copy=False)
        # In this form, features in which both samples agree keep their exact value.
        step = X[partners].astype(dtype, copy=False)
        step -= drawn
        step *= share[:, None].astype(dtype)
        drawn += step
        return drawn, labels

    def _draw_pairs(self, codes, wanted, rng):
        """Return places of the classes `wanted`, partners, and the partners' shares."""
        counts = np.bincount(codes)
        by_class = np.argsort(codes, kind="stable")
        first = np.cumsum(counts) - counts
        places, partners = np.empty((2, len(wanted)), dtype=np.intp)
        share = np.empty(len(wanted))
        left = np.arange(len(wanted))
        # This ends: a partner of the same class is never refused.
        while len(left):
            own = wanted[left]
            places[left] = by_class[first[own] + rng.randint(counts[own])]
            partners[left] = rng.randint(len(codes), size=len(left))
            share[left] = rng.beta(self.alpha, self.alpha, size=len(left))
            other = codes[partners[left]]
            label_share = remix_label_share(
                share[left], counts[other], counts[own], self.kappa, self.tau
            )
            left = left[(other != own) & (label_share > 0.5)]
        return places, partners, share
