"""What all displays promise: given axes, readable text, errors, and no random draws."""

import functools
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import skcvae.inspection as inspection
from skcvae.generators import CVAE, ClassGaussian
from skcvae.inspection import (
    ClassCountDisplay,
    ClassCoverageDisplay,
    FrechetVarianceDisplay,
    LatentSpaceDisplay,
    MembershipROCDisplay,
    NearestNeighborDistanceDisplay,
    ProjectionDisplay,
    RegularizationPathDisplay,
    ReliabilityDisplay,
    ShotAccuracyDisplay,
    SphereRadiusDisplay,
    TrainingHistoryDisplay,
)

RNG = np.random.RandomState(0)
X = RNG.normal(size=(3000, 6))


class History(BaseEstimator):
    """A fitted estimator with a history of three epochs."""

    history_ = tuple(
        {"epoch": e, "train_loss": 9 / e, "train_reconstruction": 8 / e, "train_kl": e}
        for e in (1, 2, 3)
    )

    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self):
        return True


class RidgePath(BaseEstimator):
    """A fitted estimator with a path of three strengths."""

    l2_ = 0.2
    l2_path_ = {"l2": np.array([1.0, 0.25, 0.06]), "loss": np.array([1.2, 1.0, 1.1])}

    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self):
        return True


def class_sizes(n_classes):
    return np.linspace(1000, 5, n_classes).round().astype(int)


def labels(n_classes):
    """3,000 labels of classes of different sizes, each at least once."""
    share = class_sizes(n_classes) / class_sizes(n_classes).sum()
    rest = np.random.RandomState(1).choice(n_classes, 3000 - n_classes, p=share)
    return np.concatenate([np.arange(n_classes), rest])


def named(n_classes):
    return np.array([f"a class of the name {i}" for i in range(n_classes)])


def reliability(n_classes, **kwargs):
    proba = np.random.RandomState(0).exponential(size=(3000, n_classes)) ** 4
    proba /= proba.sum(axis=1, keepdims=True)
    return ReliabilityDisplay.from_predictions(
        labels(n_classes), proba, labels=np.arange(n_classes), **kwargs
    )


# Each draws something of a number of classes; where classes do not matter, of so many
# methods or samples.
DRAW = {
    "TrainingHistoryDisplay": lambda n, **kw: TrainingHistoryDisplay.from_estimator(
        History(), **kw
    ),
    "LatentSpaceDisplay": lambda n, **kw: LatentSpaceDisplay.from_data(
        X, named(n)[labels(n)], **kw
    ),
    "FrechetVarianceDisplay": lambda n, **kw: FrechetVarianceDisplay.from_data(
        np.linspace(0.1, 3, min(n, 40)), np.ones((2, min(n, 40))), ["a", "b"], **kw
    ),
    "ClassCoverageDisplay": lambda n, **kw: ClassCoverageDisplay.from_data(
        {"a": np.linspace(0, 1, n), "b": np.full(n, 0.5)},
        class_sizes(n),
        labels=named(n),
        **kw,
    ),
    "SphereRadiusDisplay": lambda n, **kw: SphereRadiusDisplay.from_data(
        {"before": np.linspace(0, 9, n), "after": np.full(n, 5)}, class_sizes(n), **kw
    ),
    "NearestNeighborDistanceDisplay": lambda n, **kw: (
        NearestNeighborDistanceDisplay.from_data(X[:99], X[99:300], X[300:400], **kw)
    ),
    "ShotAccuracyDisplay": lambda n, **kw: ShotAccuracyDisplay.from_predictions(
        labels(n),
        {"a": labels(n), "b": np.zeros((2, 3000), dtype=int)},
        y_train=np.repeat(np.arange(n), class_sizes(n)),
        **kw,
    ),
    "ClassCountDisplay": lambda n, **kw: ClassCountDisplay.from_data(
        labels(n), np.repeat(np.arange(n), 500), **kw
    ),
    "ProjectionDisplay": lambda n, **kw: ProjectionDisplay.from_data(
        X, labels(n), X[::-1] + 1, labels(n)[::-1], **kw
    ),
    "MembershipROCDisplay": lambda n, **kw: MembershipROCDisplay.from_scores(
        X[:, 0] + 1, X[:, 1], **kw
    ),
    "ReliabilityDisplay": reliability,
    "RegularizationPathDisplay": lambda n, **kw: (
        RegularizationPathDisplay.from_estimator(RidgePath(), **kw)
    ),
}
WITHOUT_CLASSES = {
    "MembershipROCDisplay",
    "NearestNeighborDistanceDisplay",
    "RegularizationPathDisplay",
    "ReliabilityDisplay",
    "TrainingHistoryDisplay",
}
WITH_CLASSES = [
    (name, n)
    for name in DRAW
    for n in ((10,) if name in WITHOUT_CLASSES else (2, 10, 1000))
]


@functools.cache
def drawn(name):
    """Return a display that tests only look at."""
    return DRAW[name](3)


each_display = pytest.mark.parametrize("name", DRAW)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def tick_labels(axis):
    """Return the tick labels that are drawn, with their boxes in pixels."""
    axis.figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    texts = [
        label
        for tick, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
        if label.get_text() and low <= tick <= high
    ]
    return [text.get_window_extent() for text in texts]


def overlap(boxes):
    """Tell whether any two neighbours overlap."""
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 : i + 3])


def test_all_displays_are_tested():
    displays = {n for n in inspection.__all__ if n.endswith("Display")}
    # Those of images have no legends: see test_inspection_images.
    images = {"ImageGridDisplay", "InterpolationDisplay", "NearestImagesDisplay"}
    assert set(DRAW) == displays - images


@each_display
def test_plot_returns_the_display_with_axes_and_figure(name):
    display = DRAW[name](3)
    assert type(display).__name__ == name
    assert display.ax_.figure is display.figure_
    assert display.figure_.get_size_inches().tolist() == [6.4, 4.8]
    assert display.plot() is display


@each_display
def test_drawing_says_what_it_shows(name):
    ax = drawn(name).ax_
    assert ax.get_title()
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert len(ax.get_legend().get_texts()) >= 1


@each_display
def test_given_axes_are_used_and_no_figure_is_made(name):
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    right.set_title("mine")
    before = plt.get_fignums()
    display = DRAW[name](3, ax=right)
    assert plt.get_fignums() == before
    assert display.ax_ is right
    assert display.figure_ is figure
    assert right.has_data()
    assert right.get_title() == "mine"
    assert not left.has_data()


@each_display
def test_state_of_matplotlib_is_left_alone(name):
    before = matplotlib.rcParams.copy()
    DRAW[name](3)
    assert matplotlib.rcParams == before


@each_display
def test_no_random_numbers_are_drawn(name, random_states):
    before = random_states()
    DRAW[name](20)
    assert random_states() == before


@pytest.mark.parametrize(("name", "n_classes"), WITH_CLASSES)
def test_text_does_not_overlap(name, n_classes):
    ax = DRAW[name](n_classes).ax_
    for axis in (ax.xaxis, ax.yaxis):
        boxes = tick_labels(axis)
        assert 2 <= len(boxes) <= 20
        assert not overlap(boxes)
    assert len(ax.get_legend().get_texts()) <= 12
    drawn = ax.get_tightbbox()
    width, height = ax.figure.canvas.get_width_height()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height


@pytest.mark.parametrize("n_classes", [2, 20, 1000])
@pytest.mark.parametrize("name", ["ClassCoverageDisplay", "ClassCountDisplay"])
def test_text_does_not_overlap_in_small_axes(name, n_classes):
    axes = Figure(figsize=(9, 3), layout="constrained").subplots(1, 3)
    ax = DRAW[name](n_classes, ax=axes[0]).ax_
    assert not overlap(tick_labels(ax.xaxis))


@each_display
def test_methods_differ_by_more_than_colour(name):
    ax = drawn(name).ax_
    looks = []
    for handle in ax.get_legend().legend_handles:
        if isinstance(handle, matplotlib.lines.Line2D):
            looks.append((handle.get_linestyle(), handle.get_marker()))
        elif name == "ShotAccuracyDisplay":
            looks.append(handle.get_hatch())
    if name == "ProjectionDisplay":
        # Only real and generated samples need other looks: classes lie apart.
        assert len(set(looks)) == 2
    elif name == "MembershipROCDisplay":
        # The thin grey diagonal is a straight line.
        assert len(set(looks)) == len(looks) - 1
    elif name == "ReliabilityDisplay":
        assert len(set(looks)) == len(looks) == 2
    else:
        assert len(set(looks)) == len(looks) >= 2


@each_display
def test_keywords_reach_what_is_drawn(name):
    display = DRAW[name](3, alpha=0.123)
    if name == "ShotAccuracyDisplay":
        artists = [bar for bars in display.bars_.values() for bar in bars]
    elif name == "ReliabilityDisplay":
        artists = [display.line_]
    else:
        artists = list(display.lines_.values())
    assert {artist.get_alpha() for artist in artists} == {0.123}


def test_short_names_of_keywords_replace_defaults():
    display = DRAW["FrechetVarianceDisplay"](5, ls=":", ms=2)
    assert {line.get_linestyle() for line in display.lines_.values()} == {":"}
    assert {line.get_markersize() for line in display.lines_.values()} == {2}


@each_display
def test_missing_matplotlib_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "skcvae\[plot\]"') as raised:
        DRAW[name](3)
    assert name in str(raised.value)


def test_import_loads_no_matplotlib_and_needs_no_pandas():
    # scikit-learn itself loads pandas where it is installed.
    code = """
import sys
sys.modules["pandas"] = None
import skcvae.inspection
assert "matplotlib" not in sys.modules
"""
    root = Path(inspection.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: TrainingHistoryDisplay.from_estimator(CVAE()),
        lambda: LatentSpaceDisplay.from_estimator(CVAE(), X, labels(3)),
        lambda: ReliabilityDisplay.from_estimator(LogisticRegression(), X, labels(3)),
    ],
)
def test_estimators_must_be_fitted(draw):
    with pytest.raises(NotFittedError):
        draw()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda g: TrainingHistoryDisplay.from_estimator(g), "no 'history_'"),
        (lambda g: LatentSpaceDisplay.from_estimator(g, X, labels(3)), "no 'encode'"),
    ],
)
def test_generators_without_what_is_drawn_are_refused(draw, message):
    with pytest.raises(ValueError, match=f"ClassGaussian has {message}"):
        draw(ClassGaussian().fit(X, labels(3)))


BAD = {
    "latents of one dimension": (
        lambda: LatentSpaceDisplay.from_data(X[:, :1], labels(3)),
        "one dimension",
    ),
    "labels of another length": (
        lambda: LatentSpaceDisplay.from_data(X[:9], labels(3)),
        "inconsistent",
    ),
    "missing latents": (
        lambda: LatentSpaceDisplay.from_data(np.full((3, 2), np.nan), [0, 1, 2]),
        "NaN",
    ),
    "missing labels": (
        lambda: ClassCountDisplay.from_data([0, np.nan], [0, 1]),
        "missing values",
    ),
    "no labels": (lambda: ClassCountDisplay.from_data([], [0]), "y_before is empty"),
    "no class in colour": (
        lambda: LatentSpaceDisplay.from_data(X, labels(3), max_classes=0),
        "max_classes",
    ),
    "coverage of other classes": (
        lambda: ClassCoverageDisplay.from_data({"a": [0.1, 0.2]}, [5, 4, 3]),
        r"values\['a'\] must have one value for each of 3 classes",
    ),
    "coverage in per cent": (
        lambda: ClassCoverageDisplay.from_data({"a": [10, 20]}, [5, 4]),
        r"values\['a'\] must be shares",
    ),
    "infinite radii": (
        lambda: SphereRadiusDisplay.from_data({"a": [np.inf, 1]}, [5, 4]),
        "infinity",
    ),
    "negative radii": (
        lambda: SphereRadiusDisplay.from_data({"a": [-1, 1]}, [5, 4]),
        "negative",
    ),
    "negative counts": (
        lambda: SphereRadiusDisplay.from_data({"a": [1, 1]}, [5, -4]),
        "class_count",
    ),
    "labels of other classes": (
        lambda: SphereRadiusDisplay.from_data({"a": [1, 1]}, [5, 4], labels=[0]),
        "one label for each of 2 classes",
    ),
    "nothing to draw": (
        lambda: SphereRadiusDisplay.from_data({}, [5, 4]),
        "values is empty",
    ),
    "names too few": (
        lambda: FrechetVarianceDisplay.from_data([1, 2], [[1, 2], [3, 4]], ["a"]),
        "one row for each of 1 names",
    ),
    "the same name": (
        lambda: FrechetVarianceDisplay.from_data([1, 2], [[1, 2]] * 2, ["a", "a"]),
        "names must differ",
    ),
    "negative distances": (
        lambda: FrechetVarianceDisplay.from_data([1, 2], [[1, -2]], ["a"]),
        "not be negative",
    ),
    "members in the hold-out": (
        lambda: NearestNeighborDistanceDisplay.from_data(X[:9], X[:9], X[5:12]),
        "4 samples of X_members are also in X_holdout",
    ),
    "other features": (
        lambda: NearestNeighborDistanceDisplay.from_data(X[:9, :2], X[:9], X[9:12]),
        "same features",
    ),
    "a class without real samples": (
        lambda: ProjectionDisplay.from_data(X, labels(3), X, labels(3), classes=[0, 7]),
        r"no real samples of the classes \[7\]",
    ),
    "too many classes to colour": (
        lambda: ProjectionDisplay.from_data(
            X, labels(9), X, labels(9), classes=range(8)
        ),
        "Choose 1 to 7",
    ),
    "no predictions": (
        lambda: ShotAccuracyDisplay.from_predictions([0, 1], {}, y_train=[0, 1]),
        "predictions is empty",
    ),
    "predictions of another length": (
        lambda: ShotAccuracyDisplay.from_predictions([0, 1], {"a": [0]}, y_train=[0]),
        "inconsistent",
    ),
    "attacks that differ": (
        lambda: MembershipROCDisplay.from_scores({"a": [0, 1]}, {"b": [0, 1]}),
        "the same attacks",
    ),
    "scores that are missing": (
        lambda: MembershipROCDisplay.from_scores([0, np.nan], [0, 1]),
        "NaN",
    ),
    "no probabilities": (
        lambda: ReliabilityDisplay.from_predictions([0, 1], [[2, -1], [0, 1]]),
        r"must be in \[0, 1\]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_a_figure_is_made(case):
    draw, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        draw()
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: ClassCountDisplay.from_data(["a", "b"], [0, 1]),
        lambda: ProjectionDisplay.from_data(X, labels(2), X, named(2)[labels(2)]),
    ],
)
def test_strings_and_numbers_are_not_the_same_classes(draw):
    with pytest.raises(TypeError, match="uniformly strings or numbers"):
        draw()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: ShotAccuracyDisplay.from_predictions([0], [0], y_train=[0]),
        lambda: SphereRadiusDisplay.from_data([1.0, 2.0], [5, 4]),
    ],
)
def test_methods_need_names(draw):
    with pytest.raises(TypeError, match="must be a dict from"):
        draw()
