"""Data sets: class sizes, aligned labels, files that are refused."""

import numpy as np
import pytest

from skcvae._formats import SUFFIXES
from skcvae.cli._databases import write_database
from skcvae.datasets import load_embeddings, make_long_tailed


def labelled(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    # Each row tells its label and its own number.
    return np.column_stack([y, np.arange(len(y))]), y


def test_class_sizes_are_those_of_cifar100_lt():
    X, y = labelled([500] * 100)
    _, y_long_tailed = make_long_tailed(X, y, imbalance_ratio=100, random_state=0)
    expected = [int(500 * 0.01 ** (c / 99) + 1e-9) for c in range(100)]
    assert np.bincount(y_long_tailed).tolist() == expected
    assert len(y_long_tailed) == 10847


@pytest.mark.parametrize(
    ("counts", "ratio", "expected"),
    [
        ([500] * 4, 100, [500, 500, 5, 5]),
        # The class in the middle belongs to the small ones.
        ([50] * 5, 10, [50, 50, 5, 5, 5]),
        ([50] * 4, 7, [50, 50, 7, 7]),
        ([50] * 4, 1000, [50, 50, 1, 1]),
        ([50, 20, 3, 50], 10, [50, 20, 3, 5]),
        ([50, 90, 50, 50], 10, [50, 50, 5, 5]),
        ([50] * 4, 1, [50, 50, 50, 50]),
        ([50], 10, [50]),
    ],
)
def test_class_sizes_of_the_step_profile(counts, ratio, expected):
    X, y = labelled(counts)
    X_new, y_new = make_long_tailed(
        X, y, imbalance_ratio=ratio, profile="step", random_state=0
    )
    assert np.bincount(y_new).tolist() == expected
    np.testing.assert_array_equal(X_new[:, 0], y_new)


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="profile"):
        make_long_tailed([[0]], [0], profile="linear")


def test_samples_keep_their_labels_and_order():
    X, y = labelled([30, 30, 30])
    shuffled = np.random.RandomState(0).permutation(len(y))
    X_new, y_new = make_long_tailed(
        X[shuffled], y[shuffled], imbalance_ratio=10, random_state=0
    )
    np.testing.assert_array_equal(X_new[:, 0], y_new)
    place = {number: i for i, number in enumerate(X[shuffled][:, 1])}
    places = [place[number] for number in X_new[:, 1]]
    assert places == sorted(set(places))


def test_small_classes_keep_all_samples_and_never_vanish():
    X, y = labelled([100, 2, 40])
    _, y_new = make_long_tailed(X, y, imbalance_ratio=1000, random_state=0)
    assert np.bincount(y_new).tolist() == [100, 2, 1]


def test_the_seed_chooses_the_samples():
    X, y = labelled([50, 50])
    first = make_long_tailed(X, y, imbalance_ratio=5, random_state=3)[0]
    np.testing.assert_array_equal(
        first, make_long_tailed(X, y, imbalance_ratio=5, random_state=3)[0]
    )
    assert (first != make_long_tailed(X, y, imbalance_ratio=5, random_state=4)[0]).any()


def test_frames_come_back_as_frames():
    pandas = pytest.importorskip("pandas")
    X, y = labelled([20, 20])
    frame = pandas.DataFrame(X, columns=["a", "b"])
    X_new, y_new = make_long_tailed(frame, pandas.Series(y), imbalance_ratio=4)
    assert list(X_new.columns) == ["a", "b"]
    np.testing.assert_array_equal(X_new["a"], y_new)


def test_a_ratio_below_one_is_refused():
    with pytest.raises(ValueError, match="imbalance_ratio"):
        make_long_tailed([[0]], [0], imbalance_ratio=0.5)


def test_both_kinds_of_files_load(tmp_path):
    X, y = labelled([3, 2])
    np.savez(tmp_path / "whole.npz", X=X, y=y, extra=1)
    np.savez(
        tmp_path / "split.npz", X_train=X, y_train=y, X_test=X[:2], y_test=y[:2], X=X
    )
    whole = load_embeddings(tmp_path / "whole.npz")
    assert sorted(whole) == ["X", "y"]
    assert whole.X.dtype == np.float32
    np.testing.assert_array_equal(whole.y, y)
    split = load_embeddings(tmp_path / "split.npz")
    assert sorted(split) == ["X_test", "X_train", "y_test", "y_train"]


@pytest.mark.parametrize("column", [False, True])
def test_a_database_of_the_reference_loads(tmp_path, column):
    X, y = labelled([3, 2])
    labels = y[:, None] if column else y
    np.savez(tmp_path / "train.npz", embeddings=X.astype(np.float16), labels=labels)
    database = load_embeddings(tmp_path / "train.npz")
    assert sorted(database) == ["X", "y"]
    assert database.X.dtype == np.float32
    np.testing.assert_array_equal(database.X, X)
    np.testing.assert_array_equal(database.y, y)


def test_a_column_of_two_labels_is_no_column_of_one(tmp_path):
    X, y = labelled([2, 2])
    # As many labels as samples, in another shape.
    np.savez(tmp_path / "bad.npz", embeddings=X, labels=y.reshape(2, 2))
    with pytest.raises(ValueError, match=r"labels \(n_samples,\).* and \(2, 2\)"):
        load_embeddings(tmp_path / "bad.npz")


def test_splits_load_with_what_there_is_of_them(tmp_path):
    X, y = labelled([3, 2])
    arrays = {"X_train": X, "y_train": y[:, None], "X_val": X[:2], "y_val": y[:2]}
    np.savez(tmp_path / "split.npz", **arrays)
    split = load_embeddings(tmp_path / "split.npz")
    assert sorted(split) == ["X_train", "X_val", "y_train", "y_val"]
    np.testing.assert_array_equal(split.y_train, y)
    np.testing.assert_array_equal(split.X_val, X[:2])


def test_a_folder_with_a_file_for_each_split_loads(tmp_path):
    X, y = labelled([3, 2])
    np.savez(tmp_path / "train.npz", embeddings=X, labels=y[:, None])
    np.savez(tmp_path / "test.npz", X=X[1:], y=y[1:])
    folder = load_embeddings(tmp_path)
    assert sorted(folder) == ["X_test", "X_train", "y_test", "y_train"]
    np.testing.assert_array_equal(folder.X_train, X)
    np.testing.assert_array_equal(folder.X_test, X[1:])
    np.testing.assert_array_equal(folder.y_test, y[1:])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_that_the_commands_write_loads(tmp_path, suffix):
    X, y = labelled([3, 2])
    names = np.array(["cat", "dog"])[y]
    whole, split = tmp_path / f"whole{suffix}", tmp_path / f"split{suffix}"
    write_database(whole, {"X": X, "y": names})
    arrays = {"X_train": X, "y_train": names, "X_test": X[1:], "y_test": names[1:]}
    write_database(split, arrays)
    found = load_embeddings(whole)
    assert found.X.dtype == np.float32
    np.testing.assert_array_equal(found.X, X.astype(np.float32))
    np.testing.assert_array_equal(found.y, names)
    found = load_embeddings(split)
    assert sorted(found) == sorted(arrays)
    np.testing.assert_array_equal(found.y_test, names[1:])
    (tmp_path / "folder").mkdir()
    whole.rename(tmp_path / "folder" / f"train{suffix}")
    np.testing.assert_array_equal(load_embeddings(tmp_path / "folder").y_train, names)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    X, y = labelled([3, 2])
    np.savez(tmp_path / "test.npz", X=X, y=y)
    with pytest.raises(ValueError, match=r"needs train.npz.*holds \['test.npz'\]"):
        load_embeddings(tmp_path)
    np.savez(tmp_path / "train.npz", X_train=X, y_train=y)
    with pytest.raises(ValueError, match=r"train.npz is one split"):
        load_embeddings(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 2))}, r"needs the arrays.*labels; it holds \['X'\]"),
        ({"X_test": np.ones((2, 2)), "y_test": np.ones(2)}, "needs the arrays"),
        ({"X": np.ones(2), "y": np.ones(2)}, "shape"),
        ({"X": np.ones((2, 2)), "y": np.ones(3)}, "shape"),
        (
            {"X": np.array([[{}]]), "y": np.ones(1)},
            r"bad.npz: the array X holds Python objects.*astype",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_embeddings(tmp_path / "bad.npz")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("not an archive")
    np.save(tmp_path / "array.npy", np.ones(3))
    for name in ("text.npz", "array.npy"):
        with pytest.raises(ValueError):
            load_embeddings(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_embeddings(tmp_path / "missing.npz")
