"""The command ``skcvae release``."""

from pathlib import Path
from typing import Annotated

import typer

from ._common import (
    METHODS,
    RELEASE_SUFFIX,
    Architecture,
    AsJson,
    Beta,
    Database,
    Delta,
    Device,
    Epochs,
    Epsilon,
    HiddenDim,
    LatentDim,
    MaxMeanLeakage,
    MinClassSize,
    Patience,
    SecretSeed,
    SmallClasses,
    Validation,
    Variance,
    choice,
    echo_outcome,
    make_anonymizer,
    statement_lines,
)


def release(
    source: Database,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File (.safetensors) to write.")
    ],
    method: Annotated[
        str, choice(METHODS, "cvae, gaussian, dp-cvae or dp-gaussian.")
    ] = "cvae",
    epsilon: Epsilon = None,
    delta: Delta = None,
    variance: Variance = None,
    latent_dim: LatentDim = None,
    beta: Beta = None,
    architecture: Architecture = None,
    hidden_dim: HiddenDim = None,
    epochs: Epochs = None,
    patience: Patience = None,
    validation: Validation = None,
    class_prior: Annotated[
        str,
        choice(
            ("uniform", "training"),
            "uniform, or training, which tells the recipient the class distribution "
            "of the training samples.",
        ),
    ] = "uniform",
    small_classes: SmallClasses = None,
    min_class_size: MinClassSize = None,
    max_mean_leakage: MaxMeanLeakage = None,
    seed: SecretSeed = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train a generator, and write a file from which others can draw samples."""
    from .._files import check_output
    from ._databases import read_finite

    check_output(output, RELEASE_SUFFIX, source)
    if class_prior not in ("uniform", "training"):
        raise ValueError(
            f"The class prior must be uniform or training, got {class_prior!r}."
        )
    options = {
        "epsilon": epsilon,
        "delta": delta,
        "variance": variance,
        "latent_dim": latent_dim,
        "beta": beta,
        "architecture": architecture,
        "hidden_dim": hidden_dim,
        "epochs": epochs,
        "patience": patience,
        "validation": validation,
        "small_classes": small_classes,
        "min_class_size": min_class_size,
        "max_mean_leakage": max_mean_leakage,
    }
    anonymizer = make_anonymizer(method, options, seed, device, source)
    if not hasattr(anonymizer, "release"):
        raise ValueError(
            f"{method} has no model to share: write its samples by anonymize."
        )
    is_private = method.startswith("dp-")
    X, y = read_finite(source, "train", any_value=is_private).labelled
    anonymizer.fit(X, y).release(output, class_prior=class_prior)
    statement = anonymizer.privacy_statement()
    summary = (
        f"{output}: {method} of {len(anonymizer.classes_)} classes and {X.shape[1]} "
        f"features, class prior {class_prior}."
    )
    outcome = {
        "output": output,
        "method": method,
        "n_classes": len(anonymizer.classes_),
        "n_features": X.shape[1],
        "class_prior": class_prior,
        "privacy": statement,
    }
    echo_outcome(as_json, outcome, [summary, *statement_lines(statement)])
