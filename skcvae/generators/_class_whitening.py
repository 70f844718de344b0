"""Coordinates of unit covariance, and the covariance of each class in them."""

import math
from dataclasses import dataclass

import numpy as np

from .._class_means import indices_of_classes, make_definite
from .._factor_covariance import count_free_directions
from .._thin_covariance import ThinCovariance, principal_directions

# Numbers that the factors of all classes may take: 64 MiB in float32.
_MAX_NUMBERS = 2**24


@dataclass
class ClassWhitening:
    """Coordinates in which the residuals of all classes together have unit covariance.

    `whitener`, shape (n_features, n_components), and `colouring`, its inverse, multiply
    samples from the right, to principal components of unit variance and back. `factor`,
    shape (n_classes, rank, rank), is the symmetric root of each class's covariance in
    the leading ones. `k0` is the number of pseudo-samples of unit covariance by which
    these are shrunk. For wide data, `rest`, shape (n_classes,), is the variance of each
    class in all directions beyond the components; else there are none.
    """

    whitener: np.ndarray
    colouring: np.ndarray
    factor: np.ndarray
    k0: float
    rest: np.ndarray | None = None


def fit_class_whitening(residuals, codes, n_classes, covariance, smooth=False):
    """Estimate the `ClassWhitening` of leave-one-out residuals.

    The covariance of all samples is given. That of each class is shrunk towards it, in
    as many leading components as fit into memory. With `smooth`, only components differ
    between classes that are free in the covariance of all samples, and fewer in small
    classes.
    """
    residuals = residuals.astype(np.float64, copy=False)
    variances, directions, rest = _components(make_definite(covariance), residuals)
    deviations = np.sqrt(variances)
    rank = min(len(variances), max(1, math.isqrt(_MAX_NUMBERS // n_classes)))
    n_free = count_free_directions(covariance) if smooth else rank
    rank = min(rank, max(n_free, 1))
    leading = residuals @ directions[:, :rank]
    # Where all variances are equal, the first component is any direction.
    k0 = estimate_covariance_shrinkage(leading, codes, n_classes) if n_free else np.inf
    factor = _class_factors(leading / deviations[:rank], codes, n_classes, k0, smooth)
    if rest is not None:
        is_whole = rank == len(variances) and not smooth
        rest = _class_rest(rest, codes, n_classes, k0, is_whole)
    return ClassWhitening(
        directions / deviations, (directions * deviations).T, factor, k0, rest
    )


def _class_rest(rest, codes, n_classes, k0, is_whole):
    """Return the variance of each class in the directions that its samples lack.

    As in the components, a class is k0 pseudo-samples in them, if no components are
    left out between.
    """
    counts = np.bincount(codes, minlength=n_classes)
    return rest / (1 + counts / k0) if is_whole else np.full(n_classes, rest)


def _components(covariance, residuals):
    """Return variances, decreasing, of directions, and the variance of all others.

    The directions of wide data are those of the covariance, and those in which the
    residuals lie beside them. The largest entry of a direction is positive.
    """
    if isinstance(covariance, ThinCovariance):
        known, rest = covariance.vectors, covariance.rest
        beside = principal_directions(residuals - residuals @ known @ known.T)[0]
        directions = np.concatenate([known, beside], axis=1)
        variances = np.append(covariance.values, np.full(beside.shape[1], rest))
    else:
        variances, directions = np.linalg.eigh(covariance)
        variances, directions, rest = variances[::-1], directions[:, ::-1], None
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(len(variances))])
    return variances, directions * signs, rest


def estimate_covariance_shrinkage(residuals, codes, n_classes):
    r"""Estimate k0, the number of pseudo-samples of the covariance of all samples.

    The one-way analysis of variance of :mod:`skcvae._class_means`, of the matrices
    :math:`r r'` in place of the samples r:
    :math:`k_0 = \sigma_w^2 / \sigma_b^2` in the Frobenius norm. Infinite where classes
    do not differ, and at least 1, so that no covariance is singular.
    """
    n_samples = len(residuals)
    if n_classes == 1 or n_samples == n_classes:
        return np.inf
    overall = residuals.T @ residuals / n_samples
    total, between, squared_counts = np.sum(np.sum(residuals**2, axis=1) ** 2), 0.0, 0
    within = total
    for members in indices_of_classes(codes, n_classes):
        moment = residuals[members].T @ residuals[members] / len(members)
        within -= len(members) * np.sum(moment**2)
        between += len(members) * np.sum((moment - overall) ** 2)
        squared_counts += len(members) ** 2
    within /= n_samples - n_classes
    between -= (n_classes - 1) * within
    between /= n_samples - squared_counts / n_samples
    return max(float(within / between), 1.0) if between > 0 else np.inf


def _class_factors(E, codes, n_classes, k0, smooth):
    """Return the symmetric root of (n_c S_c + k0 I) / (n_c + k0) of every class.

    With `smooth`, a class has at most half as many free components as samples, a power
    of two, which tells its number of samples within a factor of two only.
    """
    identity = np.eye(E.shape[1])
    factor = np.empty((n_classes, *identity.shape))
    for code, members in enumerate(indices_of_classes(codes, n_classes)):
        own = 1 / (1 + k0 / len(members))
        moment = E[members].T @ E[members] / len(members)
        if smooth and len(members) // 2 < len(moment):
            n_free = 2 ** (len(members).bit_length() - 2) if len(members) > 1 else 0
            fixed = np.arange(len(moment)) >= n_free
            moment = np.where(fixed | fixed[:, None], identity, moment)
        values, vectors = np.linalg.eigh(own * moment + (1 - own) * identity)
        factor[code] = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return factor
