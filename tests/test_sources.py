"""The decisions on the items of the sources name what there is."""

import csv
import importlib
import inspect
import re
from pathlib import Path

import pytest
from typer.main import get_command

from skcvae.cli import app

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
