"""Files that are read safely, and files that are written completely or not at all."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_regular(path: str | os.PathLike) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file to read, and give its size too; refuse pipes, devices and folders.

    Opening never waits for a writer of a pipe.
    """
    # Windows has no O_NONBLOCK, and needs O_BINARY.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is not a regular file.")
    with open(descriptor, "rb") as file:
        yield file, status.st_size


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a new file beside a path to write to, which at the end gets that path.

    If the block fails, an older file stays unchanged. The new one has a random name
    until all its bytes are on the disk, so that two writers do not meet, and only its
    owner may read it, then and later. A link at the path is replaced, not followed.
    """
    # mkstemp creates the file or fails, follows no link, and sets the mode 0600.
    descriptor, name = tempfile.mkstemp(
        prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
    )
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write bytes to a file; an older file stays until all bytes are on the disk."""
    with replacing(path) as file:
        file.write(content)


def make_private_folder(path: Path) -> None:
    """Create a folder that only its owner may enter; one that exists keeps its mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def check_output(
    output: Path | None, suffixes: str | tuple[str, ...], *inputs: Path
) -> None:
    """Refuse an output that cannot be written or that is an input; None is allowed."""
    if output is None:
        return
    if isinstance(suffixes, str):
        suffixes = (suffixes,)
    if output.suffix not in suffixes:
        kinds = " or ".join(f"a {suffix} file" for suffix in suffixes)
        raise ValueError(f"The output must be {kinds}, got {output}.")
    if not output.parent.is_dir():
        raise ValueError(f"There is no folder {output.parent} to write to.")
    if not os.access(output.parent, os.W_OK):
        raise ValueError(f"The folder {output.parent} cannot be written to.")
    if output.is_dir():
        raise ValueError(f"{output} is a folder. Name a file.")
    files = [
        file
        for path in inputs
        for file in (path.iterdir() if path.is_dir() else [path])
    ]
    if output.exists() and any(f.exists() and output.samefile(f) for f in files):
        raise ValueError(f"{output} is an input, and would be lost. Name another file.")


def printable(path: object) -> str:
    """Return a path in one line, without what would control a terminal."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
