"""Checks of the rows that a classifier is trained on."""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..generators._base import check_labels, check_numbers
from ..generators._scaling import check_finite_in_float32


def check_training_rows(estimator, X, y, sample_weight):
    """Return the rows of positive weight, their labels and weights.

    Raises
    ------
    ValueError
        If they are empty, not finite, too large for float32, or of one class only.
    """
    check_numbers(X)
    check_labels(y)
    X, y = validate_data(estimator, X, y, dtype=[np.float64, np.float32], order="C")
    check_classification_targets(y)
    check_finite_in_float32(X, getattr(estimator, "feature_names_in_", None))
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    counted = weight > 0
    X, y, weight = X[counted], y[counted], weight[counted]
    n_classes = len(np.unique(y))
    if n_classes < 2:
        raise ValueError(
            f"A classifier needs at least two classes, and y has {n_classes} class."
        )
    return X, y, weight
