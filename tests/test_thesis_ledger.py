"""Reruns of all tables of the thesis: what is kept, what is refused, what remains."""

import csv
import importlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import typer

from skcvae.generators import CVAE

FOLDER = Path(__file__).parents[1] / "examples" / "thesis"
# One epoch is too short for the CVAE.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def scripts():
    """Return the import of a script, whose nets are trained for an epoch."""
    sys.path.insert(0, str(FOLDER))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_figures", "_thesis"):
            quick = partial(CVAE, max_epochs=1, device="cpu")
            patch.setattr(importlib.import_module(name), "CVAE", quick)
        patch.setattr(importlib.import_module("_thesis"), "PASSES", 1)
        yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture
def ledger(scripts, tmp_path):
    return scripts("_ledger").Ledger(tmp_path / "results")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Far clusters that stand for CIFAR-10-LT."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    y = np.repeat(np.arange(10), [30, 20, *[4] * 8])
    X = 100 * y[:, np.newaxis] + rng.randn(len(y), 4)
    path = folder / "cifar10_lt_small.npz"
    np.savez(path, X_train=X, y_train=y, X_test=X, y_test=y)
    return folder


def never():
    pytest.fail("computed again")


def test_result_is_computed_once(ledger):
    first, seconds = ledger.get("head", {"seed": 0}, lambda: [1.5, 2.0])
    assert first == [1.5, 2.0]
    assert seconds >= 0
    assert ledger.get("head", {"seed": 0}, never) == (first, seconds)


@pytest.mark.parametrize("change", ["kind", "settings", "version", "format"])
def test_result_of_anything_else_is_not_taken(scripts, ledger, monkeypatch, change):
    ledger.get("head", {"seed": 0}, lambda: "old")
    kind = "fit" if change == "kind" else "head"
    settings = {"seed": 1} if change == "settings" else {"seed": 0}
    if change in ("version", "format"):
        name = {"version": "__version__", "format": "_FORMAT"}[change]
        monkeypatch.setattr(scripts("_ledger"), name, "other")
    assert ledger.get(kind, settings, lambda: "new")[0] == "new"


def test_failed_job_leaves_nothing(ledger):
    def fail():
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        ledger.get("head", {}, fail)
    # A lambda cannot be written.
    with pytest.raises(Exception, match="pickle"):
        ledger.get("head", {}, lambda: lambda: 0)
    assert list(ledger.folder.glob("*")) == []
    assert ledger.get("head", {}, lambda: 1)[0] == 1


def test_seconds_are_the_median_of_a_kind(ledger):
    for seed, seconds in enumerate((1.0, 9.0, 2.0)):
        ledger.put(ledger.path("fit_a", seed), None, seconds)
    assert ledger.seconds("fit_a") == 2
    assert np.isnan(ledger.seconds("fit"))


@pytest.mark.parametrize("part", ["X_train", "y_train", "X_test", "y_test"])
def test_other_data_are_another_job(scripts, folder, tmp_path, part):
    thesis, methods = scripts("_thesis"), scripts("_methods")
    data = thesis.load(folder / "cifar10_lt_small.npz")
    paths = []
    for _ in range(2):
        setup = thesis.Setup(data, 1, 1, tmp_path)
        (method, *_) = methods.variance_methods(setup)
        kind, settings = thesis.head_job(method, setup, (0, 0))
        paths.append(setup.ledger.path(kind, settings))
        changed = data[part].copy()
        changed[0] = changed[-1]
        data = type(data)(**{**data, part: changed})
    assert paths[0] != paths[1]


def test_fit_time_is_a_ratio_to_the_small_cvae_of_the_thesis(
    scripts, folder, tmp_path, monkeypatch
):
    thesis, methods = scripts("_thesis"), scripts("_methods")
    setup = thesis.Setup(thesis.load(folder / "cifar10_lt_small.npz"), 1, 1, tmp_path)
    seconds = {"small": 8.0, "large": 24.0, "ours": 2.0}

    def timed_fit(self, generator):
        of_thesis = generator.get_params().get("objective") == "reference"
        return None, seconds[generator.architecture if of_thesis else "ours"]

    monkeypatch.setattr(thesis.Setup, "timed_fit", timed_fit)
    found = {
        m.name: thesis.fit_ratio(m, setup)
        for m in methods.variance_methods(setup)
        if m.generator and m.name != "ClassGaussian"
    }
    assert found == {
        "CVAE (thesis), small": 1,
        "CVAE (thesis), large": 3,
        "CVAE (ours)": 0.25,
    }


def test_interrupted_run_continues_where_it_stopped(
    scripts, folder, tmp_path, monkeypatch, capsys
):
    thesis, run_all = scripts("_thesis"), scripts("run_all")
    options = {"cache": tmp_path / "cache", "output": tmp_path / "new"}
    options |= {"only": ["table_6_cifar10"], "cvae_epochs": 1, "seeds": 1}
    options |= {"small": 1, "large": 1}
    train, trained = thesis.train_head, []

    def stop_after_two(method, setup, seeds):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(method.name)
        return train(method, setup, seeds)

    monkeypatch.setattr(thesis, "train_head", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        run_all.main(folder, **options)
    # 14 heads, the thesis's CVAE, ours and ClassGaussian.
    assert "17 jobs left, unknown time" in capsys.readouterr().out
    assert not options["output"].exists()
    run_all.main(folder, **options, show=True)
    assert "15 jobs left" in capsys.readouterr().out
    monkeypatch.setattr(thesis, "train_head", train)
    run_all.main(folder, **options)
    run_all.main(folder, **options, show=True)
    assert "0 jobs left, about 0 minutes" in capsys.readouterr().out
    with (options["output"] / "table_6_cifar10.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows][:2] == trained == ["Baseline", "CBS"]


def test_what_cannot_be_run_is_said_before_any_training(scripts, folder, capsys):
    main = scripts("run_all").main
    with pytest.raises(typer.BadParameter, match="table_99"):
        main(folder, only=["table_99"])
    main(folder, only=["table_4", "figure_10"], show=True)
    assert capsys.readouterr().out.count("its data are not in") == 2


def test_two_files_for_one_data_set_are_refused(scripts, tmp_path):
    for name in ("cifar10_lt_a.npz", "cifar10_lt_b.npz"):
        (tmp_path / name).touch()
    with pytest.raises(typer.BadParameter, match=r"cifar10_lt_a.npz, cifar10_lt_b"):
        scripts("run_all").find(tmp_path, "cifar10_lt")
