"""Over-samplers of mixed and numeric tables: scores, fidelity and broken rules.

    python examples/benchmarks/table_benchmark.py --data FOLDER \\
        [--part scores --seeds 3 --deep-seeds 1 --keep FILE]

FOLDER holds `tab_*.csv.gz` and `tabular_imbalanced.npz`. Each table is split into
halves of at most 2,000 samples. The smaller class of the training half of a mixed table
is cut to a tenth of the larger one. Numeric sets are those with 300 to 5,000 samples
and an imbalance of 5 or more. Parts:

- scores: balanced accuracy and AUROC, in percent, of logistic regression (LR) and
  histogram gradient boosting (GB) on balanced training samples; the percentage of
  generated samples that break a rule of the table, which no method is told here; and
  seconds of CPU time to fit and resample. "threshold" divides the probabilities of
  the classifier without resampling by the class shares.
- fidelity: as many samples as there are training samples, against these. Pairs: share
  of pairs of columns whose association is within three standard errors of the
  difference. Off: mean absolute difference of associations. Shares: share of
  categories with a frequency within three standard errors. AUC: of gradient boosting
  that tells both tables apart. Copied: share of generated samples that equal a training
  sample in all columns.
- violations: of bounds, whole numbers, categories and rules in 100,000 samples of
  `TableGenerator` with the rules as constraints.
- deep: scores and fidelity on the mixed tables, with CTGAN and TVAE.
- others: scores and fidelity on the mixed tables of `TableGenerator` around every other
  generator that has no differential privacy, with one seed.

SMOTE stands for SMOTENC where there are categories; no table consists of categories
only, as SMOTEN takes them. "scaled" gives it numbers with a variance of one, and scales
its samples back. SMOTE, CTGAN and TVAE take no missing values: theirs are filled by
medians and most frequent categories first. CTGAN and TVAE have their own defaults, and
need the package `ctgan`. With `--keep`, each row is written to a file
once it is known, and a run that was interrupted goes on from there.
"""

import time
import warnings
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from _common import Ledger
from _tables import FILES, numeric_names, split_mixed, split_numeric
from generator_benchmark import print_ranks
from imblearn.over_sampling import SMOTE, SMOTENC, RandomOverSampler
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skcvae.generators import (
    CGAN,
    CVAE,
    VAE,
    ClassGaussian,
    FlowMatching,
    TableGenerator,
)
from skcvae.metrics import table_quality
from skcvae.over_sampling import GenerativeOverSampler

OURS = {"ClassGaussian": ClassGaussian(), "CVAE": CVAE(device="cpu")}
OTHERS = {
    "VAE": VAE(device="cpu"),
    "CGAN": CGAN(device="cpu"),
    "FlowMatching": FlowMatching(device="cpu"),
}
DEEP = ("CTGAN", "TVAE")
# Without new samples: those that the classifier takes into account instead.
PLAIN = ("none", "threshold", "class weights")
SAMPLERS = ("random", "SMOTE", "SMOTE, scaled", *OURS)
NO_GAPS = ("SMOTE", "SMOTE, scaled", *DEEP)
COLUMNS = ("LR bal", "LR AUROC", "GB bal", "GB AUROC", "broken %", "seconds")
QUALITIES = ("pairs", "off", "shares", "AUC", "copied %")
VIOLATIONS = ("bounds", "whole", "unseen", "rules", "seconds")
N_VIOLATIONS, BLOCK = 100_000, 10_000
# Rounds in which TVAE, which cannot be asked for a class, draws samples of it.
MAX_ROUNDS = 50


def logistic(split, weights):
    """Return logistic regression on scaled numbers and one-hot codes."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encoder = make_column_transformer(
        (numbers, split.numbers),
        (OneHotEncoder(handle_unknown="ignore"), split.categories),
    )
    return make_pipeline(
        encoder, LogisticRegression(class_weight=weights, max_iter=1000)
    )


def boosting(split, weights):
    """Return gradient boosting, which takes categories and missing values."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )
    encoder = make_column_transformer(
        (codes, split.categories), ("passthrough", split.numbers)
    )
    booster = HistGradientBoostingClassifier(
        categorical_features=range(len(split.categories)),
        class_weight=weights,
        random_state=0,
    )
    return make_pipeline(encoder, booster)


def over_sample(sampler, split, wanted):
    """Return so many new samples of each class, drawn by a sampler."""
    counts = np.bincount(split.y)
    strategy = {c: counts[c] + n for c, n in enumerate(wanted) if n}
    sampler.set_params(sampling_strategy=strategy)
    X, y = sampler.fit_resample(split.X, split.y)
    return X.iloc[len(split.y) :], y[len(split.y) :]


def over_sample_scaled(sampler, split, wanted):
    """Return the same of a sampler that gets numbers with a variance of one."""
    numbers, types = split.numbers, split.X.dtypes[split.numbers]
    scaler = StandardScaler()
    scaled = split.X.astype(dict.fromkeys(numbers, float))
    scaled[numbers] = scaler.fit_transform(scaled[numbers])
    X, y = over_sample(sampler, replace(split, X=scaled), wanted)
    restored = pd.DataFrame(
        scaler.inverse_transform(X[numbers]), columns=numbers, index=X.index
    )
    for name in numbers:
        decimals = 0 if types[name].kind == "i" else 6
        X[name] = restored[name].round(decimals).astype(types[name])
    return X, y


def make_sampler(name, split, seed):
    """Return the sampler of a name."""
    if name == "random":
        return RandomOverSampler(random_state=seed)
    if name.startswith("SMOTE"):
        k = min(5, np.bincount(split.y).min() - 1)
        if not split.categories:
            return SMOTE(k_neighbors=k, random_state=seed)
        return SMOTENC(split.categories, k_neighbors=k, random_state=seed)
    return GenerativeOverSampler(
        {**OURS, **OTHERS}[name],
        categorical_features=split.categories or "auto",
        random_state=seed,
    )


def fit_deep(name, split, seed):
    """Return CTGAN or TVAE, fitted to samples with their classes."""
    import ctgan

    model = getattr(ctgan, name)(enable_gpu=False)
    model.set_random_state(seed)
    table = split.X.assign(target=split.y)
    model.fit(table, [*split.categories, "target"])
    return model


def draw_deep(model, columns, wanted):
    """Return so many samples of each class, those drawn with it."""
    # CTGAN can be asked for a class, and gives others as well.
    by_class = type(model).__name__ == "CTGAN"
    parts, labels = [], []
    for label, n in enumerate(wanted):
        for _ in range(MAX_ROUNDS if n else 0):
            asked = ("target", label) if by_class else ()
            drawn = model.sample(max(2 * n, 1000), *asked)
            drawn = drawn[drawn["target"] == label][:n]
            parts.append(drawn[columns])
            labels += [label] * len(drawn)
            n -= len(drawn)
            if not n:
                break
    return pd.concat(parts, ignore_index=True), np.array(labels)


class Drawer:
    """Draws new samples of a table by each contender; deep ones are fitted once."""

    def __init__(self, split, seed):
        self._seed = seed
        self.read = cache(split)
        self._deep = cache(self._fit_deep)

    def split(self, name):
        """Return the split as a contender takes it."""
        return self.read().impute() if name in NO_GAPS else self.read()

    def _fit_deep(self, name):
        start = time.process_time()
        model = fit_deep(name, self.split(name), self._seed)
        return model, time.process_time() - start

    def __call__(self, name, wanted):
        """Return new samples, their classes, and seconds of CPU time."""
        split = self.split(name)
        start, before = time.process_time(), 0.0
        if name in DEEP:
            model, before = self._deep(name)
            start = time.process_time()
            X, y = draw_deep(model, list(split.X), wanted)
        else:
            draw = over_sample_scaled if name == "SMOTE, scaled" else over_sample
            X, y = draw(make_sampler(name, split, self._seed), split, wanted)
        return X, y, before + time.process_time() - start


def broken(rules, table):
    """Return the percentage of samples that break a rule, NaN without rules."""
    if not rules:
        return np.nan
    held = [t if callable(t) else partial(pd.DataFrame.eval, expr=t) for t in rules]
    kept = [np.asarray(rule(table), dtype=bool) for rule in held]
    return 100 * (1 - np.all(kept, axis=0).mean())


def measure(drawer, name):
    """Return the scores of a contender on a table."""
    split = drawer.split(name)
    X, y, share, seconds = split.X, split.y, np.nan, 0.0
    if name not in PLAIN:
        counts = np.bincount(y)
        new, labels, seconds = drawer(name, counts.max() - counts)
        share = broken(split.rules, new)
        X, y = pd.concat([X, new], ignore_index=True), np.concatenate([y, labels])
    row = []
    for make in (logistic, boosting):
        model = make(split, "balanced" if name == "class weights" else None)
        weights = model.fit(X, y).predict_proba(split.X_test)
        if name == "threshold":
            weights = weights / np.bincount(y)
        ranked = weights[:, 1] / weights.sum(axis=1)
        row += [
            100 * balanced_accuracy_score(split.y_test, ranked > 0.5),
            100 * roc_auc_score(split.y_test, ranked),
        ]
    return [*row, share, seconds]


def measure_fidelity(drawer, name):
    """Return how like the training samples as many generated ones are."""
    split = drawer.split(name)
    X, y, _ = drawer(name, np.bincount(split.y))
    real, new = split.X.assign(target=split.y), X.assign(target=y)
    categories = [*split.categories, "target"]
    quality = table_quality(real, new, categorical_features=categories, random_state=0)
    off = quality.pairs["difference"].abs()
    # Bootstrap errors of 0 are those of associations that cannot vary.
    near = off <= 3 * quality.pairs["standard_error"] + 1e-9
    return [
        near.mean(),
        off.mean(),
        np.mean(near_shares(real, new, categories)),
        quality.detection_auc,
        100 * find_copies(real, new, split.numbers).mean(),
    ]


def find_copies(real, new, numbers):
    """Mark the new samples that equal a real one."""
    keys = [
        pd.util.hash_pandas_object(t.astype(dict.fromkeys(numbers, float)), index=False)
        for t in (real, new)
    ]
    return keys[1].isin(keys[0])


def near_shares(real, new, categories):
    """Mark the categories with a frequency within three standard errors."""
    marks = []
    for name in categories:
        counts = [t[name].astype(str).value_counts() for t in (real, new)]
        p, q = (c.reindex(counts[0].index, fill_value=0) / c.sum() for c in counts)
        # Both shares are estimates of one, so that it is pooled.
        pooled = (p + q) / 2
        error = np.sqrt(pooled * (1 - pooled) * (1 / len(real) + 1 / len(new)))
        marks += ((p - q).abs() <= 3 * error + 1e-9).tolist()
    return marks


def count_violations(split, seed):
    """Return numbers of violations by kind, and seconds, of many samples."""
    start = time.process_time()
    generator = TableGenerator(
        categorical_features=split.categories,
        constraints=split.rules,
        random_state=seed,
    ).fit(split.X, split.y)
    counts = np.zeros(4, dtype=int)
    for block in range(N_VIOLATIONS // BLOCK):
        X, _ = generator.sample(BLOCK, random_state=block)
        counts += find_violations(split, X)
    return [*counts, time.process_time() - start]


def find_violations(split, X):
    """Return numbers of violations of bounds, whole numbers, categories and rules."""
    outside = fractions = unseen = 0
    for name in split.numbers:
        real, new = split.X[name], X[name].dropna()
        outside += int(((new < real.min()) | (new > real.max())).sum())
        if (real.dropna() % 1 == 0).all():
            fractions += int((new % 1 != 0).sum())
    for name in split.categories:
        unseen += int((~X[name].isin(split.X[name].unique())).sum())
    share = broken(split.rules, X) if split.rules else 0
    return np.array([outside, fractions, unseen, round(share * len(X) / 100)])


def print_columns(title, columns, rows):
    """Print the mean over sets of the rows of each contender."""
    print(f"\n{title}\n\n{'':16}" + "".join(f"{name:>10}" for name in columns))
    for name, values in rows.items():
        means = np.nanmean(np.array(values), axis=0)
        cells = (f"{'':>10}" if np.isnan(m) else f"{m:10.2f}" for m in means)
        print(f"{name:16}" + "".join(cells), flush=True)


def print_ranks_of_all(rows):
    """Print the ranks of the contenders by each score."""
    for place, column in enumerate(COLUMNS[:4]):
        print(f"\n{column}, {len(rows['SMOTE'])} tables:")
        print_ranks({name: values[:, place] for name, values in rows.items()})


class Run:
    """The parts of the benchmark on one folder of data."""

    def __init__(self, data, mixed, seeds, deep_seeds, ledger):
        self._data, self._mixed, self._ledger = data, mixed, ledger
        self._seeds, self._deep_seeds = seeds, deep_seeds
        self._drawer = cache(self._make_drawer)

    def _make_drawer(self, key, seed):
        split = split_mixed if key in FILES else split_numeric
        return Drawer(partial(split, self._data, key, seed), seed)

    def _collect(self, part, names, sets, n_seeds):
        """Return the rows of contenders, means over the seeds of each set."""
        measured = {"scores": measure, "fidelity": measure_fidelity}[part]
        rows = {name: np.zeros((n_seeds, len(sets)), dtype=object) for name in names}
        for seed in range(n_seeds):
            for place, key in enumerate(sets):
                for name in names:
                    row = self._ledger.get(
                        (part, key, seed, name),
                        partial(measured, self._drawer(key, seed), name),
                    )
                    rows[name][seed, place] = np.array(row)
                print(f"{part}, seed {seed}: {key} done", flush=True)
        return {name: np.stack(found.mean(axis=0)) for name, found in rows.items()}

    def scores(self):
        """Print the scores of all but the deep contenders, and their ranks."""
        mixed, numeric = self._mixed, numeric_names(self._data)
        names = [*PLAIN, *SAMPLERS]
        rows = self._collect("scores", names, mixed + numeric, self._seeds)
        n, seeds = len(mixed), f"mean of {self._seeds} seeds"
        first = {name: values[:n] for name, values in rows.items()}
        print_columns(f"{n} mixed tables, {seeds}", COLUMNS, first)
        last = {name: values[n:] for name, values in rows.items()}
        print_columns(f"{len(numeric)} numeric tables, {seeds}", COLUMNS, last)
        print_ranks_of_all(rows)

    def fidelity(self):
        """Print how like the mixed tables generated samples are."""
        rows = self._collect("fidelity", SAMPLERS, self._mixed, self._seeds)
        title = f"{len(self._mixed)} mixed tables, mean of {self._seeds} seeds"
        print_columns(f"Fidelity, {title}", QUALITIES, rows)

    def deep(self):
        """Print the same of all contenders with the deep ones, on mixed tables."""
        if find_spec("ctgan") is None:
            print("\nCTGAN and TVAE are left out: the package ctgan is missing.")
            return
        names, n = [*PLAIN, *SAMPLERS, *DEEP], self._deep_seeds
        for seeds in range(1, n + 1):
            for key in self._mixed:
                # The models of a seed are still in memory for the second part.
                self._collect("scores", names, [key], seeds)
                self._collect("fidelity", names[len(PLAIN) :], [key], seeds)
        rows = self._collect("scores", names, self._mixed, n)
        found = self._collect("fidelity", names[len(PLAIN) :], self._mixed, n)
        title = f"{len(self._mixed)} mixed tables, mean of {n} seeds"
        print_columns(title, COLUMNS, rows)
        print_ranks_of_all(rows)
        print_columns(f"Fidelity, {title}", QUALITIES, found)
        for place, key in enumerate(self._mixed):
            table = {name: values[[place]] for name, values in found.items()}
            print_columns(f"Fidelity, {key}", QUALITIES, table)

    def others(self):
        """Print scores and fidelity of the other generators on mixed tables."""
        names = ["SMOTE", *OURS, *OTHERS]
        rows = self._collect("scores", names, self._mixed, 1)
        found = self._collect("fidelity", names, self._mixed, 1)
        print_columns(f"{len(self._mixed)} mixed tables, one seed", COLUMNS, rows)
        print_columns("Fidelity, the same", QUALITIES, found)

    def violations(self):
        """Print the numbers of violations in many samples."""
        print(f"\nViolations in {N_VIOLATIONS:,} samples, and seconds\n")
        print(" " * 16 + "".join(f"{name:>10}" for name in VIOLATIONS))
        for key in self._mixed:
            split = self._drawer(key, 0).read()
            row = self._ledger.get(
                ("violations", key, 0, "ClassGaussian"),
                partial(count_violations, split, 0),
            )
            print(f"{key:16}" + "".join(f"{n:10.0f}" for n in row), flush=True)


PARTS = ("scores", "fidelity", "violations", "deep", "others")


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    part: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="Mixed tables.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    deep_seeds: Annotated[
        int, typer.Option(min=1, help="Number of seeds of CTGAN and TVAE.")
    ] = 1,
    keep: Annotated[Path | None, typer.Option(help="File of known rows.")] = None,
):
    """Run the parts in turn."""
    warnings.simplefilter("ignore")
    for chosen, known in ((part, PARTS), (table, FILES)):
        unknown = set(chosen or ()) - set(known)
        if unknown:
            raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(known)}.")
    run = Run(data, table or list(FILES), seeds, deep_seeds, Ledger(keep))
    for name in part or PARTS:
        getattr(run, name)()


if __name__ == "__main__":
    typer.run(main)
