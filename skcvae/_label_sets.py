"""Targets with several labels for each sample: reading and counting label sets."""

from collections import Counter
from numbers import Integral, Real

import numpy as np
from sklearn.utils.validation import check_consistent_length

from ._several_labels import is_label_sets, shape_of
from ._validation import check_samples_alone

_BINARIZER = (
    "MultiLabelBinarizer of scikit-learn makes such an array of lists of labels."
)


def read_label_sets(Y, name="y", one_label="an estimator of classes"):
    """Return label sets of shape (n_samples, n_labels), bool, and the labels' names.

    Names are those of `label_names`, else numbers from 0. Raise ValueError if `Y` has
    one column, two columns of one name, or other values than 0 and 1; it names
    `one_label` as what takes one class for each sample.
    """
    if Y is None:
        raise ValueError(
            "This requires y to be passed, but the target y is None. It holds the "
            "label sets of the samples."
        )
    if not is_label_sets(Y):
        shape = shape_of(Y)
        got = "lists of different lengths" if shape is None else f"the shape {shape}"
        raise ValueError(
            f"{name} must have a column of 0 and 1 for each of at least two labels, "
            f"as label sets have, got {got}. For one class for each sample, use "
            f"{one_label}. {_BINARIZER}"
        )
    names = label_names(Y, name)
    values = Y.toarray() if hasattr(Y, "toarray") else np.asarray(Y)
    if values.dtype == object:
        # Neither strings nor missing values: float would take "1" for a number.
        held = values.ravel().tolist()
        values = values.astype(float) if all(map(_is_number, held)) else values
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"{name} must hold 0 and 1 alone: 1 where a sample has the label. "
            f"{_BINARIZER}"
        )
    return values.astype(bool), np.arange(values.shape[1]) if names is None else names


def _is_number(value):
    return isinstance(value, Real | np.bool_)


def label_names(Y, name="y"):
    """Return the names that the columns of a frame give to labels, or None.

    Names are all strings or all integers, and not just 0, 1, 2 and so on.
    """
    columns = list(getattr(Y, "columns", ()))
    is_text = all(isinstance(column, str) for column in columns)
    numbered = columns == list(range(len(columns)))
    if numbered or not (is_text or all(isinstance(c, Integral) for c in columns)):
        return None
    repeated = [column for column, n in Counter(columns).items() if n > 1]
    if repeated:
        raise ValueError(
            f"Several columns of {name} have the names {repeated[:5]}. Rename them, "
            "because labels are known by their names."
        )
    return np.array(columns, dtype=object if is_text else None)


def check_label_names(Y, labels):
    """Refuse a frame whose columns are not the known labels, in their order."""
    names = label_names(Y)
    if names is not None and names.tolist() != np.asarray(labels).tolist():
        raise ValueError(
            "The columns of y are not the labels of fit, in their order: "
            f"{np.asarray(labels).tolist()[:5]}. Put them into this order, or pass "
            "y.to_numpy() if only the names differ."
        )


def check_same_labels(**given):
    """Refuse arrays of different numbers of labels, and frames of different ones."""
    widths = {name: shape_of(Y)[1] for name, Y in given.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"All arrays must have the same labels, got {widths} of them.")
    names = {name: label_names(Y, name) for name, Y in given.items()}
    named = {name: found.tolist() for name, found in names.items() if found is not None}
    if any(found != next(iter(named.values())) for found in named.values()):
        raise ValueError(
            f"The columns of {' and '.join(named)} must be the same labels, in one "
            "order."
        )


def check_label_sets(estimator, X, Y, **params):
    """Validate samples and label sets for a fit; return samples, sets and names."""
    sets, names = read_label_sets(Y, **params)
    X = check_samples_alone(estimator, X, reset=True)
    check_consistent_length(X, sets)
    return X, sets, names


def check_new_label_sets(Y, labels):
    """Return label sets of labels that are known, as an array of bool."""
    sets, _ = read_label_sets(Y)
    if sets.shape[1] != len(labels):
        raise ValueError(
            f"y has {sets.shape[1]} labels, and {len(labels)} were known in fit."
        )
    check_label_names(Y, labels)
    return sets


def unique_label_sets(sets):
    """Return the distinct sets, and the code of each sample's set.

    Sets of one label each come in the order of the labels.
    """
    distinct, codes = np.unique(~sets, axis=0, return_inverse=True)
    return ~distinct, codes.ravel()


def have_one_label(sets):
    """Tell whether every set has exactly one label: these are classes."""
    return bool((sets.sum(axis=1) == 1).all())


def find_label_sets(sets, known):
    """Return the positions of sets among known ones, and -1 for others."""
    position = {row.tobytes(): i for i, row in enumerate(np.packbits(known, axis=1))}
    packed = np.packbits(sets, axis=1)
    return np.array([position.get(row.tobytes(), -1) for row in packed], dtype=int)


def encode_label_sets(Y, labels, known):
    """Return the positions of label sets among known ones; refuse other sets."""
    sets = check_new_label_sets(Y, labels)
    codes = find_label_sets(sets, known)
    if (codes < 0).any():
        n_unknown = len(unique_label_sets(sets[codes < 0])[0])
        raise ValueError(
            f"{n_unknown} label sets of y cannot be drawn: take those of label_sets_. "
            "Rare combinations of labels and those that no sample has are refused "
            "alike, because the difference would tell whether a sample has one."
        )
    return codes
