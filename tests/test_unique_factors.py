"""Draws do not depend on which eigenvectors the linear algebra library returns."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skcvae import _thin_covariance
from skcvae.anonymization import GenerativeAnonymizer, load
from skcvae.generators import (
    CGAN,
    CVAE,
    VAE,
    ClassGaussian,
    DPClassGaussian,
    FlowMatching,
)
from skcvae.long_tail import KernelNeighborsClassifier, LongTailClassifier
from skcvae.over_sampling import (
    CVAEOverSampler,
    GenerativeOverSampler,
    HardOverSampler,
    QualityFilter,
)

_eigh = np.linalg.eigh
NET = {"max_epochs": 2, "hidden_dim": 8, "device": "cpu"}
N_FEATURES = 30


def turned_eigh(matrix):
    """Return other eigenvectors: of equal values turned, and every second negative."""
    values, vectors = _eigh(matrix)
    vectors = vectors.copy()
    size = max(np.abs(values).max(initial=0), 1e-300)
    breaks = np.flatnonzero(np.diff(values) > 1e-9 * size) + 1
    for run in np.split(np.arange(len(values)), breaks):
        turn = np.linalg.qr(np.random.RandomState(0).normal(size=2 * (len(run),)))[0]
        vectors[:, run] = vectors[:, run] @ turn
    vectors[:, ::2] *= -1
    return values, vectors


@pytest.fixture(scope="module")
def data():
    """Fewer samples than features: a shrunk covariance has equal eigenvalues."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [10, 7, 5])
    X = rng.normal(size=(22, 4)) @ rng.normal(size=(4, N_FEATURES))
    return X + rng.normal(size=X.shape) + y[:, None], y


@pytest.fixture(params=["dense", "thin"])
def kind(request, monkeypatch):
    if request.param == "thin":
        monkeypatch.setattr(_thin_covariance, "MAX_DENSE_FEATURES", N_FEATURES - 1)


def assert_unique(monkeypatch, draw, atol=1e-3):
    expected = draw()
    monkeypatch.setattr(np.linalg, "eigh", turned_eigh)
    assert_allclose(draw(), expected, atol=atol)


def test_turned_eigenvectors_are_others_of_the_same_matrix():
    matrix = np.diag([2.0, 2.0, 5.0])
    values, vectors = turned_eigh(matrix)
    assert_allclose(vectors * values @ vectors.T, matrix, atol=1e-12)
    assert np.abs(vectors - _eigh(matrix)[1]).max() > 0.1


@pytest.mark.parametrize(
    "generator",
    [
        ClassGaussian(),
        ClassGaussian(covariance_shrinkage="oas"),
        ClassGaussian(covariance_shrinkage="factors"),
        ClassGaussian(covariance_type="full"),
        ClassGaussian(covariance_type="full", covariance_shrinkage="factors"),
        DPClassGaussian(classes=range(3)),
        CVAE(**NET),
        CVAE(prior="standard", **NET),
        VAE(**NET),
        CGAN(max_epochs=2, device="cpu"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_generators(data, monkeypatch, kind, generator):
    def draw():
        generator.set_params(random_state=0)
        return generator.fit(*data).sample(y=np.arange(3))[0]

    assert_unique(monkeypatch, draw)


@pytest.mark.filterwarnings("ignore")
def test_flow_matching_where_no_values_are_equal(monkeypatch):
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], 40)
    X = rng.normal(size=(80, 5)) * np.arange(1, 6) + y[:, None]

    def draw():
        flow = FlowMatching(max_epochs=2, device="cpu", random_state=0)
        return flow.fit(X, y).sample(20)[0]

    assert_unique(monkeypatch, draw)


@pytest.mark.parametrize(
    "sampler",
    [
        GenerativeOverSampler(),
        GenerativeOverSampler(ClassGaussian(covariance_type="full")),
        CVAEOverSampler(**NET),
        HardOverSampler(),
        QualityFilter(GenerativeOverSampler(), quantile=0.3),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_over_samplers(data, monkeypatch, kind, sampler):
    def draw():
        sampler.set_params(random_state=0)
        return sampler.fit_resample(*data)[0]

    assert_unique(monkeypatch, draw)


@pytest.mark.parametrize("generator", [ClassGaussian(), CVAE(**NET)], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_releases(data, monkeypatch, kind, generator, tmp_path):
    def draw():
        anonymizer = GenerativeAnonymizer(
            generator, random_state=0, max_mean_leakage=1.0, min_class_size=2
        )
        anonymizer.fit(*data).release(tmp_path / "release.safetensors")
        released = load(tmp_path / "release.safetensors")
        return released.sample(y=np.arange(3), random_state=0)[0]

    assert_unique(monkeypatch, draw)


@pytest.mark.parametrize(
    "classifier",
    [
        LongTailClassifier(solver="closed_form"),
        LongTailClassifier(solver="sgd", max_epochs=2),
        KernelNeighborsClassifier(),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_classifiers(data, monkeypatch, kind, classifier):
    def draw():
        if "random_state" in classifier.get_params():
            classifier.set_params(random_state=0)
        return classifier.fit(*data).predict_proba(data[0])

    assert_unique(monkeypatch, draw)
