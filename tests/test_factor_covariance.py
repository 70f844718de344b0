"""The covariance of few factors: what its spectrum tells, and releases refuse."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from skcvae import _factor_covariance
from skcvae._class_means import raw_class_means, within_class_covariance
from skcvae._factor_covariance import (
    contrasts,
    count_free_directions,
    factor_covariance,
)
from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, load
from skcvae.anonymization._spectrum import check_spectrum, round_auto_variance
from skcvae.generators import CVAE, ClassGaussian

N_CLASSES, N_FEATURES = 10, 512


def embeddings(n_samples, seed):
    """Return members, others and references whose spectrum decays as in embeddings."""
    rng = np.random.RandomState(seed)
    scale = np.arange(1, N_FEATURES + 1) ** -0.5
    rotation, _ = np.linalg.qr(rng.normal(size=(N_FEATURES, N_FEATURES)))
    centres = rng.normal(size=(N_CLASSES, N_FEATURES)) * scale
    y = np.arange(n_samples) % N_CLASSES
    parts = [
        (centres[y] + rng.normal(size=(n_samples, N_FEATURES)) * scale) @ rotation
        for _ in range(3)
    ]
    return parts, y


def spectrum_aucs(covariance, parts, y):
    """Return the AUC of residuals where variance is least, and of the likelihood."""
    members, others, reference = parts
    means = raw_class_means(reference, y, N_CLASSES)
    values, vectors = np.linalg.eigh(covariance)
    squares = [np.square((X - means[y]) @ vectors) for X in (members, others)]
    truth = np.repeat([1, 0], len(y))
    n_least = max(np.sum(values < 1.0001 * values[0]), N_FEATURES // 4)
    scores = [
        [-part[:, :n_least].sum(axis=1) for part in squares],
        [-part[:, :n_least].sum(axis=1) / part.sum(axis=1) for part in squares],
        [-(part / values).sum(axis=1) for part in squares],
    ]
    return [roc_auc_score(truth, np.concatenate(both)) for both in scores]


@pytest.mark.parametrize("n_samples", [200, 300])
def test_spectrum_does_not_tell_members(n_samples):
    found = {"auto": [], "factors": []}
    for seed in range(3):
        parts, y = embeddings(n_samples, seed)
        means = raw_class_means(parts[0], y, N_CLASSES)
        for shrinkage, aucs in found.items():
            covariance = within_class_covariance(parts[0], y, means, shrinkage)
            aucs.append(spectrum_aucs(covariance, parts, y))
    assert np.mean(found["factors"], axis=0).max() <= 0.55
    # The same attack succeeds against the estimate of Ledoit and Wolf.
    assert np.mean(found["auto"], axis=0).max() > 0.9


@pytest.mark.parametrize("n_samples", [200, 300])
def test_repeated_eigenvalues_do_not_tell_the_number_of_samples(n_samples):
    (members, *_), y = embeddings(n_samples, 0)
    means = raw_class_means(members, y, N_CLASSES)
    freedom = n_samples - N_CLASSES
    plain = within_class_covariance(members, y, means)
    smooth = within_class_covariance(members, y, means, "factors")
    assert count_free_directions(plain) == freedom
    assert count_free_directions(smooth) < freedom / 4


def test_total_variance_is_that_within_classes():
    (members, *_), y = embeddings(200, 0)
    means = raw_class_means(members, y, N_CLASSES)
    pooled = within_class_covariance(members, y, means, 0)
    smooth = within_class_covariance(members, y, means, "factors")
    assert_allclose(np.trace(smooth), np.trace(pooled))


def test_many_samples_give_the_covariance_they_have():
    rng = np.random.RandomState(0)
    factor = rng.normal(size=(4, 4))
    rows = rng.normal(size=(40_000, 4)) @ factor.T
    assert_allclose(factor_covariance(rows), factor @ factor.T, atol=0.1)


def test_contrasts_have_the_products_of_residuals():
    rng = np.random.RandomState(0)
    codes = rng.permutation(np.repeat([0, 1, 2, 3], [6, 1, 3, 9]))
    Z = rng.normal(size=(19, 5)) + 10 * codes[:, None]
    rows = contrasts(Z, codes, 4)
    residuals = Z - raw_class_means(Z, codes, 4)[codes]
    assert rows.shape == (15, 5)
    assert_allclose(rows.T @ rows, residuals.T @ residuals)


@pytest.mark.parametrize(
    "rows", [np.zeros((8, 3)), np.ones((1, 3)), np.ones((2, 1)), np.eye(30)[:, :20]]
)
def test_degenerate_rows_give_a_finite_covariance(rows):
    covariance = factor_covariance(rows)
    assert_allclose(np.trace(covariance), np.sum(rows**2) / len(rows))
    assert np.linalg.eigvalsh(covariance)[0] >= -1e-12


def test_classes_of_one_sample_have_the_covariance_of_all():
    X = np.random.RandomState(0).normal(size=(60, 3))
    generator = ClassGaussian(covariance_shrinkage="factors").fit(X, np.arange(60))
    assert 0.8 < np.trace(generator.covariance_) / 3 < 1.2


def test_free_directions_are_counted():
    values = np.diag([3.0, 2.0, 1.0, 1.0, 1.0])
    assert count_free_directions(values) == 2
    assert count_free_directions(np.eye(4)) == 0
    assert count_free_directions(np.diag([4.0, 3.0, 2.0])) == 2


def test_anonymizers_take_factors_in_place_of_auto():
    (X, *_), y = embeddings(200, 0)
    for given, taken in [("auto", "factors"), (0.5, 0.5)]:
        generator = ClassGaussian(covariance_shrinkage=given)
        fitted = GenerativeAnonymizer(generator).fit(X, y).generator_
        assert fitted.covariance_shrinkage == taken


@pytest.mark.parametrize("covariance_type", ["tied", "full"])
@pytest.mark.parametrize("shrinkage", [0.0, 0.5])
def test_release_refuses_what_tells_the_number_of_samples(
    shrinkage, covariance_type, tmp_path
):
    (X, *_), y = embeddings(200, 0)
    params = {"covariance_shrinkage": shrinkage, "covariance_type": covariance_type}
    generator = ClassGaussian(**params)
    anonymizer = GenerativeAnonymizer(generator, max_mean_leakage=1).fit(X, y)
    path = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="covariance_shrinkage='factors'"):
        anonymizer.release(path)
    assert not path.exists()
    anonymizer.set_params(generator__covariance_shrinkage="auto").fit(X, y)
    assert load(anonymizer.release(path)).sample(3)[0].shape == (3, N_FEATURES)


def test_small_classes_with_their_own_covariance_keep_their_numbers():
    rng = np.random.RandomState(0)
    sizes = [2_000, 300, 11, 2, 1]
    y = np.repeat(np.arange(5), sizes)
    X = rng.normal(size=(len(y), 12)) * np.arange(1, 13)
    generator = ClassGaussian(covariance_type="full", covariance_shrinkage="factors")
    generator.fit(X, y)
    check_spectrum(generator)
    # Powers of two: 11 samples are not told from 8 or 15.
    factors = generator.whitening_.factor
    free = [count_free_directions(factor @ factor.T) for factor in factors]
    assert free[2:] == [4, 1, 0]


def test_noise_of_a_cvae_is_smooth():
    (X, *_), y = embeddings(200, 0)
    cvae = CVAE(max_epochs=2, latent_dim=4, device="cpu", random_state=0).fit(X, y)
    check_spectrum(cvae)
    # As Ledoit and Wolf's estimate would be.
    residuals = np.random.RandomState(0).normal(size=(200, N_FEATURES))
    scatter = residuals.T @ residuals / 200 + 0.1 * np.eye(N_FEATURES)
    std = cvae.net_.module_.feature_std().detach().double().numpy()
    cvae.noise_factor_ = std[:, None] * np.linalg.cholesky(scatter)
    with pytest.raises(ValueError, match="its spectrum tells"):
        check_spectrum(cvae)


def test_automatic_variance_of_a_release_tells_no_count(tmp_path):
    (X, *_), _ = embeddings(200, 0)
    y = np.repeat([0, 1, 2], [150, 30, 20])
    generator = ClassGaussian(variance="auto", mean_shrinkage=2.0)
    anonymizer = GenerativeAnonymizer(generator, max_mean_leakage=1).fit(X, y)
    release = load(anonymizer.release(tmp_path / "a.safetensors"))
    exact = anonymizer.generator_._resolve_variance()
    powers = np.log2(release.variance - 1)
    assert_allclose(powers, np.round(powers), atol=1e-3)
    assert np.all(np.abs(powers - np.log2(exact - 1)) <= 0.501)
    assert_allclose(round_auto_variance([1.0, 1.26, 1.7]), [1, 1.25, 1.5])


def test_draws_do_not_depend_on_a_basis_of_equal_eigenvalues(monkeypatch):
    (X, *_), y = embeddings(200, 0)
    generator = ClassGaussian(covariance_shrinkage="factors", random_state=0).fit(X, y)
    expected = generator.sample(y=y[:20])[0]
    eigh = np.linalg.eigh

    def rotated(matrix):
        values, vectors = eigh(matrix)
        turn, _ = np.linalg.qr(np.random.RandomState(0).normal(size=(400, 400)))
        vectors[:, :400] = vectors[:, :400] @ turn
        return values, vectors

    monkeypatch.setattr(np.linalg, "eigh", rotated)
    drawn = clone(generator)
    drawn.__dict__.update(generator.__dict__)
    assert_allclose(drawn.sample(y=y[:20])[0], expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_cvae_of_fewer_samples_than_features_is_released(tmp_path):
    (X, *_), y = embeddings(200, 0)
    fast = {"max_epochs": 2, "latent_dim": 4, "device": "cpu", "random_state": 0}
    anonymizer = CVAEAnonymizer(**fast, max_mean_leakage=1).fit(X, y)
    release = load(anonymizer.release(tmp_path / "a.safetensors"))
    assert release.sample(3)[0].shape == (3, N_FEATURES)


@pytest.mark.parametrize("n_rows", [24, 31, 200])
def test_blocks_and_the_number_of_components_judged_at_first_change_nothing(
    n_rows, monkeypatch
):
    rng = np.random.RandomState(0)
    E = rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, 12))
    E = (E + 0.3 * rng.normal(size=E.shape)).astype(np.float32)
    expected = factor_covariance(E.astype(np.float64))
    monkeypatch.setattr(_factor_covariance, "_BLOCK_NUMBERS", 7 * 12)
    monkeypatch.setattr(_factor_covariance, "_FIRST_NUMBER", 1)
    assert_allclose(factor_covariance(E), expected, rtol=1e-10, atol=1e-12)
