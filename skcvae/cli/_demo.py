"""The command ``skcvae demo``."""

from pathlib import Path
from typing import Annotated

import typer

from ._common import Device, Seed


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
        int,
        typer.Option(
            min=2, help="Number of folds, or of seeds if the file has splits."
        ),
    ] = 5,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Compare no resampling, SMOTE, ClassGaussian and CVAE in one pipeline.

    Prints and draws the accuracy over all classes, and over the classes with
    many (more than 100), a medium number of, and few (fewer than 20) training
    samples.
    """
    from .._extras import import_pyplot
    from . import _demo_trials

    import_pyplot("The figure")
    if not output.parent.is_dir():
        raise ValueError(f"There is no folder {output.parent} to write the figure to.")
    if data is None:
        trials = _demo_trials.digits_trials(folds, seed)
    else:
        trials = _demo_trials.file_trials(data, folds, seed)
    scores = _demo_trials.run_trials(trials, device)
    typer.echo("\nAccuracy (%), mean over trials; seconds to train\n")
    typer.echo(_demo_trials.format_table(scores))
    typer.echo("\n" + _demo_trials.describe_winner(scores))
    _demo_trials.plot_scores(scores, output)
    typer.echo(f"Figure: {output}")
