"""Generators that encode samples."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from .._scaling import scale_rows
from .._validation import check_samples, encode_labels


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
            Mean of q(z | x, y).

        std : ndarray of shape (n_samples, latent_dim)
            Its standard deviation. Only with `return_std`.
        """
        x, codes = self._to_tensors(X, y)
        with torch.inference_mode():
            mean, log_var = self.net_.module_.encode(x, codes)
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
        x, codes = self._to_tensors(X, y)
        module = self.net_.module_
        with torch.inference_mode():
            decoded = module.decode(module.encode(x, codes)[0], codes).numpy()
        decoded = self.class_means_[codes.numpy()] + decoded
        return (self.offset_ + decoded * self.scale_).astype(self._output_dtype)

    def _to_tensors(self, X, y):
        """Return scaled residuals and class codes of labelled samples."""
        check_is_fitted(self)
        X, y = check_samples(self, X, y, reset=False)
        codes = encode_labels(y, self.classes_)
        Z = scale_rows(X, self.offset_, self.scale_) - self.class_means_[codes]
        return torch.from_numpy(Z.astype(np.float32)), torch.from_numpy(codes)
