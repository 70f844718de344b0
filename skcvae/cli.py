"""The command ``skcvae``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Generative over-sampling of embeddings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def main():
    """Keep `demo` a sub-command: typer would run a single command without its name."""


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Embeddings (.npz) with the arrays X_train, y_train, X_test and "
            "y_test, or X and y. Without it: a long-tailed version of scikit-learn's "
            "digits."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Where to write the figure.")] = Path(
        "skcvae_demo.png"
    ),
    folds: Annotated[
        int, typer.Option(min=2, help="Folds, or seeds where the file has a split.")
    ] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
):
    """Compare no resampling, SMOTE, ClassGaussian and CVAE through one pipeline.

    Prints the accuracy over all classes and over those with many (more than 100), a
    medium number of, and few (less than 20) training rows, and draws it.
    """
    # Imported here, so that `skcvae --help` answers at once.
    from ._demo import run_demo

    try:
        run_demo(data, output, folds, seed, device, typer.echo)
    except (ImportError, OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
