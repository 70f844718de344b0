"""The contracts of scikit-learn and imbalanced-learn, and faulty input, for all."""

import inspect
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from imblearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
)
from imblearn.utils.estimator_checks import (
    parametrize_with_checks as parametrize_with_imblearn_checks,
)
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

import skcvae
from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, KSameAnonymizer
from skcvae.generators import (
    CGAN,
    CVAE,
    VAE,
    ClassGaussian,
    DPClassGaussian,
    TableGenerator,
)
from skcvae.long_tail import KernelNeighborsClassifier, LongTailClassifier
from skcvae.over_sampling import (
    CVAEOverSampler,
    GenerativeOverSampler,
    HeadTailFusionSampler,
    RemixSampler,
)
from skcvae.over_sampling._base import BaseGenerativeOverSampler

FAST = {
    "max_epochs": 1,
    "latent_dim": 2,
    "device": "cpu",
    "net_params": {"module__hidden_dim": 16},
}
# Classes of the common checks have few samples.
ALLOW = {"small_classes": "allow"}
# Parameters of the classes that are slow without them, or need some.
PARAMETERS = {
    "CGAN": FAST,
    "CVAE": FAST,
    "CVAEAnonymizer": FAST | ALLOW,
    "CVAEOverSampler": FAST,
    "DPCVAE": {
        "max_epochs": 1,
        "batch_size": 20,
        "hidden_dim": 4,
        "latent_dim": 2,
        "device": "cpu",
    },
    "EnsembleOverSampler": {
        "samplers": [("remix", RemixSampler()), ("gaussian", GenerativeOverSampler())],
    },
    "FlowMatching": {name: FAST[name] for name in FAST if name != "latent_dim"},
    "HeadTailFusionSampler": {
        "n_groups": 4,
        "group_size": 2,
        "n_generations": 1,
        "imitation_steps": 2,
        "interaction_steps": 4,
        "device": "cpu",
        "net_params": {"module__hidden_dim": 16},
    },
    "GenerativeAnonymizer": ALLOW,
    "KSameAnonymizer": {"k": 2, **ALLOW},
    "LatentVariationOverSampler": {"generator": CVAE(**FAST)},
    # One step of Adam changes a weight by lr: twenty small ones learn nothing.
    "LongTailClassifier": {"max_epochs": 10, "lr": 0.1, "device": "cpu"},
    "LogLinearPool": {
        "estimators": [
            ("classifier", LongTailClassifier(max_epochs=10, lr=0.1, device="cpu")),
            ("neighbors", KernelNeighborsClassifier()),
        ],
        "cv": 2,
    },
    "PriorCorrectedClassifier": {"estimator": LogisticRegression(max_iter=2000)},
    "ProgressiveOverSampler": {
        "steps": [("remix", RemixSampler()), ("gaussian", GenerativeOverSampler())],
        "limits": {"remix": 1},
    },
    "QualityFilter": {"quantile": 0.5},
    "ResampledClassifier": {
        "sampler": GenerativeOverSampler(random_state=0),
        "classifier": LogisticRegression(),
    },
    "VAE": FAST,
}
# Public estimators that the checks of this file cannot read, with the reason.
LEFT_OUT = {
    "MultilabelOverSampler": "y holds label sets: see test_multilabel_over_sampling.py",
    "FoundationEmbedder": "it reads images: see test_embedder.py",
    "LatentAutoencoder": "it reads images: see test_latent_autoencoder.py",
    "MultilabelLongTailClassifier": (
        "it takes label sets: see test_multilabel_classifier.py"
    ),
    "TextEmbedder": "it reads texts: see test_text.py",
    "ViewOverSampler": "it reads images: see test_views.py",
}


def public_estimators():
    """Return the classes with `fit` that any part of the package makes public.

    Abstract classes are left out: their subclasses are checked.
    """
    parts = filter(inspect.ismodule, (getattr(skcvae, name) for name in skcvae.__all__))
    found = [getattr(part, name) for part in parts for name in part.__all__]
    return [
        cls
        for cls in found
        if inspect.isclass(cls) and hasattr(cls, "fit") and not inspect.isabstract(cls)
    ]


def make(cls):
    """Return an instance that trains fast, with a seed if it takes one."""
    has_seed = "random_state" in inspect.signature(cls).parameters
    seed = {"random_state": 0} if has_seed else {}
    return cls(**PARAMETERS.get(cls.__name__, {}), **seed)


def those_with(name, estimators):
    return [estimator for estimator in estimators if hasattr(estimator, name)]


EVERYTHING = [make(c) for c in public_estimators() if c.__name__ not in LEFT_OUT]
SAMPLERS = those_with("fit_resample", EVERYTHING)
CLASSIFIERS = those_with("predict_proba", EVERYTHING)
ANONYMIZERS = those_with("fit_transform", EVERYTHING)
# Those of differential privacy add too much noise to so few samples to learn them.
PRIVATE = [e for e in EVERYTHING if e.get_params().get("epsilon") is not None]
# What draws samples for labels: generators, and anonymizers that have one.
DRAWING = [e for e in those_with("sample", EVERYTHING) if e not in PRIVATE]
GENERATORS = [e for e in DRAWING if e not in ANONYMIZERS]
ESTIMATORS = DRAWING + SAMPLERS
GENERATIVE_SAMPLERS = [e for e in SAMPLERS if isinstance(e, BaseGenerativeOverSampler)]
# What trains on the samples in fit: other samplers do so in fit_resample.
TRAINED = [e for e in EVERYTHING if e not in SAMPLERS] + GENERATIVE_SAMPLERS
# A table of booleans or zeros holds categories: these are no numbers to be read.
NUMERIC = [e for e in TRAINED if not isinstance(e, TableGenerator)]
SEEDED = [e for e in EVERYTHING if "random_state" in e.get_params()]
# A warning would tell of private samples, and k-Same moves no sample for its zeros.
SILENT = [*PRIVATE, *(e for e in EVERYTHING if isinstance(e, KSameAnonymizer))]
# A meta-estimator leaves the checks of X to the estimator inside.
CHECKING = [e for e in EVERYTHING if not isinstance(e, MetaEstimatorMixin)]
PRIVATE_WITH_CLASSES = [clone(e).set_params(classes=[0, 1, 2]) for e in PRIVATE]
PRIVATE_WRAPPERS = [
    CVAEAnonymizer(
        epsilon=8.0,
        delta=1e-5,
        dp_params={"hidden_dim": 4},
        latent_dim=2,
        max_epochs=1,
        batch_size=20,
        device="cpu",
        random_state=0,
    ),
    GenerativeAnonymizer(DPClassGaussian(), random_state=0),
    GenerativeOverSampler(DPClassGaussian(), random_state=0),
]

CLOSED_FORM = [
    clone(e).set_params(max_epochs="auto", lr=2e-3)
    for e in EVERYTHING
    if type(e).__name__ == "LongTailClassifier"
]
_IDENTITY = "transform is the identity: fit_transform(X, y) is not fit(X, y).transform"
_TRANSFORMER_FAILURES = {
    "check_transformer_general": _IDENTITY,
    "check_transformer_data_not_an_array": _IDENTITY,
}
_LABELS_NEEDED = "score_samples(X, y) scores labelled rows"
SKLEARN_EXPECTED_FAILURES = {
    "CGAN": {
        "check_methods_sample_order_invariance": _LABELS_NEEDED,
        "check_methods_subset_invariance": _LABELS_NEEDED,
    },
    "CVAEAnonymizer": _TRANSFORMER_FAILURES,
    "GenerativeAnonymizer": _TRANSFORMER_FAILURES,
    "KSameAnonymizer": _TRANSFORMER_FAILURES,
    "ResampledClassifier": {
        "check_sample_weight_equivalence_on_dense_data": (
            "weights are those of samples to train on, and not numbers of samples: "
            "they do not change how many are generated"
        )
    },
    "LongTailClassifier": {
        "check_sample_weight_equivalence_on_dense_data": "batches are drawn at random"
    },
}
_ANY_NUMBER = "an error for no samples would tell a single sample from none"


def expected_failures(estimator):
    """Return the checks of scikit-learn that an estimator fails, and why."""
    name = type(estimator).__name__
    failures = SKLEARN_EXPECTED_FAILURES.get(name, {})
    if name == "LongTailClassifier" and estimator.max_epochs == "auto":
        reason = "splits choose the ridge, and repeated samples are in several parts"
        failures = dict.fromkeys(failures, reason)
    if getattr(estimator, "classes", None) is not None:
        failures = {"check_estimators_empty_data_messages": _ANY_NUMBER, **failures}
    return failures


X = np.random.RandomState(0).normal(size=(40, 4))
y = np.repeat([0, 1, 2], [25, 10, 5])
PROBES = np.random.RandomState(1).normal(size=(30, 4))
FRAME = pd.DataFrame(X, columns=list("abcd"))
LETTERS = pd.Series(y).map({0: "a", 1: "b", 2: "c"})

# The nets of this file train for one step, and privacy needs more rows than these.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The C?VAE uses none of its latent",
    "ignore:The generator has",
    "ignore:classes=None takes the labels",
    "ignore:For .* classes the noise",
    "ignore:.*needs a noise multiplier",
)


def name_of(value):
    return type(value).__name__ if hasattr(value, "get_params") else None


def for_each(estimators):
    return pytest.mark.parametrize("estimator", estimators, ids=name_of)


def imblearn_checks(samplers):
    """Parametrize as imbalanced-learn does, with the list that pytest 9 asks for."""
    mark = parametrize_with_imblearn_checks(samplers)
    names, checks = mark.args
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)


def draw(estimator, X, y):
    """Fit, and return generated rows and labels, for samplers after the real ones.

    Classifiers return probabilities and predictions.
    """
    if hasattr(estimator, "fit_resample"):
        return estimator.fit_resample(X, y)
    if hasattr(estimator, "predict_proba"):
        estimator.fit(X, y)
        return estimator.predict_proba(X), estimator.predict(X)
    if hasattr(estimator, "fit_transform"):
        return estimator.fit_transform(X, y), np.asarray(y).ravel()
    return estimator.fit(X, y).sample(y=np.ravel(y))


def draw_again(estimator):
    """Return what an estimator that is fitted makes: rows, or probabilities."""
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(PROBES[:, : estimator.n_features_in_])
    generator = getattr(estimator, "generator_", estimator)
    if hasattr(generator, "sample"):
        return generator.sample(30)[0]
    return draw(clone(estimator), X, y)[0]


def test_every_public_estimator_is_in_these_checks():
    checked = [type(estimator).__name__ for estimator in EVERYTHING]
    kinds = SAMPLERS + CLASSIFIERS + ANONYMIZERS + PRIVATE + GENERATORS
    assert {cls.__name__ for cls in public_estimators()} == {*checked, *LEFT_OUT}
    assert len(checked) == len(set(checked))
    assert PARAMETERS.keys() <= set(checked)
    assert sorted(kinds, key=id) == sorted(EVERYTHING, key=id)


@pytest.mark.filterwarnings("ignore:transform anonymizes nothing")
@parametrize_with_checks(
    [*EVERYTHING, *CLOSED_FORM, *PRIVATE_WITH_CLASSES, *PRIVATE_WRAPPERS],
    expected_failed_checks=expected_failures,
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@imblearn_checks(SAMPLERS)
def test_imblearn_checks(estimator, check):
    check(estimator)


@for_each(EVERYTHING)
def test_every_parameter_is_validated(estimator):
    check_param_validation(type(estimator).__name__, estimator)


# The check calls score_samples without the labels that a CGAN needs.
@for_each([e for e in EVERYTHING if not isinstance(e, CGAN)])
@pytest.mark.filterwarnings("ignore:transform anonymizes nothing")
def test_column_names_are_kept_and_checked(estimator):
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)


@for_each([*EVERYTHING, *CLOSED_FORM])
def test_pickle_of_a_fitted_estimator_draws_the_same_bits(estimator):
    fitted = clone(estimator).fit(X, y)
    restored = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(draw_again(restored), draw_again(fitted))
    assert_array_equal(draw(restored, X, y)[0], draw(fitted, X, y)[0])


@for_each([*EVERYTHING, *CLOSED_FORM])
def test_clone_of_a_fitted_estimator_is_unfitted_and_equivalent(estimator):
    copied = clone(clone(estimator).fit(X, y))
    with pytest.raises(NotFittedError):
        check_is_fitted(copied)
    assert_array_equal(draw(copied, X, y)[0], draw(clone(estimator), X, y)[0])


@for_each(SEEDED)
def test_same_seed_gives_same_bits(estimator):
    first = clone(estimator)
    expected = draw(first, X, y)[0]
    assert_array_equal(draw(clone(estimator), X, y)[0], expected)
    assert_array_equal(draw(first, X, y)[0], expected)
    assert_array_equal(draw_again(first), draw_again(first))
    other_seed = clone(estimator).set_params(random_state=1)
    assert not np.array_equal(draw(other_seed, X, y)[0], expected)


@for_each(SEEDED)
def test_seed_may_be_a_random_state_but_not_a_numpy_generator(estimator):
    runs = [
        draw(clone(estimator).set_params(random_state=seed), X, y)[0]
        for seed in (np.random.RandomState(3), np.random.RandomState(3))
    ]
    assert_array_equal(*runs)
    with pytest.raises(ValueError, match="'random_state' parameter"):
        estimator = clone(estimator).set_params(random_state=np.random.default_rng(0))
        estimator.fit(X, y)


@for_each(EVERYTHING)
def test_global_random_states_are_left_alone(estimator, random_states):
    before = random_states()
    fitted = clone(estimator)
    draw(fitted, X, y)
    fitted.fit(X, y)
    draw_again(fitted)
    assert random_states() == before


@for_each(SEEDED)
def test_without_a_seed_fits_differ_and_torch_is_left_alone(estimator):
    unseeded = clone(estimator).set_params(random_state=None)
    before = torch.get_rng_state()
    assert not np.array_equal(draw(unseeded, X, y)[0], draw(unseeded, X, y)[0])
    if estimator in ESTIMATORS:
        assert not np.array_equal(draw_again(unseeded), draw_again(unseeded))
    assert torch.equal(torch.get_rng_state(), before)


@for_each(EVERYTHING)
def test_refit_equals_a_fresh_fit(estimator):
    refitted = clone(estimator)
    if estimator in SEEDED:
        refitted.set_params(random_state=1)
    draw(refitted, X[:, :3] * 5, np.tile([7, 8], 20))
    refitted.set_params(**estimator.get_params(deep=False))
    assert_array_equal(draw(refitted, X, y)[0], draw(clone(estimator), X, y)[0])
    fresh = clone(estimator).fit(X, y)
    refitted.fit(X, y)
    assert vars(refitted).keys() == vars(fresh).keys()
    assert_array_equal(draw_again(refitted), draw_again(fresh))


@for_each(EVERYTHING)
def test_threads_do_not_disturb_each_other(estimator):
    fitted = clone(estimator).fit(X, y)
    expected = draw_again(fitted)
    expected_fit = draw(clone(estimator), X, y)[0]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: draw_again(fitted), range(8)))
        fits = list(pool.map(lambda _: draw(clone(estimator), X, y)[0], range(4)))
    for rows in drawn:
        assert_array_equal(rows, expected)
    for rows in fits:
        assert_array_equal(rows, expected_fit)


def with_value(value, array=X):
    array = array.copy()
    array[7, 2] = value
    return array


def with_label(label):
    return np.array([label, *LETTERS[1:]], dtype=object)


MULTILABEL = np.column_stack([y == 0, y <= 1]).astype(int)
_SEVERAL = "several labels|0 and 1 alone|1d array"
REFUSED = {
    "NaN": (with_value(np.nan), y, ValueError, "Input X contains NaN"),
    "inf": (with_value(np.inf), y, ValueError, "contains infinity"),
    "-inf": (with_value(-np.inf), y, ValueError, "contains infinity"),
    "beyond float32": (with_value(1e300), y, ValueError, r"float32.*\[2\]"),
    "beyond float32, frame": (
        FRAME.assign(c=1e300),
        y,
        ValueError,
        r"float32.*\['c'\]",
    ),
    "differences beyond float32": (
        (X * 1e38).astype(np.float32),
        y,
        ValueError,
        "too large",
    ),
    "strings": (X.astype(str), y, ValueError, "contains strings"),
    "objects of strings": (
        X.astype(str).astype(object),
        y,
        ValueError,
        "contains strings",
    ),
    "lists of strings": (X.astype(str).tolist(), y, ValueError, "contains strings"),
    "column of strings": (FRAME.assign(c=str(5)), y, ValueError, "contains strings"),
    "complex": (X + 1j, y, ValueError, "Complex data not supported"),
    "1-D": (X[:, 0], y, ValueError, "Expected 2D array.*[\\s\\S]*Reshape"),
    "series": (FRAME["a"], y, ValueError, "Expected a 2-dimensional container"),
    "3-D": (X[:, :, None], y, ValueError, "Found array with dim 3"),
    "no samples": (X[:0], y[:0], ValueError, "0 sample"),
    "no features": (X[:, :0], y, ValueError, "0 feature"),
    "one sample": (X[:1], y[:1], ValueError, "minimum of 2|at least two classes"),
    "mixed objects in y": (X, with_label(3), TypeError, "uniformly strings or numbers"),
    "mixed list as y": (
        X,
        [3, *LETTERS[1:]],
        TypeError,
        "uniformly strings or numbers",
    ),
    "continuous y": (X, X[:, 0], ValueError, "continuous"),
    "NaN in y": (X, np.where(y == 2, np.nan, y), ValueError, "y contains NaN"),
    "NaN label": (X, with_label(np.nan), ValueError, "y contains missing"),
    "None in y": (X, with_label(None), ValueError, "y contains missing"),
    "None in list as y": (X, [None, *y[1:]], ValueError, "y contains missing"),
    "NA in y": (X, LETTERS.astype("string").where(y < 2), ValueError, "y contains"),
    "NA number in y": (X, pd.Series(y).astype("Int64").where(y < 2), ValueError, "NaN"),
    "no y": (X, None, ValueError, "None"),
    "multilabel": (X, MULTILABEL, ValueError, _SEVERAL),
    "multilabel list": (X, MULTILABEL.tolist(), ValueError, _SEVERAL),
    "multioutput": (X, np.column_stack([y, y]), ValueError, _SEVERAL),
    "NA in X": (
        FRAME.astype("Float64").where(X < 2),
        y,
        ValueError,
        "Input X contains NaN",
    ),
    "sparse": (sparse.csr_matrix(X), y, TypeError, r"\.toarray\(\)"),
    "lengths differ": (X, y[1:], ValueError, "inconsistent numbers of samples"),
}


# Tables hold missing values and categories, and ranks have no unit.
TAKEN_BY_TABLES = {
    "NaN",
    "NA in X",
    "beyond float32",
    "beyond float32, frame",
    "differences beyond float32",
    "strings",
    "objects of strings",
    "lists of strings",
    "column of strings",
}

# Private generators replace such values: see tests/test_private_fits.py.
TAKEN_BY_PRIVATE = {
    "NaN",
    "inf",
    "-inf",
    "beyond float32",
    "beyond float32, frame",
    "differences beyond float32",
    "one sample",
    "NA in X",
}


@for_each(CHECKING)
@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")
def test_faulty_input_is_refused_and_leaves_the_estimator_unfitted(estimator, fault):
    if fault == "3-D" and isinstance(estimator, HeadTailFusionSampler):
        pytest.skip("reads maps")
    if fault in TAKEN_BY_PRIVATE and estimator in PRIVATE:
        pytest.skip("an error would tell of a sample")
    if fault.startswith("multilabel") and takes_label_sets(estimator):
        pytest.skip("they take label sets: see tests/test_label_sets.py")
    if fault in TAKEN_BY_TABLES and isinstance(estimator, TableGenerator):
        pytest.skip("tables hold such values: see tests/test_tables.py")
    X_faulty, y_faulty, error, message = REFUSED[fault]
    estimator = clone(estimator).fit(X, y)
    with pytest.raises(error, match=message):
        draw(estimator, X_faulty, y_faulty)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


def takes_label_sets(estimator):
    """Tell whether it is a generator of label sets, or an anonymizer around one."""
    if isinstance(estimator, GenerativeAnonymizer):
        return estimator.generator is None or takes_label_sets(estimator.generator)
    return type(estimator) in (ClassGaussian, CVAE)


def read_only_memmap(folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


EQUIVALENT = {
    "objects": lambda folder: (X.astype(object), y),
    "y as a column vector": lambda folder: (X, y[:, None]),
    "Float64": lambda folder: (FRAME.astype("Float64"), y),
    "double[pyarrow]": lambda folder: (FRAME.astype("double[pyarrow]"), y),
    "Int64 y": lambda folder: (X, pd.Series(y, dtype="Int64")),
    "categorical y": lambda folder: (X, pd.Series(y, dtype="category")),
    "read-only memmap": lambda folder: (read_only_memmap(folder), y),
    "Fortran order": lambda folder: (np.asfortranarray(X), y),
    "strides": lambda folder: (
        np.repeat(X, 2, axis=1)[:, ::2],
        np.repeat(y, 2)[::2],
    ),
    "negative strides": lambda folder: (X[::-1].copy()[::-1], y[::-1].copy()[::-1]),
    "byte order": lambda folder: (X.astype(">f8"), y),
    "lists": lambda folder: (X.tolist(), y.tolist()),
}


@for_each(EVERYTHING)
@pytest.mark.parametrize("fault", EQUIVALENT)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_other_containers_give_the_same_rows(estimator, fault, tmp_path):
    expected, _ = draw(clone(estimator), X, y)
    drawn, labels = draw(clone(estimator), *EQUIVALENT[fault](tmp_path))
    assert_array_equal(np.asarray(drawn, dtype=float), expected)
    assert np.ndim(labels) == 1


@for_each(DRAWING)
def test_y_as_a_column_vector_warns(estimator):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        clone(estimator).fit(X, y[:, None])


@for_each(GENERATORS)
def test_polars_is_read_by_generators(estimator):
    drawn, labels = draw(clone(estimator), pl.DataFrame(X), pl.Series(y))
    assert_array_equal(drawn, draw(clone(estimator), X, y)[0])
    assert_array_equal(labels, y)


@for_each([e for e in NUMERIC if not hasattr(e, "sampler")])
@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.uint8, bool])
def test_integers_booleans_and_half_floats_are_read_as_numbers(estimator, dtype):
    numbers = (10 * X + 50).astype(dtype)
    numbers[:, 0] = X[:, 0] > 0
    fitted = clone(estimator).fit(numbers, y)
    expected = clone(estimator).fit(numbers.astype(np.float64), y)
    assert_array_equal(draw_again(fitted), draw_again(expected))


@for_each(DRAWING)
def test_single_class_is_learned(estimator):
    estimator = clone(estimator)
    if "max_epochs" in estimator.get_params():
        estimator.set_params(max_epochs=100)
    rows, labels = estimator.fit(X, np.full(40, "only")).sample(2000)
    assert set(labels) == {"only"}
    np.testing.assert_allclose(rows.mean(axis=0), X.mean(axis=0), atol=0.2)


@for_each([e for e in CLASSIFIERS if e in CHECKING])
def test_classifiers_refuse_a_single_class(estimator):
    with pytest.raises(ValueError, match="at least two classes, and y has 1 class"):
        clone(estimator).fit(X, np.zeros(40, dtype=int))


@for_each(SAMPLERS)
def test_samplers_refuse_a_single_class(estimator):
    with pytest.raises(ValueError, match="more than 1 class"):
        clone(estimator).fit_resample(X, np.zeros(40, dtype=int))


@for_each(ESTIMATORS)
@pytest.mark.parametrize("constant", [0.0, 0.1, -3e7])
def test_constant_feature_stays_constant(estimator, constant):
    rows, _ = draw(clone(estimator), with_column(constant), y)
    assert set(rows[:, 1]) == {constant}
    assert rows[:, 0].std() > 0.5


@for_each(ESTIMATORS)
def test_constant_features_stay_constant_where_all_are(estimator):
    rows, _ = draw(clone(estimator), np.full((40, 4), 0.1), y)
    assert set(rows.ravel()) == {0.1}


@for_each(ESTIMATORS)
def test_nearly_constant_feature_stays_narrow(estimator):
    rows, _ = draw(clone(estimator), with_column(5 + 1e-12 * X[:, 1]), y)
    assert np.ptp(rows[:, 1]) < 1e-5
    assert rows[:, 0].std() > 0.5


def with_column(values):
    rows = X.copy()
    rows[:, 1] = values
    return rows


@for_each([e for e in NUMERIC if e in CHECKING and e not in SILENT])
def test_samples_of_zeros_are_counted_in_a_warning(estimator):
    rows = X.copy()
    rows[:3] = 0
    message = "3 of 40 samples of X are all zeros"
    with pytest.warns(UserWarning, match=message) as record:
        clone(estimator).fit(rows, y)
    if estimator in GENERATORS:
        assert record[0].filename == __file__


@for_each(EVERYTHING)
def test_duplicated_samples_are_learned(estimator):
    rows, _ = draw(clone(estimator), np.repeat(X[::5], 5, axis=0), y)
    assert np.isfinite(rows).all()


# A VAE must learn where its classes lie, which takes more steps than these.
@for_each([e for e in ESTIMATORS if type(e) is not VAE])
def test_classes_of_identical_samples_stay_apart(estimator):
    estimator = clone(estimator)
    for name in {"max_epochs", "generator__max_epochs"} & set(estimator.get_params()):
        estimator.set_params(**{name: 100})
    rows, labels = draw(estimator, np.eye(3)[y], y)
    assert_array_equal(rows.argmax(axis=1), labels)


@for_each(ESTIMATORS)
@pytest.mark.parametrize(
    "names", [["b", "c", "a"], [7, 0, 2], [-1.0, 5.0, 0.0], [True, False, True]]
)
def test_labels_may_be_strings_integers_floats_or_booleans(estimator, names):
    labels = np.array(names)[y]
    drawn_labels = draw(clone(estimator), X, labels)[1]
    assert drawn_labels.dtype == labels.dtype
    assert set(drawn_labels) == set(names)
    assert_array_equal(drawn_labels[:40], labels)


def test_values_far_outside_the_training_range_are_encoded():
    for objective in ("elbo", "reference"):
        cvae = CVAE(**FAST, objective=objective, random_state=0).fit(X, y)
        assert np.isfinite(cvae.encode(1e6 * X, y)).all()
        rows = cvae.reconstruct(1e6 * X, y)
        assert np.isfinite(rows).all()
    assert (rows >= X.min(axis=0) - 1e-9).all()
    assert (rows <= X.max(axis=0) + 1e-9).all()


def test_columns_in_another_order_are_refused():
    cvae = CVAE(**FAST, random_state=0).fit(FRAME, y)
    assert_array_equal(cvae.feature_names_in_, ["a", "b", "c", "d"])
    with pytest.raises(ValueError, match="same order"):
        cvae.encode(FRAME[["b", "a", "c", "d"]], y)
    with pytest.raises(ValueError, match="missing:\n- d"):
        cvae.reconstruct(FRAME[["a", "b", "c"]], y)


@for_each(DRAWING)
@pytest.mark.parametrize(
    "names, unseen",
    [([0, 2, 7], 1), ([0, 2, 7], 0.5), ([0, 2, 7], "0"), (["a", "b", "c"], "cc")],
)
def test_unseen_class_is_named_in_the_error(estimator, names, unseen):
    fitted = clone(estimator).fit(X, np.array(names)[y])
    with pytest.raises(ValueError, match=f"unseen labels.*{unseen}"):
        fitted.sample(y=np.array([names[0], unseen], dtype=object))
    with pytest.raises(ValueError, match="unseen"):
        fitted.sample(y=[unseen])


@for_each(DRAWING)
def test_sample_draws_as_many_as_asked_for(estimator):
    fitted = clone(estimator).fit(X.astype(np.float32), y)
    rows, labels = fitted.sample(0)
    assert rows.shape == (0, 4) and rows.dtype == np.float32 and labels.shape == (0,)
    assert fitted.sample(y=[])[0].shape == (0, 4)
    assert fitted.sample(np.int64(5000))[0].shape == (5000, 4)
    for wrong in (-1, 1e9, "3"):
        with pytest.raises(ValueError, match="n_samples"):
            fitted.sample(wrong)
    with pytest.raises(ValueError, match="not both"):
        fitted.sample(2, y=[0, 1])


def test_pickles_load_on_a_machine_without_gpu(tmp_path):
    params = {**FAST, "device": "auto", "random_state": 0}
    cvae = CVAE(**params).fit(X, y)
    sampler = CVAEOverSampler(**params).fit(X, y)
    gaussian = ClassGaussian(random_state=0).fit(X, y)
    generators = [cvae, sampler.generator_, gaussian]
    path = tmp_path / "generators.pkl"
    path.write_bytes(pickle.dumps(generators))
    program = (
        "import pathlib, pickle, sys, numpy, torch\n"
        "assert not torch.cuda.is_available()\n"
        "generators = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "rows = [g.sample(y=[0] * 1000 + [2] * 1000)[0] for g in generators]\n"
        "numpy.save(sys.argv[2], rows)\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program, path, tmp_path / "rows.npy"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    for generator, rows in zip(generators, np.load(tmp_path / "rows.npy"), strict=True):
        expected, _ = generator.sample(y=[0] * 1000 + [2] * 1000)
        # The bits of a draw are those of its device, the distribution is not.
        for drawn in (slice(1000), slice(1000, 2000)):
            np.testing.assert_allclose(
                rows[drawn].mean(axis=0), expected[drawn].mean(axis=0), atol=0.2
            )
