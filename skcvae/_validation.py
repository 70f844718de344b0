"""Checks of what users give to estimators: samples, labels, weights."""

from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
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

from ._class_values import refuse_index
from ._rendering import hint_channels
from ._several_labels import SEVERAL_LABELS
from ._warnings import warn_user

# What is not a number: kinds of arrays, types of objects, their name, and what to do.
_NO_NUMBERS = (
    (
        "SU",
        (str, bytes),
        "strings",
        "numbers with astype(float), categories with scikit-learn's OneHotEncoder in a "
        "ColumnTransformer. To over-sample before it, use GenerativeOverSampler("
        'categorical_features="auto")',
    ),
    (
        "mM",
        (date, timedelta, np.datetime64, np.timedelta64),
        "dates or times",
        "for example the days since the first of them",
    ),
    ("c", (complex,), "complex numbers", "two features, real and imaginary part"),
    ("", (Decimal,), "decimal numbers", "with astype(float)"),
    ("V", (np.void,), "raw bytes", "with np.frombuffer"),
)
#: What `_parameter_constraints` allow as a variance.
VARIANCE_CONSTRAINT = [
    Interval(Real, 0, None, closed="left"),
    StrOptions({"auto"}),
    dict,
    "array-like",
]
# Samples as scikit-learn's checks return them: float32 and float64 are kept.
_AS_FLOATS = {"dtype": [np.float64, np.float32], "order": "C"}


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
    refuse_index(variance, "variance")
    values = np.asarray(variance, dtype=float)
    if values.ndim and values.shape != (len(classes),):
        raise ValueError(
            f"variance must be a number, a dict or one number for each of the "
            f"{len(classes)} classes, got shape {values.shape}."
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"variance must be finite and not negative: {variance!r}.")
    return np.broadcast_to(values, len(classes))


def check_numbers(X, allow_nd=False):
    """Return samples in a container that scikit-learn's checks read without a change.

    Tensors become arrays, and sparse columns of a data frame dense ones. Raise
    ValueError for texts, dates and other values that NumPy would convert silently or
    not at all, and for images unless `allow_nd`, and TypeError for other objects.
    """
    X = read_tensors(X)
    if hasattr(X, "column_names") or (hasattr(X, "columns") and hasattr(X, "dtypes")):
        return _check_frame(X)
    if hasattr(X, "toarray"):
        # scikit-learn's checks refuse sparse matrices.
        return X
    values = read_values(X)
    if values.ndim > 2 and not allow_nd:
        shape = values.shape[1:]
        how = f"architecture=ConvBackbone(image_shape={shape}) of a generator models"
        raise ValueError(
            f"Found array with dim {values.ndim}, shape {values.shape}; an estimator "
            "expects one vector for each sample. If these are images, pass "
            "X.reshape(len(X), -1)"
            + (hint_channels(shape) or f"; {how} them as images.")
        )
    if values.dtype == object and values.ndim == 2:
        held = _examples(values)
        if not all(map(_is_number, held)):
            _refuse(enumerate(values.T))
        return _without_na(values) if any(map(is_pandas_na, held.values())) else values
    # scikit-learn's checks refuse arrays of complex numbers.
    if values.dtype.kind != "c":
        _refuse([(None, values)])
    return X if hasattr(X, "shape") else values


def read_values(X):
    """Return an array of what NumPy reads without a change; refuse all else."""
    try:
        values = np.asarray(X)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"X is no array: its samples have different lengths, or cannot be read "
            f"({error})."
        ) from error
    _refuse_containers(X, values)
    return values


def _without_na(values):
    """Return objects with NaN in place of pandas.NA, which has no float."""
    is_na = np.array([is_pandas_na(value) for value in values.flat], dtype=bool)
    return np.where(is_na.reshape(values.shape), np.nan, values)


def read_tensors(X):
    """Return a tensor, or a list of tensors, as arrays, and all else unchanged."""
    if hasattr(X, "detach"):
        return _read_tensor(X)
    if isinstance(X, list | tuple) and any(hasattr(row, "detach") for row in X):
        return [_read_tensor(row) if hasattr(row, "detach") else row for row in X]
    return X


def _read_tensor(tensor):
    """Return the values of a tensor, without its gradient."""
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        raise TypeError(
            "X is a sparse or quantized tensor, and dense samples are needed. Pass "
            "X.to_dense() or X.dequantize()."
        )
    if tensor.is_meta:
        raise TypeError("X is a tensor on the meta device, which has no values.")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    # NumPy has no bfloat16, and no float of 8 bits.
    is_known = str(tensor.dtype) in ("torch.float16", "torch.float32", "torch.float64")
    if tensor.is_floating_point() and not is_known:
        tensor = tensor.float()
    return tensor.numpy()


def _refuse_containers(X, values):
    """Refuse containers whose values NumPy does not read, or changes."""
    if values.ndim == 0 and values.dtype.kind in "OSU":
        hint = ", for example list(X)" if hasattr(X, "__next__") else ""
        raise TypeError(
            f"X is a {type(X).__name__}. Pass an array, a data frame or a list of "
            f"samples{hint}."
        )
    if values.dtype.names is not None:
        raise ValueError(
            f"X is a structured array with the fields {list(values.dtype.names)}. "
            "Pass numpy.lib.recfunctions.structured_to_unstructured(X)."
        )
    if np.ma.is_masked(X):
        raise ValueError("X is a masked array with missing values. Fill or drop them.")


def _check_frame(X):
    """Return a data frame without sparse columns; refuse what are no numbers."""
    if hasattr(X, "column_names"):
        # A table of Arrow.
        columns = zip(X.column_names, map(np.asarray, X.columns), strict=True)
    elif not hasattr(X, "iloc"):
        columns = ((name, X[name].to_numpy()) for name in X.columns)
    else:
        columns = [
            (X.columns[i], np.asarray(X.iloc[:, i]))
            for i, dtype in enumerate(X.dtypes)
            if getattr(dtype, "kind", "O") not in "fiub"
        ]
    _refuse(columns)
    return check_columns(X)


def check_columns(X):
    """Return a data frame without sparse columns; refuse two columns of one name."""
    _check_names(X)
    sparse = [i for i, t in enumerate(getattr(X, "dtypes", [])) if _is_sparse(t)]
    if sparse:
        X = X.copy()
        for i in sparse:
            X.isetitem(i, X.iloc[:, i].sparse.to_dense())
    return X


def _check_names(X):
    """Refuse a data frame without columns, or with two of one name."""
    if not X.shape[1]:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            "required: X has no columns."
        )
    counts = Counter(getattr(X, "column_names", X.columns))
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(
            f"Several columns of X have the names {repeated}. Rename them, because "
            "columns are known by their names."
        )


def _is_sparse(dtype):
    return hasattr(dtype, "subtype") and hasattr(dtype, "fill_value")


def _refuse(columns):
    """Refuse columns, pairs of a name and values, that are no numbers."""
    found = [(name, values, _types(values)) for name, values in columns]
    for kinds, types, what, remedy in _NO_NUMBERS:
        names = [
            name
            for name, values, held in found
            if values.dtype.kind in kinds or any(issubclass(t, types) for t in held)
        ]
        if names:
            where = "" if names == [None] else f" in the columns {names}"
            raise ValueError(
                f"X contains {what}{where}. Convert them to numbers first: {remedy}."
            )
    others = {
        name: sorted(t.__name__ for t in held if not _is_number(t))
        for name, _, held in found
    }
    others = {name: types for name, types in others.items() if types}
    if others:
        kinds = sorted({kind for types in others.values() for kind in types})
        raise TypeError(
            f"X contains {kinds} in the columns {list(others)}: each argument must be "
            "neither a string nor another object, but a number."
        )


def _types(values):
    """Return the types of objects in an array, apart from those of missing values."""
    examples = _examples(values).items()
    return [t for t, v in examples if v is not None and not is_pandas_na(v)]


def _examples(values):
    """Return an object of each type in an array of objects."""
    held = values.ravel().tolist() if values.dtype == object else []
    return dict(zip(map(type, held), held, strict=True))


def _is_number(kind):
    return issubclass(kind, (Real, np.bool_))


def check_labels(y):
    """Refuse missing labels, and strings beside numbers."""
    if y is None or getattr(getattr(y, "dtype", None), "kind", "O") != "O":
        return
    labels = np.asarray(y, dtype=object).ravel().tolist()
    if any(v is None or is_pandas_na(v) or is_scalar_nan(v) for v in labels):
        raise ValueError("Input y contains missing values.")
    if len({isinstance(label, str) for label in labels}) > 1:
        raise TypeError("The labels in y must be uniformly strings or numbers.")


def encode_labels(y, classes, name="y"):
    """Return the positions of labels in `classes`; refuse a label that it lacks."""
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(
            f"{name} should be a 1d array, got an array of shape {y.shape}."
        )
    codes = find_codes(y, classes)
    if (codes < 0).any():
        unseen = list(dict.fromkeys(y[codes < 0].tolist()))
        raise ValueError(f"{name} contains previously unseen labels: {unseen[:5]}")
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


@contextmanager
def fitting(estimator):
    """Forget an earlier fit, and this one if it fails.

    What an interrupted training has left after an epoch is kept.
    """
    forget_fit(estimator)
    try:
        yield
    except BaseException as error:
        is_trained = hasattr(estimator, "net_") or hasattr(estimator, "module_")
        if not (isinstance(error, KeyboardInterrupt) and is_trained):
            forget_fit(estimator)
        raise


def check_samples(
    estimator, X, y, reset=True, min_samples=2
) -> tuple[NDArray, NDArray]:
    """Validate samples and labels of an estimator; a fit takes `min_samples`."""
    X = check_numbers(X)
    check_targets(y)
    least = min_samples if reset else 1
    X, y = validate_data(
        estimator, X, y, reset=reset, ensure_min_samples=least, **_AS_FLOATS
    )
    check_finite_in_float32(X, getattr(estimator, "feature_names_in_", None))
    return X, y


def check_samples_alone(estimator, X, reset=False) -> NDArray:
    """Validate samples of an estimator that come without labels, as the others."""
    X, least = check_numbers(X), 2 if reset else 1
    X = validate_data(estimator, X, reset=reset, ensure_min_samples=least, **_AS_FLOATS)
    check_finite_in_float32(X, getattr(estimator, "feature_names_in_", None))
    return X


def check_targets(y):
    """Refuse labels that are no classes."""
    check_labels(y)
    check_classification_targets(y)
    if type_of_target(y).startswith("multilabel"):
        raise ValueError(SEVERAL_LABELS)


def check_unlabeled(estimator, X_unlabeled, X):
    """Return unlabelled samples in the type of checked ones, or None for None.

    Copies of samples of `X` are left out: they would count twice, and be known where
    labelled samples are held out.
    """
    if X_unlabeled is None:
        return None
    X_unlabeled = check_numbers(X_unlabeled)
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
    return unlabeled[are_new(unlabeled, X)]


def are_new(samples, X):
    """Return a mask of the samples that are not in X; all, where X is no table."""
    X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "fiu":
        return np.ones(len(samples), dtype=bool)
    known = {sample.tobytes() for sample in X}
    samples = np.asarray(samples, dtype=X.dtype)
    is_new = [sample.tobytes() not in known for sample in samples]
    return np.array(is_new, dtype=bool)


def check_private_samples(estimator, X, y, classes) -> tuple[NDArray, NDArray]:
    """Validate the form of samples for a private generator, and not their values.

    An error that depends on the values of one sample would tell of it. With the list of
    `classes`, any number of samples and any label pass; `y` comes back as objects.
    Without, `y` must be as for `check_samples`, because the classes are read from it.
    """
    X = check_numbers(X)
    form = {**_AS_FLOATS, "ensure_all_finite": False}
    if classes is None:
        check_targets(y)
        return validate_data(estimator, X, y, **form)
    # Not an array of one type: a single string would make strings of all numbers.
    labels = column_or_1d(np.asarray(y, dtype=object), warn=True)
    X = validate_data(estimator, X, ensure_min_samples=0, **form)
    check_consistent_length(X, labels)
    return X, labels


def check_validation(estimator, X, y):
    """Return validation samples of the user for a fit, and the codes of their labels.

    The estimator has `n_features_in_` and `classes_` of the training samples.
    """
    X = check_numbers(X)
    if hasattr(estimator, "feature_names_in_"):
        _check_feature_names(estimator, X, reset=False)
    X = check_array(X, dtype=[np.float64, np.float32], input_name="X_val")
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"The validation samples of net_params['train_split'] have {X.shape[1]} "
            f"features, and the training samples {estimator.n_features_in_}."
        )
    check_finite_in_float32(X)
    return X, encode_labels(y, estimator.classes_, "y_val")


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
    warn_about_number_of_zeros(count_zeros(X), len(X))


def count_zeros(X):
    """Return the number of samples that are all zeros."""
    return int((~X.any(axis=1)).sum())


def warn_about_number_of_zeros(n_zero, n_samples):
    """Warn if samples are all zeros."""
    if n_zero:
        warn_user(
            f"{n_zero} of {n_samples} samples of X are all zeros. If a feature "
            "extraction failed on them, remove them.",
        )


def check_weighted_samples(estimator, X, y, sample_weight):
    """Return the samples of positive weight, their labels and weights.

    They must be finite, also in float32, and of more than one class.
    """
    X, y = check_samples(estimator, X, y, min_samples=1)
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    counted = weight > 0
    X, y, weight = X[counted], y[counted], weight[counted]
    check_two_classes(np.unique(y))
    return X, y, weight


def check_two_classes(classes):
    """Refuse fewer than two classes."""
    if len(classes) < 2:
        raise ValueError(
            f"A classifier needs at least two classes, and y has {len(classes)} class."
        )
