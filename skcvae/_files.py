"""Files that are written whole or not at all."""

import os


def write_whole(path, content):
    """Write bytes to a file through a temporary one beside it.

    Parameters
    ----------
    path : Path
        File to write or replace.

    content : bytes
        All of it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
