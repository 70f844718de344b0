"""How much better a classifier scores on its training samples than on others."""

from collections.abc import Callable

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils import Bunch
from sklearn.utils._param_validation import HasMethods, StrOptions, validate_params
from sklearn.utils.validation import check_is_fitted

from .._record_sets import array_likes


@validate_params(
    {
        "estimator": [HasMethods(["predict"])],
        **array_likes("X_train", "y_train", "X_test", "y_test"),
        "scoring": [StrOptions(set(get_scorer_names())), callable],
    },
    prefer_skip_nested_validation=True,
)
def generalization_gap(
    estimator: BaseEstimator,
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    scoring: str | Callable = "accuracy",
) -> Bunch:
    """Compute the score on training samples minus that on test samples.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier. It is not fitted again.

    X_train : array-like of shape (n_train, n_features)
        Real samples that it was fitted on. Synthetic samples are easier or harder than
        real ones, and the gap would not be one of generalization.

    y_train : array-like of shape (n_train,)
        Their classes.

    X_test : array-like of shape (n_test, n_features)
        Real samples that it was not fitted on.

    y_test : array-like of shape (n_test,)
        Their classes.

    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn. Where classes of training samples are imbalanced and
        those of test samples are not, take "balanced_accuracy": the gap is one of class
        shares, else.

    Returns
    -------
    result : Bunch
        `train_score`, `test_score`, and their difference, the `gap`: in [-1, 1] for
        accuracies, lower is better, for the same test score.

    Raises
    ------
    ValueError
        If the samples do not fit the estimator.

    NotFittedError
        If it is not fitted.

    See Also
    --------
    linear_probe : Accuracy of a head trained on synthetic samples, and under noise.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skcvae.metrics import generalization_gap
    >>> X, y = load_iris(return_X_y=True)
    >>> neighbor = KNeighborsClassifier(1).fit(X[::2], y[::2])
    >>> result = generalization_gap(neighbor, X[::2], y[::2], X[1::2], y[1::2])
    >>> round(result.train_score, 2), round(result.gap, 2)
    (1.0, 0.04)
    """
    check_is_fitted(estimator)
    score = get_scorer(scoring)
    train_score = float(score(estimator, X_train, y_train))
    test_score = float(score(estimator, X_test, y_test))
    return Bunch(
        train_score=train_score, test_score=test_score, gap=train_score - test_score
    )
