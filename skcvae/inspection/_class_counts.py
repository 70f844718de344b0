"""Numbers of samples of the classes, before and after resampling."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._extras import import_pyplot
from ._base import (
    COLORS,
    GREY,
    Axes,
    BaseDisplay,
    add_legend,
    all_labels,
    by_size,
    check_classes,
    label_classes,
    label_logarithmic,
    line_defaults,
)

# Up to this number of classes, each is drawn as a pair of markers.
_MAX_MARKERS = 50
_MARKERS = {
    "before": {"linestyle": "none", "marker": "o"},
    "after": {"linestyle": "none", "marker": "D", "markerfacecolor": "none"},
}
_MANY = {
    "before": {"linestyle": "-", "drawstyle": "steps-mid"},
    # A line would jump, because neighbouring classes may differ much.
    "after": {"linestyle": "none", "marker": ".", "markersize": 4},
}


@dataclass(kw_only=True, eq=False, repr=False)
class ClassCountDisplay(BaseDisplay):
    """Samples of each class before and after resampling, on a logarithmic axis.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
        Classes, sorted by size before resampling, the largest first, then by label.

    before, after : ndarray of shape (n_classes,)
        Numbers of samples of the classes.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        "before" and "after".

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> from skcvae.inspection import ClassCountDisplay
    >>> display = ClassCountDisplay.from_data(["b", "a", "a"], ["b", "b", "a", "a"])
    >>> display.labels.tolist(), display.before.tolist(), display.after.tolist()
    (['a', 'b'], [2, 1], [2, 2])
    """

    _title = "Samples per class"

    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @classmethod
    def from_data(
        cls,
        y_before: ArrayLike,
        y_after: ArrayLike,
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Count and draw.

        Parameters
        ----------
        y_before : array-like of shape (n_before,)
            Classes of the samples before resampling.

        y_after : array-like of shape (n_after,)
            Classes of the samples after resampling. Classes may be missing.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for both curves.

        Returns
        -------
        display : ClassCountDisplay
            The display.

        Raises
        ------
        ValueError
            If there are no labels, or some are missing values.

        TypeError
            If labels are strings in one and numbers in the other.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        y_before = check_classes(y_before, y_before, "y_before")
        y_after = check_classes(y_after, y_after, "y_after")
        labels = all_labels(y_before, y_after)
        before, after = (
            np.bincount(np.searchsorted(labels, y), minlength=len(labels))
            for y in (y_before, y_after)
        )
        order = by_size(before)
        display = cls(labels=labels[order], before=before[order], after=after[order])
        return display.plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        ranks = np.arange(1, len(self.labels) + 1)
        styles = _MANY
        if len(ranks) <= _MAX_MARKERS:
            ax.vlines(ranks, self.before, self.after, color=GREY, linewidth=2, zorder=1)
            styles = _MARKERS
        self.lines_ = {}
        for i, name in enumerate(("before", "after")):
            style = {**styles[name], "color": COLORS[i], "label": name}
            style = line_defaults(kwargs, **style)
            (self.lines_[name],) = ax.plot(ranks, getattr(self, name), **style)
        counts = np.concatenate([self.before, self.after])
        if counts.min():
            ax.set_yscale("log")
        else:
            # A class that is missing before or after has no place on a log axis.
            ax.set_yscale("symlog", linthresh=1)
            ax.set_ylim(-0.2, None)
        label_logarithmic(ax.yaxis, counts.min(), counts.max())
        label_classes(ax, self.labels, self.before)
        ax.set_ylabel("samples")
        add_legend(ax)
