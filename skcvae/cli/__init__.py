"""The command ``skcvae``."""

from collections.abc import Callable
from functools import wraps

import typer

from ._anonymize import anonymize
from ._audit import audit
from ._compare import compare
from ._demo import demo
from ._embed import embed
from ._probe import probe
from ._release import release
from ._report import report

app = typer.Typer(
    help="Over-sample and anonymize embeddings with generative models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _with_short_errors(command: Callable) -> Callable:
    """Print errors that a user can correct in one line, and exit with status 1."""

    @wraps(command)
    def run(*args, **kwargs):
        try:
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


# The commands import the library when they run, so that `skcvae --help` stays fast.
for _command in (compare, demo, embed, anonymize, release, audit, probe, report):
    app.command()(_with_short_errors(_command))
