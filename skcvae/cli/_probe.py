"""The command ``skcvae probe``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import RELEASE_SUFFIX, Device, JsonOutput, Seed, echo_result


def probe(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="What to train on: a database, or a release, from which every step "
            "draws new samples.",
        ),
    ],
    validation: Annotated[
        Path, typer.Option(exists=True, help="Real samples for early stopping (X_val).")
    ],
    test: Annotated[
        Path, typer.Option(exists=True, help="Real samples to test on (X_test).")
    ],
    noise: Annotated[
        list[float] | None,
        typer.Option(
            help="Standard deviation of noise on the test samples; repeatable."
        ),
    ] = None,
    output: JsonOutput = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train a linear head on synthetic or real samples, and test it on real ones."""
    from .. import anonymization, metrics
    from .._files import check_output
    from ._databases import read_samples

    check_output(output, ".json", source, validation, test)
    trained_on: Any
    if source.suffix == RELEASE_SUFFIX:
        trained_on = anonymization.load(source, device=device)
    else:
        trained_on = read_samples(source, "train").labelled
    result = metrics.linear_probe(
        trained_on,
        *read_samples(validation, "val").labelled,
        *read_samples(test, "test").labelled,
        noise_levels=noise or (),
        device=device,
        random_state=seed,
    )
    echo_result(result, output)
