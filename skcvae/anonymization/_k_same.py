"""k-Same: each sample is replaced by the mean of at least k samples."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._mean_leakage import estimate_mean_leakage, rounded_up
from .._validation import (
    check_samples,
    check_samples_alone,
    forget_fit,
)
from .._warnings import warn_user
from ._base import (
    MIN_CLASS_SIZE,
    SMALL_CLASS_CONSTRAINTS,
    SUPPRESSED_SENTENCE,
    BaseAnonymizer,
    count_in_classes,
    distinct_ids,
    means_by_label,
)

# Number of products of seeds and samples in memory at a time: 64 MiB in float32.
_BLOCK_SIZE = 2**24

_NOT_COVERED = (
    "Membership inference: an attacker who holds a sample can tell better than chance "
    "whether it was anonymized here, above all if k is small.",
    "Background knowledge: an attacker who knows all other members of a cluster "
    "computes the last one from the centroid.",
    "Several releases: a second release of these samples, with another k or with "
    "samples added or removed, can be compared with this one to isolate samples.",
    "Labels: they are published unchanged. A cluster of one label discloses the label "
    "of its members, and in a cluster of several a rare label identifies its samples.",
    "What transform returns: it anonymizes nothing.",
)


class KSameAnonymizer(BaseAnonymizer):
    r"""Replace each sample by the mean of its cluster of at least k samples (k-Same).

    Each published sample stands for at least `k` training samples [1]_. This is
    k-anonymity and no more; k-anonymous data are not private. :meth:`privacy_statement`
    lists what is not covered, above all membership inference.

    .. note::
        `fit(X, y).transform(X)` does not equal `fit_transform(X, y)`: `transform`
        anonymizes nothing and returns its input unchanged, so that a pipeline is
        trained on centroids and tested on real samples. Publish only what
        `fit_transform` returns.

    Clusters are made greedily: the unassigned sample that is farthest from the mean of
    its class takes its `k` - 1 nearest unassigned samples (Euclidean). The last cluster
    takes the remaining samples, at most 2 `k` - 1. The result is not random and, except
    for ties, does not depend on the order of the samples: a second run publishes the
    same samples, whereas two different clusterings could be intersected.

    Parameters
    ----------
    k : int, default=5
        Least number of samples, or of `groups`, in a cluster: 2 or more.

    within_class : bool, default=True
        Cluster each class on its own, so that every centroid is the mean of samples
        with its label. False clusters without `y`, as the reference program does [2]_:
        samples with the same centroid may then have different labels.

    remainder : {"join", "drop"}, default="join"
        What happens to the n mod `k` samples that are left over when n samples are
        clustered together. "join" adds them to the last cluster. "drop" suppresses the
        last n mod `k` samples in the order of `X`, as the reference program does.

    small_classes : {"error", "merge", "suppress", "allow"}, default="error"
        What happens to classes with fewer than `min_class_size` distinct samples, or
        fewer than `k` samples or groups:

        - "error" raises a ValueError.
        - "merge" clusters them, smallest first, together with the class that has the
          nearest mean. Samples keep their labels, although the means then include
          samples of the other class.
        - "suppress" replaces their samples by the mean of all other published samples,
          marks them in `suppressed_` and warns. Drop these samples and their labels.
        - "allow" disregards `min_class_size`. Fewer than `k` are still refused.

    min_class_size : int, default=10
        Least number of distinct samples of a class. With `within_class=False`, it
        counts those of each class of `y` where `y` is given, because labels are
        published: a rare one identifies the centroid of its samples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted. Only with `within_class=True`.

    centroids_ : ndarray of shape (n_clusters, n_features)
        Means of the clusters, in the floating-point type of the samples.

    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample, -1 for suppressed samples.

    cluster_sizes_ : ndarray of shape (n_clusters,)
        Number of samples in each cluster; with `groups`, of distinct groups.

    suppressed_ : ndarray of shape (n_samples,)
        True for suppressed samples.

    suppressed_classes_ : ndarray
        Labels of the classes that "suppress" withholds.

    mean_leakage_ : MeanLeakage
        What exact class means tell about members, as in
        :class:`GenerativeAnonymizer`: see its `decoder`. Nothing is refused, because
        centroids of few samples tell more. Only with `within_class=True` and without
        groups.

    unit_ : {"sample", "group"}
        The unit that `k` counts.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    Notes
    -----
    No attribute holds a training sample, unless the samples of a cluster are identical
    and therefore equal to their mean. A warning says so. Remove duplicates first.

    The samples of a cluster are replaced by copies of one centroid: n samples become at
    most n / `k` different ones.

    With `groups`, for example patients, `k` counts groups. The samples of a group in a
    class are averaged first, so that each group counts once, and all get the centroid
    of the cluster of this average. `groups` is metadata: request it by
    `set_fit_request(groups=True)` where metadata routing is enabled; without routing,
    `pipeline.fit(X, y, ksameanonymizer__groups=groups)` passes it on.

    Time grows with the square of the number of samples in a class, memory linearly.
    Distances are dominated by features of large variance: scale features of different
    units first.

    The reference program starts each cluster at the sample with the largest sum of
    distances to all unassigned samples, and updates these sums. Here the order of the
    samples is fixed at the start; the loss of variance is about the same.

    References
    ----------
    .. [1] :doi:`E. M. Newton, L. Sweeney and B. Malin, "Preserving privacy by
       de-identifying face images", IEEE Transactions on Knowledge and Data Engineering
       17, 2005. <10.1109/TKDE.2005.32>`

    .. [2] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
       datasets by capturing feature distributions with Conditional VAEs", BMVC 2024,
       arXiv 2408.00639.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.anonymization import KSameAnonymizer
    >>> X, y = load_digits(return_X_y=True)
    >>> anonymizer = KSameAnonymizer(k=5)
    >>> X_public = anonymizer.fit_transform(X, y)
    >>> X_public.shape, len(anonymizer.centroids_), int(anonymizer.cluster_sizes_.min())
    ((1797, 64), 355, 5)
    """

    _parameter_constraints: dict = {
        "k": [Interval(Integral, 2, None, closed="left")],
        "within_class": ["boolean"],
        "remainder": [StrOptions({"join", "drop"})],
        **SMALL_CLASS_CONSTRAINTS,
    }

    def __init__(
        self,
        k: int = 5,
        *,
        within_class: bool = True,
        remainder: str = "join",
        small_classes: str = "error",
        min_class_size: int = MIN_CLASS_SIZE,
    ) -> None:
        self.k = k
        self.within_class = within_class
        self.remainder = remainder
        self.small_classes = small_classes
        self.min_class_size = min_class_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        """Cluster the samples. :meth:`transform` will anonymize nothing.

        Call :meth:`fit_transform` for the anonymized samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples to anonymize.

        y : array-like of shape (n_samples,), default=None
            Class of each sample. Required with `within_class=True`. Otherwise, it only
            tells which classes are small, and "allow" ignores it.

        groups : array-like of shape (n_samples,), default=None
            Group of each sample, for example the patient: numbers or strings. With
            None, each sample is its own group.

        Returns
        -------
        self : object
            The fitted anonymizer.

        Raises
        ------
        ValueError
            If the input is empty, not finite or not two-dimensional; if `X` has fewer
            than `k` samples or groups; if a class is too small and
            ``small_classes="error"``, or all are and ``small_classes="suppress"``.
        """
        forget_fit(self)
        samples, codes, classes = self._check_input(X, y)
        self.unit_ = "sample" if groups is None else "group"
        if groups is None:
            group_codes = np.arange(len(samples))
        else:
            group_codes = _encode_groups(groups, samples)
        together = self._choose_sets(samples, codes, classes, group_codes)
        self._cluster(samples, together, group_codes)
        kept = together >= 0
        if self.within_class and groups is None:
            labels = self.classes_[together[kept]]
            self.mean_leakage_ = estimate_mean_leakage(samples[kept], labels)
        self._warn_about_copies(samples)
        self._remember(samples)
        return self

    def fit_transform(
        self, X: ArrayLike, y: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> NDArray:
        """Return the centroid of each sample's cluster, which may be published.

        :meth:`transform` anonymizes nothing, not even the samples given here.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples to anonymize.

        y : array-like of shape (n_samples,), default=None
            Class of each sample. Required with `within_class=True`. Otherwise, it only
            tells which classes are small, and "allow" ignores it.

        groups : array-like of shape (n_samples,), default=None
            Group of each sample, for example the patient: numbers or strings. With
            None, each sample is its own group.

        Returns
        -------
        X_anonymized : ndarray of shape (n_samples, n_features)
            The centroid of each sample of `X`, in the same order; float32 and float64
            are kept, other types become float64. Samples marked in `suppressed_` hold
            the mean of all others. Drop them.
        """
        self.fit(X, y, groups)
        return self._fill_suppressed(self.centroids_[self.labels_[~self.suppressed_]])

    def privacy_statement(self) -> dict[str, Any]:
        """Return what is guaranteed about the samples of :meth:`fit_transform`.

        Returns
        -------
        statement : dict
            `guarantee`, its name; `k`, the size of the smallest cluster; `unit`, which
            `k` counts: "sample" or "group"; `not covered`, a list of sentences.
        """
        check_is_fitted(self)
        not_covered = list(_NOT_COVERED)
        if self.unit_ == "sample":
            not_covered.append(
                "Persons with several samples: the samples of one can fill a cluster. "
                "Pass groups to count each person once."
            )
        elif self.within_class:
            not_covered.append(
                "Groups with samples of several classes: they have several centroids, "
                "and an attacker who links these can intersect their clusters."
            )
        if hasattr(self, "mean_leakage_"):
            not_covered.append(
                "Class means: the centroids of a class average to the exact mean of "
                "its samples. It tells members of the smallest class from others, to "
                "an attacker who knows the true mean, with an expected AUC of up to "
                f"{rounded_up(self.mean_leakage_.decoder)}."
            )
        if self.suppressed_.any():
            not_covered.append(SUPPRESSED_SENTENCE)
        return {
            "guarantee": "k-anonymity (k-Same)",
            "k": int(self.cluster_sizes_.min()),
            "unit": self.unit_,
            "not covered": not_covered,
        }

    def _check_input(self, X, y):
        """Return validated samples, class codes and classes; one if `y` is ignored."""
        if self.within_class and y is None:
            raise ValueError(
                "KSameAnonymizer requires y to be passed, but the target y is None. "
                "Pass the class of each sample, or set within_class=False."
            )
        if y is None or (self.small_classes == "allow" and not self.within_class):
            X = check_samples_alone(self, X, reset=True)
            return X, np.zeros(len(X), dtype=np.intp), np.array(["all"])
        X, y = check_samples(self, X, y)
        classes, codes = np.unique(y, return_inverse=True)
        if self.within_class:
            self.classes_ = classes
        return X, codes, classes

    def _choose_sets(self, X, codes, classes, groups):
        """Return a code for each set of samples to cluster together, -1 to suppress."""
        self._check_enough(groups)
        if self.within_class:
            units = [(groups, self.k, f"k={self.k} {self.unit_}s")]
            return self._place_small_classes(X, codes, classes, units)
        placed = self._place_small_classes(X, codes, classes)
        self._check_enough(groups[placed >= 0])
        return np.where(placed < 0, -1, 0)

    def _check_enough(self, groups):
        n_groups = len(np.unique(groups))
        if n_groups < self.k:
            raise ValueError(
                f"X has {n_groups} {self.unit_}s, and k={self.k} needs at least as "
                "many. Choose a smaller k."
            )

    def _cluster(self, X, together, groups):
        """Set the clusters, computed for one set of samples after the other."""
        labels = np.full(len(X), -1)
        centroids, sizes = [], []
        n_clusters = 0
        for code in np.unique(together[together >= 0]):
            members = np.flatnonzero(together == code)
            found, means, counts = _cluster_groups(
                X[members], groups[members], self.k, self.remainder
            )
            labels[members] = np.where(found < 0, -1, found + n_clusters)
            n_clusters += len(means)
            centroids.append(means)
            sizes.append(counts)
        self.labels_ = labels
        self.suppressed_ = labels < 0
        self.cluster_sizes_ = np.concatenate(sizes)
        self.centroids_ = np.concatenate(centroids)

    def _warn_about_copies(self, X):
        """Warn where a centroid is the one sample that all of its cluster equal."""
        kept = ~self.suppressed_
        distinct = count_in_classes(self.labels_[kept], distinct_ids(X[kept]))
        n_same = np.count_nonzero(distinct == 1)
        if n_same:
            warn_user(
                f"{n_same} of {len(self.centroids_)} clusters consist of copies of one "
                "sample, which is published as it is. Remove duplicates first, or pass "
                "groups that hold the copies of a sample together."
            )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "centroids_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.within_class
        return tags


def _encode_groups(groups, X):
    """Return the codes 0, 1, ... of groups in the order in which they appear."""
    groups = column_or_1d(groups, input_name="groups")
    check_consistent_length(X, groups)
    code_of = {}
    codes = [code_of.setdefault(group, len(code_of)) for group in groups.tolist()]
    if any(g is None or is_pandas_na(g) or is_scalar_nan(g) for g in code_of):
        raise ValueError(
            "Input groups contains missing values. Give each sample without a group a "
            "group of its own."
        )
    return np.array(codes)


def _cluster_groups(X, groups, k, remainder="join"):
    """Cluster groups of samples, each represented by its mean.

    `groups` holds the integer code of each sample's group; there are at least `k`
    groups. Return the cluster of each sample (-1 for the last groups, which
    ``remainder="drop"`` leaves out), the means of the clusters in the type of `X`,
    shape (n_clusters, n_features), and the number of groups in each cluster.
    """
    _, first, members = np.unique(groups, return_index=True, return_inverse=True)
    n_groups = len(first)
    points = X[first] if n_groups == len(X) else means_by_label(X, members)
    if remainder == "drop":
        points = points[: n_groups - n_groups % k]
    labels = np.full(n_groups, -1)
    clustered = labels[: len(points)]
    clustered[:] = _microaggregate(points.astype(X.dtype, copy=False), k)
    centroids = means_by_label(points, clustered).astype(X.dtype)
    return labels[members], centroids, np.bincount(clustered)


def _microaggregate(X, k):
    """Return the cluster of each sample, shape (n_samples,): greedy k-Same.

    The unassigned sample that is farthest from the mean of all samples forms a cluster
    with its k - 1 nearest unassigned samples. When fewer than 2k remain, they form the
    last cluster. Distances are computed in the type of `X`.
    """
    X = _centre_and_scale(X)
    norms = np.einsum("ij,ij->i", X, X)
    order = np.argsort(-norms, kind="stable")
    X, norms = X[order], norms[order]
    labels = np.empty(len(X), dtype=np.intp)
    n_clusters = 0
    while len(order) >= 2 * k:
        clusters = _gather_clusters(X, norms, k)
        numbers = np.arange(n_clusters, n_clusters + len(clusters))
        labels[order[clusters]] = numbers[:, None]
        n_clusters += len(clusters)
        left = np.ones(len(order), dtype=bool)
        left[clusters] = False
        X, norms, order = X[left], norms[left], order[left]
    labels[order] = n_clusters
    return labels


def _centre_and_scale(X):
    """Return samples around zero whose squares neither overflow nor cancel out."""
    X = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    X /= max(X.max(), -X.min()) or 1
    return X


def _gather_clusters(X, norms, k):
    """Return the clusters of the first samples, shape (n, k), n at least 1."""
    products = X[: max(1, _BLOCK_SIZE // len(X))] @ X.T
    # Up to a constant, a squared distance to a seed is this offset minus twice the
    # product with the seed.
    offsets = norms.copy()
    clusters = []
    for seed, to_seed in enumerate(products):
        if len(X) - k * len(clusters) < 2 * k:
            break
        if offsets[seed] < np.inf:
            distances = offsets - 2 * to_seed
            nearest = seed
            cluster = []
            for _ in range(k):
                # One minimum at a time: several times faster than argpartition.
                distances[nearest] = np.inf
                cluster.append(nearest)
                nearest = distances.argmin()
            offsets[cluster] = np.inf
            clusters.append(cluster)
    return np.array(clusters)
