"""The width of a CVAE by held-out samples, and the likelihoods behind it."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from skorch.callbacks import Callback
from torch.distributions import MultivariateNormal, kl_divergence

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer
from skcvae.generators import CVAE, DPCVAE, VAE, _held_out
from skcvae.generators._samplers import LatentPrior

FAST = {"max_epochs": 2, "latent_dim": 2, "device": "cpu", "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def gaussian_blobs():
    """Three classes with a common covariance: a Gaussian generator is exact."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], 80)
    return rng.normal(size=(240, 5)) + 4 * np.eye(3, 5)[y], y


@pytest.fixture(scope="module")
def ring():
    """Two classes on circles in a plane of four dimensions."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], 300)
    angle = 2 * np.pi * rng.rand(600)
    circle = np.column_stack([np.cos(angle), np.sin(angle)]) * 3
    noise = 0.1 * rng.normal(size=(600, 4))
    return np.hstack([circle, np.zeros((600, 2))]) + noise + y[:, None], y


# Likelihoods


def test_log_density_is_that_of_scipy():
    rng = np.random.RandomState(0)
    factor = np.linalg.cholesky(np.cov(rng.normal(size=(3, 20))))
    residuals, log_scale = rng.normal(size=(2, 3)), np.array([0.3, -0.7])
    found = _held_out.gaussian_log_density(residuals, factor, log_scale)
    for i in range(2):
        covariance = np.exp(2 * log_scale[i]) * factor @ factor.T
        expected = stats.multivariate_normal(cov=covariance).logpdf(residuals[i])
        assert_allclose(found[i], expected)


def test_divergence_from_the_prior_of_a_class_is_that_of_torch():
    rng = np.random.RandomState(0)
    factor = np.tril(rng.rand(2, 3, 3)) + np.eye(3)
    prior = LatentPrior(rng.normal(size=(2, 3)), factor)
    codes, mean, variance = np.array([1, 0, 1]), rng.normal(size=(3, 3)), rng.rand(3, 3)
    expected = [
        kl_divergence(
            MultivariateNormal(torch.tensor(m), torch.diag(torch.tensor(v))),
            MultivariateNormal(
                torch.tensor(prior.centre[c]), scale_tril=torch.tensor(factor[c])
            ),
        )
        for m, v, c in zip(mean, variance, codes, strict=True)
    ]
    assert_allclose(_held_out.kl_to_prior(mean, variance, codes, prior), expected)


def test_bound_is_below_the_likelihood_and_near_it(ring):
    X, y = ring
    cvae = CVAE(**{**FAST, "latent_dim": 1, "max_epochs": 40}).fit(X, y)
    Z = (X[::60] - cvae.offset_) / cvae.scale_
    codes = y[::60]
    bounds = [
        _held_out.log_likelihood_bound(cvae, Z, codes, seed) for seed in range(300)
    ]
    exact = [log_likelihood(cvae, z, code) for z, code in zip(Z, codes, strict=True)]
    gap = np.array(exact) - np.mean(bounds, axis=0)
    errors = np.std(bounds, axis=0) / 300**0.5
    assert (gap > -3 * errors).all()
    assert np.median(gap) < 1


def log_likelihood(cvae, z, code, n_points=20_001):
    """Integrate over the one latent dimension, scaled units."""
    centre = cvae.latent_prior_.centre[code, 0]
    std = cvae.latent_prior_.factor[code, 0, 0]
    grid = np.linspace(centre - 8 * std, centre + 8 * std, n_points)
    latents = torch.tensor(grid[:, None], dtype=torch.float32)
    codes = torch.full((n_points,), int(code))
    module = cvae.net_.module_
    with torch.inference_mode():
        decoded = module.decode(latents, codes).numpy() + cvae.class_means_[code]
        scale = np.exp(module.noise_scale(latents, codes).numpy())
    whitened = np.linalg.solve(cvae.noise_factor_, (z - decoded).T).T / scale
    log_volume = np.linalg.slogdet(cvae.noise_factor_)[1] + len(z) * np.log(scale[:, 0])
    log_density = stats.norm.logpdf(whitened).sum(axis=1) - log_volume
    log_prior = stats.norm.logpdf(grid, centre, std)
    step = grid[1] - grid[0]
    return np.logaddexp.reduce(log_density + log_prior) + np.log(step)


# The choice


def test_a_fifth_of_each_class_is_held_out_rounded_down():
    codes = np.repeat([0, 1, 2], [4, 9, 25])
    Z = np.arange(len(codes))[:, None]
    mask = _held_out.hold_out(Z, codes, seed=0)
    assert np.bincount(codes[mask], minlength=3).tolist() == [0, 1, 5]
    assert_array_equal(mask, _held_out.hold_out(Z, codes, seed=0))
    assert not np.array_equal(mask, _held_out.hold_out(Z, codes, seed=1))


def test_copies_are_held_out_together_and_never_all_of_a_class():
    rng = np.random.RandomState(0)
    of_sample = np.r_[:50, rng.randint(50, size=200), np.full(30, 50)]
    codes = np.where(of_sample < 50, of_sample % 4, 4)
    for seed in range(20):
        mask = _held_out.hold_out(of_sample[:, None], codes, seed)
        assert not set(of_sample[mask]) & set(of_sample[~mask])
        assert 0 < mask.sum() < 125
        assert set(codes[~mask]) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("gains", "held_out_gains", "worth"),
    [
        ([2.0, 2.0], [1.1, 1.1], True),
        # Most of the gain is memorised.
        ([2.0, 2.0], [0.9, 0.9], False),
        # The standard error is 2 / sqrt(2), above the mean.
        ([0.0, 0.0], [3.0, -1.0], False),
        ([-3.0, -3.0], [-0.5, -0.5], False),
    ],
)
def test_a_step_is_worth_what_new_samples_gain(gains, held_out_gains, worth):
    assert _held_out.is_worth(np.array(gains), np.array(held_out_gains)) == worth


@pytest.mark.parametrize(
    ("limit", "expected"), [(0, 32), (32, 32), (64, 64), (128, 128)]
)
def test_width_is_doubled_until_a_step_does_not_pay(
    gaussian_blobs, monkeypatch, limit, expected
):
    X, y = gaussian_blobs
    monkeypatch.setattr(_held_out, "_fit_width", lambda cvae, width, *rest: width)
    monkeypatch.setattr(
        _held_out,
        "log_likelihood_bound",
        lambda width, Z, codes, seed: np.full(len(Z), min(width, limit)),
    )
    width, scores = _held_out.choose_width(None, X, y, seed=0)
    assert width == expected
    tried = [w for w in (32, 64, 128) if w <= 2 * expected]
    assert scores.keys() == {"gaussian", *tried}


@pytest.mark.parametrize("kind", [CVAE, VAE])
def test_auto_trains_as_the_width_that_it_chose(gaussian_blobs, kind):
    X, y = gaussian_blobs
    chosen = kind(**FAST, hidden_dim="auto").fit(X, y)
    given = kind(**FAST, hidden_dim=chosen.hidden_dim_).fit(X, y)
    assert {"gaussian", 32} < chosen.held_out_scores_.keys()
    assert given.held_out_scores_ == {}
    assert chosen.net_.module_.backbone is not None
    assert_array_equal(chosen.sample(50)[0], given.sample(50)[0])


def test_scores_of_the_gaussian_are_those_of_scipy(gaussian_blobs):
    X, y = gaussian_blobs
    _, scores = _held_out.choose_width(CVAE(**FAST).fit(X, y), X, y, seed=3)
    mask = _held_out.hold_out(X, y, seed=3)
    means = _held_out.fit_class_means(X[~mask], y[~mask], 3)
    density = stats.multivariate_normal(cov=means.covariance)
    for score, part in zip(scores["gaussian"], (~mask, mask), strict=True):
        expected = density.logpdf(X[part] - means.shrunk[y[part]]).mean()
        assert_allclose(score, expected, rtol=1e-6)


def test_too_few_samples_to_hold_out_take_the_narrowest(gaussian_blobs):
    X, y = (part[::3] for part in gaussian_blobs)
    cvae = CVAE(**FAST, hidden_dim="auto").fit(X, y)
    assert (cvae.hidden_dim_, cvae.held_out_scores_) == (32, {})


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"hidden_dim": "auto", "objective": "reference"},
        {"hidden_dim": "auto", "net_params": {"module__hidden_dim": 512}},
    ],
    ids=["default", "reference", "net_params"],
)
def test_where_nothing_is_chosen_the_width_is_512(gaussian_blobs, params):
    cvae = CVAE(**FAST, **params).fit(*gaussian_blobs)
    assert (cvae.hidden_dim_, cvae.held_out_scores_) == (512, {})
    assert cvae.net_.module_.backbone.encoder_in.linear.out_features == 512


def test_callbacks_see_one_training(gaussian_blobs):
    trainings = []

    class Count(Callback):
        def on_train_begin(self, net, X=None, y=None, **kwargs):
            trainings.append(len(X))

    net_params = {"callbacks": [("count", Count())], "callbacks__lr_schedule": None}
    params = {**FAST, "net_params": net_params}
    CVAE(**params, hidden_dim="auto").fit(*gaussian_blobs)
    assert trainings == [240]


# Anonymizers


def test_anonymizer_warns_where_a_gaussian_is_more_likely(gaussian_blobs):
    anonymizer = CVAEAnonymizer(**FAST)
    with pytest.warns(UserWarning, match="more likely under a ClassGaussian") as caught:
        anonymizer.fit_transform(*gaussian_blobs)
    assert any(warning.filename == __file__ for warning in caught)
    scores = anonymizer.generator_.held_out_scores_
    assert scores["gaussian"][1] > scores[anonymizer.generator_.hidden_dim_][1]


def test_anonymizer_is_silent_where_the_cvae_is_more_likely(ring):
    anonymizer = CVAEAnonymizer(**{**FAST, "max_epochs": 40})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "A CVAE does not pay")
        anonymizer.fit_transform(*ring)
    scores = anonymizer.generator_.held_out_scores_
    assert scores["gaussian"][1] < scores[anonymizer.generator_.hidden_dim_][1]


def test_a_wrapped_cvae_keeps_its_own_width_and_beta(gaussian_blobs):
    own = CVAEAnonymizer().get_params()
    assert (own["hidden_dim"], own["beta"]) == ("auto", 2.0)
    wrapper = GenerativeAnonymizer(CVAE(**FAST)).fit(*gaussian_blobs)
    assert (wrapper.generator_.hidden_dim_, wrapper.generator_.beta) == (512, 1.0)


@pytest.mark.filterwarnings("ignore:A CVAE does not pay")
def test_a_wrapped_cvae_can_have_the_settings_of_the_anonymizer(gaussian_blobs):
    cvae = CVAE(**FAST, hidden_dim="auto", beta=2.0)
    wrapped = GenerativeAnonymizer(cvae, random_state=0).fit_transform(*gaussian_blobs)
    anonymizer = CVAEAnonymizer(**FAST)
    assert_array_equal(anonymizer.fit_transform(*gaussian_blobs), wrapped)


def test_width_of_a_private_anonymizer_is_that_of_its_class_or_given():
    budget = {"epsilon": 1.0, "delta": 1e-5}
    private = CVAEAnonymizer(**budget)._make_generator()
    assert (private.hidden_dim, private.beta) == (64, DPCVAE().beta)
    assert CVAEAnonymizer(**budget, hidden_dim=8)._make_generator().hidden_dim == 8
