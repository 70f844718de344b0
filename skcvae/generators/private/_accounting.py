"""The privacy cost of Gaussian noise, alone and with subsampling."""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

# A root is found within a tolerance; this keeps the result on the safe side of it.
_SAFETY = 1 - 1e-9
# Orders of the Rényi divergence: 1.05 to 16384.
_ORDERS = np.concatenate(
    [1 + np.arange(1, 221) / 20, np.unique(np.geomspace(13, 2**14, 200).round())]
)


def gaussian_delta(epsilon, mu):
    r"""Return the smallest delta of a Gaussian mechanism, exactly.

    .. math::
        \Phi(\mu/2 - \varepsilon/\mu) - e^\varepsilon \Phi(-\mu/2 - \varepsilon/\mu)

    with :math:`\mu` the sensitivity over the standard deviation of the noise (Balle and
    Wang, ICML 2018, arXiv 1805.06530, theorem 8).
    """
    below = norm.logcdf(-mu / 2 - epsilon / mu)
    return norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon + below)


def gaussian_mu(epsilon, delta):
    """Return the largest ratio of sensitivity to noise that the budget allows."""
    high = 1.0
    while gaussian_delta(epsilon, high) < delta:
        high *= 2
    root = brentq(lambda mu: gaussian_delta(epsilon, mu) - delta, 1e-12, high)
    return root * _SAFETY


def gaussian_epsilon(mu, delta):
    """Return the epsilon of Gaussian mechanisms with this total ratio."""
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(high, mu) > delta:
        high *= 2
    return float(brentq(lambda e: gaussian_delta(e, mu) - delta, 0.0, high))


def renyi_epsilon(cost, order, delta):
    """Return the epsilon of a Rényi divergence of this order.

    Canonne, Kamath and Steinke, arXiv 2004.00010, proposition 12.
    """
    slack = np.log1p(-1 / order) - np.log(delta * order) / (order - 1)
    return float(np.maximum(cost + slack, 0.0))


def renyi_budget(epsilon, delta):
    """Return an order, and the Rényi divergence of this order that epsilon allows.

    It is the best order for Gaussian noise. Divergences of one order add up also where
    a mechanism depends on the output of earlier ones, as the sampling rate of training
    depends on a noisy count. The order must be chosen before any data is read (Mironov,
    arXiv 1702.07476, proposition 1).
    """
    slack = np.log1p(-1 / _ORDERS) - np.log(delta * _ORDERS) / (_ORDERS - 1)
    allowed = epsilon - slack
    best = np.argmax(allowed / _ORDERS)
    if allowed[best] <= 0:
        raise ValueError(f"epsilon={epsilon!r} is too small for delta={delta!r}.")
    return float(_ORDERS[best]), float(allowed[best])


def find_noise_multiplier(cost, budget):
    """Return the smallest noise multiplier whose `cost(noise_multiplier)` fits."""
    low, high = 0.1, 1.0
    while cost(high) > budget:
        low, high = high, 2 * high
    while high > 1.0001 * low:
        middle = np.sqrt(low * high)
        low, high = (middle, high) if cost(middle) > budget else (low, middle)
    return float(high)
