"""The CGAN: its penalty, what it learns, its critic, and how it fails."""

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit

from skcvae import ClassGaussian, GenerativeAnonymizer, GenerativeOverSampler
from skcvae.generators import CGAN
from skcvae.generators._cgan_net import gradient_penalty


def make_cgan(**params):
    defaults = {
        "latent_dim": 2,
        "max_epochs": 3,
        "batch_size": 64,
        "device": "cpu",
        "random_state": 0,
        "net_params": {"module__hidden_dim": 16, "module__critic_dim": 16},
    }
    return CGAN(**{**defaults, **params})


@pytest.fixture(scope="module")
def rows():
    """Three classes of 120, 60 and 20 rows around known means, with one covariance."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [120, 60, 20])
    means = np.array([[0, 0, 0, 0], [4, 0, -2, 1], [0, -5, 1, 2]])
    return means[y] + rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)), y


@pytest.fixture(scope="module")
def fitted(rows):
    return make_cgan().fit(*rows)


# The penalty


def test_penalty_of_a_linear_critic_is_that_of_its_weights():
    weights = torch.tensor([2.0, -1.0, 2.0])  # norm 3

    def critic(x, y):
        return x @ weights + 5 * y

    real, generated = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    penalty = gradient_penalty(critic, real, generated, torch.arange(8) % 2)
    torch.testing.assert_close(penalty, torch.tensor(4.0))


def test_penalty_is_taken_between_real_and_generated_rows():
    # The gradient of half of the squared norm is the row itself.
    def critic(x, y):
        return 0.5 * (x**2).sum(dim=1)

    real, generated = torch.full((1000, 1), 3.0), torch.full((1000, 1), 1.0)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        penalty = gradient_penalty(critic, real, generated, torch.zeros(1000))
    # Rows between 1 and 3: the mean of (x - 1)^2 over them is 4/3.
    assert abs(penalty.item() - 4 / 3) < 0.15


def test_penalty_trains_the_critic():
    weights = torch.tensor([3.0, 4.0], requires_grad=True)
    real, generated = torch.ones(4, 2), torch.zeros(4, 2)
    y = torch.zeros(4, dtype=torch.int64)
    gradient_penalty(lambda x, y: x @ weights, real, generated, y).backward()
    # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(weights.grad, torch.tensor([4.8, 6.4]))


# What is learned


def test_rows_of_a_class_have_its_moments():
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(3), 500)
    means = 5 * np.eye(3, 4)
    loadings = rng.normal(size=(4, 4))
    X = means[y] + rng.normal(size=(1_500, 4)) @ loadings.T
    covariance = loadings @ loadings.T
    X_new, y_new = make_cgan(max_epochs=20).fit(X, y).sample(y=np.repeat(y, 5))
    deviation = np.sqrt(np.diag(covariance))
    for code in range(3):
        drawn = X_new[y_new == code]
        error = (drawn.mean(axis=0) - means[code]) / deviation
        np.testing.assert_allclose(error, 0, atol=0.2)
        error = (np.cov(drawn.T) - covariance) / np.outer(deviation, deviation)
        np.testing.assert_allclose(error, 0, atol=0.25)


@pytest.fixture(scope="module")
def blobs():
    """Samples around three points, none between them; and a CGAN.

    They differ from a Gaussian in both features. Where one feature is Gaussian, nothing
    decides how the critic scores far samples of that feature.
    """
    rng = np.random.RandomState(0)
    centres = np.array([[-2, -2], [-2, 2], [2, 0]])
    X = centres[np.repeat([0, 1, 2], [500, 500, 1_000])]
    X = X + rng.normal(size=(2_000, 2)) * 0.4
    y = np.zeros(2_000, dtype=int)
    widths = {"module__hidden_dim": 128, "module__critic_dim": 128}
    cgan = make_cgan(max_epochs=40, lr=5e-3, penalty=1.0, net_params=widths)
    return X, y, cgan.fit(X, y)


def test_it_learns_a_shape_that_no_gaussian_has(blobs):
    X, y, trained = blobs

    def distance_from_the_truth(generator):
        X_new, _ = generator.sample(4_000)
        return stats.ks_2samp(X_new[:, 0], X[:, 0]).statistic

    assert distance_from_the_truth(ClassGaussian(random_state=0).fit(X, y)) > 0.2
    # Of the seeds 0 to 4, the largest distance is 0.109.
    assert distance_from_the_truth(trained) < 0.15


def test_generated_residuals_have_the_moments_of_the_training_residuals(rows):
    # One class: its mean is that of all rows, whatever the networks have learned.
    X, _ = rows
    y = np.zeros(len(X), dtype=int)
    X_new, _ = make_cgan(lr=0.02).fit(X, y).sample(20_000)
    deviation = X.std(axis=0)
    error = (X_new.mean(axis=0) - X.mean(axis=0)) / deviation
    np.testing.assert_allclose(error, 0, atol=0.05)
    error = (np.cov(X_new.T) - np.cov(X.T)) / np.outer(deviation, deviation)
    np.testing.assert_allclose(error, 0, atol=0.1)


def test_history_has_the_terms_of_the_losses(fitted):
    columns = ("train_loss", "train_critic_loss", "train_gradient_penalty")
    loss, critic, penalty = np.array(fitted.history_[:, columns]).T
    assert len(loss) == 3
    np.testing.assert_allclose(loss, critic + penalty, rtol=1e-5)
    assert (penalty > 0).all()
    assert np.isfinite(fitted.history_[:, "train_generator_loss"]).all()


def test_a_validation_set_is_scored_and_not_trained_on(rows):
    split = ValidSplit(0.25, stratified=True, random_state=0)
    net_params = {**make_cgan().net_params, "train_split": split}
    history = make_cgan(net_params=net_params).fit(*rows).history_
    columns = ("valid_loss", "valid_critic_loss", "valid_gradient_penalty")
    loss, critic, penalty = np.array(history[:, columns]).T
    np.testing.assert_allclose(loss, critic + penalty, rtol=1e-5)
    assert sum(history[0, "batches", :, "train_batch_size"]) == 150


# Drawing


def test_zero_variance_gives_one_row_for_each_class(fitted):
    X_new, _ = fitted.sample(y=[0, 0, 1, 1, 2, 2], variance=0)
    np.testing.assert_allclose(X_new[::2], X_new[1::2], atol=1e-6)
    assert len(np.unique(X_new[::2].round(3), axis=0)) == 3


def test_more_variance_gives_more_spread(fitted):
    y = np.zeros(2_000, dtype=int)
    spreads = [fitted.sample(y=y, variance=v)[0].std(axis=0) for v in (0.25, 1, 4)]
    assert (spreads[0] < 0.7 * spreads[1]).all()
    assert (spreads[1] < 0.7 * spreads[2]).all()


def test_the_decoder_maps_noise_to_rows_of_the_class(fitted):
    decoder = fitted.make_decoder()
    assert decoder.latent_dim == 2 + 4
    assert decoder.noise_std is None
    decoded = decoder(torch.zeros(3, 6), torch.arange(3))
    expected, _ = fitted.sample(y=[0, 1, 2], variance=0)
    np.testing.assert_allclose(decoded, expected, atol=1e-5)


# The critic


def test_critic_scores_real_samples_above_others_where_there_are_none(blobs):
    X, y, trained = blobs
    scores = trained.score_samples(X, y)
    assert scores.shape == (2_000,)
    between = trained.score_samples(X * [0, 1], y)
    assert (scores > between).mean() > 0.95
    for shift in ([20, 0], [-20, 0], [0, 20], [0, -20]):
        far = trained.score_samples(X + shift, y)
        assert (scores > far).mean() > 0.95


def test_score_depends_on_the_row_and_its_label_only(rows, fitted):
    X, y = rows
    expected = fitted.score_samples(X, y)
    np.testing.assert_allclose(fitted.score_samples(X[:9], y[:9]), expected[:9], 1e-4)
    assert np.abs(fitted.score_samples(X, (y + 1) % 3) - expected).max() > 1e-3


def test_score_checks_its_input(rows, fitted):
    X, y = rows
    with pytest.raises(ValueError, match="unseen"):
        fitted.score_samples(X[:1], [7])
    with pytest.raises(ValueError, match="3 features"):
        fitted.score_samples(X[:, :3], y)
    with pytest.raises(NotFittedError):
        make_cgan().score_samples(X, y)


def test_score_looks_at_the_names_of_the_columns(rows):
    pandas = pytest.importorskip("pandas")
    X, y = pandas.DataFrame(rows[0], columns=list("abcd")), rows[1]
    generator = make_cgan().fit(X, y)
    np.testing.assert_array_equal(generator.feature_names_in_, list("abcd"))
    with pytest.raises(ValueError, match="same order"):
        generator.score_samples(X[["b", "a", "c", "d"]], y)


# How it fails


class Shrink(Callback):
    """Let the averaged generator draw rows of hardly any noise, or of far too much."""

    def __init__(self, log_scale):
        self.log_scale = log_scale

    def on_epoch_end(self, net, **kwargs):
        scale = net.module_.average.module.scale
        scale.class_bias.weight.data.fill_(self.log_scale)


@pytest.mark.parametrize(
    ("log_scale", "message"), [(-3.0, "collapsed"), (3.0, "drifted away")]
)
def test_collapse_is_reported(rows, log_scale, message):
    net_params = {**make_cgan().net_params, "callbacks": [("s", Shrink(log_scale))]}
    with pytest.warns(ConvergenceWarning, match=message) as record:
        generator = make_cgan(net_params=net_params).fit(*rows)
    assert record[0].filename == __file__
    assert (generator.variance_ratio_ < 0.5) == (log_scale < 0)


def test_divergence_is_reported_and_leaves_nothing(rows):
    generator = make_cgan(lr=1e12)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        generator.fit(*rows)
    with pytest.raises(NotFittedError):
        generator.sample(3)


class InterruptInSecondEpoch(Callback):
    """Press Ctrl-C."""

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


def test_an_interrupted_training_keeps_its_last_epoch(rows):
    callbacks = [("stop", InterruptInSecondEpoch())]
    net_params = {**make_cgan().net_params, "callbacks": callbacks}
    generator = make_cgan(net_params=net_params)
    with pytest.raises(KeyboardInterrupt):
        generator.fit(*rows)
    assert len(generator.history_) == 1
    assert np.isfinite(generator.sample(20)[0]).all()


def test_memory_trains_once_for_all_that_differ_in_sampling(rows, tmp_path):
    for variance in (0.5, {2: 2.0}):
        generator, memory = make_cgan(variance=variance), str(tmp_path / "cache")
        cached = GenerativeOverSampler(generator, memory=memory, random_state=0)
        fresh = GenerativeOverSampler(generator, random_state=0)
        np.testing.assert_array_equal(
            cached.fit_resample(*rows)[0], fresh.fit_resample(*rows)[0]
        )
    assert len(list((tmp_path / "cache").rglob("output.pkl"))) == 1


def test_it_cannot_be_released_and_says_why(rows, tmp_path):
    anonymizer = GenerativeAnonymizer(make_cgan()).fit(*rows)
    with pytest.raises(ValueError, match="CGAN cannot be released as a file"):
        anonymizer.release(tmp_path / "cgan.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_trained_generator_is_not_changed_by_drawing(fitted):
    before = copy.deepcopy(fitted).sample(50)[0]
    fitted.sample(500, variance=3)
    np.testing.assert_array_equal(fitted.sample(50)[0], before)
