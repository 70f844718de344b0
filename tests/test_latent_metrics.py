"""Latents against the normal distribution, and how much they tell of the class."""

import numpy as np
import pytest
from scipy.stats import kstest, norm
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from skcvae.metrics._latents import latent_normality_distance, latent_separability

# Normality


def test_each_class_and_dimension_has_the_distance_of_scipy():
    rng = np.random.RandomState(0)
    y = rng.permutation(np.repeat(["b", "a"], [30, 20]))
    Z = rng.randn(50, 3) * [0.5, 1, 2]
    result = latent_normality_distance(Z, y=y)
    assert result.classes.tolist() == ["a", "b"]
    for c, label in enumerate("ab"):
        for j in range(3):
            expected = kstest(Z[y == label, j], "norm")
            assert result.distances[c, j] == pytest.approx(expected.statistic)
            assert result.p_values[c, j] == pytest.approx(expected.pvalue)
    np.testing.assert_allclose(result.class_means, result.distances.mean(axis=1))
    assert result.mean == pytest.approx(result.distances.mean())


@pytest.mark.parametrize(
    ("Z", "distance"),
    [
        ([0.0], 0.5),
        ([0.0, 0.0], 0.5),
        ([100.0, 200.0], 1.0),
        # Quantiles 1/6, 3/6, 5/6: steps of 1/3 around them.
        (norm.ppf([1 / 6, 3 / 6, 5 / 6]), 1 / 6),
    ],
)
def test_distances_computed_by_hand(Z, distance):
    Z = np.reshape(Z, (-1, 1))
    result = latent_normality_distance(Z, y=np.zeros(len(Z)))
    assert result.mean == pytest.approx(distance)


def test_normal_latents_have_the_distance_of_the_note():
    rng = np.random.RandomState(0)
    result = latent_normality_distance(
        rng.randn(100 * 200, 2), y=np.repeat(np.arange(100), 200)
    )
    assert result.mean == pytest.approx(0.87 / np.sqrt(200), rel=0.06)
    assert np.mean(result.p_values < 0.05) < 0.12


def test_the_mean_over_classes_weights_classes_alike():
    Z = np.concatenate([np.zeros(30), np.full(2, 100.0)])[:, None]
    result = latent_normality_distance(Z, y=np.repeat([0, 1], [30, 2]))
    assert result.mean == pytest.approx((0.5 + 1) / 2)


# Separability


def test_latents_that_are_the_class_are_separable():
    y = np.repeat(["a", "b", "c"], 20)
    Z = 50 * np.eye(3)[np.repeat([0, 1, 2], 20)]
    result = latent_separability(Z, y=y, random_state=0)
    assert (result.accuracy, result.std) == (1, 0)
    assert result.chance == pytest.approx(1 / 3)


def test_latents_that_know_nothing_are_at_chance():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], [700, 300])
    result = latent_separability(rng.randn(1000, 2), y=y, random_state=0)
    assert result.chance == 0.7
    assert result.accuracy == pytest.approx(0.7, abs=0.02)


def test_a_given_classifier_is_used_and_left_unfitted():
    # A ring around a disk: no line separates them.
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], 100)
    angle = rng.uniform(0, 2 * np.pi, 200)
    Z = np.where(y, 5.0, 1.0)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    neighbors = KNeighborsClassifier(3)
    assert latent_separability(Z, y=y, random_state=0).accuracy < 0.65
    found = latent_separability(Z, y=y, classifier=neighbors, random_state=0)
    assert found.accuracy == 1
    assert not hasattr(neighbors, "classes_")


def test_seeds_reproduce_and_the_global_state_is_left_alone(random_states):
    rng = np.random.RandomState(0)
    Z, y = rng.randn(90, 2), np.repeat([0, 1, 2], 30)
    Z += y[:, None]
    before = random_states()
    first, same, other = (
        latent_separability(
            Z, y=y, classifier=LogisticRegression(), cv=3, random_state=seed
        )
        for seed in (0, 0, 1)
    )
    assert first == same != other
    assert random_states() == before


def test_classes_that_cannot_be_in_every_fold_are_named():
    y = np.repeat(["a", "b", "c"], [10, 4, 3])
    Z = np.random.RandomState(0).randn(17, 2)
    with pytest.raises(ValueError, match=r"2 classes have fewer than 5 .*'b', 'c'"):
        latent_separability(Z, y=y)
    latent_separability(Z, y=y, cv=3)


# Errors


@pytest.mark.parametrize(
    ("Z", "y", "message"),
    [
        ([[np.nan]] * 10, [0] * 5 + [1] * 5, "Z contains NaN"),
        (np.ones((10, 1)), [0] * 9, "inconsistent numbers"),
        (np.ones(10), [0] * 10, "2D"),
        (np.ones((10, 1)), [0] * 9 + [None], "y contains missing"),
    ],
)
@pytest.mark.parametrize("function", [latent_normality_distance, latent_separability])
def test_bad_latents_are_refused(function, Z, y, message):
    with pytest.raises(ValueError, match=message):
        function(Z, y=y)


def test_one_class_is_nothing_to_separate():
    with pytest.raises(ValueError, match="y has one class"):
        latent_separability(np.ones((10, 1)), y=np.zeros(10))
