"""The command ``skcvae train``."""

from pathlib import Path
from typing import Annotated

import typer

from ._common import (
    CLASSIFIERS,
    CVAE_OPTIONS,
    Architecture,
    AsJson,
    Beta,
    Database,
    Device,
    Epochs,
    LatentDim,
    Seed,
    Variance,
    choice,
    echo_outcome,
    take_options,
)

#: Options that each method takes.
_METHODS: dict[str, set[str]] = {
    **{name: set() for name in CLASSIFIERS},
    "cvae": CVAE_OPTIONS,
    "gaussian": {"variance"},
}


def train(
    source: Database,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File (.skops) for the model.")
    ],
    method: Annotated[
        str,
        choice(CLASSIFIERS, f"As in compare: {', '.join(CLASSIFIERS)}."),
    ] = "long-tail",
    variance: Variance = None,
    latent_dim: LatentDim = None,
    beta: Beta = None,
    architecture: Architecture = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train a classifier on a database, and write it in the format of skops.

    Where the database has test samples, prints the balanced accuracy on them. The file
    holds no sampler. That of pool holds the training samples, for its neighbours.
    """
    from .._files import check_output
    from ._databases import check_finite, check_widths, read_splits
    from ._methods import make_classifier, smallest_class
    from ._models import SUFFIX, import_skops, save_model, score, without_samplers

    check_output(output, SUFFIX, source)
    import_skops("train")
    options = {
        "variance": variance,
        "latent_dim": latent_dim,
        "beta": beta,
        "architecture": architecture,
        "epochs": epochs,
    }
    given = take_options(method, _METHODS, options)
    splits = read_splits(source)
    X, y = splits["train"].labelled
    test = splits.get("test")
    # Before the training: nothing that the score needs may fail after it.
    used = [splits[split] for split in ("train", "test") if split in splits]
    check_finite(source, *used)
    check_widths(source, *used)
    classifier = make_classifier(method, smallest_class(y), seed, device, **given)
    model = without_samplers(classifier.fit(X, y))
    save_model(output, model)
    outcome = {
        "output": output,
        "method": method,
        "n_samples": len(X),
        "n_features": X.shape[1],
        "classes": model.classes_.tolist(),
    }
    text = f"{output}: {method}, {len(X)} samples of {len(model.classes_)} classes."
    if test is not None and len(test.X):
        accuracy, note = score(test.y, model.predict(test.X), model.classes_)
        if accuracy is not None:
            outcome["balanced_accuracy"] = accuracy
            text += f" Balanced accuracy on test samples: {100 * accuracy:.1f} %."
        text += note
    echo_outcome(as_json, outcome, [text])
