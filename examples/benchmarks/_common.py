"""What the benchmarks share: one scale, the photos, intervals, a ledger, a history."""

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

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


def record(path, benchmark, figures):
    """Append an entry to a history, and write the file whole; None writes nothing.

    Parameters
    ----------
    path : Path or None
        File in JSON Lines, as `history.py` reads it.

    benchmark : str
        Name of the benchmark.

    figures : dict
        Ratios by name. A name ends with ", seconds", ", memory" or ", error".
    """
    if path is None:
        return
    entry = {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "benchmark": benchmark,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "torch", "scikit-learn")},
        "machine": {"cores": os.cpu_count(), "processor": _processor()},
        "figures": {name: round(float(ratio), 4) for name, ratio in figures.items()},
    }
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    part = path.with_suffix(".part")
    part.write_text(before + json.dumps(entry) + "\n", encoding="utf-8")
    part.replace(path)


def _commit():
    """Return the commit of the checkout, with a + where the package differs from it."""

    def git(*arguments):
        command = ["git", "-C", str(Path(__file__).parents[2]), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    commit = git("rev-parse", "--short=9", "HEAD").stdout.strip() or "unknown"
    differs = git("diff", "--quiet", "HEAD", "--", "skcvae").returncode == 1
    return commit + "+" * differs


def _processor():
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()
