"""Label sets in an audit: each is a class, known by the names of its labels."""

import numpy as np

from .._generation import draw
from .._label_sets import (
    check_label_names,
    check_same_labels,
    read_label_sets,
    unique_label_sets,
)
from .._validation import encode_labels
from ._audit_membership import MIN_RECORDS

_OTHERS = "other label sets"


def name_label_sets(synthetic, targets, retrain, seed):
    """Return a release and targets whose classes are names of label sets.

    Those are the sets that the release draws, or those of `MIN_RECORDS` released
    samples. A sample with another set has the class of the released subset of most
    labels, because a rare set is merged into a subset.
    """
    if retrain is not None:
        raise ValueError(
            "retrain takes one class for each sample: leave it out for label sets."
        )
    names = "y_members", "y_nonmembers", "y_reference"
    given = dict(zip(names, targets, strict=True))
    read = [read_label_sets(Y, name)[0] for name, Y in given.items()]
    if hasattr(synthetic, "label_sets_"):
        check_same_labels(**given, label_sets_=synthetic.label_sets_)
        for Y in targets:
            check_label_names(Y, synthetic.classes_)
        named = _SetNames(synthetic.label_sets_.astype(bool), synthetic.classes_)
        return _NamedRelease(synthetic, named), *map(named.of, read)
    if not isinstance(synthetic, tuple | list):
        synthetic = draw(synthetic, read[0].astype(int), random_state=seed)
    X, Y = synthetic
    released, labels = read_label_sets(Y, "y of synthetic")
    check_same_labels(**given, **{"y of synthetic": Y})
    distinct, codes = unique_label_sets(released)
    named = _SetNames(distinct[np.bincount(codes) >= MIN_RECORDS], labels)
    return (X, named.of(released)), *map(named.of, read)


class _SetNames:
    """Names of known label sets, and of the largest known subset of other sets."""

    def __init__(self, sets, labels):
        self.sets, self.labels = sets, labels
        self.names = np.array([str(labels[s].tolist()) for s in sets], dtype=str)

    def of(self, sets):
        """Return the name for each label set."""
        distinct, codes = unique_label_sets(sets)
        sizes = self.sets.sum(axis=1)
        common = distinct.astype(float) @ self.sets.T.astype(float)
        within = np.where(common == sizes, sizes, -1)
        # A first column, which stands for no subset, is below each subset.
        within = np.column_stack([np.full(len(distinct), -0.5), within])
        names = np.array([_OTHERS, *self.names])
        return names[within.argmax(axis=1)][codes]


class _NamedRelease:
    """A release whose classes are the names of its label sets."""

    def __init__(self, release, named):
        self.release, self.named, self.classes_ = release, named, named.names
        if hasattr(release, "privacy_statement"):
            self.privacy_statement = release.privacy_statement
        if callable(getattr(release, "make_decoder", None)):
            self.make_decoder = self._make_decoder

    def sample(self, n_samples=None, *, y=None, random_state=None):
        """Draw a sample for each name."""
        sets = self.named.sets[encode_labels(y, self.classes_)]
        return draw(self.release, sets, random_state=random_state)[0], y

    def _make_decoder(self, device=None):
        decoder = self.release.make_decoder(device)
        decoder.classes = self.classes_
        return decoder
