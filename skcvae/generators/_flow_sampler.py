"""What a fitted FlowMatching draws with."""

import torch

from ._class_whitening import turn_classes
from ._samplers import NoiseSampler


class FlowSampler(NoiseSampler):
    """Noise with the covariance of its class, carried along the learned velocity.

    **Shape**

    - Input: class codes ``(n,)``, sorted, and standard deviations ``(n,)``
    - Output: ``(n, n_features)``, in scaled units

    Parameters
    ----------
    velocity : VelocityNet
        Velocity in coordinates of unit covariance.

    factor : Tensor of shape (n_classes, rank, rank)
        Factor of the covariance of each class, see `ClassWhitening`.

    colouring : Tensor of shape (n_features, n_features)
        Right factor that takes coordinates to scaled units.

    solve : callable
        Takes a velocity of rows and time, and rows at t = 0; returns them at t = 1.

    guidance : float
        Weight of the class in the velocity.
    """

    def __init__(self, velocity, factor, colouring, solve, guidance):
        super().__init__()
        self.velocity = velocity
        self.solve = solve
        self.guidance = guidance
        self.register_buffer("factor", factor)
        self.register_buffer("colouring", colouring)

    @property
    def latent_dim(self):
        """Dimension of the latent vectors."""
        return len(self.colouring)

    def decode(self, e, codes):
        """Return rows for standard normal vectors e of shape (n, latent_dim)."""
        any_class = torch.full_like(codes, self.velocity.any_class)

        def guided(x, t):
            t = torch.full((len(x),), t, device=x.device)
            velocity = self.velocity(x, t, codes)
            if self.guidance == 1:
                return velocity
            return torch.lerp(self.velocity(x, t, any_class), velocity, self.guidance)

        start = turn_classes(e, codes, self.factor)
        return self.solve(guided, start) @ self.colouring
