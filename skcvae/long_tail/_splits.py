"""Repeated splits that keep rare classes in both parts."""

from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import BaseShuffleSplit
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.multiclass import check_classification_targets

from .._several_labels import refuse_label_sets
from .._validation import check_labels


class LongTailShuffleSplit(BaseShuffleSplit):
    """Repeated stratified splits with each class in both parts.

    A class of two samples or more has at least one in the training part and one in the
    test part of each split. A class of one sample is always trained on. scikit-learn's
    :class:`~sklearn.model_selection.StratifiedShuffleSplit` refuses classes of one
    sample, and leaves small ones out of the test part.

    One split of a long tail ranks settings badly: a class of five samples is judged by
    one. The mean over three splits or more ranks them better.

    Parameters
    ----------
    n_splits : int, default=3
        Number of splits.

    test_size : float, default=0.2
        Share in (0, 1) of each class in the test part, rounded up or down at random so
        that it is right on average, as far as each part has a sample.

    min_train : int, default=1
        Samples that each class keeps in the training part, or all of a smaller class:
        what a sampler needs, such as the `k_neighbors` of SMOTE plus one.

    random_state : int, RandomState instance or None, default=None
        Seed of the splits.

    Raises
    ------
    ValueError
        By `split`, if `y` is continuous or missing, `groups` are given, or no class has
        a sample to spare.

    See Also
    --------
    skcvae.metrics.make_shot_scorer : Scores by the size of a class.
    skcvae.metrics.balanced_log_loss : Each class counts once; varies less from split to
        split than accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.long_tail import LongTailShuffleSplit
    >>> y = np.repeat(["a", "b", "c"], [20, 2, 1])
    >>> for train, test in LongTailShuffleSplit(2, random_state=0).split(y, y):
    ...     print(np.unique(y[train]), np.unique(y[test]))
    ['a' 'b' 'c'] ['a' 'b']
    ['a' 'b' 'c'] ['a' 'b']
    """

    @validate_params(
        {
            "n_splits": [Interval(Integral, 1, None, closed="left")],
            "test_size": [Interval(Real, 0, 1, closed="neither")],
            "min_train": [Interval(Integral, 1, None, closed="left")],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(
        self,
        n_splits: int = 3,
        *,
        test_size: float = 0.2,
        min_train: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(n_splits, test_size=test_size, random_state=random_state)
        self.min_train = min_train

    def _iter_indices(self, X, y=None, groups=None):
        if y is None:
            raise ValueError("LongTailShuffleSplit needs y, the class of each sample.")
        if groups is not None:
            raise ValueError(
                "LongTailShuffleSplit keeps no groups together. Use scikit-learn's "
                "StratifiedGroupKFold."
            )
        check_labels(y)
        refuse_label_sets(y)
        y = column_or_1d(y)
        check_classification_targets(y)
        codes = np.unique(y, return_inverse=True)[1]
        members = np.split(
            np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))
        )
        if max(map(len, members)) <= self.min_train:
            raise ValueError(
                f"No class has more than min_train={self.min_train} samples: none can "
                "be held out."
            )
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            held_out = np.concatenate([self._hold_out(m, rng) for m in members])
            is_test = np.zeros(len(y), dtype=bool)
            is_test[held_out] = True
            yield np.flatnonzero(~is_test), np.flatnonzero(is_test)

    def _hold_out(self, members, rng):
        """Return the samples of a class for the test part."""
        exact = self.test_size * len(members)
        n_test = int(exact) + (rng.uniform() < exact - int(exact))
        n_test = min(max(n_test, 1), max(len(members) - self.min_train, 0))
        return rng.permutation(members)[:n_test]
