"""The class prior that a classifier was trained for, by its parameters."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_class_weight

from ._priors import resolve_target_prior

#: Parameters that weight classes or set a prior, with the values that do neither.
#: Beside scikit-learn's they are those of XGBoost, LightGBM, CatBoost and skorch.
NEUTRAL = {
    "auto_class_weights": (None, "None"),
    "class_prior": (None,),
    "class_weight": (None,),
    "class_weights": (None,),
    "criterion__weight": (None,),
    "fit_prior": (True,),
    "is_unbalance": (None, False),
    "iterator_train__sampler": (None,),
    "priors": (None, "empirical"),
    "sampling_strategy": (),
    "scale_pos_weight": (None, 1),
    "target_prior": (),
    "unbalanced_sets": (None, False),
}

#: Batches of these values have the class prior of the training samples.
_AS_DRAWN = {
    "sampling": ("instance", 0),
    "remix": (False,),
    "generated_weight": (1,),
}


class UnknownPriorError(ValueError):
    """No rule tells the class prior that a classifier was trained for."""


class ChosenPriorError(UnknownPriorError):
    """The prior depends on what a search will choose."""


@dataclass
class Labels:
    """The labels that a classifier is fitted on, as far as its prior depends on them.

    `classes` are all classes, sorted, `count` the samples of each, and `mass` the sum
    of their weights.
    """

    classes: np.ndarray
    count: np.ndarray
    mass: np.ndarray

    @classmethod
    def of(cls, y, classes, sample_weight=None):
        """Count labels, all of which are in `classes`."""
        codes = np.searchsorted(classes, y)
        count = np.bincount(codes, minlength=len(classes)).astype(np.float64)
        mass = count
        if sample_weight is not None:
            mass = np.bincount(codes, sample_weight, minlength=len(classes))
        return cls(classes, count, mass)


def trained_prior(estimator, labels):
    """Return the class prior that a classifier is, or was, trained for.

    It may be composed of others. Of a fitted search the best one counts. Raise
    UnknownPriorError if a part of the classifier makes the prior unknown; it is named.
    """
    prior = np.asarray(_find(estimator, labels, ""), dtype=np.float64)
    return prior / prior.sum()


def _find(estimator, labels, path):
    """Return the unnormalised prior of an estimator, found at `path` in a whole."""
    where = f"{path}{type(estimator).__name__}"
    params = _own_params(estimator)
    if isinstance(estimator, FrozenEstimator):
        raise _unknown(where, "was trained elsewhere")
    if isinstance(estimator, ComplementNB):
        raise _unknown(where, "has scores in which no class prior is")
    # Samplers inside are checked first: some of these classes derive from others.
    if "sampling_strategy" in params:
        raise _unknown(where, "resamples inside (parameter 'sampling_strategy')")
    if "target_prior" in params:
        return _of_target(params, labels, where)
    for kind, rule in _RULES.items():
        if isinstance(estimator, kind):
            return rule(estimator, labels, f"{where} > ")
    _refuse_hidden_parts(estimator, where)
    return _prior_of_parameters(params, estimator, labels, where)


def _of_target(params, labels, where):
    """Return the prior that a classifier of this package predicts for."""
    if params["target_prior"] is None:
        raise _unknown(where, "leaves the prior to its batches (target_prior=None)")
    refuse_uncounted(params, where)
    return resolve_target_prior(params["target_prior"], labels.mass)


def refuse_uncounted(params, where):
    """Refuse a classifier that takes another prior off than its batches have.

    What is left is in its predictions, on top of `target_prior`.
    """
    correction = params.get("prior_correction", "effective")
    as_drawn = all(params.get(name) in values for name, values in _AS_DRAWN.items())
    if correction != "effective" and not (correction == "original" and as_drawn):
        reason = f"leaves a part to its batches (prior_correction={correction!r})"
        raise _unknown(where, reason)


def _own_params(estimator):
    return estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}


def _unknown(where, reason, kind=UnknownPriorError):
    return kind(
        f'trained_prior="auto" cannot tell the class distribution that {where} is '
        f"trained for: it {reason}. Pass trained_prior='uniform' if it balances the "
        "classes, 'train' if it leaves them as they are, the numbers, or 'held_out' to "
        "measure it."
    )


def is_neutral(name, value):
    """Tell whether a parameter, maybe of a part, leaves the prior alone."""
    names = [known for known in NEUTRAL if f"__{name}".endswith(f"__{known}")]
    return not names or any(value is n or value == n for n in NEUTRAL[names[0]])


def _refuse_hidden_parts(estimator, where):
    """Refuse parts of a composition for which there is no rule, if they matter."""
    if not hasattr(estimator, "get_params"):
        return
    own = _own_params(estimator)
    for name, value in estimator.get_params().items():
        if hasattr(value, "fit_resample"):
            raise _unknown(where, f"has the sampler {name!r} inside")
        if isinstance(value, FrozenEstimator):
            raise _unknown(where, f"has the part {name!r}, which was trained elsewhere")
        if name not in own and not _is_neutral_value(name, value):
            raise _unknown(where, f"has the part {name}={value!r} inside")


def _is_neutral_value(name, value):
    # An array compares elementwise: it is no neutral value.
    return is_neutral(name, value if np.ndim(value) == 0 else "array")


def _prior_of_parameters(params, estimator, labels, where):
    """Return the prior that weights, or priors given to a classifier, make."""
    set_here = {n: v for n, v in params.items() if not _is_neutral_value(n, v)}
    if isinstance(estimator, DummyClassifier) and params["strategy"] == "uniform":
        return np.ones(len(labels.classes))
    if not set_here:
        return labels.mass
    if len(set_here) > 1:
        raise _unknown(where, f"weights classes by {sorted(set_here)} at once")
    ((name, value),) = set_here.items()
    if name in ("priors", "class_prior"):
        return np.ones(len(labels.classes)) if isinstance(value, str) else value
    if name == "fit_prior":
        return np.ones(len(labels.classes))
    weight = _WEIGHTS[name](value, labels) if name in _WEIGHTS else None
    if weight is None:
        raise _unknown(where, f"weights classes by {name}={value!r}")
    return _weighted(weight, estimator, labels, where)


def _weighted(weight, estimator, labels, where):
    """Return the masses of the classes times their weights."""
    if not isinstance(weight, str):
        return labels.mass * weight
    # Some classifiers count samples to balance them, others sum their weights.
    by_count = labels.mass / labels.count
    sums_weights = isinstance(estimator, LogisticRegression | LogisticRegressionCV)
    if sums_weights or by_count.max() <= 1.05 * by_count.min():
        return np.ones(len(labels.classes))
    raise _unknown(
        where, "balances classes that differ in the mean of their sample_weight"
    )


def _class_weight(value, labels):
    """Return weights of scikit-learn, or "balanced"."""
    if isinstance(value, str):
        return "balanced"
    return compute_class_weight(value, classes=labels.classes, y=labels.classes)


def _listed_weight(value, labels):
    """Return the weights of CatBoost: a dict, or a list in the order of the classes."""
    if isinstance(value, dict):
        return _class_weight(value, labels)
    given = np.asarray(value, dtype=np.float64)
    return given if given.shape == labels.classes.shape else None


def _automatic_weight(value, labels):
    if value == "SqrtBalanced":
        return np.sqrt(labels.mass.max() / labels.mass)
    return "balanced" if value == "Balanced" else None


def _positive_weight(value, labels):
    """Return the weights of two classes, of which the second has one."""
    return np.array([1.0, value]) if len(labels.classes) == 2 else None


def _unbalance(value, labels):
    """Return the weights of LightGBM, which knows them for two classes only."""
    return "balanced" if len(labels.classes) == 2 else None


_WEIGHTS = {
    "auto_class_weights": _automatic_weight,
    "class_weight": _class_weight,
    "class_weights": _listed_weight,
    "is_unbalance": _unbalance,
    "scale_pos_weight": _positive_weight,
}


# What compositions do to the priors of their parts --------------------------------


def _of_pipeline(pipeline, labels, path):
    for name, step in pipeline.steps[:-1]:
        if hasattr(step, "fit_resample"):
            raise _unknown(f"{path}{name}", "is a sampler inside of another part")
    return _find(pipeline.steps[-1][1], labels, path)


def _of_inner(wrapper, labels, path):
    """Return the prior of the classifier whose probabilities a wrapper passes on."""
    return _find(getattr(wrapper, "estimator_", wrapper.estimator), labels, path)


def _of_search(search, labels, path):
    if hasattr(search, "best_estimator_"):
        return _find(search.best_estimator_, labels, path)
    grids = next(
        value
        for name, value in search.get_params(deep=False).items()
        if name in ("param_grid", "param_distributions")
    )
    for grid in [grids] if isinstance(grids, dict) else grids:
        for name in grid:
            # No value of a parameter is called this.
            if not is_neutral(name, "chosen"):
                raise _unknown(path[:-3], f"chooses {name!r}", ChosenPriorError)
    return _find(search.estimator, labels, path)


def _of_bagging(bagging, labels, path):
    inner = bagging.estimator
    return labels.mass if inner is None else _find(inner, labels, path)


def _of_stacking(stacking, labels, path):
    # The last classifier learns from what the others predict for held-out samples.
    last = stacking.final_estimator
    return labels.mass if last is None else _find(last, labels, path)


def _of_voting(voting, labels, path):
    members = [e for _, e in voting.estimators if not isinstance(e, str)]
    return _same(members, labels, path, "averages classifiers for different priors")


def _same(members, labels, path, reason):
    """Return the one prior of several classifiers."""
    priors = [np.asarray(_find(member, labels, path), float) for member in members]
    priors = [prior / prior.sum() for prior in priors]
    if not all(np.allclose(prior, priors[0], rtol=1e-3) for prior in priors):
        raise _unknown(path[:-3], reason)
    return priors[0]


def _of_calibrated(calibrated, labels, path):
    # One temperature for all classes mends no prior; the other methods see real labels.
    if calibrated.method != "temperature":
        return labels.mass
    reason = "has a temperature on top of a classifier for another prior"
    return _keeps_the_prior(calibrated.estimator, labels, path, reason)


def _of_boosting(boosting, labels, path):
    reason = "reweights samples that its parts weight as well"
    return _keeps_the_prior(boosting.estimator, labels, path, reason)


def _keeps_the_prior(inner, labels, path, reason):
    """Return the prior of the labels, unless the inner classifier has another."""
    inner = [] if inner is None else [inner]
    return _same([LogisticRegression(), *inner], labels, path, reason)


def _of_one_vs_rest(ovr, labels, path):
    if len(labels.classes) == 2:
        zero_one = replace(labels, classes=np.array([0, 1]))
        return _find(ovr.estimator, zero_one, path)
    reason = "weights each class against all others"
    return _keeps_the_prior(ovr.estimator, labels, path, reason)


_RULES = {
    Pipeline: _of_pipeline,
    BaseSearchCV: _of_search,
    FixedThresholdClassifier: _of_inner,
    TunedThresholdClassifierCV: _of_inner,
    RFE: _of_inner,
    BaggingClassifier: _of_bagging,
    AdaBoostClassifier: _of_boosting,
    StackingClassifier: _of_stacking,
    VotingClassifier: _of_voting,
    CalibratedClassifierCV: _of_calibrated,
    OneVsRestClassifier: _of_one_vs_rest,
}
