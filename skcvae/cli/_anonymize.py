"""The command ``skcvae anonymize``."""

from typing import Annotated

import typer

from ._common import (
    METHODS,
    Architecture,
    AsJson,
    Beta,
    Database,
    DatabaseOutput,
    Delta,
    Device,
    Epochs,
    Epsilon,
    HiddenDim,
    K,
    LatentDim,
    MaxMeanLeakage,
    MinClassSize,
    Objective,
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


def anonymize(
    source: Database,
    output: DatabaseOutput,
    method: Annotated[
        str, choice(METHODS, "cvae, gaussian, k-same, dp-cvae or dp-gaussian.")
    ] = "cvae",
    k: K = None,
    labels_blind: Annotated[
        bool,
        typer.Option(
            "--labels-blind",
            help="k-same: average over samples of any classes, as the paper does.",
        ),
    ] = False,
    drop_remainder: Annotated[
        bool,
        typer.Option(
            "--drop-remainder",
            help="k-same: leave out the last n mod k samples, as the paper does.",
        ),
    ] = False,
    epsilon: Epsilon = None,
    delta: Delta = None,
    variance: Variance = None,
    latent_dim: LatentDim = None,
    beta: Beta = None,
    architecture: Architecture = None,
    hidden_dim: HiddenDim = None,
    objective: Objective = None,
    epochs: Epochs = None,
    patience: Patience = None,
    validation: Validation = None,
    n_samples: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of samples to draw; by default as many as there are."
        ),
    ] = None,
    small_classes: SmallClasses = None,
    min_class_size: MinClassSize = None,
    max_mean_leakage: MaxMeanLeakage = None,
    seed: SecretSeed = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Replace the training samples of a database by synthetic ones.

    cvae, gaussian and k-same keep the number of samples of each class, except
    of small classes that --small-classes suppress leaves out. The methods dp-cvae
    and dp-gaussian draw the labels, too, because differential privacy does not
    cover real labels. k-same averages over groups, such as
    patients, if the file has the array groups. Validation and test samples are
    real and are not written.

    Prints the average minimum distance: that of a synthetic sample to the nearest
    training sample, in standard deviations of the features. The dp methods print
    none, because it is computed from the real samples without noise.
    """
    import numpy as np

    from .._files import check_output
    from .._formats import SUFFIXES
    from .._mean_leakage import check_mean_leakage
    from ..metrics import average_min_distance
    from ._databases import read_finite, write_samples

    check_output(output, SUFFIXES, source)
    options = {
        "k": k,
        "labels_blind": labels_blind or None,
        "drop_remainder": drop_remainder or None,
        "epsilon": epsilon,
        "delta": delta,
        "variance": variance,
        "latent_dim": latent_dim,
        "beta": beta,
        "architecture": architecture,
        "hidden_dim": hidden_dim,
        "objective": objective,
        "epochs": epochs,
        "patience": patience,
        "validation": validation,
        "small_classes": small_classes,
        "min_class_size": min_class_size,
        "max_mean_leakage": max_mean_leakage,
    }
    anonymizer = make_anonymizer(method, options, seed, device, source)
    if method == "k-same" and n_samples is not None:
        raise ValueError("k-same draws no samples: leave their number out.")
    is_private = method.startswith("dp-")
    real = read_finite(source, "train", any_value=is_private)
    if is_private or n_samples is not None:
        X, y = anonymizer.fit(real.X, real.y).sample(n_samples)
    else:
        groups = {"groups": real.groups} if method == "k-same" else {}
        X = anonymizer.fit_transform(real.X, real.y, **groups)
        kept = ~anonymizer.suppressed_
        X, y = X[kept], real.y[kept]
    leakage = getattr(anonymizer, "mean_leakage_", None)
    if leakage is not None and method != "k-same":
        n_synthetic = leakage.class_count * (len(X) / leakage.class_count.sum())
        check_mean_leakage(leakage, anonymizer.max_mean_leakage, n_synthetic)
    statement = anonymizer.privacy_statement()
    # In the original order, a reader could match synthetic samples with real ones.
    order = np.lexsort((X[:, 0], y))
    write_samples(output, X[order], y[order], real, statement)
    summary = (
        f"{output}: {len(X)} samples of {len(np.unique(y))} classes, {X.shape[1]} "
        f"features, made by {method} from {len(real.X)} samples. It holds no "
        "validation and no test samples: those are real."
    )
    distance = None
    if not is_private:
        distance = average_min_distance(X, real.X)
        summary += f" Average minimum distance to a training sample: {distance:.3g}."
    outcome = {
        "output": output,
        "method": method,
        "n_samples": len(X),
        "n_classes": len(np.unique(y)),
        "n_features": X.shape[1],
        "n_training_samples": len(real.X),
        "average_min_distance": distance,
        "privacy": statement,
    }
    echo_outcome(as_json, outcome, [summary, *statement_lines(statement)])
