"""Rivals and classifier of the benchmark of label sets, against their definitions."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

EXAMPLES = Path(__file__).parents[1] / "examples" / "benchmarks"


@pytest.fixture(scope="module")
def rivals():
    """Return the module of the rivals."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import _multilabel
    finally:
        sys.path.remove(str(EXAMPLES))
    return _multilabel


@pytest.fixture
def bags():
    """Return samples on a line: label 0 has 20, label 1 has 16, label 2 has 3."""
    X = np.arange(23.0)[:, None]
    Y = np.zeros((23, 3), int)
    Y[:20, 0] = 1
    Y[4:20, 1] = 1
    Y[[0, 10, 22], 2] = 1
    return X, Y


def test_imbalance_ratios_by_hand(rivals, bags):
    ratios, mean = rivals.imbalance_ratios(bags[1])
    assert_allclose(ratios, [1, 20 / 16, 20 / 3])
    assert mean == pytest.approx((1 + 20 / 16 + 20 / 3) / 3)
    assert_array_equal(rivals.minority_labels(bags[1]), [2])


def test_ml_ros_clones_the_minority_bag_until_the_mean_or_the_percentage(rivals, bags):
    X, Y = bags
    new_X, new_Y = rivals.ml_ros(X, Y, np.random.RandomState(0), percentage=1000)
    assert_array_equal(new_X[:23], X)
    assert set(new_X[23:, 0]) <= {0.0, 10.0, 22.0}
    assert_array_equal(new_Y[23:], Y[new_X[23:, 0].astype(int)])
    counts, (_, mean) = new_Y.sum(axis=0), rivals.imbalance_ratios(Y)
    # The last clone takes the label to the mean; the one before had not.
    before = counts - new_Y[-1]
    assert counts.max() / counts[2] <= mean < before.max() / before[2]
    few, _ = rivals.ml_ros(X, Y, np.random.RandomState(0), percentage=10)
    assert len(few) == 23 + 2


def test_mlsmote_interpolates_in_the_bag_and_ranks_labels(rivals, bags):
    X, Y = bags
    new_X, new_Y = rivals.mlsmote(X, Y, np.random.RandomState(0), k=1)
    assert len(new_X) == 23 + 3
    new_X, new_Y = new_X[23:, 0], new_Y[23:]
    # The nearest sample of the bag {0, 10, 22}: 10 for 0, 0 for 10, and 10 for 22.
    assert (new_X >= [0, 0, 10]).all()
    assert (new_X <= [10, 10, 22]).all()
    # Of the sets {0, 2}, {0, 1, 2} and {2}, half of a pair is one.
    assert_array_equal(new_Y, [[1, 1, 1], [1, 1, 1], [1, 1, 1]])
    _, of_all = rivals.mlsmote(X, Y, np.random.RandomState(0), k=2)
    # Of all three, two have label 0, and one has label 1.
    assert_array_equal(of_all[23:], [[1, 0, 1]] * 3)


def test_mlsmote_leaves_out_bags_of_one_sample(rivals, bags):
    X, Y = bags
    Y[[10, 22], 2] = 0
    assert len(rivals.mlsmote(X, Y, np.random.RandomState(0))[0]) == 23


@pytest.mark.parametrize("balanced", [False, True])
def test_heads_are_those_of_scikit_learn(rivals, balanced):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 5))
    Y = (X @ rng.normal(size=(5, 3)) + rng.normal(size=(200, 3)) > 1).astype(int)
    weights, bias = rivals.fit_logistic(X, Y, C=0.5, balanced=balanced)
    for label in range(3):
        model = LogisticRegression(
            C=0.5, class_weight="balanced" if balanced else None, tol=1e-8
        ).fit(X, Y[:, label])
        assert_allclose(weights[:, label], model.coef_[0], atol=2e-3)
        assert_allclose(bias[label], model.intercept_[0], atol=2e-3)
