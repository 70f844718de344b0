"""Latent vectors: what encode returns, decode takes, and interpolate walks along."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from skcvae.anonymization import GenerativeAnonymizer, load
from skcvae.generators import CGAN, CVAE, VAE, ClassGaussian, FlowMatching
from skcvae.generators.private import DPCVAE

X, Y = load_digits(return_X_y=True)
X, Y = X[:400] + 1000, Y[:400]


def make(kind, **params):
    return kind(latent_dim=4, max_epochs=3, device="cpu", random_state=0, **params)


@pytest.fixture(scope="module", params=[CVAE, VAE])
def fitted(request):
    return make(request.param).fit(X, Y)


def by_hand(cvae, z, codes):
    """Decode latent vectors by the module alone, in float64 units."""
    with torch.inference_mode():
        module = cvae.net_.module_
        decoded = module.decode(torch.from_numpy(z), torch.from_numpy(codes)).numpy()
    return cvae.offset_ + (cvae.class_means_[codes] + decoded) * cvae.scale_


def test_decode_takes_what_encode_returns(fitted):
    Z = fitted.encode(X[:20], Y[:20])
    decoded = fitted.decode(Z, Y[:20])
    assert decoded.dtype == X.dtype
    assert_allclose(decoded, by_hand(fitted, Z, Y[:20]), rtol=1e-6)
    np.testing.assert_array_equal(decoded, fitted.reconstruct(X[:20], Y[:20]))
    # A prior that is not N(0, I) moves vectors: the two meanings differ.
    moved = fitted.decode(Z, Y[:20], standard_normal=True)
    assert np.abs(moved - decoded).max() > 0.1


def test_standard_normal_vectors_go_through_the_prior_of_their_class(fitted):
    e = np.random.RandomState(0).normal(size=(30, 4)).astype(np.float32)
    prior, codes = fitted.latent_prior_, Y[:30]
    mean, factor = (np.asarray(part) for part in prior.to("cpu"))
    z = mean[codes] + np.einsum("nij,nj->ni", factor[codes], e)
    expected = by_hand(fitted, z.astype(np.float32), codes)
    decoded = fitted.decode(e, codes, standard_normal=True)
    assert_allclose(decoded, expected, rtol=1e-6)
    module = fitted.make_decoder("cpu")
    of_audit = module(torch.from_numpy(e), torch.from_numpy(codes)).numpy()
    assert_allclose(decoded, of_audit, rtol=1e-5)


@pytest.mark.parametrize(
    "generator",
    [make(CGAN), FlowMatching(max_epochs=2, device="cpu"), ClassGaussian()],
    ids=lambda generator: type(generator).__name__,
)
def test_without_a_latent_prior_latents_are_standard_normal(generator):
    generator.fit(X, Y)
    latent_dim = generator.make_decoder("cpu").latent_dim
    e = np.random.RandomState(0).normal(size=(10, latent_dim))
    decoded = generator.decode(e, Y[:10])
    assert decoded.shape == (10, 64)
    assert decoded.dtype == X.dtype
    np.testing.assert_array_equal(
        decoded, generator.decode(e, Y[:10], standard_normal=True)
    )
    assert not hasattr(generator, "encode")


def test_a_release_decodes_as_its_generator_and_does_not_encode(tmp_path):
    anonymizer = GenerativeAnonymizer(make(CVAE)).fit(X, Y)
    anonymizer.release(tmp_path / "release.safetensors")
    released = load(tmp_path / "release.safetensors", device="cpu")
    fitted = anonymizer.generator_
    Z = fitted.encode(X[:20], Y[:20])
    for standard_normal in (False, True):
        assert_allclose(
            released.decode(Z, Y[:20], standard_normal=standard_normal),
            fitted.decode(Z, Y[:20], standard_normal=standard_normal),
            rtol=1e-5,
        )
    for name in ("encode", "reconstruct", "interpolate"):
        assert hasattr(fitted, name)
        assert not hasattr(released, name)


def test_private_generators_do_not_encode():
    for name in ("encode", "reconstruct", "interpolate"):
        assert not hasattr(DPCVAE, name)


def test_decode_refuses_other_shapes_and_labels(fitted):
    with pytest.raises(ValueError, match="dimension 4 for each of the 2 labels"):
        fitted.decode(np.zeros((2, 5)), [0, 1])
    with pytest.raises(ValueError, match="dimension 4 for each of the 2 labels"):
        fitted.decode(np.zeros((3, 4)), [0, 1])
    with pytest.raises(ValueError, match="99"):
        fitted.decode(np.zeros((1, 4)), [99])


def test_a_way_leads_from_one_reconstruction_to_the_other(fitted):
    of_class = np.flatnonzero(Y == 3)
    first, second, y = X[of_class[:5]], X[of_class[5:10]], Y[of_class[:5]]
    ways = fitted.interpolate(first, second, y, n_steps=5)
    assert ways.shape == (5, 5, 64)
    assert ways.dtype == X.dtype
    assert_allclose(ways[:, 0], fitted.reconstruct(first, y), rtol=1e-6)
    assert_allclose(ways[:, -1], fitted.reconstruct(second, y), rtol=1e-6)
    Z = (fitted.encode(first, y) + 3 * fitted.encode(second, y)) / 4
    assert_allclose(ways[:, 3], fitted.decode(Z, y), rtol=1e-5)


def test_missing_labels_are_asked_for_in_plain_words(fitted):
    Z = fitted.encode(X[:2], Y[:2])
    calls = [lambda: fitted.decode(Z, None)]
    if type(fitted) is CVAE:
        calls += [
            lambda: fitted.encode(X[:2], None),
            lambda: fitted.reconstruct(X[:2], None),
            lambda: fitted.interpolate(X[:2], X[2:4], None),
        ]
    for call in calls:
        with pytest.raises(ValueError, match="y is None: give the label of each"):
            call()
    sets = np.eye(10, dtype=int)[Y]
    of_sets = make(CVAE).fit(X, sets)
    for call in (of_sets.encode, of_sets.reconstruct):
        with pytest.raises(ValueError, match="y is None: give the label of each"):
            call(X[:2], None)
    with pytest.raises(ValueError, match="y is None: give the label of each"):
        make(CGAN).fit(X, Y).score_samples(X[:2], None)


def test_latents_in_any_order_of_memory_are_decoded(fitted):
    Z = fitted.encode(X[:4], Y[:4])
    expected = fitted.decode(Z, Y[:4])
    Z.setflags(write=False)
    assert_allclose(fitted.decode(Z[::-1], Y[3::-1])[::-1], expected, rtol=1e-6)
    assert_allclose(fitted.decode(np.asfortranarray(Z), Y[:4]), expected, rtol=1e-6)


def test_interpolation_refuses_sets_of_different_lengths(fitted):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fitted.interpolate(X[:3], X[:2], Y[:3])
    with pytest.raises(ValueError, match="n_steps"):
        fitted.interpolate(X[:2], X[:2], Y[:2], n_steps=1)


def test_only_a_vae_goes_from_class_to_class():
    pair = X[:1], X[1:2]
    assert Y[0] != Y[1]
    vae = make(VAE).fit(X, Y)
    assert vae.interpolate(*pair).shape == (1, 8, 64)
    assert_allclose(vae.interpolate(*pair)[0, -1:], vae.reconstruct(X[1:2]), rtol=1e-6)
    with pytest.raises(TypeError, match="y"):
        make(CVAE).fit(X, Y).interpolate(*pair)
