"""The class prior that a classifier was trained for, by held-out samples."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logit, softmax

from .._warnings import warn_user
from ._priors import move_prior

#: Samples of a class below which a mean over them is no evidence alone.
_FEW = 10

#: Bounds that probabilities without any information would leave.
_MIN_SLOPE, _MAX_SHIFT = 1e-3, 20.0

#: Standard errors from which on a mean is another one.
_STANDARD_ERRORS = 4.0


class HeldOut:
    """Cross-fitted probabilities of samples, with their classes and weights.

    `folds` has for each fold the indices of held-out samples, their probabilities, and
    the prior that its classifier is taken to be trained for. `codes` and `weight` are
    those of all samples.
    """

    def __init__(self, folds, codes, weight):
        tests, self._probas, self._priors = zip(*folds, strict=True)
        held_out = np.concatenate(tests)
        self.codes, self.weight = codes[held_out], weight[held_out]

    def proba(self, prior):
        """Return the probabilities for a prior."""
        pairs = zip(self._probas, self._priors, strict=True)
        return np.concatenate([move_prior(p, own, prior) for p, own in pairs])

    def mismatch(self, prior, odds_factor):
        """Return what `gross_mismatch` finds for a prior."""
        return gross_mismatch(
            self.proba(prior), self.codes, prior, self.weight, odds_factor
        )

    def measure(self, prior):
        """Return the `BiasCorrectedTemperature` of the probabilities for a prior."""
        return BiasCorrectedTemperature(
            self.proba(prior), self.codes, prior, self.weight
        )

    def loses_hits(self, calibrated, claim, prior):
        """Tell whether calibrated predictions for a prior are worse than those claimed.

        Worse by more than two standard errors. The claim is that of all samples: where
        probabilities hardly differ, the small differences of the folds would count.
        """
        before = move_prior(np.concatenate(self._probas), claim, prior)
        hits = [proba.argmax(axis=1) == self.codes for proba in (before, calibrated)]
        change = self.weight * (hits[0].astype(float) - hits[1])
        return change.sum() > 2 * np.sqrt((change**2).sum())


def gross_mismatch(proba, codes, prior, weight, odds_factor):
    """Look for classes whose mean probability is far from a claimed prior.

    Over samples weighted so that classes have the prior :math:`r`, the mean probability
    of class c is :math:`r_c` for a calibrated classifier that was trained for it.
    Sample weights are above 0. Classes with fewer than ten samples count as one.

    Return columns of `proba`, their share in the claim, and their mean probability,
    where the odds of both differ by more than `odds_factor` and by more than four
    standard errors; the worst, or None.
    """
    seen, group = _groups(codes, len(prior))
    # Among classes that occur, probabilities are those for their part of the prior.
    proba, total = proba[:, seen], proba[:, seen].sum(axis=1, keepdims=True)
    if len(seen) < 2 or not (total > 0).all():
        return None
    sample_weight = _weights_for(prior, codes, weight)
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


class BiasCorrectedTemperature:
    r"""Calibration by one temperature, and a shift of the log-odds of each class.

    The slope :math:`a` and the shifts :math:`b` maximize the weighted likelihood of
    :math:`\mathrm{softmax}(a \log p + b)`, which is concave (A. Alexandari, A. Kundaje
    and A. Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is
    Hard-To-Beat at Label Shift Adaptation", ICML 2020, arXiv 1901.06852). At the
    maximum, the mean probability of each class is its share in the prior. A classifier
    for a prior :math:`r` that probabilities were moved from has really the prior
    :math:`r e^{-b / a}`.

    Classes with fewer than ten samples share one shift. Those without samples get it
    too, and 0 where there is none. `floor` is what n samples can tell from the
    probability 0, 1 / (n + 2).
    """

    def __init__(self, proba, codes, prior, weight):
        self.floor = 1 / (len(codes) + 2)
        seen, group = _groups(codes, len(prior))
        names, member = np.unique(group, return_inverse=True)
        log_proba = self._log(proba[:, seen])
        weight = _weights_for(prior, codes, weight)
        hit = np.searchsorted(seen, codes)[:, None] == np.arange(len(seen))

        def objective(params):
            slope, shift = params[0], params[1:][member]
            logits = slope * log_proba + shift
            loss = weight @ (np.logaddexp.reduce(logits, axis=1) - logits[hit])
            error = weight[:, None] * (softmax(logits, axis=1) - hit)
            per_group = np.bincount(member, error.sum(axis=0))
            return loss, np.append((error * log_proba).sum(), per_group)

        start = np.append(1.0, np.zeros(len(names)))
        bounds = [(_MIN_SLOPE, None)] + [(-_MAX_SHIFT, _MAX_SHIFT)] * len(names)
        options = {"ftol": 1e-12, "gtol": 1e-8, "maxiter": 1000}
        found = minimize(objective, start, jac=True, bounds=bounds, options=options).x
        self.slope, shift = found[0], found[1:]
        self.shift = np.full(len(prior), shift[0] if names[0] < 0 else 0.0)
        self.shift[seen] = shift[member]

    def _log(self, proba):
        return np.log(np.maximum(proba, self.floor))

    def __call__(self, proba):
        """Return calibrated probabilities."""
        return softmax(self.slope * self._log(proba) + self.shift, axis=1)

    def correct(self, prior):
        """Return the prior that a classifier has which is taken to have another."""
        return softmax(np.log(prior) - self.shift / self.slope)


def _groups(codes, n_classes):
    """Return the classes that occur, and the group of each: -1 for small ones."""
    count = np.bincount(codes, minlength=n_classes)
    seen = np.flatnonzero(count)
    return seen, np.where(count[seen] < _FEW, -1, seen)


def check_evidence(codes, classes):
    """Refuse classes of which held-out samples tell nothing: not even a group does."""
    seen, group = _groups(codes, len(classes))
    lacking = np.setdiff1d(np.arange(len(classes)), seen)
    if len(lacking) and not (group < 0).any():
        raise ValueError(
            "trained_prior='held_out' cannot measure the prior of the classes "
            f"{classes[lacking].tolist()}, which are too small to hold a sample out. "
            "Let a sampler look for fewer neighbors, pass the trained_prior, or merge "
            "or drop these classes."
        )


def warn_of_mismatch(classes, what, columns, share, mean, taken):
    """Say which prior held-out probabilities do not have, and what is done.

    `taken` is the prior that is used instead, or None.
    """
    then = (
        "Either trained_prior is not what the classifier was trained for, or its "
        "probabilities need a calibration."
    )
    if taken is not None:
        then = (
            f"The trained prior is now {taken[columns].sum():.3g}, as these samples "
            "show it. Pass trained_prior to set it."
        )
    warn_user(
        f"The {what} prior of the classes {classes[columns[:5]].tolist()} is taken to "
        f"be {share:.3g}, but their mean probability over held-out samples of this "
        f"prior is {mean:.3g}. {then}"
    )


def _weights_for(prior, codes, weight):
    """Return sample weights with which classes have a prior; they sum to 1."""
    mass = np.bincount(codes, weight, minlength=len(prior))
    weight = weight * (prior / np.where(mass, mass, 1))[codes]
    return weight / weight.sum()


def _standard_error(values, weight, strata):
    """Return the error of a weighted mean whose classes have fixed weights."""
    _, code = np.unique(strata, return_inverse=True)
    means = np.bincount(code, weight * values) / np.bincount(code, weight)
    return np.sqrt((weight**2 * (values - means[code]) ** 2).sum())
