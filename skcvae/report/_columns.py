"""The section of a report on the columns of a table, and how tables are encoded."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import Bunch

from .._tables import column_at
from ..metrics import table_quality
from ..metrics._tables import read_columns
from ._samples import Run, Samples, Tables

# More categories than this would need too much memory.
MAX_CATEGORIES = 50
_N_PAIRS = 10
_PARTS = ("train", "test", "reference", "synthetic", "added", "fitting", "stopping")


def encode_run(run: Run, categorical: np.ndarray, constraints: list) -> Run:
    """Return a run whose samples are numbers, and which keeps the compared tables."""
    parts = {name: getattr(run, name) for name in _PARTS}
    parts = {name: part for name, part in parts.items() if part is not None}
    every = [*parts.values(), *run.compared.values()]
    X = _encode([part.X for part in every], categorical)
    encoded = [Samples(x, part.y) for x, part in zip(X, every, strict=True)]
    return replace(
        run,
        **dict(zip(parts, encoded, strict=False)),
        compared=dict(zip(run.compared, encoded[len(parts) :], strict=True)),
        tables=Tables(
            {name: part.X for name, part in run.compared.items()},
            categorical,
            constraints,
        ),
    )


def _encode(tables, categorical):
    """Return tables as arrays of numbers; the first one is that of training samples."""
    columns = [
        read_columns([column_at(table, j) for table in tables], listed)
        for j, listed in enumerate(categorical)
    ]
    numbers = [np.column_stack(parts) for parts in zip(*columns, strict=True)]
    encoder = make_column_transformer(
        (
            OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                max_categories=MAX_CATEGORIES,
                sparse_output=False,
            ),
            categorical,
        ),
        (
            make_pipeline(
                SimpleImputer(strategy="median", keep_empty_features=True),
                StandardScaler(),
            ),
            ~categorical,
        ),
    )
    width = encoder.fit_transform(numbers[0]).shape[1]
    return [
        encoder.transform(part) if len(part) else np.empty((0, width))
        for part in numbers
    ]


def measure_columns(run: Run) -> Bunch | None:
    """Compare columns, pairs and rules with those of test samples; None for arrays."""
    if run.tables is None:
        return None
    tables = run.tables.compared
    n_samples = len(tables["test"])
    if n_samples < 2:
        return Bunch(reason="Not compared: the sets have too few samples in common.")
    generated, training = (
        table_quality(
            tables["test"],
            tables[name],
            categorical_features=run.tables.categorical,
            constraints=run.tables.constraints,
            random_state=run.seeds[2],
        )
        for name in ("synthetic", "train")
    )
    errors = [_in_standard_errors(found.pairs) for found in (generated, training)]
    within = [(np.abs(found) <= 3).mean() for found in errors]
    return Bunch(
        n_samples=n_samples,
        generated=generated,
        training=training,
        within=tuple(map(float, within)) if len(errors[0]) else None,
        table=_list_columns(generated.columns, training.columns),
        pairs=_list_pairs(generated.pairs, *errors),
        rules={
            "caption": "Shares of samples that break a rule",
            "head": ["rule", "generated", "training"],
            "rows": [
                [name, float(share), float(training.violations[name])]
                for name, share in generated.violations.items()
            ],
        },
        detection=[
            ("AUC, generated against test samples", float(generated.detection_auc)),
            ("AUC, training against test samples", float(training.detection_auc)),
        ],
    )


def _in_standard_errors(pairs):
    """Return differences in standard errors; 0 where there is no difference."""
    difference, error = (
        pairs[name].to_numpy(dtype=float) for name in ("difference", "standard_error")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / error)


def _list_columns(generated, training):
    head = ["column", "kind"]
    cells: list[Any] = [map(str, generated.index), generated["kind"]]
    for measure in ("distance", "coverage", "unseen"):
        head += [f"{measure}, generated", f"{measure}, training"]
        cells += [generated[measure].tolist(), training[measure].tolist()]
    head += ["missing, test", "missing, generated"]
    cells += [generated[f"missing_{of}"].tolist() for of in ("real", "synthetic")]
    rows = [list(row) for row in zip(*cells, strict=True)]
    return {"caption": "Columns, against test samples", "head": head, "rows": rows}


def _list_pairs(pairs, errors, errors_of_training):
    """Return the pairs whose association differs most."""
    head = ["pair", "measure", "test", "generated", "difference in standard errors"]
    worst = np.argsort(-np.abs(errors), kind="stable")[:_N_PAIRS]
    return {
        "caption": f"Associations that differ most, {len(worst)} of {len(pairs)} pairs",
        "head": [*head, "the same, of training samples"],
        "rows": [
            [
                f"{pair.first}, {pair.second}",
                pair.measure,
                float(pair.real),
                float(pair.synthetic),
                float(errors[i]),
                float(errors_of_training[i]),
            ]
            for i, pair in zip(worst, pairs.iloc[worst].itertuples(), strict=True)
        ],
    }
