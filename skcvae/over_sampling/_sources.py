"""New rows of a wrapped sampler, as many and as often as asked for."""

from collections import Counter

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from .._generation import draw, unfrozen
from .._training import draw_seeds
from ._base import BaseGenerativeOverSampler


def check_sampler(sampler, owner, name="sampler"):
    """Refuse what is no over-sampler, or says itself how many rows it wants."""
    needed = {"sampling_strategy", "random_state"}
    of_instance = not isinstance(sampler, type) and hasattr(sampler, "get_params")
    params = sampler.get_params(deep=False) if of_instance else {}
    if not hasattr(sampler, "fit_resample") or not needed <= set(params):
        raise TypeError(
            f"The {name} of {owner} must be an over-sampler instance with the method "
            "fit_resample and the parameters sampling_strategy and random_state, got "
            f"{sampler!r}."
        )
    strategy = params["sampling_strategy"]
    if not isinstance(strategy, str) or strategy != "auto":
        raise ValueError(
            f"Set sampling_strategy on {owner}, which tells its {name} how many rows "
            f"to draw: there it must stay 'auto', got {strategy!r}."
        )


def seed_unseeded(estimator, random_state):
    """Seed each `random_state` of an estimator that is None, nested ones included."""
    if random_state is None:
        return estimator
    params = estimator.get_params()
    unseeded = sorted(
        name
        for name, value in params.items()
        if name.rpartition("__")[2] == "random_state" and value is None
    )
    seeds = draw_seeds(check_random_state(random_state), len(unseeded))
    return estimator.set_params(**dict(zip(unseeded, seeds, strict=True)))


def open_source(sampler, X, y, random_state=None):
    """Return what draws rows of a copy of a sampler, trained once if it is trained.

    Parameters
    ----------
    sampler : over-sampler
        It is cloned.

    X : ndarray of shape (n_samples, n_features)
        Training rows. Types that hold no fractions are widened.

    y : ndarray of shape (n_samples,)
        Their labels.

    random_state : int, RandomState instance or None, default=None
        Replaces that of the sampler unless it is None.
    """
    sampler = clone(sampler)
    if random_state is not None:
        sampler.set_params(random_state=random_state)
    X = X.astype(np.result_type(X.dtype, np.float32), copy=False)
    if isinstance(sampler, BaseGenerativeOverSampler):
        return _GeneratorSource(sampler, X, y)
    return _ResamplingSource(sampler, X, y)


class _Source:
    """Draws rows; `sampler` is the fitted sampler, `generator` its generator or None.

    A subclass implements `_draw`, which returns rows and their labels.
    """

    generator = None

    def draw(self, counts):
        """Return new rows of each class: as many as asked for, or fewer.

        Each call draws with another seed.

        Parameters
        ----------
        counts : dict
            Number of rows for each label.

        Returns
        -------
        rows : dict
            Array of shape (n, n_features) for each label.
        """
        rows, labels = self._draw(counts, draw_seeds(self._seeds, 1)[0])
        order = np.argsort(labels, kind="stable")
        classes, starts = np.unique(labels[order], return_index=True)
        groups = np.split(rows[order], starts[1:])
        found = dict(zip(classes.tolist(), groups, strict=False))
        return {c: found.get(c, rows[:0])[:n] for c, n in counts.items()}


class _GeneratorSource(_Source):
    """Trains the generator of a sampler once, and draws from it."""

    def __init__(self, sampler, X, y):
        self.sampler = sampler.fit(X, y)
        self.generator = sampler.generator_
        own_seed = getattr(unfrozen(self.generator), "random_state", None)
        self._seeds = check_random_state(own_seed)
        self._label_dtype = y.dtype

    def _draw(self, counts, seed):
        labels = np.array(list(counts), dtype=self._label_dtype)
        labels = np.repeat(labels, list(counts.values()))
        return draw(self.generator, labels, random_state=seed)


class _ResamplingSource(_Source):
    """Calls `fit_resample` each time, with larger classes as its strategy."""

    def __init__(self, sampler, X, y):
        self.sampler = sampler
        self._seeds = check_random_state(sampler.random_state)
        self._X, self._y = X, y
        self._n_real = Counter(y.tolist())

    def _draw(self, counts, seed):
        sizes = {label: self._n_real[label] + n for label, n in counts.items()}
        sampler = clone(self.sampler)
        sampler.set_params(sampling_strategy=sizes, random_state=seed)
        rows, labels = sampler.fit_resample(self._X, self._y)
        n_real = len(self._X)
        if np.shape(labels) != (len(rows),):
            raise ValueError(
                f"{type(sampler).__name__} must return one hard label for each row, "
                f"got labels of shape {np.shape(labels)} for {len(rows)} rows."
            )
        if not (
            np.array_equal(rows[:n_real], self._X)
            and np.array_equal(labels[:n_real], self._y)
        ):
            raise ValueError(
                f"{type(sampler).__name__} must return the training rows first and "
                "unchanged: only over-samplers can be used here."
            )
        self.sampler = sampler
        return rows[n_real:], labels[n_real:]
