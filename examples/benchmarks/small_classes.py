"""How often the one real sample among 201 is found, by the size of its class.

An anonymizer is fitted to classes of n distinct samples beside larger classes. For each
small class, an attacker has 201 samples of that class, one of which was in training,
and ranks them by their distance to one generated sample, or to the mean of 400. By
chance, the real one comes first in 0.5 % of all cases.

Run ``python examples/benchmarks/small_classes.py DATA``, where DATA is a folder with
``cifar100_lt_vit_tiny.npz`` and ``cifar100_rest_vit_tiny.npz``: embeddings `X`,
`X_train` of images of CIFAR-100, and labels. It prints a table in a few minutes.
"""

import argparse
from pathlib import Path

import numpy as np
from _common import global_scale

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer

SIZES = (1, 2, 3, 5, 10, 20)
N_CANDIDATES = 201
N_DRAWS = 400
# Half of the classes are small, and the others have this many samples.
LARGE = 100
_PARAMS = {"small_classes": "allow"}
ANONYMIZERS = {
    "Gaussian": lambda seed: GenerativeAnonymizer(random_state=seed, **_PARAMS),
    "CVAE": lambda seed: CVAEAnonymizer(random_state=seed, device="cpu", **_PARAMS),
}


def read(data):
    """Return all training samples of CIFAR-100, and their classes."""
    with np.load(data / "cifar100_lt_vit_tiny.npz") as file:
        X, y = [file["X_train"]], [file["y_train"]]
    with np.load(data / "cifar100_rest_vit_tiny.npz") as file:
        X, y = np.concatenate([*X, file["X"]]), np.concatenate([*y, file["y"]])
    return global_scale(X.astype(np.float32))[0], y


def attack(X, y, make, size, seed):
    """Return the shares of members that come first: by a single draw, by the mean."""
    rng = np.random.RandomState(seed)
    order = rng.permutation(len(X))
    small = rng.permutation(np.unique(y))[: len(np.unique(y)) // 2]
    members, others = [], {}
    for label in np.unique(y):
        of_label = order[y[order] == label]
        n_members = size if label in small else LARGE
        members.append(of_label[:n_members])
        others[label] = of_label[n_members:][: N_CANDIDATES - 1]
    fitted = np.concatenate(members)
    anonymizer = make(seed).fit(X[fitted], y[fitted])
    by_draw, by_mean = [], []
    for label in small:
        drawn = anonymizer.sample(y=np.repeat(label, N_DRAWS), random_state=seed)[0]
        real, rest = X[fitted][y[fitted] == label], X[others[label]]
        nearest_other = distances(drawn, rest).min(axis=1)
        by_draw.append((distances(drawn, real) < nearest_other[:, None]).mean())
        mean = drawn.mean(axis=0, keepdims=True)
        by_mean.append((distances(mean, real) < distances(mean, rest).min()).mean())
    return np.mean(by_draw), np.mean(by_mean)


def distances(A, B):
    """Return squared Euclidean distances, up to the norm of each sample of `A`."""
    return (B**2).sum(axis=1) - 2 * A @ B.T


def main(data, n_seeds=3, sizes=SIZES, anonymizers=tuple(ANONYMIZERS)):
    """Print the table."""
    X, y = read(data)
    print(
        "| distinct samples |"
        + "".join(f" {n}, one draw | {n}, mean of {N_DRAWS} |" for n in anonymizers)
    )
    for size in sizes:
        cells = []
        for name in anonymizers:
            runs = [attack(X, y, ANONYMIZERS[name], size, s) for s in range(n_seeds)]
            cells += [f"{100 * share:.1f} %" for share in np.mean(runs, axis=0)]
        print(f"| {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the embeddings")
    parser.add_argument("--seeds", type=int, default=3, help="number of repetitions")
    arguments = parser.parse_args()
    main(arguments.data, arguments.seeds)
