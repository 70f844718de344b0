"""Targets with several labels for each sample: telling them, and refusing them."""

import numpy as np

#: Which classes take label sets, for messages.
TAKE_LABEL_SETS = (
    "ClassGaussian and CVAE generate samples of label sets, MultilabelOverSampler "
    "over-samples them, MultilabelLongTailClassifier learns them, and "
    "GenerativeAnonymizer and CVAEAnonymizer release them."
)
SEVERAL_LABELS = (
    f"y has several labels for each sample, and one class is needed. {TAKE_LABEL_SETS}"
)


def shape_of(y):
    """Return the shape of targets; None for lists of different lengths."""
    if hasattr(y, "shape"):
        return y.shape
    try:
        return np.asarray(y).shape
    except ValueError:
        return None


def is_label_sets(y):
    """Tell whether targets have two columns or more."""
    shape = shape_of(y)
    return shape is not None and len(shape) == 2 and shape[1] > 1


def refuse_label_sets(y):
    """Refuse several labels for each sample, and name what takes them."""
    if is_label_sets(y):
        raise ValueError(SEVERAL_LABELS)


def check_one_hot(y):
    """Refuse several columns of labels that are not one-hot labels of classes.

    imbalanced-learn reads one-hot labels as classes, and no label as the first class.
    """
    if is_label_sets(y):
        values = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
        if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
            refuse_label_sets(values)
