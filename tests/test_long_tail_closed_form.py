"""LongTailClassifier without batches: the convex objective and the choice of l2."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import approx_fprime
from scipy.special import softmax
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch import nn

from skcvae.generators import CVAE, ClassGaussian
from skcvae.inspection import RegularizationPathDisplay
from skcvae.long_tail import BalancedSoftmaxLoss, LongTailClassifier, _closed_form
from skcvae.long_tail._closed_form import (
    Gaussians,
    HeadObjective,
    half_whitener,
    principal_axes,
    within_covariance,
)
from skcvae.long_tail._regularization import (
    Point,
    _lowest_point,
    _walk,
    stratified_splits,
)
from skcvae.long_tail._solver import resolve_solver

N_CLASSES, N_FEATURES = 5, 4


@pytest.fixture
def noisy_classes():
    """Samples of four classes, whose probabilities are neither 0 nor 1."""
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(4), [60, 30, 12, 5])
    return 1.5 * np.eye(4, 6)[y] + rng.normal(size=(len(y), 6)), y


def make_classifier(*args, **params):
    return LongTailClassifier(*args, **{"device": "cpu", "random_state": 0, **params})


def make_problem(seed=0):
    """Return an objective in float64, its Gaussians, and random weights."""
    rng = np.random.RandomState(seed)
    factor = rng.normal(size=(N_FEATURES, N_FEATURES))
    gaussians = Gaussians(
        rng.normal(size=(N_CLASSES, N_FEATURES)),
        factor @ factor.T,
        rng.uniform(0.5, 2, N_CLASSES),
    )
    codes = rng.randint(N_CLASSES, size=30)
    objective = HeadObjective(
        torch.from_numpy(rng.normal(size=(30, N_FEATURES))),
        torch.from_numpy(codes),
        torch.from_numpy(rng.uniform(size=30)),
        rng.normal(size=N_CLASSES),
        gaussians,
        rng.uniform(1, 5, N_CLASSES),
        np.ones(N_FEATURES),
    )
    return objective, gaussians, 0.3 * rng.normal(size=(N_CLASSES, N_FEATURES + 1))


def loss_of_drawn_samples(objective, gaussians, joint, n_drawn):
    """Return the mean loss with samples that are drawn."""
    rng = np.random.RandomState(1)
    noise = rng.multivariate_normal(np.zeros(N_FEATURES), gaussians.covariance, n_drawn)
    weights, bias = joint[:, :-1], joint[:, -1] + objective.shift.numpy()

    def losses(x, codes):
        proba = softmax(x @ weights.T + bias, axis=1)
        return -np.log(proba[np.arange(len(x)), codes])

    own = losses(objective.z.numpy(), objective.codes.numpy())
    total = (objective.weight.numpy() * own).sum()
    for code in range(N_CLASSES):
        x = gaussians.means[code] + np.sqrt(gaussians.variance[code]) * noise
        generated = losses(x, np.full(n_drawn, code)).mean()
        total += objective.mass[code].item() * generated
    return total / objective.total


# The objective


def test_gradient_is_that_of_the_loss():
    objective, _, joint = make_problem()
    _, gradient = objective._loss_and_gradient(joint.ravel(), 0.1)
    expected = approx_fprime(
        joint.ravel(), lambda flat: objective._loss_and_gradient(flat, 0.1)[0], 1e-6
    )
    assert_allclose(gradient, expected, atol=1e-5)


def test_loss_is_the_formula_class_by_class():
    objective, gaussians, joint = make_problem()
    weights, bias = joint[:, :-1], joint[:, -1] + objective.shift.numpy()
    total = 0.0
    for c in range(N_CLASSES):
        terms = []
        for j in range(N_CLASSES):
            between = weights[j] - weights[c]
            spread = between @ gaussians.covariance @ between
            mean = between @ gaussians.means[c] + bias[j] - bias[c]
            terms.append(np.exp(mean + gaussians.variance[c] / 2 * spread))
        total += objective.mass[c].item() * np.log(sum(terms))
    logits = objective.z.numpy() @ weights.T + bias
    log_proba = np.log(softmax(logits, axis=1))[np.arange(30), objective.codes.numpy()]
    total -= (objective.weight.numpy() * log_proba).sum()
    expected = total / objective.total + 0.05 * (weights**2).sum()
    assert_allclose(objective._loss_and_gradient(joint.ravel(), 0.1)[0], expected)


def test_loss_bounds_that_of_drawn_samples_and_meets_it_without_variance():
    objective, gaussians, joint = make_problem()
    drawn = loss_of_drawn_samples(objective, gaussians, joint, 20_000)
    bound = objective._loss_and_gradient(joint.ravel(), 0.0)[0]
    assert drawn < bound < 1.5 * drawn
    objective.set_width(0.0)
    gaussians.variance = np.zeros(N_CLASSES)
    drawn = loss_of_drawn_samples(objective, gaussians, joint, 2)
    assert_allclose(objective._loss_and_gradient(joint.ravel(), 0.0)[0], drawn)


def test_blocks_change_nothing(monkeypatch):
    objective, _, joint = make_problem()
    loss, gradient = objective._loss_and_gradient(joint.ravel(), 0.1)
    monkeypatch.setattr(_closed_form, "_BLOCK_NUMBERS", 2 * N_CLASSES)
    in_blocks = objective._loss_and_gradient(joint.ravel(), 0.1)
    assert_allclose(in_blocks[0], loss)
    assert_allclose(in_blocks[1], gradient, atol=1e-12)


def test_solution_is_the_minimum_from_any_start():
    objective, _, joint = make_problem()
    first = objective.fit(0.05, tolerance=1e-14)
    second = objective.fit(0.05, start=joint, tolerance=1e-14)
    assert_allclose(first, second - (second - first).mean(axis=0), atol=1e-5)
    assert np.abs(objective._loss_and_gradient(first.ravel(), 0.05)[1]).max() < 1e-6


def test_half_whitened_samples_have_the_root_of_the_variance():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(500, 3)) * [1.0, 4.0, 16.0]
    codes = np.zeros(500, dtype=int)
    covariance = within_covariance(X, codes, np.ones(500))
    assert_allclose(covariance, np.cov(X.T, ddof=0))
    whitener = half_whitener(covariance)
    left = whitener.T @ covariance @ whitener
    expected = np.sqrt(np.linalg.eigvalsh(covariance) * 3 / covariance.trace())
    assert_allclose(left, np.diag(expected), atol=1e-10)


def test_principal_axes_are_those_of_weighted_samples():
    rng = np.random.RandomState(0)
    X, weight = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3)), rng.uniform(size=50)
    axes, variances = principal_axes(X, weight)
    covariance = np.cov(X.T, aweights=weight, ddof=0)
    assert_allclose(axes.T @ covariance @ axes, np.diag(variances), atol=1e-10)
    assert_allclose(axes.T @ axes, np.eye(3), atol=1e-10)


def test_without_generated_samples_it_is_logistic_regression(noisy_classes):
    X, y = noisy_classes
    classifier = make_classifier(
        augment=None,
        l2=0.05,
        sampling="instance",
        prior_correction=None,
        target_prior=None,
    ).fit(X, y)
    Z = (X - classifier.offset_) / classifier.scale_
    whitener = half_whitener(within_covariance(Z, y, np.ones(len(y))))
    rival = LogisticRegression(C=1 / (0.05 * len(y)), tol=1e-8, max_iter=1000)
    expected = rival.fit(Z @ whitener, y).predict_proba(Z @ whitener)
    assert_allclose(classifier.predict_proba(X), expected, atol=5e-3)


@pytest.mark.parametrize("sampling", ["instance", "sqrt", "balanced"])
def test_prior_is_corrected_once(sampling):
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], [8000, 800])
    X = y[:, None] + rng.normal(size=(len(y), 1))
    classifier = make_classifier(augment=None, sampling=sampling, l2=1e-6).fit(X, y)
    slope = classifier.coef_[1] - classifier.coef_[0]
    bias = classifier.intercept_[1] - classifier.intercept_[0]
    # The log odds of two Gaussians of unit variance, 1 apart.
    assert_allclose([slope[0], bias], [1.0, -0.5], atol=0.1)


# The classifier


def test_default_takes_it_and_says_so(noisy_classes):
    X, y = noisy_classes
    classifier = make_classifier().fit(X, y)
    assert classifier.solver_ == "closed_form"
    assert not hasattr(classifier, "net_") and not hasattr(classifier, "history_")
    logits = X @ classifier.coef_.T + classifier.intercept_
    proba = classifier.predict_proba(X)
    assert_allclose(softmax(logits, axis=1), proba, atol=1e-5)
    made = classifier.make_logits()(torch.tensor(X, dtype=torch.float32))
    assert_allclose(made.softmax(1).numpy(), proba, atol=1e-5)


def test_choice_can_be_repeated_by_hand(noisy_classes):
    X, y = noisy_classes
    chosen = make_classifier().fit(X, y)
    given = make_classifier(
        l2=chosen.l2_,
        augment=chosen.augment_,
        sampling=chosen.sampling_,
        variance=getattr(chosen, "variance_", None),
    ).fit(X, y)
    assert given.temperature_ == 1 and given.l2_path_ is None
    proba = given.predict_proba(X) ** (1 / chosen.temperature_)
    proba /= proba.sum(axis=1, keepdims=True)
    assert_allclose(chosen.predict_proba(X), proba, atol=5e-3)


SGD = {
    "cvae": {"generator": CVAE(max_epochs=1)},
    "full": {"generator": ClassGaussian(covariance_type="full")},
    "remix": {"remix": {}},
    "head": {"head": "mlp"},
    "own head": {"head": nn.Linear},
    "loss": {"loss": "focal"},
    "own loss": {"loss": nn.CrossEntropyLoss()},
    "loss_params": {"loss": "logit_adjusted", "loss_params": {"tau": 2.0}},
    "sampling": {"sampling": "progressive"},
    "max_epochs": {"max_epochs": 3},
    "lr": {"lr": 0.1},
    "weight_decay": {"weight_decay": 0.5},
    "batch_size": {"batch_size": 32},
    "net_params": {"net_params": {}},
}


@pytest.mark.parametrize("params", SGD.values(), ids=SGD)
def test_sgd_where_it_does_not_apply(params):
    classifier = make_classifier(**params)
    classifier.n_features_in_ = 6
    assert resolve_solver(classifier, 100, 4) == "sgd"
    for asked in ({"solver": "closed_form"}, {"l2": 0.1}):
        classifier.set_params(**{"solver": "auto", "l2": "auto", **asked})
        with pytest.raises(ValueError, match="does not go with"):
            resolve_solver(classifier, 100, 4)


class OtherGaussian(ClassGaussian):
    def sample(self, n_samples=None, *, y=None, variance=None, random_state=None):
        X, y = super().sample(n_samples, y=y, variance=variance)
        return np.abs(X), y


APPLIES = {
    "instance": {"loss": BalancedSoftmaxLoss([1, 2, 3, 4])},
    "logit_adjusted": {"loss": "logit_adjusted"},
    "no generator": {"generator": CVAE(), "augment": None},
    "always": {"augment": "always"},
    "exponent": {"sampling": 0.3},
    "linear": {"head": "linear", "max_epochs": "auto", "lr": 0.002},
}


@pytest.mark.parametrize("params", APPLIES.values(), ids=APPLIES)
def test_closed_form_where_it_applies(params, noisy_classes):
    classifier = make_classifier(**params).fit(*noisy_classes)
    assert classifier.solver_ == "closed_form"
    assert classifier.score(*noisy_classes) > 0.5


def test_a_subclass_that_draws_other_samples_is_no_gaussian():
    classifier = make_classifier(OtherGaussian())
    classifier.n_features_in_ = 6
    assert resolve_solver(classifier, 100, 4) == "sgd"


def test_sgd_where_the_data_are_too_large():
    classifier = make_classifier()
    classifier.n_features_in_ = 192
    assert resolve_solver(classifier, 77_980, 8142) == "sgd"
    classifier.set_params(solver="closed_form")
    assert resolve_solver(classifier, 77_980, 8142) == "closed_form"


def test_ridge_is_refused_for_sgd(noisy_classes):
    with pytest.raises(ValueError, match="solver='sgd' has weight_decay"):
        make_classifier(solver="sgd", l2=0.1).fit(*noisy_classes)


def test_weights_count_as_repetitions(noisy_classes):
    X, y = noisy_classes
    weight = np.random.RandomState(0).randint(4, size=len(y))
    params = {"augment": None, "l2": 0.01}
    weighted = make_classifier(**params).fit(X, y, sample_weight=weight)
    repeated = make_classifier(**params).fit(
        np.repeat(X, weight, axis=0), np.repeat(y, weight)
    )
    plain = make_classifier(**params).fit(X, y)
    expected = repeated.predict_proba(X)
    assert_allclose(weighted.predict_proba(X), expected, atol=2e-3)
    assert np.abs(plain.predict_proba(X) - expected).max() > 0.02
    scaled = make_classifier(**params).fit(X, y, sample_weight=10.0 * weight)
    assert_allclose(scaled.predict_proba(X), expected, atol=2e-3)


def test_units_make_no_difference(noisy_classes):
    X, y = noisy_classes
    expected = make_classifier(l2=0.01).fit(X, y).predict_proba(X)
    moved = 1000 * X + 5
    proba = make_classifier(l2=0.01).fit(moved, y).predict_proba(moved)
    assert_allclose(proba, expected, atol=2e-3)


def test_target_priors_differ_by_their_ratio(noisy_classes):
    X, y = noisy_classes
    uniform = make_classifier(l2=0.01).fit(X, y).predict_proba(X)
    target = np.array([0, 2, 0, 6])
    proba = make_classifier(l2=0.01, target_prior=target).fit(X, y).predict_proba(X)
    expected = uniform * target
    assert_allclose(proba, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)
    chosen = make_classifier(target_prior=target).fit(X, y)
    assert np.isfinite(chosen.l2_path_["loss"]).all()
    bare = make_classifier(target_prior=None).fit(X, y)
    assert bare.temperature_ == 1


@pytest.mark.parametrize(
    "params",
    [{"p_min": 0.9, "p_max": 0.9}, {"generated_weight": 0.1}, {"tau": 2.0}],
    ids=str,
)
def test_parameters_of_the_batches_enter(params, noisy_classes):
    X, y = noisy_classes
    default = make_classifier(l2=0.01).fit(X, y).predict_proba(X)
    changed = make_classifier(l2=0.01, **params).fit(X, y).predict_proba(X)
    assert np.abs(changed - default).max() > 0.01


def test_it_agrees_with_sgd_on_the_samples_alone(long_tailed_digits):
    X, y = long_tailed_digits
    closed, sgd = (
        make_classifier(solver=solver, augment=None).fit(X, y).predict(X)
        for solver in ("closed_form", "sgd")
    )
    assert (closed == sgd).mean() > 0.97


def test_classes_of_one_sample(noisy_classes):
    X, y = noisy_classes
    single = np.unique(y, return_index=True)[1]
    lonely = make_classifier().fit(X[single], y[single])
    assert lonely.l2_path_ is None and lonely.l2_ == 4.0**-3
    assert np.isfinite(lonely.predict_proba(X)).all()
    kept = (y != 3) | (np.arange(len(y)) == single[3])
    some = make_classifier().fit(X[kept], y[kept])
    assert some.l2_path_ is not None
    assert np.isfinite(some.predict_proba(X)).all()


def test_constant_features_are_not_looked_at(noisy_classes):
    X, y = noisy_classes
    wide = np.column_stack([X, np.full(len(X), 0.1)])
    classifier = make_classifier().fit(wide, y)
    moved = np.column_stack([X, np.full(len(X), 1e6)])
    assert_allclose(classifier.predict_proba(moved), classifier.predict_proba(wide))
    constant = make_classifier().fit(np.ones_like(X), y)
    assert_allclose(constant.predict_proba(X[:1]), 0.25, atol=0.1)


def test_a_frozen_generator_may_know_more_classes(noisy_classes):
    X, y = noisy_classes
    frozen = FrozenEstimator(ClassGaussian().fit(X, y + 1))
    kept = y > 0
    classifier = make_classifier(frozen, l2=0.01).fit(X[kept], y[kept] + 1)
    assert classifier.solver_ == "closed_form"
    assert_array_equal(classifier.classes_, [2, 3, 4])
    assert classifier.variance_.shape == (3,)


def test_what_a_frozen_generator_has_seen_does_not_choose_the_ridge(noisy_classes):
    X, y = noisy_classes
    own = make_classifier(ClassGaussian(random_state=0)).fit(X, y)
    frozen = FrozenEstimator(ClassGaussian(random_state=0).fit(X, y))
    given = make_classifier(frozen).fit(X, y)
    assert given.l2_ == own.l2_
    assert_allclose(given.coef_, own.coef_)


def test_calibration_replaces_the_temperature_only(noisy_classes):
    X, y = noisy_classes
    plain = make_classifier().fit(X, y)
    calibrated = make_classifier(calibration="temperature", cv=3).fit(X, y)
    assert calibrated.l2_ == plain.l2_
    assert calibrated.temperature_ != plain.temperature_
    assert_array_equal(calibrated.predict(X), plain.predict(X))


def test_copies_predict_the_same_and_hold_no_sample(noisy_classes, tmp_path):
    X, y = noisy_classes
    classifier = make_classifier(memory=str(tmp_path)).fit(X, y)
    stored = pickle.dumps(classifier)
    assert_array_equal(
        pickle.loads(stored).predict_proba(X), classifier.predict_proba(X)
    )
    scaled = (X - classifier.offset_) / classifier.scale_
    for rows in (X, scaled):
        for kind in (np.float32, np.float64):
            assert not any(row.tobytes() in stored for row in rows.astype(kind))
    again = clone(classifier).fit(X, y)
    assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))


# The choice


def test_few_classes_do_without_generated_samples_that_harm():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], [300, 60])
    # One class lies on both sides of the other: no Gaussian is like it.
    X = rng.normal(size=(360, 4))
    X[:, 0] += np.where(y == 1, 1.0, 0.0)
    X[y == 1, 1] *= 0.05
    X[y == 1, 2] = rng.exponential(5.0, 60) ** 2
    harmed = make_classifier().fit(X, y)
    assert harmed.augment_ is None
    assert not hasattr(harmed, "variance_")
    assert harmed.sampling_ == "balanced"
    assert_allclose(harmed.effective_prior_, 0.5)
    sqrt = make_classifier(sampling="sqrt").fit(X, y)
    assert_allclose(sqrt.effective_prior_, np.sqrt([5, 1]) / np.sqrt([5, 1]).sum())
    given = make_classifier(l2=0.01).fit(X, y)
    assert (given.augment_, given.sampling_) == ("inverse", "sqrt")


def test_splits_hold_out_a_fifth_and_never_all_of_a_class():
    codes = np.repeat(np.arange(5), [50, 7, 3, 2, 1])
    X = np.arange(len(codes))[:, None]
    splits = stratified_splits(X, codes, np.random.RandomState(0))
    assert len(splits) == 3
    held_out = np.concatenate([test for _, test in splits])
    assert len(set(held_out)) == len(held_out)
    for train, test in splits:
        assert_array_equal(np.sort([*train, *test]), np.arange(len(codes)))
        assert set(codes[train]) == set(range(5))
        counts = np.bincount(codes[test], minlength=5)
        assert counts[0] == 10 and counts[1] in (1, 2) and counts[2:4].max() <= 1
        assert counts[4] == 0


def test_copies_are_held_out_together():
    rng = np.random.RandomState(0)
    codes = np.repeat(np.arange(4), [40, 9, 3, 1])
    X = rng.normal(size=(len(codes), 2))
    chosen = np.r_[np.arange(53), rng.randint(40, 53, 200)]
    for train, test in stratified_splits(X[chosen], codes[chosen], rng):
        assert not set(chosen[train]) & set(chosen[test])
        assert set(codes[chosen[train]]) == set(range(4))
        assert 3 not in codes[chosen[test]]
    # Equal samples of different classes are no copies of each other.
    train, test = stratified_splits(np.zeros((100, 2)), np.arange(100) // 50, rng)[0]
    assert len(train) == 100 and not len(test)


@pytest.mark.parametrize("best", [-3, 0, 2])
def test_walk_ends_behind_the_lowest_point(best):
    starts = []

    def measure(step, near):
        starts.append(near and near.heads)
        return Point(1.0, 1 + (step - best) ** 2, step)

    tried, found = _walk(measure)
    assert found == best
    assert {best - 1, best, best + 1} <= set(tried) and len(tried) <= abs(best) + 3
    # From the best so far on.
    assert starts[:2] == [None, 0]
    assert starts[-1] == best


def test_parabola_finds_its_lowest_point():
    l2 = 0.01 * 4.0 ** np.array([1, 0, -1])
    path = {"l2": l2, "loss": (np.log(l2) - np.log(0.012)) ** 2}
    assert_allclose(_lowest_point(path, 1), 0.012)
    # Farther than half a step, it is not believed.
    path["loss"] = (np.log(l2) - np.log(0.03)) ** 2
    assert_allclose(_lowest_point(path, 1), 0.02)


def test_noise_asks_for_a_stronger_ridge(noisy_classes):
    X, y = noisy_classes
    clear = make_classifier().fit(X + 5 * np.eye(4, 6)[y], y)
    noisy = make_classifier().fit(
        X + 3 * np.random.RandomState(1).normal(size=X.shape), y
    )
    assert noisy.l2_ > clear.l2_


def test_groups_are_kept_together(noisy_classes):
    X, y = noisy_classes
    rng = np.random.RandomState(0)
    groups = np.tile(np.arange(len(y)), 4)
    near = np.tile(X, (4, 1)) + 0.01 * rng.normal(size=(4 * len(y), 6))
    y = np.tile(y, 4)
    # Copies of held-out samples in the training part make any ridge look needless.
    leaking = make_classifier().fit(near, y)
    kept = make_classifier(cv=GroupKFold(3)).fit(near, y, groups=groups)
    assert kept.l2_path_["loss"].min() > leaking.l2_path_["loss"].min()
    with pytest.raises(ValueError, match="missing from the training part"):
        make_classifier(cv=GroupKFold(2)).fit(near, y, groups=y)


def test_path_is_drawn(noisy_classes):
    classifier = make_classifier().fit(*noisy_classes)
    display = RegularizationPathDisplay.from_estimator(classifier)
    assert_array_equal(display.lines_["tried"].get_xdata(), classifier.l2_path_["l2"])
    assert_array_equal(display.lines_["tried"].get_ydata(), classifier.l2_path_["loss"])
    given = make_classifier(l2=0.1).fit(*noisy_classes)
    with pytest.raises(ValueError, match="chose no ridge"):
        RegularizationPathDisplay.from_estimator(given)
