"""Splits with each class in both parts, and the log loss in which each counts once."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score

from skcvae.long_tail import LongTailShuffleSplit
from skcvae.metrics import balanced_log_loss, neg_balanced_log_loss_scorer

y = np.repeat(["a", "b", "c", "d", "e"], [200, 13, 4, 2, 1])
X = np.random.RandomState(0).normal(size=(len(y), 2))


def test_each_class_is_in_both_parts_but_for_one_of_one_sample():
    for train, test in LongTailShuffleSplit(20, random_state=0).split(X, y):
        assert_array_equal(np.sort(np.append(train, test)), np.arange(len(y)))
        assert set(y[train]) == {"a", "b", "c", "d", "e"}
        assert set(y[test]) == {"a", "b", "c", "d"}


def test_share_is_right_on_average_and_min_train_is_kept():
    splits = list(LongTailShuffleSplit(400, random_state=0).split(X, y))
    counts = np.array([[np.sum(y[test] == c) for c in "abc"] for _, test in splits])
    assert set(counts[:, 0]) == {40}
    assert set(counts[:, 1]) == {2, 3}
    assert_allclose(counts[:, 1].mean(), 2.6, atol=0.1)
    assert set(counts[:, 2]) == {1}
    for train, _ in LongTailShuffleSplit(5, min_train=4).split(X, y):
        kept = [np.sum(y[train] == c) for c in "bcde"]
        assert kept[0] >= 4
        assert kept[1:] == [4, 2, 1]


def test_a_seed_reproduces_and_splits_differ():
    def tests(seed):
        return [t for _, t in LongTailShuffleSplit(random_state=seed).split(X, y)]

    first, second, third = tests(0)
    assert_array_equal(first, tests(0)[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
    assert "LongTailShuffleSplit(min_train=1" in repr(LongTailShuffleSplit())
    assert LongTailShuffleSplit(7).get_n_splits() == 7


@pytest.mark.parametrize(
    "args, match",
    [
        ((X, np.linspace(0, 1, len(y))), "continuous"),
        ((X, y, y), "StratifiedGroupKFold"),
        ((X,), "needs y"),
        ((X[:3], ["a", "b", "c"]), "No class has more"),
    ],
)
def test_what_cannot_be_split_is_refused(args, match):
    with pytest.raises(ValueError, match=match):
        next(LongTailShuffleSplit().split(*args))


def test_faulty_settings_are_refused():
    for params in ({"n_splits": 0}, {"test_size": 1.0}, {"min_train": 0}):
        with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
            LongTailShuffleSplit(**params)


def test_balanced_log_loss_is_a_weighted_log_loss_of_scikit_learn():
    rng = np.random.RandomState(0)
    proba = rng.dirichlet(np.ones(5), size=len(y))
    labels = ["a", "b", "c", "d", "e"]
    weight = 1 / np.unique(y, return_counts=True)[1][np.searchsorted(labels, y)]
    expected = log_loss(y, proba, labels=labels, sample_weight=weight)
    assert_allclose(balanced_log_loss(y, proba, labels=labels), expected)
    # The order of the labels is that of the columns, sorted or not.
    turned = balanced_log_loss(y, proba[:, ::-1], labels=labels[::-1])
    assert_allclose(turned, expected)
    some = y != "d"
    expected = log_loss(y[some], proba[some], labels=labels, sample_weight=weight[some])
    assert_allclose(balanced_log_loss(y[some], proba[some], labels=labels), expected)


def test_faulty_input_of_the_log_loss_is_refused():
    with pytest.raises(ValueError, match=r"classes \['x'\], which labels lacks"):
        balanced_log_loss(["x"], [[0.5, 0.5]], labels=["a", "b"])
    with pytest.raises(ValueError, match="a column for each of the 3 labels"):
        balanced_log_loss(["a"], [[0.5, 0.5]], labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="must differ"):
        balanced_log_loss(["a"], [[0.5, 0.5]], labels=["a", "a"])
    with pytest.raises(ValueError, match="NaN"):
        balanced_log_loss(["a"], [[np.nan, 0.5]], labels=["a", "b"])
    assert np.isfinite(balanced_log_loss(["a"], [[0.0, 1.0]], labels=["a", "b"]))


def test_the_scorer_works_in_searches():
    cv = LongTailShuffleSplit(3, random_state=0)
    search = GridSearchCV(
        LogisticRegression(),
        {"C": [1e-3, 1]},
        scoring=neg_balanced_log_loss_scorer,
        cv=cv,
    ).fit(X + np.searchsorted(list("abcde"), y)[:, None], y)
    assert search.best_params_ == {"C": 1}
    scores = cross_val_score(
        LogisticRegression(), X, y, scoring=neg_balanced_log_loss_scorer, cv=cv
    )
    assert scores.shape == (3,)
    assert (scores < 0).all()
