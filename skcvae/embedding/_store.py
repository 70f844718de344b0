"""Embeddings on disk by content, in one SQLite file."""

import os
import sqlite3
import threading
import weakref
import zlib
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import numpy as np
from filelock import FileLock

from .._warnings import warn_user

_SCHEMA_VERSION = 1

# Pages of this size hold rows of usual lengths with little waste.
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
_PAGE_SIZE = 16384

_SELECT = "SELECT dim, checksum, row FROM embeddings WHERE key = ?"

# An update in place leaves the index alone, so that it also works where the key that
# the table holds is the damaged part.
_UPSERT = """
INSERT INTO embeddings VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
SET dim = excluded.dim, checksum = excluded.checksum, row = excluded.row
"""

# Errors that say something of the disk, the rights or other processes. All others
# come of damaged content, as the statements never change.
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

# SQLite's own memory of its locks does not survive a fork, not even for connections
# that the child opens. So each store is closed before a fork, which waits until no
# thread is in the middle of something.
_LOCK = threading.RLock()
_STORES: weakref.WeakSet = weakref.WeakSet()


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


class EmbeddingStore:
    """Embeddings by key, in one SQLite file that processes and threads may share.

    The file is opened at first use. Each :meth:`put` is one transaction: if the
    process is killed, those before it stay. Each entry carries its dimension and a
    checksum of its key and bytes. An entry that is damaged counts as missing, and the
    next :meth:`put` overwrites it. A file that is no database any more is renamed to
    `embeddings.sqlite.damaged-<n>` with a warning, and a fresh one is begun.

    Processes of one machine may share a folder. Machines may not, not even through a
    network drive: SQLite's locks do not work there. Give each machine its own.

    Parameters
    ----------
    folder : str or path-like
        Where the file is; it is made if needed.

    Attributes
    ----------
    folder : pathlib.Path
        Absolute path of the folder.

    n_damaged : int
        How many damaged entries this object has met. A pickled copy starts at 0.

    Raises
    ------
    OSError
        By every method, where the folder cannot be read or written, its disk is full,
        or another process holds the file for more than 60 seconds.

    ValueError
        By every method, where another version of skcvae made the file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from skcvae.embedding._store import EmbeddingStore
    >>> with TemporaryDirectory() as folder, EmbeddingStore(folder) as store:
    ...     store.put(["a", "b"], np.eye(2, 3, dtype=np.float32))
    ...     store.get(["b", "c"])
    {'b': array([0., 1., 0.], dtype=float32)}
    """

    def __init__(self, folder):
        self.folder = Path(folder).absolute()
        self.n_damaged = 0
        self._path = self.folder / "embeddings.sqlite"
        self._connection = None
        self._file_id = None
        with _LOCK:
            _STORES.add(self)

    def __enter__(self):
        self._run(lambda connection: None)
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __reduce__(self):
        return type(self), (self.folder,)

    def close(self):
        """Close the file; the next use opens it again."""
        with _LOCK:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def get(self, keys):
        """Look up embeddings.

        Parameters
        ----------
        keys : iterable of str
            What to look up.

        Returns
        -------
        rows : dict from str to ndarray of shape (d,)
            Read-only float32 embeddings of the keys that are there and intact.
        """
        keys, rows = list(keys), {}
        self._run(self._read, keys, rows)
        return rows

    def put(self, keys, rows):
        """Store embeddings, all or none; those of the same key are replaced.

        Parameters
        ----------
        keys : iterable of str
            Where to find the rows again; of a key that comes twice, the last counts.

        rows : ndarray of shape (n_keys, d), dtype float32
            Embeddings, without NaN.

        Raises
        ------
        ValueError
            If `rows` has another type or shape, or holds NaN.
        """
        keys = list(keys)
        if len(keys) == len(rows) == 0:
            return
        _check_rows(keys, rows)
        self._run(self._write, keys, np.ascontiguousarray(rows, dtype="<f4"))

    def __len__(self):
        (length,) = self._run(_count)
        return length

    def _read(self, connection, keys, rows):
        """Add the intact rows of the keys to a dict."""
        connection.execute("BEGIN")
        for key in keys:
            seed = zlib.crc32(key.encode())
            for dim, checksum, row in connection.execute(_SELECT, (key,)):
                # A damaged header may turn any value into one of another type.
                if isinstance(row, bytes) and (dim, checksum) == (
                    len(row) / 4,
                    zlib.crc32(row, seed),
                ):
                    rows[key] = np.frombuffer(row, dtype="<f4")
                else:
                    self.n_damaged += 1

    def _write(self, connection, keys, rows):
        """Insert or update the rows."""
        dim = rows.shape[1]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            _UPSERT,
            (
                (key, dim, zlib.crc32(row, zlib.crc32(key.encode())), row)
                for key, row in zip(keys, rows, strict=True)
            ),
        )

    def _run(self, operation, *args):
        """Run a transaction; where the file turns out damaged, again on a fresh one."""
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
        """Name the folder in errors of the disk, and say what to do."""
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
            # Another process has set the file aside, or somebody has deleted it.
            self.close()
        if self._connection is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._file_lock():
                self._open()
        return self._connection

    def _open(self):
        """Open the file, or begin it."""
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
        """Check the version, set the journal, and make the table in a new file."""
        # Damage may turn a row into text that cannot be decoded.
        connection.text_factory = bytes
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _SCHEMA_VERSION):
            raise ValueError(
                f"{str(self._path)!r} has version {version}, and this skcvae reads "
                f"version {_SCHEMA_VERSION}. Use another folder, or delete the file."
            )
        connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
        # Where the file system has no shared memory, SQLite's default journal stays:
        # slower, as safe.
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
            # Journals that stayed would be taken for those of the fresh file.
            for suffix in ("-journal", "-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    os.rename(f"{self._path}{suffix}", f"{target}{suffix}")
        warn_user(
            f"The file of embeddings {str(self._path)!r} is damaged ({error}). It is "
            f"now called {target.name!r}, and a fresh one is begun; embeddings that "
            "were only in there are computed again. You may delete it.",
        )

    def _file_lock(self):
        """Return the lock for opening the file and for setting it aside."""
        # A name that SQLite itself never uses.
        return FileLock(self.folder / "embeddings.lock", timeout=_SECONDS_TO_WAIT)


def _count(connection):
    """Return the number of entries, as a tuple."""
    return connection.execute("SELECT count(*) FROM embeddings").fetchone()


def _file_id(path):
    """Return what tells a file from another of the same name, None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _means_damage(error):
    """Return whether an error of SQLite comes of what the file holds."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _ENVIRONMENT_ERRORS


def _check_rows(keys, rows):
    """Raise an error unless there is one float32 row without NaN for each key."""
    if not isinstance(rows, np.ndarray) or rows.dtype != np.float32:
        raise ValueError("rows must be an ndarray of dtype float32.")
    if rows.ndim != 2 or len(rows) != len(keys):
        raise ValueError(
            f"rows must have the shape (n_keys, d); got {rows.shape} for "
            f"{len(keys)} keys."
        )
    failed = np.isnan(rows).any(axis=1)
    if failed.any():
        raise ValueError(
            f"{failed.sum()} rows hold NaN, the first that of the key "
            f"{keys[failed.argmax()]!r}. An image that failed has no embedding: leave "
            "its row out."
        )
