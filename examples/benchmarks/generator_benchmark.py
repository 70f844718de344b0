"""All generators in one table: accuracy, quality, privacy and time.

    python examples/benchmarks/generator_benchmark.py --data FOLDER \\
        [--only cifar --keep FILE]

FOLDER holds `cifar100_lt_vit_tiny.npz`, `cifar100_rest_vit_tiny.npz`,
`mvtec_resnet18.npz` and `tabular_imbalanced.npz`. Features are divided by one scale
(tabular: each by its own), so that the variance of the training rows is their number.
Columns:

- online: accuracy of `LongTailClassifier` with the generator (Algorithm 1)
- offline: accuracy of logistic regression on rows that the generator balanced
- class FD, whole FD: Fréchet distance to the test rows, of each class less its bias,
  and of all rows extrapolated to infinitely many
- coverage: share of the test rows that have a generated row among their 5 nearest
- AUC: of an attack on the training rows by the nearest generated row; 0.5 is none
- fit, draw: seconds to train, and to draw 10,000 rows, on a machine that does other
  things as well: compare them within a table only

Accuracy is in percent, on CIFAR-100 of balanced test rows, else balanced by class.
Where ADASYN refuses the rows, its accuracy is that without over-sampling.
With `--keep`, each row is written to a file once it is known, and a run that was
interrupted goes on from there.
"""

import time
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _common import Ledger, half_widths
from _splits import split_cifar, split_mvtec, split_table, tabular_names
from imblearn.over_sampling import ADASYN, SMOTE, RandomOverSampler
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from skcvae.generators import CGAN, CVAE, VAE, ClassGaussian, FlowMatching
from skcvae.long_tail import LongTailClassifier
from skcvae.metrics import (
    class_frechet_distance,
    extrapolated_frechet_distance,
    precision_recall_density_coverage,
)
from skcvae.privacy import nearest_neighbor_attack

GENERATORS = {
    "ClassGaussian": ClassGaussian(),
    "ClassGaussian, full": ClassGaussian(covariance_type="full"),
    "CVAE": CVAE(device="cpu"),
    "VAE": VAE(device="cpu"),
    "CGAN": CGAN(device="cpu"),
    "FlowMatching": FlowMatching(device="cpu"),
}
SAMPLERS = {
    "no over-sampling": None,
    "random": RandomOverSampler(),
    "SMOTE": SMOTE(k_neighbors=4),
    "ADASYN": ADASYN(n_neighbors=4),
}
COLUMNS = (
    "online",
    "offline",
    "class FD",
    "whole FD",
    "coverage",
    "AUC",
    "fit",
    "draw",
)
FORMATS = ("9.1f", "9.1f", "9.1f", "9.2f", "9.2f", "9.3f", "9.1f", "9.2f")
COMPARED = ("online", "offline", "class FD", "coverage", "AUC")
N_DRAWN = 10_000


def percent(classifier, split):
    """Return the balanced accuracy of a fitted classifier on the test rows."""
    predicted = classifier.predict(split.X_test)
    return 100 * balanced_accuracy_score(split.y_test, predicted)


def head():
    """Return the classifier of the offline columns."""
    return LogisticRegression(C=0.1, max_iter=100)


def quality(split, generator, seed):
    """Return class-wise and whole Fréchet distance, and coverage."""
    X, y = generator.sample(y=np.repeat(split.y_test, 2), random_state=seed)
    frechet = class_frechet_distance(
        split.X_test,
        X,
        y_real=split.y_test,
        y_synthetic=y,
        n_permutations=3,
        random_state=seed,
    )
    X = X[::2]
    whole = extrapolated_frechet_distance(split.X_test, X, random_state=seed)
    coverage = precision_recall_density_coverage(split.X_test, X)["coverage"]
    return np.nanmean(frechet.distances - frechet.biases), whole.distance, coverage


def balance(split, generator):
    """Return the training rows and generated ones, as many of each class."""
    classes, counts = np.unique(split.y, return_counts=True)
    missing = np.repeat(classes, counts.max() - counts)
    X_new, y_new = generator.sample(y=missing)
    return np.concatenate([split.X, X_new]), np.concatenate([split.y, y_new])


def measure(split, generator, seed):
    """Return a row of the table."""
    generator = clone(generator).set_params(random_state=seed)
    start = time.perf_counter()
    generator.fit(split.X, split.y)
    fitted = time.perf_counter()
    generator.sample(N_DRAWN)
    drawn = time.perf_counter()
    # Fitted generators are used as they are.
    online = LongTailClassifier(
        generator, solver="sgd", device="cpu", random_state=seed
    )
    offline = head().fit(*balance(split, generator))
    rows, _ = generator.sample(y=split.y)
    outside, reference = split.strangers[::2], split.strangers[1::2]
    attack = nearest_neighbor_attack(rows, split.X, outside, reference)
    return [
        percent(online.fit(split.X, split.y), split),
        percent(offline, split),
        *quality(split, generator, seed),
        attack.auc.value,
        fitted - start,
        drawn - fitted,
    ]


def measure_sampler(split, sampler, seed):
    """Return the row of a sampler, of which only the accuracy is known."""
    X, y = split.X, split.y
    if sampler is not None:
        sampler = clone(sampler).set_params(random_state=seed)
        try:
            X, y = sampler.fit_resample(X, y)
        except (ValueError, RuntimeError):
            # ADASYN refuses rows whose neighbours are all of their own class.
            X, y = split.X, split.y
    accuracy = percent(head().fit(X, y), split)
    return [np.nan, accuracy] + [np.nan] * (len(COLUMNS) - 2)


def measure_all(ledger, name, split, seed):
    """Return the rows of all contenders of one split, a function of the seed."""
    # Read only if it is needed.
    split = cache(split)

    def known(contender, measured, estimator):
        key = (name, seed, contender)
        return ledger.get(key, lambda: measured(split(seed), estimator, seed))

    rows = {n: known(n, measure_sampler, s) for n, s in SAMPLERS.items()}
    return rows | {n: known(n, measure, g) for n, g in GENERATORS.items()}


def print_table(title, rows):
    """Print means over the first axis of the rows of each contender."""
    print(f"\n{title}\n\n{'':20}" + "".join(f"{name:>9}" for name in COLUMNS))
    for name, values in rows.items():
        means = zip(np.mean(values, axis=0), FORMATS, strict=True)
        cells = (
            f"{'':>9}" if np.isnan(mean) else f"{mean:{form}}" for mean, form in means
        )
        print(f"{name:20}" + "".join(cells), flush=True)


def print_differences(rows, base="ClassGaussian"):
    """Print paired differences to a generator, with 95 % intervals over the seeds."""
    shown = [COLUMNS.index(name) for name in COMPARED]
    print(f"\n{'less ' + base:20}" + "".join(f"{name:>17}" for name in COMPARED))
    for name in GENERATORS:
        if name != base:
            differences = (rows[name] - rows[base])[:, shown]
            pairs = zip(differences.mean(axis=0), half_widths(differences), strict=True)
            cells = (f"{mean:+10.3f} ±{width:5.3f}" for mean, width in pairs)
            print(f"{name:20}" + "".join(cells), flush=True)


def collect(ledger, name, split, seeds):
    """Return the rows of all contenders over the seeds, as arrays."""
    table = {}
    for seed in seeds:
        for contender, row in measure_all(ledger, name, split, seed).items():
            table.setdefault(contender, []).append(row)
        print(f"seed {seed} done", flush=True)
    return {contender: np.array(rows) for contender, rows in table.items()}


def embeddings(title, split, data, seeds, ledger):
    """Measure and print one set of embeddings."""
    rows = collect(ledger, title, partial(split, data), seeds)
    print_table(f"{title}, mean of {len(seeds)} seeds", rows)
    print_differences(rows)


def tabular(data, seeds, ledger):
    """Measure and print the tabular sets, with ranks and tests of their difference."""
    names, rows = tabular_names(data), {}
    for number, name in enumerate(names, 1):
        found = collect(ledger, name, partial(split_table, data, name), seeds)
        for contender, values in found.items():
            rows.setdefault(contender, []).append(values.mean(axis=0))
        print(f"{number} of {len(names)}: {name}", flush=True)
    rows = {name: np.array(values) for name, values in rows.items()}
    print_table(f"{len(names)} tabular sets, mean of {len(seeds)} seeds", rows)
    scores = {name: values[:, 1] for name, values in rows.items()}
    scores |= {f"{name}, online": rows[name][:, 0] for name in GENERATORS}
    print_ranks(scores)


def print_ranks(scores):
    """Print mean ranks, Friedman's test, and Wilcoxon's against SMOTE with Holm's."""
    names = list(scores)
    values = np.array([scores[name] for name in names])
    ranks = stats.rankdata(-values, axis=0).mean(axis=1)
    friedman = stats.friedmanchisquare(*values)
    others = [name for name in names if name != "SMOTE"]
    p_values = np.array(
        [
            stats.wilcoxon(scores[name], scores["SMOTE"], zero_method="zsplit").pvalue
            for name in others
        ]
    )
    adjusted = holm(p_values)
    print(f"\nFriedman: chi2 {friedman.statistic:.1f}, p {friedman.pvalue:.2g}\n")
    print(f"{'':24}{'mean rank':>10}{'against SMOTE':>15}{'p (Holm)':>10}")
    for place in np.argsort(ranks):
        name = names[place]
        line = f"{name:24}{ranks[place]:10.2f}"
        if name in others:
            difference = np.mean(values[place] - scores["SMOTE"])
            line += f"{difference:+15.1f}{adjusted[others.index(name)]:10.2g}"
        print(line)


def holm(p_values):
    """Return p-values adjusted for their number by Holm's method."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    steps = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    adjusted = np.empty_like(steps)
    adjusted[order] = steps
    return adjusted


def cifar(data, seeds, ledger):
    """Measure long-tailed CIFAR-100."""
    embeddings("long-tailed CIFAR-100, ViT-Ti/16", split_cifar, data, seeds, ledger)


def mvtec(data, seeds, ledger):
    """Measure 30 classes of industrial photos."""
    embeddings("30 classes of photos, ResNet-18", split_mvtec, data, seeds, ledger)


def draw(data, seeds, ledger):
    """Print the seconds that 50,000 rows of 768 features take, of 100 classes."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(2_000, 768)).astype(np.float32), np.arange(2_000) % 100
    print("\n50,000 rows of 768 features, 100 classes: seconds")
    for name, generator in GENERATORS.items():
        generator = clone(generator).set_params(random_state=0)
        if "max_epochs" in generator.get_params():
            # How well it has learned makes no difference to the time.
            generator.set_params(max_epochs=1)
        generator.fit(X, y)
        start = time.perf_counter()
        generator.sample(50_000)
        print(f"{name:20}{time.perf_counter() - start:9.1f}", flush=True)


PARTS = {"cifar": cifar, "mvtec": mvtec, "tabular": tabular, "draw": draw}


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 5,
    keep: Annotated[Path | None, typer.Option(help="File of known rows.")] = None,
):
    """Run the parts in turn."""
    warnings.simplefilter("ignore")
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(PARTS)}.")
    for name in only or PARTS:
        PARTS[name](data, range(seeds), Ledger(keep))


if __name__ == "__main__":
    typer.run(main)
