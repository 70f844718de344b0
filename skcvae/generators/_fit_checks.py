"""Whether what a fitted generator draws looks like its training rows."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

from .._class_means import raw_class_means
from .._scaling import scale_rows
from .._warnings import warn_user
from ..metrics import nearest_neighbors

# Rows that are drawn, and training rows whose neighbours are looked for.
_N_ROWS = 256
# Fewer training rows say little of their own distances.
_MIN_ROWS = 20
# How far off the variance within classes may be. In sound fits to digits, mvtec,
# CIFAR-100 and tabular sets, mean or median was 0.5 to 1.1 of that of training rows.
_VARIANCE_FACTOR = 4
# How much nearer generated rows may be to training rows than these to one another. In
# the same fits, they were at 0.9 to 4.5 times the distance.
_DISTANCE_FACTOR = 2
_BATCH_ROWS = 4096


def warn_about_generation(generator, Z, codes, seed):
    """Warn where rows of variance 1 are spread unlike training rows, or near copies.

    Both are seen on rows of the classes that have two training rows or more.
    """
    n_rows = np.bincount(codes)
    eligible = np.flatnonzero(n_rows[codes] > 1)
    if len(eligible) < _MIN_ROWS:
        return
    means = raw_class_means(Z, codes, len(n_rows))
    chosen = np.random.RandomState(seed).choice(eligible, _N_ROWS)
    drawn = generator._draw_in_chunks(codes[chosen], 1.0, seed)
    with np.errstate(over="ignore", invalid="ignore"):
        drawn = scale_rows(drawn, generator.offset_, generator.scale_)
    found = _judge_spread(
        _squared_distances(drawn, codes[chosen], means),
        # Each row from the mean of the others.
        _squared_distances(Z[eligible], codes[eligible], means)
        * (n_rows / np.maximum(n_rows - 1, 1))[codes[eligible]] ** 2,
    ) or _judge_nearness(drawn, Z, chosen)
    if found:
        warn_user(found, ConvergenceWarning)


def _judge_spread(drawn, real):
    """Return what is wrong with squared distances from the means of the classes."""
    if not real.any():
        return ""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mean, median = (of(drawn) / of(real) for of in (np.mean, np.median))
    if not mean <= _VARIANCE_FACTOR:
        return (
            "Generated rows are scattered: their variance within classes is "
            f"{mean:.3g} times that of the training rows. Scale features whose units "
            "differ, lower lr, or take ClassGaussian."
        )
    # A few outliers can have most of the variance: they alone are no reason.
    if max(mean, median) < 1 / _VARIANCE_FACTOR:
        return (
            "Generated rows are too alike: their variance within classes is "
            f"{mean:.3g} times that of the training rows. Train longer, and do not "
            "leave out the observation noise."
        )
    return ""


def _judge_nearness(drawn, Z, chosen):
    """Return what is wrong with the distances to the nearest training row."""
    others = np.median(nearest_neighbors(Z[np.unique(chosen)], Z, 2)[0][:, 1])
    nearest = np.median(nearest_neighbors(drawn.astype(Z.dtype), Z)[0])
    if nearest * _DISTANCE_FACTOR >= others:
        return ""
    return (
        "Generated rows are near copies of training rows: the median distance to the "
        f"nearest one is {nearest / others:.3g} times that from a training row to the "
        "next. The model knows rows by heart: make it smaller, or train for fewer "
        "epochs."
    )


def _squared_distances(rows, codes, means):
    """Return squared distances from the mean of the class, in bounded memory."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate(
            [
                np.square(rows[batch] - means[codes[batch]]).sum(axis=1)
                for batch in gen_batches(len(rows), _BATCH_ROWS)
            ]
        )
