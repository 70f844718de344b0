"""What PriorCorrectedClassifier knows, refuses, checks, routes and calibrates."""

import warnings

import numpy as np
import pytest
import sklearn
import torch
from imblearn.ensemble import BalancedBaggingClassifier, EasyEnsembleClassifier
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline as make_plain_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier

from skcvae.datasets import make_long_tailed
from skcvae.long_tail import LongTailClassifier, PriorCorrectedClassifier
from skcvae.long_tail._held_out_prior import BiasCorrectedTemperature, gross_mismatch
from skcvae.long_tail._trained_prior import (
    ChosenPriorError,
    Labels,
    UnknownPriorError,
    trained_prior,
)
from skcvae.metrics import expected_calibration_error

COUNT = np.array([60.0, 25.0, 15.0])
THREE = Labels(np.array(["a", "b", "c"]), COUNT, COUNT)
TWO = Labels(np.array([0, 1]), np.array([90.0, 10.0]), np.array([90.0, 10.0]))

plain = LogisticRegression()
balanced = LogisticRegression(class_weight="balanced")
forest = RandomForestClassifier(5, class_weight="balanced_subsample")
smote = make_pipeline(SMOTE(), plain)
CHOICE = {"class_weight": [None, "balanced"]}


class Weights(ClassifierMixin, BaseEstimator):
    """Has the parameters of classifiers of other libraries."""

    def __init__(
        self,
        scale_pos_weight=None,
        is_unbalance=False,
        class_weights=None,
        auto_class_weights=None,
        unbalanced_sets=None,
    ):
        self.scale_pos_weight = scale_pos_weight
        self.is_unbalance = is_unbalance
        self.class_weights = class_weights
        self.auto_class_weights = auto_class_weights
        self.unbalanced_sets = unbalanced_sets


class Wrapper(ClassifierMixin, BaseEstimator):
    """A composition that nobody knows."""

    def __init__(self, estimator=None):
        self.estimator = estimator


class BalancesInside(ClassifierMixin, BaseEstimator):
    """Balances the classes, and has no parameter that tells it."""

    def fit(self, X, y):
        self.inner_ = LogisticRegression(class_weight="balanced").fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)

    def predict(self, X):
        return self.inner_.predict(X)


def members(*classifiers):
    return [(str(i), classifier) for i, classifier in enumerate(classifiers)]


# What is known

UNIFORM, TRAIN = [1, 1, 1], COUNT
KNOWN = {
    "plain": (plain, TRAIN),
    "balanced": (balanced, UNIFORM),
    "subsample": (forest, UNIFORM),
    "dict": (LogisticRegression(class_weight={"b": 2}), [60, 50, 15]),
    "pipeline": (make_plain_pipeline(StandardScaler(), balanced), UNIFORM),
    "bagging": (BaggingClassifier(balanced), UNIFORM),
    "bagging of trees": (BaggingClassifier(), TRAIN),
    "deep": (
        BaggingClassifier(make_plain_pipeline(BaggingClassifier(balanced))),
        UNIFORM,
    ),
    "voting": (VotingClassifier(members(balanced, forest), voting="soft"), UNIFORM),
    "voting without one": (
        VotingClassifier([*members(balanced), ("off", "drop")], voting="soft"),
        UNIFORM,
    ),
    "stacking": (StackingClassifier(members(balanced, forest)), TRAIN),
    "stacking, balanced": (StackingClassifier(members(plain), balanced), UNIFORM),
    "calibrated": (CalibratedClassifierCV(balanced), TRAIN),
    "calibrated frozen": (CalibratedClassifierCV(FrozenEstimator(balanced)), TRAIN),
    "warm": (CalibratedClassifierCV(plain, method="temperature"), TRAIN),
    "threshold": (FixedThresholdClassifier(balanced), UNIFORM),
    "tuned": (TunedThresholdClassifierCV(balanced), UNIFORM),
    "elimination": (RFE(balanced), UNIFORM),
    "search": (GridSearchCV(balanced, {"C": [1, 2]}), UNIFORM),
    "own target": (LongTailClassifier(), UNIFORM),
    "own target of numbers": (LongTailClassifier(target_prior=[1, 1, 2]), [1, 1, 2]),
    "target of a bag": (
        BaggingClassifier(PriorCorrectedClassifier(balanced)),
        [0.60, 0.25, 0.15],
    ),
    "one-vs-rest": (OneVsRestClassifier(plain), TRAIN),
    "boosting": (AdaBoostClassifier(), TRAIN),
    "GaussianNB": (GaussianNB(), TRAIN),
    "GaussianNB, priors": (GaussianNB(priors=[0.2, 0.2, 0.6]), [0.2, 0.2, 0.6]),
    "MultinomialNB": (MultinomialNB(class_prior=[0.5, 0.4, 0.1]), [0.5, 0.4, 0.1]),
    "BernoulliNB": (BernoulliNB(fit_prior=False), UNIFORM),
    "NearestCentroid": (NearestCentroid(), UNIFORM),
    "NearestCentroid, empirical": (NearestCentroid(priors="empirical"), TRAIN),
    "dummy": (DummyClassifier(strategy="uniform"), UNIFORM),
    "listed weights": (Weights(class_weights=[1, 2, 4]), [60, 50, 60]),
    "weights by name": (Weights(class_weights={"c": 4}), [60, 25, 60]),
    "automatic": (Weights(auto_class_weights="Balanced"), UNIFORM),
    "square roots": (Weights(auto_class_weights="SqrtBalanced"), np.sqrt(COUNT)),
    "one": (Weights(scale_pos_weight=1), TRAIN),
    "unknown wrapper": (Wrapper(plain), TRAIN),
}


@pytest.mark.parametrize("name", KNOWN)
def test_prior_follows_from_the_whole_composition(name):
    classifier, expected = KNOWN[name]
    expected = np.asarray(expected, dtype=float)
    assert_allclose(trained_prior(classifier, THREE), expected / expected.sum())


@pytest.mark.parametrize(
    ("classifier", "expected"),
    [
        (Weights(scale_pos_weight=3), [90, 30]),
        (Weights(is_unbalance=True), [1, 1]),
        (OneVsRestClassifier(balanced), [1, 1]),
        (OneVsRestClassifier(LogisticRegression(class_weight={1: 9})), [1, 1]),
    ],
    ids=str,
)
def test_weights_of_two_classes(classifier, expected):
    expected = np.divide(expected, sum(expected))
    assert_allclose(trained_prior(classifier, TWO), expected)


UNKNOWN = {
    "sampler in a bag": (BaggingClassifier(smote), "Pipeline > smote"),
    "sampler in a search in a bag": (
        BaggingClassifier(GridSearchCV(smote, {})),
        "smote",
    ),
    "resampling": (BalancedBaggingClassifier(), "BalancedBagging.*sampling_strategy"),
    "easy": (EasyEnsembleClassifier(), "EasyEnsemble.*resamples"),
    "no target": (LongTailClassifier(target_prior=None), "target_prior=None"),
    "prior of the samples, not of the batches": (
        LongTailClassifier(prior_correction="original"),
        "a part to its batches",
    ),
    "uncorrected": (
        BaggingClassifier(LongTailClassifier(prior_correction=None)),
        "Bag.* > LongTail.*prior_correction=None",
    ),
    "frozen": (FrozenEstimator(plain), "trained elsewhere"),
    "frozen in a bag": (
        BaggingClassifier(FrozenEstimator(plain)),
        "Bag.* > Frozen",
    ),
    "two priors": (VotingClassifier(members(plain, balanced)), "different priors"),
    "temperature": (
        CalibratedClassifierCV(balanced, method="temperature"),
        "temperature on top",
    ),
    "boosting": (AdaBoostClassifier(forest), "AdaBoost.*reweights"),
    "one-vs-rest": (OneVsRestClassifier(balanced), "OneVsRest.*against all others"),
    "complement": (ComplementNB(), "no class prior"),
    "self-training": (SelfTrainingClassifier(balanced), "estimator__class_weight"),
    "wrapper": (Wrapper(balanced), r"Wrapper.*estimator__class_weight='balanced'"),
    "wrapped sampler": (Wrapper(smote), "sampler"),
    "wrapped choice": (
        BaggingClassifier(GridSearchCV(plain, CHOICE)),
        "chooses 'cl",
    ),
    "positive class of three": (Weights(scale_pos_weight=2), "scale_pos_weight=2"),
    "unbalance of three": (Weights(is_unbalance=True), "is_unbalance"),
    "sets": (Weights(unbalanced_sets=True), "unbalanced_sets"),
    "two ways": (Weights(class_weights=[1, 2, 3], scale_pos_weight=2), "at once"),
    "short list": (Weights(class_weights=[1, 2]), "class_weights"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_errors_name_the_part_and_the_way_out(name):
    classifier, part = UNKNOWN[name]
    with pytest.raises(UnknownPriorError, match=part) as caught:
        trained_prior(classifier, THREE)
    assert "trained_prior='uniform'" in str(caught.value)


@pytest.mark.parametrize(
    "search",
    [
        GridSearchCV(plain, CHOICE),
        GridSearchCV(
            make_plain_pipeline(plain), [{"logisticregression__class_weight": [None]}]
        ),
        RandomizedSearchCV(GaussianNB(), {"priors": [None]}),
    ],
    ids=lambda search: type(search).__name__,
)
def test_choice_of_a_search_is_unknown_before_it_is_fitted(search):
    with pytest.raises(ChosenPriorError, match="chooses"):
        trained_prior(search, THREE)


@pytest.fixture(scope="module")
def rare():
    """Samples for training and testing, of which one in twenty is positive."""
    X, y = make_classification(
        8000, weights=[0.95], class_sep=0.5, n_clusters_per_class=1, random_state=1
    )
    return X[:3000], y[:3000], X[3000:], y[3000:]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "classifier",
    [
        BaggingClassifier(balanced, 5, random_state=0),
        StackingClassifier(members(plain), balanced, cv=3),
        StackingClassifier(members(balanced), cv=3),
        GridSearchCV(plain, {"class_weight": ["balanced"]}, cv=3),
        GridSearchCV(plain, CHOICE, cv=3, scoring="balanced_accuracy"),
        FixedThresholdClassifier(balanced),
        CalibratedClassifierCV(balanced, cv=3),
        make_plain_pipeline(StandardScaler(), GridSearchCV(balanced, {"C": [1]}, cv=3)),
    ],
    ids=str,
)
def test_hidden_weights_are_corrected(classifier, rare):
    X, y, X_test, y_test = rare
    corrected = PriorCorrectedClassifier(classifier).fit(X, y)
    mean = corrected.predict_proba(X_test)[:, 1].mean()
    assert_allclose(mean, y_test.mean(), rtol=0.2)


def test_stated_prior_is_taken_where_auto_refuses(rare):
    X, y, X_test, y_test = rare
    bags = BaggingClassifier(make_pipeline(SMOTE(random_state=0), plain), 3)
    for claim in ("balanced", "uniform", [0.5, 0.5]):
        corrected = PriorCorrectedClassifier(bags, trained_prior=claim).fit(X, y)
        assert_array_equal(corrected.trained_prior_, [0.5, 0.5])
    assert_allclose(
        corrected.predict_proba(X_test)[:, 1].mean(), y_test.mean(), rtol=0.2
    )


@pytest.mark.filterwarnings("error")
def test_a_search_over_a_sampler_counts_what_its_best_pipeline_makes(rare):
    X, y, X_test, y_test = rare
    grid = {"smote__sampling_strategy": [0.2, 0.4]}
    search = GridSearchCV(smote, grid, cv=2, scoring="balanced_accuracy")
    corrected = PriorCorrectedClassifier(search).fit(X, y)
    ratio = corrected.estimator_.best_params_["smote__sampling_strategy"]
    n_negative = np.sum(y == 0)
    expected = np.array([n_negative, int(ratio * n_negative)])
    assert_allclose(corrected.trained_prior_, expected / expected.sum())
    mean = corrected.predict_proba(X_test)[:, 1].mean()
    assert_allclose(mean, y_test.mean(), rtol=0.2)
    corrected.set_params(estimator=GridSearchCV(smote, {}))
    with pytest.raises(ValueError, match="smote is trained for: it is"):
        corrected.fit(X, y, sample_weight=np.ones(len(y)))


# A prior that held-out samples show


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "classifier",
    [
        BaggingClassifier(make_pipeline(SMOTE(random_state=0), plain), 3),
        EasyEnsembleClassifier(3, random_state=0),
        BalancesInside(),
        GaussianNB(priors=[0.5, 0.5]),
        smote,
    ],
    ids=str,
)
def test_held_out_prior_needs_no_rule(classifier, rare):
    X, y, X_test, y_test = rare
    corrected = PriorCorrectedClassifier(classifier, trained_prior="held_out")
    mean = corrected.fit(X, y).predict_proba(X_test)[:, 1].mean()
    assert_allclose(mean, y_test.mean(), rtol=0.2)


@pytest.mark.parametrize(
    "classifier",
    [BalancesInside(), RandomForestClassifier(30, class_weight="balanced")],
    ids=str,
)
def test_auto_takes_the_held_out_prior_where_the_check_fails(classifier, rare):
    X, y, X_test, y_test = rare
    # No leaf of one sample: the probabilities of such forests are votes.
    if isinstance(classifier, RandomForestClassifier):
        classifier.set_params(min_samples_leaf=20, random_state=0)
    with pytest.warns(UserWarning, match="as these samples show it"):
        corrected = PriorCorrectedClassifier(classifier).fit(X, y)
    mean = corrected.predict_proba(X_test)[:, 1].mean()
    assert_allclose(mean, y_test.mean(), rtol=0.2)
    # What the user states is kept.
    with pytest.warns(UserWarning, match="mean probability"):
        stated = PriorCorrectedClassifier(classifier, trained_prior=[0.99, 0.01])
        assert_allclose(stated.fit(X, y).trained_prior_, [0.99, 0.01])


def test_bias_and_slope_of_held_out_samples_are_recovered():
    # Log-odds x are true ones; a classifier shows x / 2 + 3.
    x = np.random.RandomState(0).normal(-2, 2, size=100_000)
    codes = (np.random.RandomState(1).uniform(size=len(x)) < expit(x)).astype(int)
    shown = expit(x / 2 + 3)
    prior = np.bincount(codes) / len(codes)
    proba = np.column_stack([1 - shown, shown])
    found = BiasCorrectedTemperature(proba, codes, prior, np.ones(len(codes)))
    assert_allclose(found.slope, 2, rtol=0.03)
    assert_allclose(found.shift[1] - found.shift[0], -6, rtol=0.03)
    # The prior that explains the 3.
    odds = found.correct(np.array([0.5, 0.5]))
    assert_allclose(np.log(odds[1] / odds[0]), 3, rtol=0.03)


def test_held_out_means_of_classes_match_their_shares():
    rng = np.random.RandomState(0)
    proba = rng.dirichlet([4, 2, 1, 1], size=400)
    codes = np.repeat(np.arange(4), [250, 120, 26, 4])
    prior = np.array([0.6, 0.3, 0.06, 0.04])
    weight = rng.uniform(0.5, 2, size=400)
    found = BiasCorrectedTemperature(proba, codes, prior, weight)
    per_class = np.bincount(codes, weight)
    mean = (weight * (prior / per_class)[codes]) @ found(proba)
    assert_allclose(mean, prior, atol=1e-4)
    # A class without held-out samples gets the shift of the small ones.
    padded = np.column_stack([proba, np.full(400, 1e-3)])
    wider = BiasCorrectedTemperature(padded, codes, np.append(prior, 0.01), weight)
    assert wider.shift[4] == wider.shift[3]


def test_auto_keeps_the_claim_where_the_held_out_prior_costs_predictions():
    # Far from all samples, its probabilities differ in the tenth digit only.
    X, y = load_digits(return_X_y=True)
    X, y = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    flat = make_plain_pipeline(
        StandardScaler(), GaussianProcessClassifier(random_state=0)
    )
    with pytest.warns(UserWarning, match="probabilities need a calibration"):
        corrected = PriorCorrectedClassifier(flat).fit(X, y)
    assert_array_equal(corrected.trained_prior_, np.bincount(y) / len(y))
    assert_array_equal(corrected.predict(X), flat.fit(X, y).predict(X))


def test_a_class_that_is_never_held_out_is_not_measured():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [120, 40, 3])
    X = rng.normal(size=(163, 2)) + 1.5 * np.eye(3)[y][:, 1:]
    # SMOTE needs all three samples of the last class in each training part.
    pipeline = make_pipeline(SMOTE(k_neighbors=2, random_state=0), LogisticRegression())
    measured = PriorCorrectedClassifier(pipeline, trained_prior="held_out")
    with pytest.raises(ValueError, match=r"cannot measure the prior .* \[2\]"):
        measured.fit(X, y)
    counted = clone(measured).set_params(trained_prior="auto").fit(X, y)
    assert counted.predict_proba(X)[:, 2].mean() == pytest.approx(3 / 163, abs=0.01)
    pipeline.set_params(smote__k_neighbors=1)
    proba = measured.fit(X, y).predict_proba(X)
    assert proba[:, 2].mean() == pytest.approx(3 / 163, abs=0.01)


def test_held_out_prior_and_temperature_together(rare):
    X, y, X_test, y_test = rare
    corrected = PriorCorrectedClassifier(
        BalancesInside(), trained_prior="held_out", calibration="temperature", cv=3
    )
    mean = corrected.fit(X, y).predict_proba(X_test)[:, 1].mean()
    assert_allclose(mean, y_test.mean(), rtol=0.2)


# The check


def messages(classifier, X, y, **params):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PriorCorrectedClassifier(classifier, **params).fit(X, y)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("calibration", [None, "temperature"])
def test_a_classifier_that_balances_inside_is_found_out(calibration, rare):
    X, y = rare[:2]
    (message,) = messages(BalancesInside(), X, y, calibration=calibration, cv=3)
    assert "classes [1] is taken to be 0.0527" in message
    # The mean probability is that of a balanced classifier.
    mean = float(message.partition("of this prior is ")[2].split(". ")[0])
    assert 0.3 < mean < 0.5
    assert messages(BalancesInside(), X, y, trained_prior="uniform") == []
    assert messages(BalancesInside(), X, y, check_prior=False) == []


def test_a_wrong_claim_is_found_out(rare):
    X, y = rare[:2]
    (message, *_) = messages(plain, X, y, trained_prior="uniform")
    assert "mean probability" in message
    assert messages(balanced, X, y, trained_prior="train") != []
    assert messages(plain, X, y) == messages(balanced, X, y) == []


def test_probabilities_that_a_correction_makes_wrong_are_found_out(rare):
    X, y = rare[:2]
    found = messages(GaussianNB(priors=[0.5, 0.5]), X, y)
    assert any("The corrected prior of the classes" in message for message in found)


def test_separable_classes_leave_the_check_without_power():
    X = np.repeat([[0.0], [9.0]], [190, 10], axis=0)
    y = np.repeat([0, 1], [190, 10])
    assert messages(BalancesInside(), X, y) == []


def test_gross_mismatch_by_hand():
    codes = np.repeat([0, 1], [80, 20])
    weight = np.ones(100)
    proba = np.where(codes[:, None] == 0, [0.7, 0.3], [0.3, 0.7])
    # With the prior 0.8 and 0.2, the mean of class 1 is 0.8 * 0.3 + 0.2 * 0.7.
    prior = np.array([0.8, 0.2])
    columns, claimed, mean = gross_mismatch(proba, codes, prior, weight, 2)
    assert_allclose([claimed, mean], [0.2, 0.38])
    assert columns.tolist() == [1]
    assert gross_mismatch(proba, codes, np.array([0.5, 0.5]), weight, 1.01) is None
    assert gross_mismatch(proba, codes, prior, weight, 3) is None
    # Weights that make both classes equally frequent change nothing of it.
    weight = np.where(codes == 0, 1, 4)
    assert_allclose(gross_mismatch(proba, codes, prior, weight, 2)[2], mean)


def test_classes_of_few_samples_are_checked_together():
    rng = np.random.RandomState(0)
    codes = np.repeat(np.arange(12), [200, 200, *[4] * 10])
    proba = rng.dirichlet(np.ones(12), size=len(codes))
    prior = np.bincount(codes) / len(codes)
    columns, claimed, mean = gross_mismatch(proba, codes, prior, np.ones(len(codes)), 2)
    assert columns.tolist() == list(range(2, 12))
    assert_allclose([claimed, mean], [40 / 440, 10 / 12], atol=0.02)


# Metadata


class Notes(ClassifierMixin, BaseEstimator):
    """Notes what its fits are given."""

    seen = []

    def fit(self, X, y, sample_weight=None, color=None):
        Notes.seen.append((sample_weight, color))
        self.inner_ = LogisticRegression().fit(X, y, sample_weight)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)

    def predict(self, X):
        return self.inner_.predict(X)


@pytest.fixture
def seen():
    Notes.seen.clear()
    return Notes.seen


@pytest.mark.parametrize("calibration", [None, "temperature", "sigmoid"])
@pytest.mark.parametrize("routing", [False, True])
def test_sample_weight_reaches_each_fit_and_counts_in_the_prior(
    routing, calibration, rare, seen
):
    X, y = rare[0][:300], rare[1][:300]
    weight = np.where(y == 1, 3.0, 1.0) * np.linspace(0.5, 1.5, len(y))
    with sklearn.config_context(enable_metadata_routing=routing):
        classifier = Notes()
        if routing:
            classifier.set_fit_request(sample_weight=True, color=True)
        corrected = PriorCorrectedClassifier(classifier, calibration=calibration, cv=2)
        corrected.fit(X, y, sample_weight=weight, color="red")
    assert_allclose(corrected.class_count_, np.bincount(y, weight))
    expected = np.bincount(y, weight) / weight.sum()
    assert_allclose(corrected.trained_prior_, expected)
    assert_allclose(corrected.target_prior_, expected)
    assert sorted(len(w) for w, _ in seen) == [150, 150, 300]
    assert {color for _, color in seen} == {"red"}
    assert_allclose(sum(w.sum() for w, _ in seen), 2 * weight.sum())


@pytest.mark.parametrize("routing", [False, True])
def test_sample_weight_reaches_the_last_step_of_a_pipeline(routing, rare, seen):
    X, y = rare[0][:300], rare[1][:300]
    weight = np.where(y == 1, 3.0, 1.0)
    name = "sample_weight" if routing else "notes__sample_weight"
    with sklearn.config_context(enable_metadata_routing=routing):
        last = Notes().set_fit_request(sample_weight=True) if routing else Notes()
        scaler = StandardScaler()
        if routing:
            scaler.set_fit_request(sample_weight=False)
        pipeline = make_plain_pipeline(scaler, last)
        corrected = PriorCorrectedClassifier(pipeline).fit(X, y, **{name: weight})
    assert_allclose(corrected.trained_prior_, np.bincount(y, weight) / weight.sum())
    assert all(w is not None for w, _ in seen)


def test_weights_that_only_a_transformer_takes_leave_the_prior_alone(rare, seen):
    X, y = rare[0][:300], rare[1][:300]
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        last = Notes().set_fit_request(sample_weight=False)
        pipeline = make_plain_pipeline(scaler, last)
        weight = np.where(y == 1, 3.0, 1.0)
        corrected = PriorCorrectedClassifier(pipeline).fit(X, y, sample_weight=weight)
    assert_allclose(corrected.class_count_, np.bincount(y))
    assert all(w is None for w, _ in seen)


def test_metadata_that_nobody_requested_is_refused(rare):
    X, y = rare[:2]
    with sklearn.config_context(enable_metadata_routing=True):
        corrected = PriorCorrectedClassifier(LogisticRegression())
        with pytest.raises(ValueError, match="sample_weight"):
            corrected.fit(X, y, sample_weight=np.ones(len(y)))
        search = GridSearchCV(corrected, {"calibration": [None]}, cv=2)
        with pytest.raises(ValueError, match="sample_weight"):
            search.fit(X, y, sample_weight=np.ones(len(y)))


def test_sample_weight_goes_through_a_search(rare, seen):
    X, y = rare[0][:300], rare[1][:300]
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = Notes().set_fit_request(sample_weight=True)
        corrected = PriorCorrectedClassifier(classifier, check_prior=False)
        corrected.set_score_request(sample_weight=False)
        search = GridSearchCV(corrected, {"target_prior": ["train"]}, cv=2)
        search.fit(X, y, sample_weight=np.full(len(y), 2.0))
    assert_array_equal(search.best_estimator_.class_count_, 2 * np.bincount(y))
    assert sorted(len(w) for w, _ in seen) == [150, 150, 300]


@pytest.mark.parametrize("routing", [False, True])
def test_groups_reach_the_splitter(routing, rare, seen):
    X, y = rare[0][:300], rare[1][:300]
    groups = np.arange(300) % 10
    with sklearn.config_context(enable_metadata_routing=routing):
        classifier = PriorCorrectedClassifier(
            LogisticRegression(), calibration="temperature", cv=GroupKFold(3)
        )
        grouped = classifier.fit(X, y, groups=groups).predict_proba(X)
        classifier.set_params(cv=list(GroupKFold(3).split(X, y, groups)))
        assert_array_equal(classifier.fit(X, y).predict_proba(X), grouped)
        with pytest.raises(ValueError, match="groups"):
            classifier.set_params(cv=GroupKFold(3)).fit(X, y)


def test_samplers_and_sample_weights_exclude_each_other(rare):
    X, y = rare[:2]
    pipeline = make_pipeline(RandomOverSampler(), LogisticRegression())
    with pytest.raises(ValueError, match="sampler in the pipeline"):
        PriorCorrectedClassifier(pipeline).fit(
            X, y, logisticregression__sample_weight=np.ones(len(y))
        )


def test_balance_by_sums_or_by_counts_is_told_apart(rare):
    X, y = rare[:2]
    weight = np.where(y == 1, 3.0, 1.0)
    fitted = PriorCorrectedClassifier(balanced).fit(X, y, sample_weight=weight)
    assert_array_equal(fitted.trained_prior_, [0.5, 0.5])
    tree = DecisionTreeClassifier(class_weight="balanced")
    with pytest.raises(ValueError, match="mean of their sample_weight"):
        PriorCorrectedClassifier(tree).fit(X, y, sample_weight=weight)
    PriorCorrectedClassifier(tree, check_prior=False).fit(X, y, sample_weight=0 * y + 2)


@pytest.mark.parametrize("routing", [False, True])
def test_long_tail_classifier_takes_weights_and_groups(routing, separated_classes):
    X, y = separated_classes
    weight = np.linspace(0.0, 2.0, len(y))
    groups = np.arange(len(y)) % 6
    with sklearn.config_context(enable_metadata_routing=routing):
        classifier = LongTailClassifier(
            max_epochs=2,
            device="cpu",
            random_state=0,
            calibration="temperature",
            cv=GroupKFold(2),
        )
        if routing:
            classifier.set_fit_request(sample_weight=True, groups=True)
            scaler = StandardScaler().set_fit_request(sample_weight=False)
            pipeline = make_plain_pipeline(scaler, classifier)
            pipeline.fit(X, y, sample_weight=weight, groups=groups)
            classifier = pipeline[-1]
        else:
            classifier.fit(X, y, sample_weight=weight, groups=groups)
    assert_allclose(classifier.class_count_, np.bincount(y, weight))


# Calibration of small classes


def small_class(n_samples):
    rng = np.random.RandomState(0)
    y = np.repeat(["a", "b", "c"], [80, 40, n_samples])
    return rng.normal(size=(len(y), 3)) + 2 * np.eye(3)[
        np.searchsorted(["a", "b", "c"], y)
    ], y


@pytest.mark.parametrize("n_samples", [3, 4, 5, 9])
def test_folds_leave_a_small_class_what_smote_needs(n_samples):
    X, y = small_class(n_samples)
    pipeline = make_pipeline(SMOTE(k_neighbors=2, random_state=0), LogisticRegression())
    classifier = PriorCorrectedClassifier(pipeline, calibration="temperature")
    proba = classifier.fit(X, y).predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1)
    assert (proba[y == "c", 2] > 0).all()


def test_a_class_that_smote_cannot_fill_is_named():
    X, y = small_class(3)
    pipeline = make_pipeline(SMOTE(), LogisticRegression())
    classifier = PriorCorrectedClassifier(pipeline, calibration="temperature")
    with pytest.raises(ValueError, match=r"\['c', 'b', 'a'\] have \[3, .*fewer neigh"):
        classifier.fit(X, y)


def test_a_class_that_is_never_held_out_is_named():
    X, y = small_class(3)
    pipeline = make_pipeline(SMOTE(k_neighbors=2), LogisticRegression())
    classifier = PriorCorrectedClassifier(pipeline, calibration="sigmoid")
    with pytest.raises(ValueError, match=r"\['c'\] with \[3\] samples are too small"):
        classifier.fit(X, y)


@pytest.mark.parametrize("calibration", ["temperature", "sigmoid"])
def test_calibration_lowers_the_error_after_smote(calibration):
    X, y = make_classification(
        12_000,
        n_features=80,
        n_informative=6,
        n_classes=3,
        weights=[0.8, 0.15],
        class_sep=0.7,
        random_state=0,
    )
    logistic = LogisticRegression(C=100, max_iter=1000)
    smote = make_pipeline(SMOTE(random_state=0), logistic)
    y_test = y[1500:]
    errors = []
    for method in (None, calibration):
        classifier = PriorCorrectedClassifier(
            smote, target_prior="uniform", calibration=method, check_prior=False
        ).fit(X[:1500], y[:1500])
        weight = (1 / np.bincount(y_test))[y_test]
        proba = classifier.predict_proba(X[1500:])
        errors.append(expected_calibration_error(y_test, proba, sample_weight=weight))
    assert errors[1] < errors[0] * {"temperature": 0.7, "sigmoid": 0.55}[calibration]


@pytest.mark.parametrize("target", ["uniform", "train"])
def test_long_tail_classifier_is_calibrated_by_its_temperature(target):
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(4), [300, 100, 30, 10])
    centers = rng.normal(size=(4, 40))
    X = centers[y] + 3 * rng.normal(size=(len(y), 40))
    y_test = np.repeat(np.arange(4), 300)
    X_test = centers[y_test] + 3 * rng.normal(size=(len(y_test), 40))
    share = np.bincount(y) / len(y)
    weight = None if target == "uniform" else share[y_test]
    # Without weight decay, the head is much too sure.
    sure, calm = (
        LongTailClassifier(
            augment=None,
            lr=0.1,
            weight_decay=0,
            max_epochs=100,
            target_prior=target,
            calibration=calibration,
            device="cpu",
            random_state=0,
        ).fit(X, y)
        for calibration in (None, "temperature")
    )
    assert sure.temperature_ == 1
    assert calm.temperature_ > 1.5
    errors = [
        expected_calibration_error(
            y_test, c.predict_proba(X_test), sample_weight=weight
        )
        for c in (sure, calm)
    ]
    assert errors[1] < errors[0] * (0.5 if target == "uniform" else 0.7)
    expected = np.log(sure.predict_proba(X_test)) / calm.temperature_
    got = np.log(calm.predict_proba(X_test))
    assert_allclose(got - got[:, :1], expected - expected[:, :1], atol=1e-6)
    assert_array_equal(calm.predict(X_test), sure.predict(X_test))
    logits = calm.make_logits()(torch.tensor(X_test, dtype=torch.float32))
    assert_allclose(logits.softmax(dim=1), np.exp(got), atol=1e-5)


def test_classes_that_the_target_rules_out_have_no_say_in_the_temperature(
    separated_classes,
):
    X, y = separated_classes
    classifier = LongTailClassifier(
        calibration="temperature",
        cv=2,
        target_prior=[1, 1, 0, 1],
        max_epochs=3,
        device="cpu",
        random_state=0,
    ).fit(X, y)
    assert np.isfinite(classifier.temperature_)
    assert (classifier.predict_proba(X)[:, 2] == 0).all()


def test_calibration_of_bare_logits_is_refused(separated_classes):
    classifier = LongTailClassifier(calibration="temperature", target_prior=None)
    with pytest.raises(ValueError, match="calibration needs a target_prior"):
        classifier.fit(*separated_classes)
