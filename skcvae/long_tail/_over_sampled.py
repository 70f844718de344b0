"""A warning where samples were held out from what was generated from them."""

import numpy as np

from .._warnings import warn_user

# Chance rarely leaves so many, and as many of each class, at the end in runs.
_LEAST_SHARE = 0.1
_LEAST_NUMBER = 10
_LEAST_OF_CLASS = 4
_FEW = 0.05


def warn_if_over_sampled(codes):
    """Warn where the last samples seem to come from an over-sampler.

    `codes` are those of classes, or of label sets.
    """
    n_added = count_added(codes)
    if n_added:
        warn_user(
            f"About the last {n_added} samples are sorted by class, as an over-sampler "
            "adds them. Held-out samples choose settings here, and samples that were "
            "generated from them give them away, so that predictions get worse. Leave "
            "out an over-sampler before LongTailClassifier, which corrects for class "
            "sizes itself, and put it into a pipeline inside of a LogLinearPool or a "
            "PriorCorrectedClassifier."
        )


def count_added(codes):
    """Return how many samples at the end an over-sampler seems to have added, or 0.

    They are in one run for each class, not of the largest one. Before them are samples
    of each of these classes.
    """
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    runs = codes[starts][::-1]
    # Runs at the end, of different classes.
    is_new = np.zeros(len(runs), dtype=bool)
    is_new[np.unique(runs, return_index=True)[1]] = True
    n_runs = len(runs) if is_new.all() else int(is_new.argmin())
    first = starts[len(starts) - n_runs]
    before = np.bincount(codes[:first], minlength=codes.max() + 1)
    added = np.bincount(codes[first:], minlength=len(before))
    largest = before.argmax()
    # A few of the samples before are in runs of their own, too.
    is_added = added > _FEW * before
    if is_added[largest] or not before[is_added].all():
        return 0
    n_added = int(added[is_added].sum())
    least = max(_LEAST_NUMBER, _LEAST_OF_CLASS * np.count_nonzero(is_added))
    return n_added if n_added >= max(least, _LEAST_SHARE * len(codes)) else 0
