"""What all displays share: axes, colours, markers, legends and their checks."""

from abc import ABC, abstractmethod

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from .._extras import import_pyplot

# Okabe and Ito's colours, which colour-blind people can tell apart, without yellow,
# which is faint on white. Markers and lines differ in number, so that a colour that
# comes again comes with another marker and line.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"
LINES = ("-", "--", "-.", ":")
GREY = "0.75"
# Where a logarithmic axis has ticks, by the ratio that its values stay below. On the
# shortest, linear steps are even enough.
_LOG_SUBS = {5: (), 30: (1, 1.5, 2, 3, 5, 7), 1000: (1, 2, 5), np.inf: (1,)}


def line_style(index):
    """Return colour, marker and line of the curve of this number."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
        "markersize": 5,
    }


def with_defaults(kwargs, artist, **defaults):
    """Return a user's arguments for a kind of artist, by their long names."""
    from matplotlib.cbook import normalize_kwargs

    return {**defaults, **normalize_kwargs(kwargs, artist)}


class BaseDisplay(ABC):
    """Base class of the displays: a subclass draws on axes that it is given."""

    _title = ""

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a figure of matplotlib's default size. In a
            figure of your own, ``layout="constrained"`` leaves room for what stands
            beside the axes. A title that they have stays.

        **kwargs : dict
            Arguments of matplotlib for all curves or points, or for all bars, where
            these are what is drawn; they replace the display's own.

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


def add_legend(ax, **kwargs):
    """Add a legend where it covers least, through which nothing shines."""
    defaults = {"fontsize": "small", "framealpha": 0.8, "edgecolor": "none"}
    ax.legend(**{**defaults, **kwargs})


def add_legend_beside(ax, **kwargs):
    """Add a legend right of the axes, for points that leave no room among them."""
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
    """Return how many letters of tick labels are as wide as the axes."""
    width = ax.get_window_extent().width / ax.figure.dpi * 72
    return width / (0.6 * ax.xaxis.get_major_ticks(1)[0].label1.get_fontsize())


def label_logarithmic(axis, low, high):
    """Put plain numbers on an axis, on a logarithmic one as many as it needs."""
    from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, NullFormatter

    if axis.get_scale() == "log":
        subs = next(s for ratio, s in _LOG_SUBS.items() if high < ratio * low)
        axis.set_major_locator(LogLocator(subs=subs) if subs else AutoLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def fitted_generator(estimator, attribute):
    """Return the estimator, or the generator in it, that has an attribute."""
    check_is_fitted(estimator)
    for candidate in (estimator, getattr(estimator, "generator_", None)):
        if hasattr(candidate, attribute):
            return candidate
    raise ValueError(
        f"{type(estimator).__name__} has no {attribute!r}, which this display needs, "
        "and no `generator_` that has it. A CVAE has it, and what holds one."
    )


def check_curves(curves, name, n_values, what):
    """Return float arrays by name, of one value each for `n_values` of `what`."""
    if not hasattr(curves, "items"):
        raise TypeError(
            f"{name} must be a dict from name to values, got {type(curves).__name__}."
        )
    if not curves:
        raise ValueError(f"{name} is empty: there is nothing to draw.")
    checked = {}
    for key, values in curves.items():
        values = check_array(
            values,
            ensure_2d=False,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            input_name=f"{name}[{key!r}]",
        )
        if values.shape != (n_values,):
            raise ValueError(
                f"{name}[{key!r}] must have one value for each of {n_values} {what}, "
                f"got shape {values.shape}."
            )
        checked[key] = values
    return checked
