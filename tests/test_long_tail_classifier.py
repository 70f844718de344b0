"""LongTailClassifier: what it learns, refuses, keeps and reproduces."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skcvae import CVAE, ClassGaussian
from skcvae.long_tail import LDAMLoss, LongTailClassifier
from skcvae.long_tail._head_net import LOSSES


class CountedGaussian(ClassGaussian):
    """Counts its fits, those of its clones included."""

    n_fits = 0

    def _fit(self, Z, codes, seed):
        CountedGaussian.n_fits += 1
        super()._fit(Z, codes, seed)


class MeanLoss(nn.CrossEntropyLoss):
    """Cross-entropy that returns the mean whatever it is told."""

    def forward(self, logits, y):
        return super().forward(logits, y).mean()


class DoubledLoss(nn.CrossEntropyLoss):
    """Has an attribute that means another thing in LDAM."""

    scale = 2.0


def make_classifier(*args, **params):
    """Return a classifier that trains for 40 steps on the separated classes."""
    defaults = {
        "max_epochs": 10,
        "batch_size": 32,
        "lr": 0.05,
        "device": "cpu",
        "random_state": 0,
    }
    return LongTailClassifier(*args, **{**defaults, **params})


@pytest.fixture
def n_fits():
    """A function that tells how often the counted generators were fitted."""
    CountedGaussian.n_fits = 0
    return lambda: CountedGaussian.n_fits


def fitted_attributes(classifier):
    return [name for name in vars(classifier) if name.endswith("_")]


def same_probabilities(first, second, X):
    return np.array_equal(first.predict_proba(X), second.predict_proba(X))


# What is learned


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("head", ["auto", "mlp", "cosine"])
def test_separated_classes_are_learned(loss, head, separated_classes):
    classifier = make_classifier(loss=loss, head=head).fit(*separated_classes)
    assert classifier.score(*separated_classes) > 0.98
    assert_array_equal(classifier.class_count_, [60, 30, 12, 5])


@pytest.mark.parametrize("remix", [True, {"alpha": 0.5, "kappa": 2.0, "tau": 0.9}])
@pytest.mark.parametrize("generator", [None, CVAE(max_epochs=5, latent_dim=2)])
@pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")
def test_remix_and_any_generator_learn_too(remix, generator, separated_classes):
    classifier = make_classifier(generator, remix=remix, generated_weight=0.5)
    assert classifier.fit(*separated_classes).score(*separated_classes) > 0.98


@pytest.mark.parametrize(
    "names",
    [
        np.array(["w", "x", "y", "zebra"]),
        np.array(["w", "x", "y", "zebra"], dtype=object),
        np.array([7, -2, 30, 4], dtype=np.int16),
        np.array([0.0, 2.0, 1.0, -1.0]),
        np.array([True, True, True, False]),
    ],
    ids=lambda names: names.dtype.name,
)
def test_labels_may_be_anything_and_two_are_enough(names, separated_classes):
    X, codes = separated_classes
    y = names[codes]
    classifier = make_classifier().fit(X, y)
    assert_array_equal(classifier.classes_, np.unique(names))
    assert_array_equal(classifier.predict(X), y)
    assert classifier.predict(X).dtype == y.dtype


def test_classes_of_one_row_are_learned(separated_classes):
    X, y = separated_classes
    single = np.flatnonzero(y == 3)[0]
    kept = (y != 3) | (np.arange(len(y)) == single)
    for augment in (None, "inverse"):
        classifier = make_classifier(augment=augment).fit(X[kept], y[kept])
        assert classifier.class_count_[3] == 1
        assert_array_equal(classifier.predict(X), y)


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.filterwarnings("ignore:Number of classes in training fold")
def test_a_class_may_be_absent_in_a_fold(separated_classes):
    X, y = separated_classes
    y = np.where(np.arange(len(y)) == 0, 9, y)
    cv = StratifiedKFold(3)
    probability = cross_val_predict(
        make_classifier(), X, y, cv=cv, method="predict_proba"
    )
    assert_allclose(probability.sum(axis=1), 1)
    # The only row of class 9 was never in its own training part.
    assert probability[0, -1] == 0
    assert (probability.argmax(axis=1) == y)[1:].mean() > 0.95
    assert cross_val_score(make_classifier(), X, y, cv=cv).min() > 0.9


def test_frames_and_float_types_make_no_difference(separated_classes):
    X, y = separated_classes
    frame = pd.DataFrame(X, columns=list("abcdef"))
    expected = make_classifier().fit(X, y)
    classifier = make_classifier().fit(frame, pd.Series(y))
    assert_array_equal(classifier.feature_names_in_, list("abcdef"))
    assert_array_equal(classifier.predict_proba(frame), expected.predict_proba(X))
    with pytest.raises(ValueError, match="same order"):
        classifier.predict(frame[list("bacdef")])
    single = make_classifier().fit(X.astype(np.float32), y)
    probability = single.predict_proba(X.astype(np.float32))
    assert probability.dtype == np.float64
    assert_allclose(probability, expected.predict_proba(X), atol=1e-3)


def test_rows_of_weight_zero_are_as_good_as_removed(separated_classes):
    X, y = separated_classes
    weight = np.random.RandomState(0).randint(3, size=len(y)).astype(float)
    weight[y == 2] = 0
    kept = weight > 0
    classifier = make_classifier().fit(X, y, sample_weight=weight)
    expected = make_classifier().fit(X[kept], y[kept], sample_weight=weight[kept])
    assert_array_equal(classifier.classes_, [0, 1, 3])
    assert_array_equal(classifier.class_count_, np.bincount(y, weight)[[0, 1, 3]])
    assert same_probabilities(classifier, expected, X)
    assert not same_probabilities(classifier, make_classifier().fit(X, y), X)
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        make_classifier().fit(X, y, sample_weight=weight - 1)


def test_constant_features_are_not_looked_at(separated_classes):
    X, y = separated_classes
    wide = np.column_stack([X, np.full(len(X), 0.1)])
    classifier = make_classifier().fit(wide, y)
    moved = np.column_stack([X, np.full(len(X), 1e6)])
    assert_array_equal(classifier.predict_proba(moved), classifier.predict_proba(wide))
    assert_array_equal(classifier.predict(wide), y)
    constant = make_classifier(max_epochs=50).fit(np.ones_like(X), y)
    assert_allclose(constant.predict_proba(X[:1]), 0.25, atol=0.1)


# Probabilities


def test_probabilities_sum_to_one_and_agree_with_the_prediction(long_tailed_digits):
    X, y = long_tailed_digits
    classifier = make_classifier().fit(X, y)
    probability = classifier.predict_proba(X)
    assert probability.shape == (602, 10)
    assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    assert_array_equal(classifier.predict(X), probability.argmax(axis=1))


@pytest.mark.parametrize("loss", ["balanced_softmax", "cross_entropy", "focal"])
def test_target_priors_differ_by_their_ratio(loss, separated_classes):
    X, y = separated_classes
    # As they are, classes would have probabilities of 0 and 1.
    X = X + 10 * np.random.RandomState(1).normal(size=X.shape)
    proba = {
        name: make_classifier(loss=loss, target_prior=prior).fit(X, y).predict_proba(X)
        for name, prior in {
            "uniform": "uniform",
            "train": "train",
            "array": [0, 2, 0, 6],
            "none": None,
        }.items()
    }
    for name, prior in {"train": [60, 30, 12, 5], "array": [0, 2, 0, 6]}.items():
        expected = proba["uniform"] * prior
        expected /= expected.sum(axis=1, keepdims=True)
        assert_allclose(proba[name], expected, rtol=1e-10)
    # What the prediction leaves alone is the prior of sqrt-sampling.
    expected = proba["uniform"]
    if loss != "balanced_softmax":
        expected = expected * np.sqrt([60, 30, 12, 5])
        expected /= expected.sum(axis=1, keepdims=True)
    assert_allclose(proba["none"], expected, rtol=1e-10)


def test_ldam_predicts_with_its_scale(separated_classes):
    X, y = separated_classes
    for loss in ("ldam", LDAMLoss([60, 30, 12, 5], scale=7.0)):
        named = isinstance(loss, str)
        params = {"loss_params": {"scale": 7.0}} if named else {"head": "cosine"}
        classifier = make_classifier(loss=loss, target_prior=None, **params).fit(X, y)
        assert classifier.logit_scale_ == 7
    # The head of "ldam" itself returns cosines.
    classifier = make_classifier(
        loss="ldam", loss_params={"scale": 7.0}, target_prior=None
    ).fit(X, y)
    weight = classifier.net_.module_.weight.detach().numpy()
    Z = (X - classifier.offset_) / classifier.scale_
    Z, weight = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (Z, weight))
    logits = 7 * Z @ weight.T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert_allclose(classifier.predict_proba(X), expected, rtol=1e-4)


def test_only_ldam_scales_its_logits(separated_classes):
    X, y = separated_classes
    plain = make_classifier(loss=nn.CrossEntropyLoss()).fit(X, y)
    assert same_probabilities(make_classifier(loss=DoubledLoss()).fit(X, y), plain, X)


# The generator


def test_a_frozen_generator_is_used_as_it_is_and_another_is_fitted_anew(
    n_fits, separated_classes
):
    X, y = separated_classes
    generator = CountedGaussian(variance=4.0).fit(X, y)
    frozen = FrozenEstimator(generator)
    classifier = make_classifier(frozen).fit(X, y)
    assert classifier.generator_.estimator is generator
    clone(classifier).fit(X, y)
    assert n_fits() == 1
    again = make_classifier(generator).fit(X, y)
    assert n_fits() == 2
    # The fit of a Gaussian is not random.
    assert same_probabilities(again, classifier, X)


def test_an_unfitted_generator_is_left_unfitted(n_fits, separated_classes):
    generator = CountedGaussian()
    for expected in (1, 2):
        classifier = make_classifier(generator).fit(*separated_classes)
        assert n_fits() == expected
        assert fitted_attributes(generator) == []
        check_is_fitted(classifier.generator_)


def test_no_generator_is_a_class_gaussian(separated_classes):
    X, y = separated_classes
    classifier = make_classifier().fit(X, y)
    assert type(classifier.generator_) is ClassGaussian
    expected = make_classifier(ClassGaussian()).fit(X, y)
    assert same_probabilities(classifier, expected, X)


def test_without_augmentation_no_generator_is_touched(n_fits, separated_classes):
    X, y = separated_classes
    classifier = make_classifier(CountedGaussian(), augment=None).fit(X, y)
    assert n_fits() == 0
    assert not hasattr(classifier, "generator_")
    augmented = make_classifier(CountedGaussian(), augment="always").fit(X, y)
    assert not same_probabilities(augmented, classifier, X)


@pytest.mark.parametrize("variance", [0.0, [0.1, 1, 2, 3], {2: 0.5}])
def test_variance_is_that_of_the_generator_or_replaces_it(variance, separated_classes):
    X, y = separated_classes
    own = make_classifier(ClassGaussian(variance=variance), augment="always")
    given = make_classifier(augment="always", variance=variance)
    assert same_probabilities(own.fit(X, y), given.fit(X, y), X)
    default = make_classifier(augment="always").fit(X, y)
    assert not same_probabilities(given, default, X)


def test_candidates_of_a_grid_search_share_generators(
    tmp_path, n_fits, separated_classes
):
    X, y = separated_classes
    generator = CountedGaussian(random_state=0)
    grid = {
        "tau": [0.5, 1.5],
        "loss": ["focal", "balanced_softmax"],
        "generator__variance": [0.5, 1.0],
    }
    scores = []
    for memory, expected in ((str(tmp_path), 2 + 1), (None, 2 * 8 + 1)):
        before = n_fits()
        classifier = make_classifier(generator, memory=memory, lr=1e-3)
        search = GridSearchCV(classifier, grid, cv=2).fit(X, y)
        assert n_fits() - before == expected
        scores.append(search.cv_results_["mean_test_score"])
    assert_array_equal(*scores)


# What is refused

REFUSED = {
    "p_min above p_max": ({"p_min": 0.8}, "p_min must not exceed p_max"),
    "loss_params": ({"loss_params": {"gamma": 1}}, "gamma"),
    "loss_params, uncorrected": (
        {"loss_params": {"gamma": 1}, "prior_correction": None},
        "gamma",
    ),
    "value of loss_params": (
        {"loss": "focal", "loss_params": {"gamma": -1}},
        "'gamma'.*FocalLoss",
    ),
    "net_params": ({"net_params": {"lr": 1, "criterion": 2}}, r"\['criterion', 'lr'\]"),
    "callbacks": ({"net_params": {"callbacks": "all"}}, "must be a list"),
    "remix": ({"remix": {"lambda": 1}}, "remix must be"),
    "loss without reduction": ({"loss": nn.Identity()}, "reduction"),
    "target_prior": ({"target_prior": [0.5, 0.5]}, "target_prior.*4 classes"),
    "device": ({"device": "abacus"}, "device='abacus'"),
    "variance": ({"variance": [1.0, 2.0]}, "variance.*4 classes"),
    "sampling": ({"sampling": np.inf}, "'sampling'"),
    "head with a class too many": (
        {"head": lambda n_features, n_classes: nn.Linear(n_features, n_classes + 1)},
        r"head must return an array of the shape \(2, 4\).*got \(2, 5\)",
    ),
    "the same with a loss that does not look": (
        {
            "head": lambda n_features, n_classes: nn.Linear(n_features, n_classes + 1),
            "loss": "cross_entropy",
        },
        "head must return an array of the shape",
    ),
    "loss that ignores its reduction": (
        {"loss": MeanLoss()},
        r"loss must return.*\(2,\).*got \(\).*a number for each sample",
    ),
    "argument that skorch lacks": ({"net_params": {"nope": 1}}, "nope"),
    "memory without a seed": (
        {"memory": "unused", "random_state": None},
        "integer random_state",
    ),
}


def fit_in_vain(classifier, X, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        classifier.fit(X, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(classifier)
    assert fitted_attributes(classifier) == []


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_parameters_are_refused_before_any_training(
    fault, n_fits, separated_classes
):
    params, message = REFUSED[fault]
    classifier = make_classifier(CountedGaussian(), **params)
    fit_in_vain(classifier, *separated_classes, message)
    assert n_fits() == 0


def test_bad_rows_are_refused_before_any_training(n_fits, separated_classes):
    X, y = separated_classes
    classifier = make_classifier(CountedGaussian())
    fit_in_vain(classifier, np.where(X > 12, np.nan, X), y, "NaN")
    fit_in_vain(classifier, X, np.zeros_like(y), "at least two classes, and y has 1")
    assert n_fits() == 0
    classifier.fit(X, y)
    fit_in_vain(classifier, X[:, :0], y, "0 feature")


def test_fitted_generators_of_other_data_are_refused(separated_classes):
    X, y = separated_classes
    narrow = make_classifier(FrozenEstimator(ClassGaussian().fit(X[:, :3], y)))
    fit_in_vain(narrow, X, y, "ClassGaussian was fitted to 3 features, and X has 6")
    poor = make_classifier(FrozenEstimator(ClassGaussian().fit(X, y % 2)))
    fit_in_vain(poor, X, y, r"ClassGaussian was fitted without the classes \[2, 3\]")
    named = make_classifier(FrozenEstimator(ClassGaussian().fit(X, y.astype(str))))
    fit_in_vain(named, X, y, "without the classes")


@pytest.mark.parametrize("solver", ["closed_form", "sgd"])
def test_units_in_which_float32_sees_nothing_are_refused(solver, separated_classes):
    X, y = separated_classes
    classifier = LongTailClassifier(solver=solver)
    with pytest.raises(ValueError, match="Multiply X by a constant"):
        classifier.fit(1e-60 * X, y)


def test_a_head_with_a_class_too_many_is_refused_without_a_generator_too(
    separated_classes,
):
    def head(n_features, n_classes):
        return nn.Linear(n_features, n_classes + 1)

    classifier = make_classifier(augment=None, head=head, loss="cross_entropy")
    fit_in_vain(classifier, *separated_classes, "head must return")


def test_predictions_check_their_rows(separated_classes):
    X, y = separated_classes
    classifier = make_classifier()
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    classifier.fit(X, y)
    for faulty, message in (
        (X[:, :3], "3 features"),
        (np.full_like(X, np.nan), "NaN"),
        (np.full_like(X, 1e300), "too large"),
        (X.astype(str), "strings"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier.predict_proba(faulty)
    assert np.isfinite(classifier.predict_proba(1e6 * X)).all()
