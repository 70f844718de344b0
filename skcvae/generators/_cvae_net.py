"""The training objectives of the CVAE, and the skorch net that trains it."""

import math

import torch
from torch import nn

from .._training import TrainingNet, gradient_clipping
from ._modules import BACKBONES
from ._net_generator import (
    assemble_net,
    count_batches,
    one_cycle,
    record_terms,
    resolve_max_epochs,
)

# Training beyond this many steps did not raise accuracy on the data of the benchmark.
_AUTO_STEPS = 600
_TERMS = ("reconstruction", "kl")


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


class CVAENet(TrainingNet):
    """skorch net that records reconstruction and KL beside the loss."""

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of a batch."""
        reconstruction, kl = (
            term.mean() for term in self.criterion_.terms(y_pred, y_true)
        )
        prefix = "train" if training else "valid"
        self.history.record_batch(f"{prefix}_reconstruction", reconstruction.detach())
        self.history.record_batch(f"{prefix}_kl", kl.detach())
        return reconstruction + self.criterion_.beta * kl


def build_net(cvae, n_samples, n_classes, device):
    """Return the untrained net of a CVAE; its `net_params` win over what is set here.

    Parameters
    ----------
    cvae : CVAE
        Its parameters and `n_features_in_` are read.

    n_samples, n_classes : int
        Number of training rows, and of classes.

    device : torch.device
        Where to train.

    Returns
    -------
    CVAENet
    """
    named = isinstance(cvae.architecture, str)
    params = {
        "module": cvae._module,
        "module__backbone": BACKBONES[cvae.architecture]
        if named
        else cvae.architecture,
        "module__n_features": cvae.n_features_in_,
        "module__n_classes": n_classes,
        "module__latent_dim": cvae.latent_dim,
        "module__bounded": cvae.objective == "reference",
        "criterion": OBJECTIVES[cvae.objective],
        "criterion__beta": cvae.beta,
        "optimizer": torch.optim.AdamW,
    }
    if "optimizer" not in (cvae.net_params or {}):
        params.update(optimizer__fused=True, optimizer__weight_decay=0.01)
    max_epochs = resolve_max_epochs(cvae, n_samples, _AUTO_STEPS)
    callbacks = _callbacks(cvae, count_batches(cvae, n_samples) * max_epochs)
    return assemble_net(CVAENet, cvae, params, callbacks, max_epochs, device)


def _callbacks(cvae, n_steps):
    terms = [f"{name}_{t}" for name in ("train", "valid") for t in _TERMS]
    callbacks = record_terms(*terms)
    if cvae.objective == "elbo":
        callbacks += [one_cycle(cvae, n_steps), gradient_clipping()]
    return callbacks
