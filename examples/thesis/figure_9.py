"""Figure 9 of the thesis: Fréchet distance of generated rows against the variance."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _figures import (
    ARCHITECTURES,
    IMAGES,
    CacheOption,
    CSVOption,
    DataOption,
    EpochsOption,
    PNGOption,
    balanced_rows,
    epochs_note,
    finish_panels,
    open_panels,
    open_setup,
    our_cvae,
)
from _methods import VARIANCES
from _thesis import RESULTS, THESIS_CVAE_EPOCHS, write_csv

from skcvae.inspection import FrechetVarianceDisplay
from skcvae.metrics import class_frechet_distance

OURS = [variance**2 for variance in VARIANCES]


def mean_distance(data, X, y):
    """Return the distance to the test rows, averaged over classes."""
    X_test, y_test = data.X_test, data.y_test
    return class_frechet_distance(X_test, X, y_real=y_test, y_synthetic=y).mean


def distances(generator, data):
    """Return the distance of generated rows for each variance."""
    found = []
    for variance in OURS:
        X, y = generator.sample(y=data.y_test, variance=variance, random_state=0)
        found.append(mean_distance(data, X, y))
    return found


def real_distance(data, path):
    """Return the distance of as many real rows as there are test rows: the floor."""
    X, y = balanced_rows(data, path)
    order = np.random.RandomState(0).permutation(len(y))
    labels, counts = np.unique(data.y_test, return_counts=True)
    drawn = [
        order[y[order] == label][:count]
        for label, count in zip(labels, counts, strict=True)
    ]
    rows = np.concatenate(drawn)
    return mean_distance(data, X[rows], y[rows])


def compare(setup):
    """Return for the thesis's objective and for ours the distances by architecture."""
    makers = {
        "CVAE (thesis)": lambda name: setup.thesis_cvae(name, 1),
        "CVAE (ours)": lambda name: our_cvae(setup, name),
    }
    return {
        whose: {name: distances(make(name), setup.data) for name in ARCHITECTURES}
        for whose, make in makers.items()
    }


def table(results, note):
    """Return the rows of the CSV."""
    rows = []
    for whose, by_architecture in results.items():
        for name, values in by_architecture.items():
            row = {"model": whose, "architecture": name}
            for variance, value in zip(OURS, values, strict=True):
                row[f"variance {variance:g}"] = f"{value:.0f}"
            of_thesis = whose == "CVAE (thesis)"
            rows.append({**row, "note": note if of_thesis else "not in the thesis"})
    return rows


def draw(results, floor, path):
    """Draw one panel for each objective, with the same vertical axis."""
    figure, panels = open_panels(len(results), 3.6, sharey=True)
    for panel, (whose, by_architecture) in zip(panels, results.items(), strict=True):
        names = list(by_architecture)
        values = list(by_architecture.values())
        if floor is not None:
            names, values = [*names, "real rows"], [*values, [floor] * len(OURS)]
        panel.set_title(whose)
        FrechetVarianceDisplay.from_data(OURS, values, names, ax=panel)
    finish_panels(figure, panels, path)


def main(
    data: DataOption,
    reference: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The rows that the training rows lack (.npz): X and y.",
        ),
    ] = None,
    output: CSVOption = RESULTS / "figure_9.csv",
    figure: PNGOption = IMAGES / "figure_9.png",
    cvae_epochs: EpochsOption = THESIS_CVAE_EPOCHS,
    cache: CacheOption = None,
):
    """Draw and print distances of as many generated rows as there are test rows."""
    print(__doc__, "\n")
    with open_setup(data, cvae_epochs, cache=cache) as setup:
        results = compare(setup)
    rows = table(results, epochs_note(setup))
    names = [name for name in rows[0] if name.startswith("variance")]
    print(f"{'':24}{'':14}" + "".join(f"{name:>16}" for name in names))
    for row in rows:
        cells = "".join(f"{row[name]:>16}" for name in names)
        print(f"{row['model']:24}{row['architecture']:14}{cells}")
    floor = None if reference is None else real_distance(setup.data, reference)
    if floor is not None:
        print(f"As many rows of the balanced training set: {floor:.0f}")
    print(f"""
What differs from the thesis: the embeddings; one data set of its four; the thesis's
CVAEs are {epochs_note(setup)}. "Variance" is what
multiplies the variance of the latents: the square of what the thesis's program has,
which is {", ".join(f"{v:g}" for v in VARIANCES)}.
""")
    write_csv(rows, output)
    draw(results, floor, figure)


if __name__ == "__main__":
    typer.run(main)
