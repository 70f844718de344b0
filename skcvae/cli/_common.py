"""Options, methods and messages that several commands share."""

import json
from collections.abc import Iterable, Mapping, Set
from difflib import get_close_matches
from numbers import Number
from pathlib import Path
from typing import Annotated, Any

import typer


def choice(names: Iterable[str], text: str) -> Any:
    """Return an option that takes one of several names.

    Another name is wrong usage: the status is 2, and a similar name is suggested.
    """
    names = list(names)

    def check(value: str | None) -> str | None:
        if value is None or value in names:
            return value
        close = get_close_matches(value.lower(), names, 1, 0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(names)}.{hint}")

    return typer.Option(help=text, callback=check, autocompletion=lambda: names)


Database = Annotated[
    Path,
    typer.Argument(
        exists=True,
        help="Database (.npz, .parquet or .safetensors) with X and y, embeddings and "
        "labels, or X_train and y_train; or a folder with train.npz, val.npz and "
        "test.npz.",
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
    choice(
        ("error", "merge", "suppress", "allow"),
        "cvae, gaussian and k-same: what happens to classes of few samples; error by "
        "default.",
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
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, xpu or mps.")]
Variance = Annotated[
    float | None,
    typer.Option(min=0, help="cvae and gaussian: variance of the draws; 1 by default."),
]
LatentDim = Annotated[
    int | None, typer.Option(min=1, help="cvae: dimension of the latent vectors.")
]
Beta = Annotated[
    float | None, typer.Option(min=0, help="cvae: weight of the KL divergence.")
]
Architecture = Annotated[
    str | None, choice(("small", "large"), "cvae: size of its networks.")
]
HiddenDim = Annotated[
    int | None,
    typer.Option(min=1, help="cvae: width of its networks; chosen by default."),
]
Objective = Annotated[
    str | None,
    choice(
        ("elbo", "reference"),
        "cvae: reference is the loss of the BMVC 2024 program, with its learning rate, "
        "batch size and latents, and without noise.",
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="cvae: stop after so many epochs without a gain on validation samples.",
    ),
]
Validation = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        help="cvae: validation samples (X_val) for --patience; by default those of the "
        "source.",
    ),
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="cvae: passes over the samples.")
]
DatabaseOutput = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="File (.npz, .parquet or .safetensors) to write."
    ),
]
Model = Annotated[str, typer.Option(help="Name of a model of timm.")]
Weights = Annotated[
    Path | None, typer.Option(help="Its weights; without it they are downloaded.")
]
Pooling = Annotated[str, typer.Option(help="default, token, mean or token_mean.")]
ImageSize = Annotated[
    int | None, typer.Option(min=1, help="Side of the images in pixels.")
]
Workers = Annotated[
    int, typer.Option(min=0, help="Number of processes that read images.")
]
DEFAULT_MODEL = "vit_base_patch14_dinov2.lvd142m"
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object, and messages to stderr."),
]
JsonOutput = Annotated[
    Path | None, typer.Option("--output", "-o", help="File (.json) for the result.")
]

# Options of the anonymizers, and not of the generators in them.
_SMALL = {"small_classes", "min_class_size"}
CVAE_OPTIONS = {"latent_dim", "beta", "architecture", "epochs", "variance"}
#: Options that each method takes.
METHODS = {
    "cvae": {
        *("max_mean_leakage", "hidden_dim", "objective", "patience", "validation"),
        *CVAE_OPTIONS,
        *_SMALL,
    },
    "gaussian": {"variance", "max_mean_leakage", *_SMALL},
    "k-same": {"k", "labels_blind", "drop_remainder", *_SMALL},
    "dp-cvae": {"epsilon", "delta", *CVAE_OPTIONS} - {"architecture"},
    "dp-gaussian": {"variance", "epsilon", "delta"},
}
# What else the CVAE of the BMVC 2024 program has.
_REFERENCE = {"lr": 1e-3, "batch_size": 512, "prior": "standard", "noise": None}
RELEASE_SUFFIX = ".safetensors"
#: Classifiers that `compare` compares and `train` trains, by their titles in tables.
CLASSIFIERS = {
    "none": "no resampling",
    "class-weights": "class weights",
    "smote": "SMOTE",
    "gaussian": "ClassGaussian",
    "cvae": "CVAE",
    "long-tail": "LongTailClassifier",
    "pool": "LogLinearPool",
}


def make_anonymizer(
    method: str,
    options: dict[str, Any],
    seed: int | None,
    device: str,
    source: Path | None = None,
) -> Any:
    """Return an unfitted anonymizer, for a key of `METHODS`.

    An option of None keeps the default. `device` is where a CVAE is trained, `source`
    the database of its training samples. Raise ValueError if the method is unknown,
    does not take an option, or lacks one.
    """
    from .. import anonymization, generators

    # An ignored epsilon would promise a guarantee that does not exist.
    given = take_options(method, METHODS, options)
    needed = METHODS[method] & {"epsilon", "delta"}
    if missing := sorted(needed - set(given)):
        raise ValueError(f"{method} needs {missing}.")
    if given.pop("labels_blind", False):
        given["within_class"] = False
    if given.pop("drop_remainder", False):
        given["remainder"] = "drop"
    _read_validation(given, source)
    if given.get("objective") == "reference":
        given |= _REFERENCE
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


def _read_validation(given, source):
    """Replace `patience` and `validation` by `net_params` with validation samples."""
    from ..generators import early_stopping
    from ._databases import read_samples

    patience, path = given.pop("patience", None), given.pop("validation", None)
    if patience is None:
        if path is not None:
            raise ValueError("--validation is for --patience: give both.")
        return
    found = read_samples(path or source, "val")
    is_source = source.is_file() and (path is None or source.samefile(path))
    if is_source and found.names[0] != "X_val":
        raise ValueError(
            f"{source} has no validation samples (X_val) for --patience. Give another "
            "file with some by --validation."
        )
    given["net_params"] = early_stopping(*found.labelled, patience=patience)


def take_options(
    method: str, methods: Mapping[str, Set[str]], options: dict[str, Any]
) -> dict[str, Any]:
    """Return the options that were given, as parameters of an estimator.

    `methods` holds the options that each method takes. Raise ValueError if the method
    is unknown, or does not take one of them.
    """
    if method not in methods:
        raise ValueError(
            f"The method must be one of {sorted(methods)}, got {method!r}."
        )
    takes = methods[method]
    given = {name: value for name, value in options.items() if value is not None}
    if excess := sorted(set(given) - takes):
        raise ValueError(
            f"{method} takes {sorted(takes)} of the options, and not {excess}."
        )
    return {"max_epochs" if n == "epochs" else n: v for n, v in given.items()}


def echo_outcome(as_json: bool, outcome: dict[str, Any], lines: Iterable[str]) -> None:
    """Print what a command did: as one JSON object, or as lines of text."""
    if as_json:
        lines = [json.dumps(outcome, default=str, allow_nan=False)]
    for line in lines:
        typer.echo(line)


def echo_result(
    result: Any, output: Path | None, as_json: bool, **further: float
) -> None:
    """Print a result and further numbers, and write all as JSON to an output."""
    from .._files import write_whole

    outcome = {**result.to_dict(), **further}
    lines = [str(result), *(f"{n}: {v:.3g}" for n, v in further.items())]
    if output is not None:
        text = json.dumps(outcome, indent=2, allow_nan=False)
        write_whole(output, text.encode())
        lines.append(f"Written to {output}.")
    echo_outcome(as_json, outcome, lines)


def statement_lines(statement: dict[str, Any]) -> list[str]:
    """Return the guarantee of a privacy statement and its numbers, then its texts."""
    numbers = {n: v for n, v in statement.items() if isinstance(v, Number)}
    head = [str(statement["guarantee"]), *(f"{n} {v:g}" for n, v in numbers.items())]
    lines = [f"Privacy: {', '.join(head)}"]
    for name, value in statement.items():
        if name == "guarantee" or name in numbers or value is None:
            continue
        sentences = value if isinstance(value, list | tuple) else [value]
        lines += [f"  {name}: {sentence}" for sentence in sentences]
    return lines
