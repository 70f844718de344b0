"""Shot-wise accuracy against hand-computed values."""

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from skcvae.metrics import shot_accuracy_score

# Three classes with 150, 20 and 19 training rows: many, medium (the bound), few.
Y_TRAIN = ["a"] * 150 + ["b"] * 20 + ["c"] * 19


def test_groups_by_hand():
    y_true = ["a", "a", "a", "a", "b", "b", "c"]
    y_pred = ["a", "a", "a", "b", "b", "c", "c"]
    scores = shot_accuracy_score(y_true, y_pred, y_train=Y_TRAIN)
    assert scores.many == pytest.approx(3 / 4)
    assert scores.medium == pytest.approx(1 / 2)
    assert scores.few == 1
    assert scores.overall == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)


def test_overall_is_balanced_accuracy():
    rng = np.random.RandomState(0)
    y_true, y_pred = rng.randint(5, size=200), rng.randint(5, size=200)
    scores = shot_accuracy_score(y_true, y_pred, y_train=y_true)
    assert scores.overall == pytest.approx(balanced_accuracy_score(y_true, y_pred))


def test_a_class_without_training_rows_is_few():
    scores = shot_accuracy_score([0, 1], [0, 0], y_train=[0] * 200)
    assert (scores.many, scores.few) == (1, 0)
    assert math.isnan(scores.medium)


def test_bounds_can_be_chosen():
    scores = shot_accuracy_score(
        ["a", "b", "c"], ["a", "b", "a"], y_train=Y_TRAIN, few=5, many=15
    )
    assert scores.many == pytest.approx(2 / 3)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="inconsistent"):
        shot_accuracy_score([0, 1], [0], y_train=[0, 1])
