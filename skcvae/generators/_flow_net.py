"""Conditional flow matching: velocity network, training net, solvers and sampler."""

import math

import torch
from torch import nn

from .._training import TrainingNet, gradient_clipping
from ._cvae_net import LabelledLinear
from ._net_generator import (
    assemble_net,
    count_batches,
    one_cycle,
    resolve_max_epochs,
)
from ._samplers import NoiseSampler, turn_classes

_AUTO_STEPS = 1000
_N_FREQUENCIES = 16
_MAX_STEPS = 10_000
_FIRST_STEP = 0.05

# Dormand and Prince, "A family of embedded Runge-Kutta formulae", Journal of
# Computational and Applied Mathematics 6, 1980. The last row is the solution.
_TIMES = (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


class TimeFeatures(nn.Module):
    """Sine and cosine of multiples of a time in [0, 1]: (n,) to (n, 32)."""

    def __init__(self):
        super().__init__()
        multiples = torch.arange(1, _N_FREQUENCIES + 1) * (math.pi / 2)
        self.register_buffer("multiples", multiples, persistent=False)

    def forward(self, t):
        """Return the features."""
        angles = t[:, None] * self.multiples
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class VelocityBlock(nn.Module):
    """Two linear layers beside a shortcut; class and time enter between them."""

    def __init__(self, hidden_dim, n_classes, dropout):
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dim)
        self.hidden = LabelledLinear(hidden_dim, hidden_dim, n_classes)
        self.time = nn.Linear(2 * _N_FREQUENCIES, hidden_dim)
        self.activation = nn.SiLU()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, h, y, time):
        """Return the block's output."""
        hidden = self.hidden(self.norm(h), y) + self.time(time)
        return h + self.out(self.dropout(self.activation(hidden)))


class VelocityNet(nn.Module):
    """Velocity of a sample on its way from noise at t = 0 to data at t = 1.

    The sum of a network, zero at first, and of (2t - 1) x / (t² + (1 - t)²), the
    velocity where data and noise have the same normal distribution: the network learns
    only what is not Gaussian. The code `n_classes` stands for "any class".
    """

    def __init__(self, n_features, n_classes, hidden_dim=256, n_blocks=2, dropout=0.1):
        super().__init__()
        self.any_class = n_classes
        self.time_features = TimeFeatures()
        self.first = LabelledLinear(n_features, hidden_dim, n_classes + 1)
        self.blocks = nn.ModuleList(
            VelocityBlock(hidden_dim, n_classes + 1, dropout) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(hidden_dim)
        self.out = nn.Linear(hidden_dim, n_features)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x, t, y):
        """Return the velocity."""
        time = self.time_features(t)
        h = self.first(x, y)
        for block in self.blocks:
            h = block(h, y, time)
        gaussian = (2 * t - 1) / (t**2 + (1 - t) ** 2)
        return self.out(self.norm(h)) + gaussian[:, None] * x


class ConditionalFlow(nn.Module):
    """Velocity network, trained on random noise and times.

    Returns `velocity` and what it should be, in the order of the classes. `factor` is
    that of the covariance of each class's noise, see `ClassWhitening`; only training
    needs it.
    """

    def __init__(self, n_features, n_classes, factor, label_dropout, **kwargs):
        super().__init__()
        self.register_buffer("factor", factor, persistent=False)
        self.velocity = VelocityNet(n_features, n_classes, **kwargs)
        self.label_dropout = label_dropout

    def forward(self, x, y):
        """Draw noise and a time for each sample, and return the velocity there."""
        y, order = y.sort()
        x = x.index_select(0, order)
        noise = turn_classes(torch.randn_like(x), y, self.factor)
        t = torch.rand(len(x), device=x.device)
        if self.training and self.label_dropout:
            dropped = torch.rand(len(x), device=x.device) < self.label_dropout
            y = y.masked_fill(dropped, self.velocity.any_class)
        x_t = torch.lerp(noise, x, t[:, None])
        return self.velocity(x_t, t, y), x - noise


class FlowMatchingLoss(nn.Module):
    """Mean squared error of the velocity, averaged over samples and features."""

    def forward(self, outputs, x):
        """Return the loss of a batch."""
        return nn.functional.mse_loss(*outputs)


def build_net(flow, n_samples, device):
    """Return the untrained net of a FlowMatching; its `net_params` win."""
    params = {
        "module": ConditionalFlow,
        "module__n_features": flow.n_features_in_,
        "module__n_classes": len(flow.classes_),
        "module__factor": torch.tensor(flow.whitening_.factor, dtype=torch.float32),
        "module__label_dropout": flow.label_dropout,
        "criterion": FlowMatchingLoss,
        "optimizer": torch.optim.AdamW,
    }
    if "optimizer" not in (flow.net_params or {}):
        params.update(optimizer__fused=True, optimizer__weight_decay=0.01)
    max_epochs = resolve_max_epochs(flow, n_samples, _AUTO_STEPS)
    n_steps = count_batches(flow, n_samples) * max_epochs
    callbacks = [one_cycle(flow, n_steps), gradient_clipping()]
    return assemble_net(TrainingNet, flow, params, callbacks, max_epochs, device)


class FlowSampler(NoiseSampler):
    """Noise with the covariance of its class, carried along the learned velocity.

    `velocity` is in coordinates of unit covariance; `factor` and `colouring` are those
    of `ClassWhitening`. `solve` takes a velocity and samples at t = 0, and returns
    samples at t = 1. `guidance` is the weight of the class in the velocity.
    """

    def __init__(self, velocity, factor, colouring, solve, guidance):
        super().__init__()
        self.velocity = velocity
        self.solve = solve
        self.guidance = guidance
        self.register_buffer("factor", factor)
        self.register_buffer("colouring", colouring)
        self.latent_dim = len(colouring)

    def decode(self, e, codes):
        """Return samples for standard normal vectors e of shape (n, latent_dim)."""
        any_class = torch.full_like(codes, self.velocity.any_class)

        def guided(x, t):
            t = torch.full((len(x),), t, device=x.device)
            velocity = self.velocity(x, t, codes)
            if self.guidance == 1:
                return velocity
            return torch.lerp(self.velocity(x, t, any_class), velocity, self.guidance)

        start = turn_classes(e, codes, self.factor)
        return self.solve(guided, start) @ self.colouring


def integrate_midpoint(velocity, x, n_steps):
    """Take samples from t = 0 to 1 in `n_steps` equal steps of the midpoint rule.

    `velocity` takes samples (n, n_features) and a time, a float. It is called twice a
    step.
    """
    step = 1 / n_steps
    for i in range(n_steps):
        middle = x + step / 2 * velocity(x, i * step)
        x = x + step * velocity(middle, (i + 0.5) * step)
    return x


def integrate_dopri5(velocity, x, tol):
    """Take samples from t = 0 to 1 by Dormand and Prince, each within a tolerance.

    `velocity` takes samples (n, n_features) and a time, a float. `tol` is the absolute
    and relative error of a step, root mean square over the features. Raise RuntimeError
    if 10,000 steps are too few.
    """
    t, step, slope = 0.0, _FIRST_STEP, velocity(x, 0.0)
    for _ in range(_MAX_STEPS):
        step = min(step, 1 - t)
        x_new, slope_new, error = _dopri5_step(velocity, x, t, step, slope)
        size = tol + tol * torch.maximum(x.abs(), x_new.abs())
        ratio = (error / size).square().mean(dim=1).max().sqrt().item()
        if ratio <= 1:
            if step == 1 - t:
                return x_new
            t, x, slope = t + step, x_new, slope_new
        step *= min(max(0.9 * max(ratio, 1e-10) ** -0.2, 0.2), 5.0)
    raise RuntimeError(
        f"The solver took {_MAX_STEPS} steps and did not arrive. Use a larger tol, or "
        "solver='midpoint'."
    )


def _dopri5_step(velocity, x, t, step, slope):
    """Return the samples after a step, their slope and the estimated error."""
    slopes = [slope]
    for time, weights in zip(_TIMES[1:], _STAGES, strict=True):
        x_new = x + step * _weighted_sum(weights, slopes)
        slopes.append(velocity(x_new, t + time * step))
    return x_new, slopes[-1], step * _weighted_sum(_ERROR, slopes)


def _weighted_sum(weights, slopes):
    terms = [w * s for w, s in zip(weights, slopes, strict=True) if w]
    return torch.stack(terms).sum(dim=0)
