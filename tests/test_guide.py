"""The code blocks of each page of the guide run, one after the other."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parents[1] / "docs"
# test_write_a_generator.py runs the blocks of this page and more.
ELSEWHERE = {"write_a_generator.md"}
PAGES = [
    path
    for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("user_guide/*.md")])
    if "```python\n" in path.read_text(encoding="utf-8") and path.name not in ELSEWHERE
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
# Blocks fit small models for few epochs, which warn of it.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_code_blocks_of_a_page_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    for block in re.finditer(r"```python\n(.*?)```", text, flags=re.DOTALL):
        # Errors name the line of the page.
        lines = "\n" * (text[: block.start(1)].count("\n"))
        exec(compile(lines + block[1], path, "exec"), names)
    plt.close("all")
