"""The rows that a report compares: real ones, checked, and generated ones, drawn."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._generation import draw
from .._record_sets import check_record_sets
from .._training import draw_seeds
from ..inspection._classes import check_classes

# Rows of each set in comparisons whose time grows with their square.
_MAX_COMPARED = 5000
# Training rows that stop the probe where nothing else can: one in so many.
_ONE_IN = 5
# Joiners inside of words of some scripts; other invisible characters are replaced.
_JOINERS = "\u200c\u200d"


class Rows(NamedTuple):
    """Rows and their labels."""

    X: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Run:
    """What a report is about.

    Attributes
    ----------
    model : object
        What was given: anonymizer, release, over-sampler or generator.

    generator : object
        What draws the rows: the model or its `generator_`.

    is_release : bool
        Whether its rows are meant to be published.

    train, test : Rows
        Real rows.

    reference : Rows or None
        What an attacker has.

    synthetic : Rows
        A generated row for each training row of a class that can be drawn.

    added : Rows or None
        What over-sampling adds; None for a release.

    compared : dict of str to Rows
        "train", "test" and "synthetic", with the same numbers of rows of each class.

    fitting, stopping : Rows
        Real rows for the probe: to train on, and to stop by.

    classes : ndarray of shape (n_classes,)
        Labels of the training rows, sorted.

    seeds : list of int
        For what is drawn after the rows.
    """

    model: object
    generator: object
    is_release: bool
    train: Rows
    test: Rows
    reference: Rows | None
    synthetic: Rows
    added: Rows | None
    compared: dict
    fitting: Rows
    stopping: Rows
    classes: np.ndarray
    seeds: list

    @property
    def names(self):
        """Names of the classes as text."""
        return [clean(label) for label in self.classes.tolist()]

    def counts(self, rows):
        """Return the number of rows of each class."""
        return np.array([np.count_nonzero(rows.y == c) for c in self.classes])


def open_run(model, X, y, X_test, y_test, X_reference, y_reference, random_state):
    """Check real rows, and draw generated ones."""
    generator = _find_generator(model)
    train, test, reference = _check_rows(
        (X, y), (X_test, y_test), (X_reference, y_reference), model
    )
    rng = check_random_state(random_state)
    row_seed, added_seed, *seeds = draw_seeds(rng, 5)
    is_release = _is_release(model)
    synthetic = _draw_like(generator, train.y, row_seed)
    added = None if is_release else _draw_missing(model, generator, train, added_seed)
    fitting, stopping = train, reference
    if reference is None:
        fitting, stopping = _split_off(train, rng)
    return Run(
        model=model,
        generator=generator,
        is_release=is_release,
        train=train,
        test=test,
        reference=reference,
        synthetic=synthetic,
        added=added,
        compared=_same_numbers(rng, train=train, test=test, synthetic=synthetic),
        fitting=fitting,
        stopping=stopping,
        classes=np.unique(train.y),
        seeds=seeds,
    )


def clean(value):
    """Return text without characters that no document may hold, or nobody sees."""
    return "".join(
        c if c.isprintable() or c in _JOINERS else "\ufffd" for c in str(value)
    )


def innermost(run):
    """Return the generator itself, also where an anonymizer holds it."""
    return getattr(run.generator, "generator_", run.generator)


def find_history(run):
    """Return the training history, or None."""
    return getattr(innermost(run), "history_", None)


def _find_generator(model):
    """Return what draws rows; refuse what is unfitted, or draws none."""
    if hasattr(model, "fit"):
        check_is_fitted(model)
    if hasattr(model, "sample") or hasattr(model, "centroids_"):
        return model
    if not hasattr(getattr(model, "generator_", None), "sample"):
        raise ValueError(
            f"A report needs a model that generates rows, and {type(model).__name__} "
            "has neither `sample` nor a `generator_`. Pass a fitted anonymizer, "
            "generative over-sampler or generator, or a loaded release."
        )
    return model.generator_


def _is_release(model):
    """Tell whether what a model generates is meant to be published."""
    # Over-samplers keep the real rows, whatever their generator guarantees.
    return hasattr(model, "privacy_statement") and not hasattr(
        model, "sampling_strategy_"
    )


def _check_rows(train, test, reference, model):
    """Return the real rows, of one precision and with one label each."""
    if (reference[0] is None) != (reference[1] is None):
        raise ValueError("Give both of X_reference and y_reference, or neither.")
    given = {"": train, "_test": test, "_reference": reference}
    sets = check_record_sets(**{f"X{name}": part[0] for name, part in given.items()})
    wanted = getattr(model, "n_features_in_", sets["X"].shape[1])
    if sets["X"].shape[1] != wanted:
        raise ValueError(
            f"X has {sets['X'].shape[1]} features, and the model was fitted on "
            f"{wanted}."
        )
    rows = []
    for name, (_, y) in given.items():
        X = sets.get(f"X{name}")
        if X is None:
            rows.append(None)
            continue
        y = check_classes(y, X, f"y{name}")
        rows.append(Rows(X, np.array(y.tolist())))
    kinds = {part.y.dtype.kind in "SU" for part in rows if part is not None}
    if len(kinds) > 1:
        raise ValueError("Labels must be strings in all sets, or numbers in all.")
    return rows


def _draw_like(generator, y, seed):
    """Return a row for each label that can be drawn."""
    if hasattr(generator, "centroids_"):
        if len(generator.labels_) != len(y):
            raise ValueError(
                f"X has {len(y)} rows, and the anonymizer was fitted on "
                f"{len(generator.labels_)}: pass the same rows in the same order."
            )
        kept = ~generator.suppressed_
        return Rows(generator.centroids_[generator.labels_[kept]], y[kept])
    known = np.isin(y, getattr(generator, "classes_", y))
    if not known.any():
        raise ValueError("The model draws none of the classes in y.")
    return _sample(generator, y[known], seed)


def _draw_missing(model, generator, train, seed):
    """Return the rows that over-sampling adds: by default, all to fill up classes."""
    classes, counts = np.unique(train.y, return_counts=True)
    fill_up = dict(zip(classes.tolist(), counts.max() - counts, strict=True))
    strategy = getattr(model, "sampling_strategy_", fill_up)
    labels = np.repeat(
        np.array(list(strategy), dtype=train.y.dtype), list(strategy.values())
    )
    if not len(labels):
        return Rows(train.X[:0], train.y[:0])
    return _sample(generator, labels, seed)


def _sample(generator, y, seed):
    """Return generated rows of these labels, which keep the type of `y`."""
    X, labels = draw(generator, y, random_state=seed)
    return Rows(X, labels.astype(y.dtype, copy=False))


def _split_off(rows, rng):
    """Return most rows, and one in five of each class to stop the probe by."""
    held_out = np.zeros(len(rows.y), dtype=bool)
    for label in np.unique(rows.y):
        members = rng.permutation(np.flatnonzero(rows.y == label))
        held_out[members[: len(members) // _ONE_IN]] = True
    return take(rows, ~held_out), take(rows, held_out)


def take(rows, chosen):
    """Return some of the rows."""
    return Rows(rows.X[chosen], rows.y[chosen])


def _same_numbers(rng, **parts):
    """Return parts of the sets with as many rows of each class as all have."""
    labels = np.unique(np.concatenate([part.y for part in parts.values()]))
    sizes = np.min(
        [[np.count_nonzero(p.y == c) for c in labels] for p in parts.values()], axis=0
    )
    if sizes.sum() > _MAX_COMPARED:
        sizes = np.ceil(sizes * _MAX_COMPARED / sizes.sum()).astype(int)
    compared = {}
    for name, part in parts.items():
        chosen = [
            rng.permutation(np.flatnonzero(part.y == label))[:size]
            for label, size in zip(labels, sizes, strict=True)
        ]
        compared[name] = take(part, np.sort(np.concatenate(chosen)))
    return compared
