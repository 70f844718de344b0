"""What folders and files of photos hold beside photos: read right, or said."""

import argparse
import re
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image, features
from safetensors.torch import save_file
from typer.testing import CliRunner

from skcvae import _image_formats
from skcvae.cli import app
from skcvae.datasets import load_image_folder
from skcvae.embedding import FoundationEmbedder

NFC = "café"
NFD = unicodedata.normalize("NFD", NFC)
ODD_NAMES = ["_background_", "$x_1$", 'a "b"', "it's", "two\nlines", "<b>&amp;", "a,b"]


def fill(folder, *names):
    """Write files whose content is their path."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def save_photo(path, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (40, 40, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)


def load(folder, **options):
    """Return the images of a folder, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = load_image_folder(folder, **options)
    return images, [str(warning.message) for warning in caught]


CAT_DOG = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
SPLITS = ("train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg")
MANY = tuple(f"c{i}/1.jpg" for i in range(3000))
# Files, and the labels with the words of the warning, or the words of the error.
TABLE = {
    "classes": (CAT_DOG, ["cat", "cat", "dog"], None),
    "splits": (SPLITS, "are splits, not classes: .*split='test'", None),
    "splits and a stray folder": (
        (*SPLITS, "extra/1.jpg"),
        r"are splits, not classes: \['test', 'train'\]",
        None,
    ),
    "splits in capitals": (
        ("Train/a/1.jpg", "VAL/a/2.jpg", "notes/3.jpg"),
        "are splits, not classes",
        None,
    ),
    "splits whose classes have two Unicode forms": (
        (f"train/{NFC}/1.jpg", f"val/{NFD}/2.jpg", "x/3.jpg"),
        "are splits, not classes",
        None,
    ),
    "a class named train": (("train/1.jpg", "car/2.jpg"), ["car", "train"], None),
    "one level too deep": (
        ("data/cat/1.jpg", "data/dog/2.jpg"),
        ["data", "data"],
        r"one class, 'data'.*\['cat', 'dog'\] are the classes",
    ),
    "splits of other names": (
        ("a/cat/1.jpg", "a/dog/2.jpg", "b/cat/3.jpg", "b/dog/4.jpg"),
        ["a", "a", "b", "b"],
        r"same sub-folders \['cat', 'dog'\].*split='a'",
    ),
    "sub-folders that differ": (
        ("a/x/1.jpg", "a/y/2.jpg", "b/x/3.jpg"),
        ["a", "a", "b"],
        None,
    ),
    "litter of macOS": (
        (*CAT_DOG, "cat/.DS_Store", "cat/._1.jpg", "__MACOSX/cat/1.jpg"),
        ["cat", "cat", "dog"],
        None,
    ),
    "litter of Windows": (
        (*CAT_DOG, "cat/Thumbs.db", "dog/desktop.ini", "$RECYCLE.BIN/1.jpg"),
        ["cat", "cat", "dog"],
        None,
    ),
    "thumbnails": ((*CAT_DOG, "cat/@eaDir/1.jpg"), ["cat", "cat", "dog"], None),
    "two Unicode forms": ((f"{NFC}/1.jpg", f"{NFD}/2.jpg"), [NFC, NFC], None),
    "case twins": (
        ("Cat/1.jpg", "cat/2.jpg"),
        ["Cat", "cat"],
        r"\['Cat', 'cat'\] differ in upper and lower case alone",
    ),
    "empty class": (
        (*CAT_DOG, "emu/notes.txt"),
        ["cat", "cat", "dog"],
        r"Classes without images in .*\['emu'\]",
    ),
    "photos nobody reads": (
        (*CAT_DOG, "cat/4.CR2", "dog/5.psd", "dog/6.psd", "dog/7.txt"),
        ["cat", "cat", "dog"],
        r"photos that cannot be read: 1 \.cr2, 2 \.psd\. Convert them to JPEG or PNG",
    ),
    "only photos nobody reads": (
        ("cat/1.nef", "dog/2.nef"),
        r"photos that cannot be read: 2 \.nef\.",
        None,
    ),
    "photos beside the classes": (
        (*CAT_DOG, "3.jpg"),
        ["cat", "cat", "dog"],
        "Images that lie in .* and are left out: 1, such as",
    ),
    "no photo": (("cat/1.txt",), "has no image in a sub-folder", None),
    "odd names": (
        tuple(f"{name}/1.jpg" for name in ODD_NAMES),
        sorted(ODD_NAMES),
        None,
    ),
    "thousands of classes": (MANY, sorted(name[:-6] for name in MANY), None),
}


@pytest.mark.parametrize("case", TABLE)
def test_folders_are_read_right_or_refused(tmp_path, case):
    names, expected, warning = TABLE[case]
    fill(tmp_path, *names)
    if case == "case twins" and len(list(tmp_path.iterdir())) == 1:
        pytest.skip("the file system does not tell case apart")
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            load_image_folder(tmp_path)
        return
    images, said = load(tmp_path)
    assert images.y.tolist() == expected
    assert all(Path(path).is_file() for path in images.paths)
    assert len(said) == (warning is not None)
    assert warning is None or re.search(warning, said[0])
    # A message says in two sentences what is wrong, and what to do.
    assert all(len(re.findall(r"\.(?: |$)", text)) <= 2 for text in said)


def test_the_counts_of_the_table_are_printed():
    refused = sum(isinstance(expected, str) for _, expected, _ in TABLE.values())
    warned = sum(warning is not None for *_, warning in TABLE.values())
    right = len(TABLE) - refused - warned
    print(f"\nFolders: {right} right, {warned} right and said, {refused} refused")
    assert min(right, warned, refused) > 3


def test_one_photo_in_two_classes_is_said(tmp_path):
    fill(tmp_path, *CAT_DOG)
    (tmp_path / "dog" / "copy.jpg").write_bytes((tmp_path / "cat/1.jpg").read_bytes())
    (tmp_path / "cat" / "copy.jpg").write_bytes((tmp_path / "cat/2.jpg").read_bytes())
    # Of the same size and with the same end, but another file.
    for label, start in (("cat", b"a"), ("dog", b"b")):
        (tmp_path / label / "long.jpg").write_bytes(start + bytes(10_000))
    (message,) = load(tmp_path)[1]
    assert message.startswith("Images in more than one class: 1,")
    assert "cat/1.jpg" in message and "dog/copy.jpg" in message


def test_photos_of_a_split_that_are_in_another_are_counted(tmp_path):
    fill(tmp_path, "train/cat/1.jpg", "train/cat/2.jpg", "test/cat/3.jpg")
    for name in ("4.jpg", "5.jpg"):
        copied = (tmp_path / "train/cat/1.jpg").read_bytes()
        (tmp_path / "test/cat" / name).write_bytes(copied)
    (message,) = load(tmp_path, split="test")[1]
    assert "2 of 3 images are also in the split 'train'" in message
    (message,) = load(tmp_path, split="train")[1]
    assert "1 of 2 images are also in the split 'test'" in message


def test_a_split_is_found_in_either_unicode_form(tmp_path):
    fill(tmp_path, f"{NFD}/cat/1.jpg")
    assert len(load_image_folder(tmp_path, split=NFC).paths) == 1


def write_csv(folder, *lines):
    (folder / "images.csv").write_text("\n".join(["path,label", *lines, ""]))
    return folder / "images.csv"


def test_paths_of_a_csv_file_are_files_and_may_be_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    fill(tmp_path / "home", "x.jpg")
    images = load_image_folder(write_csv(tmp_path, f"~/x.jpg,{NFD}"))
    assert images.paths.tolist() == [str(tmp_path / "home" / "x.jpg")]
    assert images.y.tolist() == [NFC]
    with pytest.raises(ValueError, match=r"line 2: https://x\.org/a\.jpg is a URL"):
        load_image_folder(write_csv(tmp_path, "https://x.org/a.jpg,cat"))


def test_one_photo_of_two_labels_in_a_csv_file_is_said(tmp_path):
    fill(tmp_path, "1.jpg", "2.jpg")
    path = write_csv(tmp_path, "1.jpg,cat", "1.jpg,dog", "2.jpg,dog", "none.jpg,cat")
    (message,) = load(path)[1]
    assert message.startswith("Images in more than one class: 1,")


def test_heic_is_named_with_the_extra_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_image_formats, "find_spec", lambda name: None)
    _image_formats.readable_formats.cache_clear()
    try:
        fill(tmp_path, *CAT_DOG, "cat/3.heic", "cat/4.HEIC", "cat/5.jxl")
        (message,) = load(tmp_path)[1]
        assert "photos that cannot be read: 2 .heic, 1 .jxl." in message
        assert 'pip install "skcvae[heif]" reads HEIC' in message
    finally:
        _image_formats.readable_formats.cache_clear()


def test_heic_is_read_with_its_extra(tmp_path, embedder):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    save_photo(tmp_path / "cat" / "1.heic", 0)
    paths = load_image_folder(tmp_path).paths
    assert embedder.fit_transform(paths).shape == (1, 64)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif_is_read_where_pillow_has_it(tmp_path, embedder):
    save_photo(tmp_path / "cat" / "1.avif", 0)
    paths = load_image_folder(tmp_path).paths
    assert embedder.fit_transform(paths).shape == (1, 64)


@pytest.fixture(scope="module")
def state():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return timm.create_model("test_vit").state_dict()


@pytest.fixture(scope="module")
def embedder(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file({k: v * 4 if v.ndim == 2 else v for k, v in state.items()}, path)
    return FoundationEmbedder("test_vit", weights=path, image_size=32, device="cpu")


@pytest.mark.parametrize("prefix", ["model.", "module.", "model._orig_mod.", "net."])
def test_prefixes_of_checkpoints_are_stripped(state, tmp_path, prefix):
    plain, wrapped = tmp_path / "plain.pth", tmp_path / "wrapped.ckpt"
    torch.save(state, plain)
    # Lightning keeps its losses beside the model.
    inner = {prefix + name: value for name, value in state.items()}
    torch.save({"state_dict": inner | {"loss.scale": torch.ones(1)}}, wrapped)
    images = np.random.RandomState(0).randint(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    results = [
        FoundationEmbedder("test_vit", weights=path, device="cpu").fit_transform(images)
        for path in (plain, wrapped)
    ]
    np.testing.assert_array_equal(*results)


def test_a_checkpoint_with_other_objects_is_refused_with_a_safe_way_on(state, tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"model": state, "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(ValueError, match=r"torch.save\(model.state_dict\(\)") as caught:
        FoundationEmbedder("test_vit", weights=path).fit(["a.jpg"])
    assert "argparse.Namespace" in str(caught.value)
    assert "weights_only" not in str(caught.value)


def embed(embedder, source, output, *options):
    arguments = [f"--weights={embedder.weights}", "--model=test_vit", "--image-size=32"]
    command = ["embed", str(source), "-o", str(output), *arguments, *options]
    return CliRunner().invoke(app, [*command, "--device=cpu"])


def test_unreadable_photos_are_listed_by_reason(tmp_path, embedder):
    photos = tmp_path / "photos"
    save_photo(photos / "cat" / "1.png", 0)
    fill(photos, "cat/text.jpg", "cat/two\nlines\x1b[31m.jpg")
    (photos / "cat" / "empty.jpg").touch()
    (photos / "cat" / "heic.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(30))
    result = embed(embedder, photos, tmp_path / "out.npz", "--on-error=skip")
    assert result.exit_code == 0, result.output
    assert "empty.jpg: the file is empty" in result.output
    assert "text.jpg: none of JPEG" in result.output
    assert r"two\nlines\x1b[31m.jpg" in result.output
    assert "4 images could not be read" in result.output
    result = embed(embedder, write_csv(tmp_path, "none.jpg,cat"), tmp_path / "b.npz")
    assert "the file does not exist" in result.output


@pytest.mark.skipif(sys.platform != "linux", reason="names need not be unicode here")
def test_names_that_are_no_text_do_not_stop_the_command(tmp_path, embedder):
    photos = tmp_path / "photos"
    save_photo(photos / "cat" / "1.png", 0)
    (photos / "cat" / "\udcff.jpg").write_bytes(b"no photo")
    result = embed(embedder, photos, tmp_path / "out.npz", "--on-error=skip")
    assert result.exit_code == 0, result.output
    result = embed(embedder, photos, tmp_path / "out.npz")
    assert result.exit_code == 1 and r"\udcff.jpg" in result.output


def test_embed_counts_equal_and_nearly_equal_photos_of_two_splits(tmp_path, embedder):
    photos = tmp_path / "photos"
    for seed in range(12):
        save_photo(photos / "train" / "cat" / f"{seed}.png", seed)
    for seed in range(20, 26):
        save_photo(photos / "test" / "cat" / f"{seed}.png", seed)
    # The same pixels in another file, and a photo that was saved with loss.
    save_photo(photos / "test" / "cat" / "0.bmp", 0)
    save_photo(photos / "test" / "cat" / "1.jpg", 1, quality=99, subsampling=0)
    result = embed(embedder, photos, tmp_path / "out.npz")
    assert result.exit_code == 0, result.output
    assert "Images of test that are also in train: 1; that are nearly" in result.output
    assert "equal to one of train: 1 (nearer than" in result.output
    assert "0.bmp" in result.output
    for name in ("0.bmp", "1.jpg"):
        (photos / "test" / "cat" / name).unlink()
    result = embed(embedder, photos, tmp_path / "out.npz")
    assert "Warning" not in result.output


def test_embed_compares_the_images_of_a_medmnist_file(tmp_path, embedder):
    pixels = np.random.RandomState(0).randint(0, 256, (30, 28, 28)).astype(np.uint8)
    parts = {"train": pixels[:20], "test": pixels[17:]}
    arrays = {f"{n}_images": images for n, images in parts.items()}
    arrays |= {f"{n}_labels": np.zeros((len(p), 1)) for n, p in parts.items()}
    np.savez(tmp_path / "medmnist.npz", **arrays)
    result = embed(embedder, tmp_path / "medmnist.npz", tmp_path / "out.npz")
    assert "also in train: 3; that are nearly equal to one of train: 0" in result.output
