"""Does a schedule of the variance, or of the share, beat the best constant?

    python examples/benchmarks/schedule_benchmark.py --data FOLDER [--seeds 3]
        [--ledger FILE]

FOLDER holds `cifar100_lt_vit_tiny.npz`. `LongTailClassifier` trains by SGD on four
fifths of the training samples. The constant and the schedule are chosen by the mean
balanced accuracy of the last fifth over the seeds, and compared on the test samples.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _common import Ledger, half_widths
from sklearn.metrics import balanced_accuracy_score
from skorch.helper import predefined_split

from skcvae.long_tail import (
    EpochSchedule,
    LongTailClassifier,
    LongTailShuffleSplit,
    ValidationSchedule,
)

# What is tried. Schedules lead from either number of a pair to the other.
CONSTANTS = {"share": (0.0, 0.2, 0.4, 0.6, 0.8), "variance": (0.5, 1.0, 2.0, 3.0)}
PAIRS = {"share": [(0.2, 0.8), (0.0, 0.6)], "variance": [(1.0, 3.0), (0.5, 2.0)]}


def contenders(name):
    """Return the constants and the schedules of a parameter."""
    schedules = [
        kind(*ends)
        for low, high in PAIRS[name]
        for ends in ((low, high), (high, low))
        for kind in (EpochSchedule, ValidationSchedule)
    ]
    return list(CONSTANTS[name]), schedules


def parameters(name, value):
    """Return the parameters of the classifier; a share is that of all classes."""
    names = ("variance",) if name == "variance" else ("p_min", "p_max")
    return dict.fromkeys(names, value)


def accuracies(parts, params, seed):
    """Return the balanced accuracy of the validation and of the test samples."""
    X, y, X_val, y_val, X_test, y_test = parts
    split = predefined_split([*zip(X_val, y_val, strict=True)])
    classifier = LongTailClassifier(
        solver="sgd",
        device="cpu",
        random_state=seed,
        net_params={"train_split": split},
        **params,
    ).fit(X, y)
    return [
        100 * balanced_accuracy_score(labels, classifier.predict(samples))
        for samples, labels in ((X_val, y_val), (X_test, y_test))
    ]


def read(data, seed):
    """Return training, validation and test samples."""
    with np.load(data / "cifar100_lt_vit_tiny.npz") as file:
        X, X_test = (file[f"X_{part}"].astype(np.float32) for part in ("train", "test"))
        y, y_test = file["y_train"], file["y_test"]
    split = LongTailShuffleSplit(1, random_state=seed)
    ((train, val),) = split.split(X, y)
    return X[train], y[train], X[val], y[val], X_test, y_test


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds.")] = 3,
    ledger: Annotated[Path | None, typer.Option(help="Where to go on.")] = None,
):
    """Print all contenders, and the chosen schedule beside the chosen constant."""
    parts, ledger = [read(data, seed) for seed in range(seeds)], Ledger(ledger)
    for name in CONSTANTS:
        chosen = []
        for kind in contenders(name):
            scores = []
            for value in kind:
                runs = [
                    ledger.get(
                        (name, seed, str(value)),
                        partial(accuracies, p, parameters(name, value), seed),
                    )
                    for seed, p in enumerate(parts)
                ]
                scores.append(runs)
                val, test = np.mean(runs, axis=0)
                print(f"{name:9}{val:7.2f}{test:7.2f}  {value}", flush=True)
            scores = np.array(scores)
            best = scores[..., 0].mean(axis=1).argmax()
            chosen.append((kind[best], scores[best, :, 1]))
        (constant, base), (schedule, test) = chosen
        gain = test - base
        print(
            f"{name}: {base.mean():.2f} with {constant}, {test.mean():.2f} with "
            f"{schedule}: {gain.mean():+.2f} ± {half_widths(gain):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
