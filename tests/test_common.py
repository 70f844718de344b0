"""The contracts of scikit-learn and imbalanced-learn, and faulty input, for all."""

import os
import pickle
import random
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
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from skcvae import (
    CVAE,
    DPCVAE,
    ClassGaussian,
    CVAEAnonymizer,
    CVAEOverSampler,
    DPClassGaussian,
    FlowMatching,
    GenerativeAnonymizer,
    GenerativeOverSampler,
    HardOverSampler,
    KSameAnonymizer,
    LongTailClassifier,
    ProgressiveOverSampler,
    QualityFilter,
    RemixSampler,
)
from skcvae.generators import CGAN, VAE
from skcvae.over_sampling import HeadTailFusionSampler, LatentVariationOverSampler

FAST = {
    "max_epochs": 1,
    "latent_dim": 2,
    "device": "cpu",
    "net_params": {"module__hidden_dim": 16},
    "random_state": 0,
}
UNSEEDED = {name: value for name, value in FAST.items() if name != "random_state"}
FAST_FLOW = {name: FAST[name] for name in FAST if name != "latent_dim"}
GENERATORS = [
    CVAE(**FAST),
    ClassGaussian(random_state=0),
    VAE(**FAST),
    CGAN(**FAST),
    FlowMatching(**FAST_FLOW),
]
GENERATIVE_SAMPLERS = [CVAEOverSampler(**FAST), GenerativeOverSampler(random_state=0)]
SAMPLERS = [
    *GENERATIVE_SAMPLERS,
    LatentVariationOverSampler(CVAE(**UNSEEDED), random_state=0),
    HardOverSampler(random_state=0),
    RemixSampler(random_state=0),
    HeadTailFusionSampler(
        n_groups=4,
        group_size=2,
        n_generations=1,
        imitation_steps=2,
        interaction_steps=4,
        device="cpu",
        random_state=0,
        net_params={"module__hidden_dim": 16},
    ),
    QualityFilter(quantile=0.5, random_state=0),
    ProgressiveOverSampler(
        [("remix", RemixSampler()), ("gaussian", GenerativeOverSampler())],
        limits={"remix": 1},
        random_state=0,
    ),
]
ANONYMIZERS = [CVAEAnonymizer(**FAST), GenerativeAnonymizer(random_state=0)]
# What draws rows for labels.
DRAWING = GENERATORS + ANONYMIZERS
GENERATIVE = DRAWING + GENERATIVE_SAMPLERS
# One step of Adam changes a weight by lr: twenty small ones learn nothing.
CLASSIFIERS = [LongTailClassifier(max_epochs=10, lr=0.1, device="cpu", random_state=0)]
ESTIMATORS = DRAWING + SAMPLERS
PRIVATE = [
    DPClassGaussian(random_state=0),
    DPCVAE(
        max_epochs=1,
        batch_size=20,
        hidden_dim=4,
        latent_dim=2,
        device="cpu",
        random_state=0,
    ),
]
EVERYTHING = ESTIMATORS + CLASSIFIERS + PRIVATE
K_SAME = KSameAnonymizer(k=2)

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
    "LongTailClassifier": {
        "check_sample_weight_equivalence_on_dense_data": "batches are drawn at random"
    },
}
EXPECTED_FAILURES = {
    "check_samplers_pandas_sparse": "samplers are dense: sparse input is refused"
}

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
    mark = parametrize_with_imblearn_checks(
        samplers, expected_failed_checks=lambda sampler: EXPECTED_FAILURES
    )
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
    return clone(estimator).fit_resample(X, y)[0]


@pytest.mark.filterwarnings("ignore:transform anonymizes nothing")
@parametrize_with_checks(
    [*EVERYTHING, K_SAME],
    expected_failed_checks=lambda estimator: SKLEARN_EXPECTED_FAILURES.get(
        type(estimator).__name__, {}
    ),
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@imblearn_checks(SAMPLERS)
def test_imblearn_checks(estimator, check):
    check(estimator)


@for_each([*EVERYTHING, K_SAME])
def test_every_parameter_is_validated(estimator):
    check_param_validation(type(estimator).__name__, estimator)


# The check calls score_samples without the labels that a CGAN needs.
@for_each([e for e in [*EVERYTHING, K_SAME] if not isinstance(e, CGAN)])
@pytest.mark.filterwarnings("ignore:transform anonymizes nothing")
def test_column_names_are_kept_and_checked(estimator):
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)


@for_each(EVERYTHING)
def test_pickle_of_a_fitted_estimator_draws_the_same_bits(estimator):
    fitted = clone(estimator).fit(X, y)
    restored = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(draw_again(restored), draw_again(fitted))
    assert_array_equal(draw(restored, X, y)[0], draw(fitted, X, y)[0])


@for_each(EVERYTHING)
def test_clone_of_a_fitted_estimator_is_unfitted_and_equivalent(estimator):
    copied = clone(clone(estimator).fit(X, y))
    with pytest.raises(NotFittedError):
        check_is_fitted(copied)
    assert_array_equal(draw(copied, X, y)[0], draw(clone(estimator), X, y)[0])


@for_each(EVERYTHING)
def test_fault_32_same_seed_gives_same_bits(estimator):
    first = clone(estimator)
    expected = draw(first, X, y)[0]
    assert_array_equal(draw(clone(estimator), X, y)[0], expected)
    assert_array_equal(draw(first, X, y)[0], expected)
    assert_array_equal(draw_again(first), draw_again(first))
    other_seed = clone(estimator).set_params(random_state=1)
    assert not np.array_equal(draw(other_seed, X, y)[0], expected)


@for_each(EVERYTHING)
def test_fault_32_seed_may_be_a_random_state_but_no_generator(estimator):
    runs = [
        draw(clone(estimator).set_params(random_state=seed), X, y)[0]
        for seed in (np.random.RandomState(3), np.random.RandomState(3))
    ]
    assert_array_equal(*runs)
    with pytest.raises(ValueError, match="'random_state' parameter"):
        estimator = clone(estimator).set_params(random_state=np.random.default_rng(0))
        estimator.fit(X, y)


def global_states():
    kind, keys, *rest = np.random.get_state()
    return [
        (kind, keys.tolist(), *rest),
        torch.get_rng_state().tolist(),
        random.getstate(),
    ]


@for_each(EVERYTHING)
def test_global_random_states_are_left_alone(estimator):
    before = global_states()
    fitted = clone(estimator)
    draw(fitted, X, y)
    fitted.fit(X, y)
    draw_again(fitted)
    assert global_states() == before


@for_each(EVERYTHING)
def test_without_a_seed_fits_differ_and_torch_is_left_alone(estimator):
    unseeded = clone(estimator).set_params(random_state=None)
    before = torch.get_rng_state()
    assert not np.array_equal(draw(unseeded, X, y)[0], draw(unseeded, X, y)[0])
    if estimator in ESTIMATORS:
        assert not np.array_equal(draw_again(unseeded), draw_again(unseeded))
    assert torch.equal(torch.get_rng_state(), before)


@for_each(EVERYTHING)
def test_fault_54_refit_equals_a_fresh_fit(estimator):
    refitted = clone(estimator).set_params(random_state=1)
    draw(refitted, X[:, :3] * 5, np.tile([7, 8], 20))
    refitted.set_params(random_state=0)
    assert_array_equal(draw(refitted, X, y)[0], draw(clone(estimator), X, y)[0])
    fresh = clone(estimator).fit(X, y)
    refitted.fit(X, y)
    assert vars(refitted).keys() == vars(fresh).keys()
    assert_array_equal(draw_again(refitted), draw_again(fresh))


@for_each(EVERYTHING)
def test_fault_34_threads_do_not_disturb_each_other(estimator):
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
REFUSED = {
    "1 NaN": (with_value(np.nan), y, ValueError, "Input X contains NaN"),
    "2 inf": (with_value(np.inf), y, ValueError, "contains infinity"),
    "2 -inf": (with_value(-np.inf), y, ValueError, "contains infinity"),
    "3 beyond float32": (with_value(1e300), y, ValueError, r"float32.*\[2\]"),
    "3 beyond float32, frame": (
        FRAME.assign(c=1e300),
        y,
        ValueError,
        r"float32.*\['c'\]",
    ),
    "3 differences beyond float32": (
        (X * 1e38).astype(np.float32),
        y,
        ValueError,
        "too large",
    ),
    "6 strings": (X.astype(str), y, ValueError, "contains strings"),
    "6 objects": (X.astype(str).astype(object), y, ValueError, "contains strings"),
    "6 lists": (X.astype(str).tolist(), y, ValueError, "contains strings"),
    "6 column": (FRAME.assign(c=str(5)), y, ValueError, "contains strings"),
    "7 complex": (X + 1j, y, ValueError, "Complex data not supported"),
    "8 1-D": (X[:, 0], y, ValueError, "Expected 2D array.*[\\s\\S]*Reshape"),
    "8 series": (FRAME["a"], y, ValueError, "Expected a 2-dimensional container"),
    "8 3-D": (X[:, :, None], y, ValueError, "Found array with dim 3"),
    "9 no rows": (X[:0], y[:0], ValueError, "0 sample"),
    "9 no features": (X[:, :0], y, ValueError, "0 feature"),
    "10 one row": (X[:1], y[:1], ValueError, "minimum of 2|at least two classes"),
    "19 mixed objects": (X, with_label(3), TypeError, "uniformly strings or numbers"),
    "19 mixed list": (X, [3, *LETTERS[1:]], TypeError, "uniformly strings or numbers"),
    "21 continuous y": (X, X[:, 0], ValueError, "continuous"),
    "22 NaN in y": (X, np.where(y == 2, np.nan, y), ValueError, "y contains NaN"),
    "22 NaN label": (X, with_label(np.nan), ValueError, "y contains missing"),
    "22 None": (X, with_label(None), ValueError, "y contains missing"),
    "22 None in list": (X, [None, *y[1:]], ValueError, "y contains missing"),
    "22 NA": (X, LETTERS.astype("string").where(y < 2), ValueError, "y contains"),
    "22 NA number": (X, pd.Series(y).astype("Int64").where(y < 2), ValueError, "NaN"),
    "22 no y": (X, None, ValueError, "None"),
    "24 multilabel": (X, MULTILABEL, ValueError, "Multilabel|1d array"),
    "24 multilabel list": (X, MULTILABEL.tolist(), ValueError, "Multilabel|1d array"),
    "24 multioutput": (X, np.column_stack([y, y]), ValueError, "1d array"),
    "25 NA in X": (
        FRAME.astype("Float64").where(X < 2),
        y,
        ValueError,
        "Input X contains NaN",
    ),
    "27 sparse": (sparse.csr_matrix(X), y, TypeError, r"\.toarray\(\)"),
    "lengths differ": (X, y[1:], ValueError, "inconsistent numbers of samples"),
}


@for_each([*EVERYTHING, K_SAME])
@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")
def test_faulty_input_is_refused_and_leaves_the_estimator_unfitted(estimator, fault):
    if fault == "8 3-D" and isinstance(estimator, HeadTailFusionSampler):
        pytest.skip("reads maps")
    X_faulty, y_faulty, error, message = REFUSED[fault]
    estimator = clone(estimator).fit(X, y)
    with pytest.raises(error, match=message):
        draw(estimator, X_faulty, y_faulty)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


def read_only_memmap(folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


EQUIVALENT = {
    "6 objects": lambda folder: (X.astype(object), y),
    "23 column vector": lambda folder: (X, y[:, None]),
    "25 Float64": lambda folder: (FRAME.astype("Float64"), y),
    "25 double[pyarrow]": lambda folder: (FRAME.astype("double[pyarrow]"), y),
    "25 Int64 y": lambda folder: (X, pd.Series(y, dtype="Int64")),
    "25 categorical y": lambda folder: (X, pd.Series(y, dtype="category")),
    "28 read-only memmap": lambda folder: (read_only_memmap(folder), y),
    "29 Fortran": lambda folder: (np.asfortranarray(X), y),
    "29 strides": lambda folder: (
        np.repeat(X, 2, axis=1)[:, ::2],
        np.repeat(y, 2)[::2],
    ),
    "29 negative strides": lambda folder: (X[::-1].copy()[::-1], y[::-1].copy()[::-1]),
    "29 byte order": lambda folder: (X.astype(">f8"), y),
    "lists": lambda folder: (X.tolist(), y.tolist()),
}


@for_each([*EVERYTHING, K_SAME])
@pytest.mark.parametrize("fault", EQUIVALENT)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_other_containers_give_the_same_rows(estimator, fault, tmp_path):
    expected, _ = draw(clone(estimator), X, y)
    drawn, labels = draw(clone(estimator), *EQUIVALENT[fault](tmp_path))
    assert_array_equal(np.asarray(drawn, dtype=float), expected)
    assert np.ndim(labels) == 1


@for_each(DRAWING)
def test_fault_23_column_vector_y_warns(estimator):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        clone(estimator).fit(X, y[:, None])


@for_each(GENERATORS)
def test_polars_is_read_by_generators(estimator):
    drawn, labels = draw(clone(estimator), pl.DataFrame(X), pl.Series(y))
    assert_array_equal(drawn, draw(clone(estimator), X, y)[0])
    assert_array_equal(labels, y)


@for_each(GENERATIVE + CLASSIFIERS)
@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.uint8, bool])
def test_faults_4_and_5_other_types_count_as_numbers(estimator, dtype):
    numbers = (10 * X + 50).astype(dtype)
    numbers[:, 0] = X[:, 0] > 0
    fitted = clone(estimator).fit(numbers, y)
    expected = clone(estimator).fit(numbers.astype(np.float64), y)
    assert_array_equal(draw_again(fitted), draw_again(expected))


@for_each(DRAWING)
def test_fault_12_single_class_is_learned(estimator):
    estimator = clone(estimator)
    if "max_epochs" in estimator.get_params():
        estimator.set_params(max_epochs=100)
    rows, labels = estimator.fit(X, np.full(40, "only")).sample(2000)
    assert set(labels) == {"only"}
    np.testing.assert_allclose(rows.mean(axis=0), X.mean(axis=0), atol=0.2)


@for_each(CLASSIFIERS)
def test_fault_12_single_class_cannot_be_told_apart(estimator):
    with pytest.raises(ValueError, match="at least two classes, and y has 1 class"):
        clone(estimator).fit(X, np.zeros(40, dtype=int))


@for_each(SAMPLERS)
def test_fault_12_single_class_cannot_be_over_sampled(estimator):
    with pytest.raises(ValueError, match="more than 1 class"):
        clone(estimator).fit_resample(X, np.zeros(40, dtype=int))


@for_each(ESTIMATORS)
@pytest.mark.parametrize("constant", [0.0, 0.1, -3e7])
def test_fault_13_constant_feature_passes_through(estimator, constant):
    rows, _ = draw(clone(estimator), with_column(constant), y)
    assert set(rows[:, 1]) == {constant}
    assert rows[:, 0].std() > 0.5


@for_each(ESTIMATORS)
def test_fault_13_all_features_constant(estimator):
    rows, _ = draw(clone(estimator), np.full((40, 4), 0.1), y)
    assert set(rows.ravel()) == {0.1}


@for_each(ESTIMATORS)
def test_fault_14_near_constant_feature_stays_narrow(estimator):
    rows, _ = draw(clone(estimator), with_column(5 + 1e-12 * X[:, 1]), y)
    assert np.ptp(rows[:, 1]) < 1e-5
    assert rows[:, 0].std() > 0.5


def with_column(values):
    rows = X.copy()
    rows[:, 1] = values
    return rows


@for_each(GENERATIVE)
def test_fault_16_rows_of_zeros_are_counted(estimator):
    rows = X.copy()
    rows[:3] = 0
    message = "3 of 40 samples of X are all zeros"
    with pytest.warns(UserWarning, match=message) as record:
        clone(estimator).fit(rows, y)
    if estimator in GENERATORS:
        assert record[0].filename == __file__


@for_each(EVERYTHING)
def test_fault_17_duplicated_rows_are_learned(estimator):
    rows, _ = draw(clone(estimator), np.repeat(X[::5], 5, axis=0), y)
    assert np.isfinite(rows).all()


# A VAE must learn where its classes lie, which takes more steps than these.
@for_each([e for e in ESTIMATORS if type(e) is not VAE])
def test_fault_17_classes_of_identical_rows_stay_apart(estimator):
    estimator = clone(estimator)
    for name in {"max_epochs", "generator__max_epochs"} & set(estimator.get_params()):
        estimator.set_params(**{name: 100})
    rows, labels = draw(estimator, np.eye(3)[y], y)
    assert_array_equal(rows.argmax(axis=1), labels)


@for_each(ESTIMATORS)
@pytest.mark.parametrize(
    "names", [["b", "c", "a"], [7, 0, 2], [-1.0, 5.0, 0.0], [True, False, True]]
)
def test_faults_18_and_20_labels_may_be_anything(estimator, names):
    labels = np.array(names)[y]
    drawn_labels = draw(clone(estimator), X, labels)[1]
    assert drawn_labels.dtype == labels.dtype
    assert set(drawn_labels) == set(names)
    assert_array_equal(drawn_labels[:40], labels)


def test_fault_15_values_far_outside_the_training_range_are_encoded():
    for objective in ("elbo", "reference"):
        cvae = CVAE(**FAST, objective=objective).fit(X, y)
        assert np.isfinite(cvae.encode(1e6 * X, y)).all()
        rows = cvae.reconstruct(1e6 * X, y)
        assert np.isfinite(rows).all()
    assert (rows >= X.min(axis=0) - 1e-9).all()
    assert (rows <= X.max(axis=0) + 1e-9).all()


def test_fault_26_columns_in_another_order_are_refused():
    cvae = CVAE(**FAST).fit(FRAME, y)
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
def test_fault_30_unseen_class_is_named(estimator, names, unseen):
    fitted = clone(estimator).fit(X, np.array(names)[y])
    with pytest.raises(ValueError, match=f"unseen labels.*{unseen}"):
        fitted.sample(y=np.array([names[0], unseen], dtype=object))
    with pytest.raises(ValueError, match="unseen"):
        fitted.sample(y=[unseen])


@for_each(DRAWING)
def test_fault_53_number_of_rows(estimator):
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


def test_fault_41_pickles_open_on_a_machine_without_gpu(tmp_path):
    cvae = CVAE(**{**FAST, "device": "auto"}).fit(X, y)
    sampler = CVAEOverSampler(**{**FAST, "device": "auto"}).fit(X, y)
    generators = [cvae, sampler.generator_, clone(GENERATORS[1]).fit(X, y)]
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
