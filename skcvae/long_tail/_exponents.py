"""Exponents of a log-linear pool, from held-out samples."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from .._class_means import indices_of_classes
from .._threads import limit_threads, threads_for
from ._calibration import held_out_splits

# Below it, the first exponent is taken to be 0: a pool needs its first member.
_SMALLEST = 1e-3


class Fitted(NamedTuple):
    """Exponents of shape (n_members,), their loss, and that of each sample."""

    exponents: np.ndarray
    loss: float
    losses: np.ndarray


def class_weights(codes, target_prior, sample_weight=None):
    """Return weights of mean 1 with which the classes have the target prior.

    Classes without samples lose their part of the prior to the others.
    """
    weight = np.ones(len(codes)) if sample_weight is None else sample_weight
    mass = np.bincount(codes, weight, minlength=len(target_prior))
    weight = weight * (target_prior / np.where(mass > 0, mass, 1))[codes]
    return weight / weight.mean()


def possible_splits(cv, X, y, codes, n_kept=1, groups=None):
    """Return pairs of training and held-out indices, or none where all must train.

    As `held_out_splits` does, with fewer folds where the largest class has too few
    samples for an int.
    """
    if cv is None or isinstance(cv, Integral):
        cv = min(cv or 5, np.bincount(codes).max())
        if cv < 2:
            return []
    splits = held_out_splits(cv, X, y, codes, n_kept, groups)
    n_classes = codes.max() + 1
    if any(len(np.unique(codes[train])) < n_classes for train, _ in splits):
        raise ValueError("A fold of cv has no sample of a class to train on.")
    return splits if any(len(test) for _, test in splits) else []


def evenly(codes, n_samples):
    """Return sorted indices of about `n_samples` at most, as many of each class.

    Those of a class are spread over all of its samples.
    """
    counts = np.bincount(codes)
    quota = n_samples
    while quota > 1 and np.minimum(counts, quota).sum() > n_samples:
        quota -= 1
    groups = indices_of_classes(codes, len(counts))
    chosen = [
        group[np.arange(n) * len(group) // max(n, 1)]
        for group, n in zip(groups, np.minimum(counts, quota), strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def fit_exponents(scores, codes, weight, log_prior=0.0, first=None):
    r"""Minimize the weighted log loss of a log-linear pool over its exponents.

    The probability of class c is :math:`\propto t_c \exp(\sum_m v_m s_{mc})`, with
    scores of shape (n_samples, n_classes, n_members): log-likelihoods up to a constant
    for each sample and member. The loss is convex in the exponents v >= 0. A pull
    towards :math:`(1, 0, \ldots)`, as strong as one sample, keeps them finite where
    classes are separable.

    Sample weights have the mean 1. `log_prior` is the log of t, up to a constant; -inf
    leaves a class out. `first` is the first exponent, if it is given. The loss that
    `Fitted` has of a sample is weighted, and without the pull.
    """
    n_samples, _, n_members = scores.shape
    start = np.zeros(n_members)
    start[0] = 1.0 if first is None else first
    own = scores[np.arange(n_samples), codes]
    own_prior = np.broadcast_to(log_prior, scores.shape[1])[codes]

    def losses(v):
        logits = scores @ v + log_prior
        return weight * (logsumexp(logits, axis=1) - own @ v - own_prior), logits

    def objective(v):
        loss, logits = losses(v)
        expected = np.einsum("nc,ncm->nm", softmax(logits, axis=1), scores)
        gradient = weight @ (expected - own) + (v - start)
        return loss.sum() + np.sum((v - start) ** 2) / 2, gradient

    bounds = [(first or _SMALLEST, first), *[(0, None)] * (n_members - 1)]
    with limit_threads(threads_for(4 * scores.size)):
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    loss, _ = losses(found.x)
    return Fitted(found.x, loss.mean(), loss)


def standard_errors(gains):
    """Return the mean of gains in units of its standard error."""
    error = gains.std() / np.sqrt(len(gains))
    return gains.mean() / error if error > 0 else 0.0


def select_exponents(scores, codes, weight, log_prior, first=None):
    """Return `Fitted`, in which exponents without a sure gain are exactly 0.

    Members after the first are left out, the least useful first, as long as the gain in
    loss that they bring is below one standard error over the samples.
    """
    kept = list(range(scores.shape[2]))
    best = fit_exponents(scores, codes, weight, log_prior, first)
    while len(kept) > 1:
        without = [
            fit_exponents(
                scores[:, :, [k for k in kept if k != m]],
                codes,
                weight,
                log_prior,
                first,
            )
            for m in kept[1:]
        ]
        least = int(np.argmin([fit.loss for fit in without]))
        if standard_errors(without[least].losses - best.losses) > 1:
            break
        best = without[least]
        del kept[least + 1]
    exponents = np.zeros(scores.shape[2])
    exponents[kept] = best.exponents
    return best._replace(exponents=exponents)


def add_offset(scores, codes, weight, log_prior, rarity, exponents, first=None):
    r"""Return the exponents beside an offset for small classes, and the offset.

    Logits get :math:`o \, r_c` with :math:`o \ge 0` and the `rarity` :math:`r_c = -\log
    n_c`, for classifiers underrate classes of few samples. Held-out samples come from
    fits to parts, with fewer samples still, so that their best offset is too large. The
    smallest one is taken whose loss is within one standard error of the least.
    Exponents of members that are left out are 0, and stay 0.
    """
    kept = exponents > 0
    scores = scores[:, :, kept]
    column = np.broadcast_to(rarity, scores.shape[:2])[:, :, None]
    both = np.concatenate([scores, column], axis=2)
    best = fit_exponents(both, codes, weight, log_prior, first)
    for offset in best.exponents[-1] * np.linspace(0, 1, 11):
        shifted = log_prior + offset * rarity
        fitted = fit_exponents(scores, codes, weight, shifted, first)
        if standard_errors(fitted.losses - best.losses) <= 1:
            break
    exponents = np.zeros(len(kept))
    exponents[kept] = fitted.exponents
    return exponents, float(offset)
