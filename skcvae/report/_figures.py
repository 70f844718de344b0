"""Figures of a report, as images inside of the page."""

import base64
import warnings
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np

from ..inspection import (
    ClassCountDisplay,
    ImageGridDisplay,
    MembershipROCDisplay,
    NearestImagesDisplay,
    NearestNeighborDistanceDisplay,
    ProjectionDisplay,
    TrainingHistoryDisplay,
)
from ..privacy import PrivacyAudit
from ..privacy._audit_parts import check_parts
from ..privacy._sample_attacks import SAMPLE_ATTACKS, SampleAttacks
from ._samples import Run, Samples, clean, find_history, take

_SIZE_IN_INCHES = (4.8, 3.6)
_CSS_PIXELS_PER_INCH = 96
_MAX_POINTS = 1500
_MAX_CLASS_POINTS = 400
# Largest number of classes with an image of their own.
MAX_CLASS_IMAGES = 30
_GALLERY_SIZE_IN_INCHES = (4.8, 6.4)
_MAX_GALLERY_CLASSES = 10


def draw_figures(run: Run, audit: PrivacyAudit | None) -> list[dict[str, Any]]:
    """Return the figures as dicts of a title and either an image or a reason."""
    return [
        _draw("Training history", partial(_history, run), has_formulas=True),
        _draw("Samples per class", partial(_class_counts, run)),
        _draw("Projection of real and generated samples", partial(_projection, run)),
        _draw("Distances to the nearest training sample", partial(_distances, run)),
        _draw(
            "Membership attacks", partial(_membership, run, audit), has_formulas=True
        ),
    ]


def draw_classes(run: Run) -> dict[int, dict[str, Any]]:
    """Return figures of at most 30 classes by their position in `run.classes`.

    Larger numbers of classes are thinned out evenly, from the largest to the smallest.
    """
    positions = np.argsort(-run.counts(run.train), kind="stable")
    if len(positions) > MAX_CLASS_IMAGES:
        kept = np.linspace(0, len(positions) - 1, MAX_CLASS_IMAGES).round()
        positions = positions[kept.astype(int)]
    names = run.names
    return {
        i: _draw(
            f"Class {names[i]}", partial(_one_class, run, run.classes[i], names[i])
        )
        for i in sorted(positions.tolist())
    }


def draw_gallery(run: Run, images: Any, decoder: Any) -> list[dict[str, Any]]:
    """Return figures with pictures of training samples, if the user has given some."""
    size = _GALLERY_SIZE_IN_INCHES
    figures = []
    if decoder is not None:
        grid = partial(_image_grid, run, decoder)
        figures.append(_draw("Images by class", grid, size=size))
    if not (images is None and decoder is None):
        nearest = partial(_nearest_images, run, images, decoder)
        figures.append(_draw("Nearest training images", nearest, size=size))
    return figures


def _draw(title, draw, has_formulas=False, size=_SIZE_IN_INCHES):
    """Return a figure, or the reason why `draw` raises an error instead."""
    try:
        with _canvas(has_formulas, size) as (figure, ax):
            caption, alt = draw(ax)
            ax.set_title("")
            image = _to_data_uri(figure)
    except ValueError as error:
        return {"title": title, "reason": str(error)}
    width, height = (round(side * _CSS_PIXELS_PER_INCH) for side in size)
    return {
        "title": title,
        "caption": caption,
        "alt": alt,
        "src": image,
        "width": width,
        "height": height,
    }


@contextmanager
def _canvas(has_formulas, size):
    """Yield a figure of matplotlib's default style, without the user's settings."""
    import matplotlib
    from matplotlib import style
    from matplotlib.figure import Figure

    settings = {
        # The browser draws the letters, as matplotlib's fonts lack many of them.
        "svg.fonttype": "none",
        "svg.hashsalt": "skcvae",
        "font.size": 11,
        # Class names with dollar signs are not formulas.
        "text.parse_math": has_formulas,
    }
    with (
        style.context("default"),
        matplotlib.rc_context(settings),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots()


def _to_data_uri(figure):
    """Return a figure as SVG in a data: URI."""
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _named(y):
    """Return labels whose strings have no control characters, as images need them."""
    if y.dtype.kind not in "SU":
        return y
    classes, codes = np.unique(y, return_inverse=True)
    return np.array([clean(label) for label in classes.tolist()])[codes]


def _history(run, ax):
    history = find_history(run)
    if not history:
        raise ValueError(
            "Not drawn: this model was fitted in one step, or came without its history."
        )
    TrainingHistoryDisplay.from_estimator(run.generator, ax=ax)
    last = history[-1]
    return (
        "If curves still fall at the right end, train for more epochs. If validation "
        "rises while training falls, the model overfits. If the KL term is 0, the "
        "latents are not used.",
        f"Loss by epoch: {len(history)} epochs, the last one at "
        f"{last.get('train_loss', float('nan')):.4g}.",
    )


def _class_counts(run, ax):
    after = run.synthetic.y
    if run.added is not None:
        after = np.concatenate([run.train.y, run.added.y])
    ClassCountDisplay.from_data(_named(run.train.y), _named(after), ax=ax)
    counts = run.counts(run.train)
    what = (
        "generated samples"
        if run.added is None
        else "training and added samples together"
    )
    return (
        f"Before: training samples. After: {what}. The axis is logarithmic.",
        f"Samples of {len(counts)} classes, from {counts.max():,} down to "
        f"{counts.min():,} training samples.",
    )


def _projection(run, ax):
    ProjectionDisplay.from_data(
        run.train.X,
        _named(run.train.y),
        run.synthetic.X,
        _named(run.synthetic.y),
        max_points=_MAX_POINTS,
        ax=ax,
    )
    return (
        "Two principal components of the training samples, of at most five classes. "
        "Generated samples (crosses) should cover the clouds of the real ones "
        "(circles). Differences in other directions are not visible.",
        "Scatter plot of training samples and generated samples in two components.",
    )


def _distances(run, ax):
    display = NearestNeighborDistanceDisplay.from_data(
        run.compared["synthetic"].X, run.train.X, run.compared["test"].X, ax=ax
    )
    medians = {n: float(np.median(d)) for n, d in display.distances.items()}
    return (
        "Members are the training samples, hold-out the test samples. If the curve of "
        "generated samples is to the left of the curve of the hold-out, they resemble "
        "single training samples too much. The opposite does not prove privacy.",
        "Distributions of the distance to the nearest training sample: medians "
        f"{medians['synthetic']:.4g} of generated samples, {medians['holdout']:.4g} of "
        "test samples.",
    )


def _membership(run, audit, ax):
    if audit is None:
        raise ValueError("Not drawn: no attacks were run, see the section on privacy.")
    sets = (run.train, run.test, run.reference)
    parts = check_parts(*((*samples, None) for samples in sets), min_samples=1)
    ran = [a.result.name for a in audit.attacks if a.result.name in SAMPLE_ATTACKS]
    attacks = SampleAttacks(parts)
    scores = {name: attacks.score(name, run.synthetic) for name in ran}
    members, others = (
        {name: both[side][~np.isnan(both[side])] for name, both in scores.items()}
        for side in (0, 1)
    )
    display = MembershipROCDisplay.from_scores(members, others, ax=ax)
    areas = ", ".join(f"{n} {a.value:.3f}" for n, a in display.auc.items())
    return (
        "True-positive against false-positive rate. The left end matters most, because "
        "an attack that identifies a few members with certainty does harm. Guessing "
        "gives the diagonal.",
        f"ROC curves of membership attacks, with areas {areas}.",
    )


def _one_class(run, label, name, ax):
    real = take(run.train, run.train.y == label)
    synthetic = take(run.synthetic, run.synthetic.y == label)
    if not len(synthetic.y):
        raise ValueError("No image: no samples of this class are generated.")
    if len(np.unique(real.X, axis=0)) < 2:
        raise ValueError("No image: its training samples do not differ.")
    real, synthetic = (Samples(r.X, np.full(len(r.y), name)) for r in (real, synthetic))
    ProjectionDisplay.from_data(*real, *synthetic, max_points=_MAX_CLASS_POINTS, ax=ax)
    return (
        f"Class {name} in two principal components of its training samples.",
        f"Scatter plot of training samples and generated samples of the class {name}.",
    )


def _image_grid(run, decoder, ax):
    train, synthetic = run.train, run.synthetic
    ImageGridDisplay.from_data(
        train.X,
        _named(train.y),
        synthetic.X,
        _named(synthetic.y),
        decoder=decoder,
        ax=ax,
    )
    return (
        "What your decoder makes of training samples and of generated ones.",
        "Images of training samples and of generated samples by class.",
    )


def _nearest_images(run, images, decoder, ax):
    labels, first = np.unique(_named(run.synthetic.y), return_index=True)
    some = np.linspace(0, len(labels) - 1, min(len(labels), _MAX_GALLERY_CLASSES))
    some = some.round().astype(int)
    NearestImagesDisplay.from_data(
        run.synthetic.X[first[some]],
        run.train.X,
        images,
        y_synthetic=labels[some],
        max_samples=len(some),
        decoder=decoder,
        ax=ax,
    )
    return (
        "One generated sample of each class, and the three training samples nearest to "
        "it, with their distances. A distance near 0, or one much smaller than the "
        "next, can be a copy.",
        "Images of the training samples nearest to a generated sample of each class.",
    )
