"""The decoder of a generator, as a differentiable module."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

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
            noise = noise.row_norms() * self.scale
        self.register_buffer("noise_std", noise)

    def forward(self, z: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Decode latent vectors."""
        return self.centres[codes] + self.sampler.decode(z, codes) * self.scale

    def make_units(
        self, dtype: torch.dtype
    ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return a function from scaled samples and codes to samples of a type."""
        return make_units(*self._exact, self.scale.device, dtype)
