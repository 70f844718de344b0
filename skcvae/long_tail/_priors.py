"""Class priors: of batches, of what a loss corrects, and of what is left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import betainc, softmax

from .._class_values import refuse_index

# Exponents b of the sampling weights n_c^-b.
SAMPLING_EXPONENTS = {"instance": 0.0, "sqrt": 0.5, "balanced": 1.0}

# Powers of 1 / n_c that set how likely a sample is to be replaced.
_AUGMENT_POWERS = {"inverse": 1, "inverse_steep": 2}


def sampling_prior(sampling, class_count, progress=0.0):
    r"""Return the class prior of the samples that batches draw.

    :math:`n_c^{1-b} / \sum_k n_k^{1-b}` for `sampling`, a name or the exponent b. The
    prior of "progressive" moves linearly from that of "instance" to that of "balanced",
    by the share of the training that is done (B. Kang et al., "Decoupling
    Representation and Classifier for Long-Tailed Recognition", ICLR 2020, arXiv
    1910.09217).
    """
    if sampling == "progressive":
        start = sampling_prior("instance", class_count)
        end = sampling_prior("balanced", class_count)
        return (1 - progress) * start + progress * end
    exponent = SAMPLING_EXPONENTS.get(sampling, sampling)
    return _normalised(class_count ** (1.0 - exponent))


def augment_probability(augment, class_count, p_min, p_max):
    r"""Return how likely a sample of each class is replaced by a generated one.

    .. math::
        S(x_c) = \max\left(p_{\min}, \min\left(
        \frac{x_c - x_{\min}}{x_{\max} - x_{\min}}, p_{\max}\right)\right)

    with :math:`x_c = 1 / n_c` ("inverse") or :math:`1 / n_c^2` ("inverse_steep");
    "always" is 1 for each class, None is 0. Where all classes have the same size, each
    gets `p_min`.
    """
    if augment is None or augment == "always":
        return np.full(len(class_count), float(augment is not None))
    x = class_count ** -float(_AUGMENT_POWERS[augment])
    spread = np.ptp(x)
    share = (x - x.min()) / spread if spread > 0 else np.zeros(len(x))
    return np.clip(share, p_min, p_max)


def effective_prior(drawn_prior, p_augment, generated_weight=1.0, remix_share=None):
    """Return the class prior that a loss sees in the batches.

    Samples are drawn by a prior, and replaced by generated ones with the probability
    `p_augment` of their class. `remix_share`, of shape (n_classes, n_classes), is the
    mean share of its label that a sample of the first class keeps when it is mixed with
    one of the second.
    """
    weight = 1 - p_augment + generated_weight * p_augment
    if remix_share is not None:
        # A sample meets a partner of each class in proportion to the prior, both ways.
        kept = remix_share @ drawn_prior
        received = (1 - remix_share).T @ drawn_prior
        weight = weight * (kept + received)
    return _normalised(drawn_prior * weight)


def mean_remix_share(class_count, alpha, kappa, tau):
    r"""Return the expected share that :func:`remix_label_share` leaves a sample.

    The mean of :math:`\lambda_y` over :math:`\lambda \sim` Beta(alpha, alpha), by the
    regularised incomplete beta function, of a sample of the first class, mixed with one
    of the second; shape (n_classes, n_classes).
    """
    # The mean of lambda over lambda < t is half the distribution function of
    # Beta(alpha + 1, alpha) at t.
    below = betainc(alpha + 1, alpha, tau) / 2
    to_partner = class_count[:, None] >= kappa * class_count
    to_itself = kappa * class_count[:, None] <= class_count
    share = np.full(to_partner.shape, 0.5)
    share[to_partner] = 0.5 - below
    share[to_itself] = 0.5 + below
    return share


def _normalised(weights):
    return weights / weights.sum()


@dataclass
class BatchPriors:
    """How batches are made, and the class priors that follow from it.

    `class_count` are samples, or sums of their weights. `p_augment`, of shape
    (n_classes,), is the probability that a sample is replaced by a generated one of its
    class, or a function of the epoch and `valid_losses`, the validation losses before
    it, that returns these. `remix` has alpha, kappa and tau, or is None. `correction`
    is "effective", "original" or None, the prior that is taken to be in the logits, and
    `tau` the exponent of its correction.
    """

    class_count: np.ndarray
    sampling: str | float
    p_augment: np.ndarray | Callable
    generated_weight: float
    remix: dict | None
    correction: str | None
    tau: float
    n_epochs: int
    valid_losses: Sequence[float] = ()

    def replaced(self, epoch):
        """Return the probability that a sample is replaced in an epoch, by class."""
        if callable(self.p_augment):
            return self.p_augment(epoch, self.valid_losses[:epoch])
        return self.p_augment

    def drawn(self, epoch):
        """Return the class prior of the samples that the batches of an epoch draw."""
        progress = epoch / max(self.n_epochs - 1, 1)
        return sampling_prior(self.sampling, self.class_count, progress)

    def effective(self, epoch):
        """Return the class prior that the loss sees in an epoch."""
        return effective_prior(
            self.drawn(epoch),
            self.replaced(epoch),
            self.generated_weight,
            self._remix_share,
        )

    @cached_property
    def _remix_share(self):
        """Mean shares of Remix: one matrix for all epochs."""
        if self.remix is None:
            return None
        return mean_remix_share(self.class_count, **self.remix)

    def corrected_count(self, epoch):
        """Return class counts with the prior to correct, to the power tau."""
        prior = self._prior_to_correct(epoch) ** self.tau
        return prior / prior.sum() * self.class_count.sum()

    def log_prior_left(self, loss, epoch):
        r"""Return what is left to correct in trained logits, up to a constant.

        :math:`\tau \log \pi` for the prior to correct, unless the loss of this epoch,
        the last one, corrects it, plus the log of the class weights of the loss, which
        the logits learn whole. Shape (n_classes,).
        """
        left = np.zeros(len(self.class_count))
        if self.correction is None:
            return left
        if not getattr(loss, "corrects_prior", False):
            left = self.tau * np.log(self._prior_to_correct(epoch))
        return left + _log_class_weight(loss, self.corrected_count(epoch))

    def _prior_to_correct(self, epoch):
        if self.correction == "effective":
            return self.effective(epoch)
        count = self.class_count
        return _normalised(np.ones_like(count) if self.correction is None else count)


def _log_class_weight(loss, class_count):
    """Return what a loss says of its class weights; one that says nothing has none."""
    if not hasattr(loss, "log_class_weight"):
        return np.zeros(len(class_count))
    values = np.asarray(loss.log_class_weight(class_count), dtype=np.float64)
    if values.shape != class_count.shape or not np.isfinite(values).all():
        raise ValueError(
            f"log_class_weight of the loss {type(loss).__name__} must return one "
            f"finite number for each of {len(class_count)} classes, got {values!r}."
        )
    return values


def resolve_target_prior(target_prior, class_count, *, name="target_prior"):
    """Return a class distribution as float64 that sums to one.

    It is "train", the frequencies of `class_count`, "uniform" or "balanced", equal
    numbers, or any numbers >= 0 that are not all 0. Errors call the parameter `name`.
    """
    class_count = np.asarray(class_count, dtype=np.float64)
    if isinstance(target_prior, str):
        prior = class_count if target_prior == "train" else np.ones_like(class_count)
    else:
        prior = _check_prior(target_prior, len(class_count), name)
    # Two steps, for the sum of huge numbers would overflow.
    prior = prior / prior.max()
    return prior / prior.sum()


def check_positive(prior, classes):
    """Return the prior, or refuse classes that the classifier cannot have learned."""
    if not prior.all():
        raise ValueError(
            f"The trained prior of the classes {classes[prior == 0].tolist()} is 0: "
            "a classifier that learned nothing of a class cannot tell its probability. "
            "Check the sampler, class_weight, sample_weight and trained_prior."
        )
    return prior


def move_prior(proba, prior, target_prior):
    """Return probabilities for another prior; those that lose all get that prior."""
    with np.errstate(divide="ignore"):
        target = np.log(target_prior)
        scores = np.log(np.asarray(proba, dtype=np.float64)) + target - np.log(prior)
    lost = np.isneginf(scores).all(axis=1)
    scores[lost] = target
    return softmax(scores, axis=1)


def _check_prior(values, n_classes, name):
    """Return the numbers as float64, or say what is wrong with them."""
    refuse_index(values, name)
    try:
        prior = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, got {values!r}.") from error
    if prior.shape != (n_classes,):
        raise ValueError(
            f"{name} must have one number for each of the {n_classes} classes, in "
            f"sorted order of the labels; got an array of shape {prior.shape}."
        )
    if not (np.isfinite(prior).all() and (prior >= 0).all() and prior.any()):
        raise ValueError(
            f"{name} must be finite numbers >= 0 that are not all 0, got {values!r}."
        )
    return prior
