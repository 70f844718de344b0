"""Calibration of predicted probabilities."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.validation import _check_sample_weight

_SUM_TOLERANCE = 1e-3


@validate_params(
    {
        "y_true": ["array-like"],
        "y_prob": ["array-like"],
        "labels": ["array-like", None],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "strategy": [StrOptions({"uniform", "quantile"})],
        "kind": [StrOptions({"confidence", "classwise"})],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def expected_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    n_bins: int = 15,
    strategy: str = "uniform",
    kind: str = "confidence",
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Compute the expected calibration error.

    The confidence of a sample is its largest probability, and its predicted class the
    one that has it, the first on a tie. Samples are put into bins by confidence, and

    .. math:: \text{ECE} = \sum_b \frac{w_b}{w} \,
        \lvert \text{accuracy}_b - \text{confidence}_b \rvert,

    with means over the samples of a bin and its share of all weight [1]_. It looks at
    the predicted class only: where one class is rare, ask for the class-wise error
    [2]_, the same sum for the probability and the frequency of each class, averaged
    over the classes. Both depend on the bins: compare values of the same bins.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes.

    y_prob : array-like of shape (n_samples, n_classes)
        Predicted probabilities, as of `predict_proba`: finite, in [0, 1], and with a
        sum of 1 in each row, up to 0.001.

    labels : array-like of shape (n_classes,), default=None
        Class of each column, in sorted order, as in `estimator.classes_`. None takes
        the sorted classes of `y_true`, which must then be as many as there are columns.

    n_bins : int, default=15
        Number of bins.

    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of the same width, with their upper bound, or of about the same weight.
        Equal confidences share a bin.

    kind : {"confidence", "classwise"}, default="confidence"
        Whether to look at the predicted class, or at all classes in turn.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, not negative. To measure under another class prior than
        that of the test samples, weight those of a class with its prior over its share.

    Returns
    -------
    error : float
        In [0, 1]; lower is better.

    Raises
    ------
    ValueError
        If `y_prob` holds no probabilities, or `labels` and `y_true` do not fit it.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern
       Neural Networks", ICML 2017, `arXiv 1706.04599
       <https://arxiv.org/abs/1706.04599>`_.
    .. [2] M. Kull et al., "Beyond temperature scaling: Obtaining well-calibrated
       multiclass probabilities with Dirichlet calibration", NeurIPS 2019, `arXiv
       1910.12656 <https://arxiv.org/abs/1910.12656>`_.

    Examples
    --------
    >>> from skcvae.metrics import expected_calibration_error
    >>> y_prob = [[0.75, 0.25], [0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]
    >>> expected_calibration_error(["a", "b", "a", "b"], y_prob)
    0.25
    """
    y = check_array(y_true, ensure_2d=False, dtype=None, input_name="y_true")
    y = column_or_1d(y)
    probability = check_probabilities(y_prob)
    check_consistent_length(y, probability, sample_weight)
    classes = _check_classes(y, labels, probability.shape[1])
    weight = _check_sample_weight(
        sample_weight, probability, dtype=np.float64, ensure_non_negative=True
    )
    if not weight.any():
        raise ValueError("sample_weight must not be zero for all samples.")
    if kind == "confidence":
        predicted = classes[probability.argmax(axis=1)]
        columns = [(probability.max(axis=1), predicted == y)]
    else:
        columns = [
            (column, y == label)
            for column, label in zip(probability.T, classes, strict=True)
        ]
    bounds = _BOUNDS[strategy]
    errors = [
        _binned_error(column, observed, weight, bounds(column, weight, n_bins))
        for column, observed in columns
    ]
    return float(np.mean(errors))


def _binned_error(predicted, observed, weight, bounds):
    """Return the mean gap of prediction and observation over the bins."""
    bins = np.searchsorted(bounds, predicted)
    gaps = np.bincount(bins, weights=weight * (observed - predicted))
    return np.abs(gaps).sum() / weight.sum()


def _uniform_bounds(confidence, weight, n_bins):
    """Return the inner upper bounds of bins of the same width."""
    return np.arange(1, n_bins) / n_bins


def _quantile_bounds(confidence, weight, n_bins):
    """Return the inner upper bounds of bins of the same weight."""
    order = np.argsort(confidence)
    mass = np.cumsum(weight[order])
    # The rounding error of the sum would push a bound to the next sample.
    targets = (np.arange(1, n_bins) / n_bins - 1e-12) * mass[-1]
    return confidence[order][np.searchsorted(mass, targets)]


_BOUNDS = {"uniform": _uniform_bounds, "quantile": _quantile_bounds}


def check_probabilities(y_prob):
    """Return probabilities of classes in float64; refuse what is none."""
    y_prob = check_array(y_prob, dtype=np.float64, input_name="y_prob")
    if y_prob.min() < 0 or y_prob.max() > 1:
        raise ValueError(
            f"y_prob must be in [0, 1], got values from {y_prob.min():g} to "
            f"{y_prob.max():g}. Pass probabilities, as of predict_proba."
        )
    sums = y_prob.sum(axis=1)
    if np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise ValueError(
            f"The rows of y_prob must sum to 1, got sums from {sums.min():g} to "
            f"{sums.max():g}."
        )
    return y_prob


def _check_classes(y_true, labels, n_columns):
    """Return the class of each column of y_prob; refuse what does not fit."""
    known = np.unique(y_true)
    classes = known if labels is None else column_or_1d(labels)
    if not np.array_equal(classes, np.unique(classes)):
        raise ValueError(
            "labels must be sorted and unique, as in estimator.classes_, and the "
            "columns of y_prob in the same order."
        )
    if len(classes) != n_columns:
        raise ValueError(
            f"y_prob has {n_columns} columns, but the number of classes in "
            f"{'y_true' if labels is None else 'labels'} is {len(classes)}. Pass "
            "labels=estimator.classes_."
        )
    unknown = sorted(set(known.tolist()) - set(classes.tolist()), key=str)
    if unknown:
        raise ValueError(f"y_true holds classes that labels lacks: {unknown[:5]}.")
    return classes
