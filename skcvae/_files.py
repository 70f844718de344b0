"""Files that are written whole or not at all."""

import os
from contextlib import contextmanager


@contextmanager
def replacing(path):
    """Give a path beside a file to write to; at the end it takes the file's place.

    Parameters
    ----------
    path : Path
        File to write or replace. Where the block fails, it stays as it was.

    Yields
    ------
    partial : Path
        Has the suffix of `path`, which some writers would otherwise append.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path, content):
    """Write bytes to a file, and to the disk, before it replaces another.

    Parameters
    ----------
    path : Path
        File to write or replace.

    content : bytes
        All of it.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
