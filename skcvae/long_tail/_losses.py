"""Losses of long-tailed classification, as functions of logits and class codes."""

from numbers import Real

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval

from ._loss_base import CountedLoss, LongTailLoss, PriorLoss, cross_entropy

_NON_NEGATIVE = [Interval(Real, 0, np.inf, closed="left")]
_POSITIVE = [Interval(Real, 0, np.inf, closed="neither")]
_BELOW_ONE = [Interval(Real, 0, 1, closed="left")]
_PROBABILITY = [Interval(Real, 0, 1, closed="both")]


def effective_number_weights(class_count, beta):
    r"""Return a float64 weight for each class, by its effective number of samples.

    .. math:: w_c \propto (1 - \beta) / (1 - \beta^{n_c}), \quad \sum_c w_c = C

    for :math:`C` classes and :math:`0 \le \beta < 1` (Cui et al., arXiv 1901.05555).
    """
    with np.errstate(divide="ignore"):
        log_beta = np.log1p(beta - 1.0)
    # 1 - beta ** n loses all digits where beta is close to 1; expm1 keeps them.
    weights = (beta - 1.0) / np.expm1(np.asarray(class_count, np.float64) * log_beta)
    return weights * (len(weights) / weights.sum())


class BalancedSoftmaxLoss(PriorLoss):
    r"""Cross-entropy of logits that are shifted by the log of the class sizes.

    .. math:: -\log \frac{n_y e^{z_y}}{\sum_k n_k e^{z_k}}

    for class sizes :math:`n_k` (Ren et al. 2020, arXiv 2007.10740). The softmax of the
    bare logits then estimates the class probabilities under a uniform prior.

    **Shape**: logits ``(n, n_classes)`` and class codes ``(n,)`` to a scalar, or to
    ``(n,)`` with ``reduction="none"``.

    Parameters
    ----------
    class_count : array-like of shape (n_classes,)
        Training samples of each class, above 0 (else ValueError); may be fractional.

    reduction : {"mean", "sum", "none"}, default="mean"
        Mean or sum over the samples, or the loss of each sample.

    Examples
    --------
    >>> import torch
    >>> from skcvae.long_tail import BalancedSoftmaxLoss
    >>> BalancedSoftmaxLoss([3, 1])(torch.zeros(1, 2), torch.tensor([1]))  # log 4
    tensor(1.3863)
    """

    corrects_prior = True

    def __init__(self, class_count: ArrayLike, *, reduction: str = "mean"):
        super().__init__(class_count, reduction=reduction)

    def _count(self, count):
        self._keep(shift=np.log(count))


class LogitAdjustedLoss(PriorLoss):
    r"""Cross-entropy of logits that are shifted by the log of the class prior.

    .. math:: -\log \frac{\pi_y^\tau e^{z_y}}{\sum_k \pi_k^\tau e^{z_k}}

    for a class prior :math:`\pi` (Menon et al. 2021, arXiv 2007.07314). With
    :math:`\tau = 1` it equals :class:`BalancedSoftmaxLoss`.

    **Shape**: logits ``(n, n_classes)`` and class codes ``(n,)`` to a scalar, or to
    ``(n,)`` with ``reduction="none"``.

    Parameters
    ----------
    class_prior : array-like of shape (n_classes,)
        Frequency or count of each class, above 0 (else ValueError).

    tau : float, default=1.0
        Strength, at least 0; 0 is the plain cross-entropy.

    reduction : {"mean", "sum", "none"}, default="mean"
        Mean or sum over the samples, or the loss of each sample.

    Examples
    --------
    >>> import torch
    >>> from skcvae.long_tail import LogitAdjustedLoss
    >>> loss = LogitAdjustedLoss([0.75, 0.25], tau=2.0)
    >>> loss(torch.zeros(1, 2), torch.tensor([1]))  # log 10
    tensor(2.3026)
    """

    _parameter_constraints: dict = {"tau": _NON_NEGATIVE}
    _count_name = "class_prior"
    corrects_prior = True

    def __init__(
        self, class_prior: ArrayLike, tau: float = 1.0, *, reduction: str = "mean"
    ):
        super().__init__(class_prior, tau=tau, reduction=reduction)

    def _count(self, count):
        self._keep(shift=self.tau * np.log(count / count.sum()))


class ClassBalancedLoss(PriorLoss):
    r"""Cross-entropy, weighted by the effective number of samples of the class.

    .. math:: -w_y \log \frac{e^{z_y}}{\sum_k e^{z_k}}, \quad
        w_c \propto (1 - \beta) / (1 - \beta^{n_c}), \quad \sum_c w_c = C

    for :math:`C` classes of :math:`n_c` samples (Cui et al. 2019, arXiv 1901.05555).
    The mean divides by the number of samples, not by the sum of their weights.

    **Shape**: logits ``(n, n_classes)`` and class codes ``(n,)`` to a scalar, or to
    ``(n,)`` with ``reduction="none"``.

    Parameters
    ----------
    class_count : array-like of shape (n_classes,)
        Training samples of each class, above 0 (else ValueError); may be fractional.

    beta : float, default=0.999
        Overlap of the samples, in [0, 1): 0 is equal weights, nearly 1 inverse counts.

    reduction : {"mean", "sum", "none"}, default="mean"
        Mean or sum over the samples, or the loss of each sample.

    Examples
    --------
    >>> import torch
    >>> from skcvae.long_tail import ClassBalancedLoss
    >>> loss = ClassBalancedLoss([1, 2], beta=0.5)
    >>> loss(torch.zeros(1, 2), torch.tensor([0]))  # 1.2 log 2
    tensor(0.8318)
    """

    _parameter_constraints: dict = {"beta": _BELOW_ONE}
    class_weight: torch.Tensor

    def __init__(
        self, class_count: ArrayLike, beta: float = 0.999, *, reduction: str = "mean"
    ):
        super().__init__(class_count, beta=beta, reduction=reduction)

    def _count(self, count):
        self._keep(class_weight=effective_number_weights(count, self.beta))

    def log_class_weight(self, class_count: ArrayLike) -> NDArray[np.float64]:
        """Return the log of the weights in use, whatever `class_count` is."""
        return np.log(self.class_weight.cpu().double().numpy())

    def _losses(self, logits, y):
        return self.class_weight[y] * cross_entropy(logits, y)


class FocalLoss(LongTailLoss):
    r"""Cross-entropy in which well classified samples weigh less.

    .. math:: -(1 - p_y)^\gamma \log p_y, \quad p = \operatorname{softmax}(z)

    the softmax version of the focal loss (Lin et al. 2017, arXiv 1708.02002), without
    class weights.

    **Shape**: logits ``(n, n_classes)`` and class codes ``(n,)`` to a scalar, or to
    ``(n,)`` with ``reduction="none"``.

    Parameters
    ----------
    gamma : float, default=2.0
        Strength, at least 0 (else ValueError); 0 is the plain cross-entropy.

    reduction : {"mean", "sum", "none"}, default="mean"
        Mean or sum over the samples, or the loss of each sample.

    Examples
    --------
    >>> import torch
    >>> from skcvae.long_tail import FocalLoss
    >>> FocalLoss()(torch.zeros(1, 2), torch.tensor([0]))  # log(2) / 4
    tensor(0.1733)
    """

    _parameter_constraints: dict = {"gamma": _NON_NEGATIVE}

    def __init__(self, gamma: float = 2.0, *, reduction: str = "mean"):
        super().__init__(gamma=gamma, reduction=reduction)

    def _losses(self, logits, y):
        loss = cross_entropy(logits, y)
        # The slope of the power is infinite at p = 1 and gamma < 1: NaN, times loss 0.
        rest = (-torch.expm1(-loss)).clamp_min(torch.finfo(loss.dtype).tiny)
        return rest**self.gamma * loss


class EqualizationLoss(PriorLoss):
    r"""Cross-entropy whose denominator often leaves out the rare classes.

    .. math::
        -\log \frac{e^{z_y}}{\sum_k w_k e^{z_k}}, \quad
        w_k = 1 - \beta_k [n_k / N < \lambda] [k \ne y]

    for class sizes :math:`n_k` out of :math:`N` samples (Tan et al. 2020, arXiv
    2003.05176): samples of other classes push the logits of rare ones down less. In
    training mode, :math:`\beta_k` is 1 with probability :math:`\gamma`, else 0, drawn
    for each sample and class from torch's global generator, as in dropout. In
    evaluation mode, :math:`\beta_k = \gamma`.

    **Shape**: logits ``(n, n_classes)`` and class codes ``(n,)`` to a scalar, or to
    ``(n,)`` with ``reduction="none"``.

    Parameters
    ----------
    class_count : array-like of shape (n_classes,)
        Training samples of each class, above 0 (else ValueError); may be fractional.

    threshold : float, default=3e-3
        Classes with a smaller share of the samples than this, and than the average
        class, are rare; in [0, 1].

    gamma : float, default=0.95
        Probability of leaving a rare class out, in [0, 1].

    reduction : {"mean", "sum", "none"}, default="mean"
        Mean or sum over the samples, or the loss of each sample.

    Examples
    --------
    >>> import torch
    >>> from skcvae.long_tail import EqualizationLoss
    >>> loss = EqualizationLoss([98, 1, 1], threshold=0.05, gamma=0.5).eval()
    >>> loss(torch.zeros(1, 3), torch.tensor([0]))  # log(1 + 0.5 + 0.5)
    tensor(0.6931)
    """

    _parameter_constraints: dict = {"threshold": _PROBABILITY, "gamma": _PROBABILITY}
    is_rare: torch.Tensor

    @property
    def corrects_prior(self) -> bool:  # type: ignore[override]
        """Whether a class is rare: without one it is the cross-entropy."""
        return bool(self.is_rare.any())

    def __init__(
        self,
        class_count: ArrayLike,
        threshold: float = 3e-3,
        gamma: float = 0.95,
        *,
        reduction: str = "mean",
    ):
        super().__init__(
            class_count, threshold=threshold, gamma=gamma, reduction=reduction
        )

    def _count(self, count):
        # Where all classes are of one size none is rare, however many there are.
        bound = min(self.threshold, (1 - 1e-9) / len(count))
        self._keep(is_rare=count / count.sum() < bound)

    def _losses(self, logits, y):
        beta = torch.full_like(logits, self.gamma)
        if self.training:
            beta = torch.bernoulli(beta)
        weight = (1 - beta * self.is_rare).scatter(1, y[:, None], 1.0)
        # A weight of 0 is a logit of -inf, to which log_softmax gives the gradient 0.
        return cross_entropy(logits + weight.log(), y)


class LDAMLoss(CountedLoss):
    r"""Label-distribution-aware margin loss, with deferred re-weighting.

    .. math::
        -w_y \log
        \frac{e^{s (z_y - m_y)}}{e^{s (z_y - m_y)} + \sum_{k \ne y} e^{s z_k}},
        \quad m_c = m \, (n_c / \min_k n_k)^{-1/4}

    for cosines :math:`z` and class sizes :math:`n_c` (Cao et al. 2019, arXiv
    1906.07413): the smaller the class, the larger its margin. The weights :math:`w` are
    1 at first, and those of :class:`ClassBalancedLoss` once :meth:`set_progress` was
    told a fraction of `reweight_after` or more. The mean divides by the number of
    samples.

    **Shape**: cosines ``(n, n_classes)`` in [-1, 1] and class codes ``(n,)`` to a
    scalar, or to ``(n,)`` with ``reduction="none"``.

    Parameters
    ----------
    class_count : array-like of shape (n_classes,)
        Training samples of each class, above 0 (else ValueError); may be fractional.

    max_margin : float, default=0.5
        Margin :math:`m` of the smallest class, at least 0, in units of the cosine.

    scale : float, default=30.0
        Factor :math:`s` of the cosines, above 0.

    reweight_after : float, default=None
        Fraction of the training from which samples are weighted, in [0, 1); None is
        never.

    reweight_beta : float, default=0.9999
        Overlap of the samples in the weights, in [0, 1).

    reduction : {"mean", "sum", "none"}, default="mean"
        Mean or sum over the samples, or the loss of each sample.

    Examples
    --------
    >>> import torch
    >>> from skcvae.long_tail import LDAMLoss
    >>> loss = LDAMLoss([16, 1], max_margin=0.5, scale=1.0)
    >>> loss(torch.tensor([[0.25, 0.0]]), torch.tensor([0]))  # margin 0.25: log 2
    tensor(0.6931)
    """

    _parameter_constraints: dict = {
        "max_margin": _NON_NEGATIVE,
        "scale": _POSITIVE,
        "reweight_after": [*_BELOW_ONE, None],
        "reweight_beta": _BELOW_ONE,
    }

    takes_cosines = True
    reweight_after: float | None
    class_weight: torch.Tensor

    def __init__(
        self,
        class_count: ArrayLike,
        max_margin: float = 0.5,
        scale: float = 30.0,
        reweight_after: float | None = None,
        reweight_beta: float = 0.9999,
        *,
        reduction: str = "mean",
    ):
        super().__init__(
            class_count,
            max_margin=max_margin,
            scale=scale,
            reweight_after=reweight_after,
            reweight_beta=reweight_beta,
            reduction=reduction,
        )
        self.logit_scale = scale
        self.set_progress(0.0)

    def _count(self, count):
        self._keep(
            margin=self.max_margin * (count / count.min()) ** -0.25,
            class_weight=effective_number_weights(count, self.reweight_beta),
        )

    def log_class_weight(self, class_count: ArrayLike) -> NDArray[np.float64]:
        """Return the log of the weights in use: zeros before `reweight_after`."""
        if not self.reweights:
            return super().log_class_weight(class_count)
        return np.log(self.class_weight.cpu().double().numpy())

    def set_progress(self, fraction: float) -> None:
        """Weight the samples from the fraction `reweight_after` of the training on."""
        start = self.reweight_after
        self.reweights = start is not None and fraction >= start

    def _losses(self, logits, y):
        is_true = torch.zeros_like(logits).scatter(1, y[:, None], 1.0)
        losses = cross_entropy(self.scale * (logits - self.margin * is_true), y)
        return self.class_weight[y] * losses if self.reweights else losses
