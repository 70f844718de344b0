"""Results of jobs on disk: an interrupted run continues where it stopped."""

import os
import time
from pathlib import Path

import joblib
import numpy as np

from skcvae import __version__

# Increase it when the scripts compute something else from the same settings.
_FORMAT = 1


class Ledger:
    """Results of jobs in a folder, one file each, written whole or not at all.

    The name of a file is the kind of the job and a hash of its settings, which hold a
    hash of the data, and of the version of this library. So the result of another
    version, of other settings or of other data is never taken for the one asked for.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def path(self, kind, settings):
        """Return the file of a job."""
        key = joblib.hash((__version__, _FORMAT, kind, settings))
        return self.folder / f"{kind}-{key}.joblib"

    def get(self, kind, settings, compute):
        """Return the result of a job and its seconds of processor time.

        `compute()` runs if there is no result yet.
        """
        path = self.path(kind, settings)
        if not path.exists():
            start = time.process_time()
            result = compute()
            self.put(path, result, time.process_time() - start)
        return joblib.load(path)

    def put(self, path, result, seconds):
        """Write the result of a job."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            joblib.dump((result, seconds), partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def seconds(self, kind):
        """Return what a job of a kind took, NaN if there was none.

        It is the median of up to five results.
        """
        paths = sorted(self.folder.glob(f"{kind}-*.joblib"))[:5]
        return np.median([joblib.load(path)[1] for path in paths]) if paths else np.nan


def described(estimator):
    """Return what a key has of an estimator: its class and its parameters."""
    if estimator is None:
        return None
    kind = type(estimator)
    return kind.__module__, kind.__qualname__, estimator.get_params(deep=False)
