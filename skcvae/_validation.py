"""Checks of what users give to estimators: samples, labels, weights."""

from collections.abc import Mapping
from datetime import date, timedelta
from numbers import Real

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    validate_data,
)

from ._warnings import warn_user

# What is not a number: kinds of arrays, types of objects, their name, and what to do.
_NO_NUMBERS = (
    (
        "SU",
        (str, bytes),
        "strings",
        "numbers with astype(float), categories with scikit-learn's OneHotEncoder",
    ),
    (
        "mM",
        (date, timedelta, np.datetime64, np.timedelta64),
        "dates or times",
        "for example the days since the first of them",
    ),
    ("", (complex,), "complex numbers", "two features, real and imaginary part"),
)
#: What `_parameter_constraints` allow as a variance.
VARIANCE_CONSTRAINT = [
    Interval(Real, 0, None, closed="left"),
    StrOptions({"auto"}),
    dict,
    "array-like",
]


def check_variance(variance, classes):
    """Return the variance of each class, shape (n_classes,); 1 for "auto".

    Raise ValueError for unknown classes, another shape, or a value below 0 or not
    finite.
    """
    if isinstance(variance, str) and variance == "auto":
        variance = 1.0
    if isinstance(variance, Mapping):
        known = set(classes.tolist())
        unknown = [label for label in variance if label not in known]
        if unknown:
            raise ValueError(f"variance names classes that y lacks: {unknown}.")
        variance = [variance.get(label, 1.0) for label in classes.tolist()]
    values = np.asarray(variance, dtype=float)
    if values.ndim and values.shape != (len(classes),):
        raise ValueError(
            f"variance must be a number, a dict or one number for each of the "
            f"{len(classes)} classes, got shape {values.shape}."
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"variance must be finite and not negative: {variance!r}.")
    return np.broadcast_to(values, len(classes))


def check_numbers(X):
    """Refuse texts and dates, which NumPy would convert silently, and name columns."""
    try:
        values = np.asarray(X)
    except TypeError:
        # Columns of dates beside numbers have no common type.
        values = np.asarray(X, dtype=object)
    for kinds, types, what, remedy in _NO_NUMBERS:
        if values.dtype.kind in kinds or (
            values.dtype == object and any(isinstance(v, types) for v in values.flat)
        ):
            raise ValueError(
                f"X contains {what}{_locate(X, values, types)}. Convert them to "
                f"numbers first: {remedy}."
            )


def _locate(X, values, types):
    """Return which columns of a data frame hold some types, as a part of a sentence."""
    if not hasattr(X, "columns"):
        return ""
    columns = [
        name
        for name, column in zip(X.columns, values.T, strict=True)
        if any(isinstance(value, types) for value in column)
    ]
    return f" in the columns {columns}"


def check_labels(y):
    """Refuse missing labels, and strings beside numbers."""
    if y is None or getattr(getattr(y, "dtype", None), "kind", "O") != "O":
        return
    labels = np.asarray(y, dtype=object).ravel().tolist()
    if any(v is None or is_pandas_na(v) or is_scalar_nan(v) for v in labels):
        raise ValueError("Input y contains missing values.")
    if len({isinstance(label, str) for label in labels}) > 1:
        raise TypeError("The labels in y must be uniformly strings or numbers.")


def encode_labels(y, classes):
    """Return the positions of labels in `classes`; refuse a label that it lacks."""
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {y.shape}.")
    codes = find_codes(y, classes)
    if (codes < 0).any():
        unseen = list(dict.fromkeys(y[codes < 0].tolist()))
        raise ValueError(f"y contains previously unseen labels: {unseen[:5]}")
    return codes


def find_codes(y, classes):
    """Return the positions of labels in `classes`, and -1 for labels that it lacks."""
    code_of = {label: code for code, label in enumerate(classes.tolist())}
    labels = y.tolist()
    try:
        codes = [code_of.get(label, -1) for label in labels]
    except TypeError:
        codes = [_find_code(label, code_of) for label in labels]
    return np.array(codes, dtype=np.intp)


def _find_code(label, code_of):
    try:
        return code_of.get(label, -1)
    except TypeError:
        # Lists cannot be looked up, and pandas.NA cannot be compared.
        return -1


def forget_fit(estimator):
    """Delete what an earlier fit learned, so that a failed fit leaves nothing."""
    for name in list(vars(estimator)):
        if name.endswith("_") and not name.startswith("_"):
            delattr(estimator, name)


def check_samples(estimator, X, y, reset=True) -> tuple[NDArray, NDArray]:
    """Validate samples and labels of an estimator; float32 and float64 are kept."""
    check_numbers(X)
    _check_targets(y)
    X, y = validate_data(
        estimator,
        X,
        y,
        reset=reset,
        dtype=[np.float64, np.float32],
        order="C",
        ensure_min_samples=2 if reset else 1,
    )
    check_finite_in_float32(X, getattr(estimator, "feature_names_in_", None))
    return X, y


def _check_targets(y):
    """Refuse labels that are no classes."""
    check_labels(y)
    check_classification_targets(y)
    if type_of_target(y).startswith("multilabel"):
        raise ValueError(
            "Multilabel targets are not supported: y must hold one class per sample."
        )


def check_unlabeled(estimator, X_unlabeled, X):
    """Return unlabelled samples in the type of checked ones, or None for None.

    Copies of samples of `X` are left out: they would count twice, and be known where
    labelled samples are held out.
    """
    if X_unlabeled is None:
        return None
    check_numbers(X_unlabeled)
    _check_feature_names(estimator, X_unlabeled, reset=False)
    unlabeled = check_array(
        X_unlabeled,
        dtype=X.dtype,
        order="C",
        ensure_min_samples=0,
        estimator=estimator,
        input_name="X_unlabeled",
    )
    _check_n_features(estimator, unlabeled, reset=False)
    check_finite_in_float32(unlabeled, getattr(estimator, "feature_names_in_", None))
    known = {sample.tobytes() for sample in X}
    is_new = [sample.tobytes() not in known for sample in unlabeled]
    return unlabeled[np.array(is_new, dtype=bool)]


def check_private_samples(estimator, X, y, classes) -> tuple[NDArray, NDArray]:
    """Validate the form of samples for a private generator, and not their values.

    An error that depends on the values of one sample would tell of it. With the list of
    `classes`, any number of samples and any label pass; `y` comes back as objects.
    Without, `y` must be as for `check_samples`, because the classes are read from it.
    """
    check_numbers(X)
    form = {"dtype": [np.float64, np.float32], "order": "C", "ensure_all_finite": False}
    if classes is None:
        _check_targets(y)
        return validate_data(estimator, X, y, **form)
    # Not an array of one type: a single string would make strings of all numbers.
    labels = column_or_1d(np.asarray(y, dtype=object), warn=True)
    X = validate_data(estimator, X, ensure_min_samples=0, **form)
    check_consistent_length(X, labels)
    return X, labels


def check_finite_in_float32(X, feature_names=None):
    """Refuse values whose differences overflow float32, in which models compute."""
    limit = np.finfo(np.float32).max / 1000
    too_large = np.flatnonzero((np.abs(X) > limit).any(axis=0))
    if len(too_large):
        names = too_large if feature_names is None else feature_names[too_large]
        raise ValueError(
            f"Input X contains a value too large for dtype('float32') in the features "
            f"{names[:5].tolist()}. Scale X first."
        )


def warn_about_zeros(X):
    """Warn about samples of zeros, which failed feature extractions leave behind."""
    n_zero = int((~X.any(axis=1)).sum())
    if n_zero:
        warn_user(
            f"{n_zero} of {len(X)} samples of X are all zeros. If a feature extraction "
            "failed on them, remove them.",
        )


def check_weighted_samples(estimator, X, y, sample_weight):
    """Return the samples of positive weight, their labels and weights.

    They must be finite, also in float32, and of more than one class.
    """
    check_numbers(X)
    check_labels(y)
    X, y = validate_data(estimator, X, y, dtype=[np.float64, np.float32], order="C")
    check_classification_targets(y)
    check_finite_in_float32(X, getattr(estimator, "feature_names_in_", None))
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    counted = weight > 0
    X, y, weight = X[counted], y[counted], weight[counted]
    n_classes = len(np.unique(y))
    if n_classes < 2:
        raise ValueError(
            f"A classifier needs at least two classes, and y has {n_classes} class."
        )
    return X, y, weight
