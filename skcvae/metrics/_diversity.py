"""Diversity of samples: how they are spread over classes, and how far apart."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr
from sklearn.utils import Bunch, check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, validate_params

from .._neighbors import nearest_neighbors
from .._record_sets import check_one_label_per_sample
from ._calibration import check_probabilities
from ._sample_pairs import squared_distance_blocks

_PAIRS = {
    "n_pairs": [Interval(Integral, 2, None, closed="left"), None],
    "random_state": ["random_state"],
}
# Pairs of one batch of differences.
_BATCH_PAIRS = 2**14


@validate_params({"y_prob": ["array-like"]}, prefer_skip_nested_validation=True)
def inception_score(y_prob: ArrayLike) -> float:
    r"""Compute the Inception score from posteriors of any classifier.

    .. math:: \exp \left( \frac{1}{n} \sum_i \mathrm{KL}(p(y \mid x_i) \,\|\, p(y))
        \right), \quad p(y) = \frac{1}{n} \sum_i p(y \mid x_i)

    It is high for synthetic samples of which the classifier is certain, and which are
    spread over all classes [1]_: the classifier has to be trained on real samples, and
    the same one for all generators. Scores of other classifiers, those published for
    the Inception net among them, do not compare.

    .. note::
       It sees neither the real samples nor diversity within classes: one sample for
       each class, copied over and over, can have the highest score.

    Parameters
    ----------
    y_prob : array-like of shape (n_samples, n_classes)
        Probabilities of the classes of each synthetic sample, as of `predict_proba`:
        finite, in [0, 1], and with a sum of 1 in each row, up to 0.001.

    Returns
    -------
    score : float
        In [1, n_classes], up to the same tolerance; higher is better.

    Raises
    ------
    ValueError
        If `y_prob` holds no probabilities.

    References
    ----------
    .. [1] T. Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016,
       `arXiv 1606.03498 <https://arxiv.org/abs/1606.03498>`_.

    Examples
    --------
    >>> from skcvae.metrics import inception_score
    >>> inception_score([[1.0, 0.0], [0.0, 1.0]])
    2.0
    >>> inception_score([[0.5, 0.5], [0.5, 0.5]])
    1.0
    """
    p = check_probabilities(y_prob)
    information = entr(p.mean(axis=0)).sum() - entr(p).sum(axis=1).mean()
    return float(np.exp(information))


@validate_params({"X": ["array-like"], **_PAIRS}, prefer_skip_nested_validation=True)
def mean_pairwise_distance(
    X: ArrayLike,
    *,
    n_pairs: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Compute the mean Euclidean distance of two samples.

    .. math:: \frac{2}{n (n - 1)} \sum_{i < j} \lVert x_i - x_j \rVert

    Higher says more diverse, but noise is diverse, too: compare with real samples. Its
    expectation does not depend on the number of samples.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples, two or more.

    n_pairs : int, default=None
        Number of random pairs, drawn with replacement, whose mean is taken. None
        takes all pairs: 50,000 samples have 1.25 billion.

    random_state : int, RandomState instance or None, default=None
        Draws the pairs.

    Returns
    -------
    result : Bunch
        `mean`, at least 0, and `standard_error`, by which it differs from that of all
        pairs; 0 where it is of all pairs.

    Raises
    ------
    ValueError
        If there are fewer than two samples, or they are not finite.

    See Also
    --------
    class_pairwise_distance : The same within each class.
    minimum_pairwise_distance : Whether samples are the same.

    Examples
    --------
    >>> from skcvae.metrics import mean_pairwise_distance
    >>> mean_pairwise_distance([[0], [3], [6]]).mean
    4.0
    """
    samples = _check_two(X)
    if n_pairs is None:
        return Bunch(mean=_mean_of_all(samples), standard_error=0.0)
    return _mean_of_some(samples, n_pairs, check_random_state(random_state))


@validate_params(
    {"X": ["array-like"], "y": ["array-like"], **_PAIRS},
    prefer_skip_nested_validation=True,
)
def class_pairwise_distance(
    X: ArrayLike,
    *,
    y: ArrayLike,
    n_pairs: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Compute the mean Euclidean distance of two samples of each class.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.

    y : array-like of shape (n_samples,)
        Their classes.

    n_pairs : int, default=None
        Number of random pairs of each class, as in :func:`mean_pairwise_distance`.
        None takes all pairs.

    random_state : int, RandomState instance or None, default=None
        Draws the pairs.

    Returns
    -------
    result : Bunch
        `classes`, and for each of them, in that order, `distances`, the mean of its
        pairs, and `standard_errors`; NaN for a class of one sample. Also `mean`, over
        the classes of two samples or more.

    Raises
    ------
    ValueError
        If no class has two samples, samples are not finite, or labels do not fit them.

    Examples
    --------
    >>> from skcvae.metrics import class_pairwise_distance
    >>> result = class_pairwise_distance([[0], [3], [7], [8]], y=[0, 0, 1, 1])
    >>> result.distances.tolist(), result.mean
    ([3.0, 1.0], 2.0)
    """
    samples = _check_two(X)
    labels = check_one_label_per_sample(y, samples, "y")
    rng = check_random_state(random_state)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.max() < 2:
        raise ValueError("No class has two samples, so that there are no pairs.")
    distances, errors = np.full((2, len(classes)), np.nan)
    for c in np.flatnonzero(counts > 1):
        result = mean_pairwise_distance(
            samples[labels == classes[c]], n_pairs=n_pairs, random_state=rng
        )
        distances[c], errors[c] = result.mean, result.standard_error
    return Bunch(
        classes=classes,
        distances=distances,
        standard_errors=errors,
        mean=float(np.nanmean(distances)),
    )


@validate_params({"X": ["array-like"]}, prefer_skip_nested_validation=True)
def minimum_pairwise_distance(X: ArrayLike) -> Bunch:
    """Find the two nearest samples, and count samples that are the same as another.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples, two or more.

    Returns
    -------
    result : Bunch
        `distance`, the smallest Euclidean distance of two samples, at least 0; `pair`,
        their indices; and `n_copies`, the number of samples that equal another one.

    Raises
    ------
    ValueError
        If there are fewer than two samples, or they are not finite.

    See Also
    --------
    exact_copies : Synthetic samples that are copies of real ones.

    Examples
    --------
    >>> from skcvae.metrics import minimum_pairwise_distance
    >>> result = minimum_pairwise_distance([[0], [5], [7], [0]])
    >>> result.distance, result.pair, result.n_copies
    (0.0, (0, 3), 2)
    """
    samples = _check_two(X)
    distances, indices = nearest_neighbors(samples, samples, exclude_self=True)
    first = int(distances.argmin())
    return Bunch(
        distance=float(distances[first, 0]),
        pair=(first, int(indices[first, 0])),
        n_copies=int(np.count_nonzero(distances == 0)),
    )


def _check_two(X):
    return check_array(
        X, dtype=[np.float64, np.float32], ensure_min_samples=2, input_name="X"
    )


def _mean_of_all(X):
    total = 0.0
    for rows, squared in squared_distance_blocks(X, X):
        # The distance of a sample to itself is 0, but for rounding.
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = 0
        total += np.sqrt(squared, out=squared).sum()
    return float(total / (len(X) * (len(X) - 1)))


def _mean_of_some(X, n_pairs, rng):
    """Return the mean distance of random pairs, and its standard error."""
    first = rng.randint(len(X), size=n_pairs)
    # Any of the other samples, with the same probability.
    second = (first + rng.randint(1, len(X), size=n_pairs)) % len(X)
    distances = np.concatenate(
        [
            np.linalg.norm(
                np.subtract(X[first[batch]], X[second[batch]], dtype=np.float64), axis=1
            )
            for batch in gen_batches(n_pairs, _BATCH_PAIRS)
        ]
    )
    error = distances.std(ddof=1) / np.sqrt(n_pairs)
    return Bunch(mean=float(distances.mean()), standard_error=float(error))
