"""The scripts on anonymization: data sets, splits, rows, and numbers of the thesis."""

import csv
import importlib
import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import typer
from sklearn.neighbors import NearestNeighbors

from skcvae.anonymization import CVAEAnonymizer

EXAMPLES = Path(__file__).parents[1] / "examples" / "benchmarks"
# One epoch is too short for the CVAE.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK_PROBE = {"max_epochs": 2, "lr": 0.1}
SCORES = ("accuracy", "f1", "kappa")
TABLE_9 = [
    *(name for score in SCORES for name in (score, f"{score}_std")),
    *(f"thesis_{score}" for score in SCORES),
]


@pytest.fixture(scope="module")
def scripts():
    """Return the import of a script, whose CVAEs and heads train for a few epochs."""
    sys.path.insert(0, str(EXAMPLES.parent / "thesis"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("table_9", "figure_12", "bmvc"):
            script = importlib.import_module(name)
            quick = partial(CVAEAnonymizer, max_epochs=1)
            patch.setattr(script, "CVAEAnonymizer", quick)
            if hasattr(script, "PAPER"):
                patch.setattr(script, "PAPER", {**script.PAPER, "max_epochs": 1})
            if hasattr(script, "PROBE"):
                patch.setattr(script, "PROBE", {**script.PROBE, **QUICK_PROBE})
        yield importlib.import_module
    sys.path.remove(str(EXAMPLES.parent / "thesis"))


@pytest.fixture(scope="module")
def benchmark():
    path = EXAMPLES / "anonymization_benchmark.py"
    spec = importlib.util.spec_from_file_location("anonymization_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def clusters(n_rows, seed=0):
    """Return rows of two far clusters of the same size, in 5 dimensions."""
    y = np.arange(n_rows) % 2
    return 100 * y[:, np.newaxis] + np.random.RandomState(seed).randn(n_rows, 5), y


def save(path, **sizes):
    """Write a file of embeddings with parts of these sizes."""
    arrays = {}
    for seed, (part, size) in enumerate(sizes.items()):
        arrays[f"X_{part}"], arrays[f"y_{part}"] = clusters(size, seed)
    np.savez(path, **arrays)
    return path


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "original", "generated"),
    [
        ("pathmnist", "93.61 0.938 0.927", "92.72 0.928 0.916"),
        ("TissueMNIST_vit-small", "63.47 0.621 0.533", "55.02 0.509 0.412"),
        ("breastmnist", "  ", "  "),
    ],
)
def test_table_9_has_the_numbers_of_the_thesis_beside_its_data_sets(
    scripts, tmp_path, name, original, generated
):
    data = save(tmp_path / f"{name}.npz", train=60, val=20, test=20)
    output = tmp_path / "new" / "table.csv"
    scripts("table_9").main([data], output, 1, 2)
    rows = read_csv(output)
    assert [list(row) for row in rows] == [["data", "trained_on", *TABLE_9, "note"]] * 3
    beside = [" ".join(row[column] for column in TABLE_9[-3:]) for row in rows]
    assert beside == [original, generated, "  "]
    # The clusters are far apart: real rows must tell them.
    scores = [rows[0][name] for name in ("accuracy", "accuracy_std", "f1", "kappa")]
    assert scores == ["100.00", "0.00", "1.000", "1.000"]
    assert ("stand-in" in rows[0]["note"]) == (original == "  ")
    assert "trained for 1 epochs (thesis: 500)" in rows[1]["note"]


def test_images_become_pixels_between_0_and_1(scripts, tmp_path):
    path = tmp_path / "images.npz"
    images = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3) + 232
    y = [[0], [1], [0], [1]]
    np.savez(path, X_train=images, y_train=y, X_test=images[:2], y_test=y[:2])
    (data,) = scripts("_anonymization").read(path)
    assert data.kind == "6 pixels"
    assert data.arrays.X_train.max() == 1
    np.testing.assert_allclose(255 * data.arrays.X_train[0], 232 + np.arange(6))
    assert data.arrays.y_train.tolist() == [0, 1, 0, 1]


def test_file_with_anomalies_gives_a_second_data_set(scripts, tmp_path):
    path = tmp_path / "parts.npz"
    np.savez(path, X=np.eye(4), y=[0, 0, 1, 1], anomaly=[0, 1, 0, 1])
    plain, fine = scripts("_anonymization").read(path)
    assert (plain.arrays.y.tolist(), plain.name) == ([0, 0, 1, 1], "parts")
    assert (fine.arrays.y.tolist(), fine.name) == ([0, 1, 2, 3], "parts by anomaly")


def test_file_without_embeddings_is_refused(scripts, tmp_path):
    np.savez(tmp_path / "other.npz", X_train=np.eye(2), y_train=[0, 1])
    with pytest.raises(typer.BadParameter, match="y_test"):
        scripts("_anonymization").read(tmp_path / "other.npz")


def test_training_rows_are_distinct_and_of_large_classes(scripts, tmp_path):
    path = tmp_path / "whole.npz"
    X = np.array([[0.0], [1], [1], [2], [3], [4]])
    np.savez(path, X=X, y=[0, 0, 0, 1, 1, 1])
    (data,) = scripts("_anonymization").read(path)
    X, y = data.training_rows(3)
    assert (X.ravel().tolist(), y.tolist()) == ([2, 3, 4], [1, 1, 1])


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"train": 60, "val": 10, "test": 20}, [60, 10, 20]),
        ({"train": 60, "test": 20}, [60, 4, 16]),
    ],
)
def test_validation_rows_never_come_from_the_training_rows(
    scripts, tmp_path, given, sizes
):
    (data,) = scripts("_anonymization").read(save(tmp_path / "a.npz", **given))
    parts = data.parts()
    assert [len(X) for X, _ in parts] == sizes
    np.testing.assert_array_equal(parts[0][0], data.arrays.X_train)
    assert len(np.unique(np.concatenate([X for X, _ in parts]), axis=0)) == sum(sizes)


def test_file_without_split_is_cut_in_three(scripts, tmp_path):
    X, y = clusters(100)
    np.savez(tmp_path / "whole.npz", X=X, y=y)
    (data,) = scripts("_anonymization").read(tmp_path / "whole.npz")
    parts = data.parts()
    assert [np.bincount(y).tolist() for _, y in parts] == [[30, 30], [10, 10], [10, 10]]
    assert len(np.unique(np.concatenate([X for X, _ in parts]), axis=0)) == 100


@pytest.mark.parametrize(
    ("n_rows", "most_steps", "epochs"),
    [(546, None, 500), (546, 3000, 500), (10847, 3000, 69), (10847, 1, 1)],
)
def test_cvae_of_the_thesis_has_its_epochs_or_as_many_as_the_steps_allow(
    scripts, n_rows, most_steps, epochs
):
    cvae = scripts("_anonymization").thesis_cvae("small", n_rows, most_steps, 0)
    assert cvae.max_epochs == epochs


def test_bmvc_knows_what_the_real_rows_are(scripts, tmp_path):
    data = save(tmp_path / "a.npz", train=80, test=20)
    output, figure = tmp_path / "bmvc.csv", tmp_path / "new" / "curves.png"
    scripts("bmvc").main([data], output, figure, 1, tmp_path / "ledger")
    rows = {row["method"]: row for row in read_csv(output)}
    assert len(rows) == 12
    identity = rows["identity"]
    for name in ("distance", "distance_by_feature", "distance_as_paper"):
        assert identity[name] == "0.00"
    assert identity["accuracy"] == "100.00"
    assert identity["membership_auc"] == "1.000"
    control = rows["rows of strangers"]
    assert control["accuracy"] == ""
    assert 0.2 < float(control["membership_auc"]) < 0.8
    curves = read_csv(tmp_path / "bmvc_robustness.csv")
    assert [row["method"] for row in curves] == list(rows)[:-1]
    assert all(row["0"] == rows[row["method"]]["accuracy"] for row in curves)
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_bmvc_drops_the_rows_that_the_program_leaves_out(scripts):
    X, y = clusters(42)
    val = clusters(20, seed=1)
    releases = {r.name: r for r in scripts("bmvc").publish(X, y, val, 0)}
    # 42 rows are 8 clusters of 5, and 2 more: the last ones.
    blind = releases["k-Same 5, label-blind"]
    np.testing.assert_array_equal(blind.y, y[:40])
    counts = np.unique(blind.X, axis=0, return_counts=True)[1]
    assert counts.tolist() == [5] * 8
    assert len(releases["k-Same 5"].X) == 42
    assert len(releases["CVAE (ours), online"].X) == 420


def test_bmvc_continues_where_it_stopped_and_not_with_other_data(scripts, tmp_path):
    script, ledger = scripts("bmvc"), tmp_path / "ledger"
    data = scripts("_anonymization").read(save(tmp_path / "a.npz", train=80, test=20))
    first = script.run(data[0], 1, ledger)
    (entry,) = ledger.iterdir()
    entry.write_text(entry.read_text().replace("within class", "remembered"))
    again = script.run(data[0], 1, ledger)
    assert again[0] == first[0] and "remembered" in again[2]["k-Same 2"]
    data[0].arrays["X_train"] = data[0].arrays["X_train"] + 1
    assert "within class" in script.run(data[0], 1, ledger)[2]["k-Same 2"]


def test_bmvc_takes_the_splits_of_a_file_and_drops_rows_that_are_in_two(
    scripts, tmp_path
):
    X, y = clusters(160)
    arrays = {"X_train": X, "X_val": X[:40] + 7, "X_test": X[:40] + 9}
    arrays["X_train"][3], arrays["X_val"][5] = arrays["X_test"][[10, 12]]
    arrays |= {f"y{name[1:]}": y[: len(a)] for name, a in arrays.items()}
    np.savez(tmp_path / "three.npz", **arrays)
    data = scripts("_anonymization").read(tmp_path / "three.npz")[0]
    train, test, val = scripts("bmvc").split(data, 0)
    for found, name, dropped in (
        (train, "train", 3),
        (val, "val", 5),
        (test, "test", 40),
    ):
        for array, kind in zip(found, "Xy", strict=True):
            expected = np.delete(arrays[f"{kind}_{name}"], [dropped][: dropped < 40], 0)
            np.testing.assert_allclose(array, expected, rtol=1e-5)


def test_cvae_of_the_bmvc_program_has_its_settings(scripts):
    X, y = clusters(60)
    cvae = scripts("bmvc").paper_cvae(*clusters(20, seed=1), 0).fit(X, y)
    module = cvae.generator_.net_.module_
    assert module.backbone.encoder_in.linear.out_features == 256
    assert module.backbone.encoder_out.out_features == 2 * 50
    assert cvae.get_params()["beta"] == 0.1
    assert "valid_loss" in cvae.generator_.history_[0]


def test_figure_12_measures_to_the_nearest_original(scripts, tmp_path):
    data = save(tmp_path / "a.npz", train=90, test=10)
    output, figure = tmp_path / "f.csv", tmp_path / "f.png"
    script = scripts("figure_12")
    script.main([data], output, figure, 1)
    rows = {row["from"]: row for row in read_csv(output)}
    X, H, *_ = script.thirds(*scripts("_anonymization").read(data)[0].training_rows(30))
    expected = np.median(NearestNeighbors(n_neighbors=1).fit(X).kneighbors(H)[0])
    assert float(rows["hold-out"]["50 %"]) == pytest.approx(expected, abs=1e-3)
    expected = NearestNeighbors(n_neighbors=2).fit(X).kneighbors(X)[0][:, 1].min()
    assert float(rows["originals"]["min"]) == pytest.approx(expected, abs=1e-3)
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_noise_of_figure_12_moves_rows_as_far_as_their_neighbours_are(scripts):
    X, _ = clusters(40)
    moved = np.linalg.norm(scripts("figure_12").add_noise(X) - X, axis=1)
    nearest = NearestNeighbors(n_neighbors=2).fit(X).kneighbors(X)[0][:, 1]
    np.testing.assert_allclose(moved, nearest)


def test_thirds_of_the_benchmark_are_disjoint_and_stratified(benchmark):
    X, y = clusters(90)
    parts = benchmark.thirds(X, y, 0)
    assert [np.bincount(y).tolist() for _, y in parts] == [[15, 15]] * 3
    assert len(np.unique(np.concatenate([X for X, _ in parts]), axis=0)) == 90


@pytest.mark.parametrize(
    ("auc", "accuracy", "balanced", "holds"),
    [
        (0.549, 80.0, 70.0, True),
        (0.551, 80.0, 70.0, False),
        (0.5, 79.9, 70.0, False),
        (0.5, 80.0, 69.9, False),
    ],
)
def test_benchmark_says_whether_a_requirement_holds(
    benchmark, capsys, auc, accuracy, balanced, holds
):
    other = np.array([[0.6, 0, 0, 0, 80, 70], [0.6, 0, 0, 0, 80, 70]])
    # Two seeds around the mean.
    rows = np.array([[auc, 0, 0, 0, accuracy, balanced]] * 2)
    rows[:, 0] += [0.01, -0.01]
    scores = {"CVAE": rows, "CVAE, stream": rows, "k-Same 10": other}
    benchmark.compare_with_k_same(scores)
    verdict = "holds: " if holds else "DOES NOT HOLD: "
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith(verdict) for line in lines] == [True, True]
    # The 97.5 % quantile of Student's t with one degree of freedom is 12.706.
    assert f"AUC {auc - 0.6:+.3f} ± 0.127" in lines[0]


def test_benchmark_refuses_unknown_parts(benchmark, tmp_path):
    with pytest.raises(typer.BadParameter, match="utility-mvtec"):
        benchmark.main(tmp_path, ["utility"])
