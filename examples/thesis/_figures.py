"""What the scripts of tables 2 and 3 and of figures 8 to 11 share."""

import io
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _anonymization import IMAGES, number
from _methods import make_smote
from _thesis import (
    ARCHITECTURES,
    THESIS_CVAE_EPOCHS,
    THESIS_TRAINING,
    Setup,
    load,
    write_csv,
)
from PIL import Image
from sklearn.utils import Bunch

from skcvae.datasets import load_embeddings
from skcvae.generators import CVAE

__all__ = ["ARCHITECTURES", "IMAGES"]

DataOption = Annotated[
    Path,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="Embeddings (.npz): X_train, y_train, X_test and y_test.",
    ),
]
ReferenceOption = Annotated[
    Path,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="The samples that the training samples lack (.npz): X and y.",
    ),
]
CSVOption = Annotated[Path, typer.Option(help="CSV to write.")]
PNGOption = Annotated[Path, typer.Option(help="PNG to write.")]
EpochsOption = Annotated[
    int, typer.Option(min=1, help="Epochs of the thesis's models.")
]
SeedsOption = Annotated[int, typer.Option(min=1, help="Number of runs.")]
CacheOption = Annotated[
    Path | None,
    typer.Option(help="Folder that keeps generators and results for the next run."),
]

# Section 4.2 of the thesis, which does not name the architecture.
_THESIS_PLANE = {**THESIS_TRAINING, "latent_dim": 2, "beta": 0.1}
# Tables 2 and 3 are of the small one.
_WHOSE = {"small": "thesis", "large": "thesis, large"}


@contextmanager
def open_setup(data, cvae_epochs, n_seeds=1, cache=None):
    """Give data and settings, with a cache that is removed if it is not named."""
    with tempfile.TemporaryDirectory() as folder:
        yield Setup(load(data), cvae_epochs, n_seeds, cache or Path(folder))


class PlaneModel:
    """A CVAE with two latent dimensions, or a VAE: the same, told one label for all."""

    def __init__(self, name, unfitted, setup, *, conditional):
        self.name = name
        self.unfitted = unfitted
        self.conditional = conditional
        X, y = setup.data.X_train, setup.data.y_train
        self.setup = replace(setup, data=Bunch(X_train=X, y_train=self._told(y)))

    @cached_property
    def generator(self):
        """Return the fitted generator."""
        return self.setup.fit(self.unfitted)

    def _told(self, y):
        """Return the labels that the model is told."""
        return y if self.conditional else np.zeros(len(y), dtype=int)

    def encode(self, X, y):
        """Return the latent mean of each sample."""
        return self.generator.encode(X, self._told(y))

    def reconstruct(self, X, y):
        """Return each sample, decoded from its latent mean."""
        return self.generator.reconstruct(X, self._told(y))


def plane_models(setup, seed, architectures=("small",)):
    """Yield the thesis's CVAE and VAE with two latent dimensions, then ours."""
    settings = {
        _WHOSE[name]: {
            **_THESIS_PLANE,
            "architecture": name,
            "max_epochs": setup.cvae_epochs,
        }
        for name in architectures
    }
    settings["ours"] = {"latent_dim": 2}
    for whose, params in settings.items():
        for kind in ("CVAE", "VAE"):
            generator = CVAE(**params, random_state=seed)
            name = f"{kind} ({whose})"
            yield PlaneModel(name, generator, setup, conditional=kind == "CVAE")


def both_cvaes(setup, architecture):
    """Return the thesis's CVAE with variance 1, and ours by default, unfitted."""
    ours = CVAE(architecture=architecture, random_state=0)
    return setup.thesis_cvae(architecture, 1), ours


def fit_both(setup, architecture):
    """Return the generators of `both_cvaes`, fitted."""
    return [setup.fit(generator) for generator in both_cvaes(setup, architecture)]


def epochs_note(setup):
    """Say how long the thesis's models are trained."""
    return f"trained for {setup.cvae_epochs} epochs (thesis: {THESIS_CVAE_EPOCHS})"


def open_panels(n_panels, height, **kwargs):
    """Return a figure and its panels, two in a row."""
    from matplotlib.figure import Figure

    n_rows = -(-n_panels // 2)
    figure = Figure(figsize=(9, height * n_rows), dpi=100, layout="constrained")
    return figure, figure.subplots(n_rows, 2, squeeze=False, **kwargs).ravel()


def finish_panels(figure, panels, path, **kwargs):
    """Put one legend of all curves under the panels, and write the figure as PNG."""
    curves = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        # Panels share the colours of curves, and some may lack one.
        curves |= dict(zip(labels, handles, strict=True))
        panel.get_legend().remove()
    layout = {"loc": "outside lower center", "ncols": 4, "frameon": False}
    figure.legend(curves.values(), curves.keys(), **{**layout, **kwargs})
    save(figure, path)


def save(figure, path):
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    # A third of the bytes, and no difference to the eye.
    Image.open(drawn).convert("RGB").quantize(128).save(path, "PNG", optimize=True)


def balanced_samples(data, path):
    """Return the training samples with those that they lack, and their labels."""
    rest = load_embeddings(path)
    X = np.concatenate([data.X_train, rest.X])
    return X, np.concatenate([data.y_train, rest.y])


def fill_up(generator, data, y, variance):
    """Return training samples, filled up by generated ones to the counts of `y`."""
    labels, counts = np.unique(y, return_counts=True)
    held = [(data.y_train == label).sum() for label in labels]
    missing = np.repeat(labels, np.maximum(counts - held, 0))
    X_new, y_new = generator.sample(y=missing, variance=variance, random_state=0)
    X = np.concatenate([data.X_train, X_new])
    return X, np.concatenate([data.y_train, y_new])


def smote(data):
    """Return the training samples, filled up by SMOTE to the largest class."""
    return make_smote(data.y_train, 0).fit_resample(data.X_train, data.y_train)


def group_table(values, class_count, note):
    """Return rows of means over all classes, and over many, medium and few shots.

    `values` has by architecture and set one value for each class.
    """
    groups = {
        "all": class_count > 0,
        "many": class_count > 100,
        "medium": (class_count >= 20) & (class_count <= 100),
        "few": class_count < 20,
    }
    rows = []
    for architecture, sets in values.items():
        for name, by_class in sets.items():
            row = {"samples": name, "architecture": architecture}
            for group, members in groups.items():
                mean = by_class[members].mean() if members.any() else np.nan
                row[group] = number(mean, 3)
            rows.append({**row, "note": note if "thesis" in name else ""})
    return rows


def class_values(setup, path, common, generated, measure):
    """Return by architecture, "" for those without one, and set the classes' values.

    `common(data, X, y)` and `generated(setup, architecture, X, y)` return samples and
    labels by name, where X and y are the balanced samples, and `measure(samples, X, y)`
    returns one value for each class.
    """
    X, y = balanced_samples(setup.data, path)
    sets = {"": common(setup.data, X, y)}
    for architecture in ARCHITECTURES:
        sets[architecture] = generated(setup, architecture, X, y)
    return {
        architecture: {name: measure(samples, X, y) for name, samples in held.items()}
        for architecture, held in sets.items()
    }


def show_classes(values, display, data, note, output, path):
    """Print and write the means of groups, and draw one panel for each architecture."""
    class_count = np.unique(data.y_train, return_counts=True)[1]
    rows = group_table(values, class_count, note)
    print(f"{'':>32}" + "".join(f"{name:>14}" for name in list(rows[0])[1:-1]))
    for row in rows:
        first, *others, _ = row.values()
        print(f"{first:>32}" + "".join(f"{cell:>14}" for cell in others))
    write_csv(rows, output)
    figure, panels = open_panels(len(ARCHITECTURES), 4.4, sharey=True)
    for panel, architecture in zip(panels, ARCHITECTURES, strict=True):
        panel.set_title(f"{architecture} CVAE")
        curves = {**values[""], **values[architecture]}
        display.from_data(curves, class_count, ax=panel, markersize=4)
    finish_panels(figure, panels, path, ncols=3)
