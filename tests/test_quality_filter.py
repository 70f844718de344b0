"""The quality filter: which rows pass, by which score, and under which label."""

import pickle
from itertools import count

import numpy as np
import pandas as pd
import pytest
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import ADASYN, SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.testing import assert_array_equal
from scipy.spatial.distance import cdist, pdist
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from skcvae import (
    CVAE,
    ClassGaussian,
    CVAEOverSampler,
    GenerativeOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
    RemixSampler,
)
from skcvae.over_sampling import HardOverSampler
from skcvae.over_sampling._quality_filter import GaussianDensity, NearDuplicates

X = np.random.RandomState(0).normal(size=(40, 4))
y = np.repeat([0, 1, 2], [25, 10, 5])
NAMES = np.array(["zebra", "ape", "mole"])
TWO = np.repeat([0, 1], [13, 10])
BALANCED = LogisticRegression(class_weight="balanced")


class Counting(BaseEstimator):
    """Generator of rows 0, 1, 2, ... in all features, over all calls."""

    def fit(self, X, y):
        self.shape_, self.numbers_ = X.shape[1], count()
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        numbers = [next(self.numbers_) for _ in y]
        return np.repeat(np.array(numbers, dtype=float)[:, None], self.shape_, 1), y


class Planted(BaseEstimator):
    """Generator that counts its trainings; half of its rows are bad: first value -1."""

    n_trainings = 0

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        Planted.n_trainings += 1
        self.shape_ = X.shape[1]
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        rng = check_random_state(random_state)
        rows = rng.normal(size=(len(y), self.shape_))
        rows[:, 0] = rng.choice([-1, 1], size=len(y))
        return rows, y

    def score_samples(self, X, y):
        return X[:, 0]


class Towards(BaseEstimator):
    """Scorer that likes rows near the first training row of their class."""

    def fit(self, X, y):
        self.first_ = {label: X[y == label][0] for label in np.unique(y)}
        return self

    def score_samples(self, X, y):
        return -np.linalg.norm(X - [self.first_[label] for label in y], axis=1)


def first_value(X, y):
    return X[:, 0]


def first_value_of_four(X, y):
    return X[:, 0] % 4


def added(sampler, X=X, y=y):
    """Return the rows that a sampler adds, after a look at those that it keeps."""
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    assert_array_equal(X_resampled[: len(X)], X)
    assert_array_equal(y_resampled[: len(y)], y)
    return np.asarray(X_resampled)[len(X) :], np.asarray(y_resampled)[len(y) :]


# What passes


@pytest.mark.parametrize(
    ("quantile", "n_drawn", "kept"),
    [
        (0.0, 3, [0, 1, 2]),
        (0.5, 6, [3, 4, 5]),
        (0.25, 4, [1, 2, 3]),
        (0.2, 4, [1, 2, 3]),
        (0.4, 5, [2, 3, 4]),
        (0.9, 30, [27, 28, 29]),
    ],
)
def test_quantile_by_hand(quantile, n_drawn, kept):
    sampler = QualityFilter(
        GenerativeOverSampler(Counting()), scorer=first_value, quantile=quantile
    )
    rows, labels = added(sampler, X[:23], TWO)
    assert_array_equal(rows[:, 0], kept)
    assert_array_equal(labels, [1, 1, 1])
    assert sampler.n_draws_ == {1: n_drawn}
    assert sampler.threshold_ == {1: n_drawn - 3 if quantile else 0}
    assert sampler.acceptance_rate_ == {1: pytest.approx(3 / n_drawn)}


def test_rounds_by_hand():
    # The numbers 0 1 2, 3 4 5 and 6 to 11 are drawn; every fourth of them passes.
    sampler = QualityFilter(
        GenerativeOverSampler(Counting()), scorer=first_value_of_four, threshold=3
    )
    rows, _ = added(sampler, X[:23], TWO)
    assert_array_equal(rows[:, 0], [3, 7, 11])
    assert sampler.n_draws_ == {1: 12}
    assert sampler.acceptance_rate_ == {1: 0.25}
    assert sampler.threshold_ == {1: 3}
    assert sampler.min_distance_ is None


@pytest.mark.parametrize("scorer", [first_value, "generator"])
def test_bad_rows_are_rejected_and_the_generator_is_trained_once(scorer):
    Planted.n_trainings = 0
    sampler = QualityFilter(
        GenerativeOverSampler(Planted()),
        scorer=scorer,
        threshold=0,
        sampling_strategy={0: 325, 2: 205},
        random_state=0,
    )
    rows, labels = added(sampler)
    assert (rows[:, 0] == 1).all()
    assert np.bincount(labels).tolist() == [300, 0, 200]
    assert len(np.unique(rows, axis=0)) == 500, "each round draws other rows"
    assert Planted.n_trainings == 1
    assert sampler.scorer_ is (
        scorer if callable(scorer) else sampler.sampler_.generator_
    )
    assert sampler.acceptance_rate_ == pytest.approx({0: 0.5, 2: 0.5}, abs=0.1)


WRAPPED = [
    SMOTE(k_neighbors=3),
    ADASYN(n_neighbors=3),
    RemixSampler(tau=0.8),
    GenerativeOverSampler(),
    CVAEOverSampler(max_epochs=2, latent_dim=2, device="cpu"),
]


@pytest.mark.filterwarnings("ignore:The CVAE uses none")
@pytest.mark.parametrize("wrapped", WRAPPED, ids=lambda value: type(value).__name__)
def test_no_row_is_below_the_threshold_of_its_class(wrapped):
    labels = NAMES[y]
    sampler = QualityFilter(
        wrapped, scorer=BALANCED, threshold=0.3, max_draws=200, random_state=0
    )
    rows, drawn = added(sampler, X, labels)
    assert dict(zip(*np.unique(drawn, return_counts=True), strict=True)) == {
        "ape": 15,
        "mole": 20,
    }
    classifier = clone(BALANCED).fit(X, labels)
    column = {label: i for i, label in enumerate(classifier.classes_)}
    proba = classifier.predict_proba(rows)
    scores = [proba[i, column[label]] for i, label in enumerate(drawn)]
    assert min(scores) >= 0.3
    again, drawn_again = clone(sampler).fit_resample(X, labels)
    assert_array_equal(again[40:], rows)
    assert_array_equal(drawn_again[40:], drawn)
    other, _ = added(clone(sampler).set_params(random_state=1), X, labels)
    assert not np.array_equal(other, rows)


@pytest.mark.parametrize("scorer", ["density", BALANCED, Towards()])
@pytest.mark.parametrize("wrapped", [SMOTE(k_neighbors=3), GenerativeOverSampler()])
def test_rows_have_the_label_of_their_class(wrapped, scorer, separated_classes):
    rows, codes = separated_classes
    names = np.array(["zebra", "ape", "mole", "cow"])[codes]
    sampler = QualityFilter(wrapped, scorer=scorer, quantile=0.3, random_state=0)
    X_new, y_new = added(sampler, rows, names)
    assert np.unique(y_new, return_counts=True)[1].tolist() == [30, 55, 48]
    assert_array_equal(NearestCentroid().fit(rows, names).predict(X_new), y_new)


def test_higher_scores_are_better():
    plain = GenerativeOverSampler(random_state=0)
    for scorer in ("density", Towards()):
        sampler = QualityFilter(
            plain, scorer=scorer, quantile=0.8, sampling_strategy={2: 105}
        )
        X_new, y_new = added(sampler)
        X_plain, y_plain = added(clone(plain).set_params(sampling_strategy={2: 105}))
        fitted = (GaussianDensity() if scorer == "density" else Towards()).fit(X, y)
        kept = fitted.score_samples(X_new, y_new)
        assert kept.mean() > fitted.score_samples(X_plain, y_plain).mean() + 0.5
        assert kept.min() == sampler.threshold_[2]


def test_rounded_values_are_what_is_scored():
    frame = pd.DataFrame(np.round(4 * X).astype(int), columns=list("abcd"))
    frame["e"] = X[:, 0] > 0
    frame["f"] = X[:, 1]
    sampler = QualityFilter(
        SMOTE(k_neighbors=3), scorer=first_value, threshold=0.6, random_state=0
    )
    X_resampled, y_resampled = sampler.fit_resample(frame, pd.Series(y, name="kind"))
    pd.testing.assert_series_equal(X_resampled.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(X_resampled[:40], frame)
    assert y_resampled.name == "kind"
    assert np.bincount(y_resampled).tolist() == [25, 25, 25]
    new = X_resampled[40:]
    assert new["a"].min() == 1
    assert set(new["e"]) <= {True, False}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, bool])
def test_types_are_kept(dtype):
    rows = (10 * X).astype(dtype)
    for wrapped in (SMOTE(k_neighbors=3), RemixSampler()):
        sampler = QualityFilter(wrapped, quantile=0.5, random_state=0)
        X_resampled, _ = sampler.fit_resample(rows, y)
        assert X_resampled.dtype == dtype
        assert X_resampled[:40].tobytes() == rows.tobytes()
        assert len(X_resampled) == 75


# Near-duplicates


def nearest_of_all(rows, labels, X=X):
    """Return the smallest distances to training rows and within the classes."""
    within = [pdist(rows[labels == label]).min() for label in np.unique(labels)]
    return cdist(rows, X).min(), min(within)


@pytest.mark.parametrize("floor", [0.7, ("quantile", 0.5)])
@pytest.mark.parametrize("quantile", [None, 0.2])
def test_near_duplicates_are_dropped(floor, quantile):
    free, free_labels = added(GenerativeOverSampler(random_state=0))
    distance = floor
    if isinstance(floor, tuple):
        distances = cdist(X, X) + np.diag(np.full(40, np.inf))
        distance = np.quantile(distances.min(axis=1), 0.5)
    assert max(nearest_of_all(free, free_labels)) < distance, "there is something to do"
    sampler = QualityFilter(
        GenerativeOverSampler(), quantile=quantile, min_distance=floor, random_state=0
    )
    rows, labels = added(sampler)
    assert min(nearest_of_all(rows, labels)) >= distance * (1 - 1e-12)
    assert sampler.min_distance_ == pytest.approx(distance)
    assert np.bincount(labels).tolist() == [0, 15, 20]
    assert all(0 < rate < 1 for rate in sampler.acceptance_rate_.values())
    assert (sampler.scorer_ is None) == (quantile is None)


def test_near_duplicates_by_brute_force_over_several_blocks():
    rng = np.random.RandomState(0)
    # Single precision would put rows of this offset at a wrong distance.
    rows, real, kept = (100 + rng.uniform(size=(n, 2)) for n in (1500, 20, 30))
    expected, before = [], [*real, *kept]
    for row in rows:
        if np.linalg.norm(np.array(before) - row, axis=1).min() >= 0.02:
            expected.append(row)
            before.append(row)
    assert 512 < len(expected) < 1000
    assert_array_equal(NearDuplicates(real, 0.02).drop(rows, kept), expected)
    assert len(NearDuplicates(real, 9.0).drop(rows, kept)) == 0
    assert_array_equal(NearDuplicates(real, 0.0).drop(rows, ()), rows)


def test_copies_never_pass_a_distance():
    sampler = QualityFilter(RandomOverSampler(), min_distance=1e-9, random_state=0)
    with pytest.raises(ValueError, match="of 300 drawn, 300 scored well"):
        sampler.fit_resample(X, y)
    assert sampler.acceptance_rate_ == {1: 0, 2: 0}


# Seeds


def test_scorers_without_a_seed_get_that_of_the_filter():
    forest = RandomForestClassifier(n_estimators=5)
    sampler = QualityFilter(scorer=forest, quantile=0.5, random_state=0)
    assert_array_equal(added(sampler)[0], added(clone(sampler))[0])
    seed = sampler.scorer_.random_state
    assert seed is not None
    sampler.set_params(random_state=1).fit_resample(X, y)
    assert sampler.scorer_.random_state != seed
    assert forest.random_state is None
    sampler.set_params(scorer__random_state=3).fit_resample(X, y)
    assert sampler.scorer_.random_state == 3


def test_seed_of_the_sampler_counts_where_the_filter_has_none():
    for wrapped in (
        SMOTE(k_neighbors=3, random_state=0),
        GenerativeOverSampler(random_state=0),
        GenerativeOverSampler(ClassGaussian(random_state=0)),
    ):
        sampler = QualityFilter(wrapped, quantile=0.5)
        assert_array_equal(added(sampler)[0], added(clone(sampler))[0])


OWN_SEEDS = {
    "sampler": SMOTE(k_neighbors=3, random_state=7),
    "sampler around a generator": GenerativeOverSampler(random_state=7),
    "generator": GenerativeOverSampler(ClassGaussian(random_state=7)),
    "generator that is trained": GenerativeOverSampler(
        CVAE(random_state=7, max_epochs=2, latent_dim=2, device="cpu")
    ),
    "frozen generator": GenerativeOverSampler(
        FrozenEstimator(ClassGaussian(random_state=7).fit(X, y))
    ),
    "step": ProgressiveOverSampler([("only", SMOTE(k_neighbors=3, random_state=7))]),
}


@pytest.mark.filterwarnings("ignore:The CVAE uses none")
@pytest.mark.parametrize("case", OWN_SEEDS)
def test_an_integer_inside_wins_over_that_of_the_filter(case):
    sampler = QualityFilter(OWN_SEEDS[case], scorer=first_value, threshold=-0.5)
    expected, _ = added(clone(sampler).set_params(random_state=0))
    other = clone(sampler).set_params(random_state=1)
    assert_array_equal(added(other)[0], expected)
    assert len(np.unique(expected, axis=0)) == 35, "each round draws other samples"
    if "generator that" in case:
        assert other.sampler_.generator_.random_state == 7


@pytest.mark.parametrize(
    "wrapped",
    [
        SMOTE(k_neighbors=3),
        GenerativeOverSampler(ClassGaussian()),
        GenerativeOverSampler(FrozenEstimator(ClassGaussian().fit(X, y))),
        GenerativeOverSampler(FrozenEstimator(Planted().fit(X, y))),
        ProgressiveOverSampler([("only", SMOTE(k_neighbors=3))]),
    ],
)
def test_the_filter_seeds_what_has_no_integer(wrapped):
    # A RandomState is none: the filter replaces it.
    given = clone(wrapped).set_params(random_state=np.random.RandomState(9))
    sampler = QualityFilter(wrapped, scorer=first_value, threshold=-0.5, random_state=0)
    expected, _ = added(sampler)
    assert_array_equal(added(clone(sampler))[0], expected)
    assert_array_equal(added(clone(sampler).set_params(sampler=given))[0], expected)
    other = clone(sampler).set_params(random_state=1)
    assert not np.array_equal(added(other)[0], expected)


def test_frozen_generators_and_scorers_are_used_as_they_are():
    generator = FrozenEstimator(ClassGaussian().fit(X + 100, y))
    scaled = make_pipeline(StandardScaler(), clone(BALANCED))
    scorer = FrozenEstimator(scaled.fit(X + 100, y))
    sampler = QualityFilter(
        GenerativeOverSampler(generator), scorer=scorer, threshold=0.3, random_state=0
    )
    new, labels = added(sampler)
    assert sampler.sampler_.generator_ is generator
    assert sampler.scorer_ is scorer
    assert new.min() > 90
    assert_array_equal(scorer.predict_proba(new)[range(35), labels] >= 0.3, True)
    for fitted, message in (
        (clone(BALANCED).fit(X[:, :3], y), "fitted to 3 features, and X has 4"),
        (clone(BALANCED).fit(X[:35], y[:35]), r"without the classes \[2\]"),
    ):
        refused = clone(sampler).set_params(scorer=FrozenEstimator(fitted))
        with pytest.raises(ValueError, match=message):
            refused.fit_resample(X, y)


def test_hard_samples_are_filtered_and_not_plain_draws():
    hard = HardOverSampler(classifier=BALANCED, n_steps=20, stop_margin=None)
    sampler = QualityFilter(hard, scorer=first_value, threshold=-0.5, random_state=0)
    new, labels = added(sampler)
    assert new[:, 0].min() >= -0.5
    plain, _ = added(clone(sampler).set_params(sampler__n_steps=0))
    classifier = clone(BALANCED).fit(X, y)
    proba = [classifier.predict_proba(of)[range(35), labels] for of in (new, plain)]
    assert proba[0].mean() < proba[1].mean() - 0.05


# What is refused


def test_fails_clearly_within_its_limit():
    sampler = QualityFilter(
        SMOTE(k_neighbors=3), scorer=first_value, threshold=99, max_draws=7
    )
    with pytest.raises(
        ValueError,
        match=r"2 of 2 classes: 1 \(0 of 15 samples; of 105 drawn, 0 scored well\), 2 ",
    ):
        sampler.fit_resample(X, y)
    assert sampler.n_draws_ == {1: 105, 2: 140}
    assert sampler.acceptance_rate_ == {1: 0, 2: 0}


class SoftLabels(RandomOverSampler):
    """Returns a share of each class for each row."""

    def fit_resample(self, X, y):
        X, y = super().fit_resample(X, y)
        return X, np.eye(3)[y]


REFUSED = {
    "nothing to do": ({}, ValueError, "Every sample would pass"),
    "both": ({"threshold": 1.0, "quantile": 0.5}, ValueError, "not both"),
    "unreachable": ({"quantile": 0.96}, ValueError, "raise max_draws"),
    "distance": ({"min_distance": ("share", 1)}, ValueError, "min_distance must be"),
    "strategy": (
        {"quantile": 0.5, "sampler": SMOTE(sampling_strategy="all")},
        ValueError,
        "Set sampling_strategy on QualityFilter",
    ),
    "no sampler": (
        {"quantile": 0.5, "sampler": make_pipeline(SMOTE())},
        TypeError,
        "must be an over-sampler",
    ),
    "frozen sampler": (
        {"quantile": 0.5, "sampler": FrozenEstimator(RemixSampler().fit(X, y))},
        TypeError,
        "must be an over-sampler instance",
    ),
    "sampler class": (
        {"quantile": 0.5, "sampler": SMOTE},
        TypeError,
        "must be an over-sampler instance",
    ),
    "class": ({"quantile": 0.5, "scorer": SVC}, TypeError, "must be an instance"),
    "no label": (
        {"quantile": 0.5, "scorer": IsolationForest()},
        TypeError,
        "must take samples and labels",
    ),
    "no critic": ({"quantile": 0.5, "scorer": "generator"}, TypeError, "generator"),
    "scorer": ({"quantile": 0.5, "scorer": "critic"}, ValueError, "'scorer' param"),
    "no score": (
        {"quantile": 0.5, "scorer": SMOTE()},
        TypeError,
        "or be a classifier",
    ),
    "shape": (
        {"quantile": 0.5, "scorer": lambda X, y: X},
        ValueError,
        r"one score for each sample: got an array of shape \(30, 4\)",
    ),
    "NaN": (
        {"threshold": 0.5, "scorer": lambda X, y: np.log(X[:, 0] - 99)},
        ValueError,
        "NaN for 15 samples",
    ),
    "not an over-sampler": (
        {"quantile": 0.5, "sampler": RandomUnderSampler()},
        ValueError,
        "under-sampling methods",
    ),
    "cleans": (
        {"quantile": 0.5, "sampler": SMOTEENN(smote=SMOTE(k_neighbors=3))},
        ValueError,
        "must return the training samples first",
    ),
    "soft labels": (
        {"quantile": 0.5, "sampler": SoftLabels()},
        ValueError,
        r"one hard label for each sample, got labels of shape \(\d+, 3\)",
    ),
    "nested": (
        {"quantile": 0.5, "sampler": SMOTE(k_neighbors=-1)},
        InvalidParameterError,
        "'k_neighbors' parameter of SMOTE",
    ),
    "too few neighbours": (
        {"quantile": 0.5, "sampler": SMOTE()},
        ValueError,
        "n_neighbors",
    ),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in log")
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    params, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        QualityFilter(**params).fit_resample(X, y)


def test_settings_are_checked_by_fit_as_well():
    with pytest.raises(ValueError, match="Every sample would pass"):
        QualityFilter().fit(X, y)
    assert QualityFilter(quantile=0.5).fit(X, y).sampling_strategy_ == {1: 15, 2: 20}


# In pipelines


def test_nested_parameters_reach_the_sampler_in_a_grid_search():
    pipeline = make_pipeline(
        QualityFilter(GenerativeOverSampler(ClassGaussian()), quantile=0.5),
        LogisticRegression(),
    )
    grid = {
        "qualityfilter__sampler__generator__variance": [0.5, 2.0],
        "qualityfilter__quantile": [0.0, 0.5],
    }
    pipeline.set_params(qualityfilter__random_state=0)
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    sampler = search.best_estimator_["qualityfilter"]
    best = search.best_params_["qualityfilter__sampler__generator__variance"]
    assert sampler.sampler_.generator_.variance == best
    assert sampler.sampler_ is not sampler.sampler


def test_fitted_filters_are_pickled():
    sampler = QualityFilter(SMOTE(k_neighbors=3), quantile=0.5, random_state=0)
    expected, _ = sampler.fit_resample(X, y)
    restored = pickle.loads(pickle.dumps(sampler))
    assert restored.acceptance_rate_ == sampler.acceptance_rate_
    assert_array_equal(restored.fit_resample(X, y)[0], expected)
