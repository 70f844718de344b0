"""Class priors: by hand, against simulations, and as probabilities come out."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import softmax
from torch import nn

from skcvae._remix import remix_label_share
from skcvae.generators import ClassGaussian
from skcvae.long_tail import LongTailClassifier
from skcvae.long_tail._batches import resolve_remix
from skcvae.long_tail._head_net import build_loss
from skcvae.long_tail._priors import (
    BatchPriors,
    augment_probability,
    effective_prior,
    mean_remix_share,
    sampling_prior,
)

COUNT = np.array([16.0, 4.0, 1.0])


def make_priors(**params):
    defaults = {
        "class_count": COUNT,
        "sampling": "instance",
        "p_augment": np.zeros(3),
        "generated_weight": 1.0,
        "remix": None,
        "correction": "effective",
        "tau": 1.0,
        "n_epochs": 5,
    }
    return BatchPriors(**{**defaults, **params})


def log_prior_left(loss, loss_params, priors, epoch):
    return priors.log_prior_left(build_loss(loss, loss_params, priors, epoch), epoch)


def up_to_a_constant(logits):
    return logits - logits.mean(axis=-1, keepdims=True)


# What batches draw and replace


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("instance", [16 / 21, 4 / 21, 1 / 21]),
        ("sqrt", [4 / 7, 2 / 7, 1 / 7]),
        ("balanced", [1 / 3, 1 / 3, 1 / 3]),
        (0, [16 / 21, 4 / 21, 1 / 21]),
        (0.5, [4 / 7, 2 / 7, 1 / 7]),
        (2, [1 / 21, 4 / 21, 16 / 21]),
        (-1.0, [256 / 273, 16 / 273, 1 / 273]),
    ],
)
def test_rows_are_drawn_with_weight_n_to_the_minus_b(sampling, expected):
    assert_allclose(sampling_prior(sampling, COUNT), expected, rtol=1e-12)
    # Progress is for "progressive" only, and the unit of the counts is nothing.
    assert_allclose(sampling_prior(sampling, 5 * COUNT, 0.7), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, [16 / 21, 4 / 21, 1 / 21]),
        (0.25, [55 / 84, 19 / 84, 10 / 84]),
        (1.0, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_progressive_moves_from_instance_to_balanced(progress, expected):
    prior = sampling_prior("progressive", COUNT, progress)
    assert_allclose(prior, expected, rtol=1e-12)


def test_progressive_begins_and_ends_with_the_training():
    priors = make_priors(sampling="progressive")
    assert_allclose(priors.drawn(0), sampling_prior("instance", COUNT))
    assert_allclose(priors.drawn(2)[0], (16 / 21 + 1 / 3) / 2)
    assert_allclose(priors.drawn(4), [1 / 3] * 3)
    only = make_priors(sampling="progressive", n_epochs=1)
    assert_allclose(only.drawn(0), sampling_prior("instance", COUNT))


@pytest.mark.parametrize(
    ("augment", "bounds", "expected"),
    [
        # 1 / n is 0.01, 0.05 and 0.2; scaled to 0, 4 / 19 and 1.
        ("inverse", (0.0, 1.0), [0, 4 / 19, 1]),
        ("inverse", (0.01, 0.7), [0.01, 4 / 19, 0.7]),
        ("inverse", (0.3, 0.7), [0.3, 0.3, 0.7]),
        ("inverse", (0.0, 0.1), [0, 0.1, 0.1]),
        ("inverse", (0.4, 0.4), [0.4, 0.4, 0.4]),
        # 1 / n^2 is 1, 25 and 400 times 1e-4; scaled to 0, 24 / 399 and 1.
        ("inverse_steep", (0.0, 1.0), [0, 24 / 399, 1]),
        ("inverse_steep", (0.01, 0.7), [0.01, 24 / 399, 0.7]),
        ("always", (0.2, 0.7), [1, 1, 1]),
        (None, (0.2, 0.7), [0, 0, 0]),
    ],
)
def test_equations_4_and_5_of_the_thesis(augment, bounds, expected):
    count = np.array([100.0, 20.0, 5.0])
    assert_allclose(augment_probability(augment, count, *bounds), expected, atol=1e-12)
    tenth = augment_probability(augment, count / 10, *bounds)
    assert_allclose(tenth, expected, atol=1e-12)


@pytest.mark.parametrize("augment", ["inverse", "inverse_steep"])
def test_classes_of_one_size_are_replaced_as_little_as_allowed(augment):
    assert_array_equal(augment_probability(augment, np.full(4, 7.0), 0.2, 0.7), 0.2)


# What the loss sees


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("tau", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kappa", [2.0, 4.0])
def test_mean_share_of_remix_is_the_mean_of_its_rule(alpha, tau, kappa):
    expected = np.empty((3, 3))
    # Evenly spaced quantiles instead of random draws.
    share = stats.beta(alpha, alpha).ppf((np.arange(20_000) + 0.5) / 20_000)
    for i, count in enumerate(COUNT):
        for j, partner in enumerate(COUNT):
            expected[i, j] = remix_label_share(share, count, partner, kappa, tau).mean()
    mean = mean_remix_share(COUNT, alpha, kappa, tau)
    assert_allclose(mean, expected, atol=1e-3)
    assert_allclose(mean + mean.T, 1, atol=1e-12)


@pytest.mark.parametrize("generated_weight", [1.0, 0.25, 3.0])
@pytest.mark.parametrize("remix", [None, {"tau": 0.5}, {"alpha": 0.4, "tau": 0.9}])
def test_effective_prior_is_that_of_simulated_batches(remix, generated_weight):
    drawn, p_augment = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.4, 0.9])
    rng, n_rows = np.random.RandomState(0), 400_000
    y, partner = rng.choice(3, (2, n_rows), p=drawn)
    weight, partner_weight = (
        np.where(rng.uniform(size=n_rows) < p_augment[code], generated_weight, 1.0)
        for code in (y, partner)
    )
    share, mean_share = np.ones(n_rows), None
    if remix is not None:
        remix = resolve_remix({"alpha": 1.0, **remix})
        share = rng.beta(remix["alpha"], remix["alpha"], n_rows)
        rule = remix["kappa"], remix["tau"]
        share = remix_label_share(share, COUNT[y], COUNT[partner], *rule)
        mean_share = mean_remix_share(COUNT, **remix)
    mass = np.bincount(y, share * weight)
    mass += np.bincount(partner, (1 - share) * partner_weight)
    prior = effective_prior(drawn, p_augment, generated_weight, mean_share)
    assert_allclose(prior, mass / mass.sum(), atol=0.005)
    # The test would see it if nothing were counted but the drawing.
    counted = bool(remix) or generated_weight != 1
    assert (np.abs(prior - drawn).max() > 0.02) == counted


# What is corrected, and what is left


def test_corrected_counts_are_those_of_the_prior_to_the_power_tau():
    sqrt = make_priors(sampling="sqrt")
    assert_allclose(sqrt.corrected_count(0), [12, 6, 3])
    sqrt.tau = 2.0
    assert_allclose(sqrt.corrected_count(0), [16, 4, 1])
    sqrt.tau = 0.0
    assert_allclose(sqrt.corrected_count(0), [7, 7, 7])
    original = make_priors(sampling="balanced", correction="original")
    assert_allclose(original.corrected_count(0), COUNT)
    progressive = make_priors(sampling="progressive")
    assert_allclose(progressive.corrected_count(4), [7, 7, 7])


# Logarithms of the likelihoods of four kinds of rows, given the class.
LIKELIHOOD = np.log(
    [[0.5, 0.1, 0.1], [0.2, 0.6, 0.2], [0.2, 0.2, 0.3], [0.1, 0.1, 0.4]]
)

LOSSES = pytest.mark.parametrize(
    ("loss", "loss_params"),
    [
        ("cross_entropy", None),
        ("balanced_softmax", None),
        ("logit_adjusted", {}),
        ("class_balanced", None),
        ("class_balanced", {"beta": 0.9}),
        (nn.CrossEntropyLoss(), None),
    ],
    ids=str,
)


def best_logits(loss, loss_params, priors):
    """Return the logits, one row for each kind, that minimise the expected loss."""
    criterion = build_loss(loss, loss_params, priors, 0)
    joint = torch.from_numpy(np.exp(LIKELIHOOD) * priors.effective(0))
    # Each kind has logits of its own: their weights speed up the search only.
    joint = joint / joint.sum(dim=1, keepdim=True)
    logits = torch.zeros((4, 3), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-14
    )

    def closure():
        optimizer.zero_grad()
        expected_loss = sum(
            (joint[:, code] * criterion(logits, torch.full((4,), code))).sum()
            for code in range(3)
        )
        expected_loss.backward()
        return expected_loss

    optimizer.step(closure)
    return logits.detach().numpy()


@LOSSES
@pytest.mark.parametrize("tau", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("sampling", ["instance", "sqrt", "balanced"])
def test_each_loss_ends_with_the_prior_corrected_to_the_power_tau(
    loss, loss_params, tau, sampling
):
    priors = make_priors(
        sampling=sampling,
        tau=tau,
        p_augment=np.array([0.0, 0.5, 0.5]),
        generated_weight=0.5,
    )
    left = log_prior_left(loss, loss_params, priors, 0)
    logits = best_logits(loss, loss_params, priors) - left
    expected = LIKELIHOOD + (1 - tau) * np.log(priors.effective(0))
    assert_allclose(up_to_a_constant(logits), up_to_a_constant(expected), atol=1e-4)


@LOSSES
def test_original_prior_is_corrected_once_more(loss, loss_params):
    priors = make_priors(sampling="balanced", correction="original")
    left = log_prior_left(loss, loss_params, priors, 0)
    logits = best_logits(loss, loss_params, priors) - left
    expected = LIKELIHOOD - np.log(COUNT)
    assert_allclose(up_to_a_constant(logits), up_to_a_constant(expected), atol=1e-4)


@LOSSES
def test_without_correction_the_logits_are_those_of_the_batches(loss, loss_params):
    priors = make_priors(sampling="sqrt", correction=None, tau=2.0)
    assert_array_equal(log_prior_left(loss, loss_params, priors, 0), 0)
    logits = best_logits(loss, loss_params, priors)
    expected = LIKELIHOOD + np.log(priors.effective(0))
    assert_allclose(up_to_a_constant(logits), up_to_a_constant(expected), atol=1e-4)


def test_focal_and_ldam_leave_the_prior_and_equalization_nothing():
    priors = make_priors(sampling="sqrt", tau=2.0)
    for loss in ("focal", "ldam"):
        left = log_prior_left(loss, None, priors, 4)
        assert_allclose(left, 2 * np.log([4 / 7, 2 / 7, 1 / 7]))
    # The smallest share is 1/21: with this threshold, its class is rare.
    params = {"threshold": 0.06}
    assert_array_equal(log_prior_left("equalization", params, priors, 4), 0)


def test_equalization_without_rare_classes_leaves_the_prior():
    priors = make_priors(sampling="sqrt")
    left = log_prior_left("equalization", {"threshold": 0.1}, priors, 4)
    assert_allclose(left, np.log([4 / 7, 2 / 7, 1 / 7]))


def test_weights_of_ldam_are_left_once_they_are_in_use():
    priors = make_priors(sampling="balanced")
    # With beta = 0.5, sixteen rows count as 2 - 2^-15, four as 1.875 and one as 1.
    weights = 1 / np.array([2 - 2.0**-15, 1.875, 1.0])
    params = {"reweight_after": 0.8, "reweight_beta": 0.5}
    left = np.array([log_prior_left("ldam", params, priors, epoch) for epoch in (3, 4)])
    expected = np.log([np.ones(3), weights])
    assert_allclose(up_to_a_constant(left), up_to_a_constant(expected), atol=1e-7)
    losses = [build_loss("ldam", params, priors, epoch) for epoch in range(5)]
    assert [loss.reweights for loss in losses] == [False] * 4 + [True]


# Probabilities, on three normal classes whose posterior is known

MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
SIZES = np.array([4000, 800, 200])

PROPER_LOSSES = ["cross_entropy", "balanced_softmax", "class_balanced"]

# The best of the wrong priors below is off by more than twice as much.
_BOUND = 0.02


def normal_rows(sizes, seed):
    codes = np.repeat(np.arange(3), sizes)
    return MEANS[codes] + np.random.RandomState(seed).normal(
        size=(len(codes), 2)
    ), codes


def posterior(X, prior):
    distances = ((X[:, None] - MEANS) ** 2).sum(axis=2)
    return softmax(np.log(prior) - distances / 2, axis=1)


def mean_error(classifier, prior):
    """Return the error of the probabilities of a classifier of the normal classes."""
    X, y = normal_rows(SIZES, 0)
    X_test, _ = normal_rows([500] * 3, 1)
    probability = classifier.fit(X, y).predict_proba(X_test)
    return np.abs(probability - posterior(X_test, prior)).mean()


make_calibrated = partial(
    LongTailClassifier,
    ClassGaussian(),
    lr=0.1,
    weight_decay=0,
    max_epochs=10,
    device="cpu",
    random_state=0,
)


@pytest.mark.parametrize("augment", [None, "inverse"])
@pytest.mark.parametrize("sampling", ["instance", "sqrt", "balanced"])
@pytest.mark.parametrize("loss", [*PROPER_LOSSES, "logit_adjusted"])
def test_probabilities_are_those_of_a_uniform_prior(loss, sampling, augment):
    classifier = make_calibrated(loss=loss, sampling=sampling, augment=augment)
    assert mean_error(classifier, np.full(3, 1 / 3)) < _BOUND


@pytest.mark.parametrize("sampling", ["instance", "balanced"])
@pytest.mark.parametrize("loss", PROPER_LOSSES)
def test_probabilities_are_those_of_the_training_rows(loss, sampling):
    classifier = make_calibrated(loss=loss, sampling=sampling, target_prior="train")
    assert mean_error(classifier, SIZES / SIZES.sum()) < _BOUND


# Losses that leave the prior to the prediction lag behind a prior that moves.
@pytest.mark.parametrize("loss", ["balanced_softmax", "logit_adjusted"])
def test_losses_that_correct_the_prior_follow_it_through_the_epochs(loss):
    classifier = make_calibrated(loss=loss, sampling="progressive")
    assert mean_error(classifier, np.full(3, 1 / 3)) < _BOUND


@pytest.mark.parametrize("loss", ["cross_entropy", "logit_adjusted"])
def test_weights_of_generated_rows_do_not_bend_the_probabilities(loss):
    classifier = make_calibrated(loss=loss, generated_weight=0.3, p_max=1.0)
    assert mean_error(classifier, np.full(3, 1 / 3)) < _BOUND
    # The weights matter: without the correction the same classifier is off.
    classifier.set_params(prior_correction="original")
    assert mean_error(classifier, np.full(3, 1 / 3)) > 2 * _BOUND


@pytest.mark.parametrize("loss", PROPER_LOSSES)
@pytest.mark.parametrize(
    "params",
    [
        {"sampling": "balanced", "prior_correction": "original"},
        {"sampling": "sqrt", "prior_correction": "original"},
        {"sampling": "instance", "prior_correction": None},
        {"sampling": "sqrt", "prior_correction": None},
    ],
    ids=str,
)
def test_a_wrong_prior_shows_in_the_probabilities(loss, params):
    classifier = make_calibrated(loss=loss, **params)
    assert mean_error(classifier, np.full(3, 1 / 3)) > 2 * _BOUND


@pytest.mark.parametrize("loss", ["cross_entropy", "balanced_softmax"])
def test_any_prior_may_be_the_target(loss):
    prior = np.array([0.1, 0.3, 0.6])
    classifier = make_calibrated(loss=loss, target_prior=30 * prior)
    assert mean_error(classifier, prior) < _BOUND
    assert_allclose(classifier.target_prior_, prior)
