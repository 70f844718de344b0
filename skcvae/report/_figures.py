"""Figures of a report, as images that the page holds itself."""

import base64
import warnings
from contextlib import contextmanager
from functools import partial
from io import BytesIO

import numpy as np

from ..inspection import (
    ClassCountDisplay,
    MembershipROCDisplay,
    NearestNeighborDistanceDisplay,
    ProjectionDisplay,
    TrainingHistoryDisplay,
)
from ..inspection._classes import spread_by_size
from ..privacy._audit_membership import SAMPLE_ATTACKS, score_records
from ..privacy._audit_parts import check_parts
from ._samples import Rows, clean, find_history, take

# Inches, and CSS pixels of one.
_SIZE = (4.8, 3.6)
_CSS_PIXELS = 96
_MAX_POINTS = 1500
_MAX_CLASS_POINTS = 400
# Classes with an image of their own.
MAX_CLASS_IMAGES = 30


def draw_figures(run, audit):
    """Return the figures as dicts: title, and either an image or why there is none."""
    return [
        _draw("Training history", partial(_history, run), has_formulas=True),
        _draw("Rows of the classes", partial(_class_counts, run)),
        _draw("Projection of real and generated rows", partial(_projection, run)),
        _draw("Distances to the nearest training row", partial(_distances, run)),
        _draw(
            "Membership attacks", partial(_membership, run, audit), has_formulas=True
        ),
    ]


def draw_classes(run):
    """Return figures of at most 30 classes by their position in `run.classes`."""
    shown = spread_by_size(run.train.y, MAX_CLASS_IMAGES)
    figures = {}
    for position, label in enumerate(run.classes):
        if label in shown:
            name = run.names[position]
            draw = partial(_one_class, run, label, name)
            figures[position] = _draw(f"Class {name}", draw)
    return figures


def _draw(title, draw, has_formulas=False):
    """Return a figure, or why there is none: what `draw` raises says it."""
    try:
        with _canvas(has_formulas) as (figure, ax):
            caption, alt = draw(ax)
            ax.set_title("")
            image = _to_data_uri(figure)
    except ValueError as error:
        return {"title": title, "reason": str(error)}
    width, height = (round(side * _CSS_PIXELS) for side in _SIZE)
    return {
        "title": title,
        "caption": caption,
        "alt": alt,
        "src": image,
        "width": width,
        "height": height,
    }


@contextmanager
def _canvas(has_formulas):
    """Yield a figure of matplotlib's default style, whatever the user has set."""
    import matplotlib
    from matplotlib import style
    from matplotlib.figure import Figure

    settings = {
        # Letters stay letters: the reader's fonts have those that matplotlib lacks.
        "svg.fonttype": "none",
        "svg.hashsalt": "skcvae",
        "font.size": 11,
        # Class names are no formulas.
        "text.parse_math": has_formulas,
    }
    with (
        style.context("default"),
        matplotlib.rc_context(settings),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=_SIZE, layout="constrained")
        yield figure, figure.subplots()


def _to_data_uri(figure):
    """Return a figure as SVG in a data: URI."""
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _named(y):
    """Return labels that an image may hold: strings without control characters."""
    if y.dtype.kind not in "SU":
        return y
    classes, codes = np.unique(y, return_inverse=True)
    return np.array([clean(label) for label in classes.tolist()])[codes]


def _history(run, ax):
    """Draw losses by epoch."""
    history = find_history(run)
    if not history:
        raise ValueError(
            "Not drawn: this model was fitted in one step, or came without its history."
        )
    TrainingHistoryDisplay.from_estimator(run.generator, ax=ax)
    last = history[-1]
    return (
        "Curves that still fall at the right end ask for more epochs; validation that "
        "rises while training falls is overfitting. A KL term of 0 means that the "
        "latents are not used.",
        f"Loss by epoch: {len(history)} epochs, the last one at "
        f"{last.get('train_loss', float('nan')):.4g}.",
    )


def _class_counts(run, ax):
    """Draw numbers of rows of the classes."""
    after = run.synthetic.y
    if run.added is not None:
        after = np.concatenate([run.train.y, run.added.y])
    ClassCountDisplay.from_data(_named(run.train.y), _named(after), ax=ax)
    counts = run.counts(run.train)
    what = "generated rows" if run.added is None else "training and added rows together"
    return (
        f"Before: training rows. After: {what}. The axis is logarithmic: equal steps "
        "are equal ratios.",
        f"Rows of {len(counts)} classes, from {counts.max():,} down to "
        f"{counts.min():,} training rows.",
    )


def _projection(run, ax):
    """Draw real and generated rows of some classes."""
    ProjectionDisplay.from_data(
        run.train.X,
        _named(run.train.y),
        run.synthetic.X,
        _named(run.synthetic.y),
        max_points=_MAX_POINTS,
        ax=ax,
    )
    return (
        "Two principal components of the training rows, of at most five classes. "
        "Generated rows (crosses) should cover the clouds of the real ones (circles). "
        "That they look right here proves little: most directions are not seen.",
        "Scatter plot of training rows and generated rows in two components.",
    )


def _distances(run, ax):
    """Draw distances to the nearest training row."""
    display = NearestNeighborDistanceDisplay.from_data(
        run.compared["synthetic"].X, run.train.X, run.compared["test"].X, ax=ax
    )
    medians = {n: float(np.median(d)) for n, d in display.distances.items()}
    return (
        "Members are the training rows, hold-out the test rows. A curve of generated "
        "rows left of that of the hold-out means that they were made too much from "
        "single training rows. That it is not is no proof of privacy.",
        "Distributions of the distance to the nearest training row: medians "
        f"{medians['synthetic']:.4g} of generated rows, {medians['holdout']:.4g} of "
        "test rows.",
    )


def _membership(run, audit, ax):
    """Draw ROC curves of the attacks on rows."""
    if audit is None:
        raise ValueError("Not drawn: no attacks were run, see the section on privacy.")
    sets = (run.train, run.test, run.reference)
    parts = check_parts(*((*rows, None) for rows in sets), min_samples=1)
    ran = [a.result.name for a in audit.attacks if a.result.name in SAMPLE_ATTACKS]
    scores = score_records(ran, None, run.synthetic.X, parts, None, 0)
    members, others = (
        {name: both[side] for name, both in scores.items()} for side in (0, 1)
    )
    display = MembershipROCDisplay.from_scores(members, others, ax=ax)
    areas = ", ".join(f"{n} {a.value:.3f}" for n, a in display.auc.items())
    return (
        "Share of the members found, against the share of others who are wrongly "
        "accused. The left end matters most: an attack that is sure of a few members "
        "does harm. On the diagonal, an attack is guessing.",
        f"ROC curves of membership attacks, with areas {areas}.",
    )


def _one_class(run, label, name, ax):
    """Draw one class in its own components."""
    real = take(run.train, run.train.y == label)
    synthetic = take(run.synthetic, run.synthetic.y == label)
    if not len(synthetic.y):
        raise ValueError("No image: no rows of this class are generated.")
    if len(np.unique(real.X, axis=0)) < 2:
        raise ValueError("No image: its training rows do not differ.")
    real, synthetic = (Rows(r.X, np.full(len(r.y), name)) for r in (real, synthetic))
    ProjectionDisplay.from_data(*real, *synthetic, max_points=_MAX_CLASS_POINTS, ax=ax)
    return (
        f"Class {name} in two principal components of its training rows.",
        f"Scatter plot of training rows and generated rows of the class {name}.",
    )
