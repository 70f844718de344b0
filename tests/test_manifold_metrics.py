"""Metrics of nearest neighbours against their definitions, with ties and copies."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group

from skcvae.metrics import _manifold, _sample_pairs
from skcvae.metrics._manifold import (
    class_nearest_neighbor_coverage,
    nearest_neighbor_coverage,
    precision_recall_density_coverage,
)

NAMES = ("precision", "recall", "density", "coverage")


def by_definition(X, S, k):
    """Return the four scores by loops over all pairs, as section 3 of the paper."""

    def radius(rows, i):
        return sorted(np.delete(cdist(rows[i : i + 1], rows)[0], i))[k - 1]

    X, S = np.asarray(X, float), np.asarray(S, float)
    in_real = np.array([cdist(S, X[[i]])[:, 0] < radius(X, i) for i in range(len(X))])
    in_fake = np.array([cdist(X, S[[j]])[:, 0] < radius(S, j) for j in range(len(S))])
    return {
        "precision": in_real.any(axis=0).mean(),
        "recall": in_fake.any(axis=0).mean(),
        "density": in_real.sum() / (k * len(S)),
        "coverage": in_real.any(axis=1).mean(),
    }


def scores(X, S, k=3):
    return precision_recall_density_coverage(X, S, n_neighbors=k)


# Precision, recall, density and coverage


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_definition(seed, k, dtype):
    rng = np.random.RandomState(seed)
    X = rng.randn(40, 4).astype(dtype)
    S = (0.7 * rng.randn(55, 4) + 0.3).astype(dtype)
    assert scores(X, S, k) == pytest.approx(by_definition(X, S, k))


@pytest.mark.parametrize("seed", range(5))
def test_ties_and_copies_agree_with_the_definition(seed):
    # Integers: distances are exact roots, and many are as long as a radius.
    rng = np.random.RandomState(seed)
    X, S = rng.randint(4, size=(60, 2)), rng.randint(4, size=(50, 2))
    assert scores(X, S, 4) == pytest.approx(by_definition(X, S, 4))
    assert scores(X + 10**6, S + 10**6, 4) == pytest.approx(by_definition(X, S, 4))


@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_set_scores_one(dtype, offset):
    # Every ball has a row on its surface, which must not count as inside.
    rng = np.random.RandomState(0)
    X = (offset + rng.randn(200, 30)).astype(dtype)
    assert scores(X, X[rng.permutation(200)], 5) == dict.fromkeys(NAMES, 1.0)


def test_sets_far_apart_score_zero():
    rng = np.random.RandomState(0)
    X, S = rng.randn(50, 6), rng.randn(50, 6) + 100
    assert scores(X, S) == dict.fromkeys(NAMES, 0.0)


def test_one_mode_of_two_is_precise_and_covers_half():
    rng = np.random.RandomState(0)
    X = rng.randn(400, 2) + np.repeat([0, 100], 200)[:, None]
    result = scores(X, rng.randn(400, 2), 5)
    assert result.precision > 0.9
    assert result.recall < 0.52
    assert 0.45 < result.coverage <= 0.5


def test_an_outlier_inflates_precision_but_not_density():
    # Its ball holds all synthetic rows of noise, which no other ball does.
    rng = np.random.RandomState(0)
    X = np.vstack([rng.randn(200, 2), [[40.0, 0.0]]])
    noise = np.column_stack([rng.uniform(20, 60, 100), rng.uniform(-5, 5, 100)])
    result = scores(X, noise, 5)
    assert result.precision == 1
    assert result.density == pytest.approx(1 / 5)
    assert result.coverage == pytest.approx(1 / 201)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (80, 40)])
def test_expectations_for_one_distribution_are_those_of_the_notes(n, m):
    rng = np.random.RandomState(0)
    k = 3
    results = [scores(rng.randn(n, 5), rng.randn(m, 5), k) for _ in range(200)]
    i = np.arange(1, k + 1)
    coverage = 1 - np.prod((n - i) / (n + m - i))
    assert np.mean([r.density for r in results]) == pytest.approx(1, abs=0.03)
    assert np.mean([r.coverage for r in results]) == pytest.approx(coverage, abs=0.01)


def test_exchanging_the_sets_exchanges_precision_and_recall():
    rng = np.random.RandomState(0)
    X, S = rng.randn(40, 3), 0.5 * rng.randn(70, 3)
    forward, backward = scores(X, S), scores(S, X)
    assert (forward.precision, forward.recall) == (backward.recall, backward.precision)


def test_order_rigid_motions_and_scale_do_not_matter():
    rng = np.random.RandomState(0)
    X, S = rng.randn(60, 5), 0.8 * rng.randn(50, 5)
    expected = scores(X, S)
    rotation = 1e3 * ortho_group.rvs(5, random_state=0)
    assert scores(X[::-1], S[rng.permutation(50)]) == expected
    assert scores(X @ rotation + 9, S @ rotation + 9) == expected


def test_blocks_do_not_change_the_result(monkeypatch):
    rng = np.random.RandomState(0)
    X, S = rng.randint(5, size=(70, 3)), rng.randint(5, size=(45, 3))
    expected = scores(X, S)
    monkeypatch.setattr(_sample_pairs, "_BLOCK_ENTRIES", 200)
    monkeypatch.setattr(_manifold, "_BATCH_ENTRIES", 20)
    assert scores(X, S) == expected


def test_rows_with_as_many_copies_as_neighbours_have_empty_balls():
    X = np.repeat([[0.0], [5.0], [9.0]], 4, axis=0)
    result = scores(X, X, 3)
    assert result == dict.fromkeys(NAMES, 0.0)


# Nearest-neighbour coverage


@pytest.mark.parametrize("seed", range(3))
def test_coverage_agrees_with_all_distances(seed):
    rng = np.random.RandomState(seed)
    reference, X = rng.randn(50, 4), rng.randn(30, 4)
    expected = len(set(cdist(X, reference).argmin(axis=1))) / 50
    assert nearest_neighbor_coverage(reference, X) == expected


def test_the_reference_covers_itself_and_one_row_covers_one():
    X = np.random.RandomState(0).randn(20, 3)
    assert nearest_neighbor_coverage(X, X) == 1
    assert nearest_neighbor_coverage(X, X[:1]) == 1 / 20
    assert nearest_neighbor_coverage(X, np.repeat(X[:1], 50, axis=0)) == 1 / 20


def test_draws_from_the_reference_cover_as_the_docstring_says():
    rng = np.random.RandomState(0)
    X = rng.randn(2000, 3)
    draws = X[rng.randint(2000, size=2000)]
    assert nearest_neighbor_coverage(X, draws) == pytest.approx(1 - 1 / np.e, abs=0.03)


def test_classes_are_covered_by_their_own_rows_only():
    reference = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
    y_reference = ["b", "a", "b", "a", "c", "c"]
    # The rows of "a" are nearest to a row of "b": to its own, it is 1 and 3.
    result = class_nearest_neighbor_coverage(
        reference, [[0.1], [2.1], [0.2]], y_reference=y_reference, y=["a", "a", "b"]
    )
    assert result.classes.tolist() == ["a", "b", "c"]
    assert result.coverages.tolist() == [1.0, 0.5, 0.0]
    assert result.mean == 0.5
    assert result.n_reference.tolist() == [2, 2, 2]
    assert result.n_samples.tolist() == [2, 1, 0]


def test_one_class_is_the_coverage_of_all():
    rng = np.random.RandomState(0)
    reference, X = rng.randn(50, 4), rng.randn(30, 4)
    result = class_nearest_neighbor_coverage(
        reference, X, y_reference=np.zeros(50), y=np.zeros(30)
    )
    assert result.mean == nearest_neighbor_coverage(reference, X)


# Errors


@pytest.mark.parametrize(
    ("X_real", "X_synthetic", "message"),
    [
        (np.ones((3, 1)), np.ones((9, 1)), "X_real has 3 samples, .* at least 4"),
        (np.ones((9, 1)), np.ones((3, 1)), "X_synthetic has 3 samples, .* at least 4"),
        ([[np.nan]] * 5, np.ones((5, 1)), "X_real contains NaN"),
        (np.ones((5, 1)), [[np.inf]] * 5, "X_synthetic contains infinity"),
        (np.ones((5, 1)), np.ones((5, 2)), "the same features"),
    ],
)
def test_bad_rows_are_refused(X_real, X_synthetic, message):
    with pytest.raises(ValueError, match=message):
        scores(X_real, X_synthetic)


def test_errors_of_coverage_name_its_own_parameters():
    with pytest.raises(ValueError, match="X_reference contains NaN"):
        nearest_neighbor_coverage([[np.nan]], [[1.0]])
    with pytest.raises(ValueError, match="'X_reference': 1, 'X': 2"):
        nearest_neighbor_coverage([[1.0]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"y holds classes that y_reference lacks"):
        class_nearest_neighbor_coverage([[1.0]], [[1.0]], y_reference=[0], y=[1])
