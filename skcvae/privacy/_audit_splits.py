"""Attacks repeated over random splits, with a training for each."""

import numpy as np
from scipy import stats
from sklearn.base import clone

from .._record_sets import is_among
from .._statistics import Estimate
from .._training import draw_seeds
from ._audit_parts import Part, Parts, SyntheticRows, synthesize

_MIN_REPEATS = 5


def check_splits(retrain, n_repeats):
    """Refuse repeats that say nothing, or cannot be made."""
    if retrain is not None and not (
        hasattr(retrain, "sample") or hasattr(retrain, "fit_transform")
    ):
        raise ValueError("retrain must have the method sample or fit_transform.")
    if 1 < n_repeats < _MIN_REPEATS:
        raise ValueError(
            f"n_repeats={n_repeats} trainings are too few for an interval: use 1, or "
            f"{_MIN_REPEATS} or more."
        )
    if n_repeats > 1 and retrain is None:
        raise ValueError(
            f"n_repeats={n_repeats} needs retrain, the unfitted estimator that made "
            "the release."
        )


def audit_splits(retrain, n_repeats, parts, attack, seed):
    """Return the mean AUC of each attack over splits with retraining."""
    if n_repeats == 1:
        return None
    areas = []
    for split_seed in draw_seeds(np.random.RandomState(seed), n_repeats):
        split = _split(parts, split_seed)
        estimator, rows = fit_clone(retrain, split.members, split_seed)
        areas.append(attack(estimator, rows.X, split, split_seed))
    return {
        "n_repeats": n_repeats,
        "auc": {name: _mean([area[name] for area in areas]) for name in areas[0]},
    }


def fit_clone(retrain, part, seed):
    """Return a new estimator trained on the part, and its synthetic rows."""
    estimator = clone(retrain)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    if hasattr(estimator, "sample"):
        estimator.fit(part.X, part.y)
        return estimator, synthesize(estimator, part.y, seed, part.X.shape[1])
    return estimator, SyntheticRows(estimator.fit_transform(part.X, part.y), part.y)


def _split(parts, seed):
    """Return other members, about as many, and non-members; groups stay whole."""
    first, second = parts.members, parts.nonmembers
    X = np.concatenate([first.X, second.X])
    y = np.concatenate([first.y, second.y])
    codes = np.arange(len(X))
    if first.groups is not None and second.groups is not None:
        groups = np.concatenate([first.groups, second.groups])
        codes = np.unique(groups, return_inverse=True)[1]
    position = np.random.RandomState(seed).permutation(codes.max() + 1)[codes]
    order = np.argsort(position, kind="stable")
    # Up to the end of the group that the last member is of.
    last = position[order[len(first.X) - 1]]
    chosen = position <= last
    # A duplicate of a member cannot be a non-member.
    rest = np.flatnonzero(~chosen)
    rest = rest[~is_among(X[rest], X[chosen])]
    return Parts(
        members=Part(X[chosen], y[chosen], None),
        nonmembers=Part(X[rest], y[rest], None),
        reference=parts.reference,
    )


def _mean(areas):
    """Return the mean with Student's interval, within [0, 1]."""
    mean, error = np.mean(areas), stats.sem(areas)
    half = stats.t.ppf(0.975, len(areas) - 1) * error
    low, high = np.clip([mean - half, mean + half], 0, 1)
    return Estimate(float(mean), float(low), float(high))
