"""Generators whose samples are decoded from latent vectors."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from .._validation import encode_labels

if TYPE_CHECKING:
    import torch

    from ._latent_decoder import LatentDecoder


class DecoderMixin:
    """Mixin of generators whose samples are decoded from latent vectors.

    A privacy audit attacks the decoder, and
    :class:`~skcvae.over_sampling.HardOverSampler` moves samples through it. Both look
    for this mixin. A generator of another package implements `make_decoder`.
    """

    def make_decoder(
        self: Any, device: "str | torch.device | None" = None
    ) -> "LatentDecoder":
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
        from ._latent_decoder import LatentDecoder

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
        import torch

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
