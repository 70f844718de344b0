"""The command ``skcvae resample``."""

from typing import Annotated

from ._common import (
    CVAE_OPTIONS,
    Architecture,
    AsJson,
    Beta,
    Database,
    DatabaseOutput,
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
    "smote": set(),
    "adasyn": set(),
    "random": set(),
    "gaussian": {"variance"},
    "cvae": CVAE_OPTIONS,
    "remix": set(),
}


def resample(
    source: Database,
    output: DatabaseOutput,
    method: Annotated[
        str,
        choice(
            _METHODS,
            "smote, adasyn, random (copies), gaussian (ClassGaussian), cvae or remix.",
        ),
    ] = "gaussian",
    variance: Variance = None,
    latent_dim: LatentDim = None,
    beta: Beta = None,
    architecture: Architecture = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Fill up rare classes of a database with new samples.

    Each class gets as many training samples as the largest one has; adasyn only about
    as many. Validation and test samples are copied as they are: resample never what
    you measure with. Real samples come first, and groups and files of training samples
    are left out, because new samples belong to none.
    """
    from collections import Counter
    from dataclasses import replace

    import numpy as np

    from .._files import check_output
    from .._formats import SUFFIXES
    from ._databases import check_finite, read_splits, write_splits
    from ._methods import make_sampler, smallest_class

    check_output(output, SUFFIXES, source)
    options = {
        "variance": variance,
        "latent_dim": latent_dim,
        "beta": beta,
        "architecture": architecture,
        "epochs": epochs,
    }
    given = take_options(method, _METHODS, options)
    splits = read_splits(source)
    train = splits["train"]
    check_finite(source, train)
    sampler = make_sampler(method, smallest_class(train.y), seed, device, **given)
    X, y = sampler.fit_resample(train.X, train.y)
    splits["train"] = replace(train, X=X, y=y, groups=None, files=None)
    write_splits(output, splits)
    before, after = (Counter(labels.tolist()) for labels in (train.y, y))
    n_new = len(X) - len(train.X)
    lines = [f"{output}: {len(train.X)} real and {n_new} new samples by {method}."]
    width = max(len(str(label)) for label in after)
    lines += [
        f"  {label!s:{width}}  {before[label]:>7} -> {after[label]:>7}"
        for label in np.unique(y).tolist()
    ]
    left = [kind for kind in ("groups", "files") if getattr(train, kind) is not None]
    if left:
        named = " and ".join(left).capitalize()
        lines.append(f"{named} of training samples were left out.")
    outcome = {
        "output": output,
        "method": method,
        "n_real": len(train.X),
        "n_new": n_new,
        "classes": {
            str(label): {"before": before[label], "after": after[label]}
            for label in np.unique(y).tolist()
        },
    }
    echo_outcome(as_json, outcome, lines)
