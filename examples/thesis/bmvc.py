"""k-Same against CVAE, as the BMVC 2024 paper compares them, with what it lacks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import joblib
import numpy as np
import torch
import typer
from _anonymization import (
    ALLOW,
    IMAGES,
    DataOption,
    cells,
    line_styles,
    make_panels,
    print_line,
    quarters,
    read,
    save_figure,
)
from _thesis import RESULTS, write_csv

from skcvae._validation import are_new
from skcvae.anonymization import CVAEAnonymizer, KSameAnonymizer
from skcvae.generators import early_stopping
from skcvae.metrics import average_min_distance, linear_probe, nearest_neighbors
from skcvae.privacy import attack_controls, nearest_neighbor_attack

SIGMAS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
# The CVAE of the paper's program.
PAPER = {
    "objective": "reference",
    "hidden_dim": 256,
    "latent_dim": 50,
    "beta": 0.1,
    "lr": 1e-3,
    "batch_size": 512,
    "max_epochs": 1000,
    "prior": "standard",
    "noise": None,
}
PATIENCE = 15
# No early stop: 2,000 steps for all, and the weights of the lowest validation loss.
PROBE = {"max_epochs": 40, "patience": 40}
# A stream has no number of rows; the attacker is given this many times the originals.
STREAM_FACTOR = 10
# A quarter of a class has at least 5 rows, and half of it suffices for k-Same 10.
MIN_CLASS_SIZE = 20
DECIMALS = {
    "auroc": 3,
    "accuracy": 2,
    "f1": 3,
    "kappa": 3,
    "distance": 2,
    "distance_by_feature": 2,
    "distance_as_paper": 2,
    "membership_auc": 3,
}
NOT_IN_PAPER = "not in the paper"
STRANGERS = "rows of strangers"
DRAWN = (
    "identity",
    "k-Same 5, label-blind",
    "k-Same 5",
    "k-Same 10",
    "CVAE (paper)",
    "CVAE (ours)",
    "CVAE (ours), online",
)


@dataclass
class Release:
    """What is published: rows with labels, and a stream where it is one."""

    name: str
    X: np.ndarray
    y: np.ndarray
    note: str = ""
    stream: object | None = None


def paper_cvae(X_val, y_val, seed):
    """Return the paper's CVAE, stopped by the loss of validation rows."""
    net_params = early_stopping(X_val, y_val, patience=PATIENCE)
    net_params["optimizer"] = torch.optim.Adam
    return CVAEAnonymizer(
        net_params=net_params,
        max_mean_leakage=1,
        random_state=seed,
        **PAPER,
        **ALLOW,
    )


def publish(X, y, val, seed):
    """Yield the releases of the paper's and our methods."""
    yield Release("identity", X, y)
    for k in (2, 5, 10):
        blind = KSameAnonymizer(k, within_class=False, remainder="drop", **ALLOW)
        rows = blind.fit(X).labels_ >= 0
        X_blind = blind.centroids_[blind.labels_[rows]]
        note = "as in the program: labels ignored, last n mod k rows dropped"
        yield Release(f"k-Same {k}, label-blind", X_blind, y[rows], note)
    for k in (2, 5, 10):
        within = KSameAnonymizer(k, **ALLOW).fit_transform(X, y)
        yield Release(f"k-Same {k}", within, y, f"within class; {NOT_IN_PAPER}")
    ours = CVAEAnonymizer(max_mean_leakage=1, random_state=seed, **ALLOW)
    for name, cvae, note in (
        ("paper", paper_cvae(*val, seed), "as in the program"),
        ("ours", ours, NOT_IN_PAPER),
    ):
        yield Release(f"CVAE ({name})", cvae.fit_transform(X, y), y, note)
        drawn = cvae.sample(STREAM_FACTOR * len(X))
        yield Release(f"CVAE ({name}), online", *drawn, note, stream=cvae)


def evaluate(release, parts, seed):
    """Return the scores of a release by column, and the accuracy at each noise."""
    (X, _), test, val = parts
    source = (release.X, release.y) if release.stream is None else release.stream
    result = linear_probe(
        source, *val, *test, noise_levels=SIGMAS, random_state=seed, **PROBE
    )
    scores = {name: getattr(result, name) for name in ("auroc", "f1", "kappa")}
    scores["accuracy"] = 100 * result.accuracy
    nearby = release.X[: len(X)]
    scores["distance"] = mean_distance(nearby, X)
    scores["distance_by_feature"] = average_min_distance(nearby, X)
    scores["distance_as_paper"] = average_min_distance(nearby, X, space="reference")
    # The test rows are the non-members, and the attacker has the validation rows.
    attack = nearest_neighbor_attack(release.X, X, test[0], val[0])
    scores["membership_auc"] = attack.auc.value
    noisy = [100 * row["accuracy"] for row in result.robustness]
    return scores, [scores["accuracy"], *noisy]


def mean_distance(X_synthetic, X):
    """Return the mean distance to the nearest original, in one unit."""
    unit = np.sqrt(X.var(axis=0).mean())
    return nearest_neighbors(X_synthetic, X)[0].mean() / unit


def split(data, seed):
    """Return rows to publish, test rows and validation rows, each with labels.

    They are the file's own splits, where it has all three. Rows that are in two of them
    are left out of the training, then of the validation rows.
    """
    X, y = data.training_rows(MIN_CLASS_SIZE)
    if "X_val" not in data.arrays:
        return quarters(X, y, seed)
    _, (X_val, y_val), test = data.parts()
    new = are_new(X_val, test[0])
    val = X_val[new], y_val[new]
    new = are_new(X, np.concatenate([val[0], test[0]]))
    return (X[new], y[new]), test, val


def run_seed(data, seed):
    """Return scores, curves and notes of a data set by method, for one seed."""
    parts = split(data, seed)
    scores, curves, notes = {}, {}, {}
    for release in publish(*parts[0], parts[2], seed):
        name = release.name
        scores[name], curves[name] = evaluate(release, parts, seed)
        notes[name] = release.note
    rows = (part[0] for part in parts)
    control = attack_controls(nearest_neighbor_attack, *rows, random_state=seed)
    scores[STRANGERS] = {"membership_auc": control.negative.auc.value}
    notes[STRANGERS] = "negative control of the attack: half of the attacker's rows"
    return scores, curves, notes


def run(data, n_seeds, ledger):
    """Return scores, curves and notes of a data set by method: for each seed, one.

    What the folder `ledger` holds of an earlier run is not computed again.
    """
    scores, curves, notes = {}, {}, {}
    for seed in range(n_seeds):
        key = joblib.hash([split(data, seed), seed, PAPER, PATIENCE, PROBE, SIGMAS])
        entry = ledger / f"{data.name.replace(' ', '_')}_{seed}_{key}.json"
        if not entry.exists():
            ledger.mkdir(parents=True, exist_ok=True)
            found = run_seed(data, seed)
            entry.write_text(json.dumps(found, default=float))
        found = json.loads(entry.read_text())
        for together, one in zip((scores, curves), found, strict=False):
            for name, values in one.items():
                together.setdefault(name, []).append(values)
        notes |= found[2]
    return scores, curves, notes


def table_row(data, method, found, note):
    """Return a row of the CSV: means and standard deviations over the seeds."""
    row = {"data": data, "method": method, "seeds": len(found)}
    for name, decimals in DECIMALS.items():
        row |= cells(name, [scores.get(name, np.nan) for scores in found], decimals)
    return {**row, "note": note}


def curve_row(data, method, curves):
    """Return a row of the CSV of robustness: mean accuracy at each noise."""
    means = np.mean(curves, axis=0)
    named = zip(("0", *(f"{sigma:g}" for sigma in SIGMAS)), means, strict=True)
    return {"data": data, "method": method, **{n: f"{mean:.2f}" for n, mean in named}}


def draw(results, path):
    """Draw accuracy against noise, one panel for each data set."""
    figure, panels = make_panels(len(results), 3.2)
    styles = line_styles(DRAWN)
    for panel, (name, curves) in zip(panels, results.items(), strict=False):
        for method in DRAWN:
            means = np.mean(curves[method], axis=0)
            panel.plot((0, *SIGMAS), means, marker=".", **styles[method])
        panel.set(
            title=name, xlabel="noise (standard deviations)", ylabel="accuracy (%)"
        )
    save_figure(figure, panels[0], path)


def print_differences():
    """Say in what the runs differ from those of the paper."""
    print(f"""
What differs from the paper:
- Backbone: ViT-Ti/16 (192 features) and ResNet-18 (512, industrial photos); the paper
  has DINOv2 ViT-B/14 (768). BreastMNIST is from 28 x 28 pixels, the paper's from 224.
  The document of the paper that this project has holds no numbers of its tables.
- Data: the splits of the file, if it has three; else half of the training rows, a
  quarter to test on, and a quarter to stop CVAE and probe by, split anew for each seed;
  classes of at least {MIN_CLASS_SIZE} rows.
- Probe: 2,000 steps for every method; the paper's online method has ten times more
  steps in an epoch than the others, and all stop after 5 epochs without a gain.
- Scale: all rows and the noise have one scale, that of real validation rows. The
  paper's program scales by the statistics of the anonymized rows, each feature by its
  own.
- Distance: to the nearest original, in root mean square deviations of these; "by
  feature" divides each feature by its own deviation, so that one which hardly varies
  can outweigh all others; "as paper" standardises each set by its own statistics, as
  the paper's program does. That program's distance of its online method is always 0,
  because it compares the originals with themselves.
- k-Same: within class as well as label-blind. Membership AUC: the paper has none.
""")


def main(
    data: DataOption,
    output: Annotated[Path, typer.Option(help="CSV to write.")] = RESULTS / "bmvc.csv",
    figure: Annotated[Path, typer.Option(help="PNG to write.")] = IMAGES
    / "bmvc_robustness.png",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 5,
    ledger: Annotated[
        Path, typer.Option(help="Folder of finished runs, which are not run again.")
    ] = Path("bmvc_ledger"),
):
    """Compare utility, distance, membership and robustness of the methods."""
    data_sets = [read(path)[-1] for path in data]
    rows, robustness, results = [], [], {}
    print(f"{__doc__}\nmean and standard deviation of {seeds} seeds\n")
    print(f"{'':52}" + "".join(f"{name[:15]:>16}" for name in DECIMALS))
    for data_set in data_sets:
        scores, curves, notes = run(data_set, seeds, ledger)
        results[data_set.name] = curves
        for method, found in scores.items():
            note = "; ".join(filter(None, (data_set.kind, notes[method])))
            rows.append(table_row(data_set.name, method, found, note))
            start = f"{data_set.name:29}{method:23}"
            print(start + print_line(rows[-1], DECIMALS), flush=True)
        robustness += [curve_row(data_set.name, *pair) for pair in curves.items()]
    print("\naccuracy at each noise\n")
    for row in robustness:
        name, method, *values = row.values()
        print(f"{name:29}{method:23}" + "".join(f"{v:>8}" for v in values))
    print_differences()
    write_csv(rows, output)
    write_csv(robustness, output.with_name(f"{output.stem}_robustness.csv"))
    draw(results, figure)


if __name__ == "__main__":
    typer.run(main)
