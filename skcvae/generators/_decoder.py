"""Generators whose samples are decoded from latent vectors, and their decoders."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from torch import nn

from .._validation import encode_labels
from ._base import make_units


class LatentDecoder(nn.Module):
    """Samples for standard normal latent vectors, in the units of the training samples.

    It is differentiable. Whoever holds a released decoder can attack it.

    **Shape**

    - Input: latent vectors ``(n, latent_dim)`` and class codes ``(n,)``
    - Output: ``(n, n_features)``, without observation noise

    Parameters
    ----------
    sampler : Module
        Has `latent_dim`, and `decode(z, codes)`, which returns scaled samples around 0.
        If it has a `noise` other than None, that has `factor`, the factor of its
        covariance, and the sampler has `draw_noise(z, codes, generator)`.

    centres : ndarray of shape (n_classes, n_features)
        Mean of each class.

    scale : ndarray of shape (n_features,)
        What scaled samples are multiplied by.

    classes : ndarray of shape (n_classes,)
        Labels in the order of their codes.

    variance : ndarray of shape (n_classes,), default=None
        Variance of the latent vectors of each class. None is 1.

    Attributes
    ----------
    latent_dim : int
        Dimension of the latent vectors.

    latent_std : Tensor of shape (n_classes,)
        Standard deviation of the latent vectors that the generator draws.

    noise_std : Tensor of shape (n_features,) or None
        Standard deviation of the observation noise of a sample whose noise has the
        scale 1.
    """

    sampler: Any
    centres: torch.Tensor
    scale: torch.Tensor
    latent_std: torch.Tensor
    noise_std: torch.Tensor | None

    def __init__(
        self,
        sampler: nn.Module,
        centres: NDArray,
        scale: NDArray,
        classes: NDArray,
        variance: NDArray | None = None,
    ) -> None:
        super().__init__()
        self.sampler = sampler
        self.latent_dim = sampler.latent_dim
        self.classes = classes
        variance = np.ones(len(classes)) if variance is None else variance
        self._exact = np.asarray(centres), np.asarray(scale)
        for name, values in {
            "centres": centres,
            "scale": scale,
            "latent_std": np.sqrt(variance),
        }.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))
        noise = getattr(sampler, "noise", None)
        if noise is not None:
            noise = noise.factor.norm(dim=1) * self.scale
        self.register_buffer("noise_std", noise)

    def forward(self, z: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Decode latent vectors."""
        return self.centres[codes] + self.sampler.decode(z, codes) * self.scale

    def make_units(
        self, dtype: torch.dtype
    ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return a function from scaled samples and codes to samples of a type."""
        return make_units(*self._exact, self.scale.device, dtype)


class DecoderMixin:
    """Mixin of generators whose samples are decoded from latent vectors.

    A privacy audit attacks the decoder, and
    :class:`~skcvae.over_sampling.HardOverSampler` moves samples through it. Both look
    for this mixin. A generator of another package implements `make_decoder`.
    """

    def make_decoder(
        self: Any, device: str | torch.device | None = None
    ) -> LatentDecoder:
        """Return the decoder as a differentiable module.

        Parameters
        ----------
        device : str, torch.device or None, default=None
            Where it computes. None is where the generator draws.

        Returns
        -------
        LatentDecoder
            Takes standard normal vectors of shape (n, `latent_dim`) and class codes,
            and returns samples in the units of the training samples, without
            observation noise.
        """
        self._check_ready()
        decoder = LatentDecoder(
            self._make_sampler(),
            self._centres(),
            self.scale_,
            self.classes_,
            self._resolve_variance(),
        )
        device = self._sampling_device() if device is None else device
        return decoder.requires_grad_(False).to(device)

    def decode(self, z: ArrayLike, y: ArrayLike) -> NDArray:
        """Decode latent vectors, without observation noise.

        Parameters
        ----------
        z : array-like of shape (n_samples, latent_dim)
            Latent vectors. The generator draws standard normal ones.

        y : array-like of shape (n_samples,)
            Label of each; it must be in `classes_`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Samples in the units of the training samples.

        Raises
        ------
        ValueError
            If `z` has another dimension than the latent space, or `y` an unknown label.
        """
        decoder = self.make_decoder("cpu")
        latents = check_array(z, dtype=np.float32, ensure_min_samples=0, input_name="z")
        codes = encode_labels(y, decoder.classes)
        if latents.shape != (len(codes), decoder.latent_dim):
            raise ValueError(
                f"z must have one latent vector of dimension {decoder.latent_dim} for "
                f"each of the {len(codes)} labels, got shape {latents.shape}."
            )
        with torch.inference_mode():
            return decoder(torch.from_numpy(latents), torch.from_numpy(codes)).numpy()
