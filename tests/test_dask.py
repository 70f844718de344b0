"""Fits and shards on a cluster of Dask that loses a worker."""

import os
import signal
from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skcvae.generators import ClassMoments
from skcvae.over_sampling import GenerativeOverSampler

distributed = pytest.importorskip("distributed", reason="needs skcvae[dask]")
array = pytest.importorskip("dask.array", reason="needs skcvae[dask]")


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def end_once(block, marker):
    """Return the block; the first process that asks for it dies."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def fragile(X, marker):
    """Return an array of Dask, a chunk of which kills the first worker to read it."""
    chunks = [array.from_array(part, chunks=-1) for part in np.array_split(X, 20)]
    chunks[11] = chunks[11].map_blocks(end_once, marker, meta=X[:0])
    return array.concatenate(chunks)


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    y = rng.permutation(np.repeat([0, 1, 2], [900, 200, 20]))
    return rng.normal(size=(1120, 6)).astype(np.float32) + y[:, None], y


def test_moments_survive_the_loss_of_a_worker_bit_for_bit(client, data, tmp_path):
    X, y = data
    marker = tmp_path / "died"
    moments = ClassMoments.from_data(fragile(X, marker), y)
    assert marker.exists()
    undisturbed = ClassMoments.from_data(fragile(X, marker), y)
    in_memory = ClassMoments.from_data(X, y)
    for name in ("counts", "means", "scatter"):
        assert_array_equal(getattr(moments, name), getattr(undisturbed, name))
        assert_allclose(getattr(moments, name), getattr(in_memory, name), rtol=1e-9)


def test_workers_write_the_shards(client, data, tmp_path):
    (X, y), folder = data, tmp_path / "shards"
    sampler = GenerativeOverSampler(random_state=0)
    stored = array.from_array(X, chunks=(56, -1))
    paths = sampler.write_resampled(stored, y, folder)
    assert sorted(folder.iterdir()) == paths
    shards = [np.load(path) for path in paths]
    assert_array_equal(np.concatenate([shard["X"] for shard in shards[:20]]), X)
    labels = np.concatenate([shard["y"] for shard in shards])
    assert_array_equal(labels[: len(y)], y)
    assert Counter(labels.tolist()) == {0: 900, 1: 900, 2: 900}
    expected = list(sampler.iter_resample(X, y))[-1]
    assert_allclose(shards[-1]["X"], expected[0], rtol=1e-4, atol=1e-5)
    assert_array_equal(shards[-1]["y"], expected[1])


def end_while_writing(block, folder, marker):
    """Return the block; the first process that asks while shards are written dies."""
    if any(folder.glob("*.npz")) and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_shards_of_a_lost_worker_are_written_by_the_other(client, data, tmp_path):
    (X, y), marker, folder = data, tmp_path / "died", tmp_path / "shards"
    stored = array.from_array(X, chunks=(56, -1)).map_blocks(
        end_while_writing, folder, marker, meta=X[:0]
    )
    paths = GenerativeOverSampler(random_state=0).write_resampled(stored, y, folder)
    assert marker.exists()
    assert sorted(folder.iterdir()) == paths
    written = np.concatenate([np.load(path)["X"] for path in paths[:20]])
    assert_array_equal(written, X)
