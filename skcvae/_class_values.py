"""Checks of values that a user gives for each class."""

import numpy as np


def refuse_index(values, name, of="classes", how="sort_index()"):
    """Refuse a pandas object as values of the classes, whose order would be lost.

    `of` says what else they are values of, and `how` to bring them into its order.
    """
    if hasattr(values, "iloc"):
        raise TypeError(
            f"{name} is a pandas object, whose order may differ from that of the "
            f"{of}: pass {name}.{how}.to_numpy()."
        )


def check_class_values(values, n_classes, name, *, positive=True):
    """Return finite numbers of at least 0, one for each class, as an array.

    They are more than 0, unless `positive` is False. Then one number passes for all.
    """
    refuse_index(values, name)
    what = "one positive number for each class"
    if not positive:
        what = "a number of at least 0, or one for each class"
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        found = np.array(np.nan)
    shapes = [(n_classes,)] if positive else [(), (n_classes,)]
    is_valid = np.isfinite(found) & ((found > 0) if positive else (found >= 0))
    if found.shape not in shapes or not is_valid.all():
        raise ValueError(
            f"{name} must be {what}, {n_classes} in the order of classes_, got "
            f"{values!r}."
        )
    return found
