"""Sparse codes, and how students learn them from a teacher, then learn the task."""

import copy
import math
from bisect import bisect_right
from functools import partial
from itertools import accumulate, chain, count, islice

import numpy as np
import torch
from skorch.callbacks import LRScheduler
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import LambdaLR

from ..._training import (
    TensorLoader,
    TrainingNet,
    gradient_clipping,
    make_net,
)

# What the sampler's own parameters set.
RESERVED = {"max_epochs", "device", "verbose"}
_TERMS = {
    "imitation": ("imitation",),
    "interaction": ("reconstruction", "classification"),
}
# Positions per step: a step costs as much for a few maps as for this many vectors.
_BATCH_POSITIONS = 4096
_BATCH_SIZES = (16, 256)


class SimplicialAutoencoder(nn.Module):
    """Encoder to simplicial codes, decoder, and a linear classifier of the codes.

    Each position of a map is encoded and decoded by itself, and the classifier sees
    the average over the positions. Samples without positions are maps of one position.

    **Shape**

    - Input: ``(n, n_positions, n_features)``; class codes ``(n,)`` are not used
    - Output: ``(n, n_positions, n_groups, group_size)``, before the softmax
    """

    def __init__(
        self,
        n_features,
        n_classes,
        n_groups,
        group_size,
        temperature=1.0,
        hidden_dim=256,
    ):
        super().__init__()
        n_codes = n_groups * group_size
        self.encoder = nn.Sequential(
            nn.Linear(n_features, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, n_codes),
            nn.Unflatten(-1, (n_groups, group_size)),
        )
        self.temperature = temperature
        self.decoder = nn.Sequential(
            nn.Linear(n_codes, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, n_features),
        )
        self.head = nn.Linear(n_codes, n_classes)

    def forward(self, x, y=None):
        """Return the groups before the softmax."""
        return self.encoder(x)

    def encode(self, x):
        """Return the codes, ``(n, n_positions, n_groups, group_size)``."""
        return self.to_simplices(self(x))

    def to_simplices(self, groups):
        r"""Return groups of numbers as codes, each on a simplex.

        .. math:: s_{lv} = \frac{\exp(h_{lv} / \tau)}{\sum_w \exp(h_{lw} / \tau)}

        The smaller the temperature, the closer each group is to a choice of one of its
        entries (Lavoie et al., "Simplicial Embeddings in Self-Supervised Learning and
        Downstream Classification", ICLR 2023).
        """
        return (groups / self.temperature).softmax(dim=-1)

    def decode(self, codes):
        """Return samples, ``(n, n_positions, n_features)``."""
        return self.decoder(codes.flatten(2))

    def classify(self, codes):
        """Return logits, ``(n, n_classes)``."""
        return self.head(codes.mean(dim=1).flatten(1))

    def reset(self):
        """Draw all weights anew."""
        for module in self.modules():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()


class StepLoader(TensorLoader):
    """Pass over the rows again and again, until `n_steps` batches are made."""

    n_steps = 1

    def __len__(self):
        return self.n_steps

    def __iter__(self):
        passes = (TensorLoader.__iter__(self) for _ in count())
        return islice(chain.from_iterable(passes), self.n_steps)


class TaskLoss(nn.Module):
    r"""The task of the agents: to reconstruct samples, and to tell their class.

    The classifier is trained with :math:`\log \pi`, `log_prior`, added to its logits,
    so that they are those of equally frequent classes (Ren et al., "Balanced
    Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020).
    `classification_weight` is the weight of the cross-entropy, in nats, against the
    mean squared error.
    """

    def __init__(self, log_prior, classification_weight=0.02):
        super().__init__()
        self.register_buffer("log_prior", log_prior, persistent=False)
        self.classification_weight = classification_weight

    def forward(self, x_hat, logits, x, y):
        """Return the loss, the squared error and the cross-entropy."""
        error = mse_loss(x_hat, x)
        entropy = cross_entropy(logits + self.log_prior, y)
        return error + self.classification_weight * entropy, error, entropy


class IteratedNet(TrainingNet):
    """skorch net whose epochs are the phases of iterated learning.

    The first epoch trains an agent on the task. Then, for each generation, the agent
    becomes the teacher, and a student with new weights learns in two epochs: first to
    tell codes that are drawn from the teacher's (imitation), then the task
    (interaction). With few steps of imitation, the student learns the codes that are
    easy to learn (Ren et al., "Improving Compositional Generalization using Iterated
    Learning and Simplicial Embeddings", NeurIPS 2023).
    """

    def __init__(self, *args, imitation_steps=100, interaction_steps=300, **kwargs):
        super().__init__(*args, **kwargs)
        self.imitation_steps = imitation_steps
        self.interaction_steps = interaction_steps

    def on_epoch_begin(self, *args, **kwargs):
        """Start a phase; a new generation has a teacher, and a student from scratch."""
        super().on_epoch_begin(*args, **kwargs)
        self.generation_, imitates = divmod(len(self.history), 2)
        self.phase_ = "interaction" if imitates else "imitation"
        self.optimizer_.state.clear()
        if self.phase_ == "imitation":
            teacher = copy.deepcopy(self.module_).eval().requires_grad_(False)
            # skorch would take the module itself for one to train.
            self.teach_ = teacher.encode
            self.module_.reset()
        self.history.record("generation", self.generation_)
        self.history.record("phase", self.phase_)

    def on_train_end(self, *args, **kwargs):
        """Drop the teacher."""
        super().on_train_end(*args, **kwargs)
        self.teach_ = None

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run the steps of the phase, and average what its batches recorded."""
        if iterator is None:
            return
        if training:
            iterator.n_steps = getattr(self, f"{self.phase_}_steps")
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        for term in _TERMS[self.phase_]:
            values = self.history[-1, "batches", :, f"{prefix}_{term}"]
            self.history.record(f"{prefix}_{term}", float(np.mean(values)))

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of the phase."""
        if self.phase_ == "imitation":
            loss = self._imitation_loss(y_pred, X["x"])
            terms = (loss,)
        else:
            codes = self.module_.to_simplices(y_pred)
            loss, *terms = self.criterion_(
                self.module_.decode(codes), self.module_.classify(codes), X["x"], X["y"]
            )
        prefix = "train" if training else "valid"
        for name, term in zip(_TERMS[self.phase_], terms, strict=True):
            value = term.detach()
            # Tensors that stay would keep the memory between them from being reused.
            value = value.item() if value.device.type == "cpu" else value
            self.history.record_batch(f"{prefix}_{name}", value)
        return loss

    def _imitation_loss(self, groups, x):
        """Return the cross-entropy of codes drawn from the teacher's simplices."""
        with torch.no_grad():
            shares = self.teach_(x)
            # The first of exponential clocks that run at these rates.
            drawn = (shares / torch.empty_like(shares).exponential_()).argmax(dim=-1)
        groups = groups / self.module_.temperature
        return cross_entropy(groups.flatten(0, -2), drawn.flatten())


def phase_decay(ends, step):
    """Return the factor of the learning rate: half a cosine in each phase."""
    phase = min(bisect_right(ends, step), len(ends) - 1)
    start = ends[phase - 1] if phase else 0
    progress = min((step - start) / (ends[phase] - start), 1)
    return (1 + math.cos(math.pi * progress)) / 2


def build_net(sampler, n_positions, n_features, class_count, device):
    """Return the untrained net of a sampler; its `net_params` win over what is set.

    `class_count`, of shape (n_classes,), are the samples of each class.
    """
    phases = [sampler.interaction_steps]
    phases += sampler.n_generations * [
        sampler.imitation_steps,
        sampler.interaction_steps,
    ]
    schedule = LRScheduler(
        LambdaLR,
        step_every="batch",
        lr_lambda=partial(phase_decay, list(accumulate(phases))),
    )
    callbacks = [("lr_schedule", schedule), gradient_clipping()]
    prior = torch.from_numpy(class_count / class_count.sum())
    params = {
        "module": SimplicialAutoencoder,
        "module__n_features": n_features,
        "module__n_classes": len(class_count),
        "module__n_groups": sampler.n_groups,
        "module__group_size": sampler.group_size,
        "module__temperature": sampler.temperature,
        "criterion": TaskLoss,
        "criterion__log_prior": prior.float().log(),
        "optimizer": torch.optim.Adam,
        "imitation_steps": sampler.imitation_steps,
        "interaction_steps": sampler.interaction_steps,
        "iterator_train": StepLoader,
        "iterator_train__shuffle": True,
        "max_epochs": len(phases),
        "batch_size": int(np.clip(_BATCH_POSITIONS // n_positions, *_BATCH_SIZES)),
        "lr": 3e-3,
        "device": str(device),
    }
    if "optimizer" not in (sampler.net_params or {}):
        params["optimizer__fused"] = True
    return make_net(IteratedNet, sampler, params, callbacks)
