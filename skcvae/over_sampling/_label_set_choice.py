"""Which label sets to add so that rare labels become more frequent."""

import numpy as np
from scipy.optimize import minimize

# Sets are compared by their remainders: this keeps those without one possible.
_TINY = 1e-12


def choose_label_sets(Y, targets, inflation_cost, rng):
    r"""Return label sets of `Y` to add, shape (n_added, n_labels), so that labels rise.

    Let :math:`m_s` be how often a set occurs, and :math:`N_s \ge m_s` how often it
    occurs afterwards. Among all choices that lift each label to its target, take the
    one that minimises

    .. math:: \sum_s m_s \, \varphi(N_s / m_s)
        + \lambda \sum_l \Bigl(\sum_{s \ni l} N_s - t_l\Bigr)_+, \quad
        \varphi(x) = x \log x - x + 1

    for the targets :math:`t_l`, which are at least the counts of the labels, and the
    cost :math:`\lambda` of a label that is added beyond its target. The first sum is
    the Kullback-Leibler divergence from the sets of `Y`: the sets of a rare label
    rise together, instead of one of them alone. The problem is convex. Its dual has
    one variable for each label,

    .. math:: \max_{\mu \ge -\lambda} \; \sum_l \mu_l t_l - \sum_s m_s \,
        \psi\Bigl(\sum_{l \in s} \mu_l\Bigr), \quad
        \psi(u) = \begin{cases} u & u \le 0 \\ e^u - 1 & u > 0, \end{cases}

    and L-BFGS-B solves it; :math:`N_s = m_s \max(1, e^{u_s})`. Whole numbers are the
    parts before the decimal point; for each label that is still short, the rarest
    first, sets are drawn in proportion to the parts behind it.

    Parameters
    ----------
    Y : ndarray of shape (n_samples, n_labels), of bool
        Label sets.

    targets : ndarray of shape (n_labels,)
        How many samples shall have each label, at least as many as have it. Labels
        without samples have the target 0.

    inflation_cost : float
        The cost :math:`\lambda`, in [0, 100].

    rng : RandomState
        Draws the sets that whole numbers leave open.
    """
    sets, sizes = np.unique(Y, axis=0, return_counts=True)
    counts = Y.sum(axis=0)
    wanted = _fractional_counts(
        sets.astype(float), sizes, counts, targets, inflation_cost
    )
    added = np.floor(wanted)
    rest = wanted - added + _TINY
    reached = counts + added @ sets
    for label in np.argsort(counts, kind="stable"):
        short = round(targets[label] - reached[label])
        if short > 0:
            holders = np.flatnonzero(sets[:, label])
            weights = rest[holders] / rest[holders].sum()
            chosen = rng.choice(holders, short, p=weights)
            np.add.at(added, chosen, 1)
            rest[chosen] = _TINY
            reached += sets[chosen].sum(axis=0)
    return np.repeat(sets, added.astype(int), axis=0)


def _fractional_counts(sets, sizes, counts, targets, cost):
    """Return how often to add each set, not rounded: the solution of the dual."""
    if not (targets > counts).any():
        return np.zeros(len(sets))
    n_samples = sizes.sum()
    # The optimum is below: there, the sets of a label suffice without those of others.
    largest = np.log(np.maximum(targets, 1) / np.maximum(counts, 1))
    largest += cost * (sets.sum(axis=1).max() - 1)
    # No set rises above the largest target: on from there, psi may go straight.
    top = np.log(targets.max())

    def negative_dual(mu):
        u = sets @ mu
        growth = np.exp(u.clip(0, top))
        value = sizes @ (np.minimum(u, 0) + growth * (1 + np.maximum(u - top, 0)) - 1)
        value -= mu @ targets
        slope = (sizes * growth) @ sets - targets
        return value / n_samples, slope / n_samples

    found = minimize(
        negative_dual,
        np.zeros(len(counts)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-cost, top) for top in np.maximum(largest, 0)],
        options={"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-7},
    )
    return sizes * np.expm1(np.maximum(sets @ found.x, 0))
