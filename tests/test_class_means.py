"""Shrunk class means and the covariance around them, against brute force."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from skcvae._class_means import (
    fit_class_means,
    leave_one_out_residuals,
    raw_class_means,
    shrink_class_means,
    within_class_covariance,
)


def random_classes(counts=(6, 1, 3, 9), n_features=4, seed=0):
    """Return rows of shifted classes in a random order, and their codes."""
    rng = np.random.RandomState(seed)
    codes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    shifts = rng.normal(size=(len(counts), n_features))
    return shifts[codes] + rng.normal(size=(len(codes), n_features)), codes


def shrinkage(Z, codes):
    return fit_class_means(Z, codes, codes.max() + 1).k0


def variance_components(n_classes, ratio, max_count, n_features=5, seed=0):
    """Return unbalanced classes whose variance within is `ratio` times that between."""
    rng = np.random.RandomState(seed)
    counts = rng.randint(1, max_count + 1, n_classes)
    codes = np.repeat(np.arange(n_classes), counts)
    factor = rng.normal(size=(n_features, n_features))
    centres = rng.normal(size=(n_classes, n_features)) @ factor / np.sqrt(ratio)
    Z = centres[codes] + rng.normal(size=(len(codes), n_features)) @ factor
    return Z, codes, centres


def test_raw_means_are_the_means_of_the_rows():
    Z, codes = random_classes()
    expected = [Z[codes == code].mean(axis=0) for code in range(4)]
    np.testing.assert_allclose(raw_class_means(Z, codes, 4), expected)


def test_shrinkage_agrees_with_a_hand_computed_analysis_of_variance():
    Z = np.array([[1.0], [3.0], [6.0], [8.0], [2.0], [4.0], [9.0]])
    codes = np.array([0, 0, 1, 1, 2, 2, 2])
    # Means 2, 7, 5 and 33/7; squares 30 within, 1246/49 between; n_0 = 7 - 17/7.
    within = 30 / 4
    between = (1246 / 49 - 2 * within) / (32 / 7)
    np.testing.assert_allclose(shrinkage(Z, codes), within / between, rtol=1e-6)


@pytest.mark.parametrize("ratio", [0.25, 4.0])
def test_shrinkage_recovers_the_variance_ratio(ratio):
    Z, codes, _ = variance_components(n_classes=500, ratio=ratio, max_count=30)
    np.testing.assert_allclose(shrinkage(Z, codes), ratio, rtol=0.1)


def test_shrinkage_is_infinite_where_class_means_are_equal():
    Z, codes = random_classes(counts=(5, 5, 5))
    Z -= raw_class_means(Z, codes, 3)[codes]
    assert shrinkage(Z, codes) == np.inf


def test_shrinkage_is_zero_where_classes_have_no_variance():
    codes = np.repeat([0, 1, 2], 4)
    assert shrinkage(np.eye(3)[codes], codes) == 0


def test_shrinkage_of_a_single_class_leaves_its_mean():
    Z, codes = random_classes(counts=(8,))
    assert shrinkage(Z, codes) == 0


def test_shrinkage_of_classes_of_one_row_meets_halfway():
    Z, codes = random_classes(counts=(1, 1, 1))
    k0 = shrinkage(Z, codes)
    means = raw_class_means(Z, codes, 3)
    shrunk = shrink_class_means(means, Z.mean(axis=0), np.ones(3), k0)
    np.testing.assert_allclose(shrunk, (means + Z.mean(axis=0)) / 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda Z, codes: (Z + 3.0, codes),
        lambda Z, codes: (1e-3 * Z, codes),
        lambda Z, codes: (
            Z @ np.linalg.qr(np.arange(16.0).reshape(4, 4) ** 2)[0],
            codes,
        ),
        lambda Z, codes: (Z[::-1], codes[::-1]),
        lambda Z, codes: (Z, codes.max() - codes),
    ],
    ids=["shift", "scale", "rotation", "order of rows", "order of classes"],
)
def test_shrinkage_is_invariant(change):
    Z, codes = random_classes()
    np.testing.assert_allclose(shrinkage(*change(Z, codes)), shrinkage(Z, codes))


@pytest.mark.parametrize("k0", [0.0, 2.5])
def test_shrunk_mean_is_that_of_the_class_and_pseudo_rows(k0):
    Z, codes = random_classes()
    counts, overall = np.bincount(codes), Z.mean(axis=0)
    shrunk = shrink_class_means(raw_class_means(Z, codes, 4), overall, counts, k0)
    for code in range(4):
        total = Z[codes == code].sum(axis=0) + k0 * overall
        np.testing.assert_allclose(shrunk[code], total / (counts[code] + k0))


def test_infinite_shrinkage_gives_the_overall_mean():
    Z, codes = random_classes()
    overall = Z.mean(axis=0)
    means = raw_class_means(Z, codes, 4)
    shrunk = shrink_class_means(means, overall, np.bincount(codes), np.inf)
    np.testing.assert_array_equal(shrunk, np.tile(overall, (4, 1)))


def test_shrunk_means_are_closer_to_the_truth():
    Z, codes, centres = variance_components(n_classes=200, ratio=4, max_count=10)
    means = raw_class_means(Z, codes, len(centres))
    shrunk = shrink_class_means(
        means, Z.mean(axis=0), np.bincount(codes), shrinkage(Z, codes)
    )
    assert ((shrunk - centres) ** 2).sum() < 0.7 * ((means - centres) ** 2).sum()


@pytest.mark.parametrize("k0", [0.0, 3.0, np.inf])
def test_leave_one_out_residuals_agree_with_a_loop(k0):
    Z, codes = random_classes()
    overall = Z.mean(axis=0)
    residuals = leave_one_out_residuals(Z, codes, raw_class_means(Z, codes, 4), k0)
    for row, (z, code) in enumerate(zip(Z, codes, strict=True)):
        others = (codes == code) & (np.arange(len(Z)) != row)
        n_others = others.sum()
        mean = overall
        if n_others and np.isfinite(k0):
            total = Z[others].sum(axis=0) + k0 * overall
            mean = total / (n_others + k0)
        np.testing.assert_allclose(residuals[row], z - mean, atol=1e-12)


def test_covariance_without_shrinkage_is_the_pooled_one():
    Z, codes = random_classes(counts=(6, 2, 3, 9))
    means = raw_class_means(Z, codes, 4)
    lda = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True)
    biased = lda.fit(Z, codes).covariance_
    np.testing.assert_allclose(
        within_class_covariance(Z, codes, means, 0), biased * len(Z) / (len(Z) - 4)
    )


def test_automatic_covariance_is_that_of_ledoit_and_wolf():
    Z, codes = random_classes(counts=(30, 20, 10))
    means = raw_class_means(Z, codes, 3)
    centred = np.concatenate(
        [Z[codes == c] - Z[codes == c].mean(axis=0) for c in range(3)]
    )
    expected, _ = ledoit_wolf(centred, assume_centered=True)
    np.testing.assert_allclose(
        within_class_covariance(Z, codes, means), expected * 60 / 57
    )


def test_full_shrinkage_keeps_only_the_total_variance():
    Z, codes = random_classes()
    means = raw_class_means(Z, codes, 4)
    total = np.trace(within_class_covariance(Z, codes, means, 0))
    np.testing.assert_allclose(
        within_class_covariance(Z, codes, means, 1), total / 4 * np.eye(4)
    )


def test_covariance_of_classes_of_one_row_is_that_of_all_rows():
    Z, codes = random_classes(counts=(1, 1, 1, 1, 1))
    means = raw_class_means(Z, codes, 5)
    np.testing.assert_allclose(
        within_class_covariance(Z, codes, means, 0), np.cov(Z, rowvar=False)
    )
