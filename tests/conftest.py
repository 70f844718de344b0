"""One thread, no display, and the data sets and random states that tests share."""

import os
import random

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from skcvae.datasets import make_long_tailed

os.environ.setdefault("MPLBACKEND", "Agg")
torch.set_num_threads(1)
threadpool_limits(1)


@pytest.fixture(scope="session")
def long_tailed_digits():
    """Digits with class sizes from 178 down to 8: 602 rows, 64 features."""
    X, y = load_digits(return_X_y=True)
    X, y = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    X.flags.writeable = y.flags.writeable = False
    return X, y


@pytest.fixture
def random_states():
    """Return a function: the global random states of NumPy, torch and Python now."""

    def states():
        kind, keys, *rest = np.random.get_state()
        of_torch = torch.get_rng_state().tolist()
        return kind, keys.tolist(), *rest, of_torch, random.getstate()

    return states


@pytest.fixture
def torch_seed():
    """Seed torch for one test, and give its random state back."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def one_thread_per_worker():
    """Let `n_jobs` start processes of one thread each, as many as there are jobs."""
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        yield


@pytest.fixture(scope="session")
def separated_classes():
    """Four Gaussian classes of 60, 30, 12 and 5 rows, ten deviations apart."""
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(4), [60, 30, 12, 5])
    X = 10 * np.eye(4, 6)[y] + rng.normal(size=(len(y), 6))
    order = rng.permutation(len(y))
    X, y = X[order], y[order]
    X.flags.writeable = y.flags.writeable = False
    return X, y
