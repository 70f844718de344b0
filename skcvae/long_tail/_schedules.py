"""Variance and share of generated samples as functions of the epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from skorch.dataset import ValidSplit

from .._validation import check_variance

# Parameters of LongTailClassifier that may be schedules.
SCHEDULED = ("p_min", "p_max", "variance")


@dataclass(frozen=True)
class EpochSchedule:
    r"""Move a parameter from one value to another over the epochs of a training.

    For `variance`, `p_min` and `p_max` of :class:`LongTailClassifier`. With
    :math:`t` from 0 in the first epoch to 1 in the last one, the value is
    :math:`\text{start} + s(t) (\text{end} - \text{start})`, for :math:`s(t) = t`
    ("linear") or :math:`(1 - \cos \pi t) / 2` ("cosine").

    A function of your own works as well: it takes the epoch, from 0 on, and the number
    of epochs.

    Parameters
    ----------
    start : float
        Value of the first epoch.

    end : float
        Value of the last epoch.

    shape : {"linear", "cosine"}, default="linear"
        How it gets there.

    Raises
    ------
    ValueError
        If a value is not finite, or the shape is unknown.

    See Also
    --------
    ValidationSchedule : Moves on while a validation loss falls.

    Examples
    --------
    >>> from skcvae.long_tail import EpochSchedule
    >>> [EpochSchedule(1.0, 2.0)(epoch, 5) for epoch in range(5)]
    [1.0, 1.25, 1.5, 1.75, 2.0]
    """

    start: float
    end: float
    shape: str = "linear"

    def __post_init__(self) -> None:
        _check_ends(self.start, self.end)
        if self.shape not in ("linear", "cosine"):
            raise ValueError(f"shape must be 'linear' or 'cosine', got {self.shape!r}.")

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """Return the value of an epoch.

        Parameters
        ----------
        epoch : int
            Number of epochs before it.

        n_epochs : int
            Number of all epochs.

        Returns
        -------
        value : float
            The value.
        """
        share = epoch / max(n_epochs - 1, 1)
        if self.shape == "cosine":
            share = (1 - np.cos(np.pi * share)) / 2
        return _between(self.start, self.end, share)


@dataclass(frozen=True)
class ValidationSchedule:
    """Move a parameter step by step, as long as the loss of a validation set falls.

    For `variance`, `p_min` and `p_max` of :class:`LongTailClassifier`, with a
    validation set of your own in ``net_params=early_stopping(X_val, y_val)``, see
    :func:`~skcvae.generators.early_stopping`, or in
    ``net_params={"train_split": predefined_split(dataset)}`` of skorch. A part
    of the training samples, which the generator has learned from, is refused. Each
    epoch whose validation loss is the lowest so far moves the value one step on. An
    epoch that is not leaves it where it is.

    Parameters
    ----------
    start : float
        Value of the first epoch.

    end : float
        Value after the last step.

    n_steps : int, default=10
        Number of steps, at least 1.

    Raises
    ------
    ValueError
        If a value is not finite, or there is no step.

    See Also
    --------
    EpochSchedule : Moves on in any case.

    Examples
    --------
    >>> from skcvae.long_tail import ValidationSchedule
    >>> schedule = ValidationSchedule(0.0, 1.0, n_steps=4)
    >>> schedule(epoch=3, n_epochs=9, valid_losses=[0.9, 0.7, 0.8])
    0.5
    """

    start: float
    end: float
    n_steps: int = 10

    def __post_init__(self) -> None:
        _check_ends(self.start, self.end)
        if not (isinstance(self.n_steps, Integral) and self.n_steps >= 1):
            raise ValueError(
                f"n_steps must be an int of at least 1, got {self.n_steps!r}."
            )

    def __call__(
        self, epoch: int, n_epochs: int, valid_losses: Sequence[float]
    ) -> float:
        """Return the value of an epoch.

        Parameters
        ----------
        epoch : int
            Number of epochs before it.

        n_epochs : int
            Number of all epochs.

        valid_losses : sequence of float
            Validation losses of the epochs before it.

        Returns
        -------
        value : float
            The value.
        """
        lowest = np.minimum.accumulate([np.inf, *valid_losses])
        share = min(np.sum(lowest[1:] < lowest[:-1]) / self.n_steps, 1)
        return _between(self.start, self.end, share)


def _between(start, end, share):
    value = start + share * (end - start)
    # Rounding errors must not lead out of the range that was asked for.
    return float(np.clip(value, min(start, end), max(start, end)))


def _check_ends(start, end):
    if (
        not all(isinstance(value, Real) for value in (start, end))
        or not np.isfinite([start, end]).all()
    ):
        raise ValueError(
            f"start and end must be finite numbers, got {start!r} and {end!r}."
        )


def value_at(value, epoch, n_epochs, valid_losses):
    """Return the value of a parameter, a schedule or not, in an epoch."""
    if not callable(value):
        return value
    if isinstance(value, ValidationSchedule):
        return value(epoch, n_epochs, valid_losses)
    return value(epoch, n_epochs)


def scheduled(classifier):
    """Return the names of the parameters of a classifier that are schedules."""
    return [name for name in SCHEDULED if callable(getattr(classifier, name))]


def shares_at(classifier, epoch, n_epochs, valid_losses):
    """Return `p_min` and `p_max` of an epoch, or refuse them."""
    shares = [
        value_at(value, epoch, n_epochs, valid_losses)
        for value in (classifier.p_min, classifier.p_max)
    ]
    if not all(isinstance(share, Real) and 0 <= share <= 1 for share in shares):
        raise ValueError(
            "p_min and p_max must be numbers in [0, 1] in each epoch, got "
            f"{shares[0]!r} and {shares[1]!r} in epoch {epoch} of {n_epochs}."
        )
    if shares[0] > shares[1]:
        raise ValueError(
            f"p_min must not exceed p_max, got {shares[0]} and {shares[1]}"
            + (f" in epoch {epoch} of {n_epochs}." if scheduled(classifier) else ".")
        )
    return shares


def check_schedules(classifier, n_epochs):
    """Refuse schedules that have no use, or a value out of range in some epoch."""
    names = scheduled(classifier)
    if not names:
        return
    unused = names if classifier.augment is None else []
    if classifier.augment == "always":
        unused = [name for name in names if name != "variance"]
    if unused:
        raise ValueError(
            f"A schedule of {unused[0]} has no use with augment="
            f"{classifier.augment!r}. For one probability for all classes, give the "
            "same schedule as p_min and p_max, with augment='inverse'."
        )
    needs_losses = any(
        isinstance(getattr(classifier, name), ValidationSchedule) for name in names
    )
    split = (classifier.net_params or {}).get("train_split")
    if needs_losses and (split is None or isinstance(split, ValidSplit)):
        raise ValueError(
            "A ValidationSchedule needs a validation set that the generator has not "
            "learned from: net_params=skcvae.generators.early_stopping(X_val, y_val), "
            f"or one with a train_split of predefined_split, got {split!r}."
        )
    for epoch in range(n_epochs):
        # As if each epoch was better than all before it.
        history = (epoch, n_epochs, -np.arange(epoch, dtype=float))
        shares_at(classifier, *history)
        variance = value_at(classifier.variance, *history)
        if variance is not None:
            check_variance(variance, classifier.classes_)
        elif callable(classifier.variance):
            raise ValueError(
                f"variance must return a value, got None in epoch {epoch}."
            )


class ScheduledStream:
    """Stream of generated samples whose variance depends on the epoch.

    `make_stream` takes a variance and returns a stream; `variance_at` takes an epoch.
    """

    def __init__(self, make_stream, variance_at):
        self._make_stream, self._variance_at = make_stream, variance_at

    def start_epoch(self, epoch):
        """Prepare the draws of an epoch."""
        self._stream = self._make_stream(self._variance_at(epoch))

    def __call__(self, codes, torch_generator):
        """Return generated samples of sorted class codes."""
        return self._stream(codes, torch_generator)
