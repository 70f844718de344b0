"""The page on security and privacy claims what tests hold."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "privacy_model.md").read_text(encoding="utf-8")


def test_each_promise_names_tests_that_exist():
    existing = {
        name
        for path in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)
    }
    promises = PAGE.split("## What is promised")[1].split("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row.split("|")[2])
        assert named and set(named) <= existing, row
