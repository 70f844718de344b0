"""Solvers of dx/dt = velocity(x, t) from t = 0 to t = 1, on rows of a tensor."""

import torch

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


def integrate_midpoint(velocity, x, n_steps):
    """Take `n_steps` equal steps of the midpoint rule; two velocities each.

    Parameters
    ----------
    velocity : callable
        Takes rows of shape (n, n_features) and a time, a float.

    x : Tensor of shape (n, n_features)
        Rows at t = 0.

    n_steps : int
        Number of steps.

    Returns
    -------
    Tensor of shape (n, n_features)
        Rows at t = 1.
    """
    step = 1 / n_steps
    for i in range(n_steps):
        middle = x + step / 2 * velocity(x, i * step)
        x = x + step * velocity(middle, (i + 0.5) * step)
    return x


def integrate_dopri5(velocity, x, tol):
    """Take steps of Dormand and Prince, chosen so that each row keeps a tolerance.

    Parameters
    ----------
    velocity : callable
        Takes rows of shape (n, n_features) and a time, a float.

    x : Tensor of shape (n, n_features)
        Rows at t = 0.

    tol : float
        Absolute and relative error of a step, root mean square over the features.

    Returns
    -------
    Tensor of shape (n, n_features)
        Rows at t = 1.

    Raises
    ------
    RuntimeError
        If 10,000 steps are too few.
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
    """Return the rows after a step, their slope and the estimated error."""
    slopes = [slope]
    for time, weights in zip(_TIMES[1:], _STAGES, strict=True):
        x_new = x + step * _weighted_sum(weights, slopes)
        slopes.append(velocity(x_new, t + time * step))
    return x_new, slopes[-1], step * _weighted_sum(_ERROR, slopes)


def _weighted_sum(weights, slopes):
    terms = [w * s for w, s in zip(weights, slopes, strict=True) if w]
    return torch.stack(terms).sum(dim=0)
