"""What tells good generated rows from bad ones: higher scores are better."""

from functools import partial
from inspect import signature

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator, clone

from .._class_means import make_definite
from .._scaling import scale_rows
from ..generators import ClassGaussian
from ._sources import seed_unseeded


class GaussianDensity(BaseEstimator):
    """Log-density under a Gaussian around the class mean, as ClassGaussian fits it."""

    def fit(self, X, y):
        """Estimate the shrunk class means and the covariance that they share."""
        gaussian = ClassGaussian(random_state=0).fit(X, y)
        varying = gaussian.scale_ > 0
        covariance = gaussian.covariance_[np.ix_(varying, varying)]
        self.factor_ = np.linalg.cholesky(make_definite(covariance))
        self.log_scale_ = np.log(gaussian.scale_[varying]).sum()
        self.varying_ = varying
        self.gaussian_ = gaussian
        return self

    def score_samples(self, X, y):
        """Return log p(x | y) in nats, in the units of X, over features that vary."""
        gaussian = self.gaussian_
        rows = scale_rows(np.asarray(X, float), gaussian.offset_, gaussian.scale_)
        rows = rows - gaussian.class_means_[np.searchsorted(gaussian.classes_, y)]
        whitened = solve_triangular(
            self.factor_, rows[:, self.varying_].T, lower=True, check_finite=False
        )
        squares = np.einsum("ij,ij->j", whitened, whitened)
        log_volume = np.log(np.diag(self.factor_)).sum() + self.log_scale_
        return -squares / 2 - log_volume - len(whitened) * np.log(2 * np.pi) / 2


def check_scorer(scorer):
    """Refuse estimators whose scores do not depend on the label of a row."""
    if isinstance(scorer, str) or not hasattr(scorer, "fit"):
        return
    if isinstance(scorer, type):
        raise TypeError(f"scorer must be an instance, got the class {scorer!r}.")
    if hasattr(scorer, "score_samples"):
        if "y" in signature(scorer.score_samples).parameters:
            return
        raise TypeError(
            f"score_samples of the scorer {scorer!r} must take rows and labels, X and "
            "y. Use scorer='density' for a density of each class, or a function of X "
            "and y."
        )
    if not (hasattr(scorer, "predict_proba") or hasattr(scorer, "decision_function")):
        raise TypeError(
            f"The scorer {scorer!r} must have the method score_samples(X, y), or be a "
            "classifier with predict_proba or decision_function."
        )


def open_scorer(scorer, generator, X, y, random_state):
    """Fit a scorer on the training rows.

    Parameters
    ----------
    scorer : str, estimator or callable
        As `QualityFilter` takes it.

    generator : estimator or None
        The fitted generator of the sampler.

    X, y : ndarray
        Training rows and labels.

    random_state : int, RandomState instance or None
        Seed of scorers that have none.

    Returns
    -------
    fitted : estimator or callable
        What scores.

    score : callable
        Takes rows and labels, and returns a score for each row.
    """
    if isinstance(scorer, str) and scorer == "generator":
        if not hasattr(generator, "score_samples"):
            raise TypeError(
                "scorer='generator' needs a sampler with a generator that has the "
                "method score_samples(X, y). Use another scorer."
            )
        return generator, generator.score_samples
    if isinstance(scorer, str):
        scorer = GaussianDensity()
    if not hasattr(scorer, "fit"):
        return scorer, scorer
    fitted = seed_unseeded(clone(scorer), random_state).fit(X, y)
    if hasattr(fitted, "score_samples"):
        return fitted, fitted.score_samples
    return fitted, partial(label_agreement, fitted)


def label_agreement(classifier, X, y):
    """Return what a classifier gives to the label of each row."""
    if hasattr(classifier, "predict_proba"):
        scores = classifier.predict_proba(X)
    else:
        scores = classifier.decision_function(X)
        if scores.ndim == 1:
            scores = np.column_stack([-scores, scores])
    if scores.shape[1] != len(classifier.classes_):
        raise ValueError(
            f"{type(classifier).__name__} returned {scores.shape[1]} scores for each "
            f"row, and there are {len(classifier.classes_)} classes. Use "
            "decision_function_shape='ovr', or a classifier with predict_proba."
        )
    columns = np.searchsorted(classifier.classes_, y)
    return scores[np.arange(len(X)), columns]
