"""Images as samples: shapes, ranges, types, and what they compose with."""

import pickle
import warnings

import numpy as np
import pytest
import skops.io as skops
import torch
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from skcvae._threads import training_threads
from skcvae.anonymization import (
    CVAEAnonymizer,
    GenerativeAnonymizer,
    load,
    merge_releases,
)
from skcvae.anonymization._release_file import parse_release, write_release_file
from skcvae.generators import (
    CGAN,
    CVAE,
    VAE,
    ConvBackbone,
    _cvae_net,
    _held_out,
    early_stopping,
)
from skcvae.generators._base import warn_about_generation
from skcvae.over_sampling import (
    CVAEOverSampler,
    GenerativeOverSampler,
    HardOverSampler,
    ProgressiveOverSampler,
)
from skcvae.privacy import latent_search_attack

pytestmark = pytest.mark.filterwarnings(
    "ignore:The C?VAE uses none of its latent",
    "ignore:The generator has",
    "ignore:Generated samples are",
    "ignore:lbfgs failed to converge",
)
FAST = {"latent_dim": 3, "max_epochs": 1, "device": "cpu", "random_state": 0}
DIGITS = ConvBackbone((8, 8), width=2, value_range=(0, 16))
GENERATORS = {
    "CVAE": CVAE(architecture=DIGITS, **FAST),
    "VAE": VAE(architecture=DIGITS, **FAST),
    "CGAN": CGAN(architecture=DIGITS, **FAST),
}
for_generators = pytest.mark.parametrize("name", GENERATORS)


@pytest.fixture(scope="module")
def digits():
    """400 digits, of which class 0 has most."""
    X, y = load_digits(return_X_y=True)
    chosen = np.r_[np.flatnonzero(y == 0)[:100], np.flatnonzero(y > 0)[:300]]
    return X[chosen], y[chosen]


def random_images(shape, n_samples=40, seed=0):
    """Return images as samples of whole numbers from 0 to 255, and two classes."""
    rng = np.random.RandomState(seed)
    X = rng.randint(0, 256, (n_samples, int(np.prod(shape)))).astype(np.uint8)
    return X, np.arange(n_samples) % 2


@pytest.mark.parametrize(
    "shape", [(8, 8), (28, 28), (48, 48), (64, 64), (8, 64), (9, 13, 3), (11, 8, 1)]
)
def test_images_of_any_shape_come_back_in_their_shape_and_range(shape):
    X, y = random_images(shape, n_samples=8)
    for kind in CVAE, CGAN:
        generator = kind(architecture=ConvBackbone(shape, width=1), **FAST).fit(X, y)
        X_new, _ = generator.sample(y=y)
        assert X_new.shape == X.shape
        assert X_new.min() >= 0
        assert X_new.max() <= 255


def test_pixels_of_an_image_lie_beside_each_other_in_the_network():
    # One pixel changes the outputs of the first convolution around it only.
    network = ConvBackbone((16, 24, 3), width=4)(16 * 24 * 3, 2, 5)
    image = torch.zeros(1, 16, 24, 3)
    changed = image.clone()
    changed[0, 10, 4, 1] = 1.0
    seen = []
    network.encoder.convolutions[0].register_forward_hook(
        lambda module, args, output: seen.append(output)
    )
    for x in (image, changed):
        network.encode(x.reshape(1, -1), torch.zeros(1, dtype=torch.int64))
    _, _, rows, columns = (seen[1] - seen[0]).nonzero(as_tuple=True)
    assert set(rows.tolist()) == {5}
    assert set(columns.tolist()) == {2}


def test_parts_of_a_batch_give_what_the_batch_gives():
    network = ConvBackbone((8, 8), width=2)(64, 2, 3)
    x, y = torch.rand(600, 64), torch.arange(600) % 2
    whole = network.decode(network.encode(x, y)[0], y).detach()
    with torch.inference_mode():
        parts = network.decode(network.encode(x, y)[0], y)
    assert_allclose(parts, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (8,)}, "image_shape must be"),
        ({"image_shape": 64}, "image_shape must be"),
        ({"image_shape": (8.0, 8)}, "image_shape must be"),
        ({"image_shape": (True, 8)}, "image_shape must be"),
        ({"image_shape": (7, 8)}, "from 8 to 64 pixels"),
        ({"image_shape": (8, 65)}, "from 8 to 64 pixels"),
        ({"image_shape": (3, 28, 28)}, "from 8 to 64 pixels"),
        ({"image_shape": (3, 28, 28)}, "Channels come last"),
        ({"image_shape": (8, 8, 2)}, "1 or 3 channels"),
        ({"image_shape": (8, 8), "width": 0}, "width must be"),
        ({"image_shape": (8, 8), "width": 1.5}, "width must be"),
        ({"image_shape": (8, 8), "width": 10**6}, "width must be"),
        ({"image_shape": (8, 8), "dtype": "float16"}, "dtype must be"),
        ({"image_shape": (8, 8), "value_range": 255}, "pair of numbers"),
        ({"image_shape": (8, 8), "value_range": (1, 0)}, "increasing"),
        ({"image_shape": (8, 8), "value_range": (0, np.inf)}, "finite"),
        ({"image_shape": (8, 8), "value_range": (1e6, 1e6 + 1)}, "Subtract"),
    ],
)
def test_impossible_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvBackbone(**arguments)


def test_backbones_are_values():
    backbone = ConvBackbone([8, np.int64(8)], width=2, value_range=[0, 16])
    assert backbone == DIGITS
    assert backbone != ConvBackbone((8, 8))
    assert hash(backbone) == hash(DIGITS)
    assert eval(repr(backbone)) == backbone
    assert clone(CVAE(architecture=backbone)).architecture == backbone


@for_generators
def test_another_number_of_features_is_refused_before_training(name, digits):
    X, y = digits
    with pytest.raises(ValueError, match="needs 64 features, and X has 63"):
        clone(GENERATORS[name]).fit(X[:, 1:], y)


@pytest.mark.parametrize("shape", [(40, 8, 8), (40, 8, 8, 3)])
def test_images_that_are_no_vectors_are_refused_with_a_remedy(shape):
    X, y = np.zeros(shape), np.arange(40) % 2
    for estimator in (
        CVAE(),
        CVAEAnonymizer(),
        GenerativeAnonymizer(),
        CVAEOverSampler(),
        HardOverSampler(CVAE(), LogisticRegression()),
    ):
        fit = getattr(estimator, "fit_resample", estimator.fit)
        with pytest.raises(ValueError, match=r"X.reshape\(len\(X\), -1\)") as error:
            fit(X, y)
        assert f"ConvBackbone(image_shape={shape[1:]})" in str(error.value)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_channels_that_come_first_are_refused_with_a_remedy(n_channels):
    X = np.zeros((40, n_channels, 28, 28))
    with pytest.raises(ValueError, match=r"moveaxis\(X, 1, -1\)") as error:
        CVAE().fit(X, np.arange(40) % 2)
    assert "image_shape" not in str(error.value)


@pytest.mark.parametrize("name", ["CVAE", "VAE", "CGAN"])
def test_new_images_in_other_units_are_refused(name, digits):
    X, y = digits
    generator = clone(GENERATORS[name]).set_params(
        architecture=ConvBackbone((8, 8), width=2)
    )
    generator.fit(X / 16, y)
    read = generator.score_samples if name == "CGAN" else generator.encode
    with pytest.raises(ValueError, match="far outside of the range"):
        read(X, y)
    # A little more than the training images have, and pixels that were constant.
    assert np.isfinite(read(X / 16 * 1.5 - 0.2, y)).all()


def test_validation_images_in_other_units_are_refused(digits):
    X, y = digits
    net_params = early_stopping(X, y)
    with pytest.raises(ValueError, match="far outside of the range"):
        clone(GENERATORS["CVAE"]).set_params(
            architecture=ConvBackbone((8, 8), width=2), net_params=net_params
        ).fit(X / 16, y)


def test_a_range_in_other_units_is_refused(digits):
    backbone = ConvBackbone((8, 8), value_range=(0, 255))
    with pytest.raises(ValueError, match="next to nothing of value_range"):
        CVAE(architecture=backbone, **FAST).fit(digits[0] / 16, digits[1])


def test_fractions_are_not_rounded_away(digits):
    X, y = digits
    backbone = ConvBackbone((8, 8), width=2, dtype="uint8")
    with pytest.raises(ValueError, match=r"np.rint\(255 \* X\)"):
        CVAE(architecture=backbone, **FAST).fit(X / 16, y)
    # Images in black and white are whole numbers.
    X_new, _ = CVAE(architecture=backbone, **FAST).fit(X > 8, y).sample(100)
    assert set(np.unique(X_new)) <= {0, 1}


@pytest.mark.parametrize("architecture", ["small", DIGITS])
def test_a_vae_is_not_released_and_the_reason_is_given(architecture, digits, tmp_path):
    vae = VAE(architecture=architecture, **FAST)
    anonymizer = GenerativeAnonymizer(vae, max_mean_leakage=1).fit(*digits)
    with pytest.raises(ValueError, match="networks of a VAE are not"):
        anonymizer.release(tmp_path / "a.safetensors")


@for_generators
def test_constant_pixels_keep_their_value(name, digits):
    X, y = digits
    constant = (X[0] == X).all(axis=0)
    assert constant.any()
    X_new, _ = clone(GENERATORS[name]).fit(X, y).sample(500)
    assert (X_new[:, constant] == X[0, constant]).all()
    assert (X_new[:, ~constant].std(axis=0) > 0).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 16, (0, 16)),
        (0, 250, (0, 255)),
        (3, 200, (0, 255)),
        (0.1, 0.9, (0, 1)),
        (-0.9, 0.8, (-1, 1)),
        (-3, 2.5, (-3, 2.5)),
        (0, 400, (0, 400)),
    ],
)
def test_the_usual_range_is_taken_where_images_fill_half_of_it(low, high, expected):
    X, y = random_images((8, 8))
    X = low + (high - low) * (X - float(X.min())) / np.ptp(X)
    generator = CVAE(architecture=ConvBackbone((8, 8), width=2), **FAST).fit(X, y)
    assert_allclose(generator.offset_, expected[0], atol=1e-12)
    assert_allclose(generator.offset_ + generator.scale_, expected[1])


def test_values_outside_of_the_given_range_are_refused(digits):
    backbone = ConvBackbone((8, 8), value_range=(0, 15))
    with pytest.raises(ValueError, match="does not hold X, whose values are from 0 to"):
        CVAE(architecture=backbone, **FAST).fit(*digits)


@for_generators
def test_extreme_latents_stay_in_the_range(name, digits):
    X, y = digits
    for dtype in np.float32, np.float64:
        generator = clone(GENERATORS[name]).fit(X.astype(dtype), y)
        X_new, _ = generator.sample(500, variance=1e8)
        assert X_new.dtype == dtype
        assert X_new.min() >= 0
        assert X_new.max() <= 16


def test_whole_numbers_come_out_on_request(digits):
    X, y = digits
    X = (X * 15).astype(np.uint8)
    backbone = ConvBackbone((8, 8), width=2, dtype="uint8")
    rounded = CVAE(architecture=backbone, **FAST).fit(X, y)
    X_new, _ = rounded.sample(y=y, random_state=1)
    assert X_new.dtype == np.uint8
    plain = CVAE(architecture=ConvBackbone((8, 8), width=2), **FAST).fit(X, y)
    floats, _ = plain.sample(y=y, random_state=1)
    assert floats.dtype == np.float64
    assert np.abs(X_new - floats).max() <= 0.51
    reconstructed = rounded.reconstruct(X, y)
    assert_allclose(reconstructed, plain.reconstruct(X, y), atol=1e-3)


def test_whole_numbers_are_refused_for_a_range_that_they_lack():
    X, y = random_images((8, 8))
    backbone = ConvBackbone((8, 8), dtype="uint8")
    with pytest.raises(ValueError, match="needs values from 0 to 255"):
        CVAE(architecture=backbone, **FAST).fit(X * 3.0 - 9, y)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("of_images", [None, "uint8"])
def test_over_samplers_keep_the_type_of_the_images(dtype, of_images, digits):
    X, y = (digits[0] * 15).astype(dtype), digits[1]
    backbone = ConvBackbone((8, 8), width=2, dtype=of_images)
    for sampler in (
        CVAEOverSampler(architecture=backbone, **FAST),
        GenerativeOverSampler(CVAE(architecture=backbone, **FAST)),
    ):
        X_resampled, y_resampled = sampler.fit_resample(X, y)
        assert X_resampled.dtype == dtype
        assert len(set(np.bincount(y_resampled))) == 1
        assert_array_equal(X_resampled[: len(X)], X)
        assert X_resampled.min() >= 0
        assert X_resampled.max() <= 255


@pytest.mark.parametrize("name", ["CVAE", "CGAN"])
def test_samplers_and_pipelines_take_images(name, digits):
    X, y = digits
    generator = clone(GENERATORS[name])
    for sampler in (
        HardOverSampler(generator, LogisticRegression(max_iter=300), random_state=0),
        ProgressiveOverSampler(
            [("images", GenerativeOverSampler(generator))], random_state=0
        ),
    ):
        X_new = sampler.fit_resample(X, y)[0]
        assert X_new.min() >= 0
        assert X_new.max() <= 16
    sampler = GenerativeOverSampler(generator)
    pipeline = make_pipeline(sampler, LogisticRegression(max_iter=300))
    assert pipeline.fit(X, y).score(X, y) > 0.9


def test_a_cache_returns_the_same_images(digits, tmp_path):
    X, y = digits
    sampler = CVAEOverSampler(architecture=DIGITS, memory=str(tmp_path), **FAST)
    first = sampler.fit_resample(X, y)[0]
    assert_array_equal(clone(sampler).fit_resample(X, y)[0], first)


@for_generators
def test_another_architecture_counts_from_the_next_fit_on(name, digits):
    X, y = digits
    for fitted, other in ((DIGITS, "small"), ("small", DIGITS)):
        generator = clone(GENERATORS[name]).set_params(architecture=fitted).fit(X, y)
        expected = generator.sample(20)[0]
        generator.set_params(architecture=other)
        assert_array_equal(generator.sample(20)[0], expected)


@for_generators
def test_stored_generators_draw_the_same_images(name, digits, tmp_path):
    generator = clone(GENERATORS[name]).fit(*digits)
    expected = generator.sample(20, random_state=1)[0]
    again = pickle.loads(pickle.dumps(generator))
    assert_array_equal(again.sample(20, random_state=1)[0], expected)
    path = tmp_path / "generator.skops"
    skops.dump(generator, path)
    types = skops.get_untrusted_types(file=path)
    assert all(name.startswith("skcvae.") for name in types)
    again = skops.load(path, trusted=types)
    assert_array_equal(again.sample(20, random_state=1)[0], expected)


@pytest.mark.parametrize("name", ["CVAE", "CGAN"])
def test_a_release_draws_the_images_of_its_generator(name, digits, tmp_path):
    X, y = digits
    anonymizer = GenerativeAnonymizer(clone(GENERATORS[name]), max_mean_leakage=1)
    anonymizer.fit(X, y)
    release = load(anonymizer.release(tmp_path / "a.safetensors"), device="cpu")
    assert release.manifest_["image_shape"] == [8, 8]
    expected = anonymizer.generator_.sample(y=y, random_state=0)[0]
    drawn = release.sample(y=y, random_state=0)[0]
    assert_allclose(drawn, expected, atol=1e-4)
    z = np.random.RandomState(0).normal(size=(len(y), 3))
    assert_allclose(release.decode(z, y), anonymizer.generator_.decode(z, y), atol=1e-4)


def release_of_bytes(path, seed=0, **params):
    backbone = ConvBackbone((8, 8), width=2, value_range=(0, 255), dtype="uint8")
    params = {**FAST, "random_state": seed, "max_mean_leakage": 1, **params}
    anonymizer = CVAEAnonymizer(architecture=backbone, **params)
    anonymizer.fit(*random_images((8, 8), seed=seed))
    return anonymizer, load(anonymizer.release(path), device="cpu")


def test_releases_of_whole_numbers_draw_whole_numbers(tmp_path):
    anonymizer, release = release_of_bytes(tmp_path / "a.safetensors")
    y = np.arange(500) % 2
    drawn, expected = (
        source.sample(y=y, random_state=1)[0]
        for source in (release, anonymizer.generator_)
    )
    assert drawn.dtype == expected.dtype == np.uint8
    # Rounded from values that differ by rounding.
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    _, other = release_of_bytes(tmp_path / "b.safetensors", seed=1)
    merged = merge_releases([release, other], weights=2 * [{0: 1, 1: 1}])
    assert merged.sample(y=y, random_state=1)[0].dtype == np.uint8
    with pytest.raises(ValueError, match="would count twice"):
        merge_releases([release, release], weights=2 * [{0: 1, 1: 1}])


def test_a_release_cannot_draw_whole_numbers_out_of_range(tmp_path):
    release_of_bytes(tmp_path / "a.safetensors")
    manifest, tensors = parse_release((tmp_path / "a.safetensors").read_bytes())
    for name, value in {"scale": 256.0, "centres": -1.0}.items():
        changed = {**tensors, name: torch.full_like(tensors[name], value)}
        with pytest.raises(ValueError, match="out of the range of uint8"):
            write_release_file(tmp_path / "b.safetensors", manifest, changed)


def test_a_range_read_from_the_samples_is_not_released(digits, tmp_path):
    X, y = digits
    backbone = ConvBackbone((8, 8), width=2)
    anonymizer = CVAEAnonymizer(architecture=backbone, max_mean_leakage=1, **FAST)
    with pytest.raises(ValueError, match="value_range"):
        anonymizer.fit(X, y).release(tmp_path / "a.safetensors")
    # 0 to 255 tells of no sample.
    path = anonymizer.fit(X * 15, y).release(tmp_path / "a.safetensors")
    assert load(path).sample(5)[0].shape == (5, 64)


def test_a_decoder_of_images_is_attacked_as_others_are(digits):
    X, y = digits
    generator = clone(GENERATORS["CVAE"]).fit(X[::2], y[::2])
    members, others = slice(0, 40, 2), slice(1, 40, 2)
    result = latent_search_attack(
        generator, X[members], y[members], X[others], y[others], n_steps=5
    )
    assert 0 <= result.auc.value <= 1


@pytest.mark.parametrize("kind", [CVAE, VAE])
def test_held_out_images_choose_the_number_of_epochs(kind, digits, monkeypatch):
    monkeypatch.setattr(_cvae_net, "_AUTO_STEPS", 32)
    fast = {**FAST, "max_epochs": "auto"}
    chosen = kind(architecture=DIGITS, hidden_dim="auto", **fast).fit(*digits)
    tried, n_epochs = chosen.held_out_scores_, len(chosen.history_)
    # 400 images are two steps an epoch.
    assert set(tried) <= {2, 4, 8, 16}
    assert n_epochs in tried
    assert max(tried) in {n_epochs, 2 * n_epochs}
    given = kind(architecture=DIGITS, **{**fast, "max_epochs": n_epochs}).fit(*digits)
    assert given.held_out_scores_ == {}
    assert_array_equal(given.sample(9)[0], chosen.sample(9)[0])


def test_an_anonymizer_of_images_chooses_by_default(digits, monkeypatch):
    monkeypatch.setattr(_cvae_net, "_AUTO_STEPS", 32)
    fast = {**FAST, "max_epochs": "auto"}
    generator = CVAEAnonymizer(architecture=DIGITS, **fast).fit(*digits).generator_
    assert len(generator.history_) in generator.held_out_scores_
    assert generator.hidden_dim_ == DIGITS.width


@pytest.mark.parametrize(("n_samples", "n_epochs"), [(40, 4), (400, 16)])
def test_epochs_are_not_chosen_by_few_images_or_for_a_number(
    n_samples, n_epochs, digits, monkeypatch
):
    monkeypatch.setattr(_cvae_net, "_AUTO_STEPS", 32)
    hidden_dim = "auto" if n_samples == 40 else 512
    fast = {**FAST, "max_epochs": "auto", "hidden_dim": hidden_dim}
    X, y = (part[:: 400 // n_samples] for part in digits)
    generator = CVAE(architecture=DIGITS, **fast).fit(X, y)
    assert generator.held_out_scores_ == {}
    assert len(generator.history_) == n_epochs


def test_epochs_are_doubled_while_held_out_images_gain_as_much():
    noise = np.tile([-1.0, 1.0], 50)
    gains = 5 + noise
    assert _held_out.generalises(gains, gains)
    assert _held_out.generalises(gains, gains + 9)
    # Standard errors are 0.1 each, and that of their difference is 0.141.
    assert _held_out.generalises(gains, gains - 0.28)
    assert not _held_out.generalises(gains, gains - 0.29)
    assert not _held_out.generalises(0.09 + noise, 0.09 + noise)


def test_bound_of_images_has_the_noise_of_the_training(digits):
    X, y = digits
    generator = clone(GENERATORS["CVAE"]).fit(X, y)
    Z = ((X - generator.offset_) / 16).astype(np.float32)
    found = _held_out.log_likelihood_bound(generator, Z, y, 0)
    x, codes, module = torch.from_numpy(Z), torch.from_numpy(y), generator.net_.module_
    with torch.inference_mode():
        mean, log_var = module.encode(x, codes)
        drawn = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
        posterior = Normal(mean, (0.5 * log_var).exp())
        z = posterior.mean + posterior.stddev * drawn
        noise = module.log_noise(z, codes).exp()
        expected = Normal(module.decode(z, codes), noise).log_prob(x).sum(axis=1)
        prior = generator.latent_prior_
        expected -= kl_divergence(
            MultivariateNormal(mean, covariance_matrix=log_var.exp().diag_embed()),
            MultivariateNormal(
                torch.tensor(prior.centre, dtype=torch.float32)[codes],
                scale_tril=torch.tensor(prior.factor, dtype=torch.float32)[codes],
            ),
        )
    assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_private_training_and_the_thesis_objective_are_refused(digits):
    with pytest.raises(ValueError, match="architecture"):
        CVAEAnonymizer(architecture=DIGITS, epsilon=1.0, delta=1e-5).fit(*digits)
    with pytest.raises(ValueError, match="objective='reference' is not for"):
        CVAE(architecture=DIGITS, objective="reference").fit(*digits)


def test_threads_are_counted_with_the_places_of_convolutions():
    torch_threads = torch.get_num_threads()
    network = ConvBackbone((64, 64), width=64)(4096, 2, 3)
    assert training_threads(network, 256) == min(
        torch_threads, training_threads(torch.nn.Linear(10_000, 10_000), 256)
    )


def test_sound_images_raise_no_alarm_and_collapsed_ones_do():
    X, y = load_digits(return_X_y=True)
    X, y = X[y < 3], y[y < 3]
    backbone = ConvBackbone((8, 8), width=8)
    generator = CVAE(architecture=backbone, max_epochs=60, device="cpu", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator.fit(X, y)
    Z = ((X - generator.offset_) / 16).astype(np.float32)
    generator.latent_prior_.factor = 1e-3 * generator.latent_prior_.factor
    with pytest.warns(ConvergenceWarning, match="too alike"):
        warn_about_generation(generator, Z, y, 0)
