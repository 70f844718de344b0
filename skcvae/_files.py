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


def check_output(output, suffix, *inputs):
    """Refuse an output that cannot be written, or that is an input; None is fine."""
    if output is None:
        return
    if output.suffix != suffix:
        raise ValueError(f"The output must be a {suffix} file, got {output}.")
    if not output.parent.is_dir():
        raise ValueError(f"There is no folder {output.parent} to write to.")
    if output.is_dir():
        raise ValueError(f"{output} is a folder. Name a file.")
    files = [
        file
        for path in inputs
        for file in (path.glob("*.npz") if path.is_dir() else [path])
    ]
    if any(
        file.exists() and output.exists() and output.samefile(file) for file in files
    ):
        raise ValueError(f"{output} is an input, and would be lost. Name another file.")
