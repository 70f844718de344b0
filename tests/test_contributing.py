"""The code of CONTRIBUTING.md runs as it stands, and so do the tests in it."""

import importlib
import re
import sys
import textwrap
import types
from pathlib import Path

import pytest
from torch import nn

from skcvae.long_tail import LongTailClassifier

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"\n## Add a (\w+)\n(.*?)(?=\n## )", TEXT, flags=re.DOTALL))


def code_blocks(recipe):
    """Return the path and the code of each block."""
    blocks = re.findall(r"```python\n(.*?)```", recipe, flags=re.DOTALL)
    for block in map(textwrap.dedent, blocks):
        path, code = block.split("\n", 1)
        yield path.removeprefix("# "), code


def add_to_package(path, code, monkeypatch):
    """Run code as a new module of skcvae, or as an end of one; export its names."""
    name = path.removesuffix(".py").replace("/", ".")
    package = importlib.import_module(name.rpartition(".")[0])
    module = types.ModuleType(name)
    if (ROOT / path).exists():
        vars(module).update(vars(importlib.import_module(name)))
    else:
        module.__package__ = package.__name__
        monkeypatch.setitem(sys.modules, name, module)
    before = set(vars(module))
    exec(compile(code, path, "exec"), vars(module))
    for added in set(vars(module)) - before:
        monkeypatch.setattr(package, added, getattr(module, added), raising=False)
    return module


def register_loss(loss, monkeypatch):
    """Do what the second step of the recipe says, which a fresh import would see."""
    head_net = importlib.import_module("skcvae.long_tail._head_net")
    monkeypatch.setitem(head_net.LOSSES, "poly", loss)
    constraints = LongTailClassifier._parameter_constraints
    monkeypatch.setitem(constraints, "loss", [str, nn.Module])


def test_there_are_four_recipes():
    assert set(RECIPES) == {"sampler", "metric", "generator", "loss"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_names_are_exported_where_the_recipe_says(recipe):
    [path] = re.findall(r"to `__all__` in `(.*?)`", RECIPES[recipe])
    assert "\n__all__ = [\n" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe(recipe, monkeypatch):
    (path, code), (test_path, tests) = code_blocks(RECIPES[recipe])
    module = add_to_package(path, code, monkeypatch)
    if recipe == "loss":
        register_loss(module.PolyLoss, monkeypatch)
    names = {}
    exec(compile(tests, test_path, "exec"), names)
    found = [test for name, test in names.items() if name.startswith("test_")]
    assert len(found) >= 2
    for test in found:
        test()
