"""Shot-wise accuracy and calibration error against hand-computed values."""

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB

from skcvae.metrics import (
    expected_calibration_error,
    make_shot_scorer,
    shot_accuracy_score,
)

# Three classes with 150, 20 and 19 training rows: many, medium (the bound), few.
Y_TRAIN = ["a"] * 150 + ["b"] * 20 + ["c"] * 19
GROUPS = ["overall", "many", "medium", "few"]


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


class FirstColumn(ClassifierMixin, BaseEstimator):
    """Predicts what the first column says, or the first class."""

    def __init__(self, honest=True):
        self.honest = honest

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[X[:, 0].astype(int) * self.honest]


def test_scorer_is_shot_accuracy_with_the_sizes_it_was_made_of():
    y = np.array(["a", "a", "b", "b", "c", "c"])
    X = np.array([[0], [1], [1], [1], [2], [0]])
    estimator = FirstColumn().fit(X, y)
    scores = make_shot_scorer(Y_TRAIN)(estimator, X, y)
    # Rows 0, 2, 3 and 4 are right.
    assert scores == {"overall": 2 / 3, "many": 1 / 2, "medium": 1.0, "few": 1 / 2}
    assert list(scores) == GROUPS
    # Other bounds, other groups.
    scores = make_shot_scorer(Y_TRAIN, few=5, many=19)(estimator, X, y)
    assert (scores["many"], scores["medium"]) == (3 / 4, 1 / 2)
    assert math.isnan(scores["few"])


def imbalanced_digits():
    """Return string labels of 120, 60, 20 and 9 digits, in random order."""
    X, y = load_digits(return_X_y=True)
    kept = [np.flatnonzero(y == c)[:n] for c, n in enumerate([120, 60, 20, 9])]
    kept = np.random.RandomState(0).permutation(np.concatenate(kept))
    # The two upper rows of the images alone are not too easy.
    return X[kept, :16], np.array(["zero", "one", "two", "three"])[y[kept]]


def shot_scores_of_folds(estimator, X, y, cv):
    """Return scores by group and fold, the long way."""
    predicted = cross_val_predict(estimator, X, y, cv=cv)
    folds = [
        shot_accuracy_score(y[test], predicted[test], y_train=y)
        for _, test in cv.split(X, y)
    ]
    return {group: [scores[group] for scores in folds] for group in GROUPS}


@pytest.mark.usefixtures("one_thread_per_worker")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scorer_in_cross_validation_of_string_labels(n_jobs):
    X, y = imbalanced_digits()
    cv, classifier = StratifiedKFold(3), GaussianNB(var_smoothing=1.0)
    result = cross_validate(
        classifier, X, y, cv=cv, scoring=make_shot_scorer(y), n_jobs=n_jobs
    )
    expected = shot_scores_of_folds(classifier, X, y, cv)
    for group in GROUPS:
        assert result[f"test_{group}"].tolist() == expected[group]
    assert len({np.mean(expected[group]) for group in GROUPS}) == 4


@pytest.mark.usefixtures("one_thread_per_worker")
@pytest.mark.parametrize(("refit", "best"), [("overall", 0), ("many", 1)])
def test_grid_search_selects_by_the_named_group(refit, best):
    X, y = imbalanced_digits()
    cv = StratifiedKFold(3)
    grid = {"priors": [[0.25] * 4, [0.1, 1e-9, 0.1, 0.8 - 1e-9]]}
    search = GridSearchCV(
        GaussianNB(var_smoothing=1.0),
        grid,
        scoring=make_shot_scorer(y),
        refit=refit,
        cv=cv,
        n_jobs=2,
    )
    search = clone(search).fit(X, y)
    # The classes in sorted order are one, three, two, zero: the last is large.
    means = [
        np.mean(
            shot_scores_of_folds(clone(search.estimator).set_params(**p), X, y, cv)[
                refit
            ]
        )
        for p in search.cv_results_["params"]
    ]
    assert search.cv_results_[f"mean_test_{refit}"] == pytest.approx(means)
    assert search.best_index_ == np.argmax(means) == best


def test_groups_that_a_fold_lacks_are_nan_and_raise_nothing():
    y = np.repeat(["a", "b"], [150, 10])
    X = np.repeat([[0], [1]], [150, 10], axis=0)
    result = cross_validate(
        FirstColumn(honest=False),
        X,
        y,
        cv=KFold(4),
        scoring=make_shot_scorer(y),
        error_score="raise",
    )
    np.testing.assert_array_equal(result["test_few"], [np.nan, np.nan, np.nan, 0])
    np.testing.assert_array_equal(result["test_many"], 1)
    np.testing.assert_array_equal(result["test_overall"], [1, 1, 1, 0.5])


def test_scorer_can_be_pickled_without_the_training_labels():
    X, y = np.arange(3)[:, None], np.array(["a", "b", "c"])
    scorer = make_shot_scorer(Y_TRAIN * 1000, few=2e4, many=1e5)
    pickled = pickle.dumps(scorer)
    assert len(pickled) < 1000
    estimator = FirstColumn().fit(X, y)
    assert pickle.loads(pickled)(estimator, X, y) == scorer(estimator, X, y)


def test_scorer_parameters_are_validated():
    with pytest.raises(ValueError, match="'few' parameter"):
        make_shot_scorer([0, 1], few=-1)
    with pytest.raises(ValueError, match="'y_train' parameter"):
        make_shot_scorer(3)


def test_calibration_error_by_hand():
    y_prob = [[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]
    y_true = ["a", "b", "b", "b", "a"]
    # Bins (0.5, 0.75]: 0 of 2 right, confidence 0.65; above: 2 of 3, 2.6 / 3.
    error = expected_calibration_error(y_true, y_prob, n_bins=4)
    assert error == pytest.approx((2 * 0.65 + 3 * abs(2 / 3 - 2.6 / 3)) / 5)
    # One bin: 2 of 5 right, confidence 3.9 / 5.
    error = expected_calibration_error(y_true, y_prob, n_bins=1)
    assert error == pytest.approx(3.9 / 5 - 2 / 5)
    # Two bins of mass 2.5 end after the third confidence, 0.8: right, wrong, wrong.
    error = expected_calibration_error(y_true, y_prob, n_bins=2, strategy="quantile")
    assert error == pytest.approx((abs(1 - 2.1) + abs(1 - 1.8)) / 5)


def test_a_bin_holds_its_upper_bound():
    # In two bins, 0.5 belongs to the lower: 0.5 of 1 missed there, 0.25 above.
    error = expected_calibration_error([1, 0], [[0.5, 0.5], [0.75, 0.25]], n_bins=2)
    assert error == pytest.approx((0.5 + 0.25) / 2)


def test_an_overconfident_constant_errs_by_its_excess():
    y_true = np.tile([0, 1, 2, 3], 25)
    for confidence in (1.0, 0.7):
        y_prob = np.full((100, 4), (1 - confidence) / 3)
        y_prob[:, 2] = confidence
        for strategy in ("uniform", "quantile"):
            error = expected_calibration_error(y_true, y_prob, strategy=strategy)
            assert error == pytest.approx(confidence - 0.25)
    assert expected_calibration_error([0, 0, 1], np.eye(2)[[1, 1, 0]]) == 1
    assert expected_calibration_error([0, 0, 1], np.eye(2)[[0, 0, 1]]) == 0


def simulated(n=20_000, n_classes=5, seed=0):
    """Return probabilities, and labels drawn from them."""
    rng = np.random.RandomState(seed)
    y_prob = rng.dirichlet(np.full(n_classes, 0.5), size=n)
    y_true = (rng.uniform(size=(n, 1)) > y_prob.cumsum(axis=1)).sum(axis=1)
    return y_true.clip(max=n_classes - 1), y_prob


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_calibrated_probabilities_have_an_error_near_zero(strategy):
    y_true, y_prob = simulated()
    error = expected_calibration_error(y_true, y_prob, strategy=strategy)
    assert error < 0.02
    sharp = y_prob**3 / (y_prob**3).sum(axis=1, keepdims=True)
    assert expected_calibration_error(y_true, sharp, strategy=strategy) > 0.05


def reference_error(y_true, y_prob, bounds, weight):
    """Loop over bins (low, high] of the confidence, as the formula is written."""
    total = 0.0
    for low, high in pairwise(bounds):
        rows = [i for i in range(len(y_true)) if low < max(y_prob[i]) <= high]
        mass = sum(weight[i] for i in rows)
        if mass:
            right = sum(weight[i] * (np.argmax(y_prob[i]) == y_true[i]) for i in rows)
            confidence = sum(weight[i] * max(y_prob[i]) for i in rows)
            total += mass / sum(weight) * abs(right / mass - confidence / mass)
    return total


@pytest.mark.parametrize("n_bins", [1, 7, 15])
def test_calibration_error_agrees_with_a_loop_over_bins(n_bins):
    y_true, y_prob = simulated(210, seed=1)
    ones = np.ones(210)
    weight = np.random.RandomState(2).uniform(size=210)
    for sample_weight in (None, weight):
        error = expected_calibration_error(
            y_true, y_prob, n_bins=n_bins, sample_weight=sample_weight
        )
        expected = reference_error(
            y_true,
            y_prob,
            np.linspace(0, 1, n_bins + 1),
            ones if sample_weight is None else weight,
        )
        assert error == pytest.approx(expected)
    confidence = np.sort(y_prob.max(axis=1))
    # 210 rows make bins of the same size, each up to its last row.
    bounds = [0, *confidence[210 // n_bins - 1 :: 210 // n_bins]]
    error = expected_calibration_error(
        y_true, y_prob, n_bins=n_bins, strategy="quantile"
    )
    assert error == pytest.approx(reference_error(y_true, y_prob, bounds, ones))


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_calibration_error_ignores_the_order_of_rows(strategy):
    y_true, y_prob = simulated(300)
    # Ties, which must not be torn apart.
    y_prob[:150] = y_prob[0]
    order = np.random.RandomState(0).permutation(300)
    assert expected_calibration_error(
        y_true[order], y_prob[order], strategy=strategy
    ) == pytest.approx(expected_calibration_error(y_true, y_prob, strategy=strategy))


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_weights_count_like_repeated_rows(strategy):
    y_true, y_prob = simulated(200)
    repeats = np.random.RandomState(0).randint(4, size=200)
    weighted = expected_calibration_error(
        y_true, y_prob, strategy=strategy, sample_weight=0.1 * repeats
    )
    repeated = expected_calibration_error(
        np.repeat(y_true, repeats),
        np.repeat(y_prob, repeats, axis=0),
        strategy=strategy,
        labels=np.arange(5),
    )
    assert weighted == pytest.approx(repeated)
    unweighted = expected_calibration_error(y_true, y_prob, strategy=strategy)
    assert abs(unweighted - weighted) > 1e-4


def test_columns_are_those_of_the_labels():
    y_prob = [[0.1, 0.8, 0.1], [0.0, 0.2, 0.8]]
    with pytest.raises(ValueError, match=r"3 columns.* y_true is 2.*classes_"):
        expected_calibration_error(["b", "c"], y_prob)
    error = expected_calibration_error(["b", "c"], y_prob, labels=["a", "b", "c"])
    assert error == pytest.approx(0.2)
    error = expected_calibration_error(["a", "c"], y_prob, labels=["a", "b", "c"])
    assert error == pytest.approx(abs(1 - 1.6) / 2)


BAD = {
    "order": ({"labels": ["b", "a"]}, "sorted"),
    "twice": ({"labels": ["a", "a"]}, "unique"),
    "too many": ({"labels": ["a", "b", "c"]}, "2 columns.* labels is 3"),
    "unknown": ({"labels": ["a", "z"]}, r"labels lacks: \['b'\]"),
    "type": ({"labels": [0, 1]}, "labels lacks"),
    "missing": ({"y_true": [0.0, np.nan]}, "y_true contains NaN"),
    "length": ({"y_true": ["a"]}, "inconsistent"),
    "1-D": ({"y_prob": [0.5, 0.5]}, "2D array"),
    "NaN": ({"y_prob": [[np.nan, 1], [0, 1]]}, "y_prob contains NaN"),
    "negative": ({"y_prob": [[-0.1, 1.1], [0, 1]]}, r"in \[0, 1\].*-0.1 to 1.1"),
    "logits": ({"y_prob": [[0.0, 3.0], [0, 1]]}, r"in \[0, 1\]"),
    "sum": ({"y_prob": [[0.5, 0.4], [0, 1]]}, "sum to 1.*0.9"),
    "no rows": ({"y_true": [], "y_prob": np.empty((0, 2))}, "0 sample"),
    "bins": ({"n_bins": 0}, "n_bins"),
    "strategy": ({"strategy": "kmeans"}, "strategy"),
    "negative weight": ({"sample_weight": [1, -1]}, "[Nn]egative"),
    "no weight": ({"sample_weight": [0, 0]}, "zero"),
    "weight of length 1": ({"sample_weight": [1]}, "inconsistent"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_probability_or_does_not_fit_is_refused(case):
    good = {"y_true": ["a", "b"], "y_prob": [[0.5, 0.5], [0, 1]]}
    assert expected_calibration_error(**good) == pytest.approx(0.25)
    changed, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(**{**good, **changed})


def test_float32_probabilities_are_accepted():
    y_true, y_prob = simulated(500)
    single = expected_calibration_error(y_true, y_prob.astype(np.float32))
    assert single == pytest.approx(expected_calibration_error(y_true, y_prob), abs=1e-5)


def test_classwise_calibration_error_by_hand():
    y_true = [0, 0, 0, 1]
    y_prob = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]
    # Class 1, two bins: all four rows lie in [0, 0.5], gap |1 - 1.0| / 4; class 0: all
    # in (0.5, 1], the same gap.
    error = expected_calibration_error(y_true, y_prob, n_bins=2, kind="classwise")
    assert error == pytest.approx(0.0)
    # Four bins: class 0 has all rows in (0.5, 0.75] or (0.75, 1]: gaps of
    # |1 - 1.2| and |2 - 1.8|; class 1 has the mirrored bins.
    error = expected_calibration_error(y_true, y_prob, n_bins=4, kind="classwise")
    assert error == pytest.approx((0.2 + 0.2) / 4)


def test_classwise_error_sees_a_rare_class_that_the_predicted_class_hides():
    rng = np.random.RandomState(0)
    # Rows of a rare class, told as if classes were balanced: right for the likelier
    # class of each row, too high for the rare one.
    share = rng.uniform(size=20_000)
    balanced = np.stack([1 - share, share], axis=1)
    odds = share * 0.05 / ((1 - share) * 0.95)
    y_true = (rng.uniform(size=len(share)) < odds / (1 + odds)).astype(int)
    true = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)
    errors = [
        expected_calibration_error(y_true, proba, kind="classwise")
        for proba in (balanced, true)
    ]
    assert errors[0] > 0.3
    assert errors[1] < 0.02
