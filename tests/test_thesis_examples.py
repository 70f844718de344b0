"""The scripts of the thesis's tables: rows, columns, its numbers, whole files."""

import csv
import importlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import typer
from sklearn.utils import Bunch

from skcvae.generators import CVAE

FOLDER = Path(__file__).parents[1] / "examples" / "thesis"
# One epoch is too short for the CVAE.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GROUPS = ["overall", "many", "medium", "few"]
COLUMNS = [
    *(name for group in GROUPS for name in (group, f"{group}_std")),
    *("cvaes", "cvae_std"),
    *(f"thesis_{group}" for group in GROUPS),
    "note",
]
# Script, number of classes, name in thesis_numbers.json, rows, columns of the method.
VARIANCE = ["method", "thesis_variance", "variance", "fit_time"]
TABLES = [
    ("table_4", 100, "table_4", 16, VARIANCE),
    ("table_5", 10, "table_5", 16, VARIANCE),
    ("table_6", 100, "table_6_cifar100", 14, ["method"]),
    ("table_6", 10, "table_6_cifar10", 14, ["method"]),
    ("table_7", 100, "table_7", 36, ["method"]),
    ("table_8", 10, "table_8", 36, ["method"]),
]


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def thesis(scripts):
    return scripts("_thesis")


@pytest.fixture(scope="module")
def data_files(tmp_path_factory):
    """Far clusters in 4 dimensions, by the number of classes."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    files = {}
    for n_classes, largest in ((10, 110), (100, 8)):
        counts = np.geomspace(largest, 2, n_classes).astype(int)
        centres = 1000 * rng.randn(n_classes, 4)
        y, y_test = np.repeat(np.arange(n_classes), counts), np.arange(n_classes)
        files[n_classes] = folder / f"{n_classes}.npz"
        np.savez(
            files[n_classes],
            X_train=centres[y] + rng.randn(len(y), 4),
            y_train=y,
            X_test=centres[y_test],
            y_test=y_test,
        )
    return files


@pytest.fixture(scope="module")
def run_table(scripts, data_files, tmp_path_factory):
    """Run a script with one seed and one epoch; return the rows of its CSV."""
    cache = tmp_path_factory.mktemp("cache")
    results = {}

    def run(script, n_classes):
        key = script, n_classes
        if key not in results:
            output = tmp_path_factory.mktemp("output") / "new" / "table.csv"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(scripts("_thesis"), "PASSES", 1)
                patch.setattr(scripts("_thesis"), "CVAE", partial(CVAE, max_epochs=1))
                patch.setattr(scripts("_methods"), "DEFAULT_HEAD", {"max_epochs": 1})
                scripts(script).main(data_files[n_classes], output, 1, 1, cache)
            assert [path.name for path in output.parent.iterdir()] == ["table.csv"]
            with output.open(newline="") as file:
                results[key] = list(csv.DictReader(file))
        return results[key]

    return run


@pytest.mark.parametrize(("script", "n_classes", "table", "n_rows", "first"), TABLES)
def test_tables_have_their_rows_and_columns(
    run_table, script, n_classes, table, n_rows, first
):
    rows = run_table(script, n_classes)
    assert len(rows) == n_rows
    assert len({tuple(row[name] for name in first) for row in rows}) == n_rows
    for row in rows:
        assert list(row) == [*first, *COLUMNS]
        if not row["note"].startswith("not applicable"):
            assert 0 <= float(row["overall"]) <= 100


@pytest.mark.parametrize(("script", "n_classes", "table", "n_rows", "first"), TABLES)
def test_each_number_of_the_thesis_stands_in_one_row(
    thesis, run_table, script, n_classes, table, n_rows, first
):
    printed = [
        tuple(float(cell) for group in GROUPS if (cell := row[f"thesis_{group}"]))
        for row in run_table(script, n_classes)
    ]
    expected = [tuple(row.values()) for row in thesis.NUMBERS[table].values()]
    assert sorted(filter(None, printed)) == sorted(expected)


@pytest.mark.parametrize(
    ("script", "n_classes", "method", "columns", "numbers"),
    [
        ("table_4", 100, "CVAE (thesis), large", {"variance": "0.5625"}, "85.67 78.37"),
        (
            "table_4",
            100,
            "CVAE (thesis), small",
            {"thesis_variance": "3"},
            "84.19 73.83",
        ),
        ("table_5", 10, "CVAE (thesis), large", {"variance": "1"}, "98.11 "),
        ("table_6", 100, "Baseline", {}, "80.47 63.40"),
        ("table_6", 100, "CVAE (thesis) + Remix", {}, "85.84 80.57"),
        ("table_6", 100, "ClassGaussian", {}, " "),
        ("table_6", 10, "SMOTE", {}, "97.69 "),
        ("table_7", 100, "balanced softmax", {}, "86.26 79.35"),
        ("table_7", 100, "balanced softmax + CVAE (thesis)", {}, "84.09 85.58"),
        ("table_7", 100, "LDAM (as in the program)", {}, "77.14 59.50"),
        ("table_7", 100, "LDAM (cosine head) + CVAE (thesis)", {}, " "),
        ("table_8", 10, "equalization + CVAE (thesis)", {}, "98.09 "),
    ],
)
def test_numbers_of_the_thesis_stand_beside_their_method(
    run_table, script, n_classes, method, columns, numbers
):
    wanted = {"method": method, **columns}
    (row,) = (r for r in run_table(script, n_classes) if wanted.items() <= r.items())
    assert f"{row['thesis_overall']} {row['thesis_few']}" == numbers


def test_method_that_does_not_fit_the_data_says_so(run_table):
    # Around a row of a far cluster there is no other class: ADASYN divides by zero.
    rows = run_table("table_6", 10)
    (adasyn,) = (row for row in rows if row["method"] == "ADASYN")
    assert adasyn["note"].startswith("not applicable: ADASYN raises")
    assert [adasyn[group] for group in GROUPS] == [""] * 4
    assert adasyn["thesis_overall"] == "97.51"


@pytest.mark.parametrize(
    ("n_rows", "n_steps", "passes_over_50000"), [(10847, 860, 4), (12406, 980, 5)]
)
def test_heads_get_the_same_number_of_steps(thesis, n_rows, n_steps, passes_over_50000):
    setup = thesis.Setup(Bunch(X_train=np.empty((n_rows, 1))), 1, 1, None)
    assert setup.n_steps == n_steps
    assert setup.epochs(n_rows) == 20
    assert setup.epochs(50000) == passes_over_50000


def test_variance_is_the_square_of_the_thesis_and_needs_no_training(
    thesis, data_files, tmp_path
):
    data = thesis.load(data_files[10])
    setup = thesis.Setup(data, 1, 1, tmp_path)
    first, second = (setup.fit(setup.thesis_cvae("small", v)) for v in (0.5, 3))
    assert (first.variance, second.variance) == (0.25, 9)
    assert first.history_[:, "dur"] == second.history_[:, "dur"]
    other = setup.fit(setup.thesis_cvae("small", 3, seed=1))
    assert other.history_[:, "dur"] != second.history_[:, "dur"]


def test_mean_and_sample_deviation_over_the_seeds(thesis, monkeypatch):
    scores = {0: [50.0, 60.0, 70.0, np.nan], 1: [54.0, 60.0, 71.0, np.nan]}
    monkeypatch.setattr(thesis, "evaluate", lambda method, setup, pair: scores[pair[1]])
    setup = thesis.Setup(None, 1, 2, None)
    row = thesis.table_row(thesis.Method("A", {}), setup, {"overall": 80.5})
    assert [row[group] for group in GROUPS] == ["52.00", "60.00", "70.50", ""]
    assert [row[f"{group}_std"] for group in GROUPS] == ["2.83", "0.00", "0.71", ""]
    assert (row["thesis_overall"], row["thesis_few"]) == ("80.50", "")
    assert (row["cvaes"], row["cvae_std"]) == ("", "")


def test_spread_of_heads_and_that_of_trainings_stand_apart(thesis, monkeypatch):
    # Two trainings with means 51 and 55, whose heads deviate by the root of 2 and of 8.
    scores = {(0, 0): 50.0, (0, 1): 52.0, (1, 0): 53.0, (1, 1): 57.0}
    monkeypatch.setattr(thesis, "evaluate", lambda m, s, pair: [scores[pair]] * 4)
    setup = thesis.Setup(None, 1, 2, None)
    row = thesis.table_row(thesis.Method("A", {}, trainings=2), setup, {})
    assert (row["overall"], row["overall_std"]) == ("53.00", f"{5**0.5:.2f}")
    assert (row["cvaes"], row["cvae_std"]) == (2, f"{8**0.5:.2f}")


def test_failed_write_keeps_the_old_file(thesis, tmp_path):
    path = tmp_path / "table.csv"
    thesis.write_csv([{"method": "old"}], path)
    with pytest.raises(ValueError, match="fieldnames"):
        thesis.write_csv([{"method": "new"}, {"method": "new", "extra": 1}], path)
    assert path.read_text() == "method\nold\n"
    assert list(tmp_path.iterdir()) == [path]


def test_unsuitable_data_are_refused_before_any_training(
    scripts, thesis, data_files, tmp_path, monkeypatch
):
    monkeypatch.setattr(thesis, "run", lambda *args: pytest.fail("trained"))
    # The thesis has no table 4 for 10 classes: nothing may replace the stored one.
    with pytest.raises(typer.BadParameter, match="--output"):
        scripts("table_4").main(data_files[10])
    np.savez(tmp_path / "whole.npz", X=np.ones((4, 2)), y=[0, 0, 1, 1])
    with pytest.raises(typer.BadParameter, match="X_test"):
        scripts("table_4").main(tmp_path / "whole.npz")
