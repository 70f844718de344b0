"""Exact nearest neighbours in high dimension, in blocks."""

from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

# Bytes of one block of products.
_BLOCK_BYTES = 2**28
# Numbers of a block of samples in float64: 2 MiB, which stay in the cache.
_BLOCK_NUMBERS = 2**18
# Candidates beyond the neighbours asked for, which leave room for rounding errors.
_SPARE = 8
# Share by which a neighbour found may be farther than one missed.
_TOLERANCE = 1e-6


@validate_params(
    {
        "X": ["array-like"],
        "Y": ["array-like"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "exclude_self": ["boolean"],
        "metric": [StrOptions({"euclidean", "cosine"})],
    },
    prefer_skip_nested_validation=True,
)
def nearest_neighbors(
    X: ArrayLike,
    Y: ArrayLike,
    n_neighbors: int = 1,
    *,
    exclude_self: bool = False,
    metric: str = "euclidean",
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    r"""Find the nearest samples of Y for each sample of X, and the exact distances.

    Candidates come from matrix products in single precision, block by block, so that
    the matrix of all distances is never held. Their distances are computed again from
    differences in double precision, because the product form
    :math:`\lVert x \rVert^2 + \lVert y \rVert^2 - 2 x^\top y` cancels: a sample has the
    distance 0 to its own copy, exactly. Where rounding errors might have hidden a
    sample nearer by a millionth, the search is repeated in double precision and, if
    need be, with all differences.

    Beside its input it holds 256 MiB of products, and a copy of Y in single precision
    (for repeated searches and for cosines in double precision, too).

    Parameters
    ----------
    X : array-like of shape (n_X, n_features)
        Samples to find neighbours for.

    Y : array-like of shape (n_Y, n_features)
        Samples to find them among.

    n_neighbors : int, default=1
        Number of neighbours.

    exclude_self : bool, default=False
        Leave out the sample itself: for X that is the same array as Y. It is left out
        by its index: another sample of the same values counts as a neighbour at
        distance 0.

    metric : {"euclidean", "cosine"}, default="euclidean"
        The cosine distance is :math:`1 - \cos(x, y)`, in [0, 2].

    Returns
    -------
    distances : ndarray of shape (n_X, n_neighbors)
        Distances in ascending order, float64.

    indices : ndarray of shape (n_X, n_neighbors)
        The samples of Y that they belong to. Of samples at the same distance, those
        with the lower index come first; which of them are found, when there are more
        than asked for, is not defined.

    Raises
    ------
    ValueError
        If the input is not finite, has other numbers of features, has fewer samples
        than neighbours, or has samples of zeros, for cosines.

    Examples
    --------
    >>> from skcvae.metrics import nearest_neighbors
    >>> distances, indices = nearest_neighbors([[0, 0]], [[3, 4], [0, 2]], 2)
    >>> distances.tolist(), indices.tolist()
    ([[2.0, 5.0]], [[1, 0]])
    """
    queries, targets = _check_sets(X, Y)
    n_available = _check_counts(queries, targets, n_neighbors, exclude_self)
    if metric == "cosine":
        queries, targets = _unit_length(queries, "X"), _unit_length(targets, "Y")
    n_candidates = min(n_neighbors + _SPARE, n_available)
    distances = np.empty((len(queries), n_neighbors))
    indices = np.empty((len(queries), n_neighbors), dtype=np.intp)
    doubtful = np.arange(len(queries))
    for search in (_Products(np.float32), _Products(np.float64), _Differences()):
        search.prepare(queries, targets, exclude_self)
        doubtful = _search(search, doubtful, n_candidates, distances, indices)
        if n_candidates == n_available or not len(doubtful):
            break
    if metric == "cosine":
        distances = distances**2 / 2
    return distances, indices


def nearest_distances(X, Y, **options):
    """Return the distance of each sample of X to the nearest sample of Y."""
    return nearest_neighbors(X, Y, **options)[0][:, 0]


def _search(search, rows, n_candidates, distances, indices):
    """Fill in the neighbours of samples; return which ones may have nearer ones."""
    n_neighbors = distances.shape[1]
    doubtful = []
    for block in gen_batches(len(rows), search.block_size):
        asked = rows[block]
        candidates, bound = search.candidates(asked, n_candidates)
        exact = exact_distances(search.X[asked], search.Y, candidates)
        order = np.argsort(exact, axis=1, kind="stable")[:, :n_neighbors]
        distances[asked] = np.take_along_axis(exact, order, axis=1)
        indices[asked] = np.take_along_axis(candidates, order, axis=1)
        last = distances[asked, -1]
        doubtful.append(asked[bound < (1 - _TOLERANCE) * last])
    return np.concatenate(doubtful)


class _Search:
    """Candidates for the nearest samples, and a lower bound on all other distances."""

    dtype = np.float64

    def prepare(self, X, Y, exclude_self):
        """Take the samples."""
        self.X, self.Y = X, Y
        self.exclude_self = exclude_self
        n_bytes = len(Y) * np.dtype(self.dtype).itemsize
        self.block_size = max(1, min(_BLOCK_BYTES // n_bytes, len(X)))

    def candidates(self, rows, n_candidates):
        """Return the indices of the lowest values, ascending, and the bound."""
        import torch

        values = self._values(self.X[rows])
        if self.exclude_self:
            values[np.arange(len(rows)), rows] = np.inf
        found = torch.from_numpy(values).topk(n_candidates, largest=False, sorted=False)
        last = found.values.numpy().max(axis=1).astype(np.float64)
        return np.sort(found.indices.numpy(), axis=1), self._bound(self.X[rows], last)


class _Differences(_Search):
    """Distances themselves: slow."""

    def _values(self, queries):
        return cdist(queries, self.Y)

    def _bound(self, queries, last):
        return last


class _Products(_Search):
    """Lower bounds of squared distances, by matrix products of centred samples."""

    def __init__(self, dtype):
        self.dtype = dtype

    def prepare(self, X, Y, exclude_self):
        """Centre and scale the samples."""
        super().prepare(X, Y, exclude_self)
        self.center = Y.mean(axis=0, dtype=np.float64)
        # Squares must not leave the range of float32.
        self.scale = max(np.abs(X).max(), np.abs(Y).max()) or 1.0
        self.slack = (X.shape[1] + 8) * np.finfo(self.dtype).eps
        self.targets = self._centred(Y)
        self.target_squares = self._shrunk_squares(self.targets)

    def _values(self, queries):
        products = self._centred(queries) @ self.targets.T
        products *= -2
        products += self.target_squares
        return products

    def _bound(self, queries, last):
        squares = last + self._shrunk_squares(self._centred(queries))
        return self.scale * np.sqrt(np.maximum(squares, 0))

    def _centred(self, rows):
        """Return samples around the origin, where products cancel least."""
        centred = np.empty(rows.shape, dtype=self.dtype)
        for block in gen_batches(len(rows), max(1, _BLOCK_NUMBERS // rows.shape[1])):
            centred[block] = (rows[block] - self.center) / self.scale
        return centred

    def _shrunk_squares(self, rows):
        """Return squared norms less the largest rounding error of a distance."""
        return np.einsum("ij,ij->i", rows, rows) * (1 - self.dtype(self.slack))


def exact_distances(X, Y, candidates):
    """Return the distances of samples to their candidates, by differences."""
    distances = np.empty(candidates.shape)
    for column, chosen in enumerate(candidates.T):
        difference = np.subtract(X, Y[chosen], dtype=np.float64)
        distances[:, column] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances


def _check_sets(X, Y):
    """Return both as C-ordered arrays of floats with the same number of features."""
    dtypes = [np.float64, np.float32]
    X, Y = (
        check_array(rows, dtype=dtypes, order="C", input_name=name)
        for rows, name in ((X, "X"), (Y, "Y"))
    )
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features and Y has {Y.shape[1]}. They must be the "
            "same features."
        )
    return X, Y


def _check_counts(X, Y, n_neighbors, exclude_self):
    """Return how many neighbours a sample can have."""
    if exclude_self and not np.array_equal(X, Y):
        raise ValueError("exclude_self=True needs X and Y to be the same samples.")
    n_available = len(Y) - exclude_self
    if n_neighbors > n_available:
        raise ValueError(
            f"n_neighbors={n_neighbors}, but a sample of X has only {n_available} "
            "samples of Y to find neighbours among."
        )
    return n_available


def _unit_length(X, name):
    """Return samples of length 1, in double precision."""
    X = X.astype(np.float64)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    n_zero = np.count_nonzero(norms == 0)
    if n_zero:
        raise ValueError(
            f"{name} has {n_zero} samples of zeros, whose cosine is not defined. "
            "Remove them, or use metric='euclidean'."
        )
    return X / norms


def check_min_distance(min_distance):
    """Refuse what is neither None, a distance, nor ("quantile", q)."""
    is_pair = isinstance(min_distance, tuple) and len(min_distance) == 2
    value, largest = min_distance, np.inf
    if is_pair and min_distance[0] == "quantile":
        value, largest = min_distance[1], 1
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if min_distance is not None and not (is_number and 0 <= value <= largest):
        raise ValueError(
            "min_distance must be None, a distance of at least 0, or ('quantile', q) "
            f"with q in [0, 1], got {min_distance!r}."
        )


def resolve_min_distance(X, min_distance):
    """Return the distance in the units of X.

    ("quantile", q) is the quantile q of the distances of the samples to their nearest
    neighbours.
    """
    if not isinstance(min_distance, tuple):
        return min_distance
    nearest, _ = nearest_neighbors(X, X, exclude_self=True)
    return float(np.quantile(nearest, min_distance[1]))


def class_kernel_means(queries, targets, starts, temperatures, left_out=None):
    r"""Return the log of the mean kernel of each class, for samples of length 1.

    The kernel is :math:`\exp((\cos(x, x_i) - 1) / T)` for each of the temperatures T.
    Products come in blocks of queries, so that no matrix of all of them is held. The
    result has the shape (n_temperatures, n_queries, n_classes).

    Queries and targets are float32, of length 1, or 0. Targets are in the order of
    their classes, whose first samples are at `starts`. `left_out`, of shape
    (n_queries,), is the target that does not count for each query: the query itself.

    A class far beyond the nearest sample of all has the log of the smallest number of
    float32, about -87, more than that sample. A class of which nothing is left has
    that, too.
    """
    counts = np.diff(starts, append=len(targets))
    tiny = np.finfo(np.float32).tiny
    log_means = np.empty((len(temperatures), len(queries), len(starts)))
    block_size = max(1, _BLOCK_BYTES // (8 * len(targets)))
    for block in gen_batches(len(queries), block_size):
        cosines = queries[block] @ targets.T
        n_left = np.broadcast_to(counts, (len(cosines), len(starts)))
        if left_out is not None:
            own = left_out[block]
            cosines[np.arange(len(own)), own] = -np.inf
            of_class = np.searchsorted(starts, own, side="right") - 1
            n_left = n_left - (np.arange(len(starts)) == of_class[:, None])
        nearest = cosines.max(axis=1, keepdims=True)
        cosines -= nearest
        for log_mean, temperature in zip(log_means, temperatures, strict=True):
            kernel = np.multiply(cosines, np.float32(1 / temperature))
            np.exp(kernel, out=kernel)
            sums = np.add.reduceat(kernel, starts, axis=1)
            log_mean[block] = np.log(sums / np.maximum(n_left, 1) + tiny)
            log_mean[block] += (nearest - 1) / temperature
    return log_means
