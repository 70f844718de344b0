"""k-Same: each row is replaced by the mean of at least k rows."""

from numbers import Integral

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from .._validation import (
    check_finite_in_float32,
    check_numbers,
    check_samples,
    forget_fit,
)
from .._warnings import warn_user
from ._base import BaseAnonymizer
from ._microaggregation import cluster_groups, count_groups, merge_small_classes

_NOT_COVERED = (
    "Membership inference: an attacker who holds a row can tell better than chance "
    "whether it was anonymized here, most of all with a small k.",
    "Background knowledge: whoever knows all other members of a cluster computes the "
    "last one from the centroid.",
    "Several releases: the centroids of a second release of these rows, with another k "
    "or with rows added or removed, can be intersected with and subtracted from these.",
    "Labels: they are published unchanged. A cluster of one label discloses the label "
    "of its members, and in a cluster of several a rare label singles out its rows.",
    "What transform returns: it anonymizes nothing.",
)


class KSameAnonymizer(BaseAnonymizer):
    r"""Replace each row by the mean of its cluster of at least k rows (k-Same).

    Whoever matches a published row with the rows of persons finds at least `k` of them
    behind it [1]_. This is k-anonymity and no more: k-anonymous is not private.
    :meth:`privacy_statement` lists what is not covered, and membership inference comes
    first.

    .. note::
        `fit(X, y).transform(X)` does not equal `fit_transform(X, y)`: `transform`
        anonymizes nothing and returns its rows as they are, so that a pipeline is
        trained on centroids and tested on real rows. Publish only what
        `fit_transform` returns.

    Clusters are made greedily: the unassigned row that is farthest from the mean of
    all rows of its class takes its `k` - 1 nearest unassigned rows (Euclidean). The
    last cluster takes what remains, at most 2 `k` - 1 rows. Nothing is drawn at random
    and, ties apart, the order of the rows does not matter: to publish the same rows
    twice gives nothing away that the first time did not, whereas two different
    clusterings could be intersected.

    Parameters
    ----------
    k : int, default=5
        Least number of rows, or of `groups`, in a cluster: 2 or more.

    within_class : bool, default=True
        Cluster each class on its own, so that every centroid is the mean of rows with
        its label. False ignores `y`, as the reference program does [2]_: rows with the
        same centroid may then have different labels.

    remainder : {"join", "drop"}, default="join"
        What happens to the n mod `k` rows that are left over when n rows are clustered
        together. "join" adds them to the last cluster. "drop" suppresses the last
        n mod `k` rows in the order of `X`, which the reference program leaves out.

    small_classes : {"error", "merge", "suppress"}, default="error"
        What happens to classes with fewer than `k` rows, or groups:

        - "error" raises a ValueError.
        - "merge" clusters them, smallest first, together with the class that has the
          nearest mean. Rows keep their labels, which then stand beside means that
          include rows of the other class.
        - "suppress" replaces their rows by the mean of what is published for all
          other rows, marks them in `suppressed_` and warns. Only their labels
          remain: drop these rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted. Only with `within_class=True`.

    centroids_ : ndarray of shape (n_clusters, n_features)
        Means of the clusters, in the floating-point type of the rows.

    labels_ : ndarray of shape (n_samples,)
        Cluster of each row, -1 for suppressed rows.

    cluster_sizes_ : ndarray of shape (n_clusters,)
        Number of rows in each cluster; with `groups`, of distinct groups.

    suppressed_ : ndarray of shape (n_samples,)
        True for rows of which nothing but the label is left.

    suppressed_classes_ : ndarray
        Labels whose rows are all suppressed.

    unit_ : {"row", "group"}
        What `k` counts.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    Notes
    -----
    No attribute holds a training row, unless the rows of a cluster are identical:
    their mean is the row. Look for duplicates first.

    The rows of a cluster get identical rows: n rows hold at most n / `k` different
    ones, and tell a learner no more than those do.

    With the `groups` of rows, for example patients, `k` counts groups: the rows that a
    group has in a class are averaged first, and all get the centroid of their mean. So
    each group counts once. `groups` is metadata: request it by
    `set_fit_request(groups=True)` where metadata routing is enabled; without routing,
    `pipeline.fit(X, y, ksameanonymizer__groups=groups)` passes it on.

    Time grows with the square of the number of rows in a class, memory in proportion
    to it. Features count by their variance: scale them first where they differ in
    unit.

    The reference program starts each cluster at the row with the largest sum of
    distances to all unassigned rows, and updates these sums; here the order of rows is
    fixed at the start, which loses about as much variance.

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
        "small_classes": [StrOptions({"error", "merge", "suppress"})],
    }

    def __init__(
        self, k=5, *, within_class=True, remainder="join", small_classes="error"
    ):
        self.k = k
        self.within_class = within_class
        self.remainder = remainder
        self.small_classes = small_classes

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, groups=None):
        """Cluster the rows. This anonymizes nothing that :meth:`transform` returns.

        Call :meth:`fit_transform` for the anonymized rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to anonymize.

        y : array-like of shape (n_samples,), default=None
            Class of each row. Required with `within_class=True`, ignored otherwise.

        groups : array-like of shape (n_samples,), default=None
            Group of each row, for example the patient: numbers or strings. None takes
            each row for a group of its own.

        Returns
        -------
        self : object
            The fitted anonymizer.

        Raises
        ------
        ValueError
            If the input is empty, not finite or not two-dimensional; if `X` has fewer
            than `k` rows or groups; if a class has and `small_classes="error"`, or all
            classes have and `small_classes="suppress"`.
        """
        forget_fit(self)
        X, codes = self._check_rows(X, y)
        self.unit_ = "row" if groups is None else "group"
        groups = np.arange(len(X)) if groups is None else _encode_groups(groups, X)
        self._cluster(X, self._together(X, codes, groups), groups)
        self._remember(X)
        return self

    def fit_transform(self, X, y=None, groups=None):
        """Return the centroid of each row's cluster: this is what may be published.

        :meth:`transform` anonymizes nothing, not even the rows given here.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to anonymize.

        y : array-like of shape (n_samples,), default=None
            Class of each row. Required with `within_class=True`, ignored otherwise.

        groups : array-like of shape (n_samples,), default=None
            Group of each row, for example the patient: numbers or strings. None takes
            each row for a group of its own.

        Returns
        -------
        X_anonymized : ndarray of shape (n_samples, n_features)
            A centroid for each row of `X`, in the same order; float32 and float64 are
            kept, other types become float64. Rows marked in `suppressed_` hold the
            mean of all others, and are best dropped.
        """
        self.fit(X, y, groups)
        anonymized = self.centroids_[self.labels_]
        if self.suppressed_.any():
            # The mean of published rows: it adds nothing to what they disclose.
            published = anonymized[~self.suppressed_]
            anonymized[self.suppressed_] = published.mean(axis=0, dtype=np.float64)
            warn_user(
                f"{self.suppressed_.sum()} of {len(anonymized)} rows are suppressed: "
                "they hold the mean of all others. Drop them and their labels, "
                "X[~anonymizer.suppressed_].",
            )
        return anonymized

    def privacy_statement(self):
        """Say what the rows that :meth:`fit_transform` returned are safe from.

        Returns
        -------
        statement : dict
            "guarantee", its name; "k", the size of the smallest cluster; "unit", what
            `k` counts: "row" or "group"; "not covered", a list of sentences.
        """
        check_is_fitted(self)
        not_covered = list(_NOT_COVERED)
        if self.unit_ == "row":
            not_covered.append(
                "Persons with several rows: these can fill a cluster alone. Pass "
                "groups to count each person once."
            )
        elif self.within_class:
            not_covered.append(
                "Groups with rows of several classes: they have a centroid for each, "
                "and whoever links these can intersect their clusters."
            )
        if self.suppressed_.any():
            not_covered.append(
                "The labels and the number of suppressed rows, unless you drop them."
            )
        return {
            "guarantee": "k-anonymity (k-Same)",
            "k": int(self.cluster_sizes_.min()),
            "unit": self.unit_,
            "not covered": not_covered,
        }

    def _check_rows(self, X, y):
        """Return validated rows, and class codes: zeros where labels are ignored."""
        if not self.within_class:
            check_numbers(X)
            types = [np.float64, np.float32]
            X = validate_data(self, X, dtype=types, order="C", ensure_min_samples=2)
            check_finite_in_float32(X, getattr(self, "feature_names_in_", None))
            return X, np.zeros(len(X), dtype=np.intp)
        if y is None:
            raise ValueError(
                "KSameAnonymizer requires y to be passed, but the target y is None. "
                "Pass the class of each row, or set within_class=False."
            )
        X, y = check_samples(self, X, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return X, codes

    def _together(self, X, codes, groups):
        """Return codes of the rows to cluster together, -1 to suppress."""
        n_groups = groups.max() + 1
        if n_groups < self.k:
            raise ValueError(
                f"X has {n_groups} {self.unit_}s, and k={self.k} needs at least as "
                "many. Choose a smaller k."
            )
        small = count_groups(codes, groups) < self.k
        self.suppressed_classes_ = np.array([])
        if not small.any():
            return codes
        if self.small_classes == "error" or (
            self.small_classes == "suppress" and small.all()
        ):
            self._refuse(small, codes, groups)
        if self.small_classes == "merge":
            return merge_small_classes(X, codes, groups, self.k)[codes]
        self.suppressed_classes_ = self.classes_[small]
        return np.where(small[codes], -1, codes)

    def _refuse(self, small, codes, groups):
        sizes = count_groups(codes, groups)
        named = [
            f"{label!r} ({size})"
            for label, size in zip(
                self.classes_[small].tolist(), sizes[small], strict=True
            )
        ]
        more = f" and {len(named) - 10} more" if len(named) > 10 else ""
        raise ValueError(
            f"Classes with fewer than k={self.k} {self.unit_}s: "
            f"{', '.join(named[:10])}{more}. Choose a smaller k, small_classes='merge' "
            "to cluster them with the nearest class, or small_classes='suppress' to "
            "withhold their rows where other classes have enough."
        )

    def _cluster(self, X, together, groups):
        """Set the clusters, one set of rows after the other."""
        labels = np.full(len(X), -1)
        centroids, sizes = [], []
        n_clusters = 0
        for code in np.unique(together[together >= 0]):
            rows = np.flatnonzero(together == code)
            found, means, counts = cluster_groups(
                X[rows], groups[rows], self.k, self.remainder
            )
            labels[rows] = np.where(found < 0, -1, found + n_clusters)
            n_clusters += len(means)
            centroids.append(means)
            sizes.append(counts)
        self.labels_ = labels
        self.suppressed_ = labels < 0
        self.cluster_sizes_ = np.concatenate(sizes)
        self.centroids_ = np.concatenate(centroids)

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
            "Input groups contains missing values. Give each row without a group one "
            "of its own."
        )
    return np.array(codes)
