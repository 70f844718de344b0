"""Several sites that may not show their samples: what each way to learn from all costs.

    python examples/benchmarks/sites_benchmark.py --data FOLDER [--seeds 3 --keep FILE]

FOLDER holds `site_pacs_vit_tiny.npz` and `cifar100_lt_vit_tiny.npz`. The four sites of
PACS are its domains; of its samples, 60 % are for training, 20 % for tests and 20 % for
the attacker, drawn anew for each seed. The samples of each class of CIFAR-100 are dealt
out to ten sites by a draw of Dirichlet(0.1, ..., 0.1). Half of the test samples are
the attacker's.

Heads are `LongTailClassifier` without generated samples of its own. They are trained
on the real samples of one site or of all, or on 10,000 generated ones, as many of each
class. The test samples are those of all sites. Attacks on what a head is trained on
tell members from test samples; each class has as many of both. Noise of private
generators is seeded here, so that runs can be repeated: a release has no seed.

With `--keep`, each row is written to a file once it is known, and a run that was
interrupted goes on from there.
"""

import tempfile
import warnings
from functools import reduce
from operator import add
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from _common import Ledger, half_widths
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from skcvae.anonymization import (
    CVAEAnonymizer,
    GenerativeAnonymizer,
    load,
    merge_releases,
)
from skcvae.generators import ClassGaussian, ClassMoments, DPClassGaussian
from skcvae.long_tail import LongTailClassifier
from skcvae.privacy import class_gaussian_attack, nearest_neighbor_attack

N_DRAWN = 10_000
N_SITES, CONCENTRATION = 10, 0.1
MIN_CLASS_SIZE = 5
EPSILON = 8.0
COLUMNS = ("accuracy", "NN AUC", "likelihood", "means")
ALLOW = {"small_classes": "allow", "max_mean_leakage": 1}


class Samples(NamedTuple):
    """Training samples with their sites, test samples, and those of the attacker."""

    X: np.ndarray
    y: np.ndarray
    site: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    X_reference: np.ndarray
    y_reference: np.ndarray

    def sites(self):
        """Return samples and classes of each site."""
        places = [self.site == site for site in np.unique(self.site)]
        return [(self.X[place], self.y[place]) for place in places]


def load_pacs(data, seed):
    """Return the samples of four domains, split by domain and class."""
    with np.load(data / "site_pacs_vit_tiny.npz") as file:
        X, y, site = file["X"].astype(np.float32), file["y"].astype(int), file["site"]
    place = np.arange(len(y))
    group = site * 100 + y
    split = {"stratify": group, "random_state": seed}
    train, rest = train_test_split(place, test_size=0.4, **split)
    split["stratify"] = group[rest]
    test, reference = train_test_split(rest, test_size=0.5, **split)
    return Samples(
        X[train], y[train], site[train], X[test], y[test], X[reference], y[reference]
    )


def load_cifar(data, seed):
    """Return CIFAR-100-LT, with each class dealt out to sites by a Dirichlet draw."""
    with np.load(data / "cifar100_lt_vit_tiny.npz") as file:
        X, X_test = (file[n].astype(np.float32) for n in ("X_train", "X_test"))
        y, y_test = (file[n].astype(int) for n in ("y_train", "y_test"))
    known = {x.tobytes() for x in X}
    new = np.array([x.tobytes() not in known for x in X_test])
    rng = np.random.RandomState(seed)
    shares = rng.dirichlet(np.full(N_SITES, CONCENTRATION), size=y.max() + 1)
    site = np.array([rng.choice(N_SITES, p=shares[label]) for label in y])
    X_test, y_test = X_test[new], y_test[new]
    parts = train_test_split(
        X_test, y_test, test_size=0.5, stratify=y_test, random_state=seed
    )
    X_test, X_reference, y_test, y_reference = parts
    return Samples(X, y, site, X_test, y_test, X_reference, y_reference)


def train_head(X, y, seed):
    """Return a head that is trained on these samples and no others."""
    return LongTailClassifier(augment=None, random_state=seed).fit(X, y)


def accuracy(head, samples):
    """Return the balanced accuracy for the test samples of all sites, in percent."""
    predicted = head.predict(samples.X_test)
    return 100 * balanced_accuracy_score(samples.y_test, predicted)


def attacked_parts(samples, seed):
    """Return places of members and test samples, as many of each class."""
    rng = np.random.RandomState(seed)
    members, others = [], []
    for label in np.unique(samples.y_test):
        in_train = np.flatnonzero(samples.y == label)
        in_test = np.flatnonzero(samples.y_test == label)
        size = min(len(in_train), len(in_test))
        members.extend(rng.choice(in_train, size, replace=False))
        others.extend(rng.choice(in_test, size, replace=False))
    return np.array(members), np.array(others)


def measure(X, y, samples, seed):
    """Return accuracy of a head that is trained on samples, and AUCs of attacks."""
    members, others = attacked_parts(samples, seed)
    M, y_M = samples.X[members], samples.y[members]
    H, y_H = samples.X_test[others], samples.y_test[others]
    attacked = (M, y_M, H, y_H, samples.X_reference, samples.y_reference)
    return [
        accuracy(train_head(X, y, seed), samples),
        nearest_neighbor_attack(X, M, H, samples.X_reference).auc.value,
        class_gaussian_attack(X, y, *attacked).auc.value,
        class_gaussian_attack(X, y, *attacked, score="class_means").auc.value,
    ]


def draw(source, samples, seed):
    """Return as many samples of each class that a source has, about 10,000."""
    labels = np.intersect1d(source.classes_, np.unique(samples.y))
    y = np.repeat(labels, N_DRAWN // len(labels))
    return source.sample(y=y, random_state=seed)


def add_moments(parts, min_class_size=1):
    """Return the sum of the moments of sites, of classes of a size at each site."""
    moments = []
    for X, y in parts:
        labels, counts = np.unique(y, return_counts=True)
        kept = np.isin(y, labels[counts >= min_class_size])
        if kept.any():
            moments.append(ClassMoments.from_data(X[kept], y[kept]))
    return reduce(add, moments)


def from_moments(moments, seed):
    """Return the Gaussian of each class that moments give."""
    return ClassGaussian.from_moments(moments, random_state=seed)


def gaussian(seed):
    """Return an anonymizer by a Gaussian for each class."""
    return GenerativeAnonymizer(ClassGaussian(), random_state=seed, **ALLOW)


def cvae(seed):
    """Return an anonymizer by a CVAE of a fixed width; its default searches one."""
    return CVAEAnonymizer(hidden_dim=64, device="cpu", random_state=seed, **ALLOW)


def private_gaussian(labels):
    """Return a function that makes a private anonymizer of public labels."""

    def make(seed):
        generator = DPClassGaussian(epsilon=EPSILON, classes=labels)
        return GenerativeAnonymizer(generator, random_state=seed)

    return make


def merge(make, parts, seed):
    """Return the merged releases of anonymizers that are fitted at each site."""
    releases, sizes = [], []
    with tempfile.TemporaryDirectory() as folder:
        for i, (X, y) in enumerate(parts):
            anonymizer = make(seed * 100 + i).fit(X, y)
            path = f"{folder}/{i}.safetensors"
            anonymizer.release(path, class_prior="training")
            releases.append(load(path, device="cpu"))
            sizes.append(len(y))
    return merge_releases(releases, site_sizes=sizes)


def contenders(samples, seed):
    """Return a function for each way, by name, that returns what a head learns from."""
    parts, everything = samples.sites(), (samples.X, samples.y)
    private = private_gaussian(np.unique(samples.y))

    def drawn(make):
        return lambda: draw(make(), samples, seed)

    ways = {
        "pooled generator": lambda: from_moments(add_moments([everything]), seed),
        "merged moments": lambda: from_moments(add_moments(parts), seed),
        f"merged moments, classes of {MIN_CLASS_SIZE} at a site": lambda: from_moments(
            add_moments(parts, MIN_CLASS_SIZE), seed
        ),
        "merged releases, ClassGaussian": lambda: merge(gaussian, parts, seed),
        "merged releases, CVAE": lambda: merge(cvae, parts, seed),
        f"pooled generator, epsilon {EPSILON:g}": lambda: private(seed).fit(
            *everything
        ),
        f"merged releases, epsilon {EPSILON:g}": lambda: merge(private, parts, seed),
    }
    return {"pooled samples": lambda: everything} | {
        name: drawn(make) for name, make in ways.items()
    }


def local_heads(samples, seed):
    """Return the accuracies of the heads of the sites, sorted."""
    return sorted(accuracy(train_head(*p, seed), samples) for p in samples.sites())


def moments_error(samples):
    """Return by how much merged means and scatter differ from those of all samples."""
    merged = add_moments(samples.sites())
    pooled = ClassMoments.from_data(samples.X, samples.y)
    scatter = np.abs(merged.scatter - pooled.scatter).max() / pooled.scatter.max()
    return [np.abs(merged.means - pooled.means).max(), scatter]


def print_row(name, rows, reference):
    """Print means over the seeds, and the paired difference of the accuracy."""
    rows = np.array(rows)
    means, difference = rows.mean(axis=0), rows[:, 0] - reference
    width = half_widths(difference)
    cells = f"{means[0]:9.1f} {difference.mean():+9.1f} ±{width:4.1f}"
    cells += "".join(f"{value:12.3f}" for value in means[1:])
    print(f"{name:44}{cells}", flush=True)


def run(name, load_set, data, seeds, ledger):
    """Measure all contenders for each seed, and print the table."""
    rows, local, errors = {}, [], []
    for seed in range(seeds):
        samples = load_set(data, seed)
        sizes = [len(y) for _, y in samples.sites()]
        print(f"{name}, seed {seed}: sites of {sizes}", flush=True)
        key = name, seed
        errors.append(ledger.get((*key, "error"), lambda s=samples: moments_error(s)))
        heads = ledger.get((*key, "local"), lambda s=samples, i=seed: local_heads(s, i))
        local.append(heads)
        for way, make in contenders(samples, seed).items():
            row = ledger.get(
                (*key, way), lambda m=make, s=samples, i=seed: measure(*m(), s, i)
            )
            rows.setdefault(way, []).append(row)
    print(f"\n{name}, {seeds} seeds; merged moments differ by {np.max(errors):.1e}\n")
    print(f"{'':44}{'accuracy':>9} {'difference':>16}", end="")
    print("".join(f"{column:>12}" for column in COLUMNS[1:]))
    reference = np.array(rows["pooled generator"])[:, 0]
    for label, of_site in (("worst", 0), ("best", -1)):
        found = [[heads[of_site]] for heads in local]
        print_row(f"head of one site, the {label}", found, reference)
    for way, found in rows.items():
        print_row(way, found, reference)
    print(flush=True)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    only: Annotated[list[str] | None, typer.Option(help="Data sets.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    keep: Annotated[Path | None, typer.Option(help="File of known rows.")] = None,
):
    """Run the data sets in turn."""
    warnings.simplefilter("ignore")
    sets = {"pacs": load_pacs, "cifar100_lt": load_cifar}
    unknown = set(only or ()) - set(sets)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(sets)}.")
    ledger = Ledger(keep)
    for name in only or sets:
        run(name, sets[name], data, seeds, ledger)


if __name__ == "__main__":
    typer.run(main)
