"""Over-sampling of several labels for each sample: scores by shot group, and speed.

    python examples/benchmarks/multilabel_benchmark.py --data FOLDER \\
        [--part scores --seeds 5 --keep FILE]

FOLDER holds `ml_goemotions_minilm.npz`, `ml_corel5k.npz` and `ml_scene.npz`, each with
a test set of its own. Parts:

- scores: a seed takes 80 % of the training samples at random, and seeds the samplers.
  The other 20 % choose, for each contender, the inverse ridge C of logistic regression
  by their mAP. Test samples have no say. Columns: mean average precision in percent
  (mAP), over labels that have a positive sample in training and in the test set; the
  same over labels with fewer than 20, 20 to 100 and more than 100 training samples;
  macro AUROC; macro F1 of the answers with a probability above 1/2; number of training
  samples; seconds of CPU time to over-sample. Ranks compare by set and seed.
  "Gaussian means" draws with a variance of 0. "classifier" is
  MultilabelLongTailClassifier with its defaults, which holds out samples of its own;
  "classifier, means" has the generator of "Gaussian means".
- speed: seconds of CPU time to over-sample 10,000 samples of 768 features with 100
  labels, and with 100 classes, to the same number of samples.

Heads are fitted at once by L-BFGS, see `_multilabel.fit_logistic`. With `--keep`, each
row is written to a file once it is known, and an interrupted run goes on from there.
"""

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _common import Ledger, global_scale
from _multilabel import fit_logistic, ml_ros, mlsmote
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from skcvae.generators import CVAE, ClassGaussian
from skcvae.long_tail import MultilabelLongTailClassifier
from skcvae.over_sampling import GenerativeOverSampler, MultilabelOverSampler

SETS = {
    "goemotions": "ml_goemotions_minilm.npz",
    "corel5k": "ml_corel5k.npz",
    "scene": "ml_scene.npz",
}
OURS = {
    "Gaussian means": ClassGaussian(variance=0),
    "Gaussian": ClassGaussian(),
    "CVAE": CVAE(device="cpu"),
}
CLASSIFIERS = {"classifier": None, "classifier, means": OURS["Gaussian means"]}
CONTENDERS = ("none", "class weights", "ML-ROS", "MLSMOTE", *OURS, *CLASSIFIERS)
INVERSE_RIDGES = (0.001, 0.01, 0.1)
COLUMNS = ("mAP", "few", "medium", "many", "AUROC", "F1", "samples", "seconds")
FEW, MANY = 20, 100


def read_set(data, name, seed):
    """Return scaled samples and label sets to train, validate and test."""
    with np.load(data / SETS[name]) as file:
        X, Y = file["X_train"].astype(np.float32), file["Y_train"].astype(int)
        X_test, Y_test = file["X_test"].astype(np.float32), file["Y_test"].astype(int)
    order = np.random.RandomState(seed).permutation(len(X))
    train, held_out = np.split(order, [len(X) * 4 // 5])
    scaled = global_scale(X[train], X[held_out], X_test)
    return list(zip(scaled, (Y[train], Y[held_out], Y_test), strict=True))


def over_sample(name, X, Y, seed):
    """Return the training samples of a contender, and their label sets."""
    if name in ("ML-ROS", "MLSMOTE"):
        sample = {"ML-ROS": ml_ros, "MLSMOTE": mlsmote}[name]
        return sample(X, Y, np.random.RandomState(seed))
    if name in OURS:
        return MultilabelOverSampler(OURS[name], random_state=seed).fit_resample(X, Y)
    return X, Y


def score(counts, Y, logits):
    """Return mAP, overall and by shot group, macro AUROC and F1, in percent."""
    known = (counts > 0) & (Y.sum(axis=0) > 0) & (Y.sum(axis=0) < len(Y))
    precisions, areas, f1 = np.full((3, len(counts)), np.nan)
    for label in np.flatnonzero(known):
        answers = Y[:, label], logits[:, label]
        precisions[label] = 100 * average_precision_score(*answers)
        areas[label] = 100 * roc_auc_score(*answers)
        f1[label] = 100 * f1_score(Y[:, label], logits[:, label] > 0)
    few, many = counts < FEW, counts > MANY
    groups = known, known & few, known & ~few & ~many, known & many
    means = [precisions[g].mean() if g.any() else np.nan for g in groups]
    return [*means, areas[known].mean(), f1[known].mean()]


def measure(data, set_name, seed, name):
    """Return the row of a contender on a set."""
    (X, Y), (X_held_out, Y_held_out), (X_test, Y_test) = read_set(data, set_name, seed)
    counts = Y.sum(axis=0)
    start = time.process_time()
    X_new, Y_new = over_sample(name, X, Y, seed)
    seconds = time.process_time() - start
    if name in CLASSIFIERS:
        generator = CLASSIFIERS[name]
        classifier = MultilabelLongTailClassifier(generator, random_state=seed)
        logits = classifier.fit(X, Y).decision_function(X_test)
        return [*score(counts, Y_test, logits), len(X_new), seconds]
    best, logits = -np.inf, None
    for C in INVERSE_RIDGES:
        weights, bias = fit_logistic(X_new, Y_new, C, balanced=name == "class weights")
        found = score(counts, Y_held_out, X_held_out @ weights + bias)[0]
        if found <= best:
            # With a weaker ridge it goes on to fall.
            break
        best, logits = found, X_test @ weights + bias
    return [*score(counts, Y_test, logits), len(X_new), seconds]


def print_table(title, rows):
    """Print the mean row of each contender, as a table of Markdown."""
    print(f"\n{title}\n\n| |" + "".join(f" {name} |" for name in COLUMNS))
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, values in rows.items():
        means = np.mean(values, axis=0)
        cells = ("-" if np.isnan(m) else f"{m:.1f}" for m in means)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def print_ranks(rows):
    """Print mean ranks over sets and seeds by mAP, overall and of few-shot labels."""
    print("\nMean rank, 1 is best\n\n| | mAP | few |\n|---|---|---|")
    scores = np.stack(list(rows.values()))[:, :, :2]
    ranks = [
        rankdata(-values[:, ~np.isnan(values).any(axis=0)], axis=0).mean(axis=1)
        for values in np.moveaxis(scores, -1, 0)
    ]
    for name, *means in zip(rows, *ranks, strict=True):
        print(f"| {name} | " + " | ".join(f"{m:.2f}" for m in means) + " |")


def compare(data, names, contenders, seeds, ledger):
    """Print the scores of the contenders on each set, and their ranks."""
    everything = {name: [] for name in contenders}
    for set_name in names:
        rows = {name: [] for name in contenders}
        for seed in range(seeds):
            for name in contenders:
                compute = partial(measure, data, set_name, seed, name)
                rows[name].append(ledger.get((set_name, seed, name), compute))
        print_table(f"{set_name}, mean of {seeds} seeds", rows)
        for name, values in rows.items():
            everything[name] += values
    print_ranks(everything)


def time_best(sampler, X, y):
    """Return the resampled samples, and the least seconds of CPU time of three runs."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        resampled, _ = sampler.fit_resample(X, y)
        seconds.append(time.process_time() - start)
    return resampled, min(seconds)


def measure_speed(n_samples=10_000, n_features=768, n_labels=100):
    """Print seconds to over-sample label sets, and classes, with Gaussians."""
    rng = np.random.RandomState(0)
    shares = np.geomspace(0.2, 0.002, n_labels)
    X = rng.normal(size=(n_samples, n_features)).astype(np.float32)
    Y = (rng.uniform(size=(n_samples, n_labels)) < shares).astype(int)
    y = rng.choice(n_labels, n_samples, p=shares / shares.sum())
    resampled, of_sets = time_best(MultilabelOverSampler(random_state=0), X, Y)
    # As many new samples, spread over classes alike.
    n_new = len(resampled) - n_samples
    added = np.diff(np.linspace(0, n_new, n_labels + 1).astype(int))
    sizes = dict(enumerate((np.bincount(y) + added).tolist()))
    sampler = GenerativeOverSampler(sampling_strategy=sizes, random_state=0)
    _, of_classes = time_best(sampler, X, y)
    print(f"{n_new} new samples: label sets {of_sets:.2f} s, ", end="")
    print(f"classes {of_classes:.2f} s, ratio {of_sets / of_classes:.2f}")


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    part: str = "scores",
    sets: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(SETS),
    contenders: Annotated[
        str, typer.Option(help="Their names, with semicolons.")
    ] = ";".join(CONTENDERS),
    seeds: int = 5,
    keep: Annotated[Path | None, typer.Option(help="File of known rows.")] = None,
):
    """Print the tables of the benchmark."""
    if part == "speed":
        measure_speed()
        return
    if data is None:
        raise typer.BadParameter("--data is needed for the scores.")
    compare(data, sets.split(","), contenders.split(";"), seeds, Ledger(keep))


if __name__ == "__main__":
    typer.run(main)
