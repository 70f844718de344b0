"""Losses of a generator by epoch."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .._extras import import_pyplot
from ._base import (
    COLORS,
    Axes,
    BaseDisplay,
    add_legend_below,
    fitted_generator,
    line_defaults,
)

# Columns of the history, after "train_" or "valid_".
_TERMS = {"total": "loss", "reconstruction": "reconstruction", "kl": "kl"}
_STYLES = {"total": "-", "reconstruction": "--", "kl": "-."}
_LABELS = {"total": "total", "reconstruction": "reconstruction", "kl": "KL"}
_VALIDATION = {"marker": "o", "markerfacecolor": "white", "markersize": 4}


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingHistoryDisplay(BaseDisplay):
    """Loss, reconstruction and KL term of each epoch.

    The KL term has its own axis on the right, because it is much smaller than the
    reconstruction of a wide embedding. It is drawn without its weight `beta`.

    Parameters
    ----------
    epochs : ndarray of shape (n_epochs,)
        Numbers of the epochs.

    train : dict of str to ndarray of shape (n_epochs,)
        Means over the training samples: "total", and if the estimator has them
        "reconstruction" and "kl". A CVAE with ``objective="elbo"`` has nats per sample.

    valid : dict of str to ndarray of shape (n_epochs,), default=None
        Means over the validation samples.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        Curves by "train_total", "valid_kl" and so on.

    ax_ : matplotlib Axes
        Axes of total and reconstruction.

    kl_ax_ : matplotlib Axes or None
        Axes of the KL term.

    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    skcvae.CVAE : A generator with a `history_`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skcvae.generators import CVAE
    >>> from skcvae.inspection import TrainingHistoryDisplay
    >>> cvae = CVAE(latent_dim=2, max_epochs=30, device="cpu", random_state=0)
    >>> cvae = cvae.fit(*load_iris(return_X_y=True))
    >>> display = TrainingHistoryDisplay.from_estimator(cvae)
    >>> len(display.epochs), list(display.train)
    (30, ['total', 'reconstruction', 'kl'])
    """

    _title = "Training history"

    epochs: np.ndarray
    train: dict[str, np.ndarray]
    valid: dict[str, np.ndarray] | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Draw the history of an estimator.

        Parameters
        ----------
        estimator : object
            Fitted :class:`~skcvae.CVAE`, or a fitted sampler, anonymizer or classifier
            that has a `history_`, or a `generator_` with one.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for all curves.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display.

        Raises
        ------
        ValueError
            If there is no history, as for a Gaussian, which is fitted in one step.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        history = fitted_generator(estimator, "history_").history_
        display = cls(
            epochs=np.array([epoch["epoch"] for epoch in history], dtype=int),
            train=_columns(history, "train"),
            valid=_columns(history, "valid") or None,
        )
        return display.plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        self.kl_ax_ = ax.twinx() if "kl" in self.train else None
        self.lines_ = {}
        for part, terms in (("train", self.train), ("valid", self.valid or {})):
            for term, values in terms.items():
                on = self.kl_ax_ if term == "kl" else ax
                style = self._style(part, term, kwargs)
                (line,) = on.plot(self.epochs, values, **style)
                self.lines_[f"{part}_{term}"] = line
        ax.set(xlabel="epoch", ylabel="loss per sample")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if self.kl_ax_ is not None:
            color = COLORS[list(_TERMS).index("kl")]
            self.kl_ax_.set_ylabel("KL term per sample", color=color)
            self.kl_ax_.tick_params(axis="y", colors=color)
            self.kl_ax_.spines["top"].set_visible(False)
        handles = self._handles()
        add_legend_below(ax, handles=handles, ncols=len(handles), columnspacing=1.2)

    def _handles(self):
        """Return the entries of the legend: the terms, and one for validation."""
        from matplotlib.lines import Line2D

        handles = [self.lines_[f"train_{term}"] for term in self.train]
        if self.valid:
            style = {"color": "0.4", "label": "validation"}
            handles.append(Line2D([], [], **style, **_VALIDATION))
        return handles

    def _style(self, part, term, kwargs):
        """Return how to draw a curve: validation has hollow markers."""
        label = _LABELS[term] + (" (right)" if term == "kl" else "")
        # A single epoch makes no line.
        markers = {"marker": "o"} if len(self.epochs) == 1 else {}
        return line_defaults(
            kwargs,
            color=COLORS[list(_TERMS).index(term)],
            linestyle=_STYLES[term],
            label=label,
            markevery=max(1, len(self.epochs) // 15),
            **(_VALIDATION if part == "valid" else markers),
        )


def _columns(history, part):
    """Return the terms that a history has for "train" or "valid"."""
    columns = {}
    for term, column in _TERMS.items():
        # An interrupted epoch has no means.
        values = [epoch.get(f"{part}_{column}", np.nan) for epoch in history]
        if not np.isnan(values).all():
            columns[term] = np.array(values, dtype=np.float64)
    return columns
