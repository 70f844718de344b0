"""Scores in which each class counts once."""

from collections.abc import Callable
from functools import partial
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch, check_array, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_consistent_length

from .._record_sets import array_likes
from .._validation import find_codes

_GROUPS = {
    "y_train": ["array-like"],
    "few": [Interval(Real, 0, None, closed="left")],
    "many": [Interval(Real, 0, None, closed="left")],
}


@validate_params(
    {**array_likes("y_true", "y_pred"), **_GROUPS}, prefer_skip_nested_validation=True
)
def shot_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    y_train: ArrayLike,
    few: float = 20,
    many: float = 100,
) -> Bunch:
    """Compute the accuracy over classes of many, medium and few training samples.

    The recall of each class, averaged over the classes of a group, so that each class
    counts once. On a balanced test set, this is the accuracy of the group's samples.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes of the test samples.

    y_pred : array-like of shape (n_samples,)
        Predicted classes.

    y_train : array-like of shape (n_train,)
        Classes of the training samples, before any resampling.

    few : float, default=20
        A class of fewer training samples belongs to "few".

    many : float, default=100
        A class of more training samples belongs to "many".

    Returns
    -------
    scores : Bunch
        `overall`, `many`, `medium` and `few`, each in [0, 1]; higher is better. NaN
        for a group without classes.

    See Also
    --------
    make_shot_scorer : The same as a scorer for cross-validation and grid search.

    Examples
    --------
    >>> from skcvae.metrics import shot_accuracy_score
    >>> scores = shot_accuracy_score(
    ...     [0, 0, 1, 1], [0, 0, 1, 0], y_train=[0] * 150 + [1] * 5)
    >>> scores.overall, scores.many, scores.few
    (0.75, 1.0, 0.5)
    """
    return Bunch(**_shot_accuracy(y_true, y_pred, _class_sizes(y_train), few, many))


@validate_params(_GROUPS, prefer_skip_nested_validation=True)
def make_shot_scorer(
    y_train: ArrayLike, *, few: float = 20, many: float = 100
) -> Callable:
    """Make a scorer of :func:`shot_accuracy_score` for cross-validation and searches.

    The scorer returns several scores, as scikit-learn's multi-metric evaluation takes
    them: pass it as `scoring`, and name the one to select by in `refit`.

    Parameters
    ----------
    y_train : array-like of shape (n_train,)
        Classes whose sizes make the groups: the whole `y` that the search is fitted
        on. The training part of a fold is smaller, and groups by its sizes would
        depend on the number of folds.

    few : float, default=20
        A class of fewer samples in `y_train` belongs to "few".

    many : float, default=100
        A class of more samples in `y_train` belongs to "many".

    Returns
    -------
    scorer : callable
        `scorer(estimator, X, y)` returns a dict with the keys `overall`, `many`,
        `medium` and `few`, each in [0, 1]; higher is better. NaN for a group of which
        `y` has no class, and then the mean over folds is NaN, too: stratify the folds.
        It can be pickled, and holds class sizes instead of `y_train`.

    See Also
    --------
    shot_accuracy_score : The function of true and predicted classes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skcvae.datasets import make_long_tailed
    >>> from skcvae.metrics import make_shot_scorer
    >>> X, y = make_long_tailed(*load_iris(return_X_y=True), imbalance_ratio=10,
    ...                         random_state=0)
    >>> search = GridSearchCV(
    ...     LogisticRegression(max_iter=500),
    ...     {"C": [0.01, 1.0]},
    ...     scoring=make_shot_scorer(y, few=10, many=40),
    ...     refit="overall",
    ...     cv=3,
    ... ).fit(X, y)
    >>> search.best_params_
    {'C': 1.0}
    >>> search.cv_results_["mean_test_few"].round(2).tolist()
    [0.0, 0.67]
    """
    check_shots(few, many)
    return partial(_score_shots, _class_sizes(y_train), few, many)


def _score_shots(size_of, few, many, estimator, X, y):
    """Return the shot-wise accuracies of what an estimator predicts."""
    return _shot_accuracy(y, estimator.predict(X), size_of, few, many)


def _class_sizes(y_train):
    classes, counts = np.unique(column_or_1d(y_train), return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def _shot_accuracy(y_true, y_pred, size_of, few, many):
    """Return the scores of :func:`shot_accuracy_score` as a dict."""
    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    check_consistent_length(y_true, y_pred)
    correct = y_true == y_pred
    classes, codes = np.unique(y_true, return_inverse=True)
    recall = np.bincount(codes, weights=correct) / np.bincount(codes)
    sizes = np.array([size_of.get(label, 0) for label in classes.tolist()])
    return {
        name: float(recall[members].mean()) if members.any() else np.nan
        for name, members in shot_groups(sizes, few, many).items()
    }


def check_shots(few, many):
    """Refuse bounds by which a class would have few and many samples at once."""
    if few > many:
        raise ValueError(f"few={few} must not be above many={many}.")


def shot_groups(sizes, few, many):
    """Return by name which classes or labels of given sizes belong to a group."""
    check_shots(few, many)
    return {
        "overall": np.ones(len(sizes), dtype=bool),
        "many": sizes > many,
        "medium": (sizes >= few) & (sizes <= many),
        "few": sizes < few,
    }


@validate_params(
    {
        **array_likes("y_true"),
        "y_proba": ["array-like"],
        "labels": ["array-like"],
    },
    prefer_skip_nested_validation=True,
)
def balanced_log_loss(
    y_true: ArrayLike, y_proba: ArrayLike, *, labels: ArrayLike
) -> float:
    r"""Compute the log loss in which each class counts once.

    The mean over classes of the mean of :math:`-\log p(y \mid x)` over the samples of a
    class, in nats: the expected log loss for equally frequent classes. Probabilities
    are taken for such classes, as with ``target_prior="uniform"``.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes, all in `labels`. Classes without samples do not count.

    y_proba : array-like of shape (n_samples, n_classes)
        Probabilities, in the order of `labels`. Those below the smallest number above 0
        of their type count as this number.

    labels : array-like of shape (n_classes,)
        Classes of the columns: the `classes_` of the classifier.

    Returns
    -------
    loss : float
        In [0, inf); lower is better.

    See Also
    --------
    neg_balanced_log_loss_scorer : The same as a scorer, higher is better.
    sklearn.metrics.log_loss : Each sample counts once.

    Examples
    --------
    >>> from skcvae.metrics import balanced_log_loss
    >>> proba = [[0.8, 0.2], [0.8, 0.2], [0.5, 0.5]]
    >>> round(balanced_log_loss(["a", "a", "b"], proba, labels=["a", "b"]), 3)
    0.458
    """
    names, truth = column_or_1d(labels), column_or_1d(y_true)
    proba = check_array(y_proba, dtype=[np.float64, np.float32], input_name="y_proba")
    check_consistent_length(truth, proba)
    if proba.shape[1] != len(names) or len(set(names.tolist())) != len(names):
        raise ValueError(
            f"y_proba must have a column for each of the {len(names)} labels, which "
            f"must differ; it has {proba.shape[1]} columns."
        )
    codes = find_codes(truth, names)
    unknown = sorted(set(truth[codes < 0].tolist()), key=str)
    if unknown:
        raise ValueError(f"y_true has the classes {unknown[:5]}, which labels lacks.")
    chosen = proba[np.arange(len(codes)), codes].astype(np.float64)
    losses = -np.log(np.maximum(chosen, np.finfo(proba.dtype).tiny))
    count = np.bincount(codes)
    per_class = np.bincount(codes, weights=losses)[count > 0] / count[count > 0]
    return float(per_class.mean())


def neg_balanced_log_loss_scorer(
    estimator: BaseEstimator, X: ArrayLike, y: ArrayLike
) -> float:
    """Score a classifier by :func:`balanced_log_loss`, negated: higher is better.

    Pass it as `scoring` to :class:`~sklearn.model_selection.GridSearchCV`. The
    ``"neg_log_loss"`` of scikit-learn counts frequent classes more, and refuses folds
    that lack a class.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier with `predict_proba` and `classes_`.

    X : array-like of shape (n_samples, n_features)
        Test samples.

    y : array-like of shape (n_samples,)
        Their classes.

    Returns
    -------
    score : float
        At most 0.
    """
    proba = estimator.predict_proba(X)
    return -balanced_log_loss(y, proba, labels=estimator.classes_)
