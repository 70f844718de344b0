"""The commands compare and demo: splits, table, recommendation, script and errors."""

import json
import os
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
from numpy.testing import assert_allclose
from PIL import Image
from safetensors.torch import save_file
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from typer.testing import CliRunner

from skcvae._formats import SUFFIXES
from skcvae._statistics import resampled_mean
from skcvae.cli import _comparison, _methods, _sources, app
from skcvae.cli._comparison import Comparison, Plan, compare_methods
from skcvae.cli._databases import write_database
from skcvae.embedding import FoundationEmbedder
from skcvae.over_sampling import CVAEOverSampler

ROOT = Path(__file__).parents[1]
TITLES = (
    *("no resampling", "class weights", "SMOTE", "ClassGaussian", "CVAE"),
    *("LongTailClassifier", "LogLinearPool"),
)


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    """Train CVAEs for one epoch."""
    short = partial(CVAEOverSampler, max_epochs=1)
    monkeypatch.setattr(_methods, "CVAEOverSampler", short)


@pytest.fixture
def only(monkeypatch):
    """Return a function that lets the command compare some methods only."""

    def restrict(*names):
        chosen = {name: _comparison.CLASSIFIERS[name] for name in names}
        monkeypatch.setattr(_comparison, "CLASSIFIERS", chosen)

    return restrict


def draw(seed, sizes=(60, 15, 8)):
    """Return samples of overlapping classes."""
    rng = np.random.RandomState(seed)
    y = np.repeat(["ant", "bee", "cat"][: len(sizes)], sizes)
    codes = np.unique(y, return_inverse=True)[1]
    X = rng.normal(size=(len(y), 5)) + 2 * np.eye(5)[codes]
    return X.astype(np.float32), y


@pytest.fixture
def database(tmp_path):
    X, y = draw(0)
    np.savez(tmp_path / "photos.npz", X=X, y=y)
    return tmp_path / "photos.npz"


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    """Run commands in a folder of their own: by default they write to it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def printed_by(script):
    """Run a script in a fresh interpreter, and return what it prints."""
    finished = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_compare_prints_a_table_draws_and_writes_a_script(database, tmp_path):
    figure = tmp_path / "figure.png"
    result = run(database, "--splits", 3, "--figure", figure)
    assert result.exit_code == 0, result.output
    for name in (*TITLES, "balanced accuracy", "few", "seconds"):
        assert name in result.output
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert Path("skcvae_compare.py").is_file()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_script_prints_the_score_of_the_command(tmp_path, suffix, only, capsys):
    only("none", "class-weights", "smote", "gaussian")
    source = tmp_path / f"photos{suffix}"
    X, y = draw(1)
    parts = {"X_train": X, "y_train": y, "X_test": X[:9], "y_test": y[:9]}
    whole = {"embeddings": X, "labels": y}
    write_database(source, whole if suffix == ".npz" else parts)
    script = tmp_path / "best.py"
    options = ("--splits", 3, "--imbalance-ratio", 10, "--script", script, "--json")
    result = run(source, *options)
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert outcome["n_samples"] == 83
    score = outcome["methods"][outcome["best"]]["balanced_accuracy"]
    runpy.run_path(str(script))
    assert capsys.readouterr().out == f"balanced accuracy: {score:.1f} %\n"
    assert outcome["recommendation"].split()[0] in ("Use", "Too", "Do")


@pytest.mark.parametrize("name", ["smote", "cvae", "long-tail", "pool"])
def test_scripts_of_any_winner_run(database, name, only, monkeypatch, tmp_path, capsys):
    title = _comparison.CLASSIFIERS[name]
    only("none", name)
    monkeypatch.setattr(Comparison, "best", title)
    script = tmp_path / "best.py"
    result = run(database, "--splits", 3, "--script", script, "--json")
    score = json.loads(result.stdout)["methods"][title]["balanced_accuracy"]
    runpy.run_path(str(script))
    assert capsys.readouterr().out == f"balanced accuracy: {score:.1f} %\n"


def test_the_script_embeds_photos_alike(tmp_path, only, monkeypatch):
    only("none", "smote")
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), weights)
    rng = np.random.RandomState(0)
    for label, n_photos, shade in (("cat", 9, 60), ("dog", 5, 160)):
        folder = tmp_path / "photos" / "train" / label
        folder.mkdir(parents=True)
        for i in range(n_photos):
            pixels = rng.randint(shade, shade + 60, (30, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    (tmp_path / "photos" / "test" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "train" / "cat" / "broken.png").write_text("no image")
    encoder = ("--model", "test_vit", "--weights", weights, "--image-size", 32)
    result = run(tmp_path / "photos", "--splits", 3, *encoder, "--json")
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert outcome["n_samples"] == 14
    assert "test samples stay unused" in result.stderr
    assert "broken.png" in result.stderr
    score = outcome["methods"][outcome["best"]]["balanced_accuracy"]
    assert (
        printed_by(Path("skcvae_compare.py").resolve())
        == f"balanced accuracy: {score:.1f} %\n"
    )
    assert [path.name for path in Path("skcvae_cache").iterdir()]
    # embed takes the embeddings over.
    monkeypatch.setattr(FoundationEmbedder, "_forward", None)
    embed = ["embed", tmp_path / "photos", "-o", "out.npz", *encoder, "--split=train"]
    embed += ["--cache=skcvae_cache", "--on-error=skip"]
    result = CliRunner().invoke(app, list(map(str, embed)))
    assert result.exit_code == 0, result.output


def test_scores_are_those_of_the_pipelines(only):
    only("none", "class-weights", "smote", "long-tail")
    X, y = draw(0)
    plan = Plan(3, seed=4)
    comparison = compare_methods(X, y, plan)
    assert len(comparison.scores) == 4
    for title, model in comparison.models.items():
        for i, (train, test) in enumerate(plan.splits(y)):
            y_pred = model.fit(X[train], y[train]).predict(X[test])
            expected = 100 * balanced_accuracy_score(y[test], y_pred)
            assert_allclose(comparison.scores[title][i, 0], expected)


def test_digits_are_thinned_for_training_only():
    _, y = load_digits(return_X_y=True)
    for train, test in Plan(3, imbalance_ratio=50).splits(y):
        counts = np.bincount(y[train])
        assert counts.min() == counts.max() // 50
        assert np.bincount(y[test]).min() > 30
        assert not set(train) & set(test)


def test_the_largest_class_stays_whole_whatever_its_name():
    y = np.repeat(["a", "b", "c"], [10, 40, 100])
    for train, _ in Plan(3, imbalance_ratio=16).splits(y):
        counts = dict(zip(*np.unique(y[train], return_counts=True), strict=True))
        assert counts == {"c": 80, "b": 20, "a": 5}


def test_smote_is_left_out_for_a_class_of_one_sample(only):
    only("none", "smote", "gaussian")
    X, y = draw(0, sizes=(30, 4, 1))
    comparison = compare_methods(X, y, Plan(3))
    assert list(comparison.scores) == ["no resampling", "ClassGaussian"]


def comparison_of(**scores):
    """Return a comparison with these balanced accuracies."""
    columns = {
        title: np.column_stack([values, *[np.full(len(values), np.nan)] * 3])
        for title, values in scores.items()
    }
    return Comparison(dict.fromkeys(scores), columns, dict.fromkeys(scores, 0.0), 0.25)


BASE = np.array([50.0, 52, 51, 49, 50])


def test_intervals_and_tests_count_that_splits_overlap():
    values = np.array([1.0, 3.0, 2.0, 6.0])
    estimate, p_value = resampled_mean(values, 0.25)
    t = stats.t(3)
    error = values.std(ddof=1) * np.sqrt(1 / 4 + 0.25)
    assert_allclose(estimate, [3, 3 - t.ppf(0.975) * error, 3 + t.ppf(0.975) * error])
    assert_allclose(p_value, 2 * t.sf(3 / error))
    # Without overlap, it is the t-test of one sample.
    assert_allclose(resampled_mean(values, 0)[1], stats.ttest_1samp(values, 0).pvalue)


def test_values_without_spread_have_sure_signs():
    assert resampled_mean([2.0, 2.0, 2.0], 0.25) == ((2, 2, 2), 0)
    assert resampled_mean([0.0, 0.0, 0.0], 0.25) == ((0, 0, 0), 1)


def test_a_sure_winner_is_named_with_its_margin():
    comparison = comparison_of(
        **{"no resampling": BASE, "SMOTE": BASE + 5, "CVAE": BASE + 20 + BASE % 2}
    )
    assert (comparison.verdict, comparison.best) == ("use", "CVAE")
    assert comparison.rivals() == []
    text = comparison.recommendation()
    assert text.startswith(
        "Use CVAE: it scores highest, 20.4 points above no resampling"
    )
    assert "Too close" not in text


def test_methods_close_to_the_best_are_named():
    noise = np.array([1.0, -1, 1, -1, 0.5])
    comparison = comparison_of(
        **{"no resampling": BASE, "SMOTE": BASE + 20, "CVAE": BASE + 20 + noise}
    )
    assert comparison.best == "CVAE" and comparison.rivals() == ["SMOTE"]
    assert "The simplest of these is SMOTE." in comparison.recommendation()


def test_a_margin_within_its_error_is_too_close_to_call():
    noise = np.array([8.0, -6, 9, -5, 0])
    comparison = comparison_of(**{"no resampling": BASE, "CVAE": BASE + noise})
    assert comparison.verdict == "too close to call"
    assert comparison.recommendation().startswith("Too close to call: CVAE scores")


def test_nothing_is_to_be_done_where_nothing_helps():
    comparison = comparison_of(**{"no resampling": BASE, "CVAE": BASE - 1})
    assert comparison.verdict == "do nothing"
    assert comparison.recommendation().startswith("Do nothing: no method scores higher")
    # Of equal methods, the simplest one is the best.
    assert (
        comparison_of(**{"no resampling": BASE, "CVAE": BASE}).verdict == "do nothing"
    )


def test_p_values_are_corrected_for_their_number():
    """A difference that is sure alone is not, as the smallest of many."""
    noise = np.array([1.0, 4, 2, 5, 3])
    gain = 1.4 * noise
    _, p_value = resampled_mean(gain, 0.25)
    assert 0.01 < p_value < 0.05
    assert (
        comparison_of(**{"no resampling": BASE, "CVAE": BASE + gain}).verdict == "use"
    )
    others = {f"method {i}": BASE + 0.1 * i for i in range(9)}
    many = comparison_of(**{"no resampling": BASE, **others, "CVAE": BASE + gain})
    assert many.verdict == "too close to call"


def test_intervals_of_accuracies_end_at_100():
    values = np.array([99.0, 100, 96, 100, 100])
    comparison = comparison_of(**{"no resampling": values})
    mean, _ = comparison.estimate("no resampling")
    unclipped, _ = resampled_mean(values, comparison.test_ratio)
    assert unclipped.high > 100
    assert mean == (unclipped.value, unclipped.low, 100)
    assert ", 100.0]" in _comparison.format_table(comparison)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("too close to call", "Script, if you want the best of them anyway: best.py,"),
        ("use", "Script: best.py, which trains"),
    ],
)
def test_a_script_is_no_advice_where_the_result_is_open(
    database, only, monkeypatch, verdict, text
):
    only("none", "class-weights")
    monkeypatch.setattr(Comparison, "verdict", verdict)
    result = run(database, "--splits", 3, "--script", "best.py")
    assert result.exit_code == 0 and text in result.output


# Errors


@pytest.mark.parametrize("name", ["text.npz", "text.parquet", "text.safetensors"])
def test_files_that_cannot_be_read_give_one_line(tmp_path, name):
    (tmp_path / name).write_text("some text")
    result = run(tmp_path / name)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ") and name in result.output
    assert "Traceback" not in result.output


def test_values_that_are_not_finite_are_refused(tmp_path):
    X, y = draw(0)
    X[3, 2] = np.nan
    np.savez(tmp_path / "nan.npz", X=X, y=y)
    result = run(tmp_path / "nan.npz")
    assert result.exit_code == 1 and "not finite" in result.output


def test_copies_of_samples_are_told(tmp_path, only):
    only("none", "class-weights")
    X, y = draw(0)
    X = np.r_[X, X[:7], X[7:10] + 1e-4]
    np.savez(tmp_path / "twice.npz", X=X, y=np.r_[y, y[:7], y[7:10]])
    result = run(tmp_path / "twice.npz", "--splits", 3)
    assert result.exit_code == 0
    told = "20 samples have an equal or nearly equal one (14 and 6)"
    assert told in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--script", "none/best.py"], "no folder"),
        (["--script", "best.txt"], "a .py file"),
        (["--figure", "figure.npz"], "a .png file"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_first(
    database, options, message, monkeypatch
):
    monkeypatch.setattr("skcvae.cli._comparison.compare_methods", None)
    result = run(database, *options)
    assert result.exit_code == 1 and message in result.output


def test_wrong_usage_has_the_status_2(database, tmp_path):
    assert run(tmp_path / "missing.npz").exit_code == 2
    assert run(database, "--splits", 2).exit_code == 2
    result = run(database, "--imbalance-ration", 3)
    assert result.exit_code == 2 and "--imbalance-ratio" in result.output
    result = CliRunner().invoke(app, ["compar"])
    assert result.exit_code == 2 and "Did you mean 'compare'" in result.output


def test_a_script_is_written_whole_or_not_at_all(database, tmp_path, monkeypatch):
    script = tmp_path / "best.py"
    script.write_text("an older file")
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError("full")))
    result = run(database, "--splits", 3, "--script", script)
    assert result.exit_code == 1 and "full" in result.output
    assert script.read_text() == "an older file"


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert "skcvae[plot]" in result.output


def test_demo_compares_on_digits(monkeypatch, only):
    only("none", "class-weights")
    X, y = load_digits(return_X_y=True)
    monkeypatch.setattr(_sources, "load_digits", lambda **_: (X[:300], y[:300]))
    result = CliRunner().invoke(
        app, ["demo", "--splits", "3", "--imbalance-ratio", "5"]
    )
    assert result.exit_code == 0, result.output
    assert "digits: 300 samples, 3 splits" in result.output
    assert Path("skcvae_demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("own, expected", [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_commands_sleep_while_they_wait(own, expected, monkeypatch):
    # monkeypatch puts back what the command sets.
    monkeypatch.setenv("OMP_WAIT_POLICY", own or "")
    if own is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    CliRunner().invoke(app, ["demo", "--figure", "figure.txt"])
    assert os.environ["OMP_WAIT_POLICY"] == expected


def test_torch_is_loaded_after_the_policy_is_set():
    code = "import sys, skcvae.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
