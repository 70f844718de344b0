"""The decisions on the items of the sources name what there is."""

import csv
import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils import Bunch
from typer.main import get_command

from skcvae.cli import app
from skcvae.generators import CVAE, ClassGaussian

ROOT = Path(__file__).parents[1]
with (ROOT / "docs" / "thesis" / "source_items.csv").open(encoding="utf-8") as file:
    ITEMS = list(csv.DictReader(file))
COMMANDS = get_command(app).commands
PACKAGES = [
    importlib.import_module(f"skcvae.{path.parent.name}")
    for path in (ROOT / "skcvae").glob("*/__init__.py")
    if path.parent.name != "cli"
]
NAMES = {name: getattr(p, name) for p in PACKAGES for name in p.__all__}


def quoted(item):
    """Return what stands in backticks."""
    return re.findall("`([^`]+)`", item["where or why"])


def is_there(name, item):
    """Tell whether a script, a command, an option, a name or a parameter exists."""
    if name.endswith(".py"):
        return any(ROOT.glob(f"examples/*/{name}"))
    if name.startswith("skcvae "):
        return name.removeprefix("skcvae ") in COMMANDS
    if name.startswith("--"):
        used = [q.removeprefix("skcvae ") for q in quoted(item) if q[:7] == "skcvae "]
        return any(name in p.opts for c in used for p in COMMANDS[c].params)
    first, attribute, parameter = re.match(
        r"(\w+)(?:\.(\w+))?(?:\((\w+)=)?", name
    ).groups()
    found = NAMES.get(first)
    return (
        found is not None
        and (attribute is None or hasattr(found, attribute))
        and (parameter is None or parameter in inspect.signature(found).parameters)
    )


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["item"])
def test_each_item_has_a_decision_with_a_reason_and_names_what_exists(item):
    assert item["decision"] in ("built", "different", "no")
    assert len(item["where or why"]) > 10 or quoted(item)
    assert [name for name in quoted(item) if not is_there(name, item)] == []


def test_what_was_built_says_where():
    vague = {
        item["item"]
        for item in ITEMS
        if item["decision"] == "built" and not quoted(item)
    }
    # A property of the whole gallery.
    assert vague == {"notebooks"}


def test_no_item_stands_twice():
    names = [(item["source"], item["item"]) for item in ITEMS]
    assert len(set(names)) == len(names)


def test_the_check_finds_names_that_do_not_exist():
    item = {"where or why": "`skcvae embed` with `--output`"}
    assert is_there("--output", item) and not is_there("--no-such-option", item)
    assert is_there("CVAE(beta=...)", item) and not is_there("CVAE(gamma=...)", item)
    assert is_there("CVAE.encode", item) and not is_there("CVAE.decoded", item)
    assert not is_there("no_such_script.py", item) and not is_there("NoSuch", item)


@pytest.fixture(scope="module")
def contradictions():
    folder = str(ROOT / "examples" / "thesis")
    sys.path.insert(0, folder)
    yield importlib.import_module("contradictions")
    sys.path.remove(folder)


def test_what_is_stored_is_drawn_again_within_its_class(contradictions):
    y = np.repeat([3, 5], [9, 4])
    X = np.random.default_rng(0).normal(size=(13, 2)).astype(np.float32)
    generator = ClassGaussian(random_state=0).fit(X, y)
    stored = contradictions.Stored(generator, 2).fit(X, y)

    X_new, y_new = stored.sample(y=np.repeat([5, 3], 20), random_state=1)

    for label in (3, 5):
        drawn = np.unique(X_new[y_new == label], axis=0)
        np.testing.assert_array_equal(drawn, np.unique(stored.stored_[label], axis=0))


def test_width_is_one_for_the_test_samples_themselves(contradictions):
    X = np.random.default_rng(0).normal(size=(30, 2))
    data = Bunch(X_test=X, y_test=np.repeat([0, 1, 2], 10))

    class Twice:
        def sample(self, y, **kwargs):
            return 2 * X, y

    assert contradictions.width(Twice(), data) == pytest.approx(4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_experiment_prints_a_row_for_each_setting(
    contradictions, tmp_path, monkeypatch, capsys
):
    rng = np.random.default_rng(0)
    y, y_test = np.repeat(range(4), [120, 40, 12, 6]), np.repeat(range(4), 8)
    centres = 9 * rng.normal(size=(4, 6))
    arrays = {
        "X_train": (centres[y] + rng.normal(size=(178, 6))).astype(np.float32),
        "X_test": (centres[y_test] + rng.normal(size=(32, 6))).astype(np.float32),
    }
    np.savez(tmp_path / "set.npz", **arrays, y_train=y, y_test=y_test)
    files = {contradictions.CIFAR_100: "set.npz"}
    monkeypatch.setattr(contradictions, "FILES", files)
    brief = CVAE(max_epochs=1, latent_dim=2, random_state=0)
    monkeypatch.setattr(contradictions, "thesis_cvae", lambda **given: brief)

    contradictions.main(tmp_path, tmp_path / "cache", ["online"], seeds=1)

    rows = capsys.readouterr().out.splitlines()[-4:]
    assert [row.split(":")[0] for row in rows] == ["online", *["offline"] * 3]
    scores = np.array([row.split()[-4:] for row in rows], dtype=float)
    assert (scores[:, 1] == 100).all()
