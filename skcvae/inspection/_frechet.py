"""Fréchet distance against the variance of the latents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from .._extras import import_pyplot
from ._base import (
    Axes,
    BaseDisplay,
    add_legend,
    label_logarithmic,
    letters_across,
    line_defaults,
    line_style,
    plain_text,
)


@dataclass(kw_only=True, eq=False, repr=False)
class FrechetVarianceDisplay(BaseDisplay):
    r"""Distance of generated to real samples against the variance of the latents.

    With a small variance, samples are too near to the centre of their class; with a
    large variance, too far from it. The best variance is in between. Both axes are
    logarithmic, unless a value is zero.

    Parameters
    ----------
    variances : ndarray of shape (n_variances,)
        Variances :math:`\sigma^2`, ascending.

    distances : dict of str to ndarray of shape (n_variances,)
        Distances by generator; means over runs if there are several.

    errors : dict of str to ndarray of shape (n_variances,), or None
        Standard deviations over runs.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        Curves by generator.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> from skcvae.inspection import FrechetVarianceDisplay
    >>> display = FrechetVarianceDisplay.from_data(
    ...     [0.5, 1.0, 2.0], [[30, 20, 25], [40, 21, 22]], ["large", "small"])
    >>> display.distances["small"].tolist()
    [40.0, 21.0, 22.0]
    """

    _title = "Distance to real samples"

    variances: np.ndarray
    distances: dict[str, np.ndarray]
    errors: dict[str, np.ndarray] | None = None

    @classmethod
    def from_data(
        cls,
        variances: ArrayLike,
        distances: ArrayLike,
        names: Sequence[str],
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw measured distances.

        Parameters
        ----------
        variances : array-like of shape (n_variances,)
            Variances of the latents, in any order.

        distances : array-like of shape (n_generators, n_variances) or \
                (n_generators, n_variances, n_runs)
            Fréchet or other distances. With several runs, means are drawn, with
            standard deviations as error bars.

        names : sequence of str
            Distinct names of the generators.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for all curves.

        Returns
        -------
        display : FrechetVarianceDisplay
            The display.

        Raises
        ------
        ValueError
            If numbers are negative or not finite, or shapes do not fit.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        sigma2, runs = _check(variances, distances, names)
        order = np.argsort(sigma2, kind="stable")
        runs = runs[:, order]
        errors = None
        if runs.shape[2] > 1:
            errors = dict(zip(names, runs.std(axis=2, ddof=1), strict=True))
        return cls(
            variances=sigma2[order],
            distances=dict(zip(names, runs.mean(axis=2), strict=True)),
            errors=errors,
        ).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        self.lines_ = {}
        for i, (name, distances) in enumerate(self.distances.items()):
            style = line_defaults(kwargs, **line_style(i), label=plain_text(name))
            (line,) = ax.plot(self.variances, distances, **style)
            self.lines_[name] = line
            if self.errors is not None:
                bars = {"fmt": "none", "ecolor": line.get_color(), "capsize": 2}
                ax.errorbar(self.variances, distances, self.errors[name], **bars)
        distances = np.concatenate(list(self.distances.values()))
        if distances.min() > 0:
            ax.set_yscale("log")
        label_logarithmic(ax.yaxis, distances.min(), distances.max())
        self._label_variances(ax)
        ax.set_xlabel(r"variance $\sigma^2$ of the latents")
        ax.set_ylabel("Fréchet distance")
        add_legend(ax)

    def _label_variances(self, ax):
        """Put a tick at each variance that is not too near to the previous tick."""
        positions = self.variances
        if positions.min() > 0:
            ax.set_xscale("log")
            positions = np.log(positions)
        texts = [f"{variance:.3g}" for variance in self.variances]
        least = (max(map(len, texts)) + 1) / letters_across(ax) * np.ptp(positions)
        ticks, last = {}, -np.inf
        for variance, position, text in zip(
            self.variances, positions, texts, strict=True
        ):
            if position - last >= least or not ticks:
                ticks[variance] = text
                last = position
        ax.set_xticks(list(ticks), list(ticks.values()))
        ax.xaxis.minorticks_off()


def _check(variances, distances, names):
    """Return variances, and distances of shape (n_generators, n_variances, n_runs)."""
    variances = check_array(
        variances, ensure_2d=False, dtype=np.float64, input_name="variances"
    )
    distances = check_array(
        distances,
        ensure_2d=False,
        allow_nd=True,
        dtype=np.float64,
        input_name="distances",
    )
    if distances.ndim == 2:
        distances = distances[:, :, np.newaxis]
    if distances.ndim != 3 or distances.shape[:2] != (len(names), len(variances)):
        raise ValueError(
            "distances must have one row for each of "
            f"{len(names)} names and one column for each of {len(variances)} "
            f"variances, got shape {distances.shape}."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"names must differ, got {list(names)}.")
    if variances.min() < 0 or distances.min() < 0:
        raise ValueError("Variances and distances must not be negative.")
    return variances, distances
