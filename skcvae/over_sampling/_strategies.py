"""How many samples: functions of y for the parameter `sampling_strategy`."""

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import column_or_1d

# What rounding errors may take from a whole number.
_TOLERANCE = 1e-9


def n_synthetic_allowed(ratio, n_real):
    """Return how many samples a ratio of synthetic to real ones allows."""
    return int(np.floor(ratio * n_real + _TOLERANCE))


class Strategy(ABC):
    """Calls `_targets` with class sizes, and takes a share of it, up to a cap."""

    max_synthetic_ratio: float | None
    missing_share: float

    @abstractmethod
    def _targets(self, counts):
        """Return class sizes after resampling, of any type of number."""

    def __call__(self, y: ArrayLike) -> dict[Any, int]:
        """Return the number of samples of each class after resampling.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Class of each sample.

        Returns
        -------
        sampling_strategy : dict
            From label to number of samples.
        """
        labels, counts = np.unique(column_or_1d(y), return_counts=True)
        return dict(zip(labels.tolist(), self.sizes(counts).tolist(), strict=True))

    def sizes(self, counts):
        """Return class sizes after resampling, for those before, all at least 1."""
        targets = np.rint(self._targets(counts)).astype(int)
        missing = np.maximum(targets - counts, 0)
        targets = counts + np.rint(self.missing_share * missing).astype(int)
        if self.max_synthetic_ratio is not None:
            allowed = [n_synthetic_allowed(self.max_synthetic_ratio, n) for n in counts]
            targets = np.minimum(targets, counts + allowed)
        return targets

    def _check_limits(self):
        if not 0 <= self.missing_share <= 1:
            raise ValueError(
                f"missing_share must be in [0, 1], got {self.missing_share!r}."
            )
        cap = self.max_synthetic_ratio
        if cap is not None and not 0 <= cap < np.inf:
            raise ValueError(
                "max_synthetic_ratio must be None or a finite number of at least 0, "
                f"got {cap!r}."
            )


@dataclass(frozen=True)
class RatioStrategy(Strategy):
    r"""Fill classes up to a share of the largest one.

    A class of :math:`n_c` samples gets :math:`\max(n_c, \text{ratio} \cdot n_{\max})`,
    rounded to the next whole number. A number as `sampling_strategy` means the same,
    but only for two classes.

    Parameters
    ----------
    ratio : float, default=1.0
        Share of the largest class, at least 0. 1 is "auto", 0 adds no samples. Above 1,
        the largest class gets new samples, too.

    max_synthetic_ratio : float, default=None
        How many samples to add to a class at most for each sample that it has. None is
        no limit.

    missing_share : float, default=1.0
        Share in [0, 1] of the missing samples to add, rounded for each class. For a
        sampler whose work another step of the pipeline finishes.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    PowerStrategy : Keeps more of the order of the class sizes.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.over_sampling import RatioStrategy
    >>> y = np.repeat(["cat", "dog", "owl"], [100, 20, 5])
    >>> RatioStrategy(0.5)(y)
    {'cat': 100, 'dog': 50, 'owl': 50}
    >>> RatioStrategy(0.5, max_synthetic_ratio=3)(y)
    {'cat': 100, 'dog': 50, 'owl': 20}
    >>> RatioStrategy(missing_share=0.1)(y)
    {'cat': 100, 'dog': 28, 'owl': 15}
    """

    ratio: float = 1.0
    _: KW_ONLY
    max_synthetic_ratio: float | None = None
    missing_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < np.inf:
            raise ValueError(
                f"ratio must be a finite number of at least 0, got {self.ratio!r}."
            )
        self._check_limits()

    def _targets(self, counts):
        return self.ratio * counts.max()


@dataclass(frozen=True)
class PowerStrategy(Strategy):
    r"""Fill classes up by a power of their sizes: between as they are and all equal.

    A class of :math:`n_c` samples gets

    .. math:: n_{\max} \, (n_c / n_{\max})^{1 - \text{power}}

    samples, rounded to the next whole number: the largest class stays as it is, and
    class sizes become proportional to :math:`n_c^{1 - \text{power}}` [1]_.

    Parameters
    ----------
    power : float, default=0.5
        In [0, 1]: 0 adds no samples, 0.5 takes the square root of the class sizes,
        1 fills all classes up to the largest.

    max_synthetic_ratio : float, default=None
        How many samples to add to a class at most for each sample that it has. None is
        no limit.

    missing_share : float, default=1.0
        Share in [0, 1] of the missing samples to add, rounded for each class. For a
        sampler whose work another step of the pipeline finishes.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    RatioStrategy : Fills classes up to the same size.

    References
    ----------
    .. [1] D. Mahajan et al., "Exploring the Limits of Weakly Supervised Pretraining",
       ECCV 2018, `arXiv 1805.00932 <https://arxiv.org/abs/1805.00932>`_: square-root
       sampling.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.over_sampling import PowerStrategy
    >>> y = np.repeat([0, 1, 2], [100, 25, 1])
    >>> PowerStrategy(0.5)(y)
    {0: 100, 1: 50, 2: 10}
    """

    power: float = 0.5
    _: KW_ONLY
    max_synthetic_ratio: float | None = None
    missing_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise ValueError(f"power must be in [0, 1], got {self.power!r}.")
        self._check_limits()

    def _targets(self, counts):
        largest = counts.max()
        return largest * (counts / largest) ** (1 - self.power)


class MeanRatioStrategy(Strategy):
    """Fill classes up until no imbalance ratio is above the mean ratio before.

    The ratio of a class is the largest size by its own one: the target is the harmonic
    mean of all sizes.
    """

    max_synthetic_ratio = None
    missing_share = 1.0

    def _targets(self, counts):
        return 1 / np.mean(1 / counts)
