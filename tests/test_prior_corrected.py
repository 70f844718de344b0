"""Prior correction against hand-computed values, known posteriors and a fresh fit."""

import pickle
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from imblearn import FunctionSampler
from imblearn.ensemble import BalancedRandomForestClassifier
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline as make_plain_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from skcvae.long_tail._prior_corrected import PriorCorrectedClassifier
from skcvae.long_tail._priors import resolve_target_prior

CALIBRATIONS = ["temperature", "sigmoid", "isotonic"]

rng = np.random.RandomState(0)
y = np.repeat(["a", "b", "c"], [60, 25, 15])
X = 2 * np.eye(3)[np.repeat([0, 1, 2], [60, 25, 15])] + rng.normal(size=(100, 3))

each_calibration = pytest.mark.parametrize("calibration", CALIBRATIONS)
each_way = pytest.mark.parametrize("calibration", [None, *CALIBRATIONS])


class Echo(ClassifierMixin, BaseEstimator):
    """Returns X as probabilities, and notes the labels of all its fits."""

    fits = []

    def fit(self, X, y):
        Echo.fits.append(np.asarray(y))
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.asarray(X)

    def predict(self, X):
        return self.classes_[np.argmax(X, axis=1)]


@pytest.fixture
def fits():
    """Return the labels of the fits of `Echo` in this test."""
    Echo.fits.clear()
    return Echo.fits


def correct(proba, y, **params):
    """Return corrected versions of given probabilities."""
    proba = np.array(proba, dtype=float)
    rows = np.ones((len(y), proba.shape[1])) / proba.shape[1]
    # Echo learns nothing, which the check would find out.
    corrected = PriorCorrectedClassifier(Echo(), check_prior=False, **params)
    return corrected.fit(rows, y).predict_proba(proba)


def expected_calibration_error(y, proba):
    """Return the mean gap of confidence and accuracy over ten bins of confidence."""
    confidence, hit = proba.max(axis=1), proba.argmax(axis=1) == y
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = np.bincount(bins, weights=confidence - hit, minlength=10)
    return np.abs(gaps).sum() / len(y)


@parametrize_with_checks(
    [
        PriorCorrectedClassifier(LogisticRegression(), calibration="sigmoid", cv=2),
        PriorCorrectedClassifier(
            make_pipeline(RandomOverSampler(random_state=0), LogisticRegression()),
            calibration="temperature",
            cv=2,
        ),
    ]
)
def test_sklearn_checks_of_other_settings(estimator, check):
    check(estimator)


def test_two_classes_by_hand():
    labels = np.repeat([0, 1], [90, 10])
    corrected = correct([[0.5, 0.5], [0.2, 0.8]], labels, trained_prior="uniform")
    assert_allclose(corrected, [[0.9, 0.1], [9 / 13, 4 / 13]])


def test_three_classes_by_hand():
    corrected = correct(
        [[0.5, 0.3, 0.2]],
        y,
        target_prior=[6, 3, 1],
        trained_prior=[0.25, 0.25, 0.5],
    )
    assert_allclose(corrected, [[0.75, 0.225, 0.025]])


def test_class_without_target_prior_gets_no_probability():
    corrected = correct([[0.5, 0.3, 0.2]], y, target_prior=[1, 0, 1])
    share = [0.5 / 0.6, 0.2 / 0.15]
    assert_allclose(corrected[0, [0, 2]], np.divide(share, sum(share)))
    assert corrected[0, 1] == 0


@pytest.mark.parametrize("prior", ["train", "uniform", [0.2, 0.3, 0.5]], ids=str)
def test_target_that_equals_the_trained_prior_changes_nothing(prior):
    proba = np.random.RandomState(0).dirichlet(np.ones(3), size=20)
    assert_allclose(correct(proba, y, target_prior=prior, trained_prior=prior), proba)


def test_an_interrupted_check_leaves_no_uncorrected_classifier(monkeypatch):
    def interrupt(self, *args):
        raise KeyboardInterrupt

    X, y = make_classification(100, weights=[0.8], random_state=0)
    classifier = PriorCorrectedClassifier(LogisticRegression()).fit(X, y)
    monkeypatch.setattr(PriorCorrectedClassifier, "_check_held_out", interrupt)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    with pytest.raises(NotFittedError):
        classifier.predict_proba(X)


def test_train_to_uniform_and_back():
    there = PriorCorrectedClassifier(LogisticRegression(), target_prior="uniform")
    back = PriorCorrectedClassifier(there, trained_prior="uniform").fit(X, y)
    plain = LogisticRegression().fit(X, y)
    assert_allclose(back.predict_proba(X), plain.predict_proba(X))
    assert np.abs(there.fit(X, y).predict_proba(X) - plain.predict_proba(X)).max() > 0.1


@pytest.mark.filterwarnings("error")
def test_rows_that_lose_all_probability_get_the_target_prior():
    rows = [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    corrected = correct(rows, y, target_prior=[3, 0, 1])
    assert_allclose(corrected, [[0.75, 0, 0.25]] * 2)


@pytest.mark.filterwarnings("error")
def test_extreme_priors_stay_finite():
    corrected = correct([[0.5, 0.5]], [0, 1], trained_prior=[1e-310, 1])
    assert_allclose(corrected, [[1, 0]], atol=1e-300)
    huge = resolve_target_prior([1e308, 1e308], [1, 1])
    assert_array_equal(huge, [0.5, 0.5])


def test_nan_of_the_estimator_is_not_hidden():
    assert np.isnan(correct([[np.nan, 0.5, 0.5]], y)).any()


@pytest.mark.parametrize("sampler", [RandomOverSampler, RandomUnderSampler])
def test_correction_recovers_the_true_posterior(sampler):
    rng = np.random.RandomState(0)
    labels = np.repeat([0, 1], [38_000, 2_000])
    rows = rng.normal(size=(40_000, 1)) + 2 * labels[:, None]
    pipeline = make_pipeline(sampler(random_state=0), LinearDiscriminantAnalysis())
    corrected = PriorCorrectedClassifier(pipeline).fit(rows, labels)
    assert_array_equal(corrected.trained_prior_, [0.5, 0.5])
    grid = np.linspace(-2, 5, 50)
    density = np.stack([norm.pdf(grid), norm.pdf(grid - 2)])
    posterior = density * np.array([[0.95], [0.05]])
    posterior = (posterior / posterior.sum(axis=0)).T
    assert_allclose(corrected.predict_proba(grid[:, None]), posterior, atol=0.04)
    uncorrected = corrected.estimator_.predict_proba(grid[:, None])
    assert np.abs(uncorrected - posterior).max() > 0.4
    uniform = PriorCorrectedClassifier(pipeline, target_prior="uniform")
    balanced = (density / density.sum(axis=0)).T
    assert_allclose(
        uniform.fit(rows, labels).predict_proba(grid[:, None]), balanced, atol=0.04
    )


def test_counts_after_resampling_are_recorded():
    pipeline = make_pipeline(
        StandardScaler(),
        SMOTE(sampling_strategy={"b": 40, "c": 50}, random_state=0),
        LogisticRegression(),
    )
    corrected = PriorCorrectedClassifier(pipeline).fit(X, y)
    assert_allclose(corrected.trained_prior_, np.array([60, 40, 50]) / 150)
    assert_array_equal(corrected.class_count_, [60, 25, 15])
    assert_allclose(corrected.target_prior_, [0.6, 0.25, 0.15])


def test_estimator_is_left_alone_and_its_fitted_copy_is_ordinary():
    pipeline = make_pipeline(RandomOverSampler(random_state=0), LogisticRegression())
    steps = list(pipeline.steps)
    corrected = PriorCorrectedClassifier(pipeline).fit(X, y)
    assert pipeline.steps == steps
    with pytest.raises(NotFittedError):
        check_is_fitted(pipeline[-1])
    alone = clone(pipeline).fit(X, y)
    assert type(corrected.estimator_[-1]) is LogisticRegression
    assert_array_equal(corrected.estimator_.predict_proba(X), alone.predict_proba(X))


def test_counts_are_recorded_in_nested_and_in_cached_pipelines(tmp_path):
    sampler = RandomOverSampler(sampling_strategy={"c": 40}, random_state=0)
    inner = make_pipeline(sampler, LogisticRegression(), memory=str(tmp_path))
    nested = make_plain_pipeline(StandardScaler(), inner)
    for _ in range(2):
        corrected = PriorCorrectedClassifier(nested).fit(X, y)
        assert_allclose(corrected.trained_prior_, np.array([60, 25, 40]) / 125)
        assert type(corrected.estimator_[-1][-1]) is LogisticRegression


@pytest.mark.parametrize(
    "classifier, prior",
    [
        (LogisticRegression(), [60, 25, 15]),
        (LogisticRegression(class_weight="balanced"), [1, 1, 1]),
        (LogisticRegression(class_weight={"a": 0.5, "c": 4}), [30, 25, 60]),
        (RandomForestClassifier(2, class_weight="balanced_subsample"), [1, 1, 1]),
    ],
    ids=str,
)
def test_class_weight_counts(classifier, prior):
    for estimator in (classifier, make_plain_pipeline(StandardScaler(), classifier)):
        corrected = PriorCorrectedClassifier(estimator, check_prior=False).fit(X, y)
        assert_allclose(corrected.trained_prior_, np.divide(prior, sum(prior)))


def test_class_weight_counts_after_resampling():
    sampler = RandomOverSampler(sampling_strategy={"c": 40}, random_state=0)
    weighted = make_pipeline(sampler, LogisticRegression(class_weight={"c": 2}))
    corrected = PriorCorrectedClassifier(weighted).fit(X, y)
    assert_allclose(corrected.trained_prior_, np.array([60, 25, 80]) / 165)


def test_explicit_trained_prior_of_a_classifier_that_balances_inside():
    forest = BalancedRandomForestClassifier(30, random_state=0)
    corrected = PriorCorrectedClassifier(forest, trained_prior="uniform").fit(X, y)
    proba = forest.fit(X, y).predict_proba(X) * [0.6, 0.25, 0.15]
    assert_allclose(
        corrected.predict_proba(X), proba / proba.sum(axis=1, keepdims=True)
    )


def test_frozen_classifier_with_the_prior_it_was_trained_on():
    frozen = FrozenEstimator(LogisticRegression().fit(X[20:], y[20:]))
    corrected = PriorCorrectedClassifier(frozen, trained_prior=[40, 25, 15])
    proba = frozen.predict_proba(X) * np.array([0.6, 0.25, 0.15]) / [40, 25, 15]
    assert_allclose(
        corrected.fit(X, y).predict_proba(X), proba / proba.sum(axis=1, keepdims=True)
    )


def exponential(distance):
    return np.exp(-5 * distance)


def test_kernel_votes_averaged_by_class():
    classifier = KNeighborsClassifier(len(X), weights=exponential, metric="cosine")
    corrected = PriorCorrectedClassifier(classifier, target_prior="uniform").fit(X, y)
    new = np.random.RandomState(1).normal(size=(10, 3))
    cosine = new @ X.T / np.outer(*(np.linalg.norm(Z, axis=1) for Z in (new, X)))
    kernel = np.exp(-5 * (1 - cosine))
    votes = np.stack([kernel[:, y == label].mean(axis=1) for label in "abc"], axis=1)
    votes /= votes.sum(axis=1, keepdims=True)
    assert_allclose(corrected.predict_proba(new), votes)
    assert_array_equal(corrected.predict(new), np.array(list("abc"))[votes.argmax(1)])


@pytest.fixture(scope="module", params=[[0.95], [0.8, 0.12, 0.08]], ids=["2", "3"])
def imbalanced(request):
    """Rows for training and for testing, of two and of three classes."""
    rows, labels = make_classification(
        8000,
        n_features=8,
        n_informative=5,
        n_classes=max(2, len(request.param)),
        weights=request.param,
        random_state=0,
    )
    return rows[:2000], labels[:2000], rows[2000:], labels[2000:]


def scores_of(proba, labels):
    """Return log-loss, Brier score and calibration error."""
    brier = ((proba - np.eye(proba.shape[1])[labels]) ** 2).sum(axis=1).mean()
    error = expected_calibration_error(labels, proba)
    return np.array([log_loss(labels, proba), brier, error])


@each_calibration
def test_calibrated_probabilities_are_better_than_uncorrected(imbalanced, calibration):
    X_train, y_train, X_test, y_test = imbalanced
    pipeline = make_pipeline(SMOTE(random_state=0), GaussianNB())
    classifier = PriorCorrectedClassifier(pipeline, calibration=calibration, cv=3)
    classifier.fit(X_train, y_train)
    raw = classifier.estimator_.predict_proba(X_test)
    scores = scores_of(classifier.predict_proba(X_test), y_test)
    assert (scores < 0.8 * scores_of(raw, y_test)).all()


@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
def test_calibration_repairs_more_than_the_formula(imbalanced, calibration):
    # Interpolated neighbours vote with one voice: far too sure, whatever the prior.
    X_train, y_train, X_test, y_test = imbalanced
    pipeline = make_pipeline(SMOTE(random_state=0), KNeighborsClassifier(15))
    losses = [
        log_loss(y_test, classifier.fit(X_train, y_train).predict_proba(X_test))
        for classifier in (
            PriorCorrectedClassifier(pipeline, check_prior=False),
            PriorCorrectedClassifier(pipeline, calibration=calibration, cv=3),
        )
    ]
    assert losses[1] < 0.5 * losses[0]


def test_analytic_correction_repairs_most_of_a_smooth_classifier(imbalanced):
    X_train, y_train, X_test, y_test = imbalanced
    pipeline = make_pipeline(SMOTE(random_state=0), LogisticRegression())
    corrected = PriorCorrectedClassifier(pipeline).fit(X_train, y_train)
    raw = corrected.estimator_.predict_proba(X_test)
    scores = scores_of(corrected.predict_proba(X_test), y_test)
    assert (scores < 0.9 * scores_of(raw, y_test)).all()


def test_sigmoid_and_temperature_leave_calibrated_probabilities_alone():
    rng = np.random.RandomState(0)
    posterior = rng.dirichlet([4, 1, 0.5], size=4000)
    labels = (posterior.cumsum(axis=1) < rng.uniform(size=(4000, 1))).sum(axis=1)
    for calibration in ("sigmoid", "temperature"):
        same = PriorCorrectedClassifier(Echo(), calibration=calibration)
        proba = same.fit(posterior, labels).predict_proba(posterior)
        assert np.abs(proba - posterior).mean() < 0.02


def test_temperature_keeps_the_ranking_of_the_classes():
    pipeline = make_pipeline(SMOTE(random_state=0), GaussianNB())
    analytic = PriorCorrectedClassifier(pipeline).fit(X, y)
    warm = PriorCorrectedClassifier(pipeline, calibration="temperature", cv=3)
    warm.fit(X, y)
    assert_array_equal(warm.predict(X), analytic.predict(X))
    assert np.abs(warm.predict_proba(X) - analytic.predict_proba(X)).max() > 0.01


@each_calibration
def test_calibrated_probabilities_move_to_the_target_prior(calibration):
    pipeline = make_pipeline(SMOTE(random_state=0), GaussianNB())
    train = PriorCorrectedClassifier(pipeline, calibration=calibration, cv=3)
    uniform = clone(train).set_params(target_prior="uniform").fit(X, y)
    proba = train.fit(X, y).predict_proba(X) / [60, 25, 15]
    assert_allclose(
        uniform.predict_proba(X), proba / proba.sum(axis=1, keepdims=True), atol=1e-12
    )


@each_calibration
@pytest.mark.parametrize("names", [["z", "m", "n"], [10, 7, 2], [1, 2, 0]], ids=str)
def test_folds_see_the_labels_that_samplers_and_weights_name(calibration, names, fits):
    labels = np.array(names)[np.repeat([0, 1, 2], [60, 25, 15])]
    sampler = RandomOverSampler(sampling_strategy={names[2]: 35}, random_state=0)
    rows = np.random.RandomState(0).dirichlet(np.ones(3), size=100)
    classifier = PriorCorrectedClassifier(
        make_pipeline(sampler, Echo()), calibration=calibration, cv=5
    ).fit(rows, labels)
    counts = [[(seen == name).sum() for name in names] for seen in fits]
    assert counts == [[48, 20, 35]] * 5 + [[60, 25, 35]]
    assert set(classifier.predict(rows)) <= set(names)


@pytest.mark.filterwarnings("ignore:The least populated class in y")
def test_classes_smaller_than_the_number_of_folds_can_be_calibrated():
    labels = np.repeat(["a", "b", "c"], [60, 38, 2])
    classifier = PriorCorrectedClassifier(
        LogisticRegression(), calibration="sigmoid", cv=5
    ).fit(X, labels)
    assert classifier.predict_proba(X).shape == (100, 3)


def test_class_of_one_row_is_corrected_without_calibration():
    labels = np.repeat(["a", "b", "c"], [60, 39, 1])
    pipeline = make_pipeline(RandomOverSampler(random_state=0), LogisticRegression())
    corrected = PriorCorrectedClassifier(pipeline).fit(X, labels)
    assert_allclose(corrected.target_prior_, [0.6, 0.39, 0.01])
    raw = corrected.estimator_.predict_proba(X) * [0.6, 0.39, 0.01]
    assert_allclose(corrected.predict_proba(X), raw / raw.sum(axis=1, keepdims=True))


ONE_ROW = np.repeat(["a", "b", "c"], [60, 39, 1])
B_IN_ONE_FOLD = PredefinedSplit(np.where(y == "b", 1, np.arange(100) % 2))
REFUSED = {
    "length": ({"target_prior": [0.5, 0.5]}, y, "target_prior must have one number"),
    "negative": ({"target_prior": [1, 1, -1]}, y, "target_prior must be finite"),
    "NaN": ({"target_prior": [1, 1, np.nan]}, y, "target_prior must be finite"),
    "infinite": ({"target_prior": [1, 1, np.inf]}, y, "target_prior must be finite"),
    "all zero": ({"target_prior": [0, 0, 0]}, y, "target_prior must be finite"),
    "words": ({"target_prior": ["x", "y", "z"]}, y, "target_prior must be numbers"),
    "resampled length": ({"trained_prior": [1]}, y, "trained_prior must have one"),
    "resampled zero": (
        {"trained_prior": [1, 0, 1]},
        y,
        r"trained prior of the classes \['b'\] is 0",
    ),
    "continuous": ({}, X[:, 0], "continuous"),
    "missing label": ({}, np.array([None, *y[1:]], dtype=object), "missing values"),
    "multilabel": ({}, np.eye(2, dtype=int)[[0, 1] * 50], "several labels"),
    "lengths": ({"calibration": "sigmoid"}, y[1:], "inconsistent numbers"),
    "one row": ({"calibration": "sigmoid"}, ONE_ROW, r"\['c'\] with \[1\] samples"),
    "folds": (
        {"calibration": "isotonic", "cv": B_IN_ONE_FOLD},
        y,
        r"classes \['b'\] with \[25\] samples are missing",
    ),
    "too many folds": ({"calibration": "sigmoid", "cv": 70}, y, "n_splits=70"),
    "no partition": (
        {"calibration": "sigmoid", "cv": [(np.arange(100), np.arange(50))]},
        y,
        "partitions",
    ),
    "one class": ({"calibration": "sigmoid"}, ["a"] * 100, "y has one class"),
}


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.filterwarnings("ignore:The least populated class in y")
def test_faulty_input_is_refused_before_training(fault, fits):
    params, labels, message = REFUSED[fault]
    classifier = PriorCorrectedClassifier(Echo()).fit(X, y)
    fits.clear()
    with pytest.raises(ValueError, match=message):
        classifier.set_params(**params).fit(X, labels)
    assert fits == []
    with pytest.raises(NotFittedError):
        classifier.predict(X)


def test_pandas_prior_is_refused_for_its_order():
    frequencies = pd.Series(y).value_counts(normalize=True)
    with pytest.raises(TypeError, match=r"target_prior\.sort_index\(\)"):
        PriorCorrectedClassifier(Echo(), target_prior=frequencies).fit(X, y)


def test_estimator_without_probabilities_is_refused():
    with pytest.raises(ValueError, match=r"'estimator' parameter.*predict_proba"):
        PriorCorrectedClassifier(LinearSVC()).fit(X, y)


@pytest.mark.parametrize(
    "estimator",
    [
        BalancedRandomForestClassifier(),
        make_plain_pipeline(StandardScaler(), BalancedRandomForestClassifier()),
        BaggingClassifier(
            GridSearchCV(make_pipeline(SMOTE(), LogisticRegression()), {})
        ),
        FrozenEstimator(LogisticRegression().fit(X, y)),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_auto_refuses_what_no_count_shows(estimator):
    with pytest.raises(ValueError, match="cannot tell the class distribution"):
        PriorCorrectedClassifier(estimator).fit(X, y)


@pytest.mark.parametrize("sampler", [SMOTE(), FunctionSampler()], ids=str)
def test_auto_counts_what_a_searched_sampler_makes(sampler):
    search = GridSearchCV(make_pipeline(sampler, LogisticRegression()), {}, cv=3)
    corrected = PriorCorrectedClassifier(search).fit(X, y)
    prior = [1, 1, 1] if isinstance(sampler, SMOTE) else [60, 25, 15]
    assert_allclose(corrected.trained_prior_, np.divide(prior, sum(prior)))


def drop_class_b(X, y):
    return X[y != "b"], y[y != "b"]


def test_sampler_that_drops_a_class_is_refused(fits):
    dropping = FunctionSampler(func=drop_class_b)
    classifier = PriorCorrectedClassifier(make_pipeline(dropping, Echo()))
    with pytest.raises(ValueError, match=r"classes \['b'\] is 0"):
        classifier.fit(X, y)
    assert fits == []
    with pytest.raises(ValueError, match=r"does a sampler drop a class\?"):
        classifier.set_params(trained_prior="uniform").fit(X, y)


def test_class_weight_of_zero_is_refused():
    weighted = LogisticRegression(class_weight={"b": 0})
    with pytest.raises(ValueError, match=r"classes \['b'\] is 0"):
        PriorCorrectedClassifier(weighted).fit(X, y)


def fast(calibration):
    pipeline = make_pipeline(RandomOverSampler(random_state=0), LogisticRegression())
    return PriorCorrectedClassifier(pipeline, calibration=calibration, cv=3)


@each_way
def test_pickle_clone_and_threads_give_the_same_probabilities(calibration):
    fitted = fast(calibration).fit(X, y)
    expected = fitted.predict_proba(X)
    assert_allclose(expected.sum(axis=1), 1)
    restored = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(restored.predict_proba(X), expected)
    with joblib.parallel_config(backend="threading"):
        again = clone(fitted).set_params(n_jobs=2).fit(X, y)
    assert_array_equal(again.predict_proba(X), expected)


@each_way
def test_refit_forgets_the_earlier_fit(calibration):
    refitted = fast("sigmoid").fit(X[:, :2], y)
    refitted.set_params(calibration=calibration).fit(X, np.where(y == "a", 0, 1))
    fresh = fast(calibration).fit(X, np.where(y == "a", 0, 1))
    assert vars(refitted).keys() == vars(fresh).keys()
    assert_array_equal(refitted.predict_proba(X), fresh.predict_proba(X))


@each_way
def test_votes_with_others(calibration):
    members = [("corrected", fast(calibration)), ("plain", LogisticRegression())]
    voting = VotingClassifier(members, voting="soft").fit(X, y)
    proba = [classifier.fit(X, y).predict_proba(X) for _, classifier in members]
    assert_allclose(voting.predict_proba(X), np.mean(proba, axis=0))


def test_grid_search_reaches_the_parameters_inside():
    grid = {
        "estimator__logisticregression__C": [1e-6, 1],
        "estimator__randomoversampler__sampling_strategy": [{"c": 40}, {"c": 59}],
        "calibration": [None, "temperature"],
    }
    search = GridSearchCV(
        fast(None),
        grid,
        scoring="neg_log_loss",
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert search.best_params_["estimator__logisticregression__C"] == 1
    assert len(set(search.cv_results_["mean_test_score"])) == 8


@each_way
def test_names_of_features_are_passed_on(calibration):
    frame = pd.DataFrame(X, columns=["x", "y", "z"])
    fitted = fast(calibration).fit(frame, pd.Series(y, dtype="category"))
    assert fitted.n_features_in_ == 3
    assert_array_equal(fitted.feature_names_in_, ["x", "y", "z"])
    assert_array_equal(fitted.classes_, ["a", "b", "c"])
    expected = fast(calibration).fit(X, y).predict_proba(X)
    assert_array_equal(fitted.predict_proba(frame), expected)


def read(paths, rows):
    return np.array([rows[int(path.removesuffix(".png"))] for path in paths])


@each_way
def test_rows_may_be_paths_or_sparse(calibration):
    expected = fast(calibration).fit(X, y).predict_proba(X)
    paths = [f"{i}.png" for i in range(len(X))]
    reader = FunctionTransformer(partial(read, rows=X))
    from_paths = fast(calibration).set_params(
        estimator=make_plain_pipeline(reader, fast(None).estimator)
    )
    assert_array_equal(from_paths.fit(paths, y).predict_proba(paths), expected)
    rows = sparse.csr_matrix(X)
    assert_allclose(fast(calibration).fit(rows, y).predict_proba(rows), expected, 1e-5)


@each_way
def test_runs_with_metadata_routing(calibration):
    expected = fast(calibration).fit(X, y).predict_proba(X)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = fast(calibration).fit(X, y).predict_proba(X)
    assert_array_equal(routed, expected)


def test_tags_are_those_of_the_estimator():
    knn = KNeighborsClassifier(metric="precomputed")
    for calibration in (None, "sigmoid"):
        classifier = PriorCorrectedClassifier(knn, calibration=calibration)
        assert classifier.__sklearn_tags__().input_tags.pairwise
    distances = np.linalg.norm(X[:, None] - X[None], axis=2)
    plain = PriorCorrectedClassifier(KNeighborsClassifier(), calibration="sigmoid")
    assert_allclose(
        classifier.fit(distances, y).predict_proba(distances),
        plain.fit(X, y).predict_proba(X),
    )
