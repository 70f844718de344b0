"""What a fitted generator draws with: modules that know nothing of training."""

import torch
from torch import nn

from ._class_whitening import turn_classes
from ._latents import draw_latents


class ObservationNoise(nn.Module):
    """Gaussian noise of a fixed correlation whose amount depends on z and class.

    **Shape**

    - Input: latent vectors ``(n, latent_dim)`` and class codes ``(n,)``
    - Output: ``(n, n_features)``, in scaled units

    Parameters
    ----------
    factor : Tensor of shape (n_features, n_features)
        Factor L of the covariance L L' of the noise of a row of the scale 1.

    scale : Module
        Returns the log of the scale of each row, shape (n, 1).
    """

    def __init__(self, factor, scale):
        super().__init__()
        self.scale = scale
        self.register_buffer("factor", factor)

    def forward(self, z, codes, generator):
        """Draw the noise of each row."""
        shape = len(z), len(self.factor)
        noise = torch.randn(shape, generator=generator, device=z.device)
        return (noise @ self.factor.T).mul_(self.scale(z, codes).exp_())


class NoiseSampler(nn.Module):
    """Base class: decodes standard normal vectors, and adds no noise to the rows.

    A subclass has `latent_dim` and implements `decode(e, codes)`.

    **Shape**

    - Input: class codes ``(n,)``, sorted, and standard deviations ``(n,)``
    - Output: ``(n, n_features)``, in scaled units
    """

    #: Rows have no noise beyond that of the latent vector.
    noise = None

    def forward(self, codes, std, generator):
        """Draw a row for each class code."""
        shape = len(codes), self.latent_dim
        noise = torch.randn(shape, generator=generator, device=codes.device)
        return self.decode(noise.mul_(std[:, None]), codes)


class GaussianSampler(NoiseSampler):
    """Gaussian noise around the class means, the same for all classes.

    **Shape**

    - Input: class codes ``(n,)``, sorted, and standard deviations ``(n,)``
    - Output: ``(n, n_features)``, in scaled units

    Parameters
    ----------
    factor : Tensor of shape (n_features, n_features)
        Factor L of the covariance, W = L L'.
    """

    def __init__(self, factor):
        super().__init__()
        self.register_buffer("factor", factor)

    @property
    def latent_dim(self):
        """Dimension of the latent vectors."""
        return self.factor.shape[1]

    def decode(self, e, codes):
        """Return rows for standard normal vectors e of shape (n, latent_dim)."""
        return e @ self.factor.T


class ClassCovarianceSampler(NoiseSampler):
    """Gaussian noise around the class means, with a covariance for each class.

    **Shape**

    - Input: class codes ``(n,)``, sorted, and standard deviations ``(n,)``
    - Output: ``(n, n_features)``, in scaled units

    Parameters
    ----------
    factor : Tensor of shape (n_classes, rank, rank)
        Factor of the covariance of each class, see `ClassWhitening`.

    colouring : Tensor of shape (n_features, n_features)
        Right factor that takes coordinates to scaled units.
    """

    def __init__(self, factor, colouring):
        super().__init__()
        self.register_buffer("factor", factor)
        self.register_buffer("colouring", colouring)

    @property
    def latent_dim(self):
        """Dimension of the latent vectors."""
        return len(self.colouring)

    def decode(self, e, codes):
        """Return rows for standard normal vectors e of shape (n, latent_dim)."""
        return turn_classes(e, codes, self.factor) @ self.colouring


class CVAESampler(nn.Module):
    """Decoder, latent prior and observation noise of a CVAE.

    **Shape**

    - Input: class codes ``(n,)``, sorted, and standard deviations ``(n,)``
    - Output: ``(n, n_features)``, in scaled units

    Parameters
    ----------
    decoder : Module
        Has `decode(z, y)`.

    centre : Tensor of shape (n_classes, latent_dim)
        Mean of the latents of each class.

    factor : Tensor of shape (n_classes, latent_dim, latent_dim)
        Cholesky factor of their covariance.

    noise : ObservationNoise or None
        None draws decoded means.
    """

    def __init__(self, decoder, centre, factor, noise=None):
        super().__init__()
        self.decoder = decoder
        self.noise = noise
        self.register_buffer("centre", centre)
        self.register_buffer("factor", factor)

    @property
    def latent_dim(self):
        """Dimension of the latent vectors."""
        return self.centre.shape[1]

    def decode(self, e, codes):
        """Return rows for standard normal vectors e of shape (n, latent_dim)."""
        return self.decoder.decode(self._latents(e, codes), codes)

    def draw_noise(self, e, codes, generator):
        """Draw the observation noise of rows at standard normal vectors e."""
        return self.noise(self._latents(e, codes), codes, generator)

    def draw_at(self, z, codes, generator):
        """Decode latent vectors, and add observation noise."""
        drawn = self.decoder.decode(z, codes)
        if self.noise is not None:
            drawn += self.noise(z, codes, generator)
        return drawn

    def forward(self, codes, std, generator):
        """Draw a row for each class code."""
        z = draw_latents(self.centre, self.factor, codes, std, generator)
        return self.draw_at(z, codes, generator)

    def _latents(self, e, codes):
        turned = torch.einsum("nij,nj->ni", self.factor[codes], e)
        return self.centre[codes] + turned


class CGANSampler(NoiseSampler):
    """Generator network of a GAN, and an affine map of what it returns.

    **Shape**

    - Input: class codes ``(n,)``, sorted, and standard deviations ``(n,)``
    - Output: ``(n, n_features)``, in scaled units

    Parameters
    ----------
    network : Module
        Takes standard normal noise and class codes.

    latent_dim : int
        Dimension of the noise.

    factor : Tensor of shape (n_features, n_features)
        What rows of the network are multiplied by: its transpose.

    shift : Tensor of shape (n_features,)
        What is added to them.
    """

    def __init__(self, network, latent_dim, factor, shift):
        super().__init__()
        self.network = network
        self.latent_dim = latent_dim
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)

    def decode(self, e, codes):
        """Return rows for standard normal vectors e of shape (n, latent_dim)."""
        return torch.addmm(self.shift, self.network(e, codes), self.factor.T)
