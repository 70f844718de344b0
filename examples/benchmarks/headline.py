"""The table and the figure of the README, from the tables of the user guide.

    python examples/benchmarks/headline.py [--figure FILE.png] [--json FILE.jsonl]

Other benchmarks printed those tables; nothing is measured here.
"""

import re
from pathlib import Path
from typing import Annotated

import typer
from _common import record

GUIDE = Path(__file__).parents[2] / "docs" / "user_guide"
# Page, heading or sentence above the table, line of the table, and its column.
SOURCES = {
    "logistic regression": (
        *("which_generator.md", "### Long-tailed CIFAR-100"),
        *("no over-sampling", "offline"),
    ),
    "the same after SMOTE": (
        *("which_generator.md", "### Long-tailed CIFAR-100", "SMOTE", "offline"),
    ),
    "the same after `GenerativeOverSampler`": (
        *("which_generator.md", "### Long-tailed CIFAR-100"),
        *("ClassGaussian", "offline"),
    ),
    "`LongTailClassifier`": (
        *("long_tail_measured.md", "| the original tail", "closed form, the default"),
        "balanced",
    ),
    "`LogLinearPool` of three classifiers": (
        *("long_tail_measured.md", "Long-tailed CIFAR-100 (`--only original`)"),
        *("+ both", "balanced"),
    ),
}


def cells_of(line):
    """Return the cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def look_up(page, above, name, column):
    """Return a number of the first line of that name below a text."""
    lines = (GUIDE / page).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(above))
    row = next(i for i in range(start, len(lines)) if name in cells_of(lines[i]))
    header = row
    while not lines[header + 1].startswith("|---"):
        header -= 1
    cell = cells_of(lines[row])[cells_of(lines[header]).index(column)]
    return float(re.match(r"[\d.]+", cell)[0])


def scores():
    """Return the balanced accuracies in percent, by method."""
    return {method: look_up(*source) for method, source in SOURCES.items()}


def table():
    """Return the table of the README."""
    lines = ["| long-tailed CIFAR-100, ViT-Ti/16 | balanced accuracy |", "|---|---|"]
    lines += [f"| {method} | {score:.1f} % |" for method, score in scores().items()]
    return "\n".join(lines)


def errors():
    """Return the balanced errors by method, divided by that of the first."""
    first, *others = ((name, 100 - score) for name, score in scores().items())
    return {f"{name}, error": error / first[1] for name, error in others}


def draw(path):
    """Draw the accuracies as bars."""
    import matplotlib.pyplot as plt

    names = [name.replace("`", "") for name in scores()]
    values = list(scores().values())
    fig, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
    colours = ["0.75", "0.75", "tab:blue", "tab:blue", "tab:blue"]
    bars = ax.barh(names, values, color=colours, height=0.7)
    ax.bar_label(bars, fmt="%.1f %%", padding=4)
    ax.invert_yaxis()
    ax.set_xlim(0, 80)
    ax.set_xticks([])
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
    ax.set_title("Balanced accuracy on 100 classes of 500 down to 5 images", loc="left")
    fig.savefig(path, dpi=120)


def main(
    figure: Annotated[Path | None, typer.Option(help="Where to draw it.")] = None,
    json: Annotated[Path | None, typer.Option(help="History to append to.")] = None,
) -> None:
    """Print the table of the README."""
    print(table())
    if figure is not None:
        draw(figure)
    record(json, "headline", errors())


if __name__ == "__main__":
    typer.run(main)
