"""Fit the generator of an estimator; once for all that differ in sampling only."""

from contextlib import nullcontext
from numbers import Integral
from pathlib import Path

import joblib
import numpy as np
from filelock import FileLock
from sklearn.base import clone
from sklearn.utils.validation import check_memory

from . import __version__

# Raised when a fitted generator has other parts than before: older entries of a cache
# would load, and then fail.
_CACHE_FORMAT = 2


def fit_generator(generator, X, y, memory=None):
    """Fit a generator, or load the same training from a cache.

    The key is a hash of the rows, the labels and the parameters that training reads.
    Among several processes with the same key one trains and the others wait for it.
    Neither the entries nor joblib's metadata hold the rows.

    Parameters
    ----------
    generator : estimator
        Unfitted generator. Without a cache, it is the one that is fitted.

    X, y : array-like
        Training rows and labels.

    memory : str, joblib.Memory or None, default=None
        Where to keep fitted generators.

    Returns
    -------
    estimator
        Fitted, with all parameters of `generator`.
    """
    memory = check_memory(memory)
    if memory.location is None:
        return generator.fit(X, y)
    plain = clone(generator)
    if hasattr(generator, "_sampling_parameters"):
        generator._check_variance(generator.variance, np.unique(y))
        defaults = type(generator)().get_params()
        plain.set_params(**{n: defaults[n] for n in generator._sampling_parameters})
    kind = type(plain).__module__, type(plain).__qualname__
    key = joblib.hash((__version__, _CACHE_FORMAT, kind, plain.get_params(), X, y))

    # A function of this call: joblib remembers which functions it has checked, and
    # would not write down a function that it knows from another cache, so that the
    # next process would train again.
    def fit(key):
        return plain.fit(X, y)

    with _lock(memory, key):
        fitted = memory.cache(fit)(key)
    return fitted.set_params(**generator.get_params(deep=False))


def fit_into(estimator, generator, X, y, memory):
    """Set `generator_` of an estimator to the generator, fitted.

    When training is interrupted, `generator_` is the last finished epoch, if there was
    one.
    """
    try:
        estimator.generator_ = fit_generator(generator, X, y, memory)
    except KeyboardInterrupt:
        if hasattr(generator, "classes_"):
            estimator.generator_ = generator
        raise


def clone_generator(generator, random_state, memory):
    """Return an unfitted copy, with the seed of the estimator that wraps it."""
    generator = clone(generator)
    has_seed = "random_state" in generator.get_params()
    if has_seed and random_state is not None:
        generator.set_params(random_state=random_state)
    if has_seed:
        check_memory_seed(memory, generator.random_state)
    return generator


def check_memory_seed(memory, random_state):
    """Refuse a cache that could not tell two different trainings apart."""
    if memory is not None and not isinstance(random_state, Integral):
        raise ValueError(
            "memory needs an integer random_state: without one, every training would "
            f"differ and the cache would hide it. Got random_state={random_state!r}."
        )


def _lock(memory, key):
    """Return a lock that other processes with the same key wait for."""
    if not isinstance(memory.location, (str, Path)):
        return nullcontext()
    folder = Path(memory.location) / "skcvae-locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{key}.lock")
