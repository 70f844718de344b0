"""Checks of label sets: arrays of 0 and 1, a column for each label."""

import numpy as np
from scipy import sparse


def read_label_sets(Y, name="Y", one_label=None):
    """Return label sets as a boolean array (n_samples, n_labels).

    `Y` holds 0 and 1, and is dense, sparse or a frame. Else raise ValueError; it names
    `one_label`, if given, as what takes a class for each sample.
    """
    if Y is None:
        raise ValueError("This requires y to be passed, but the target y is None.")
    values = Y.toarray() if sparse.issparse(Y) else np.asarray(Y)
    if values.ndim != 2 or values.shape[1] < 2:
        hint = f" Use {one_label} for one class per sample." if one_label else ""
        raise ValueError(
            f"{name} must have a column of 0 and 1 for each of at least two labels. "
            f"Got the shape {values.shape}.{hint}"
        )
    try:
        is_binary = bool(np.isin(values.astype(np.float64), (0.0, 1.0)).all())
    except (TypeError, ValueError):
        is_binary = False
    if not is_binary:
        raise ValueError(f"{name} must hold 0 and 1 alone: 1 where a sample has it.")
    return values.astype(np.float64) == 1


def label_names(Y):
    """Return the column names of a frame, or None."""
    columns = getattr(Y, "columns", None)
    return None if columns is None else np.asarray(columns)
