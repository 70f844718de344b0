"""Fit a classifier, and note the class prior that it was trained for."""

import inspect
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, column_or_1d
from sklearn.utils.metadata_routing import _routing_enabled, get_routing_for_object
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_method_params, _check_sample_weight

from .._several_labels import refuse_label_sets
from .._validation import are_new, check_labels, read_tensors
from ._priors import check_positive, resolve_target_prior
from ._trained_prior import Labels, UnknownPriorError, trained_prior


class _Recorder(BaseEstimator):
    """Last step of a pipeline: notes the labels that it is fitted on."""

    def __init__(self, classifier, classes):
        self.classifier = classifier
        self.classes = classes

    def fit(self, X, y, **params):
        self.labels_ = Labels.of(y, self.classes, params.get("sample_weight"))
        check_positive(self.labels_.mass, self.classes)
        self.classifier.fit(X, y, **params)
        return self

    def get_metadata_routing(self):
        return get_routing_for_object(self.classifier)


def check_passed(X, y):
    """Return samples as they are, labels, the classes and their codes."""
    check_labels(y)
    refuse_label_sets(y)
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    return read_tensors(X), y, *np.unique(y, return_inverse=True)


def split_metadata(params):
    """Return arguments of `fit` that are given, and those for the splitter of `cv`."""
    params = {name: value for name, value in params.items() if value is not None}
    groups = {n: params.pop(n) for n in ("groups",) if n in params}
    return params, groups


def copy_features(estimator, fitted):
    """Set what a fitted part tells about its features."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(fitted, name):
            setattr(estimator, name, getattr(fitted, name))


def innermost(estimator):
    """Return the pipeline whose last step is no pipeline; None without a pipeline."""
    inner = None
    while isinstance(estimator, Pipeline):
        inner, estimator = estimator, estimator.steps[-1][1]
    return inner


def _path_of_last(estimator):
    """Return the prefix of the parameters of the last step of nested pipelines."""
    path = ""
    while isinstance(estimator, Pipeline):
        name, estimator = estimator.steps[-1]
        path += f"{name}__"
    return path


def searches_sampler(estimator):
    """Tell whether an estimator is a search over a pipeline with a sampler in it."""
    return (
        isinstance(estimator, BaseSearchCV)
        and innermost(estimator.estimator) is not None
        and bool(_samplers(estimator.estimator))
    )


def passed_weight(estimator, params, X):
    """Return the sample weights that reach the classifier, or None."""
    pipeline = innermost(estimator)
    name = "sample_weight"
    if _routing_enabled() and pipeline is not None:
        last = get_routing_for_object(pipeline.steps[-1][1])
        if not last.consumes("fit", [name]):
            return None
    elif pipeline is not None:
        name = f"{_path_of_last(estimator)}sample_weight"
    if name not in params:
        return None
    if pipeline is not None and _samplers(estimator):
        raise ValueError(
            "sample_weight cannot be used with a sampler in the pipeline, whose new "
            "samples have no weight. Leave out one of them."
        )
    return _check_sample_weight(
        params[name], X, dtype=np.float64, ensure_non_negative=True
    )


def _is_unlabeled(name):
    """Tell whether an argument of `fit` holds unlabelled samples."""
    return name.split("__")[-1] == "X_unlabeled"


def check_unlabeled_arrives(estimator, params):
    """Refuse unlabelled samples that the classifier would not get, or not as it is to.

    Raise ValueError if a step of a pipeline would not transform them, or nothing is
    fitted, and TypeError if the classifier does not take them.
    """
    if not any(map(_is_unlabeled, params)):
        return
    while isinstance(estimator, Pipeline | BaseSearchCV):
        if isinstance(estimator, BaseSearchCV):
            estimator = estimator.estimator
            continue
        transforms = any(hasattr(step, "transform") for _, step in estimator.steps[:-1])
        if transforms and "X_unlabeled" not in (estimator.transform_input or ()):
            raise ValueError(
                "The steps before the classifier would not transform X_unlabeled. Turn "
                "on metadata routing of scikit-learn, call "
                "set_fit_request(X_unlabeled=True) of the classifier, and give the "
                "pipeline transform_input=['X_unlabeled']."
            )
        estimator = estimator.steps[-1][1]
    if isinstance(estimator, FrozenEstimator):
        raise ValueError(
            "X_unlabeled has no use: a classifier in a FrozenEstimator is not fitted "
            "again. Give X_unlabeled to its own fit, and leave it out here."
        )
    parameters = inspect.signature(estimator.fit).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if "X_unlabeled" not in parameters and not takes_any:
        raise TypeError(
            f"{type(estimator).__name__}.fit does not take X_unlabeled. Take a "
            "LongTailClassifier. In a pool it must be the first member, or request "
            "X_unlabeled by metadata routing."
        )


def _params_of_fold(X, params, train, X_test):
    """Return the arguments of `fit` for a fold.

    Unlabelled samples stay whole, however many they are, but for those held out.
    """
    whole = {name: params[name] for name in params if _is_unlabeled(name)}
    others = {name: params[name] for name in params if name not in whole}
    for name, unlabeled in whole.items():
        whole[name] = _safe_indexing(unlabeled, are_new(unlabeled, X_test))
    return {**_check_method_params(X, others, indices=train), **whole}


def _samplers(estimator):
    """Return all samplers in a composition."""
    values = estimator.get_params().values() if hasattr(estimator, "get_params") else []
    return [value for value in values if hasattr(value, "fit_resample")]


def samples_needed(estimator):
    """Return how many samples of a class the samplers in a composition need."""
    needed = [1]
    for sampler in _samplers(estimator):
        needed.append(2)
        for name in ("k_neighbors", "n_neighbors"):
            value = getattr(sampler, name, 1)
            # An estimator of neighbors finds the sample itself as well.
            found = value + 1 if isinstance(value, Integral) else value.n_neighbors
            needed.append(found)
    return max(needed)


def resolve_claim(claim, labels):
    """Return a trained prior that is not "auto"; "held_out" starts from "train"."""
    if isinstance(claim, str) and claim == "held_out":
        claim = "train"
    prior = resolve_target_prior(claim, labels.mass, name="trained_prior")
    return check_positive(prior, labels.classes)


def fit_recording(estimator, X, y, classes, claim, params):
    """Fit, and return the estimator with the prior that it was trained for."""
    if searches_sampler(estimator) and not params:
        estimator.fit(X, y)
        # The best pipeline is trained once more, to count what its sampler makes.
        best = clone(estimator.best_estimator_)
        estimator.best_estimator_, prior = fit_recording(
            best, X, y, classes, claim, params
        )
        return estimator, prior
    labels = Labels.of(y, classes, passed_weight(estimator, params, X))
    pipeline = innermost(estimator)
    is_auto = isinstance(claim, str) and claim == "auto"
    if not is_auto or pipeline is None:
        estimator.fit(X, y, **params)
        prior = (
            trained_prior(estimator, labels)
            if is_auto
            else resolve_claim(claim, labels)
        )
        return estimator, check_positive(prior, classes)
    name, classifier = pipeline.steps[-1]
    recorder = _Recorder(classifier, classes)
    pipeline.steps = [*pipeline.steps[:-1], (name, recorder)]
    estimator.fit(X, y, **params)
    pipeline.steps = [*pipeline.steps[:-1], (name, classifier)]
    prior = trained_prior(classifier, recorder.labels_)
    return estimator, check_positive(prior, classes)


def fit_fold(
    estimator, X, y, classes, claim, params, train, test, *, fit=fit_recording
):
    """Return the held-out indices, their probabilities and the prior of a fold."""
    X_train, y_train = _safe_split(estimator, X, y, train)
    X_test, _ = _safe_split(estimator, X, y, test, train)
    params = _params_of_fold(X, params, train, X_test)
    try:
        estimator, prior = fit(estimator, X_train, y_train, classes, claim, params)
    except ValueError as error:
        if isinstance(error, UnknownPriorError) or not _samplers(estimator):
            raise
        names, counts = np.unique(y_train, return_counts=True)
        small = np.argsort(counts, kind="stable")[:3]
        raise ValueError(
            "The classifier cannot be trained without held-out samples, where the "
            f"classes {names[small].tolist()} have {counts[small].tolist()} samples: "
            f"{error} A sampler with k_neighbors needs one sample more in each class "
            "that it fills. Let it look for fewer neighbors, or merge or drop these "
            "classes, or do without calibration."
        ) from error
    check_same_classes(estimator, classes)
    return test, estimator.predict_proba(X_test), prior


def check_same_classes(estimator, classes):
    """Refuse an estimator whose columns would be those of other classes."""
    learned = np.asarray(getattr(estimator, "classes_", classes))
    if not np.array_equal(learned, classes):
        raise ValueError(
            f"The estimator learned the classes {learned.tolist()}, but y has "
            f"{classes.tolist()}: does a sampler drop a class?"
        )
