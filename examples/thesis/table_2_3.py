"""Tables 2 and 3 of the thesis: what the latents of CVAE and VAE know of the class."""

import numpy as np
import typer
from _anonymization import cells, print_line
from _figures import (
    CacheOption,
    CSVOption,
    DataOption,
    EpochsOption,
    SeedsOption,
    epochs_note,
    open_setup,
    plane_models,
)
from _thesis import NUMBERS, RESULTS, THESIS_CVAE_EPOCHS, write_csv
from sklearn.neural_network import MLPClassifier

from skcvae.metrics import latent_normality_distance, latent_separability

COLUMNS = ("accuracy", "mse")
SIGNIFICANCE = 0.01


def classifier(seed):
    """Return a net of two layers, whose width the thesis does not name."""
    return MLPClassifier(
        64, learning_rate_init=1e-2, early_stopping=True, random_state=seed
    )


def measure(model, data, seed):
    """Return accuracy and error of a model on test samples, and its distances."""
    X, y = data.X_test, data.y_test
    Z = model.encode(X, y)
    separability = latent_separability(
        Z, y=y, classifier=classifier(seed), random_state=seed
    )
    spread = np.ptp(data.X_train, axis=0)
    error = (X - model.reconstruct(X, y)) / np.where(spread > 0, spread, 1)
    mse = np.square(error).sum(axis=1).mean()
    return (separability.accuracy, mse), latent_normality_distance(Z, y=y)


def run(setup):
    """Return the scores of each model and run, and the distances of the first run."""
    scores, distances = {}, {}
    for seed in range(setup.n_seeds):
        for model in plane_models(setup, seed):
            found, normality = measure(model, setup.data, seed)
            scores.setdefault(model.name, []).append(found)
            distances.setdefault(model.name, normality)
    return scores, distances


def separability_rows(scores, note):
    """Return the rows of table 2."""
    rows = []
    for name, runs in scores.items():
        row = {"model": name}
        for column, values in zip(COLUMNS, np.transpose(runs), strict=True):
            row |= cells(column, values, 2)
        numbers = NUMBERS["table_2"].get(name.removesuffix(" (thesis)"), {})
        for column in COLUMNS:
            row[f"thesis_{column}"] = numbers.get(column, "")
        of_thesis = name.endswith("(thesis)")
        rows.append({**row, "note": note if of_thesis else "not in the thesis"})
    return rows


def normality_rows(distances):
    """Return the rows of table 3, and the mean over classes."""
    rows = []
    labels = next(iter(distances.values())).classes
    for i, label in enumerate(labels):
        row = {"class": label}
        for name, found in distances.items():
            row[name] = pair(found.distances[i], found.p_values[i])
        numbers = NUMBERS["table_3"].get(str(label), {})
        for kind in ("CVAE", "VAE"):
            row[f"thesis_{kind}"] = pair(numbers.get(kind, ()))
        rows.append(row)
    means = {name: f"{found.mean:.2f}" for name, found in distances.items()}
    for kind in ("CVAE", "VAE"):
        known = [numbers[kind] for numbers in NUMBERS["table_3"].values()]
        means[f"thesis_{kind}"] = f"{np.mean(known):.2f}"
    return [*rows, {"class": "mean", **means}]


def pair(distances, p_values=None):
    """Return the distances of the two dimensions, those that are significant starred.

    All of the thesis are.
    """
    if p_values is None:
        p_values = np.zeros(len(distances))
    stars = ("*" if p < SIGNIFICANCE else "" for p in p_values)
    return " / ".join(
        f"{d:.2f}{star}" for d, star in zip(distances, stars, strict=True)
    )


def print_tables(separability, normality, setup):
    """Print both tables, and what differs."""
    print(f"Table 2: separability and reconstruction error, {setup.n_seeds} runs\n")
    print(f"{'':16}{'accuracy':16}{'MSE':16}{'thesis: accuracy, MSE'}")
    for row in separability:
        thesis = f"{row['thesis_accuracy']:>8}{row['thesis_mse']:>8}"
        print(f"{row['model']:16}{print_line(row, COLUMNS)}{thesis}")
    print("\nTable 3: Kolmogorov-Smirnov distance to N(0, 1), both dimensions, one run")
    print(f"* significant at {SIGNIFICANCE}\n")
    print("".join(f"{name:>16}" for name in normality[0]))
    for row in normality:
        print("".join(f"{cell:>16}" for cell in row.values()))
    n_samples, n_features = setup.data.X_train.shape
    print(f"""
What differs from the thesis:
- Embeddings of {n_features} features, where the thesis has 768 of DINOv2; {n_samples:,}
  training samples. MSE is the squared error of a sample, summed over features, in units
  of the ranges of features in the training samples: fewer features, smaller errors.
- The thesis's models are {epochs_note(setup)}.
- The VAE is the same CVAE, told one label for all samples.
- Accuracy is that of five folds, 80 % for the classifier and 20 % for the accuracy; the
  thesis has one such split for each of its 5 runs.
- Latents are means of the encoder. The thesis does not say whether its are.
""")


def main(
    data: DataOption,
    output: CSVOption = RESULTS / "table_2.csv",
    output_3: CSVOption = RESULTS / "table_3.csv",
    cvae_epochs: EpochsOption = THESIS_CVAE_EPOCHS,
    seeds: SeedsOption = 5,
    cache: CacheOption = None,
):
    """Train CVAE and VAE with two latent dimensions, and test their latents."""
    with open_setup(data, cvae_epochs, seeds, cache) as setup:
        scores, distances = run(setup)
    separability = separability_rows(scores, epochs_note(setup))
    normality = normality_rows(distances)
    print_tables(separability, normality, setup)
    write_csv(separability, output)
    write_csv(normality, output_3)


if __name__ == "__main__":
    typer.run(main)
