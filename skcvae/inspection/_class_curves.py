"""Curves of one number per class, with the classes in the order of their sizes."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_scalar

from .._extras import import_pyplot
from ._base import (
    Axes,
    BaseDisplay,
    add_legend,
    bands,
    by_size,
    label_classes,
    line_defaults,
    line_style,
    plain_text,
)

_N_BANDS = 25


@dataclass(kw_only=True, eq=False, repr=False)
class _ClassCurvesDisplay(BaseDisplay):
    """Curves over classes in the order of their sizes.

    A subclass sets `_title` and `_ylabel`.
    """

    _ylabel = ""

    ranks: np.ndarray
    values: dict[str, np.ndarray]
    low: dict[str, np.ndarray] | None
    high: dict[str, np.ndarray] | None
    labels: np.ndarray
    class_count: np.ndarray

    @classmethod
    def from_data(
        cls,
        values: Mapping[str, ArrayLike],
        class_count: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        max_classes: int = 50,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the values of each class, as a curve for each method or data set.

        Parameters
        ----------
        values : dict of str to array-like of shape (n_classes,)
            Values by method or data set. NaN for a class without samples.

        class_count : array-like of shape (n_classes,)
            Numbers of training samples of the classes, in the same order.

        labels : array-like of shape (n_classes,), default=None
            The classes, such as `classes_` of a generator. None counts from 0.

        max_classes : int, default=50
            If there are more classes, neighbours are put into 25 groups, or into this
            many groups if it is less. Means are drawn, with bands from the 10 to the
            90 % quantile.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for all curves.

        Returns
        -------
        display : object
            The display.

        Raises
        ------
        ValueError
            If lengths differ, or values are impossible.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        check_scalar(max_classes, "max_classes", Integral, min_val=1)
        counts = _check_class_count(class_count)
        curves = _check_curves(values, len(counts))
        names = np.arange(len(counts)) if labels is None else np.asarray(labels)
        if names.shape != counts.shape:
            raise ValueError(
                f"labels must have one label for each of {len(counts)} classes, got "
                f"shape {names.shape}."
            )
        for method, curve in curves.items():
            cls._check_curve(curve, f"values[{method!r}]")
        order = by_size(counts)
        ranks = np.arange(1.0, len(order) + 1)
        curves = {method: curve[order] for method, curve in curves.items()}
        low = high = None
        if len(order) > max_classes:
            n_bands = min(_N_BANDS, max_classes)
            ranks = bands(ranks, n_bands)[0]
            summaries = {m: bands(curve, n_bands) for m, curve in curves.items()}
            curves, low, high = (
                {m: summary[i] for m, summary in summaries.items()} for i in range(3)
            )
        return cls(
            ranks=ranks,
            values=curves,
            low=low,
            high=high,
            labels=names[order],
            class_count=counts[order],
        ).plot(ax=ax, **kwargs)

    @staticmethod
    @abstractmethod
    def _check_curve(curve, name):
        """Refuse impossible values."""

    def _draw(self, ax, kwargs):
        self.lines_ = {}
        for i, (method, values) in enumerate(self.values.items()):
            style = {**line_style(i), "markevery": max(1, len(values) // 25)}
            style = line_defaults(kwargs, **style, label=plain_text(method))
            (line,) = ax.plot(self.ranks, values, **style)
            self.lines_[method] = line
            if self.low is not None:
                ax.fill_between(
                    self.ranks,
                    self.low[method],
                    self.high[method],
                    color=line.get_color(),
                    alpha=0.12,
                    linewidth=0,
                )
        label_classes(ax, self.labels, self.class_count)
        ax.set_ylabel(self._ylabel)
        add_legend(ax, **self._legend_title())

    def _legend_title(self):
        """Return the title of the legend if the curves are summaries."""
        if self.low is None:
            return {}
        n_members = len(self.labels) / len(self.ranks)
        return {
            "title": f"mean, 10 to 90 % of every {n_members:.0f} classes",
            "title_fontsize": "small",
            "alignment": "left",
        }


class ClassCoverageDisplay(_ClassCurvesDisplay):
    """Share of each class's reference samples that generated samples cover.

    Classes are sorted by their numbers of training samples. A generator covers more
    than the training samples where its curve lies above theirs, and covers small
    classes well where its curve stays high at the right end. Any definition of coverage
    can be drawn, for example the share of reference samples that are nearest to some
    generated sample.

    Parameters
    ----------
    ranks : ndarray of shape (n_points,)
        Horizontal positions: 1 is the largest class. For many classes, the mean rank of
        each group of neighbouring classes.

    values : dict of str to ndarray of shape (n_points,)
        Coverage of each class, or the mean of each group, by method; NaN leaves a gap.

    low, high : dict of str to ndarray of shape (n_points,), or None
        10 and 90 % quantiles over the classes of each group.

    labels : ndarray of shape (n_classes,)
        Classes, from the largest.

    class_count : ndarray of shape (n_classes,)
        Numbers of training samples of the classes.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        Curves by method.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> from skcvae.inspection import ClassCoverageDisplay
    >>> display = ClassCoverageDisplay.from_data(
    ...     {"generated": [0.4, 0.6], "training samples": [0.1, 0.9]}, [20, 500])
    >>> display.labels.tolist(), display.values["generated"].tolist()
    ([1, 0], [0.6, 0.4])
    """

    _title = "Coverage of the classes"
    _ylabel = "share of reference samples covered"

    @staticmethod
    def _check_curve(curve, name):
        if np.nanmin(curve, initial=0) < 0 or np.nanmax(curve, initial=0) > 1:
            raise ValueError(f"{name} must be shares in [0, 1].")

    def _draw(self, ax, kwargs):
        super()._draw(ax, kwargs)
        ax.set_ylim(0, 1.02)


class SphereRadiusDisplay(_ClassCurvesDisplay):
    """Radius of the smallest sphere around the samples of each class.

    Classes are sorted by their numbers of training samples. A sphere around few samples
    is too small. Generated samples should enlarge it to about the size of the sphere
    around all real samples of the class.

    Parameters
    ----------
    ranks : ndarray of shape (n_points,)
        Horizontal positions: 1 is the largest class. For many classes, the mean rank of
        each group of neighbouring classes.

    values : dict of str to ndarray of shape (n_points,)
        Radius of each class, or the mean of each group, by data set; NaN leaves a gap.

    low, high : dict of str to ndarray of shape (n_points,), or None
        10 and 90 % quantiles over the classes of each group.

    labels : ndarray of shape (n_classes,)
        Classes, from the largest.

    class_count : ndarray of shape (n_classes,)
        Numbers of training samples of the classes.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        Curves by data set.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> from skcvae.inspection import SphereRadiusDisplay
    >>> display = SphereRadiusDisplay.from_data(
    ...     {"before": [2.0, 9.0], "after": [8.0, 9.5]}, [20, 500], labels=["b", "a"])
    >>> display.labels.tolist(), display.values["before"].tolist()
    (['a', 'b'], [9.0, 2.0])
    """

    _title = "Smallest enclosing spheres of the classes"
    _ylabel = "radius"

    @staticmethod
    def _check_curve(curve, name):
        if np.nanmin(curve, initial=0) < 0:
            raise ValueError(f"{name} must not be negative.")

    def _draw(self, ax, kwargs):
        super()._draw(ax, kwargs)
        # The legend gets space above the curves.
        drawn = self.values if self.high is None else self.high
        highest = max(np.nanmax(curve, initial=0) for curve in drawn.values())
        ax.set_ylim(0, (highest or 1) * (1.1 + 0.06 * len(drawn)))


def _check_class_count(class_count):
    counts = check_array(class_count, ensure_2d=False, input_name="class_count")
    if counts.ndim != 1 or counts.min() < 0:
        raise ValueError(
            "class_count must be one number of samples for each class, none of them "
            f"negative, got shape {counts.shape} and the minimum {counts.min():g}."
        )
    return counts


def _check_curves(values, n_classes):
    """Return float arrays by name, with one value for each class."""
    if not hasattr(values, "items"):
        raise TypeError(
            f"values must be a dict from name to values, got {type(values).__name__}."
        )
    if not values:
        raise ValueError("values is empty: there is nothing to draw.")
    checked = {}
    for name, curve in values.items():
        curve = check_array(
            curve,
            ensure_2d=False,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            input_name=f"values[{name!r}]",
        )
        if curve.shape != (n_classes,):
            raise ValueError(
                f"values[{name!r}] must have one value for each of {n_classes} "
                f"classes, got shape {curve.shape}."
            )
        checked[name] = curve
    return checked
