"""The commands train and predict: what a model file holds, and what is refused."""

import csv
import json
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skops.io as skops
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

from skcvae.cli import _methods, app
from skcvae.cli._common import CLASSIFIERS
from skcvae.cli._methods import make_classifier
from skcvae.cli._models import TRUSTED, load_model, save_model
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import CVAEOverSampler

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    """Train CVAEs for one epoch."""
    short = partial(CVAEOverSampler, max_epochs=1)
    monkeypatch.setattr(_methods, "CVAEOverSampler", short)


def draw(seed, sizes=(40, 12, 6)):
    rng = np.random.RandomState(seed)
    y = np.repeat(["ant", "bee", "cat"], sizes)
    codes = np.unique(y, return_inverse=True)[1]
    X = rng.normal(size=(len(y), 4)) + 2 * np.eye(4)[codes]
    return X.astype(np.float32), y


@pytest.fixture
def database(tmp_path):
    X, y = draw(0)
    X_test, y_test = draw(1)
    np.savez(tmp_path / "a.npz", X_train=X, y_train=y, X_test=X_test, y_test=y_test)
    return tmp_path / "a.npz"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", CLASSIFIERS)
def test_predictions_of_a_saved_model_are_those_of_the_classifier(
    database, tmp_path, method
):
    model, table = tmp_path / "model.skops", tmp_path / "table.csv"
    result = run("train", database, "-o", model, "--method", method, "--json")
    assert result.exit_code == 0, result.output
    trained = json.loads(result.stdout)
    result = run("predict", model, database, "-o", table, "--json")
    assert result.exit_code == 0, result.output
    classifier = make_classifier(method, 6, 0).fit(*draw(0))
    X, y = draw(1)
    expected = classifier.predict(X)
    rows = read_table(table)
    assert [row["prediction"] for row in rows] == expected.tolist()
    assert [row["label"] for row in rows] == y.tolist()
    assert [row["sample"] for row in rows] == [str(i) for i in range(len(X))]
    assert_allclose(
        [float(row["probability"]) for row in rows],
        classifier.predict_proba(X).max(axis=1),
        rtol=1e-6,
    )
    score = balanced_accuracy_score(y, expected)
    assert_allclose(trained["balanced_accuracy"], score)
    assert_allclose(json.loads(result.stdout)["balanced_accuracy"], score)


def test_a_model_needs_few_types_and_holds_no_sampler(database, tmp_path):
    needed = set()
    for method in CLASSIFIERS:
        model = tmp_path / f"{method}.skops"
        assert run("train", database, "-o", model, "--method", method).exit_code == 0
        types = set(skops.get_untrusted_types(file=model))
        needed |= types
        if method not in ("long-tail", "pool"):
            assert not types
        assert not any("torch" in name for name in types)
    assert needed == TRUSTED
    # SMOTE keeps its training samples.
    sample = draw(0)[0][0].tobytes()
    assert sample not in (tmp_path / "smote.skops").read_bytes()


def test_the_closed_form_is_the_same_after_a_round_trip():
    X, y = draw(0)
    classifier = LongTailClassifier(random_state=0).fit(X, y)
    types = ["skcvae.generators._class_gaussian.ClassGaussian", "numpy.dtype"]
    types.append("skcvae.long_tail._classifier.LongTailClassifier")
    for loaded in (
        skops.loads(skops.dumps(classifier), trusted=types),
        pickle.loads(pickle.dumps(classifier)),
    ):
        assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
        assert_array_equal(loaded.coef_, classifier.coef_)
        assert loaded.device_ == classifier.device_
        logits = loaded.make_logits()(torch.from_numpy(X))
        assert_allclose(logits.softmax(1), loaded.predict_proba(X), atol=1e-6)


def test_samples_without_labels_are_predicted(database, tmp_path):
    model, table = tmp_path / "model.skops", tmp_path / "table.csv"
    assert run("train", database, "-o", model).exit_code == 0
    X, _ = draw(1)
    for arrays in ({"X": X}, {"embeddings": X}):
        np.savez(tmp_path / "new.npz", **arrays)
        result = run("predict", model, tmp_path / "new.npz", "-o", table)
        assert result.exit_code == 0 and "accuracy" not in result.output
        assert list(read_table(table)[0]) == ["sample", "prediction", "probability"]
        assert len(read_table(table)) == len(X)


def test_the_table_names_the_files_of_photos(database, tmp_path):
    model, table = tmp_path / "model.skops", tmp_path / "table.csv"
    assert run("train", database, "-o", model).exit_code == 0
    X, _ = draw(1)
    files = np.array([f"{i}.jpg" for i in range(len(X))])
    np.savez(tmp_path / "new.npz", X=X, files=files)
    assert run("predict", model, tmp_path / "new.npz", "-o", table).exit_code == 0
    assert [row["file"] for row in read_table(table)] == files.tolist()
    np.savez(tmp_path / "new.npz", X=X, files=files[:-1])
    result = run("predict", model, tmp_path / "new.npz", "-o", table)
    assert result.exit_code == 1 and "files must have one value" in result.output


def test_an_accuracy_on_known_labels_says_when_it_is_a_score(database, tmp_path):
    model, table = tmp_path / "model.skops", tmp_path / "table.csv"
    assert run("train", database, "-o", model).exit_code == 0
    result = run("predict", model, database, "--split", "train", "-o", table)
    assert f"Balanced accuracy on the labels in {database}: " in result.output
    assert "only a score if the model has not seen these samples" in result.output


def change_test(database, **arrays):
    with np.load(database) as held:
        np.savez(database, **{**held, **arrays})


@pytest.mark.parametrize("change", ["wide", "missing"])
def test_test_samples_that_cannot_be_scored_are_refused_before_the_training(
    database, tmp_path, change
):
    X, _ = draw(1)
    X_test = {"wide": np.c_[X, X], "missing": np.where(X > 2, np.nan, X)}[change]
    change_test(database, X_test=X_test)
    result = run("train", database, "-o", tmp_path / "m.skops")
    message = {"wide": "same features, got [4, 8]", "missing": "not finite"}[change]
    assert result.exit_code == 1 and message in result.output
    assert not (tmp_path / "m.skops").exists()


def test_labels_that_are_no_classes_are_told(database, tmp_path):
    _, y = draw(1)
    codes = np.unique(y, return_inverse=True)[1]
    model, table = tmp_path / "m.skops", tmp_path / "p.csv"
    change_test(database, y_test=codes)
    told = "No accuracy: no label, such as 0, is a class of the model, such as 'ant'."
    for arguments in (("train", database, "-o", model), ("predict", model, database)):
        options = [] if arguments[0] == "train" else ["-o", table]
        result = run(*arguments, *options)
        assert result.exit_code == 0 and told in result.output
    # A single class that is unknown counts with an accuracy of 0.
    change_test(database, y_test=np.where(y == "cat", "cow", y))
    outcome = json.loads(run("predict", model, database, "-o", table, "--json").stdout)
    rows = read_table(table)
    recall = [
        np.mean([row["prediction"] == label for row in rows if row["label"] == label])
        for label in ("ant", "bee", "cow")
    ]
    assert outcome["balanced_accuracy"] == pytest.approx(np.mean(recall))
    result = run("predict", model, database, "-o", table)
    assert "6 of 58 labels, such as 'cow', are no classes" in result.output


@pytest.mark.parametrize("name", ["photos", "photos.csv"])
def test_photos_that_are_not_embedded_say_how_to_embed_them(database, tmp_path, name):
    model, photos = tmp_path / "model.skops", tmp_path / name
    assert run("train", database, "-o", model).exit_code == 0
    if photos.suffix:
        photos.write_text("path,label\n1.jpg,cat\n")
    else:
        (photos / "cat").mkdir(parents=True)
    for command in (
        ["train", photos, "-o", tmp_path / "other.skops"],
        ["predict", model, photos, "-o", tmp_path / "out.csv"],
        ["resample", photos, "-o", tmp_path / "out.npz"],
        ["anonymize", photos, "-o", tmp_path / "out.npz"],
    ):
        result = run(*command)
        assert result.exit_code == 1, result.output
        assert f"run `skcvae embed {photos} -o photos.npz` first" in result.output


def test_a_folder_without_training_samples_is_refused(database, tmp_path):
    X, y = draw(0)
    (tmp_path / "splits").mkdir()
    np.savez(tmp_path / "splits" / "test.npz", X=X, y=y)
    result = run("train", tmp_path / "splits", "-o", tmp_path / "model.skops")
    assert result.exit_code == 1 and "train.npz" in result.output


def test_the_process_ends_after_its_error(tmp_path):
    code = "from skcvae.cli import app; app()"
    command = ["train", str(tmp_path), "-o", str(tmp_path / "model.skops")]
    finished = subprocess.run(
        [sys.executable, "-c", code, *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("Error: ") and not finished.stdout


def test_types_that_train_does_not_write_are_not_trusted(database, tmp_path):
    steps = FunctionTransformer(np.sort), LongTailClassifier(random_state=0)
    model = tmp_path / "model.skops"
    save_model(model, make_pipeline(*steps).fit(*draw(0)))
    with pytest.raises(ValueError, match=r"not\s+trusted: numpy\.sort"):
        load_model(model)
    result = run("predict", model, database, "-o", tmp_path / "table.csv")
    assert result.exit_code == 1 and "numpy.sort" in result.output
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.parametrize("content", [b"", b"no model", pickle.dumps({"a": 1})])
def test_files_that_are_no_models_are_refused(tmp_path, content):
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a \.skops file, or damaged"):
        load_model(tmp_path / "model.skops")


def test_other_objects_are_no_classifiers(tmp_path):
    (tmp_path / "model.skops").write_bytes(skops.dumps({"a": 1}))
    with pytest.raises(ValueError, match="holds no classifier"):
        load_model(tmp_path / "model.skops")


def test_samples_of_other_features_are_refused(database, tmp_path):
    model = tmp_path / "model.skops"
    assert run("train", database, "-o", model).exit_code == 0
    np.savez(tmp_path / "new.npz", X=np.ones((3, 7)))
    result = run("predict", model, tmp_path / "new.npz", "-o", tmp_path / "table.csv")
    assert result.exit_code == 1 and "7 features" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "model.joblib"], "must be a .skops file"),
        (["-o", "model.skops", "--method", "pool", "--beta", 1], "pool takes []"),
    ],
)
def test_what_train_cannot_do_is_refused(database, arguments, message):
    result = run("train", database, *arguments)
    assert result.exit_code == 1 and message in result.output


def test_unknown_methods_are_wrong_usage(database):
    result = run("train", database, "-o", "model.skops", "--method", "longtail")
    assert result.exit_code == 2 and "Did you mean long-tail?" in result.output


def test_version_and_completion():
    import skcvae

    result = run("--version")
    assert result.output == f"skcvae {skcvae.__version__}\n" and result.exit_code == 0
    assert "--install-completion" in run("--help").output
