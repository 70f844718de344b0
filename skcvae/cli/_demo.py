"""The command ``skcvae demo``."""

from pathlib import Path
from typing import Annotated

import typer

from ._common import AsJson, Device, Seed
from ._compare import Script, Splits, compare


def demo(
    splits: Splits = 5,
    imbalance_ratio: Annotated[
        float,
        typer.Option(
            min=1, help="Size of the largest over that of the smallest class."
        ),
    ] = 50,
    figure: Annotated[Path, typer.Option(help="File for the figure.")] = Path(
        "skcvae_demo.png"
    ),
    script: Script = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare methods on scikit-learn's digits, made long-tailed, and draw a figure.

    This is `skcvae compare` without photos.
    """
    compare(
        splits=splits,
        imbalance_ratio=imbalance_ratio,
        figure=figure,
        script=script,
        seed=seed,
        device=device,
        as_json=as_json,
    )
