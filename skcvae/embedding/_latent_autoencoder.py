"""Images to latents of an image autoencoder, and back."""

from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from hashlib import sha256
from inspect import signature
from math import prod
from numbers import Integral
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import ImageOps
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from .._devices import resolve_device
from .._extras import import_extra
from .._seeds import draw_seeds
from ._base import BaseEmbedder
from ._images import ImageReadError, as_sources, check_files, read_image


class LatentAutoencoder(BaseEmbedder):
    r"""Transform images to latents of an image autoencoder, and latents to images.

    The autoencoder is an `AutoencoderKL` of diffusers, such as that of Stable
    Diffusion, with weights of yours: nothing is downloaded. What a generator or an
    over-sampler makes of its latents, :meth:`inverse_transform` turns into images; it
    is the `decoder` of :class:`~skcvae.inspection.ImageGridDisplay` and of
    :class:`~skcvae.over_sampling.HeadTailFusionSampler`. Latents keep pixels better
    than classes: to classify, take :class:`FoundationEmbedder`.

    With a denoiser, latents are made more like those of real images before they are
    decoded, as [1]_ does with fused ones: they get the noise of the last `n_steps` of a
    schedule, which the denoiser takes away in as many steps [2]_. The more steps, the
    more of the sample is replaced by what the denoiser has learned, its class included.

    Parameters
    ----------
    model : str, path-like or AutoencoderKL
        Local folder with the files ``config.json`` and
        ``diffusion_pytorch_model.safetensors``, or the model itself.

    image_size : int, default=256
        Side of the square to which images are cropped and scaled, in pixels; a multiple
        of what the autoencoder reduces images by (8 for Stable Diffusion's).

    denoiser : callable, default=None
        Function of latents (n, c, h, w) and a time step that returns what it predicts,
        for the scheduler: a ``UNet2DModel`` of diffusers, or, for a model that needs a
        text, ``lambda z, t: unet(z, t, encoder_hidden_states=...)``.

    scheduler : object, default=None
        Scheduler of diffusers for the denoiser, which has `set_timesteps`, `add_noise`
        and `step`. It is needed where there is a denoiser.

    n_steps : int, default=0
        Steps of the denoiser before latents are decoded. 0 leaves it out.

    n_schedule_steps : int, default=50
        Steps of the whole schedule, of which the last `n_steps` are taken.

    batch_size : int, default=8
        Images that pass the autoencoder at a time.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of the noise of the denoiser. With an integer, the noise of a latent
        depends on that, on its values, and on the number of equal ones before it in the
        same call: `batch_size` and the other latents do not matter.

    Attributes
    ----------
    model_ : AutoencoderKL
        The autoencoder.

    latent_shape_ : tuple of int
        Channels, height and width of latents. ``Z.reshape(-1, *latent_shape_)`` are the
        maps that :class:`~skcvae.over_sampling.HeadTailFusionSampler` fuses.

    device_ : torch.device
        Where it computes.

    References
    ----------
    .. [1] "Long Tail Image Generation Through Feature Space Augmentation and Iterated
       Learning", arXiv 2405.01705, 2024.
    .. [2] C. Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic
       Differential Equations", ICLR 2022, arXiv 2108.01073.

    Examples
    --------
    >>> from skcvae.embedding import LatentAutoencoder
    >>> autoencoder = LatentAutoencoder("sd-vae", image_size=224)
    >>> Z = autoencoder.fit_transform(paths)  # doctest: +SKIP
    >>> images = autoencoder.inverse_transform(Z)  # doctest: +SKIP
    """

    _parameter_constraints: dict = {
        "image_size": [Interval(Integral, 1, None, closed="left")],
        "denoiser": [callable, None],
        "n_steps": [Interval(Integral, 0, None, closed="left")],
        "n_schedule_steps": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model: str | PathLike | torch.nn.Module,
        *,
        image_size: int = 256,
        denoiser: Callable[..., Any] | None = None,
        scheduler: Any = None,
        n_steps: int = 0,
        n_schedule_steps: int = 50,
        batch_size: int = 8,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.image_size = image_size
        self.denoiser = denoiser
        self.scheduler = scheduler
        self.n_steps = n_steps
        self.n_schedule_steps = n_schedule_steps
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Load the weights; nothing is learned.

        Parameters
        ----------
        X : Ignored
            Present for scikit-learn.

        y : Ignored
            Present for scikit-learn.

        Returns
        -------
        self : object
            The transformer.

        Raises
        ------
        ImportError
            If diffusers is missing and `model` is a folder.

        OSError
            If the folder holds no autoencoder.

        ValueError
            If parameters do not fit each other or the autoencoder.
        """
        validate_parameter_constraints(
            self._parameter_constraints,
            {name: getattr(self, name) for name in self._parameter_constraints},
            type(self).__name__,
        )
        self._check_denoiser()
        self.device_ = resolve_device(self.device)
        model: Any = self.model
        if isinstance(model, torch.nn.Module):
            # The model of the user stays as it is.
            model = deepcopy(model)
        else:
            diffusers = import_extra("diffusers", "diffusers", type(self).__name__)
            model = diffusers.AutoencoderKL.from_pretrained(
                model, local_files_only=True
            )
        # Images are halved between blocks.
        factor = 2 ** (len(model.config.block_out_channels) - 1)
        if self.image_size % factor:
            raise ValueError(
                f"image_size must be a multiple of {factor} for this autoencoder, got "
                f"{self.image_size}."
            )
        side = self.image_size // factor
        self.latent_shape_ = model.config.latent_channels, side, side
        self._n_features_out = prod(self.latent_shape_)
        self.model_: Any = model.eval().requires_grad_(False).to(self.device_)
        return self

    @torch.inference_mode()
    def transform(self, X: Any) -> NDArray:
        """Return the latents of images.

        Parameters
        ----------
        X : sequence of images
            Paths, PIL images, or an array of bytes, as :class:`FoundationEmbedder`
            takes them.

        Returns
        -------
        Z : ndarray of shape (n_images, n_latents), float32
            Mean of the latents, in the units of diffusion models: less the shift of
            the autoencoder, times its scaling factor.

        Raises
        ------
        ValueError
            If an image cannot be read.
        """
        check_is_fitted(self)
        sources = as_sources(X)
        check_files(sources)
        Z = np.empty((len(sources), prod(self.latent_shape_)), dtype=np.float32)
        shift, factor = self._units()
        for part in gen_batches(len(sources), self.batch_size):
            pixels = np.stack(
                [self._read(sources, i) for i in range(*part.indices(len(Z)))]
            )
            batch = torch.from_numpy(pixels).to(self.device_).permute(0, 3, 1, 2)
            latents = self.model_.encode(batch / 127.5 - 1).latent_dist.mean
            Z[part] = ((latents - shift) * factor).flatten(1).cpu().numpy()
        return Z

    def inverse_transform(self, Z: ArrayLike) -> NDArray:
        """Return the images of latents.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_latents) or (n_samples, c, h, w)
            Latents, as :meth:`transform` returns them, or as maps of `latent_shape_`.

        Returns
        -------
        images : ndarray of shape (n_samples, image_size, image_size, 3), uint8
            Images.

        Raises
        ------
        ValueError
            If `Z` has another shape.
        """
        check_is_fitted(self)
        latents = check_array(
            Z, dtype=np.float32, order="C", allow_nd=True, input_name="Z"
        )
        if latents.shape[1:] not in ((prod(self.latent_shape_),), self.latent_shape_):
            raise ValueError(
                f"Latents must have the shape {self.latent_shape_}, or be vectors of "
                f"{prod(self.latent_shape_)} values, got {latents.shape[1:]}."
            )
        maps = torch.tensor(latents.reshape(-1, *self.latent_shape_))
        return np.concatenate(list(self._decode(maps)))

    @torch.inference_mode()
    def _decode(self, maps: torch.Tensor) -> Iterator[NDArray]:
        """Yield batches of images."""
        (seed,) = draw_seeds(check_random_state(self.random_state), 1)
        n_equal: Counter[bytes] = Counter()
        shift, factor = self._units()
        for batch in maps.split(self.batch_size):
            generators = [_make_generator(seed, latent, n_equal) for latent in batch]
            latents = self._denoise(batch.to(self.device_), generators)
            decoded = self.model_.decode(latents / factor + shift).sample
            pixels = (127.5 * (decoded + 1)).round_().clamp_(0, 255)
            yield pixels.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()

    def _denoise(self, latents, generators):
        """Add the noise of the last steps of the schedule, and take it away."""
        if not self.n_steps:
            return latents
        self.scheduler.set_timesteps(self.n_schedule_steps)
        steps = self.scheduler.timesteps[-self.n_steps :]
        noise = [torch.randn(latents.shape[1:], generator=g) for g in generators]
        noise = torch.stack(noise).to(latents.device)
        latents = self.scheduler.add_noise(latents, noise, steps[:1])
        # Some schedulers add noise in each step, and some want inputs in other units.
        step_from = self.scheduler.step
        if "generator" in signature(step_from).parameters:
            step_from = partial(step_from, generator=generators)
        scale = getattr(self.scheduler, "scale_model_input", lambda latents, _: latents)
        for step in steps:
            predicted = self.denoiser(scale(latents, step), step)
            predicted = getattr(predicted, "sample", predicted)
            latents = step_from(predicted, step, latents).prev_sample
        return latents

    def _check_denoiser(self):
        if (self.denoiser is None) != (self.scheduler is None):
            raise ValueError("Give both of denoiser and scheduler, or neither.")
        if self.n_steps and self.denoiser is None:
            raise ValueError(
                f"n_steps={self.n_steps} needs a denoiser and a scheduler."
            )
        if self.n_steps > self.n_schedule_steps:
            raise ValueError(
                f"n_steps must be at most n_schedule_steps={self.n_schedule_steps}, "
                f"got {self.n_steps}."
            )

    def _units(self):
        """Return shift and scaling factor of the latents of diffusion models."""
        config = self.model_.config
        return getattr(config, "shift_factor", None) or 0.0, config.scaling_factor

    def _read(self, sources, index):
        try:
            image = read_image(sources[index])
        except ImageReadError as error:
            raise ValueError(f"Image {index} cannot be read: {error}.") from error
        size = (self.image_size, self.image_size)
        return np.asarray(ImageOps.fit(image, size), dtype=np.float32)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        return tags


def _make_generator(seed, latent, n_equal):
    """Return the source of noise of a latent, and count those of the same values.

    A display renders images in several calls, which must not share their noise.
    """
    content = latent.numpy().tobytes()
    n_equal[content] += 1
    parts = f"{seed} {n_equal[content]} ".encode() + content
    digest = sha256(parts).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
