"""The rule for rare combinations of labels: they identify their samples."""

import numpy as np

from .._label_sets import unique_label_sets
from .._warnings import warn_user
from ._base import count_in_classes, distinct_ids


def settle_rare_label_sets(X, sets, small_classes, least):
    """Return the label sets to learn and publish, and which samples are left out.

    Each set of the samples that are not left out has at least `least` distinct samples,
    unless `small_classes` is "allow".
    """
    ids = distinct_ids(X)
    if small_classes == "allow":
        n_single = int((_set_sizes(sets, ids)[0] == 1).sum())
        if n_single:
            warn_user(
                f"{n_single} label sets have a single sample, which synthetic samples "
                "disclose. small_classes='merge' drops their rarest labels."
            )
        return sets, np.zeros(len(sets), dtype=bool)
    rare = _are_rare(sets, ids, least)
    if not rare.any():
        return sets, rare
    settled, left_out = sets, rare
    if small_classes == "merge":
        settled = _merge_rare_sets(sets, ids, least)
        left_out = _are_rare(settled, ids, least)
    if small_classes == "error" or not settled[~left_out].any():
        _refuse_rare_sets(sets, rare, least, small_classes)
    return np.where(left_out[:, None], False, settled), left_out


def _merge_rare_sets(sets, ids, least):
    """Return the sets without the rarest labels of rare ones.

    From the sets of most labels on, each set of too few samples loses the label that
    fewest samples have, and counts for the set that is left. In the end, no set but
    that without labels is rare.
    """
    merged = sets.copy()
    frequency = sets.sum(axis=0)
    for n_labels in range(sets.sum(axis=1).max(), 0, -1):
        rare = (merged.sum(axis=1) == n_labels) & _are_rare(merged, ids, least)
        rarest = np.where(merged[rare], frequency, len(sets) + 1).argmin(axis=1)
        merged[np.flatnonzero(rare), rarest] = False
    return merged


def _set_sizes(sets, ids):
    """Return the number of distinct samples of each set, and the samples' codes."""
    codes = unique_label_sets(sets)[1]
    return count_in_classes(codes, ids), codes


def _are_rare(sets, ids, least):
    """Return for each sample whether its set has too few distinct samples."""
    sizes, codes = _set_sizes(sets, ids)
    return sizes[codes] < least


def _refuse_rare_sets(sets, rare, least, small_classes):
    """Raise an error that counts rare sets, and names none."""
    n_sets = len(unique_label_sets(sets[rare])[0])
    text = (
        f"{n_sets} label sets, of {rare.sum()} of {len(sets)} samples, have fewer than "
        f"min_class_size={least} distinct samples. A rare combination of labels "
        "identifies its samples."
    )
    if small_classes != "error":
        raise ValueError(
            f"{text} With small_classes={small_classes!r}, no label is left to learn. "
            "Choose a smaller min_class_size, or leave out rare labels."
        )
    raise ValueError(
        f"{text} small_classes='merge' drops their rarest labels until enough samples "
        "share a set, and small_classes='suppress' withholds them."
    )
