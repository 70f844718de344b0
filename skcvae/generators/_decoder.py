"""Generators whose samples are decoded from latent vectors, and their decoders."""

import numpy as np
import torch
from sklearn.utils import check_array
from torch import nn

from .._validation import encode_labels
from ._sampling import make_units


class LatentDecoder(nn.Module):
    """Samples for standard normal latent vectors, in the units of the training samples.

    It is differentiable, and what an attacker has who holds a released decoder.

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

    def __init__(self, sampler, centres, scale, classes, variance=None):
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

    def forward(self, z, codes):
        """Decode latent vectors."""
        return self.centres[codes] + self.sampler.decode(z, codes) * self.scale

    def make_units(self, dtype):
        """Return a function from scaled samples and codes to samples of a type."""
        return make_units(*self._exact, self.scale.device, dtype)


class DecoderMixin:
    """Mixin of generators whose samples are decoded from latent vectors.

    Only what has it can be attacked through its decoder, and only there can
    :class:`~skcvae.over_sampling.HardOverSampler` move samples. A generator of another
    package implements `make_decoder`.
    """

    def make_decoder(self, device=None):
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

    def decode(self, z, y):
        """Decode latent vectors, without observation noise.

        Parameters
        ----------
        z : array-like of shape (n_samples, latent_dim)
            Latent vectors; standard normal ones are typical.

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
        z = check_array(z, dtype=np.float32, ensure_min_samples=0, input_name="z")
        codes = encode_labels(y, decoder.classes)
        if z.shape != (len(codes), decoder.latent_dim):
            raise ValueError(
                f"z must have one latent vector of dimension {decoder.latent_dim} for "
                f"each of the {len(codes)} labels, got shape {z.shape}."
            )
        with torch.inference_mode():
            return decoder(torch.from_numpy(z), torch.from_numpy(codes)).numpy()
