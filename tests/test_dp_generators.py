"""The private generators: their guarantee, what they keep, and that they learn."""

import copy
import json
import pickle
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.base import clone
from torch import nn

from skcvae._training import LabelledTensors
from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer
from skcvae.generators._cvae_net import NegativeELBO
from skcvae.generators.private import _cvae, _net
from skcvae.generators.private._cvae import DPCVAE
from skcvae.generators.private._gaussian import DPClassGaussian
from skcvae.generators.private._net import PoissonLoader, PrivateVAE, build_private_net
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import GenerativeOverSampler, HardOverSampler

pytest.importorskip("opacus")

# Most data sets of this file are tiny, for which the generators warn as they should.
pytestmark = pytest.mark.filterwarnings(
    "ignore:For .* classes the noise of the mean",
    "ignore:epsilon=.* needs a noise multiplier",
)

CLASSES = ["a", "b", "c"]


def make_gaussian(**params):
    return DPClassGaussian(**{"classes": CLASSES, "random_state": 0, **params})


def make_cvae(**params):
    defaults = {
        "classes": CLASSES,
        "latent_dim": 2,
        "hidden_dim": 8,
        "max_epochs": 3,
        "batch_size": 40,
        "device": "cpu",
        "random_state": 0,
    }
    return DPCVAE(**{**defaults, **params})


MAKERS = pytest.mark.parametrize(
    "make", [make_gaussian, make_cvae], ids=lambda make: make.__name__
)


@pytest.fixture(scope="module")
def rows():
    """Three classes of 100, 70 and 30 rows, five features."""
    rng = np.random.RandomState(0)
    codes = np.repeat([0, 1, 2], [100, 70, 30])
    X = 5 * np.eye(3, 5)[codes] + rng.normal(size=(200, 2)) @ rng.normal(size=(2, 5))
    X += 0.3 * rng.normal(size=X.shape)
    y = np.array(CLASSES)[codes]
    X.flags.writeable = y.flags.writeable = False
    return X, y


@pytest.fixture(scope="module", params=[make_gaussian, make_cvae])
def fitted(request, rows):
    return request.param().fit(*rows)


def tiny_net(cvae=None, noise_multiplier=0.0, sample_rate=0.5):
    """Return an initialized net for rows of five features."""
    cvae = make_cvae() if cvae is None else cvae
    cvae.n_features_in_ = 5
    net = build_private_net(cvae, 3, torch.device("cpu"), noise_multiplier, sample_rate)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net.initialize()
    net.on_train_begin(net)
    return net


def batch_of(n_rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(n_rows, 5, generator=generator)
    return {"x": x, "y": torch.arange(n_rows) % 3}, x


# The guarantee


@pytest.mark.parametrize("epsilon", [0.5, 3.0, 8.0])
def test_epsilon_of_the_gaussian_agrees_with_dp_accounting(rows, epsilon):
    dp = pytest.importorskip("dp_accounting")
    privacy = make_gaussian(epsilon=epsilon).fit(*rows).privacy_
    accountant = dp.pld.PLDAccountant()
    for mechanism in privacy["mechanisms"].values():
        event = dp.GaussianDpEvent(mechanism["noise_multiplier"])
        accountant.compose(event, mechanism["releases"])
    assert_allclose(accountant.get_epsilon(1e-5), privacy["epsilon"], rtol=1e-3)
    assert privacy["epsilon"] <= epsilon
    assert_allclose(privacy["epsilon"], epsilon, rtol=1e-4)


@pytest.mark.parametrize("params", [{"epsilon": 1.0}, {}, {"batch_size": 100}])
def test_epsilon_of_the_cvae_agrees_with_dp_accounting(rows, params):
    dp = pytest.importorskip("dp_accounting")
    cvae = make_cvae(**params).fit(*rows)
    privacy = cvae.privacy_
    step = dp.GaussianDpEvent(privacy["noise_multiplier"])
    training = dp.PoissonSampledDpEvent(privacy["sample_rate"], step)

    def spent(accountant):
        for mechanism in privacy["mechanisms"].values():
            event = dp.GaussianDpEvent(mechanism["noise_multiplier"])
            accountant.compose(event, mechanism["releases"])
        return accountant.compose(training, privacy["steps"]).get_epsilon(1e-5)

    # It bounds the divergence of orders that are no integers.
    same_order = spent(dp.rdp.RdpAccountant([privacy["order"]]))
    assert_allclose(same_order, privacy["epsilon"], rtol=1e-3)
    assert 0.98 * cvae.epsilon < privacy["epsilon"] <= cvae.epsilon
    # A tight accountant of both directions of adding and removing a row.
    assert spent(dp.pld.PLDAccountant()) <= privacy["epsilon"]


@pytest.mark.parametrize("rate, noise, order", [(0.2, 1.3, 3.2), (0.5, 1.1, 4.35)])
def test_cost_of_a_step_is_the_renyi_divergence_of_two_mixtures(rate, noise, order):
    def integrand(x):
        out, with_row = norm.logpdf(x, 0, noise), norm.logpdf(x, 1, noise)
        mixed = np.logaddexp(np.log1p(-rate) + out, np.log(rate) + with_row)
        return np.exp(order * mixed + (1 - order) * out)

    integral, _ = quad(integrand, -15 * noise, 15 * noise + order, limit=500)
    found = _cvae._renyi_cost(noise, rate, 7, order)
    assert_allclose(found, 7 * np.log(integral) / (order - 1), rtol=1e-6)


def test_everything_that_reads_rows_is_listed(rows):
    statistics = {"counts", "raw_norm", "center", "data_norm", "sums", "residual_norm"}
    assert set(make_cvae().fit(*rows).privacy_["mechanisms"]) == statistics
    gaussian = make_gaussian().fit(*rows).privacy_
    assert set(gaussian["mechanisms"]) == statistics | {"second_moment"}
    given = make_gaussian(center=0.0, data_norm=9.0).fit(*rows).privacy_
    unneeded = {"raw_norm", "center", "data_norm"}
    assert set(given["mechanisms"]) == set(gaussian["mechanisms"]) - unneeded
    assert_allclose(given["epsilon"], gaussian["epsilon"])


@MAKERS
def test_statement_says_what_is_guaranteed_and_what_is_not(make, rows):
    statement = make(epsilon=2.0, random_state=None).fit(*rows).privacy_statement()
    assert statement["guarantee"] == "(epsilon, delta)-differential privacy"
    assert json.loads(json.dumps(statement)) == statement
    assert statement["delta"] == 1e-5
    assert (statement["unit"], statement["adjacency"]) == ("record", "add/remove")
    outside = " ".join(statement["outside"])
    for topic in ("hyper-parameters", "Rounding", "same person"):
        assert topic in outside
    assert "set of labels" not in outside


@MAKERS
@pytest.mark.parametrize("seed", [0, np.random.RandomState(0)], ids=["int", "state"])
def test_a_seed_voids_the_guarantee(make, seed, rows):
    generator = make(random_state=seed).fit(*rows)
    for later in (seed, None):
        statement = generator.set_params(random_state=later).privacy_statement()
        assert statement["guarantee"].startswith("no guarantee: fit had a random_state")
        assert statement["epsilon"] <= 8.0 and statement["delta"] == 1e-5
        assert "random_state" in " ".join(statement["outside"])


@MAKERS
def test_a_seed_that_is_set_after_fit_leaves_the_guarantee(make, rows):
    generator = make(random_state=None).fit(*rows).set_params(random_state=0)
    generator.sample(5, random_state=1)
    statement = generator.privacy_statement()
    assert statement["guarantee"] == "(epsilon, delta)-differential privacy"


WRAPPERS = {
    "anonymizer": GenerativeAnonymizer,
    "over-sampler": GenerativeOverSampler,
    "hard over-sampler": HardOverSampler,
    "classifier": partial(LongTailClassifier, max_epochs=1, device="cpu"),
}


def fit_and_read_guarantee(wrapper, rows):
    """Fit a wrapper, and return the guarantee that it or its generator states."""
    getattr(wrapper, "fit_resample", getattr(wrapper, "fit", None))(*rows)
    said_by = wrapper if hasattr(wrapper, "privacy_statement") else wrapper.generator_
    statement = said_by.privacy_statement()
    assert 0 < statement["epsilon"] <= 8.0
    return statement["guarantee"]


@MAKERS
@pytest.mark.parametrize("seed", [0, np.random.RandomState(0)], ids=["int", "state"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_seed_of_a_wrapper_voids_the_guarantee(name, seed, make, rows):
    wrapper = WRAPPERS[name](make(random_state=None), random_state=seed)
    guarantee = fit_and_read_guarantee(wrapper, rows)
    assert guarantee.startswith("no guarantee: fit had a random_state")


@MAKERS
@pytest.mark.parametrize("name", ["anonymizer", "over-sampler", "hard over-sampler"])
def test_without_any_seed_a_wrapper_keeps_the_guarantee(name, make, rows):
    guarantee = fit_and_read_guarantee(WRAPPERS[name](make(random_state=None)), rows)
    assert guarantee == "(epsilon, delta)-differential privacy"


@pytest.mark.parametrize("seed", [None, 0, np.random.RandomState(0)])
def test_a_seed_of_the_cvae_anonymizer_voids_the_guarantee(seed, rows):
    anonymizer = CVAEAnonymizer(
        epsilon=8.0,
        delta=1e-5,
        dp_params={"classes": CLASSES, "hidden_dim": 4},
        max_epochs=1,
        device="cpu",
        random_state=seed,
    )
    expected = "(epsilon, delta)-diff" if seed is None else "no guarantee: "
    assert fit_and_read_guarantee(anonymizer, rows).startswith(expected)


@MAKERS
def test_statement_is_a_copy(make, rows):
    generator = make().fit(*rows)
    generator.privacy_statement()["outside"].clear()
    assert generator.privacy_statement()["outside"]


@MAKERS
def test_labels_that_are_read_from_y_are_outside_of_the_guarantee(make, rows):
    with pytest.warns(UserWarning, match="Give the list of classes") as caught:
        generator = make(classes=None).fit(*rows)
    assert caught[0].filename == __file__
    assert generator.classes_.tolist() == CLASSES
    assert "set of labels" in " ".join(generator.privacy_["outside"])


def test_seeds_come_from_the_system_unless_one_is_given(rows):
    # The same state of NumPy's generator must not give the same noise.
    drawn, state = [], np.random.get_state()
    for _ in range(2):
        np.random.set_state(state)
        drawn.append(make_gaussian(random_state=None).fit(*rows))
    assert not np.array_equal(drawn[0].class_means_, drawn[1].class_means_)
    assert "random_state" not in " ".join(drawn[0].privacy_["outside"])


# Nothing exact is kept


def test_counts_are_noisy(rows):
    counts = np.array([make_gaussian(random_state=seed).fit(*rows).class_count_
                       for seed in range(30)])  # fmt: skip
    exact = [100, 70, 30]
    noise = make_gaussian().fit(*rows).privacy_["mechanisms"]["counts"]
    assert_allclose((counts - exact).std(), noise["noise_multiplier"], rtol=0.3)
    assert (counts >= 0).all()


@MAKERS
def test_drawn_classes_follow_the_noisy_counts(make, rows):
    generator = make(epsilon=1.0, random_state=3).fit(*rows)
    _, y_new = generator.sample(20_000)
    share = np.unique(y_new, return_counts=True)[1] / 20_000
    expected = generator.class_count_ / generator.class_count_.sum()
    assert_allclose(share, expected[expected > 0], atol=0.02)
    assert len(generator.sample()[0]) == generator.class_count_.sum()


def test_pickles_hold_no_row(fitted, rows):
    dumped = pickle.dumps(fitted)
    for row in rows[0]:
        for values in (row, row.astype(np.float32)):
            assert values[:2].tobytes() not in dumped


def test_history_holds_no_losses(rows):
    net = tiny_net(noise_multiplier=1.0)
    tensors = LabelledTensors(*batch_of(80)[0].values())
    net.partial_fit(tensors, tensors.y, epochs=2)
    assert len(net.history) == 2
    recorded = {name for row in net.history for name in row}
    assert recorded <= {"epoch", "dur", "batches"}
    assert not any(row["batches"] for row in net.history)
    assert not hasattr(make_cvae().fit(*rows), "history_")


def test_verbose_shows_no_losses(rows, capsys):
    make_cvae(verbose=2).fit(*rows)
    captured = capsys.readouterr()
    assert "training" in captured.err
    assert "loss" not in captured.out + captured.err


# The steps of DP-SGD


@pytest.mark.parametrize("clip_norm", [0.05, 1.0, 1e6])
def test_gradient_is_the_sum_of_clipped_gradients_over_the_batch_size(
    clip_norm, torch_seed
):
    net = tiny_net(make_cvae(clip_norm=clip_norm, batch_size=7))
    (inputs, x), objective = batch_of(12), NegativeELBO()
    plain = copy.deepcopy(net.module_.state_dict())

    def forward(module, rows):
        torch.manual_seed(0)
        noise = torch.randn(12, 2)[rows]
        module.zero_grad()
        original, torch.randn_like = torch.randn_like, lambda mean: noise
        try:
            outputs = module(inputs["x"][rows], inputs["y"][rows])
        finally:
            torch.randn_like = original
        return outputs

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook")
        net._set_training(True)
        net.optimizer_.zero_grad()
        net.get_loss(forward(net.module_, slice(None)), x).backward()
        net.optimizer_.pre_step()
        expected = 0.0
        for i in range(12):
            module = PrivateVAE(5, 3, 2, 8)
            module.load_state_dict(plain)
            terms = objective.terms(forward(module, slice(i, i + 1)), x[i : i + 1])
            sum(terms).sum().backward()
            own = torch.cat([p.grad.ravel() for p in net_parameters(module)])
            clipped = own * min(1, clip_norm / float(own.norm()))
            assert clipped.norm() <= clip_norm * (1 + 1e-5)
            expected = expected + clipped
    found = torch.cat([p.grad.ravel() for p in net_parameters(net.module_)])
    torch.testing.assert_close(found, expected / 7, rtol=1e-3, atol=1e-5)


def net_parameters(module):
    return [p for p in module.parameters() if p.requires_grad]


def test_noise_of_a_step_has_the_deviation_that_is_accounted_for():
    cvae = make_cvae(clip_norm=0.5, batch_size=20, hidden_dim=400)
    net = tiny_net(cvae, noise_multiplier=3.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net.train_step(batch_of(0))
    noise = torch.cat([p.grad.ravel() for p in net_parameters(net.module_)])
    assert_allclose(noise.std().item(), 3.0 * 0.5 / 20, rtol=0.03)
    assert abs(noise.mean()) < 5 * noise.std() / np.sqrt(len(noise))


def test_empty_batches_are_steps_like_others():
    net = tiny_net(noise_multiplier=1.0, sample_rate=1e-9)
    net.iterator_train__n_batches = 5
    before = copy.deepcopy(net.module_.state_dict())
    tensors = LabelledTensors(*batch_of(10)[0].values())
    net.partial_fit(tensors, tensors.y, epochs=2)
    assert net.n_steps_ == 10
    after = net.module_.state_dict()
    assert not torch.equal(before["backbone.decoder.out.weight"],
                           after["backbone.decoder.out.weight"])  # fmt: skip
    assert all(torch.isfinite(value).all() for value in after.values())


@pytest.mark.parametrize("sample_rate", [0.01, 0.3, 1.0])
def test_normaliser_does_not_depend_on_the_number_of_rows(sample_rate):
    net = tiny_net(make_cvae(batch_size=37), sample_rate=sample_rate)
    assert net.optimizer_.expected_batch_size == 37
    assert net.optimizer_.loss_reduction == "mean"
    steps = []
    for n_rows in (10, 500):
        net.optimizer_.zero_grad()
        for parameter in net.optimizer_.params:
            parameter.grad = torch.ones_like(parameter)
        tensors = LabelledTensors(*batch_of(n_rows)[0].values())
        assert net.get_iterator(tensors, training=True).dataset is tensors
        net.optimizer_.pre_step()
        steps.append(net_parameters(net.module_)[0].grad.clone())
    torch.testing.assert_close(*steps)
    torch.testing.assert_close(steps[0], torch.full_like(steps[0], 1 / 37))


def test_neighbouring_data_sets_train_with_the_same_constants(rows, monkeypatch):
    seen = []
    build = _net.build_private_net

    def spy(*args):
        net = build(*args)
        seen.append(net.initialize().optimizer_.expected_batch_size)
        return net

    monkeypatch.setattr("skcvae.generators.private._cvae.build_private_net", spy)
    X, y = rows
    for n_rows in (200, 199, 120):
        make_cvae(max_epochs=1).fit(X[-n_rows:], y[-n_rows:])
    assert seen == [40] * 3


def test_each_row_is_drawn_with_the_same_probability_whatever_its_class():
    y = torch.tensor([0] * 180 + [1] * 15 + [2] * 5)
    x = torch.arange(200.0)[:, None]
    loader = PoissonLoader(LabelledTensors(x, y), 64, sample_rate=0.1, n_batches=3000)
    drawn, sizes = np.zeros(200), []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for batch, target in loader:
            assert torch.equal(batch["x"], target)
            rows = target.ravel().long()
            assert torch.equal(y[rows], batch["y"])
            drawn[rows.numpy()] += 1
            sizes.append(len(rows))
    deviation = np.sqrt(0.1 * 0.9 / 3000)
    assert np.abs(drawn / 3000 - 0.1).max() < 4.5 * deviation
    for code, size in ((0, 180), (1, 15), (2, 5)):
        rate = drawn[y.numpy() == code].mean() / 3000
        assert abs(rate - 0.1) < 4 * deviation / np.sqrt(size)
    # Binomial, not of a fixed size.
    assert_allclose(np.var(sizes), 200 * 0.1 * 0.9, rtol=0.15)


def test_sampling_rate_comes_from_the_noisy_count(rows):
    rates = [make_cvae(random_state=seed).fit(*rows).privacy_["sample_rate"]
             for seed in range(3)]  # fmt: skip
    assert len(set(rates)) == 3
    assert_allclose(rates, 40 / 200, rtol=0.3)


def test_net_has_layers_that_opacus_supports_row_by_row():
    net = tiny_net()
    kinds = {type(m) for m in net.module_.modules() if list(m.parameters(False))}
    assert kinds == {nn.Linear, nn.Embedding}
    assert not list(net.module_.buffers())
    samplers = type(net.clipping_).NORM_SAMPLERS
    assert kinds <= set(samplers)


def test_trained_net_is_a_plain_module(rows):
    module = make_cvae().fit(*rows).module_
    assert type(module) is PrivateVAE
    assert not any(name.startswith("_module.") for name in module.state_dict())
    assert not any(m._forward_hooks or m._backward_hooks for m in module.modules())
    assert not any(hasattr(p, "grad_sample") for p in module.parameters())


# Interruptions and failures


def interrupt_at(monkeypatch, n_batches):
    """Press Ctrl-C in the batch of this number, counted from 0."""
    plain, seen = PoissonLoader.__iter__, []

    def interrupted(self):
        for batch in plain(self):
            if len(seen) == n_batches:
                raise KeyboardInterrupt
            seen.append(batch)
            yield batch

    monkeypatch.setattr(PoissonLoader, "__iter__", interrupted)


def test_interrupted_training_reports_what_was_spent_until_then(rows, monkeypatch):
    whole = make_cvae(max_epochs=6).fit(*rows)
    per_epoch = whole.privacy_["steps"] // 6
    two_epochs = make_cvae(max_epochs=6)
    interrupt_at(monkeypatch, 2 * per_epoch + 1)
    with pytest.raises(KeyboardInterrupt):
        two_epochs.fit(*rows)
    assert two_epochs.privacy_["steps"] == 2 * per_epoch
    assert 0 < two_epochs.privacy_["epsilon"] < whole.privacy_["epsilon"]
    noise = [g.privacy_["noise_multiplier"] for g in (two_epochs, whole)]
    assert noise[0] == noise[1]
    assert "interruption" in " ".join(two_epochs.privacy_["outside"])
    assert "interruption" not in " ".join(whole.privacy_["outside"])
    assert np.isfinite(two_epochs.sample(y=["a", "c"])[0]).all()


def test_interruption_in_the_first_epoch_leaves_the_estimator_unfitted(
    rows, monkeypatch
):
    cvae = make_cvae()
    interrupt_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        cvae.fit(*rows)
    assert not hasattr(cvae, "classes_")


def test_diverged_weights_raise(rows):
    cvae = make_cvae(lr=1e38, max_epochs=4)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        cvae.fit(*rows)
    assert not hasattr(cvae, "module_")


def test_missing_opacus_names_the_extra(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    cvae = make_cvae()
    with pytest.raises(ImportError, match=r"skcvae\[dp\]"):
        cvae.fit(*rows)
    assert not hasattr(cvae, "classes_")
    # The Gaussian needs nothing but NumPy.
    make_gaussian().fit(*rows)


@MAKERS
def test_bad_input_is_refused(make, rows):
    X, y = rows
    with pytest.raises(ValueError, match="list of different labels"):
        make(classes=[]).fit(X, y)
    with pytest.raises(ValueError, match="list of different labels"):
        make(classes=["a", "b", "c", "a"]).fit(X, y)
    with pytest.raises(ValueError, match="center must be a number or 5"):
        make(center=[0.0, 1.0]).fit(X, y)
    with pytest.raises(ValueError, match="center must be finite"):
        make(center=[np.nan] * 5).fit(X, y)
    for params in ({"epsilon": 0}, {"delta": 1.0}, {"delta": 0.0}, {"data_norm": 0}):
        with pytest.raises(ValueError, match=next(iter(params))):
            make(**params).fit(X, y)


# What is too small to be useful


@pytest.mark.filterwarnings("error")
def test_warnings_say_what_noise_drowns(rows):
    drowned = r"For [23] of 3 classes .* more than about"
    with pytest.warns(UserWarning, match=drowned) as caught:
        make_gaussian(epsilon=0.01).fit(*rows)
    needs = r"noise multiplier of \d+\.\d for \d+ steps"
    with pytest.warns(UserWarning, match=needs) as also_caught:
        make_cvae(epsilon=0.5).fit(*rows)
    for warning in [*caught, *also_caught]:
        assert warning.filename == __file__


@pytest.mark.filterwarnings("error")
def test_enough_rows_do_not_warn(rows):
    X, y = (np.repeat(values, 40, axis=0) for values in rows)
    make_gaussian(epsilon=8.0).fit(X, y)
    make_cvae(epsilon=8.0, batch_size=400, max_epochs=1).fit(X, y)


# What they learn


@pytest.fixture(scope="module")
def known():
    """Four correlated Gaussian classes of 3,000 rows, the last of 1,000."""
    rng = np.random.RandomState(0)
    means = 4 * rng.normal(size=(4, 6))
    factor = rng.normal(size=(6, 6)) * [2, 1, 1, 0.5, 0.5, 0.5]
    y = np.repeat(np.arange(4), [3000, 3000, 3000, 1000])
    X = means[y] + rng.normal(size=(len(y), 6)) @ factor.T
    return X, y, means, factor @ factor.T


def test_gaussian_with_a_large_budget_recovers_the_distribution(known):
    X, y, means, covariance = known
    generator = DPClassGaussian(
        epsilon=50.0, classes=range(4), data_norm=60.0, random_state=0
    ).fit(X, y)
    X_new, _ = generator.sample(y=np.repeat(range(4), 20_000))
    X_new = X_new.reshape(4, 20_000, 6)
    assert_allclose(X_new.mean(axis=1), means, atol=0.3)
    found = np.cov((X_new - X_new.mean(axis=1, keepdims=True)).reshape(-1, 6).T)
    assert np.linalg.norm(found - covariance) < 0.15 * np.linalg.norm(covariance)


def test_cvae_learns_what_is_correlated(known):
    X, y, means, covariance = known
    generator = DPCVAE(
        epsilon=8.0,
        classes=range(4),
        hidden_dim=32,
        latent_dim=4,
        max_epochs=30,
        device="cpu",
        random_state=0,
    ).fit(X, y)
    X_new, y_new = generator.sample(y=np.repeat(range(4), 5000))
    centres = np.array([X_new[y_new == c].mean(axis=0) for c in range(4)])
    assert_allclose(centres, means, atol=1.5)
    found = np.cov((X_new - centres[y_new]).T)
    isotropic = np.trace(covariance) / 6 * np.eye(6)
    error = np.linalg.norm(found - covariance)
    assert error < 0.6 * np.linalg.norm(isotropic - covariance)


@MAKERS
def test_class_without_rows_is_drawn_near_the_mean_of_all(make, rows):
    generator = make(classes=[*CLASSES, "d"], epsilon=20.0).fit(*rows)
    assert generator.classes_.tolist() == [*CLASSES, "d"]
    X_new, y_new = generator.sample(y=["d"] * 4000)
    assert set(y_new) == {"d"}
    shift = X_new.mean(axis=0) - rows[0].mean(axis=0)
    assert np.linalg.norm(shift) < 0.6 * generator.data_norm_


@MAKERS
def test_variance_and_noise_act_at_sampling_only(make, rows):
    generator = make().fit(*rows)
    X_new, _ = generator.sample(y=["a"] * 50, variance=0.0)
    if make is make_cvae:
        assert X_new.std(axis=0).min() > 0
        X_new, _ = (
            copy.deepcopy(generator)
            .set_params(noise=None)
            .sample(y=["a"] * 50, variance=0.0)
        )
    assert_allclose(X_new, np.tile(X_new[:1], (50, 1)))


@MAKERS
@pytest.mark.parametrize("epsilon", [0.01, 1000.0])
def test_extreme_budgets_give_finite_rows(make, epsilon, rows):
    generator = make(epsilon=epsilon).fit(*rows)
    assert generator.privacy_["epsilon"] <= epsilon
    assert np.isfinite(generator.sample(50)[0]).all()


@MAKERS
def test_extreme_rows_give_finite_rows(make, rows):
    X, y = rows
    for scale in (1e-12, 1e12):
        X_new, _ = make().fit(scale * X, y).sample(y=y)
        assert np.isfinite(X_new).all()
        assert 0.1 * scale < X_new.std() < 100 * scale
    assert np.isfinite(make().fit(np.ones((40, 5)), y[:40]).sample(30)[0]).all()


# Seeds, copies and company


@MAKERS
def test_same_seed_gives_the_same_bits_and_touches_no_global_state(
    make, rows, random_states
):
    before = random_states()
    drawn = [make().fit(*rows).sample(40)[0] for _ in range(2)]
    assert random_states() == before
    assert_array_equal(*drawn)
    other = make(random_state=1).fit(*rows).sample(40, random_state=0)[0]
    assert not np.array_equal(drawn[0], other)


def test_copies_draw_the_same_rows(fitted):
    expected = fitted.sample(30)[0]
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).sample(30)[0], expected)
    assert_array_equal(copy.deepcopy(fitted).sample(30)[0], expected)
    assert not hasattr(clone(fitted), "classes_")


@MAKERS
def test_types_of_rows_and_labels_are_kept(make, rows):
    X, y = rows
    codes = np.searchsorted(CLASSES, y) * 2
    generator = make(classes=[4, 0, 2]).fit(X.astype(np.float32), codes)
    X_new, y_new = generator.sample(20)
    assert X_new.dtype == np.float32
    assert y_new.dtype == codes.dtype
    assert generator.classes_.tolist() == [0, 2, 4]


@MAKERS
def test_over_sampler_takes_them(make, rows):
    X_res, y_res = GenerativeOverSampler(make()).fit_resample(*rows)
    assert np.unique(y_res, return_counts=True)[1].tolist() == [100] * 3
    assert_array_equal(X_res[:200], rows[0])


def test_decoder_opens_for_attacks(fitted):
    decoder = fitted.make_decoder()
    e = torch.zeros(2, decoder.latent_dim, requires_grad=True)
    decoded = decoder(e, torch.tensor([0, 2]))
    decoded.sum().backward()
    assert decoded.shape == (2, 5)
    assert torch.isfinite(e.grad).all()
