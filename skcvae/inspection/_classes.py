"""Classes on an axis: their order by size, their labels, and summaries of many."""

import numpy as np
from sklearn.utils import check_array

from .._record_sets import check_one_label_per_sample
from .._validation import check_labels
from ._base import letters_across

# Classes that get a label of their own.
_MAX_LABELS = 20
_MAX_LABEL_LENGTH = 16


def check_classes(y, rows, name):
    """Return one label for each row, all strings or all numbers."""
    check_labels(y)
    y = check_one_label_per_sample(y, rows, name)
    if not len(y):
        raise ValueError(f"{name} is empty.")
    return y


def all_labels(*label_sets):
    """Return the labels of all sets, sorted; refuse strings beside numbers."""
    unique = [np.unique(labels) for labels in label_sets]
    check_labels(np.concatenate([labels.astype(object) for labels in unique]))
    return np.unique(np.concatenate(unique))


def check_class_count(class_count):
    """Return the numbers of rows of the classes."""
    counts = check_array(class_count, ensure_2d=False, input_name="class_count")
    if counts.ndim != 1 or counts.min() < 0:
        raise ValueError(
            "class_count must be one number of rows for each class, none of them "
            f"negative, got shape {counts.shape} and the minimum {counts.min():g}."
        )
    return counts


def by_size(counts):
    """Return the order of classes from the largest to the smallest."""
    return np.argsort(-np.asarray(counts, dtype=np.float64), kind="stable")


def spread_by_size(y, n_classes):
    """Return at most so many classes, spread evenly over their sizes, sorted."""
    classes, counts = np.unique(y, return_counts=True)
    classes = classes[by_size(counts)]
    return np.sort(thin(classes, n_classes))


def thin(rows, n_rows):
    """Return at most so many of the rows, evenly spread: no random state is needed."""
    if len(rows) <= n_rows:
        return rows
    return rows[np.linspace(0, len(rows) - 1, n_rows).round().astype(int)]


def bands(values, n_bands):
    """Return mean and 10 and 90 % quantiles of values in neighbouring groups."""
    groups = [group[~np.isnan(group)] for group in np.array_split(values, n_bands)]
    summary = [
        (group.mean(), *np.quantile(group, (0.1, 0.9))) if len(group) else (np.nan,) * 3
        for group in groups
    ]
    return np.transpose(summary)


def label_classes(ax, labels, counts):
    """Label an axis on which the classes are at 1, 2, ..., from the largest on."""
    names = [shorten(label) for label in labels]
    n_fitting = letters_across(ax)
    lines = [
        f"{name}\n{count:,.10g}" for name, count in zip(names, counts, strict=True)
    ]
    n_letters = max(len(part) for line in lines for part in line.split("\n"))
    ranks = np.arange(1, len(names) + 1)
    ax.set_xlim(0.5, len(names) + 0.5)
    if len(names) <= _MAX_LABELS and (n_letters + 1) * len(names) < n_fitting:
        ax.set_xticks(ranks, lines)
        ax.set_xlabel("class and its rows")
    elif len(names) <= _MAX_LABELS and 2.2 * len(names) < n_fitting:
        ax.set_xticks(ranks, [line.replace("\n", ", ") for line in lines], rotation=90)
        ax.set_xlabel("class and its rows")
    else:
        _label_ranks(ax, counts, int(np.clip(n_fitting // 10, 1, 5)))


def _label_ranks(ax, counts, n_steps):
    """Label round ranks with the numbers of rows of their classes."""
    from matplotlib.ticker import MaxNLocator

    ranks = MaxNLocator(n_steps, integer=True).tick_values(0, len(counts))
    # The first rank is 1, and too near to the second one where these are even.
    step = ranks[1] - ranks[0]
    ranks = ranks[(ranks >= 0.75 * step + 1) & (ranks <= len(counts))]
    ranks = np.append(1, ranks).astype(int)
    ax.set_xticks(ranks, [f"{rank}\n{counts[rank - 1]:,.10g}" for rank in ranks])
    ax.set_xlabel("rank by size, and rows")


def shorten(label):
    """Return a label of bounded length."""
    text = str(label)
    if len(text) <= _MAX_LABEL_LENGTH:
        return text
    return text[: _MAX_LABEL_LENGTH - 1] + "…"
