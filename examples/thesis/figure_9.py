"""Figure 9 of the thesis: Fréchet distance of generated samples by the variance."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _anonymization import DataOption
from _figures import (
    ARCHITECTURES,
    IMAGES,
    CacheOption,
    CSVOption,
    EpochsOption,
    PNGOption,
    balanced_samples,
    epochs_note,
    finish_panels,
    fit_both,
    open_panels,
    open_setup,
)
from _methods import VARIANCES
from _thesis import RESULTS, THESIS_CVAE_EPOCHS, write_csv

from skcvae.inspection import FrechetVarianceDisplay
from skcvae.metrics import class_frechet_distance

OURS = [variance**2 for variance in VARIANCES]
WHOSE = ("CVAE (thesis)", "CVAE (ours)")
REAL = "real samples"


def mean_distance(data, X, y):
    """Return the distance to the test samples, averaged over classes."""
    X_test, y_test = data.X_test, data.y_test
    return class_frechet_distance(X_test, X, y_real=y_test, y_synthetic=y).mean


def distances(generator, data):
    """Return the distance of generated samples for each variance."""
    found = []
    for variance in OURS:
        X, y = generator.sample(y=data.y_test, variance=variance, random_state=0)
        found.append(mean_distance(data, X, y))
    return found


def real_distance(data, path):
    """Return the distance of as many real samples as there are test samples.

    It is the least that a generator can reach. None where the reference samples are of
    other classes than the data, or there are none.
    """
    if path is None:
        return None
    X, y = balanced_samples(data, path)
    labels, counts = np.unique(data.y_test, return_counts=True)
    if not np.array_equal(np.unique(y), labels):
        return None
    order = np.random.RandomState(0).permutation(len(y))
    drawn = [
        order[y[order] == label][:count]
        for label, count in zip(labels, counts, strict=True)
    ]
    chosen = np.concatenate(drawn)
    return mean_distance(data, X[chosen], y[chosen])


def compare(setup):
    """Return by architecture the distances for the thesis's CVAE and for ours."""
    return {
        architecture: [
            distances(cvae, setup.data) for cvae in fit_both(setup, architecture)
        ]
        for architecture in ARCHITECTURES
    }


def table(name, found, floor, note):
    """Return the rows of the CSV for one data set."""
    rows = []
    for i, (model, about) in enumerate(
        zip(WHOSE, (note, "not in the thesis"), strict=True)
    ):
        for architecture, pair in found.items():
            row = {"data": name, "model": model, "architecture": architecture}
            rows.append({**row, **cells(pair[i]), "note": about})
    if floor is not None:
        row = {"data": name, "model": REAL, "architecture": ""}
        rows.append({**row, **cells([floor] * len(OURS)), "note": "not in the thesis"})
    return rows


def cells(values):
    """Return the distances by variance."""
    return {f"variance {v:g}": f"{d:.0f}" for v, d in zip(OURS, values, strict=True)}


def draw(results, path):
    """Draw two panels for each data set, with the same vertical axis."""
    figure, panels = open_panels(len(WHOSE) * len(results), 3.6, sharey="row")
    held = iter(panels)
    for name, (found, floor) in results.items():
        for i, model in enumerate(WHOSE):
            panel, curves = next(held), {a: pair[i] for a, pair in found.items()}
            if floor is not None:
                curves[REAL] = [floor] * len(OURS)
            panel.set_title(f"{name}, {model}", fontsize=10)
            names, values = list(curves), list(curves.values())
            FrechetVarianceDisplay.from_data(OURS, values, names, ax=panel)
    finish_panels(figure, panels, path)


def main(
    data: DataOption,
    reference: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The samples that the training samples lack (.npz): X and y.",
        ),
    ] = None,
    output: CSVOption = RESULTS / "figure_9.csv",
    figure: PNGOption = IMAGES / "figure_9.png",
    cvae_epochs: EpochsOption = THESIS_CVAE_EPOCHS,
    cache: CacheOption = None,
):
    """Draw and print distances of as many generated samples as there are to test."""
    print(__doc__, "\n")
    rows, results = [], {}
    for path in data:
        with open_setup(path, cvae_epochs, cache=cache) as setup:
            found, floor = compare(setup), real_distance(setup.data, reference)
        results[path.stem] = found, floor
        rows += table(path.stem, found, floor, epochs_note(setup))
    for row in rows:
        *about, _note = row.values()
        print("".join(f"{cell:>22}" for cell in about[:3]), *about[3:], sep="\t")
    print(f"""
The columns are {", ".join(list(rows[0])[3:-1])}.

What differs from the thesis: the embeddings; the long-tailed sets of its four; the
thesis's CVAEs are {epochs_note(setup)}. "Variance" is
what multiplies the variance of the latents: the square of what the thesis's program
has, which is {", ".join(f"{v:g}" for v in VARIANCES)}. "{REAL}": as many of the
balanced training set.
""")
    write_csv(rows, output)
    draw(results, figure)


if __name__ == "__main__":
    typer.run(main)
