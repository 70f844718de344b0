"""The one place that knows skorch: device, seeds, batches and the training loop."""

import multiprocessing
import sys
import threading
from contextlib import contextmanager
from itertools import pairwise
from time import monotonic

import joblib
import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

# Far above the norms of sound steps. Without it, one sample far out can move the
# weights of a Gaussian likelihood so far that no later step brings them back.
_MAX_GRADIENT_NORM = 100.0
# Operations of a step that one more thread is worth. A CVAE with the default widths and
# 64 features has 2e8: two threads took as long as one on an idle machine, and four
# times as long beside busy processes. With 192 features it has 4e8, and two took 57 %.
_OPERATIONS_PER_THREAD = 2e8
# After so many seconds, a training without a bar says how to see one.
_PATIENCE = 10
_MAX_SEED = np.iinfo(np.int32).max

# torch's global generator is shared by all threads: two trainings at the same time
# would draw from one stream, and neither could be reproduced.
_GLOBAL_RNG_LOCK = threading.RLock()


def resolve_device(device):
    """Return the torch device for "auto", a device name or a torch.device."""
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not a torch device.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch sees no CUDA device. "
            "Use device='auto' or device='cpu'."
        )
    return device


def draw_seeds(random_state, n_seeds):
    """Draw `n_seeds` integer seeds from a RandomState."""
    return random_state.randint(_MAX_SEED, size=n_seeds).tolist()


@contextmanager
def fork_torch_rng(seed, device):
    """Seed torch inside the block and give its global random state back after it."""
    on_cuda = device.type == "cuda"
    with _GLOBAL_RNG_LOCK, torch.random.fork_rng([device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def available_threads():
    """Return how many threads may compute on the CPU.

    This is the number that torch is set to, or fewer: where the process may use fewer
    processors, by its affinity or by the limit of a container.
    """
    return min(torch.get_num_threads(), joblib.cpu_count())


def training_threads(module, batch_size):
    """Return how many threads a step of a module is worth: one for a small net.

    A step takes six operations for each weight of a layer and each sample. Embeddings
    only look weights up.
    """
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    n_weights = sum(
        p.numel() for p in module.parameters() if p.ndim > 1 and id(p) not in tables
    )
    return threads_for(6 * n_weights * batch_size)


def threads_for(n_operations):
    """Return how many threads a step of so many operations is worth."""
    n_threads = round(n_operations / _OPERATIONS_PER_THREAD)
    return min(max(n_threads, 1), available_threads())


@contextmanager
def limit_threads(n_threads):
    """Let torch compute with so many threads inside the block, and BLAS if it is one.

    More could be more than the user allows BLAS.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(1 if n_threads == 1 else None, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


class LabelledTensors(Dataset):
    """Samples (n, n_features) and class codes (n,), int64, on the training device."""

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
        inner = valid
        while not isinstance(inner, LabelledTensors) and hasattr(inner, "dataset"):
            inner = inner.dataset
        if valid is None or isinstance(inner, LabelledTensors):
            return train, valid
        pairs = [valid[index] for index in range(len(valid))]
        labels = [y.item() if hasattr(y, "item") else y for _, y in pairs]
        X = [x for x, _ in pairs]
        return train, self.convert(X, np.array(labels))


def wrap_train_split(net_params, convert):
    """Let the `train_split` of `net_params` give validation samples of the user."""
    if callable(net_params.get("train_split")):
        split = GivenValidation(net_params["train_split"], convert)
        net_params["train_split"] = split


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
        order = torch.arange(len(x), device=x.device)
        if self.shuffle:
            order = torch.randperm(len(x), device=x.device)
        for start, stop in pairwise(self._bounds()):
            # index_select gathers samples several times faster than indexing does.
            batch = x.index_select(0, order[start:stop])
            yield {"x": batch, "y": y.index_select(0, order[start:stop])}, batch


def check_net_params(net_params, reserved, owner):
    """Refuse net_params that would contradict the parameters of `owner`, `reserved`."""
    params = net_params or {}
    contradicting = sorted(reserved & set(params))
    if contradicting:
        raise ValueError(f"Set {contradicting} on {owner}, not in net_params.")
    if not isinstance(params.get("callbacks") or [], list):
        raise ValueError(
            "net_params['callbacks'] must be a list, to be added to the estimator's "
            "own."
        )


class TrainingNet(NeuralNet):
    """skorch's NeuralNet with a loop that is safe to interrupt and never returns NaN.

    It differs from :class:`skorch.NeuralNet` in three ways. On a GPU it reads the
    losses of an epoch once, at its end, so that no batch waits for the device. A loss
    that is not finite raises :class:`FloatingPointError` (on a CPU at the batch, on a
    GPU at the end of the epoch). An interruption in the middle of an epoch restores the
    weights of the last finished epoch and sets `interrupted_`.
    """

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
        self.module_.to("cpu")
        self.device = "cpu"


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
