"""Batches, seeds and the training loop, also when training goes wrong."""

import copy
import multiprocessing
import sys
import threading
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import ValidSplit
from threadpoolctl import threadpool_info, threadpool_limits

from skcvae import _threads, _training
from skcvae._devices import fork_torch_rng
from skcvae._training import (
    LabelledTensors,
    ProgressHint,
    TensorLoader,
    TrainingNet,
)
from skcvae.generators import CVAE
from skcvae.generators._cvae_net import BACKBONES, ConditionalVAE, NegativeELBO
from skcvae.long_tail import LongTailClassifier

_CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none")


def numbered_rows(n_rows):
    """Return rows that hold their own index, in both features and label."""
    index = torch.arange(n_rows)
    return LabelledTensors(index.float()[:, None].expand(-1, 2), index)


def class_data(n_rows=70, seed=0):
    """Return correlated rows of three classes; 70 rows make 5 batches of 16."""
    rng = np.random.RandomState(seed)
    y = np.arange(n_rows) % 3
    X = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 5))
    return X + np.eye(3, 5)[y] + 0.3 * rng.normal(size=X.shape), y


def make_cvae(net_params=None, **params):
    defaults = {
        "latent_dim": 2,
        "max_epochs": 4,
        "batch_size": 16,
        "device": "cpu",
        "random_state": 0,
    }
    net_params = {"module__hidden_dim": 8, **(net_params or {})}
    return CVAE(**{**defaults, **params}, net_params=net_params)


def make_net(**params):
    defaults = {
        "module": ConditionalVAE,
        "module__backbone": BACKBONES["small"],
        "module__n_features": 5,
        "module__n_classes": 3,
        "module__latent_dim": 2,
        "module__hidden_dim": 8,
        "criterion": NegativeELBO,
        "optimizer": torch.optim.AdamW,
        "iterator_train": TensorLoader,
        "iterator_train__shuffle": True,
        "iterator_valid": TensorLoader,
        "train_split": None,
        "max_epochs": 3,
        "batch_size": 16,
        "lr": 1e-2,
        "verbose": 0,
    }
    return TrainingNet(**{**defaults, **params})


def training_rows():
    X, y = class_data()
    return LabelledTensors(torch.from_numpy(X).float(), torch.from_numpy(y))


def weights(generator):
    return generator.net_.module_.state_dict()


def assert_same_weights(actual, expected):
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=0)


def fitted_attributes(generator):
    return [name for name in vars(generator) if name.endswith("_")]


class Recorder(Callback):
    """Keeps what it sees, although the CVAE trains with copies of callbacks."""

    def __init__(self):
        self.optimizers, self.states = [], []

    def __deepcopy__(self, memo):
        return self

    def on_epoch_end(self, net, **kwargs):
        self.optimizers.append(net.optimizer_)
        self.states.append(copy.deepcopy(net.module_.state_dict()))


class Interrupt(Callback):
    """Stands for Ctrl-C after a batch of an epoch, both counted from 1."""

    def __init__(self, epoch, batch, training=True):
        self.epoch = epoch
        self.batch = batch
        self.training = training

    def on_epoch_begin(self, net, **kwargs):
        self.n_batches_ = 0

    def on_batch_end(self, net, training=True, **kwargs):
        self.n_batches_ += training is self.training
        due = len(net.history) == self.epoch and self.n_batches_ == self.batch
        if due and training is self.training:
            raise KeyboardInterrupt


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("n_rows", "batch_size", "sizes"),
    [
        (12, 4, [4, 4, 4]),
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (3, 2, [3]),
        (2, 4, [2]),
        (1, 4, [1]),
    ],
)
def test_loader_visits_each_row_once(n_rows, batch_size, sizes, shuffle):
    loader = TensorLoader(numbered_rows(n_rows), batch_size, shuffle=shuffle)
    batches = list(loader)
    assert [len(target) for _, target in batches] == sizes
    assert len(loader) == len(sizes)
    visited = torch.cat([batch["y"] for batch, _ in batches]).tolist()
    assert sorted(visited) == list(range(n_rows))
    for batch, target in batches:
        torch.testing.assert_close(batch["x"], target)
        torch.testing.assert_close(batch["x"][:, 0], batch["y"].float())


def test_loader_keeps_the_order_unless_it_shuffles():
    def order(loader):
        return torch.cat([batch["y"] for batch, _ in loader]).tolist()

    rows = numbered_rows(50)
    assert order(TensorLoader(rows, 8)) == list(range(50))
    shuffled = TensorLoader(rows, 8, shuffle=True)
    with fork_torch_rng(0, _CPU):
        first, second = order(shuffled), order(shuffled)
    assert first != second
    assert list(range(50)) not in (first, second)


@pytest.mark.parametrize("stratified", [False, True])
def test_loader_reads_both_parts_of_a_split(stratified):
    rows = numbered_rows(40)
    split = ValidSplit(4, stratified=stratified)
    parts = split(rows, np.arange(40) % 2)
    visited = []
    for part in parts:
        loader = TensorLoader(part, 7)
        for batch, _ in loader:
            visited += batch["y"].tolist()
            torch.testing.assert_close(batch["x"][:, 0], batch["y"].float())
    assert [len(part) for part in parts] == [30, 10]
    assert sorted(visited) == list(range(40))


def test_net_trains_as_a_loop_written_by_hand():
    rows = training_rows()
    with fork_torch_rng(0, _CPU):
        net = make_net().fit(rows, rows.y)
    with fork_torch_rng(0, _CPU):
        module = ConditionalVAE(BACKBONES["small"], 5, 3, 2, hidden_dim=8)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
        criterion, losses = NegativeELBO(), []
        for _ in range(3):
            for index in torch.randperm(70).split(16):
                x, y = rows.x[index], rows.y[index]
                optimizer.zero_grad()
                loss = criterion(module(x, y), x)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
    assert_same_weights(net.module_.state_dict(), module.state_dict())
    recorded = np.concatenate(net.history[:, "batches", :, "train_loss"])
    np.testing.assert_array_equal(recorded, losses)


def test_epoch_losses_weigh_batches_by_their_rows():
    rows = training_rows()
    split = ValidSplit(2)
    with fork_torch_rng(0, _CPU):
        net = make_net(train_split=split).fit(rows, rows.y)
    for epoch in net.history:
        for prefix, sizes in (("train", [16, 16, 3]), ("valid", [16, 16, 3])):
            batches = [b for b in epoch["batches"] if f"{prefix}_loss" in b]
            losses = [batch[f"{prefix}_loss"] for batch in batches]
            assert [batch[f"{prefix}_batch_size"] for batch in batches] == sizes
            assert epoch[f"{prefix}_batch_count"] == 3
            np.testing.assert_allclose(
                epoch[f"{prefix}_loss"], np.average(losses, weights=sizes)
            )


class BrokenLoss(NegativeELBO):
    """Returns `value` after `n_good` batches, or in validation."""

    def __init__(self, value, n_good=1_000):
        super().__init__()
        self.value = value
        self.n_left = n_good

    def forward(self, outputs, x):
        self.n_left -= self.training
        broken = self.n_left < 0 or not self.training
        return super().forward(outputs, x) * (self.value if broken else 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_loss_that_is_not_finite_stops_training_in_its_epoch(value):
    rows = training_rows()
    # Epochs have 5 batches: the 13th is in the third.
    net = make_net(criterion=BrokenLoss, criterion__value=value, criterion__n_good=12)
    with pytest.raises(FloatingPointError, match=r"train loss .* epoch 3\."):
        net.fit(rows, rows.y)
    assert len(net.history[-1, "batches"]) == 3


def test_validation_loss_that_is_not_finite_stops_training():
    rows = training_rows()
    net = make_net(
        criterion=BrokenLoss, criterion__value=np.nan, train_split=ValidSplit(4)
    )
    with pytest.raises(FloatingPointError, match=r"valid loss .* epoch 1\."):
        net.fit(rows, rows.y)


@pytest.mark.parametrize("architecture", ["small", "large"])
def test_diverged_training_leaves_the_estimator_unfitted(architecture):
    generator = make_cvae(architecture=architecture).fit(*class_data())
    generator.set_params(lr=1e20)
    with pytest.raises(FloatingPointError, match=r"epoch 1\..*unfitted.*smaller lr"):
        generator.fit(*class_data())
    assert fitted_attributes(generator) == []


def test_weights_that_diverge_in_the_last_step_are_refused():
    generator = make_cvae(max_epochs=1, batch_size=100, lr=1e20)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        generator.fit(*class_data())
    assert fitted_attributes(generator) == []


@pytest.mark.parametrize("architecture", ["small", "large"])
@pytest.mark.parametrize(
    ("interrupt", "train_split"),
    [
        (Interrupt(3, 1), None),
        (Interrupt(3, 5), None),
        (Interrupt(3, 2), ValidSplit(4)),
        (Interrupt(3, 1, training=False), ValidSplit(4)),
    ],
    ids=["first batch", "last batch", "with validation", "in validation"],
)
def test_interruption_keeps_the_last_finished_epoch(
    interrupt, train_split, architecture
):
    # The one-cycle schedule would depend on max_epochs.
    net_params = {"callbacks__lr_schedule": None, "train_split": train_split}
    interrupted = make_cvae(
        {**net_params, "callbacks": [interrupt]}, architecture=architecture
    )
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(*class_data())
    shorter = make_cvae(net_params, architecture=architecture, max_epochs=2)
    shorter.fit(*class_data())
    assert_same_weights(weights(interrupted), weights(shorter))
    assert len(interrupted.history_) == 2
    columns = (slice(None), ("epoch", "train_loss", "train_kl"))
    assert interrupted.history_[columns] == shorter.history_[columns]
    X_new, _ = interrupted.sample(100)
    assert X_new.shape == (100, 5)
    assert np.isfinite(X_new).all()


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("others", [[], [EarlyStopping("train_loss", load_best=True)]])
def test_interruption_of_the_first_epoch_leaves_the_estimator_unfitted(batch, others):
    generator = make_cvae().fit(*class_data())
    generator.set_params(net_params={"callbacks": [Interrupt(1, batch), *others]})
    with pytest.raises(KeyboardInterrupt):
        generator.fit(*class_data())
    assert fitted_attributes(generator) == []


def test_interrupted_generator_can_be_fitted_again():
    generator = make_cvae({"callbacks": [Interrupt(2, 1)]})
    with pytest.raises(KeyboardInterrupt):
        generator.fit(*class_data())
    generator.set_params(net_params=make_cvae().net_params).fit(*class_data())
    assert_same_weights(weights(generator), weights(make_cvae().fit(*class_data())))


def test_early_stopping_ends_training_with_the_best_weights():
    recorder = Recorder()
    stop = EarlyStopping(patience=3, threshold=0, load_best=True)
    generator = make_cvae(
        {
            "train_split": ValidSplit(0.3, stratified=True, random_state=0),
            "callbacks": [recorder, stop],
        },
        max_epochs=400,
        lr=3e-2,
    ).fit(*class_data())
    losses = generator.history_[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 400
    assert_same_weights(weights(generator), recorder.states[best])


def test_what_sampling_needs_is_learned_without_changing_the_net():
    recorder = Recorder()
    generator = make_cvae({"callbacks": [recorder]}, architecture="large")
    generator.fit(*class_data()).sample(100)
    assert_same_weights(weights(generator), recorder.states[-1])


def test_validation_rows_are_not_trained_on():
    X, y = class_data()
    split = ValidSplit(5)
    train, valid = split(LabelledTensors(torch.from_numpy(X), torch.from_numpy(y)), y)
    generator = make_cvae({"train_split": split}, max_epochs=1).fit(X, y)
    sizes = [
        sum(batch.get(f"{prefix}_batch_size", 0) for batch in epoch["batches"])
        for epoch in generator.history_
        for prefix in ("train", "valid")
    ]
    assert sizes == [len(train), len(valid)] == [56, 14]


def test_learning_rate_follows_one_cycle():
    generator = make_cvae(max_epochs=20, lr=0.01).fit(*class_data())
    rates = np.concatenate(generator.history_[:, "batches", :, "event_lr"])
    peak = rates.argmax()
    assert len(rates) == 100
    np.testing.assert_allclose(rates.max(), 0.01, rtol=0.02)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[-1] < 1e-4


def test_schedule_of_ones_own_replaces_ours():
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.1)
    generator = make_cvae(
        {"callbacks__lr_schedule": None, "callbacks": [("steps", schedule)]}, lr=0.01
    ).fit(*class_data())
    np.testing.assert_allclose(
        generator.history_[:, "event_lr"], [1e-2, 1e-3, 1e-4, 1e-5]
    )


def test_reference_objective_keeps_the_learning_rate():
    recorder = Recorder()
    make_cvae({"callbacks": [recorder]}, objective="reference", lr=0.01).fit(
        *class_data()
    )
    assert recorder.optimizers[-1].param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "Adadelta", "RMSprop", "Adam"])
def test_optimizer_of_ones_own_is_used(name):
    optimizer, recorder = getattr(torch.optim, name), Recorder()
    generator = make_cvae(
        {"optimizer": optimizer, "callbacks": [recorder]}, lr=1e-3
    ).fit(*class_data())
    assert type(recorder.optimizers[-1]) is optimizer
    assert np.isfinite(generator.history_[:, "train_loss"]).all()
    first, last = recorder.states[0], recorder.states[-1]
    name = "backbone.decoder.out.weight"
    assert not torch.equal(first[name], last[name])


def test_optimizer_parameters_are_passed_on():
    recorder = Recorder()
    make_cvae({"callbacks": [recorder], "optimizer__weight_decay": 0.25}).fit(
        *class_data()
    )
    (group,) = recorder.optimizers[-1].param_groups
    assert group["weight_decay"] == 0.25


def test_fit_leaves_net_params_alone():
    stop = EarlyStopping(monitor="train_loss")
    net_params = {
        "module__hidden_dim": 8,
        "optimizer": torch.optim.SGD,
        "callbacks": [("stop", stop)],
    }
    before, stop_before = dict(net_params), dict(vars(stop))
    generator = make_cvae(net_params)
    first = weights(generator.fit(*class_data()))
    assert generator.net_params == before
    assert generator.net_params["callbacks"] == [("stop", stop)]
    assert vars(stop) == stop_before
    assert_same_weights(weights(generator.fit(*class_data())), first)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbose_levels(verbose, capsys):
    make_cvae(verbose=verbose).fit(*class_data())
    out, err = capsys.readouterr()
    assert ("4/4" in err and "epoch" in err and "train_loss=" in err) is (verbose > 0)
    assert ("train_loss" in out and "train_kl" in out) is (verbose > 1)
    if not verbose:
        assert out == err == ""


@pytest.fixture
def waiting_user(monkeypatch):
    """Let each look at the clock take six seconds of a person's time."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(_training, "monotonic", partial(next, count(0, 6)))
    monkeypatch.setattr(ProgressHint, "_is_given", False)


def test_long_training_tells_once_how_to_see_progress(waiting_user, capsys):
    make_cvae().fit(*class_data())
    assert capsys.readouterr().err == (
        "This training takes more than 10 seconds. Set verbose=1 to see how far it is."
        "\n"
    )
    make_cvae().fit(*class_data())
    assert capsys.readouterr() == ("", "")


def test_training_with_a_bar_gives_no_hint(waiting_user, capsys):
    make_cvae(verbose=1).fit(*class_data())
    assert "verbose" not in capsys.readouterr().err


def test_no_hint_within_ten_seconds(waiting_user, monkeypatch, capsys):
    monkeypatch.setattr(_training, "monotonic", lambda: 0.0)
    make_cvae().fit(*class_data())
    assert capsys.readouterr() == ("", "")


def test_no_hint_without_a_person(waiting_user, monkeypatch, capsys):
    monkeypatch.delattr(sys, "ps1")
    make_cvae().fit(*class_data())
    assert capsys.readouterr() == ("", "")


def test_no_hint_from_threads_and_worker_processes(waiting_user, monkeypatch, capsys):
    thread = threading.Thread(target=make_cvae().fit, args=class_data())
    thread.start()
    thread.join()
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    make_cvae().fit(*class_data())
    assert capsys.readouterr() == ("", "")


def test_full_gpu_becomes_a_memory_error_with_advice(monkeypatch):
    def fit(self, X, y=None, **fit_params):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    generator = make_cvae().fit(*class_data())
    monkeypatch.setattr(TrainingNet, "fit", fit)
    with pytest.raises(MemoryError, match=r"batch_size.*device='cpu'"):
        generator.fit(*class_data())
    assert fitted_attributes(generator) == []


@pytest.mark.parametrize(
    ("n_features", "limit", "expected"),
    [(64, 8, 1), (192, 8, 2), (768, 8, 6), (768, 2, 2), (768, 1, 1)],
)
def test_threads_follow_the_work_of_a_step(monkeypatch, n_features, limit, expected):
    net = ConditionalVAE(BACKBONES["small"], n_features, 100, 32)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(_threads.joblib, "cpu_count", lambda: limit)
    assert _threads.training_threads(net, 256) == expected


def test_no_more_threads_than_torch_is_set_to(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(_threads.joblib, "cpu_count", lambda: 64)
    assert _threads.available_threads() == 3


@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_thread_is_one_for_blas_too(n_threads):
    def blas():
        pools = threadpool_info()
        return [p["num_threads"] for p in pools if p["user_api"] == "blas"]

    with threadpool_limits(2, user_api="blas"):
        assert blas()
        with _threads.limit_threads(n_threads):
            assert torch.get_num_threads() == n_threads
            assert set(blas()) == {n_threads}
        assert set(blas()) == {2}


def test_small_heads_are_solved_for_on_one_thread(monkeypatch):
    seen = []
    limit = _threads.limit_threads
    monkeypatch.setattr(
        "skcvae.long_tail._solver.limit_threads",
        lambda n_threads: seen.append(n_threads) or limit(n_threads),
    )
    X = np.random.RandomState(0).normal(size=(60, 5))
    LongTailClassifier(random_state=0).fit(X, np.arange(60) % 3)
    assert seen and set(seen) == {1}


def test_training_gives_the_number_of_threads_back(monkeypatch):
    seen = []
    monkeypatch.setattr("skcvae._training.training_threads", lambda *_: 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        callback = EpochScoring(
            lambda *_: seen.append(torch.get_num_threads()) or 0.0,
            name="threads",
            on_train=True,
        )
        X = np.random.RandomState(0).normal(size=(20, 3))
        params = {"callbacks": [callback], "train_split": None}
        CVAE(max_epochs=1, device="cpu", random_state=0, net_params=params).fit(
            X, np.arange(20) % 2
        )
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
