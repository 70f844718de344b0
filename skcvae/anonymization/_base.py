"""Base class of the anonymizers, and their rule for small classes."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from .._class_means import indices_of_classes
from .._doc_links import DocLinkMixin
from .._record_sets import row_hashes
from .._validation import check_numbers
from .._warnings import warn_user

#: Default of `min_class_size`; examples/benchmarks/small_classes.py measures the risk.
MIN_CLASS_SIZE = 10
#: Constraints of the parameters that `_place_small_classes` reads.
SMALL_CLASS_CONSTRAINTS = {
    "small_classes": [StrOptions({"error", "merge", "suppress", "allow"})],
    "min_class_size": [Interval(Integral, 1, None, closed="left")],
}
#: Sentence of a privacy statement.
SUPPRESSED_SENTENCE = (
    "The labels and the number of suppressed samples, unless you drop them."
)


class BaseAnonymizer(
    DocLinkMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Transformer that replaces training samples and leaves all others unchanged.

    A subclass implements `fit` and `fit_transform` and calls `_remember`. The
    attributes named in `_unpickled` are not pickled, because they disclose training
    samples.
    """

    _unpickled: tuple[str, ...] = ("_fingerprints",)

    def transform(self, X: ArrayLike) -> NDArray:
        """Return `X` unchanged: this method anonymizes nothing.

        It lets a pipeline be trained on anonymized samples and tested on real ones.
        Publish only what :meth:`fit_transform` returns.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            The same samples; a DataFrame from an anonymizer of tables.

        Warns
        -----
        UserWarning
            If most of the samples are those of :meth:`fit`. A pickled anonymizer, and
            one around a private generator or of tables, does not know these, and does
            not warn.
        """
        check_is_fitted(self)
        return self._pass_through(X)

    def _pass_through(self, X):
        """Return the samples, checked; warn about training samples."""
        X = check_numbers(X)
        types = [np.float64, np.float32]
        finite = not get_tags(self).input_tags.allow_nan
        samples = validate_data(
            self, X, reset=False, dtype=types, ensure_all_finite=finite
        )
        known = getattr(self, "_fingerprints", frozenset())
        n_known = sum(mark in known for mark in _fingerprints(samples)) if known else 0
        if n_known > len(samples) / 2:
            warn_user(
                f"transform anonymizes nothing: {n_known} of {len(samples)} samples "
                "were in fit, and are returned unchanged. Publish what fit_transform "
                "returns. (Ignore this if you compute a score on training samples.)",
            )
        return samples

    def _place_small_classes(self, X, codes, classes, units=()):
        """Return for each sample the code of the class it counts for, or -1.

        A class needs `min_class_size` distinct samples, and of each further unit, a
        tuple (ids of the samples, least number, text), at least so many. Smaller ones
        are treated as `small_classes` says: -1 marks suppressed samples.
        """
        if self.small_classes != "allow":
            text = f"min_class_size={self.min_class_size} distinct samples"
            units = [*units, (distinct_ids(X), self.min_class_size, text)]
        self.suppressed_classes_ = classes[:0]
        small = np.zeros(len(classes), dtype=bool)
        for ids, least, _ in units:
            small |= count_in_classes(codes, ids) < least
        too_few = any(len(np.unique(ids)) < least for ids, least, _ in units)
        if not small.any():
            return codes
        if self.small_classes == "merge" and not too_few:
            return _merge_small_classes(X, codes, units)[codes]
        if self.small_classes == "suppress" and not small.all():
            self.suppressed_classes_ = classes[small]
            return np.where(small[codes], -1, codes)
        _refuse_small_classes(codes, classes, units)

    def _fill_suppressed(self, published):
        """Return a sample for each one of fit: the mean of all for suppressed ones.

        `published` holds those of the others. The mean discloses nothing new.
        """
        suppressed = self.suppressed_
        if not suppressed.any():
            return published
        filled = np.empty((len(suppressed), published.shape[1]), published.dtype)
        filled[~suppressed] = published
        filled[suppressed] = published.mean(axis=0, dtype=np.float64)
        warn_user(
            f"{suppressed.sum()} of {len(filled)} samples are suppressed and hold the "
            "mean of all others. Drop them and their labels: "
            "X[~anonymizer.suppressed_].",
        )
        return filled

    def _remember(self, X):
        """Keep hashes of the training samples, for the warning of `transform`."""
        self._fingerprints = frozenset(_fingerprints(X))

    def __getstate__(self):
        state = dict(super().__getstate__())
        for name in self._unpickled:
            state.pop(name, None)
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _fingerprints(X):
    """Return a hash of each sample, the same for equal samples in this process."""
    return row_hashes(np.asarray(X, dtype=np.float32))


def distinct_ids(X):
    """Return a number for each sample, the same for equal samples."""
    return np.unique(row_hashes(X), return_inverse=True)[1]


def count_in_classes(codes, ids):
    """Return the number of distinct ids of each class code."""
    n_ids = ids.max() + 1
    return np.bincount(np.unique(codes * n_ids + ids) // n_ids)


def _refuse_small_classes(codes, classes, units):
    """Raise an error that names the classes that have too few of a unit."""
    counts = [(count_in_classes(codes, ids), least, text) for ids, least, text in units]
    sizes, least, text = next(unit for unit in counts if (unit[0] < unit[1]).any())
    small = sizes < least
    named = [
        f"{label!r} ({size})"
        for label, size in zip(classes[small].tolist(), sizes[small], strict=True)
    ]
    more = f" and {len(named) - 10} more" if len(named) > 10 else ""
    name = text.split("=")[0]
    raise ValueError(
        f"Classes with fewer than {text}: {', '.join(named[:10])}{more}. Choose a "
        f"smaller {name}, small_classes='merge' to treat them as the class with the "
        "nearest mean, or small_classes='suppress' to withhold their samples where "
        "other classes have enough. What is published of a class of few samples tells "
        "of each of them."
    )


def warn_about_single_samples(y):
    """Warn about classes of one sample, which every model memorizes."""
    labels, counts = np.unique(y, return_counts=True)
    single = labels[counts == 1].tolist()
    if single:
        warn_user(
            f"The classes {single[:5]} have a single sample, which synthetic samples "
            "disclose. Before publishing, drop them or merge them with other classes.",
        )


def _merge_small_classes(X, codes, units):
    """Return a code for each class, the same for classes that are treated as one.

    Each class begins as a set of its own. The smallest set joins the one with the
    nearest mean, until all have enough of each unit. There must be enough in all.
    """
    own = [codes == code for code in range(codes.max() + 1)]
    members = [[np.unique(ids[of]) for ids, _, _ in units] for of in own]
    least = np.array([least for _, least, _ in units])
    sizes = np.array([_fill_rate(sets, least) for sets in members])
    weights = np.bincount(codes).astype(float)
    means = means_by_label(X, codes)
    merged = np.arange(len(sizes))
    while sizes.min() < 1:
        small = sizes.argmin()
        distances = ((means - means[small]) ** 2).sum(axis=1)
        distances[small] = np.inf
        near = distances.argmin()
        members[near] = list(map(np.union1d, members[near], members[small]))
        sizes[near] = _fill_rate(members[near], least)
        weights[near] += weights[small]
        means[near] += (means[small] - means[near]) * weights[small] / weights[near]
        merged[merged == small] = near
        # The merged set is no candidate any more.
        sizes[small] = np.inf
        means[small] = np.inf
    return merged


def merge_labels(y, merged):
    """Return labels with those of merged classes replaced; None stays None."""
    if y is None or not merged:
        return y
    y = np.asarray(y)
    # In the type of `y`, a longer name would be cut, maybe to that of another class.
    found = y.astype(np.result_type(y, np.array(list(merged.values()))))
    for label, other in merged.items():
        found[y == label] = other
    return found


def _fill_rate(sets, least):
    """Return the size of the scarcest unit, as a share of what is needed."""
    return min(np.array([len(ids) for ids in sets]) / least)


def means_by_label(X, labels):
    """Return the mean of the samples of each label 0, 1, ..., in float64."""
    means = np.empty((labels.max() + 1, X.shape[1]))
    for mean, own in zip(means, indices_of_classes(labels, len(means)), strict=True):
        values = X[own].astype(np.float64)
        # Relative to one sample: the mean of identical samples is exactly their value.
        mean[:] = values[0] + (values - values[0]).mean(axis=0)
    return means
