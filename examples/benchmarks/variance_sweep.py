"""Is `variance="auto"` as good as the best variance of a sweep?

    python examples/benchmarks/variance_sweep.py --data FOLDER [--seeds 3]

FOLDER holds `cifar100_lt_vit_tiny.npz`, `cifar100_rest_vit_tiny.npz` and
`mvtec_resnet18.npz`. Balanced accuracy, in percent, of logistic regression on rows that
a generator has filled up to equal class sizes. The best variance of a sweep is chosen
on the test rows, which flatters it.
"""

import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _common import half_widths
from _splits import split_cifar, split_mvtec
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from skcvae.generators import CVAE, ClassGaussian

VARIANCES = (0.25, 0.5, 1.0, 1.5, 2.0, "auto")


def sweep(split, generator):
    """Return the accuracy with each variance."""
    X, y = split.X, split.y
    generator.fit(X, y)
    classes, counts = np.unique(y, return_counts=True)
    missing = np.repeat(classes, counts.max() - counts)
    accuracies = []
    for variance in VARIANCES:
        X_new, y_new = generator.sample(y=missing, variance=variance)
        head = LogisticRegression(C=0.01, max_iter=100)
        head.fit(np.concatenate([X, X_new]), np.concatenate([y, y_new]))
        predicted = head.predict(split.X_test)
        accuracies.append(100 * balanced_accuracy_score(split.y_test, predicted))
    return accuracies


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds.")] = 3,
):
    """Print means over seeds, and what "auto" is worth beside the best number."""
    # 100 iterations are enough for the accuracy.
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'':24}" + "".join(f"{variance:>8}" for variance in VARIANCES))
    for title, split in {"cifar": split_cifar, "mvtec": split_mvtec}.items():
        for make in (ClassGaussian, CVAE):
            rows = np.array(
                [
                    sweep(split(data, seed), make(random_state=seed))
                    for seed in range(seeds)
                ]
            )
            means = rows.mean(axis=0)
            difference = rows[:, -1] - rows[:, means[:-1].argmax()]
            name = f"{title}, {make.__name__}"
            line = "".join(f"{mean:8.2f}" for mean in means)
            found = f"{difference.mean():+.2f} ± {half_widths(difference):.2f}"
            print(f"{name:24}{line}   auto less the best: {found}", flush=True)


if __name__ == "__main__":
    typer.run(main)
