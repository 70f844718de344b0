"""What generators that skorch trains share: device, seed, net and interruption."""

import copy
import math
from abc import abstractmethod
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import LRScheduler, PassthroughScoring
from torch.optim.lr_scheduler import OneCycleLR

from .._block_loader import BlockLoader
from .._class_means import fit_class_means, leave_one_out_residuals
from .._devices import (
    drawing_device,
    fork_torch_rng,
    place_samples,
    resolve_device,
)
from .._scaling import scale_rows
from .._training import (
    LabelledTensors,
    TensorLoader,
    check_callbacks,
    check_net_params,
    given_validation,
    make_net,
)
from .._validation import (
    VARIANCE_CONSTRAINT,
    check_samples,
    check_validation,
    encode_labels,
)
from ._base import BaseGenerator
from ._block_net import fit_net_to_blocks
from ._decoder import require_labels

_AUTO_EPOCHS = (10, 300)
# What a generator's own parameters set: a second value would contradict the schedule.
_RESERVED = {"max_epochs", "batch_size", "lr", "device", "verbose"}


class NetGenerator(BaseGenerator):
    """Base class of the generators whose networks skorch trains.

    A subclass has the parameters of the table below and implements `_build_net`,
    `_learn_sampling` and `_make_sampler`.
    """

    #: Whether `fit` reads large samples in blocks.
    _reads_blocks = False
    #: What needs less memory of the GPU.
    _memory_advice = "a smaller batch_size"
    #: Whether a step of training calls the module as a whole.
    _plain_forward = True
    #: Whether the loss falls as samples get better.
    _loss_tells_quality = True
    #: What the progress bar says.
    _progress_title = "training"

    _parameter_constraints: dict = {
        "variance": VARIANCE_CONSTRAINT,
        "max_epochs": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "net_params": [dict, None],
    }

    def _fit(self, Z, codes, seed):
        # Callbacks and validation samples, too, before anything is trained.
        self._check_net_params()
        self._choose_settings(Z, codes, seed)
        self._fit_net(Z, codes, seed)

    def _choose_settings(self, Z, codes, seed):
        """Choose by the samples what "auto" leaves open."""

    def _fit_net(self, Z, codes, seed):
        """Train the networks on samples in memory."""
        device = resolve_device(self.device)
        x = torch.from_numpy(self._to_net(self._centre(Z, codes)))
        data = _place(x, codes, device)
        self._train(data, data, device, seed)

    def _learn_blocks(self, blocks):
        if not self._reads_blocks:
            super()._learn_blocks(blocks)
        self.classes_, self.class_count_ = np.unique(blocks.y, return_counts=True)
        self._check_net_params()
        fit_net_to_blocks(self, blocks)

    def _check_net_params(self):
        owner = f"the {type(self).__name__}"
        check_net_params(
            self.net_params, _RESERVED, owner, plain_forward=self._plain_forward
        )
        check_callbacks(self, len(self.class_count_))
        valid = given_validation(self.net_params)
        if valid is not None:
            self._read_validation(*valid)

    def _train(self, data, sample, device, seed):
        """Train the networks, and learn how to sample.

        `sample` are the data themselves, or a part of `BlockedSamples` in memory.
        """
        net = self._build_net(len(data), device)
        if data is not sample:
            net.set_params(iterator_train=BlockLoader)
        try:
            with fork_torch_rng(seed, device):
                net.fit(data, data.y)
                if not net.n_finished_epochs_:
                    raise KeyboardInterrupt
                self._learn_sampling(net, sample)
                if data is not sample:
                    self._learn_from_blocks(net, data)
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"The GPU is out of memory. Use {self._memory_advice}, or device='cpu'."
            ) from error
        self.device_ = device
        self.history_ = copy.deepcopy(net.history)
        net.release_training_state()
        self.net_ = net
        if net.interrupted_:
            raise KeyboardInterrupt

    def _centre(self, Z, codes):
        """Set `class_means_` and return what the networks are to model."""
        means = fit_class_means(Z, codes, len(self.class_count_))
        self.mean_shrinkage_ = means.k0
        self.class_means_ = means.shrunk
        return leave_one_out_residuals(Z, codes, means.raw, means.k0, dtype=np.float32)

    def _to_net(self, residuals):
        """Return what the networks are trained on."""
        return residuals

    def _new_to_net(self, residuals):
        """Return the same of samples that the networks are not trained on."""
        return residuals

    def _read_validation(self, X, y):
        """Return checked samples of the user, and the codes of their labels."""
        return check_validation(self, X, y)

    def _convert_validation(self, X, y, device):
        """Return samples and labels of the user as the networks read them."""
        X, codes = self._read_validation(X, y)
        Z = scale_rows(X, self.offset_, self.scale_)
        x = torch.from_numpy(
            self._new_to_net(self._residuals(Z, codes).astype(np.float32))
        )
        return _place(x, codes, device)

    def _to_tensors(self, X, y):
        """Return of samples of the user what the networks model, and class codes."""
        require_labels(y)
        check_is_fitted(self)
        X, y = check_samples(self, X, y, reset=False)
        codes = encode_labels(y, self.classes_)
        Z = self._residuals(scale_rows(X, self.offset_, self.scale_), codes)
        return torch.from_numpy(Z.astype(np.float32)), torch.from_numpy(codes)

    def _residuals(self, Z, codes):
        """Return of new scaled samples what the networks model."""
        return Z - self.class_means_[codes]

    @abstractmethod
    def _build_net(self, n_samples, device):
        """Return the untrained `TrainingNet`."""

    @abstractmethod
    def _learn_sampling(self, net, data):
        """Set what sampling needs beside the weights of the trained net."""

    def _learn_from_blocks(self, net, data):
        """Learn from all samples what sampling should not learn from a part."""

    def _sampling_device(self):
        return drawing_device(self.device_, self._output_dtype)


def _place(x, codes, device):
    """Return samples and class codes as a training on the device reads them."""
    codes = torch.from_numpy(codes).to(device)
    return LabelledTensors(place_samples(x, device), codes)


def count_batches(generator, n_samples):
    """Return the number of steps of an epoch."""
    return math.ceil(n_samples / generator.batch_size)


def resolve_max_epochs(generator, n_samples, auto_steps):
    """Return the number of epochs; "auto" takes as many as make `auto_steps` steps."""
    if generator.max_epochs != "auto":
        return generator.max_epochs
    n_epochs = math.ceil(auto_steps / count_batches(generator, n_samples))
    return int(np.clip(n_epochs, *_AUTO_EPOCHS))


def record_terms(*names):
    """Return callbacks that average what batches record, for the history."""
    return [
        (name, PassthroughScoring(name, on_train=name.startswith("train")))
        for name in names
    ]


def one_cycle(generator, n_steps):
    """Return the callback "lr_schedule": one cycle whose peak is `lr`."""
    schedule = LRScheduler(
        OneCycleLR,
        step_every="batch",
        max_lr=generator.lr,
        total_steps=n_steps,
        # Not every optimizer that a user may choose has a momentum to cycle.
        cycle_momentum="optimizer" not in (generator.net_params or {}),
    )
    return "lr_schedule", schedule


def assemble_net(kind, generator, params, callbacks, max_epochs, device):
    """Return an untrained `kind`; the `net_params` of a generator win over all else.

    `params` are module, criterion and optimizer. `callbacks`, as skorch takes them,
    come before those of the user.
    """
    common = {
        "iterator_train": TensorLoader,
        "iterator_train__shuffle": True,
        "max_epochs": max_epochs,
        "batch_size": generator.batch_size,
        "lr": generator.lr,
        "device": str(device),
    }
    return make_net(
        kind,
        generator,
        {**common, **params},
        callbacks,
        partial(generator._convert_validation, device=device),
        generator._progress_title,
    )
