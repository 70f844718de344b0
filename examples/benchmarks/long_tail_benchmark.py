"""LongTailClassifier on real long-tailed embeddings, against its strongest rivals.

    python examples/benchmarks/long_tail_benchmark.py --data FILE.npz \\
        [--only accuracy ...]

FILE holds X_train, y_train, X_test and y_test. Every choice, the rivals' included, is
made on held-out parts of the training rows; the test rows are used once, at the end.
"""

import tempfile
import time
import warnings
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from _common import half_widths
from scipy.stats import spearmanr
from sklearn.ensemble import VotingClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    StratifiedShuffleSplit,
)
from sklearn.neighbors import KNeighborsClassifier
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from skcvae.datasets import load_embeddings
from skcvae.generators import CVAE, ClassGaussian
from skcvae.long_tail import (
    LongTailClassifier,
    LongTailShuffleSplit,
    PriorCorrectedClassifier,
)
from skcvae.metrics import neg_balanced_log_loss_scorer, shot_accuracy_score

GROUPS = ("overall", "many", "medium", "few")
N_SEEDS = 5

# The same number of candidates for each method.
TAUS = [0.8, 1.0, 1.2, 1.4]
WEIGHT_DECAYS = [0.0, 1.0]
RIVAL = {"augment": [None], "sampling": ["instance"], "max_epochs": [20, 47]}
OURS = {"sampling": ["sqrt", 0.75]}
SEARCHES = {
    "balanced softmax": (None, RIVAL),
    "ClassGaussian": (ClassGaussian(random_state=0), OURS),
    "CVAE": (CVAE(random_state=0), OURS),
}
# The thesis's CVAE; what it has learned does not matter for its speed.
THESIS = {
    "objective": "reference",
    "latent_dim": 100,
    "prior": "standard",
    "noise": None,
    "max_epochs": 1,
}
NEIGHBOR_WEIGHTS = [0.0, 0.2, 0.4, 0.6]
# Settings that are ranked by held-out samples.
RANKED = {
    "l2": [0.001, 0.004, 0.016, 0.064],
    "tau": [0.8, 1.0, 1.2],
}
N_RANKING_SPLITS = 6


def search(data, cache):
    """Return the parameters of each method that held-out training rows prefer."""
    splits = StratifiedShuffleSplit(3, test_size=0.2, random_state=0)
    chosen = {}
    for name, (generator, grid) in SEARCHES.items():
        search = GridSearchCV(
            LongTailClassifier(generator, solver="sgd", memory=cache, random_state=0),
            {"tau": TAUS, "weight_decay": WEIGHT_DECAYS, **grid},
            scoring="balanced_accuracy",
            cv=splits,
            refit=False,
        )
        search.fit(data.X_train, data.y_train)
        chosen[name] = search.best_params_
        held_out = 100 * search.best_score_
        print(f"{name:20}{held_out:6.1f} held out, with {search.best_params_}")
    return chosen


def score(data, classifier):
    """Return the accuracies in percent on the test rows."""
    predicted = classifier.predict(data.X_test)
    scores = shot_accuracy_score(data.y_test, predicted, y_train=data.y_train)
    return [100 * scores[group] for group in GROUPS]


def print_table(title, results):
    """Print the mean of each method and its paired difference from the first."""
    print(f"\n{title}, mean of {N_SEEDS} seeds\n")
    print(f"{'':24}" + "".join(f"{g:>9}" for g in GROUPS) + "   difference (95 %)")
    first = np.array(next(iter(results.values())))
    for name, scores in results.items():
        scores = np.array(scores)
        line = f"{name:24}" + "".join(f"{m:9.2f}" for m in scores.mean(axis=0))
        difference = (scores - first)[:, 0]
        if difference.any():
            line += f"   {difference.mean():+.2f} ± {half_widths(difference):.2f}"
        print(line, flush=True)


def accuracy(data, chosen):
    """One head, without neighbours."""
    results = {
        name: [
            score(data, fresh(name, chosen, seed).fit(data.X_train, data.y_train))
            for seed in range(N_SEEDS)
        ]
        for name in SEARCHES
    }
    defaults = [
        LongTailClassifier(solver="sgd", random_state=s).fit(data.X_train, data.y_train)
        for s in range(N_SEEDS)
    ]
    results["all defaults, by SGD"] = [
        score(data, classifier) for classifier in defaults
    ]
    print_table("One head", results)


def selection(data):
    """How well held-out samples rank settings, by one split and by the mean of three.

    Six splits are made, so that there are six single ones and twenty triples.
    """
    search = GridSearchCV(
        LongTailClassifier(random_state=0),
        RANKED,
        scoring={"accuracy": "balanced_accuracy", "NLL": neg_balanced_log_loss_scorer},
        cv=LongTailShuffleSplit(N_RANKING_SPLITS, random_state=0),
        refit=False,
    ).fit(data.X_train, data.y_train)
    tested = np.array(
        [
            score(
                data,
                LongTailClassifier(random_state=0, **params).fit(
                    data.X_train, data.y_train
                ),
            )[0]
            for params in ParameterGrid(RANKED)
        ]
    )
    print(f"\n{len(tested)} settings, test accuracy {tested.min():.2f} to ", end="")
    print(f"{tested.max():.2f}, mean {tested.mean():.2f}\n")
    print("| held-out score | splits | rank correlation | lowest | chosen | lowest |")
    print("|---|---|---|---|---|---|")
    for scorer in ("accuracy", "NLL"):
        held_out = np.array(
            [
                search.cv_results_[f"split{i}_test_{scorer}"]
                for i in range(N_RANKING_SPLITS)
            ]
        )
        for n_splits in (1, 3):
            means = [
                held_out[list(part)].mean(axis=0)
                for part in combinations(range(N_RANKING_SPLITS), n_splits)
            ]
            ranks = [spearmanr(mean, tested).statistic for mean in means]
            chosen = [tested[mean.argmax()] for mean in means]
            print(
                f"| {scorer} | {n_splits} | {np.mean(ranks):.2f} | {min(ranks):.2f} | "
                f"{np.mean(chosen):.2f} | {min(chosen):.2f} |",
                flush=True,
            )


def fresh(name, chosen, seed):
    """Return an unfitted classifier of a method, with a generator of its own seed."""
    generator, _ = SEARCHES[name]
    if generator is not None:
        generator = type(generator)(random_state=seed)
    return LongTailClassifier(
        generator, solver="sgd", random_state=seed, **chosen[name]
    )


def ensemble(name, chosen, seed, cache, weight):
    """Return five heads and a class-averaged soft nearest neighbour, averaged."""
    heads = [
        fresh(name, chosen, seed).set_params(random_state=5 * seed + i, memory=cache)
        for i in range(5)
    ]
    neighbors = PriorCorrectedClassifier(
        KNeighborsClassifier(200, metric="cosine", weights=partial(kernel, width=0.05)),
        target_prior="uniform",
    )
    return VotingClassifier(
        [*((f"head{i}", head) for i, head in enumerate(heads)), ("knn", neighbors)],
        voting="soft",
        weights=[(1 - weight) / 5] * 5 + [weight],
    )


def kernel(distance, width):
    """Weigh neighbours by their cosine distance."""
    return np.exp(-distance / width)


def averaging(data, chosen, cache):
    """Five heads and neighbours, for both sides; the weight is chosen held out."""
    split = StratifiedShuffleSplit(1, test_size=0.2, random_state=1)
    train, held_out = next(split.split(data.X_train, data.y_train))
    X, y = data.X_train, data.y_train
    results = {}
    for name in SEARCHES:
        voting = ensemble(name, chosen, 0, cache, 0.5).fit(X[train], y[train])
        scores = []
        for weight in NEIGHBOR_WEIGHTS:
            voting.weights = [(1 - weight) / 5] * 5 + [weight]
            predicted = voting.predict(X[held_out])
            scores.append(balanced_accuracy_score(y[held_out], predicted))
        weight = NEIGHBOR_WEIGHTS[int(np.argmax(scores))]
        print(f"{name:20} weight of the neighbours, chosen held out: {weight}")
        results[name] = [
            score(data, ensemble(name, chosen, seed, cache, weight).fit(X, y))
            for seed in range(N_SEEDS)
        ]
    print_table("Five heads and nearest neighbours", results)


def collapse(data):
    """The thesis's combination, corrected twice and once."""
    results = {}
    for correction in ("original", "effective"):
        results[f'prior "{correction}"'] = [
            score(
                data,
                LongTailClassifier(
                    CVAE(random_state=seed),
                    sampling="balanced",
                    prior_correction=correction,
                    random_state=seed,
                ).fit(data.X_train, data.y_train),
            )
            for seed in range(N_SEEDS)
        ]
    print_table("CVAE, class-balanced sampling, balanced softmax", results)


class RowByRow(Dataset):
    """Rows that are decoded one at a time, in the steps of the thesis's program."""

    def __init__(self, x, y, p_augment, generator):
        self.x, self.y, self.p_augment = x, y, p_augment
        self.module, self.latent_dim = generator.net_.module_, generator.latent_dim
        self.offset = torch.from_numpy(generator.offset_).float()
        self.scale = torch.from_numpy(generator.scale_).float()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        x, y = self.x[index], self.y[index]
        if torch.bernoulli(self.p_augment[index]):
            z = torch.randn(self.latent_dim)
            with torch.no_grad():
                decoded = self.module.decode(z.unsqueeze(0), y.unsqueeze(0))
            x = (decoded * self.scale + self.offset).squeeze(0)
        return x, y


def row_by_row_epoch(data, generator, augment):
    """Train a linear head for one epoch in the way of the thesis's program."""
    x = torch.from_numpy(data.X_train)
    y = torch.from_numpy(data.y_train.astype(np.int64))
    inverse = 1 / torch.bincount(y)
    share = (inverse - inverse.min()) / (inverse.max() - inverse.min())
    p_augment = (
        share.clamp(0.01, 0.7) if augment == "inverse" else torch.ones(len(share))
    )
    loader = DataLoader(
        RowByRow(x, y, p_augment[y], generator),
        256,
        sampler=WeightedRandomSampler(inverse[y], len(y)),
    )
    head = torch.nn.Linear(x.shape[1], len(inverse))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    start = time.perf_counter()
    for batch, labels in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(batch), labels).backward()
        optimizer.step()
    return time.perf_counter() - start


def epoch(data, generator, augment, n_epochs=5, **params):
    """Return the seconds of an epoch of LongTailClassifier, class-balanced."""
    classifier = LongTailClassifier(
        generator, sampling="balanced", augment=augment, max_epochs=n_epochs, **params
    )
    classifier.fit(data.X_train, data.y_train)
    return np.median(classifier.history_[:, "dur"])


def cost(data, n_rounds=5):
    """Time of an epoch of Algorithm 1, against none and against row by row."""
    X, y = data.X_train, data.y_train
    thesis = CVAE(architecture="large", **THESIS).fit(X, y)
    generators = {
        "ClassGaussian": ClassGaussian().fit(X, y),
        "CVAE": CVAE(max_epochs=1).fit(X, y),
        "thesis, large": thesis,
    }
    times = {"no generation": []}
    for _ in range(n_rounds):
        times["no generation"].append(epoch(data, None, None))
        for name, generator in generators.items():
            for augment, p_min in (("inverse", 0.01), ("inverse", 0.2), ("always", 0)):
                key = f"{name}, {augment}, p_min {p_min}"
                seconds = epoch(data, generator, augment, p_min=p_min)
                times.setdefault(key, []).append(seconds)
        for augment in ("inverse", "always"):
            seconds = row_by_row_epoch(data, thesis, augment)
            times.setdefault(f"row by row, thesis, large, {augment}", []).append(
                seconds
            )
    times = {name: np.array(seconds) for name, seconds in times.items()}
    print(f"\nSeconds of an epoch of {len(X):,} rows, class-balanced\n")
    for name, seconds in times.items():
        ratio = np.median(seconds / times["no generation"])
        print(f"{name:38}{np.median(seconds):8.3f}{ratio:8.2f} times no generation")
    for augment, p_min in (("inverse", 0.01), ("always", 0)):
        ours = times[f"thesis, large, {augment}, p_min {p_min}"]
        ratio = np.median(times[f"row by row, thesis, large, {augment}"] / ours)
        print(f"row by row over Algorithm 1, {augment}: {ratio:.1f}")
    for name, generator in (("ClassGaussian", None), ("CVAE", CVAE())):
        start = time.perf_counter()
        LongTailClassifier(generator, solver="sgd").fit(X, y)
        print(f"fit with defaults, {name}: {time.perf_counter() - start:.1f} s")


def main(
    data: Annotated[Path, typer.Option(help="File of embeddings.")],
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
):
    """Run the parts in turn."""
    warnings.filterwarnings("ignore", message="The least populated class")
    parts = ("selection", "accuracy", "averaging", "collapse", "cost")
    unknown = set(only or ()) - set(parts)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {parts}.")
    chosen_parts = only or parts
    embeddings = load_embeddings(data)
    with tempfile.TemporaryDirectory() as cache:
        searched = {"accuracy", "averaging"} & set(chosen_parts)
        chosen = search(embeddings, cache) if searched else None
        run = {
            "selection": lambda: selection(embeddings),
            "accuracy": lambda: accuracy(embeddings, chosen),
            "averaging": lambda: averaging(embeddings, chosen, cache),
            "collapse": lambda: collapse(embeddings),
            "cost": lambda: cost(embeddings),
        }
        for part in chosen_parts:
            run[part]()


if __name__ == "__main__":
    typer.run(main)
