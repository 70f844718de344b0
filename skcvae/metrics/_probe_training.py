"""The training of the probe: checks and scale of the samples, batches, and the net."""

from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import IterableDataset

from .._devices import fork_torch_rng
from .._training import LabelledTensors, TensorLoader, TrainingNet

# In units of the scale. Logits of such samples would leave the range of float32.
_MAX_SIZE = 1e30


class BatchStream(IterableDataset):
    """An epoch is the next `n_steps` batches (x, codes) of an endless iterator."""

    def __init__(self, batches, n_steps):
        self.batches = batches
        self.n_steps = n_steps

    def __iter__(self):
        return islice(self.batches, self.n_steps)


class ValidationLoader(TensorLoader):
    """Batches (x, codes) of the validation samples, in their order."""

    def __iter__(self):
        for batch, x in super().__iter__():
            yield x, batch["y"]


class ProbeNet(TrainingNet):
    """Training net that passes Ctrl-C on, which skorch takes for early stopping."""

    def on_train_end(self, *args, **kwargs):
        """Raise where neither the epochs nor the patience ran out."""
        super().on_train_end(*args, **kwargs)
        stopping = dict(self.callbacks_)["early_stopping"]
        is_stopped = stopping.misses_ >= stopping.patience
        if len(self.history) < self.max_epochs and not is_stopped:
            raise KeyboardInterrupt


def cycle_batches(samples, batch_size, seed):
    """Yield batches of exactly `batch_size` samples for ever, in shuffled passes."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < batch_size:
            shuffled = torch.randperm(len(samples), generator=generator)
            order = torch.cat([order, shuffled])
        chosen, order = order[:batch_size].to(samples.x.device), order[batch_size:]
        yield samples.x.index_select(0, chosen), samples.y.index_select(0, chosen)


@dataclass(frozen=True)
class ProbeScale:
    """Means of the validation samples, one scale, and the device to put samples on."""

    offset: np.ndarray
    scale: float
    device: torch.device

    @classmethod
    def of(cls, X_val, device):
        """Return the scale of validation samples."""
        with np.errstate(over="ignore", invalid="ignore"):
            variance = X_val.var(axis=0, dtype=np.float64)
        scale = float(np.sqrt(variance.mean()))
        if not np.isfinite(scale) or scale == 0:
            raise ValueError(
                f"X_val has a standard deviation of {scale:g}, so that there is no "
                "scale. Pass samples that differ and are not of extreme size."
            )
        return cls(X_val.mean(axis=0, dtype=np.float64), scale, device)

    def apply(self, X, name):
        """Return scaled samples as a float32 tensor on the device."""
        with np.errstate(over="ignore"):
            Z = (X - self.offset.astype(X.dtype)) / X.dtype.type(self.scale)
        if not np.abs(Z).max() < _MAX_SIZE:
            raise ValueError(
                f"{name} holds a value that is too large beside the standard "
                f"deviation {self.scale:g} of X_val."
            )
        return torch.from_numpy(Z.astype(np.float32, copy=False)).to(self.device)

    def encode(self, y, classes):
        """Return class codes as an int64 tensor on the device."""
        codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        if unknown := sorted(set(y[classes[codes] != y].tolist())):
            raise ValueError(
                f"The stream yields the labels {unknown[:5]} that its first epoch "
                "lacks. Give it an attribute classes_ with all its labels."
            )
        return torch.from_numpy(codes).to(self.device)


@dataclass(frozen=True)
class ProbeData:
    """Samples of a probe; `classes` are those of training and validation, sorted."""

    stream: BatchStream
    valid: LabelledTensors
    x_test: torch.Tensor
    y_test: np.ndarray
    classes: np.ndarray


def prepare_data(source, val, test, device, *, batch_size, n_steps, seed):
    """Check all parts, and return them scaled and encoded, as `ProbeData`."""
    X_val, y_val = _check_part(*val, "X_val", "y_val")
    X_test, y_test = _check_part(*test, "X_test", "y_test")
    _check_width(X_test, "X_test", X_val)
    if len(np.unique(y_test)) < 2:
        raise ValueError("y_test holds one class. Scores need at least two.")
    scale = ProbeScale.of(X_val, device)
    x_val, x_test = scale.apply(X_val, "X_val"), scale.apply(X_test, "X_test")
    if hasattr(source, "batches"):
        raw = source.batches(batch_size, random_state=seed)
        named = getattr(source, "classes_", None)
        checked = _check_batches(raw, batch_size, X_val)
        classes, batches = _scale_stream(checked, named, n_steps, scale, y_val, y_test)
    elif len(source) != 2:
        raise ValueError(
            "source must be a pair (X, y) or have a method batches, got a tuple of "
            f"{len(source)}."
        )
    else:
        X, y = _check_part(*source, "X of the source", "y of the source")
        _check_width(X, "X of the source", X_val)
        classes = _find_classes(y, y_val, y_test)
        x, codes = scale.apply(X, "X of the source"), scale.encode(y, classes)
        batches = cycle_batches(LabelledTensors(x, codes), batch_size, seed)
    return ProbeData(
        BatchStream(batches, n_steps),
        LabelledTensors(x_val, scale.encode(y_val, classes)),
        x_test,
        y_test,
        classes,
    )


def _scale_stream(checked, named, n_steps, scale, y_val, y_test):
    """Return the classes, and an iterator of scaled samples and their codes."""
    # The first epoch is checked before any training, and its labels are known.
    first = list(islice(checked, n_steps))
    labels = [y for _, y in first] + ([] if named is None else [np.asarray(named)])
    classes = _find_classes(np.concatenate(labels), y_val, y_test)
    batches = (
        (scale.apply(X, "A batch of the stream"), scale.encode(y, classes))
        for X, y in chain(first, checked)
    )
    return classes, batches


def _find_classes(y, y_val, y_test):
    """Return the sorted labels of training and validation."""
    check_classification_targets(y)
    kinds = {
        name: "strings" if labels.dtype.kind in "SU" else "numbers"
        for name, labels in (("the source", y), ("y_val", y_val), ("y_test", y_test))
    }
    if len(set(kinds.values())) > 1:
        raise ValueError(
            "Labels must be strings in all parts or numbers in all parts, got "
            + ", ".join(f"{kind} in {name}" for name, kind in kinds.items())
            + "."
        )
    classes = np.unique(np.concatenate([y, y_val]))
    if len(classes) < 2:
        raise ValueError(
            f"A head needs two classes. The source and y_val hold {classes.tolist()}."
        )
    return classes


def _check_batches(batches, batch_size, X_val):
    """Check and yield the batches of a stream; raise if it ends."""
    for batch in batches:
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise ValueError(
                "Each batch of the stream must be a pair (X, y), got "
                f"{type(batch).__name__}."
            )
        X, y = _check_part(*batch, "X of a batch", "y of a batch", are_targets=False)
        _check_width(X, "X of a batch", X_val)
        if len(X) != batch_size:
            raise ValueError(
                f"The stream was asked for batches of {batch_size} samples and yielded "
                f"{len(X)}."
            )
        yield X, y
    raise ValueError("The stream ended. Its method batches must yield for ever.")


def _check_part(X, y, X_name, y_name, are_targets=True):
    """Return samples as floats, and their labels as strings or numbers."""
    try:
        X = check_array(X, dtype=None, input_name=X_name)
        y = _check_labels(y)
        check_consistent_length(X, y)
        if are_targets:
            check_classification_targets(y)
    except ValueError as error:
        raise ValueError(f"{X_name}, {y_name}: {error}") from error
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{X_name} must hold numbers, got the type {X.dtype}.")
    is_half = X.dtype.kind == "f" and X.dtype.itemsize < 4
    dtype = np.float32 if is_half or X.dtype == np.float32 else np.float64
    return X.astype(dtype, copy=False), y


def _check_labels(y):
    """Return labels as a one-dimensional array of strings or of numbers."""
    y = column_or_1d(y)
    if y.dtype == object:
        labels = y.tolist()
        is_string = {isinstance(label, str) for label in labels}
        if len(is_string) > 1 or any(label is None for label in labels):
            raise ValueError("labels must be all strings or all numbers, none missing.")
        y = np.array(labels)
    return y


def _check_width(X, name, X_val):
    if X.shape[1] != X_val.shape[1]:
        raise ValueError(
            f"{name} has {X.shape[1]} features, and X_val has {X_val.shape[1]}."
        )


def train_head(stream, valid, n_classes, seed, *, patience, weight_decay, **net_params):
    """Train a linear softmax head, and return the net with its best weights.

    `seed` is that of the first weights. `net_params` are parameters of
    :class:`skorch.NeuralNet`. A loss that is not finite raises FloatingPointError, an
    interruption KeyboardInterrupt.
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
        iterator_valid=ValidationLoader,
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
            "The loss of the probe is not finite. Use a smaller lr, or look for "
            "samples of extreme size in the source."
        ) from error
    return net


def _as_it_is(dataset, batch_size):
    """Return a data set that makes its batches itself."""
    return dataset
