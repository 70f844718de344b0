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

    def decode(
        self, z: ArrayLike, y: ArrayLike, *, standard_normal: bool = False
    ) -> NDArray:
        """Decode latent vectors, without observation noise.

        Where the generator has an encoder, ``decode(encode(X, y), y)`` is
        ``reconstruct(X, y)``.

        Parameters
        ----------
        z : array-like of shape (n_samples, latent_dim)
            Latent vectors, as `encode` returns them.

        y : array-like of shape (n_samples,)
            Label of each; it must be in `classes_`.

        standard_normal : bool, default=False
            Whether `z` are standard normal vectors, which the latent prior of their
            class turns into latent vectors first. For vectors drawn from N(0, I),
            decoded samples are then what the generator draws with ``variance=1`` and
            without noise. Without a latent prior, as in :class:`CGAN`, all latent
            vectors are standard normal, and it makes no difference.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Samples in the units of the training samples.

        Raises
        ------
        ValueError
            If `z` has another dimension than the latent space, or `y` an unknown label.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> from skcvae.generators import CVAE
        >>> X, y = load_digits(return_X_y=True)
        >>> cvae = CVAE(max_epochs=2, device="cpu", random_state=0).fit(X, y)
        >>> cvae.decode(cvae.encode(X[:5], y[:5]), y[:5]).shape
        (5, 64)
        >>> e = np.random.RandomState(0).normal(size=(2, 32))
        >>> cvae.decode(e, [3, 8], standard_normal=True).shape
        (2, 64)
        """
        import torch

        require_labels(y)
        decoder = self.make_decoder("cpu")
        latents = check_array(
            z, dtype=np.float32, order="C", ensure_min_samples=0, input_name="z"
        )
        codes = encode_labels(y, decoder.classes)
        if latents.shape != (len(codes), decoder.latent_dim):
            raise ValueError(
                f"z must have one latent vector of dimension {decoder.latent_dim} for "
                f"each of the {len(codes)} labels, got shape {latents.shape}."
            )
        # Also where samples are whole numbers: a reconstruction is not rounded.
        dtype = np.result_type(getattr(self, "_output_dtype", np.float32), np.float32)
        to_units = decoder.make_units(torch.from_numpy(np.empty(0, dtype)).dtype)
        decode = decoder.sampler.decode
        if not standard_normal:
            decode = getattr(decoder.sampler, "decode_latents", decode)
        codes = torch.from_numpy(codes)
        with torch.inference_mode():
            return to_units(decode(torch.tensor(latents), codes), codes).numpy()


def require_labels(y):
    """Refuse labels that are not given."""
    if y is None:
        raise ValueError(
            "y is None: give the label of each sample. Only encode, reconstruct and "
            "interpolate of a VAE, whose networks see no labels, need none."
        )
