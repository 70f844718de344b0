"""The VAE: networks that see no labels, and latents that carry them."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skcvae import GenerativeAnonymizer, GenerativeOverSampler
from skcvae.generators import CVAE, VAE
from skcvae.generators._samplers import labelled_prior

_NET = {"module__hidden_dim": 32}


def make_vae(**params):
    defaults = {
        "latent_dim": 4,
        "max_epochs": 4,
        "batch_size": 64,
        "device": "cpu",
        "random_state": 0,
        "net_params": _NET,
    }
    return VAE(**{**defaults, **params})


def factor_classes(n_rows):
    """Three classes with known means around a plane, and a little noise."""
    rng = np.random.RandomState(0)
    loadings = rng.normal(size=(6, 2))
    means = np.array([[0, 0], [6, 0], [0, 6]]) @ loadings.T
    y = np.repeat(np.arange(3), n_rows)
    X = means[y] + rng.normal(size=(len(y), 2)) @ loadings.T
    X += 0.3 * rng.normal(size=X.shape)
    return X, y, means, loadings @ loadings.T + 0.09 * np.eye(6)


@pytest.fixture(scope="module")
def rows():
    X, y, _, _ = factor_classes(30)
    return X, y


@pytest.fixture(scope="module")
def fitted(rows):
    return make_vae().fit(*rows)


def weights(generator):
    return generator.net_.module_.state_dict().values()


def test_networks_do_not_see_the_labels(rows, fitted):
    X, y = rows
    other = make_vae().fit(X, np.random.RandomState(0).permutation(y))
    assert all(map(torch.equal, weights(other), weights(fitted)))
    assert not np.array_equal(other.latent_prior_.centre, fitted.latent_prior_.centre)


def test_reference_objective_is_the_cvae_told_one_label_for_all(rows):
    X, y = rows
    params = {"objective": "reference", "latent_dim": 2, "beta": 1e-3, "lr": 1e-2}
    told = CVAE(**{**make_vae().get_params(), **params}).fit(X, np.zeros(len(X)))
    vae = make_vae(**params).fit(X, y)
    one = np.zeros(len(X))
    np.testing.assert_array_equal(vae.encode(X), told.encode(X, one))
    np.testing.assert_array_equal(vae.reconstruct(X), told.reconstruct(X, one))


def test_rows_of_a_class_have_its_moments():
    X, y, means, covariance = factor_classes(600)
    generator = make_vae(max_epochs=40, lr=1e-2).fit(X, y)
    assert generator.n_active_dims_ == 2
    X_new, y_new = generator.sample(y=np.repeat([0, 1, 2], 5_000))
    deviation = np.sqrt(np.diag(covariance))
    for code in range(3):
        drawn = X_new[y_new == code]
        error = (drawn.mean(axis=0) - means[code]) / deviation
        np.testing.assert_allclose(error, 0, atol=0.2)
        error = (np.cov(drawn.T) - covariance) / np.outer(deviation, deviation)
        np.testing.assert_allclose(error, 0, atol=0.3)


def test_generated_rows_are_recognised_as_their_class():
    X, y, _, _ = factor_classes(300)
    X_new, y_new = make_vae(max_epochs=40, lr=1e-2).fit(X, y).sample(900)
    assert LinearDiscriminantAnalysis().fit(X, y).score(X_new, y_new) > 0.98


def test_latents_of_a_class_are_drawn_where_its_rows_are_encoded(rows, fitted):
    X, y = rows
    Z = fitted.encode(X)
    prior = fitted.latent_prior_
    for code in range(3):
        centre = Z[y == code].mean(axis=0)
        k0 = fitted.mean_shrinkage_
        expected = (30 * centre + k0 * Z.mean(axis=0)) / (30 + k0)
        np.testing.assert_allclose(prior.centre[code], expected, atol=1e-5)


def test_prior_has_the_covariance_within_the_classes():
    rng = np.random.RandomState(0)
    codes = np.repeat([0, 1], 5_000)
    latents = rng.normal(size=(10_000, 2)) * [1.0, 3.0] + 20 * codes[:, None]
    prior, k0 = labelled_prior(latents, np.full((10_000, 2), 0.5), codes, 2)
    np.testing.assert_allclose(prior.centre, [[0, 0], [20, 20]], atol=0.15)
    for factor in prior.factor:
        expected = np.diag([1.5, 9.5])
        np.testing.assert_allclose(factor @ factor.T, expected, atol=0.4)
    assert 0 <= k0 < 1


def test_zero_variance_gives_one_row_for_each_class(fitted):
    generator = pickle.loads(pickle.dumps(fitted)).set_params(noise=None)
    X_new, _ = generator.sample(y=[0, 0, 1, 1, 2, 2], variance=0)
    np.testing.assert_allclose(X_new[::2], X_new[1::2], atol=1e-6)
    assert len(np.unique(X_new[::2].round(3), axis=0)) == 3


def test_labels_are_not_needed_to_encode(rows, fitted):
    X, y = rows
    Z = fitted.encode(X)
    assert Z.shape == (90, 4)
    np.testing.assert_array_equal(fitted.encode(X, y), Z)
    np.testing.assert_array_equal(fitted.reconstruct(X), fitted.reconstruct(X, y))
    with pytest.raises(ValueError, match="5 features"):
        fitted.encode(X[:, :5])
    with pytest.raises(NotFittedError):
        make_vae().encode(X)


def test_there_is_no_prior_that_would_ignore_the_labels():
    assert "prior" not in make_vae().get_params()
    assert set(CVAE().get_params()) - set(VAE().get_params()) == {"prior"}


def test_it_warns_where_no_dimension_is_used(rows):
    with pytest.warns(ConvergenceWarning, match="The VAE uses none of its latent"):
        make_vae(beta=100, max_epochs=30).fit(*rows)


def test_a_network_of_ones_own_sees_one_class(rows):
    seen = []

    class Own(torch.nn.Module):
        def __init__(self, n_features, n_classes, latent_dim):
            super().__init__()
            seen.append(n_classes)
            self.encoder = torch.nn.Linear(n_features, 2 * latent_dim)
            self.decoder = torch.nn.Linear(latent_dim, n_features)

        def encode(self, x, y):
            seen.extend(y.unique().tolist())
            return self.encoder(x).chunk(2, dim=-1)

        def decode(self, z, y):
            seen.extend(y.unique().tolist())
            return self.decoder(z)

    make_vae(architecture=Own, net_params=None).fit(*rows).sample(20)
    assert seen[0] == 1 and set(seen[1:]) == {0}


def test_memory_trains_once_for_all_that_differ_in_sampling(rows, tmp_path):
    X, y = rows[0][:70], rows[1][:70]
    for params in ({"variance": 0.5}, {"variance": {2: 2.0}}, {"noise": None}):
        generator, memory = make_vae(**params), str(tmp_path / "cache")
        cached = GenerativeOverSampler(generator, memory=memory, random_state=0)
        fresh = GenerativeOverSampler(generator, random_state=0)
        np.testing.assert_array_equal(
            cached.fit_resample(X, y)[0], fresh.fit_resample(X, y)[0]
        )
    assert len(list((tmp_path / "cache").rglob("output.pkl"))) == 1


def test_it_cannot_be_released_and_says_why(rows, tmp_path):
    anonymizer = GenerativeAnonymizer(make_vae()).fit(*rows)
    with pytest.raises(ValueError, match="VAE cannot be released as a file"):
        anonymizer.release(tmp_path / "vae.safetensors")
    assert not list(tmp_path.iterdir())
