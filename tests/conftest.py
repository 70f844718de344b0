"""One thread, no display, and the small data sets that tests share."""

import os

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
