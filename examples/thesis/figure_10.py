"""Figure 10 of the thesis: which share of the balanced samples is covered, by class."""

import typer
from _figures import (
    IMAGES,
    CacheOption,
    CSVOption,
    DataOption,
    EpochsOption,
    PNGOption,
    ReferenceOption,
    balanced_samples,
    class_values,
    epochs_note,
    fit_both,
    open_setup,
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
    """Return samples that no CVAE has made."""
    return {
        "training samples": (data.X_train, data.y_train),
        "training samples and SMOTE": smote(data),
    }


def generated(setup, architecture, X, y):
    """Return as many generated samples as there are balanced ones."""
    thesis, ours = fit_both(setup, architecture)
    sets = {
        f"CVAE (thesis), variance {d**2}": thesis.sample(
            y=y, variance=d**2, random_state=0
        )
        for d in DEVIATIONS
    }
    sets["CVAE (thesis), reconstructed"] = thesis.reconstruct(X, y), y
    sets["CVAE (ours)"] = ours.sample(y=y, random_state=0)
    return sets


def coverage(samples, X, y):
    """Return the share of each class of X that samples are nearest to."""
    X_other, y_other = samples
    result = class_nearest_neighbor_coverage(X, X_other, y_reference=y, y=y_other)
    return result.coverages


def half_coverage(X, y):
    """Return the share of a half of real samples that the other half covers.

    It is what samples of the same distribution would reach, without training samples.
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
        half = half_coverage(*balanced_samples(setup.data, reference))
    note = epochs_note(setup)
    show_classes(values, ClassCoverageDisplay, setup.data, note, output, figure)
    print(f"Half of the balanced samples cover {half:.3f} of the other half.")
    print(f"""
What differs from the thesis: the embeddings; SMOTE and "ours" are not in it; its CVAEs
are {note}. Training samples are among the
balanced ones, and cover themselves. SMOTE's samples hold them, those of CVAEs do not.
""")


if __name__ == "__main__":
    typer.run(main)
