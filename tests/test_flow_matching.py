"""Flow matching: what it learns, its solvers, and guidance."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from sklearn.datasets import make_moons
from skorch.callbacks import Callback

from skcvae import ClassGaussian, FlowMatching, GenerativeOverSampler
from skcvae._class_means import residual_covariance
from skcvae.generators._class_whitening import (
    estimate_covariance_shrinkage,
    fit_class_whitening,
)
from skcvae.generators._flow_net import integrate_dopri5, integrate_midpoint
from skcvae.metrics import maximum_mean_discrepancy


def make_flow(**params):
    defaults = {
        "max_epochs": 4,
        "batch_size": 64,
        "device": "cpu",
        "random_state": 0,
        "net_params": {"module__hidden_dim": 16},
    }
    return FlowMatching(**{**defaults, **params})


def changed(generator, **params):
    """Return a copy of a fitted generator with other sampling parameters."""
    return copy.deepcopy(generator).set_params(**params)


def weights(generator):
    return generator.net_.module_.state_dict()


def assert_same_weights(first, second):
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name


@pytest.fixture(scope="module")
def gaussians():
    """Three classes of known means and of covariances that differ much."""
    rng = np.random.RandomState(0)
    means = 3 * rng.normal(size=(3, 5))
    roots = rng.normal(size=(3, 5, 5)) * np.array([0.5, 1.0, 2.0])[:, None, None]
    y = np.repeat([0, 1, 2], [900, 600, 300])
    X = means[y] + np.einsum("nij,nj->ni", roots[y], rng.normal(size=(len(y), 5)))
    X.flags.writeable = y.flags.writeable = False
    covariances = roots @ roots.transpose(0, 2, 1)
    return SimpleNamespace(X=X, y=y, means=means, covariances=covariances)


def draw_shapes(n_samples, seed):
    """Draw a class of two moons and a class that is a ring."""
    rng = np.random.RandomState(seed)
    moons, _ = make_moons(n_samples, noise=0.06, random_state=rng)
    angles = rng.uniform(0, 2 * np.pi, n_samples)
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    ring = ring * (1 + 0.05 * rng.normal(size=(n_samples, 1))) + [4, 0]
    return np.vstack([moons, ring]), np.repeat(["moons", "ring"], n_samples)


@pytest.fixture(scope="module")
def shapes():
    """A flow that has learned moons and ring."""
    net_params = {"module__hidden_dim": 64, "module__dropout": 0.0}
    flow = make_flow(max_epochs=150, batch_size=256, lr=1e-2, n_steps=20)
    flow.set_params(net_params=net_params)
    return flow.fit(*draw_shapes(1_000, seed=0))


@pytest.fixture(scope="module")
def small():
    """Ninety rows of three classes of 50, 30 and 10 rows, five features."""
    rng = np.random.RandomState(1)
    y = np.repeat([0, 1, 2], [50, 30, 10])
    X = rng.normal(size=(90, 2)) @ rng.normal(size=(2, 5)) + 3 * np.eye(3, 5)[y]
    X += 0.2 * rng.normal(size=X.shape)
    X.flags.writeable = y.flags.writeable = False
    return X, y


@pytest.fixture(scope="module")
def fitted(small):
    return make_flow(max_epochs=30, lr=1e-2).fit(*small)


# What is learned


def test_moments_of_each_class_are_recovered(gaussians):
    flow = make_flow(max_epochs=20).fit(gaussians.X, gaussians.y)
    X_new, y_new = flow.sample(y=np.repeat([0, 1, 2], 8_000))
    for code, expected in enumerate(gaussians.covariances):
        rows = X_new[y_new == code]
        deviation = np.sqrt(np.diag(expected))
        error = (rows.mean(axis=0) - gaussians.means[code]) / deviation
        assert_allclose(error, 0, atol=0.15)
        scale = np.outer(deviation, deviation)
        assert_allclose(np.cov(rows.T) / scale, expected / scale, atol=0.25)


@pytest.mark.parametrize("label", ["moons", "ring"])
def test_shapes_that_no_gaussian_has_are_learned(label, shapes):
    X, y = draw_shapes(1_000, seed=0)
    X_fresh, y_fresh = draw_shapes(600, seed=1)
    X_other, y_other = draw_shapes(600, seed=2)
    fresh, labels = X_fresh[y_fresh == label], np.repeat(label, 600)

    def discrepancy(rows):
        # The median distance is the size of the shape; its stroke is narrower.
        return maximum_mean_discrepancy(fresh, rows, bandwidth=0.3).discrepancy

    real = discrepancy(X_other[y_other == label])
    learned = discrepancy(shapes.sample(y=labels)[0])
    gaussian = discrepancy(ClassGaussian(random_state=0).fit(X, y).sample(y=labels)[0])
    assert learned < 0.35 * gaussian
    assert real < 0.1 * gaussian


def test_rows_of_the_ring_keep_their_radius(shapes):
    X_new, _ = shapes.sample(y=["ring"] * 1_000)
    radius = np.linalg.norm(X_new - [4, 0], axis=1)
    assert_allclose(np.quantile(radius, [0.05, 0.5, 0.95]), 1, atol=0.25)


def test_training_rows_are_not_repeated(fitted, small):
    X_new, _ = fitted.sample(y=np.repeat([0, 1, 2], 300))
    gaps = np.abs(X_new[:, None] - small[0][None]).max(axis=2)
    assert gaps.min() > 1e-3


def test_untrained_flow_is_a_gaussian_of_each_class(gaussians):
    # A rate of almost zero leaves the network at its start, the velocity of N(0, I).
    flow = make_flow(max_epochs=1, lr=1e-12, n_steps=50)
    flow.fit(gaussians.X, gaussians.y)
    X_new, _ = flow.sample(y=np.repeat(2, 40_000))
    own = gaussians.X[gaussians.y == 2] - gaussians.X[gaussians.y == 2].mean(axis=0)
    expected, drawn = own.T @ own / len(own), np.cov(X_new.T)
    assert_allclose(drawn, expected, atol=0.08 * np.diag(expected).max())


# Covariances of the classes


def test_covariance_shrinkage_tells_equal_from_different_classes():
    rng = np.random.RandomState(0)
    codes = np.repeat(np.arange(20), 50)
    rows = rng.normal(size=(1_000, 4))
    different = rows * rng.uniform(0.3, 2, size=(20, 4))[codes]
    assert estimate_covariance_shrinkage(rows, codes, 20) > 200
    assert estimate_covariance_shrinkage(different, codes, 20) < 20
    assert np.isinf(estimate_covariance_shrinkage(rows, np.zeros(1_000, int), 1))


def test_covariance_shrinkage_is_the_analysis_of_variance_of_products(small):
    # With two features, r r' is a vector of four numbers: the textbook's table.
    X, codes = small[0][:, :2] - small[0][:, :2].mean(axis=0), small[1]
    products = (X[:, :, None] * X[:, None]).reshape(90, 4)
    groups = [products[codes == code] for code in range(3)]
    counts = np.array([len(group) for group in groups])
    within = sum(((g - g.mean(axis=0)) ** 2).sum() for g in groups) / (90 - 3)
    between = sum(
        len(g) * ((g.mean(axis=0) - products.mean(axis=0)) ** 2).sum() for g in groups
    )
    between = (between - 2 * within) / (90 - (counts**2).sum() / 90)
    expected = max(within / between, 1) if between > 0 else np.inf
    assert_allclose(estimate_covariance_shrinkage(X, codes, 3), expected)


def test_covariance_of_a_class_is_shrunk_towards_that_of_all(gaussians):
    residuals = gaussians.X - gaussians.means[gaussians.y]
    whitening = fit_class_whitening(
        residuals, gaussians.y, 3, residual_covariance(residuals)
    )
    assert_allclose(whitening.whitener @ whitening.colouring, np.eye(5), atol=1e-9)
    P = residuals @ whitening.whitener
    assert_allclose(P.T @ P / len(P), np.eye(5), atol=0.05)
    for code, factor in enumerate(whitening.factor):
        own = P[gaussians.y == code]
        expected = own.T @ own + whitening.k0 * np.eye(5)
        assert_allclose(factor @ factor.T, expected / (len(own) + whitening.k0))


def test_many_classes_share_the_smaller_components(monkeypatch, gaussians):
    module = "skcvae.generators._class_whitening._MAX_NUMBERS"
    monkeypatch.setattr(module, 3 * 2**2)
    flow = make_flow(max_epochs=1, lr=1e-12, n_steps=50)
    flow.fit(gaussians.X, gaussians.y)
    assert flow.whitening_.factor.shape == (3, 2, 2)
    X_new, _ = flow.sample(y=np.repeat([0, 1, 2], 5_000))
    assert np.isfinite(X_new).all()
    # The covariance of all rows stays that of all rows.
    residuals = gaussians.X - gaussians.means[gaussians.y]
    drawn = flow.sample(y=gaussians.y, random_state=1)[0] - gaussians.means[gaussians.y]
    assert_allclose(np.trace(np.cov(drawn.T)), np.trace(np.cov(residuals.T)), rtol=0.15)


# Solvers


def swirl(x, t):
    """Return a velocity that turns, shrinks and is not linear in x."""
    turned = torch.stack([-x[:, 1], x[:, 0]], dim=1)
    return (1 + 3 * t) * turned - x**3 + np.cos(8 * t)


@pytest.fixture(scope="module")
def swirled():
    start = np.random.RandomState(0).normal(size=(20, 2))

    def velocity(t, flat):
        x = torch.from_numpy(flat.reshape(20, 2))
        return swirl(x, t).numpy().ravel()

    solution = solve_ivp(velocity, (0, 1), start.ravel(), rtol=1e-11, atol=1e-11)
    return torch.from_numpy(start), solution.y[:, -1].reshape(20, 2)


@pytest.mark.parametrize("tol", [1e-3, 1e-5, 1e-8])
def test_dopri5_keeps_its_tolerance(tol, swirled):
    start, expected = swirled
    error = np.abs(integrate_dopri5(swirl, start, tol).numpy() - expected).max()
    assert error < 20 * tol


def test_dopri5_takes_more_steps_for_less_error(swirled):
    calls = []
    for tol in (1e-3, 1e-8):
        times = []

        def velocity(x, t, times=times):
            times.append(t)
            return swirl(x, t)

        integrate_dopri5(velocity, swirled[0], tol)
        calls.append(len(times))
        assert min(times) == 0
        assert max(times) == pytest.approx(1)
    assert calls[1] > 2 * calls[0]


def test_dopri5_gives_up_where_the_velocity_is_too_steep(monkeypatch):
    monkeypatch.setattr("skcvae.generators._flow_net._MAX_STEPS", 100)
    with pytest.raises(RuntimeError, match="larger tol"):
        integrate_dopri5(lambda x, t: x * 0 + 1 / (1 - t) ** 2, torch.ones(1, 2), 1e-6)


def test_midpoint_is_of_second_order(swirled):
    start, expected = swirled
    errors = [
        np.abs(integrate_midpoint(swirl, start, n).numpy() - expected).max()
        for n in (50, 100, 200)
    ]
    assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 4, rtol=0.1)


def test_solvers_of_the_estimator_agree(shapes):
    exact = changed(shapes, solver="dopri5").sample(200)[0]
    many = changed(shapes, n_steps=200).sample(200)[0]
    few = changed(shapes, n_steps=2).sample(200)[0]
    assert np.abs(many - exact).max() < 0.02
    assert np.abs(few - exact).max() > 0.05


# Guidance and variance


@pytest.fixture(scope="module")
def lopsided():
    """Two classes with the same two clusters, in opposite proportions."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], 1_500)
    near = rng.uniform(size=len(y)) < np.where(y == 0, 0.7, 0.3)
    X = rng.normal(scale=0.3, size=(len(y), 2))
    X[:, 0] += np.where(near, -1, 1)
    flow = make_flow(max_epochs=40, batch_size=128, lr=5e-3, n_steps=20)
    return flow.set_params(net_params={"module__hidden_dim": 32}).fit(X, y)


def test_guidance_exaggerates_what_is_typical_of_the_class(lopsided):
    labels = np.repeat([0, 1], 2_000)

    def share_near(guidance):
        X_new, _ = changed(lopsided, guidance=guidance).sample(y=labels)
        near = X_new[:, 0] < 0
        return near[:2_000].mean(), near[2_000:].mean()

    unguided, plain, guided = (share_near(w) for w in (0, 1, 3))
    assert_allclose(plain, [0.7, 0.3], atol=0.07)
    assert guided[0] > plain[0] + 0.02 > unguided[0] + 0.07
    assert guided[1] < plain[1] - 0.02 < unguided[1] - 0.07


def test_guidance_needs_rows_without_labels(small):
    with pytest.raises(ValueError, match="label_dropout"):
        make_flow(guidance=2, label_dropout=0).fit(*small)
    flow = make_flow(label_dropout=0).fit(*small)
    assert np.isfinite(flow.sample(5)[0]).all()
    with pytest.raises(ValueError, match="guidance=1"):
        flow.set_params(guidance=0.5).sample(5)


def test_no_variance_gives_one_row_for_each_class(fitted):
    labels = np.array([2, 0, 1, 0, 2, 1])
    X_new, _ = fitted.sample(y=labels, variance=0)
    one_each, _ = fitted.sample(y=[0, 1, 2], variance=0)
    assert_allclose(X_new, one_each[labels], atol=1e-5)
    assert len(np.unique(one_each.round(2), axis=0)) == 3


def test_more_variance_gives_more_spread(fitted):
    labels = np.zeros(2_000, dtype=int)
    spreads = [
        fitted.sample(y=labels, variance=v)[0].std(axis=0).mean() for v in (0.25, 1, 4)
    ]
    assert spreads[0] < 0.8 * spreads[1] < 0.64 * spreads[2]


def test_variance_of_each_class(fitted):
    labels = np.repeat([0, 1, 2], 100)
    X_new, _ = fitted.sample(y=labels, variance={1: 0})
    spread = [X_new[labels == code].std(axis=0).max() for code in range(3)]
    assert spread[1] < 1e-5
    assert min(spread[0], spread[2]) > 0.1


# Labels, seeds and copies


def test_rows_follow_the_order_of_the_labels(fitted, small):
    X, y = small
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], 200))
    X_new, y_new = fitted.sample(y=labels)
    assert_array_equal(y_new, labels)
    means = np.array([X[y == code].mean(axis=0) for code in range(3)])
    for code in range(3):
        gaps = np.linalg.norm(means - X_new[labels == code].mean(axis=0), axis=1)
        assert gaps.argmin() == code


@pytest.mark.parametrize(
    "params",
    [
        {"guidance": 2.0},
        {"solver": "dopri5"},
        {"n_steps": 2},
        {"variance": 0.3},
        {"verbose": 1},
    ],
)
def test_sampling_parameters_do_not_touch_training(params, small):
    plain, other = make_flow(lr=1e-2).fit(*small), make_flow(lr=1e-2, **params)
    assert_same_weights(plain, other.fit(*small))
    late = changed(plain, **params).sample(50)[0]
    assert_array_equal(late, other.sample(50)[0])
    if "verbose" not in params:
        assert np.abs(late - plain.sample(50)[0]).max() > 1e-6


class CountTrainings(Callback):
    """Append a line to a file whenever a training begins."""

    def __init__(self, path):
        self.path = path

    def on_train_begin(self, net, **kwargs):
        with open(self.path, "a") as file:
            file.write("trained\n")


def test_sampling_parameters_are_not_part_of_the_cache(small, tmp_path):
    count = CountTrainings(str(tmp_path / "trainings"))
    net_params = {"module__hidden_dim": 16, "callbacks": [("count", count)]}
    rows = []
    for params in ({}, {"guidance": 2.0}, {"n_steps": 3}, {"tol": 1e-2}, {"lr": 0.1}):
        generator = make_flow(net_params=net_params, **params)
        sampler = GenerativeOverSampler(
            generator, random_state=0, memory=str(tmp_path / "cache")
        )
        rows.append(sampler.fit_resample(*small)[0])
    assert len((tmp_path / "trainings").read_text().splitlines()) == 2
    assert_array_equal(rows[3], rows[0])
    assert not np.array_equal(rows[1], rows[0])


def test_pickle_draws_the_same_bits(fitted):
    for generator in (fitted, changed(fitted, solver="dopri5", guidance=2.0)):
        again = pickle.loads(pickle.dumps(generator))
        assert_array_equal(again.sample(50)[0], generator.sample(50)[0])


def test_pickle_holds_no_training_row(small, fitted):
    content = pickle.dumps(fitted)
    for dtype in (np.float32, np.float64):
        assert small[0][0].astype(dtype).tobytes() not in content


def test_decoder_draws_what_sample_draws(fitted, small):
    decoder = fitted.make_decoder()
    e = torch.zeros(3, decoder.latent_dim, requires_grad=True)
    rows = decoder(e, torch.tensor([2, 0, 1]))
    expected, _ = fitted.sample(y=[2, 0, 1], variance=0)
    assert_allclose(rows.detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    rows.sum().backward()
    assert torch.isfinite(e.grad).all()
    assert e.grad.abs().max() > 0


# When training goes wrong


def test_loss_that_is_not_finite_leaves_the_estimator_unfitted(small):
    flow = make_flow(max_epochs=50).fit(*small)
    with pytest.raises(FloatingPointError, match=r"unfitted.*smaller lr"):
        flow.set_params(lr=1e30).fit(*small)
    assert not [name for name in vars(flow) if name.endswith("_")]


def test_weights_that_diverge_in_the_last_step_are_refused(small):
    flow = make_flow(max_epochs=1, batch_size=100, lr=1e38)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        flow.fit(*small)
    assert not [name for name in vars(flow) if name.endswith("_")]


class InterruptAfter(Callback):
    """Stand for Ctrl-C in an epoch, counted from 1."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def test_interruption_keeps_the_last_finished_epoch(small):
    constant = {"module__hidden_dim": 16, "callbacks__lr_schedule": None}
    stop = {**constant, "callbacks": [InterruptAfter(3)]}
    interrupted = make_flow(net_params=stop)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(*small)
    shorter = make_flow(net_params=constant, max_epochs=2).fit(*small)
    assert_same_weights(interrupted, shorter)
    assert_array_equal(interrupted.sample(9)[0], shorter.sample(9)[0])
    with pytest.raises(KeyboardInterrupt):
        interrupted.set_params(net_params={"callbacks": [InterruptAfter(1)]}).fit(
            *small
        )
    assert not hasattr(interrupted, "net_")


def test_full_gpu_becomes_a_memory_error_with_advice(monkeypatch, small):
    def fit(self, X, y=None, **fit_params):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("skcvae._training.TrainingNet.fit", fit)
    with pytest.raises(MemoryError, match=r"batch_size.*hidden_dim.*device='cpu'"):
        make_flow().fit(*small)
