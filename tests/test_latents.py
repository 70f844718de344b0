"""The aggregate prior against the moments of the latents that it was fitted to."""

import numpy as np
import pytest

from skcvae.generators._latents import aggregate_prior, standard_prior

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
    return prior.axes @ np.diag(prior.scale[code] ** 2) @ prior.axes.T


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
        along = np.diag(
            prior.axes.T @ total_covariance(mean[own], variance[own]) @ prior.axes
        )
        np.testing.assert_allclose(prior.scale[code] ** 2, along, rtol=2e-3)


def test_axes_are_the_principal_axes_of_all_latents():
    mean, variance, codes = latents([400, 300])
    axes = aggregate_prior(mean, variance, codes, 2).axes
    np.testing.assert_allclose(axes.T @ axes, np.eye(_LATENT_DIM), atol=1e-12)
    rotated = axes.T @ total_covariance(mean, variance) @ axes
    np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=1e-12)


def test_class_of_one_row_moves_a_little_from_the_aggregate():
    mean, variance, codes = latents([5_000, 1])
    prior = aggregate_prior(mean, variance, codes, 2)
    overall = mean.mean(axis=0)
    np.testing.assert_allclose(
        prior.centre[1], overall + (mean[-1] - overall) / 11, rtol=1e-9
    )
    aggregate = np.diag(prior.axes.T @ total_covariance(mean, variance) @ prior.axes)
    distance = (mean[-1] - prior.centre[1]) @ prior.axes
    own = distance**2 + prior.axes.T**2 @ variance[-1]
    np.testing.assert_allclose(prior.scale[1] ** 2, (own + 10 * aggregate) / 11)


def test_class_without_rows_gets_the_aggregate():
    mean, variance, codes = latents([200])
    prior = aggregate_prior(mean, variance, codes, 2)
    np.testing.assert_allclose(prior.centre[1], mean.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(
        prior_covariance(prior, 1), total_covariance(mean, variance), atol=1e-12
    )


def test_unused_dimensions_keep_the_variance_of_the_posterior():
    rng = np.random.RandomState(0)
    mean = np.zeros((100, 2))
    mean[:, 0] = rng.normal(size=100)
    prior = aggregate_prior(mean, np.full((100, 2), 1.0), np.zeros(100, dtype=int), 1)
    expected = np.diag([mean[:, 0].var() + 1, 1])
    np.testing.assert_allclose(prior_covariance(prior, 0), expected, atol=1e-12)


def test_standard_prior_is_the_standard_normal():
    prior = standard_prior(4, _LATENT_DIM)
    assert prior.centre.shape == (4, _LATENT_DIM)
    np.testing.assert_array_equal(prior.centre, 0)
    for code in range(4):
        np.testing.assert_array_equal(prior_covariance(prior, code), np.eye(3))


@pytest.mark.parametrize("code", [0, 1])
def test_tensors_draw_the_moments_of_the_class(code):
    mean, variance, codes = latents([500, 20])
    prior = aggregate_prior(mean, variance, codes, 2)
    axes, centre, scale = (array.numpy() for array in prior.to("cpu"))
    noise = np.random.RandomState(0).normal(size=(50_000, _LATENT_DIM))
    z = centre[code] + (scale[code] * noise) @ axes.T
    np.testing.assert_allclose(z.mean(axis=0), prior.centre[code], atol=0.05)
    np.testing.assert_allclose(
        np.cov(z, rowvar=False), prior_covariance(prior, code), atol=0.1
    )
