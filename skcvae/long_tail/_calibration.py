"""Held-out parts that leave small classes whole, and calibration on them."""

import warnings
from numbers import Integral

import numpy as np
from scipy.special import logit, softmax
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import check_cv

from ._over_sampled import warn_if_over_sampled

# scikit-learn adds this to probabilities before it takes their logarithm.
_EPSILON = 1e-12


def held_out_splits(cv, X, y, codes, n_kept, groups=None):
    """Return pairs of training and held-out indices.

    Folds that we make ourselves leave `n_kept` samples of each class in the training
    part, or all of a smaller class; those of the user stay as they are. Raise
    ValueError if these hold out a sample twice or never. `groups` are for splitters
    that keep them together.
    """
    with warnings.catch_warnings():
        # Folds lack small classes, which get their samples back below.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(check_cv(cv, y, classifier=True).split(X, y, groups))
    if cv is None or isinstance(cv, Integral):
        warn_if_over_sampled(codes)
        return [_return_samples(*split, codes, n_kept) for split in splits]
    held_out = np.sort(np.concatenate([test for _, test in splits]))
    if not np.array_equal(held_out, np.arange(len(codes))):
        raise ValueError("cv must make partitions: hold out each sample exactly once.")
    return splits


def check_splits(splits, classes, codes, method):
    """Refuse folds without a class where the method, if any, needs it."""
    counts = np.bincount(codes)
    if len(classes) < 2:
        raise ValueError(
            "calibration and trained_prior='held_out' need two classes, and y has one "
            "class."
        )
    everything = np.arange(len(classes))
    lacking = np.any([~np.isin(everything, codes[t]) for t, _ in splits], axis=0)
    if lacking.any():
        raise ValueError(
            f"The classes {classes[lacking].tolist()} with {counts[lacking].tolist()} "
            "samples are missing from the training part of a fold of cv."
        )
    held_out = np.isin(everything, codes[np.concatenate([t for _, t in splits])])
    needs_all = method in ("sigmoid", "isotonic")
    if held_out.sum() < 2 or (needs_all and not held_out.all()):
        lacking = ~held_out
        raise ValueError(
            f"The classes {classes[lacking].tolist()} with {counts[lacking].tolist()} "
            f"samples are too small to hold any out, and calibration={method!r} needs "
            "held-out samples of them. Use calibration='temperature' or None, let a "
            "sampler look for fewer neighbors, or merge or drop these classes."
        )


def _return_samples(train, test, codes, n_kept):
    """Move held-out samples of small classes back to the training part."""
    kept = np.bincount(codes[train], minlength=codes.max() + 1)
    short = np.minimum(np.bincount(codes), n_kept) - kept
    held_out = codes[test]
    back = np.zeros(len(test), dtype=bool)
    for code in np.flatnonzero(short > 0):
        back[np.flatnonzero(held_out == code)[: short[code]]] = True
    return np.sort(np.concatenate([train, test[back]])), test[~back]


class _Given(ClassifierMixin, BaseEstimator):
    """Stand-in for a classifier: its probabilities are its input."""

    def __init__(self, n_classes=2):
        self.n_classes = n_classes
        self.classes_ = np.arange(n_classes)

    def fit(self, X, y, sample_weight=None):
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


class _GivenLogOdds(_Given):
    """The same with log-odds, in which a sigmoid can leave probabilities alone."""

    def decision_function(self, X):
        return X[:, 1] if self.n_classes == 2 else X


def _fit(given, X, codes, method, weight):
    everything = np.arange(len(codes))
    calibrated = CalibratedClassifierCV(
        given, method=method, cv=[(everything, everything)], ensemble=False
    )
    # The stand-in has no use for weights, and need not request them.
    with config_context(enable_metadata_routing=False):
        return calibrated.fit(X, codes, sample_weight=weight)


def fit_temperature(proba, codes, weight=None):
    """Return the inverse temperature that fits held-out probabilities best.

    Classes that no held-out sample has are left out: of those no probability can be
    checked.
    """
    seen, codes = np.unique(codes, return_inverse=True)
    proba = proba[:, seen] + _EPSILON
    proba /= proba.sum(axis=1, keepdims=True)
    fitted = _fit(_Given(len(seen)), proba, codes, "temperature", weight)
    return float(fitted.calibrated_classifiers_[0].calibrators[0].beta_)


class Temperature:
    """Calibration by one temperature for all classes."""

    def __init__(self, proba, codes, weight):
        self.inverse = fit_temperature(proba, codes, weight)

    def __call__(self, proba):
        """Return calibrated probabilities."""
        return softmax(self.inverse * np.log(proba + _EPSILON), axis=1)


class ClassWise:
    """Calibration of each class against all others, by a method of scikit-learn."""

    def __init__(self, proba, codes, weight, method):
        n_classes = proba.shape[1]
        # What n samples can tell from 0.
        self.floor = 1 / (len(codes) + 2) if method == "sigmoid" else None
        given = (_Given if self.floor is None else _GivenLogOdds)(n_classes)
        self.fitted = _fit(given, self._scores(proba), codes, method, weight)

    def _scores(self, proba):
        if self.floor is None:
            return proba
        return logit(proba.clip(self.floor, 1 - self.floor))

    def __call__(self, proba):
        """Return calibrated probabilities."""
        return self.fitted.predict_proba(self._scores(proba))


def fit_calibrator(proba, codes, weight, method):
    """Return a function that calibrates probabilities, fitted on held-out ones.

    Methods are those of :class:`sklearn.calibration.CalibratedClassifierCV`. For others
    than "temperature", each class must occur.
    """
    if method == "temperature":
        return Temperature(proba, codes, weight)
    return ClassWise(proba, codes, weight, method)


def calibrate(proba, calibrators):
    """Return probabilities after one calibration after the other."""
    for calibrator in calibrators:
        proba = calibrator(proba)
    return proba


def cross_fitted_temperature(classifier, X, y, weight, groups, seed, X_unlabeled=None):
    """Return the temperature of a LongTailClassifier, by clones trained on folds.

    It suits the logits for `target_prior_`. Of the classifier are read its parameters,
    and its classes, class counts, target prior, solver, `l2_`, `augment_`, `sampling_`
    and `variance_`. `seed` is for the clones, `X_unlabeled` for their generators.
    """
    codes = np.searchsorted(classifier.classes_, y)
    splits = held_out_splits(classifier.cv, X, y, codes, 1, groups)
    check_splits(splits, classifier.classes_, codes, classifier.calibration)
    fold = clone(classifier).set_params(
        calibration=None,
        solver=classifier.solver_,
        l2=getattr(classifier, "l2_", "auto"),
        augment=classifier.augment_,
        sampling=classifier.sampling_,
        variance=getattr(classifier, "variance_", classifier.variance),
        target_prior=classifier.target_prior_,
        random_state=seed,
        verbose=0,
    )
    probas = [
        fold.fit(
            X[train], y[train], weight[train], X_unlabeled=X_unlabeled
        ).predict_proba(X[test])
        for train, test in splits
    ]
    held_out = np.concatenate([test for _, test in splits])
    ratio = classifier.target_prior_ / classifier.class_count_
    weight = (weight * ratio[codes])[held_out]
    # Classes that the target rules out have no say.
    counted = weight > 0
    proba, codes = np.concatenate(probas)[counted], codes[held_out][counted]
    return 1 / fit_temperature(proba, codes, weight[counted] / weight.mean())
