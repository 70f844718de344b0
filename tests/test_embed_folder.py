"""embed_folder: aligned labels, complete output files, Dask clusters."""

import os
import signal
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone

from skcvae.embedding import (
    FoundationEmbedder,
    _embedder,
    _folder,
    _loading,
    embed_folder,
)

N_IMAGES = 14
BAD = [3, 8]


@pytest.fixture(scope="session")
def embedder(tmp_path_factory):
    """A small embedder of random weights."""
    path = tmp_path_factory.mktemp("weights") / "test_vit.safetensors"
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        state = timm.create_model("test_vit").state_dict()
    # With the initial weights of timm, embeddings hardly depend on the image.
    save_file({k: v * 4 if v.ndim == 2 else v for k, v in state.items()}, path)
    return FoundationEmbedder("test_vit", weights=path, image_size=32, device="cpu")


def save_photo(path, seed):
    pixels = np.random.RandomState(seed).randint(0, 256, (36, 40, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    """Fourteen photos of cats, dogs and emus."""
    folder = tmp_path / "photos"
    for i in range(N_IMAGES):
        label = "cat" if i < 6 else "dog" if i < 11 else "emu"
        save_photo(folder / label / f"{i:02d}.png", i)
    return folder


@pytest.fixture
def broken(photos):
    """The photos, of which two cannot be read."""
    for i in BAD:
        next(photos.glob(f"*/{i:02d}.png")).write_bytes(b"no image")
    return photos


@pytest.fixture
def blocks_of_4(monkeypatch):
    """Let several blocks and shards come from few images."""
    monkeypatch.setattr(_embedder, "_BLOCK_SIZE", 4)
    monkeypatch.setattr(_folder, "_SHARD_SIZE", 4)


def rows_one_by_one(embedder, paths):
    """Embed each image on its own; NaN where it cannot be read."""
    rows = []
    for path in paths:
        try:
            rows.append(embedder.transform([path])[0])
        except ValueError:
            rows.append(np.full(64, np.nan))
    return np.array(rows)


def check_aligned(result, embedder):
    """Compare rows with those of their paths, and labels with their folders."""
    assert_allclose(result.X, rows_one_by_one(embedder, result.paths), atol=1e-5)
    assert result.y.tolist() == [Path(path).parent.name for path in result.paths]
    assert [int(Path(path).stem) for path in result.paths] == result.kept.tolist()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("with_out", [False, True])
def test_embeddings_labels_and_paths_are_aligned(
    photos, embedder, tmp_path, blocks_of_4, with_out
):
    out = tmp_path / "X.npy" if with_out else None
    result = embed_folder(photos, embedder, out=out)
    assert result.X.shape == (N_IMAGES, 64) and result.X.dtype == np.float32
    assert result.kept.tolist() == list(range(N_IMAGES))
    assert result.failures == [] and result.groups is None
    check_aligned(result, embedder)


@pytest.mark.parametrize("with_out", [False, True])
def test_skip_drops_embeddings_labels_and_paths_together(
    broken, embedder, tmp_path, blocks_of_4, with_out
):
    out = tmp_path / "X.npy" if with_out else None
    result = embed_folder(broken, embedder, on_error="skip", out=out)
    good = np.delete(np.arange(N_IMAGES), BAD)
    assert result.kept.tolist() == good.tolist()
    assert np.isfinite(result.X).all()
    check_aligned(result, embedder)
    assert [failure.index for failure in result.failures] == BAD
    assert [Path(f.source).name for f in result.failures] == ["03.png", "08.png"]
    assert names_in(tmp_path) == (["X.npy", "photos"] if with_out else ["photos"])


def test_nan_keeps_all_embeddings(broken, embedder, blocks_of_4):
    result = embed_folder(broken, embedder, on_error="nan")
    assert np.flatnonzero(np.isnan(result.X).all(axis=1)).tolist() == BAD
    assert [failure.index for failure in result.failures] == BAD
    check_aligned(result, embedder)


def test_raise_names_the_image_and_leaves_no_file(broken, embedder, tmp_path):
    with pytest.raises(ValueError, match=r"Image 3 \(.*03\.png\)"):
        embed_folder(broken, embedder, out=tmp_path / "X.npy")
    assert names_in(tmp_path) == ["photos"]
    with pytest.raises(ValueError, match="on_error must be"):
        embed_folder(broken, embedder, on_error="ignore")


@pytest.mark.parametrize("with_out", [False, True])
def test_all_images_may_be_skipped(photos, embedder, tmp_path, with_out):
    for path in photos.glob("*/*.png"):
        path.write_bytes(b"")
    out = tmp_path / "X.npy" if with_out else None
    result = embed_folder(photos, embedder, on_error="skip", out=out)
    assert result.X.shape == (0, 64) and result.y.shape == (0,)
    assert len(result.failures) == N_IMAGES


def test_the_embedder_is_not_changed(broken, embedder):
    embedder = clone(embedder)
    embed_folder(broken, embedder, on_error="skip")
    assert embedder.on_error == "raise" and not hasattr(embedder, "failures_")


def test_csv_lines_keep_order_labels_and_groups(
    photos, embedder, tmp_path, blocks_of_4
):
    order = np.random.RandomState(0).permutation(N_IMAGES)
    paths = sorted(photos.glob("*/*.png"))
    lines = [f"{paths[i].relative_to(tmp_path)},{i % 3},patient {i}" for i in order]
    lines.insert(5, "photos/missing.png,1,nobody")
    csv = tmp_path / "photos.csv"
    csv.write_text("\n".join(["path,label,group", *lines]) + "\n")
    result = embed_folder(csv, embedder, on_error="skip")
    assert result.y.tolist() == [str(i % 3) for i in order]
    assert result.groups.tolist() == [f"patient {i}" for i in order]
    assert result.kept.tolist() == [i for i in range(N_IMAGES + 1) if i != 5]
    expected = rows_one_by_one(embedder, [paths[i] for i in order])
    assert_allclose(result.X, expected, atol=1e-5)


def test_a_split_is_a_sub_folder(photos, embedder, tmp_path):
    (tmp_path / "data").mkdir()
    photos.rename(tmp_path / "data" / "train")
    result = embed_folder(tmp_path / "data", embedder, split="train")
    check_aligned(result, embedder)


# The file of out=


def test_out_is_a_memory_map_that_numpy_reads(photos, embedder, tmp_path):
    out = tmp_path / "X.npy"
    out.write_text("an older file")
    result = embed_folder(photos, embedder, out=str(out))
    assert isinstance(result.X, np.memmap) and not result.X.flags.writeable
    assert_array_equal(np.load(out), embed_folder(photos, embedder).X)


def test_an_interrupted_run_leaves_no_part_of_a_file(
    photos, embedder, tmp_path, monkeypatch, blocks_of_4
):
    out = tmp_path / "X.npy"
    embed_batch = _embedder.embed_batch
    calls = []

    def interrupted(*args):
        calls.append(names_in(tmp_path))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed_batch(*args)

    monkeypatch.setattr(_embedder, "embed_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed_folder(photos, embedder, out=out)
    # It is written beside, under another name.
    assert len(calls[0]) == 2 and "X.npy" not in calls[0]
    assert names_in(tmp_path) == ["photos"]

    out.write_text("an older file")
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        embed_folder(photos, embedder, out=out)
    assert out.read_text() == "an older file"
    assert names_in(tmp_path) == ["X.npy", "photos"]


def test_an_out_that_cannot_be_written_is_said_before_long_work(
    photos, embedder, tmp_path, monkeypatch
):
    monkeypatch.setattr(_embedder, "embed_batch", None)
    for out in (tmp_path / "no" / "X.npy", photos):
        with pytest.raises(OSError, match=str(out.name)):
            embed_folder(photos, embedder, out=out)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_memory_stays_flat_with_out(embedder, tmp_path, monkeypatch, on_error):
    n_rows, n_features, block = 4000, 4096, 200
    csv = tmp_path / "photos.csv"
    csv.write_text("path,label\n" + "".join(f"{i}.png,a\n" for i in range(n_rows)))

    def blocks(self, paths):
        self.failures_ = [_loading.Failure(1, paths[1], "damaged")]
        for start in range(0, n_rows, block):
            rows = np.full((block, n_features), start / block, dtype=np.float32)
            yield range(start, start + block), rows

    monkeypatch.setattr(FoundationEmbedder, "iter_embeddings", blocks)
    names = range(n_features)
    monkeypatch.setattr(FoundationEmbedder, "get_feature_names_out", lambda _: names)
    tracemalloc.start()
    try:
        result = embed_folder(csv, embedder, out=tmp_path / "X.npy", on_error=on_error)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    whole = 4 * n_rows * n_features
    assert result.X.nbytes >= whole - 4 * n_features
    assert peak < 0.3 * whole
    assert_array_equal(result.X[:, 7], result.kept // block)


# Dask


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="needs skcvae[dask]")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_a_cluster_gives_the_same_as_this_process(
    broken, embedder, tmp_path, client, blocks_of_4
):
    # Workers of Dask may start no processes: there, num_workers must not count.
    remote = clone(embedder).set_params(num_workers=1)
    for on_error, out in (("skip", tmp_path / "X.npy"), ("nan", None)):
        expected = embed_folder(broken, embedder, on_error=on_error)
        result = embed_folder(broken, remote, on_error=on_error, out=out, client=client)
        assert_allclose(result.X, expected.X, atol=1e-5)
        for key in ("y", "paths", "kept"):
            assert_array_equal(result[key], expected[key])
        assert result.failures == expected.failures
    with pytest.raises(ValueError, match=r"Image (3|8) \(.*0[38]\.png\)"):
        embed_folder(broken, embedder, out=tmp_path / "Y.npy", client=client)
    assert names_in(tmp_path) == ["X.npy", "photos"]


def test_a_cluster_that_loses_a_worker_ends_with_every_image_once(
    photos, embedder, client, blocks_of_4, monkeypatch
):
    import distributed

    for i in range(N_IMAGES, 80):
        save_photo(photos / "emu" / f"{i:02d}.png", i)
    pids = client.run(os.getpid)
    seen = []

    def as_completed(*args, **kwargs):
        for future, result in completed(*args, **kwargs):
            if not seen:
                os.kill(next(iter(pids.values())), signal.SIGKILL)
            seen.append(result[0])
            yield future, result

    completed = distributed.as_completed
    monkeypatch.setattr(distributed, "as_completed", as_completed)
    embedder = clone(embedder).set_params(image_size=96)
    result = embed_folder(photos, embedder, client=client)
    assert sorted(seen) == list(range(0, 80, 4))
    expected = embed_folder(photos, embedder)
    assert_allclose(result.X, expected.X, atol=1e-5)
    assert_array_equal(result.paths, expected.paths)
    client.wait_for_workers(2, timeout=30)
    assert len(set(client.run(os.getpid).values()) - set(pids.values())) == 1


def test_missing_dask_names_the_extra(photos, embedder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"skcvae\[dask\]"):
        embed_folder(photos, embedder, client=object())
