"""What the benchmarks share: one scale, the industrial photos, and intervals."""

import numpy as np
from scipy import stats


def global_scale(X_train, *others):
    """Centre by the mean of the training rows and divide by one scale."""
    mean = X_train.mean(axis=0)
    scale = np.sqrt(((X_train - mean) ** 2).mean())
    return [(X - mean) / scale for X in (X_train, *others)]


def read_mvtec(data):
    """Return the industrial photos, by object and whether it is damaged."""
    with np.load(data / "mvtec_resnet18.npz") as file:
        return file["X"].astype(np.float32), file["y"].astype(int) * 2 + file["anomaly"]


def half_widths(differences):
    """Return by how much the 95 % interval of a mean over seeds reaches to a side."""
    n_seeds = len(differences)
    if n_seeds == 1:
        return np.full(differences.shape[1:], np.nan)[()]
    return stats.sem(differences) * stats.t.ppf(0.975, n_seeds - 1)
