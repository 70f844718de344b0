"""What the scripts of the thesis's tables share: training, seeds, table and CSV."""

import csv
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from sklearn.utils import Bunch

from skcvae._generation import fit_generator
from skcvae.datasets import load_embeddings
from skcvae.generators import CVAE
from skcvae.long_tail import LongTailClassifier
from skcvae.metrics import shot_accuracy_score

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parents[1] / "docs" / "thesis"
NUMBERS = json.loads((FOLDER / "thesis_numbers.json").read_text())
GROUPS = ("overall", "many", "medium", "few")

BATCH_SIZE = 256
# Passes over the original rows, for every method alike: 860 steps on CIFAR-100-LT.
PASSES = 20

THESIS_CVAE_EPOCHS = 500
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

    `cache` is a folder that keeps fitted generators.
    """

    data: Bunch
    cvae_epochs: int
    n_seeds: int
    cache: Path

    @property
    def n_steps(self):
        """Number of steps that each head is trained for."""
        return PASSES * n_batches(len(self.data.X_train))

    def epochs(self, n_rows):
        """Return the number of passes over `n_rows` that is nearest to `n_steps`."""
        return max(1, round(self.n_steps / n_batches(n_rows)))

    def fit(self, generator):
        """Fit a generator to the training rows, or load it from the cache."""
        X, y = self.data.X_train, self.data.y_train
        return fit_generator(generator, X, y, str(self.cache))

    def thesis_cvae(self, architecture, thesis_variance):
        """Return the CVAE of the thesis, trained once; its "variance" is our root."""
        return self.fit(
            CVAE(
                objective="reference",
                architecture=architecture,
                latent_dim=100,
                beta=0.01,
                max_epochs=self.cvae_epochs,
                lr=1e-3,
                batch_size=BATCH_SIZE,
                prior="standard",
                noise=None,
                variance=thesis_variance**2,
                random_state=0,
            )
        )


@dataclass
class Method:
    """A row of a table.

    `head` has parameters of LongTailClassifier; `generator(setup, seed)` returns a
    fitted generator, and `sampler(y, seed)` an over-sampler; `thesis` is the name of
    the row in thesis_numbers.json, and `columns` are further columns. Where there is
    `classifier(seed)`, an unfitted classifier of its own, `head` does not count.
    """

    name: str
    head: dict
    generator: Callable | None = None
    sampler: Callable | None = None
    thesis: str | None = None
    note: str = ""
    columns: dict = field(default_factory=dict)
    classifier: Callable | None = None


def n_batches(n_rows):
    """Return the number of steps of one pass."""
    return math.ceil(n_rows / BATCH_SIZE)


def thesis_head(loss="cross_entropy", *, sampling="instance", augment=None, **params):
    """Return parameters of LongTailClassifier: those of the thesis, and the given."""
    given = {"loss": loss, "sampling": sampling, "augment": augment, **params}
    return {**THESIS_HEAD, **given}


def algorithm_1(loss="cross_entropy", **params):
    """Return the thesis's parameters for training with generated rows."""
    return thesis_head(loss, sampling="balanced", augment="inverse", **params)


def generators(cvae_epochs):
    """Return the generators of tables 6 to 8, by name, each with its note."""
    thesis_note = f"CVAE trained for {cvae_epochs} epochs (thesis: 500)"

    def thesis(setup, seed):
        return setup.thesis_cvae(**THESIS_CVAE)

    def cvae(setup, seed):
        return setup.fit(CVAE(random_state=seed))

    # A fitted generator is used as it is, None is a ClassGaussian for each seed.
    return {
        "CVAE (thesis)": (thesis, thesis_note),
        "CVAE (ours)": (cvae, "not in the thesis"),
        "ClassGaussian": (None, "not in the thesis"),
    }


def evaluate(method, setup, seed):
    """Train a head with one seed; return its accuracies in percent, as in GROUPS."""
    data = setup.data
    X, y = data.X_train, data.y_train
    if method.sampler is not None:
        X, y = resample(method.sampler(y, seed), X, y)
    classifier = make_classifier(method, setup, seed, len(X)).fit(X, y)
    predicted = classifier.predict(data.X_test)
    scores = shot_accuracy_score(data.y_test, predicted, y_train=data.y_train)
    return [100 * scores[group] for group in GROUPS]


def make_classifier(method, setup, seed, n_rows):
    """Return the unfitted classifier of a row: its own, or the head of the thesis."""
    if method.classifier is not None:
        return method.classifier(seed)
    generator = method.generator(setup, seed) if method.generator else None
    params = {"max_epochs": setup.epochs(n_rows), **method.head}
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
    """Return a row of the CSV: means and standard deviations over the seeds."""
    note = method.note
    means = spreads = np.full(len(GROUPS), np.nan)
    try:
        scores = [evaluate(method, setup, seed) for seed in range(setup.n_seeds)]
    except NotApplicableError as error:
        note = str(error)
    else:
        means = np.mean(scores, axis=0)
        if len(scores) > 1:
            spreads = np.std(scores, axis=0, ddof=1)
    row = {"method": method.name, **method.columns}
    for group, mean, spread in zip(GROUPS, means, spreads, strict=True):
        row |= {group: percent(mean), f"{group}_std": percent(spread)}
    for group in GROUPS:
        row[f"thesis_{group}"] = percent(thesis.get(group, np.nan))
    return {**row, "note": note}


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
    print(f"{setup.n_seeds} seeds; beside it the number of the thesis\n")
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
    note = row["note"] if row["note"].startswith("not applicable") else ""
    print(f"{row['method']:{width}}{cells}  {note}".rstrip(), flush=True)


def print_differences(setup, file_name):
    """Say in what the runs differ from those of the thesis."""
    n_rows, n_features = setup.data.X_train.shape
    n_passes = setup.epochs(n_rows)
    print(f"""
What differs from the thesis:
- Embeddings: those of {file_name}, {n_features} features; the thesis has DINOv2
  ViT-B/14, 768 features.
- Head: {setup.n_steps} steps for every method, {n_passes} passes over {n_rows:,} rows
  (SMOTE, ADASYN: the nearest number of passes); the thesis has 10 epochs.
- Features: centred and divided by one scale.
- The thesis's CVAE: {setup.cvae_epochs} epochs; the thesis has {THESIS_CVAE_EPOCHS}.
  As there, one training serves all seeds; our generators are fitted for each seed.
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
            typer.Option(help="Folder that keeps generators, also for other tables."),
        ] = None,
    ):
        embeddings = load(data)
        table = tables.get(len(np.unique(embeddings.y_train)))
        output = choose_output(output, table)
        with tempfile.TemporaryDirectory() as folder:
            setup = Setup(embeddings, cvae_epochs, seeds, cache or Path(folder))
            rows = run(title, table, make_methods(setup), setup)
        print_differences(setup, data.name)
        write_csv(rows, output)

    main.__doc__ = title
    return main
