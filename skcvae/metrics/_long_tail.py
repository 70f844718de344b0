"""Accuracy by the number of training samples of a class."""

from collections.abc import Callable
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_consistent_length

from .._record_sets import array_likes

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
    return _ShotScorer(_class_sizes(y_train), few, many)


class _ShotScorer:
    """Scorer of several metrics: shot-wise accuracies of what an estimator predicts."""

    def __init__(self, size_of, few, many):
        self.size_of = size_of
        self.few = few
        self.many = many

    def __call__(self, estimator, X, y):
        y_pred = estimator.predict(X)
        return _shot_accuracy(y, y_pred, self.size_of, self.few, self.many)


def _class_sizes(y_train):
    """Return a dict from label to number of samples."""
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
    groups = {
        "overall": np.ones(len(classes), dtype=bool),
        "many": sizes > many,
        "medium": (sizes >= few) & (sizes <= many),
        "few": sizes < few,
    }
    return {
        name: float(recall[members].mean()) if members.any() else np.nan
        for name, members in groups.items()
    }
