"""Images to latents and back, with a tiny random autoencoder."""

import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from skcvae.embedding import LatentAutoencoder, _latent_autoencoder
from skcvae.generators import ClassGaussian
from skcvae.inspection import ImageGridDisplay
from skcvae.over_sampling import HeadTailFusionSampler

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
IMAGES = np.random.RandomState(0).randint(0, 256, (12, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        scaling_factor=0.5,
        shift_factor=0.25,
    ).eval()


def make(model, **params):
    return LatentAutoencoder(model, image_size=16, device="cpu", **params)


def test_latents_and_images_are_those_of_the_model(model):
    autoencoder = make(model, batch_size=5).fit()
    Z = autoencoder.transform(IMAGES)
    assert autoencoder.latent_shape_ == (4, 8, 8)
    assert len(autoencoder.get_feature_names_out()) == Z.shape[1] == 256
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        mean = model.encode(pixels).latent_dist.mean
        decoded = model.decode(mean).sample
    assert_allclose(Z, ((mean - 0.25) * 0.5).flatten(1), atol=1e-5)
    expected = (127.5 * (decoded.permute(0, 2, 3, 1).numpy() + 1)).clip(0, 255)
    images = autoencoder.inverse_transform(Z)
    assert images.dtype == np.uint8
    assert_allclose(images, expected, atol=0.51)
    maps = Z.reshape(-1, *autoencoder.latent_shape_)
    assert_array_equal(autoencoder.inverse_transform(maps), images)


def test_weights_come_from_a_folder(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = make(tmp_path).fit_transform(IMAGES)
    assert_array_equal(loaded, make(model).fit_transform(IMAGES))
    with pytest.raises(OSError, match=r"config\.json"):
        make(tmp_path / "elsewhere").fit()


def test_photos_are_cropped_to_a_square(model, tmp_path, monkeypatch):
    wide = Image.new("RGB", (64, 32), "white")
    # The middle square begins at 16, and scaling mixes neighbouring pixels.
    wide.paste("black", (0, 0, 8, 32))
    wide.save(tmp_path / "wide.png")
    autoencoder = make(model).fit()
    white = np.full((1, 16, 16, 3), 255, dtype=np.uint8)
    assert_allclose(
        autoencoder.transform([tmp_path / "wide.png"]), autoencoder.transform(white)
    )
    # Before the first image is read.
    monkeypatch.setattr(_latent_autoencoder, "read_image", None)
    with pytest.raises(ValueError, match="Image 1 cannot be read"):
        autoencoder.transform([tmp_path / "wide.png", tmp_path / "none.png"])


def perfect(latents, step):
    """Predict the noise of latents whose clean values are all 0.5."""
    share = SCHEDULER.alphas_cumprod[step]
    return (latents - share.sqrt() * 0.5) / (1 - share).sqrt()


SCHEDULER = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True)


@pytest.mark.parametrize("n_steps", [1, 5])
def test_a_denoiser_moves_latents_to_what_it_has_learned(model, n_steps):
    denoised = make(model, denoiser=perfect, scheduler=SCHEDULER, n_steps=n_steps).fit()
    plain = make(model).fit()
    Z = np.random.RandomState(0).normal(size=(3, 256)).astype(np.float32)
    halves = plain.inverse_transform(np.full((3, 256), 0.5))
    assert_allclose(denoised.inverse_transform(Z), halves, atol=1)
    assert np.abs(plain.inverse_transform(Z).astype(int) - halves).max() > 5


def test_the_latents_are_noised_as_far_as_the_steps_reach(model):
    seen = []

    def denoiser(latents, step):
        seen.append((int(step), latents.clone()))
        return torch.zeros_like(latents)

    params = {"denoiser": denoiser, "scheduler": SCHEDULER, "n_schedule_steps": 10}
    make(model, n_steps=3, random_state=0, **params).fit().inverse_transform(
        np.full((400, 256), 2.0)
    )
    assert [step for step, _ in seen[:3]] == [200, 100, 0]
    first = torch.cat([z for step, z in seen if step == 200])
    share = float(SCHEDULER.alphas_cumprod[200])
    # 102,400 values: the standard error of the mean is 0.002.
    assert float(first.mean()) == pytest.approx(2 * share**0.5, abs=0.01)
    assert float(first.std()) == pytest.approx((1 - share) ** 0.5, abs=0.01)


def test_the_seed_decides_on_the_noise(model):
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
    ).eval()
    params = {"denoiser": unet, "scheduler": SCHEDULER, "n_steps": 25}
    Z = np.zeros((2, 256))
    one, again, other = (
        make(model, random_state=seed, **params).fit().inverse_transform(Z)
        for seed in (0, 0, 1)
    )
    assert_array_equal(one, again)
    assert (one != other).any()
    assert (one[0] != one[1]).any()


def test_the_seed_decides_on_the_noise_that_a_scheduler_adds(model):
    params = {"denoiser": perfect, "scheduler": diffusers.DDPMScheduler()}
    autoencoder = make(model, n_steps=5, random_state=0, **params).fit()
    one, again = (autoencoder.inverse_transform(np.zeros((2, 256))) for _ in range(2))
    assert_array_equal(one, again)


@pytest.mark.parametrize("kind", ["DDIMScheduler", "DDPMScheduler"])
def test_the_noise_of_a_sample_depends_on_it_and_on_no_batch(model, kind):
    # The denoiser takes nothing away: what is left of a latent is its noise.
    scheduler = getattr(diffusers, kind)(clip_sample=False)
    params = {"denoiser": lambda z, step: z, "scheduler": scheduler, "n_steps": 20}
    Z = np.random.RandomState(0).normal(size=(7, 256)).astype(np.float32) / 100
    whole, parts, other = (
        make(model, batch_size=n, random_state=seed, **params).fit().inverse_transform
        for n, seed in [(7, 0), (2, 0), (2, 1)]
    )
    expected = whole(Z).astype(float)
    assert_allclose(parts(Z), expected, atol=1)
    assert_allclose(parts(Z[::-1])[::-1], expected, atol=1)
    # As displays call it, once for each class.
    assert_allclose(np.concatenate([parts(z[None]) for z in Z]), expected, atol=1)
    assert np.abs(other(Z) - expected).max() > 5
    apart = np.abs(expected[:, None] - expected[None]).max(axis=(2, 3, 4))
    assert apart[~np.eye(7, dtype=bool)].min() > 5


def test_images_of_two_classes_have_noise_of_their_own(model):
    params = {"denoiser": lambda z, step: z, "scheduler": SCHEDULER, "n_steps": 20}
    autoencoder = make(model, random_state=0, **params).fit()
    Z = np.random.RandomState(0).normal(size=(140, 256)) / 100
    display = ImageGridDisplay.from_data(
        Z,
        np.arange(140) // 70,
        Z,
        np.arange(140) // 70,
        n_images=70,
        decoder=autoencoder.inverse_transform,
    )
    images = np.concatenate([*display.real.values()])
    assert len(np.unique(images, axis=0)) == 140
    apart = np.abs(images[:70].astype(float) - images[70:]).max(axis=(1, 2, 3))
    assert apart.min() > 5


def test_the_model_of_the_user_stays_as_it_is(model):
    model.train().requires_grad_(True)
    try:
        fitted = make(model).fit().model_
        assert model.training
        assert all(part.requires_grad for part in model.parameters())
        assert not fitted.training
    finally:
        model.eval()


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_a_denoiser_gets_latents_in_the_units_of_the_scheduler(model):
    seen = []

    def denoiser(latents, step):
        seen.append(latents.clone())
        return torch.zeros_like(latents)

    scheduler = diffusers.EulerDiscreteScheduler()
    params = {"denoiser": denoiser, "scheduler": scheduler, "random_state": 0}
    make(model, n_steps=25, **params).fit().inverse_transform(np.zeros((40, 256)))
    # Latents with noise of the deviation s, over the square root of s squared plus 1.
    sigma = float(scheduler.sigmas[25])
    expected = sigma / (sigma**2 + 1) ** 0.5
    assert float(seen[0].std()) == pytest.approx(expected, rel=0.05)


def test_it_renders_what_generators_and_fusion_make(model):
    autoencoder = make(model).fit()
    Z, y = autoencoder.transform(IMAGES), np.repeat([0, 1], [8, 4])
    display = ImageGridDisplay.from_generator(
        ClassGaussian(random_state=0).fit(Z, y),
        n_images=2,
        decoder=autoencoder.inverse_transform,
    )
    assert display.synthetic[0].shape == (2, 16, 16, 3)
    sampler = HeadTailFusionSampler(
        decoder=autoencoder.inverse_transform,
        interaction_steps=2,
        imitation_steps=1,
        n_generations=1,
        device="cpu",
        random_state=0,
    )
    sampler.fit_resample(Z.reshape(-1, *autoencoder.latent_shape_), y)
    assert sampler.images_.shape == (4, 16, 16, 3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_steps": 2}, "needs a denoiser and a scheduler"),
        ({"denoiser": perfect}, "Give both of denoiser and scheduler"),
        (
            {"denoiser": perfect, "scheduler": SCHEDULER, "n_steps": 51},
            "at most n_schedule_steps=50",
        ),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(model, params, message):
    with pytest.raises(ValueError, match=message):
        make(model, **params).fit()


def test_shapes_that_do_not_fit_are_refused(model):
    with pytest.raises(ValueError, match="multiple of 2"):
        LatentAutoencoder(model, image_size=15, device="cpu").fit()
    with pytest.raises(ValueError, match=r"\(4, 8, 8\), or be vectors of 256"):
        make(model).fit().inverse_transform(np.zeros((2, 255)))


def test_a_missing_diffusers_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"skcvae\[diffusers\]"):
        make("folder").fit()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU of CUDA")
def test_a_gpu_gives_the_latents_of_the_cpu(model):
    on_gpu = LatentAutoencoder(model, image_size=16, device="cuda").fit_transform(
        IMAGES
    )
    assert_allclose(on_gpu, make(model).fit_transform(IMAGES), atol=1e-2)
