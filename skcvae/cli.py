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


@app.command()
def embed(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="Folder of class folders, also below train and test; CSV file with "
            "the columns path, label and optionally group; or MedMNIST file (.npz).",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File (.npz).")],
    model: Annotated[
        str, typer.Option(help="Name of a model of timm.")
    ] = "vit_base_patch14_dinov2.lvd142m",
    weights: Annotated[
        Path | None, typer.Option(help="Its weights; without it they are downloaded.")
    ] = None,
    pooling: Annotated[
        str, typer.Option(help="default, token, mean or token_mean.")
    ] = "default",
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Side of the images in pixels.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Sub-folder to embed for itself; may be given several times. Without "
            "it, train, val (or validation) and test are looked for."
        ),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="Images that cannot be read: raise, nan or skip.")
    ] = "raise",
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps embeddings for later runs.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that read images.")
    ] = 0,
):
    """Turn a folder of photos into a file of embeddings.

    A run that was killed goes on where it stopped when it is started again. The file
    is what the other commands read.
    """
    from ._embed import run_embed
    from .embedding import FoundationEmbedder

    embedder = FoundationEmbedder(
        model,
        weights=weights,
        pooling=pooling,
        image_size=image_size,
        device=device,
        num_workers=workers,
        verbose=1,
    )
    try:
        run_embed(source, output, embedder, on_error, cache, typer.echo, split or ())
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
