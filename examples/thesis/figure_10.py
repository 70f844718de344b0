"""Figure 10 of the thesis: which share of the balanced rows is covered, by class."""

import typer
from _figures import (
    IMAGES,
    CacheOption,
    CSVOption,
    DataOption,
    EpochsOption,
    PNGOption,
    ReferenceOption,
    balanced_rows,
    class_values,
    epochs_note,
    open_setup,
    our_cvae,
    show_classes,
    smote,
)
from _thesis import RESULTS, THESIS_CVAE_EPOCHS
from sklearn.model_selection import train_test_split

from skcvae.inspection import ClassCoverageDisplay
from skcvae.metrics import class_nearest_neighbor_coverage

# What the thesis's program calls variance is a standard deviation.
DEVIATIONS = (1, 2)


def common(data, X, y):
    """Return rows that no CVAE has made."""
    return {
        "training rows": (data.X_train, data.y_train),
        "training rows and SMOTE": smote(data),
    }


def generated(setup, architecture, X, y):
    """Return as many generated rows as there are balanced ones."""
    thesis, ours = setup.thesis_cvae(architecture, 1), our_cvae(setup, architecture)
    sets = {
        f"CVAE (thesis), variance {d**2}": thesis.sample(
            y=y, variance=d**2, random_state=0
        )
        for d in DEVIATIONS
    }
    sets["CVAE (thesis), reconstructed"] = thesis.reconstruct(X, y), y
    sets["CVAE (ours)"] = ours.sample(y=y, random_state=0)
    return sets


def coverage(rows, X, y):
    """Return the share of the balanced rows of each class that rows are nearest to."""
    result = class_nearest_neighbor_coverage(X, rows[0], y_reference=y, y=rows[1])
    return result.coverages


def half_coverage(X, y):
    """Return the share of a half of real rows that the other half covers.

    It is what rows of the same distribution would reach, and no training row helps.
    """
    X, X_other, y, y_other = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=0
    )
    return coverage((X_other, y_other), X, y).mean()


def main(
    data: DataOption,
    reference: ReferenceOption,
    output: CSVOption = RESULTS / "figure_10.csv",
    figure: PNGOption = IMAGES / "figure_10.png",
    cvae_epochs: EpochsOption = THESIS_CVAE_EPOCHS,
    cache: CacheOption = None,
):
    """Draw and print the coverage of the classes, which are sorted by size."""
    print(__doc__, "\n")
    with open_setup(data, cvae_epochs, cache=cache) as setup:
        values = class_values(setup, reference, common, generated, coverage)
        half = half_coverage(*balanced_rows(setup.data, reference))
    note = epochs_note(setup)
    show_classes(values, ClassCoverageDisplay, setup.data, note, output, figure)
    print(f"Half of the balanced rows cover {half:.3f} of the other half.")
    print(f"""
What differs from the thesis: the embeddings; SMOTE and "ours" are not in it; its CVAEs
are {note}. Training rows are among the balanced
ones, and cover themselves. SMOTE's rows hold the training rows, those of CVAEs do not.
""")


if __name__ == "__main__":
    typer.run(main)
