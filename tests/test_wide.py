"""Wide data: as by arrays of features squared, and without them."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.linalg import fractional_matrix_power
from scipy.stats import multivariate_normal

from skcvae import _thin_covariance
from skcvae._class_means import fit_class_means, make_definite
from skcvae._factor_covariance import count_free_directions, factor_covariance
from skcvae._thin_covariance import (
    ThinCovariance,
    gaussian_log_density,
    quadratic_form,
)
from skcvae.anonymization import GenerativeAnonymizer, load
from skcvae.generators import CGAN, CVAE, VAE, ClassGaussian, FlowMatching
from skcvae.generators._samplers import make_factor
from skcvae.long_tail import (
    KernelNeighborsClassifier,
    LongTailClassifier,
    ShrunkQuadraticDiscriminant,
)
from skcvae.over_sampling import GenerativeOverSampler, QualityFilter


@pytest.fixture(scope="module")
def data():
    """61 samples of 500 features, 9 of them in the minority."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], [52, 9])
    X = rng.normal(size=(61, 10)) @ rng.normal(size=(10, 500))
    X += rng.normal(size=X.shape)
    X[y == 1, :50] += 1
    X[:, 7] = 2.0
    return X.astype(np.float32), y


@pytest.fixture
def thin(monkeypatch):
    """Return a function that keeps covariances of 101 features or more thin."""
    return lambda: monkeypatch.setattr(_thin_covariance, "MAX_DENSE_FEATURES", 100)


@pytest.fixture
def example():
    """A thin covariance of six features, and the same as an array."""
    vectors = np.linalg.qr(np.random.RandomState(0).normal(size=(6, 2)))[0]
    covariance = ThinCovariance(vectors, np.array([3.0, 0.2]), 0.5)
    outside = np.eye(6) - vectors @ vectors.T
    return covariance, vectors @ np.diag([3.0, 0.2]) @ vectors.T + 0.5 * outside


def test_thin_covariance_is_the_array_that_it_stands_for(example):
    covariance, dense = example
    rows = np.random.RandomState(1).normal(size=(4, 6))
    assert_allclose(covariance.toarray(), dense, atol=1e-12)
    assert_allclose(covariance.trace(), np.trace(dense))
    for power in (-1, -0.5, -0.25, 0.5):
        expected = rows @ fractional_matrix_power(dense, power)
        assert_allclose(covariance.power(rows, power), expected, atol=1e-10)
    assert_allclose(quadratic_form(covariance, rows.T), rows @ dense @ rows.T)
    scaled, scale = covariance.rescale(np.arange(1.0, 7)), np.diag(np.arange(1.0, 7))
    assert_allclose(scaled.toarray(), scale @ dense @ scale)
    assert_allclose(scaled.trace(), np.trace(scale @ dense @ scale))
    assert_allclose(
        gaussian_log_density(rows, scaled, 0.3),
        multivariate_normal(cov=np.exp(0.6) * scale @ dense @ scale).logpdf(rows),
    )
    assert count_free_directions(covariance) == 2


@pytest.mark.parametrize("shrinkage", ["auto", "oas", "factors", 0.3])
def test_means_and_covariance_are_those_of_arrays(data, thin, shrinkage):
    X, y = data
    dense = fit_class_means(X, y, 2, covariance_shrinkage=shrinkage)
    thin()
    found = fit_class_means(X, y, 2, covariance_shrinkage=shrinkage)
    assert isinstance(found.covariance, ThinCovariance)
    assert_allclose(found.k0, dense.k0, rtol=1e-5)
    assert_allclose(found.shrunk, dense.shrunk, atol=1e-5)
    assert_allclose(found.covariance.toarray(), dense.covariance, atol=1e-5)


@pytest.mark.parametrize(
    "params",
    [{}, {"covariance_shrinkage": "factors"}, {"covariance_type": "full"}],
    ids=str,
)
def test_same_seed_draws_what_arrays_draw(data, thin, params):
    def resample():
        sampler = GenerativeOverSampler(ClassGaussian(**params), random_state=0)
        return sampler.fit_resample(*data)[0]

    dense = resample()
    thin()
    assert_allclose(resample(), dense, atol=1e-4)


@pytest.mark.parametrize("params", [{}, {"augment": None}], ids=str)
def test_closed_form_finds_the_same_weights(data, thin, params):
    def fit():
        classifier = LongTailClassifier(solver="closed_form", random_state=0, **params)
        return classifier.fit(*data).predict_proba(data[0])

    dense = fit()
    thin()
    assert_allclose(fit(), dense, atol=1e-3)


@pytest.mark.parametrize(
    "classifier", [KernelNeighborsClassifier(), ShrunkQuadraticDiscriminant()], ids=str
)
def test_likelihood_classifiers_say_the_same(data, thin, classifier):
    X, y = data
    dense = classifier.fit(X, y).predict_proba(X)
    thin()
    assert_allclose(classifier.fit(X, y).predict_proba(X), dense, atol=1e-3)


def test_quality_filter_keeps_the_same(data, thin):
    def resample():
        sampler = QualityFilter(GenerativeOverSampler(), quantile=0.3, random_state=0)
        return sampler.fit_resample(*data)[0]

    dense = resample()
    thin()
    assert_allclose(resample(), dense, atol=1e-4)


@pytest.mark.parametrize("architecture", ["small", "large"])
@pytest.mark.parametrize("kind", [CVAE, VAE])
def test_wide_cvae_keeps_means_and_variances(data, thin, kind, architecture):
    X, y = data
    real = X[y == 0]

    def measure():
        generator = kind(
            architecture=architecture, max_epochs=60, device="cpu", random_state=0
        ).fit(X, y)
        assert generator.reconstruct(X, y).shape == X.shape
        drawn, _ = generator.sample(y=np.zeros(400, dtype=int), random_state=1)
        assert_allclose(drawn[:, 7], 2)
        shift = np.square(drawn.mean(axis=0) - real.mean(axis=0)).sum()
        assert shift < 0.1 * real.var(axis=0).sum()
        total = drawn.var(axis=0).sum() / real.var(axis=0, ddof=1).sum()
        return total, generator

    expected, _ = measure()
    thin()
    total, generator = measure()
    assert isinstance(generator.noise_factor_, ThinCovariance)
    assert abs(total - expected) < 0.15


def test_a_failed_training_keeps_no_coordinates_of_samples(data, thin):
    thin()
    generator = CVAE(lr=1e20, max_epochs=2, device="cpu", random_state=0)
    with pytest.raises(FloatingPointError):
        generator.fit(*data)
    assert "_coordinates" not in vars(generator)


def test_net_of_coordinates_is_the_same_function_of_features(data, thin, monkeypatch):
    from skcvae.generators import _cvae

    kept = {}

    class Kept(_cvae.SampleCoordinates):
        def widen(self, module):
            codes = torch.zeros(61, dtype=torch.int64)
            before = module.encode(torch.from_numpy(self.coordinates), codes)[0]
            decoded = module.decode(before, codes).numpy()
            kept["before"], kept["decoded"] = before, self.to_features(decoded)
            super().widen(module)
            rows = torch.from_numpy(self.to_features(self.coordinates))
            kept["after"] = module.encode(rows.float(), codes)[0]
            kept["now"] = module.decode(kept["after"], codes)

    monkeypatch.setattr(_cvae, "SampleCoordinates", Kept)
    thin()
    CVAE(max_epochs=2, device="cpu", random_state=0).fit(*data)
    assert_allclose(kept["after"], kept["before"], atol=1e-4)
    assert_allclose(kept["now"], kept["decoded"], atol=1e-3)


@pytest.mark.parametrize(
    "generator",
    [ClassGaussian(), CVAE(max_epochs=2, hidden_dim=32, device="cpu")],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_wide_releases_draw_what_the_anonymizer_draws(data, thin, generator, tmp_path):
    thin()
    anonymizer = GenerativeAnonymizer(
        generator, random_state=0, max_mean_leakage=1.0, min_class_size=2
    )
    anonymizer.fit(*data)
    anonymizer.release(tmp_path / "release.safetensors")
    released = load(tmp_path / "release.safetensors")
    drawn, _ = released.sample(y=[0, 1, 1], random_state=0)
    expected, _ = anonymizer.sample(y=[0, 1, 1], random_state=0)
    assert_allclose(drawn, expected, atol=1e-3)


@pytest.mark.parametrize(
    "generator", [ClassGaussian(), CVAE(), CGAN(), FlowMatching()], ids=str
)
def test_too_large_data_are_refused(data, thin, monkeypatch, generator):
    thin()
    monkeypatch.setattr(_thin_covariance, "MAX_SIZE", 60)
    with pytest.raises(ValueError, match="PCA"):
        generator.fit(*data)


def test_no_array_of_features_squared_is_made():
    """8,000 features squared take 512 MB; the samples take 1 MB."""
    import tracemalloc

    X = np.random.RandomState(0).normal(size=(40, 8000)).astype(np.float32)
    y = np.repeat([0, 1], [30, 10])
    tracemalloc.start()
    GenerativeOverSampler(random_state=0).fit_resample(X, y)
    LongTailClassifier(random_state=0).fit(X, y)
    CVAE(max_epochs=2, device="cpu", random_state=0).fit(X, y).sample(50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


def test_factors_of_rows_that_never_vary():
    covariance = factor_covariance(np.zeros((6, 3000)))
    assert make_definite(covariance).trace() > 0


def test_a_thin_factor_knows_the_lengths_of_its_rows():
    rng = np.random.RandomState(0)
    vectors = np.linalg.qr(rng.normal(size=(12, 3)))[0]
    covariance = ThinCovariance(vectors, np.array([5.0, 2.0, 1.0]), 0.3)
    factor = make_factor(covariance.rescale(rng.uniform(1, 2, 12)))
    expected = factor.toarray().norm(dim=1)
    assert_allclose(factor.row_norms(), expected, rtol=1e-5)
