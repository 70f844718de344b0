"""The Fréchet distance against closed forms, and what it must not do."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from skcvae.metrics._frechet import (
    class_frechet_distance,
    extrapolated_frechet_distance,
    frechet_bias,
    frechet_distance,
)


def rows_with_moments(rng, mean, covariance, n_rows=50):
    """Return rows whose sample mean and covariance are exactly these."""
    rows = rng.randn(n_rows, len(mean))
    rows -= rows.mean(axis=0)
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False)))
    return mean + rows @ whiten.T @ np.linalg.cholesky(covariance).T


def random_covariance(rng, n_features):
    root = rng.randn(n_features, n_features + 3)
    return root @ root.T / n_features


# One distance


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_formula_of_the_matrix_square_root(seed):
    rng = np.random.RandomState(seed)
    means, covariances = rng.randn(2, 6), [random_covariance(rng, 6) for _ in range(2)]
    first, second = (
        rows_with_moments(rng, mean, covariance)
        for mean, covariance in zip(means, covariances, strict=True)
    )
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(
        covariances[0] + covariances[1] - 2 * root
    )
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)


def test_independent_features_add_the_squared_differences_of_deviations():
    rng = np.random.RandomState(0)
    first = rows_with_moments(rng, [0.0, 1.0], np.diag([1.0, 9.0]))
    second = rows_with_moments(rng, [0.0, 3.0], np.diag([4.0, 1.0]), n_rows=20)
    # (1 - 3)^2 of the means, (1 - 2)^2 and (3 - 1)^2 of the deviations.
    assert frechet_distance(first, second) == pytest.approx(4 + 1 + 4)


def test_fewer_rows_than_features():
    # The same directions, twice as far from the mean: (2 - 1)^2 of the total variance.
    X = np.random.RandomState(0).randn(8, 300)
    moved = 2 * (X - X.mean(axis=0)) + X.mean(axis=0)
    expected = np.trace(np.cov(X, rowvar=False))
    assert frechet_distance(X, moved) == pytest.approx(expected, rel=1e-12)


def test_rows_in_orthogonal_directions_do_not_overlap():
    rng = np.random.RandomState(0)
    first, second = np.zeros((2, 5, 20))
    first[:, :10], second[:, 10:] = rng.randn(2, 5, 10)
    total = first.var(axis=0, ddof=1).sum() + second.var(axis=0, ddof=1).sum()
    total += np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    assert frechet_distance(first, second) == pytest.approx(total)


@pytest.mark.parametrize("shape", [(50, 4), (10, 200), (2, 3)])
@pytest.mark.parametrize("offset", [0, 1e6])
def test_the_same_rows_in_another_order_have_no_distance(shape, offset):
    rng = np.random.RandomState(0)
    X = offset + rng.randn(*shape)
    distance = frechet_distance(X, X[rng.permutation(len(X))])
    assert 0 <= distance < 1e-9


@pytest.mark.parametrize("n_rows", [10, 40])
def test_is_symmetric_and_moves_and_scales_as_squared_distances_do(n_rows):
    rng = np.random.RandomState(0)
    X, S = rng.randn(n_rows, 12), rng.randn(25, 12) * rng.rand(12)
    expected = frechet_distance(X, S)
    rotation = ortho_group.rvs(12, random_state=0)
    assert frechet_distance(S, X) == pytest.approx(expected)
    assert frechet_distance(X + 7, S + 7) == pytest.approx(expected)
    assert frechet_distance(X @ rotation, S @ rotation) == pytest.approx(expected)
    assert frechet_distance(3 * X, 3 * S) == pytest.approx(9 * expected)


def test_a_wrong_mean_and_a_wrong_spread_count():
    # With each set standardised by its own statistics, both would be 0.
    X = np.random.RandomState(0).randn(100, 5)
    assert frechet_distance(X, X + 2) == pytest.approx(20)
    spread = np.trace(np.cov(X, rowvar=False))
    assert frechet_distance(X, 3 * X) > 3.9 * spread


def test_constant_features_and_repeated_rows_give_finite_distances():
    rng = np.random.RandomState(0)
    X = np.hstack([rng.randn(30, 3), np.ones((30, 2))])
    assert frechet_distance(X, np.repeat(X, 2, axis=0)) < 0.01
    assert frechet_distance(X, np.zeros((2, 5))) == pytest.approx(
        np.sum(X.mean(axis=0) ** 2) + np.trace(np.cov(X, rowvar=False))
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
def test_other_dtypes_are_computed_in_double_precision(dtype):
    rng = np.random.RandomState(0)
    X, S = (50 * rng.randn(2, 30, 4)).astype(dtype)
    expected = frechet_distance(X.astype(np.float64), S.astype(np.float64))
    assert frechet_distance(X, S) == pytest.approx(expected, rel=1e-12)


# Bias


@pytest.mark.parametrize(("n", "m"), [(500, 500), (300, 900)])
def test_bias_agrees_with_the_expansion_for_normal_rows(n, m):
    # tr(S) (1/n + 1/m) of the means and, of covariances with noise E,
    # sum_ij E_ij^2 / (2 (s_i + s_j)), which is (d^2 + d) / 4 (1/n + 1/m) for S = I.
    d = 6
    rng = np.random.RandomState(0)
    draws = [rng.randn(n, d) for _ in range(4)], [rng.randn(m, d) for _ in range(4)]
    biases = [
        frechet_bias(X, S, n_permutations=50, random_state=0).mean
        for X, S in zip(*draws, strict=True)
    ]
    expected = (d + (d**2 + d) / 4) * (1 / n + 1 / m)
    assert np.mean(biases) == pytest.approx(expected, rel=0.05)


def test_distance_of_one_distribution_is_within_the_spread_of_its_bias():
    X, S = np.random.RandomState(0).randn(2, 40, 100)
    bias = frechet_bias(X, S, random_state=0)
    assert abs(frechet_distance(X, S) - bias.mean) < 3 * bias.std
    assert frechet_distance(X, S + 1) > bias.mean + 10 * bias.std


def test_bias_of_one_shuffle_has_no_spread_to_see():
    X = np.random.RandomState(0).randn(10, 2)
    assert np.isnan(frechet_bias(X, X, n_permutations=1).std)


@pytest.mark.parametrize(("n", "m", "scale"), [(1000, 1000, 1.0), (1500, 600, 1.3)])
def test_extrapolation_takes_the_bias_away(n, m, scale):
    rng = np.random.RandomState(0)
    true = 20 * (scale - 1) ** 2
    plain, extrapolated = [], []
    for seed in range(10):
        X, S = rng.randn(n, 20), scale * rng.randn(m, 20)
        plain.append(frechet_distance(X, S))
        extrapolated.append(
            extrapolated_frechet_distance(X, S, random_state=seed).distance
        )
    bias = np.mean(plain) - true
    assert bias > 0.2
    assert abs(np.mean(extrapolated) - true) < 0.1 * bias


def test_extrapolation_from_two_points_is_the_line_through_them():
    X, S = np.random.RandomState(0).randn(2, 60, 3)
    result = extrapolated_frechet_distance(X, S, n_parts=2, random_state=0)
    whole, halves = result.distances
    assert whole == pytest.approx(frechet_distance(X, S))
    assert result.distance == pytest.approx(2 * whole - halves)
    assert result.slope == pytest.approx(halves - whole)


def test_extrapolation_refuses_parts_of_fewer_rows_than_features():
    X = np.random.RandomState(0).randn(60, 20)
    extrapolated_frechet_distance(X, X, n_parts=2)
    with pytest.raises(ValueError, match="A part of 20 samples is too small for 20"):
        extrapolated_frechet_distance(X, X, n_parts=3)


def test_seeds_reproduce_and_the_global_state_is_left_alone(random_states):
    X, S = np.random.RandomState(0).randn(2, 60, 5)
    before = random_states()
    for function in (frechet_bias, extrapolated_frechet_distance):
        first, same, other = (
            next(iter(function(X, S, random_state=seed).values())) for seed in (0, 0, 1)
        )
        assert first == same != other
    assert random_states() == before


# Classes


@pytest.fixture
def classes():
    rng = np.random.RandomState(0)
    y_real = rng.permutation(np.repeat(["a", "b", "c"], [20, 10, 30]))
    y_synthetic = rng.permutation(np.repeat(["a", "b", "c"], [5, 25, 10]))
    return rng.randn(60, 4), rng.randn(40, 4) + 1, y_real, y_synthetic


def test_classes_have_the_distances_of_their_rows(classes):
    X, S, y_real, y_synthetic = classes
    result = class_frechet_distance(X, S, y_real=y_real, y_synthetic=y_synthetic)
    expected = [
        frechet_distance(X[y_real == c], S[y_synthetic == c]) for c in ("a", "b", "c")
    ]
    assert result.classes.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(result.distances, expected, rtol=1e-12)
    assert result.mean == pytest.approx(np.mean(expected))
    assert result.n_real.tolist() == [20, 10, 30]
    assert result.n_synthetic.tolist() == [5, 25, 10]
    assert result.n_missing == 0


def test_labels_in_the_wrong_order_raise_the_distances(classes):
    X, S, y_real, y_synthetic = classes
    X = X + 5 * (y_real == "a")[:, None]
    S = S + 5 * (y_synthetic == "a")[:, None]
    right = class_frechet_distance(X, S, y_real=y_real, y_synthetic=y_synthetic)
    wrong = class_frechet_distance(X, S, y_real=y_real, y_synthetic=y_synthetic[::-1])
    assert wrong.mean > right.mean + 10


def test_biases_of_classes_are_those_of_their_rows(classes):
    X, S, y_real, y_synthetic = classes
    first = y_real == "a", y_synthetic == "a"
    one = class_frechet_distance(
        X[first[0]],
        S[first[1]],
        y_real=y_real[first[0]],
        y_synthetic=y_synthetic[first[1]],
        n_permutations=10,
        random_state=0,
    )
    expected = frechet_bias(X[first[0]], S[first[1]], n_permutations=10, random_state=0)
    assert one.biases.tolist() == [one.mean_bias] == [expected.mean]
    every = class_frechet_distance(
        X,
        S,
        y_real=y_real,
        y_synthetic=y_synthetic,
        n_permutations=10,
        random_state=0,
    )
    assert every.biases[0] == expected.mean
    assert every.mean_bias == pytest.approx(every.biases.mean())


def test_classes_of_too_few_rows_are_named_counted_and_left_out(classes):
    X, S, y_real, y_synthetic = classes
    kept = (y_synthetic != "b") | (np.cumsum(y_synthetic == "b") == 1)
    kept &= y_synthetic != "a"
    with pytest.warns(UserWarning, match=r"2 of 3 classes .*'a', 'b'") as caught:
        result = class_frechet_distance(
            X, S[kept], y_real=y_real, y_synthetic=y_synthetic[kept], n_permutations=2
        )
    assert caught[0].filename == __file__
    assert np.isnan(result.distances).tolist() == [True, True, False]
    assert result.n_missing == 2
    assert result.n_synthetic[0] == 0
    assert result.mean == result.distances[2]
    assert result.mean_bias == result.biases[2]


# Errors


@pytest.mark.parametrize(
    ("X_real", "X_synthetic", "message"),
    [
        ([[1.0]], [[1.0], [2.0]], "X_real has 1 samples"),
        ([[1.0], [2.0]], [[1.0]], "X_synthetic has 1 samples"),
        ([[np.nan], [2.0]], [[1.0], [2.0]], "X_real contains NaN"),
        ([[1.0], [2.0]], [[np.inf], [2.0]], "X_synthetic contains infinity"),
        ([[1.0], [2.0]], [[1.0, 2.0]] * 2, "the same features"),
        ([1.0, 2.0], [[1.0], [2.0]], "2D"),
    ],
)
@pytest.mark.parametrize(
    "function", [frechet_distance, frechet_bias, extrapolated_frechet_distance]
)
def test_bad_rows_are_refused(function, X_real, X_synthetic, message):
    with pytest.raises(ValueError, match=message):
        function(X_real, X_synthetic)


@pytest.mark.parametrize(
    ("y_real", "y_synthetic", "message"),
    [
        ([0, 0, 1], [0, 0, 1, 1], "inconsistent numbers"),
        ([0, 0, 1, 1], [0, 0, 1, 2], r"classes that y_real lacks: \[2\]"),
        (["0", "0", "1", "1"], [0, 0, 1, 1], "classes that y_real lacks"),
        ([0, 0, 1, np.nan], [0, 0, 1, 1], "y_real contains missing"),
        ([0, 1, 2, 3], [0, 0, 1, 1], "No class has two samples"),
    ],
)
def test_bad_labels_are_refused(y_real, y_synthetic, message):
    X = np.arange(4.0)[:, None]
    with pytest.raises(ValueError, match=message):
        class_frechet_distance(X, X, y_real=y_real, y_synthetic=y_synthetic)
