"""Accuracy by the number of training rows of a class."""

from numbers import Real

import numpy as np
from sklearn.utils import Bunch, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_consistent_length


@validate_params(
    {
        "y_true": ["array-like"],
        "y_pred": ["array-like"],
        "y_train": ["array-like"],
        "few": [Interval(Real, 0, None, closed="left")],
        "many": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def shot_accuracy_score(y_true, y_pred, *, y_train, few=20, many=100):
    """Accuracy over the classes with many, a medium number of, and few training rows.

    The recall of each class, averaged over the classes of a group, so that each class
    counts once. On a balanced test set, this is the accuracy of the group's rows.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes of the test rows.

    y_pred : array-like of shape (n_samples,)
        Predicted classes.

    y_train : array-like of shape (n_train,)
        Classes of the training rows, before any resampling.

    few : float, default=20
        A class of fewer training rows belongs to "few".

    many : float, default=100
        A class of more training rows belongs to "many".

    Returns
    -------
    scores : Bunch
        `overall`, `many`, `medium` and `few`, each in [0, 1]; higher is better. NaN
        for a group without classes.

    Examples
    --------
    >>> from skcvae.metrics import shot_accuracy_score
    >>> scores = shot_accuracy_score(
    ...     [0, 0, 1, 1], [0, 0, 1, 0], y_train=[0] * 150 + [1] * 5)
    >>> scores.overall, scores.many, scores.few
    (0.75, 1.0, 0.5)
    """
    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    check_consistent_length(y_true, y_pred)
    correct = y_true == y_pred
    classes, codes = np.unique(y_true, return_inverse=True)
    recall = np.bincount(codes, weights=correct) / np.bincount(codes)
    train_classes, train_counts = np.unique(column_or_1d(y_train), return_counts=True)
    size_of = dict(zip(train_classes.tolist(), train_counts.tolist(), strict=True))
    sizes = np.array([size_of.get(label, 0) for label in classes.tolist()])
    groups = {
        "overall": np.ones(len(classes), dtype=bool),
        "many": sizes > many,
        "medium": (sizes >= few) & (sizes <= many),
        "few": sizes < few,
    }
    return Bunch(
        **{
            name: float(recall[members].mean()) if members.any() else np.nan
            for name, members in groups.items()
        }
    )
