"""The rows that an audit compares: real ones, checked, and synthetic ones, drawn."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from sklearn.utils import column_or_1d

from .._generation import draw
from .._record_sets import check_disjoint, check_labels, check_record_sets

_NEEDED_FOR = {
    "members": "They are what the release was made from.",
    "nonmembers": "Without a hold-out of the same distribution, what is known of "
    "everybody cannot be told from what leaks of members: split it off before the "
    "release is made.",
    "reference": "They are what the attacker has, and calibrate the attacks: split "
    "them off before the release is made.",
}


class Part(NamedTuple):
    """Rows, their labels, and their groups or None."""

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None


class Parts(NamedTuple):
    """The real rows of an audit."""

    members: Part
    nonmembers: Part
    reference: Part


class SyntheticRows(NamedTuple):
    """Released rows and their labels."""

    X: np.ndarray
    y: np.ndarray


def check_parts(members, nonmembers, reference, min_rows):
    """Return the parts, checked; refuse what would make a report misleading."""
    given = dict(zip(Parts._fields, (members, nonmembers, reference), strict=True))
    for name, (X, y, _) in given.items():
        if X is None or y is None or len(X) < min_rows:
            n_rows = 0 if X is None else len(X)
            raise ValueError(
                f"An audit needs at least {min_rows} rows in X_{name} and y_{name}, "
                f"got {n_rows}. {_NEEDED_FOR[name]}"
            )
    rows = check_record_sets(**{f"X_{name}": part[0] for name, part in given.items()})
    check_disjoint(**rows)
    _check_groups({name: part[2] for name, part in given.items()}, rows)
    return Parts(
        *(
            Part(X, check_labels(y, X, f"y_{name}"), _as_vector(groups))
            for X, (name, (_, y, groups)) in zip(
                rows.values(), given.items(), strict=True
            )
        )
    )


def _check_groups(groups, rows):
    """Refuse groups that two parts share."""
    groups = {name: _as_vector(g) for name, g in groups.items() if g is not None}
    for name, vector in groups.items():
        if len(vector) != len(rows[f"X_{name}"]):
            raise ValueError(f"groups_{name} must have one value for each row.")
    for (name, first), (other, second) in combinations(groups.items(), 2):
        shared = np.intersect1d(first, second)
        if len(shared):
            raise ValueError(
                f"{len(shared)} groups have rows in X_{name} and in X_{other}. Their "
                "rows resemble each other, whatever leaks: split by group."
            )


def _as_vector(groups):
    """Return groups as an array; None stays None."""
    return None if groups is None else column_or_1d(groups)


def synthesize(synthetic, y, seed, n_features):
    """Return the released rows: those given, or drawn for the labels of members."""
    if isinstance(synthetic, tuple | list):
        if len(synthetic) != 2:
            raise ValueError(
                "synthetic must be a tuple (X, y) of rows and their labels, got "
                f"{len(synthetic)} entries."
            )
        X, y = synthetic
    else:
        X, y = _sample(synthetic, y, seed)
    X = check_record_sets(synthetic=X)["synthetic"]
    if X.shape[1] != n_features:
        raise ValueError(
            f"Synthetic rows have {X.shape[1]} features, real ones {n_features}."
        )
    return SyntheticRows(X, check_labels(y, X, "the labels of synthetic"))


def _sample(release, y, seed):
    """Return rows for those labels that a release knows."""
    if hasattr(release, "classes_"):
        known = np.isin(y, release.classes_)
        if not known.any():
            raise ValueError(
                "synthetic knows none of the labels in y_members: its classes are "
                f"{list(release.classes_[:5])}, and so on."
            )
        y = y[known]
    return draw(release, y, random_state=seed)
