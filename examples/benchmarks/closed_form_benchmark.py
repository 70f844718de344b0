"""LongTailClassifier in closed form, by SGD, and balanced softmax.

    python examples/benchmarks/closed_form_benchmark.py --data FOLDER [--only tails ...]

FOLDER holds the embeddings of the tests. All settings are the defaults, and nothing is
chosen on test samples. Seconds are those of the processor, with one thread.
"""

import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from _common import half_widths
from _splits import read_table, split_mvtec
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skcvae.datasets import load_embeddings
from skcvae.long_tail import LongTailClassifier
from skcvae.metrics import shot_accuracy_score

TAIL_SEEDS = (0, 1, 2)
METHODS = {
    "balanced softmax": {"solver": "sgd", "augment": None, "sampling": "instance"},
    "solver='sgd'": {"solver": "sgd"},
    "closed form": {},
    "closed form, l2 given": {"l2": 0.005},
}
COLUMNS = ("accuracy", "balanced", "many", "medium", "few", "NLL", "seconds")
N_CLASSES_OF_SUBSETS = (2, 3, 7)


def original_tail(data):
    """Return the long tail of CIFAR-100."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    return cifar.X_train, cifar.y_train, cifar.X_test, cifar.y_test


def new_tail(data, seed):
    """Return a tail of other samples, in another order of the classes."""
    X, y, X_test, y_test = original_tail(data)
    rest = load_embeddings(data / "cifar100_rest_vit_tiny.npz")
    X, y = np.concatenate([X, rest.X]), np.concatenate([y, rest.y])
    rng = np.random.RandomState(seed)
    kept = [
        rng.choice(np.flatnonzero(y == label), int(500 * 0.01 ** (rank / 99)), False)
        for rank, label in enumerate(rng.permutation(100))
    ]
    kept = np.concatenate(kept)
    return X[kept], y[kept], X_test, y_test


def measure(split, params):
    """Return the columns of one method on one split."""
    X, y, X_test, y_test = split
    start = time.process_time()
    classifier = LongTailClassifier(device="cpu", random_state=0, **params).fit(X, y)
    seconds = time.process_time() - start
    proba = classifier.predict_proba(X_test)
    codes = np.searchsorted(classifier.classes_, y_test)
    predicted = classifier.classes_[proba.argmax(axis=1)]
    scores = shot_accuracy_score(y_test, predicted, y_train=y)
    losses = -np.log(np.maximum(proba[np.arange(len(codes)), codes], 1e-12))
    groups = [100 * scores[group] for group in ("many", "medium", "few")]
    loss = np.mean([losses[codes == code].mean() for code in np.unique(codes)])
    balanced = balanced_accuracy_score(y_test, predicted)
    accuracy = (predicted == y_test).mean()
    return [100 * accuracy, 100 * balanced, *groups, loss, seconds]


def compare(title, splits):
    """Print the methods on the same splits, and the difference from SGD."""
    results = {
        name: np.array([measure(split, params) for split in splits])
        for name, params in METHODS.items()
    }
    print(f"\n{title}\n\n{'':24}" + "".join(f"{c:>10}" for c in COLUMNS))
    for name, rows in results.items():
        line = f"{name:24}" + "".join(f"{m:10.3f}" for m in rows.mean(axis=0))
        difference = (rows - results["solver='sgd'"])[:, 1]
        if len(splits) > 1 and difference.any():
            width = half_widths(difference)
            line += f"   balanced {difference.mean():+.2f} ± {width:.2f}"
        print(line, flush=True)


def image_subsets(data):
    """Yield a name and a split for a few classes of images."""
    rng = np.random.RandomState(0)
    sources = {"cifar100": original_tail(data), "mvtec": mvtec(data, 0)}
    for name, (X, y, X_test, y_test) in sources.items():
        for n_classes in N_CLASSES_OF_SUBSETS:
            chosen = rng.choice(np.unique(y), n_classes, replace=False)
            train, test = np.isin(y, chosen), np.isin(y_test, chosen)
            split = X[train], y[train], X_test[test], y_test[test]
            yield f"{name}, {n_classes} classes", split


def tables(data):
    """Yield a name and a split for the tabular sets, of at most 4,000 samples."""
    with np.load(data / "tabular_imbalanced.npz") as file:
        names = sorted(key[:-3] for key in file if key.endswith("__X"))
    for name in names:
        X, y = read_table(data, name)
        if len(y) > 4000:
            X, _, y, _ = train_test_split(
                X, y, train_size=4000, stratify=y, random_state=0
            )
        if np.bincount(y).min() >= 10:
            X, X_test, y, y_test = train_test_split(
                X, y, test_size=0.5, stratify=y, random_state=0
            )
            scaler = StandardScaler().fit(X)
            yield name, (scaler.transform(X), y, scaler.transform(X_test), y_test)


def few_classes(data):
    """Print balanced accuracies beside those of a tuned logistic regression."""
    grid = {"logisticregression__C": [1e-3, 1e-2, 0.1, 1, 10]}
    logistic = make_pipeline(
        StandardScaler(with_std=False),
        LogisticRegression(class_weight="balanced", max_iter=300),
    )
    rival = GridSearchCV(logistic, grid, scoring="balanced_accuracy", cv=5)
    differences = []
    print(f"\nFew classes, balanced accuracy\n\n{'':24}  logistic   default")
    for name, split in (*tables(data), *image_subsets(data)):
        X, y, X_test, y_test = split
        scores = [
            100 * balanced_accuracy_score(y_test, method.fit(X, y).predict(X_test))
            for method in (rival, LongTailClassifier(device="cpu", random_state=0))
        ]
        differences.append(scores[1] - scores[0])
        print(f"{name:24}{scores[0]:10.1f}{scores[1]:10.1f}", flush=True)
    print(f"mean difference {np.mean(differences):+.2f}, worst {min(differences):+.2f}")
    print(f"{np.sum(np.array(differences) < -2)} sets more than 2 below")


def mvtec(data, seed):
    """Return half of the industrial photos to train on, and half to test on."""
    split = split_mvtec(data, seed)
    return split.X, split.y, split.X_test, split.y_test


def many_classes():
    """Print the seconds for as many classes as iNaturalist has."""
    rng = np.random.RandomState(0)
    sizes = 1 + rng.multinomial(77_980 - 8142, rng.dirichlet(np.full(8142, 0.5)))
    y = np.repeat(np.arange(8142), sizes)
    means = rng.normal(size=(8142, 192)).astype(np.float32)
    X = means[y] + rng.normal(size=(len(y), 192)).astype(np.float32)
    start = time.process_time()
    classifier = LongTailClassifier(device="cpu", random_state=0).fit(X, y)
    seconds = time.process_time() - start
    print(f"\n8,142 classes: {classifier.solver_} in {seconds:.0f} s")


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
):
    """Run the parts in turn."""
    parts = {
        "tails": lambda: compare(
            f"New tails of CIFAR-100, seeds {TAIL_SEEDS}",
            [new_tail(data, seed) for seed in TAIL_SEEDS],
        ),
        "original": lambda: compare(
            "The original tail of CIFAR-100", [original_tail(data)]
        ),
        "cifar10": lambda: compare(
            "CIFAR-10", [read(data / "cifar10_lt_vit_tiny.npz")]
        ),
        "mvtec": lambda: compare(
            "Industrial photos, 30 classes", [mvtec(data, seed) for seed in range(3)]
        ),
        "clinc": lambda: compare("CLINC150", [read(data / "clinc150_lt_minilm.npz")]),
        "few": lambda: few_classes(data),
        "many": many_classes,
    }
    unknown = set(only or ()) - set(parts)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(parts)}.")
    warnings.filterwarnings("ignore", message="The standard deviations of the features")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for part in only or parts:
            parts[part]()


def read(path):
    """Return the samples of a file that has a test part."""
    embeddings = load_embeddings(path)
    return tuple(
        getattr(embeddings, name) for name in ("X_train", "y_train", "X_test", "y_test")
    )


if __name__ == "__main__":
    typer.run(main)
