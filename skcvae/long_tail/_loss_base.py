"""What the losses of long-tailed classification share: checks, shapes, class counts."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints
from torch import nn

from .._class_values import refuse_index


def check_positive(name, values):
    """Return one finite number above 0 for each class, in float64."""
    refuse_index(values, name)
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"{name} must have shape (n_classes,). Got {values.shape}.")
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(bad):
        raise ValueError(
            f"{name} must be finite and above 0 for every class. Got {values[bad[0]]} "
            f"for class {bad[0]}: leave out classes that have no training samples."
        )
    return values


def cross_entropy(logits, y):
    """Return -log softmax(logits)[y] of each sample; the code -100 is refused."""
    return -logits.log_softmax(dim=1).gather(1, y[:, None])[:, 0]


class LongTailLoss(nn.Module, ABC):
    """Check parameters and shapes, and reduce the losses of the samples."""

    _parameter_constraints: dict = {}

    #: Whether training with this loss leaves no class prior in the logits.
    corrects_prior = False

    #: Whether the logits must be cosines.
    takes_cosines = False

    #: Factor by which the logits are multiplied before a softmax.
    logit_scale: float = 1.0

    reduction: str

    def __init__(self, n_classes: int | None = None, **parameters: Any):
        super().__init__()
        reductions = [StrOptions({"mean", "sum", "none"})]
        constraints = {"reduction": reductions, **self._parameter_constraints}
        validate_parameter_constraints(constraints, parameters, type(self).__name__)
        self.n_classes: int | None = n_classes
        vars(self).update(parameters)

    def _keep(self, **arrays):
        """Register arrays as float32 buffers; with float64 logits they become that."""
        for name, array in arrays.items():
            self.register_buffer(name, torch.as_tensor(array, dtype=torch.float32))

    def log_class_weight(self, class_count: ArrayLike) -> NDArray[np.float64]:
        """Return the log of the weight of each class, which the logits learn whole.

        Parameters
        ----------
        class_count : array-like of shape (n_classes,)
            Samples of each class. A loss that has counts of its own goes by those.

        Returns
        -------
        ndarray of shape (n_classes,)
            Zeros where all classes weigh alike.
        """
        return np.zeros(len(np.asarray(class_count)))

    def set_progress(self, fraction: float) -> None:
        """Take note of the fraction of the training done, in [0, 1): no effect here."""

    @abstractmethod
    def _losses(self, logits, y):
        """Return the loss of each sample."""

    def forward(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the loss of logits (n, n_classes) and class codes (n,)."""
        width = self.n_classes or logits.shape[-1]
        # A wrong shape would often broadcast, to a loss that is wrong but finite.
        if y.ndim != 1 or logits.shape != (len(y), width):
            raise ValueError(
                f"logits must have shape (n, {width}), and y shape (n,). Got "
                f"{tuple(logits.shape)} and {tuple(y.shape)}."
            )
        losses = self._losses(logits, y)
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()


class CountedLoss(LongTailLoss):
    """A loss that depends on the number of samples of each class."""

    _count_name = "class_count"

    def __init__(self, class_count, **parameters):
        count = check_positive(self._count_name, class_count)
        super().__init__(len(count), **parameters)
        self._count(count)

    @abstractmethod
    def _count(self, count):
        """Keep what the loss needs of the checked counts."""


class PriorLoss(CountedLoss):
    """A loss that counters a class prior, and can be told another one.

    Without `_losses` of its own, it is the cross-entropy of logits plus `shift`.
    """

    def _losses(self, logits, y):
        return cross_entropy(logits + self.shift, y)

    def set_class_count(self, class_count: ArrayLike) -> None:
        """Replace the class counts that the loss counters.

        :class:`LongTailClassifier` calls it before each epoch, with the counts that the
        batches of the epoch leave to correct.

        Parameters
        ----------
        class_count : array-like of shape (n_classes,)
            As the first argument of the constructor.
        """
        count = check_positive(self._count_name, class_count)
        self.n_classes = len(count)
        self._count(count)
