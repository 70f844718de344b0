"""Covariance of few factors and an even rest, which tells little about its samples."""

import numpy as np
from scipy.special import ndtri
from sklearn.isotonic import isotonic_regression

from ._thin_covariance import ThinCovariance, is_wide

#: Largest AUC at which a half of the samples may be told from the other half.
MAX_AUC = 0.53
# Eigenvalues are equal if they differ by less than this share of the largest.
_EQUAL = 1e-7


def factor_covariance(E):
    r"""Return a covariance of independent rows around zero, smooth by construction.

    It is :math:`\sum_{j \le q} (\lambda_j - s) u_j u_j^\top + s I`: the first q
    principal components of the rows, and the same variance s in all other directions.
    The variances :math:`\lambda_j` are held-out ones. Components of each half of the
    rows are found, and :math:`\lambda_j` is the variance of the other half in them,
    made to decrease. s is what is left of the mean square of the rows.

    q is the largest number for which neither the likelihood of these variances nor the
    residual outside the q components tells the half that found the components from the
    other half with an AUC above `MAX_AUC`. Components of all rows rest on twice as many
    and tell less. The number is also below half of the number of rows, so that no
    eigenvalue's multiplicity tells it.

    Parameters
    ----------
    E : ndarray of shape (n_rows, n_features)
        Rows, in float64.

    Returns
    -------
    covariance : ndarray of shape (n_features, n_features) or ThinCovariance
        Its trace is the mean square norm of the rows. It is thin for many features.
    """
    n_rows, n_features = E.shape
    total = np.einsum("ij,ij->", E, E) / max(n_rows, 1)
    variances = np.empty(0)
    n_candidates = min(n_rows // 2 - 1, n_features - 1)
    if n_candidates >= 1 and total > 0:
        variances = _held_out_variances(E, n_candidates, total)
    components = _components(E, len(variances))
    rest = max(total - variances.sum(), 0) / (n_features - len(variances))
    covariance = ThinCovariance(components, variances, rest)
    thin = is_wide(len(variances), n_features)
    return covariance if thin else covariance.toarray()


def contrasts(Z, codes, n_classes):
    """Return n - C rows with the covariance of Z within its classes, independent.

    Row j of a class is that sample minus the mean of those before it in the class,
    times sqrt(j / (j + 1)) (Helmert). Unlike residuals from class means, no row can be
    computed from the others. The sum of their products is that of the residuals.
    """
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=n_classes))
    rows = []
    for own in np.split(order, ends[:-1]):
        j = np.arange(1, len(own))[:, None]
        samples = Z[own].astype(np.float64)
        before = np.cumsum(samples, axis=0)[:-1] / np.maximum(j, 1)
        rows.append((samples[1:] - before) * np.sqrt(j / (j + 1)))
    return np.concatenate(rows)


def _components(E, n_components):
    """Return the first principal components around zero, as columns."""
    n_rows, n_features = E.shape
    if n_rows >= n_features:
        return np.linalg.eigh(E.T @ E)[1][:, ::-1][:, :n_components]
    values, vectors = np.linalg.eigh(E @ E.T)
    values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
    # Directions without variance are never needed: they get no variance either.
    scale = np.sqrt(np.maximum(values, np.finfo(float).tiny))
    return np.where(values > 1e-12 * values[:1], E.T @ vectors / scale, 0)


def _held_out_variances(E, n_candidates, total):
    """Return the variances of the components that are kept, decreasing."""
    splits = (E[::2], E[1::2]), (E[1::2], E[::2])
    squares, norms = [], []
    for own, other in splits:
        components = _components(own, n_candidates)
        squares.append([np.square(part @ components) for part in (own, other)])
        norms.append([np.square(part).sum(axis=1) for part in (own, other)])
    held_out = np.mean([other.mean(axis=0) for _, other in squares], axis=0)
    variances = isotonic_regression(held_out, y_min=1e-12 * total, increasing=False)
    n_left = E.shape[1] - np.arange(1, n_candidates + 1)
    rest = np.maximum(total - np.cumsum(variances), 1e-12 * total) / n_left
    gaps = np.zeros((2, n_candidates))
    for (own, other), (own_norm, other_norm) in zip(squares, norms, strict=True):
        gaps += np.array(
            [
                _gap(ours, theirs)
                for ours, theirs in zip(
                    _scores(own, own_norm, variances, rest),
                    _scores(other, other_norm, variances, rest),
                    strict=True,
                )
            ]
        )
    telling = gaps.max(axis=0) / 2 > np.sqrt(2) * ndtri(MAX_AUC)
    return variances[: np.argmax(telling) if telling.any() else n_candidates]


def _scores(squares, norms, variances, rest):
    """Return squared distances and residuals of rows, for each number of factors."""
    outside = norms[:, None] - np.cumsum(squares, axis=1)
    return np.cumsum(squares / variances, axis=1) + outside / rest, outside


def _gap(own, other):
    """Return the difference of mean scores in standard deviations, for each column."""
    spread = np.sqrt((own.var(axis=0) + other.var(axis=0)) / 2)
    gap = other.mean(axis=0) - own.mean(axis=0)
    return np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0)


def count_free_directions(covariance):
    """Return in how many directions the variance is not the most frequent one.

    With fewer samples than features, a covariance that is shrunk towards the identity
    has as many as its samples have degrees of freedom.
    """
    if isinstance(covariance, ThinCovariance):
        values = np.append(covariance.values, covariance.rest)
        return int(np.sum(np.abs(values - covariance.rest) > _EQUAL * values.max()))
    values = np.linalg.eigvalsh(covariance)
    breaks = np.flatnonzero(np.diff(values) > _EQUAL * values[-1])
    runs = np.diff([-1, *breaks, len(values) - 1])
    return int(len(values) - runs.max())
