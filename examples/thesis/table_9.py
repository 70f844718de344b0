"""Table 9 of the thesis: what a linear classifier learns from generated embeddings."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _anonymization import (
    ALLOW,
    DataOption,
    StepsOption,
    cells,
    epochs_note,
    number,
    print_line,
    read,
    thesis_cvae,
)
from _thesis import NUMBERS, RESULTS, write_csv

from skcvae.anonymization import CVAEAnonymizer
from skcvae.metrics import linear_probe

# Names of the columns, the decimals of each, and what one is in the unit of the thesis.
SCORES = {"accuracy": (2, 100), "f1": (3, 1), "kappa": (3, 1)}
# As in the thesis: Adam and early stopping. Its F1 scores are close to its accuracies
# where classes are of very different sizes: they are weighted by these.
PROBE = {"weight_decay": 0.0, "average": "weighted"}


def find_thesis_name(stem):
    """Return the thesis's name of a data set, None where it has no such set."""
    names = {name.lower(): name for name in NUMBERS["table_9"] if ", " not in name}
    return names.get(stem.lower().replace("-", "_").split("_")[0])


def generate(X, y, cvae_steps, n_runs):
    """Yield name, number of the thesis, note and the rows of each run."""
    yield "original", "{}", "", [X] * n_runs
    thesis = thesis_cvae("large", len(X), cvae_steps, 0).fit(X, y)
    drawn = (thesis.sample(y=y, random_state=seed)[0] for seed in range(n_runs))
    note = f"{epochs_note(thesis)}, once for all runs"
    yield "generated, thesis's large CVAE", "{}, generated", note, drawn
    drawn = (
        CVAEAnonymizer(random_state=seed, **ALLOW).fit_transform(X, y)
        for seed in range(n_runs)
    )
    yield "generated, CVAE (ours)", "", "not in the thesis; trained in each run", drawn


def table_rows(data, cvae_steps, n_runs):
    """Yield the rows of a data set."""
    (X, y), val, test = data.parts()
    name = find_thesis_name(data.name)
    what = "" if name else f"stand-in, no data set of the thesis, {data.kind}"
    for trained_on, key, note, runs in generate(X, y, cvae_steps, n_runs):
        results = [
            linear_probe((rows, y), *val, *test, random_state=seed, **PROBE)
            for seed, rows in enumerate(runs)
        ]
        row = {"data": data.name, "trained_on": trained_on}
        for score, (decimals, unit) in SCORES.items():
            values = [unit * getattr(result, score) for result in results]
            row |= cells(score, values, decimals)
        thesis = NUMBERS["table_9"].get(key.format(name), {})
        for score, (decimals, _) in SCORES.items():
            row[f"thesis_{score}"] = number(thesis.get(score, np.nan), decimals)
        yield {**row, "note": "; ".join(filter(None, (what, note)))}


def print_differences():
    """Say in what the runs differ from those of the thesis."""
    print("""
What differs from the thesis:
- Data: the thesis has DINOv2 ViT-B/14 embeddings of eight MedMNIST sets. Files of
  other names are stand-ins, and no number of the thesis stands beside theirs.
- The thesis's large CVAE: fewer epochs where the notes say so.
- Runs: rows are drawn and a head is trained in each; ours trains its CVAE, too.
- Classifier: epochs of 50 steps of 256 rows, at most 100, stopped after 10 without a
  lower validation loss. Without validation rows in the file, they are a fifth of the
  test rows, or of all.
- F1: averaged by class size, which is what the numbers of the thesis look like.
""")


def main(
    data: DataOption,
    output: Annotated[Path, typer.Option(help="CSV to write.")] = RESULTS
    / "table_9.csv",
    cvae_steps: StepsOption = None,
    runs: Annotated[int, typer.Option(min=1, help="Number of runs.")] = 5,
):
    """Train on original and on generated rows, and test on original ones."""
    # The last data set of a file has the finest classes.
    data_sets = [read(path)[-1] for path in data]
    print(f"{__doc__}\nmean and standard deviation of {runs} runs\n")
    names = [*SCORES, *(f"thesis_{score}" for score in SCORES)]
    print(f"{'':60}" + "".join(f"{name:>16}" for name in names))
    rows = []
    for data_set in data_sets:
        for row in table_rows(data_set, cvae_steps, runs):
            rows.append(row)
            start = f"{row['data']:29}{row['trained_on']:31}"
            print(start + print_line(row, names), flush=True)
    print_differences()
    write_csv(rows, output)


if __name__ == "__main__":
    typer.run(main)
