"""The skorch net that trains a head on rebalanced batches."""

import copy
import inspect
import math
from functools import partial

import torch
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from .._training import TrainingNet, make_net
from ._batches import PlainLoader, RebalancedLoader
from ._heads import HEADS, Cosines
from ._losses import (
    BalancedSoftmaxLoss,
    ClassBalancedLoss,
    EqualizationLoss,
    FocalLoss,
    LDAMLoss,
    LogitAdjustedLoss,
)

# Training beyond this many steps did not raise accuracy on the data of the benchmark.
_AUTO_STEPS = 2000
_MIN_AUTO_EPOCHS = 10

LOSSES = {
    "balanced_softmax": BalancedSoftmaxLoss,
    "class_balanced": ClassBalancedLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "equalization": EqualizationLoss,
    "focal": FocalLoss,
    "ldam": LDAMLoss,
    "logit_adjusted": LogitAdjustedLoss,
}

# What the classifier's own parameters set.
RESERVED = {"max_epochs", "batch_size", "lr", "device", "verbose", "criterion"}


def build_loss(loss, loss_params, priors, epoch):
    """Return the loss of an epoch, from 0 on, as a module that keeps samples apart.

    The loss is a name, for which `loss_params` are further arguments, or a module with
    the attribute `reduction`. `priors`, a `BatchPriors`, tells which prior is to be
    corrected.
    """
    if isinstance(loss, nn.Module):
        module = copy.deepcopy(loss)
    else:
        parameters = set(inspect.signature(LOSSES[loss]).parameters)
        takes_counts = parameters & {"class_count", "class_prior"}
        counts = [priors.class_count] if takes_counts else []
        module = LOSSES[loss](*counts, **(loss_params or {}))
    module.reduction = "none"
    if hasattr(module, "set_class_count"):
        module.set_class_count(priors.corrected_count(epoch))
    if hasattr(module, "set_progress"):
        module.set_progress(epoch / priors.n_epochs)
    n_classes = len(priors.class_count)
    if getattr(module, "n_classes", None) not in (None, n_classes):
        raise ValueError(
            f"The loss {type(module).__name__} counts {module.n_classes} classes, and "
            f"y has {n_classes}. Pass the loss by name: it then counts them itself."
        )
    return module


class HeadNet(TrainingNet):
    """skorch net for mixed labels, whose loss may change from epoch to epoch.

    `loss_at` takes the epoch, from 0 on, and returns the loss to train with. Validation
    has the loss of the last epoch, so that its values can be compared. A head with
    another number of outputs than `n_classes` is refused.
    """

    def __init__(self, *args, loss_at=None, n_classes=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_at = loss_at
        self.n_classes = n_classes

    def on_train_begin(self, *args, **kwargs):
        """Prepare the loss of validation."""
        super().on_train_begin(*args, **kwargs)
        # skorch takes modules in attributes for parts of the net.
        last = self.loss_at(self.max_epochs - 1).to(self.device)
        vars(self)["last_loss"] = last

    def on_epoch_begin(self, net, *args, **kwargs):
        """Exchange the loss, which may follow the prior of the epoch's batches."""
        super().on_epoch_begin(net, *args, **kwargs)
        self.iterator_train__priors.valid_losses = [
            row["valid_loss"] for row in self.history[:-1] if "valid_loss" in row
        ]
        self.criterion_ = self.loss_at(len(self.history) - 1).to(self.device)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the weighted mean over the samples, and over both labels of each."""
        labels = y_true
        loss = self.criterion_ if training else self.last_loss
        _check_shape("head", y_pred, (len(labels), self.n_classes))
        losses = loss(y_pred, labels.y)
        _check_shape("loss", losses, (len(labels),))
        share = 1.0 if labels.share is None else labels.share
        weight = share if labels.weight is None else share * labels.weight
        total, mass = (losses * weight).sum(), _sum(weight, len(losses))
        if labels.share is not None:
            losses = loss(y_pred, labels.partner_y)
            weight = 1 - share
            if labels.partner_weight is not None:
                weight = weight * labels.partner_weight
            total = total + (losses * weight).sum()
            mass = mass + _sum(weight, len(losses))
        return total / mass

    def kept_epoch(self):
        """Return the epoch, from 0 on, that a callback went back to, or the last."""
        for _, callback in self.callbacks_:
            if not getattr(callback, "load_best", False):
                continue
            # That of EarlyStopping, or the epochs that Checkpoint saved.
            best = getattr(callback, "best_epoch_", 0)
            event = getattr(callback, "event_name", None)
            saved = [row["epoch"] for row in self.history if row.get(event)]
            if best or saved:
                return (best or saved[-1]) - 1
        return self.n_finished_epochs_ - 1

    def release_training_state(self):
        """Keep what predictions need."""
        super().release_training_state()
        self.loss_at = self.last_loss = None
        # The source of generated samples has no place in a pickle.
        self.iterator_train__priors = self.iterator_train__stream = None


def _check_shape(name, output, expected):
    """Refuse what a head or a loss returns, which might go on by broadcasting."""
    if output.shape != expected:
        raise ValueError(
            f"{name} must return an array of the shape {expected} for {expected[0]} "
            f"samples, got {tuple(output.shape)}. A head has a logit for each class, "
            "and a loss, with the reduction 'none', a number for each sample."
        )


def _sum(weight, n_samples):
    """Return the sum of the weights of a batch, also of a single number."""
    return weight.sum() if torch.is_tensor(weight) else weight * n_samples


def build_net(classifier, n_samples, priors, stream):
    """Return the untrained net of a classifier; its `net_params` win.

    `priors`, a `BatchPriors`, tells how batches are made, and what the loss corrects.
    `stream` is the source of generated samples, or None.
    """
    n_batches = _count_batches(n_samples, classifier.batch_size)
    loss_at = partial(build_loss, classifier.loss, classifier.loss_params, priors)
    params = {
        **_head_params(classifier, len(priors.class_count), loss_at(0)),
        "criterion": loss_at(0),
        "loss_at": loss_at,
        "n_classes": len(priors.class_count),
        "optimizer": torch.optim.AdamW,
        "iterator_train": RebalancedLoader,
        "iterator_train__priors": priors,
        "iterator_train__stream": stream,
        "iterator_valid": PlainLoader,
        "max_epochs": priors.n_epochs,
        "batch_size": classifier.batch_size,
        "lr": classifier.lr,
        "device": str(classifier.device_),
    }
    if "optimizer" not in (classifier.net_params or {}):
        params.update(
            optimizer__fused=True,
            optimizer__weight_decay=classifier.weight_decay,
            # Biases hold class frequencies: decay would pull classes together.
            optimizer__param_groups=[("*bias", {"weight_decay": 0.0})],
        )
    n_steps = n_batches * priors.n_epochs
    schedule = LRScheduler(CosineAnnealingLR, step_every="batch", T_max=n_steps)
    callbacks = [("lr_schedule", schedule)]
    convert = classifier._convert_validation
    return make_net(HeadNet, classifier, params, callbacks, convert)


def count_epochs(classifier, n_samples):
    """Return the number of passes; "auto" depends on the number of samples."""
    if classifier.max_epochs != "auto":
        return classifier.max_epochs
    n_batches = _count_batches(n_samples, classifier.batch_size)
    return max(math.ceil(_AUTO_STEPS / n_batches), _MIN_AUTO_EPOCHS)


def _count_batches(n_samples, batch_size):
    """Return the batches of a pass: a last batch of one sample joins the one before."""
    return math.ceil((n_samples - 1) / batch_size)


def _head_params(classifier, n_classes, loss):
    """Return the module and its arguments, as skorch takes them."""
    head, takes_cosines = classifier.head, getattr(loss, "takes_cosines", False)
    if head == "auto":
        head = "cosine" if takes_cosines else "linear"
    sizes = (classifier.n_features_in_, n_classes)
    if head == "linear":
        names = ("module__in_features", "module__out_features")
    else:
        names = ("module__n_features", "module__n_classes")
    # A loss that takes cosines has a scale of its own.
    bare = head == "cosine" and takes_cosines
    module = Cosines if bare else HEADS.get(head, head)
    return {"module": module, **dict(zip(names, sizes, strict=True))}
