"""What the scripts of the thesis's tables share: training, seeds, table and CSV."""

import csv
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

import joblib
import numpy as np
import typer
from _ledger import Ledger, described
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch

from skcvae._generation import fit_generator
from skcvae.datasets import load_embeddings
from skcvae.generators import CVAE, ClassGaussian
from skcvae.long_tail import LongTailClassifier
from skcvae.metrics import shot_accuracy_score

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parents[1] / "docs" / "thesis"
NUMBERS = json.loads((FOLDER / "thesis_numbers.json").read_text())
ARCHITECTURES = ("small", "large")
GROUPS = ("overall", "many", "medium", "few")

BATCH_SIZE = 256
# Passes over the original rows, for every method alike: 860 steps on CIFAR-100-LT.
PASSES = 20

THESIS_CVAE_EPOCHS = 500
# Of all its CVAEs: sections 4.1 and 4.2, and its program.
THESIS_TRAINING = {
    "objective": "reference",
    "lr": 1e-3,
    "batch_size": BATCH_SIZE,
    "prior": "standard",
    "noise": None,
}
# Section 4.1.
THESIS_LATENTS = {"latent_dim": 100, "beta": 0.01}
# The thesis does not name the CVAE of its tables 6 to 8. "large" with 0.75 is the best
# of its table 4, and nearest to what table 6 has for both data sets.
THESIS_CVAE = {"architecture": "large", "thesis_variance": 0.75}

# Adam at a constant learning rate, and predictions by the largest logit.
THESIS_HEAD = {
    "head": "linear",
    "weight_decay": 0.0,
    "lr": 1e-3,
    "net_params": {"callbacks__lr_schedule": None},
    "batch_size": BATCH_SIZE,
    "p_min": 0.01,
    "p_max": 0.7,
    "prior_correction": "original",
    "target_prior": None,
}


class NotApplicableError(Exception):
    """A method cannot be used on these data; the message says why."""


@dataclass
class Setup:
    """Data and settings of a table.

    `cache` is a folder that keeps fitted generators and results, and `cvaes` says how
    often the thesis's CVAE of each architecture is trained.
    """

    data: Bunch
    cvae_epochs: int
    n_seeds: int
    cache: Path
    cvaes: dict = field(default_factory=lambda: dict.fromkeys(ARCHITECTURES, 1))

    @property
    def ledger(self):
        """Return the results that are there."""
        return Ledger(self.cache)

    @cached_property
    def training_key(self):
        """Return a hash of the training samples."""
        return joblib.hash((self.data.X_train, self.data.y_train))

    @cached_property
    def data_key(self):
        """Return a hash of the training and the test samples."""
        return joblib.hash((self.training_key, self.data.X_test, self.data.y_test))

    @property
    def n_steps(self):
        """Number of steps that each head is trained for."""
        return PASSES * n_batches(len(self.data.X_train))

    def epochs(self, n_samples):
        """Return the number of passes over `n_samples` that is nearest to `n_steps`."""
        return max(1, round(self.n_steps / n_batches(n_samples)))

    def fit_job(self, generator):
        """Return the generator to train, and the kind and settings of this job."""
        plain = clone(generator)
        params = plain.get_params()
        if "variance" in params:
            # It is read when samples are drawn: one training serves all.
            plain.set_params(variance=1)
        named = ("objective", "architecture", "latent_dim", "max_epochs")
        about = [str(params[name]) for name in named if name in params]
        kind = "_".join(["fit", type(plain).__name__, *about])
        return plain, kind, (described(plain), self.training_key)

    def timed_fit(self, generator):
        """Fit a generator to the training samples, or load it; return its seconds, too.

        Seconds are of processor time, measured when it was fitted.
        """
        plain, kind, settings = self.fit_job(generator)
        X, y = self.data.X_train, self.data.y_train
        fitted, seconds = self.ledger.get(
            kind, settings, lambda: fit_generator(plain, X, y)
        )
        return fitted.set_params(**generator.get_params(deep=False)), seconds

    def fit(self, generator):
        """Fit a generator to the training samples, or load it."""
        return self.timed_fit(generator)[0]

    def thesis_cvae(self, architecture, thesis_variance, seed=0):
        """Return the CVAE of the thesis, unfitted."""
        return thesis_cvae(architecture, thesis_variance, self.cvae_epochs, seed)

    def fit_seconds(self, generators):
        """Return the median of the seconds that fits took."""
        return np.median([self.timed_fit(generator)[1] for generator in generators])


def thesis_cvae(architecture, thesis_variance, max_epochs, seed=0):
    """Return the CVAE of the thesis, unfitted; its "variance" is our root."""
    return CVAE(
        architecture=architecture,
        max_epochs=max_epochs,
        variance=thesis_variance**2,
        random_state=seed,
        **THESIS_TRAINING,
        **THESIS_LATENTS,
    )


@dataclass
class Method:
    """A row of a table.

    `head` has parameters of LongTailClassifier; `generator(seed)` returns a generator,
    which is fitted once for each seed, or, where there are `trainings`, once for each
    of these and used by all seeds; `sampler(y, seed)` returns an over-sampler; `thesis`
    is the name of the row in thesis_numbers.json, and `columns` are further columns.
    Where there is `classifier(seed)`, an unfitted classifier of its own, `head` does
    not count.
    """

    name: str
    head: dict
    generator: Callable | None = None
    sampler: Callable | None = None
    thesis: str | None = None
    note: str = ""
    columns: dict = field(default_factory=dict)
    classifier: Callable | None = None
    trainings: int | None = None

    def seeds(self, setup):
        """Return the seeds of the generators and of the heads, by training."""
        seeds = range(setup.n_seeds)
        if self.trainings is None:
            return [[(seed, seed) for seed in seeds]]
        return [
            [(training, seed) for seed in seeds] for training in range(self.trainings)
        ]

    def generators(self, setup):
        """Return the unfitted generators."""
        if self.generator is None:
            return []
        pairs = [pair for training in self.seeds(setup) for pair in training]
        return [self.generator(seed) for seed in sorted({first for first, _ in pairs})]


def n_batches(n_samples):
    """Return the number of steps of one pass."""
    return math.ceil(n_samples / BATCH_SIZE)


def thesis_head(loss="cross_entropy", *, sampling="instance", augment=None, **params):
    """Return parameters of LongTailClassifier: those of the thesis, and the given."""
    given = {"loss": loss, "sampling": sampling, "augment": augment, **params}
    return {**THESIS_HEAD, **given}


def algorithm_1(loss="cross_entropy", **params):
    """Return the thesis's parameters for training with generated samples."""
    return thesis_head(loss, sampling="balanced", augment="inverse", **params)


def generators(setup):
    """Return the generators of tables 6 to 8, by name, each as parameters of Method."""
    thesis = {
        "generator": lambda seed: setup.thesis_cvae(**THESIS_CVAE, seed=seed),
        "trainings": setup.cvaes[THESIS_CVAE["architecture"]],
        "note": cvae_note(setup),
    }
    ours = {
        "CVAE (ours)": lambda seed: CVAE(random_state=seed),
        "ClassGaussian": lambda seed: ClassGaussian(random_state=seed),
    }
    not_there = {"note": "not in the thesis"}
    found = {name: {"generator": make, **not_there} for name, make in ours.items()}
    return {"CVAE (thesis)": thesis, **found}


def cvae_note(setup):
    """Say how long the thesis's CVAE is trained."""
    return f"CVAE trained for {setup.cvae_epochs} epochs (thesis: {THESIS_CVAE_EPOCHS})"


def head_job(method, setup, seeds):
    """Return the kind and the settings of the job that `evaluate` does."""
    generator_seed, seed = seeds
    generator = method.generator and described(method.generator(generator_seed))
    sampler = method.sampler and described(method.sampler(setup.data.y_train, seed))
    classifier = method.classifier and described(method.classifier(seed))
    head = {} if classifier else method.head
    settings = generator, sampler, classifier, head, seed, setup.n_steps, setup.data_key
    return "head", settings


def evaluate(method, setup, seeds):
    """Train a head; return its accuracies in percent, as in GROUPS.

    `seeds` are those of the generator and of the head.
    """

    def compute():
        try:
            return train_head(method, setup, seeds)
        except NotApplicableError as error:
            return str(error)

    result, _ = setup.ledger.get(*head_job(method, setup, seeds), compute)
    if isinstance(result, str):
        raise NotApplicableError(result)
    return result


def train_head(method, setup, seeds):
    """Do what `evaluate` returns the result of."""
    data = setup.data
    X, y = data.X_train, data.y_train
    if method.sampler is not None:
        X, y = resample(method.sampler(y, seeds[1]), X, y)
    classifier = make_classifier(method, setup, seeds, len(X)).fit(X, y)
    predicted = classifier.predict(data.X_test)
    scores = shot_accuracy_score(data.y_test, predicted, y_train=data.y_train)
    return [100 * scores[group] for group in GROUPS]


def make_classifier(method, setup, seeds, n_samples):
    """Return the unfitted classifier of a row: its own, or the head of the thesis."""
    generator_seed, seed = seeds
    if method.classifier is not None:
        return method.classifier(seed)
    generator = None
    if method.generator is not None:
        # Frozen: LongTailClassifier would train it again.
        generator = FrozenEstimator(setup.fit(method.generator(generator_seed)))
    params = {"max_epochs": setup.epochs(n_samples), **method.head}
    return LongTailClassifier(generator, solver="sgd", random_state=seed, **params)


def resample(sampler, X, y):
    """Resample, or say why that is not possible."""
    try:
        return sampler.fit_resample(X, y)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise NotApplicableError(
            f"not applicable: {type(sampler).__name__} raises {reason!r}"
        ) from error


def table_row(method, setup, thesis):
    """Return a row of the CSV: means and standard deviations over the seeds.

    Where a generator is trained several times, means are over all, deviations within a
    training, and `cvae_std` is that of the means of the trainings.
    """
    note = method.note
    scores = np.full((1, 1, len(GROUPS)), np.nan)
    try:
        scores = np.array(
            [
                [evaluate(method, setup, seeds) for seeds in training]
                for training in method.seeds(setup)
            ]
        )
    except NotApplicableError as error:
        note = str(error)
    means, spreads = scores.mean(axis=(0, 1)), deviation(scores)
    row = {"method": method.name, **method.columns}
    if "fit_time" in row and method.generator:
        row["fit_time"] = f"{fit_ratio(method, setup):.2g}"
    for group, mean, spread in zip(GROUPS, means, spreads, strict=True):
        row |= {group: percent(mean), f"{group}_std": percent(spread)}
    row["cvaes"] = method.trainings or ""
    row["cvae_std"] = percent(deviation(scores[..., 0].mean(axis=1)[np.newaxis, :]))
    for group in GROUPS:
        row[f"thesis_{group}"] = percent(thesis.get(group, np.nan))
    return {**row, "note": note}


def deviation(scores):
    """Return the standard deviation along the second axis, pooled over the first."""
    if scores.shape[1] == 1:
        return np.full(scores.shape[2:], np.nan)
    return np.sqrt(np.var(scores, axis=1, ddof=1).mean(axis=0))


def fit_ratio(method, setup):
    """Return the seconds that a fit takes, as a ratio to the thesis's small CVAE."""
    small = [setup.thesis_cvae("small", 1, s) for s in range(setup.cvaes["small"])]
    ours = setup.fit_seconds(method.generators(setup))
    return ours / setup.fit_seconds(small)


def percent(value):
    """Return a number with two decimals, NaN as an empty string."""
    return "" if np.isnan(value) else f"{value:.2f}"


def write_csv(rows, path):
    """Write a CSV whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def print_heading(title, setup, columns, width):
    """Print the title and the names of the columns."""
    print(f"{title}\naccuracy in percent, mean and standard deviation of")
    print(f"{setup.n_seeds} seeds; beside it the number of the thesis; last the spread")
    print("of trainings of the CVAE\n")
    names = "".join(f"{name:>17}" for name in columns)
    print(" " * (width + len(names)) + "".join(f"{group:>22}" for group in GROUPS))
    numbers = f"{'ours':>14}{'thesis':>8}" * len(GROUPS)
    print(f"{'':{width}}{names}{numbers}", flush=True)


def print_row(row, columns, width):
    """Print a row of the CSV."""
    cells = "".join(f"{row[name]:>17}" for name in columns)
    for group in GROUPS:
        mean, spread = row[group], row[f"{group}_std"]
        cells += f"{mean:>7}{f' ±{spread}' if spread else '':7}"
        cells += f"{row[f'thesis_{group}']:>8}"
    if row["cvae_std"]:
        cells += f"   ±{row['cvae_std']} over {row['cvaes']} trainings"
    note = row["note"] if row["note"].startswith("not applicable") else ""
    print(f"{row['method']:{width}}{cells}  {note}".rstrip(), flush=True)


def print_differences(setup, file_name):
    """Say in what the runs differ from those of the thesis."""
    n_samples, n_features = setup.data.X_train.shape
    n_passes = setup.epochs(n_samples)
    cvaes = " and ".join(f"{n} of the {name}" for name, n in setup.cvaes.items())
    print(f"""
What differs from the thesis:
- Embeddings: those of {file_name}, {n_features} features; the thesis has DINOv2
  ViT-B/14, 768 features.
- Head: {setup.n_steps} steps for every method, {n_passes} passes over {n_samples:,}
  samples (SMOTE, ADASYN: the nearest number of passes); the thesis has 10 epochs.
- Features: centred and divided by one scale.
- The thesis's CVAE: {setup.cvae_epochs} epochs; the thesis has {THESIS_CVAE_EPOCHS}.
  Each training serves all seeds ({cvaes} CVAE; one of each there); our
  generators are fitted for each seed.
- Time to fit: of the processor, as a ratio to the thesis's small CVAE.
- The program of the thesis multiplies standard normal draws by its "variance": our
  variance is its square.
""")


def load(path):
    """Return the embeddings of a file that has a split."""
    data = load_embeddings(path)
    if "X_test" not in data:
        raise typer.BadParameter(f"{path} needs X_train, y_train, X_test and y_test.")
    return data


def choose_output(output, table):
    """Return where the CSV goes: as given, or among the results of this project."""
    if output is None and table is None:
        raise typer.BadParameter("Name a file by --output: the thesis has no such set.")
    return output or RESULTS / f"{table}.csv"


def run(title, table, methods, setup):
    """Run and print the rows of a table, and return them."""
    numbers = NUMBERS.get(table, {})
    columns = list(methods[0].columns)
    width = max(len(method.name) for method in methods)
    print_heading(title, setup, columns, width)
    rows = []
    for method in methods:
        rows.append(table_row(method, setup, numbers.get(method.thesis, {})))
        print_row(rows[-1], columns, width)
    return rows


def command(title, tables, make_methods):
    """Return the command of a script.

    Parameters
    ----------
    title : str
        Of the table.

    tables : dict
        From a number of classes to the name of the table in thesis_numbers.json.

    make_methods : callable
        Takes the setup and returns the rows, a list of Method.

    Returns
    -------
    callable
        For typer.
    """

    def main(
        data: Annotated[
            Path,
            typer.Option(
                exists=True,
                dir_okay=False,
                help="Embeddings (.npz): X_train, y_train, X_test and y_test.",
            ),
        ],
        output: Annotated[
            Path | None,
            typer.Option(dir_okay=False, help="CSV to write; else in docs/thesis."),
        ] = None,
        cvae_epochs: Annotated[
            int, typer.Option(min=1, help="Epochs of the thesis's CVAE.")
        ] = THESIS_CVAE_EPOCHS,
        seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 5,
        cache: Annotated[
            Path | None,
            typer.Option(
                help="Folder that keeps generators and results for the next run."
            ),
        ] = None,
        small: Annotated[
            int, typer.Option(min=1, help="Trainings of the thesis's small CVAE.")
        ] = 1,
        large: Annotated[
            int, typer.Option(min=1, help="Trainings of the thesis's large CVAE.")
        ] = 1,
    ):
        embeddings = load(data)
        table = tables.get(len(np.unique(embeddings.y_train)))
        output = choose_output(output, table)
        with tempfile.TemporaryDirectory() as folder:
            cvaes = {"small": small, "large": large}
            cache = cache or Path(folder)
            setup = Setup(embeddings, cvae_epochs, seeds, cache, cvaes)
            rows = run(title, table, make_methods(setup), setup)
        print_differences(setup, data.name)
        write_csv(rows, output)

    main.__doc__ = title
    return main
