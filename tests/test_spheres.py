"""Smallest spheres: known ones, all supports by brute force, and the proof itself."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group
from sklearn.exceptions import ConvergenceWarning

from skcvae.metrics import _spheres
from skcvae.metrics._spheres import bounding_sphere, class_bounding_spheres


def by_brute_force(X):
    """Return the smallest radius over the spheres through up to d + 1 rows."""
    best = np.inf
    for size in range(1, X.shape[1] + 2):
        for subset in combinations(range(len(X)), size):
            base = X[subset[0]]
            edges = X[list(subset[1:])] - base
            half = np.square(edges).sum(axis=1) / 2
            center = base + np.linalg.lstsq(edges, half, rcond=None)[0]
            radius = np.linalg.norm(X - center, axis=1).max()
            best = min(best, radius)
    return best


def check_proof(X, sphere, tol=1e-6):
    """Check what the result says of itself."""
    radius = np.linalg.norm(X - sphere.center, axis=1).max()
    assert sphere.radius == pytest.approx(radius, rel=1e-12)
    assert (1 - tol) * sphere.radius <= sphere.lower_bound <= sphere.radius


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_agrees_with_all_supports(n_features, seed):
    X = np.random.RandomState(seed).randn(12, n_features)
    sphere = bounding_sphere(X)
    check_proof(X, sphere)
    assert sphere.radius == pytest.approx(by_brute_force(X), rel=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_rows_on_a_lattice_with_copies_agree_with_all_supports(seed):
    # Dependent supports, ties and several rows in one place.
    rng = np.random.RandomState(seed)
    X = rng.randint(3, size=(rng.randint(1, 12), rng.randint(1, 4))).astype(float)
    sphere = bounding_sphere(X)
    check_proof(X, sphere)
    assert sphere.radius == pytest.approx(by_brute_force(X), rel=1e-6)


@pytest.mark.parametrize("n_features", [2, 7, 50])
def test_corners_of_a_simplex(n_features):
    # The mean is at the distance sqrt(1 - 1/n) from each unit vector.
    sphere = bounding_sphere(np.eye(n_features))
    assert sphere.radius == pytest.approx(np.sqrt(1 - 1 / n_features))
    np.testing.assert_allclose(sphere.center, 1 / n_features)
    assert sphere.support.tolist() == list(range(n_features))


@pytest.mark.parametrize("offset", [0, 1e6])
def test_a_known_ball_in_many_dimensions(offset):
    rng = np.random.RandomState(0)
    inside = rng.randn(400, 100)
    inside *= 2.9 * rng.rand(400, 1) / np.linalg.norm(inside, axis=1, keepdims=True)
    surface = 3 * np.vstack([np.eye(100), -np.eye(100)])
    sphere = bounding_sphere(offset + np.vstack([inside, surface]))
    assert sphere.radius == pytest.approx(3)
    np.testing.assert_allclose(sphere.center, offset, atol=1e-2)


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (500, 3)])
def test_bounds_meet_and_the_diameter_bounds_the_radius(shape):
    X = np.random.RandomState(0).randn(*shape)
    sphere = bounding_sphere(X, tol=1e-9)
    check_proof(X, sphere, tol=1e-9)
    # Jung's theorem.
    half = pdist(X).max() / 2
    assert half <= sphere.radius <= half * np.sqrt(2 * shape[1] / (shape[1] + 1))
    # The rows of the support alone need the same sphere.
    assert bounding_sphere(X[sphere.support]).radius == pytest.approx(sphere.radius)


def test_moves_and_scales_with_the_rows():
    rng = np.random.RandomState(0)
    X = rng.randn(60, 6)
    expected = bounding_sphere(X)
    rotation = ortho_group.rvs(6, random_state=0)
    moved = bounding_sphere(4 * X[rng.permutation(60)] @ rotation + 7)
    assert moved.radius == pytest.approx(4 * expected.radius)
    np.testing.assert_allclose(moved.center, 4 * expected.center @ rotation + 7)


def test_rows_inside_do_not_matter():
    rng = np.random.RandomState(0)
    X = rng.randn(40, 4)
    sphere = bounding_sphere(X)
    more = np.vstack([X, sphere.center + 0.1 * rng.randn(100, 4)])
    assert bounding_sphere(more).radius == pytest.approx(sphere.radius, rel=1e-9)


@pytest.mark.parametrize("X", [[[3.0, 4.0]], [[3.3, 0.1]] * 9])
def test_one_place_has_the_radius_zero(X):
    sphere = bounding_sphere(X)
    assert sphere.radius == sphere.lower_bound == 0
    np.testing.assert_allclose(sphere.center, X[0])


@pytest.mark.parametrize("tol", [0.1, 1e-3])
def test_a_loose_tolerance_is_kept(tol):
    X = np.random.RandomState(0).randn(400, 60)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    loose, tight = bounding_sphere(X, tol=tol), bounding_sphere(X, tol=1e-9)
    check_proof(X, loose, tol)
    assert loose.lower_bound <= tight.radius * (1 + 1e-9)
    assert len(loose.support) < len(tight.support)


def test_a_gap_that_is_left_is_told(monkeypatch):
    monkeypatch.setattr(
        _spheres, "_smallest_sphere", lambda rows, tol: (np.array([0]), np.ones(1))
    )
    with pytest.warns(ConvergenceWarning, match="between 0 and 2") as caught:
        sphere = bounding_sphere([[0.0], [2.0]])
    assert caught[0].filename == __file__
    assert (sphere.lower_bound, sphere.radius) == (0, 2)


def test_classes_have_spheres_of_their_own():
    rng = np.random.RandomState(0)
    y = rng.permutation(np.repeat(["b", "a", "single"], [20, 30, 1]))
    X = rng.randn(51, 3)
    spheres = class_bounding_spheres(X, y=y)
    assert spheres.classes.tolist() == ["a", "b", "single"]
    assert spheres.n_samples.tolist() == [30, 20, 1]
    for c, label in enumerate(spheres.classes):
        alone = bounding_sphere(X[y == label])
        assert spheres.radii[c] == alone.radius
        assert spheres.lower_bounds[c] == alone.lower_bound
        np.testing.assert_array_equal(spheres.centers[c], alone.center)
    assert spheres.radii[2] == 0
    assert spheres.mean == pytest.approx(spheres.radii.mean())


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[np.nan]], "X contains NaN"),
        (np.empty((0, 2)), "0 sample"),
        ([1.0, 2.0], "2D"),
    ],
)
def test_bad_rows_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        bounding_sphere(X)
    with pytest.raises(ValueError, match=message):
        class_bounding_spheres(X, y=np.zeros(len(X)))


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="inconsistent numbers"):
        class_bounding_spheres([[1.0], [2.0]], y=[0])
