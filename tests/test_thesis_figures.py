"""The scripts of tables 2 and 3 and of figures 8 to 11: what they measure and write."""

import csv
import importlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from skcvae.generators import CVAE

FOLDER = Path(__file__).parents[1] / "examples" / "thesis"
N_CLASSES = 10
# One epoch is too short for the CVAE.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def scripts():
    """Return the import of a script, whose nets are trained for an epoch."""
    sys.path.insert(0, str(FOLDER))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_figures", "_thesis"):
            quick = partial(CVAE, max_epochs=1, device="cpu")
            patch.setattr(importlib.import_module(name), "CVAE", quick)
        quick = partial(MLPClassifier, max_iter=3)
        patch.setattr(importlib.import_module("table_2_3"), "MLPClassifier", quick)
        yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Far clusters: 40, 20, ... training samples, and the rest up to 40 of each."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    counts = np.array([40, 20, *[5] * (N_CLASSES - 2)])
    y, y_rest = (np.repeat(np.arange(N_CLASSES), n) for n in (counts, 40 - counts))
    y_test = np.repeat(np.arange(N_CLASSES), 12)

    def rows(labels):
        return 100 * labels[:, np.newaxis] + rng.randn(len(labels), 4)

    arrays = {"X_train": rows(y), "y_train": y, "X_test": rows(y_test)}
    np.savez(folder / "lt.npz", **arrays, y_test=y_test)
    np.savez(folder / "rest.npz", X=rows(y_rest), y=y_rest)
    return folder / "lt.npz", folder / "rest.npz", tmp_path_factory.mktemp("cache")


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_tables_2_and_3_have_the_numbers_of_the_thesis_beside_its_models(
    scripts, files, tmp_path
):
    data, _, cache = files
    outputs = tmp_path / "new" / "2.csv", tmp_path / "new" / "3.csv"
    scripts("table_2_3").main(data, *outputs, 1, 1, cache)
    separability, normality = map(read_csv, outputs)
    names = ["CVAE (thesis)", "VAE (thesis)", "CVAE (ours)", "VAE (ours)"]
    assert [row["model"] for row in separability] == names
    beside = [f"{row['thesis_accuracy']} {row['thesis_mse']}" for row in separability]
    assert beside == ["0.13 10.7", "0.72 12.56", " ", " "]
    assert "trained for 1 epochs (thesis: 500)" in separability[0]["note"]
    assert [row["class"] for row in normality] == [*map(str, range(10)), "mean"]
    assert normality[0]["thesis_VAE"] == "0.24* / 0.61*"
    assert normality[8]["thesis_CVAE"] == "0.30* / 0.14*"
    # Means of the thesis's tables, by hand.
    assert (normality[-1]["thesis_CVAE"], normality[-1]["thesis_VAE"]) == (
        "0.16",
        "0.47",
    )


def test_vae_does_not_see_the_class_and_the_cvae_does(scripts, files):
    data, _, cache = files
    figures = scripts("_figures")
    with figures.open_setup(data, 1, cache=cache) as setup:
        X, y = setup.data.X_test, setup.data.y_test
        cvae, vae = list(figures.plane_models(setup, 0))[:2]
    other = (y + 1) % N_CLASSES
    np.testing.assert_array_equal(vae.encode(X, y), vae.encode(X, other))
    assert not np.allclose(cvae.encode(X, y), cvae.encode(X, other))
    assert vae.generator.get_params() == cvae.generator.get_params()
    assert vae.encode(X, y).shape == (len(X), 2)


def test_error_is_in_units_of_the_ranges(scripts, files):
    script = scripts("table_2_3")
    with scripts("_figures").open_setup(files[0], 1) as setup:
        data = setup.data

    class Constant:
        def encode(self, X, y):
            return X[:, :2]

        def reconstruct(self, X, y):
            return X - 0.5 * np.ptp(data.X_train, axis=0)

    (_, mse), _ = script.measure(Constant(), data, 0)
    assert mse == pytest.approx(4 * 0.25, rel=1e-4)


def test_figure_8_is_drawn(scripts, files, tmp_path, capsys):
    path = tmp_path / "new" / "8.png"
    scripts("figure_8").main(files[0], path, 1, files[2])
    assert is_png(path)
    assert capsys.readouterr().out.count("standard deviations") == 6


def test_figure_7_and_table_1_have_the_sizes_of_the_classes(
    scripts, files, tmp_path, capsys
):
    data, rest, cache = files
    path, output = tmp_path / "7.png", tmp_path / "1.csv"
    scripts("figure_7").main([data], path, 1, cache)
    assert is_png(path)
    assert "lt: 40 to 5 samples in a class" in capsys.readouterr().out
    scripts("table_1").main([data, rest], output)
    split, whole = read_csv(output)
    sizes = [split[k] for k in ("classes", "samples", "training samples", "ratio")]
    # 40 + 20 + 8 x 5 of training, and 12 of each class to test.
    assert sizes == ["10", "220", "100", "8"]
    assert (whole["samples"], whole["largest class"]) == ("300", "35")


def test_table_1_has_the_sizes_of_the_thesis_beside_its_data_sets(scripts, tmp_path):
    path, output = tmp_path / "bloodmnist_224.npz", tmp_path / "1.csv"
    X, y = np.ones((6, 2)), np.repeat([0, 1], 3)
    np.savez(path, X_train=X, y_train=y, X_test=X, y_test=y)
    scripts("table_1").main([path], output)
    (row,) = read_csv(output)
    assert (row["thesis_classes"], row["thesis_samples"]) == ("8", "17092")


def test_figure_9_squares_the_variance_of_the_thesis(scripts, files, tmp_path):
    data, rest, cache = files
    output, path = tmp_path / "9.csv", tmp_path / "9.png"
    scripts("figure_9").main([data], rest, output, path, 1, cache)
    *rows, real = read_csv(output)
    assert [(row["model"], row["architecture"]) for row in rows] == [
        (f"CVAE ({whose})", architecture)
        for whose in ("thesis", "ours")
        for architecture in ("small", "large")
    ]
    expected = [f"variance {v}" for v in ("0.0625", "0.25", "0.5625", "1", "4", "9")]
    assert list(rows[0])[3:-1] == expected
    assert is_png(path)
    # Real samples of the same clusters: about 2 x 4 features / 12 samples.
    assert real["model"] == "real samples"
    assert 0 <= float(real["variance 1"]) <= 3


def test_figure_9_has_real_samples_for_the_data_set_that_they_belong_to(
    scripts, files, tmp_path
):
    data, rest, cache = files
    other = tmp_path / "other.npz"
    with np.load(data) as held:
        arrays = {n: held[n] + (100 if n[0] == "y" else 0) for n in held.files}
    np.savez(other, **arrays)
    output = tmp_path / "9.csv"
    scripts("figure_9").main([other, data], rest, output, tmp_path / "9.png", 1, cache)
    real = [row["data"] for row in read_csv(output) if row["model"] == "real samples"]
    assert real == ["lt"]


def test_figure_10_measures_the_share_that_training_samples_cover(
    scripts, files, tmp_path
):
    data, rest, cache = files
    output, path = tmp_path / "10.csv", tmp_path / "10.png"
    scripts("figure_10").main(data, rest, output, path, 1, cache)
    rows = {(row["samples"], row["architecture"]): row for row in read_csv(output)}
    assert len(rows) == 2 + 2 * 4
    training = rows["training samples", ""]
    # Each covers itself alone: 40, 20 and 5 of 40.
    assert training["medium"] == "0.750"
    assert training["few"] == "0.125"
    assert training["many"] == ""
    assert training["note"] == rows["CVAE (ours)", "small"]["note"] == ""
    assert "1 epochs" in rows["CVAE (thesis), variance 4", "large"]["note"]
    assert is_png(path)


def test_half_of_the_samples_covers_the_other(scripts):
    # Each row has a twin, which a split puts into the other half or the same.
    X, y = np.repeat(np.arange(50.0), 2)[:, np.newaxis], np.repeat([0, 1], 50)
    covered = scripts("figure_10").half_coverage(X, y)
    assert 0.3 < covered < 1
    assert scripts("figure_10").coverage((X, y), X, y).tolist() == [0.5, 0.5]


def test_figure_11_spheres_of_filled_up_classes_hold_the_training_samples(
    scripts, files, tmp_path
):
    data, rest, cache = files
    output, path = tmp_path / "11.csv", tmp_path / "11.png"
    scripts("figure_11").main(data, rest, output, path, 1, cache)
    rows = {(row["samples"], row["architecture"]): row for row in read_csv(output)}
    assert len(rows) == 3 + 2 * 4
    training = rows["training samples", ""]
    # SMOTE stays between training samples; generated ones are added to them.
    assert rows["training samples and SMOTE", ""]["few"] == training["few"]
    assert float(rows["balanced samples", ""]["few"]) > float(training["few"])
    for row in rows.values():
        if row["samples"].startswith("filled up"):
            assert float(row["few"]) >= float(training["few"])
    assert is_png(path)


def test_classes_are_filled_up_to_the_balanced_counts(scripts, files):
    figures = scripts("_figures")
    with figures.open_setup(files[0], 1, cache=files[2]) as setup:
        _, y = figures.balanced_samples(setup.data, files[1])
        X_new, y_new = figures.fill_up(
            figures.fit_both(setup, "small")[1], setup.data, y, 1
        )
    assert np.bincount(y).tolist() == np.bincount(y_new).tolist() == [40] * N_CLASSES
    np.testing.assert_array_equal(X_new[: len(setup.data.X_train)], setup.data.X_train)
