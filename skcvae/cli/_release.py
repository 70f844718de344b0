"""The command ``skcvae release``."""

from pathlib import Path
from typing import Annotated

import typer

from ._common import (
    RELEASE_SUFFIX,
    Database,
    Delta,
    Device,
    Epsilon,
    MaxMeanLeakage,
    MinClassSize,
    SecretSeed,
    SmallClasses,
    echo_statement,
    make_anonymizer,
)


def release(
    source: Database,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File (.safetensors) to write.")
    ],
    method: Annotated[
        str, typer.Option(help="cvae, gaussian, dp-cvae or dp-gaussian.")
    ] = "cvae",
    epsilon: Epsilon = None,
    delta: Delta = None,
    class_prior: Annotated[
        str,
        typer.Option(
            help="uniform, or training, which tells the recipient the class "
            "distribution of the training samples."
        ),
    ] = "uniform",
    small_classes: SmallClasses = None,
    min_class_size: MinClassSize = None,
    max_mean_leakage: MaxMeanLeakage = None,
    seed: SecretSeed = None,
    device: Device = "auto",
) -> None:
    """Train a generator, and write a file from which others can draw samples."""
    from .._files import check_output
    from ._databases import read_samples

    check_output(output, RELEASE_SUFFIX, source)
    if class_prior not in ("uniform", "training"):
        raise ValueError(
            f"The class prior must be uniform or training, got {class_prior!r}."
        )
    options = {
        "epsilon": epsilon,
        "delta": delta,
        "small_classes": small_classes,
        "min_class_size": min_class_size,
        "max_mean_leakage": max_mean_leakage,
    }
    anonymizer = make_anonymizer(method, options, seed, device)
    if not hasattr(anonymizer, "release"):
        raise ValueError(
            f"{method} has no model to share: write its samples by anonymize."
        )
    X, y = read_samples(source, "train").labelled
    anonymizer.fit(X, y).release(output, class_prior=class_prior)
    typer.echo(
        f"{output}: {method} of {len(anonymizer.classes_)} classes and {X.shape[1]} "
        f"features, class prior {class_prior}."
    )
    echo_statement(anonymizer.privacy_statement())
