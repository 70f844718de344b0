"""The command ``skcvae report``."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import (
    CVAE_OPTIONS,
    METHODS,
    Architecture,
    AsJson,
    Beta,
    Delta,
    Device,
    Epochs,
    Epsilon,
    K,
    LatentDim,
    MinClassSize,
    SmallClasses,
    Variance,
    choice,
    echo_outcome,
    make_anonymizer,
    take_options,
)

_OVER_SAMPLE = "over-sample"


def report(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="Database (.npz, .parquet or .safetensors) with the splits train, val "
            "and test, or a folder with train.npz, val.npz and test.npz.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File (.html) to write.")
    ],
    method: Annotated[
        str,
        choice(
            (*METHODS, _OVER_SAMPLE),
            "cvae, gaussian, k-same, dp-gaussian, dp-cvae or over-sample, which fills "
            "up classes with a CVAE.",
        ),
    ] = "cvae",
    k: K = None,
    epsilon: Epsilon = None,
    delta: Delta = None,
    variance: Variance = None,
    latent_dim: LatentDim = None,
    beta: Beta = None,
    architecture: Architecture = None,
    epochs: Epochs = None,
    small_classes: SmallClasses = None,
    min_class_size: MinClassSize = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Random seed, 0 by default. dp methods have none by default, because "
            "it voids their guarantee.",
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Fit a method, and write its quality, utility and privacy as one HTML page.

    The model is fitted on the training samples only. Test samples measure
    quality and utility, and are the non-members of the audit. Validation
    samples are what the attacker has, and stop the training of the linear
    probe.
    """
    import numpy as np

    from .. import report as library
    from .._extras import import_extra, import_pyplot
    from .._files import check_output
    from ._databases import check_widths, read_samples

    check_output(output, ".html", source)
    import_pyplot("report")
    import_extra("jinja2", "plot", "report")
    options = {
        "k": k,
        "epsilon": epsilon,
        "delta": delta,
        "variance": variance,
        "latent_dim": latent_dim,
        "beta": beta,
        "architecture": architecture,
        "epochs": epochs,
        "small_classes": small_classes,
        "min_class_size": min_class_size,
    }
    if seed is None and not method.startswith("dp-"):
        seed = 0
    model = _make_model(method, options, seed, device)
    parts = [read_samples(source, split) for split in ("train", "val", "test")]
    train, reference, test = parts
    if source.is_file() and train.names == test.names:
        raise ValueError(
            f"{source} has no splits. A report compares samples of three: give a file "
            "with X_train, X_val and X_test, and labels, or a folder with train.npz, "
            "val.npz and test.npz."
        )
    if not all(np.isfinite(part.X).all() for part in parts):
        # A private fit takes them, and its page could not be computed.
        raise ValueError(
            f"{source} holds values that are not finite, and a report compares with "
            "them. Leave these samples out."
        )
    check_widths(source, *parts)
    if len({part.y.dtype.kind == "U" for part in parts}) > 1:
        raise ValueError(f"{source}: labels must be text in all splits, or in none.")
    typer.echo(f"Fitting {method} to {len(train.X)} samples.", err=as_json)
    groups = {"groups": train.groups} if method == "k-same" else {}
    model.fit(train.X, train.y, **groups)
    typer.echo("Measuring quality, utility and privacy.", err=as_json)
    library.report(
        output,
        model,
        train.X,
        train.y,
        X_test=test.X,
        y_test=test.y,
        X_reference=reference.X,
        y_reference=reference.y,
        groups=train.groups,
        groups_test=test.groups,
        groups_reference=reference.groups,
        title=f"Report on {method} for {source.name}",
        command=_command_line(source, output, method, options, seed, device),
        device=device,
        verbose=1,
        random_state=seed,
    )
    text = (
        f"{output}: open it in a browser. It describes the real samples: keep it "
        "private."
    )
    echo_outcome(as_json, {"output": output, "method": method}, [text])


def _make_model(method: str, options: dict, seed: int | None, device: str) -> Any:
    given = take_options(method, {**METHODS, _OVER_SAMPLE: CVAE_OPTIONS}, options)
    if method != _OVER_SAMPLE:
        return make_anonymizer(method, options, seed, device)
    from ..over_sampling import CVAEOverSampler

    return CVAEOverSampler(**given, random_state=seed, device=device, verbose=1)


def _command_line(source, output, method, options, seed, device):
    words = ["skcvae", "report", source, "-o", output, "--method", method]
    for name, value in {**options, "seed": seed, "device": device}.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", value]
    return shlex.join(map(str, words))
