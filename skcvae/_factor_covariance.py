"""Covariance of few factors and an even rest, which tells little about its samples."""

from functools import cached_property

import numpy as np
from scipy.special import ndtri
from sklearn.isotonic import isotonic_regression
from sklearn.utils import gen_batches

from ._thin_covariance import ThinCovariance, is_wide

#: Largest AUC at which a half of the samples may be told from the other half.
MAX_AUC = 0.53
# Eigenvalues are equal if they differ by less than this share of the largest.
_EQUAL = 1e-7
# Numbers of a block of rows in float64: 2 MiB, which stay in the cache.
_BLOCK_NUMBERS = 2**18
# Numbers of components that are judged at first.
_FIRST_NUMBER = 32


def factor_covariance(E):
    r"""Return a covariance of independent rows around zero, smooth by construction.

    It is :math:`\sum_{j \le q} (\lambda_j - s) u_j u_j^\top + s I`: the first q
    principal components of the rows, and the same variance s in all other directions.
    The variances :math:`\lambda_j` are held-out ones. Components of each half of the
    rows are found, and :math:`\lambda_j` is the variance of the other half in them,
    made to decrease. s is what is left of the mean square of the rows, so that the
    trace is their mean square norm.

    q is the largest number for which neither the likelihood of these variances nor the
    residual outside the q components tells the half that found the components from the
    other half with an AUC above `MAX_AUC`. Components of all rows rest on twice as many
    and tell less. The number is also below half of the number of rows, so that no
    eigenvalue's multiplicity tells it.

    For many features, the covariance is a `ThinCovariance`.
    """
    n_rows, n_features = E.shape
    rows = _Rows(E)
    total = sum(np.vdot(part, part) for part in rows.blocks()) / max(n_rows, 1)
    variances = np.empty(0)
    n_candidates = min(n_rows // 2 - 1, n_features - 1)
    if n_candidates >= 1 and total > 0:
        halves = _Rows(E[::2]), _Rows(E[1::2])
        if n_rows >= n_features:
            rows.scatter = halves[0].scatter + halves[1].scatter
        variances = _held_out_variances(halves, n_candidates, total)
    components = rows.components(len(variances))
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


class _Rows:
    """Rows around zero, whose products are summed in blocks, in float64."""

    def __init__(self, rows):
        self.rows = rows

    def blocks(self):
        """Yield a few rows at a time."""
        n_rows, n_features = self.rows.shape
        for block in gen_batches(n_rows, max(1, _BLOCK_NUMBERS // n_features)):
            yield self.rows[block].astype(np.float64)

    @cached_property
    def scatter(self):
        """Sum of the products of features, shape (n_features, n_features)."""
        return sum(part.T @ part for part in self.blocks())

    def components(self, n_components):
        """Return the first principal components, as columns."""
        n_rows, n_features = self.rows.shape
        if n_rows >= n_features:
            return np.linalg.eigh(self.scatter)[1][:, ::-1][:, :n_components]
        E = self.rows.astype(np.float64)
        values, vectors = np.linalg.eigh(E @ E.T)
        values, vectors = values[::-1][:n_components], vectors[:, ::-1]
        # Directions without variance are never needed: they get no variance either.
        scale = np.sqrt(np.maximum(values, np.finfo(float).tiny))
        directions = E.T @ vectors[:, :n_components] / scale
        return np.where(values > 1e-12 * values[:1], directions, 0)

    def variances_in(self, components):
        """Return the mean square of the rows in each component."""
        n_rows, n_features = self.rows.shape
        if n_rows >= n_features:
            squares = np.einsum("ij,ij->j", components, self.scatter @ components)
        else:
            squares = sum(np.square(p @ components).sum(axis=0) for p in self.blocks())
        return squares / n_rows

    def scores(self, components, variances, rest):
        """Return means and variances of the scores, for each number of factors.

        The scores of a row are its squared distance from zero, and what is outside of
        the components. Both arrays have the shape (2, n_components).
        """
        n_rows, mean, spread = 0, 0.0, 0.0
        for part in self.blocks():
            squares = np.square(part @ components)
            outside = np.square(part).sum(axis=1)[:, None] - np.cumsum(squares, axis=1)
            distance = np.cumsum(squares / variances, axis=1) + outside / rest
            values = np.stack([distance, outside])
            own, new = len(part), values.mean(axis=1)
            spread += own * values.var(axis=1)
            spread += n_rows * own / (n_rows + own) * np.square(new - mean)
            mean += own / (n_rows + own) * (new - mean)
            n_rows += own
        return mean, spread / n_rows


def _held_out_variances(halves, n_candidates, total):
    """Return the variances of the components that are kept, decreasing."""
    components = [half.components(n_candidates) for half in halves]
    splits = list(zip(halves, halves[::-1], components, strict=True))
    held_out = np.mean([other.variances_in(c) for _, other, c in splits], axis=0)
    variances = isotonic_regression(held_out, y_min=1e-12 * total, increasing=False)
    n_left = halves[0].rows.shape[1] - np.arange(1, n_candidates + 1)
    rest = np.maximum(total - np.cumsum(variances), 1e-12 * total) / n_left
    threshold, size = 2 * np.sqrt(2) * ndtri(MAX_AUC), _FIRST_NUMBER
    # Most components need not be looked at: the first that tell end the search.
    while True:
        terms = variances[:size], rest[:size]
        gaps = sum(
            _gap(own.scores(c[:, :size], *terms), other.scores(c[:, :size], *terms))
            for own, other, c in splits
        )
        telling = gaps.max(axis=0) > threshold
        if telling.any() or size >= n_candidates:
            return variances[: np.argmax(telling) if telling.any() else n_candidates]
        size *= 4


def _gap(own, other):
    """Return the difference of mean scores in standard deviations."""
    (own_mean, own_variance), (other_mean, other_variance) = own, other
    spread = np.sqrt((own_variance + other_variance) / 2)
    gap = other_mean - own_mean
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
