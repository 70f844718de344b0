"""The `memory` of samplers: one training per fold, and no row on the disk."""

import pickle
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
from imblearn.pipeline import Pipeline
from joblib import Memory, Parallel, delayed
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from skorch.callbacks import Callback

from skcvae import CVAE, CVAEOverSampler, GenerativeOverSampler, generators

X = np.random.RandomState(0).normal(size=(80, 5)) + 0.25
y = np.repeat([0, 1, 2], [45, 25, 10])

pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")


class ClassGaussian(generators.ClassGaussian):
    """Another generator of the same name."""


class CountTrainings(Callback):
    """Append a line to a file whenever a training begins."""

    def __init__(self, path, seconds=0.0):
        self.path = path
        self.seconds = seconds

    def on_train_begin(self, net, **kwargs):
        with open(self.path, "a") as file:
            file.write("trained\n")
        time.sleep(self.seconds)


class InterruptOnce(Callback):
    """Press Ctrl-C in the second epoch of the first training."""

    def __init__(self, path):
        self.path = path

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == 2 and not Path(self.path).exists():
            Path(self.path).touch()
            raise KeyboardInterrupt


@pytest.fixture
def sampler(tmp_path):
    """A fast sampler with a cache, which counts its trainings."""
    return CVAEOverSampler(
        latent_dim=2,
        max_epochs=2,
        device="cpu",
        random_state=0,
        memory=str(tmp_path / "cache"),
        net_params={
            "module__hidden_dim": 16,
            "callbacks": [("count", CountTrainings(str(tmp_path / "trainings")))],
        },
    )


@pytest.fixture
def n_trainings(tmp_path):
    """A function that counts the trainings since it was called last."""
    seen = 0

    def count():
        nonlocal seen
        path = tmp_path / "trainings"
        total = len(path.read_text().splitlines()) if path.exists() else 0
        seen, new = total, total - seen
        return new

    return count


GRID = [
    {"sampler__variance": [0.5, {1: 2.0}], "sampler__noise": ["residual", None]},
    {"sampler__prior": ["standard"], "sampler__sampling_strategy": ["auto", {2: 40}]},
]


@pytest.mark.usefixtures("one_thread_per_worker")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_trains_once_per_fold_and_to_refit(sampler, n_trainings, n_jobs):
    pipeline = Pipeline([("sampler", sampler), ("classifier", GaussianNB())])
    search = GridSearchCV(pipeline, GRID, cv=3, n_jobs=n_jobs).fit(X, y)
    assert len(search.cv_results_["params"]) == 6
    assert n_trainings() == 3 + 1
    pipeline.set_params(sampler__memory=None)
    uncached = GridSearchCV(pipeline, GRID, cv=3).fit(X, y)
    assert n_trainings() == 3 * 6 + 1
    for split in range(3):
        name = f"split{split}_test_score"
        assert_array_equal(search.cv_results_[name], uncached.cv_results_[name])


def test_a_generator_with_its_sampler_shares_trainings_too(tmp_path, n_trainings):
    callbacks = [("count", CountTrainings(str(tmp_path / "trainings")))]
    cvae = CVAE(max_epochs=1, device="cpu", net_params={"callbacks": callbacks})
    sampler = GenerativeOverSampler(cvae, memory=str(tmp_path / "c"), random_state=0)
    for variance in (0.5, 1.0, 2.0):
        sampler.set_params(generator__variance=variance).fit_resample(X, y)
    assert n_trainings() == 1


@pytest.mark.parametrize(
    "make_memory",
    [str, Memory, partial(Memory, mmap_mode="r"), partial(Memory, compress=True)],
    ids=["str", "Memory", "mmap_mode", "compress"],
)
@pytest.mark.filterwarnings("error::UserWarning")
def test_cached_rows_equal_uncached_ones_bit_for_bit(sampler, n_trainings, make_memory):
    expected, labels = clone(sampler).set_params(memory=None).fit_resample(X, y)
    sampler.set_params(memory=make_memory(sampler.memory))
    n_trainings()
    for _ in range(3):
        X_resampled, y_resampled = clone(sampler).fit_resample(X, y)
        assert X_resampled.tobytes() == expected.tobytes()
        assert_array_equal(y_resampled, labels)
    assert n_trainings() == 1


def test_memory_without_a_location_caches_nothing(sampler, n_trainings):
    sampler.set_params(memory=Memory(None))
    sampler.fit(X, y).fit(X, y)
    assert n_trainings() == 2


def test_sampling_parameters_are_those_of_the_sampler_that_asks(sampler, n_trainings):
    asked = [
        {"variance": 0.5, "prior": "standard", "noise": None, "verbose": 0},
        {"variance": {2: 3.0}, "prior": "aggregate", "noise": "residual", "verbose": 1},
    ]
    fitted = [clone(sampler).set_params(**params).fit(X, y) for params in asked]
    assert n_trainings() == 1
    for params, cached in zip(asked, fitted, strict=True):
        assert params.items() <= cached.generator_.get_params().items()
        uncached = clone(cached).set_params(memory=None)
        assert_array_equal(cached.fit_resample(X, y)[0], uncached.fit_resample(X, y)[0])


@pytest.mark.parametrize(
    "params",
    [
        {"latent_dim": 3},
        {"architecture": "large"},
        {"beta": 0.5},
        {"objective": "reference"},
        {"max_epochs": 3},
        {"batch_size": 20},
        {"lr": 1e-4},
        {"random_state": 1},
        {"net_params__module__hidden_dim": 8},
    ],
    ids=lambda params: next(iter(params)),
)
def test_another_training_parameter_trains_again(sampler, n_trainings, params):
    sampler.fit(X, y)
    other = clone(sampler)
    if "net_params__module__hidden_dim" in params:
        params = {"net_params": {**sampler.net_params, "module__hidden_dim": 8}}
    other.set_params(**params).fit(X, y)
    assert n_trainings() == 2
    assert_array_equal(
        other.fit_resample(X, y)[0],
        other.set_params(memory=None).fit_resample(X, y)[0],
    )


def test_generators_of_the_same_name_are_told_apart(sampler):
    fitted = [
        GenerativeOverSampler(generator, memory=sampler.memory, random_state=0)
        .fit(X, y)
        .generator_
        for generator in (generators.ClassGaussian(), ClassGaussian())
    ]
    assert [type(g) for g in fitted] == [generators.ClassGaussian, ClassGaussian]


def changed_data():
    one_value = X.copy()
    one_value[3, 3] = np.nextafter(one_value[3, 3], 9)
    other_order = np.random.RandomState(0).permutation(80)
    other_label = y.copy()
    other_label[0] = 1
    return {
        "one bit": (one_value, y),
        "order": (X[other_order], y[other_order]),
        "label": (X, other_label),
        "names": (X, np.array(["a", "b", "c"])[y]),
        "type": (X.astype(np.float32), y),
        "column": (X[:, :4], y),
    }


@pytest.mark.parametrize("change", changed_data())
def test_other_data_train_again(sampler, n_trainings, change):
    sampler.fit(X, y)
    X_changed, y_changed = changed_data()[change]
    X_resampled, _ = sampler.fit_resample(X_changed, y_changed)
    assert n_trainings() == 2
    expected, _ = sampler.set_params(memory=None).fit_resample(X_changed, y_changed)
    assert_array_equal(X_resampled, expected)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_without_an_integer_seed_memory_is_refused(sampler, n_trainings, random_state):
    with pytest.raises(ValueError, match="memory needs an integer random_state"):
        sampler.set_params(random_state=random_state).fit_resample(X, y)
    assert n_trainings() == 0
    generative = GenerativeOverSampler(
        generators.ClassGaussian(random_state=random_state), memory=sampler.memory
    )
    with pytest.raises(ValueError, match="memory needs an integer random_state"):
        generative.fit_resample(X, y)
    assert not Path(sampler.memory).exists()


def test_the_cache_does_not_change_the_rows_of_an_earlier_generator(sampler):
    first = clone(sampler).set_params(variance=1.0).fit(X, y)
    before = first.generator_.sample(y=[2, 2])[0]
    clone(sampler).set_params(variance=9.0, noise=None).fit(X, y)
    assert first.generator_.variance == 1.0
    assert_array_equal(first.generator_.sample(y=[2, 2])[0], before)


def test_an_interrupted_training_is_not_cached(sampler, tmp_path):
    callbacks = [("stop", InterruptOnce(str(tmp_path / "interrupted")))]
    sampler.set_params(net_params={"callbacks": callbacks})
    with pytest.raises(KeyboardInterrupt):
        sampler.fit(X, y)
    sampler.fit(X, y)
    assert len(sampler.generator_.history_) == 2


def resample_with_another(sampler, folder, number):
    """Resample as soon as two processes are ready."""
    (folder / f"ready-{number}").touch()
    while len(list(folder.glob("ready-*"))) < 2:
        time.sleep(0.01)
    return sampler.fit_resample(X, y)[0]


@pytest.mark.usefixtures("one_thread_per_worker")
def test_two_processes_with_the_same_key_train_once(sampler, n_trainings, tmp_path):
    ((_, callback),) = sampler.net_params["callbacks"]
    callback.seconds = 0.5
    resampled = Parallel(n_jobs=2)(
        delayed(resample_with_another)(sampler, tmp_path, number) for number in (0, 1)
    )
    assert n_trainings() == 1
    assert_array_equal(*resampled)


def bytes_of_files(folder):
    return b"\n".join(p.read_bytes() for p in Path(folder).rglob("*") if p.is_file())


def traces_of_rows(rows, content):
    """Return the pairs of neighbouring values, raw or printed, that content holds."""
    raw = [
        row[start : start + 2].astype(dtype).tobytes()
        for row in rows
        for start in range(len(row) - 1)
        for dtype in (np.float32, np.float64)
    ]
    printed = [str(value)[:9].encode() for value in rows.ravel().tolist()]
    return [trace for trace in raw + printed if trace in content]


def test_the_search_for_rows_finds_them():
    assert len(traces_of_rows(X, pickle.dumps(X))) == 80 * 4
    assert len(traces_of_rows(X, pickle.dumps(X.astype(np.float32)))) == 80 * 4
    assert len(traces_of_rows(X, repr(X.tolist()).encode())) == 80 * 5
    assert len(traces_of_rows(X, X[17, 2:4].tobytes())) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("generator", [CVAE, generators.ClassGaussian])
@pytest.mark.parametrize("counts", [[45, 25, 10], [40, 39, 1]], ids=str)
def test_no_cached_file_holds_a_row(sampler, generator, dtype, counts):
    if generator is not CVAE:
        sampler = GenerativeOverSampler(memory=sampler.memory, random_state=0)
    rows, labels = X.astype(dtype), np.repeat([0, 1, 2], counts)
    sampler.set_params(memory=Memory(sampler.memory, verbose=0, mmap_mode=None))
    sampler.fit_resample(rows, labels)
    content = bytes_of_files(sampler.memory.location)
    assert b"skcvae" in content and b"generator" in content
    assert traces_of_rows(rows, content) == []
    fitted = sampler.generator_
    scaled = (rows - fitted.offset_) / fitted.scale_
    assert traces_of_rows(scaled, content) == []


def test_cached_files_are_those_of_joblib_and_locks(sampler):
    sampler.fit(X, y)
    files = {p.suffix or p.name for p in Path(sampler.memory).rglob("*") if p.is_file()}
    assert files <= {".pkl", ".json", ".py", ".lock", ".gitignore"}
    (cached,) = Path(sampler.memory).rglob("output.pkl")
    assert isinstance(joblib.load(cached), CVAE)
