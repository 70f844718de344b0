"""Options, methods and messages that several commands share."""

import json
from numbers import Number
from pathlib import Path
from typing import Annotated, Any

import typer

Database = Annotated[
    Path,
    typer.Argument(
        exists=True,
        help="Database (.npz) with the arrays X and y, embeddings and labels, or "
        "X_train and y_train; or a folder with train.npz, val.npz and test.npz.",
    ),
]
K = Annotated[
    int | None,
    typer.Option(min=2, help="k-same: least number of samples or groups averaged."),
]
Epsilon = Annotated[
    float | None, typer.Option(help="dp-cvae and dp-gaussian: privacy budget.")
]
Delta = Annotated[
    float | None,
    typer.Option(
        help="dp-cvae and dp-gaussian: choose it well below 1 / number of samples."
    ),
]
SmallClasses = Annotated[
    str | None,
    typer.Option(
        help="cvae, gaussian and k-same: error, merge, suppress or allow, for classes "
        "of few samples; error by default."
    ),
]
MinClassSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="cvae, gaussian and k-same: least number of distinct samples of a class, "
        "10 by default.",
    ),
]
MaxMeanLeakage = Annotated[
    float | None,
    typer.Option(
        min=0.5,
        max=1,
        help="cvae and gaussian: largest expected AUC with which class means may tell "
        "members to an attacker who knows the true means, 0.9 by default; 1 allows "
        "all.",
    ),
]
SecretSeed = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Random seed. Keep it secret, because it lets others repeat the draws. "
        "Without it, every run draws anew. It voids the guarantee of dp methods.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
NpzOutput = Annotated[
    Path, typer.Option("--output", "-o", help="File (.npz) to write.")
]
JsonOutput = Annotated[
    Path | None, typer.Option("--output", "-o", help="File (.json) for the result.")
]

# Options of the anonymizers, and not of the generators in them.
_SMALL = {"small_classes", "min_class_size"}
#: Options that each method takes.
METHODS = {
    "cvae": {"variance", "max_mean_leakage", *_SMALL},
    "gaussian": {"variance", "max_mean_leakage", *_SMALL},
    "k-same": {"k", *_SMALL},
    "dp-cvae": {"variance", "epsilon", "delta"},
    "dp-gaussian": {"variance", "epsilon", "delta"},
}
RELEASE_SUFFIX = ".safetensors"


def make_anonymizer(
    method: str, options: dict[str, Any], seed: int | None, device: str
) -> Any:
    """Return an unfitted anonymizer, for a key of `METHODS`.

    An option of None keeps the default. `device` is where a CVAE is trained. Raise
    ValueError if the method is unknown, does not take an option, or lacks one.
    """
    from .. import anonymization, generators

    if method not in METHODS:
        raise ValueError(
            f"The method must be one of {sorted(METHODS)}, got {method!r}."
        )
    given = {name: value for name, value in options.items() if value is not None}
    # An ignored epsilon would promise a guarantee that does not exist.
    if excess := sorted(set(given) - METHODS[method]):
        takes = sorted(METHODS[method])
        raise ValueError(f"{method} takes {takes} of the options, and not {excess}.")
    needed = METHODS[method] & {"epsilon", "delta"}
    if missing := sorted(needed - set(given)):
        raise ValueError(f"{method} needs {missing}.")
    if method == "k-same":
        return anonymization.KSameAnonymizer(**given)
    if method.endswith("cvae"):
        return anonymization.CVAEAnonymizer(
            **given, device=device, random_state=seed, verbose=1
        )
    is_private = method.startswith("dp-")
    make = generators.DPClassGaussian if is_private else generators.ClassGaussian
    own = {"max_mean_leakage", *_SMALL}
    outer = {name: given.pop(name) for name in own & given.keys()}
    return anonymization.GenerativeAnonymizer(
        generator=make(**given), random_state=seed, **outer
    )


def echo_result(result: Any, output: Path | None) -> None:
    """Print a result, and write it as JSON if an output is given."""
    from .._files import write_whole

    typer.echo(str(result))
    if output is not None:
        text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
        write_whole(output, text.encode())
        typer.echo(f"Written to {output}.")


def echo_statement(statement: dict[str, Any]) -> None:
    """Print the guarantee of a privacy statement and its numbers, then its texts."""
    numbers = {n: v for n, v in statement.items() if isinstance(v, Number)}
    head = [str(statement["guarantee"]), *(f"{n} {v:g}" for n, v in numbers.items())]
    typer.echo(f"Privacy: {', '.join(head)}")
    for name, value in statement.items():
        if name == "guarantee" or name in numbers or value is None:
            continue
        for sentence in value if isinstance(value, list | tuple) else [value]:
            typer.echo(f"  {name}: {sentence}")
