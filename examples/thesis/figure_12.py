"""Figure 12 of the thesis: distances to the nearest original row, with a hold-out."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _anonymization import (
    ALLOW,
    IMAGES,
    DataOption,
    StepsOption,
    epochs_note,
    line_styles,
    make_panels,
    number,
    read,
    save_figure,
    thesis_cvae,
)
from _thesis import RESULTS, THESIS_CVAE_EPOCHS, write_csv
from sklearn.model_selection import StratifiedKFold

from skcvae.anonymization import CVAEAnonymizer, KSameAnonymizer
from skcvae.metrics import nearest_neighbors
from skcvae.privacy import nearest_neighbor_attack

QUANTILES = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95)
MIN_CLASS_SIZE = 30


def distances(X, originals, exclude_self=False):
    """Return the Euclidean distance of each row to its nearest original."""
    return nearest_neighbors(X, originals, exclude_self=exclude_self)[0][:, 0]


def publish(X, y, cvae_steps):
    """Yield the name, the rows and a note of each release."""
    thesis = thesis_cvae("large", len(X), cvae_steps, 0)
    yield "thesis's large CVAE", thesis.fit_transform(X, y), epochs_note(thesis)
    yield "CVAE (ours)", CVAEAnonymizer(random_state=0, **ALLOW).fit_transform(X, y), ""
    yield "k-Same 5", KSameAnonymizer(5, **ALLOW).fit_transform(X, y), ""
    yield "originals and noise", add_noise(X), "a control: no anonymization"


def add_noise(X):
    """Return the rows, each moved as far as its nearest neighbour is: no protection."""
    noise = np.random.RandomState(0).standard_normal(X.shape) * X.std(axis=0)
    noise *= (distances(X, X, True) / np.linalg.norm(noise, axis=1))[:, np.newaxis]
    return (X + noise).astype(X.dtype)


def thirds(X, y):
    """Return originals, hold-out and an attacker's rows, and the originals' labels."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0).split(X, y)
    originals, holdout, reference = (rows for _, rows in folds)
    return X[originals], X[holdout], X[reference], y[originals]


def compare(data, cvae_steps):
    """Return by name the distances, and of releases an attack's AUC and a note."""
    X, H, R, y = thirds(*data.training_rows(MIN_CLASS_SIZE))
    found = {"originals": distances(X, X, True), "hold-out": distances(H, X)}
    about = {}
    for name, rows, note in publish(X, y, cvae_steps):
        found[name] = distances(rows, X)
        about[name] = nearest_neighbor_attack(rows, X, H, R).auc.value, note
    return found, about


def table_row(data, name, values, auc=np.nan, note=""):
    """Return a row of the CSV."""
    row = {"data": data, "from": name, "rows": len(values)}
    for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True):
        row["min" if q == 0 else f"{100 * q:g} %"] = number(value, 3)
    return {**row, "membership_auc": number(auc, 3), "note": note}


def draw(results, path):
    """Draw the cumulative distributions, one panel for each data set."""
    figure, panels = make_panels(len(results), 3.6)
    for panel, (name, found) in zip(panels, results.items(), strict=False):
        styles = line_styles(found)
        for source, values in found.items():
            share = np.arange(1, len(values) + 1) / len(values)
            panel.plot(np.sort(values), share, **styles[source])
        panel.set(title=name, xlabel="distance to the nearest original", xlim=(0, None))
    panels[0].set_ylabel("share of rows")
    save_figure(figure, panels[0], path)


def main(
    data: DataOption,
    output: Annotated[Path, typer.Option(help="CSV to write.")] = RESULTS
    / "figure_12.csv",
    figure: Annotated[Path, typer.Option(help="PNG to write.")] = IMAGES
    / "figure_12.png",
    cvae_steps: StepsOption = None,
):
    """Draw and print the distances."""
    # The last data set of a file has the finest classes.
    data_sets = [read(path)[-1] for path in data]
    rows, results = [], {}
    for data_set in data_sets:
        results[data_set.name], about = compare(data_set, cvae_steps)
        for name, values in results[data_set.name].items():
            rows.append(table_row(data_set.name, name, values, *about.get(name, ())))
    print(__doc__, "\n")
    print(f"{'':30}{'':22}" + "".join(f"{name:>9}" for name in list(rows[0])[2:-2]))
    for row in rows:
        _, _, *values, auc, note = row.values()
        line = f"{row['data']:30}{row['from']:22}" + "".join(f"{v:>9}" for v in values)
        print(line + (f"   AUC of an attack {auc}  {note}" if auc else ""))
    print(f"""
What differs from the thesis: the rows are not its MedMNIST embeddings; originals are a
third of the training rows, hold-out and attacker have a third each, of classes of at
least {MIN_CLASS_SIZE} rows. The thesis's CVAE, the large one, has {THESIS_CVAE_EPOCHS}
epochs there. It has neither a hold-out nor an attack. "originals and noise": each
original is moved as far as its nearest neighbour is, in a random direction.
""")
    write_csv(rows, output)
    draw(results, figure)


if __name__ == "__main__":
    typer.run(main)
