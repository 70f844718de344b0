"""Trials of the demo: no resampling, SMOTE, ClassGaussian and CVAE in a pipeline."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from .._extras import import_pyplot
from .._files import replacing
from ..datasets import load_embeddings, make_long_tailed
from ..generators import ClassGaussian
from ..metrics import shot_accuracy_score
from ..over_sampling import CVAEOverSampler, GenerativeOverSampler

GROUPS = ("overall", "many", "medium", "few")
_DIGITS_RATIO = 50


@dataclass
class Trial:
    """Samples to train and to test on, and a seed."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    seed: int


def digits_trials(n_splits: int, seed: int) -> Iterator[Trial]:
    """Yield folds of the digits with long-tailed training and balanced test sets."""
    X, y = load_digits(return_X_y=True)
    for trial in _folds(X, y, n_splits, seed):
        trial.X_train, trial.y_train = make_long_tailed(
            trial.X_train,
            trial.y_train,
            imbalance_ratio=_DIGITS_RATIO,
            random_state=trial.seed,
        )
        yield trial


def file_trials(path: Path, n_splits: int, seed: int) -> Iterator[Trial]:
    """Return trials on the embeddings of a file.

    A file with training and test samples gives one trial for each of `n_splits` seeds.
    A file without splits is cross-validated.
    """
    data = load_embeddings(path)
    if "X" not in data and "X_test" not in data:
        raise ValueError(f"{path} has training samples only: add X_test and y_test.")
    if "X" not in data:
        return (
            Trial(data.X_train, data.y_train, data.X_test, data.y_test, seed + i)
            for i in range(n_splits)
        )
    smallest = int(np.unique(data.y, return_counts=True)[1].min())
    if smallest < n_splits:
        raise ValueError(
            f"{path}: cross-validation with {n_splits} folds needs {n_splits} samples "
            f"of each class, the smallest has {smallest}. Ask for fewer folds, or save "
            "X_train, y_train, X_test and y_test."
        )
    return _folds(data.X, data.y, n_splits, seed)


def _folds(X, y, n_splits, seed):
    folds = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    for i, (train, test) in enumerate(folds.split(X, y)):
        yield Trial(X[train], y[train], X[test], y[test], seed + i)


def _samplers(y_train, seed, device):
    """Return a sampler or None by name; SMOTE needs two samples of each class."""
    smallest = int(np.unique(y_train, return_counts=True)[1].min())
    samplers = {"no resampling": None}
    if smallest > 1:
        n_neighbors = min(5, smallest - 1)
        samplers["SMOTE"] = SMOTE(k_neighbors=n_neighbors, random_state=seed)
    samplers["ClassGaussian"] = GenerativeOverSampler(
        ClassGaussian(), random_state=seed
    )
    samplers["CVAE"] = CVAEOverSampler(random_state=seed, device=device)
    return samplers


def run_trials(trials: Iterable[Trial], device: str = "auto") -> dict[str, np.ndarray]:
    """Train and test every method on every trial.

    Return by method, shape (n_trials, 5), the accuracy of each group in percent and the
    seconds of training. A method that could not run in every trial is left out.
    """
    scores: dict[str, list] = {}
    n_trials = 0
    for n_trials, trial in enumerate(trials, start=1):
        for name, sampler in _samplers(trial.y_train, trial.seed, device).items():
            steps = [sampler] if sampler is not None else []
            pipeline = make_pipeline(
                StandardScaler(), *steps, LogisticRegression(max_iter=200, C=0.1)
            )
            scores.setdefault(name, []).append(_score(pipeline, trial))
        typer.echo(f"trial {n_trials} done")
    return {k: np.array(v) for k, v in scores.items() if len(v) == n_trials}


def _score(pipeline, trial):
    start = time.perf_counter()
    pipeline.fit(trial.X_train, trial.y_train)
    seconds = time.perf_counter() - start
    accuracy = shot_accuracy_score(
        trial.y_test, pipeline.predict(trial.X_test), y_train=trial.y_train
    )
    return [*(100 * accuracy[group] for group in GROUPS), seconds]


def format_table(scores: dict[str, np.ndarray]) -> str:
    """Return the mean scores as a table of text."""
    lines = [f"{'':14}" + "".join(f"{c:>10}" for c in (*GROUPS, "seconds"))]
    for name, values in scores.items():
        means = values.mean(axis=0)
        cells = ["-" if np.isnan(m) else f"{m:.1f}" for m in means]
        lines.append(f"{name:14}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def describe_winner(scores: dict[str, np.ndarray]) -> str:
    """Say which method has the highest overall accuracy, and its margin."""
    ranked = sorted(scores, key=lambda name: -scores[name][:, 0].mean())
    best, second = ranked[:2]
    difference = scores[best][:, 0] - scores[second][:, 0]
    text = (
        f"{best} has the highest overall accuracy, {difference.mean():.1f} points "
        f"above {second}"
    )
    if len(difference) > 1:
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        text += f" (standard error of the paired difference {error:.1f})"
        if difference.mean() < 2 * error:
            text += ": too close to call"
    return text + "."


def plot_scores(scores: dict[str, np.ndarray], path: Path) -> None:
    """Draw the accuracy of every method and group as bars, and save the figure."""
    plt = import_pyplot("The figure")
    figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
    # A group is empty if no class has so many training samples.
    shown = [
        i
        for i in range(len(GROUPS))
        if not all(np.isnan(values[:, i]).all() for values in scores.values())
    ]
    width = 0.8 / len(scores)
    colors = ["#999999", "#E69F00", "#56B4E9", "#0072B2"]
    for i, (name, values) in enumerate(scores.items()):
        ax.bar(
            np.arange(len(shown)) + (i - (len(scores) - 1) / 2) * width,
            values.mean(axis=0)[shown],
            width,
            yerr=values.std(axis=0)[shown],
            error_kw={"elinewidth": 1},
            color=colors[i % len(colors)],
            label=name,
        )
    ax.set_xticks(range(len(shown)), [GROUPS[i] for i in shown])
    ax.set(ylabel="accuracy (%)", xlabel="classes, by number of training samples")
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format=path.suffix[1:] or "png")
    plt.close(figure)
