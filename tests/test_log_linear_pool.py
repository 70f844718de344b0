"""The pool, kernel neighbours and the quadratic head against closed forms."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import multivariate_normal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skcvae._neighbors import class_kernel_means
from skcvae.long_tail import (
    KernelNeighborsClassifier,
    LogLinearPool,
    LongTailClassifier,
    PriorCorrectedClassifier,
    ShrunkQuadraticDiscriminant,
)
from skcvae.long_tail._exponents import (
    class_weights,
    evenly,
    fit_exponents,
    select_exponents,
)
from skcvae.metrics import expected_calibration_error

MEANS = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])


def gaussian_classes(counts, seed=0):
    """Return samples of three Gaussians of unit covariance."""
    rng = np.random.RandomState(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    return MEANS[y] + rng.normal(size=(len(y), 2)), y


def posterior(X, prior):
    """Return the true probabilities of the classes."""
    densities = [multivariate_normal(mean).logpdf(X) for mean in MEANS]
    return softmax(np.transpose(densities) + np.log(prior), axis=1)


def searched(**grid):
    """Return a search over parameters of a LongTailClassifier."""
    return GridSearchCV(LongTailClassifier(l2=0.1, augment=None), grid, cv=2)


FITTED = LogisticRegression().fit(*gaussian_classes([60, 30, 20]))


class Given(ClassifierMixin, BaseEstimator):
    """Classifier whose features are the log of its probabilities."""

    def __init__(self, columns=(0, 1, 2), target_prior="uniform"):
        self.columns = columns
        self.target_prior = target_prior

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        n_classes = len(self.classes_)
        uniform = isinstance(self.target_prior, str)
        self.target_prior_ = (
            np.full(n_classes, 1 / n_classes) if uniform else self.target_prior
        )
        return self

    def predict_proba(self, X):
        return softmax(np.asarray(X)[:, list(self.columns)], axis=1)


class Weighted(LogisticRegression):
    """Logistic regression that notes the weights of its last fit."""

    def fit(self, X, y, sample_weight=None):
        self.seen_ = sample_weight
        return super().fit(X, y, sample_weight)


# The prior is counted once


@pytest.mark.parametrize("target", ["uniform", "train", [0.2, 0.3, 0.5]])
def test_probabilities_are_those_of_the_target_prior(target):
    X, y = gaussian_classes([30000, 7500, 3000])
    members = [
        ("train", LinearDiscriminantAnalysis()),
        ("uniform", LinearDiscriminantAnalysis(priors=np.full(3, 1 / 3))),
        ("own", PriorCorrectedClassifier(LogisticRegression(), target_prior="uniform")),
    ]
    pool = LogLinearPool(members, target_prior=target).fit(X, y)
    X_new, _ = gaussian_classes([300, 300, 300], seed=1)
    prior = {"uniform": np.ones(3), "train": np.bincount(y)}.get(str(target), target)
    expected = posterior(X_new, np.asarray(prior) / np.sum(prior))
    assert np.abs(pool.predict_proba(X_new) - expected).mean() < 0.01
    assert_allclose(pool.priors_[0], np.bincount(y) / len(y))
    assert_allclose(pool.priors_[1:], 1 / 3)


@pytest.mark.parametrize("target", [[1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1]])
def test_members_for_different_priors_give_the_true_posterior(target):
    X, y = gaussian_classes([60, 30, 10])
    priors = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    known = np.hstack([np.log(posterior(X, prior)) for prior in priors])
    members = [
        (name, Given(columns, prior))
        for name, columns, prior in zip(
            ("first", "second"), ((0, 1, 2), (3, 4, 5)), priors, strict=True
        )
    ]
    pool = LogLinearPool(members, weights=[1, 1], temperature=2.0, target_prior=target)
    found = pool.fit(known, y).predict_proba(known)
    assert_allclose(found, posterior(X, target), atol=1e-9)


@pytest.mark.parametrize(
    "params",
    [
        # Batches are drawn as the samples are: both corrections are the same.
        {"prior_correction": "original", "sampling": "instance"},
        {"prior_correction": "effective"},
    ],
    ids=str,
)
def test_long_tail_classifiers_count_the_prior_of_their_batches(params):
    X, y = gaussian_classes([3000, 750, 300])
    X_new, _ = gaussian_classes([300, 300, 300], seed=1)
    member = LongTailClassifier(l2=1e-3, augment=None, **params)
    # What the other one leaves is measured, and taken off.
    measured = PriorCorrectedClassifier(
        LongTailClassifier(l2=1e-3, augment=None, prior_correction="original"),
        trained_prior="held_out",
    )
    for classifier in (member, measured):
        pool = LogLinearPool([("a", classifier)], temperature=1.0).fit(X, y)
        found = pool.predict_proba(X_new)
        assert np.abs(found - posterior(X_new, np.ones(3) / 3)).mean() < 0.04


def test_pandas_weights_are_refused_for_their_order():
    weights = pd.Series([1.0, 0.0], index=["second", "first"])
    members = [(name, LinearDiscriminantAnalysis()) for name in ("first", "second")]
    with pytest.raises(TypeError, match=r"that of the members.*loc\[names\]"):
        LogLinearPool(members, weights=weights).fit(*gaussian_classes([9, 9, 9]))


def test_neighbors_count_no_prior_beside_one_that_does():
    X, y = gaussian_classes([3000, 750, 300])
    X_new, _ = gaussian_classes([300, 300, 300], seed=1)
    pools = [
        LogLinearPool(
            [
                ("lda", LinearDiscriminantAnalysis()),
                ("neighbors", KernelNeighborsClassifier(target_prior=prior)),
            ],
            weights=[1, 1],
            temperature=2.0,
        ).fit(X, y)
        for prior in ("uniform", "train")
    ]
    first, second = (pool.predict_proba(X_new) for pool in pools)
    assert_allclose(first, second, atol=1e-6)


def test_formula_by_hand():
    X, y = gaussian_classes([40, 20, 10])
    members = [
        ("lda", LinearDiscriminantAnalysis()),
        ("lr", LogisticRegression(class_weight="balanced")),
    ]
    pool = LogLinearPool(
        members, weights=[1.0, 0.5], temperature=2.0, target_prior=[0.5, 0.3, 0.2]
    ).fit(X, y)
    lda, lr = (clone(member).fit(X, y) for _, member in members)
    scores = np.log(lda.predict_proba(X)) - np.log(np.array([4, 2, 1]) / 7)
    scores = (scores + 0.5 * np.log(lr.predict_proba(X))) / 2 + np.log([0.5, 0.3, 0.2])
    assert_allclose(pool.predict_proba(X), softmax(scores, axis=1))
    assert_array_equal(pool.predict(X), scores.argmax(axis=1))
    assert_array_equal(pool.weights_, [1.0, 0.5])
    assert pool.temperature_ == 2.0


def test_class_that_the_target_rules_out_has_no_probability():
    X, y = gaussian_classes([60, 30, 20])
    pool = LogLinearPool(
        [("lda", LinearDiscriminantAnalysis())], target_prior=[0.5, 0.5, 0]
    ).fit(X, y)
    proba = pool.predict_proba(X)
    assert_array_equal(proba[:, 2], 0)
    assert_allclose(proba.sum(axis=1), 1)


# Weights and temperature


def test_exponents_minimize_the_loss_like_a_derivative_free_search():
    rng = np.random.RandomState(0)
    codes = rng.randint(4, size=300)
    scores = rng.normal(size=(300, 4, 2))
    scores[np.arange(300), codes] += [1.0, 0.7]
    weight = class_weights(codes, np.array([0.4, 0.3, 0.2, 0.1]))

    def loss(v):
        log_proba = log_softmax(scores @ v, axis=1)[np.arange(300), codes]
        return -weight @ log_proba + ((v - [1, 0]) ** 2).sum() / 2

    found = minimize(loss, [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-7})
    fitted = fit_exponents(scores, codes, weight)
    assert_allclose(fitted.exponents, found.x, atol=1e-3)
    assert_allclose(fitted.losses.mean(), fitted.loss)


def test_class_weights_make_the_target_prior():
    codes = np.array([0, 0, 0, 1, 2, 2])
    weight = class_weights(codes, np.array([0.5, 0.3, 0.2, 0.0]))
    assert_allclose(np.bincount(codes, weight) / 6, [0.5, 0.3, 0.2])


def test_member_of_noise_gets_the_weight_0():
    rng = np.random.RandomState(0)
    X, y = gaussian_classes([300, 100, 50])
    noise = rng.normal(size=(len(y), 3))
    pool = LogLinearPool([("first", Given()), ("noise", Given(columns=(3, 4, 5)))]).fit(
        np.hstack([np.log(posterior(X, np.ones(3) / 3)), noise]), y
    )
    assert pool.weights_.tolist() == [1.0, 0.0]
    assert 0.7 < pool.temperature_ < 1.4


def test_second_copy_of_a_member_is_left_out():
    rng = np.random.RandomState(0)
    codes = rng.randint(3, size=500)
    scores = rng.normal(size=(500, 3, 1))
    scores[np.arange(500), codes] += 1
    fitted = select_exponents(np.repeat(scores, 2, axis=2), codes, np.ones(500), 0.0)
    assert fitted.exponents[1] == 0
    assert_allclose(
        fitted.exponents[0], fit_exponents(scores, codes, np.ones(500)).exponents[0]
    )


def test_temperature_repairs_what_is_too_sure():
    X, y = gaussian_classes([2000, 2000, 2000])
    sure = 4 * np.log(posterior(X, np.ones(3) / 3))
    pool = LogLinearPool([("sure", Given())]).fit(sure, y)
    assert_allclose(pool.temperature_, 4, rtol=0.1)
    X_new, y_new = gaussian_classes([2000, 2000, 2000], seed=1)
    proba = pool.predict_proba(4 * np.log(posterior(X_new, np.ones(3) / 3)))
    assert expected_calibration_error(y_new, proba) < 0.03


def test_given_temperature_stays_where_weights_are_chosen():
    X, y = gaussian_classes([200, 100, 50])
    pool = LogLinearPool(
        [("lda", LinearDiscriminantAnalysis()), ("lr", KernelNeighborsClassifier())],
        temperature=1.5,
    ).fit(X, y)
    assert_allclose(pool.temperature_, 1.5)
    assert pool.weights_[0] == 1


def test_separable_classes_leave_finite_exponents():
    X = np.repeat(50 * np.eye(3), 20, axis=0)
    X += np.random.RandomState(0).normal(size=X.shape)
    y = np.repeat([0, 1, 2], 20)
    pool = LogLinearPool([("lr", LogisticRegression())]).fit(X, y)
    assert np.isfinite(pool.predict_log_proba(X)).all()
    assert 0.01 < pool.temperature_ < 100


def test_members_are_trained_once_where_nothing_is_to_be_chosen():
    fits = []

    class Counting(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            fits.append(len(X))
            return super().fit(X, y, sample_weight)

    X, y = gaussian_classes([20, 10, 10])
    LogLinearPool([("lr", Counting())], weights=[1], temperature=1.0).fit(X, y)
    assert fits == [40]


# Small classes


def test_classes_of_one_sample():
    X, y = gaussian_classes([40, 20, 1])
    for estimator in (
        LogLinearPool([("lda", LinearDiscriminantAnalysis())]),
        KernelNeighborsClassifier(),
        ShrunkQuadraticDiscriminant(),
    ):
        proba = estimator.fit(X, y).predict_proba(X)
        assert np.isfinite(proba).all()
        assert proba[-1].argmax() == 2 or proba[-1, 2] > 0.05


def test_without_held_out_samples_the_first_member_is_alone():
    X, y = MEANS + 1, np.arange(3)
    pool = LogLinearPool(
        [("kernel", KernelNeighborsClassifier()), ("qd", ShrunkQuadraticDiscriminant())]
    ).fit(X, y)
    assert_array_equal(pool.weights_, [1, 0])
    assert pool.temperature_ == 1
    assert pool.named_estimators_.kernel.temperature_ == 0.1
    assert pool.named_estimators_.qd.shrinkage_ == 300
    assert_array_equal(pool.predict(X), y)


# Compositions


def test_search_over_parameters_of_members_and_weights():
    X, y = gaussian_classes([60, 30, 20])
    pool = LogLinearPool(
        [("lr", LogisticRegression()), ("neighbors", KernelNeighborsClassifier())],
        temperature=1.0,
    )
    grid = {"lr__C": [0.1, 1.0], "weights": [[1, 0], [1, 0.5]]}
    search = GridSearchCV(pool, grid, cv=2).fit(X, y)
    assert set(search.best_params_) == set(grid)
    assert pool.get_params()["neighbors__temperature"] == "auto"
    pool.set_params(neighbors=LinearDiscriminantAnalysis(), lr__C=3.0)
    assert isinstance(pool.estimators[1][1], LinearDiscriminantAnalysis)
    assert pool.estimators[0][1].C == 3.0


def test_last_step_of_a_pipeline_and_pipelines_inside():
    X, y = gaussian_classes([60, 30, 20])
    inner = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(LinearDiscriminantAnalysis(), {"tol": [1e-4]}, cv=2)
    sampled = make_sampling_pipeline(
        RandomUnderSampler(random_state=0), LogisticRegression()
    )
    pool = LogLinearPool([("pipe", inner), ("search", search), ("sampled", sampled)])
    fitted = make_pipeline(StandardScaler(), pool).fit(X, y)
    assert fitted.score(X, y) > 0.5
    priors = fitted[-1].priors_
    assert_allclose(priors[:2], np.tile(np.array([60, 30, 20]) / 110, (2, 1)))
    assert_allclose(priors[2], 1 / 3)


def test_default_members():
    X, y = gaussian_classes([60, 30, 20])
    pool = LogLinearPool(weights=[1, 0.5, 0.2], random_state=0)
    assert pool.get_params()["estimators"] is None
    pool.set_params(temperature=1.0).fit(X, y)
    assert isinstance(pool.named_estimators_.classifier, LongTailClassifier)
    near = pool.named_estimators_.near_neighbors
    assert near.temperature_ == pool.named_estimators_.neighbors.temperature_ / 2
    assert pool.rarity_exponent_ == 0


def test_half_width_has_an_exponent_of_its_own():
    X, y = gaussian_classes([60, 30, 20])
    half = KernelNeighborsClassifier(temperature="half").fit(X, y)
    given = KernelNeighborsClassifier(temperature=half.temperature_).fit(X, y)
    assert_allclose(half.exponent_, given.exponent_)
    alone = KernelNeighborsClassifier(temperature="half").fit(X[[0, -1]], y[[0, -1]])
    assert alone.temperature_ == 0.05


def test_offset_raises_small_classes_that_members_underrate():
    counts = np.array([4000, 1000, 250])
    X, y = gaussian_classes(counts)
    likelihood = np.log(posterior(X, np.ones(3) / 3))
    fair = LogLinearPool([("given", Given())]).fit(likelihood, y)
    assert fair.rarity_exponent_ < 0.1
    tilted = likelihood + 0.5 * np.log(counts)
    pool = LogLinearPool([("given", Given())]).fit(tilted, y)
    assert 0.3 < pool.rarity_exponent_ < 0.6
    expected = tilted / pool.temperature_ - pool.rarity_exponent_ * np.log(counts)
    assert_allclose(pool.predict_proba(tilted), softmax(expected, axis=1))
    # Classes of one size have nothing to offset.
    X, y = gaussian_classes([200, 200, 200])
    even = np.log(posterior(X, np.ones(3) / 3)) + np.eye(3)[0]
    assert LogLinearPool([("given", Given())]).fit(even, y).rarity_exponent_ == 0


def test_frozen_member_is_used_as_it_is():
    X, y = gaussian_classes([60, 30, 20])
    fitted = KernelNeighborsClassifier().fit(X[::2], y[::2])
    members = [("frozen", FrozenEstimator(fitted)), ("lr", LogisticRegression())]
    pool = LogLinearPool(members).fit(X[1::2], y[1::2])
    assert pool.estimators_[0].estimator is fitted
    stated = PriorCorrectedClassifier(
        FrozenEstimator(LogisticRegression().fit(X, y)),
        trained_prior="train",
        check_prior=False,
    )
    LogLinearPool([("stated", stated)]).fit(X, y)


def test_n_jobs_changes_nothing(one_thread_per_worker):
    X, y = gaussian_classes([60, 30, 20])
    pool = LogLinearPool(
        [
            ("forest", RandomForestClassifier(5)),
            ("neighbors", KernelNeighborsClassifier()),
        ],
        random_state=0,
    )
    expected = clone(pool).fit(X, y).predict_proba(X)
    assert_array_equal(pool.set_params(n_jobs=2).fit(X, y).predict_proba(X), expected)


def test_own_integer_seed_of_a_member_wins():
    X, y = gaussian_classes([60, 30, 20])

    def forest(own, outer):
        members = [("forest", RandomForestClassifier(3, random_state=own))]
        pool = LogLinearPool(members, weights=[1], temperature=1, random_state=outer)
        return pool.fit(X, y).predict_proba(X)

    assert_array_equal(forest(5, 0), forest(5, 1))
    assert not np.array_equal(forest(None, 0), forest(None, 1))


def test_weights_reach_the_first_member_and_the_losses():
    X, y = gaussian_classes([60, 30, 20])
    weight = np.where(np.arange(len(y)) % 3 == 0, 2.0, 1.0)
    members = [("lr", Weighted()), ("lda", LinearDiscriminantAnalysis())]
    pool = LogLinearPool(members, target_prior="train").fit(X, y, sample_weight=weight)
    assert_array_equal(pool.estimators_[0].seen_, weight)
    assert_allclose(pool.class_count_, np.bincount(y, weight))
    assert_allclose(pool.target_prior_, np.bincount(y, weight) / weight.sum())


def test_metadata_goes_where_it_is_requested():
    X, y = gaussian_classes([60, 30, 20])
    weight = np.ones(len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        members = [
            ("first", Weighted().set_fit_request(sample_weight=False)),
            ("second", Weighted().set_fit_request(sample_weight=True)),
        ]
        pool = LogLinearPool(members).fit(X, y, sample_weight=weight)
    assert pool.estimators_[0].seen_ is None
    assert_array_equal(pool.estimators_[1].seen_, weight)


def test_groups_reach_the_splitter():
    X, y = gaussian_classes([60, 30, 20])
    fold = np.arange(len(y)) % 2
    members = [("lda", LinearDiscriminantAnalysis())]
    by_splitter = LogLinearPool(members, cv=PredefinedSplit(fold)).fit(X, y)
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in (0, 1)]
    by_list = LogLinearPool(members, cv=splits).fit(X, y)
    assert by_splitter.temperature_ == by_list.temperature_


# What is refused


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimators": []}, "at least one pair"),
        ({"estimators": [LogisticRegression()]}, "at least one pair"),
        ({"estimators": [("a", LinearSVC())]}, "'a' .* predict_proba"),
        ({"estimators": [("a__b", LogisticRegression())]}, "__"),
        ({"estimators": [("splitter", LogisticRegression())]}, "rename"),
        ({"weights": [1.0, 1.0]}, "one number for each of 1 members"),
        ({"weights": [-1.0]}, ">= 0"),
        ({"weights": [0.0]}, "not all 0"),
        ({"target_prior": [0.5, 0.5]}, "one number for each of the 3 classes"),
        (
            {"estimators": [("a", FrozenEstimator(FITTED))]},
            "'a' is unknown. Wrap it in a PriorCorrectedClassifier",
        ),
        (
            {"estimators": [("a", LongTailClassifier(target_prior=None))]},
            "'a' has target_prior=None",
        ),
        (
            {"estimators": [("a", LongTailClassifier(prior_correction="original"))]},
            r"'a' is unknown.*prior_correction='original'",
        ),
        (
            {"estimators": [("a", searched(prior_correction=[None]))]},
            r"'a' is unknown.*prior_correction=None",
        ),
        (
            {"estimators": [("a", searched(target_prior=[None]))]},
            "'a' has target_prior=None",
        ),
        (
            {"estimators": [("a", KernelNeighborsClassifier(target_prior=[1, 1, 0]))]},
            "classes \\[2\\] is 0",
        ),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    X, y = gaussian_classes([60, 30, 20])
    pool = LogLinearPool(**{"estimators": [("lr", LogisticRegression())], **params})
    with pytest.raises(ValueError, match=message):
        pool.fit(X, y)


@pytest.mark.parametrize("kind", ["pool", "quadratic"])
def test_fold_without_a_class_is_refused(kind):
    X, y = gaussian_classes([10, 10, 1])
    cv = PredefinedSplit(np.arange(len(y)) % 2)
    estimator = ShrunkQuadraticDiscriminant(cv=cv)
    if kind == "pool":
        estimator = LogLinearPool([("lr", LogisticRegression())], cv=cv)
    with pytest.raises(ValueError, match="no sample of a class to train on"):
        estimator.fit(X, y)


# Kernel neighbours


def unit(X):
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def test_class_kernel_means_are_the_direct_sums(monkeypatch):
    rng = np.random.RandomState(0)
    targets, starts = unit(rng.normal(size=(30, 5))), np.array([0, 20, 27])
    queries = unit(rng.normal(size=(7, 5)))
    kernel = np.exp((queries.astype(float) @ targets.T.astype(float) - 1) / 0.2)
    expected = [kernel[:, a:b].mean(axis=1) for a, b in ((0, 20), (20, 27), (27, 30))]
    monkeypatch.setattr("skcvae._neighbors._BLOCK_BYTES", 8 * 30 * 2)
    (found,) = class_kernel_means(queries, targets, starts, [0.2])
    assert_allclose(found, np.log(np.transpose(expected)), atol=1e-4)


def test_left_out_samples_do_not_count():
    rng = np.random.RandomState(0)
    targets, starts = unit(rng.normal(size=(10, 4))), np.array([0, 6])
    own = np.array([2, 8])
    (found,) = class_kernel_means(targets[own], targets, starts, [0.3], own)
    for row, i in zip(found, own, strict=True):
        rest, starts_without = np.delete(targets, i, axis=0), starts - [0, i < 6]
        (expected,) = class_kernel_means(targets[[i]], rest, starts_without, [0.3])
        assert_allclose(row, expected[0], atol=1e-5)


def test_far_classes_have_finite_scores():
    targets = unit(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    (found,) = class_kernel_means(targets, targets, np.array([0, 1]), [0.01])
    assert np.isfinite(found).all()


def test_half_whitening_gives_the_root_of_the_covariance():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(4000, 3)) * [4.0, 1.0, 0.25]
    y = rng.randint(2, size=4000)
    classifier = KernelNeighborsClassifier(temperature=0.1).fit(X, y)
    expected = np.diag(np.sqrt(classifier.scale_[0] / np.array([4.0, 1.0, 0.25])))
    assert_allclose(classifier._half_whitening, expected, atol=0.05, rtol=0.02)


def test_large_samples_give_the_covariance_by_a_part(monkeypatch):
    X, y = gaussian_classes([600, 300, 100])
    whole = KernelNeighborsClassifier(temperature=0.1).fit(X, y)
    monkeypatch.setattr(
        "skcvae.long_tail._kernel_neighbors._COVARIANCE_BYTES", 500 * 8 * 2
    )
    part = KernelNeighborsClassifier(temperature=0.1).fit(X, y)
    assert_allclose(part._half_whitening, whole._half_whitening, atol=0.1)


def test_evenly_takes_as_many_of_each_class():
    codes = np.repeat([0, 1, 2], [50, 20, 2])
    chosen = evenly(np.random.RandomState(0).permutation(codes), 22)
    assert len(chosen) == 22
    counts = np.bincount(np.random.RandomState(0).permutation(codes)[chosen])
    assert_array_equal(counts, [10, 10, 2])


def test_evenly_spreads_over_the_samples_of_a_class():
    assert_array_equal(evenly(np.zeros(12, dtype=int), 4), [0, 3, 6, 9])


def test_chosen_temperature_is_about_as_good_as_the_best():
    X, y = make_classification(
        600, 12, n_informative=8, n_classes=4, weights=[0.6, 0.2, 0.1], random_state=0
    )
    X, X_new, y, y_new = X[:400], X[400:], y[:400], y[400:]
    weight = class_weights(y_new, np.ones(4))

    def loss(temperature):
        classifier = KernelNeighborsClassifier(temperature=temperature).fit(X, y)
        return log_loss(y_new, classifier.predict_proba(X_new), sample_weight=weight)

    assert loss("auto") < min(loss(t) for t in (0.02, 0.05, 0.1, 0.25, 0.5)) + 0.03


# The quadratic head


def test_equals_quadratic_discriminant_analysis_for_large_classes():
    X, y = gaussian_classes([3000, 3000, 3000])
    X[y == 1] = MEANS[1] + 2 * (X[y == 1] - MEANS[1])
    classifier = ShrunkQuadraticDiscriminant(shrinkage=1e-6, n_neighbors=0).fit(X, y)
    densities = [
        multivariate_normal(MEANS[c], (1, 4, 1)[c]).logpdf(X) for c in range(3)
    ]
    expected = softmax(np.transpose(densities), axis=1)
    assert np.abs(classifier.predict_proba(X) - expected).max() < 0.06
    assert_allclose(classifier.exponent_, 1, atol=0.1)


def test_offset_helps_small_classes_whose_samples_are_few():
    rng = np.random.RandomState(0)
    counts, d = [400, 400, 10, 10], 30
    means = 0.9 * rng.normal(size=(4, d)) / np.sqrt(2)
    y = np.repeat(np.arange(4), counts)
    X = means[y] + rng.normal(size=(len(y), d))
    classifier = ShrunkQuadraticDiscriminant(shrinkage=30.0, n_neighbors=0).fit(X, y)
    assert classifier.rarity_exponent_ >= 0
    y_new = np.repeat(np.arange(4), 500)
    X_new = means[y_new] + rng.normal(size=(2000, d))
    assert expected_calibration_error(y_new, classifier.predict_proba(X_new)) < 0.15


@pytest.mark.parametrize("n_neighbors", [0, 1, 5])
def test_two_classes_and_more_neighbors_than_classes(n_neighbors):
    X, y = gaussian_classes([80, 20])
    classifier = ShrunkQuadraticDiscriminant(n_neighbors=n_neighbors).fit(X, y)
    assert classifier.score(X, y) > 0.7


def test_covariance_of_a_class_of_one_sample_is_that_of_its_neighbor():
    X, y = gaussian_classes([2000, 2000, 1])
    X[y != 2] *= 2
    classifier = ShrunkQuadraticDiscriminant(shrinkage=1e4, n_neighbors=1).fit(X, y)
    factor = classifier._gaussians.factors[2]
    k0 = classifier._gaussians.k0
    covariance = np.linalg.inv(factor @ factor.T) / (1 + 1 / (1 + k0))
    assert_allclose(covariance, np.eye(2), atol=0.1)


@pytest.mark.parametrize(
    "estimator", [KernelNeighborsClassifier(), ShrunkQuadraticDiscriminant()]
)
def test_train_prior_moves_the_uniform_probabilities(estimator):
    X, y = gaussian_classes([60, 30, 10])
    uniform = clone(estimator).fit(X, y).predict_proba(X)
    moved = estimator.set_params(target_prior="train").fit(X, y).predict_proba(X)
    expected = uniform * [6, 3, 1]
    expected /= expected.sum(axis=1, keepdims=True)
    assert_allclose(moved, expected, rtol=1e-6)
