"""What a fitted generator draws with: latent priors, and modules that decode."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .._class_means import (
    fit_class_means,
    indices_of_classes,
    leave_one_out_residuals,
)
from .._thin_covariance import ThinCovariance

JITTER = 1e-9


@dataclass
class LatentPrior:
    """Gaussian of the latents of each class: z = centre[c] + factor[c] @ noise.

    `centre` has the shape (n_classes, latent_dim); `factor`, the Cholesky factor of the
    covariance, (n_classes, latent_dim, latent_dim).
    """

    centre: np.ndarray
    factor: np.ndarray

    def take(self, codes, shared=None):
        """Return the Gaussians of given classes, the `shared` one for the code -1."""
        taken = LatentPrior(self.centre[codes], self.factor[codes])
        if shared is not None:
            taken.centre[codes < 0] = shared.centre
            taken.factor[codes < 0] = shared.factor
        return taken

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

    The latents of a sample are N(mean, diag(variance)), of shape (n_samples,
    latent_dim). Each class has its own mean and covariance, mixed with those of all
    classes as if it had `latent_dim` more samples: about as many as a covariance of
    that size needs.
    """
    n_samples, latent_dim = mean.shape
    overall = mean.mean(axis=0)
    deviation = mean - overall
    covariance = deviation.T @ deviation / n_samples + np.diag(variance.mean(axis=0))
    # Latents of almost no variance would leave nothing to factor.
    covariance += JITTER * np.trace(covariance) / latent_dim * np.eye(latent_dim)
    centre = np.empty((n_classes, latent_dim))
    factor = np.empty((n_classes, latent_dim, latent_dim), dtype=np.float32)
    for code, members in enumerate(indices_of_classes(codes, n_classes)):
        weight = len(members) + latent_dim
        shift = deviation[members].sum(axis=0) / weight
        around = deviation[members] - shift
        scatter = around.T @ around + np.diag(variance[members].sum(axis=0))
        centre[code] = overall + shift
        factor[code] = np.linalg.cholesky((scatter + latent_dim * covariance) / weight)
    return LatentPrior(centre, factor)


def labelled_prior(mean, variance, codes, n_classes):
    """Fit a `LatentPrior` where networks see no labels, and return it and its k0.

    The mean of a class is shrunk as class means of samples are, by k0 pseudo-samples.
    Its covariance is mixed with that of all samples around their class means.
    """
    means = fit_class_means(mean, codes, n_classes)
    residuals = leave_one_out_residuals(mean, codes, means.raw, means.k0)
    around = aggregate_prior(residuals, variance, codes, n_classes)
    return LatentPrior(means.shrunk, around.factor), means.k0


def draw_latents(centre, factor, codes, std, generator):
    """Draw a latent vector for each class code, its deviation multiplied by `std`.

    Codes are sorted: there is one matrix product for each run of equal codes.
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


def turn_classes(e, codes, factor):
    """Give standard normal vectors (n, n_features) the covariance of their class.

    Only the leading components are changed, by `factor` of shape (n_classes, rank,
    rank). Codes are sorted: there is one matrix product for each run of equal codes.
    """
    rank = factor.shape[1]
    classes, counts = codes.unique_consecutive(return_counts=True)
    runs = e[:, :rank].split(counts.tolist())
    turned = [
        run @ factor[code].T for code, run in zip(classes.tolist(), runs, strict=True)
    ]
    return torch.cat([torch.cat(turned), e[:, rank:]], dim=1)


class ThinFactor(nn.Module):
    """Factor of a `ThinCovariance`: its symmetric root, times its scale."""

    def __init__(self, covariance):
        super().__init__()
        rest = np.sqrt(covariance.rest)
        terms = {
            "vectors": covariance.vectors,
            "stretch": np.sqrt(np.maximum(covariance.values, 0)) - rest,
            "rest": rest,
            "scale": np.broadcast_to(covariance.scale, len(covariance)),
        }
        for name, values in terms.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))
        self.shape = covariance.shape

    def forward(self, e):
        """Return standard normal vectors with the covariance."""
        inside = (e @ self.vectors).mul_(self.stretch) @ self.vectors.T
        return inside.add_(e * self.rest).mul_(self.scale)

    def row_norms(self):
        """Return the lengths of the factor's rows, shape (n_features,)."""
        stretch = self.stretch * (self.stretch + 2 * self.rest)
        squares = self.vectors.square() @ stretch + self.rest**2
        return squares.sqrt() * self.scale

    def toarray(self):
        """Return the factor as a tensor of shape (n_features, n_features)."""
        return self(torch.eye(len(self.scale))).T.contiguous()


def make_factor(covariance):
    """Return the symmetric root of a covariance, which is unique, for samplers."""
    if isinstance(covariance, ThinCovariance):
        return ThinFactor(covariance)
    values, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return torch.from_numpy(factor.astype(np.float32))


class Coloured(nn.Module):
    """Base class: `factor`, a tensor L or a `ThinFactor`, for noise e L'."""

    def __init__(self, factor):
        super().__init__()
        if isinstance(factor, ThinFactor):
            self.factor = factor
        else:
            self.register_buffer("factor", factor)

    def colour(self, e):
        """Return standard normal vectors with the covariance L L'."""
        thin = isinstance(self.factor, ThinFactor)
        return self.factor(e) if thin else e @ self.factor.T

    def row_norms(self):
        """Return the standard deviation of each feature, shape (n_features,)."""
        thin = isinstance(self.factor, ThinFactor)
        return self.factor.row_norms() if thin else self.factor.norm(dim=1)

    def densify(self):
        """Turn a `ThinFactor` into a tensor."""
        if isinstance(self.factor, ThinFactor):
            factor = self.factor.toarray()
            del self.factor
            self.register_buffer("factor", factor)


class ObservationNoise(Coloured):
    """Gaussian noise of a fixed correlation whose amount depends on z and class.

    The covariance is L L' for a sample of the scale 1, in scaled units, where L is
    `factor`. The module `scale` returns the log of the scale of each sample, shape (n,
    1).
    """

    def __init__(self, factor, scale):
        super().__init__(factor)
        self.scale = scale

    def forward(self, z, codes, generator):
        """Draw the noise of each sample."""
        shape = len(z), self.factor.shape[1]
        noise = torch.randn(shape, generator=generator, device=z.device)
        return self.colour(noise).mul_(self.scale(z, codes).exp_())


class NoiseSampler(nn.Module):
    """Base class: decode standard normal vectors, and add no noise to the samples.

    A subclass has `latent_dim` and implements `decode(e, codes)`. Takes sorted class
    codes and standard deviations (n,), returns samples in scaled units.
    """

    #: Only the latent vector is random.
    noise = None

    def forward(self, codes, std, generator):
        """Draw a sample for each class code."""
        shape = len(codes), self.latent_dim
        noise = torch.randn(shape, generator=generator, device=codes.device)
        return self.decode(noise.mul_(std[:, None]), codes)


class GaussianSampler(Coloured, NoiseSampler):
    """Gaussian noise around class means, the same for all; the covariance is L L'."""

    @property
    def latent_dim(self):
        """Dimension of the latent vectors."""
        return self.factor.shape[1]

    def decode(self, e, codes):
        """Return samples for standard normal vectors e of shape (n, latent_dim)."""
        return self.colour(e)


class ClassCovarianceSampler(NoiseSampler):
    """Gaussian noise around the class means, with a covariance for each class.

    `factor`, `colouring` and `rest` are those of `ClassWhitening`. Noise is drawn for
    features: samples depend neither on the sign of the components, nor on which span
    the directions of equal variance.
    """

    def __init__(self, factor, colouring, rest=None):
        super().__init__()
        if rest is not None:
            rest = torch.tensor(rest, dtype=torch.float32)
        self.register_buffer("rest", rest)
        self.register_buffer("factor", factor)
        self.register_buffer("colouring", colouring)
        self.latent_dim = colouring.shape[1]

    def decode(self, e, codes):
        """Return samples for standard normal vectors e of shape (n, latent_dim)."""
        directions = nn.functional.normalize(self.colouring, dim=1, eps=1e-30)
        inside = e @ directions.T
        drawn = turn_classes(inside, codes, self.factor) @ self.colouring
        if self.rest is not None:
            outside = e - inside @ directions
            drawn += outside.mul_(self.rest[codes, None].sqrt())
        return drawn


class CVAESampler(nn.Module):
    """Decoder, latent prior and observation noise of a CVAE.

    Takes sorted class codes and standard deviations (n,), returns samples in scaled
    units. `centre` and `factor` are those of a `LatentPrior`. Without noise, it draws
    decoded means.
    """

    def __init__(self, decoder, centre, factor, noise=None):
        super().__init__()
        self.decoder = decoder
        self.noise = noise
        self.register_buffer("centre", centre)
        self.register_buffer("factor", factor)
        self.latent_dim = centre.shape[1]

    def decode(self, e, codes):
        """Return samples for standard normal vectors e of shape (n, latent_dim)."""
        return self.decode_latents(self._latents(e, codes), codes)

    def decode_latents(self, z, codes):
        """Return samples for latent vectors, as the encoder returns them."""
        return self.decoder.decode(z, codes)

    def draw_noise(self, e, codes, generator):
        """Draw the observation noise of samples at standard normal vectors e."""
        return self.noise(self._latents(e, codes), codes, generator)

    def draw_at(self, z, codes, generator):
        """Decode latent vectors, and add observation noise."""
        drawn = self.decode_latents(z, codes)
        if self.noise is not None:
            drawn += self.noise(z, codes, generator)
        return drawn

    def forward(self, codes, std, generator):
        """Draw a sample for each class code."""
        z = draw_latents(self.centre, self.factor, codes, std, generator)
        return self.draw_at(z, codes, generator)

    def _latents(self, e, codes):
        turned = torch.einsum("nij,nj->ni", self.factor[codes], e)
        return self.centre[codes] + turned


class CGANSampler(NoiseSampler):
    """Generator network of a GAN, and an affine map of what it returns.

    The network takes noise (n, latent_dim) and class codes. Its output is multiplied by
    the transpose of `factor`, and `shift` is added.
    """

    def __init__(self, network, latent_dim, factor, shift):
        super().__init__()
        self.network = network
        self.latent_dim = latent_dim
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)

    def decode(self, e, codes):
        """Return samples for standard normal vectors e of shape (n, latent_dim)."""
        return torch.addmm(self.shift, self.network(e, codes), self.factor.T)
