"""The distributions that latent vectors are drawn from."""

from dataclasses import dataclass

import numpy as np
import torch

from .._class_means import fit_class_means, leave_one_out_residuals

_JITTER = 1e-9


@dataclass
class LatentPrior:
    """Gaussian of the latents of each class.

    z = centre[c] + factor[c] @ noise.

    Attributes
    ----------
    centre : ndarray of shape (n_classes, latent_dim)
        Mean of the latents of each class.

    factor : ndarray of shape (n_classes, latent_dim, latent_dim)
        Cholesky factor of their covariance.
    """

    centre: np.ndarray
    factor: np.ndarray

    def to(self, device):
        """Return centre and factor as tensors."""
        return tuple(
            torch.from_numpy(a.astype(np.float32)).to(device)
            for a in (self.centre, self.factor)
        )


def standard_prior(n_classes, latent_dim):
    """Return N(0, I) for every class."""
    identity = np.eye(latent_dim)
    return LatentPrior(
        np.zeros((n_classes, latent_dim)),
        np.broadcast_to(identity, (n_classes, latent_dim, latent_dim)),
    )


def aggregate_prior(mean, variance, codes, n_classes):
    """Fit a Gaussian to the training latents, and shrink each class's towards it.

    The latents of a row are N(mean, diag(variance)). Each class has its own mean and
    covariance, mixed with those of all classes as if it had `latent_dim` more rows:
    about as many as a covariance of that size needs.

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
    n_samples, latent_dim = mean.shape
    overall = mean.mean(axis=0)
    deviation = mean - overall
    covariance = deviation.T @ deviation / n_samples + np.diag(variance.mean(axis=0))
    # Latents of almost no variance would leave nothing to factor.
    covariance += _JITTER * np.trace(covariance) / latent_dim * np.eye(latent_dim)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=n_classes))
    centre = np.empty((n_classes, latent_dim))
    factor = np.empty((n_classes, latent_dim, latent_dim), dtype=np.float32)
    for code, rows in enumerate(np.split(order, ends[:-1])):
        weight = len(rows) + latent_dim
        shift = deviation[rows].sum(axis=0) / weight
        around = deviation[rows] - shift
        scatter = around.T @ around + np.diag(variance[rows].sum(axis=0))
        centre[code] = overall + shift
        factor[code] = np.linalg.cholesky((scatter + latent_dim * covariance) / weight)
    return LatentPrior(centre, factor)


def labelled_prior(mean, variance, codes, n_classes):
    """Fit a Gaussian to the latents of each class, of networks that see no labels.

    Its mean is that of the class, shrunk as class means of rows are; its covariance is
    mixed with that of all rows around the means of their classes.

    Parameters
    ----------
    mean, variance : ndarray of shape (n_samples, latent_dim)
        Moments of q(z | x) for each training row.

    codes : ndarray of shape (n_samples,)
        Class codes.

    n_classes : int
        Number of classes.

    Returns
    -------
    prior : LatentPrior

    k0 : float
        Number of pseudo-rows at the overall mean.
    """
    means = fit_class_means(mean, codes, n_classes)
    residuals = leave_one_out_residuals(mean, codes, means.raw, means.k0)
    around = aggregate_prior(residuals, variance, codes, n_classes)
    return LatentPrior(means.shrunk, around.factor), means.k0


def draw_latents(centre, factor, codes, std, generator):
    """Draw a latent vector for each class code.

    Parameters
    ----------
    centre, factor : Tensor
        As :meth:`LatentPrior.to` returns them.

    codes : Tensor of shape (n_samples,)
        Class codes, sorted: there is one matrix product for each run of equal codes.

    std : Tensor of shape (n_samples,)
        Factor of the deviation from the class's mean.

    generator : torch.Generator
        Source of the noise.

    Returns
    -------
    Tensor of shape (n_samples, latent_dim)
    """
    shape = len(codes), centre.shape[1]
    noise = torch.randn(shape, generator=generator, device=codes.device)
    noise.mul_(std[:, None])
    z = centre.index_select(0, codes)
    classes, counts = codes.unique_consecutive(return_counts=True)
    runs = counts.tolist()
    for code, drawn, of in zip(
        classes.tolist(), noise.split(runs), z.split(runs), strict=True
    ):
        of.addmm_(drawn, factor[code].T)
    return z
