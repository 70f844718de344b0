"""Reliability diagram of a classifier of any number of classes."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._extras import import_pyplot
from .._statistics import proportion
from ..metrics import expected_calibration_error
from ._base import COLORS, GREY, Axes, BaseDisplay, add_legend, line_defaults


@dataclass(kw_only=True, eq=False, repr=False)
class ReliabilityDisplay(BaseDisplay):
    r"""Accuracy against confidence for any number of classes.

    The confidence of a sample is its largest probability. Samples are put into bins by
    their confidence. In a calibrated classifier, the mean confidence of a bin equals
    the share of its samples that are classified correctly [1]_. Error bars are Wilson's
    95 % intervals of that share. Grey bars show the share of the samples in the bin.

    :class:`sklearn.calibration.CalibrationDisplay` is for two classes only.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Bounds of the bins; the upper bound belongs to the bin.

    confidence, accuracy : ndarray of shape (n_bins,)
        Means over the samples of each bin; NaN for an empty bin.

    low, high : ndarray of shape (n_bins,)
        Bounds of the confidence interval of the accuracy.

    share : ndarray of shape (n_bins,)
        Share of the samples in each bin.

    error : float
        Expected calibration error, the mean of \|accuracy - confidence\| over the
        bins, weighted with `share`.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.

    bars_ : matplotlib BarContainer
        The shares.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    See Also
    --------
    skcvae.metrics.expected_calibration_error : The number in the legend.
    skcvae.PriorCorrectedClassifier : Corrects probabilities after resampling.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern
       Neural Networks", ICML 2017, `arXiv 1706.04599
       <https://arxiv.org/abs/1706.04599>`_.

    Examples
    --------
    >>> from skcvae.inspection import ReliabilityDisplay
    >>> y_prob = [[0.75, 0.25], [0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]
    >>> display = ReliabilityDisplay.from_predictions(
    ...     ["a", "b", "a", "b"], y_prob, n_bins=4)
    >>> display.error, display.share.tolist()
    (0.25, [0.0, 0.25, 0.5, 0.25])
    """

    _title = "Reliability"

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: np.ndarray
    error: float

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_bins: int = 15,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Predict probabilities and draw.

        Parameters
        ----------
        estimator : object
            Fitted classifier with `predict_proba`.

        X : array-like of shape (n_samples, n_features)
            Test samples.

        y : array-like of shape (n_samples,)
            Their true classes.

        n_bins : int, default=15
            Number of bins of the same width.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for the curve.

        Returns
        -------
        display : ReliabilityDisplay
            The display.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            labels=estimator.classes_,
            n_bins=n_bins,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_prob: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        n_bins: int = 15,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw from predicted probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True classes.

        y_prob : array-like of shape (n_samples, n_classes)
            Predicted probabilities of all classes.

        labels : array-like of shape (n_classes,), default=None
            Class of each column, in sorted order, as in `estimator.classes_`. None
            uses the sorted classes of `y_true`, which must be as many as columns.

        n_bins : int, default=15
            Number of bins of the same width.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for the curve.

        Returns
        -------
        display : ReliabilityDisplay
            The display.

        Raises
        ------
        ValueError
            If `y_prob` does not hold probabilities, or `labels` or `y_true` do not fit.
        """
        import_pyplot(f"{cls.__name__}.from_predictions")
        # This function checks the input, too.
        error = expected_calibration_error(y_true, y_prob, labels=labels, n_bins=n_bins)
        y, P = np.asarray(y_true).ravel(), np.asarray(y_prob, dtype=float)
        classes = np.unique(y) if labels is None else np.asarray(labels)
        confidence = P.max(axis=1)
        correct = classes[P.argmax(axis=1)] == y
        edges = np.arange(n_bins + 1) / n_bins
        bins = np.searchsorted(edges[1:-1], confidence)
        sizes = np.bincount(bins, minlength=n_bins)
        n_correct = np.bincount(bins, weights=correct, minlength=n_bins)
        intervals = [
            proportion(right, size) if size else (np.nan,) * 3
            for right, size in zip(n_correct, sizes, strict=True)
        ]
        accuracy, low, high = np.transpose(intervals)
        sums = np.bincount(bins, weights=confidence, minlength=n_bins)
        return cls(
            edges=edges,
            confidence=np.divide(
                sums, sizes, out=np.full(n_bins, np.nan), where=sizes > 0
            ),
            accuracy=accuracy,
            low=low,
            high=high,
            share=sizes / len(bins),
            error=error,
        ).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        width = np.diff(self.edges)
        self.bars_ = ax.bar(
            self.edges[:-1],
            self.share,
            width,
            align="edge",
            color=GREY,
            edgecolor="white",
            label="share of samples",
        )
        ax.plot([0, 1], [0, 1], color="0.5", linewidth=1, label="perfectly calibrated")
        filled = self.share > 0
        confidence, accuracy = self.confidence[filled], self.accuracy[filled]
        style = line_defaults(
            kwargs,
            color=COLORS[0],
            marker="o",
            markersize=5,
            label=f"calibration error {self.error:.3f}",
        )
        (self.line_,) = ax.plot(confidence, accuracy, **style)
        spread = accuracy - self.low[filled], self.high[filled] - accuracy
        bars = {"fmt": "none", "ecolor": self.line_.get_color(), "elinewidth": 1}
        ax.errorbar(confidence, accuracy, spread, **bars)
        ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
        add_legend(ax)
