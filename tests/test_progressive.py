"""Progressive over-sampling: which step fills which class, and what is recorded."""

import pickle

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.utils._param_validation import InvalidParameterError

from skcvae import (
    ClassGaussian,
    GenerativeOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
    RemixSampler,
)
from skcvae.over_sampling import RatioStrategy

NAMES = np.array(["zebra", "ape", "mole", "cow"])
COUNTS = [40, 20, 8, 3]
y = np.repeat(np.arange(4), COUNTS)
X = np.random.RandomState(0).normal(size=(71, 4)) + 20 * np.eye(4)[y]


class Constant(BaseEstimator):
    """Generator of one value, which remembers what it was trained on."""

    def __init__(self, value=0.0):
        self.value = value

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        return np.full((len(y), self.X_.shape[1]), self.value), y


class Sparing(SMOTE):
    """Adds all rows but one of those that it is asked for, to each class."""

    def fit_resample(self, X, y):
        X_resampled, y_resampled = super().fit_resample(X, y)
        last = [np.flatnonzero(y_resampled == label)[-1] for label in np.unique(y)]
        kept = np.delete(np.arange(len(y_resampled)), [i for i in last if i >= len(y)])
        return X_resampled[kept], y_resampled[kept]


class NoClusters(RemixSampler):
    """Fails as KMeansSMOTE does, for class 2."""

    def fit_resample(self, X, y):
        if self.sampling_strategy.get(2):
            raise RuntimeError("No clusters found")
        return super().fit_resample(X, y)


def constant(value):
    return GenerativeOverSampler(Constant(value))


def added(sampler, X=X, y=y):
    """Return the rows that a sampler adds, after a look at those that it keeps."""
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    assert_array_equal(X_resampled[: len(X)], X)
    assert_array_equal(y_resampled[: len(y)], y)
    return np.asarray(X_resampled)[len(X) :], np.asarray(y_resampled)[len(y) :]


def test_limits_by_hand():
    sampler = ProgressiveOverSampler(
        [("first", constant(1)), ("second", constant(2)), ("last", constant(3))],
        limits={"first": 0.5, "second": 2},
    )
    rows, labels = added(sampler)
    # Class 1 lacks 20 rows, class 2 lacks 32 and class 3 lacks 37.
    expected = {
        "first": {1: 10, 2: 4, 3: 1},
        "second": {1: 10, 2: 16, 3: 6},
        "last": {2: 12, 3: 30},
    }
    assert sampler.n_added_ == expected
    for value, counts in enumerate(expected.values(), start=1):
        by_class = np.bincount(labels[rows[:, 0] == value], minlength=4)
        assert {c: n for c, n in enumerate(by_class) if n} == counts
    assert sampler.skip_reasons_ == {"first": {}, "second": {}, "last": {}}


def test_all_steps_learn_from_the_training_rows_only():
    sampler = ProgressiveOverSampler(
        [("first", constant(1)), ("last", constant(2))], limits={"first": 1}
    )
    added(sampler)
    for fitted in sampler.samplers_.values():
        assert_array_equal(fitted.generator_.X_, X)
        assert_array_equal(fitted.generator_.y_, y)


def test_without_limits_the_first_step_fills_all_that_it_can():
    sampler = ProgressiveOverSampler(
        [("smote", SMOTE()), ("gaussian", GenerativeOverSampler())], random_state=0
    )
    rows, labels = added(sampler, X, NAMES[y])
    assert sampler.n_added_ == {
        "smote": {"ape": 20, "mole": 32},
        "gaussian": {"cow": 37},
    }
    assert list(sampler.skip_reasons_["smote"]) == ["cow"]
    assert "n_neighbors" in sampler.skip_reasons_["smote"]["cow"]
    assert sampler.skip_reasons_["gaussian"] == {}
    assert np.unique(labels, return_counts=True)[1].tolist() == [20, 37, 32]
    assert_array_equal(NearestCentroid().fit(X, NAMES[y]).predict(rows), labels)


def test_rows_of_smote_are_those_of_smote():
    sampler = ProgressiveOverSampler(
        [("smote", SMOTE()), ("gaussian", GenerativeOverSampler())], random_state=0
    )
    rows, labels = added(sampler)
    for row, label in zip(rows, labels, strict=True):
        if label == 3:
            continue
        # On a segment, the distances to its ends add up to its length.
        own = X[y == label]
        to_row = np.linalg.norm(own - row, axis=1)
        lengths = np.linalg.norm(own[:, None] - own, axis=2)
        detour = to_row[:, None] + to_row - lengths
        assert detour[~np.eye(len(own), dtype=bool)].min() < 1e-9


def test_a_step_is_not_run_where_nothing_is_missing():
    sampler = ProgressiveOverSampler(
        [("remix", RemixSampler()), ("gaussian", GenerativeOverSampler())],
        random_state=0,
    )
    added(sampler)
    assert list(sampler.samplers_) == ["remix"]
    assert list(sampler.n_added_) == ["remix"]
    added(sampler, X[:20], np.tile([0, 1], 10))
    assert sampler.samplers_ == {}
    added(sampler.set_params(limits={"remix": 0}))
    assert list(sampler.samplers_) == ["gaussian"]


def test_rows_that_a_step_leaves_out_are_handed_over():
    sampler = ProgressiveOverSampler(
        [("sparing", Sparing(k_neighbors=2)), ("last", constant(5))],
        random_state=0,
    )
    _, labels = added(sampler)
    assert sampler.n_added_["sparing"] == {1: 19, 2: 31, 3: 36}
    assert sampler.n_added_["last"] == {1: 1, 2: 1, 3: 1}
    assert sampler.skip_reasons_["sparing"][3] == "It drew 36 of 37 samples."
    assert np.bincount(labels).tolist() == [0, 20, 32, 37]


def test_a_filter_that_gives_up_hands_its_classes_over():
    def score(X, y):
        return np.where(y == 2, -1.0, 1.0)

    filtered = QualityFilter(GenerativeOverSampler(), scorer=score, threshold=0)
    sampler = ProgressiveOverSampler(
        [("filtered", filtered), ("last", constant(5))], random_state=0
    )
    added(sampler)
    assert sampler.n_added_ == {"filtered": {1: 20, 3: 37}, "last": {2: 32}}
    assert "Too few samples passed" in sampler.skip_reasons_["filtered"][2]


def test_a_step_that_fills_no_class_warns():
    sampler = ProgressiveOverSampler(
        [("smote", SMOTE(k_neighbors=30)), ("gaussian", GenerativeOverSampler())],
        random_state=0,
    )
    with pytest.warns(UserWarning, match="'smote'.*none of its 3 classes") as record:
        sampler.fit_resample(X, y)
    assert record[0].filename == __file__
    assert list(sampler.skip_reasons_["smote"]) == [1, 2, 3]
    assert sampler.n_added_ == {"smote": {}, "gaussian": {1: 20, 2: 32, 3: 37}}


def test_other_errors_of_samplers_are_recorded_too():
    sampler = ProgressiveOverSampler(
        [("clusters", NoClusters()), ("gaussian", GenerativeOverSampler())],
        random_state=0,
    )
    added(sampler)
    assert sampler.n_added_ == {"clusters": {1: 20, 3: 37}, "gaussian": {2: 32}}
    assert sampler.skip_reasons_["clusters"] == {2: "No clusters found"}


def test_fails_clearly_where_the_last_step_cannot():
    sampler = ProgressiveOverSampler(
        [("gaussian", GenerativeOverSampler()), ("smote", SMOTE())],
        limits={"gaussian": 1},
        random_state=0,
    )
    with pytest.raises(
        ValueError, match=r"(?s)classes \['cow'\].*'smote', for 'cow': .*n_neighbors"
    ):
        sampler.fit_resample(X, NAMES[y])


def test_steps_of_a_kind_draw_different_rows_and_seeds_reproduce():
    twins = ProgressiveOverSampler(
        [("a", GenerativeOverSampler()), ("b", GenerativeOverSampler())],
        limits={"a": 0.5},
        random_state=0,
    )
    rows, _ = added(twins)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert_array_equal(added(clone(twins))[0], rows)
    assert not np.array_equal(added(clone(twins).set_params(random_state=1))[0], rows)
    own = clone(twins).set_params(
        random_state=None, a__random_state=3, b__random_state=4
    )
    assert_array_equal(added(own)[0], added(clone(own))[0])


def test_steps_keep_integers_of_their_own_and_the_sampler_seeds_the_others():
    def make(random_state, **params):
        sampler = ProgressiveOverSampler(
            [
                ("smote", SMOTE(k_neighbors=2)),
                ("gaussian", GenerativeOverSampler(ClassGaussian())),
            ],
            limits={"smote": 0.5},
            random_state=random_state,
        )
        return sampler.set_params(**params)

    def samples_by_step(sampler):
        new, labels = added(sampler)
        # Of each class, those of the first step come first.
        n_first = sampler.n_added_["smote"]
        first = np.concatenate(
            [np.arange((labels == label).sum()) < n_first[label] for label in (1, 2, 3)]
        )
        return new[first], new[~first]

    smote, gaussian = samples_by_step(make(0))
    for params in ({"smote__random_state": 7}, {"smote__random_state": np.int64(7)}):
        own_0, gaussian_0 = samples_by_step(make(0, **params))
        own_1, gaussian_1 = samples_by_step(make(1, **params))
        assert_array_equal(own_0, own_1)
        assert not np.array_equal(own_0, smote)
        assert_array_equal(gaussian_0, gaussian)
        assert not np.array_equal(gaussian_1, gaussian)
    # A generator inside of a step without a seed has one.
    nested = {"gaussian__generator__random_state": 7}
    smote_0, own_0 = samples_by_step(make(0, **nested))
    smote_1, own_1 = samples_by_step(make(1, **nested))
    assert_array_equal(own_0, own_1)
    assert_array_equal(smote_0, smote)
    assert not np.array_equal(smote_1, smote)


@pytest.mark.parametrize("random_state", [None, 0, np.random.RandomState(0)])
@pytest.mark.parametrize("step", [GenerativeOverSampler(), RemixSampler()])
def test_equal_steps_without_seeds_never_draw_equal_samples(step, random_state):
    sampler = ProgressiveOverSampler(
        [("a", step), ("b", step), ("c", step)],
        limits={"a": 0.5, "b": 0.5},
        random_state=random_state,
    )
    new, _ = added(sampler)
    assert len(new) == 89
    # Remix may mix a sample with itself, or with a share of 1: then it is a copy.
    known = {sample.tobytes() for sample in X}
    mixed = [sample.tobytes() for sample in new if sample.tobytes() not in known]
    assert len(mixed) > 60
    assert len(set(mixed)) == len(mixed)


def test_frozen_generators_of_steps_are_used_as_they_are():
    frozen = FrozenEstimator(ClassGaussian().fit(X + 1000, y))
    sampler = ProgressiveOverSampler(
        [("a", GenerativeOverSampler(frozen)), ("b", GenerativeOverSampler(frozen))],
        limits={"a": 0.5},
        random_state=0,
    )
    new, _ = added(sampler)
    assert new.min() > 900
    assert len(np.unique(new, axis=0)) == len(new)
    assert_array_equal(added(sampler)[0], new)
    for fitted in sampler.samplers_.values():
        assert fitted.generator_ is frozen


def test_frames_integers_and_names():
    frame = pd.DataFrame(np.round(X).astype(int), columns=list("abcd"))
    frame["e"] = X[:, 0]
    sampler = ProgressiveOverSampler(
        [("smote", SMOTE()), ("gaussian", GenerativeOverSampler())],
        limits={"smote": 1},
        random_state=0,
    )
    X_resampled, y_resampled = sampler.fit_resample(frame, pd.Series(y, name="kind"))
    pd.testing.assert_series_equal(X_resampled.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(X_resampled[:71], frame)
    assert y_resampled.name == "kind"
    assert np.bincount(y_resampled).tolist() == [40] * 4


def test_a_cap_in_all_is_a_sampling_strategy():
    sampler = ProgressiveOverSampler(
        [("smote", SMOTE(k_neighbors=2)), ("gaussian", GenerativeOverSampler())],
        limits={"smote": 1},
        sampling_strategy=RatioStrategy(max_synthetic_ratio=2),
        random_state=0,
    )
    _, labels = added(sampler)
    assert np.bincount(labels).tolist() == [0, 20, 16, 6]
    assert sampler.n_added_ == {"smote": {1: 20, 2: 8, 3: 3}, "gaussian": {2: 8, 3: 3}}


def test_nested_parameters_and_replaced_steps():
    steps = [("smote", SMOTE()), ("gaussian", GenerativeOverSampler(ClassGaussian()))]
    sampler = ProgressiveOverSampler(steps, limits={"smote": 1})
    assert sampler.get_params()["smote__k_neighbors"] == 5
    assert sampler.get_params()["smote"] is steps[0][1]
    assert "smote" not in sampler.get_params(deep=False)
    sampler.set_params(smote__k_neighbors=2, gaussian__generator__variance=0.5)
    added(sampler)
    assert sampler.samplers_["smote"].k_neighbors == 2
    assert sampler.samplers_["gaussian"].generator_.variance == 0.5
    assert sampler.skip_reasons_["smote"] == {}
    assert not hasattr(steps[1][1], "generator_")
    sampler.set_params(smote=RemixSampler())
    assert isinstance(sampler.steps[0][1], RemixSampler)
    assert pickle.loads(pickle.dumps(sampler)).n_added_ == sampler.n_added_


def test_grid_search_over_limits_and_steps():
    sampler = ProgressiveOverSampler(
        [("smote", SMOTE(k_neighbors=1)), ("gaussian", GenerativeOverSampler())],
        random_state=0,
    )
    pipeline = make_pipeline(sampler, LogisticRegression())
    grid = {
        "progressiveoversampler__limits": [None, {"smote": 1}],
        "progressiveoversampler__smote__k_neighbors": [1],
    }
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.95


S = SMOTE(k_neighbors=2)
REFUSED = {
    "empty": ({"steps": []}, ValueError, "at least one"),
    "no list": ({"steps": {"a": S}}, ValueError, "'steps' parameter"),
    "no names": ({"steps": [S]}, ValueError, r"\(name, sampler\)"),
    "twice": ({"steps": [("a", S), ("a", S)]}, ValueError, "not unique"),
    "taken": ({"steps": [("limits", S)]}, ValueError, "conflict"),
    "no sampler": (
        {"steps": [("a", LogisticRegression())]},
        TypeError,
        "The step 'a' of ProgressiveOverSampler must be an over-sampler",
    ),
    "strategy": (
        {"steps": [("a", SMOTE(sampling_strategy=0.5))]},
        ValueError,
        "Set sampling_strategy on ProgressiveOverSampler",
    ),
    "unknown limit": ({"limits": {"c": 1}}, ValueError, "limits names 'c'"),
    "limit of the last": ({"limits": {"b": 1}}, ValueError, "max_synthetic_ratio"),
    "negative": ({"limits": {"a": -1}}, ValueError, "at least 0"),
    "infinite": ({"limits": {"a": np.inf}}, ValueError, "at least 0"),
    "NaN": ({"limits": {"a": np.nan}}, ValueError, "at least 0"),
    "nested": (
        {"steps": [("a", SMOTE(k_neighbors=-1)), ("b", S)]},
        InvalidParameterError,
        "'k_neighbors' parameter of SMOTE",
    ),
    "under-sampler": (
        {"steps": [("a", RandomUnderSampler())]},
        ValueError,
        "under-sampling methods",
    ),
}


@pytest.mark.filterwarnings("ignore:The step 'a' of ProgressiveOverSampler could")
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    params, error, message = REFUSED[case]
    sampler = ProgressiveOverSampler(**{"steps": [("a", S), ("b", S)], **params})
    with pytest.raises(error, match=message):
        sampler.fit_resample(X, y)


def test_steps_are_checked_by_fit_as_well():
    with pytest.raises(ValueError, match="limits names 'c'"):
        ProgressiveOverSampler([("a", S)], limits={"c": 1}).fit(X, y)
    fitted = ProgressiveOverSampler([("a", S)]).fit(X, y)
    assert fitted.sampling_strategy_ == {1: 20, 2: 32, 3: 37}


def test_a_frozen_seed_that_would_repeat_samples_is_refused():
    frozen = FrozenEstimator(ClassGaussian(random_state=3).fit(X, y))
    steps = ProgressiveOverSampler([("only", GenerativeOverSampler(frozen))])
    with pytest.raises(ValueError, match="has random_state=3, with which each call"):
        QualityFilter(steps, quantile=0.5).fit_resample(X, y)
    frozen.estimator.set_params(random_state=None)
    new = QualityFilter(steps, quantile=0.5, random_state=0).fit_resample(X, y)[0]
    assert len(np.unique(new[len(X) :], axis=0)) == len(new) - len(X)
