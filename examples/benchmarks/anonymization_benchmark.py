"""Utility and privacy of what the anonymizers publish, with the thesis's beside.

    python examples/benchmarks/anonymization_benchmark.py --data FOLDER \\
        [--only utility-mvtec ...]

FOLDER holds `mvtec_resnet18.npz` (arrays X, y, anomaly) and `cifar100_lt_vit_tiny.npz`
(X_train, y_train, X_test, y_test). Every seed trains its generators anew, and all
contenders of a seed share its split. What must hold is said under each table.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _common import global_scale, half_widths, read_mvtec
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, train_test_split

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, KSameAnonymizer
from skcvae.datasets import load_embeddings
from skcvae.metrics import linear_probe
from skcvae.privacy import attack_controls, nearest_neighbor_attack

THESIS = {
    "objective": "reference",
    "latent_dim": 100,
    "prior": "standard",
    "noise": None,
    "lr": 1e-3,
    "batch_size": 256,
}
# A stream has no number of rows: this many times the training rows stand for it where
# a method needs rows.
STREAM_FACTOR = 10
PROBE = {"max_epochs": 40, "patience": 40}
EPSILONS = (1, 3, 8)
DELTA = 1e-5
ATTACKS = {
    "nearest neighbour": nearest_neighbor_attack,
    "each feature scaled": partial(nearest_neighbor_attack, scale="feature"),
}


@dataclass
class Release:
    """What is published: rows with labels, and a stream where there is one."""

    X: np.ndarray
    y: np.ndarray
    stream: object | None = None


@dataclass
class Columns:
    """What a table shows: names, a format for each, and which one is compared."""

    names: tuple
    formats: tuple
    compared: int
    versus: str


# Attacks and scores are compared on all classes, also on those that are too small to
# publish.
ALLOW = {"small_classes": "allow"}


def thesis_cvae(architecture, max_epochs, beta):
    """Return the CVAE of the thesis."""
    return CVAEAnonymizer(
        architecture=architecture, max_epochs=max_epochs, beta=beta, **THESIS, **ALLOW
    )


def contenders(max_epochs, beta):
    """Return the anonymizers by name; `max_epochs` and `beta` are the thesis's."""
    return {
        "ClassGaussian": GenerativeAnonymizer(**ALLOW),
        "CVAE": CVAEAnonymizer(**ALLOW),
        "thesis, small": thesis_cvae("small", max_epochs, beta),
        "thesis, large": thesis_cvae("large", max_epochs, beta),
        **{f"k-Same {k}": KSameAnonymizer(k, **ALLOW) for k in (2, 5, 10)},
    }


def publish(anonymizers, X, y, seed, draw_labels=False):
    """Yield the name and the release of each anonymizer, the real rows first.

    Differential privacy does not cover labels that are published as they are:
    `draw_labels` draws them as well.
    """
    yield "real rows", Release(X, y)
    for name, anonymizer in anonymizers.items():
        fresh = clone(anonymizer)
        if hasattr(fresh, "random_state"):
            fresh.set_params(random_state=seed)
        if draw_labels:
            yield name, Release(*fresh.fit(X, y).sample())
            continue
        yield name, Release(fresh.fit_transform(X, y), y)
        if name == "CVAE":
            rows = fresh.sample(STREAM_FACTOR * len(X))
            yield "CVAE, stream", Release(*rows, stream=fresh)


def regression_scores(release, X_test, y_test):
    """Train logistic regression on a release; return accuracies in percent."""
    rows, test = global_scale(release.X, X_test)
    head = LogisticRegression(max_iter=200).fit(rows, release.y)
    return percent(y_test, head.predict(test))


def percent(y_test, predicted):
    """Return accuracy and balanced accuracy in percent."""
    return [
        100 * accuracy_score(y_test, predicted),
        100 * balanced_accuracy_score(y_test, predicted),
    ]


def probe_scores(release, X_test, y_test, seed):
    """Train a linear probe, which stops by a fifth of the test rows."""
    X_test, X_val, y_test, y_val = train_test_split(
        X_test, y_test, test_size=0.2, stratify=y_test, random_state=seed
    )
    source = (release.X, release.y) if release.stream is None else release.stream
    result = linear_probe(
        source, X_val, y_val, X_test, y_test, random_state=seed, **PROBE
    )
    return [100 * result.accuracy, 100 * result.balanced_accuracy]


def read_cifar(data, min_class_size):
    """Return the split of CIFAR-100-LT, without the classes of fewer rows."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    labels, counts = np.unique(cifar.y_train, return_counts=True)
    kept = labels[counts >= min_class_size]
    train, test = (np.isin(y, kept) for y in (cifar.y_train, cifar.y_test))
    return (
        cifar.X_train[train],
        cifar.X_test[test],
        cifar.y_train[train].astype(int),
        cifar.y_test[test].astype(int),
    )


def utility(split, anonymizers, seeds, draw_labels=False):
    """Return the scores on real rows by contender, one row for each seed."""
    scores = {}
    for seed in seeds:
        X, X_test, y, y_test = split(seed)
        for name, release in publish(anonymizers, X, y, seed, draw_labels):
            row = regression_scores(release, X_test, y_test)
            row += probe_scores(release, X_test, y_test, seed)
            scores.setdefault(name, []).append(row)
        print(f"seed {seed} done", flush=True)
    return {name: np.array(rows) for name, rows in scores.items()}


UTILITY = Columns(
    ("regression", "balanced", "probe", "balanced"), ("10.1f",) * 4, 1, "real rows"
)
PRIVACY = Columns(
    ("NN AUC", "by feature", "NN TPR@1%", "regression", "balanced"),
    ("10.3f",) * 3 + ("10.1f",) * 2,
    0,
    "CVAE",
)


def print_table(title, scores, columns):
    """Print means, and the paired difference to one contender in one column."""
    reference = scores[columns.versus][:, columns.compared]
    n_seeds = len(reference)
    print(f"\n{title}, mean of {n_seeds} seeds\n")
    heading = "".join(f"{name:>12}" for name in columns.names)
    compared = columns.names[columns.compared]
    print(f"{'':18}{heading}   {compared} less that of {columns.versus} (95 %)")
    for name, rows in scores.items():
        pairs = zip(rows.mean(axis=0), columns.formats, strict=True)
        line = "".join(f"  {mean:{form}}" for mean, form in pairs)
        difference = rows[:, columns.compared] - reference
        if difference.any():
            form = columns.formats[columns.compared].removeprefix("10")
            line += f"   {difference.mean():+{form}} ± {half_widths(difference):{form}}"
        print(f"{name:18}{line}", flush=True)


def report(requirement, holds):
    """Print whether a requirement holds."""
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {requirement}", flush=True)


def utility_mvtec(data, seeds):
    """Train on half of the photos or on what stands for it, test on the other."""
    X, y = read_mvtec(data)

    def split(seed):
        return train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)

    scores = utility(split, contenders(100, 0.1), seeds)
    print_table("30 classes of industrial photos", scores, UTILITY)
    accuracy, balanced = scores["CVAE"].mean(axis=0)[:2]
    found = f"CVAE {accuracy:.1f} / {balanced:.1f}"
    report(
        f"{found}, needed 82 / 70 (regression)",
        accuracy >= 82 and balanced >= 70,
    )


def utility_cifar(data, seeds):
    """Train on long-tailed rows or what stands for them, test on balanced ones."""
    split = read_cifar(data, 50)
    scores = utility(lambda seed: split, contenders(60, 0.1), seeds)
    n_rows, n_classes = len(split[0]), len(np.unique(split[2]))
    title = f"CIFAR-100-LT, {n_rows:,} rows of {n_classes} classes"
    print_table(title, scores, UTILITY)
    means = {name: rows.mean(axis=0)[1] for name, rows in scores.items()}
    loss = means["real rows"] - means["CVAE"]
    report(f"CVAE loses {loss:.1f} points to real rows, at most 3", loss <= 3)
    thesis = max(means["thesis, small"], means["thesis, large"])
    lead = means["CVAE"] - thesis
    report(f"CVAE leads the better CVAE of the thesis by {lead:.1f}", lead >= 0)


def thirds(X, y, seed):
    """Return members, non-members and reference: disjoint, stratified thirds."""
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    return [(X[rows], y[rows]) for _, rows in folds.split(X, y)]


def privacy(X, y, anonymizers, seeds):
    """Return attacks and utility by contender, and the controls by attack."""
    scores, controls = {}, {name: [] for name in ATTACKS}
    for seed in seeds:
        (M, y_M), (H, y_H), (R, _) = thirds(X, y, seed)
        for name, attack in ATTACKS.items():
            control = attack_controls(attack, M, H, R, random_state=seed)
            controls[name].append(control)
        for name, release in publish(anonymizers, M, y_M, seed):
            found = [attack(release.X, M, H, R) for attack in ATTACKS.values()]
            row = [result.auc.value for result in found] + [found[0].tpr.value]
            row += regression_scores(release, H, y_H)
            scores.setdefault(name, []).append(row)
        print(f"seed {seed} done", flush=True)
    return {name: np.array(rows) for name, rows in scores.items()}, controls


def print_controls(controls):
    """Print what the attacks find in copies, and in rows of strangers."""
    for name, found in controls.items():
        positive = np.mean([control.positive.auc.value for control in found])
        aucs = [control.negative.auc for control in found]
        covered = sum(auc.low <= 0.5 <= auc.high for auc in aucs)
        values = ", ".join(f"{auc.value:.3f}" for auc in aucs)
        print(
            f"{name}: AUC {positive:.3f} on copies of the members; on rows of "
            f"strangers {values}, whose 95 % interval has 0.5 in {covered} of "
            f"{len(aucs)}; usable in {sum(control.usable for control in found)}"
        )


def run_privacy(title, X, y, anonymizers, seeds):
    """Run the attacks of a data set, print them, and return the scores."""
    scores, controls = privacy(X, y, anonymizers, seeds)
    size = len(thirds(X, y, 0)[0][0])
    title = f"{title}, thirds of {size:,} rows, {len(np.unique(y))} classes"
    print_table(title, scores, PRIVACY)
    print_controls(controls)
    return scores


def compare_with_k_same(scores):
    """Report whether CVAEs are well below k-Same 10, at no less utility."""
    for name in ("CVAE", "CVAE, stream"):
        differences = (scores[name] - scores["k-Same 10"])[:, [0, 4, 5]]
        auc, accuracy, balanced = differences.mean(axis=0)
        widths = half_widths(differences)
        report(
            f"{name} less k-Same 10: AUC {auc:+.3f} ± {widths[0]:.3f}, needed -0.05; "
            f"accuracy {accuracy:+.1f} ± {widths[1]:.1f}, balanced {balanced:+.1f} ± "
            f"{widths[2]:.1f}, needed 0 or more",
            auc <= -0.05 and min(accuracy, balanced) >= 0,
        )


def privacy_mvtec(data, seeds):
    """Attack what is published of a third of the photos."""
    X, y = read_mvtec(data)
    title = "30 classes of industrial photos"
    scores = run_privacy(title, X, y, contenders(100, 0.1), seeds)
    auc = scores["CVAE"][:, 0].mean()
    report(f"CVAE's AUC is {auc:.3f}, needed 0.54 or less", auc <= 0.54)
    compare_with_k_same(scores)


def privacy_cifar(data, seeds):
    """Attack what is published of a third of the long-tailed rows."""
    X, _, y, _ = read_cifar(data, 30)
    # A row that occurs twice could be member and non-member.
    first = np.unique(X, axis=0, return_index=True)[1]
    X, y = X[np.sort(first)], y[np.sort(first)]
    kept = np.bincount(y)[y] >= 30
    scores = run_privacy("CIFAR-100-LT", X[kept], y[kept], contenders(60, 0.1), seeds)
    compare_with_k_same(scores)


def dp_contenders():
    """Return private and other generators by name and epsilon."""
    from skcvae.generators import DPClassGaussian

    named = {
        "ClassGaussian": GenerativeAnonymizer(**ALLOW),
        "CVAE": CVAEAnonymizer(**ALLOW),
    }
    for epsilon in EPSILONS:
        budget = {"epsilon": epsilon, "delta": DELTA}
        gaussian = DPClassGaussian(classes=range(100), **budget)
        named[f"ClassGaussian {epsilon}"] = GenerativeAnonymizer(gaussian)
        classes = {"classes": range(100)}
        named[f"CVAE {epsilon}"] = CVAEAnonymizer(dp_params=classes, **budget)
    return named


def dp(data, seeds):
    """Test what is left of all 100 classes under differential privacy."""
    split = read_cifar(data, 1)
    scores = utility(lambda seed: split, dp_contenders(), seeds, draw_labels=True)
    title = f"CIFAR-100-LT, 100 classes, epsilon behind the name, delta {DELTA}"
    print_table(title, scores, UTILITY)


PARTS: dict[str, Callable] = {
    "utility-mvtec": utility_mvtec,
    "utility-cifar": utility_cifar,
    "privacy-mvtec": privacy_mvtec,
    "privacy-cifar": privacy_cifar,
    "dp": dp,
}


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 5,
):
    """Run the parts in turn."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(PARTS)}.")
    for name in only or PARTS:
        PARTS[name](data, range(seeds))


if __name__ == "__main__":
    typer.run(main)
