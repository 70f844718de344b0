"""The gap between training and test scores of a fitted classifier."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier

from skcvae.metrics._generalization import generalization_gap

X_TRAIN, Y_TRAIN = [[0.0], [1.0], [10.0]], ["a", "a", "b"]
# Nearest neighbours say a, a, b, b.
X_TEST, Y_TEST = [[0.1], [0.9], [9.0], [11.0]], ["a", "b", "b", "a"]


def test_gap_computed_by_hand():
    neighbor = KNeighborsClassifier(1).fit(X_TRAIN, Y_TRAIN)
    result = generalization_gap(neighbor, X_TRAIN, Y_TRAIN, X_TEST, Y_TEST)
    assert result == {"train_score": 1.0, "test_score": 0.5, "gap": 0.5}


def test_other_scores_are_those_of_scikit_learn():
    neighbor = KNeighborsClassifier(1).fit(X_TRAIN, Y_TRAIN)
    result = generalization_gap(
        neighbor, X_TRAIN, Y_TRAIN, X_TEST[:3], Y_TEST[:3], scoring="balanced_accuracy"
    )
    # Recall 1 of "a" and 1/2 of "b".
    assert result.gap == pytest.approx(0.25)


def test_the_classifier_is_not_fitted_again():
    neighbor = KNeighborsClassifier(1).fit(X_TRAIN, Y_TRAIN)
    rows = neighbor._fit_X.copy()
    generalization_gap(neighbor, X_TEST, Y_TEST, X_TRAIN, Y_TRAIN)
    np.testing.assert_array_equal(neighbor._fit_X, rows)
    with pytest.raises(NotFittedError):
        generalization_gap(KNeighborsClassifier(1), X_TRAIN, Y_TRAIN, X_TEST, Y_TEST)
