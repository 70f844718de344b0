"""The two training objectives of the CVAE."""

import math

from torch import nn


def kl_to_standard_normal(mean, log_var):
    r"""Return KL(N(mean, exp(log_var)) || N(0, I)) of each row, in nats.

    :math:`\tfrac12 \sum_j (\sigma_j^2 + \mu_j^2 - 1 - \log \sigma_j^2)`; shape (n,).
    """
    return 0.5 * (log_var.exp() + mean**2 - 1 - log_var).sum(dim=1)


class NegativeELBO(nn.Module):
    r"""Negative evidence lower bound with a Gaussian likelihood of learned noise.

    .. math::
        -\log N(x; \hat x, \operatorname{diag}(\sigma^2)) +
        \beta \, \mathrm{KL}(q(z \mid x, y) \,\|\, N(0, I)),

    averaged over the rows, in nats. With a learned :math:`\sigma`, the weight
    :math:`\beta = 1` is the natural scale (Kingma and Welling, arXiv 1312.6114; Rybkin
    et al., arXiv 2006.13202).
    """

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = beta

    def terms(self, outputs, x):
        """Return reconstruction and KL term of each row, shape (n,) each."""
        x_hat, mean, log_var, log_noise = outputs
        error = (x - x_hat) * (-log_noise).exp()
        log_likelihood = -0.5 * error**2 - log_noise - 0.5 * math.log(2 * math.pi)
        return -log_likelihood.sum(dim=1), kl_to_standard_normal(mean, log_var)

    def forward(self, outputs, x):
        """Return the mean loss of a batch."""
        reconstruction, kl = self.terms(outputs, x)
        return (reconstruction + self.beta * kl).mean()


class ReferenceLoss(NegativeELBO):
    r"""Loss of the reference programs: squared error plus a mis-scaled KL term.

    .. math::
        \|x - \hat x\|^2 +
        \beta \sum_j (\sigma_j^2 + \mu_j^2 - \log \sigma_j - \tfrac12)

    The second term is :math:`\mathrm{KL}(q \,\|\, N(0, \tfrac12 I)) + \tfrac12 \log 2`
    per dimension: the encoder is drawn to the variance one half, while sampling takes
    latents of variance one.
    """

    def terms(self, outputs, x):
        """Return reconstruction and KL term of each row, shape (n,) each."""
        x_hat, mean, log_var, _ = outputs
        kl = (log_var.exp() + mean**2 - 0.5 * log_var - 0.5).sum(dim=1)
        return ((x - x_hat) ** 2).sum(dim=1), kl


OBJECTIVES = {"elbo": NegativeELBO, "reference": ReferenceLoss}
