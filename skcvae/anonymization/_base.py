"""What all anonymizers share: a transform that changes nothing, and says so."""

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .._doc_links import DocLinkMixin
from .._record_sets import row_hashes
from .._validation import check_numbers
from .._warnings import warn_user


class BaseAnonymizer(
    DocLinkMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Transformer that replaces training rows, and leaves all others alone.

    A subclass implements `fit` and `fit_transform` and calls `_remember`. Its
    attributes in `_unpickled` stay in this process: they hold the training rows, or
    tell whether a row is one.
    """

    _unpickled: tuple[str, ...] = ("_fingerprints",)

    def transform(self, X):
        """Return `X` as it is: this method anonymizes nothing.

        It lets a pipeline be trained on anonymized rows and tested on real ones.
        Publish only what :meth:`fit_transform` returns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The same rows.

        Warns
        -----
        UserWarning
            Where most of the rows are those of :meth:`fit` (in the process that
            fitted: nothing that could tell is pickled).
        """
        check_is_fitted(self)
        check_numbers(X)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        known = getattr(self, "_fingerprints", frozenset())
        n_known = sum(mark in known for mark in _fingerprints(X)) if known else 0
        if n_known > len(X) / 2:
            warn_user(
                f"transform anonymizes nothing: {n_known} of {len(X)} rows are rows "
                "of fit, and are returned as they are. To publish, use what "
                "fit_transform returns. (For a score on training rows, ignore this.)",
            )
        return X

    def _remember(self, X):
        """Keep marks of the training rows, for the warning of `transform`."""
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
    """Return a number for each row; equal rows have equal ones, in this process."""
    return row_hashes(np.asarray(X, dtype=np.float32))
