"""The class prior that a classifier was trained for, by held-out samples."""

import numpy as np
from scipy.special import logit

#: Samples of a class below which a mean over them is no evidence alone.
_FEW = 10

#: Standard errors from which on a mean is another one.
_STANDARD_ERRORS = 4.0


def gross_mismatch(proba, codes, prior, weight, odds_factor):
    r"""Look for classes whose mean probability is far from a claimed prior.

    Over samples weighted so that classes have the prior :math:`r`, the mean probability
    of class c is :math:`r_c` for a calibrated classifier that was trained for it.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities of held-out samples.

    codes : ndarray of shape (n_samples,)
        Their classes, as columns of `proba`.

    prior : ndarray of shape (n_classes,)
        The claim.

    weight : ndarray of shape (n_samples,)
        Sample weights, above 0.

    odds_factor : float
        Factor of the odds, above 1, from which on a mismatch is gross.

    Returns
    -------
    worst : tuple (columns, claimed, mean) or None
        Classes, their share in the claim, and their mean probability, where the odds of
        both differ by more than `odds_factor` and by more than four standard errors.
        Classes with fewer than ten samples count as one.
    """
    count = np.bincount(codes, minlength=len(prior))
    seen = np.flatnonzero(count)
    # Among classes that occur, probabilities are those for their part of the prior.
    proba, total = proba[:, seen], proba[:, seen].sum(axis=1, keepdims=True)
    if len(seen) < 2 or not (total > 0).all():
        return None
    mass = np.bincount(codes, weight, minlength=len(prior))
    sample_weight = weight * (prior / np.where(mass, mass, 1))[codes]
    sample_weight = sample_weight / sample_weight.sum()
    group = np.where(count[seen] < _FEW, -1, seen)
    strata = group[np.searchsorted(seen, codes)]
    shares = {label: sample_weight[strata == label].sum() for label in set(group)}
    worst, worst_gap = None, np.log(odds_factor)
    # The smallest first: of two classes, whose gaps are equal, it is named.
    for label in sorted(shares, key=shares.get) if len(shares) > 1 else []:
        values = (proba[:, group == label] / total).sum(axis=1)
        claimed, mean = shares[label], sample_weight @ values
        error = _standard_error(values, sample_weight, strata)
        gap = abs(logit(mean) - logit(claimed))
        if gap > worst_gap + 1e-9 and abs(mean - claimed) > _STANDARD_ERRORS * error:
            worst, worst_gap = (seen[group == label], claimed, mean), gap
    return worst


def _standard_error(values, weight, strata):
    """Return the error of a weighted mean whose classes have fixed weights."""
    _, code = np.unique(strata, return_inverse=True)
    means = np.bincount(code, weight * values) / np.bincount(code, weight)
    return np.sqrt((weight**2 * (values - means[code]) ** 2).sum())
