"""The skorch net that trains a CVAE."""

import copy
import math

import numpy as np
import torch
from skorch.callbacks import LRScheduler, PassthroughScoring
from torch.optim.lr_scheduler import OneCycleLR

from .._training import EpochProgress, TensorLoader, TrainingNet
from ._modules import BACKBONES, ConditionalVAE
from ._objectives import OBJECTIVES

# Training beyond this many steps did not raise accuracy on the data of the benchmark.
_AUTO_STEPS = 600
_AUTO_EPOCHS = (10, 300)


# What the CVAE's own parameters set: a second value would contradict the schedule.
RESERVED = {"max_epochs", "batch_size", "lr", "device", "verbose"}


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
    n_batches = math.ceil(n_samples / cvae.batch_size)
    max_epochs = cvae.max_epochs
    if max_epochs == "auto":
        max_epochs = int(np.clip(math.ceil(_AUTO_STEPS / n_batches), *_AUTO_EPOCHS))
    named = isinstance(cvae.architecture, str)
    params = {
        "module": ConditionalVAE,
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
        "iterator_train": TensorLoader,
        "iterator_train__shuffle": True,
        "iterator_valid": TensorLoader,
        "train_split": None,
        "max_epochs": max_epochs,
        "batch_size": cvae.batch_size,
        "lr": cvae.lr,
        "device": str(device),
        "verbose": int(cvae.verbose > 1),
    }
    # skorch uses and clears what it is given: the user's own objects stay fresh.
    extra = copy.deepcopy(cvae.net_params or {})
    if "optimizer" not in extra:
        params.update(optimizer__fused=True, optimizer__weight_decay=0.01)
    callbacks = _callbacks(cvae, n_batches * max_epochs)
    callbacks += extra.pop("callbacks", None) or []
    return CVAENet(**{**params, **extra, "callbacks": callbacks})


def _callbacks(cvae, n_steps):
    callbacks = [
        (f"{name}_{term}", PassthroughScoring(f"{name}_{term}", on_train=on_train))
        for name, on_train in (("train", True), ("valid", False))
        for term in ("reconstruction", "kl")
    ]
    if cvae.objective == "elbo":
        schedule = LRScheduler(
            OneCycleLR,
            step_every="batch",
            max_lr=cvae.lr,
            total_steps=n_steps,
            # Not every optimizer that a user may choose has a momentum to cycle.
            cycle_momentum="optimizer" not in (cvae.net_params or {}),
        )
        callbacks.append(("lr_schedule", schedule))
    if cvae.verbose:
        callbacks.append(("progress", EpochProgress()))
    return callbacks
