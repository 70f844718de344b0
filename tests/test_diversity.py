"""Diversity against scipy's distances and entropies, and standard errors that hold."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import entropy, ortho_group

from skcvae.metrics import _diversity, _sample_pairs
from skcvae.metrics._diversity import (
    class_pairwise_distance,
    inception_score,
    mean_pairwise_distance,
    minimum_pairwise_distance,
)

# Inception score


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_mean_divergence(seed):
    y_prob = np.random.RandomState(seed).dirichlet(np.full(5, 0.3), size=40)
    divergences = [entropy(row, y_prob.mean(axis=0)) for row in y_prob]
    assert inception_score(y_prob) == pytest.approx(np.exp(np.mean(divergences)))


@pytest.mark.parametrize("n_classes", [2, 7])
def test_certain_and_spread_rows_score_the_number_of_classes(n_classes):
    assert inception_score(np.tile(np.eye(n_classes), (3, 1))) == pytest.approx(
        n_classes
    )


@pytest.mark.parametrize("row", [[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
def test_rows_that_are_all_the_same_score_one(row):
    assert inception_score([row] * 9) == pytest.approx(1)


def test_order_of_rows_and_classes_does_not_matter():
    rng = np.random.RandomState(0)
    y_prob = rng.dirichlet(np.ones(4), size=30)
    shuffled = y_prob[rng.permutation(30)][:, rng.permutation(4)]
    assert inception_score(shuffled) == pytest.approx(inception_score(y_prob))


@pytest.mark.parametrize(
    ("y_prob", "message"),
    [
        ([[0.5, 0.6]], "must sum to 1"),
        ([[1.5, -0.5]], r"in \[0, 1\]"),
        ([[np.nan, 1.0]], "y_prob contains NaN"),
        ([0.5, 0.5], "2D"),
    ],
)
def test_what_is_no_probability_is_refused(y_prob, message):
    with pytest.raises(ValueError, match=message):
        inception_score(y_prob)


# Mean distance


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 3), (60, 5), (15, 200)])
def test_the_mean_of_all_pairs_agrees_with_scipy(shape, dtype):
    X = np.random.RandomState(0).randn(*shape).astype(dtype)
    result = mean_pairwise_distance(X)
    assert result.mean == pytest.approx(pdist(X.astype(np.float64)).mean(), rel=1e-12)
    assert result.standard_error == 0


def test_the_mean_does_not_depend_on_blocks_or_a_common_offset(monkeypatch):
    X = np.random.RandomState(0).randn(50, 4)
    expected = pdist(X).mean()
    monkeypatch.setattr(_sample_pairs, "_BLOCK_ENTRIES", 170)
    assert mean_pairwise_distance(X).mean == pytest.approx(expected)
    assert mean_pairwise_distance(X + 1e6).mean == pytest.approx(expected, rel=1e-8)


def test_the_mean_turns_with_the_rows_and_scales_with_them():
    rng = np.random.RandomState(0)
    X = rng.randn(30, 4)
    moved = 3 * X[rng.permutation(30)] @ ortho_group.rvs(4, random_state=0) + 5
    assert mean_pairwise_distance(moved).mean == pytest.approx(3 * pdist(X).mean())


def test_copies_of_one_row_have_no_distance():
    X = np.repeat([[0.1, 0.2, 0.3]], 10, axis=0)
    assert mean_pairwise_distance(X).mean == 0
    assert mean_pairwise_distance(X, n_pairs=5).mean == 0


def test_the_standard_error_is_that_of_random_pairs(monkeypatch):
    monkeypatch.setattr(_diversity, "_BATCH_PAIRS", 64)
    X = np.random.RandomState(0).randn(40, 2)
    results = [
        mean_pairwise_distance(X, n_pairs=200, random_state=seed) for seed in range(300)
    ]
    means = [result.mean for result in results]
    errors = [result.standard_error for result in results]
    exact = pdist(X).mean()
    assert np.mean(means) == pytest.approx(exact, abs=4 * np.mean(errors) / 300**0.5)
    assert np.std(means) == pytest.approx(np.mean(errors), rel=0.15)


def test_random_pairs_are_of_different_rows():
    result = mean_pairwise_distance([[0.0], [3.0]], n_pairs=100, random_state=0)
    assert (result.mean, result.standard_error) == (3, 0)


def test_random_pairs_come_from_the_seed():
    X = np.random.RandomState(0).randn(40, 2)
    first, same, other = (
        mean_pairwise_distance(X, n_pairs=20, random_state=seed) for seed in (0, 0, 1)
    )
    assert first == same != other


def test_classes_have_the_mean_of_their_own_pairs():
    rng = np.random.RandomState(0)
    y = rng.permutation(np.repeat(["b", "a", "single"], [20, 30, 1]))
    X = rng.randn(51, 3) + 100 * (y == "a")[:, None]
    result = class_pairwise_distance(X, y=y)
    expected = [pdist(X[y == label]).mean() for label in ("a", "b")]
    assert result.classes.tolist() == ["a", "b", "single"]
    np.testing.assert_allclose(result.distances, [*expected, np.nan])
    assert result.mean == pytest.approx(np.mean(expected))
    sampled = class_pairwise_distance(X, y=y, n_pairs=500, random_state=0)
    gaps = np.abs(sampled.distances - result.distances)[:2]
    assert (gaps < 4 * sampled.standard_errors[:2]).all()


# Smallest distance


def test_the_nearest_pair_agrees_with_scipy():
    X = np.random.RandomState(0).randn(60, 3)
    result = minimum_pairwise_distance(X)
    assert result.distance == pytest.approx(pdist(X).min())
    i, j = result.pair
    assert i != j
    assert np.linalg.norm(X[i] - X[j]) == pytest.approx(result.distance)
    assert result.n_copies == 0


def test_copies_are_counted_with_what_they_are_copies_of():
    X = np.random.RandomState(0).randn(20, 3).astype(np.float32)
    X[[4, 9]] = X[0]
    X[15] = X[3]
    result = minimum_pairwise_distance(X)
    assert (result.distance, result.n_copies) == (0, 5)
    assert result.pair == (0, 4)


# Errors


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1.0]], "minimum of 2"),
        ([[1.0], [np.nan]], "X contains NaN"),
        ([1.0, 2.0], "2D"),
    ],
)
@pytest.mark.parametrize(
    "function", [mean_pairwise_distance, minimum_pairwise_distance]
)
def test_bad_rows_are_refused(function, X, message):
    with pytest.raises(ValueError, match=message):
        function(X)


def test_classes_without_pairs_are_refused():
    with pytest.raises(ValueError, match="No class has two samples"):
        class_pairwise_distance([[1.0], [2.0]], y=[0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        class_pairwise_distance([[1.0], [2.0]], y=[0])
