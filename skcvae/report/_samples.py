"""The real and generated samples that a report compares."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._generation import draw, unfrozen
from .._record_sets import check_one_label_per_sample, check_record_sets
from .._seeds import draw_seeds
from .._tables import column_names, read_table
from .._tables import take as take_places
from .._validation import check_labels
from ..generators import TableGenerator

# The time of comparisons grows with the square of this number of samples.
_MAX_COMPARED = 5000
# Without reference samples, one in five training samples stops the probe.
_ONE_IN = 5
# Some scripts need these invisible characters inside of words.
_JOINERS = "\u200c\u200d"


class Samples(NamedTuple):
    """Samples and their labels."""

    X: np.ndarray
    y: np.ndarray


class Tables(NamedTuple):
    """The compared sets as tables, the mask of their categories, and their rules."""

    compared: dict[str, Any]
    categorical: np.ndarray
    constraints: list


@dataclass(frozen=True)
class Run:
    """The model, the samples and the seeds of a report.

    `generator` draws samples: the model or its `generator_`. A release (`is_release`)
    is meant to be published. `train`, `test` and `reference` (what an attacker has) are
    real. `synthetic` has a sample for each training sample of a class that can be
    drawn. `added` is what over-sampling adds. `compared` is "train", "test" and
    "synthetic" with equal numbers of samples of each class. `fitting` trains the probe,
    `stopping` stops it early. `tables` holds what was encoded, or None for arrays.
    """

    model: Any
    generator: Any
    is_release: bool
    train: Samples
    test: Samples
    reference: Samples | None
    synthetic: Samples
    added: Samples | None
    compared: dict[str, Samples]
    fitting: Samples
    stopping: Samples
    classes: np.ndarray
    seeds: list[int]
    tables: Tables | None = None

    @property
    def names(self) -> list[str]:
        """Names of the classes as text."""
        return [clean(label) for label in self.classes.tolist()]

    def counts(self, samples: Samples) -> np.ndarray:
        """Return the number of samples of each class."""
        return np.array([np.count_nonzero(samples.y == c) for c in self.classes])


def prepare_run(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    X_reference: ArrayLike | None,
    y_reference: ArrayLike | None,
    random_state: int | np.random.RandomState | None,
    *,
    is_table: bool = False,
) -> Run:
    """Check the real samples, and draw generated ones; tables stay tables."""
    generator = _find_generator(model)
    train, test, reference = _check_samples(
        (X, y), (X_test, y_test), (X_reference, y_reference), model, is_table
    )
    columns = column_names(train.X) if is_table else None
    rng = check_random_state(random_state)
    synthetic_seed, added_seed, *seeds = draw_seeds(rng, 5)
    is_release = _is_release(model)
    synthetic = _draw_like(generator, train.y, synthetic_seed, columns)
    added = None
    if not is_release:
        added = _draw_missing(model, generator, train, added_seed, columns)
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


def clean(value: object) -> str:
    """Return text without invisible characters and those that HTML does not allow."""
    return "".join(
        c if c.isprintable() or c in _JOINERS else "\ufffd" for c in str(value)
    )


def innermost(run: Run) -> Any:
    """Return the generator, or the generator that an anonymizer holds."""
    return getattr(run.generator, "generator_", run.generator)


def find_history(run: Run) -> Any:
    """Return the training history, or None."""
    return getattr(innermost(run), "history_", None)


def _find_generator(model):
    """Return the object that draws samples; refuse an unfitted model."""
    if hasattr(model, "fit"):
        check_is_fitted(model)
    if hasattr(model, "sample") or hasattr(model, "centroids_"):
        return model
    if not hasattr(getattr(model, "generator_", None), "sample"):
        raise ValueError(
            "A report needs a model that generates samples, and "
            f"{type(model).__name__} has neither `sample` nor a `generator_`. Pass a "
            "fitted anonymizer, generative over-sampler or generator, or a loaded "
            "release."
        )
    return model.generator_


def _is_release(model):
    """Return whether the samples of a model are meant to be published."""
    # Over-samplers return the real samples, even if their generator is private.
    return hasattr(model, "privacy_statement") and not hasattr(
        model, "sampling_strategy_"
    )


def find_table_generator(model: Any) -> TableGenerator | None:
    """Return the generator of tables that a model is or holds, or None."""
    held = (getattr(model, name, None) for name in ("generator_", "generator"))
    inner = map(unfrozen, (*held, model))
    return next((g for g in inner if isinstance(g, TableGenerator)), None)


def _check_samples(train, test, reference, model, is_table):
    """Return the real samples, with one precision and one label each."""
    if (reference[0] is None) != (reference[1] is None):
        raise ValueError("Give both of X_reference and y_reference, or neither.")
    given = {"": train, "_test": test, "_reference": reference}
    check = _check_tables if is_table else check_record_sets
    sets = check(**{f"X{name}": part[0] for name, part in given.items()})
    wanted = getattr(model, "n_features_in_", sets["X"].shape[1])
    if sets["X"].shape[1] != wanted:
        raise ValueError(
            f"X has {sets['X'].shape[1]} features, and the model was fitted on "
            f"{wanted}."
        )
    checked = []
    for name, (_, y) in given.items():
        X = sets.get(f"X{name}")
        if X is None:
            checked.append(None)
            continue
        check_labels(y)
        y = check_one_label_per_sample(y, X, f"y{name}")
        checked.append(Samples(X, np.array(y.tolist())))
    kinds = {part.y.dtype.kind in "SU" for part in checked if part is not None}
    if len(kinds) > 1:
        raise ValueError("Labels must be strings in all sets, or numbers in all.")
    return checked


def _check_tables(**sets):
    """Return the tables by name; leave out those of None."""
    tables = {name: read_table(X) for name, X in sets.items() if X is not None}
    names = {name: column_names(table) for name, table in tables.items()}
    for name, found in names.items():
        if found != names["X"]:
            raise ValueError(
                f"All samples must have the same columns: X has {names['X']}, and "
                f"{name} has {found}."
            )
    return tables


def _draw_like(generator, y, seed, columns):
    """Return a sample for each label that can be drawn."""
    if hasattr(generator, "centroids_"):
        if len(generator.labels_) != len(y):
            raise ValueError(
                f"X has {len(y)} samples, and the anonymizer was fitted on "
                f"{len(generator.labels_)}: pass the same samples in the same order."
            )
        kept = ~generator.suppressed_
        return Samples(generator.centroids_[generator.labels_[kept]], y[kept])
    merged = list(getattr(generator, "merged_classes_", ()))
    known = np.isin(y, getattr(generator, "classes_", y)) | np.isin(y, merged)
    if not known.any():
        raise ValueError("The model draws none of the classes in y.")
    return _sample(generator, y[known], seed, columns)


def _draw_missing(model, generator, train, seed, columns):
    """Return the samples that over-sampling adds, or that fill up all classes."""
    classes, counts = np.unique(train.y, return_counts=True)
    fill_up = dict(zip(classes.tolist(), counts.max() - counts, strict=True))
    strategy = getattr(model, "sampling_strategy_", fill_up)
    labels = np.repeat(
        np.array(list(strategy), dtype=train.y.dtype), list(strategy.values())
    )
    if not len(labels):
        return take(train, np.arange(0))
    return _sample(generator, labels, seed, columns)


def _sample(generator, y, seed, columns):
    """Return generated samples of these labels, as a table if `columns` are given."""
    if columns is None:
        X, labels = draw(generator, y, random_state=seed)
        return Samples(X, labels.astype(y.dtype, copy=False))
    X, labels = generator.sample(y=y, random_state=seed)
    X = read_table(X)
    if column_names(X) != columns or not np.array_equal(labels, y):
        raise ValueError(
            f"{type(unfrozen(generator)).__name__} does not draw a sample for each "
            f"label with the columns of X, {columns}."
        )
    return Samples(X, y)


def _split_off(samples, rng):
    """Return four fifths of the samples of each class, and the other fifth."""
    held_out = np.zeros(len(samples.y), dtype=bool)
    for label in np.unique(samples.y):
        members = rng.permutation(np.flatnonzero(samples.y == label))
        held_out[members[: len(members) // _ONE_IN]] = True
    return take(samples, ~held_out), take(samples, held_out)


def take(samples: Samples, chosen: np.ndarray) -> Samples:
    """Return some of the samples, by a mask or by indices."""
    return Samples(take_places(samples.X, chosen), samples.y[chosen])


def _same_numbers(rng, **parts):
    """Return random parts of the sets with equal numbers of samples of each class."""
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
