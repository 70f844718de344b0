"""The skorch net that trains a CVAE."""

import torch

from .._training import TrainingNet, gradient_clipping
from ._modules import BACKBONES
from ._net_generator import (
    assemble_net,
    count_batches,
    one_cycle,
    record_terms,
    resolve_max_epochs,
)
from ._objectives import OBJECTIVES

# Training beyond this many steps did not raise accuracy on the data of the benchmark.
_AUTO_STEPS = 600
_TERMS = ("reconstruction", "kl")


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
