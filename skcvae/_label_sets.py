"""Targets with several labels for each sample: reading and counting label sets."""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_consistent_length

from ._several_labels import is_label_sets
from ._validation import check_samples_alone


def read_label_sets(Y, name="y", one_label="an estimator of classes"):
    """Return label sets of shape (n_samples, n_labels), bool, and the labels' names.

    Names are the columns of a pandas frame if all are strings, else numbers from 0.
    Raise ValueError if `Y` has one column or other values than 0 and 1; it names
    `one_label` as what takes one class for each sample.
    """
    if Y is None:
        raise ValueError(
            "This requires y to be passed, but the target y is None. It holds the "
            "label sets of the samples."
        )
    if not is_label_sets(Y):
        raise ValueError(
            f"{name} must have a column of 0 and 1 for each of at least two labels, "
            f"as label sets have, got an array of shape {np.shape(Y)}. For one class "
            f"for each sample, use {one_label}."
        )
    columns = getattr(Y, "columns", None)
    if sparse.issparse(Y):
        Y = Y.toarray()
    values = np.asarray(Y)
    if values.dtype.kind not in "biu":
        try:
            values = values.astype(float)
        except (TypeError, ValueError):
            values = np.full(values.shape, np.nan)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"{name} must hold 0 and 1 alone: 1 where a sample has the label. "
            "MultiLabelBinarizer of scikit-learn makes such an array of lists of "
            "labels."
        )
    names = np.arange(values.shape[1])
    if columns is not None and all(isinstance(name, str) for name in columns):
        names = np.array(columns, dtype=object)
    return values.astype(bool), names


def check_label_sets(estimator, X, Y, **params):
    """Validate samples and label sets for a fit; return samples, sets and names."""
    sets, names = read_label_sets(Y, **params)
    X = check_samples_alone(estimator, X, reset=True)
    check_consistent_length(X, sets)
    return X, sets, names


def check_new_label_sets(Y, labels):
    """Return label sets of labels that are known, as an array of bool."""
    sets, names = read_label_sets(Y)
    if sets.shape[1] != len(labels):
        raise ValueError(
            f"y has {sets.shape[1]} labels, and {len(labels)} were known in fit."
        )
    if names.dtype == object and list(names) != list(labels):
        raise ValueError(
            "The columns of y are not the labels of fit, in their order: "
            f"{list(labels)[:5]}."
        )
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
