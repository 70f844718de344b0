"""Train a generator once for all candidates that differ only in how they sample."""

from contextlib import nullcontext
from pathlib import Path

import joblib
import numpy as np
from filelock import FileLock
from sklearn.base import clone
from sklearn.utils.validation import check_memory

from .. import __version__
from ._base import BaseGenerator


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
    if isinstance(generator, BaseGenerator):
        generator._check_variance(generator.variance, np.unique(y))
        defaults = type(generator)().get_params()
        plain.set_params(**{n: defaults[n] for n in generator._sampling_parameters})
    kind = type(plain).__module__, type(plain).__qualname__
    key = joblib.hash((__version__, kind, plain.get_params(), X, y))

    # A function of this call: joblib remembers which functions it has checked, and
    # would not write down a function that it knows from another cache, so that the
    # next process would train again.
    def fit(key):
        return plain.fit(X, y)

    with _lock(memory, key):
        fitted = memory.cache(fit)(key)
    return fitted.set_params(**generator.get_params(deep=False))


def _lock(memory, key):
    """Return a lock that other processes with the same key wait for."""
    if not isinstance(memory.location, (str, Path)):
        return nullcontext()
    folder = Path(memory.location) / "skcvae-locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{key}.lock")
