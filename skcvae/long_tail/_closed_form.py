"""The convex objective of a linear head, with infinitely many generated samples."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from .._class_means import class_sums
from .._scaling import inverse_scale
from .._thin_covariance import (
    ThinCovariance,
    is_wide,
    principal_directions,
    quadratic_form,
)

# Logits that are held at a time: 16 MiB in float32.
_BLOCK_NUMBERS = 2**22
# Directions of less variance than this share of the mean are scaled as if they had it.
_MIN_VARIANCE = 1e-4


@dataclass
class Gaussians:
    """Gaussian classes that share a covariance, up to a factor for each class.

    `means` has the shape (n_classes, n_features), `covariance` (n_features,
    n_features), and `variance`, the factor of each class, (n_classes,).
    """

    means: np.ndarray
    covariance: np.ndarray | ThinCovariance
    variance: np.ndarray

    def transform(self, matrix):
        """Return the Gaussians of samples that are multiplied by a matrix."""
        covariance = quadratic_form(self.covariance, matrix)
        return Gaussians(self.means @ matrix, covariance, self.variance)


def read_gaussians(generator, classes, offset, scale, variance=None):
    """Return the `Gaussians` of a fitted ClassGaussian in the scale of a classifier."""
    code_of = {label: i for i, label in enumerate(generator.classes_.tolist())}
    codes = [code_of[label] for label in classes.tolist()]
    factor = inverse_scale(scale)
    means = generator.offset_ + generator.class_means_[codes] * generator.scale_
    stretch = generator.scale_ * factor
    return Gaussians(
        (means - offset) * factor,
        _stretch(generator.covariance_, stretch),
        generator._resolve_variance(variance)[codes],
    )


def _stretch(covariance, stretch):
    """Return the covariance of features that are multiplied by numbers."""
    if isinstance(covariance, ThinCovariance):
        return covariance.rescale(stretch)
    return covariance * stretch[:, None] * stretch


def within_covariance(Z, codes, weight):
    """Return the covariance of weighted samples around the means of their classes."""
    sums = class_sums(weight[:, None] * Z, codes, codes.max() + 1)
    residuals = Z - (sums / np.bincount(codes, weight)[:, None])[codes]
    return (weight * residuals.T) @ residuals / weight.sum()


def fewer_coordinates(Z, gaussians, frozen):
    """Return orthonormal columns whose span holds the weights of a head, or None.

    These are the directions of samples and means, where they are fewer than features.
    A generator that was fitted to other samples adds those of its covariance.
    """
    if not is_wide(len(Z), Z.shape[1]):
        return None
    rows = [Z.astype(np.float64)]
    if gaussians is not None:
        covariance = gaussians.covariance
        if not isinstance(covariance, ThinCovariance):
            return None
        rows.append(gaussians.means)
        if frozen:
            spread = covariance.vectors * np.sqrt(covariance.values * len(Z))
            rows.append(spread.T * covariance.scale)
    return principal_directions(np.concatenate(rows))[0]


def half_whitener(covariance, size=None):
    r"""Return a matrix that half-whitens samples.

    With :math:`\Sigma / s = V \Lambda V^\top` and s the mean variance, it is
    :math:`V \Lambda^{-1/4} / \sqrt{s}`, and leaves variances :math:`\Lambda^{1/2}`. A
    ridge on samples multiplied by this matrix is one of :math:`w' \Sigma^{1/2} w` on
    the samples as they are: features of much variance need small weights, and are
    penalised for large ones. The factor s makes it independent of the unit of X. It is
    to be given where the covariance is that in `fewer_coordinates`.
    """
    values, vectors = np.linalg.eigh(covariance)
    size = (values.mean() if size is None else size) or 1.0
    scaled = np.maximum(values / size, _MIN_VARIANCE)
    return vectors * scaled**-0.25 / np.sqrt(size)


def principal_axes(Z, weight):
    """Return an orthonormal matrix of axes, and the variances of samples along them.

    A ridge does not see a rotation, and along these axes L-BFGS takes fewer steps.
    """
    weight = (weight / weight.sum()).astype(Z.dtype)
    centred = Z - weight @ Z
    values, vectors = np.linalg.eigh((weight * centred.T) @ centred)
    return vectors, np.maximum(values, 0)


class HeadObjective:
    r"""Loss of a linear head on weighted samples and on Gaussian ones, with gradient.

    Infinitely many generated samples of class c, weighing :math:`g_c`, `mass`,
    together, cost at most, by Jensen's inequality,

    .. math::
        g_c \log \sum_j \exp\left[(w_j - w_c)^\top m_c + b_j - b_c + s_j - s_c
        + \frac{v_c}{2} (w_j - w_c)^\top \Sigma (w_j - w_c)\right],

    with :math:`s`, `shift`, what the loss adds to the logits. The quadratic forms come
    from :math:`W \Sigma W^\top`, and so does their gradient: no array of n_classes x
    n_classes x n_features is made. `spread`, of shape (n_features,), is the variance of
    the features, for the steps of the solver.
    """

    def __init__(self, z, codes, weight, shift, gaussians, mass, spread):
        def tensor(values):
            return torch.as_tensor(values, dtype=z.dtype, device=z.device)

        self.z, self.codes, self.weight = z, codes, weight
        self.shift, self.mass = tensor(shift), tensor(mass)
        self.shape = len(shift), z.shape[1]
        self.total = float(weight.sum(dtype=torch.float64)) + float(np.sum(mass))
        self.gaussians, self.spread = gaussians, spread
        if gaussians is not None:
            self.means = tensor(gaussians.means)
            self.covariance = tensor(gaussians.covariance)
            self.set_width(1.0)

    def set_width(self, factor):
        """Multiply the variances of the Gaussians by a factor."""
        if self.gaussians is not None:
            self.variance = self.mass.new_tensor(factor * self.gaussians.variance)

    def fit(self, l2, start=None, max_iter=200, tolerance=1e-6):
        """Return weights and biases, shape (n_classes, n_features + 1).

        L-BFGS ends when an iteration lowers the loss by a share below `tolerance`.
        """
        n_classes, n_features = self.shape
        # About the curvature, so that steps are as long in each direction.
        curvature = np.append(self.spread / n_classes + l2, 1 / n_classes)
        unit = np.tile(curvature**-0.5, n_classes)
        start = np.zeros_like(unit) if start is None else start.ravel() / unit

        def loss(scaled):
            value, gradient = self._loss_and_gradient(unit * scaled, l2)
            # SciPy's tolerance is a share only of a loss that is large.
            return self.total * value, self.total * unit * gradient

        # More corrections cost more than the steps that they save.
        options = {"maxiter": max_iter, "ftol": tolerance, "gtol": 0, "maxcor": 5}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        return (unit * found.x).reshape(n_classes, n_features + 1)

    def _loss_and_gradient(self, flat, l2):
        """Return the mean loss with the ridge, and its gradient, in float64."""
        joint = torch.as_tensor(flat, dtype=self.z.dtype, device=self.z.device)
        joint = joint.view(self.shape[0], -1)
        weights, bias = joint[:, :-1].contiguous(), joint[:, -1] + self.shift
        gradient = torch.zeros_like(joint)
        loss = self._add_samples(weights, bias, gradient)
        if self.gaussians is not None:
            loss += self._add_gaussians(weights, bias, gradient)
        gradient /= self.total
        gradient[:, :-1] += l2 * weights
        ridge = l2 / 2 * float(weights.square().sum(dtype=torch.float64))
        return loss / self.total + ridge, gradient.double().cpu().numpy().ravel()

    def _blocks(self, n):
        size = max(1, _BLOCK_NUMBERS // self.shape[0])
        return [slice(i, min(i + size, n)) for i in range(0, n, size)]

    def _add_samples(self, weights, bias, gradient):
        """Return the loss of the samples, and add its gradient."""
        total = 0.0
        for block in self._blocks(len(self.z)):
            z, own = self.z[block], self.codes[block, None]
            logits = torch.addmm(bias, z, weights.T)
            loss, slopes = _cross_entropy(logits, own, self.weight[block, None])
            total += loss
            gradient[:, :-1].addmm_(slopes.T, z)
            gradient[:, -1] += slopes.sum(0)
        return total

    def _add_gaussians(self, weights, bias, gradient):
        """Return the bound on the loss of the generated samples; add its gradient."""
        projected = weights @ self.covariance
        norms = (projected * weights).sum(1)
        total, back, mixed = 0.0, torch.zeros_like(norms), torch.zeros_like(weights)
        everything = torch.arange(len(self.means), device=weights.device)[:, None]
        for block in self._blocks(len(self.means)):
            codes = everything[block]
            half = self.variance[block, None] / 2
            logits = torch.addmm(bias, self.means[block], weights.T)
            cross = projected[block] @ weights.T
            logits += half * (norms[block, None] + norms - 2 * cross)
            loss, slopes = _cross_entropy(logits, codes, self.mass[block, None])
            total += loss
            gradient[:, :-1].addmm_(slopes.T, self.means[block])
            gradient[:, -1] += slopes.sum(0)
            # A class has the distance 0 from itself, whatever its weights are.
            slopes = (2 * half * slopes).scatter_(1, codes, 0.0)
            back += slopes.sum(0)
            back[block] += slopes.sum(1)
            mixed[block] += slopes @ projected
            mixed.addmm_(slopes.T, projected[block])
        gradient[:, :-1] += back[:, None] * projected - mixed
        return total


def _cross_entropy(logits, own, weight):
    """Return the weighted loss, and its gradient."""
    log_proba = logits.log_softmax(1)
    losses = log_proba.gather(1, own) * weight
    slopes = log_proba.exp_().mul_(weight)
    slopes.scatter_add_(1, own, -weight)
    return -float(losses.sum(dtype=torch.float64)), slopes
