"""The one place that knows skorch: batches and the training loop."""

import copy
import multiprocessing
import sys
import threading
from dataclasses import is_dataclass
from itertools import pairwise
from numbers import Number
from time import monotonic

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping
from skorch.dataset import Dataset as SkorchDataset
from skorch.history import History
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ._devices import fork_torch_rng, take_samples
from ._threads import limit_threads, training_threads

# Far above the norms of sound steps. Without it, one sample far out can move the
# weights of a Gaussian likelihood so far that no later step brings them back.
_MAX_GRADIENT_NORM = 100.0
_PRECISIONS = ("float32", "bf16")
# After so many seconds, a training without a bar says how to see one.
_PATIENCE = 10


class LabelledTensors(Dataset):
    """Samples (n, n_features), and class codes (n,), int64, on the training device.

    Samples for which the device is too small are on the host, see `place_samples`.
    """

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        x = self.x[index]
        return {"x": x, "y": self.y[index]}, x


class GivenValidation:
    """A `train_split` of skorch whose validation set may be one of raw samples.

    A split of the training set passes. Any other set, such as that of
    :func:`skorch.helper.predefined_split`, holds pairs of a sample and a label in the
    units of the user, and `convert` turns them into `LabelledTensors`.
    """

    def __init__(self, split, convert):
        self.split, self.convert = split, convert

    def __call__(self, dataset, y=None, **fit_params):
        """Return the training set and the validation set."""
        train, valid = self.split(dataset, y, **fit_params)
        raw = _read_validation(valid)
        return train, valid if raw is None else self.convert(*raw)


def given_validation(net_params):
    """Return samples and labels of a predefined validation set, or None without one."""
    split = (net_params or {}).get("train_split")
    return _read_validation(getattr(split, "keywords", {}).get("valid_ds"))


def _read_validation(valid):
    """Return samples and labels of a set of the user; None for others."""
    inner = valid
    while not isinstance(inner, LabelledTensors) and hasattr(inner, "dataset"):
        inner = inner.dataset
    if valid is None or isinstance(inner, LabelledTensors):
        return None
    # Its pairs would hide that labels are missing, and the columns of a frame.
    if isinstance(inner, SkorchDataset) and inner.y is None:
        raise ValueError("The validation set of net_params has no labels.")
    if type(valid) is SkorchDataset:
        return valid.X, valid.y
    pairs = [valid[index] for index in range(len(valid))]
    labels = [y.item() if hasattr(y, "item") else y for _, y in pairs]
    return [x for x, _ in pairs], np.array(labels)


class TensorLoader:
    """Iterate over batches by indexing tensors, without collating single samples.

    A last batch of a single sample joins the one before it, because batch normalisation
    cannot train on one sample. A `Subset` of `LabelledTensors` is gathered once, here.
    """

    def __init__(self, dataset, batch_size, shuffle=False):
        if not isinstance(dataset, LabelledTensors):
            gathered, _ = dataset[np.arange(len(dataset))]
            # A subset gets the class of the dataset that it is a subset of.
            while not isinstance(dataset, LabelledTensors):
                dataset = dataset.dataset
            dataset = type(dataset)(**gathered)
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle

    def _bounds(self):
        n_samples = len(self.dataset)
        bounds = [*range(0, n_samples, self.batch_size), n_samples]
        if len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
            del bounds[-2]
        return bounds

    def __len__(self):
        return len(self._bounds()) - 1

    def __iter__(self):
        x, y = self.dataset.x, self.dataset.y
        # The order is drawn on the training device, wherever the samples are.
        order = torch.arange(len(x), device=y.device)
        if self.shuffle:
            order = torch.randperm(len(x), device=y.device)
        places = order.to(x.device)
        for start, stop in pairwise(self._bounds()):
            batch = take_samples(x, places[start:stop], y.device)
            yield {"x": batch, "y": y.index_select(0, order[start:stop])}, batch


def check_net_params(net_params, reserved, owner, *, plain_forward=True):
    """Refuse net_params that contradict parameters of `owner`, `reserved`, or fail.

    `plain_forward` tells whether a step calls the module as a whole, and no part of it.
    """
    params = net_params or {}
    if params.get("precision", "float32") not in _PRECISIONS:
        raise ValueError(
            f"net_params['precision'] must be one of {_PRECISIONS}, got "
            f"{params['precision']!r}."
        )
    defaults = {"compile": False, "precision": "float32"}
    asked = [n for n, usual in defaults.items() if params.get(n, usual) != usual]
    if asked and not plain_forward:
        raise ValueError(
            f"Leave {asked} out of net_params: {owner} calls parts of its module one "
            "by one, in float32 and uncompiled."
        )
    contradicting = sorted(reserved & set(params))
    if contradicting:
        raise ValueError(f"Set {contradicting} on {owner}, not in net_params.")
    if not isinstance(params.get("callbacks") or [], list):
        raise ValueError(
            "net_params['callbacks'] must be a list, to be added to the estimator's "
            "own."
        )
    split = params.get("train_split")
    if split is not None and not callable(split):
        raise ValueError(
            "net_params['train_split'] must be a function that splits, such as "
            f"skorch.helper.predefined_split(dataset), got {type(split).__name__}."
        )


def check_callbacks(estimator, n_classes=None):
    """Let callbacks of ours refuse an estimator before it is trained."""
    for callback in (estimator.net_params or {}).get("callbacks") or []:
        part = callback[-1] if isinstance(callback, tuple) else callback
        # skorch takes classes as well, and sets their parameters later.
        if hasattr(part, "check_estimator") and not isinstance(part, type):
            part.check_estimator(estimator, n_classes)


class TrainingNet(NeuralNet):
    """skorch's NeuralNet with a loop that is safe to interrupt and never returns NaN.

    It differs from :class:`skorch.NeuralNet` in four ways. On a GPU it reads the
    losses of an epoch once, at its end, so that no batch waits for the device. A loss
    that is not finite raises :class:`FloatingPointError` (on a CPU at the batch, on a
    GPU at the end of the epoch). An interruption in the middle of an epoch restores the
    weights of the last finished epoch and sets `interrupted_`. With
    ``precision="bf16"``, training computes the products of the module in bfloat16;
    weights, loss and all that follows training are float32.
    """

    def __init__(self, *args, precision="float32", **kwargs):
        super().__init__(*args, **kwargs)
        self.precision = precision

    def infer(self, x, **fit_params):
        """Return the output of the module, float32."""
        if self.precision == "float32" or not self.module_.training:
            return super().infer(x, **fit_params)
        # bfloat16 has the range of float32: gradients need no scaling.
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            output = super().infer(x, **fit_params)
        parts = output if isinstance(output, tuple) else (output,)
        parts = tuple(part.float() for part in parts)
        return parts if isinstance(output, tuple) else parts[0]

    def on_train_begin(self, *args, **kwargs):
        """Forget the epochs of an earlier training."""
        self.interrupted_ = False
        self.n_finished_epochs_ = 0
        self._finished_state = None

    def on_epoch_end(self, *args, **kwargs):
        """Remember the weights of the epoch; runs before the callbacks do."""
        self.n_finished_epochs_ += 1
        self._finished_state = {
            name: value.detach().clone()
            for name, value in self.module_.state_dict().items()
        }

    def on_train_end(self, *args, **kwargs):
        """Drop the copy of the weights."""
        self._finished_state = None

    def fit_loop(self, X, *args, **kwargs):
        """Run skorch's loop; after an interruption keep whole epochs only."""
        # An endless stream of batches has no length.
        n_samples = len(X) if hasattr(X, "__len__") else self.batch_size
        batch_size = (
            min(n_samples, self.batch_size) if self.batch_size > 0 else n_samples
        )
        try:
            with limit_threads(training_threads(self.module_, batch_size)):
                return super().fit_loop(X, *args, **kwargs)
        except KeyboardInterrupt:
            # Callbacks such as EarlyStopping stop by the same exception, but only
            # after an epoch has been finished.
            if len(self.history) > self.n_finished_epochs_:
                self.interrupted_ = True
                # Callbacks read the last entry of the history when training ends.
                if self._finished_state is not None:
                    self.history.pop()
                    self.module_.load_state_dict(self._finished_state)
            raise

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one epoch as skorch does, reading the losses off the device late."""
        if iterator is None:
            return
        on_cpu = torch.device(self.device).type == "cpu"
        n_batches = 0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            loss = step["loss"].detach()
            if on_cpu:
                loss = loss.item()
                self._check_finite(prefix, loss)
            self.history.record_batch(f"{prefix}_loss", loss)
            self.history.record_batch(f"{prefix}_batch_size", len(batch[1]))
            self.notify("on_batch_end", batch=batch, training=training, **step)
            n_batches += 1
        self._read_batches()
        self._check_finite(prefix, *self.history[-1, "batches", :, f"{prefix}_loss"])
        self.history.record(f"{prefix}_batch_count", n_batches)

    def _read_batches(self):
        """Turn the tensors that the batches of this epoch recorded into floats."""
        batches = self.history[-1]["batches"]
        for name in {n for b in batches for n in b if torch.is_tensor(b[n])}:
            recorded = [batch for batch in batches if name in batch]
            values = torch.stack([batch[name] for batch in recorded]).tolist()
            for batch, value in zip(recorded, values, strict=True):
                batch[name] = value

    def _check_finite(self, prefix, *losses):
        """Raise if a loss is NaN or infinite."""
        broken = [loss for loss in losses if not np.isfinite(loss)]
        if broken:
            raise FloatingPointError(
                f"The {prefix} loss became {broken[0]} in epoch {len(self.history)}. "
                "The estimator is left unfitted. Use a smaller lr, clip the gradients "
                "(net_params={'callbacks': [('clip', skorch.callbacks."
                "GradientNormClipping(1.0))]}), or look for samples of extreme size "
                "in X."
            )

    def release_training_state(self):
        """Keep only what sampling needs, on the CPU."""
        self.trim_for_prediction()
        self.module_ = uncompiled(self.module_)
        self.module_.to("cpu")
        self.device = "cpu"

    def has_custom_module(self):
        """Tell whether a module is more than a class of ours, its sizes and weights."""
        arguments = [self.module, *self.get_params_for("module").values()]
        return not all(map(_is_plain, arguments))

    def __getstate__(self):
        """Return the state; of a module that can be built again, the weights as arrays.

        Unlike skorch's, it has no pickle inside, which skops would not see.
        """
        if not getattr(self, "_trimmed_for_prediction", False):
            return dict(vars(self))
        state = {
            name: value
            for name, value in vars(self).items()
            if name not in _SKORCH_PARTS and not name.startswith(_OF_TRAINING)
        }
        if not self.has_custom_module():
            weights = self.module_.state_dict()
            state["module_"] = {name: v.numpy() for name, v in weights.items()}
        return state

    def __setstate__(self, state):
        """Set a state of `__getstate__`."""
        vars(self).update({name: make() for name, make in _SKORCH_PARTS.items()})
        vars(self).update(state)
        weights = state.get("module_")
        if not isinstance(weights, dict):
            return
        if not _is_known_class(self.module):
            raise ValueError(f"{self.module!r} is not a module of skcvae or torch.")
        with fork_torch_rng(0, torch.device("cpu")):
            module = self.module(**self.get_params_for("module"))
        # Copies, in the place of what was built: what a cache maps into memory, also as
        # an argument of the module, cannot be written to.
        copies = {name: torch.tensor(value) for name, value in weights.items()}
        module.load_state_dict(copies, assign=True)
        vars(self)["module_"] = module.eval()


# Parts of a net that are empty or the same in all nets, once training is over.
_SKORCH_PARTS = {
    "callbacks_": list,
    "dataset": lambda: SkorchDataset,
    "history_": History,
    "virtual_params_": dict,
}
# Arguments of what only training needs.
_OF_TRAINING = ("callbacks__", "criterion__", "iterator_train__", "optimizer__")


def _is_known_class(value):
    """Tell whether a value is a class of modules of ours or of torch."""
    return (
        isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__module__.partition(".")[0] in ("skcvae", "torch")
    )


def _is_plain(argument):
    """Tell whether skops can store an argument, which says all about a module."""
    is_value = argument is None or isinstance(argument, (Number, str, np.ndarray))
    # A dataclass of ours holds plain values.
    is_ours = type(argument).__module__.partition(".")[0] == "skcvae"
    return is_value or (is_ours and is_dataclass(argument)) or _is_known_class(argument)


def make_net(kind, estimator, params, callbacks, convert=None, title="training"):
    """Return an untrained net of a kind; the `net_params` of an estimator win.

    `callbacks` come before those of the user. `convert` turns validation samples of the
    user into a dataset. `title` is what the progress bar says.
    """
    common = {
        "iterator_valid": TensorLoader,
        "train_split": None,
        "verbose": int(estimator.verbose > 1),
    }
    # skorch uses and clears what it is given: the user's own objects stay fresh.
    extra = copy.deepcopy(estimator.net_params or {})
    if convert is not None and callable(extra.get("train_split")):
        extra["train_split"] = GivenValidation(extra["train_split"], convert)
    progress = progress_callbacks(estimator.verbose, title)
    callbacks = [*callbacks, *progress, *(extra.pop("callbacks", None) or [])]
    return kind(**{**common, **params, **extra, "callbacks": callbacks})


def uncompiled(module):
    """Return the module that :func:`torch.compile` was given, or the module itself."""
    return getattr(module, "_orig_mod", module)


def progress_callbacks(verbose, title="training"):
    """Return the callback "progress": a bar with a title, or a hint at it."""
    return [("progress", EpochProgress(title) if verbose else ProgressHint())]


class EpochProgress(Callback):
    """One progress bar over all epochs, with the last losses beside it."""

    def __init__(self, title="training"):
        self.title = title

    def on_train_begin(self, net, **kwargs):
        """Show the bar."""
        self.bar_ = tqdm(total=net.max_epochs, unit="epoch", desc=self.title)

    def on_epoch_end(self, net, **kwargs):
        """Advance by one epoch."""
        last = net.history[-1]
        shown = {n: last[n] for n in ("train_loss", "valid_loss") if n in last}
        self.bar_.set_postfix(shown, refresh=False)
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar_.close()

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "bar_"}


class ProgressHint(Callback):
    """Say once in a process that a long training can show its progress.

    A successful training gives no warning. The hint is a line on stderr, for a person
    who waits: there is none without a terminal or an interactive session, and none from
    threads and processes that work for another one.
    """

    _is_given = False

    def on_train_begin(self, net, **kwargs):
        """Remember when the training began."""
        self.start_ = monotonic()

    def on_batch_end(self, net, **kwargs):
        """Give the hint when it is time."""
        is_due = monotonic() - self.start_ >= _PATIENCE
        if is_due and not ProgressHint._is_given and _is_someone_waiting():
            ProgressHint._is_given = True
            tqdm.write(
                f"This training takes more than {_PATIENCE} seconds. Set verbose=1 to "
                "see how far it is.",
                file=sys.stderr,
            )


def _is_someone_waiting():
    """Tell whether a person may look at what this thread writes to stderr."""
    is_interactive = hasattr(sys, "ps1") or (
        sys.stderr is not None and sys.stderr.isatty()
    )
    return (
        is_interactive
        and multiprocessing.parent_process() is None
        and threading.current_thread() is threading.main_thread()
    )


def gradient_clipping():
    """Return the callback "gradient_clipping"."""
    return "gradient_clipping", GradientNormClipping(_MAX_GRADIENT_NORM)
