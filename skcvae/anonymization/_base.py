"""Base class of the anonymizers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .._doc_links import DocLinkMixin
from .._record_sets import row_hashes
from .._validation import check_numbers
from .._warnings import warn_user


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
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The same samples.

        Warns
        -----
        UserWarning
            If most of the samples are those of :meth:`fit`. A pickled anonymizer does
            not know these, and does not warn.
        """
        check_is_fitted(self)
        check_numbers(X)
        types = [np.float64, np.float32]
        samples = validate_data(self, X, reset=False, dtype=types)
        known: frozenset = getattr(self, "_fingerprints", frozenset())
        n_known = sum(mark in known for mark in _fingerprints(samples)) if known else 0
        if n_known > len(samples) / 2:
            warn_user(
                f"transform anonymizes nothing: {n_known} of {len(samples)} samples "
                "were in fit, and are returned unchanged. Publish what fit_transform "
                "returns. (Ignore this if you compute a score on training samples.)",
            )
        return samples

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
