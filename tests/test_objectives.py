"""The training objectives against torch.distributions and a model in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from skcvae.generators._cvae_net import (
    OBJECTIVES,
    NegativeELBO,
    ReferenceLoss,
    kl_to_standard_normal,
)


def random_outputs(n_rows=7, n_features=5, latent_dim=3, seed=0):
    """Return outputs of a network and the rows that it saw, in float64."""
    rng = torch.Generator().manual_seed(seed)

    def draw(width):
        return torch.randn(n_rows, width, generator=rng, dtype=torch.float64)

    x_hat, mean, log_var = draw(n_features), draw(latent_dim), draw(latent_dim)
    return (x_hat, mean, log_var, 0.5 * draw(n_features)), draw(n_features)


def diagonal_normal(mean, variance):
    return Independent(Normal(mean, variance.sqrt()), 1)


def test_kl_agrees_with_torch_distributions():
    (_, mean, log_var, _), _ = random_outputs()
    posterior = diagonal_normal(mean, log_var.exp())
    standard = diagonal_normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(
        kl_to_standard_normal(mean, log_var), kl_divergence(posterior, standard)
    )


def test_kl_is_zero_only_at_the_prior():
    zero = torch.zeros(1, 4)
    assert kl_to_standard_normal(zero, zero).item() == 0
    assert kl_to_standard_normal(zero + 0.1, zero).item() > 0
    assert kl_to_standard_normal(zero, zero + 0.1).item() > 0
    assert kl_to_standard_normal(zero, zero - 0.1).item() > 0


def test_reconstruction_is_the_gaussian_log_likelihood():
    outputs, x = random_outputs()
    x_hat, _, _, log_noise = outputs
    reconstruction, _ = NegativeELBO().terms(outputs, x)
    torch.testing.assert_close(
        reconstruction, -diagonal_normal(x_hat, (2 * log_noise).exp()).log_prob(x)
    )
    np.testing.assert_allclose(
        reconstruction[0].item(),
        -stats.norm.logpdf(*(t[0].numpy() for t in (x, x_hat, log_noise.exp()))).sum(),
    )


def test_gradients_of_the_reconstruction_are_those_of_the_log_likelihood():
    (x_hat, mean, log_var, log_noise), x = random_outputs()
    inputs = [t.double().requires_grad_() for t in (x_hat, log_noise)]

    def reconstruction(x_hat, log_noise):
        outputs = x_hat, mean, log_var, log_noise
        return NegativeELBO().terms(outputs, x.double())[0]

    assert torch.autograd.gradcheck(reconstruction, inputs)


def test_best_noise_is_the_standard_deviation_of_the_residuals():
    rng = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)
    x = scale * torch.randn(400, 3, generator=rng, dtype=torch.float64)
    log_noise = x.square().mean(dim=0).sqrt().log().requires_grad_()
    zeros = torch.zeros_like(x)
    loss = NegativeELBO()(
        (zeros, zeros[:, :1], zeros[:, :1], log_noise.expand(x.shape)), x
    )
    (gradient,) = torch.autograd.grad(loss, log_noise)
    torch.testing.assert_close(gradient, torch.zeros(3, dtype=torch.float64))


def test_reference_kl_is_the_kl_to_variance_one_half_plus_a_constant():
    outputs, x = random_outputs()
    _, mean, log_var, _ = outputs
    _, kl = ReferenceLoss().terms(outputs, x)
    narrow = diagonal_normal(torch.zeros_like(mean), torch.full_like(mean, 0.5))
    posterior = diagonal_normal(mean, log_var.exp())
    expected = kl_divergence(posterior, narrow) + mean.shape[1] * 0.5 * math.log(2)
    torch.testing.assert_close(kl, expected)


def test_reference_reconstruction_is_the_squared_error():
    outputs, x = random_outputs()
    reconstruction, _ = ReferenceLoss().terms(outputs, x)
    np.testing.assert_allclose(
        reconstruction, ((x - outputs[0]).numpy() ** 2).sum(axis=1)
    )


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("beta", [0.0, 0.01, 1.0])
def test_loss_weighs_the_kl_by_beta(name, beta):
    outputs, x = random_outputs()
    objective = OBJECTIVES[name](beta=beta)
    reconstruction, kl = objective.terms(outputs, x)
    expected = np.mean(reconstruction.numpy() + beta * kl.numpy())
    np.testing.assert_allclose(objective(outputs, x).item(), expected)


class LinearGaussian:
    """x = W z + sigma noise with orthogonal columns: the posterior is diagonal."""

    def __init__(self, n_features=4, sigma=0.7):
        rng = torch.Generator().manual_seed(1)
        columns = torch.randn(n_features, 2, generator=rng, dtype=torch.float64)
        lengths = torch.tensor([2.0, 0.5], dtype=torch.float64)
        self.weight = torch.linalg.qr(columns).Q * lengths
        self.sigma = sigma
        self.posterior_variance = 1 / (1 + lengths**2 / sigma**2)

    def marginal(self):
        n_features = len(self.weight)
        noise = self.sigma**2 * torch.eye(n_features, dtype=torch.float64)
        zeros = torch.zeros(n_features, dtype=torch.float64)
        return MultivariateNormal(zeros, self.weight @ self.weight.T + noise)

    def rows(self, n_rows=5):
        rng = torch.Generator().manual_seed(3)
        z = torch.randn(n_rows, 2, generator=rng, dtype=torch.float64)
        x = z @ self.weight.T
        noise = torch.randn(x.shape, generator=rng, dtype=torch.float64)
        return x + self.sigma * noise

    def posterior(self, x):
        mean = self.posterior_variance * (x @ self.weight) / self.sigma**2
        return mean, self.posterior_variance.expand(mean.shape)

    def negative_elbo(self, x, mean, variance, n_draws=50_000):
        """Estimate the objective of each row by many draws of its latents."""
        rng = torch.Generator().manual_seed(2)
        estimates = []
        for row, m, v in zip(x, mean, variance, strict=True):
            noise = torch.randn(n_draws, len(m), generator=rng, dtype=torch.float64)
            x_hat = (m + v.sqrt() * noise) @ self.weight.T
            outputs = (
                x_hat,
                m.expand(n_draws, -1),
                v.log().expand(n_draws, -1),
                torch.full_like(x_hat, math.log(self.sigma)),
            )
            estimates.append(NegativeELBO(beta=1.0)(outputs, row.expand(n_draws, -1)))
        return torch.stack(estimates)


def test_negative_elbo_equals_the_evidence_at_the_exact_posterior():
    model = LinearGaussian()
    x = model.rows()
    evidence = -model.marginal().log_prob(x)
    negative_elbo = model.negative_elbo(x, *model.posterior(x))
    torch.testing.assert_close(negative_elbo, evidence, rtol=0, atol=0.03)


def test_negative_elbo_exceeds_the_evidence_by_the_kl_to_the_posterior():
    model = LinearGaussian()
    x = model.rows()
    mean, variance = model.posterior(x)
    wrong_mean, wrong_variance = mean + 0.3, 1.5 * variance
    gap = model.negative_elbo(x, wrong_mean, wrong_variance)
    gap += model.marginal().log_prob(x)
    expected = kl_divergence(
        diagonal_normal(wrong_mean, wrong_variance), diagonal_normal(mean, variance)
    )
    assert (gap > 0).all()
    torch.testing.assert_close(gap, expected, rtol=0, atol=0.05)
