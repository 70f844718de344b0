"""A store of embeddings by key, in one SQLite file."""

import os
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Self

import numpy as np
from filelock import FileLock

from .._files import make_private_folder
from .._warnings import warn_user

_SCHEMA_VERSION = 1

_CREATE = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS embeddings (
    key TEXT PRIMARY KEY,
    dim INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    row BLOB NOT NULL
);
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""
# Embeddings of usual lengths waste little space in pages of this size.
_PAGE_SIZE = 16384

_SELECT = "SELECT dim, checksum, row FROM embeddings WHERE key = ?"

# An update in place does not change the index, so it also works if the key in the table
# is damaged.
_UPSERT = """
INSERT INTO embeddings VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
SET dim = excluded.dim, checksum = excluded.checksum, row = excluded.row
"""

# Errors caused by the disk, by permissions or by other processes. The statements are
# fixed, so all other errors mean damaged content.
_ENVIRONMENT_ERRORS = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_MISUSE,
}

_SECONDS_TO_WAIT = 60.0

# SQLite's record of its locks does not survive a fork, not even for connections that
# the child opens. So all stores are closed before a fork, and the fork waits until no
# thread uses a store.
_LOCK = threading.RLock()
_STORES: weakref.WeakSet["EmbeddingStore"] = weakref.WeakSet()


def _close_before_fork():
    """Close all stores; the lock is released after the fork."""
    _LOCK.acquire()
    for store in list(_STORES):
        store.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_close_before_fork,
        after_in_parent=_LOCK.release,
        after_in_child=_LOCK.release,
    )


def fill_embeddings(
    folder: str | os.PathLike[str],
    keys: Sequence[str | None],
    embeddings: np.ndarray,
    compute: Callable[[list[int]], Iterable[tuple[np.ndarray, np.ndarray]]],
) -> None:
    """Write the embeddings of keys into an array, from a store where it has them.

    `compute` takes the positions that the store lacks, and yields positions and
    embeddings of batches. Each batch is stored at once, so that a killed run loses at
    most one. Embeddings without a key are not stored.
    """
    with EmbeddingStore(folder) as store:
        known = store.get([k for k in keys if k is not None], *embeddings.shape[1:])
        missing = []
        for position, key in enumerate(keys):
            if key in known:
                embeddings[position] = known[key]
            else:
                missing.append(position)
        for positions, batch in compute(missing):
            embeddings[positions] = batch
            kept = [i for i, p in enumerate(positions) if keys[p] is not None]
            store.put([keys[positions[i]] for i in kept], batch[kept])


class EmbeddingStore:
    """Embeddings by key, in one SQLite file that processes and threads may share.

    The file is opened at first use. Each :meth:`put` is one transaction, so earlier
    ones survive if the process is killed. Each entry has its dimension and a checksum
    of its key and bytes. A damaged entry counts as missing, and the next :meth:`put`
    overwrites it. A file that is damaged as a whole is renamed to
    `embeddings.sqlite.damaged-<n>` with a warning, and a new file is started.

    Only the owner may read the folder and the file that a store creates. The checksum
    detects damage, and not forgery: who can write to the folder can put in other
    embeddings, of the right dimension and with the right checksum.

    Processes of one machine may share a folder. Several machines may not, because
    SQLite's locks do not work on network drives. Give each machine its own folder.

    The folder is created if needed. `n_damaged` counts the damaged entries that this
    object found; a pickled copy starts at 0. Every method raises OSError if the folder
    cannot be read or written, its disk is full, or another process locks the file for
    more than 60 seconds, and ValueError if another version of skcvae made the file.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder).absolute()
        self.n_damaged = 0
        self._path = self.folder / "embeddings.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None
        with _LOCK:
            _STORES.add(self)

    def __enter__(self) -> Self:
        self._run(lambda connection: None)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce__(self):
        return type(self), (self.folder,)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with _LOCK:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def get(
        self, keys: Iterable[str], n_features: int | None = None
    ) -> dict[str, np.ndarray]:
        """Return read-only float32 embeddings of the keys that exist and are intact.

        An entry with values that are not finite, or without `n_features` of them where
        that is given, is not intact.
        """
        found: dict[str, np.ndarray] = {}
        self._run(self._read, list(keys), n_features, found)
        return found

    def put(self, keys: Iterable[str], embeddings: np.ndarray) -> None:
        """Store all embeddings, finite float32 of shape (n_keys, d), or none.

        They replace those of the same keys. If a key occurs twice, its last one is
        kept.
        """
        keys = list(keys)
        if len(keys) == len(embeddings) == 0:
            return
        _check_embeddings(keys, embeddings)
        self._run(self._write, keys, np.ascontiguousarray(embeddings, dtype="<f4"))

    def __len__(self) -> int:
        (length,) = self._run(_count)
        return length

    def _read(self, connection, keys, n_features, found):
        """Add the intact embeddings of the keys to a dict."""
        connection.execute("BEGIN")
        for key in keys:
            seed = zlib.crc32(key.encode())
            for dim, checksum, row in connection.execute(_SELECT, (key,)):
                embedding = _intact(row, dim, checksum, seed, n_features)
                if embedding is None:
                    self.n_damaged += 1
                else:
                    found[key] = embedding

    def _write(self, connection, keys, embeddings):
        dim = embeddings.shape[1]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            _UPSERT,
            (
                (key, dim, zlib.crc32(row, zlib.crc32(key.encode())), row)
                for key, row in zip(keys, embeddings, strict=True)
            ),
        )

    def _run(self, operation, *args):
        """Run a transaction; if the file is damaged, run it again on a new file."""
        with _LOCK, self._clear_errors():
            try:
                with self._connect() as connection:
                    return operation(connection, *args)
            except sqlite3.Error as error:
                if not _means_damage(error):
                    raise
                self._set_aside(error)
            with self._connect() as connection:
                return operation(connection, *args)

    @contextmanager
    def _clear_errors(self):
        """Add the folder and a remedy to errors of the disk."""
        try:
            yield
        except (OSError, sqlite3.DatabaseError) as error:
            raise OSError(
                f"The embeddings in {str(self.folder)!r} cannot be read or written: "
                f"{error}. Check that you may write to this folder, that its disk has "
                "room and that no other program holds its files, or choose another "
                "folder."
            ) from error

    def _connect(self):
        """Return a connection to the file that is in the folder now."""
        if self._connection is not None and _file_id(self._path) != self._file_id:
            # Another process has renamed the file, or somebody has deleted it.
            self.close()
        if self._connection is None:
            make_private_folder(self.folder)
            with self._file_lock():
                self._open()
        return self._connection

    def _open(self):
        """Open or create the file, which only its owner may read."""
        # SQLite gives its journals the mode of the file.
        with suppress(OSError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._connection = sqlite3.connect(
            self._path,
            timeout=_SECONDS_TO_WAIT,
            isolation_level=None,
            check_same_thread=False,
        )
        self._file_id = _file_id(self._path)
        try:
            self._prepare(self._connection)
        except BaseException:
            self.close()
            raise

    def _prepare(self, connection):
        """Check the version, set the journal, and create the table in a new file."""
        # Damage may turn an embedding into text that cannot be decoded.
        connection.text_factory = bytes
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _SCHEMA_VERSION):
            raise ValueError(
                f"{str(self._path)!r} has version {version}, and this skcvae reads "
                f"version {_SCHEMA_VERSION}. Use another folder, or delete the file."
            )
        connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
        # Without shared memory in the file system, SQLite keeps its default journal,
        # which is slower and equally safe.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            connection.executescript(_CREATE)

    def _set_aside(self, error):
        """Rename the damaged file, unless another process has done so."""
        self.close()
        with self._file_lock():
            if _file_id(self._path) != self._file_id:
                return
            targets = (Path(f"{self._path}.damaged-{n}") for n in count(1))
            target = next(path for path in targets if not path.exists())
            # SQLite would use an old journal for the new file.
            for suffix in ("-journal", "-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    os.rename(f"{self._path}{suffix}", f"{target}{suffix}")
        warn_user(
            f"The file of embeddings {str(self._path)!r} is damaged ({error}). It was "
            f"renamed to {target.name!r}, and a new file is started. Embeddings that "
            "were only in the old file are computed again. You may delete it.",
        )

    def _file_lock(self):
        """Return the lock for opening the file and for setting it aside."""
        # SQLite never uses this name.
        return FileLock(self.folder / "embeddings.lock", timeout=_SECONDS_TO_WAIT)


def _intact(row, dim, checksum, seed, n_features):
    """Return the embedding of an entry, or None if the entry is damaged."""
    # A damaged header may change the type of a value.
    if not isinstance(row, bytes) or (dim, checksum) != (
        len(row) / 4,
        zlib.crc32(row, seed),
    ):
        return None
    embedding = np.frombuffer(row, dtype="<f4")
    if n_features not in (None, len(embedding)) or not np.isfinite(embedding).all():
        return None
    return embedding


def _count(connection):
    return connection.execute("SELECT count(*) FROM embeddings").fetchone()


def _file_id(path):
    """Return what identifies a file, or None if it does not exist."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _means_damage(error):
    """Return whether an error of SQLite means that the file is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _ENVIRONMENT_ERRORS


def _check_embeddings(keys, embeddings):
    """Raise an error unless there is one finite float32 embedding for each key."""
    if not isinstance(embeddings, np.ndarray) or embeddings.dtype != np.float32:
        raise ValueError("embeddings must be an ndarray of dtype float32.")
    if embeddings.ndim != 2 or len(embeddings) != len(keys):
        raise ValueError(
            f"embeddings must have the shape (n_keys, d); got {embeddings.shape} for "
            f"{len(keys)} keys."
        )
    failed = ~np.isfinite(embeddings).all(axis=1)
    if failed.any():
        raise ValueError(
            f"{failed.sum()} embeddings hold NaN or infinity, the first that of the "
            f"key {keys[failed.argmax()]!r}. Leave out images that could not be read."
        )
