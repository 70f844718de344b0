"""Linear heads for several labels: their losses, and the fit of all at once."""

from numbers import Real

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logit
from sklearn.utils import gen_batches
from torch.nn import functional as F

#: Parameters of a SigmoidLoss: by default those of the papers.
LOSSES: dict[str, dict[str, float]] = {
    "cross_entropy": {},
    "balanced": {},
    "logit_adjusted": {},
    "focal": {"gamma": 2.0},
    "asymmetric": {"gamma_positive": 0.0, "gamma_negative": 4.0, "margin": 0.05},
}
# Logits that are held at a time: 16 MiB in float32.
_BLOCK_NUMBERS = 2**22
# Keeps powers of a probability differentiable at 0.
_TINY = 1e-12


def resolve_loss(loss, given):
    """Return the parameters of the `SigmoidLoss` of a name; refuse unknown ones."""
    known = LOSSES[loss]
    params = {**known, **(given or {})}
    wrong = sorted(set(params) - set(known))
    if wrong:
        raise ValueError(
            f"loss={loss!r} has no parameters {wrong}; it has {sorted(known)}."
        )
    for name, value in params.items():
        bound = 0.3 if name == "margin" else np.inf
        if not (isinstance(value, Real) and 0 <= value <= bound):
            raise ValueError(f"{name} must be in [0, {bound}], got {value!r}.")
    if loss == "focal":
        return dict.fromkeys(("gamma_positive", "gamma_negative"), params["gamma"])
    return params


class SigmoidLoss:
    r"""Asymmetric loss of logits and 0/1 labels, element by element.

    With :math:`p = \sigma(z)` and :math:`p_m = \max(p - m, 0)`, a positive costs
    :math:`-(1 - p)^{\gamma_+} \log p` and a negative
    :math:`-p_m^{\gamma_-} \log(1 - p_m)` (Ridnik et al., ICCV 2021, arXiv 2009.14119).
    Both exponents equal and no margin is the focal loss (Lin et al., ICCV 2017, arXiv
    1708.02002), and all of them 0 the cross-entropy.
    """

    def __init__(self, gamma_positive=0.0, gamma_negative=0.0, margin=0.0):
        self.gamma_positive = gamma_positive
        self.gamma_negative = gamma_negative
        self.margin = margin
        self.is_proper = not (gamma_positive or gamma_negative or margin)

    def positive(self, z):
        """Return what a positive costs."""
        loss = F.softplus(-z)
        if self.gamma_positive:
            loss = loss * torch.sigmoid(-z).clamp(min=_TINY) ** self.gamma_positive
        return loss

    def negative(self, z):
        """Return what a negative costs."""
        shifted = (torch.sigmoid(z) - self.margin).clamp(min=_TINY)
        loss = -torch.log1p(-shifted) if self.margin else F.softplus(z)
        return loss * shifted**self.gamma_negative if self.gamma_negative else loss

    def __call__(self, z, y):
        """Return the losses of logits; `y` has their shape."""
        if self.is_proper:
            return F.softplus(z) - y * z
        return torch.where(y > 0, self.positive(z), self.negative(z))

    def log_odds(self, z):
        r"""Return the log-odds of the label that a logit stands for.

        Where the odds of the label are :math:`\eta`, the expected loss is least at the
        logit with :math:`\eta = -\ell_-'(z) / \ell_+'(z)`. A margin m bounds these odds
        from above, and makes them 0 below m: outside :math:`2 m < p < 1 - m`, the
        log-odds go on with the slope 1, so that the order of the logits remains.
        """
        if self.is_proper:
            return z
        z = np.asarray(z, dtype=np.float64)
        low, high = -30.0, 30.0
        if self.margin:
            low, high = logit(2 * self.margin), logit(1 - self.margin)
        inner = torch.from_numpy(z.clip(low, high)).requires_grad_()
        rising = torch.autograd.grad(self.negative(inner).sum(), inner)[0]
        falling = torch.autograd.grad(self.positive(inner).sum(), inner)[0]
        odds = torch.log(rising) - torch.log(-falling)
        return odds.numpy() + (z - inner.detach().numpy())


class LabelHeads:
    """The mean loss of heads on weighted samples with a ridge, and its minimum.

    `Z` (n, d) and `Y` (n, n_labels) are float32 arrays, `weight` (n,) weighs the
    samples, and `label_weight` (2, n_labels) the negatives and positives of each label.
    `shift` (n_labels,) is added to the logits.
    """

    def __init__(self, Z, Y, weight, loss, label_weight, shift):
        self.Z, self.Y = torch.from_numpy(Z), torch.from_numpy(Y)
        self.weight = torch.from_numpy(np.float32(weight / weight.sum()))[:, None]
        self.loss = loss
        self.label_weight = torch.from_numpy(np.float32(label_weight))
        self.shift = torch.from_numpy(np.float32(shift))
        mean = self.weight.T @ self.Z
        self.spread = (self.weight.T @ (self.Z - mean).square())[0].double().numpy()

    def fit(self, l2, start=None, max_iter=300, tolerance=1e-6):
        """Return weights and biases, shape (n_labels, n_features + 1)."""
        shape = self.Y.shape[1], self.Z.shape[1] + 1
        # About the curvature at the frequency of each label, so that steps are as long
        # in each direction.
        rate = (self.weight.T @ self.Y)[0].double().numpy()
        both = np.clip([1 - rate, rate], 1e-6, None)
        spread = both.prod(0)[:, None]
        unit = (np.hstack([spread * self.spread + l2, spread]) ** -0.5).ravel()
        if start is None:
            start = np.zeros(shape)
            odds = both * self.label_weight.double().numpy()
            start[:, -1] = np.log(odds[1] / odds[0]) - self.shift.double().numpy()
        start = start.ravel() / unit
        scale = len(self.Z)

        def loss(scaled):
            joint = (unit * scaled).reshape(shape)
            value, gradient = self._loss_and_gradient(joint, l2)
            # SciPy's tolerance is a share only of a loss that is large.
            return scale * value, scale * unit * gradient.ravel()

        options = {"maxiter": max_iter, "ftol": tolerance, "gtol": 0, "maxcor": 5}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        return (unit * found.x).reshape(shape)

    def _loss_and_gradient(self, joint, l2):
        joint = torch.from_numpy(np.float32(joint))
        weights, bias = joint[:, :-1], joint[:, -1] + self.shift
        gradient, total = torch.zeros_like(joint), 0.0
        size = max(1, _BLOCK_NUMBERS // len(joint))
        for block in gen_batches(len(self.Z), size):
            z, y = self.Z[block], self.Y[block]
            logits = torch.addmm(bias, z, weights.T).requires_grad_()
            weight = torch.where(y > 0, self.label_weight[1], self.label_weight[0])
            loss = (weight * self.weight[block] * self.loss(logits, y)).sum()
            slopes = torch.autograd.grad(loss, logits)[0]
            gradient[:, :-1].addmm_(slopes.T, z)
            gradient[:, -1] += slopes.sum(0)
            total += float(loss.detach())
        gradient[:, :-1] += l2 * weights
        ridge = l2 / 2 * float(weights.square().sum(dtype=torch.float64))
        return total + ridge, gradient.double().numpy()
