"""Quality and diversity of generated rows on long-tailed CIFAR-100, with the thesis's.

    python examples/benchmarks/quality_benchmark.py --data FOLDER [--seeds 5]

FOLDER holds `cifar100_lt_vit_tiny.npz` (X_train, y_train, X_test, y_test) and
`cifar100_rest_vit_tiny.npz` (X, y), the rows that the long tail left out. All
generators learn from the long-tailed rows alone. Distances are in units of one scale
for all features, so that the variance of the training rows is their number.

Each contender gives ten rows for each test row where classes are compared, so that
what is left of the bias of the Fréchet distance is that of the test rows, the same for
all. Precision, recall, density, coverage, discrepancy and the test by a classifier take
one row for each test row, and nearest-neighbour coverage (section 4.4 of the thesis)
one for each row that was left out.
"""

import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _common import global_scale, half_widths
from imblearn.over_sampling import SMOTE

from skcvae.datasets import load_embeddings
from skcvae.generators import CVAE, ClassGaussian
from skcvae.metrics import (
    class_frechet_distance,
    class_nearest_neighbor_coverage,
    classifier_two_sample_test,
    extrapolated_frechet_distance,
    maximum_mean_discrepancy,
    precision_recall_density_coverage,
)

THESIS = {
    "objective": "reference",
    "latent_dim": 100,
    "beta": 0.01,
    "prior": "standard",
    "noise": None,
    "lr": 1e-3,
}
# Squares of the thesis's values 0.25, 0.5, 0.75 and 1.
VARIANCES = (0.0625, 0.25, 0.5625, 1.0)
# Classes of fewer training rows are few-shot, as in the thesis.
FEW = 20
ROWS_PER_TEST_ROW = 10
COLUMNS = {
    "class FD": "8.1f",
    "no bias": "8.1f",
    "few": "8.1f",
    "no bias ": "8.1f",
    "whole FD": "8.2f",
    "MMD": "8.4f",
    "cover few": "9.1f",
    "precision": "9.2f",
    "recall": "8.2f",
    "density": "8.2f",
    "coverage": "8.2f",
    "C2ST": "8.3f",
}


class Subset:
    """Real rows of given labels, each taken once as long as there are enough."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __call__(self, labels, seed):
        """Return rows and their labels."""
        rng = np.random.RandomState(seed)
        wanted = zip(*np.unique(labels, return_counts=True), strict=True)
        rows = [
            rng.permutation(np.flatnonzero(self.y == label))[:n] for label, n in wanted
        ]
        rows = np.concatenate(rows)
        return self.X[rows], self.y[rows]


def smote(X, y):
    """Return a function that draws new rows by SMOTE, and no training row."""
    have = dict(zip(*np.unique(y, return_counts=True), strict=True))

    def draw(labels, seed):
        wanted = zip(*np.unique(labels, return_counts=True), strict=True)
        wanted = {label: have[label] + n for label, n in wanted}
        sampler = SMOTE(sampling_strategy=wanted, k_neighbors=4, random_state=seed)
        X_new, y_new = sampler.fit_resample(X, y)
        return X_new[len(X) :], y_new[len(X) :]

    return draw


def generated(generator, **arguments):
    """Return a function that draws rows of a fitted generator."""

    def draw(labels, seed):
        return generator.sample(y=labels, random_state=seed, **arguments)

    return draw


def contenders(X, y, rest, seed, thesis_epochs):
    """Yield names, and functions from labels and a seed to rows and their labels."""
    yield "training samples", Subset(X, y)
    yield "other real samples", Subset(*rest)
    yield "SMOTE", smote(X, y)
    yield "ClassGaussian", generated(ClassGaussian().fit(X, y))
    cvae = CVAE(device="cpu", random_state=seed).fit(X, y)
    yield "CVAE", generated(cvae)
    thesis = CVAE(device="cpu", random_state=seed, max_epochs=thesis_epochs, **THESIS)
    thesis.fit(X, y)
    for variance in VARIANCES:
        yield f"thesis {variance:g}", generated(thesis, variance=variance)


def measure(draw, test, rest, few, seed):
    """Return the metrics of what a contender draws."""
    X_test, y_test = test
    X, y = draw(np.repeat(y_test, ROWS_PER_TEST_ROW), seed)
    frechet = class_frechet_distance(
        X_test, X, y_real=y_test, y_synthetic=y, n_permutations=5, random_state=seed
    )
    unbiased = frechet.distances - frechet.biases
    left_out = np.isin(rest[1], few)
    X_few, y_few = draw(rest[1][left_out], seed + 1)
    covered = class_nearest_neighbor_coverage(
        rest[0][left_out], X_few, y_reference=rest[1][left_out], y=y_few
    )
    X, y = draw(y_test, seed + 2)
    whole = extrapolated_frechet_distance(X_test, X, random_state=seed)
    discrepancy = maximum_mean_discrepancy(X_test, X, random_state=seed)
    told = classifier_two_sample_test(X_test, X, random_state=seed)
    return [
        frechet.mean,
        np.nanmean(unbiased),
        np.nanmean(frechet.distances[few]),
        np.nanmean(unbiased[few]),
        whole.distance,
        discrepancy.discrepancy,
        100 * covered.mean,
        *precision_recall_density_coverage(X_test, X).values(),
        told.accuracy.value,
    ]


def read(folder):
    """Return training, test and left-out rows, in units of one scale."""
    cifar = load_embeddings(folder / "cifar100_lt_vit_tiny.npz")
    rest = load_embeddings(folder / "cifar100_rest_vit_tiny.npz")
    sets = global_scale(cifar.X_train, cifar.X_test, rest.X)
    return list(zip(sets, (cifar.y_train, cifar.y_test, rest.y), strict=True))


def print_table(table):
    """Print means over seeds."""
    print(f"\n{'':16}", *(f"{name:>{form[:-3]}}" for name, form in COLUMNS.items()))
    for name, rows in table.items():
        means = zip(np.mean(rows, axis=0), COLUMNS.values(), strict=True)
        print(f"{name:16}", *(f"{mean:{form}}" for mean, form in means))


def compare(table, column, versus):
    """Print by how much the CVAE's mean is below that of others, with an interval."""
    place = list(COLUMNS).index(column)
    ours = np.array(table["CVAE"])[:, place]
    for name in versus:
        difference = ours - np.array(table[name])[:, place]
        width = half_widths(difference)
        digits = COLUMNS[column][-3:]
        found = f"{difference.mean():+{digits}} ± {width:{digits}}"
        print(f"{column.strip()}: CVAE less {name}: {found} (95 %)")


def best_of_thesis(table, column):
    """Return the name of the thesis's variance of the least mean."""
    place = list(COLUMNS).index(column)
    names = [f"thesis {variance:g}" for variance in VARIANCES]
    return min(names, key=lambda name: np.mean(table[name], axis=0)[place])


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 5,
    thesis_epochs: Annotated[int, typer.Option(min=1)] = 60,
):
    """Measure all contenders, and print the table and what must hold."""
    warnings.simplefilter("ignore", UserWarning)
    (X, y), test, rest = read(data)
    few = np.flatnonzero(np.bincount(y) < FEW)
    table = {}
    for seed in range(seeds):
        for name, draw in contenders(X, y, rest, seed, thesis_epochs):
            row = measure(draw, test, rest, few, seed)
            table.setdefault(name, []).append(row)
        print(f"seed {seed} done", flush=True)
    print_table(table)
    for column in ("class FD", "no bias", "whole FD", "MMD"):
        compare(table, column, ("SMOTE", best_of_thesis(table, column)))
    compare(table, "cover few", ("training samples", "SMOTE"))


if __name__ == "__main__":
    typer.run(main)
