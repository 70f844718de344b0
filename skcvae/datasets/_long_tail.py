"""Long-tailed versions of balanced data sets."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

# Exponent of the ratio by position, from 0 at the first class to 1 at the last.
_PROFILES = {
    "exponential": lambda n: np.arange(n) / max(n - 1, 1),
    "step": lambda n: (np.arange(n) >= max(n // 2, 1)).astype(float),
}


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like"],
        "imbalance_ratio": [Interval(Real, 1, None, closed="left")],
        "profile": [StrOptions(set(_PROFILES))],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_long_tailed(
    X: ArrayLike,
    y: ArrayLike,
    *,
    imbalance_ratio: float = 100,
    profile: str = "exponential",
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, Any]:
    r"""Remove samples at random, so that class sizes fall exponentially or in one step.

    Classes are taken in sorted order. With the exponential profile, class c = 0, 1,
    ..., C - 1 keeps

    .. math:: \max(1, \lfloor n_1 \, \rho^{-c / (C - 1)} \rfloor)

    of its samples [1]_; :math:`n_1` is the size of the first class and :math:`\rho` the
    imbalance ratio. With the step profile [1]_ [2]_, the first
    :math:`\lfloor C / 2 \rfloor` classes (at least one) keep :math:`n_1` samples, and
    the others :math:`\max(1, \lfloor n_1 / \rho \rfloor)`. A class that has fewer
    samples keeps all of them.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.

    y : array-like of shape (n_samples,)
        Their classes.

    imbalance_ratio : float, default=100
        Size of the first class over that of the last, at least 1.

    profile : {"exponential", "step"}, default="exponential"
        Class sizes fall from class to class, or once after the first half of the
        classes.

    random_state : int, RandomState instance or None, default=None
        Seed of the choice of samples to keep.

    Returns
    -------
    X_long_tailed : array-like of shape (n_samples_new, n_features)
        The samples that are kept, in the order and type of `X`.

    y_long_tailed : array-like of shape (n_samples_new,)
        Their classes.

    References
    ----------
    .. [1] K. Cao, C. Wei, A. Gaidon, N. Arechiga and T. Ma, "Learning Imbalanced
       Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019,
       `arXiv 1906.07413 <https://arxiv.org/abs/1906.07413>`_.

    .. [2] :doi:`M. Buda, A. Maki and M. A. Mazurowski, "A systematic study of the class
       imbalance problem in convolutional neural networks", Neural Networks 106, 2018.
       <10.1016/j.neunet.2018.07.011>`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.datasets import make_long_tailed
    >>> X, y = load_digits(return_X_y=True)
    >>> _, y_exp = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    >>> np.bincount(y_exp).tolist()
    [178, 127, 91, 65, 47, 33, 24, 17, 12, 8]
    >>> _, y_step = make_long_tailed(
    ...     X, y, imbalance_ratio=20, profile="step", random_state=0)
    >>> np.bincount(y_step).tolist()
    [178, 178, 177, 178, 178, 8, 8, 8, 8, 8]
    """
    X, y = indexable(X, y)
    labels = np.asarray(y)
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    position = _PROFILES[profile](len(classes))
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
