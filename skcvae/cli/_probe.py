"""The command ``skcvae probe``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import AsJson, Device, JsonOutput, Seed, echo_result


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
    training: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            help="Real samples that the source was made from (X_train): prints the "
            "average minimum distance to them.",
        ),
    ] = None,
    noise: Annotated[
        list[float] | None,
        typer.Option(
            help="Standard deviation of noise on the test samples; repeatable."
        ),
    ] = None,
    variance: Annotated[
        float | None,
        typer.Option(
            min=0, help="Variance of the draws; only if the source is a release."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Largest number of epochs of the head.")
    ] = None,
    output: JsonOutput = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train a linear head on synthetic or real samples, and test it on real ones."""
    import numpy as np

    from .. import anonymization, metrics
    from .._files import check_output
    from ._databases import is_release, read_finite

    inputs = [source, validation, test, *([training] if training else [])]
    check_output(output, ".json", *inputs)
    trained_on: Any
    if is_release(source):
        trained_on = anonymization.load(source, device=device)
        if variance is not None:
            trained_on.variance = np.full(len(trained_on.classes_), variance)
    elif variance is not None:
        raise ValueError(f"{source} is a database: only a release takes --variance.")
    else:
        trained_on = read_finite(source, "train").labelled
    further = {}
    if training is not None:
        # Before the head is trained: the samples may not fit to each other.
        real = read_finite(training, "train").X
        made = trained_on
        if is_release(source):
            made = trained_on.sample(len(real), random_state=seed)
        further["average_min_distance"] = metrics.average_min_distance(made[0], real)
    result = metrics.linear_probe(
        trained_on,
        *read_finite(validation, "val").labelled,
        *read_finite(test, "test").labelled,
        noise_levels=noise or (),
        **({} if epochs is None else {"max_epochs": epochs}),
        device=device,
        random_state=seed,
    )
    echo_result(result, output, as_json, **further)
