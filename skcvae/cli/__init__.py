"""The command ``skcvae``."""

import os
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Annotated

import typer

from .. import __version__
from ._anonymize import anonymize
from ._audit import audit
from ._compare import compare
from ._demo import demo
from ._embed import embed
from ._predict import predict
from ._probe import probe
from ._release import release
from ._report import report
from ._resample import resample
from ._train import train

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _with_short_messages(command: Callable) -> Callable:
    """Print warnings and errors as sentences; after an error, exit with status 1."""

    @wraps(command)
    def run(*args, **kwargs):
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _print_warning
                command(*args, **kwargs)
        except (
            FloatingPointError,
            ImportError,
            OSError,
            RuntimeError,
            ValueError,
        ) as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from error

    return run


def _print_warning(message, *args, **kwargs):
    """Print a warning without the line of code that it arose in."""
    typer.echo(f"Warning: {message}", err=True)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"skcvae {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version, and exit.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Over-sample and anonymize embeddings with generative models."""
    # Threads that wait for one another sleep. Spinning, they would take the processors
    # that the others need, where busy programs run beside. OpenMP reads this when torch
    # is imported, which the commands do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


# The commands import the library when they run, so that `skcvae --help` stays fast.
_COMMANDS = (
    *(compare, demo, embed, resample, train, predict),
    *(anonymize, release, audit, probe, report),
)
for _command in _COMMANDS:
    app.command()(_with_short_messages(_command))
