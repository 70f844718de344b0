"""What all displays share: axes, colours, legends, checks, and classes on an axis."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from .._extras import import_pyplot
from .._record_sets import check_one_label_per_sample
from .._validation import check_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    # matplotlib is optional.
    Axes = Any

# Okabe and Ito's colours, which colour-blind people can tell apart, without yellow,
# which is faint on white. Colours, markers and lines differ in number, so that a colour
# is repeated with another marker and line.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"
LINES = ("-", "--", "-.", ":")
GREY = "0.75"
# Ticks of a logarithmic axis, by an upper bound of the ratio of its values. For the
# smallest ratio, linear ticks suffice.
_LOG_SUBS: dict[float, tuple[float, ...]] = {
    5: (),
    30: (1, 1.5, 2, 3, 5, 7),
    1000: (1, 2, 5),
    np.inf: (1,),
}
# With more classes, the axis has ranks instead of labels.
_MAX_LABELS = 20
_MAX_LABEL_LENGTH = 16


class BaseDisplay(ABC):
    """Base class of the displays: a subclass draws on given axes."""

    _title = ""

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure of matplotlib's default size. In a
            figure of your own, use ``layout="constrained"`` to get space beside the
            axes. If the axes have a title, it is kept.

        **kwargs : dict
            Arguments of matplotlib for all curves, points or bars. They replace the
            defaults of the display.

        Returns
        -------
        self : object
            The display, with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        pyplot = import_pyplot(f"{type(self).__name__}.plot")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        ax.spines[["top", "right"]].set_visible(False)
        self._draw(ax, kwargs)
        if not ax.get_title():
            ax.set_title(self._title)
        return self

    @abstractmethod
    def _draw(self, ax, kwargs):
        """Draw all but the title."""


def line_style(index):
    """Return colour, marker and line of the curve of this number."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
        "markersize": 5,
    }


def with_defaults(kwargs, artist, **defaults):
    """Return defaults, replaced by a user's arguments under their long names."""
    from matplotlib.cbook import normalize_kwargs

    return {**defaults, **normalize_kwargs(kwargs, artist)}


def line_defaults(kwargs, **defaults):
    """Return defaults of a line, replaced by the arguments of a user."""
    from matplotlib.lines import Line2D

    return with_defaults(kwargs, Line2D, **defaults)


def add_legend(ax, **kwargs):
    """Add a nearly opaque legend where it covers least."""
    defaults = {"fontsize": "small", "framealpha": 0.8, "edgecolor": "none"}
    ax.legend(**{**defaults, **kwargs})


def add_legend_beside(ax, **kwargs):
    """Add a legend to the right of the axes, where it covers no points."""
    add_legend(
        ax, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, **kwargs
    )


def add_legend_below(ax, **kwargs):
    """Add a legend under the label of the horizontal axis."""
    from matplotlib.transforms import ScaledTranslation

    points = 3.3 * ax.xaxis.label.get_fontsize()
    below = ScaledTranslation(0, -points / 72, ax.figure.dpi_scale_trans)
    add_legend(
        ax,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=ax.transAxes + below,
        borderaxespad=0,
        **kwargs,
    )


def letters_across(ax):
    """Return how many letters of tick labels fit into the width of the axes."""
    width = ax.get_window_extent().width / ax.figure.dpi * 72
    return width / (0.6 * ax.xaxis.get_major_ticks(1)[0].label1.get_fontsize())


def label_logarithmic(axis, low, high):
    """Put plain numbers on an axis, and few enough on a logarithmic one."""
    from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, NullFormatter

    if axis.get_scale() == "log":
        subs = next(s for ratio, s in _LOG_SUBS.items() if high < ratio * low)
        axis.set_major_locator(LogLocator(subs=subs) if subs else AutoLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def label_classes(ax, labels, counts):
    """Label an axis on which the classes are at 1, 2, ..., from the largest on."""
    names = [shorten(label) for label in labels]
    n_fitting = letters_across(ax)
    lines = [
        f"{name}\n{count:,.10g}" for name, count in zip(names, counts, strict=True)
    ]
    n_letters = max(len(part) for line in lines for part in line.split("\n"))
    ranks = np.arange(1, len(names) + 1)
    ax.set_xlim(0.5, len(names) + 0.5)
    if len(names) <= _MAX_LABELS and (n_letters + 1) * len(names) < n_fitting:
        ax.set_xticks(ranks, lines)
        ax.set_xlabel("class and its samples")
    elif len(names) <= _MAX_LABELS and 2.2 * len(names) < n_fitting:
        ax.set_xticks(ranks, [line.replace("\n", ", ") for line in lines], rotation=90)
        ax.set_xlabel("class and its samples")
    else:
        _label_ranks(ax, counts, int(np.clip(n_fitting // 10, 1, 5)))


def _label_ranks(ax, counts, n_steps):
    """Label round ranks with the numbers of samples of their classes."""
    from matplotlib.ticker import MaxNLocator

    ranks = MaxNLocator(n_steps, integer=True).tick_values(0, len(counts))
    # The first rank is 1. A next rank that is too near to it gets no label.
    step = ranks[1] - ranks[0]
    ranks = ranks[(ranks >= 0.75 * step + 1) & (ranks <= len(counts))]
    ranks = np.append(1, ranks).astype(int)
    ax.set_xticks(ranks, [f"{rank}\n{counts[rank - 1]:,.10g}" for rank in ranks])
    ax.set_xlabel("rank by size, and samples")


def shorten(label):
    """Return a label of bounded length, which matplotlib shows as it is."""
    text = str(label)
    if len(text) > _MAX_LABEL_LENGTH:
        text = text[: _MAX_LABEL_LENGTH - 1] + "…"
    return plain_text(text)


def plain_text(label):
    """Return a label in one line that matplotlib shows as it is.

    Dollars would start a formula, and legends leave out labels that begin with "_".
    """
    from matplotlib import rcParams

    text = "".join(c if c.isprintable() else " " for c in str(label))
    if rcParams["text.parse_math"]:
        text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def by_size(counts):
    """Return the order of classes from the largest to the smallest."""
    return np.argsort(-np.asarray(counts, dtype=np.float64), kind="stable")


def spread_by_size(y, n_classes):
    """Return at most `n_classes` classes, spread evenly over their sizes, sorted."""
    classes, counts = np.unique(y, return_counts=True)
    classes = classes[by_size(counts)]
    return np.sort(thin(classes, n_classes))


def thin(values, n_values):
    """Return at most `n_values` of the values, evenly spread, so without a seed."""
    if len(values) <= n_values:
        return values
    return values[np.linspace(0, len(values) - 1, n_values).round().astype(int)]


def principal_plane(X):
    """Return a fitted PCA of two components, and their shares of variance as texts."""
    # This solver draws no random numbers.
    pca = PCA(2, svd_solver="covariance_eigh").fit(X)
    return pca, [f"{100 * share:.0f} %" for share in pca.explained_variance_ratio_]


def bands(values, n_bands):
    """Return mean and 10 and 90 % quantiles of values in neighbouring groups."""
    groups = [group[~np.isnan(group)] for group in np.array_split(values, n_bands)]
    summary = [
        (group.mean(), *np.quantile(group, (0.1, 0.9))) if len(group) else (np.nan,) * 3
        for group in groups
    ]
    return np.transpose(summary)


def fitted_generator(estimator, attribute):
    """Return the estimator or its `generator_`, whichever has an attribute."""
    check_is_fitted(estimator)
    for candidate in (estimator, getattr(estimator, "generator_", None)):
        if hasattr(candidate, attribute):
            return candidate
    raise ValueError(
        f"{type(estimator).__name__} has no {attribute!r}, which this display needs, "
        "and no `generator_` that has it. Pass a CVAE, or an estimator that holds one."
    )


def check_classes(y, samples, name):
    """Return one label for each sample, all strings or all numbers."""
    check_labels(y)
    y = check_one_label_per_sample(y, samples, name)
    if not len(y):
        raise ValueError(f"{name} is empty.")
    return y


def all_labels(*label_sets):
    """Return the labels of all sets, sorted; refuse strings beside numbers."""
    unique = [np.unique(labels) for labels in label_sets]
    check_labels(np.concatenate([labels.astype(object) for labels in unique]))
    return np.unique(np.concatenate(unique))
