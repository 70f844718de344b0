"""Comparison of a real and a synthetic table by column, pair and rule."""

from itertools import combinations
from numbers import Integral
from typing import Any

import numpy as np
from scipy.stats import ks_2samp, rankdata, wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._constraints import find_allowed, name_of
from .._extras import import_extra
from .._tables import (
    column_at,
    column_names,
    find_categorical,
    find_missing,
    read_table,
    take,
)

# HistGradientBoostingClassifier takes so many categories in a column.
_MAX_CATEGORIES = 255
# A detector learns from at most so many samples of each table.
_MAX_DETECTED = 10_000


@validate_params(
    {
        "X_real": "no_validation",
        "X_synthetic": "no_validation",
        "categorical_features": ["array-like", StrOptions({"auto"})],
        "constraints": [list, tuple, None],
        "n_resamples": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def table_quality(
    X_real: Any,
    X_synthetic: Any,
    *,
    categorical_features: Any = "auto",
    constraints: list | None = None,
    n_resamples: int = 20,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Compare a synthetic table with a real one, by column, by pair and by rule.

    Compare with a table of the same number of real samples that the generator did not
    see: with this, the distances show what chance alone makes.

    Parameters
    ----------
    X_real : DataFrame or array-like of shape (n_real, n_features)
        Real samples, two or more: a data frame of pandas or polars, or an array.

    X_synthetic : DataFrame or array-like of shape (n_synthetic, n_features)
        Synthetic samples with the same columns, two or more.

    categorical_features : "auto" or array-like, default="auto"
        Columns of categories: a mask, places or names. "auto" takes columns of
        categories and strings. Columns of booleans count in any case.

    constraints : list of str or callable, default=None
        Rules, as in :class:`~skcvae.generators.TableGenerator`.

    n_resamples : int, default=20
        Number of bootstrap samples of each table for the standard errors.

    random_state : int, RandomState instance or None, default=None
        Seed of the bootstrap and the detector.

    Returns
    -------
    quality : Bunch
        Object with the attributes below, of which data frames are of pandas.

        columns : DataFrame, one line for each column
            `kind`: "category" or "number". `distance`: total variation of categories,
            or the Kolmogorov-Smirnov statistic of numbers, from 0 to 1. `wasserstein`:
            1-Wasserstein distance of numbers in standard deviations of the real ones.
            `missing_real` and `missing_synthetic`: shares of missing values.
            `coverage`: share of real categories that occur among synthetic ones.
            `unseen`: share of synthetic values that are a new category or outside of
            the real range.
        pairs : DataFrame, one line for each pair of columns
            `measure`: "Cramér's V" of two categories, "correlation ratio" of the ranks
            of a number in categories, or "rank correlation" of two numbers. `real` and
            `synthetic`: their values. `difference`: synthetic minus real.
            `standard_error`: that of the difference, by bootstrap.
        violations : dict
            For each constraint, the share of synthetic samples that break it.
        detection_auc : float
            Area under the ROC curve with which gradient boosting tells synthetic from
            real samples, by cross-validation: 0.5 where it cannot.

    Raises
    ------
    ValueError
        If the tables have different columns or fewer than two samples, or a rule cannot
        be applied or has the name of another one.

    See Also
    --------
    classifier_two_sample_test : Tests numeric samples with any classifier.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skcvae.metrics import table_quality
    >>> rng = np.random.RandomState(0)
    >>> age = rng.normal(40, 10, 500)
    >>> X = pd.DataFrame({"age": age, "old": age > 40})
    >>> shuffled = X.assign(old=rng.permutation(X["old"]))
    >>> quality = table_quality(X, shuffled, random_state=0)
    >>> float(quality.columns["distance"].max())
    0.0
    >>> quality.pairs[["real", "synthetic"]].round(1).values.tolist()
    [[0.9, 0.0]]
    >>> bool(quality.detection_auc > 0.6)
    True
    """
    pd = import_extra("pandas", "tables", "table_quality")
    tables = read_table(X_real), read_table(X_synthetic)
    names = column_names(tables[0])
    if names != column_names(tables[1]):
        raise ValueError(
            f"The tables have different columns: {names} and {column_names(tables[1])}."
        )
    if min(map(len, tables)) < 2:
        raise ValueError("Each table needs at least two samples.")
    is_categorical = find_categorical(tables[0], categorical_features)
    violations = {
        name_of(rule): 1 - find_allowed([rule], tables[1]).mean()
        for rule in constraints or ()
    }
    if len(violations) < len(constraints or ()):
        raise ValueError(
            f"Several constraints have one name, of {list(violations)}, and only one "
            "of them would be reported. Give functions of different names."
        )
    rng = check_random_state(random_state)
    # Codes of categories, and numbers, of both tables; -1 and NaN are missing.
    pairs = [
        read_columns([column_at(table, j) for table in tables], listed)
        for j, listed in enumerate(is_categorical)
    ]
    columns = [
        _compare_column(real, synthetic, listed)
        for (real, synthetic), listed in zip(pairs, is_categorical, strict=True)
    ]
    found = _compare_pairs(pairs, names, is_categorical, n_resamples, rng)
    return Bunch(
        columns=pd.DataFrame(columns, index=pd.Index(names, name="column")),
        pairs=pd.DataFrame(found, columns=_PAIR_COLUMNS),
        violations=violations,
        detection_auc=_detect(pairs, is_categorical, rng),
    )


_PAIR_COLUMNS = [
    "first",
    "second",
    "measure",
    "real",
    "synthetic",
    "difference",
    "standard_error",
]


def read_columns(columns, is_category):
    """Return codes of categories or numbers of a real and a synthetic column."""
    missing = [find_missing(column) for column in columns]
    if is_category:
        known: dict = {}
        return [
            np.array([-1 if m else known.setdefault(v, len(known)) for v, m in pairs])
            for pairs in (
                zip(column.tolist(), lost, strict=True)
                for column, lost in zip(columns, missing, strict=True)
            )
        ]
    read = []
    for column, lost in zip(columns, missing, strict=True):
        numbers = np.full(len(column), np.nan)
        present = take(column, ~lost)
        if getattr(present.dtype, "kind", "O") in "mM":
            # Both tables in one unit.
            kind = "datetime64[ns]" if present.dtype.kind == "M" else "timedelta64[ns]"
            present = np.asarray(present).astype(kind).astype("int64")
        numbers[~lost] = np.asarray(present, dtype=np.float64)
        read.append(numbers)
    return read


def _compare_column(real, synthetic, is_category):
    lost = [c < 0 if is_category else np.isnan(c) for c in (real, synthetic)]
    line = {
        "kind": "category" if is_category else "number",
        "distance": np.nan,
        "wasserstein": np.nan,
        "missing_real": lost[0].mean(),
        "missing_synthetic": lost[1].mean(),
        "coverage": np.nan,
        "unseen": np.nan,
    }
    real, synthetic = real[~lost[0]], synthetic[~lost[1]]
    if not (len(real) and len(synthetic)):
        return line
    if is_category:
        n = max(real.max(), synthetic.max()) + 1
        counts = [np.bincount(c, minlength=n) for c in (real, synthetic)]
        shares = [c / c.sum() for c in counts]
        line["distance"] = np.abs(shares[0] - shares[1]).sum() / 2
        line["coverage"] = (counts[1][counts[0] > 0] > 0).mean()
        line["unseen"] = shares[1][counts[0] == 0].sum()
        return line
    line["distance"] = ks_2samp(real, synthetic, method="asymp").statistic
    spread = real.std() or 1.0
    line["wasserstein"] = wasserstein_distance(real, synthetic) / spread
    line["unseen"] = ((synthetic < real.min()) | (synthetic > real.max())).mean()
    return line


def _compare_pairs(pairs, names, is_categorical, n_resamples, rng):
    sides = []
    for side in range(2):
        columns = [
            pair[side] if listed else _to_ranks(pair[side])
            for pair, listed in zip(pairs, is_categorical, strict=True)
        ]
        n = len(columns[0])
        drawn = [rng.randint(n, size=n) for _ in range(n_resamples)]
        sides.append((columns, [slice(None), *drawn]))
    lines = []
    for i, j in combinations(range(len(names)), 2):
        # A number comes before the category that it is compared with.
        a, b = (j, i) if is_categorical[i] and not is_categorical[j] else (i, j)
        measure, compute = _MEASURES[bool(is_categorical[a]), bool(is_categorical[b])]
        (real, *real_drawn), (fake, *fake_drawn) = (
            [compute(columns[a][places], columns[b][places]) for places in resamples]
            for columns, resamples in sides
        )
        error = np.hypot(np.std(real_drawn, ddof=1), np.std(fake_drawn, ddof=1))
        lines.append((names[i], names[j], measure, real, fake, fake - real, error))
    return lines


def _to_ranks(numbers):
    ranks = np.full(len(numbers), np.nan)
    known = ~np.isnan(numbers)
    ranks[known] = rankdata(numbers[known])
    return ranks


def _rank_correlation(a, b):
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    if len(a) < 2 or not (a.std() and b.std()):
        return 0.0
    return np.corrcoef(a, b)[0, 1]


def _correlation_ratio(ranks, codes):
    """Return the root of the share of variance between categories."""
    known = ~np.isnan(ranks)
    ranks, codes = ranks[known], codes[known] + 1
    if len(ranks) < 2 or not ranks.std():
        return 0.0
    counts = np.bincount(codes)
    sums = np.bincount(codes, ranks - ranks.mean())[counts > 0]
    return np.sqrt((sums**2 / counts[counts > 0]).sum() / len(ranks)) / ranks.std()


def _cramers_v(a, b):
    """Return Cramér's V; a missing value is a category."""
    a, b = (np.unique(codes, return_inverse=True)[1] for codes in (a, b))
    n_rows, n_columns = a.max() + 1, b.max() + 1
    if min(n_rows, n_columns) < 2:
        return 0.0
    counts = np.bincount(a * n_columns + b, minlength=n_rows * n_columns)
    counts = counts.reshape(n_rows, n_columns)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0))
    phi = (counts**2 / expected).sum() - 1
    return np.sqrt(max(phi, 0.0) / (min(n_rows, n_columns) - 1))


_MEASURES = {
    (True, True): ("Cramér's V", _cramers_v),
    (False, True): ("correlation ratio", _correlation_ratio),
    (False, False): ("rank correlation", _rank_correlation),
}


def _detect(pairs, is_categorical, rng):
    """Return the cross-validated AUC of a classifier of synthetic and real samples."""
    n = min(len(pairs[0][0]), len(pairs[0][1]), _MAX_DETECTED)
    chosen = [rng.permutation(len(side))[:n] for side in pairs[0]]
    columns = [
        np.concatenate(
            [side[places] for side, places in zip(pair, chosen, strict=True)]
        )
        for pair in pairs
    ]
    # Missing values come first of all: the classifier fails where a fold has no others.
    X = np.column_stack(columns).astype(np.float64)
    X[:, is_categorical] += 1
    X = np.where(np.isnan(X), np.nanmin(X, axis=0, initial=0) - 1, X)
    few = X.max(axis=0) < _MAX_CATEGORIES
    y = np.repeat([0, 1], n)
    seed = rng.randint(2**31)
    classifier = HistGradientBoostingClassifier(
        categorical_features=is_categorical & few, random_state=seed
    )
    folds = StratifiedKFold(min(3, n), shuffle=True, random_state=seed)
    return cross_val_score(classifier, X, y, cv=folds, scoring="roc_auc").mean()
