"""Members of a pool: the class prior of their probabilities, and their training."""

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from .._class_values import refuse_index
from ._priors import check_positive, resolve_target_prior
from ._trained_fit import (
    check_same_classes,
    check_unlabeled_arrives,
    fit_fold,
    fit_recording,
    innermost,
)
from ._trained_prior import (
    ChosenPriorError,
    UnknownPriorError,
    refuse_uncounted,
    trained_prior,
)

# Probabilities of 0 count as this one: a member has no veto.
_EPSILON = 1e-12


class Member:
    """A classifier of a pool, an unfitted clone or frozen, with what fits it.

    Errors name it. Raise ValueError if it has no probabilities, or unlabelled samples
    would not reach it.
    """

    def __init__(self, name, estimator, params):
        self.name, self.estimator, self.params = name, estimator, params
        last = _predictor(estimator)
        # Stacking has the method of its last classifier only once it is fitted.
        if not hasattr(last, "predict_proba") and not hasattr(last, "final_estimator"):
            raise ValueError(
                f"The member {name!r} of the pool must have the method predict_proba, "
                f"and {type(last).__name__} has none."
            )
        check_unlabeled_arrives(estimator, params)
        self.says_prior = hasattr(last, "target_prior")

    def check_prior(self, labels):
        """Refuse a member whose prior is not known, before any training."""
        last = _predictor(self.estimator)
        if self.says_prior:
            self._check_stated(last)
            if not isinstance(self.estimator, FrozenEstimator):
                prior = resolve_target_prior(last.target_prior, labels.mass)
                check_positive(prior, labels.classes)
            return
        pipeline = innermost(self.estimator)
        last = self.estimator if pipeline is None else pipeline.steps[-1][1]
        try:
            check_positive(trained_prior(last, labels), labels.classes)
        except ChosenPriorError:
            # A search will have chosen when the member is fitted.
            return
        except UnknownPriorError as error:
            self._refuse(error)

    def _check_stated(self, classifier):
        """Refuse a classifier of this package that does not predict for its target."""
        if classifier.target_prior is None:
            raise UnknownPriorError(
                f"The member {self.name!r} has target_prior=None, so that the class "
                "prior of its probabilities is unknown. Give it one."
            )
        try:
            params = classifier.get_params(deep=False)
            refuse_uncounted(params, type(classifier).__name__)
        except UnknownPriorError as error:
            self._refuse(error)

    def _refuse(self, error):
        raise UnknownPriorError(
            f"The class prior of the probabilities of the member {self.name!r} is "
            "unknown. Wrap it in a PriorCorrectedClassifier with the trained_prior "
            f"that it has. ({error})"
        ) from error

    def fit(self, estimator, X, y, classes):
        """Return a clone of the estimator, fitted, and the prior it predicts for."""
        return self._fit(estimator, X, y, classes, None, self.params)

    def fit_fold(self, estimator, X, y, classes, train, test):
        """Return held-out indices and the log-likelihoods of a fold."""
        test, proba, prior = fit_fold(
            estimator, X, y, classes, None, self.params, train, test, fit=self._fit
        )
        return test, log_likelihoods(proba, prior)

    def _fit(self, estimator, X, y, classes, _, params):
        claim = "uniform" if self.says_prior else "auto"
        estimator, prior = fit_recording(estimator, X, y, classes, claim, params)
        check_same_classes(estimator, classes)
        if self.says_prior:
            # A search may have chosen what says no prior.
            self._check_stated(_predictor(estimator))
            prior = check_positive(_predictor(estimator).target_prior_, classes)
        return estimator, prior


def check_weights(weights, n_members):
    """Return the weights of a pool as an array; None for "auto"."""
    if isinstance(weights, str):
        return None
    refuse_index(weights, "weights", "members", "loc[names]")
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (n_members,):
        raise ValueError(
            f"weights must be one number for each of {n_members} members, got an "
            f"array of shape {given.shape}."
        )
    if not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
        raise ValueError(
            f"weights must be finite numbers >= 0 that are not all 0, got {weights!r}."
        )
    return given


def log_likelihoods(proba, prior):
    """Return log p(x | c), up to a constant for each sample, in double precision."""
    proba = np.asarray(proba, dtype=np.float64)
    return np.log(np.maximum(proba, _EPSILON)) - np.log(prior)


def _predictor(estimator):
    """Return the classifier at the end of pipelines, searches and frozen ones."""
    while isinstance(estimator, Pipeline | BaseSearchCV | FrozenEstimator):
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        else:
            estimator = getattr(estimator, "best_estimator_", estimator.estimator)
    return estimator
