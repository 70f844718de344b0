"""Generators that encode samples."""

from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, check_scalar


class EncoderMixin:
    """Mixin of generators that have an encoder. A release has none."""

    def encode(
        self: Any, X: ArrayLike, y: ArrayLike, *, return_std: bool = False
    ) -> NDArray | tuple[NDArray, NDArray]:
        """Return the latent mean of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,)
            Their labels; each must be in `classes_`.

        return_std : bool, default=False
            Whether to return the standard deviations, too.

        Returns
        -------
        mean : ndarray of shape (n_samples, latent_dim)
            Mean of q(z | x, y), which `decode` takes.

        std : ndarray of shape (n_samples, latent_dim)
            Its standard deviation. Only with `return_std`.
        """
        if hasattr(self, "label_sets_"):
            view, codes = self._view(y)
            return view.encode(X, codes, return_std=return_std)
        x, codes = self._to_tensors(X, y)
        with torch.inference_mode():
            mean, log_var = self._module_to_draw().encode(x, codes)
            std = torch.exp(0.5 * log_var)
        return (mean.numpy(), std.numpy()) if return_std else mean.numpy()

    def reconstruct(self: Any, X: ArrayLike, y: ArrayLike) -> NDArray:
        """Encode each sample and decode its latent mean, without noise.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,)
            Their labels; each must be in `classes_`.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            Reconstructed samples, in the units of `X`.
        """
        return self.decode(self.encode(X, y), y)

    def interpolate(
        self: Any, X1: ArrayLike, X2: ArrayLike, y: ArrayLike, *, n_steps: int = 8
    ) -> NDArray:
        r"""Decode the points on the way between the latent means of two samples.

        Step t is decoded, without noise, from :math:`(1 - a) z_1 + a z_2` with
        :math:`a = t / (n_{steps} - 1)`. The first and last steps are the
        reconstructions of the two samples.

        Both samples of a pair are of the same class, which the decoder is told. For a
        way from one class to another, use a :class:`VAE`, whose networks see no labels.

        Parameters
        ----------
        X1 : array-like of shape (n_pairs, n_features)
            Samples where the ways begin.

        X2 : array-like of shape (n_pairs, n_features)
            Samples where they end.

        y : array-like of shape (n_pairs,)
            The label of both samples of each pair; it must be in `classes_`.

        n_steps : int, default=8
            Number of steps, at least 2, the ends included.

        Returns
        -------
        X_between : ndarray of shape (n_pairs, n_steps, n_features)
            The steps of each pair, in the units of `X1`.

        Raises
        ------
        ValueError
            If `X1`, `X2` and `y` differ in length, or `y` has an unknown label.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skcvae.generators import CVAE
        >>> X, y = load_digits(return_X_y=True)
        >>> cvae = CVAE(max_epochs=2, device="cpu", random_state=0).fit(X, y)
        >>> threes = X[y == 3]
        >>> cvae.interpolate(threes[:2], threes[2:4], [3, 3], n_steps=5).shape
        (2, 5, 64)
        """
        check_scalar(n_steps, "n_steps", Integral, min_val=2)
        check_consistent_length(X1, X2, y)
        if hasattr(self, "label_sets_"):
            view, codes = self._view(y)
            return view.interpolate(X1, X2, codes, n_steps=n_steps)
        ends = np.stack([self.encode(X1, y), self.encode(X2, y)], axis=1)
        share = np.linspace(0, 1, n_steps, dtype=np.float32)[:, None]
        z = (1 - share) * ends[:, :1] + share * ends[:, 1:]
        labels = np.repeat(np.asarray(y), n_steps, axis=0)
        decoded = self.decode(z.reshape(-1, z.shape[2]), labels)
        return decoded.reshape(len(z), n_steps, -1)
