"""Folders and CSV files of images: every path has its label, and nothing is lost."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from skcvae.datasets import load_image_folder


def make_files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def relative(images, folder):
    """Return (path, label) pairs, with paths below the folder and slashes."""
    paths = [Path(path).relative_to(folder).as_posix() for path in images.paths]
    return list(zip(paths, images.y.tolist(), strict=True))


class Entries:
    """What os.scandir returns, in an order of ours."""

    def __init__(self, entries):
        self._entries = iter(entries)

    def __iter__(self):
        return self._entries

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("links need a privilege here")


def write_csv(folder, text, encoding="utf-8"):
    path = folder / "images.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_each_image_has_the_label_of_its_folder(tmp_path):
    make_files(
        tmp_path, "dog/1.jpg", "cat/b/2.png", "cat/a.JPG", "cat/b.tif", "b/3.bmp"
    )
    images = load_image_folder(tmp_path)
    assert relative(images, tmp_path) == [
        ("b/3.bmp", "b"),
        ("cat/a.JPG", "cat"),
        ("cat/b.tif", "cat"),
        ("cat/b/2.png", "cat"),
        ("dog/1.jpg", "dog"),
    ]
    assert images.paths.dtype == object
    assert images.y.dtype.kind == "U"
    assert images.groups is None
    assert images.skipped == []
    assert (load_image_folder(str(tmp_path)).paths == images.paths).all()


def test_labels_are_those_of_torchvision(tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    make_files(tmp_path, "z/1.jpg", "a/c/2.png", "a/c.jpg", "M/x.webp", "M/y.PPM")
    theirs = datasets.ImageFolder(tmp_path)
    images = load_image_folder(tmp_path)
    expected = {os.fspath(path): theirs.classes[code] for path, code in theirs.samples}
    assert dict(zip(images.paths, images.y, strict=True)) == expected


def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    make_files(
        tmp_path, *(f"{c}/{d}/{i}.png" for c in "ba" for d in "yx" for i in "21")
    )
    # Of two links to one folder, one counts.
    outside = make_files(tmp_path.with_name(f"{tmp_path.name} outside"), "3.png")
    link(tmp_path / "a" / "link 1", outside)
    link(tmp_path / "a" / "link 2", outside)
    expected = load_image_folder(tmp_path)
    assert expected.paths[0] == str(tmp_path / "a" / "link 1" / "3.png")
    assert len(expected.paths) == 9
    scandir = os.scandir

    def scan_backwards(path):
        with scandir(path) as entries:
            names = sorted(entries, key=lambda entry: entry.name, reverse=True)
        return Entries(names)

    monkeypatch.setattr(os, "scandir", scan_backwards)
    images = load_image_folder(tmp_path)
    assert images.paths.tolist() == expected.paths.tolist()
    assert images.y.tolist() == expected.y.tolist()


def test_hidden_files_are_left_out_and_others_are_listed(tmp_path):
    make_files(tmp_path, "cat/1.jpg", "cat/._1.jpg", "cat/.thumbs/2.jpg", ".git/3.jpg")
    make_files(tmp_path, "cat/notes.txt", "cat/jpg", "README.md", "loose.jpg")
    images = load_image_folder(tmp_path)
    assert relative(images, tmp_path) == [("cat/1.jpg", "cat")]
    skipped = [Path(path).relative_to(tmp_path).as_posix() for path in images.skipped]
    assert skipped == ["README.md", "loose.jpg", "cat/jpg", "cat/notes.txt"]


def test_a_split_is_a_sub_folder(tmp_path):
    make_files(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg")
    images = load_image_folder(tmp_path, split="train")
    assert relative(images, tmp_path) == [
        ("train/cat/1.jpg", "cat"),
        ("train/dog/2.jpg", "dog"),
    ]
    with pytest.raises(ValueError, match=r"no split 'val'.*\['test', 'train'\]"):
        load_image_folder(tmp_path, split="val")
    with pytest.raises(ValueError, match="no split"):
        load_image_folder(tmp_path / "train", split="../test")


def test_splits_are_not_taken_for_classes(tmp_path):
    make_files(tmp_path, "train/cat/1.jpg", "Test/cat/3.jpg")
    with pytest.raises(ValueError, match=r"splits, not classes: .*split='Test'"):
        load_image_folder(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    make_files(tmp_path, "train/1.jpg", "plane/2.jpg")
    assert load_image_folder(tmp_path).y.tolist() == ["plane", "train"]


def test_empty_classes_are_named(tmp_path):
    make_files(tmp_path, "cat/1.jpg", "dog/notes.txt")
    (tmp_path / "emu").mkdir()
    with pytest.warns(UserWarning, match=r"without images.*\['dog', 'emu'\]") as caught:
        images = load_image_folder(tmp_path)
    assert images.y.tolist() == ["cat"]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("names", [[], ["1.jpg", "2.jpg"], ["cat/notes.txt"]])
def test_folders_without_images_in_classes_are_refused(tmp_path, names):
    make_files(tmp_path, *names)
    with pytest.raises(ValueError, match="has no image in a sub-folder"):
        load_image_folder(tmp_path)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_image_folder(tmp_path / "nowhere")


def test_an_unreadable_folder_stops_the_search(tmp_path, monkeypatch):
    make_files(tmp_path, "cat/1.jpg", "cat/locked/2.jpg")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    # Permissions do not bind the administrator, who may run this.
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="locked"):
        load_image_folder(tmp_path)


def test_links_to_files_and_folders_are_followed(tmp_path):
    make_files(tmp_path, "store/x/1.jpg", "store/2.jpg", "store/y/4.jpg")
    root = tmp_path / "root"
    make_files(root, "dog/3.jpg")
    link(root / "cat" / "linked", tmp_path / "store" / "x")
    link(root / "dog" / "linked", tmp_path / "store" / "x")
    link(root / "cat" / "2.jpg", tmp_path / "store" / "2.jpg")
    link(root / "emu", tmp_path / "store" / "y")
    link(root / "dog" / "broken.jpg", tmp_path / "nowhere.jpg")
    assert relative(load_image_folder(root), root) == [
        ("cat/2.jpg", "cat"),
        ("cat/linked/1.jpg", "cat"),
        ("dog/3.jpg", "dog"),
        # It fails when it is read, and is reported then.
        ("dog/broken.jpg", "dog"),
        ("dog/linked/1.jpg", "dog"),
        ("emu/4.jpg", "emu"),
    ]


def test_loops_of_links_end_and_give_no_image_another_label(tmp_path):
    root = tmp_path / "root"
    make_files(root, "cat/1.jpg", "cat/sub/2.jpg", "dog/3.jpg")
    make_files(tmp_path, "beside/4.jpg")
    link(root / "cat" / "self", root / "cat")
    link(root / "cat" / "sub" / "up", root / "cat")
    link(root / "cat" / "root", root)
    link(root / "cat" / "above", tmp_path)
    link(root / "cat" / "dogs", root / "dog")
    link(root / "loop", root)
    link(root / "over", tmp_path)
    # Two folders outside that lead to each other.
    make_files(tmp_path, "p/5.jpg", "q/6.jpg")
    link(tmp_path / "p" / "q", tmp_path / "q")
    link(tmp_path / "q" / "p", tmp_path / "p")
    link(root / "cat" / "pq", tmp_path / "p")
    # A link to itself is no folder.
    link(root / "dog" / "me.jpg", root / "dog" / "me.jpg")
    assert relative(load_image_folder(root), root) == [
        ("cat/1.jpg", "cat"),
        ("cat/pq/5.jpg", "cat"),
        ("cat/pq/q/6.jpg", "cat"),
        ("cat/sub/2.jpg", "cat"),
        ("dog/3.jpg", "dog"),
        ("dog/me.jpg", "dog"),
    ]


def test_one_folder_of_two_classes_is_refused(tmp_path):
    make_files(tmp_path, "cat/1.jpg")
    link(tmp_path / "latest", tmp_path / "cat")
    with pytest.raises(ValueError, match="'cat' and 'latest' are one folder"):
        load_image_folder(tmp_path)


def test_names_may_be_unicode_and_long(tmp_path):
    long = "n" * 200
    make_files(tmp_path, "Katze Ä/café 猫 🐈.jpg", f"犬/{long}/{long}.png")
    assert relative(load_image_folder(tmp_path), tmp_path) == [
        ("Katze Ä/café 猫 🐈.jpg", "Katze Ä"),
        (f"犬/{long}/{long}.png", "犬"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names need not be unicode here")
def test_names_need_not_be_unicode(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xe4"
    os.mkdir(folder)
    with open(folder + b"/\xff.jpg", "wb"):
        pass
    images = load_image_folder(tmp_path)
    assert os.path.exists(images.paths[0])
    assert os.fsencode(str(images.y[0])) == b"\xe4"


def test_twins_that_differ_in_case_are_two_images(tmp_path):
    make_files(tmp_path, "cat/a.jpg", "cat/A.JPG", "Cat/a.jpg")
    if len(list((tmp_path / "cat").iterdir())) == 1:
        pytest.skip("the file system does not tell case apart")
    assert relative(load_image_folder(tmp_path), tmp_path) == [
        ("Cat/a.jpg", "Cat"),
        ("cat/A.JPG", "cat"),
        ("cat/a.jpg", "cat"),
    ]


def test_lines_of_a_csv_file_keep_their_order(tmp_path):
    path = write_csv(
        tmp_path,
        "age,label, group ,path\n"
        '7,dog ,p1, "b, 2.jpg"\n'
        "\n"
        f"8,01,p2,{tmp_path / 'elsewhere.tif'}\n"
        '9,"a ""cat""",p1,sub/no-extension\n',
    )
    images = load_image_folder(path)
    assert images.paths.tolist() == [
        str(tmp_path / "b, 2.jpg"),
        str(tmp_path / "elsewhere.tif"),
        str(tmp_path / "sub/no-extension"),
    ]
    assert images.y.tolist() == ["dog", "01", 'a "cat"']
    assert images.groups.tolist() == ["p1", "p2", "p1"]
    assert images.skipped == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_files_of_spreadsheets_load(tmp_path, encoding, newline):
    path = write_csv(tmp_path, newline.join(["path,label", "猫.jpg,Käse"]), encoding)
    images = load_image_folder(path)
    assert images.paths.tolist() == [str(tmp_path / "猫.jpg")]
    assert images.y.tolist() == ["Käse"]
    assert images.groups is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns path and label"),
        ("a.jpg,cat\n", "columns path and label"),
        ("path;label\na.jpg;cat\n", "separated by commas"),
        ("path,label,label\na.jpg,cat,dog\n", "each once"),
        ("path,label\n", "no image"),
        ("path,label\na.jpg,cat\nb.jpg\n", "line 3: the number of values is not"),
        ("path,label\na,b.jpg,cat\n", "line 2: the number of values is not"),
        ("path,label\na.jpg, \n", "line 2: label is empty"),
        ("path,label\n,cat\n", "line 2: path is empty"),
        ("path,label,group\na.jpg,cat,\n", "line 2: group is empty"),
        ('path,label\n"a.jpg,cat\n', "not a CSV file"),
    ],
)
def test_csv_files_that_do_not_fit_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_image_folder(write_csv(tmp_path, text))


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "X.npz", X=np.arange(300))
    with pytest.raises(ValueError, match="not a CSV file in UTF-8"):
        load_image_folder(tmp_path / "X.npz")
    with pytest.raises(ValueError, match="not a CSV file in UTF-8"):
        load_image_folder(write_csv(tmp_path, "path,label\nä.jpg,ö\n", "latin-1"))


def test_a_csv_file_has_no_split(tmp_path):
    path = write_csv(tmp_path, "path,label\na.jpg,cat\n")
    with pytest.raises(ValueError, match="split is for folders"):
        load_image_folder(path, split="train")
    with pytest.raises(ValueError, match="split"):
        load_image_folder(tmp_path, split=1)


def test_a_column_of_splits_in_a_csv_file_is_told(tmp_path):
    lines = "path,label,split\na.jpg,cat,train\nb.jpg,cat,{}\n"
    with pytest.warns(UserWarning, match=r"split of .* ignored.*\['test', 'train'\]"):
        images = load_image_folder(write_csv(tmp_path, lines.format("test")))
    assert len(images.paths) == 2
    with warnings.catch_warnings(action="error"):
        load_image_folder(write_csv(tmp_path, lines.format("train")))


def test_the_names_of_scikit_learn_are_there_too(tmp_path):
    make_files(tmp_path, "dog/1.jpg", "cat/2.jpg", "cat/3.jpg")
    images = load_image_folder(tmp_path)
    assert images.target_names == ["cat", "dog"]
    assert images.target.tolist() == [0, 0, 1]
    assert images.filenames.tolist() == images.paths.tolist()
    by_code = [images.target_names[code] for code in images.target]
    assert by_code == images.y.tolist()
