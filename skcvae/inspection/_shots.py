"""Bars of the accuracy over classes with many, medium and few training samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._extras import import_pyplot
from ..metrics import shot_accuracy_score
from ._base import (
    COLORS,
    Axes,
    BaseDisplay,
    add_legend_beside,
    plain_text,
    with_defaults,
)

_GROUPS = ("overall", "many", "medium", "few")
_HATCHES = ("", "//", "..", "xx", "\\\\", "--", "oo", "++")
# With more methods, bars are too narrow for a number.
_MAX_NUMBERED = 3


@dataclass(kw_only=True, eq=False, repr=False)
class ShotAccuracyDisplay(BaseDisplay):
    """Accuracy over all classes, and over classes with many, medium and few samples.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n_runs, 4)
        Accuracy of each run by method: overall, many, medium, few. NaN for a group
        without classes.

    few, many : float
        Bounds of the groups, in numbers of training samples.

    Attributes
    ----------
    bars_ : dict of str to matplotlib BarContainer
        Bars by method; heights are means over runs.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    See Also
    --------
    skcvae.metrics.shot_accuracy_score : The numbers.

    Examples
    --------
    >>> from skcvae.inspection import ShotAccuracyDisplay
    >>> display = ShotAccuracyDisplay.from_predictions(
    ...     [0, 0, 1, 1],
    ...     {"plain": [0, 0, 0, 0], "resampled": [0, 1, 1, 1]},
    ...     y_train=[0] * 150 + [1] * 5)
    >>> display.scores["resampled"].tolist()
    [[0.75, 0.5, nan, 1.0]]
    """

    _title = "Accuracy by training samples of the class"

    scores: dict[str, np.ndarray]
    few: float = 20
    many: float = 100

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        predictions: Mapping[str, ArrayLike],
        *,
        y_train: ArrayLike,
        few: float = 20,
        many: float = 100,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Score predictions and draw.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True classes of the test samples.

        predictions : dict of str to array-like of shape (n_samples,) or \
                (n_runs, n_samples)
            Predicted classes by method. With several runs, for example with several
            random states, means are drawn, with standard deviations as error bars.

        y_train : array-like of shape (n_train,)
            Classes of the training samples, before any resampling.

        few : float, default=20
            A class with fewer training samples belongs to "few".

        many : float, default=100
            A class with more training samples belongs to "many".

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.patches.Rectangle` for all bars.

        Returns
        -------
        display : ShotAccuracyDisplay
            The display.

        Raises
        ------
        TypeError
            If `predictions` is not a dict.

        ValueError
            If lengths differ.
        """
        import_pyplot(f"{cls.__name__}.from_predictions")
        if not hasattr(predictions, "items"):
            raise TypeError(
                "predictions must be a dict from the name of a method to what it "
                f"predicts, got {type(predictions).__name__}."
            )
        if not predictions:
            raise ValueError("predictions is empty: there is nothing to draw.")
        scores = {}
        for name, runs in predictions.items():
            found = [
                shot_accuracy_score(y_true, run, y_train=y_train, few=few, many=many)
                for run in np.atleast_2d(runs)
            ]
            scores[name] = np.array([[run[g] for g in _GROUPS] for run in found])
        return cls(scores=scores, few=few, many=many).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        from matplotlib.patches import Rectangle

        width = 0.8 / len(self.scores)
        self.bars_ = {}
        repeated = max(len(runs) for runs in self.scores.values()) > 1
        for i, (name, runs) in enumerate(self.scores.items()):
            style = with_defaults(
                kwargs,
                Rectangle,
                color=COLORS[i % len(COLORS)],
                hatch=_HATCHES[i % len(_HATCHES)],
                edgecolor=(1, 1, 1, 0.5),
                label=plain_text(name),
            )
            spread = runs.std(axis=0, ddof=1) if len(runs) > 1 else None
            left = np.arange(len(_GROUPS)) + (i - (len(self.scores) - 1) / 2) * width
            style["error_kw"] = {"elinewidth": 1, "capsize": 2}
            bars = ax.bar(left, runs.mean(axis=0), width, yerr=spread, **style)
            self.bars_[name] = bars
            if len(self.scores) <= _MAX_NUMBERED:
                ax.bar_label(bars, fmt="{:.2f}", fontsize="x-small", padding=1)
        ax.set_xticks(range(len(_GROUPS)), self._group_labels())
        ax.set(xlim=(-0.5, len(_GROUPS) - 0.5), ylim=(0, 1.05))
        ax.set_xlabel("classes by training samples")
        ax.set_ylabel("accuracy" + (", mean and std over runs" if repeated else ""))
        add_legend_beside(ax)

    def _group_labels(self):
        bounds = {
            "overall": "all classes",
            "many": f"> {self.many:g}",
            "medium": f"{self.few:g} to {self.many:g}",
            "few": f"< {self.few:g}",
        }
        empty = np.isnan(next(iter(self.scores.values()))).all(axis=0)
        return [
            f"{group}\n{'no class' if none else bounds[group]}"
            for group, none in zip(_GROUPS, empty, strict=True)
        ]
