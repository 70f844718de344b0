"""Attacks against other libraries and hand-computed tables, and their controls."""

from functools import partial

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from skcvae.privacy._attack_result import attack_controls, attack_result
from skcvae.privacy._membership import (
    label_inference_gap,
    nearest_neighbor_attack,
    scaler_attack,
)


@pytest.fixture
def sets():
    """Synthetic rows near some members, members, non-members and reference."""
    rng = np.random.RandomState(0)
    scale = [1, 50, 0.02, 1, 1, 1]
    M, H, R = (rng.randn(n, 6) * scale for n in (120, 100, 90))
    return M[:80] + 0.3 * rng.randn(80, 6) * scale, M, H, R


def spread(rows):
    """Return one scale for all features."""
    return np.sqrt(rows.var(axis=0).mean())


def area(score, M, H):
    scores = np.r_[score(M), score(H)]
    return roc_auc_score(np.repeat([1, 0], [len(M), len(H)]), scores)


@pytest.mark.parametrize("scale", ["common", "feature"])
def test_nearest_neighbor_attack_by_all_distances(sets, scale):
    R = sets[3]
    divisor = spread(R) if scale == "common" else R.std(axis=0)
    S, M, H, R = (rows / divisor for rows in sets)
    result = nearest_neighbor_attack(*sets, scale=scale)
    expected = area(lambda X: -cdist(X, S).min(1) / cdist(X, R).min(1), M, H)
    assert result.auc.value == pytest.approx(expected)
    assert result.auc.value > 0.55
    assert (result.n_members, result.n_nonmembers) == (120, 100)


def test_attack_without_reference_takes_the_scale_of_the_synthetic_rows(sets):
    S, M, H, _ = (rows / spread(sets[0]) for rows in sets)
    result = nearest_neighbor_attack(*sets[:3], calibrate=False)
    expected = area(lambda X: -cdist(X, S).min(1), M, H)
    assert result.auc.value == pytest.approx(expected)


def test_calibration_needs_a_reference(sets):
    with pytest.raises(ValueError, match="needs X_reference"):
        nearest_neighbor_attack(*sets[:3])


by_feature = partial(nearest_neighbor_attack, scale="feature")


@pytest.mark.parametrize(
    ("attack", "units"),
    [
        (nearest_neighbor_attack, 1e3),
        (by_feature, 10.0 ** np.arange(-3, 3)),
    ],
    ids=["nearest_neighbor", "by_feature"],
)
def test_attacks_depend_on_neither_order_nor_units(attack, units, sets):
    rng = np.random.RandomState(1)
    expected = attack(*sets).auc
    shuffled = [rows[rng.permutation(len(rows))] for rows in sets]
    np.testing.assert_allclose(attack(*shuffled).auc, expected, rtol=1e-9)
    in_other_units = [rows * units + 5 * units for rows in sets]
    np.testing.assert_allclose(attack(*in_other_units).auc, expected, rtol=1e-9)


def test_a_release_cannot_hide_behind_an_outlier_of_its_own(sets):
    S, M, H, R = sets
    with_outlier = np.vstack([S, 1e3 * S[:1]])
    result = nearest_neighbor_attack(with_outlier, M, H, R)
    assert result == nearest_neighbor_attack(S, M, H, R)


def test_a_constant_feature_changes_nothing(sets):
    attack = nearest_neighbor_attack
    with_constant = [np.c_[rows, np.full(len(rows), 0.1)] for rows in sets]
    np.testing.assert_allclose(attack(*with_constant).auc, attack(*sets).auc)


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (1, 2, "X_members are also in X_nonmembers"),
        (1, 3, "X_members are also in X_reference"),
        (2, 3, "X_nonmembers are also in X_reference"),
    ],
)
def test_records_in_two_sets_are_refused(sets, first, second, names):
    sets[second][:4] = sets[first][3:7]
    with pytest.raises(ValueError, match=f"4 samples of {names}"):
        nearest_neighbor_attack(*sets)


def test_a_duplicate_in_the_other_precision_is_refused(sets):
    S, M, H, R = sets
    H[0] = M[0]
    with pytest.raises(ValueError, match="1 samples"):
        nearest_neighbor_attack(S, M.astype(np.float32), H, R)


# Released extremes


def test_scaler_attack_by_hand():
    M = np.array([[0, 5, 1], [1, 6, 1], [0.5, 5.5, 1], [0.2, 9, 1]])
    H = np.array([[0.3, 7, 1], [0, 7, 1], [-1, 20, 1]])
    rates = scaler_attack(M.min(axis=0), M.max(axis=0), M, H)
    # Rows 0, 1 and 3 attain an extreme; of the others one ties with the minimum, and
    # one lies beyond. The third feature is constant.
    assert rates.tpr.value == 0.75
    assert rates.fpr.value == pytest.approx(1 / 3)


def test_scaler_attack_finds_extremes_that_were_rounded():
    rng = np.random.RandomState(0)
    M, H = rng.randn(300, 20), rng.randn(300, 20)
    extremes = (extreme.astype(np.float32) for extreme in (M.min(0), M.max(0)))
    rates = scaler_attack(*extremes, M, H)
    attained = np.equal(M, M.min(0)) | np.equal(M, M.max(0))
    assert rates.tpr.value == attained.any(axis=1).mean()
    assert rates.fpr.value == 0


# Labels


def test_label_inference_by_hand():
    S, y_S = np.array([[0.0], [1.0], [2.0]]), ["a", "b", "c"]
    M, y_M = np.array([[0.1], [0.9], [2.2], [1.9]]), ["a", "b", "c", "b"]
    H, y_H = np.array([[0.2], [1.2]]), ["b", "a"]
    found = label_inference_gap(S, y_S, M, y_M, H, y_H)
    assert (found.members.value, found.nonmembers.value) == (0.75, 0)
    assert found.difference.value == 0.75
    assert found.difference.low < found.difference.value < found.difference.high


def test_label_inference_with_a_classifier():
    rng = np.random.RandomState(0)
    S, M, H = rng.randn(3, 200, 2)
    y_S, y_M, y_H = (rows[:, 0] > 0 for rows in (S, M, H))
    found = label_inference_gap(S, y_S, M, y_M, H, ~y_H, estimator=LogisticRegression())
    assert found.members.value > 0.95
    assert found.nonmembers.value < 0.05


def test_labels_must_fit_the_rows():
    X = np.arange(4.0)[:, None]
    with pytest.raises(ValueError, match="inconsistent"):
        label_inference_gap(X, [0, 1], X, [0] * 4, X + 9, [0] * 4)
    for labels in (["0"] * 4, [7] * 4):
        with pytest.raises(ValueError, match="none of the labels in y_members"):
            label_inference_gap(X, labels, X, [0] * 4, X + 9, [0] * 4)
    label_inference_gap(X, [0.0] * 4, X, [0] * 4, X + 9, [0] * 4)
    for missing in (np.nan, None):
        with pytest.raises(ValueError, match="y_members contains missing values"):
            label_inference_gap(X, [0] * 4, X, [0, 1, 1, missing], X + 9, [0] * 4)


# Controls


def independent(n=200, n_features=5):
    return np.random.RandomState(0).randn(3, n, n_features)


def test_a_good_attack_is_usable():
    controls = attack_controls(nearest_neighbor_attack, *independent(), random_state=0)
    assert controls.positive.auc.value == 1
    assert controls.negative.auc.low < 0.5 < controls.negative.auc.high
    assert controls.usable


def test_an_attack_that_is_blind_is_not_usable():
    def blind(S, M, H, R):
        rng = np.random.RandomState(0)
        return attack_result("blind", rng.randn(len(M)), rng.randn(len(H)))

    controls = attack_controls(blind, *independent(), random_state=0)
    assert controls.negative.auc.low < 0.5 < controls.negative.auc.high
    assert not controls.usable


def test_an_attack_that_accuses_whatever_is_released_is_not_usable():
    def biased(S, M, H, R):
        return attack_result("biased", np.arange(len(M)) + 500.0, np.arange(len(H)))

    controls = attack_controls(biased, *independent(), random_state=0)
    assert controls.positive.auc.value == 1
    assert not controls.usable


def test_controls_release_what_they_say():
    M, H, R = independent(21)
    seen = []

    def spy(*rows):
        seen.append(rows)
        return attack_result("spy", np.arange(21), np.arange(21))

    attack_controls(spy, M, H, R, random_state=0)
    positive, negative = seen
    for one, other in zip(positive, (M, M, H, R), strict=True):
        np.testing.assert_array_equal(one, other)
    halves = np.vstack([negative[0], negative[3]])
    assert abs(len(negative[0]) - len(negative[3])) == 1
    np.testing.assert_array_equal(np.sort(halves, axis=0), np.sort(R, axis=0))


def test_controls_need_some_reference():
    M, H, R = independent(20)
    with pytest.raises(ValueError, match="minimum of 4"):
        attack_controls(nearest_neighbor_attack, M, H, R[:3])
