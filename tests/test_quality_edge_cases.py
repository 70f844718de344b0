"""Metrics of quality for sets that are the same, sets far apart, and empty ones."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from skcvae.metrics import (
    bounding_sphere,
    class_bounding_spheres,
    class_frechet_distance,
    class_nearest_neighbor_coverage,
    class_pairwise_distance,
    classifier_two_sample_test,
    expected_calibration_error,
    extrapolated_frechet_distance,
    frechet_bias,
    frechet_distance,
    generalization_gap,
    inception_score,
    latent_normality_distance,
    latent_separability,
    maximum_mean_discrepancy,
    mean_pairwise_distance,
    minimum_pairwise_distance,
    nearest_neighbor_coverage,
    precision_recall_density_coverage,
)

X = np.random.RandomState(0).randn(60, 3)
Y = np.arange(60) % 2
FAR = X + np.array([100.0, 0.0, 0.0])
NONE = np.empty((0, 3))
NO_LABELS = np.empty(0, dtype=int)


def test_classes_that_are_the_same_have_no_distance():
    order = np.random.RandomState(1).permutation(60)
    result = class_frechet_distance(X, X[order], y_real=Y, y_synthetic=Y[order])
    np.testing.assert_allclose(result.distances, 0, atol=1e-9)


def test_classes_far_apart_have_the_squared_distance_of_their_means():
    result = class_frechet_distance(X, FAR, y_real=Y, y_synthetic=Y)
    np.testing.assert_allclose(result.distances, 100**2)


def test_extrapolation_of_sets_far_apart_is_their_distance():
    far = extrapolated_frechet_distance(X, FAR, n_parts=3, random_state=0)
    assert far.distance == pytest.approx(100**2, rel=0.05)


def test_bias_does_not_see_from_which_set_rows_are():
    # Shuffled, the sets share their rows: what is left is far below their distance.
    same = frechet_bias(X, X, random_state=0).mean
    assert 0 < same < 1
    assert frechet_bias(X, FAR, random_state=0).mean < 0.05 * 100**2


def test_classes_cover_themselves_and_one_place_covers_one_row():
    labels = {"y_reference": Y, "y": Y}
    assert class_nearest_neighbor_coverage(X, X, **labels).coverages.tolist() == [1, 1]
    far = class_nearest_neighbor_coverage(X, np.full((60, 3), 1e3), **labels)
    assert far.coverages.tolist() == [1 / 30, 1 / 30]


def test_the_classifier_test_finds_no_difference_of_a_set_and_itself():
    result = classifier_two_sample_test(X, X, random_state=0)
    assert result.accuracy.low < 0.5
    assert result.p_value > 0.05


def test_a_set_and_itself_have_a_negative_discrepancy():
    # Without the pairs of a row and itself, which the product of the sets has.
    assert -2 / 60 < maximum_mean_discrepancy(X, X).discrepancy < 0


def test_latents_that_are_the_same_in_all_classes_are_not_separable():
    Z = np.repeat(X, 2, axis=0)
    result = latent_separability(Z, y=np.tile([0, 1], 60), random_state=0)
    assert result.accuracy <= 0.55


def test_the_same_rows_leave_no_gap_and_wrong_ones_the_largest():
    neighbor = KNeighborsClassifier(1).fit(X, Y)
    assert generalization_gap(neighbor, X, Y, X, Y).gap == 0
    assert generalization_gap(neighbor, X, Y, X, 1 - Y).gap == 1


def test_sure_predictions_have_no_error_or_the_largest():
    y_prob = np.eye(2)[Y]
    assert expected_calibration_error(Y, y_prob) == 0
    assert expected_calibration_error(1 - Y, y_prob) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: frechet_distance(NONE, X),
        lambda: frechet_bias(X, NONE),
        lambda: extrapolated_frechet_distance(NONE, X),
        lambda: class_frechet_distance(NONE, X, y_real=NO_LABELS, y_synthetic=Y),
        lambda: precision_recall_density_coverage(NONE, X),
        lambda: nearest_neighbor_coverage(X, NONE),
        lambda: nearest_neighbor_coverage(NONE, X),
        lambda: class_nearest_neighbor_coverage(NONE, X, y_reference=NO_LABELS, y=Y),
        lambda: bounding_sphere(NONE),
        lambda: class_bounding_spheres(NONE, y=NO_LABELS),
        lambda: maximum_mean_discrepancy(X, NONE),
        lambda: classifier_two_sample_test(X, NONE),
        lambda: inception_score(np.empty((0, 2))),
        lambda: expected_calibration_error(NO_LABELS, np.empty((0, 2))),
        lambda: mean_pairwise_distance(NONE),
        lambda: minimum_pairwise_distance(NONE),
        lambda: class_pairwise_distance(NONE, y=NO_LABELS),
        lambda: latent_normality_distance(NONE, y=NO_LABELS),
        lambda: latent_separability(NONE, y=NO_LABELS),
        lambda: generalization_gap(
            KNeighborsClassifier(1).fit(X, Y), X, Y, NONE, NO_LABELS
        ),
    ],
)
def test_no_rows_are_an_error(call):
    with pytest.raises(ValueError, match="0 sample"):
        call()
