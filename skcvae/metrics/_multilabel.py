"""Scores of label sets, in which each label counts once."""

from collections.abc import Callable
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.utils import Bunch, check_array
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.validation import check_consistent_length

from .._label_sets import (
    check_label_names,
    check_same_labels,
    find_label_sets,
    label_names,
    read_label_sets,
)
from .._warnings import warn_user
from ._long_tail import check_shots, shot_groups

_SETS = ["array-like", "sparse matrix"]
_SCORES = {"Y_true": _SETS, "Y_score": ["array-like"]}
_GROUPS = {
    "Y_train": _SETS,
    "few": [Interval(Real, 0, None, closed="left")],
    "many": [Interval(Real, 0, None, closed="left")],
}


@validate_params(
    {**_SCORES, "average": [StrOptions({"macro", "micro"}), None]},
    prefer_skip_nested_validation=True,
)
def mean_average_precision_score(
    Y_true: ArrayLike, Y_score: ArrayLike, *, average: str | None = "macro"
) -> float | NDArray[np.float64]:
    """Compute the mean over labels of the average precision.

    Labels without positives in `Y_true` have no average precision and are left out.
    scikit-learn's :func:`~sklearn.metrics.average_precision_score` counts them as 0, so
    that its mean depends on how many labels the test set happens to lack.

    Parameters
    ----------
    Y_true : {array-like, sparse matrix} of shape (n_samples, n_labels)
        True label sets: 1 where a sample has the label, else 0.

    Y_score : array-like of shape (n_samples, n_labels)
        Scores, higher where the label is likelier: probabilities or decision values.

    average : {"macro", "micro"} or None, default="macro"
        "macro" counts each label once. "micro" ranks all pairs of a sample and a label
        together, so that scores must compare across labels. None returns one number
        for each label.

    Returns
    -------
    score : float or ndarray of shape (n_labels,)
        In [0, 1]; higher is better. With None, NaN for labels without positives.
        Otherwise NaN, with a warning, where no label has a positive.

    See Also
    --------
    shot_mean_average_precision : By the number of training samples of a label.

    Examples
    --------
    >>> from skcvae.metrics import mean_average_precision_score
    >>> Y_true = [[1, 0, 0], [0, 1, 0], [1, 1, 0]]
    >>> Y_score = [[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.3, 0.6, 0.4]]
    >>> round(mean_average_precision_score(Y_true, Y_score), 3)
    0.917
    """
    truth, scores = _check_scores(Y_true, Y_score)
    if average == "micro":
        if not truth.any():
            return _mean(np.array([np.nan]))
        return float(average_precision_score(truth, scores, average="micro"))
    values = _per_label(truth, scores, average_precision_score, truth.any(0))
    return values if average is None else _mean(values)


@validate_params(
    {**_SCORES, "average": [StrOptions({"macro"}), None]},
    prefer_skip_nested_validation=True,
)
def mean_roc_auc_score(
    Y_true: ArrayLike, Y_score: ArrayLike, *, average: str | None = "macro"
) -> float | NDArray[np.float64]:
    """Compute the mean over labels of the area under the ROC curve.

    Labels without positives or without negatives in `Y_true` have no such area and are
    left out. With them, scikit-learn's :func:`~sklearn.metrics.roc_auc_score` is NaN.

    Parameters
    ----------
    Y_true : {array-like, sparse matrix} of shape (n_samples, n_labels)
        True label sets: 1 where a sample has the label, else 0.

    Y_score : array-like of shape (n_samples, n_labels)
        Scores, higher where the label is likelier: probabilities or decision values.

    average : "macro" or None, default="macro"
        "macro" counts each label once; None returns one number for each label.

    Returns
    -------
    score : float or ndarray of shape (n_labels,)
        In [0, 1]; higher is better, and chance is 0.5. With None, NaN for labels that
        are left out. Otherwise NaN, with a warning, where all are left out.

    Examples
    --------
    >>> from skcvae.metrics import mean_roc_auc_score
    >>> Y_true = [[1, 0, 0], [0, 1, 0], [1, 1, 0]]
    >>> Y_score = [[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.3, 0.6, 0.4]]
    >>> mean_roc_auc_score(Y_true, Y_score)
    0.75
    """
    truth, scores = _check_scores(Y_true, Y_score)
    values = _per_label(truth, scores, roc_auc_score, truth.any(0) & ~truth.all(0))
    return values if average is None else _mean(values)


@validate_params({**_SCORES, **_GROUPS}, prefer_skip_nested_validation=True)
def shot_mean_average_precision(
    Y_true: ArrayLike,
    Y_score: ArrayLike,
    *,
    Y_train: ArrayLike,
    few: float = 20,
    many: float = 100,
) -> Bunch:
    """Compute the mean average precision of labels with many, medium and few samples.

    Parameters
    ----------
    Y_true : {array-like, sparse matrix} of shape (n_samples, n_labels)
        True label sets of the test samples.

    Y_score : array-like of shape (n_samples, n_labels)
        Scores, higher where the label is likelier.

    Y_train : {array-like, sparse matrix} of shape (n_train, n_labels)
        Label sets of the training samples, before any resampling.

    few : float, default=20
        A label of fewer positive training samples belongs to "few".

    many : float, default=100
        A label of more positive training samples belongs to "many".

    Returns
    -------
    scores : Bunch
        `overall`, `many`, `medium` and `few`, each in [0, 1]; higher is better. NaN for
        a group none of whose labels has a positive in `Y_true`. `n_labels` is a dict
        with the number of labels that each counts, and `n_left_out` the number of
        labels without positives in `Y_true`.

    See Also
    --------
    make_multilabel_shot_scorer : The same as a scorer.
    shot_accuracy_score : For one class per sample.

    Examples
    --------
    >>> from skcvae.metrics import shot_mean_average_precision
    >>> Y_true = [[1, 0, 0], [0, 1, 0], [1, 1, 0]]
    >>> Y_score = [[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.3, 0.6, 0.4]]
    >>> Y_train = [[1, 0, 1]] * 150 + [[0, 1, 0]] * 5
    >>> scores = shot_mean_average_precision(Y_true, Y_score, Y_train=Y_train)
    >>> round(scores.many, 3), scores.few, scores.n_left_out
    (0.833, 1.0, 1)
    """
    counts = read_label_sets(Y_train, "Y_train")[0].sum(0)
    check_same_labels(Y_train=Y_train, Y_true=Y_true)
    values = mean_average_precision_score(Y_true, Y_score, average=None)
    groups = _groups(counts, values, few, many)
    return Bunch(
        **{name: _nan_mean(values[kept]) for name, kept in groups.items()},
        n_labels={name: int(kept.sum()) for name, kept in groups.items()},
        n_left_out=int(np.isnan(values).sum()),
    )


@validate_params(_GROUPS, prefer_skip_nested_validation=True)
def make_multilabel_shot_scorer(
    Y_train: ArrayLike, *, few: float = 20, many: float = 100
) -> Callable:
    """Make a scorer of :func:`shot_mean_average_precision`.

    Parameters
    ----------
    Y_train : {array-like, sparse matrix} of shape (n_train, n_labels)
        Label sets whose counts make the groups: the whole `Y` that the search is fitted
        on.

    few : float, default=20
        A label of fewer positives in `Y_train` belongs to "few".

    many : float, default=100
        A label of more positives in `Y_train` belongs to "many".

    Returns
    -------
    scorer : callable
        `scorer(estimator, X, Y)` returns a dict with the keys `overall`, `many`,
        `medium` and `few`, each in [0, 1]; higher is better. NaN for a group none of
        whose labels has a positive in `Y`. The scores are those of `decision_function`,
        or of `predict_proba`, also where it returns a list of arrays, one for each
        label. It can be pickled, and holds counts instead of `Y_train`.

    See Also
    --------
    make_shot_scorer : For one class per sample.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> from sklearn.multiclass import OneVsRestClassifier
    >>> from skcvae.metrics import make_multilabel_shot_scorer
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> scorer = make_multilabel_shot_scorer(Y, few=20, many=40)
    >>> model = OneVsRestClassifier(LogisticRegression())
    >>> sorted(cross_validate(model, X, Y, scoring=scorer, cv=3))[2:]
    ['test_few', 'test_many', 'test_medium', 'test_overall']
    """
    check_shots(few, many)
    counts = read_label_sets(Y_train, "Y_train")[0].sum(0)
    return _MultilabelShotScorer(counts, label_names(Y_train), few, many)


class _MultilabelShotScorer:
    """Scorer of several metrics: average precisions by the counts of labels."""

    def __init__(self, counts, names, few, many):
        self.counts = counts
        self.names = names
        self.few = few
        self.many = many

    def __call__(self, estimator, X, Y):
        if self.names is not None:
            check_label_names(Y, self.names)
        if hasattr(estimator, "decision_function"):
            scores = estimator.decision_function(X)
        else:
            scores = estimator.predict_proba(X)
        if isinstance(scores, list):
            # A label that never varied has one column, which ranks nothing.
            scores = np.column_stack([proba[:, -1] for proba in scores])
        values = mean_average_precision_score(Y, scores, average=None)
        groups = _groups(self.counts, values, self.few, self.many)
        return {name: _nan_mean(values[kept]) for name, kept in groups.items()}


@validate_params({"Y": _SETS, "Y_generated": _SETS}, prefer_skip_nested_validation=True)
def label_set_distance(Y: ArrayLike, Y_generated: ArrayLike) -> Bunch:
    r"""Compare the label sets of real and generated samples.

    With the joint frequencies :math:`P_{kl}`, the share of samples that have both the
    labels k and l, and :math:`Q_{kl}` of the generated samples,

    .. math::
        d_\text{frequency} = \sqrt{\sum_k (P_{kk} - Q_{kk})^2}, \quad
        d_\text{cooccurrence} = \sqrt{\sum_{k < l} (P_{kl} - Q_{kl})^2}.

    Parameters
    ----------
    Y : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Real label sets.

    Y_generated : {array-like, sparse matrix} of shape (n_generated, n_labels)
        Generated ones, with the same labels.

    Returns
    -------
    distances : Bunch
        `frequency` and `cooccurrence`, both 0 where the frequencies are the same;
        `cardinality` and `generated_cardinality`, the mean numbers of labels of a
        sample; and `n_new_sets`, how many of the generated samples have a set of labels
        that no real one has. The distance of two halves of `Y` shows how much is
        chance.

    Examples
    --------
    >>> from skcvae.metrics import label_set_distance
    >>> Y = [[1, 1], [1, 0], [0, 1], [0, 0]]
    >>> distances = label_set_distance(Y, [[1, 1], [1, 1], [0, 0], [0, 0]])
    >>> distances.frequency, distances.cooccurrence, distances.n_new_sets
    (0.0, 0.25, 0)
    """
    real = read_label_sets(Y, "Y")[0]
    generated = read_label_sets(Y_generated, "Y_generated")[0]
    if not (len(real) and len(generated)):
        raise ValueError("Y and Y_generated must have at least one sample each.")
    check_same_labels(Y=Y, Y_generated=Y_generated)
    difference = _joint_frequencies(real) - _joint_frequencies(generated)
    return Bunch(
        frequency=float(np.linalg.norm(np.diag(difference))),
        cooccurrence=float(np.linalg.norm(np.triu(difference, 1))),
        cardinality=float(real.sum(1).mean()),
        generated_cardinality=float(generated.sum(1).mean()),
        n_new_sets=int((find_label_sets(generated, real) < 0).sum()),
    )


def _joint_frequencies(sets):
    sets = sets.astype(np.float64)
    return sets.T @ sets / len(sets)


def _check_scores(Y_true, Y_score):
    truth = read_label_sets(Y_true, "Y_true")[0]
    scores = check_array(Y_score, dtype=[np.float64, np.float32], input_name="Y_score")
    check_consistent_length(truth, scores)
    check_same_labels(Y_true=Y_true, Y_score=Y_score)
    return truth, scores


def _per_label(truth, scores, metric, defined):
    """Return a score for each label, NaN where it is not defined."""
    values = np.full(truth.shape[1], np.nan)
    for label in np.flatnonzero(defined):
        values[label] = metric(truth[:, label], scores[:, label])
    return values


def _mean(values):
    """Return the mean of the labels that have a value; warn where none has."""
    if np.isnan(values).all():
        warn_user("The score is NaN: Y_true has no label for which it is defined.")
    return _nan_mean(values)


def _nan_mean(values):
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan


def _groups(counts, values, few, many):
    """Return by name which labels with a score belong to a group."""
    check_same_labels(Y_train=counts[None], Y_score=values[None])
    groups = shot_groups(counts, few, many).items()
    return {name: members & ~np.isnan(values) for name, members in groups}
