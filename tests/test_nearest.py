"""Nearest neighbours against all distances, where products in float32 go wrong, too."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from skcvae import _neighbors
from skcvae._neighbors import nearest_neighbors


def by_brute_force(X, Y, n_neighbors, *, exclude_self=False):
    distances = cdist(X, Y)
    if exclude_self:
        np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, :n_neighbors]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_neighbors", [1, 4, 60])
def test_agrees_with_scikit_learn(dtype, n_neighbors):
    rng = np.random.RandomState(0)
    X, Y = rng.randn(50, 30).astype(dtype), rng.randn(60, 30).astype(dtype)
    expected = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(
        Y.astype(np.float64)
    )
    expected_distances, expected_indices = expected.kneighbors(X.astype(np.float64))
    distances, indices = nearest_neighbors(X, Y, n_neighbors)
    assert distances.dtype == np.float64
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-7)
    np.testing.assert_array_equal(indices, expected_indices)


def test_cosines_agree_with_scikit_learn():
    rng = np.random.RandomState(0)
    X, Y = rng.randn(40, 8) + 1, rng.randn(50, 8) + 1
    expected = NearestNeighbors(n_neighbors=3, metric="cosine").fit(Y).kneighbors(X)
    distances, indices = nearest_neighbors(X, Y, 3, metric="cosine")
    np.testing.assert_allclose(distances, expected[0], atol=1e-12)
    np.testing.assert_array_equal(indices, expected[1])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_copy_is_at_distance_zero_exactly(metric, offset, dtype):
    rng = np.random.RandomState(0)
    Y = (offset + rng.randn(200, 16)).astype(dtype)
    order = rng.permutation(200)
    distances, indices = nearest_neighbors(
        np.asfortranarray(Y[order]), Y, metric=metric
    )
    assert (distances == 0).all()
    np.testing.assert_array_equal(Y[indices[:, 0]], Y[order])


def test_neighbours_that_single_precision_cannot_tell_apart():
    # 100 rows within 1e-6 of one another, and one far away that sets the scale.
    rng = np.random.RandomState(0)
    Y = np.vstack([5 + 1e-6 * rng.rand(100, 4), np.full((1, 4), -1e3)])
    X = 5 + 1e-6 * rng.rand(30, 4)
    distances, indices = nearest_neighbors(X, Y, 2)
    np.testing.assert_allclose(distances, by_brute_force(X, Y, 2), rtol=1e-9)
    np.testing.assert_array_equal(indices[:, 0], cdist(X, Y).argmin(axis=1))


def test_an_outlier_in_one_feature_does_not_hide_the_others():
    rng = np.random.RandomState(0)
    X, Y = rng.randn(30, 3), rng.randn(40, 3)
    X[:, 0] *= 1e25
    Y[:, 0] = X[:1, 0]
    np.testing.assert_allclose(
        nearest_neighbors(X, Y, 3)[0], by_brute_force(X, Y, 3), rtol=1e-12
    )


def test_the_row_itself_is_left_out_by_index_and_its_duplicate_is_not():
    X = np.array([[0.0], [0.0], [5.0], [7.0]])
    distances, indices = nearest_neighbors(X, X, exclude_self=True)
    assert distances.ravel().tolist() == [0, 0, 2, 2]
    assert indices.ravel().tolist() == [1, 0, 3, 2]


def test_many_duplicates_and_exclude_self():
    rng = np.random.RandomState(0)
    X = rng.randint(3, size=(150, 3)).astype(np.float32)
    distances, indices = nearest_neighbors(X, X, 5, exclude_self=True)
    np.testing.assert_allclose(distances, by_brute_force(X, X, 5, exclude_self=True))
    assert not (indices == np.arange(150)[:, None]).any()


def test_duplicates_do_not_bring_on_the_slow_search(monkeypatch):
    # Copies tie exactly, as those of a k-Same release: no other row can be nearer.
    monkeypatch.delattr(_neighbors._Differences, "_values")
    rng = np.random.RandomState(0)
    Y = np.repeat(rng.randn(30, 64), 20, axis=0)
    X = rng.randn(50, 64)
    np.testing.assert_allclose(nearest_neighbors(X, Y)[0], by_brute_force(X, Y, 1))


@pytest.mark.parametrize("exclude_self", [False, True])
def test_blocks_do_not_change_the_result(monkeypatch, exclude_self):
    X = np.random.RandomState(0).randn(70, 5)
    expected = nearest_neighbors(X, X, 3, exclude_self=exclude_self)
    monkeypatch.setattr(_neighbors, "_BLOCK_BYTES", 70 * 4 * 9)
    found = nearest_neighbors(X, X, 3, exclude_self=exclude_self)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_order_of_rows_does_not_matter():
    rng = np.random.RandomState(0)
    X, Y = rng.randn(40, 6), rng.randn(50, 6)
    rows, columns = rng.permutation(40), rng.permutation(50)
    distances, indices = nearest_neighbors(X, Y, 3)
    shuffled = nearest_neighbors(X[rows], Y[columns], 3)
    np.testing.assert_array_equal(shuffled[0], distances[rows])
    np.testing.assert_array_equal(columns[shuffled[1]], indices[rows])


def test_input_is_left_alone():
    X = np.random.RandomState(0).randn(20, 3)
    before = X.copy()
    X.setflags(write=False)
    nearest_neighbors(X, X, 2, metric="cosine")
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("X", "Y", "arguments", "message"),
    [
        ([[np.nan]], [[1.0]], {}, "NaN"),
        ([[1.0]], [[np.inf]], {}, "infinity"),
        ([1.0], [[1.0]], {}, "2D"),
        ([[1.0]], [[1.0, 2.0]], {}, "same features"),
        ([[1.0]], np.empty((0, 1)), {}, "0 sample"),
        ([[1.0]], [[1.0]], {"n_neighbors": 2}, "only 1 samples"),
        ([[1.0]], [[1.0]], {"exclude_self": True}, "only 0 samples"),
        ([[1.0]], [[1.0], [2.0]], {"exclude_self": True}, "same samples"),
        ([[1.0]], [[0.0]], {"metric": "cosine"}, "Y has 1 samples of zeros"),
    ],
)
def test_bad_input_is_refused(X, Y, arguments, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(X, Y, **arguments)
