"""What the scripts on anonymization share: data sets, CVAE, cells and figures."""

import math
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _thesis import (
    RESULTS,
    THESIS_CVAE_EPOCHS,
    THESIS_LATENTS,
    THESIS_TRAINING,
    n_batches,
)
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from skcvae.anonymization import CVAEAnonymizer

IMAGES = RESULTS.parent / "images"

# What a file holds, either of the two; X_val and y_val as well where it has them.
_ARRAYS = (("X", "y"), ("X_train", "y_train", "X_test", "y_test"))

DataOption = Annotated[
    list[Path],
    typer.Option(exists=True, dir_okay=False, help="Embeddings (.npz); repeat."),
]
StepsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Most steps of the thesis's CVAE; else 500 epochs."),
]

# Okabe and Ito's colours, which the colour-blind can tell apart; lines differ as well.
_COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LINES = ("-", "--", "-.", ":")


@dataclass
class DataSet:
    """Rows and labels, by the names of the arrays of an embeddings file."""

    name: str
    arrays: Bunch
    is_image: bool

    @property
    def kind(self):
        """What the features are."""
        what = "pixels" if self.is_image else "features"
        X = self.arrays.get("X_train", self.arrays.get("X"))
        return f"{X.shape[1]} {what}"

    def training_rows(self, min_class_size):
        """Return the distinct training rows of classes that are large enough."""
        X, y = (self.arrays.get(f"{n}_train", self.arrays.get(n)) for n in "Xy")
        first = np.sort(np.unique(X, axis=0, return_index=True)[1])
        X, y = X[first], y[first]
        labels, counts = np.unique(y, return_counts=True)
        kept = np.isin(y, labels[counts >= min_class_size])
        return X[kept], y[kept]

    def parts(self, seed=0):
        """Return the training, validation and test rows, each with labels.

        Without validation rows, these are a fifth of the test rows; without a split,
        a fifth of the rows is for validation and a fifth for the test.
        """
        arrays = self.arrays
        if "X" in arrays:
            train, rest = _cut(arrays.X, arrays.y, 0.4, seed)
            val, test = _cut(*rest, 0.5, seed)
            return train, val, test
        train, test = ((arrays[f"X_{s}"], arrays[f"y_{s}"]) for s in ("train", "test"))
        if "X_val" in arrays:
            return train, (arrays.X_val, arrays.y_val), test
        test, val = _cut(*test, 0.2, seed)
        return train, val, test


def _cut(X, y, share, seed):
    """Return two stratified parts, each rows and labels; `share` is the second's."""
    X, X_cut, y, y_cut = train_test_split(
        X, y, test_size=share, stratify=y, random_state=seed
    )
    return (X, y), (X_cut, y_cut)


def quarters(X, y, seed):
    """Return a half, a quarter and a quarter of the rows, each with labels."""
    half, rest = _cut(X, y, 0.5, seed)
    return half, *_cut(*rest, 0.5, seed)


def read(path):
    """Return the data sets of a file.

    Images become rows of pixels in [0, 1]. A file with the array `anomaly` gives a
    second data set, whose classes are those of the first split by it.
    """
    with np.load(path, allow_pickle=False) as file:
        held = {name: file[name] for name in file}
    if not any(set(names) <= set(held) for names in _ARRAYS):
        raise typer.BadParameter(
            f"{path} needs the arrays {', '.join(_ARRAYS[1])}, or X and y."
        )
    arrays = Bunch(**{n: a.ravel() for n, a in held.items() if n[:2] in ("y", "y_")})
    X_names = [n for n in held if n[:2] in ("X", "X_")]
    for name in X_names:
        rows = held[name].reshape(len(held[name]), -1).astype(np.float32)
        arrays[name] = rows / 255 if held[name].dtype == np.uint8 else rows
    is_image = held[X_names[0]].ndim > 2
    found = [DataSet(path.stem, arrays, is_image)]
    if "anomaly" in held:
        y = arrays.y.astype(int) * 2 + held["anomaly"]
        arrays = Bunch(**{**arrays, "y": y})
        found.append(DataSet(f"{path.stem} by anomaly", arrays, is_image))
    return found


# The thesis has numbers for all classes, also for those that are too small to publish.
ALLOW = {"small_classes": "allow"}


def thesis_cvae(architecture, n_rows, most_steps, seed):
    """Return the thesis's CVAE for so many rows; None for its number of epochs."""
    max_epochs = THESIS_CVAE_EPOCHS
    if most_steps is not None:
        max_epochs = min(max_epochs, max(1, most_steps // n_batches(n_rows)))
    return CVAEAnonymizer(
        architecture=architecture,
        max_epochs=max_epochs,
        random_state=seed,
        **THESIS_TRAINING,
        **THESIS_LATENTS,
        **ALLOW,
    )


def epochs_note(cvae):
    """Say how long the thesis's CVAE is trained."""
    return f"CVAE trained for {cvae.max_epochs} epochs (thesis: {THESIS_CVAE_EPOCHS})"


def cells(name, values, decimals):
    """Return the cells of a column: mean and sample standard deviation."""
    mean = np.mean(values)
    spread = np.std(values, ddof=1) if len(values) > 1 else math.nan
    return {name: number(mean, decimals), f"{name}_std": number(spread, decimals)}


def number(value, decimals):
    """Return a number as text, NaN as an empty string."""
    return "" if math.isnan(value) else f"{value:.{decimals}f}"


def print_line(row, names):
    """Print cells of a row, each mean with its deviation behind."""
    text = ""
    for name in names:
        spread = row.get(f"{name}_std", "")
        text += f"{row[name]:>8}{f' ±{spread}' if spread else '':8}"
    return text


def make_panels(n_panels, height):
    """Return a figure and its panels, two in a row."""
    from matplotlib.figure import Figure

    n_rows = math.ceil(n_panels / 2)
    figure = Figure(figsize=(9, height * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, min(2, n_panels), squeeze=False).ravel()
    for panel in panels[n_panels:]:
        panel.set_axis_off()
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.3)
    return figure, panels


def line_styles(names):
    """Return arguments of `plot` by name, all different."""
    return {
        name: {"color": color, "linestyle": line, "label": name}
        for name, color, line in zip(names, cycle(_COLORS), cycle(_LINES))
    }


def save_figure(figure, panel, path):
    """Put the legend of a panel under the figure, and write that as PNG."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
