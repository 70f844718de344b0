"""A classifier that is trained on resampled samples, with their weights."""

import inspect
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    _fit_context,
    clone,
)
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from .._doc_links import DocLinkMixin
from .._several_labels import refuse_label_sets
from .._validation import check_numbers


def _classifier_has(name):
    """Return a check that the classifier, fitted or not, has a method."""

    def check(self):
        return hasattr(getattr(self, "classifier_", self.classifier), name)

    return check


class ResampledClassifier(
    DocLinkMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Resample, then fit a classifier, with the weights of the samples.

    A pipeline of imbalanced-learn passes samples and labels from step to step, and no
    weights. This class hands the `sample_weight_` of the sampler to the classifier.
    Without weights, it does what a pipeline of the two does.

    Parameters
    ----------
    sampler : over-sampler of :mod:`skcvae.over_sampling`
        It is cloned. Samplers of other packages work without weights.

    classifier : classifier
        It is cloned, and must take `sample_weight` in `fit` to be given weights.

    Attributes
    ----------
    sampler_ : estimator
        The fitted sampler.

    classifier_ : estimator
        The fitted classifier.

    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.

    n_features_in_ : int
        Number of features seen in :meth:`fit`, where the classifier knows it.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    imblearn.pipeline.Pipeline : Several steps, without weights.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skcvae.over_sampling import GenerativeOverSampler, ResampledClassifier
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> weights = np.where(X[:, 0] > 0, 2.0, 1.0)
    >>> classifier = ResampledClassifier(
    ...     GenerativeOverSampler(random_state=0), LogisticRegression()
    ... )
    >>> classifier.fit(X, y, sample_weight=weights).classes_
    array([0, 1])
    """

    _parameter_constraints: dict = {
        "sampler": [HasMethods(["fit_resample"])],
        "classifier": [HasMethods(["fit", "predict"])],
    }

    def __init__(self, sampler, classifier):
        self.sampler = sampler
        self.classifier = classifier

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Resample the samples, and fit the classifier to the result.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Class of each sample.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights. A generated sample gets the mean weight of its class.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If there are weights, and the sampler or the classifier takes none.
        """
        params = {}
        if sample_weight is not None:
            self._check_weights_are_taken()
            params = {"sample_weight": sample_weight}
        refuse_label_sets(y)
        X, y = check_numbers(X, allow_nd=True), column_or_1d(y, warn=True)
        self.sampler_ = clone(self.sampler)
        X_resampled, y_resampled = self.sampler_.fit_resample(X, y, **params)
        if sample_weight is not None:
            params = {"sample_weight": self.sampler_.sample_weight_}
        self.classifier_ = clone(self.classifier).fit(
            X_resampled, y_resampled, **params
        )
        for name in ("classes_", "n_features_in_", "feature_names_in_"):
            if hasattr(self.classifier_, name):
                setattr(self, name, getattr(self.classifier_, name))
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the class of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Predicted classes.
        """
        check_is_fitted(self)
        return self.classifier_.predict(check_numbers(X, allow_nd=True))

    @available_if(_classifier_has("predict_proba"))
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class, where the classifier has them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Probabilities for the class prior after resampling.
        """
        check_is_fitted(self)
        return self.classifier_.predict_proba(check_numbers(X, allow_nd=True))

    @available_if(_classifier_has("decision_function"))
    def decision_function(self, X: ArrayLike) -> Any:
        """Return the decision function of the classifier, where it has one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores of the classes.
        """
        check_is_fitted(self)
        return self.classifier_.decision_function(check_numbers(X, allow_nd=True))

    def _check_weights_are_taken(self):
        """Refuse weights that the sampler or the classifier would not see."""
        parameters = inspect.signature(self.sampler.fit_resample).parameters
        if "sample_weight" not in parameters:
            raise ValueError(
                f"{type(self.sampler).__name__} takes no sample_weight. Use one of "
                "skcvae.over_sampling, or leave out the weights."
            )
        if not has_fit_parameter(self.classifier, "sample_weight"):
            raise ValueError(
                f"{type(self.classifier).__name__} takes no sample_weight in fit. Use "
                "another classifier, or leave out the weights."
            )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "classifier_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.classifier)
        tags.classifier_tags = inner.classifier_tags
        tags.input_tags.allow_nan = (
            inner.input_tags.allow_nan and get_tags(self.sampler).input_tags.allow_nan
        )
        return tags
