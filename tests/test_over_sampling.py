"""Over-samplers: what they add, what they keep, and under which label."""

from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.neighbors import NearestCentroid
from skorch.callbacks import Callback

from skcvae import CVAE, ClassGaussian, CVAEOverSampler, GenerativeOverSampler

FAST = {
    "max_epochs": 2,
    "latent_dim": 2,
    "device": "cpu",
    "net_params": {"module__hidden_dim": 16},
    "random_state": 0,
}
SAMPLERS = [CVAEOverSampler(**FAST), GenerativeOverSampler(random_state=0)]

X = np.random.RandomState(0).normal(size=(40, 4))
y = np.repeat([0, 1, 2], [25, 10, 5])
ANIMALS = np.array(["zebra", "ape", "mole", "cow"])

pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")

each_sampler = pytest.mark.parametrize(
    "sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__
)


def trained(sampler):
    """Return the sampler with enough epochs to learn the classes."""
    sampler = clone(sampler)
    if "max_epochs" in sampler.get_params():
        sampler.set_params(max_epochs=60)
    return sampler


@each_sampler
@pytest.mark.parametrize(
    "strategy, expected",
    [
        ("auto", [25, 25, 25]),
        ("not majority", [25, 25, 25]),
        ("minority", [25, 10, 25]),
        ("not minority", [25, 25, 5]),
        ("all", [25, 25, 25]),
        ({2: 30, 1: 12}, [25, 12, 30]),
        ({1: 10}, [25, 10, 5]),
        (lambda y: {2: 2 * (y == 2).sum()}, [25, 10, 10]),
    ],
    # Not by `str`: the address of a function differs between workers.
    ids=lambda value: "callable" if callable(value) else str(value),
)
def test_counts_of_each_strategy_and_real_rows_first(sampler, strategy, expected):
    sampler = clone(sampler).set_params(sampling_strategy=strategy)
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    assert_array_equal(np.bincount(y_resampled), expected)
    assert X_resampled.shape == (sum(expected), 4)
    assert X_resampled[:40].tobytes() == X.tobytes()
    assert_array_equal(y_resampled[:40], y)
    added = {c: n - (y == c).sum() for c, n in enumerate(expected)}
    assert Counter(added) == Counter(sampler.sampling_strategy_)


@each_sampler
def test_float_strategy_is_the_ratio_of_minority_to_majority(sampler):
    sampler = clone(sampler).set_params(sampling_strategy=0.6)
    _, y_resampled = sampler.fit_resample(X, np.arange(40) < 10)
    assert Counter(y_resampled.tolist()) == {False: 30, True: 18}


@each_sampler
def test_balanced_rows_come_back_as_they_are(sampler):
    X_resampled, y_resampled = clone(sampler).fit_resample(X[:30], np.tile([0, 1], 15))
    assert_array_equal(X_resampled, X[:30])
    assert_array_equal(y_resampled, np.tile([0, 1], 15))


@each_sampler
def test_new_rows_are_those_that_the_generator_draws(sampler):
    X_resampled, y_resampled = clone(sampler).fit_resample(X, y)
    generator = CVAE(**FAST) if "beta" in sampler.get_params() else ClassGaussian()
    generator.set_params(random_state=0).fit(X, y)
    drawn, labels = generator.sample(y=np.repeat([1, 2], [15, 20]))
    assert_array_equal(X_resampled[40:], drawn)
    assert_array_equal(y_resampled[40:], labels)


def test_every_parameter_of_the_cvae_reaches_it():
    changed = {
        "latent_dim": 3,
        "architecture": "large",
        "hidden_dim": 24,
        "beta": 0.5,
        "variance": {0: 2.0},
        "prior": "standard",
        "noise": None,
        "objective": "reference",
        "max_epochs": 3,
        "batch_size": 20,
        "lr": 1e-4,
        "device": "cpu",
        "random_state": 5,
        "verbose": 1,
        "net_params": {"module__hidden_dim": 8},
    }
    assert changed.keys() == CVAE().get_params().keys()
    sampler = CVAEOverSampler(**changed).fit(X, y)
    assert sampler.generator_.get_params() == changed


@each_sampler
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_floats_keep_their_type(sampler, dtype):
    rows = X.astype(dtype)
    X_resampled, _ = clone(sampler).fit_resample(rows, y)
    assert X_resampled.dtype == dtype
    assert X_resampled[:40].tobytes() == rows.tobytes()
    assert X_resampled[40:].std() > 0.3


@each_sampler
def test_generated_float16_stays_finite(sampler):
    rows = np.clip(20_000 * X, -60_000, 60_000).astype(np.float16)
    X_resampled, _ = clone(sampler).fit_resample(rows, y)
    assert np.isfinite(X_resampled).all()


def whole_numbers(dtype):
    """Return numbers at the upper end of a type, and X beside them."""
    numbers = np.empty((40, 4), dtype=dtype)
    highest = np.iinfo(dtype).max
    numbers[:, :2] = highest - np.array(dtype(highest // 20) * (X[:, :2] > 0))
    numbers[:, 2:] = 20 * X[:, 2:] + 60
    return numbers


@each_sampler
@pytest.mark.filterwarnings("ignore:The standard deviations of the features")
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_integers_are_rounded_and_stay_in_range(sampler, dtype):
    rows = whole_numbers(dtype)
    sampler = clone(sampler).set_params(sampling_strategy={2: 4000})
    for as_container in (np.asarray, pd.DataFrame):
        X_resampled, _ = sampler.fit_resample(as_container(rows), y)
        X_resampled = np.asarray(X_resampled)
        assert X_resampled.dtype == dtype
        assert X_resampled[:40].tobytes() == rows.tobytes()
        new = X_resampled[40:].astype(float)
        # A value beyond the type's range would wrap around to its other end.
        assert new[:, :2].min() > 0.5 * np.iinfo(dtype).max


@each_sampler
def test_integers_are_rounded_without_bias(sampler):
    rows = np.round(10 * X).astype(np.int64)
    sampler = clone(sampler).set_params(sampling_strategy={2: 4000})
    X_resampled, _ = sampler.fit_resample(rows, y)
    exact, _ = sampler.generator_.sample(y=np.full(3995, 2))
    assert_allclose(X_resampled[40:], exact, atol=0.5)


@each_sampler
@pytest.mark.filterwarnings("ignore:.* samples of X are all zeros")
def test_booleans_follow_their_share(sampler):
    rows = np.column_stack([X[:, 0] > 0, X[:, 1] > -1, X[:, 2] > 1.2])
    sampler = clone(sampler).set_params(sampling_strategy={2: 2000})
    X_resampled, _ = sampler.fit_resample(rows, y)
    assert X_resampled.dtype == bool
    assert_array_equal(X_resampled[:40], rows)
    share = X_resampled[40:].mean(axis=0)
    assert share[2] < share[0] < share[1]


def mixed_frame():
    return pd.DataFrame(
        {
            "float32": X[:, 0].astype(np.float32),
            "float64": X[:, 1],
            "int8": np.where(X[:, 0] > 0, 127, 120).astype(np.int8),
            "uint8": np.where(X[:, 1] > 0, 3, 0).astype(np.uint8),
            "id": np.int64(2**53) + 1 + 2 * np.arange(40),
            "bool": X[:, 3] > 0,
            "Int16": pd.array(np.round(5 * X[:, 2]), dtype="Int16"),
            "boolean": pd.array(X[:, 3] > 1, dtype="boolean"),
            "Float32": pd.array(X[:, 2], dtype="Float32"),
            "pyarrow": pd.array(np.round(5 * X[:, 0]), dtype="int8[pyarrow]"),
        },
        index=[f"patient {i}" for i in range(40)],
    )


@each_sampler
@pytest.mark.filterwarnings("ignore:The standard deviations of the features")
def test_frames_keep_columns_types_and_real_rows(sampler):
    frame = mixed_frame()
    labels = pd.Series(ANIMALS[y], index=frame.index, name="animal")
    X_resampled, y_resampled = clone(sampler).fit_resample(frame, labels)
    pd.testing.assert_series_equal(X_resampled.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(X_resampled[:40], frame.reset_index(drop=True))
    pd.testing.assert_series_equal(y_resampled[:40], labels.reset_index(drop=True))
    assert_array_equal(X_resampled.index, y_resampled.index)
    assert len(X_resampled) == 75


@each_sampler
@pytest.mark.parametrize("dtypes", [["int8", "uint8"], ["int8", "uint8", "float32"]])
def test_whole_numbers_in_frames_stay_in_the_range_of_their_column(sampler, dtypes):
    frame = mixed_frame()[[*dtypes, "bool", "boolean"]]
    sampler = trained(sampler).set_params(sampling_strategy={2: 1000})
    new = sampler.fit_resample(frame, y)[0][40:]
    assert new["int8"].between(90, 127).all()
    assert new["uint8"].between(0, 30).all()
    for name in ("bool", "boolean"):
        assert_allclose(new[name].mean(), frame[name].mean(), atol=0.25)


def labels_of_kind(kind):
    letters = ANIMALS[y]
    kinds = {
        "strings": letters,
        "objects": letters.astype(object),
        "gaps": np.array([7, 0, 2])[y],
        "floats": np.array([0.0, -1.0, 5.0])[y],
        "booleans": y > 0,
        "list": letters.tolist(),
        "categorical": pd.Series(letters, dtype="category", name="animal"),
        "string": pd.Series(letters, dtype="string[pyarrow]", name="animal"),
        "Int64": pd.Series(y, dtype="Int64"),
    }
    return kinds[kind]


@each_sampler
@pytest.mark.parametrize(
    "kind, n_added",
    [
        ("strings", {"ape": 15, "mole": 20}),
        ("objects", {"ape": 15, "mole": 20}),
        ("list", {"ape": 15, "mole": 20}),
        ("categorical", {"ape": 15, "mole": 20}),
        ("string", {"ape": 15, "mole": 20}),
        ("gaps", {0: 15, 2: 20}),
        ("floats", {-1.0: 15, 5.0: 20}),
        ("booleans", {True: 10}),
        ("Int64", {1: 15, 2: 20}),
    ],
)
def test_labels_keep_their_type(sampler, kind, n_added):
    labels = labels_of_kind(kind)
    _, y_resampled = clone(sampler).fit_resample(X, labels)
    assert type(y_resampled) is type(labels)
    if kind != "list":
        assert y_resampled.dtype == labels.dtype
    assert getattr(y_resampled, "name", None) == getattr(labels, "name", None)
    assert list(y_resampled[:40]) == list(labels)
    assert Counter(list(y_resampled[40:])) == n_added


@each_sampler
def test_lists_in_lists_out(sampler):
    X_resampled, y_resampled = clone(sampler).fit_resample(X.tolist(), y.tolist())
    assert X_resampled[:40] == X.tolist()
    assert y_resampled == y.tolist() + 15 * [1] + 20 * [2]
    assert {type(value) for row in X_resampled for value in row} == {float}


REFUSED = {
    "lazy polars": (pl.LazyFrame(X), y, {}, TypeError, "collect"),
    "sparse": (sparse.csr_array(X), y, {}, TypeError, "toarray"),
    "multilabel": (X, np.eye(3, dtype=int)[y] | 1, {}, ValueError, "Multilabel"),
    "category column": (
        pd.DataFrame(X).assign(sex=pd.Categorical(y % 2)),
        y,
        {},
        ValueError,
        r"\['sex'\].*categorical",
    ),
    "unknown class": (X, y, {"sampling_strategy": {9: 50}}, ValueError, "9"),
    "too few": (X, y, {"sampling_strategy": {0: 3}}, ValueError, "greater or equal"),
    "ratio": (X, y, {"sampling_strategy": 0.5}, ValueError, "binary"),
    "seed": (X, y, {"memory": "x", "random_state": None}, ValueError, "integer"),
}


@each_sampler
@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_training(sampler, case, monkeypatch):
    for generator in (CVAE, ClassGaussian):
        monkeypatch.setattr(generator, "_fit", lambda *args: pytest.fail("trained"))
    X_refused, y_refused, params, error, message = REFUSED[case]
    sampler = clone(sampler).set_params(**params)
    for method in (sampler.fit, sampler.fit_resample):
        with pytest.raises(error, match=message):
            method(X_refused, y_refused)


@each_sampler
def test_weights_are_extended_by_the_mean_of_each_class(sampler):
    weights = np.arange(40.0)
    sampler = clone(sampler)
    expected = sampler.fit_resample(X, y)
    assert not hasattr(sampler, "sample_weight_")
    X_resampled, y_resampled = sampler.fit_resample(X, y, sample_weight=weights)
    # Weights do not change the samples.
    assert_array_equal(X_resampled, expected[0])
    assert_array_equal(sampler.sample_weight_[:40], weights)
    for label in (1, 2):
        new = sampler.sample_weight_[40:][y_resampled[40:] == label]
        assert_allclose(new, weights[y == label].mean())
    one_hot = np.eye(3, dtype=int)[y]
    sampler.fit_resample(X, one_hot, sample_weight=weights)
    assert len(sampler.sample_weight_) == 75
    sampler.fit_resample(X, y)
    assert not hasattr(sampler, "sample_weight_")


@each_sampler
@pytest.mark.parametrize(
    "weights, message",
    [
        (np.ones(39), r"sample_weight.shape == \(39,\)"),
        (-np.ones(40), "Negative"),
        (np.full(40, np.nan), "NaN"),
    ],
)
def test_faulty_weights_are_refused(sampler, weights, message):
    with pytest.raises(ValueError, match=message):
        clone(sampler).fit_resample(X, y, sample_weight=weights)


@each_sampler
def test_polars_in_polars_out(sampler):
    frame = pl.DataFrame(
        {
            "a": X[:, 0],
            "count": (10 * X[:, 1]).astype(np.int32),
            "large": 2**62 + np.arange(40),
            "yes": X[:, 2] > 0,
        }
    )
    labels = pl.Series("animal", np.array(["emu", "ape", "mole"])[y])
    X_resampled, y_resampled = clone(sampler).fit_resample(frame, labels)
    assert X_resampled.schema == frame.schema
    assert X_resampled[:40].equals(frame)
    assert y_resampled.dtype == labels.dtype and y_resampled.name == "animal"
    assert y_resampled[:40].equals(labels)
    X_pandas, y_pandas = clone(sampler).fit_resample(
        frame.to_pandas(), labels.to_pandas()
    )
    assert_array_equal(X_resampled.to_pandas(), X_pandas)
    assert y_resampled.to_list() == y_pandas.tolist()
    of_arrays, _ = clone(sampler).fit(X, y).fit_resample(X, pl.Series(y))
    assert isinstance(of_arrays, np.ndarray)


@each_sampler
def test_classes_of_one_sample_are_filled(sampler, separated_classes):
    rows, codes = separated_classes
    one_each = [np.flatnonzero(codes == code)[0] for code in (2, 3)]
    kept = np.union1d(np.flatnonzero(codes < 2), one_each)
    rows, codes = rows[kept], codes[kept]
    assert np.bincount(codes).tolist() == [60, 30, 1, 1]
    with pytest.raises(ValueError, match="n_neighbors"):
        SMOTE().fit_resample(rows, codes)
    sampler = clone(sampler).set_params(sampling_strategy="all")
    X_resampled, y_resampled = sampler.fit_resample(rows, codes)
    assert np.bincount(y_resampled).tolist() == [60, 60, 60, 60]
    for code in (2, 3):
        generated = X_resampled[92:][y_resampled[92:] == code]
        assert_allclose(generated.mean(axis=0), rows[codes == code][0], atol=2.5)
        assert (generated.std(axis=0) > 0.3).all()


LABELLINGS = {
    "unsorted strings": ANIMALS,
    "gaps": np.array([7, 0, 100, -2]),
    "digits as strings": np.array(["10", "9", "2", "1"]),
}


@each_sampler
@pytest.mark.parametrize("names", LABELLINGS.values(), ids=LABELLINGS)
def test_generated_rows_carry_the_label_of_their_class(
    sampler, names, separated_classes
):
    rows, codes = separated_classes
    labels, counts = names[codes], np.bincount(codes)
    sampler = trained(sampler).set_params(
        sampling_strategy={names[code]: 1000 + counts[code] for code in (2, 0, 3, 1)}
    )
    X_resampled, y_resampled = sampler.fit_resample(rows, labels)
    X_new, y_new = X_resampled[len(rows) :], y_resampled[len(rows) :]
    assert set(Counter(y_new.tolist()).values()) == {1000}
    nearest = NearestCentroid().fit(rows, labels).predict(X_new)
    assert (nearest == y_new).mean() > 0.99


@each_sampler
def test_generated_rows_lie_around_the_shrunk_class_means(sampler, separated_classes):
    rows, codes = separated_classes
    sampler = trained(sampler).set_params(
        sampling_strategy={c: 2000 + n for c, n in enumerate(np.bincount(codes))}
    )
    X_resampled, y_resampled = sampler.fit_resample(rows, codes)
    X_new, y_new = X_resampled[len(rows) :], y_resampled[len(rows) :]
    k0 = sampler.generator_.mean_shrinkage_
    assert 0 < k0 < 0.1
    for code, count in enumerate(np.bincount(codes)):
        mean = (rows[codes == code].sum(axis=0) + k0 * rows.mean(axis=0)) / (count + k0)
        generated = X_new[y_new == code]
        assert_allclose(generated.mean(axis=0), mean, atol=0.3)
        assert_allclose(generated.std(axis=0), 1, atol=0.4)


@each_sampler
def test_variance_of_a_class_scales_its_rows_only(sampler):
    def rows_of_classes(variance):
        changed = clone(sampler)
        changed.set_params(sampling_strategy={1: 3000, 2: 3000})
        if "generator" in sampler.get_params():
            changed.set_params(generator=ClassGaussian(variance=variance))
        else:
            changed.set_params(noise=None, prior="standard", variance=variance)
        X_resampled, y_resampled = changed.fit_resample(X, y)
        X_new, y_new = X_resampled[40:], y_resampled[40:]
        return X_new[y_new == 1], X_new[y_new == 2]

    plain_1, plain_2 = rows_of_classes(1.0)
    for variance in ({2: 0.0}, [1.0, 1.0, 0.0]):
        rows_1, rows_2 = rows_of_classes(variance)
        assert_array_equal(rows_1, plain_1)
        assert_allclose(np.ptp(rows_2, axis=0), 0, atol=1e-6)
    _, wide = rows_of_classes({2: 4.0})
    ratio = np.linalg.norm(wide - rows_2[0]) / np.linalg.norm(plain_2 - rows_2[0])
    assert 1.7 < ratio < 2.3


def test_the_given_generator_stays_unfitted():
    generator = ClassGaussian(variance=0.5)
    before = dict(vars(generator))
    sampler = GenerativeOverSampler(generator, random_state=3).fit(X, y)
    assert vars(generator) == before
    assert sampler.generator_ is not generator
    assert sampler.generator_.random_state == 3
    sampler.set_params(random_state=None, generator__random_state=8).fit(X, y)
    assert sampler.generator_.random_state == 8


@pytest.mark.parametrize("method", ["fit", "fit_resample"])
def test_parameters_of_the_generator_are_checked(method):
    sampler = GenerativeOverSampler(ClassGaussian(covariance_type="spherical"))
    with pytest.raises(ValueError, match="covariance_type"):
        getattr(sampler, method)(X, y)


def test_an_integer_of_the_generator_wins_over_that_of_the_sampler():
    generator = ClassGaussian(random_state=1)
    expected = GenerativeOverSampler(generator).fit_resample(X, y)[0]
    sampler = GenerativeOverSampler(generator, random_state=5)
    assert_array_equal(sampler.fit_resample(X, y)[0], expected)
    assert sampler.generator_.random_state == 1
    # A RandomState is no integer: the sampler seeds it.
    sampler.set_params(generator__random_state=np.random.RandomState(9))
    assert_array_equal(
        sampler.fit_resample(X, y)[0],
        GenerativeOverSampler(random_state=5).fit_resample(X, y)[0],
    )


def test_a_frozen_generator_is_used_as_it_is():
    frozen = FrozenEstimator(ClassGaussian().fit(X + 100, y))
    sampler = GenerativeOverSampler(frozen, random_state=0)
    new = sampler.fit_resample(X, y)[0][40:]
    assert sampler.generator_ is frozen
    assert clone(sampler).fit(X, y).generator_ is frozen
    assert new.min() > 90
    assert_array_equal(sampler.fit_resample(X, y)[0][40:], new)
    with pytest.raises(ValueError, match="fitted to 4 features, and X has 3"):
        sampler.fit_resample(X[:, :3], y)
    with pytest.raises(ValueError, match=r"without the classes \[9\]"):
        sampler.fit_resample(X, np.where(y == 2, 9, y))


class ClassMean(BaseEstimator):
    """A generator that is none of ours: it repeats the class means."""

    def fit(self, X, y):
        self.means_ = {label: X[y == label].mean(axis=0) for label in set(y)}
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        return np.array([self.means_[label] for label in y]), np.asarray(y)


def test_any_object_with_fit_and_sample_generates():
    X_resampled, y_resampled = GenerativeOverSampler(ClassMean()).fit_resample(
        X, ANIMALS[y]
    )
    for code, added in ((1, 15), (2, 20)):
        new = X_resampled[40:][y_resampled[40:] == ANIMALS[code]]
        assert_allclose(new, np.tile(X[y == code].mean(axis=0), (added, 1)))
    with pytest.raises(ValueError, match="'generator' parameter"):
        GenerativeOverSampler(LogisticRegression()).fit_resample(X, y)


@each_sampler
def test_pipeline_in_cross_validation(sampler, long_tailed_digits):
    rows, codes = long_tailed_digits
    pipeline = make_pipeline(clone(sampler), LogisticRegression(max_iter=200))
    scores = cross_val_score(pipeline, rows / 16, codes, cv=3)
    assert scores.min() > 0.85


@each_sampler
def test_a_training_fold_may_lack_a_class(sampler, separated_classes):
    rows, codes = separated_classes
    order = np.argsort(codes, kind="stable")
    rows, codes = rows[order], codes[order]
    pipeline = make_pipeline(clone(sampler), NearestCentroid())
    # The last of ten blocks holds all rows of class 3 and some of class 2.
    scores = cross_val_score(pipeline, rows, codes, cv=KFold(10))
    assert_array_equal(scores[:-1], 1)
    assert scores[-1] == np.mean(codes[-10:] != 3)


@each_sampler
@pytest.mark.usefixtures("one_thread_per_worker")
@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")
def test_grid_search_in_two_processes_finds_the_same(sampler, long_tailed_digits):
    rows, codes = long_tailed_digits
    pipeline = make_pipeline(clone(sampler), NearestCentroid())
    name = type(sampler).__name__.lower()
    grid = {f"{name}__sampling_strategy": ["minority", "not majority"]}
    scores = []
    for n_jobs in (1, 2):
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs).fit(rows, codes)
        splits = [search.cv_results_[f"split{i}_test_score"] for i in range(3)]
        scores.append(np.array(splits))
    assert_array_equal(*scores)
    assert len(np.unique(scores[0])) > 1


class Interrupt(Callback):
    """Press Ctrl-C at the start of a batch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def test_interrupted_sampler_keeps_whole_epochs():
    sampler = CVAEOverSampler(**FAST).set_params(
        max_epochs=5, net_params={"callbacks": [("stop", Interrupt(epoch=4))]}
    )
    with pytest.raises(KeyboardInterrupt):
        sampler.fit_resample(X, y)
    assert len(sampler.generator_.history_) == 3
    assert np.isfinite(sampler.generator_.sample(y=[0, 1, 2])[0]).all()


def test_sampler_interrupted_in_the_first_epoch_is_unfitted():
    sampler = CVAEOverSampler(**FAST).fit(X, y)
    sampler.set_params(net_params={"callbacks": [("stop", Interrupt(epoch=1))]})
    with pytest.raises(KeyboardInterrupt):
        sampler.fit_resample(X, y)
    assert not hasattr(sampler, "generator_")


@pytest.mark.parametrize("max_epochs", [1, 50], ids=["last step", "in between"])
def test_diverged_training_leaves_the_sampler_unfitted(max_epochs):
    sampler = CVAEOverSampler(**FAST).fit(X, y)
    sampler.set_params(lr=1e30, max_epochs=max_epochs)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        sampler.fit_resample(X, y)
    assert not hasattr(sampler, "generator_")
