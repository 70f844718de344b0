"""What class means and spectra tell about members: predicted, and attacked.

``python examples/benchmarks/mean_leakage.py --data FOLDER`` prints two tables. The
first sets the AUC that `mean_leakage_` of an anonymizer predicts beside the one that
the attack by class means reaches, on three data sets and four sizes of the attacker's
reference, and draws both. The second attacks the covariance of `ClassGaussian`.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from _common import global_scale
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from skcvae.anonymization import GenerativeAnonymizer
from skcvae.generators import ClassGaussian

# Samples of a class that are members, and that are not; the others are references.
N_MEMBERS = 30
# The attacker's samples of a class, for each member; inf are all that are left.
REFERENCES = (0.5, 1.0, 2.0, np.inf)
SIZES = (200, 300, 500, 800)


def read_sets(data):
    """Return samples and labels of three sets, by name."""
    sets = {}
    with np.load(data / "mvtec_resnet18.npz") as file:
        sets["mvtec"] = file["X"], file["y"]
    with np.load(data / "cifar100_rest_vit_tiny.npz") as file:
        sets["CIFAR-100"] = file["X"], file["y"]
    with np.load(data / "site_pacs_vit_tiny.npz") as file:
        sets["PACS"] = file["X"], file["y"] * 4 + file["site"]
    return {name: (X.astype(np.float64), y) for name, (X, y) in sets.items()}


def split_classes(X, y, n_members, rng):
    """Return members, non-members and references, with labels, for balanced classes."""
    parts = [], [], []
    for label in np.unique(y):
        own = rng.permutation(np.flatnonzero(y == label))
        # Of this many references one can estimate a mean that is nearly the true one.
        if len(own) >= 5 * n_members:
            ends = n_members, 2 * n_members
            for part, found in zip(parts, np.split(own, ends), strict=True):
                part.append(found)
    return [(X[i], y[i]) for i in map(np.concatenate, parts)]


def class_means(X, y, classes, n_samples=None):
    """Return the mean of each class, of its first samples where a number is given."""
    return np.stack([X[y == label][:n_samples].mean(axis=0) for label in classes])


def attack_means(released, reference, classes, members, others):
    """Return the AUC within classes of (x - reference)'(released - reference)."""
    shifts = released - reference
    aucs = []
    for code, label in enumerate(classes):
        scores = [
            (X[y == label] - reference[code]) @ shifts[code]
            for X, y in (members, others)
        ]
        truth = np.repeat([1, 0], [len(part) for part in scores])
        aucs.append(roc_auc_score(truth, np.concatenate(scores)))
    return np.mean(aucs)


def measure_means(name, X, y, n_seeds):
    """Return a row for each reference and release: labels, predicted and attacked."""
    found = {}
    for seed in range(n_seeds):
        rng = np.random.RandomState(seed)
        members, others, reference = split_classes(X, y, N_MEMBERS, rng)
        anonymizer = GenerativeAnonymizer(random_state=seed, max_mean_leakage=1)
        synthetic = anonymizer.fit_transform(*members)
        leakage, classes = anonymizer.mean_leakage_, anonymizer.classes_
        releases = {
            "samples": (class_means(synthetic, members[1], classes), N_MEMBERS),
            "decoder": (anonymizer.generator_._centres(), np.inf),
        }
        least = min(np.bincount(reference[1])[np.unique(reference[1])])
        for share in REFERENCES:
            n = least if np.isinf(share) else int(share * N_MEMBERS)
            means = class_means(*reference, classes, n)
            for what, (released, m) in releases.items():
                predicted = leakage.auc(m, n).mean()
                attacked = attack_means(released, means, classes, members, others)
                row = predicted, attacked, leakage.effective_dimension, n, len(classes)
                found.setdefault((name, share, what), []).append(row)
    return {key: np.mean(rows, axis=0) for key, rows in found.items()}


def draw(rows, path):
    """Draw attacked against predicted AUC."""
    figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
    names = list(dict.fromkeys(name for name, _, _ in rows))
    for name, marker in zip(names, "os^", strict=True):
        for what, filled in (("samples", "none"), ("decoder", "C0")):
            of = [row for key, row in rows.items() if key[::2] == (name, what)]
            predicted, attacked = np.transpose(of)[:2]
            style = {"facecolor": filled, "edgecolor": "C0", "marker": marker}
            ax.scatter(predicted, attacked, label=f"{name}, {what}", **style)
    ax.plot([0.5, 0.9], [0.5, 0.9], color="grey", linewidth=1)
    ax.set(xlabel="predicted AUC", ylabel="AUC of the attack by class means")
    ax.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def spectrum_aucs(generator, means, members, others):
    """Return the AUC of residuals where variance is least, and of likelihood."""
    scores = []
    values, vectors = np.linalg.eigh(generator.covariance_)
    values = np.maximum(values, 1e-9 * values[-1])
    n_least = max(np.sum(values < values[0] * 1.0001), len(values) // 4)
    for X, y in (members, others):
        codes = np.searchsorted(generator.classes_, y)
        squares = np.square((X - means[codes]) @ vectors)
        least = squares[:, :n_least].sum(axis=1)
        scores.append(
            [-least, -least / squares.sum(axis=1), -(squares / values).sum(axis=1)]
        )
    truth = np.repeat([1, 0], [len(part[1]) for part in (members, others)])
    return [roc_auc_score(truth, np.concatenate(s)) for s in zip(*scores, strict=True)]


def measure_spectrum(X, y, n_samples, shrinkage, n_seeds):
    """Return mean AUC of three attacks, and the balanced accuracy of a release."""
    rows = []
    for seed in range(n_seeds):
        order = np.random.RandomState(seed).permutation(len(X))
        member, *other = np.split(order, n_samples * np.arange(1, 4))
        classes = np.unique(y[member])
        other, reference, rest = (part[np.isin(y[part], classes)] for part in other)
        _, Z = global_scale(X[member], X)
        generator = ClassGaussian(covariance_shrinkage=shrinkage, random_state=seed)
        generator.fit(Z[member], y[member])
        # A class that the attacker lacks has the mean of all.
        own = [reference[y[reference] == label] for label in classes]
        own = [part if len(part) else reference for part in own]
        means = np.stack([Z[part].mean(axis=0) for part in own])
        aucs = spectrum_aucs(
            generator, means, (Z[member], y[member]), (Z[other], y[other])
        )
        synthetic, labels = generator.sample(y=y[member])
        head = LogisticRegression(max_iter=500).fit(synthetic, labels)
        accuracy = balanced_accuracy_score(y[rest], head.predict(Z[rest]))
        rows.append([*aucs, 100 * accuracy])
    return np.mean(rows, axis=0)


def main():
    """Print the tables, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--figure", type=Path, default=Path("mean_leakage.png"))
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    sets, rows = read_sets(args.data), {}
    print("set (classes, dimension) | reference | released | predicted | attacked")
    for name, (X, y) in sets.items():
        for key, row in measure_means(name, X, y, min(args.seeds, 3)).items():
            rows[key] = row
            predicted, attacked, dimension, n_reference, n_classes = row
            print(
                f"{name} ({n_classes:.0f}, {dimension:.0f}) | {n_reference:.0f} | "
                f"{key[2]} | {predicted:.3f} | {attacked:.3f}"
            )
    draw(rows, args.figure)
    print("\nsamples | covariance | least | share | likelihood | balanced accuracy")
    with np.load(args.data / "mvtec_resnet18.npz") as file:
        X, y = file["X"].astype(np.float64), file["y"] * 2 + file["anomaly"]
    for n_samples in SIZES:
        for shrinkage in ("auto", "factors"):
            *aucs, accuracy = measure_spectrum(X, y, n_samples, shrinkage, args.seeds)
            found = " | ".join(f"{auc:.3f}" for auc in aucs)
            print(f"{n_samples} | {shrinkage} | {found} | {accuracy:.1f}")


if __name__ == "__main__":
    main()
