"""The store of embeddings: it returns what was stored or nothing, in all failures."""

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
import threading
import time
import warnings
import zlib
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from skcvae.embedding._store import EmbeddingStore

# Processes from a server have no memory of this one, and need not import torch again.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["skcvae.embedding._store"])
NAME = "embeddings.sqlite"


@cache
def row_of(key, dim):
    """Return a row that depends on nothing but the key."""
    return np.random.RandomState([*key.encode()]).normal(size=dim).astype(np.float32)


def rows_of(keys, dim=24):
    return np.array([row_of(key, dim) for key in keys]).reshape(len(keys), dim)


def keys_of(n, prefix=""):
    return [f"{prefix}{i:08d}" for i in range(n)]


def assert_rows_are_those_of(found, keys):
    """Check that the keys were found, each with its own row, bit for bit."""
    assert list(found) == list(keys)
    for (key, row), expected in zip(found.items(), rows_of(keys), strict=True):
        assert row.tobytes() == expected.tobytes(), key


def filled(folder, keys, dim=24):
    """Make a closed store and return its file."""
    with EmbeddingStore(folder) as store:
        store.put(keys, rows_of(keys, dim))
    return Path(folder) / NAME


def damaged_files(folder):
    return sorted(path.name for path in Path(folder).glob(f"{NAME}.damaged-*"))


@contextmanager
def change(file):
    """Yield the bytes of a file to be changed."""
    content = bytearray(file.read_bytes())
    yield content
    file.write_bytes(content)


def damage_page_of(key, file):
    """Destroy the head of the page that holds the row of a key."""
    with change(file) as content:
        page = content.find(rows_of([key]).tobytes()) // 16384 * 16384
        content[page : page + 8] = b"\xff" * 8


@pytest.mark.parametrize("dim", [1, 24, 768, 5000])
def test_embeddings_come_back_bit_for_bit_in_another_store(tmp_path, dim):
    bits = np.random.RandomState(0).randint(2**32, size=(50, dim), dtype=np.uint32)
    rows = bits.view(np.float32)
    rows[~np.isfinite(rows)] = -0.0
    largest = np.finfo(np.float32).max
    rows[0, 0], rows[1, 0], rows[2, 0] = largest, -largest, 1e-45
    keys = keys_of(50)
    with EmbeddingStore(tmp_path) as store:
        store.put(keys, rows)
    with EmbeddingStore(tmp_path) as store:
        found = store.get(keys[::-1])
        assert len(store) == 50 and store.n_damaged == 0
    assert list(found) == keys[::-1]
    for key, row in zip(keys, rows, strict=True):
        assert found[key].dtype == np.float32 and found[key].shape == (dim,)
        assert found[key].tobytes() == row.tobytes()


def test_arrays_of_other_memory_layouts_are_stored_by_value(tmp_path):
    rows = np.asfortranarray(rows_of(keys_of(8)))[::2, ::-1]
    with EmbeddingStore(tmp_path) as store:
        store.put(keys_of(4), rows)
        found = store.get(keys_of(4))
    np.testing.assert_array_equal(list(found.values()), rows)


@pytest.mark.parametrize("n", [0, 1, 1000, 32_767])
def test_any_number_of_keys_in_one_call(tmp_path, n):
    keys = keys_of(n)
    with EmbeddingStore(tmp_path) as store:
        store.put(iter(keys), np.arange(n, dtype=np.float32)[:, None])
        assert len(store) == n
        found = store.get(iter(keys + keys_of(n, "missing")))
    assert list(found) == keys
    assert [row.item() for row in found.values()] == list(range(n))


def test_a_missing_key_is_left_out(tmp_path):
    with EmbeddingStore(tmp_path) as store:
        assert store.get(["a"]) == {} and len(store) == 0
        store.put(["a"], rows_of(["a"]))
        assert_rows_are_those_of(store.get(["b", "a", "", "A", "aa", "a"]), ["a"])
        assert store.n_damaged == 0


@pytest.mark.parametrize("key", ["", "5", "5.0", "è-日本", "a'; DROP TABLE x", "\0a"])
def test_keys_are_any_text(tmp_path, key):
    others = ["05", "5.00", "e", "a", "\0"]
    with EmbeddingStore(tmp_path) as store:
        store.put([*others, key], np.eye(6, dtype=np.float32))
        assert store.get([key])[key].tolist() == [0, 0, 0, 0, 0, 1]
        assert len(store) == 6


def test_an_entry_is_replaced_also_by_one_of_another_length(tmp_path):
    keys = ["a", "b", "c"]
    with EmbeddingStore(tmp_path) as store:
        store.put(keys, np.zeros((3, 9), dtype=np.float32))
        for _ in range(2):
            store.put(keys[1:], rows_of(keys[1:]))
        assert len(store) == 3
        found = store.get(keys)
    assert found.pop("a").tolist() == [0.0] * 9
    assert_rows_are_those_of(found, keys[1:])


def test_of_a_key_that_comes_twice_the_last_row_counts(tmp_path):
    with EmbeddingStore(tmp_path) as store:
        store.put(["a", "b", "a"], np.array([[1], [2], [3]], dtype=np.float32))
        assert {key: row.item() for key, row in store.get("ab").items()} == {
            "a": 3,
            "b": 2,
        }


@pytest.mark.parametrize(
    "keys, rows, message",
    [
        (["a", "b"], np.float32([[1, 2], [3, np.nan]]), "1 embeddings hold NaN.*'b'"),
        (["a", "b"], np.float32([[1, 2], [3, np.inf]]), "or infinity.*key 'b'"),
        (["a"], np.ones((1, 2)), "float32"),
        (["a"], [[1.0, 2.0]], "float32"),
        (["a"], np.ones(1, dtype=np.float32), "shape"),
        (["a"], np.ones((1, 2, 2), dtype=np.float32), "shape"),
        (["a"], np.ones((2, 2), dtype=np.float32), "shape"),
        (["a", "b"], np.ones((1, 2), dtype=np.float32), "shape"),
        ([], np.ones((1, 2), dtype=np.float32), "shape"),
    ],
)
def test_arrays_of_other_types_and_shapes_are_refused(tmp_path, keys, rows, message):
    with EmbeddingStore(tmp_path) as store:
        with pytest.raises(ValueError, match=message):
            store.put(keys, rows)
        assert len(store) == 0


def test_a_put_that_fails_in_the_middle_stores_nothing(tmp_path):
    with EmbeddingStore(tmp_path) as store:
        with pytest.raises(AttributeError):
            store.put(["a", None, "b"], rows_of(["a", "x", "b"]))
        assert len(store) == 0
        store.put(["a"], rows_of(["a"]))
        assert len(store) == 1


def test_a_folder_of_any_name_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = EmbeddingStore(Path("Bilder %20?#&", "日本 è'\""))
    monkeypatch.chdir("/")
    with store:
        store.put(["a"], rows_of(["a"]))
    assert (tmp_path / "Bilder %20?#&" / "日本 è'\"" / NAME).is_file()
    with EmbeddingStore(str(store.folder)) as store:
        assert_rows_are_those_of(store.get(["a"]), ["a"])


def test_a_pickled_store_opens_the_same_file(tmp_path):
    with EmbeddingStore(tmp_path) as store:
        store.put(["a"], rows_of(["a"]))
        with pickle.loads(pickle.dumps(store)) as other:
            other.put(["b"], rows_of(["b"]))
            assert_rows_are_those_of(other.get("ab"), "ab")
        assert_rows_are_those_of(store.get("ab"), "ab")


def test_threads_share_a_store(tmp_path):
    store, errors = EmbeddingStore(tmp_path), []

    def work(number):
        try:
            for batch in range(20):
                keys = keys_of(10, f"{number}-{batch}-")
                store.put(keys, rows_of(keys))
                assert_rows_are_those_of(store.get(keys), keys)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store) == 6 * 20 * 10
    store.close()


# Several processes


def run_at_once(target, folder, n=1):
    """Run processes that wait for each other, until all have succeeded."""
    barrier, processes = PROCESSES.Barrier(n), []
    for number in range(n):
        args = number, barrier, str(folder)
        processes.append(PROCESSES.Process(target=target, args=args, daemon=True))
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * n


def put_and_get(number, barrier, folder):
    """Write a quarter of the keys and a part that all write; read meanwhile."""
    everybodys = keys_of(200, "all-")
    barrier.wait(60)
    with EmbeddingStore(folder) as store:
        for batch in range(20):
            keys = keys_of(50, f"{number}-{batch}-")
            store.put(keys, rows_of(keys))
            store.put(everybodys, rows_of(everybodys))
            others = keys_of(50, f"{(number + 1) % 4}-{batch}-")
            found = store.get(others)
            # A put is one transaction.
            assert_rows_are_those_of(found, others if found else [])
            assert_rows_are_those_of(store.get(everybodys), everybodys)
        assert store.n_damaged == 0


def test_processes_write_and_read_at_once(tmp_path):
    run_at_once(put_and_get, tmp_path / "new", n=4)
    with EmbeddingStore(tmp_path / "new") as store:
        assert len(store) == 4 * 20 * 50 + 200
        for number in range(4):
            for batch in range(20):
                keys = keys_of(50, f"{number}-{batch}-")
                assert_rows_are_those_of(store.get(keys), keys)


def put_for_ever(folder, dim):
    """Write batches, and tell after each that it is there."""
    with EmbeddingStore(folder) as store, open(f"{folder}.log", "a") as log:
        batch = len(store) // 1000
        while True:
            keys = keys_of(1000, f"{batch}-")
            store.put(keys, rows_of(keys[:1], dim).repeat(1000, axis=0))
            log.write(f"{batch}\n")
            log.flush()
            batch += 1


def test_what_was_put_before_a_kill_is_there_and_the_next_goes_on(tmp_path):
    folder, log = tmp_path / "store", tmp_path / "store.log"
    log.touch()
    for n_batches in (2, 4, 6):
        args = str(folder), 512
        process = PROCESSES.Process(target=put_for_ever, args=args, daemon=True)
        process.start()
        while len(log.read_text().split()) < n_batches:
            assert process.is_alive()
            time.sleep(0.003)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        told = log.read_text().split()
        with EmbeddingStore(folder) as store:
            n_found = len(store)
            assert n_found % 1000 == 0
            assert n_found // 1000 in (len(told), len(told) + 1)
            for batch in range(n_found // 1000):
                keys = keys_of(1000, f"{batch}-")
                found = np.array(list(store.get(keys).values()))
                np.testing.assert_array_equal(
                    found, rows_of(keys[:1], 512).repeat(1000, axis=0)
                )
            assert store.n_damaged == 0
        log.write_text("".join(f"{batch}\n" for batch in range(n_found // 1000)))


def fork_in_the_middle(number, barrier, folder):
    """Fork while a thread reads, close the file first here, and write on in both."""
    store, reading = EmbeddingStore(folder), threading.Event()
    store.put(["before"], rows_of(["before"]))
    reading.set()

    def read():
        while reading.is_set():
            store.get(["before"] * 500)

    thread = threading.Thread(target=read)
    thread.start()
    (from_child, to_parent), (from_parent, to_child) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(50)
        try:
            assert_rows_are_those_of(store.get(["before"]), ["before"])
            store.put(["child 1"], rows_of(["child 1"]))
            os.write(to_parent, b"x")
            os.read(from_parent, 1)
            store.put(["child 2"], rows_of(["child 2"]))
            assert_rows_are_those_of(store.get(["parent 1"]), ["parent 1"])
            os._exit(0)
        finally:
            os._exit(1)
    os.close(to_parent)
    os.read(from_child, 1)
    store.put(["parent 1"], rows_of(["parent 1"]))
    reading.clear()
    thread.join()
    store.close()
    os.write(to_child, b"x")
    assert os.waitpid(child, 0)[1] == 0
    store.put(["parent 2"], rows_of(["parent 2"]))
    store.close()


def test_parent_and_child_of_a_fork_both_go_on(tmp_path):
    run_at_once(fork_in_the_middle, tmp_path)
    keys = ["before", "child 1", "child 2", "parent 1", "parent 2"]
    with EmbeddingStore(tmp_path) as store:
        assert_rows_are_those_of(store.get(keys), keys)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_no_connection_is_open_in_a_forked_child(tmp_path):
    stores = [EmbeddingStore(tmp_path / name) for name in "ab"]
    for store in stores:
        store.put(["a"], rows_of(["a"]))
    child = os.fork()
    if not child:
        files = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in range(3, 256)}
        os._exit(any(NAME in file for file in files))
    assert os.waitpid(child, 0)[1] == 0
    for store in stores:
        assert_rows_are_those_of(store.get(["a"]), ["a"])
        store.close()


# Damage


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("offset", [0, 50, 95])
def test_a_row_with_a_flipped_bit_is_missing_until_it_is_put_again(
    tmp_path, offset, bit
):
    keys = keys_of(5)
    file = filled(tmp_path, keys)
    with change(file) as content:
        position = content.find(rows_of([keys[2]]).tobytes())
        content[position + offset] ^= 1 << bit
    with EmbeddingStore(tmp_path) as store:
        assert_rows_are_those_of(store.get(keys), keys[:2] + keys[3:])
        assert store.n_damaged == 1
        store.put(keys[2:3], rows_of(keys[2:3]))
        assert_rows_are_those_of(store.get(keys), keys)
        assert store.n_damaged == 1 and len(store) == 5
    assert damaged_files(tmp_path) == []


@pytest.mark.parametrize(
    "damage",
    [
        "row = x'0000'",
        "row = substr(row, 1, 92)",
        "row = row || x'00000000'",
        "row = 'text'",
        "row = 1.5",
        "row = (SELECT row FROM embeddings WHERE key = '00000001')",
        "dim = 23",
        "dim = 'text'",
        "checksum = checksum + 1",
        "checksum = x'00'",
        "dim = dim - 1, row = substr(row, 1, 92)",
    ],
)
def test_an_entry_of_wrong_content_is_missing_until_it_is_put_again(tmp_path, damage):
    keys = keys_of(5)
    file = filled(tmp_path, keys)
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(f"UPDATE embeddings SET {damage} WHERE key = '{keys[2]}'")
    connection.close()
    with EmbeddingStore(tmp_path) as store:
        assert_rows_are_those_of(store.get(keys), keys[:2] + keys[3:])
        assert store.n_damaged == 1
        store.put(keys, rows_of(keys))
        assert_rows_are_those_of(store.get(keys), keys)
        assert len(store) == 5
    assert damaged_files(tmp_path) == []


@pytest.mark.parametrize(
    "forged", [[np.nan] * 24, [*range(23), np.inf], [1.0] * 23, [1.0] * 25, []]
)
def test_forged_embeddings_of_another_form_are_missing(tmp_path, forged):
    keys = keys_of(3)
    row = np.array(forged, dtype="<f4").tobytes()
    checksum = zlib.crc32(row, zlib.crc32(keys[1].encode()))
    connection = sqlite3.connect(filled(tmp_path, keys))
    with connection:
        connection.execute(
            "UPDATE embeddings SET dim = ?, checksum = ?, row = ? WHERE key = ?",
            (len(forged), checksum, row, keys[1]),
        )
    connection.close()
    with EmbeddingStore(tmp_path) as store:
        assert list(store.get(keys, n_features=24)) == [keys[0], keys[2]]
        assert store.n_damaged == 1


def test_a_row_that_the_file_takes_for_text_is_read(tmp_path):
    keys = keys_of(5)
    connection = sqlite3.connect(filled(tmp_path, keys))
    with connection:
        connection.execute("UPDATE embeddings SET row = CAST(row AS TEXT)")
    connection.close()
    with EmbeddingStore(tmp_path) as store:
        assert_rows_are_those_of(store.get(keys), keys)


def test_embeddings_exchanged_between_keys_are_missing(tmp_path):
    file = filled(tmp_path, ["a", "b"])
    with change(file) as content:
        a, b = (content.find(row.tobytes()) for row in rows_of(["a", "b"]))
        content[a : a + 96], content[b : b + 96] = (
            content[b : b + 96],
            content[a : a + 96],
        )
    with EmbeddingStore(tmp_path) as store:
        assert store.get(["a", "b"]) == {}
        assert store.n_damaged == 2


def test_a_damaged_key_in_the_table_heals_with_the_next_put(tmp_path):
    keys = keys_of(50)
    file = filled(tmp_path, keys)
    with change(file) as content:
        # The key is in the table, before its row, and in the index.
        row = content.find(rows_of(keys[7:8]).tobytes())
        position = content.rfind(keys[7].encode(), 0, row)
        content[position] = 0xFF
    with EmbeddingStore(tmp_path) as store:
        for _ in range(2):
            store.put(keys, rows_of(keys))
            assert_rows_are_those_of(store.get(keys), keys)
    assert damaged_files(tmp_path) == []


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """Keys, and a folder as a killed process leaves it: half in the journal."""
    folder = tmp_path_factory.mktemp("crashed")
    keys = keys_of(400)
    filled(folder / "open", keys[:200])
    with EmbeddingStore(folder / "open") as store:
        store.put(keys[200:], rows_of(keys[200:]))
        (folder / "copy").mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(folder / "open" / f"{NAME}{suffix}", folder / "copy")
    return keys, folder / "copy"


def test_what_a_killed_process_left_in_the_journal_is_read(crashed, tmp_path):
    keys, folder = crashed
    assert (folder / f"{NAME}-wal").stat().st_size > 10_000
    shutil.copytree(folder, tmp_path / "store")
    with EmbeddingStore(tmp_path / "store") as store:
        assert_rows_are_those_of(store.get(keys), keys)


@pytest.mark.filterwarnings("ignore:The file of embeddings")
@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("n_bytes", [1, 30])
def test_flipped_bits_anywhere_never_give_a_wrong_row(
    crashed, tmp_path, suffix, n_bytes
):
    keys, original = crashed
    rng = np.random.RandomState(n_bytes)
    outcomes = []
    for trial in range(50):
        folder = shutil.copytree(original, tmp_path / f"{trial}")
        with change(folder / f"{NAME}{suffix}") as content:
            # Half of the places are where SQLite keeps what it needs most.
            end = 400 if trial % 2 else len(content)
            for place in rng.randint(end, size=n_bytes):
                content[place] ^= 1 << rng.randint(8)
        outcomes.append(outcome_of_use(folder, keys))
    # The test has met something other than spaces and what fails at once.
    assert any(0 < n < 400 for n in outcomes)


def outcome_of_use(folder, keys):
    """Check what can be read before and after a put, and return how much it was."""
    rows = rows_of(keys)
    try:
        with EmbeddingStore(folder) as store:
            before = store.get(keys)
            store.put(keys, rows)
            after = store.get(keys)
    except (OSError, ValueError) as error:
        # A flipped bit in the version or the permission to write.
        assert str(folder) in str(error)
        return 0
    expected = dict(zip(keys, rows, strict=True))
    for key, row in [*before.items(), *after.items()]:
        assert row.tobytes() == expected[key].tobytes()
    # A link from the index to another entry makes two take turns.
    assert len(after) >= len(keys) - 60
    return len(before)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.filterwarnings("ignore:The file of embeddings")
def test_a_truncated_file_gives_no_wrong_row_and_is_begun_again(tmp_path, share):
    keys = keys_of(1000)
    file = filled(tmp_path, keys)
    os.truncate(file, int(share * file.stat().st_size))
    with EmbeddingStore(tmp_path) as store:
        found = store.get(keys)
        assert_rows_are_those_of(found, found)
        assert len(found) < 1000
        store.put(keys, rows_of(keys))
        assert_rows_are_those_of(store.get(keys), keys)
    assert damaged_files(tmp_path) == ([f"{NAME}.damaged-1"] if share else [])


@pytest.mark.parametrize(
    "content", [b"Not a database.\n" * 100, b"short", bytes(5000), b"\xff" * 40_000]
)
def test_a_file_that_is_no_database_is_set_aside(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    store = EmbeddingStore(tmp_path)
    with pytest.warns(UserWarning, match=r"damaged.*embeddings\.sqlite\.damaged-1"):
        assert store.get(["a"]) == {}
    assert len(store) == 0
    store.put(["a"], rows_of(["a"]))
    store.close()
    with EmbeddingStore(tmp_path) as store:
        assert_rows_are_those_of(store.get(["a"]), ["a"])
    assert (tmp_path / f"{NAME}.damaged-1").read_bytes() == content


def test_files_that_were_set_aside_before_stay(tmp_path):
    for content in (b"first" * 200, b"second" * 200):
        (tmp_path / NAME).write_bytes(content)
        with pytest.warns(UserWarning, match="damaged"), EmbeddingStore(tmp_path):
            pass
    assert damaged_files(tmp_path) == [f"{NAME}.damaged-1", f"{NAME}.damaged-2"]
    assert (tmp_path / f"{NAME}.damaged-1").read_bytes() == b"first" * 200


@pytest.mark.parametrize("method", ["get", "put", "len"])
def test_damage_in_the_middle_of_work_ends_in_a_fresh_file(tmp_path, method):
    keys = keys_of(2000)
    file = filled(tmp_path, keys)
    with change(file) as content:
        # The heads of all pages but the first two, which open and the index need.
        for page in range(2 * 16384, len(content), 16384):
            content[page : page + 8] = b"\xff" * 8
    with EmbeddingStore(tmp_path) as store:
        assert damaged_files(tmp_path) == []
        with pytest.warns(UserWarning, match="malformed") as record:
            if method == "get":
                found = store.get(keys)
                assert_rows_are_those_of(found, found)
            elif method == "put":
                store.put(keys, rows_of(keys))
                assert_rows_are_those_of(store.get(keys), keys)
            else:
                assert len(store) == 0
        assert record[0].filename == __file__ and len(record) == 1
        store.put(keys, rows_of(keys))
        assert len(store) == 2000
    assert damaged_files(tmp_path) == [f"{NAME}.damaged-1"]


def test_embeddings_found_before_the_damage_are_returned(tmp_path):
    keys = keys_of(2000)
    damage_page_of(keys[1000], filled(tmp_path, keys))
    store = EmbeddingStore(tmp_path)
    with store, pytest.warns(UserWarning, match="malformed"):
        found = store.get(keys)
    assert 500 < len(found) <= 1000
    assert_rows_are_those_of(found, keys[: len(found)])


def put_and_count_warnings(number, barrier, folder):
    """Open a damaged file together with others and write."""
    keys = keys_of(200, f"{number}-")
    barrier.wait(60)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        with EmbeddingStore(folder) as store:
            store.put(keys, rows_of(keys))
            assert_rows_are_those_of(store.get(keys), keys)
    Path(folder, f"warnings-{number}.json").write_text(json.dumps(len(record)))


def test_processes_that_notice_damage_at_once_set_one_file_aside(tmp_path):
    (tmp_path / NAME).write_bytes(b"Not a database.\n" * 100)
    run_at_once(put_and_count_warnings, tmp_path, n=4)
    assert damaged_files(tmp_path) == [f"{NAME}.damaged-1"]
    counts = [json.loads(p.read_text()) for p in tmp_path.glob("warnings-*.json")]
    assert sorted(counts) == [0, 0, 0, 1]
    with EmbeddingStore(tmp_path) as store:
        assert len(store) == 800


def notice_damage(number, barrier, folder):
    """Read until the file is found damaged, and write to the new one."""
    with EmbeddingStore(folder) as store:
        with pytest.warns(UserWarning, match="malformed"):
            store.get(keys_of(500))
        store.put(["a"], rows_of(["a"]))


def test_an_open_store_follows_when_a_process_sets_the_file_aside(tmp_path):
    keys = keys_of(500)
    damage_page_of(keys[300], filled(tmp_path, keys))
    with EmbeddingStore(tmp_path) as store:
        # The damaged file has a journal that is in use, which goes with it.
        store.put(keys[:100], rows_of(keys[:100]))
        run_at_once(notice_damage, tmp_path)
        aside = [f"{NAME}.damaged-1{suffix}" for suffix in ("", "-shm", "-wal")]
        assert damaged_files(tmp_path) == aside
        store.put(["b"], rows_of(["b"]))
        assert_rows_are_those_of(store.get(["a", "b", *keys]), "ab")
    with EmbeddingStore(tmp_path) as store:
        assert_rows_are_those_of(store.get(["a", "b", *keys]), "ab")
        assert len(store) == 2


def test_who_notices_damage_last_leaves_the_fresh_file(tmp_path):
    file = filled(tmp_path, ["a"])
    with EmbeddingStore(tmp_path) as last:
        file.rename(file.with_suffix(".damaged-1"))
        filled(tmp_path, ["b"])
        last._set_aside(sqlite3.DatabaseError("noticed before the other renamed it"))
        assert_rows_are_those_of(last.get("ab"), "b")
    assert damaged_files(tmp_path) == []


def test_a_file_deleted_meanwhile_is_begun_again(tmp_path):
    with EmbeddingStore(tmp_path / "store") as store:
        store.put(["a"], rows_of(["a"]))
        shutil.rmtree(tmp_path / "store")
        assert store.get(["a"]) == {}
        store.put(["b"], rows_of(["b"]))
    with EmbeddingStore(tmp_path / "store") as store:
        assert_rows_are_those_of(store.get("ab"), "b")


# What cannot be helped


@pytest.mark.parametrize("version", [2, -1, 10_000])
def test_another_version_is_refused_and_left_alone(tmp_path, version):
    file = filled(tmp_path, ["a"])
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(ValueError, match=f"version {version}.*another folder"):
        EmbeddingStore(tmp_path).get(["a"])
    assert file.read_bytes() == before
    assert damaged_files(tmp_path) == []


def is_unwritable(folder):
    return not os.access(folder, os.W_OK)


@pytest.mark.parametrize("has_file", [False, True])
def test_a_read_only_folder_is_named(tmp_path, has_file):
    folder = tmp_path / "read-only"
    folder.mkdir()
    if has_file:
        filled(folder, ["a"])
    folder.chmod(0o555)
    try:
        if not is_unwritable(folder):
            pytest.skip("permissions are not enforced for this user")
        with pytest.raises(OSError, match=r"read-only.*you may write"):
            EmbeddingStore(folder).__enter__()
    finally:
        folder.chmod(0o755)
    assert damaged_files(folder) == []


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_place_of_the_folder_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=f"{name}.*choose another folder"):
        EmbeddingStore(tmp_path / name).get(["a"])


def put_with_little_room(number, barrier, folder):
    """Write more than the limit on the size of files lets pass."""
    import resource

    limit = 300_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    keys = keys_of(1000)
    with EmbeddingStore(folder) as store:
        store.put(keys[:100], rows_of(keys[:100]))
        with pytest.raises(OSError, match=r"cannot be read or.*has room") as e:
            store.put(keys, rows_of(keys, 768))
        assert folder in str(e.value)
        assert_rows_are_those_of(store.get(keys), keys[:100])


def test_without_room_the_folder_is_named_and_earlier_embeddings_stay(tmp_path):
    pytest.importorskip("resource")
    run_at_once(put_with_little_room, tmp_path)
    with EmbeddingStore(tmp_path) as store:
        assert len(store) == 100 and store.n_damaged == 0
    assert damaged_files(tmp_path) == []


def test_a_file_that_another_program_holds_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("skcvae.embedding._store._SECONDS_TO_WAIT", 0.05)
    other = sqlite3.connect(filled(tmp_path, ["a"]), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with EmbeddingStore(tmp_path) as store:
        # Those who read need not wait.
        assert_rows_are_those_of(store.get(["a"]), ["a"])
        with pytest.raises(OSError, match=r"locked.*no other program") as e:
            store.put(["b"], rows_of(["b"]))
        assert str(tmp_path) in str(e.value)
        other.execute("ROLLBACK")
        store.put(["b"], rows_of(["b"]))
        assert len(store) == 2
    other.close()


def test_to_open_waits_for_others_that_open_or_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("skcvae.embedding._store._SECONDS_TO_WAIT", 0.05)
    store = EmbeddingStore(tmp_path)
    lock = FileLock(tmp_path / "embeddings.lock")
    with lock, pytest.raises(OSError, match=r"cannot be read or written.*no other"):
        store.get(["a"])
    with store:
        assert store.get(["a"]) == {}


def test_a_file_whose_journal_cannot_be_changed_now_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("skcvae.embedding._store._SECONDS_TO_WAIT", 0.05)
    other = sqlite3.connect(filled(tmp_path, ["a"]), isolation_level=None)
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM embeddings").fetchone()
    with EmbeddingStore(tmp_path) as store:
        assert_rows_are_those_of(store.get(["a"]), ["a"])
    other.close()


def test_a_file_system_without_shared_memory_serves_too(tmp_path, monkeypatch):
    connect = sqlite3.connect

    def connect_without_shared_memory(path, **kwargs):
        # This way of SQLite's to reach files has no shared memory.
        return connect(f"file:{path}?vfs=unix-dotfile", uri=True, **kwargs)

    keys = keys_of(100)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_without_shared_memory)
        with EmbeddingStore(tmp_path) as store:
            store.put(keys, rows_of(keys))
            assert not (tmp_path / f"{NAME}-wal").exists()
            with EmbeddingStore(tmp_path) as other:
                assert_rows_are_those_of(other.get(keys), keys)
    with EmbeddingStore(tmp_path) as store:
        assert_rows_are_those_of(store.get(keys), keys)
