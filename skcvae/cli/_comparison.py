"""Comparison of methods over repeated splits: scores, table, recommendation, figure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.base import clone
from tqdm import tqdm

from .._extras import import_pyplot
from .._files import replacing
from .._statistics import Estimate, resampled_mean
from ..datasets import make_long_tailed
from ..long_tail import LongTailShuffleSplit
from ..metrics import shot_accuracy_score
from ._common import CLASSIFIERS
from ._methods import make_classifier, smallest_class

SHOTS = ("many", "medium", "few")
_LEVEL = 0.05
_BASELINE = CLASSIFIERS["none"]


@dataclass(frozen=True)
class Plan:
    """How samples are split.

    With an imbalance ratio, the training parts are thinned, so that class sizes fall
    exponentially from the largest class to the smallest.
    """

    n_splits: int = 5
    imbalance_ratio: float | None = None
    seed: int = 0

    def splits(self, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the indices of training and of test samples."""
        splitter = LongTailShuffleSplit(self.n_splits, random_state=self.seed)
        _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        # 0 for the largest class.
        rank = np.argsort(np.argsort(-counts, kind="stable"))[codes]
        for train, test in splitter.split(y, y):
            if self.imbalance_ratio is not None:
                train, _ = make_long_tailed(
                    train,
                    rank[train],
                    imbalance_ratio=self.imbalance_ratio,
                    random_state=self.seed,
                )
            yield train, test


@dataclass(frozen=True)
class Comparison:
    """Scores of the methods, and what follows from them.

    `scores` are of shape (n_splits, 4), by title: the balanced accuracy, and that of
    the classes of many, a medium number of and few training samples, in percent.
    `test_ratio` is the number of test samples over that of training samples, before
    thinning.
    """

    models: dict[str, Any]
    scores: dict[str, np.ndarray]
    seconds: dict[str, float]
    test_ratio: float

    def estimate(self, title: str, other: str | None = None) -> tuple[Estimate, float]:
        """Return the mean balanced accuracy, or the difference to that of another.

        The interval of an accuracy ends at 0 and at 100.
        """
        values = self.scores[title][:, 0]
        if other is not None:
            values = values - self.scores[other][:, 0]
            return resampled_mean(values, self.test_ratio)
        mean, p_value = resampled_mean(values, self.test_ratio)
        return Estimate(*np.clip(mean, 0, 100).tolist()), p_value

    @property
    def best(self) -> str:
        """The method of the highest mean; the simplest one of equal ones."""
        return max(self.scores, key=lambda title: self.scores[title][:, 0].mean())

    def rivals(self) -> list[str]:
        """Return the methods that are not surely worse than the best.

        The p-values of the paired differences are corrected by Holm's method.
        """
        others = [title for title in self.scores if title != self.best]
        p_values = {title: self.estimate(self.best, title)[1] for title in others}
        ranked = sorted(others, key=p_values.__getitem__)
        for i, title in enumerate(ranked):
            if p_values[title] > _LEVEL / (len(ranked) - i):
                return [other for other in others if other in ranked[i:]]
        return []

    @property
    def verdict(self) -> str:
        """One of "use", "too close to call" and "do nothing"."""
        if self.best == _BASELINE:
            return "do nothing"
        return "too close to call" if _BASELINE in self.rivals() else "use"

    def recommendation(self) -> str:
        """Return what to do, in sentences."""
        if self.verdict == "do nothing":
            return "Do nothing: no method scores higher than no resampling."
        gain, _ = self.estimate(self.best, _BASELINE)
        text = (
            f"scores highest, {gain.value:.1f} points above no resampling "
            f"(95 % interval {gain.low:.1f} to {gain.high:.1f})"
        )
        if self.verdict == "too close to call":
            return (
                f"Too close to call: {self.best} {text}, which may be chance. Do "
                "nothing, or compare more samples or splits."
            )
        text = f"Use {self.best}: it {text}."
        if rivals := self.rivals():
            text += (
                f" Too close to it to call: {', '.join(rivals)}. The simplest of these "
                f"is {rivals[0]}."
            )
        return text


def compare_methods(
    X: np.ndarray, y: np.ndarray, plan: Plan, device: str = "auto"
) -> Comparison:
    """Train and test each method on each split; progress goes to stderr.

    SMOTE is left out if a class has one training sample.
    """
    splits = list(plan.splits(y))
    smallest = min(smallest_class(y[train]) for train, _ in splits)
    models = {
        title: make_classifier(name, smallest, plan.seed, device)
        for name, title in CLASSIFIERS.items()
        if name != "smote" or smallest > 1
    }
    scores = {title: np.empty((plan.n_splits, 4)) for title in models}
    seconds = dict.fromkeys(models, 0.0)
    tasks = list(product(range(plan.n_splits), models))
    with tqdm(tasks, unit="fit", desc="comparing") as progress:
        for i, title in progress:
            progress.set_description(f"split {i + 1} of {plan.n_splits}, {title}")
            train, test = splits[i]
            start = perf_counter()
            model = clone(models[title]).fit(X[train], y[train])
            seconds[title] += (perf_counter() - start) / plan.n_splits
            accuracy = shot_accuracy_score(
                y[test], model.predict(X[test]), y_train=y[train]
            )
            groups = ("overall", *SHOTS)
            scores[title][i] = [100 * accuracy[group] for group in groups]
    n_test = float(np.mean([len(test) for _, test in splits]))
    return Comparison(models, scores, seconds, n_test / (len(y) - n_test))


def shown_shots(comparison: Comparison) -> list[str]:
    """Return the groups of classes that differ from all classes taken together."""
    scores = next(iter(comparison.scores.values()))[:, 1:]
    known = ~np.isnan(scores).all(axis=0)
    shown = [shot for shot, is_known in zip(SHOTS, known, strict=True) if is_known]
    return shown if len(shown) > 1 else []


def format_table(comparison: Comparison) -> str:
    """Return scores with their intervals and the seconds of a training as text."""
    shots = shown_shots(comparison)
    head = f"{'':20}{'balanced accuracy':>22}" + "".join(f"{s:>9}" for s in shots)
    lines = [f"{head}{'seconds':>9}"]
    for title, values in comparison.scores.items():
        mean, _ = comparison.estimate(title)
        cell = f"{mean.value:.1f} [{mean.low:.1f}, {mean.high:.1f}]"
        cells = [
            f"{np.nanmean(values[:, 1 + SHOTS.index(shot)]):>9.1f}" for shot in shots
        ]
        lines.append(
            f"{title:20}{cell:>22}{''.join(cells)}{comparison.seconds[title]:>9.1f}"
        )
    return "\n".join(lines)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Return the scores and the recommendation for JSON."""
    methods = {}
    for title, values in comparison.scores.items():
        mean, _ = comparison.estimate(title)
        methods[title] = {
            "balanced_accuracy": mean.value,
            "interval": [mean.low, mean.high],
            "of_splits": values[:, 0].tolist(),
            "seconds": comparison.seconds[title],
        } | {
            shot: float(np.nanmean(values[:, 1 + SHOTS.index(shot)]))
            for shot in shown_shots(comparison)
        }
    return {
        "methods": methods,
        "verdict": comparison.verdict,
        "best": comparison.best,
        "too_close": comparison.rivals(),
        "recommendation": comparison.recommendation(),
    }


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the balanced accuracy of each method with its interval."""
    plt = import_pyplot("The figure")
    figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
    titles = list(comparison.scores)[::-1]
    for i, title in enumerate(titles):
        mean, _ = comparison.estimate(title)
        color = "#0072B2" if title == comparison.best else "#999999"
        error = [[mean.value - mean.low], [mean.high - mean.value]]
        ax.errorbar(mean.value, i, xerr=error, fmt="o", color=color, capsize=3)
    ax.set_yticks(range(len(titles)), titles)
    ax.set_xlabel("balanced accuracy (%), with 95 % interval over splits")
    ax.spines[["top", "right"]].set_visible(False)
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format=path.suffix[1:] or "png")
    plt.close(figure)
