"""Files: written whole, for their owner only, and read only where they are files."""

import os
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from typer.testing import CliRunner

from skcvae._files import make_private_folder, open_regular, replacing, write_whole
from skcvae.anonymization import GenerativeAnonymizer, load
from skcvae.cli import app
from skcvae.datasets import load_embeddings
from skcvae.embedding._store import EmbeddingStore
from skcvae.report import report

posix = pytest.mark.skipif(os.name != "posix", reason="modes and pipes of POSIX")
X, Y = load_iris(return_X_y=True)
# Without duplicates.
X = X + np.random.RandomState(0).normal(scale=0.01, size=X.shape)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask():
    """Let new files be readable by all, unless the library says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_two_writers_both_succeed_and_one_of_them_wins_whole(tmp_path):
    path = tmp_path / "a.bin"
    contents = [bytes([i]) * 1_000_000 for i in range(4)]
    errors = []

    def write(content):
        try:
            for _ in range(10):
                write_whole(path, content)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_bytes() in contents
    assert not errors
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_links_are_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("old")
    path = tmp_path / "a.txt"
    path.symlink_to(victim)
    # The name that earlier versions took.
    (tmp_path / f".a.{os.getpid()}.txt").symlink_to(victim)
    write_whole(path, b"new")
    assert victim.read_text() == "old"
    assert path.read_text() == "new" and not path.is_symlink()


@posix
def test_names_cannot_be_guessed_and_files_are_private_from_the_start(
    tmp_path, open_umask
):
    names = set()
    for _ in range(5):
        with replacing(tmp_path / "a.npz") as file:
            (partial,) = [p for p in tmp_path.iterdir() if p.name != "a.npz"]
            names.add(partial.name)
            assert mode(partial) == 0o600
            assert partial.suffix == ".npz"
            file.write(b"content")
    assert len(names) == 5
    assert mode(tmp_path / "a.npz") == 0o600


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_nothing(tmp_path, error):
    path = tmp_path / "a.npz"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as file:
        file.write(b"half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_outputs_and_caches_are_readable_by_their_owner_only(
    tmp_path, monkeypatch, open_umask
):
    monkeypatch.chdir(tmp_path)
    parts = {f"X_{s}": X[i::3] for i, s in enumerate(("train", "val", "test"))}
    parts |= {f"y_{s}": Y[i::3] for i, s in enumerate(("train", "val", "test"))}
    np.savez("iris.npz", **parts)
    written = Path("out.npz"), Path("out.json"), Path("out.html"), Path("a.safetensors")
    written[0].write_text("older, and readable by all")
    assert mode(written[0]) == 0o666
    attack = [
        "--members",
        "iris.npz",
        "--nonmembers",
        "iris.npz",
        "--reference",
        "iris.npz",
    ]
    commands = (
        ["anonymize", "iris.npz", "--method", "gaussian", "-o", "out.npz"],
        ["audit", "out.npz", *attack, "-o", "out.json"],
    )
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    anonymizer = GenerativeAnonymizer(random_state=0, memory="cache").fit(X, Y)
    anonymizer.release("a.safetensors")
    report("out.html", anonymizer, X[::2], Y[::2], X_test=X[1::2], y_test=Y[1::2])
    assert [mode(path) for path in written] == [0o600] * 4
    assert mode(Path("cache")) == 0o700

    with EmbeddingStore("store") as store:
        store.put(["a"], np.ones((1, 3), dtype=np.float32))
        files = [p for p in Path("store").iterdir() if p.suffix != ".lock"]
        assert len(files) > 1
        assert [mode(path) for path in files] == [0o600] * len(files)
    assert mode(Path("store")) == 0o700


@posix
def test_a_folder_that_exists_keeps_its_mode(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    make_private_folder(shared)
    assert mode(shared) == 0o755


READERS = {"load": load, "load_embeddings": load_embeddings}


@posix
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("writer", [False, True])
def test_pipes_are_refused_at_once(tmp_path, reader, writer):
    path = tmp_path / "a.npz"
    os.mkfifo(path)
    # A writer that is there and says nothing would block the reader as well.
    descriptor = os.open(path, os.O_RDWR) if writer else None
    begin = time.monotonic()
    with pytest.raises(ValueError, match=r"a\.npz is not a regular file"):
        READERS[reader](path)
    assert time.monotonic() - begin < 1
    if writer:
        os.close(descriptor)


@posix
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices_and_folders_are_refused(tmp_path, reader, device):
    with pytest.raises(ValueError, match="is not a regular file"):
        READERS[reader](device)
    link = tmp_path / "a.npz"
    link.symlink_to(device)
    with pytest.raises(ValueError, match="is not a regular file"):
        READERS[reader](link)
    with pytest.raises((ValueError, OSError)):
        load(tmp_path)


@posix
def test_refused_files_are_closed(tmp_path):
    before = set(os.listdir("/dev/fd"))
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(ValueError), open_regular(path):
            pass
    assert set(os.listdir("/dev/fd")) == before


def test_a_large_file_is_refused_by_its_header(tmp_path):
    path = tmp_path / "a.safetensors"
    GenerativeAnonymizer(random_state=0).fit(X, Y).release(path)
    with path.open("r+b") as file:
        # Sparse: it takes no room on the disk.
        file.truncate(2**30)
    begin = time.monotonic()
    with pytest.raises(ValueError, match="size is not as expected"):
        load(path)
    assert time.monotonic() - begin < 0.3
