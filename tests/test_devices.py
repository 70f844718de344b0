"""Devices, their memory and seeds; accelerators are pretended, so no GPU is needed."""

import math
import pickle

import numpy as np
import pytest
import torch

from skcvae import _devices
from skcvae._devices import (
    drawing_device,
    fork_torch_rng,
    free_memory,
    half_type,
    has_float64,
    place_samples,
    resolve_device,
    take_samples,
)
from skcvae._training import LabelledTensors, TensorLoader
from skcvae.generators import CVAE
from skcvae.generators.private._net import PoissonLoader
from skcvae.long_tail import LongTailClassifier

CPU, META = torch.device("cpu"), torch.device("meta")
KINDS = ["cuda", "xpu", "mps"]


@pytest.fixture
def pretend(monkeypatch):
    """Return a function that lets torch report accelerators of one kind, or none."""

    def report(kind, count=1):
        found = None if kind is None else torch.device(kind)
        replaced = {
            "is_available": lambda: kind is not None,
            "current_accelerator": lambda *args: found,
            "device_count": lambda: count if kind else 0,
        }
        for name, function in replaced.items():
            monkeypatch.setattr(torch.accelerator, name, function)

    return report


def data(n_samples=60):
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], n_samples // 3)
    return 3 * np.eye(3, 5)[y] + rng.normal(size=(len(y), 5)), y


# Which device


def test_auto_is_the_cpu_without_an_accelerator(pretend):
    pretend(None)
    assert resolve_device("auto") == resolve_device("cpu") == CPU
    assert resolve_device(CPU) == CPU


@pytest.mark.parametrize("kind", KINDS)
def test_auto_is_the_accelerator_that_torch_reports(pretend, kind):
    pretend(kind, 2)
    assert resolve_device("auto").type == kind
    assert resolve_device(f"{kind}:1") == torch.device(kind, 1)
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize(
    ("reported", "asked", "message"),
    [
        (None, "gpu", r"device='gpu' is not a torch device"),
        (None, "cuda:1", r"'cuda:1' .* no CUDA device 1.*device='auto'"),
        (None, "meta", "no META device"),
        ("mps", "cuda", "no CUDA device"),
        ("cuda", "mps", "no MPS device"),
        ("cuda", "cuda:2", "no CUDA device 2"),
    ],
)
def test_unknown_and_missing_devices_are_refused(pretend, reported, asked, message):
    pretend(reported, 2)
    with pytest.raises(ValueError, match=message):
        resolve_device(asked)


@pytest.mark.parametrize("estimator", [CVAE, LongTailClassifier])
def test_an_estimator_with_a_missing_device_stays_unfitted(pretend, estimator):
    pretend(None)
    estimator = estimator(device="cuda")
    with pytest.raises(ValueError, match="no CUDA device"):
        estimator.fit(*data())
    assert not [name for name in vars(estimator) if name.endswith("_")]


def test_samples_are_drawn_on_the_device_if_it_is_there_and_has_the_type(pretend):
    cuda, mps = torch.device("cuda"), torch.device("mps")
    single, double = np.dtype("f4"), np.dtype("f8")
    pretend("cuda")
    assert drawing_device(cuda, double) == drawing_device(cuda, single) == cuda
    pretend("mps")
    assert drawing_device(mps, single) == mps
    assert drawing_device(mps, double) == drawing_device(cuda, single) == CPU
    pretend(None)
    assert drawing_device(cuda, single) == CPU
    assert drawing_device(CPU, double) == CPU


def test_only_mps_lacks_float64():
    assert [has_float64(torch.device(kind)) for kind in ("cpu", *KINDS)] == [
        True,
        True,
        True,
        False,
    ]


def test_half_type_is_what_the_device_supports(monkeypatch):
    assert half_type(CPU) == half_type(torch.device("mps")) == torch.float32
    for is_supported, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda a=is_supported: a)
        assert half_type(torch.device("cuda")) == expected


# Random states


def test_fork_leaves_the_global_state_and_seeds_the_block():
    before = torch.get_rng_state()
    with fork_torch_rng(7, CPU):
        first = torch.rand(3)
    with pytest.raises(ZeroDivisionError), fork_torch_rng(7, CPU):
        torch.testing.assert_close(torch.rand(3), first, rtol=0, atol=0)
        raise ZeroDivisionError
    with fork_torch_rng(8, CPU):
        assert not torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_fork_seeds_the_device_that_is_asked_for_and_gives_its_state_back(
    monkeypatch, kind
):
    device = torch.device(kind, 0 if kind == "mps" else 1)
    states = {device: torch.Generator().manual_seed(1).get_state()}
    before, of_cpu = states[device].clone(), torch.get_rng_state()
    module, make = getattr(torch, kind), torch.Generator
    # A generator of the CPU stands for that of the device.
    monkeypatch.setattr(torch, "Generator", lambda of: make())
    monkeypatch.setattr(module, "get_rng_state", lambda of: states[of])
    monkeypatch.setattr(
        module, "set_rng_state", lambda state, of: states.update({of: state})
    )
    with pytest.raises(ZeroDivisionError), fork_torch_rng(7, device):
        assert torch.equal(states[device], make().manual_seed(7).get_state())
        raise ZeroDivisionError
    assert list(states) == [device]
    assert torch.equal(states[device], before)
    assert torch.equal(torch.get_rng_state(), of_cpu)


# Memory


def test_free_memory_is_what_the_backend_says(monkeypatch):
    device = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda of: (10 * of.index, 99))
    assert free_memory(device) == 10
    assert free_memory(CPU) == free_memory(torch.device("mps")) == math.inf


@pytest.mark.parametrize(("free", "expected"), [(480, META), (479, CPU), (0, CPU)])
def test_samples_take_at_most_half_of_the_free_memory(monkeypatch, free, expected):
    monkeypatch.setattr(_devices, "free_memory", lambda device: free)
    x = torch.zeros(20, 3)  # 240 bytes
    assert place_samples(x, META).device == expected


def test_samples_of_the_host_are_copied_through_pinned_memory(monkeypatch):
    x, make, pinned = torch.arange(12.0).reshape(6, 2), torch.empty, []

    def empty(*size, pin_memory=False, **kwargs):
        # Pinning needs an accelerator.
        made = make(*size, **kwargs)
        if pin_memory:
            pinned.append(made)
        return made

    monkeypatch.setattr(torch, "empty", empty)
    batch = take_samples(x, torch.tensor([4, 0, 4]), META)
    assert (batch.device, batch.shape, batch.dtype) == (META, (3, 2), torch.float32)
    assert pinned[0].tolist() == [[8, 9], [0, 1], [8, 9]]
    batch = take_samples(x, torch.tensor([4, 0]), CPU)
    assert batch.tolist() == [[8, 9], [0, 1]]
    assert len(pinned) == 1


@pytest.fixture
def elsewhere(monkeypatch):
    """Let samples be taken as from the host; return the places and devices asked."""
    asked = []

    def take(x, places, device):
        asked.append((places.device, device))
        return x.index_select(0, places)

    for module in ("_training", "generators.private._net", "long_tail._batches"):
        monkeypatch.setattr(f"skcvae.{module}.take_samples", take)
    return asked


def test_all_loaders_take_samples_where_they_are(elsewhere):
    X, y = data()
    rows = LabelledTensors(torch.from_numpy(X).float(), torch.from_numpy(y))
    for loader in (
        TensorLoader(rows, 7, shuffle=True),
        PoissonLoader(rows, 7, sample_rate=0.2, n_batches=3),
    ):
        before = len(elsewhere)
        for batch, x in loader:
            assert len(batch["y"]) == len(x)
        assert len(elsewhere) - before == len(loader)
    before = len(elsewhere)
    LongTailClassifier(solver="sgd", max_epochs=1, random_state=0).fit(X, y)
    assert len(elsewhere) > before
    assert set(elsewhere) == {(CPU, CPU)}


# Devices without float64


@pytest.mark.parametrize(
    "estimator",
    [
        LongTailClassifier(solver="sgd", max_epochs=5, random_state=0),
        LongTailClassifier(solver="closed_form", random_state=0),
    ],
    ids=["sgd", "closed_form"],
)
def test_a_classifier_learns_the_same_without_float64(monkeypatch, estimator):
    X, y = data()
    expected = estimator.fit(X, y).predict_proba(X)
    for module in ("_head_fitting", "_solver"):
        monkeypatch.setattr(f"skcvae.long_tail.{module}.has_float64", lambda _: False)
    np.testing.assert_allclose(
        estimator.fit(X, y).predict_proba(X), expected, atol=0.02
    )


def test_what_an_accelerator_trained_draws_on_a_machine_without(pretend):
    X, y = data()
    generator = CVAE(max_epochs=2, device="cpu", random_state=0).fit(X, y)
    expected, _ = generator.sample(20)
    for kind in KINDS:
        generator.device_ = torch.device(kind)
        pretend(None)
        loaded = pickle.loads(pickle.dumps(generator))
        np.testing.assert_array_equal(loaded.sample(20)[0], expected)
    # MPS is there, but the samples are float64.
    pretend("mps")
    np.testing.assert_array_equal(generator.sample(20)[0], expected)
