"""Held-out loss along a path of regularisation."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._extras import import_pyplot
from ._base import Axes, BaseDisplay, add_legend, line_defaults, line_style


@dataclass(kw_only=True, eq=False, repr=False)
class RegularizationPathDisplay(BaseDisplay):
    """Held-out loss of the ridges that a classifier tried, and the one it took.

    Parameters
    ----------
    l2 : ndarray of shape (n_strengths,)
        Strengths tried.

    loss : ndarray of shape (n_strengths,)
        Held-out loss of each, in nats per sample.

    chosen : float
        The strength in use.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        The losses, by "tried".

    chosen_line_ : matplotlib Line2D
        The strength in use.

    ax_ : matplotlib Axes
        The axes.

    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    skcvae.long_tail.LongTailClassifier : Chooses its ridge on held-out samples.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skcvae.inspection import RegularizationPathDisplay
    >>> from skcvae.long_tail import LongTailClassifier
    >>> classifier = LongTailClassifier(device="cpu", random_state=0)
    >>> classifier = classifier.fit(*load_iris(return_X_y=True))
    >>> display = RegularizationPathDisplay.from_estimator(classifier)
    >>> display.chosen == classifier.l2_
    True
    """

    _title = "Choice of the ridge"

    l2: np.ndarray
    loss: np.ndarray
    chosen: float

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Draw the path of a classifier.

        Parameters
        ----------
        estimator : LongTailClassifier
            Fitted with ``l2="auto"`` by the closed form.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for the losses.

        Returns
        -------
        display : RegularizationPathDisplay
            The display.

        Raises
        ------
        ValueError
            If the classifier chose no ridge.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        path = getattr(estimator, "l2_path_", None)
        if path is None:
            raise ValueError(
                f"This {type(estimator).__name__} has no path: it chose no ridge. Fit "
                "a LongTailClassifier with l2='auto' where the closed form applies."
            )
        display = cls(l2=path["l2"], loss=path["loss"], chosen=estimator.l2_)
        return display.plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        style = line_defaults(kwargs, **line_style(0), label="tried")
        (line,) = ax.plot(self.l2, self.loss, **style)
        self.lines_ = {"tried": line}
        color = line_style(1)["color"]
        self.chosen_line_ = ax.axvline(
            self.chosen, color=color, linestyle="--", label="taken"
        )
        ax.set(xscale="log", xlabel="l2", ylabel="held-out loss per sample")
        add_legend(ax)
