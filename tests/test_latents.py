"""The aggregate prior against the moments of the latents that it was fitted to."""

import numpy as np
import torch

from skcvae.generators._samplers import aggregate_prior, draw_latents, standard_prior

_LATENT_DIM = 3


def latents(counts, seed=0):
    """Return means, variances and codes of classes that differ in both moments."""
    rng = np.random.RandomState(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    shifts = rng.normal(size=(len(counts), _LATENT_DIM))
    widths = rng.uniform(0.5, 2, size=(len(counts), _LATENT_DIM))
    noise = rng.normal(size=(len(codes), _LATENT_DIM))
    mean = shifts[codes] + widths[codes] * noise
    variance = rng.uniform(0.05, 0.4, size=mean.shape)
    return mean, variance, codes


def total_covariance(mean, variance):
    """Return the covariance of latents N(mean, diag(variance)) over all rows."""
    return np.cov(mean, rowvar=False, bias=True) + np.diag(variance.mean(axis=0))


def prior_covariance(prior, code):
    return prior.factor[code] @ prior.factor[code].T


def test_single_large_class_keeps_mean_and_covariance():
    mean, variance, codes = latents([5_000])
    prior = aggregate_prior(mean, variance, codes, 1)
    np.testing.assert_allclose(prior.centre[0], mean.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(
        prior_covariance(prior, 0),
        total_covariance(mean, variance),
        rtol=1e-6,
        atol=1e-12,
    )


def test_large_classes_keep_their_own_moments():
    mean, variance, codes = latents([20_000, 30_000])
    prior = aggregate_prior(mean, variance, codes, 2)
    for code in range(2):
        own = codes == code
        np.testing.assert_allclose(
            prior.centre[code], mean[own].mean(axis=0), atol=2e-3
        )
        np.testing.assert_allclose(
            prior_covariance(prior, code),
            total_covariance(mean[own], variance[own]),
            atol=5e-3,
        )


def test_classes_may_differ_in_the_direction_of_their_spread():
    rng = np.random.RandomState(0)
    codes = np.repeat([0, 1], 5_000)
    along = rng.normal(size=10_000)
    mean = np.stack([along, np.where(codes == 0, along, -along)], axis=1)
    prior = aggregate_prior(mean, np.full_like(mean, 0.01), codes, 2)
    assert prior_covariance(prior, 0)[0, 1] > 0.9
    assert prior_covariance(prior, 1)[0, 1] < -0.9


def test_class_of_one_row_moves_a_little_from_the_aggregate():
    mean, variance, codes = latents([5_000, 1])
    prior = aggregate_prior(mean, variance, codes, 2)
    overall = mean.mean(axis=0)
    weight = 1 + _LATENT_DIM
    np.testing.assert_allclose(
        prior.centre[1], overall + (mean[-1] - overall) / weight, rtol=1e-9
    )
    distance = mean[-1] - prior.centre[1]
    own = np.outer(distance, distance) + np.diag(variance[-1])
    expected = (own + _LATENT_DIM * total_covariance(mean, variance)) / weight
    np.testing.assert_allclose(prior_covariance(prior, 1), expected, rtol=1e-5)


def test_class_without_rows_gets_the_aggregate():
    mean, variance, codes = latents([200])
    prior = aggregate_prior(mean, variance, codes, 2)
    np.testing.assert_allclose(prior.centre[1], mean.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(
        prior_covariance(prior, 1), total_covariance(mean, variance), atol=1e-6
    )


def test_unused_dimensions_keep_the_variance_of_the_posterior():
    rng = np.random.RandomState(0)
    mean = np.zeros((100, 2))
    mean[:, 0] = rng.normal(size=100)
    prior = aggregate_prior(mean, np.full((100, 2), 1.0), np.zeros(100, dtype=int), 1)
    expected = np.diag([mean[:, 0].var() + 1, 1])
    np.testing.assert_allclose(prior_covariance(prior, 0), expected, atol=1e-6)


def test_latents_without_variance_still_have_a_prior():
    mean = np.outer(np.arange(50.0), [1, 2, 3])
    prior = aggregate_prior(mean, np.zeros_like(mean), np.zeros(50, dtype=int), 1)
    np.testing.assert_allclose(
        prior_covariance(prior, 0), np.cov(mean, rowvar=False, bias=True), rtol=1e-4
    )


def test_standard_prior_is_the_standard_normal():
    prior = standard_prior(4, _LATENT_DIM)
    assert prior.centre.shape == (4, _LATENT_DIM)
    np.testing.assert_array_equal(prior.centre, 0)
    for code in range(4):
        np.testing.assert_array_equal(prior_covariance(prior, code), np.eye(3))


def test_drawn_latents_have_the_moments_of_their_class():
    mean, variance, codes = latents([500, 20, 5])
    prior = aggregate_prior(mean, variance, codes, 3)
    n_rows = 50_000
    labels = torch.repeat_interleave(torch.tensor([0, 2]), n_rows)
    std = torch.full((len(labels),), 2.0)
    generator = torch.Generator().manual_seed(0)
    drawn = draw_latents(*prior.to("cpu"), labels, std, generator).numpy()
    for code, z in zip([0, 2], (drawn[:n_rows], drawn[n_rows:]), strict=True):
        np.testing.assert_allclose(z.mean(axis=0), prior.centre[code], atol=0.1)
        np.testing.assert_allclose(
            np.cov(z, rowvar=False), 4 * prior_covariance(prior, code), atol=0.3
        )
