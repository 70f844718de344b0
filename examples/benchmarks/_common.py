"""What the benchmarks share: one scale, the photos, intervals, and a ledger."""

import json

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


class Ledger:
    """Rows that are known, in memory and, where there is one, in a file.

    Parameters
    ----------
    path : Path or None
        One JSON value for each line: data set, seed, contender, row.
    """

    def __init__(self, path):
        self.path, self.known = path, {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                *key, row = json.loads(line)
                self.known[tuple(key)] = row

    def get(self, key, compute):
        """Return the row of a key; compute and write it down where it is not known."""
        if key not in self.known:
            self.known[key] = [float(value) for value in compute()]
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps([*key, self.known[key]]) + "\n")
        return self.known[key]
