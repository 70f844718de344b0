"""``skcvae embed``: what it writes, what it says, and what a kill leaves behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from skcvae.cli import app
from skcvae.cli._databases import read_samples, read_unlabelled
from skcvae.datasets import load_embeddings
from skcvae.embedding import FoundationEmbedder, _embedder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file of random weights of test_vit."""
    path = tmp_path_factory.mktemp("weights") / "test_vit.safetensors"
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        state = timm.create_model("test_vit").state_dict()
    # With the initial weights of timm, embeddings hardly depend on the image.
    save_file({k: v * 4 if v.ndim == 2 else v for k, v in state.items()}, path)
    return path


@pytest.fixture
def arguments(weights):
    return ["--model=test_vit", f"--weights={weights}", "--image-size=32"]


@pytest.fixture
def run(arguments):
    """Return a function that runs the command in this process."""

    def run_command(source, output, *more):
        command = ["embed", str(source), "-o", str(output), *arguments, *more]
        return CliRunner().invoke(app, command)

    return run_command


@pytest.fixture
def embed(weights):
    """Return a function that embeds images without the command."""
    embedder = FoundationEmbedder("test_vit", weights=weights, image_size=32)
    return embedder.fit_transform


def save_photos(folder, label, seeds):
    (folder / label).mkdir(parents=True)
    for seed in seeds:
        pixels = np.random.RandomState(seed).randint(0, 256, (30, 40, 3))
        path = folder / label / f"{seed:03d}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    """Six photos of two classes."""
    save_photos(tmp_path / "photos", "cat", range(4))
    save_photos(tmp_path / "photos", "dog", range(4, 6))
    return tmp_path / "photos"


def load(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_becomes_a_file_that_other_commands_read(run, embed, photos, tmp_path):
    output = tmp_path / "out.npz"
    result = run(photos, output)
    assert result.exit_code == 0, result.output
    assert "X (6, 64); 0 images" in result.output
    assert set(load(output)) == {"X", "y"}
    embeddings = load_embeddings(output)
    assert embeddings.y.tolist() == ["cat"] * 4 + ["dog"] * 2
    assert_allclose(embeddings.X, embed(sorted(photos.glob("*/*.png"))), atol=1e-5)
    assert names_in(tmp_path) == ["out.npz", "photos"]


def test_photos_without_labels_keep_their_names(run, embed, tmp_path):
    save_photos(tmp_path, "new", range(3))
    (tmp_path / "new" / "notes.txt").write_text("no photo")
    (tmp_path / "new" / "raw.cr2").write_bytes(b"of a camera")
    for output in (tmp_path / "out.npz", tmp_path / "out.safetensors"):
        result = run(tmp_path / "new", output)
        assert result.exit_code == 0, result.output
        assert "no labels are written" in result.output
        assert "Warning: " in result.output and "cr2" in result.output.lower()
        samples, is_labelled = read_unlabelled(output, "test")
        assert not is_labelled
        assert samples.files.tolist() == ["000.png", "001.png", "002.png"]
        expected = embed(sorted((tmp_path / "new").glob("*.png")))
        assert_allclose(samples.X, expected, atol=1e-5)


@pytest.mark.parametrize("on_error, kept", [("skip", [0, 2]), ("nan", [0, 1, 2])])
def test_names_stay_with_their_photos_where_one_is_broken(
    run, tmp_path, on_error, kept
):
    save_photos(tmp_path, "new", range(3))
    (tmp_path / "new" / "001.png").write_text("no image")
    check_refused(run(tmp_path / "new", tmp_path / "out.npz"), "001.png")
    result = run(tmp_path / "new", tmp_path / "out.npz", f"--on-error={on_error}")
    assert result.exit_code == 0, result.output
    assert "1 images could not be read" in result.output
    arrays = load(tmp_path / "out.npz")
    assert arrays["files"].tolist() == [f"{i:03d}.png" for i in kept]
    is_broken = np.isnan(arrays["X"]).all(axis=1)
    assert is_broken.tolist() == [i == 1 for i in kept]
    check_refused(
        run(tmp_path / "new", tmp_path / "out.npz", "--on-error=ignore"), "on_error"
    )
    check_refused(run(tmp_path / "new", tmp_path / "out.npz", "--split=a"), "split 'a'")


def test_splits_are_told_apart(run, embed, tmp_path):
    data = tmp_path / "data"
    for split, seeds in (("train", [1, 2, 3]), ("validation", [4]), ("test", [5, 6])):
        save_photos(data / split, "b", seeds)
        save_photos(data / split, "a", [seed + 10 for seed in seeds])
    output = tmp_path / "out.npz"
    result = run(data, output)
    assert result.exit_code == 0, result.output
    arrays = load(output)
    assert set(arrays) == {
        f"{kind}_{split}" for kind in "Xy" for split in ("train", "val", "test")
    }
    for suffix, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        paths = sorted((data / split).glob("*/*.png"))
        assert arrays[f"y_{suffix}"].tolist() == [path.parent.name for path in paths]
        assert_allclose(arrays[f"X_{suffix}"], embed(paths), atol=1e-5)
        assert f"Embedding {split}.\n" in result.output
    embeddings = load_embeddings(output)
    assert embeddings.X_train.shape == (6, 64) and embeddings.X_test.shape == (4, 64)


def test_splits_of_other_names_are_asked_for(run, tmp_path):
    data = tmp_path / "data"
    for split in ("validation", "site_b", "unused"):
        save_photos(data / split, "a", [1, 2])
    output = tmp_path / "out.npz"
    result = run(data, output, "--split", "validation", "--split", "site_b")
    assert result.exit_code == 0, result.output
    assert set(load(output)) == {"X_val", "y_val", "X_site_b", "y_site_b"}


def test_a_csv_file_with_groups(run, embed, photos, tmp_path):
    paths = sorted(photos.glob("*/*.png"))[::-1]
    lines = [f"{p.relative_to(tmp_path)},{i % 2},p{i}" for i, p in enumerate(paths)]
    csv = tmp_path / "photos.csv"
    csv.write_text("\n".join(["path,label,group", *lines]))
    result = run(csv, tmp_path / "out.npz")
    assert result.exit_code == 0, result.output
    arrays = load(tmp_path / "out.npz")
    assert arrays["y"].tolist() == ["0", "1"] * 3
    assert arrays["groups"].tolist() == [f"p{i}" for i in range(6)]
    assert_allclose(arrays["X"], embed(paths), atol=1e-5)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)], ids=["grey", "RGB"])
@pytest.mark.parametrize("as_column", [True, False])
def test_a_medmnist_file(run, embed, tmp_path, shape, as_column):
    rng = np.random.RandomState(0)
    arrays = {}
    for split, n in (("train", 5), ("val", 3), ("test", 2)):
        arrays[f"{split}_images"] = rng.randint(0, 256, (n, *shape)).astype(np.uint8)
        labels = rng.randint(0, 2, n).astype(np.uint8)
        arrays[f"{split}_labels"] = labels[:, None] if as_column else labels
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    output = tmp_path / "out.npz"
    result = run(tmp_path / "breastmnist.npz", output)
    assert result.exit_code == 0, result.output
    written = load(output)
    assert len(written) == 6
    for split in ("train", "val", "test"):
        labels = arrays[f"{split}_labels"].ravel()
        assert_array_equal(written[f"y_{split}"], labels)
        rows = embed(arrays[f"{split}_images"])
        assert_allclose(written[f"X_{split}"], rows, atol=1e-5)
    assert load_embeddings(output).X_train.shape == (5, 64)


def test_splits_are_written_to_a_folder_that_other_commands_read(run, tmp_path):
    rng = np.random.RandomState(0)
    arrays = {}
    for split, n in (("train", 12), ("val", 4), ("test", 6)):
        images = rng.randint(0, 256, (n, 28, 28)).astype(np.uint8)
        arrays |= {f"{split}_images": images, f"{split}_labels": np.arange(n) % 2}
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    for output in ("whole.npz", "database"):
        result = run(tmp_path / "breastmnist.npz", tmp_path / output)
        assert result.exit_code == 0, result.output
    whole, folder = load(tmp_path / "whole.npz"), tmp_path / "database"
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["test.npz", "train.npz", "val.npz"]
    for split in ("train", "val", "test"):
        part = load(folder / f"{split}.npz")
        assert_array_equal(part["embeddings"], whole[f"X_{split}"])
        assert_array_equal(part["labels"], whole[f"y_{split}"])
    samples = read_samples(folder, "val")
    assert_array_equal(samples.X, whole["X_val"])


def test_a_folder_for_splits_is_refused_before_images_are_read(run, photos, tmp_path):
    check_refused(run(photos, tmp_path / "out"), "has no splits train and test")
    check_refused(run(photos, photos), "is the folder of the images")
    check_refused(run(photos, tmp_path / "none" / "out"), "cannot be made a folder")
    assert not (tmp_path / "out.cache").exists()


IMAGES = np.zeros((4, 28, 28), dtype=np.uint8)
BAD_MEDMNIST = {
    "one label for each image": {
        "train_images": IMAGES,
        "train_labels": np.zeros((4, 14), dtype=int),
    },
    "train_labels must hold": {"train_images": IMAGES, "train_labels": [0, 1]},
    "needs arrays such as train_images": {"images": IMAGES, "labels": [0] * 4},
    "Pixels must be uint8": {"train_images": IMAGES / 255, "train_labels": [0] * 4},
    "plain arrays": {
        "train_images": np.array([None] * 4, dtype=object),
        "train_labels": [0] * 4,
    },
}


@pytest.mark.parametrize("message", BAD_MEDMNIST)
def test_medmnist_files_that_do_not_fit_are_refused(run, tmp_path, message):
    np.savez(tmp_path / "data.npz", **BAD_MEDMNIST[message])
    check_refused(run(tmp_path / "data.npz", tmp_path / "out.npz"), message)
    assert not (tmp_path / "out.npz").exists()


def check_refused(result, message):
    assert result.exit_code == 1, result.output
    assert result.output.splitlines()[-1] != "" and "Error: " in result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


# Images that cannot be read


@pytest.fixture
def broken(photos):
    """The photos, of which two cannot be read."""
    (photos / "cat" / "001.png").write_bytes(b"")
    (photos / "dog" / "004.png").write_text("no image")
    return photos


def test_skipped_images_are_listed_with_their_reason(run, embed, broken, tmp_path):
    result = run(broken, tmp_path / "out.npz", "--on-error", "skip")
    assert result.exit_code == 0, result.output
    assert f"not read: {broken / 'cat' / '001.png'}: the file is empty" in result.output
    assert f"not read: {broken / 'dog' / '004.png'}: " in result.output
    assert "2 images could not be read" in result.output
    embeddings = load_embeddings(tmp_path / "out.npz")
    assert embeddings.y.tolist() == ["cat"] * 3 + ["dog"]
    paths = [p for p in sorted(broken.glob("*/*")) if p.stem not in ("001", "004")]
    assert_allclose(embeddings.X, embed(paths), atol=1e-5)


def test_nan_keeps_embeddings_and_raise_stops(run, broken, tmp_path):
    result = run(broken, tmp_path / "nan.npz", "--on-error", "nan")
    assert result.exit_code == 0, result.output
    missing = np.isnan(load(tmp_path / "nan.npz")["X"]).all(axis=1)
    assert np.flatnonzero(missing).tolist() == [1, 4]
    check_refused(run(broken, tmp_path / "out.npz"), "001.png) cannot be read")
    assert not (tmp_path / "out.npz").exists()


# Errors


@pytest.mark.parametrize(
    "options, message",
    [
        (["--model=no_such_vit"], "no model 'no_such_vit'"),
        (["--weights=missing.safetensors"], "missing.safetensors"),
        (["--model=resnet18"], "do not fit the model 'resnet18'"),
        (["--pooling=median"], "pooling"),
        (["--pooling=map"], "pooling='map'"),
        (["--on-error=ignore"], "on_error must be"),
        (["--image-size=40"], "divisible by patch size"),
        (["--device=nonsense"], "device='nonsense'"),
    ],
)
def test_wrong_options_give_one_line(run, photos, tmp_path, options, message):
    check_refused(run(photos, tmp_path / "out.npz", *options), message)
    assert names_in(tmp_path) == ["photos"]


def test_sources_that_cannot_be_read_give_one_line(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 a zip file that was cut off")
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    sources = {
        "empty": "no image",
        "text.npz": "text.npz is not a .npz file",
        "cut.npz": "cut.npz is not a .npz file",
        "text.csv": "columns path and label",
    }
    for name, message in sources.items():
        check_refused(run(tmp_path / name, tmp_path / "out.npz"), message)
    result = run(tmp_path / "missing", tmp_path / "out.npz")
    assert result.exit_code == 2 and "does not exist" in result.output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_rights_gives_one_line(run, photos, tmp_path):
    (photos / "cat").chmod(0)
    try:
        check_refused(run(photos, tmp_path / "out.npz"), "cat")
    finally:
        (photos / "cat").chmod(0o700)


def test_outputs_that_cannot_be_written_give_one_line(run, photos, tmp_path):
    check_refused(run(photos, tmp_path / "out.npy"), "must be a .npz file")
    (tmp_path / "file").write_text("")
    check_refused(run(photos, tmp_path / "file" / "out.npz"), "file")
    (tmp_path / "folder.npz").mkdir()
    check_refused(run(photos, tmp_path / "folder.npz"), "folder.npz")
    assert (tmp_path / "folder.npz").is_dir()


# Cache


def test_the_cache_stays_where_it_is_asked_for(run, photos, tmp_path, monkeypatch):
    cache = f"--cache={tmp_path / 'cache'}"
    assert run(photos, tmp_path / "first.npz", cache).exit_code == 0
    monkeypatch.setattr(_embedder.FoundationEmbedder, "_forward", None)
    result = run(photos, tmp_path / "second.npz", cache)
    assert result.exit_code == 0, result.output
    first, second = load(tmp_path / "first.npz"), load(tmp_path / "second.npz")
    assert_array_equal(first["X"], second["X"])
    assert names_in(tmp_path) == ["cache", "first.npz", "photos", "second.npz"]


SLOW = """
import sys, time
import skcvae.embedding._embedder as embedder
from skcvae.cli import app
forward = embedder.embed_batch
embedder._AUTO_BATCH_SIZE = {"cpu": 2}
n_seen = 0
def slow(model, images, *args):
    global n_seen
    n_seen += len(images)
    print("computed", n_seen, flush=True)
    time.sleep(float(sys.argv[1]))
    return forward(model, images, *args)
embedder.embed_batch = slow
app(sys.argv[2:])
"""


def test_a_killed_run_goes_on_and_ends_whole(
    run, embed, photos, tmp_path, arguments, monkeypatch
):
    save_photos(photos, "emu", range(10, 44))
    output = tmp_path / "out.npz"
    output.write_text("an older file")
    command = ["embed", str(photos), "-o", str(output), *arguments, "--device=cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "0.2", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line == "computed 10\n":
            process.send_signal(signal.SIGKILL)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert output.read_text() == "an older file"
    assert names_in(tmp_path) == ["out.npz", "out.npz.cache", "photos"]

    embed_batch = _embedder.embed_batch
    sizes = []

    def counted(model, images, *args):
        sizes.append(len(images))
        return embed_batch(model, images, *args)

    monkeypatch.setattr(_embedder, "embed_batch", counted)
    result = run(photos, output, "--device=cpu")
    assert result.exit_code == 0, result.output
    # Of 40 images, four batches of two were kept.
    assert sum(sizes) == 32
    assert names_in(tmp_path) == ["out.npz", "photos"]
    embeddings = load_embeddings(output)
    paths = sorted(photos.glob("*/*.png"))
    assert embeddings.y.tolist() == [path.parent.name for path in paths]
    assert_allclose(embeddings.X, embed(paths), atol=1e-5)
