"""The command demo: trials, table, named winner and errors."""

import numpy as np
import pytest
from typer.testing import CliRunner

from skcvae.cli import _demo_trials as trials_of_demo
from skcvae.cli import app


@pytest.fixture
def embeddings(tmp_path):
    """A small file of two well separated classes, with a split."""
    rng = np.random.RandomState(0)
    y = np.repeat(["cat", "dog"], [60, 15])
    X = rng.randn(75, 5) + 6 * (y == "dog")[:, None]
    path = tmp_path / "embeddings.npz"
    np.savez(path, X_train=X, y_train=y, X_test=X[::3], y_test=y[::3])
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


def test_demo_on_a_file_prints_a_table_and_draws(embeddings, tmp_path):
    figure = tmp_path / "figure.png"
    result = run("--data", embeddings, "--output", figure, "--folds", 2)
    assert result.exit_code == 0, result.output
    for name in ("no resampling", "SMOTE", "ClassGaussian", "CVAE", "overall", "few"):
        assert name in result.output
    assert "highest overall accuracy" in result.output
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_digits_are_thinned_for_training_only():
    trials = list(trials_of_demo.digits_trials(3, seed=0))
    assert len(trials) == 3
    tested = sum(len(t.y_test) for t in trials)
    assert tested == 1797
    for trial in trials:
        counts = np.bincount(trial.y_train)
        assert counts[0] // counts[-1] == pytest.approx(50, rel=0.25)
        assert np.bincount(trial.y_test).min() > 50
        train_samples = {row.tobytes() for row in trial.X_train}
        assert not train_samples & {row.tobytes() for row in trial.X_test}


def test_scores_are_those_of_the_pipeline(embeddings):
    scores = trials_of_demo.run_trials(
        trials_of_demo.file_trials(embeddings, 2, seed=0), device="cpu"
    )
    assert set(scores) == {"no resampling", "SMOTE", "ClassGaussian", "CVAE"}
    for values in scores.values():
        assert values.shape == (2, 5)
        np.testing.assert_allclose(values[:, 0], 100)


def test_smote_is_left_out_for_a_class_of_one_sample(tmp_path):
    rng = np.random.RandomState(0)
    X, y = rng.randn(31, 3), np.r_[np.zeros(30), 1]
    np.savez(tmp_path / "one.npz", X_train=X, y_train=y, X_test=X, y_test=y)
    trials = trials_of_demo.file_trials(tmp_path / "one.npz", 2, seed=0)
    scores = trials_of_demo.run_trials(trials, device="cpu")
    assert set(scores) == {"no resampling", "ClassGaussian", "CVAE"}


def column(*values):
    return np.column_stack([values, *[np.zeros(len(values))] * 4])


def test_the_winner_is_named_with_its_margin():
    text = trials_of_demo.describe_winner({"a": column(50, 52), "b": column(60, 64)})
    assert text.startswith("b has the highest overall accuracy, 11.0 points above a")
    assert "paired difference 1.0" in text
    assert "too close" not in text


def test_a_margin_within_its_error_is_too_close_to_call():
    text = trials_of_demo.describe_winner({"a": column(50, 60), "b": column(58, 54)})
    assert text.endswith("too close to call.")


def test_too_few_samples_for_the_folds_fail_before_training(tmp_path):
    np.savez(tmp_path / "few.npz", X=np.eye(6), y=[0, 0, 0, 0, 1, 1])
    result = run("--data", tmp_path / "few.npz", "--folds", 3)
    assert result.exit_code == 1
    assert "the smallest has 2" in result.output


@pytest.mark.parametrize("name", ["missing.npz", "text.npz"])
def test_files_that_cannot_be_read_give_one_line(tmp_path, name):
    (tmp_path / "text.npz").write_text("text")
    result = run("--data", tmp_path / name)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output


def test_a_missing_folder_fails_before_training(embeddings, tmp_path):
    result = run("--data", embeddings, "--output", tmp_path / "no" / "figure.png")
    assert result.exit_code == 1
    assert "no folder" in result.output


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    result = run()
    assert result.exit_code == 1
    assert "skcvae[plot]" in result.output
