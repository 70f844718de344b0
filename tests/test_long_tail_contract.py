"""What a loss says of the prior, and that LongTailClassifier counts it once."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

from skcvae.datasets import make_long_tailed
from skcvae.generators import ClassGaussian
from skcvae.long_tail import (
    BalancedSoftmaxLoss,
    ClassBalancedLoss,
    EqualizationLoss,
    FocalLoss,
    LDAMLoss,
    LogitAdjustedLoss,
    LongTailClassifier,
)
from skcvae.long_tail._head_net import LOSSES, build_loss
from skcvae.long_tail._losses import effective_number_weights
from skcvae.long_tail._priors import BatchPriors, augment_probability, sampling_prior

SIZES = np.array([60, 30, 12, 5])

#: An instance for each name, with the counts that a user has: those of the data.
INSTANCES = {
    "balanced_softmax": BalancedSoftmaxLoss,
    "class_balanced": ClassBalancedLoss,
    "cross_entropy": lambda count: nn.CrossEntropyLoss(),
    "equalization": EqualizationLoss,
    "focal": lambda count: FocalLoss(),
    "ldam": LDAMLoss,
    "logit_adjusted": LogitAdjustedLoss,
}
OURS = [
    (BalancedSoftmaxLoss, {}),
    (ClassBalancedLoss, {"beta": 0.9}),
    (EqualizationLoss, {"threshold": 0.2}),
    (FocalLoss, {"gamma": 0.5}),
    (LDAMLoss, {"reweight_after": 0.5}),
    (LogitAdjustedLoss, {}),
]
NAME_OF = {kind: name for name, kind in LOSSES.items()}


def make_classifier(**params):
    defaults = {
        "generator": ClassGaussian(),
        "max_epochs": 2,
        "batch_size": 32,
        "lr": 0.05,
        "device": "cpu",
        "random_state": 0,
    }
    return LongTailClassifier(**{**defaults, **params})


def log_proba(X, y, **params):
    return np.log(make_classifier(**params).fit(X, y).predict_proba(X))


@pytest.fixture(scope="module")
def noisy_classes():
    """Samples of four classes, whose probabilities are neither 0 nor 1."""
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(4), SIZES)
    return np.eye(4, 6)[y] + 2 * rng.normal(size=(len(y), 6)), y


# By name and by instance


def test_every_name_has_an_instance_here():
    assert INSTANCES.keys() == LOSSES.keys()


@pytest.mark.parametrize("sampling", ["instance", "sqrt", "balanced", "progressive"])
@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_trains_and_predicts_as_its_name_does(
    name, sampling, noisy_classes
):
    X, y = noisy_classes
    loss = INSTANCES[name](SIZES)
    by_name = log_proba(X, y, loss=name, sampling=sampling)
    assert_allclose(log_proba(X, y, loss=loss, sampling=sampling), by_name, atol=1e-6)


@pytest.mark.parametrize("name", INSTANCES)
def test_without_correction_an_instance_does_as_its_name_does(name, noisy_classes):
    X, y = noisy_classes
    by_name, by_instance = (
        log_proba(X, y, loss=loss, prior_correction=None)
        for loss in (name, INSTANCES[name](SIZES))
    )
    assert_allclose(by_instance, by_name, atol=1e-6)


def test_counts_of_other_data_are_replaced_and_the_loss_of_the_user_is_not(
    noisy_classes,
):
    X, y = noisy_classes
    loss = BalancedSoftmaxLoss([1, 2, 3])
    by_instance = log_proba(X, y, loss=loss)
    assert_allclose(by_instance, log_proba(X, y, loss="balanced_softmax"), atol=1e-6)
    assert_allclose(loss.shift, np.log([1, 2, 3]), rtol=1e-6)
    assert loss.reduction == "mean"


def test_balanced_softmax_is_as_good_by_instance_on_long_tailed_digits():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=0
    )
    X, y = make_long_tailed(X, y, imbalance_ratio=50, random_state=0)
    scores = [
        make_classifier(loss=loss, max_epochs=30, lr=2e-3)
        .fit(X, y)
        .score(X_test, y_test)
        for loss in ("balanced_softmax", BalancedSoftmaxLoss(np.bincount(y)))
    ]
    assert scores[0] == scores[1] > 0.75


# Losses of the user


class PlainBalanced(nn.Module):
    """Balanced softmax for counts of its own, which says nothing of itself."""

    reduction = "mean"

    def __init__(self, class_count):
        super().__init__()
        self.shift = torch.log(torch.as_tensor(class_count, dtype=torch.float32))

    def forward(self, logits, y):
        return functional.cross_entropy(
            logits + self.shift, y, reduction=self.reduction
        )


class HonestBalanced(PlainBalanced):
    corrects_prior = True


class FollowingBalanced(HonestBalanced):
    def set_class_count(self, class_count):
        self.shift = torch.log(torch.as_tensor(class_count, dtype=torch.float32))


class Weighted(nn.CrossEntropyLoss):
    def log_class_weight(self, class_count):
        return self.weight.log()


def test_a_loss_that_says_that_it_corrects_the_prior_is_believed(noisy_classes):
    X, y = noisy_classes
    params = {"sampling": "instance"}
    expected = log_proba(X, y, loss="balanced_softmax", **params)
    honest = log_proba(X, y, loss=HonestBalanced(SIZES), **params)
    assert_allclose(honest, expected, atol=1e-5)


@pytest.mark.parametrize("sampling", ["sqrt", "progressive"])
def test_a_loss_that_takes_class_counts_follows_the_batches(sampling, noisy_classes):
    X, y = noisy_classes
    expected = log_proba(X, y, loss="balanced_softmax", sampling=sampling)
    given_loss = FollowingBalanced([1, 1, 1, 1])
    assert_allclose(
        log_proba(X, y, loss=given_loss, sampling=sampling), expected, atol=1e-5
    )


def test_a_loss_that_says_nothing_is_corrected_after_the_training(noisy_classes):
    X, y = noisy_classes
    loss = PlainBalanced(SIZES)
    raw, uniform = (log_proba(X, y, loss=loss, target_prior=t) for t in (None, "train"))
    shift = np.log(SIZES) - np.log(sampling_prior("sqrt", SIZES))
    assert_allclose(up_to_a_constant(uniform - raw), up_to_a_constant(shift + 0 * raw))


def test_weights_that_a_loss_tells_of_are_corrected(noisy_classes):
    X, y = noisy_classes
    weight = torch.tensor([1.0, 2.0, 5.0, 10.0])
    raw, uniform = (
        log_proba(X, y, loss=Weighted(weight), sampling="balanced", target_prior=t)
        for t in (None, "uniform")
    )
    shift = -np.log([1, 2, 5, 10]) + 0 * raw
    assert_allclose(up_to_a_constant(uniform - raw), up_to_a_constant(shift), atol=1e-6)


@pytest.mark.parametrize("said", [[0.0], [0, 0, 0, np.inf]], ids=str)
def test_weights_that_are_none_are_refused(said, noisy_classes):
    loss = nn.CrossEntropyLoss()
    loss.log_class_weight = lambda class_count: np.array(said)
    with pytest.raises(ValueError, match="log_class_weight of the loss CrossEntropy"):
        make_classifier(loss=loss).fit(*noisy_classes)


def test_parameters_of_a_named_loss_are_refused_beside_an_instance(noisy_classes):
    classifier = make_classifier(loss=FocalLoss(), loss_params={"gamma": 1.0})
    with pytest.raises(ValueError, match=r"Set \['gamma'\] on the FocalLoss itself"):
        classifier.fit(*noisy_classes)


def test_margins_of_other_classes_are_refused(noisy_classes):
    with pytest.raises(ValueError, match="LDAMLoss counts 3 classes, and y has 4"):
        make_classifier(loss=LDAMLoss([3, 2, 1])).fit(*noisy_classes)


# What is counted: once


def up_to_a_constant(logits):
    return logits - logits.mean(axis=-1, keepdims=True)


def prior_left(name, params, prior, tau):
    """Return what the formulas of the papers leave in the logits of a loss."""
    if name in ("balanced_softmax", "logit_adjusted"):
        return np.zeros(len(prior))
    left = tau * np.log(prior)
    count = prior**tau / (prior**tau).sum() * SIZES.sum()
    if name == "equalization" and (count / count.sum() < params["threshold"]).any():
        return np.zeros(len(prior))
    if name == "class_balanced":
        left = left + np.log(effective_number_weights(count, params["beta"]))
    if name == "ldam":
        left = left + np.log(effective_number_weights(SIZES, 0.9999))
    return left


def assert_log_odds_move_by_what_is_left(X, y, kind, params, prior, **others):
    """Compare predictions for the target prior with those of the bare logits."""
    name = NAME_OF[kind]
    both = {"loss": name, "loss_params": params, **others}
    target = np.asarray(both.pop("target"))
    bare = log_proba(X, y, **both, target_prior=None)
    moved = log_proba(X, y, **both, target_prior=target)
    left = prior_left(name, params, prior, others.get("tau", 1.0))
    expected = bare + np.log(target) - left
    assert_allclose(
        up_to_a_constant(moved), up_to_a_constant(expected), rtol=1e-6, atol=1e-6
    )


samplings = st.one_of(
    st.sampled_from(["instance", "sqrt", "balanced"]), st.floats(-0.5, 1.5)
)
targets = st.lists(st.floats(0.05, 1.0), min_size=4, max_size=4)


@pytest.mark.parametrize(("kind", "params"), OURS)
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sampling=samplings,
    weight=st.floats(0.2, 3.0),
    tau=st.floats(0.0, 2.0),
    target=targets,
)
def test_log_odds_move_by_what_is_left_of_the_prior(
    kind, params, sampling, weight, tau, target, noisy_classes
):
    drawn = sampling_prior(sampling, SIZES)
    p_augment = augment_probability("inverse", SIZES, 0.2, 0.7)
    prior = drawn * (1 - p_augment + weight * p_augment)
    assert_log_odds_move_by_what_is_left(
        *noisy_classes,
        kind,
        params,
        prior / prior.sum(),
        sampling=sampling,
        generated_weight=weight,
        tau=tau,
        target=target,
    )


@pytest.mark.parametrize(("kind", "params"), OURS)
def test_a_loss_that_lies_about_the_prior_is_found_out(
    kind, params, noisy_classes, monkeypatch
):
    check = {"sampling": "sqrt", "augment": None, "target": [1, 2, 3, 4]}
    prior = sampling_prior("sqrt", SIZES)
    assert_log_odds_move_by_what_is_left(*noisy_classes, kind, params, prior, **check)
    count = sampling_prior("sqrt", SIZES) * SIZES.sum()
    loss = kind(**params) if kind is FocalLoss else kind(count, **params)
    monkeypatch.setattr(kind, "corrects_prior", not loss.corrects_prior)
    with pytest.raises(AssertionError, match="Not equal"):
        assert_log_odds_move_by_what_is_left(
            *noisy_classes, kind, params, prior, **check
        )


@pytest.mark.parametrize("kind", [ClassBalancedLoss, LDAMLoss])
def test_weights_that_a_loss_hides_are_found_out(kind, noisy_classes, monkeypatch):
    params = dict(OURS)[kind]
    check = {"sampling": "sqrt", "augment": None, "target": [1, 2, 3, 4]}
    prior = sampling_prior("sqrt", SIZES)
    monkeypatch.setattr(kind, "log_class_weight", lambda *_: np.zeros(4))
    with pytest.raises(AssertionError, match="Not equal"):
        assert_log_odds_move_by_what_is_left(
            *noisy_classes, kind, params, prior, **check
        )


# Gaussian classes, whose posterior is known

GRID = np.linspace(-3, 6, 13)
PROPER = ["cross_entropy", "balanced_softmax", "logit_adjusted", "class_balanced"]


def slope(loss, logits, joint):
    """Return the gradient of the expected loss, 0 at its only minimum."""
    logits = torch.tensor(logits, requires_grad=True)
    codes = torch.arange(joint.shape[1]).repeat(len(joint))
    points = torch.arange(len(joint)).repeat_interleave(joint.shape[1])
    losses = loss(logits[points], codes)
    (torch.from_numpy(joint).ravel() * losses).sum().backward()
    return logits.grad.numpy()


@pytest.mark.parametrize("name", PROPER)
@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    count=st.lists(st.floats(2, 1000), min_size=3, max_size=3),
    sampling=samplings,
    p_augment=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    weight=st.floats(0.2, 3.0),
)
def test_gaussian_classes_get_their_posterior(name, count, sampling, p_augment, weight):
    priors = BatchPriors(
        class_count=np.array(count),
        sampling=sampling,
        p_augment=np.array(p_augment),
        generated_weight=weight,
        remix=None,
        correction="effective",
        tau=1.0,
        n_epochs=1,
    )
    log_likelihood = -((GRID[:, None] - [0.0, 1.0, 3.0]) ** 2) / 2
    loss = build_loss(name, None, priors, 0)
    # Predictions for the target are right if training ends with these logits.
    logits = log_likelihood + priors.log_prior_left(loss, 0)
    joint = softmax(log_likelihood + np.log(priors.effective(0)), axis=1)
    steepest = np.abs(slope(loss, logits, joint)).max()
    assert steepest < 1e-5
    logits[:, 0] += 0.1
    assert np.abs(slope(loss, logits, joint)).max() > 10 * steepest
