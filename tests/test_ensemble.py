"""Over-sampling by shares: who makes how many samples, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import InvalidParameterError

from skcvae.embedding import ViewOverSampler
from skcvae.long_tail import PriorCorrectedClassifier
from skcvae.over_sampling import (
    EnsembleOverSampler,
    GenerativeOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
    RatioStrategy,
    RemixSampler,
)
from skcvae.over_sampling._composition import largest_remainder

y = np.repeat([2, 0, 3, 1], [40, 19, 8, 3])
X = np.random.RandomState(0).normal(size=(70, 4)) + 20 * np.eye(4)[y]
MISSING = {0: 21, 1: 37, 3: 32}


class Constant(BaseEstimator):
    """Generator of one value, which remembers what it was trained on."""

    def __init__(self, value=0.0):
        self.value = value

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        return np.full((len(y), self.X_.shape[1]), self.value), y


def constants(n, **params):
    members = [(f"s{i}", GenerativeOverSampler(Constant(i))) for i in range(n)]
    return EnsembleOverSampler(members, **params)


def added(sampler, X=X, y=y):
    """Return the samples that a sampler adds, after a look at those that it keeps."""
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    assert_array_equal(X_resampled[: len(X)], X)
    assert_array_equal(y_resampled[: len(y)], y)
    return np.asarray(X_resampled)[len(X) :], np.asarray(y_resampled)[len(y) :]


@pytest.mark.parametrize(
    ("shares", "total", "expected"),
    [
        ([0.5, 0.5], 5, [3, 2]),
        ([0.25, 0.75], 37, [9, 28]),
        # 3.3, 3.3 and 3.4: the largest remainder gets the one that is left.
        ([0.33, 0.33, 0.34], 10, [3, 3, 4]),
        ([1 / 3, 1 / 3, 1 / 3], 2, [1, 1, 0]),
        # 0.29 * 100 is below 29 in floating point.
        ([0.29, 0.71], 100, [29, 71]),
        ([0.0, 1.0], 7, [0, 7]),
    ],
)
def test_largest_remainders_by_hand(shares, total, expected):
    assert largest_remainder(shares, total).tolist() == expected


def test_shares_by_hand():
    sampler = constants(3, weights=[2, 1, 1])
    new, labels = added(sampler)
    # 21 is 10.5 + 5.25 + 5.25; 37 is 18.5 + 9.25 + 9.25; 32 is 16 + 8 + 8.
    expected = {
        "s0": {0: 11, 1: 19, 3: 16},
        "s1": {0: 5, 1: 9, 3: 8},
        "s2": {0: 5, 1: 9, 3: 8},
    }
    assert sampler.n_added_ == expected
    for i, counts in enumerate(expected.values()):
        by_class = np.bincount(labels[new[:, 0] == i], minlength=4)
        assert {c: n for c, n in enumerate(by_class) if n} == counts
    assert_array_equal(sampler.sampler_indices_[:70], -1)
    assert_array_equal(sampler.sampler_indices_[70:], new[:, 0])


def test_all_learn_from_the_training_samples_only():
    sampler = constants(2)
    added(sampler)
    for fitted in sampler.samplers_.values():
        assert_array_equal(fitted.generator_.X_, X)
        assert_array_equal(fitted.generator_.y_, y)


def test_huge_and_tiny_weights_are_shares_as_well():
    for scale in (1e308, 5e-324):
        sampler = constants(2, weights=[scale, scale])
        added(sampler)
        assert sampler.n_added_["s1"] == {0: 10, 1: 18, 3: 16}


def test_pandas_weights_are_refused_for_their_order():
    weights = pd.Series([0.9, 0.1], index=["s1", "s0"])
    with pytest.raises(TypeError, match=r"that of the samplers.*\.loc\[names\]"):
        added(constants(2, weights=weights))


def test_a_weight_of_zero_runs_no_sampler():
    impossible = SMOTE(k_neighbors=50)
    sampler = EnsembleOverSampler(
        [("smote", impossible), ("gaussian", GenerativeOverSampler())],
        weights=[0, 2],
        random_state=0,
    )
    added(sampler)
    assert list(sampler.samplers_) == ["gaussian"]
    assert sampler.n_added_ == {"gaussian": MISSING}


@pytest.mark.parametrize(
    "member",
    [
        SMOTE(k_neighbors=2),
        BorderlineSMOTE(k_neighbors=2, m_neighbors=60),
        RandomOverSampler(shrinkage=1.0),
        RemixSampler(),
        QualityFilter(quantile=0.5),
        ProgressiveOverSampler([("a", SMOTE()), ("b", RandomOverSampler())]),
    ],
    ids=lambda member: type(member).__name__,
)
def test_any_over_sampler_works_inside(member):
    overlapping = np.random.RandomState(0).normal(size=X.shape)
    sampler = EnsembleOverSampler(
        [("member", member), ("gaussian", GenerativeOverSampler())], random_state=0
    )
    _, labels = added(sampler, overlapping)
    assert np.bincount(labels).tolist() == [21, 37, 0, 32]
    assert sampler.n_added_["member"] == {0: 11, 1: 19, 3: 16}


def test_a_sampler_that_adds_about_as_many_is_asked_again():
    overlapping = np.random.RandomState(0).normal(size=X.shape)
    alone = ADASYN(n_neighbors=2, random_state=0).fit_resample(overlapping, y)[1]
    assert len(set(np.bincount(alone).tolist())) > 1
    sampler = EnsembleOverSampler([("adasyn", ADASYN(n_neighbors=2))], random_state=0)
    _, labels = added(sampler, overlapping)
    assert np.bincount(labels).tolist() == [21, 37, 0, 32]


def test_seeds_reproduce_and_equal_samplers_draw_different_samples():
    twins = EnsembleOverSampler(
        [("a", GenerativeOverSampler()), ("b", GenerativeOverSampler())], random_state=0
    )
    new, _ = added(twins)
    assert len(np.unique(new, axis=0)) == len(new)
    assert_array_equal(added(clone(twins))[0], new)
    assert not np.array_equal(added(clone(twins).set_params(random_state=1))[0], new)
    own = clone(twins).set_params(a__random_state=3)
    first = added(own)[0][own.sampler_indices_[70:] == 0]
    other = added(own.set_params(random_state=1))[0]
    assert_array_equal(other[own.sampler_indices_[70:] == 0], first)


def test_frames_integers_and_names():
    frame = pd.DataFrame(np.round(X).astype(int), columns=list("abcd"))
    frame["e"] = X[:, 0]
    sampler = EnsembleOverSampler(
        [("smote", SMOTE(k_neighbors=2)), ("gaussian", GenerativeOverSampler())],
        random_state=0,
    )
    X_resampled, y_resampled = sampler.fit_resample(frame, pd.Series(y, name="kind"))
    pd.testing.assert_series_equal(X_resampled.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(X_resampled[:70], frame)
    assert y_resampled.name == "kind"
    assert np.bincount(y_resampled).tolist() == [40] * 4


def test_nested_parameters_and_a_search_over_weights():
    sampler = EnsembleOverSampler(
        [("smote", SMOTE(k_neighbors=1)), ("gaussian", GenerativeOverSampler())],
        random_state=0,
    )
    assert sampler.get_params()["smote__k_neighbors"] == 1
    sampler.set_params(smote__k_neighbors=2)
    added(sampler)
    assert sampler.samplers_["smote"].k_neighbors == 2
    assert pickle.loads(pickle.dumps(sampler)).n_added_ == sampler.n_added_
    pipeline = make_pipeline(
        sampler.set_params(smote__k_neighbors=1), LogisticRegression()
    )
    grid = {"ensembleoversampler__weights": [(1, 0), (1, 1), (0, 1)]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.95


def test_the_trained_prior_is_that_of_the_resampled_samples():
    strategy = RatioStrategy(0.5)
    pipeline = make_pipeline(
        constants(2, sampling_strategy=strategy), LogisticRegression()
    )
    corrected = PriorCorrectedClassifier(pipeline).fit(X, y)
    np.testing.assert_allclose(corrected.trained_prior_, np.array([1, 1, 2, 1]) / 5)


S = SMOTE(k_neighbors=2)
REFUSED = {
    "empty": ({"samplers": []}, ValueError, "at least one"),
    "no names": ({"samplers": [S]}, ValueError, r"\(name, sampler\)"),
    "twice": ({"samplers": [("a", S), ("a", S)]}, ValueError, "not unique"),
    "taken": ({"samplers": [("weights", S)]}, ValueError, "conflict"),
    "no sampler": (
        {"samplers": [("a", LogisticRegression()), ("b", S)]},
        TypeError,
        "The sampler 'a' of EnsembleOverSampler must be an over-sampler",
    ),
    "strategy": (
        {"samplers": [("a", SMOTE(sampling_strategy=0.5)), ("b", S)]},
        ValueError,
        "Set sampling_strategy on EnsembleOverSampler",
    ),
    "images": (
        {"samplers": [("a", ViewOverSampler()), ("b", S)]},
        ValueError,
        "makes images, not samples of features. Put it before the embedder",
    ),
    "too few weights": ({"weights": [1]}, ValueError, "each of the 2 samplers"),
    "negative": ({"weights": [1, -1]}, ValueError, "at least 0"),
    "all zero": ({"weights": [0, 0]}, ValueError, "not all 0"),
    "NaN": ({"weights": [1, np.nan]}, ValueError, "finite"),
    "infinite": ({"weights": [1, np.inf]}, ValueError, "finite"),
    "no numbers": ({"weights": ["a", "b"]}, ValueError, "must be numbers"),
    "too few neighbours": (
        {"samplers": [("a", SMOTE()), ("b", S)]},
        ValueError,
        "(?s)The sampler 'a' of EnsembleOverSampler failed.*ProgressiveOverSampler",
    ),
    "nested": (
        {"samplers": [("a", SMOTE(k_neighbors=-1)), ("b", S)]},
        InvalidParameterError,
        "'k_neighbors' parameter of SMOTE",
    ),
    "under-sampler": (
        {"samplers": [("a", RandomUnderSampler()), ("b", S)]},
        ValueError,
        "under-sampling methods",
    ),
    "cleaning": (
        {"samplers": [("a", SMOTEENN(smote=S)), ("b", S)]},
        ValueError,
        "must return the training samples first and unchanged",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    params, error, message = REFUSED[case]
    noisy = np.random.RandomState(0).normal(size=X.shape)
    sampler = EnsembleOverSampler(**{"samplers": [("a", S), ("b", S)], **params})
    with pytest.raises(error, match=message):
        sampler.fit_resample(noisy, y)


class Lazy(SMOTE):
    """Adds nothing."""

    def fit_resample(self, X, y):
        return X, y


class Broken(SMOTE):
    """Adds samples that are not finite."""

    def fit_resample(self, X, y):
        X_resampled, y_resampled = super().fit_resample(X, y)
        return np.r_[X, np.full_like(X_resampled[len(X) :], np.nan)], y_resampled


class Wide(Constant):
    """Generator of samples with one feature more."""

    def sample(self, n_samples=None, *, y=None, random_state=None):
        return np.zeros((len(y), self.X_.shape[1] + 1)), y


def test_what_a_member_must_not_add_is_refused_and_the_member_named():
    for member, message in (
        (Broken(k_neighbors=2), "'a' of .* failed: .* contains NaN"),
        (
            GenerativeOverSampler(Wide()),
            r"'a' of .* failed: .*\(5,\), and the training",
        ),
    ):
        sampler = EnsembleOverSampler([("a", member), ("b", S)], random_state=0)
        with pytest.raises(ValueError, match=f"(?s){message}"):
            sampler.fit_resample(X, y)
        # One after the other, the next one steps in.
        steps = ProgressiveOverSampler([("a", member), ("b", S)], random_state=0)
        with pytest.warns(UserWarning, match="could fill none"):
            assert np.isfinite(steps.fit_resample(X, y)[0]).all()


def test_nothing_to_add_runs_no_sampler():
    sampler = EnsembleOverSampler([("a", SMOTE(k_neighbors=50)), ("b", S)])
    balanced = np.repeat([0, 1], 35)
    assert_array_equal(sampler.fit_resample(X, balanced)[0], X)
    assert sampler.samplers_ == sampler.n_added_ == {}
    assert_array_equal(sampler.sampler_indices_, np.full(70, -1))


def test_a_sampler_that_adds_too_few_is_refused():
    sampler = EnsembleOverSampler([("lazy", Lazy()), ("b", S)])
    with pytest.raises(ValueError, match=r"'lazy' of .* drew 0 of 11 samples of"):
        sampler.fit_resample(X, y)
