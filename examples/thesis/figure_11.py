"""Figure 11 of the thesis: radius of the smallest sphere around each class."""

import typer
from _figures import (
    IMAGES,
    CacheOption,
    CSVOption,
    DataOption,
    EpochsOption,
    PNGOption,
    ReferenceOption,
    class_values,
    epochs_note,
    fill_up,
    fit_both,
    open_setup,
    show_classes,
    smote,
)
from _thesis import RESULTS, THESIS_CVAE_EPOCHS

from skcvae.inspection import SphereRadiusDisplay
from skcvae.metrics import class_bounding_spheres

# What the thesis's program calls variance is a standard deviation.
DEVIATIONS = (1, 2)


def common(data, X, y):
    """Return samples that no CVAE has made."""
    return {
        "balanced samples": (X, y),
        "training samples": (data.X_train, data.y_train),
        "training samples and SMOTE": smote(data),
    }


def generated(setup, architecture, X, y):
    """Return training samples, filled up, and reconstructed balanced samples."""
    thesis, ours = fit_both(setup, architecture)
    sets = {
        f"filled up, thesis, variance {d**2}": fill_up(thesis, setup.data, y, d**2)
        for d in DEVIATIONS
    }
    sets["reconstructed, thesis"] = thesis.reconstruct(X, y), y
    sets["filled up, CVAE (ours)"] = fill_up(ours, setup.data, y, 1)
    return sets


def radii(samples, X, y):
    """Return the radius of each class."""
    return class_bounding_spheres(samples[0], y=samples[1]).radii


def main(
    data: DataOption,
    reference: ReferenceOption,
    output: CSVOption = RESULTS / "figure_11.csv",
    figure: PNGOption = IMAGES / "figure_11.png",
    cvae_epochs: EpochsOption = THESIS_CVAE_EPOCHS,
    cache: CacheOption = None,
):
    """Draw and print the radii of the classes, which are sorted by size."""
    print(__doc__, "\n")
    with open_setup(data, cvae_epochs, cache=cache) as setup:
        values = class_values(setup, reference, common, generated, radii)
    note = epochs_note(setup)
    show_classes(values, SphereRadiusDisplay, setup.data, note, output, figure)
    print(f"""
What differs from the thesis: the embeddings; SMOTE and "ours" are not in it; its CVAEs
are {note}. Radii are those of the
smallest spheres; the thesis searches them by L-BFGS-B, which may end at larger ones.
""")


if __name__ == "__main__":
    typer.run(main)
