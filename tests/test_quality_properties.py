"""What metrics of quality must do whatever the rows: order, motions, scale, bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.linear_model import LogisticRegression

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

# The same examples each time, on a machine of any speed.
PROFILE = settings(derandomize=True, deadline=None, max_examples=25, database=None)
FEW = settings(PROFILE, max_examples=8)
N_NEIGHBORS = 3
# Random rows have no ties, so that rounding cannot turn a decision.
SEEDS = st.integers(0, 2**32 - 1)
SCALES = st.floats(-2, 3).map(lambda exponent: 10**exponent)
SPREADS = st.floats(0.3, 3)
SHIFTS = st.floats(-5, 5)


class Case:
    """Two sets of rows with classes, and a motion of their space."""

    def __init__(self, seed, sizes, n_features, scale, spread, shift):
        self.rng = np.random.RandomState(seed)
        self.real, self.synthetic = (
            self.rng.randn(size, n_features) * [np.exp(self.rng.randn(n_features))]
            for size in sizes
        )
        self.synthetic = spread * self.synthetic + shift
        self.y_real, self.y_synthetic = (np.arange(size) % 2 for size in sizes)
        self.scale = scale
        rotation = (
            ortho_group.rvs(n_features, random_state=self.rng)
            if n_features > 1
            else np.array([[-1.0]])
        )
        self.rotation, self.offset = rotation, 3 * self.rng.randn(n_features)

    def orders(self):
        """Return an order of each set."""
        return [self.rng.permutation(len(y)) for y in (self.y_real, self.y_synthetic)]

    def move(self, rows):
        """Scale, turn and shift rows."""
        return self.scale * (rows @ self.rotation + self.offset)

    @property
    def pair(self):
        return self.real, self.synthetic

    @property
    def moved(self):
        return self.move(self.real), self.move(self.synthetic)

    @property
    def labels(self):
        return {"y_real": self.y_real, "y_synthetic": self.y_synthetic}


def cases(min_rows=8, max_rows=40, max_features=8):
    sizes = st.tuples(*[st.integers(min_rows, max_rows)] * 2)
    return st.builds(
        Case, SEEDS, sizes, st.integers(1, max_features), SCALES, SPREADS, SHIFTS
    )


def close(value, rel=1e-7, **kwargs):
    return pytest.approx(value, rel=rel, **kwargs)


def squared_size(*sets):
    """Return the mean squared distance from the mean, which rounding errors follow."""
    pooled = np.concatenate(sets)
    return np.square(pooled - pooled.mean(axis=0)).sum(axis=1).mean()


def approx_distance(value, *sets):
    """Compare squared distances up to the rounding of the rows that they are of."""
    return close(value, abs=1e-9 * squared_size(*sets))


# Fréchet distances


@PROFILE
@given(cases())
def test_frechet_distance_is_symmetric_and_moves_as_squares_do(case):
    distance = frechet_distance(*case.pair)
    assert distance >= 0
    assert frechet_distance(*case.pair[::-1]) == approx_distance(distance, *case.pair)
    order, other = case.orders()
    shuffled = frechet_distance(case.real[order], case.synthetic[other])
    assert shuffled == approx_distance(distance, *case.pair)
    expected = case.scale**2 * distance
    assert frechet_distance(*case.moved) == approx_distance(expected, *case.moved)


@PROFILE
@given(cases())
def test_frechet_distance_lies_between_that_of_the_means_and_that_of_all(case):
    # Gaussians that are coupled in no way have the distance of means and variances.
    distance = frechet_distance(*case.pair)
    gap = np.square(case.real.mean(axis=0) - case.synthetic.mean(axis=0)).sum()
    variance = sum(rows.var(axis=0, ddof=1).sum() for rows in case.pair)
    slack = 1e-9 * squared_size(*case.pair)
    assert gap - slack <= distance <= gap + variance + slack


@PROFILE
@given(cases())
def test_roots_of_frechet_distances_obey_the_triangle_inequality(case):
    half = len(case.real) // 2
    sets = case.real[:half], case.real[half:], case.synthetic
    direct, first, second = (
        np.sqrt(frechet_distance(sets[i], sets[j])) for i, j in ((0, 2), (0, 1), (1, 2))
    )
    assert direct <= first + second + 1e-4 * np.sqrt(squared_size(*sets))


@PROFILE
@given(cases())
def test_class_frechet_distances_move_as_squares_do(case):
    result = class_frechet_distance(*case.pair, **case.labels)
    order, other = case.orders()
    shuffled = class_frechet_distance(
        case.real[order],
        case.synthetic[other],
        y_real=case.y_real[order],
        y_synthetic=case.y_synthetic[other],
    )
    moved = class_frechet_distance(*case.moved, **case.labels)
    for c in range(2):
        distance = result.distances[c]
        assert shuffled.distances[c] == approx_distance(distance, *case.pair)
        expected = case.scale**2 * distance
        assert moved.distances[c] == approx_distance(expected, *case.moved)
    assert result.mean == close(result.distances.mean())


@FEW
@given(cases(min_rows=30, max_features=4), SEEDS)
def test_bias_and_extrapolation_move_as_squares_do(case, seed):
    settings = {"random_state": seed % 100}
    square = case.scale**2
    bias, moved = (
        frechet_bias(*pair, n_permutations=3, **settings)
        for pair in (case.pair, case.moved)
    )
    assert bias.mean > 0
    assert moved.mean == approx_distance(square * bias.mean, *case.moved)
    assert moved.std == approx_distance(square * bias.std, *case.moved)
    line, moved = (
        extrapolated_frechet_distance(*pair, n_parts=3, **settings)
        for pair in (case.pair, case.moved)
    )
    assert moved.distance == approx_distance(square * line.distance, *case.moved)
    assert moved.slope == approx_distance(square * line.slope, *case.moved)


# Nearest neighbours


@PROFILE
@given(cases())
def test_balls_of_neighbours_do_not_depend_on_order_motions_or_scale(case):
    scores = precision_recall_density_coverage(*case.pair, n_neighbors=N_NEIGHBORS)
    order, other = case.orders()
    for pair in ((case.real[order], case.synthetic[other]), case.moved):
        again = precision_recall_density_coverage(*pair, n_neighbors=N_NEIGHBORS)
        assert again == close(scores)
    swapped = precision_recall_density_coverage(
        *case.pair[::-1], n_neighbors=N_NEIGHBORS
    )
    assert (swapped.precision, swapped.recall) == (scores.recall, scores.precision)
    for name in ("precision", "recall", "coverage"):
        assert 0 <= scores[name] <= 1
    # A row is in no more balls than there are, and in one or more if it is precise.
    assert scores.precision / N_NEIGHBORS <= scores.density + 1e-12
    assert scores.density <= len(case.real) / N_NEIGHBORS
    assert (scores.coverage > 0) == (scores.density > 0)


@PROFILE
@given(cases())
def test_nearest_neighbour_coverage_does_not_depend_on_order_motions_or_scale(case):
    coverage = nearest_neighbor_coverage(*case.pair)
    order, other = case.orders()
    shuffled = nearest_neighbor_coverage(case.real[order], case.synthetic[other])
    assert shuffled == nearest_neighbor_coverage(*case.moved) == coverage
    n, m = len(case.real), len(case.synthetic)
    assert 1 / n <= coverage <= min(1, m / n)
    # More rows cover no less.
    assert nearest_neighbor_coverage(case.real, case.synthetic[: m // 2]) <= coverage


@PROFILE
@given(cases())
def test_class_coverages_do_not_depend_on_order_motions_or_scale(case):
    labels = {"y_reference": case.y_real, "y": case.y_synthetic}
    result = class_nearest_neighbor_coverage(*case.pair, **labels)
    moved = class_nearest_neighbor_coverage(*case.moved, **labels)
    order, other = case.orders()
    shuffled = class_nearest_neighbor_coverage(
        case.real[order],
        case.synthetic[other],
        y_reference=case.y_real[order],
        y=case.y_synthetic[other],
    )
    for again in (moved, shuffled):
        assert again.coverages.tolist() == result.coverages.tolist()
    assert ((result.coverages > 0) & (result.coverages <= 1)).all()


# Spheres


@PROFILE
@given(cases())
def test_spheres_move_and_scale_with_their_rows(case):
    sphere = bounding_sphere(case.real)
    moved = bounding_sphere(case.move(case.real[case.orders()[0]]))
    # Both are within the tolerance of the smallest radius.
    assert moved.radius == close(case.scale * sphere.radius, rel=3e-6)
    gap = np.linalg.norm(moved.center - case.move(sphere.center))
    assert gap <= 1e-2 * moved.radius
    half = bounding_sphere(case.real[: len(case.real) // 2])
    assert half.radius <= sphere.radius * (1 + 3e-6)


@PROFILE
@given(cases())
def test_class_spheres_scale_with_their_rows_and_are_smaller_than_that_of_all(case):
    order = case.orders()[0]
    spheres = class_bounding_spheres(case.real, y=case.y_real)
    moved = class_bounding_spheres(case.move(case.real[order]), y=case.y_real[order])
    np.testing.assert_allclose(moved.radii, case.scale * spheres.radii, rtol=3e-6)
    assert spheres.radii.max() <= bounding_sphere(case.real).radius * (1 + 3e-6)


# Two-sample tests


@PROFILE
@given(cases())
def test_discrepancy_is_symmetric_and_free_of_motions_and_scale(case):
    result = maximum_mean_discrepancy(*case.pair)
    assert result.discrepancy <= 2
    order, other = case.orders()
    shuffled = maximum_mean_discrepancy(case.real[order], case.synthetic[other])
    swapped = maximum_mean_discrepancy(*case.pair[::-1])
    moved = maximum_mean_discrepancy(*case.moved)
    for again in (shuffled, swapped, moved):
        assert again.discrepancy == close(result.discrepancy, abs=1e-9)
    assert moved.bandwidth == close(case.scale * result.bandwidth)


@FEW
@given(cases(), st.integers(1, 20))
def test_p_values_of_shuffles_count_them(case, n):
    p_value = maximum_mean_discrepancy(
        *case.pair, n_permutations=n, random_state=0
    ).p_value
    count = p_value * (n + 1)
    assert count == close(round(count))
    assert 1 <= round(count) <= n + 1


@FEW
@given(cases(min_rows=12, max_features=3))
def test_the_classifier_test_does_not_depend_on_scales_of_features(case):
    result = classifier_two_sample_test(*case.pair, random_state=0)
    scales = np.exp(case.rng.randn(case.real.shape[1]))
    scaled = classifier_two_sample_test(
        *(rows * scales + case.offset for rows in case.pair), random_state=0
    )
    assert scaled.accuracy == close(result.accuracy)
    assert scaled.auc == close(result.auc)
    assert (
        0 <= result.accuracy.low <= result.accuracy.value <= result.accuracy.high <= 1
    )
    assert 0 <= result.auc <= 1
    assert 0 <= result.p_value <= 1
    assert result.n_tested == 2 * min(map(len, case.pair))


# Diversity


@PROFILE
@given(cases())
def test_distances_of_pairs_move_and_scale_with_the_rows(case):
    rows, moved = case.real, case.move(case.real[case.orders()[0]])
    mean, smallest = mean_pairwise_distance(rows), minimum_pairwise_distance(rows)
    assert mean_pairwise_distance(moved).mean == close(case.scale * mean.mean)
    again = minimum_pairwise_distance(moved)
    assert again.distance == close(
        case.scale * smallest.distance, abs=1e-9 * case.scale
    )
    radius = bounding_sphere(rows).radius
    assert smallest.distance <= mean.mean * (1 + 1e-12) <= 2 * radius * (1 + 1e-6)
    some = mean_pairwise_distance(rows, n_pairs=10, random_state=0)
    scaled = mean_pairwise_distance(case.move(rows), n_pairs=10, random_state=0)
    assert smallest.distance * (1 - 1e-9) <= some.mean <= 2 * radius
    assert scaled.mean == close(case.scale * some.mean)
    assert scaled.standard_error == close(case.scale * some.standard_error, rel=1e-6)


@PROFILE
@given(cases())
def test_distances_of_pairs_of_classes_scale_with_the_rows(case):
    order = case.orders()[0]
    result = class_pairwise_distance(case.real, y=case.y_real)
    moved = class_pairwise_distance(case.move(case.real[order]), y=case.y_real[order])
    np.testing.assert_allclose(moved.distances, case.scale * result.distances)


# Probabilities


@st.composite
def probabilities(draw):
    """Return probabilities of some classes, sharp or blurred, and true classes."""
    rng = np.random.RandomState(draw(SEEDS))
    n_classes = draw(st.integers(2, 6))
    n_rows = draw(st.integers(n_classes, 40))
    y_prob = rng.dirichlet(np.full(n_classes, draw(st.floats(0.05, 5))), size=n_rows)
    y_true = rng.permutation(np.arange(n_rows) % n_classes)
    return y_true, y_prob, rng


@PROFILE
@given(probabilities())
def test_inception_scores_are_between_one_and_the_number_of_classes(drawn):
    _, y_prob, rng = drawn
    score = inception_score(y_prob)
    assert 1 - 1e-9 <= score <= y_prob.shape[1] + 1e-9
    shuffled = y_prob[rng.permutation(len(y_prob))]
    assert inception_score(shuffled) == close(score)
    assert inception_score(shuffled[:, ::-1]) == close(score)
    assert inception_score(np.repeat(y_prob, 2, axis=0)) == close(score)
    # The mean of posteriors tells less of classes than they do.
    blurred = (y_prob + y_prob.mean(axis=0)) / 2
    assert inception_score(blurred) <= score + 1e-9


@PROFILE
@given(
    probabilities(),
    st.sampled_from(["uniform", "quantile"]),
    st.sampled_from(["confidence", "classwise"]),
    st.integers(1, 20),
)
def test_calibration_errors_are_shares_and_do_not_depend_on_order(
    drawn, strategy, kind, n_bins
):
    y_true, y_prob, rng = drawn
    settings = {"strategy": strategy, "kind": kind, "n_bins": n_bins}
    error = expected_calibration_error(y_true, y_prob, **settings)
    assert 0 <= error <= 1
    order = rng.permutation(len(y_true))
    again = expected_calibration_error(y_true[order], y_prob[order], **settings)
    assert again == close(error, abs=1e-12)
    weight = np.full(len(y_true), 2.5)
    weighted = expected_calibration_error(
        y_true, y_prob, sample_weight=weight, **settings
    )
    assert weighted == close(error, abs=1e-12)
    if strategy == "uniform":
        # One bin hides what more bins show.
        one = expected_calibration_error(y_true, y_prob, **{**settings, "n_bins": 1})
        assert one <= error + 1e-12


# Latents


@PROFILE
@given(cases())
def test_normality_does_not_depend_on_order_or_signs(case):
    result = latent_normality_distance(case.real, y=case.y_real)
    order = case.orders()[0]
    for rows in (case.real[order], -case.real[order]):
        again = latent_normality_distance(rows, y=case.y_real[order])
        np.testing.assert_allclose(again.distances, result.distances, atol=1e-12)
    # The empirical distribution has steps of 1/n, half of which is always missed.
    counts = np.bincount(case.y_real)[:, None]
    assert (result.distances >= 0.5 / counts - 1e-12).all()
    assert (result.distances <= 1).all()
    assert ((result.p_values >= 0) & (result.p_values <= 1)).all()


@FEW
@given(cases(min_rows=14, max_features=3))
def test_separability_does_not_depend_on_scales_of_latents_or_names_of_classes(case):
    Z = case.real + case.y_real[:, None]
    result = latent_separability(Z, y=case.y_real, random_state=0)
    assert 0 <= result.accuracy <= 1
    assert 0.5 <= result.chance <= 1
    scales = np.exp(case.rng.randn(Z.shape[1]))
    names = np.array(["a", "b"])[case.y_real]
    again = latent_separability(Z * scales + case.offset, y=names, random_state=0)
    # A row on the boundary may go either way.
    assert again.accuracy == close(result.accuracy, abs=1.01 / len(Z))
    assert again.chance == result.chance


@FEW
@given(cases())
def test_generalization_gaps_change_sign_with_the_sets(case):
    pair = (case.real, case.y_real), (case.synthetic, case.y_synthetic)
    classifier = LogisticRegression().fit(*pair[0])
    (order, other) = case.orders()
    forward = generalization_gap(classifier, *pair[0], *pair[1])
    backward = generalization_gap(classifier, *pair[1], *pair[0])
    shuffled = generalization_gap(
        classifier,
        *(values[order] for values in pair[0]),
        *(values[other] for values in pair[1]),
    )
    assert forward.gap == -backward.gap == close(shuffled.gap, abs=1e-12)
    assert -1 <= forward.gap <= 1
