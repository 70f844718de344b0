"""The training of the linear head of the utility probe."""

import itertools

import torch
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import IterableDataset

from .._training import TensorLoader, TrainingNet, fork_torch_rng


class BatchStream(IterableDataset):
    """An epoch is the next `n_steps` batches of an endless iterator.

    Parameters
    ----------
    batches : iterator
        Yields rows of shape (batch_size, n_features) and class codes of shape
        (batch_size,), on the training device.

    n_steps : int
        Batches of an epoch.
    """

    def __init__(self, batches, n_steps):
        self.batches = batches
        self.n_steps = n_steps

    def __iter__(self):
        return itertools.islice(self.batches, self.n_steps)


class RowLoader(TensorLoader):
    """Batches of the rows as they are, for validation."""

    def __iter__(self):
        for rows, x in super().__iter__():
            yield x, rows["y"]


class ProbeNet(TrainingNet):
    """Training net that passes Ctrl-C on, which skorch takes for early stopping."""

    def on_train_end(self, *args, **kwargs):
        """Raise where neither the epochs nor the patience ran out."""
        super().on_train_end(*args, **kwargs)
        stopping = dict(self.callbacks_)["early_stopping"]
        is_stopped = stopping.misses_ >= stopping.patience
        if len(self.history) < self.max_epochs and not is_stopped:
            raise KeyboardInterrupt


def cycle_rows(rows, batch_size, seed):
    """Yield batches of exactly `batch_size` rows for ever, in shuffled passes."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < batch_size:
            shuffled = torch.randperm(len(rows), generator=generator)
            order = torch.cat([order, shuffled])
        chosen, order = order[:batch_size].to(rows.x.device), order[batch_size:]
        yield rows.x.index_select(0, chosen), rows.y.index_select(0, chosen)


def train_head(stream, valid, n_classes, seed, *, patience, weight_decay, **net_params):
    """Train a linear softmax head, and return the net with its best weights.

    Parameters
    ----------
    stream : BatchStream
        What to train on.

    valid : LabelledTensors
        Rows whose loss stops the training and chooses the weights.

    n_classes : int
        Number of logits.

    seed : int
        Seed of the weights at the start.

    patience : int
        Epochs without a lower loss after which training stops.

    weight_decay : float
        That of AdamW.

    **net_params : dict
        `max_epochs`, `batch_size`, `lr` and `device` of :class:`skorch.NeuralNet`.

    Returns
    -------
    ProbeNet
        Its `module_` maps rows to logits.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.

    KeyboardInterrupt
        If the training was interrupted.
    """
    stopping = EarlyStopping(patience=patience, threshold=0, load_best=True)
    net = ProbeNet(
        nn.Linear,
        module__in_features=valid.x.shape[1],
        module__out_features=n_classes,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=weight_decay,
        optimizer__fused=True,
        iterator_train=_as_it_is,
        iterator_valid=RowLoader,
        train_split=predefined_split(valid),
        callbacks=[("early_stopping", stopping)],
        verbose=0,
        **net_params,
    )
    try:
        with fork_torch_rng(seed, valid.x.device):
            net.fit(stream, None)
    except FloatingPointError as error:
        raise FloatingPointError(
            "The loss of the probe is not finite any more. Use a smaller lr, or look "
            "for rows of extreme size in the source."
        ) from error
    return net


def _as_it_is(dataset, batch_size):
    """Return a data set that makes its batches itself."""
    return dataset
