"""Metrics of nearest neighbours: precision, recall, density, coverage, distance."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._neighbors import exact_distances, nearest_neighbors
from .._record_sets import array_likes, check_record_sets, scale_by
from ._sample_pairs import check_pair, split_by_class, squared_distance_blocks

# Numbers of a batch of differences.
_BATCH_ENTRIES = 2**22


@validate_params(
    {
        **array_likes("X_real", "X_synthetic"),
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def precision_recall_density_coverage(
    X_real: ArrayLike, X_synthetic: ArrayLike, *, n_neighbors: int = 5
) -> Bunch:
    r"""Compute precision and recall, and density and coverage, of synthetic samples.

    The ball :math:`B_k(x)` around a sample has the distance to its k-th nearest sample
    of the same set as its radius, and does not include its surface. With n real samples
    x and m synthetic samples s, and 1 for what is true,

    .. math::

        \text{precision} &= \frac{1}{m} \sum_j \mathbb{1}[s_j \in \cup_i B_k(x_i)] &
        \quad \text{density} &= \frac{1}{k m} \sum_{i,j} \mathbb{1}[s_j \in B_k(x_i)]

        \text{recall} &= \frac{1}{n} \sum_i \mathbb{1}[x_i \in \cup_j B_k(s_j)] &
        \quad \text{coverage} &= \frac{1}{n} \sum_i
        \mathbb{1}[\exists j: s_j \in B_k(x_i)].

    Precision [1]_ and density [2]_ say how realistic the synthetic samples are, recall
    and coverage how much of the real ones they reach. Outliers have large balls, which
    makes precision and recall too optimistic [2]_; prefer density and coverage.

    Distances are Euclidean, of samples as they are: scale features first, both sets by
    the same numbers, where their units differ.

    Parameters
    ----------
    X_real : array-like of shape (n_real, n_features)
        Real samples, more than `n_neighbors`.

    X_synthetic : array-like of shape (n_synthetic, n_features)
        Synthetic samples of the same space, more than `n_neighbors`.

    n_neighbors : int, default=5
        The neighbour k whose distance is the radius.

    Returns
    -------
    scores : Bunch
        `precision`, `recall` and `coverage` in [0, 1], and `density`, at least 0;
        higher is better. All are 1 for sets that are the same.

    Raises
    ------
    ValueError
        If a set has `n_neighbors` samples or fewer, is not finite, or has other
        features.

    See Also
    --------
    nearest_neighbor_coverage : Coverage without a radius.

    Notes
    -----
    For sets of the same distribution, the expected density is 1, and the expected
    coverage is, whatever the distribution,

    .. math:: 1 - \prod_{i=1}^{k} \frac{n - i}{n + m - i},

    0.97 for k = 5 and sets of the same large size. A sample with k copies in its own
    set has an empty ball: remove duplicates first. Beside its input, it holds a copy of
    one set in double precision, and some 300 MiB.

    References
    ----------
    .. [1] T. Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing
       Generative Models", NeurIPS 2019, `arXiv 1904.06991
       <https://arxiv.org/abs/1904.06991>`_.
    .. [2] M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi and J. Yoo, "Reliable Fidelity and
       Diversity Metrics for Generative Models", ICML 2020, `arXiv 2002.09797
       <https://arxiv.org/abs/2002.09797>`_.

    Examples
    --------
    >>> from skcvae.metrics import (
    ...     precision_recall_density_coverage)
    >>> scores = precision_recall_density_coverage(
    ...     [[0], [1], [3], [8]], [[0.5], [0.6], [20]], n_neighbors=1)
    >>> scores.precision, scores.recall, round(scores.density, 3), scores.coverage
    (0.6666666666666666, 0.75, 1.333, 0.5)
    """
    real, synthetic = check_pair(X_real, X_synthetic, n_neighbors + 1)
    containing, contained = _ball_counts(
        real, _ball_radii(real, n_neighbors), synthetic
    )
    reached, _ = _ball_counts(synthetic, _ball_radii(synthetic, n_neighbors), real)
    return Bunch(
        precision=float(np.mean(containing > 0)),
        recall=float(np.mean(reached > 0)),
        density=float(containing.mean() / n_neighbors),
        coverage=float(np.mean(contained > 0)),
    )


@validate_params(array_likes("X_reference", "X"), prefer_skip_nested_validation=True)
def nearest_neighbor_coverage(X_reference: ArrayLike, X: ArrayLike) -> float:
    r"""Compute the share of reference samples that are nearest to some sample.

    .. math:: \frac{1}{n} \left\lvert \left\{ \arg\min_i \lVert r_i - x_j \rVert :
        j = 1, \dots, m \right\} \right\rvert

    for n reference samples r and m samples x: a measure of diversity that needs no
    radius. It does not see how far the nearest sample is: a few samples of noise cover
    little, many cover much. It grows with the number of samples, and is at most m/n:
    compare sets of the same size, or of as many samples as the reference has.

    Parameters
    ----------
    X_reference : array-like of shape (n_reference, n_features)
        Real samples to cover, for example all samples of a balanced data set.

    X : array-like of shape (n_samples, n_features)
        Samples of the same space that cover them.

    Returns
    -------
    coverage : float
        In (0, 1]; higher is better. As many draws from the reference itself have
        :math:`1 - 1/e \approx 0.63`. Of equal reference samples, one can be covered.

    Raises
    ------
    ValueError
        If a set is empty, is not finite, or has other features.

    See Also
    --------
    class_nearest_neighbor_coverage : The same within each class.

    Examples
    --------
    >>> from skcvae.metrics import nearest_neighbor_coverage
    >>> nearest_neighbor_coverage([[0], [1], [2], [3]], [[0.1], [0.2], [9]])
    0.5
    """
    return _covered_share(*check_pair(X_reference, X, names=("X_reference", "X")))


@validate_params(
    array_likes("X_reference", "X", "y_reference", "y"),
    prefer_skip_nested_validation=True,
)
def class_nearest_neighbor_coverage(
    X_reference: ArrayLike, X: ArrayLike, *, y_reference: ArrayLike, y: ArrayLike
) -> Bunch:
    """Compute the nearest-neighbour coverage of each class by its own samples.

    The nearest reference sample of the same class counts, as in [1]_.

    Parameters
    ----------
    X_reference : array-like of shape (n_reference, n_features)
        Real samples to cover, for example all samples of a balanced data set.

    X : array-like of shape (n_samples, n_features)
        Samples of the same space that cover them.

    y_reference : array-like of shape (n_reference,)
        Classes of the reference samples.

    y : array-like of shape (n_samples,)
        Classes of the samples, all of them classes of the reference.

    Returns
    -------
    result : Bunch
        `classes`, those of the reference; `coverages`, one for each, in [0, 1], higher
        is better, 0 for a class without samples; their `mean`; `n_reference` and
        `n_samples`, the numbers of samples of each class.

    Raises
    ------
    ValueError
        If a sample has a class that the reference lacks, or samples do not fit
        together.

    See Also
    --------
    nearest_neighbor_coverage : The formula, and how it depends on numbers of samples.

    References
    ----------
    .. [1] D. Tafler, "Generative Data Augmentation in the Embedding Space of Vision
       Foundation Models to Address Long-Tailed Learning and Privacy Constraints",
       master's thesis, University of Bamberg, 2024 (section 4.4).

    Examples
    --------
    >>> from skcvae.metrics import class_nearest_neighbor_coverage
    >>> result = class_nearest_neighbor_coverage(
    ...     [[0], [1], [2], [3]], [[0.1], [9], [8]],
    ...     y_reference=["a", "a", "b", "b"], y=["a", "a", "b"])
    >>> result.classes.tolist(), result.coverages.tolist(), result.mean
    (['a', 'b'], [1.0, 0.5], 0.75)
    """
    reference, samples = check_pair(X_reference, X, names=("X_reference", "X"))
    classes, members = split_by_class(
        y_reference, reference, y, samples, ("y_reference", "y")
    )
    coverages = np.array(
        [
            _covered_share(reference[rows], samples[others]) if len(others) else 0.0
            for rows, others in zip(*members, strict=True)
        ]
    )
    n_reference, n_samples = (np.array([len(rows) for rows in one]) for one in members)
    return Bunch(
        classes=classes,
        coverages=coverages,
        mean=float(coverages.mean()),
        n_reference=n_reference,
        n_samples=n_samples,
    )


@validate_params(
    {
        **array_likes("X_synthetic", "X_real"),
        "space": [StrOptions({"common", "reference"})],
    },
    prefer_skip_nested_validation=True,
)
def average_min_distance(
    X_synthetic: ArrayLike, X_real: ArrayLike, *, space: str = "common"
) -> float:
    """Compute the mean distance from a synthetic sample to the nearest real sample.

    Larger is often read as more private, but it is larger for any poor synthesis, too:
    samples of noise are far from everything. It has no baseline; the attacks have one.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released samples.

    X_real : array-like of shape (n_real, n_features)
        Samples that the release was made from.

    space : {"common", "reference"}, default="common"
        "common" divides both sets by the standard deviations of the real one.
        "reference" standardises each set by its own means and standard deviations, as
        the program of [1]_ does, to compare with its tables. That compares points of
        two spaces, and hides a wrong mean or a wrong spread of the synthetic samples;
        where they spread less than real samples, it makes their distances larger. A
        feature that is constant in a set keeps its scale there.

    Returns
    -------
    distance : float
        At least 0, in standard deviations: of n features, independent samples are about
        the square root of 2 n apart.

    Raises
    ------
    ValueError
        If samples are not finite or have other features.

    References
    ----------
    .. [1] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
       datasets by capturing feature distributions with Conditional VAEs", BMVC 2024,
       `arXiv 2408.00639 <https://arxiv.org/abs/2408.00639>`_.

    Examples
    --------
    >>> from skcvae.metrics import average_min_distance
    >>> average_min_distance([[1.0], [3.0]], [[0.0], [4.0]])
    0.5
    >>> average_min_distance([[1.0], [3.0]], [[0.0], [4.0]], space="reference")
    0.0
    """
    sets = check_record_sets(X_synthetic=X_synthetic, X_real=X_real)
    if space == "common":
        S, real = scale_by(sets["X_real"], *sets.values(), scale="feature")
    else:
        S, real = (
            scale_by(rows, rows - rows.mean(axis=0), scale="feature")[0]
            for rows in sets.values()
        )
    return float(nearest_neighbors(S, real)[0].mean())


def _ball_radii(X, n_neighbors):
    """Return the distance of each sample to its k-th nearest other sample."""
    distances, _ = nearest_neighbors(X, X, n_neighbors, exclude_self=True)
    return distances[:, -1]


def _ball_counts(centers, radii, points):
    """Return how many open balls hold each point, and how many points each ball."""
    n_balls = np.zeros(len(points), dtype=np.intp)
    n_points = np.zeros(len(centers), dtype=np.intp)
    # Squared distances to the mean bound the rounding errors of the products.
    middle = centers.mean(axis=0, dtype=np.float64)
    slack = 4 * (centers.shape[1] + 8) * np.finfo(np.float64).eps
    largest = _squared_norms(centers, middle).max()
    for rows, squared in squared_distance_blocks(points, centers):
        errors = slack * (_squared_norms(points[rows], middle) + largest)
        squared -= radii**2
        inside = squared < 0
        doubtful = np.abs(squared, out=squared) <= errors[:, None]
        _decide(inside, doubtful, points[rows], centers, radii)
        n_balls[rows] = inside.sum(axis=1)
        n_points += inside.sum(axis=0)
    return n_balls, n_points


def _squared_norms(rows, middle):
    """Return squared distances to one point, block by block."""
    norms = np.empty(len(rows))
    for block in gen_batches(len(rows), max(1, _BATCH_ENTRIES // rows.shape[1])):
        centred = rows[block] - middle
        norms[block] = np.einsum("ij,ij->i", centred, centred)
    return norms


def _decide(inside, doubtful, points, centers, radii):
    """Decide ties by the exact distances that the radii were computed by."""
    rows, balls = np.nonzero(doubtful)
    size = max(1, _BATCH_ENTRIES // centers.shape[1])
    for start in range(0, len(rows), size):
        point, ball = (pairs[start : start + size] for pairs in (rows, balls))
        distances = exact_distances(points[point], centers, ball[:, None])[:, 0]
        inside[point, ball] = distances < radii[ball]


def _covered_share(X_reference, X):
    """Return the share of reference samples that are the nearest of some sample."""
    _, nearest = nearest_neighbors(X, X_reference)
    return len(np.unique(nearest)) / len(X_reference)
