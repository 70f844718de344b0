"""The code blocks of each page of the guide run, one after the other."""

import re
from pathlib import Path

import headline
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from skcvae.embedding import FoundationEmbedder

DOCS = Path(__file__).parents[1] / "docs"
# test_write_a_generator.py runs the blocks of this page and more.
ELSEWHERE = {"write_a_generator.md"}
# First words of a line of the table of methods, and where its figures come from.
NEW_TAILS = "Three long tails drawn anew"
FIGURES_OF_METHODS = {
    "any long tail": (NEW_TAILS, "classifier"),
    "images": (NEW_TAILS, "+ neighbours"),
    "classes have shapes": (NEW_TAILS, "+ both"),
    "a generator other": ("| three new tails", '`solver="sgd"`'),
    "no generator": ("| three new tails", "balanced softmax"),
}
PAGES = [
    path
    for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("user_guide/*.md")])
    if "```python\n" in path.read_text(encoding="utf-8") and path.name not in ELSEWHERE
]


def colours(images):
    """Describe images by mean and spread of each channel."""
    pixels = [np.asarray(image).reshape(-1, 3) for image in images]
    return [[*p.mean(axis=0), *p.std(axis=0)] for p in pixels]


@pytest.fixture
def small_world(tmp_path, monkeypatch):
    """Photos in a folder, and a small encoder where a page downloads the default."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.RandomState(0)
    for label, colour, n_photos in (
        ("hat", 60, 120),
        ("shirt", 100, 60),
        ("bag", 140, 16),
    ):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(n_photos):
            pixels = rng.normal(colour, 30, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    defaults = {**FoundationEmbedder.__init__.__kwdefaults__, "name": "colours"}
    monkeypatch.setattr(FoundationEmbedder.__init__, "__kwdefaults__", defaults)
    monkeypatch.setattr(FoundationEmbedder.__init__, "__defaults__", (colours,))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
# Blocks fit small models for few epochs, which warn of it.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_code_blocks_of_a_page_run(path, small_world):
    text = path.read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    for block in re.finditer(r"```python\n(.*?)```", text, flags=re.DOTALL):
        # Errors name the line of the page.
        lines = "\n" * (text[: block.start(1)].count("\n"))
        exec(compile(lines + block[1], path, "exec"), names)
    plt.close("all")


@pytest.mark.parametrize("where", FIGURES_OF_METHODS)
def test_table_of_methods_has_the_figures_of_the_measured_page(where):
    page = (DOCS / "user_guide" / "long_tail.md").read_text(encoding="utf-8")
    line = next(s for s in page.splitlines() if s.startswith(f"| {where}"))
    source = FIGURES_OF_METHODS[where]
    measured = [
        headline.look_up("long_tail_measured.md", *source, column)
        for column in ("balanced", "few", "NLL")
    ]
    assert [float(cell) for cell in headline.cells_of(line)[-3:]] == measured
