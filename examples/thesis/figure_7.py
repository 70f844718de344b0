"""Figure 7 of the thesis: class sizes; beside it generated samples in the plane."""

from pathlib import Path

import numpy as np
import typer
from _anonymization import DataOption
from _figures import (
    IMAGES,
    CacheOption,
    EpochsOption,
    PNGOption,
    epochs_note,
    open_panels,
    open_setup,
    save,
)
from _thesis import THESIS_CVAE_EPOCHS

from skcvae.inspection import ProjectionDisplay

N_CLASSES = 3
MAX_POINTS = 300


def class_sizes(y):
    """Return the labels and sizes of the classes, the largest first."""
    labels, counts = np.unique(y, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return labels[order], counts[order]


def draw_sizes(panel, name, counts):
    """Draw a bar for each class."""
    panel.bar(np.arange(1, len(counts) + 1), counts, width=1, edgecolor="white", lw=0.3)
    panel.set(title=name, xlabel="class, the largest first", ylabel="training samples")


def draw_plane(panel, setup, labels):
    """Draw test samples of some classes, and as many from the thesis's small CVAE."""
    data = setup.data
    chosen = np.isin(data.y_test, labels)
    X, y = data.X_test[chosen], data.y_test[chosen]
    cvae = setup.fit(setup.thesis_cvae("small", 1))
    X_new, y_new = cvae.sample(y=y, random_state=0)
    ProjectionDisplay.from_data(
        X, y, X_new, y_new, max_points=MAX_POINTS, ax=panel, markersize=3
    )
    panel.set_title("largest, middle and smallest class")


def main(
    data: DataOption,
    figure: PNGOption = IMAGES / "figure_7.png",
    cvae_epochs: EpochsOption = THESIS_CVAE_EPOCHS,
    cache: CacheOption = None,
):
    """Draw the sizes of all classes and samples of three of them."""
    print(__doc__, "\n")
    drawing, panels = open_panels(2 * len(data), 3.6)
    for i, path in enumerate(data):
        with open_setup(path, cvae_epochs, cache=cache) as setup:
            labels, counts = class_sizes(setup.data.y_train)
            draw_sizes(panels[2 * i], Path(path).stem, counts)
            middle = np.linspace(0, len(labels) - 1, N_CLASSES).round().astype(int)
            draw_plane(panels[2 * i + 1], setup, labels[middle])
            print(f"{path.stem}: {counts[0]} to {counts[-1]} samples in a class")
    save(drawing, figure)
    print(f"""
What differs from the thesis: it has the sizes alone. The plane is that of the principal
components of the test samples; the CVAE, small, is {epochs_note(setup)}.
""")


if __name__ == "__main__":
    typer.run(main)
