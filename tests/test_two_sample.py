"""Two-sample tests: the full matrix, exact enumeration, and what is found by chance."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.stats import norm, ortho_group
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from skcvae.metrics import _sample_pairs, _two_sample
from skcvae.metrics._two_sample import (
    classifier_two_sample_test,
    maximum_mean_discrepancy,
)


def by_full_matrix(X, S, bandwidth):
    def kernel(A, B):
        return np.exp(-cdist(A, B, "sqeuclidean") / (2 * bandwidth**2))

    n, m = len(X), len(S)
    within = kernel(X, X).sum() - n, kernel(S, S).sum() - m
    return (
        within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * kernel(X, S).mean()
    )


# Maximum mean discrepancy


@pytest.mark.parametrize("bandwidth", [0.3, 2.0])
@pytest.mark.parametrize(("n", "m"), [(30, 30), (12, 45), (2, 2)])
def test_agrees_with_the_full_matrix(n, m, bandwidth):
    rng = np.random.RandomState(0)
    X, S = rng.randn(n, 3), rng.randn(m, 3) + 0.5
    result = maximum_mean_discrepancy(X, S, bandwidth=bandwidth)
    assert result.discrepancy == pytest.approx(by_full_matrix(X, S, bandwidth))
    assert result.bandwidth == bandwidth
    assert result.p_value is None


def test_the_median_is_that_of_all_pairs_of_both_sets():
    rng = np.random.RandomState(0)
    X, S = rng.randn(20, 3), rng.randn(15, 3) + 2
    result = maximum_mean_discrepancy(X, S)
    assert result.bandwidth == pytest.approx(np.median(pdist(np.vstack([X, S]))))


def test_the_median_of_many_rows_is_that_of_some(monkeypatch):
    X, S = np.random.RandomState(0).randn(2, 300, 3)
    expected = np.median(pdist(np.vstack([X, S])))
    monkeypatch.setattr(_two_sample, "_MEDIAN_SAMPLES", 200)
    some, same, other = (
        maximum_mean_discrepancy(X, S, random_state=seed).bandwidth
        for seed in (0, 0, 1)
    )
    assert some == same != other
    assert some == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_is_unbiased(shift):
    # Normal rows have the kernel mean h / sqrt(h^2 + 2) exp(-shift^2 / 2 / (h^2 + 2)).
    rng, h = np.random.RandomState(0), 1.5
    values = [
        maximum_mean_discrepancy(
            rng.randn(20, 1), rng.randn(30, 1) + shift, bandwidth=h
        ).discrepancy
        for _ in range(400)
    ]
    peak = h / np.sqrt(h**2 + 2)
    expected = 2 * peak * (1 - np.exp(-(shift**2) / (2 * (h**2 + 2))))
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - expected) < 4 * error
    assert error < 0.005


def test_disjoint_sets_without_spread_have_the_largest_discrepancy():
    X, S = np.zeros((5, 2)), np.full((5, 2), 1e3)
    assert maximum_mean_discrepancy(X, S, bandwidth=1).discrepancy == pytest.approx(2)


def test_the_p_value_agrees_with_all_divisions():
    rng = np.random.RandomState(0)
    X, S = rng.randn(5, 2), rng.randn(4, 2) + 1.0
    pooled = np.vstack([X, S])
    values = [
        by_full_matrix(pooled[list(chosen)], np.delete(pooled, chosen, axis=0), 1.0)
        for chosen in combinations(range(9), 5)
    ]
    exact = np.mean(np.array(values) >= by_full_matrix(X, S, 1.0) - 1e-12)
    assert 0.01 < exact < 0.5
    result = maximum_mean_discrepancy(
        X, S, bandwidth=1.0, n_permutations=4000, random_state=0
    )
    assert result.p_value == pytest.approx(exact, abs=0.02)


def test_p_values_are_small_for_a_difference_and_uniform_without():
    rng = np.random.RandomState(0)
    different = maximum_mean_discrepancy(
        rng.randn(50, 2), 2 * rng.randn(40, 2), n_permutations=99, random_state=0
    )
    assert different.p_value == 0.01
    p_values = [
        maximum_mean_discrepancy(
            rng.randn(20, 2), rng.randn(30, 2), n_permutations=19, random_state=seed
        ).p_value
        for seed in range(200)
    ]
    # Four standard errors of shares of 200.
    assert abs(np.mean(np.array(p_values) <= 0.2) - 0.2) < 0.12
    assert abs(np.mean(np.array(p_values) <= 0.5) - 0.5) < 0.15


def test_order_rigid_motions_and_blocks_do_not_matter(monkeypatch):
    rng = np.random.RandomState(0)
    X, S = rng.randn(30, 4), rng.randn(20, 4) + 0.5
    expected = maximum_mean_discrepancy(X, S).discrepancy
    rotation = 5 * ortho_group.rvs(4, random_state=0)
    moved = maximum_mean_discrepancy(X[::-1] @ rotation + 3, S @ rotation + 3)
    assert moved.discrepancy == pytest.approx(expected)
    assert maximum_mean_discrepancy(S, X).discrepancy == pytest.approx(expected)
    monkeypatch.setattr(_sample_pairs, "_BLOCK_ENTRIES", 150)
    assert maximum_mean_discrepancy(X, S).discrepancy == pytest.approx(expected)


def test_rows_that_are_mostly_the_same_have_no_median():
    X = np.zeros((10, 2))
    with pytest.raises(ValueError, match="median distance of the samples is 0"):
        maximum_mean_discrepancy(X, X)
    assert maximum_mean_discrepancy(X, X, bandwidth=1.0).discrepancy == 0


# Classifier two-sample test


def test_sets_far_apart_are_told_apart():
    rng = np.random.RandomState(0)
    result = classifier_two_sample_test(
        rng.randn(50, 3), rng.randn(50, 3) + 20, random_state=0
    )
    assert result.accuracy.value == result.auc == 1
    assert result.p_value < 1e-8
    assert result.n_tested == 100


def test_accuracy_interval_and_p_value_of_a_known_classifier():
    # The first feature is the class that the classifier says, right in 3 of 4 rows.
    class FirstFeature(DummyClassifier):
        def predict(self, X):
            return (X[:, 0] > 0).astype(int)

        def predict_proba(self, X):
            return np.column_stack([X[:, 0] <= 0, X[:, 0] > 0]).astype(float)

    X, S = np.resize([-1.0, -1.0, -1.0, 1.0], (60, 1)), np.ones((60, 1))
    S[::4] = -1
    result = classifier_two_sample_test(X, S, classifier=FirstFeature(), cv=3)
    assert result.accuracy.value == 0.75
    assert result.auc == pytest.approx(0.75)
    # 120 rows in 3 folds count as 120 * 2 / 5.
    assert result.p_value == pytest.approx(norm.sf(0.25 / np.sqrt(0.25 / 48)))
    center, z2 = 0.75, norm.ppf(0.975) ** 2
    middle = (center + z2 / 96) / (1 + z2 / 48)
    assert (result.accuracy.low + result.accuracy.high) / 2 == pytest.approx(middle)


def test_false_alarms_are_no_more_than_the_level():
    rng = np.random.RandomState(0)
    results = [
        classifier_two_sample_test(
            rng.randn(40, 4),
            rng.randn(40, 4),
            random_state=seed,
        )
        for seed in range(80)
    ]
    alarms = np.mean([result.p_value <= 0.05 for result in results])
    assert alarms <= 0.05
    assert np.mean([r.accuracy.low <= 0.5 <= r.accuracy.high for r in results]) >= 0.95
    assert np.mean([r.auc for r in results]) == pytest.approx(0.5, abs=0.03)


def test_the_default_sees_spreads_that_a_linear_classifier_does_not():
    rng = np.random.RandomState(0)
    X, S = rng.randn(300, 2), 3 * rng.randn(300, 2)
    default = classifier_two_sample_test(X, S, random_state=0)
    linear = classifier_two_sample_test(
        X, S, classifier=LogisticRegression(), random_state=0
    )
    assert default.accuracy.low > 0.7
    assert linear.accuracy.low < 0.55


def test_fewer_rows_than_features_and_constant_features_are_no_obstacle():
    rng = np.random.RandomState(0)
    X, S = np.ones((2, 20, 60))
    X[:, :50], S[:, :50] = rng.randn(2, 20, 50)
    S[:, :50] += 1
    result = classifier_two_sample_test(X, S, random_state=0)
    assert result.accuracy.low > 0.6


@pytest.mark.parametrize("sizes", [(200, 40), (40, 200)])
def test_the_larger_set_gives_no_advantage(sizes):
    rng = np.random.RandomState(0)
    result = classifier_two_sample_test(
        rng.randn(sizes[0], 2), rng.randn(sizes[1], 2), random_state=0
    )
    assert result.n_tested == 80
    assert result.accuracy.low < 0.5 < result.accuracy.high


def test_seeds_reproduce_and_the_classifier_is_left_unfitted(random_states):
    X, S = np.random.RandomState(0).randn(2, 60, 3)
    classifier = LogisticRegression()
    before = random_states()
    first, same = (
        classifier_two_sample_test(X, S[:50], classifier=classifier, random_state=3)
        for _ in range(2)
    )
    assert first == same
    assert not hasattr(classifier, "coef_")
    assert random_states() == before


# Errors


@pytest.mark.parametrize(
    ("X_real", "X_synthetic", "message"),
    [
        ([[1.0]], np.ones((9, 1)), "X_real has 1 samples"),
        (np.ones((9, 1)), [[1.0]], "X_synthetic has 1 samples"),
        ([[np.nan]] * 9, np.ones((9, 1)), "X_real contains NaN"),
        (np.ones((9, 1)), np.ones((9, 2)), "the same features"),
    ],
)
@pytest.mark.parametrize(
    "function", [maximum_mean_discrepancy, classifier_two_sample_test]
)
def test_bad_rows_are_refused(function, X_real, X_synthetic, message):
    with pytest.raises(ValueError, match=message):
        function(X_real, X_synthetic)


def test_a_fold_needs_rows_of_both_sets():
    with pytest.raises(ValueError, match=r"X_synthetic has 4 samples, .* at least 5"):
        classifier_two_sample_test(np.ones((9, 1)), np.ones((4, 1)))
