"""Seeds of the parts of an estimator."""

import numpy as np

_MAX_SEED = np.iinfo(np.int32).max


def draw_seeds(random_state, n_seeds):
    """Draw `n_seeds` integer seeds from a RandomState."""
    return random_state.randint(_MAX_SEED, size=n_seeds).tolist()
