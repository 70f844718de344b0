"""Generators that learn from class moments, or from one batch after the other."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.utils.metaestimators import available_if

from .._validation import check_samples, check_variance, encode_labels
from ._base import BaseGenerator
from ._moment_means import means_of_moments
from ._moments import ClassMoments

_NEEDS_SAMPLES = (
    "Class moments are not enough for covariance_shrinkage='auto' or 'factors', nor "
    "for covariance_type='full', which read single samples. Use "
    "covariance_shrinkage='oas' or a number, covariance_type='tied' and no "
    "class_embeddings."
)


def _check_reads_moments(generator):
    """Say why there is no `partial_fit`."""
    if not generator._reads_moments():
        raise AttributeError(_NEEDS_SAMPLES)
    return True


class MomentGenerator(BaseGenerator):
    """Base of a generator that may learn from class moments alone.

    Its parameters are those of :class:`ClassGaussian`; `_keep_means(means)` sets what
    the moments say.
    """

    @classmethod
    def from_moments(cls, moments: ClassMoments, **params: Any) -> Self:
        """Return the generator that `fit` makes of the samples of class moments.

        Parameters
        ----------
        moments : ClassMoments
            Of at least two samples.

        **params : dict
            Parameters of the generator; ``covariance_shrinkage="oas"`` by default.

        Returns
        -------
        generator : ClassGaussian
            The fitted generator.

        Raises
        ------
        ValueError
            If a parameter needs single samples.
        """
        generator = cls(**{"covariance_shrinkage": "oas", **params})
        generator._validate_params()
        if not generator._reads_moments():
            raise ValueError(_NEEDS_SAMPLES)
        generator.n_features_in_ = moments.means.shape[1]
        return generator._fit_moments(moments)

    @available_if(_check_reads_moments)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None
    ) -> Self:
        """Learn from more samples, as :meth:`fit` does from all of them at once.

        It is there for ``covariance_shrinkage="oas"`` or a number, and for
        ``covariance_type="tied"``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples; the first ones are at least two.

        y : array-like of shape (n_samples,)
            Class of each sample. New classes may come later.

        classes : array-like of shape (n_classes,), default=None
            Labels that `y` may hold; None is any. One without samples is not drawn.

        Returns
        -------
        self : object
            The generator, fitted to the samples of all calls.

        Raises
        ------
        ValueError
            If `fit` came before, with `X_unlabeled`, or to more than 2,048 features
            and fewer samples: it does not keep what would have to be added to.
        """
        known = getattr(self, "moments_", None)
        if known is None and hasattr(self, "classes_"):
            raise ValueError(
                "fit() with X_unlabeled, or to more than 2,048 features and fewer "
                "samples, keeps no moments to add to. Call partial_fit() for all "
                "samples, on a new ClassGaussian."
            )
        X, y = check_samples(self, X, y, reset=known is None)
        if classes is not None:
            encode_labels(y, np.asarray(classes))
        moments = ClassMoments._from_checked(X, y)
        return self._fit_moments(moments if known is None else known + moments)

    def _reads_moments(self):
        """Tell whether class moments are all that the generator learns from."""
        shrinkage = self.covariance_shrinkage
        from_moments = shrinkage == "oas" or not isinstance(shrinkage, str)
        return (
            from_moments
            and self.covariance_type == "tied"
            and self.class_embeddings is None
        )

    def _fit_moments(self, moments):
        """Learn from class moments."""
        if moments.n_samples < 2:
            raise ValueError("A ClassGaussian needs at least two samples.")
        check_variance(self.variance, moments.classes)
        self.offset_, self.scale_, means = means_of_moments(
            moments, self.mean_shrinkage, self.covariance_shrinkage
        )
        self.moments_ = moments
        self.classes_, self.class_count_ = moments.classes, moments.counts
        self._output_dtype = np.dtype(moments.dtype)
        self._keep_means(means)
        return self
