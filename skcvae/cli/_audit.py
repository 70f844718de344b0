"""The command ``skcvae audit``."""

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
    from ._databases import is_release, read_samples

    check_output(output, ".json", synthetic, members, nonmembers, reference)
    attacked: Any
    if is_release(synthetic):
        attacked, statement = anonymization.load(synthetic), None
    else:
        samples = read_samples(synthetic, "train")
        attacked, statement = samples.labelled, samples.statement
    parts = {
        "members": read_samples(members, "train"),
        "nonmembers": read_samples(nonmembers, "test"),
        "reference": read_samples(reference, "val"),
    }
    arrays = [array for part in parts.values() for array in part.labelled]
    groups = {f"groups_{name}": part.groups for name, part in parts.items()}
    result = privacy.privacy_audit(
        attacked, *arrays, **groups, statement=statement, random_state=seed
    )
    echo_result(result, output, as_json)
