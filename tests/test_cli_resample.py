"""The command resample, and databases of every format."""

import json
import os
from collections import Counter
from functools import partial

import numpy as np
import pyarrow
import pytest
from imblearn.over_sampling import SMOTE
from numpy.testing import assert_array_equal
from pyarrow import parquet
from safetensors.numpy import save_file
from typer.testing import CliRunner

from skcvae._formats import SUFFIXES
from skcvae.cli import _methods, app
from skcvae.cli._databases import read_samples, read_splits, write_database
from skcvae.over_sampling import CVAEOverSampler

METHODS = ("smote", "adasyn", "random", "gaussian", "cvae", "remix")


def draw(seed, sizes=(40, 12, 6)):
    rng = np.random.RandomState(seed)
    y = np.repeat(["ant", "bee", "cat"], sizes)
    codes = np.unique(y, return_inverse=True)[1]
    X = rng.normal(size=(len(y), 4)) + 3 * np.eye(4)[codes]
    return X.astype(np.float32), y


@pytest.fixture
def arrays():
    """A database with splits and groups."""
    found = {}
    for seed, split in enumerate(("train", "val", "test")):
        X, y = draw(seed)
        groups = np.arange(len(X)).astype(str)
        found |= {f"X_{split}": X, f"y_{split}": y, f"groups_{split}": groups}
    return found


def run(*arguments):
    return CliRunner().invoke(app, ["resample", *map(str, arguments)])


@pytest.mark.parametrize("method", METHODS)
def test_rare_classes_are_filled_up_and_real_samples_stay(
    tmp_path, arrays, method, monkeypatch
):
    short = partial(CVAEOverSampler, max_epochs=1)
    monkeypatch.setattr(_methods, "CVAEOverSampler", short)
    np.savez(tmp_path / "in.npz", **arrays)
    result = run(tmp_path / "in.npz", "-o", tmp_path / "out.npz", "--method", method)
    assert result.exit_code == 0, result.output
    splits = read_splits(tmp_path / "out.npz")
    X, y = splits["train"].labelled
    assert_array_equal(X[:58], arrays["X_train"])
    assert_array_equal(y[:58], arrays["y_train"])
    counts = Counter(y.tolist())
    assert counts["ant"] == 40
    # ADASYN makes about as many.
    assert all(abs(counts[c] - 40) <= 4 * (method == "adasyn") for c in ("bee", "cat"))
    for split in ("val", "test"):
        assert_array_equal(splits[split].X, arrays[f"X_{split}"])
        assert_array_equal(splits[split].y, arrays[f"y_{split}"])
        assert_array_equal(splits[split].groups, arrays[f"groups_{split}"])
    assert splits["train"].groups is None and "Groups" in result.output


def test_new_samples_are_those_of_the_sampler(tmp_path):
    X, y = draw(0)
    np.savez(tmp_path / "in.npz", embeddings=X, labels=y)
    options = ("--method", "smote", "--seed", 3, "--json")
    result = run(tmp_path / "in.npz", "-o", tmp_path / "out.npz", *options)
    outcome = json.loads(result.stdout)
    assert (outcome["n_real"], outcome["n_new"]) == (58, 62)
    assert outcome["classes"]["cat"] == {"before": 6, "after": 40}
    expected = SMOTE(k_neighbors=5, random_state=3).fit_resample(X, y)
    with np.load(tmp_path / "out.npz") as written:
        assert_array_equal(written["embeddings"], expected[0])
        assert_array_equal(written["labels"], expected[1])


def test_a_privacy_statement_stays(tmp_path):
    arrays = dict(zip("Xy", draw(0), strict=True))
    write_database(tmp_path / "in.npz", arrays, '{"guarantee": "k"}')
    result = run(tmp_path / "in.npz", "-o", tmp_path / "out.parquet")
    assert result.exit_code == 0, result.output
    assert read_samples(tmp_path / "out.parquet", "train").statement == {
        "guarantee": "k"
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "smote", "--beta", "1"], "smote takes [] of the options"),
        (["--method", "gaussian", "--epochs", "1"], "gaussian takes ['variance']"),
        (["--method", "smote"], "one sample only"),
    ],
)
def test_what_a_method_cannot_do_is_refused(tmp_path, options, message):
    X, y = draw(0, sizes=(9, 3, 1))
    np.savez(tmp_path / "in.npz", X=X, y=y)
    result = run(tmp_path / "in.npz", "-o", tmp_path / "out.npz", *options)
    assert result.exit_code == 1 and message in result.output
    assert not (tmp_path / "out.npz").exists()


def test_unknown_methods_are_wrong_usage_and_a_similar_one_is_named(tmp_path):
    np.savez(tmp_path / "in.npz", **dict(zip("Xy", draw(0), strict=True)))
    result = run(tmp_path / "in.npz", "-o", tmp_path / "out.npz", "--method", "SMOT")
    assert result.exit_code == 2 and "Did you mean smote?" in result.output


# Databases


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
@pytest.mark.parametrize("labels", ["text", "codes", "column"])
def test_each_format_gives_back_what_was_written(tmp_path, suffix, dtype, labels):
    X, text = draw(0)
    codes = np.unique(text, return_inverse=True)[1]
    y = {"text": text, "codes": codes, "column": codes[:, None]}[labels]
    X = (10 * X).astype(dtype)
    path = tmp_path / f"a{suffix}"
    write_database(path, {"X": X, "y": y, "groups": text}, '{"guarantee": "none"}')
    samples = read_samples(path, "val")
    assert samples.dtype == np.dtype(dtype)
    assert samples.is_column == (labels == "column")
    assert_array_equal(samples.X, X)
    assert_array_equal(samples.y, y.ravel())
    assert_array_equal(samples.groups, text)
    assert samples.statement == {"guarantee": "none"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_keeps_splits(tmp_path, arrays, suffix):
    write_database(tmp_path / f"a{suffix}", arrays)
    splits = read_splits(tmp_path / f"a{suffix}")
    assert list(splits) == ["train", "val", "test"]
    for split, samples in splits.items():
        assert_array_equal(samples.X, arrays[f"X_{split}"])
        assert_array_equal(samples.y, arrays[f"y_{split}"])
        assert_array_equal(samples.groups, arrays[f"groups_{split}"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_resample_wrote_can_be_read_with_groups_and_files(
    tmp_path, arrays, suffix
):
    files = {f"files_{split}": arrays[f"groups_{split}"] for split in ("train", "test")}
    np.savez(tmp_path / "in.npz", **arrays, **files)
    path = tmp_path / f"out{suffix}"
    result = run(tmp_path / "in.npz", "-o", path)
    assert result.exit_code == 0, result.output
    assert "Groups and files of training samples were left out." in result.output
    splits = read_splits(path)
    assert splits["train"].groups is None and splits["train"].files is None
    assert splits["val"].files is None
    for name in ("groups", "files"):
        assert_array_equal(getattr(splits["test"], name), arrays["groups_test"])
    assert_array_equal(splits["val"].groups, arrays["groups_val"])


def test_splits_of_several_types_are_written_or_refused_in_one_line(tmp_path, arrays):
    wide = arrays | {"X_val": arrays["X_val"].astype(np.float64)}
    write_database(tmp_path / "a.parquet", wide)
    assert_array_equal(read_samples(tmp_path / "a.parquet", "val").X, wide["X_val"])
    np.savez(tmp_path / "in.npz", **arrays | {"y_val": np.arange(58) % 3})
    result = run(tmp_path / "in.npz", "-o", tmp_path / "out.parquet")
    assert result.exit_code == 1 and result.output.startswith("Error: A .parquet file")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X[:0], "holds no training samples"),
        (lambda X: np.where(X > 2, np.nan, X), "in.npz holds values that are not fin"),
    ],
)
def test_no_samples_and_missing_values_are_refused_in_one_line(
    tmp_path, change, message
):
    X, y = draw(0)
    np.savez(tmp_path / "in.npz", X=change(X), y=y[: len(change(X))])
    result = run(tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert result.exit_code == 1 and message in result.output
    assert result.output.count("\n") == 1


def test_a_folder_that_cannot_be_written_to_is_refused_first(tmp_path, monkeypatch):
    np.savez(tmp_path / "in.npz", **dict(zip("Xy", draw(0), strict=True)))
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    result = run(tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert result.exit_code == 1 and "cannot be written to" in result.output


def test_a_folder_may_hold_files_of_any_format(tmp_path):
    for seed, name in enumerate(("train.parquet", "test.safetensors")):
        X, y = draw(seed)
        write_database(tmp_path / name, {"X": X, "y": y})
    splits = read_splits(tmp_path)
    assert list(splits) == ["train", "test"]
    assert_array_equal(splits["test"].X, draw(1)[0])


X4, Y4 = [[1.0, 2.0]] * 4, list("aabb")
BAD_TABLES = {
    "the lists in the column X differ in length": {"X": [[1.0], *X4[1:]], "y": Y4},
    "the column X has missing values": {"X": [[1.0, None], *X4[1:]], "y": Y4},
    "the column y has missing values": {"X": X4, "y": ["a", None, "b", "b"]},
    "column split must hold train, val, test": {
        "X": X4,
        "y": Y4,
        "split": list("aabb"),
    },
    "X must have the shape": {"X": [1.0] * 4, "y": Y4},
    "X must hold numbers": {"X": [["a"]] * 4, "y": Y4},
    "needs the arrays": {"features": X4, "y": Y4},
    "must hold numbers, text, or a list": {"X": X4, "y": [{"a": 1}] * 4},
}


@pytest.mark.parametrize("message", BAD_TABLES)
def test_tables_that_do_not_fit_are_refused_in_one_line(tmp_path, message):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(BAD_TABLES[message]), path)
    result = run(path, "-o", tmp_path / "out.npz")
    assert result.exit_code == 1 and message in result.output
    assert result.output.startswith("Error: ") and result.output.count("\n") == 1


@pytest.mark.parametrize("values", ['["a"]', "[1, 2, 3]", "{", '{"a": 0}'])
def test_codes_without_fitting_values_are_refused(tmp_path, values):
    path = tmp_path / "a.safetensors"
    tensors = {"X": np.ones((4, 2)), "y": np.array([0, 1, 2, 0])}
    save_file(tensors, path, {"values of y": values})
    with pytest.raises(ValueError, match="codes of y do not fit"):
        read_samples(path, "train")


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
def test_files_that_were_cut_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_database(path, dict(zip("Xy", draw(0), strict=True)))
    content = path.read_bytes()
    for n_bytes in (0, 5, 100, len(content) - 9):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(ValueError, match=f"a{suffix}"):
            read_samples(path, "train")


def test_missing_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_text("")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    result = run(tmp_path / "a.parquet", "-o", tmp_path / "out.npz")
    assert result.exit_code == 1 and "skcvae[parquet]" in result.output
