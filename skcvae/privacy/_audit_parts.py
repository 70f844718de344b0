"""The samples of an audit: real ones, checked and split, and synthetic ones, drawn."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils import column_or_1d

from .._generation import draw
from .._record_sets import (
    check_disjoint,
    check_one_label_per_sample,
    check_record_sets,
    first_of_equals,
    is_among,
)

_NEEDED_FOR = {
    "members": "They are what the release was made from.",
    "nonmembers": "Without a hold-out of the same distribution, an audit cannot tell "
    "what leaks of members from what is known of everybody: split it off before the "
    "release is made.",
    "reference": "They are what the attacker has, and calibrate the attacks: split "
    "them off before the release is made.",
}


class Part(NamedTuple):
    """Samples, their labels, and their groups or None."""

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None


class Parts(NamedTuple):
    """The real samples of an audit."""

    members: Part
    nonmembers: Part
    reference: Part


class SyntheticSamples(NamedTuple):
    """Released samples and their labels."""

    X: np.ndarray
    y: np.ndarray


def check_parts(members, nonmembers, reference, min_samples):
    """Return the parts, checked; refuse those that would make a report misleading."""
    given = dict(zip(Parts._fields, (members, nonmembers, reference), strict=True))
    for name, (X, y, _) in given.items():
        n_samples = 0 if X is None or y is None else len(X)
        if n_samples < min_samples:
            raise ValueError(
                f"An audit needs at least {min_samples} samples in X_{name} and "
                f"y_{name}, got {n_samples}. {_NEEDED_FOR[name]}"
            )
    sets = check_record_sets(**{f"X_{name}": part[0] for name, part in given.items()})
    check_disjoint(**sets)
    for name, X in sets.items():
        n_distinct = len(first_of_equals(X))
        if n_distinct < min_samples:
            raise ValueError(
                f"An audit needs at least {min_samples} distinct samples in {name}, "
                f"got {n_distinct}."
            )
    parts = {}
    for name, (_, y, groups) in given.items():
        X = sets[f"X_{name}"]
        y = check_one_label_per_sample(y, X, f"y_{name}")
        parts[name] = Part(X, y, None if groups is None else column_or_1d(groups))
    _check_groups({n: p for n, p in parts.items() if p.groups is not None})
    return Parts(**parts)


def _check_groups(parts):
    for name, part in parts.items():
        if len(part.groups) != len(part.X):
            raise ValueError(f"groups_{name} must have one value for each sample.")
    for (name, first), (other, second) in combinations(parts.items(), 2):
        shared = np.intersect1d(first.groups, second.groups)
        if len(shared):
            raise ValueError(
                f"{len(shared)} groups have samples in X_{name} and in X_{other}. "
                "Such samples resemble each other without any leak: split by group."
            )


def synthesize(synthetic, y, seed, n_features):
    """Return the released samples: those given, or drawn for the labels of members."""
    if isinstance(synthetic, tuple | list):
        if len(synthetic) != 2:
            raise ValueError(
                "synthetic must be a tuple (X, y) of samples and their labels, got "
                f"{len(synthetic)} entries."
            )
        X, y = synthetic
    else:
        X, y = _sample(synthetic, y, seed)
    X = check_record_sets(synthetic=X)["synthetic"]
    if X.shape[1] != n_features:
        raise ValueError(
            f"Synthetic samples have {X.shape[1]} features, real ones {n_features}."
        )
    return SyntheticSamples(
        X, check_one_label_per_sample(y, X, "the labels of synthetic")
    )


def _sample(release, y, seed):
    """Return samples for those labels that a release knows."""
    if hasattr(release, "classes_"):
        known = np.isin(y, release.classes_)
        if not known.any():
            raise ValueError(
                "synthetic knows none of the labels in y_members: its classes are "
                f"{list(release.classes_[:5])}, and so on."
            )
        y = y[known]
    return draw(release, y, random_state=seed)


def has_decoder(release):
    """Tell whether a release has a decoder that can be attacked."""
    return callable(getattr(release, "make_decoder", None))


def train_clone(estimator, X, y, seed):
    """Return a fitted clone, or a tuple of what it makes of the samples.

    All its seeds are set, those of its parts, too.
    """
    estimator = clone(estimator)
    names = [
        name
        for name in estimator.get_params()
        if name == "random_state" or name.endswith("__random_state")
    ]
    estimator.set_params(**dict.fromkeys(names, seed))
    if hasattr(estimator, "sample"):
        return estimator.fit(X, y)
    return estimator.fit_transform(X, y), y


def split_anew(parts, seed):
    """Split members and non-members again, at random; groups stay whole."""
    first, second = parts.members, parts.nonmembers
    X = np.concatenate([first.X, second.X])
    y = np.concatenate([first.y, second.y])
    codes = np.arange(len(X))
    if first.groups is not None and second.groups is not None:
        groups = np.concatenate([first.groups, second.groups])
        codes = np.unique(groups, return_inverse=True)[1]
    position = np.random.RandomState(seed).permutation(codes.max() + 1)[codes]
    order = np.argsort(position, kind="stable")
    # All samples in the group of the last member are members.
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
