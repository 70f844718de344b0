"""Rules that samples of a table keep."""

import numpy as np

from ._tables import column_at, column_names, find_missing, take

# The places on a line are halved so often: the last step is a millionth of the first.
_N_HALVINGS = 20


def check_constraints(constraints, table):
    """Refuse constraints that are none, or that training samples break.

    Raise TypeError if a constraint is neither a callable nor a string, and ValueError
    if one cannot be evaluated, or is not true for a training sample.
    """
    for constraint in constraints:
        held = _evaluate(constraint, table)
        if not held.all():
            raise ValueError(
                f"{(~held).sum()} of {len(held)} training samples break the constraint "
                f"{name_of(constraint)!r}. Correct or drop them, or give a weaker one."
                + _hint_at_missing(constraint, table, ~held)
            )


def _hint_at_missing(constraint, table, broken):
    """Return what to do for missing values, with which comparisons are false."""
    lost = np.zeros(len(broken), dtype=bool)
    for j, name in enumerate(column_names(table)):
        if not isinstance(constraint, str) or str(name) in constraint:
            lost |= find_missing(column_at(table, j))
    n_lost = (lost & broken).sum()
    if not n_lost:
        return ""
    return (
        f" {n_lost} of them miss a value, and comparisons with it are false: let it "
        "pass, for example by 'loan.isna() | (loan <= income / 2)'."
    )


def check_stored(constraints, table):
    """Refuse constraints that training samples break as they are stored, in float64.

    Samples that no draw brings into the constraints become these.
    """
    n_broken = (~find_allowed(constraints, table)).sum()
    if n_broken:
        raise ValueError(
            f"{n_broken} of {len(table)} training samples break a constraint as "
            "float64, which holds 15 digits of the range of a column. Use coarser "
            "units, such as microseconds."
        )


def find_allowed(constraints, table):
    """Mark the samples that keep all constraints."""
    allowed = np.ones(len(table), dtype=bool)
    for constraint in constraints:
        if len(table):
            allowed &= _evaluate(constraint, table)
    return allowed


def move_to_allowed(start, goal, is_allowed):
    """Return places on the lines from samples to others that are allowed.

    `start` and `goal`, of shape (n_samples, n_numbers), are numbers of samples, and
    those of allowed ones. `is_allowed` marks which of such numbers are. Where the
    allowed part of the line is one piece, as for linear inequalities, the place is the
    allowed one that is nearest to the start, up to a millionth of the length.
    """
    refused, allowed = np.zeros((len(start), 1)), np.ones((len(start), 1))
    for _ in range(_N_HALVINGS):
        middle = (refused + allowed) / 2
        held = is_allowed(start + middle * (goal - start))[:, None]
        refused, allowed = (
            np.where(held, refused, middle),
            np.where(held, middle, allowed),
        )
    # An exact copy of the goal where only that is allowed.
    return np.where(allowed < 1, start + allowed * (goal - start), goal)


def _evaluate(constraint, table):
    """Return whether each sample of a table keeps a constraint, of type bool."""
    if isinstance(constraint, str):
        held = _evaluate_text(constraint, table)
    elif callable(constraint):
        held = constraint(take(table, np.arange(len(table))))
        _check_order(held, constraint, len(table))
    else:
        raise TypeError(
            "A constraint is a string such as 'loan <= income / 2', or a callable from "
            f"a table to a mask, got {constraint!r}."
        )
    dtype = getattr(held, "dtype", None)
    if np.shape(held) != (len(table),) or getattr(dtype, "kind", "O") != "b":
        raise ValueError(
            f"The constraint {name_of(constraint)!r} must be true or false for each of "
            f"the {len(table)} samples, got {type(held).__name__} of shape "
            f"{np.shape(held)} and type {dtype}."
        )
    # What is unknown, because a value is missing, breaks nothing.
    return np.asarray(
        held.fillna(True) if hasattr(held, "fillna") else held, dtype=bool
    )


def _check_order(held, constraint, n_samples):
    """Refuse a mask whose index says that it was sorted."""
    index = np.array(held.index) if hasattr(held, "reindex") else None
    if index is None or index.dtype.kind not in "iu":
        return
    order = np.arange(n_samples)
    if np.array_equal(np.sort(index), order) and (index != order).any():
        raise ValueError(
            f"The constraint {name_of(constraint)!r} returns its mask in another order "
            "than that of the samples. End it with .sort_index(), or .to_numpy() if "
            "the index has another meaning."
        )


def _evaluate_text(constraint, table):
    """Let pandas evaluate a string on the columns of a frame, and nothing else."""
    if not hasattr(table, "eval"):
        raise TypeError(
            f"The constraint {constraint!r} names columns, and X is an array without "
            "names. Pass a data frame, or a callable from an array to a mask."
        )
    if "@" in constraint or "__" in constraint:
        raise ValueError(
            f"The constraint {constraint!r} may name columns only: '@' and '__' are "
            "not allowed. Pass a callable instead."
        )
    try:
        return table.eval(constraint, engine="python", local_dict={}, global_dict={})
    except Exception as error:
        raise ValueError(
            f"pandas cannot evaluate the constraint {constraint!r}: {error}"
        ) from error


def name_of(constraint):
    """Return what a message calls a constraint."""
    return str(getattr(constraint, "__name__", constraint))
