"""Members, non-members, reference and synthetic samples: checks and the scale."""

from itertools import combinations

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d


def array_likes(*names):
    """Return what `validate_params` allows for parameters that are arrays."""
    return {name: ["array-like"] for name in names}


def check_record_sets(**sets):
    """Return the sets by name, finite and in one precision; leave out those of None.

    The precision is the lowest that any of them has, so that a sample still equals
    itself where the release has rounded it.
    """
    sets = {
        name: check_array(rows, dtype=[np.float64, np.float32], input_name=name)
        for name, rows in sets.items()
        if rows is not None
    }
    if any(rows.dtype == np.float32 for rows in sets.values()):
        sets = {
            name: check_array(rows, dtype=np.float32, input_name=name)
            for name, rows in sets.items()
        }
    widths = {name: rows.shape[1] for name, rows in sets.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"All samples must have the same features, got {widths}.")
    return sets


def check_disjoint(**sets):
    """Refuse sets that share a sample."""
    for (name, rows), (other, other_rows) in combinations(sets.items(), 2):
        n_shared = int(is_among(rows, other_rows).sum())
        if n_shared:
            raise ValueError(
                f"{n_shared} samples of {name} are also in {other}, which must be "
                "disjoint: such a sample is both a member and none. Remove "
                "duplicates before the data are split, or split by group."
            )


def check_one_label_per_sample(y, rows, name):
    """Return one label for each sample."""
    if np.ndim(y) == 2 and np.shape(y)[1] > 1:
        raise ValueError(
            f"{name} has several labels for each sample. privacy_audit compares label "
            "sets, and nearest_neighbor_attack needs no labels."
        )
    y = column_or_1d(y)
    check_consistent_length(rows, y)
    if any(label is None or label != label for label in y.tolist()):
        raise ValueError(f"{name} contains missing values.")
    return y


def check_common_labels(y_synthetic, y_members):
    """Refuse labels of which none agree: an attack by them would find nothing."""
    if not {*np.asarray(y_synthetic).tolist()} & {*np.asarray(y_members).tolist()}:
        raise ValueError(
            "The synthetic samples have none of the labels in y_members. Give labels "
            "of the same type, such as numbers or strings, to both."
        )


def is_among(rows, others):
    """Return which samples equal one of the others, in the lower of both precisions.

    That is the precision of the numbers, and not of the array that holds them: copies
    that were stored in float16 or float32 are copies, whatever they are read as.
    """
    lowest = min(map(_precision, (rows, others)), key=lambda dtype: dtype.itemsize)
    with np.errstate(over="ignore"):
        rows, others = (values.astype(lowest) for values in (rows, others))
    known = set(row_hashes(others))
    return np.array([key in known for key in row_hashes(rows)], dtype=bool)


def _precision(values):
    """Return the lowest type of floats that holds all of these; integers tell none."""
    if not np.array_equal(values, np.rint(values)):
        for dtype in map(np.dtype, ("float16", "float32")):
            with np.errstate(over="ignore"):
                if np.array_equal(values, values.astype(dtype)):
                    return dtype
    return values.dtype


def first_of_equals(rows):
    """Return the places of samples that equal none before them."""
    return np.sort(np.unique(row_hashes(rows), return_index=True)[1])


def first_copies(X, codes):
    """Return for each sample the index of the first of its values and its class."""
    first: dict = {}
    keys = enumerate(zip(codes.tolist(), row_hashes(X), strict=True))
    return np.array([first.setdefault(key, i) for i, key in keys])


def row_hashes(rows):
    """Return a hash of 64 bits of each sample; 0 and -0 are the same number."""
    return [hash(row.tobytes()) for row in rows + 0.0]


def scale_by(reference, *sets, scale="common"):
    """Return the sets divided by the standard deviation of the reference.

    "common" is one number for all features, the root mean square of their standard
    deviations; "feature" one for each. A reference without spread changes nothing.
    """
    std = reference.std(axis=0, dtype=np.float64)
    rounding = np.finfo(reference.dtype).eps * np.abs(reference).max(axis=0)
    std[std <= 10 * rounding] = 0
    if scale == "common":
        std = np.sqrt(np.mean(std**2))
    divisor = np.where(std > 0, std, 1)
    return [(rows / divisor).astype(rows.dtype, copy=False) for rows in sets]


def same_size(first, second, random_state):
    """Return both, the larger one reduced to a random part of the smaller's size."""
    size = min(len(first), len(second))
    return [
        rows
        if len(rows) == size
        else rows[np.sort(random_state.choice(len(rows), size, replace=False))]
        for rows in (first, second)
    ]
