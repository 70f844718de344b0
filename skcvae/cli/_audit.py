"""The command ``skcvae audit``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import AsJson, JsonOutput, Seed, echo_result


def audit(
    synthetic: Annotated[
        Path, typer.Argument(exists=True, help="What anonymize or release wrote.")
    ],
    members: Annotated[
        Path,
        typer.Option(exists=True, help="Database that it was made from (X_train)."),
    ],
    nonmembers: Annotated[
        Path, typer.Option(exists=True, help="Other samples of the same kind (X_test).")
    ],
    reference: Annotated[
        Path, typer.Option(exists=True, help="Samples that an attacker has (X_val).")
    ],
    drop_duplicates: Annotated[
        bool,
        typer.Option(help="Leave out samples that are in more than one database."),
    ] = False,
    output: JsonOutput = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Attack synthetic samples or a release, and report what leaks.

    The three databases may be one file or folder with splits. If a file has
    groups, the audit uses them.
    """
    from .. import anonymization, privacy
    from .._files import check_output
    from ._databases import is_release, read_finite

    check_output(output, ".json", synthetic, members, nonmembers, reference)
    attacked: Any
    if is_release(synthetic):
        attacked, statement = anonymization.load(synthetic), None
    else:
        samples = read_finite(synthetic, "train")
        attacked, statement = samples.labelled, samples.statement
    parts = {
        "members": read_finite(members, "train"),
        "nonmembers": read_finite(nonmembers, "test"),
        "reference": read_finite(reference, "val"),
    }
    parts = _without_shared(parts, drop_duplicates, as_json)
    arrays = [array for part in parts.values() for array in part.labelled]
    groups = {f"groups_{name}": part.groups for name, part in parts.items()}
    result = privacy.privacy_audit(
        attacked, *arrays, **groups, statement=statement, random_state=seed
    )
    echo_result(result, output, as_json)


def _without_shared(parts, drop, as_json):
    """Return the parts without the samples that are in more than one of them.

    Raise ValueError if there are some, and they are not to be dropped.
    """
    import numpy as np

    from .._record_sets import check_record_sets, is_among

    sets = check_record_sets(**{name: part.X for name, part in parts.items()})
    shared = {
        name: np.any(
            [is_among(X, others) for other, others in sets.items() if other != name],
            axis=0,
        )
        for name, X in sets.items()
    }
    numbers = ", ".join(f"{mask.sum()} of {name}" for name, mask in shared.items())
    if not any(mask.any() for mask in shared.values()):
        return parts
    if not drop:
        raise ValueError(
            f"Some samples are in more than one database: {numbers}. A sample cannot "
            "be both a member and none: --drop-duplicates leaves them out of all."
        )
    message = f"Left out, because they are in more than one database: {numbers}."
    typer.echo(message, err=as_json)
    return {
        name: replace(
            part,
            X=part.X[~shared[name]],
            y=part.y[~shared[name]],
            groups=None if part.groups is None else part.groups[~shared[name]],
        )
        for name, part in parts.items()
    }
