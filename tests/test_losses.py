"""The losses of long-tailed classification against closed forms and their limits."""

import inspect
import pickle
from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import log_softmax
from torch.nn import functional as F

from skcvae import long_tail
from skcvae.long_tail._losses import (
    BalancedSoftmaxLoss,
    ClassBalancedLoss,
    EqualizationLoss,
    FocalLoss,
    LDAMLoss,
    LogitAdjustedLoss,
    effective_number_weights,
)

# The shares are 0.8, 0.15, 0.04 and 0.01; with the threshold 0.1, two are rare.
COUNT = [160.0, 30.0, 8.0, 2.0]
UNIFORM = [7.0] * 4
RARE = np.array([False, False, True, True])

LOSSES = {
    "balanced softmax": lambda **kw: BalancedSoftmaxLoss(COUNT, **kw),
    "logit adjusted": lambda **kw: LogitAdjustedLoss(COUNT, tau=1.5, **kw),
    "class balanced": lambda **kw: ClassBalancedLoss(COUNT, beta=0.99, **kw),
    "focal": lambda **kw: FocalLoss(gamma=2.0, **kw),
    "focal, small gamma": lambda **kw: FocalLoss(gamma=0.5, **kw),
    "equalization": lambda **kw: EqualizationLoss(COUNT, 0.1, 0.9, **kw).eval(),
    "equalization, gamma=1": lambda **kw: EqualizationLoss(COUNT, 0.1, 1.0, **kw),
    "ldam": lambda **kw: LDAMLoss(COUNT, reweight_after=0.0, **kw),
}
PUBLIC = [getattr(long_tail, name) for name in long_tail.__all__ if "Loss" in name]
each_loss = pytest.mark.parametrize("make", LOSSES.values(), ids=list(LOSSES))


def random_batch(n_rows=40, scale=2.0, seed=0, dtype=torch.float64):
    """Return logits and codes; each of the four classes occurs."""
    rng = np.random.RandomState(seed)
    logits = torch.from_numpy(scale * rng.normal(size=(n_rows, 4))).to(dtype)
    return logits, torch.from_numpy(rng.permutation(np.arange(n_rows) % 4))


def random_cosines(n_rows=40):
    logits, y = random_batch(n_rows)
    return torch.tanh(logits), y


def picked(log_probability, y):
    return -log_probability[np.arange(len(y)), y]


def assert_losses(loss, logits, y, expected):
    """Compare the losses of rows; buffers have the seven digits of float32."""
    losses = loss(logits, y)
    assert losses.dtype == logits.dtype
    assert_allclose(losses.numpy(), expected, rtol=2e-6, atol=1e-7)


# Values -------------------------------------------------------------------------------


def test_balanced_softmax_weights_the_exponentials_by_class_size():
    logits, y = random_batch()
    sized = np.array(COUNT) * np.exp(logits.numpy())
    expected = picked(np.log(sized / sized.sum(axis=1, keepdims=True)), y)
    assert_losses(BalancedSoftmaxLoss(COUNT, reduction="none"), logits, y, expected)


@pytest.mark.parametrize("tau", [0.3, 2.0])
def test_logit_adjustment_weights_the_exponentials_by_a_power_of_the_prior(tau):
    logits, y = random_batch()
    sized = (np.array(COUNT) / 200) ** tau * np.exp(logits.numpy())
    expected = picked(np.log(sized / sized.sum(axis=1, keepdims=True)), y)
    loss = LogitAdjustedLoss(COUNT, tau, reduction="none")
    assert_losses(loss, logits, y, expected)


def test_class_balanced_by_hand():
    # (1 - 0.5) / (1 - 0.5 ** n) is 1 and 2/3 for n = 1 and 2: scaled, 6/5 and 4/5.
    loss = ClassBalancedLoss([1, 2], beta=0.5, reduction="none")
    logits = torch.zeros(2, 2, dtype=torch.float64)
    expected = np.array([1.2, 0.8]) * np.log(2)
    assert_losses(loss, logits, torch.tensor([0, 1]), expected)


def test_mean_of_class_balanced_divides_by_the_number_of_rows():
    loss = ClassBalancedLoss([1, 2], beta=0.5)
    mean = loss(torch.zeros(4, 2, dtype=torch.float64), torch.tensor([1, 1, 1, 1]))
    assert mean.item() == pytest.approx(0.8 * np.log(2))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_its_formula(gamma):
    logits, y = random_batch()
    cross_entropy = picked(log_softmax(logits.numpy(), axis=1), y)
    expected = (1 - np.exp(-cross_entropy)) ** gamma * cross_entropy
    assert_losses(FocalLoss(gamma, reduction="none"), logits, y, expected)


def test_equalization_in_evaluation_mode_by_hand():
    # Rows of the classes 0, 2 and 3: a rare class has the weight 0.1 but for its rows.
    loss = EqualizationLoss(COUNT, threshold=0.1, gamma=0.9, reduction="none").eval()
    logits = torch.log(torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64))
    expected = np.log([(3 + 0.7) / 1, (3 + 3 + 0.4) / 3, (3 + 0.3 + 4) / 4])
    assert_losses(loss, logits.expand(3, 4), torch.tensor([0, 2, 3]), expected)


def test_a_class_at_the_threshold_is_not_rare():
    logits, y = random_batch()
    loss = EqualizationLoss([3.0, 1.0, 3.0, 1.0], threshold=0.125, gamma=1.0)
    torch.testing.assert_close(loss(logits, y), F.cross_entropy(logits, y))


def test_ldam_by_hand():
    # (16 / 1) ** (-1 / 4) = 1 / 2: the margins are 0.2 and 0.4.
    loss = LDAMLoss([16, 1], max_margin=0.4, scale=10.0, reduction="none")
    cosines = torch.tensor([[0.5, 0.1], [0.5, 0.1]], dtype=torch.float64)
    expected = np.log1p(np.exp([10 * (0.1 - 0.3), 10 * (0.5 + 0.3)]))
    assert_losses(loss, cosines, torch.tensor([0, 1]), expected)


# Weights of the effective number ------------------------------------------------------


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999999, 1 - 1e-15])
def test_effective_number_weights_have_no_cancellation(beta):
    count = [0.5, 3.0, 1e3, 1e6, 1e9]
    with localcontext() as context:
        context.prec = 60
        exact = [(1 - Decimal(beta)) / (1 - Decimal(beta) ** Decimal(n)) for n in count]
        exact = [float(len(count) * weight / sum(exact)) for weight in exact]
    assert_allclose(effective_number_weights(count, beta), exact, rtol=1e-12)


def test_effective_number_weights_tend_to_inverse_frequencies():
    inverse = 1 / np.array(COUNT)
    weights = effective_number_weights(COUNT, 1 - 1e-12)
    assert_allclose(weights, 4 * inverse / inverse.sum(), rtol=1e-9)


def test_class_balanced_tends_to_inverse_frequencies():
    logits, y = random_batch()
    inverse = 1 / np.array(COUNT)
    weight = (4 * inverse / inverse.sum())[y.numpy()]
    expected = weight * picked(log_softmax(logits.numpy(), axis=1), y)
    loss = ClassBalancedLoss(COUNT, beta=1 - 1e-12, reduction="none")
    assert_losses(loss, logits, y, expected)


# Limits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        BalancedSoftmaxLoss(UNIFORM, reduction="none"),
        LogitAdjustedLoss(UNIFORM, 0.5, reduction="none"),
        LogitAdjustedLoss(UNIFORM, 3.0, reduction="none"),
        LogitAdjustedLoss(COUNT, 0.0, reduction="none"),
        ClassBalancedLoss(UNIFORM, 0.5, reduction="none"),
        ClassBalancedLoss(UNIFORM, 1 - 1e-15, reduction="none"),
        ClassBalancedLoss(COUNT, 0.0, reduction="none"),
        FocalLoss(0.0, reduction="none"),
        EqualizationLoss(COUNT, threshold=0.0, reduction="none"),
        EqualizationLoss(COUNT, threshold=0.0, reduction="none").eval(),
        EqualizationLoss(COUNT, threshold=0.1, gamma=0.0, reduction="none"),
        EqualizationLoss(COUNT, threshold=0.1, gamma=0.0, reduction="none").eval(),
        LDAMLoss(COUNT, max_margin=0.0, scale=1.0, reduction="none"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_limit_is_the_cross_entropy(loss):
    logits, y = random_batch()
    assert_losses(loss, logits, y, F.cross_entropy(logits, y, reduction="none"))


def test_ldam_without_margin_is_the_cross_entropy_of_scaled_cosines():
    cosines, y = random_cosines()
    loss = LDAMLoss(COUNT, max_margin=0.0, scale=30.0, reduction="none")
    expected = F.cross_entropy(30 * cosines, y, reduction="none")
    assert_losses(loss, cosines, y, expected)


@pytest.mark.parametrize("prior", [COUNT, np.array(COUNT) / 200], ids=["n", "n / N"])
def test_logit_adjustment_by_the_prior_is_balanced_softmax(prior):
    logits, y = random_batch()
    expected = BalancedSoftmaxLoss(COUNT, reduction="none")(logits, y)
    assert_losses(LogitAdjustedLoss(prior, reduction="none"), logits, y, expected)


# What training finds ------------------------------------------------------------------


def fit_logits(loss, prior, likelihood):
    """Return the logits for each x that minimise the loss expected under p(x, y)."""
    n_classes, n_x = likelihood.shape
    logits = torch.zeros(n_x, n_classes, dtype=torch.float64, requires_grad=True)
    y, x = torch.meshgrid(torch.arange(n_classes), torch.arange(n_x), indexing="ij")
    probability = torch.from_numpy(prior[:, None] * likelihood)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-10)

    def closure():
        optimizer.zero_grad()
        losses = loss(logits[x.ravel()], y.ravel())
        expected = (probability.ravel() * losses).sum()
        expected.backward()
        return expected

    optimizer.step(closure)
    return logits.detach()


@pytest.mark.parametrize("name", ["balanced softmax", "logit adjusted"])
def test_minimiser_is_the_posterior_of_the_uniform_prior(name):
    prior = np.array([0.9, 0.08, 0.02])
    likelihood = np.array(
        [[0.4, 0.3, 0.2, 0.1], [0.1, 0.5, 0.1, 0.3], [0.1, 0.1, 0.6, 0.2]]
    )
    loss = {
        "balanced softmax": BalancedSoftmaxLoss(1000 * prior, reduction="none"),
        "logit adjusted": LogitAdjustedLoss(prior, reduction="none"),
    }[name]
    found = fit_logits(loss.double(), prior, likelihood).softmax(dim=1)
    assert_allclose(found, (likelihood / likelihood.sum(axis=0)).T, atol=1e-4)


# Gradients ----------------------------------------------------------------------------


@each_loss
def test_gradient_is_that_of_finite_differences(make):
    cosines, y = random_cosines(8)
    loss = make()
    cosines.requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: loss(logits, y), cosines)


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_extreme_logits_give_finite_losses_and_gradients(make, dtype, scale):
    y = torch.arange(16) % 4
    # Each class leads once for each true class; then all the others lead.
    logits = scale * F.one_hot(torch.arange(16) // 4, 4).to(dtype)
    logits = torch.cat([logits, -logits]).requires_grad_()
    losses = make(reduction="none")(logits, y.repeat(2))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert (losses >= 0).all()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0])
def test_focal_loss_and_gradient_vanish_at_certainty(gamma):
    logits = torch.tensor([[300.0, 0.0, 0.0], [17.5, 0.0, 0.0]], requires_grad=True)
    losses = FocalLoss(gamma, reduction="none")(logits, torch.tensor([0, 0]))
    losses.sum().backward()
    assert_allclose(losses.detach(), 0, atol=1e-6)
    assert_allclose(logits.grad, 0, atol=1e-6)


# Equalization in training mode --------------------------------------------------------


def test_mean_denominator_over_draws_is_that_of_evaluation_mode(torch_seed):
    logits, y = random_batch(n_rows=8, scale=1.0)
    n_draws = 20_000
    loss = EqualizationLoss(COUNT, threshold=0.1, gamma=0.7, reduction="none")
    losses = loss(logits.repeat(n_draws, 1), y.repeat(n_draws)).view(n_draws, 8)
    true_logits = logits.gather(1, y[:, None])[:, 0]
    denominators = (losses + true_logits).exp()
    expected = (loss.eval()(logits, y) + true_logits).exp()
    error = denominators.std(dim=0) / n_draws**0.5
    assert (denominators.std(dim=0) > 0.1).all()
    assert ((denominators.mean(dim=0) - expected).abs() < 4.5 * error).all()


def test_each_row_and_class_has_its_own_draw(torch_seed):
    loss = EqualizationLoss(COUNT, threshold=0.1, gamma=0.5, reduction="none")
    logits = torch.log(torch.tensor([[1.0, 1.0, 2.0, 4.0]])).expand(200, 4)
    kept = loss(logits, torch.zeros(200, dtype=torch.int64)).exp()
    # The sum of the denominator tells which of the two rare classes are in.
    values, n_rows = kept.round().unique(return_counts=True)
    assert values.tolist() == [2, 4, 6, 8]
    assert n_rows.min() > 25


def test_rare_classes_are_not_pushed_down_by_other_rows():
    logits, y = random_batch()
    logits.requires_grad_()
    EqualizationLoss(COUNT, threshold=0.1, gamma=1.0)(logits, y).backward()
    of_others = torch.arange(4) != y[:, None]
    suppressed = of_others & torch.from_numpy(RARE)
    assert (logits.grad[suppressed] == 0).all()
    assert (logits.grad[of_others & ~suppressed] > 0).all()
    assert (logits.grad[~of_others] < 0).all()


def test_evaluation_mode_leaves_the_random_state_alone():
    logits, y = random_batch()
    before = torch.get_rng_state()
    EqualizationLoss(COUNT, threshold=0.1).eval()(logits, y)
    assert torch.equal(torch.get_rng_state(), before)


# Deferred re-weighting ----------------------------------------------------------------


def test_progress_switches_the_weights_on_and_off():
    cosines, y = random_cosines()
    loss = LDAMLoss(COUNT, reweight_after=0.8, reweight_beta=0.99, reduction="none")
    plain = LDAMLoss(COUNT, reduction="none")(cosines, y)
    effective = (1 - 0.99) / (1 - 0.99 ** np.array(COUNT))
    weight = (4 * effective / effective.sum())[y.numpy()]
    assert_losses(loss, cosines, y, plain)
    for fraction, expected in [(0.79, plain), (0.8, weight * plain.numpy())] * 2:
        loss.set_progress(fraction)
        assert_losses(loss, cosines, y, expected)


def test_ldam_weights_from_the_start_or_never():
    cosines, y = random_cosines()
    plain = LDAMLoss(COUNT, reduction="none")
    at_once = LDAMLoss(COUNT, reweight_after=0.0, reduction="none")
    assert not torch.allclose(plain(cosines, y), at_once(cosines, y))
    before = plain(cosines, y)
    plain.set_progress(0.99)
    torch.testing.assert_close(plain(cosines, y), before)


@each_loss
def test_progress_within_the_first_phase_changes_nothing(make):
    logits, y = random_batch()
    loss = make()
    before = loss(logits, y)
    loss.set_progress(0.5)
    assert loss(logits, y) == before


# The module ---------------------------------------------------------------------------


def test_every_public_loss_is_in_these_checks():
    assert {type(make()) for make in LOSSES.values()} == set(PUBLIC)


@each_loss
@pytest.mark.parametrize("n_rows", [1, 40])
def test_reductions_agree(make, n_rows):
    logits, y = random_batch(n_rows)
    losses = make(reduction="none")(logits, y)
    assert losses.shape == (n_rows,)
    torch.testing.assert_close(make(reduction="sum")(logits, y), losses.sum())
    torch.testing.assert_close(make(reduction="mean")(logits, y), losses.mean())
    torch.testing.assert_close(make()(logits, y), losses.mean())


@each_loss
def test_pickle_and_state_dict_keep_the_loss(make):
    logits, y = random_batch()
    loss = make(reduction="none")
    expected = loss(logits, y)
    copied = pickle.loads(pickle.dumps(loss))
    assert torch.equal(copied(logits, y), expected)
    assert copied.training == loss.training
    copied.load_state_dict(loss.state_dict())
    assert torch.equal(copied(logits, y), expected)


@each_loss
def test_buffers_are_float32_and_follow_the_module(make):
    logits, y = random_batch(dtype=torch.float32)
    loss = make()
    before = loss(logits, y)
    assert before.dtype == torch.float32
    assert {b.dtype for b in loss.buffers()} <= {torch.float32}
    loss.double()
    assert {b.dtype for b in loss.buffers()} <= {torch.float64}
    torch.testing.assert_close(
        loss(logits.double(), y), before.double(), rtol=1e-5, atol=1e-6
    )
    assert {b.device.type for b in loss.to("meta").buffers()} <= {"meta"}


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, torch.tensor, lambda c: np.array(c, dtype=np.int32)]
)
def test_counts_may_be_any_array_like(kind):
    logits, y = random_batch()
    expected = BalancedSoftmaxLoss(COUNT)(logits, y)
    assert BalancedSoftmaxLoss(kind(COUNT))(logits, y) == expected


# Bad input ----------------------------------------------------------------------------


def takes_counts(loss):
    first = next(iter(inspect.signature(loss).parameters.values()))
    return first.name in ("class_count", "class_prior")


counted_losses = pytest.mark.parametrize("loss", list(filter(takes_counts, PUBLIC)))


@counted_losses
@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf])
def test_counts_must_be_finite_and_positive(loss, bad):
    with pytest.raises(ValueError, match=r"above 0 for every class.*for class 1"):
        loss([3, bad, 2])


@counted_losses
def test_counts_of_pandas_are_refused_for_their_order(loss):
    # Of the classes 0, 0, 0, 1, 2, 2 they are those of 0, 2 and 1.
    counts = pd.Series([0, 0, 0, 1, 2, 2]).value_counts()
    with pytest.raises(TypeError, match=r"order .*sort_index\(\)\.to_numpy\(\)"):
        loss(counts)
    loss(counts.sort_index().to_numpy())


@counted_losses
@pytest.mark.parametrize("bad", [[], 3.0, [[1, 2], [3, 4]]], ids=str)
def test_counts_must_be_one_dimensional(loss, bad):
    with pytest.raises(ValueError, match="must have shape"):
        loss(bad)


@each_loss
def test_unknown_reduction_is_refused(make):
    with pytest.raises(ValueError, match="'reduction' parameter"):
        make(reduction="average")


@pytest.mark.parametrize(
    "loss, name, values",
    [
        (LogitAdjustedLoss, "tau", [-0.1, np.inf]),
        (ClassBalancedLoss, "beta", [-0.1, 1.0]),
        (EqualizationLoss, "threshold", [-0.1, 1.1]),
        (EqualizationLoss, "gamma", [-0.1, 1.1]),
        (LDAMLoss, "max_margin", [-0.1, np.inf]),
        (LDAMLoss, "scale", [0.0, np.inf]),
        (LDAMLoss, "reweight_after", [-0.1, 1.0]),
        (LDAMLoss, "reweight_beta", [-0.1, 1.0]),
        (lambda count, **kw: FocalLoss(**kw), "gamma", [-0.1, np.inf]),
    ],
)
def test_parameters_out_of_range_are_refused(loss, name, values):
    for value in [*values, np.nan, "0.5"]:
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            loss(COUNT, **{name: value})


@each_loss
def test_shapes_that_do_not_match_are_refused(make):
    logits, y = random_batch()
    for bad_logits, bad_y in [(logits, y[:-1]), (logits, y[:, None]), (logits[0], y)]:
        with pytest.raises(ValueError, match="must have shape"):
            make()(bad_logits, bad_y)


@counted_losses
def test_logits_of_other_classes_than_counted_are_refused(loss):
    logits, y = random_batch()
    for count in [[3.0], [3.0, 2.0, 1.0]]:
        with pytest.raises(ValueError, match=rf"logits must have.*{len(count)}"):
            loss(count)(logits, torch.zeros_like(y))


@each_loss
@pytest.mark.parametrize("code", [-100, -1, 4])
def test_codes_that_are_no_class_are_refused(make, code):
    logits, _ = random_batch(n_rows=1)
    with pytest.raises((IndexError, RuntimeError)):
        make()(logits, torch.tensor([code]))
