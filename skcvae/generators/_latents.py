"""The distributions that latent vectors are drawn from."""

from dataclasses import dataclass

import numpy as np
import torch

# Rows of the aggregate that the latent mean and scale of each class are mixed with.
_PSEUDO_ROWS = 10


@dataclass
class LatentPrior:
    """Gaussian of the latents of each class, with axes shared by all classes.

    z = centre[c] + axes @ (scale[c] * noise).

    Attributes
    ----------
    axes : ndarray of shape (latent_dim, latent_dim)
        Orthonormal columns.

    centre, scale : ndarray of shape (n_classes, latent_dim)
        Mean, and standard deviation along the axes, of the latents of each class.
    """

    axes: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    def to(self, device):
        """Return axes, centre and scale as tensors."""
        return tuple(
            torch.from_numpy(a.astype(np.float32)).to(device)
            for a in (self.axes, self.centre, self.scale)
        )


def standard_prior(n_classes, latent_dim):
    """Return N(0, I) for every class."""
    shape = (n_classes, latent_dim)
    return LatentPrior(np.eye(latent_dim), np.zeros(shape), np.ones(shape))


def aggregate_prior(mean, variance, codes, n_classes):
    """Fit a Gaussian to the training latents, and shrink each class's towards it.

    The latents of a row are N(mean, diag(variance)). Along the principal axes of all
    latents, each class has its own mean and variance, mixed with those of all classes
    as if it had ten more rows.

    Parameters
    ----------
    mean, variance : ndarray of shape (n_samples, latent_dim)
        Moments of q(z | x, y) for each training row.

    codes : ndarray of shape (n_samples,)
        Class codes.

    n_classes : int
        Number of classes.

    Returns
    -------
    LatentPrior
    """
    overall = mean.mean(axis=0)
    deviation = mean - overall
    covariance = deviation.T @ deviation / len(mean) + np.diag(variance.mean(axis=0))
    values, axes = np.linalg.eigh(covariance)
    values = np.maximum(values, 0)
    along = deviation @ axes
    weight = np.bincount(codes, minlength=n_classes)[:, None] + _PSEUDO_ROWS
    centre = _class_sums(along, codes, n_classes) / weight
    squares = (along - centre[codes]) ** 2 + variance @ axes**2
    spread = (_class_sums(squares, codes, n_classes) + _PSEUDO_ROWS * values) / weight
    return LatentPrior(axes, overall + centre @ axes.T, np.sqrt(spread))


def _class_sums(values, codes, n_classes):
    sums = np.zeros((n_classes, values.shape[1]))
    np.add.at(sums, codes, values)
    return sums
