"""Class priors: of the batches, of what a loss corrects, and of what is left."""

import numpy as np
from scipy.special import betainc

# Exponents b of the sampling weights n_c^-b.
SAMPLING_EXPONENTS = {"instance": 0.0, "sqrt": 0.5, "balanced": 1.0}

# Powers of 1 / n_c that set how likely a row is to be replaced.
_AUGMENT_POWERS = {"inverse": 1, "inverse_steep": 2}


def sampling_prior(sampling, class_count, progress=0.0):
    r"""Return the class prior of the rows that batches draw.

    :math:`n_c^{1-b} / \sum_k n_k^{1-b}` for the exponent b of `sampling`. The prior of
    "progressive" moves linearly from that of "instance" to that of "balanced" [1]_.

    Parameters
    ----------
    sampling : {"instance", "sqrt", "balanced", "progressive"} or float
        Name, or exponent b.

    class_count : ndarray of shape (n_classes,)
        Rows, or sum of their weights, of each class.

    progress : float, default=0.0
        Share of the training that is done; read by "progressive" only.

    Returns
    -------
    prior : ndarray of shape (n_classes,)

    References
    ----------
    .. [1] B. Kang et al., "Decoupling Representation and Classifier for Long-Tailed
       Recognition", ICLR 2020, arXiv 1910.09217.
    """
    if sampling == "progressive":
        start = sampling_prior("instance", class_count)
        end = sampling_prior("balanced", class_count)
        return (1 - progress) * start + progress * end
    exponent = SAMPLING_EXPONENTS.get(sampling, sampling)
    return _normalised(class_count ** (1.0 - exponent))


def augment_probability(augment, class_count, p_min, p_max):
    r"""Return the probability that a row of each class is replaced by a generated one.

    .. math::
        S(x_c) = \max\left(p_{\min}, \min\left(
        \frac{x_c - x_{\min}}{x_{\max} - x_{\min}}, p_{\max}\right)\right)

    with :math:`x_c = 1 / n_c` ("inverse") or :math:`1 / n_c^2` ("inverse_steep").

    Parameters
    ----------
    augment : {"inverse", "inverse_steep", "always"} or None
        "always" is 1 for each class, None is 0.

    class_count : ndarray of shape (n_classes,)
        Rows of each class.

    p_min, p_max : float
        Bounds; where all classes have the same size, each gets `p_min`.

    Returns
    -------
    probability : ndarray of shape (n_classes,)
    """
    if augment is None or augment == "always":
        return np.full(len(class_count), float(augment is not None))
    x = class_count ** -float(_AUGMENT_POWERS[augment])
    spread = np.ptp(x)
    share = (x - x.min()) / spread if spread > 0 else np.zeros(len(x))
    return np.clip(share, p_min, p_max)


def effective_prior(drawn_prior, p_augment, generated_weight=1.0, remix_share=None):
    """Return the class prior that a loss sees in the batches.

    Parameters
    ----------
    drawn_prior : ndarray of shape (n_classes,)
        Prior of the rows that batches draw.

    p_augment : ndarray of shape (n_classes,)
        Probability that a row is replaced by a generated one.

    generated_weight : float, default=1.0
        Weight of generated rows in the loss.

    remix_share : ndarray of shape (n_classes, n_classes), default=None
        Mean share of its label that a row of the first class keeps when it is mixed
        with one of the second.

    Returns
    -------
    prior : ndarray of shape (n_classes,)
    """
    weight = 1 - p_augment + generated_weight * p_augment
    if remix_share is not None:
        # A row meets a partner of each class in proportion to the prior, both ways.
        kept = remix_share @ drawn_prior
        received = (1 - remix_share).T @ drawn_prior
        weight = weight * (kept + received)
    return _normalised(drawn_prior * weight)


def mean_remix_share(class_count, alpha, kappa, tau):
    r"""Return the expected share that :func:`remix_label_share` leaves a row.

    The mean of :math:`\lambda_y` over :math:`\lambda \sim` Beta(alpha, alpha), by the
    regularised incomplete beta function.

    Returns
    -------
    share : ndarray of shape (n_classes, n_classes)
        Of a row of the first class, mixed with one of the second.
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
