"""Long-tailed versions of balanced data sets."""

from numbers import Real

import numpy as np
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils._param_validation import Interval, validate_params


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like"],
        "imbalance_ratio": [Interval(Real, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_long_tailed(X, y, *, imbalance_ratio=100, random_state=None):
    r"""Thin out the classes of a data set, so that their sizes fall exponentially.

    The class at position c of C in sorted order keeps

    .. math:: \max(1, \lfloor n_1 \, \rho^{-c / (C - 1)} \rfloor)

    of its rows [1]_, or all of them where it has fewer; :math:`n_1` is the size of the
    first class and :math:`\rho` the imbalance ratio.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.

    y : array-like of shape (n_samples,)
        Their classes.

    imbalance_ratio : float, default=100
        Size of the first class over that of the last, at least 1.

    random_state : int, RandomState instance or None, default=None
        Chooses the rows that stay.

    Returns
    -------
    X_long_tailed : array-like of shape (n_samples_new, n_features)
        The rows that stay, in their order and type.

    y_long_tailed : array-like of shape (n_samples_new,)
        Their classes.

    References
    ----------
    .. [1] K. Cao, C. Wei, A. Gaidon, N. Arechiga and T. Ma, "Learning Imbalanced
       Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.datasets import make_long_tailed
    >>> X, y = load_digits(return_X_y=True)
    >>> _, y = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    >>> np.bincount(y).tolist()
    [178, 127, 91, 65, 47, 33, 24, 17, 12, 8]
    """
    X, y = indexable(X, y)
    labels = np.asarray(y)
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    position = np.arange(len(classes)) / max(len(classes) - 1, 1)
    # The small term keeps exact powers of the ratio from rounding down.
    sizes = np.floor(counts[0] * imbalance_ratio**-position + 1e-9).astype(int)
    sizes = np.minimum(np.maximum(sizes, 1), counts)
    rng = check_random_state(random_state)
    kept = np.concatenate(
        [
            rng.permutation(np.flatnonzero(codes == code))[:size]
            for code, size in enumerate(sizes)
        ]
    )
    kept.sort()
    return _safe_indexing(X, kept), _safe_indexing(y, kept)
