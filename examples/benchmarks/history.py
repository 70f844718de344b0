"""What benchmarks found over time, as ratios, and whether one of them got worse.

    python examples/benchmarks/history.py [FILE.jsonl]

Each benchmark with the option `--json FILE` appends one line to a file such as
`history.jsonl` here: the commit, the versions, the machine, and its figures. All are
ratios within one run, of seconds, of memory or of errors: the lower, the better. This
script compares the last entry of each benchmark with the one before, and ends with
status 1 where a ratio grew by more than the factor in `ALLOWED`. `.ci/slow ratios`
measures first. The documentation shows the table and the figure of this script.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

HISTORY = Path(__file__).with_name("history.jsonl")
# By how much a ratio may grow. Seconds differ from run to run on a busy machine; errors
# come from tables, and change only with them.
ALLOWED = {"seconds": 1.5, "memory": 1.25, "error": 1.02}
N_COLUMNS = 4


def read(path=HISTORY):
    """Return the entries of a file, the oldest first."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def by_figure(entries):
    """Return pairs of an entry and a ratio, the oldest first, for each figure."""
    found = {}
    for entry in entries:
        for name, ratio in entry["figures"].items():
            found.setdefault((entry["benchmark"], name), []).append((entry, ratio))
    return found


def grown(entries):
    """Return a sentence for each ratio that grew by more than is allowed."""
    sentences = []
    for (benchmark, name), series in by_figure(entries).items():
        if len(series) < 2:
            continue
        (before, old), (after, new) = series[-2:]
        factor = ALLOWED[name.rsplit(", ", 1)[1]]
        if new > factor * old:
            sentences.append(
                f"{benchmark}: {name} is {new:.2f} at {after['commit']}, was {old:.2f} "
                f"at {before['commit']}: more than {factor} times as much."
            )
    return sentences


def table(entries):
    """Return the last ratios of each figure as a table in Markdown."""
    lines = [
        f"| ratio | {' | '.join(['before'] * (N_COLUMNS - 1))} | last | measured |",
        "|---|" + N_COLUMNS * "---:|" + "---|",
    ]
    for (benchmark, name), series in by_figure(entries).items():
        cells = [f"{ratio:.2f}" for _, ratio in series[-N_COLUMNS:]]
        cells = [""] * (N_COLUMNS - len(cells)) + cells
        last = series[-1][0]
        when = f"{last['date']}, {last['commit']}"
        lines.append(f"| {benchmark}: {name} | {' | '.join(cells)} | {when} |")
    return "\n".join(lines)


def draw(entries, path):
    """Draw each ratio as a share of the first that is known."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(
        1, len(ALLOWED), figsize=(9, 3), sharey=True, layout="constrained"
    )
    figures = by_figure(entries)
    n_entries = max(map(len, figures.values()))
    for ax, kind in zip(axes, ALLOWED, strict=True):
        for (_, name), series in figures.items():
            if name.endswith(f", {kind}"):
                ratios = [ratio / series[0][1] for _, ratio in series]
                ax.plot(range(1, len(ratios) + 1), ratios, ".-", color="tab:blue")
        ax.axhline(1, color="0.7", linewidth=1, zorder=0)
        ax.set(title=kind, xlabel="entry", yscale="log")
        ax.set(xlim=(0.5, n_entries + 0.5), xticks=range(1, n_entries + 1))
    axes[0].set_ylabel("ratio / first ratio")
    fig.savefig(path, dpi=120)
    plt.close(fig)


def main(
    file: Annotated[Path, typer.Argument(help="What benchmarks wrote.")] = HISTORY,
) -> None:
    """Print the ratios, and fail where one grew by too much."""
    entries = read(file)
    print(table(entries))
    sentences = grown(entries)
    print("\n".join(["", *sentences]))
    raise typer.Exit(bool(sentences))


if __name__ == "__main__":
    typer.run(main)
