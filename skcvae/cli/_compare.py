"""The command ``skcvae compare``."""

from pathlib import Path
from typing import Annotated

import typer

from ._common import (
    DEFAULT_MODEL,
    AsJson,
    Device,
    ImageSize,
    Model,
    Pooling,
    Seed,
    Weights,
    Workers,
    echo_outcome,
)

Splits = Annotated[
    int, typer.Option(min=3, help="Number of random splits; more tell more.")
]
ImbalanceRatio = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="Thin the training parts, so that the largest class has this many times "
        "the samples of the smallest.",
    ),
]
Figure = Annotated[
    Path | None, typer.Option(help="File for a figure, such as compare.png.")
]
Script = Annotated[
    Path | None,
    typer.Option(help="Python file for what scores highest; replaced if it exists."),
]


def compare(
    source: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            help="Photos (a folder of class folders, or a CSV file with the columns "
            "path and label) or a database (.npz, .parquet or .safetensors). Without "
            "it: scikit-learn's digits, made long-tailed.",
        ),
    ] = None,
    splits: Splits = 5,
    imbalance_ratio: ImbalanceRatio = None,
    figure: Figure = None,
    script: Script = Path("skcvae_compare.py"),
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    pooling: Pooling = "default",
    image_size: ImageSize = None,
    cache: Annotated[
        Path, typer.Option(help="Folder that keeps the embeddings of photos.")
    ] = Path("skcvae_cache"),
    workers: Workers = 0,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare methods for long tails on your photos, and write the best as a script.

    Cross-validates no resampling, class weights, SMOTE, over-sampling by
    ClassGaussian and CVAE, LongTailClassifier and LogLinearPool; each but the last
    two with logistic regression. Of a source with splits, it takes the training
    samples only: score the method that you choose on the test samples, once.

    Intervals and tests follow Nadeau and Bengio (2003): splits overlap.
    """
    from .._extras import import_pyplot
    from .._files import check_output
    from ._comparison import (
        Plan,
        as_dict,
        compare_methods,
        format_table,
        plot_comparison,
    )
    from ._script import write_script
    from ._sources import digits, read_source

    inputs = [] if source is None else [source]
    check_output(script, ".py", *inputs)
    check_output(figure, (".png", ".svg", ".pdf"), *inputs)
    if figure is not None:
        import_pyplot("The figure")
    if source is None:
        samples = digits()
        imbalance_ratio = imbalance_ratio or 50
    else:
        options = {
            "model": model,
            "weights": weights,
            "pooling": pooling,
            "image_size": image_size,
        }
        embedder = _make_embedder(options, cache, workers, device)
        samples = read_source(source, embedder)
    for text in samples.notes:
        typer.echo(text, err=as_json)
    plan = Plan(splits, imbalance_ratio, seed)
    comparison = compare_methods(samples.X, samples.y, plan, device)
    lines = [
        f"{samples.name}: {len(samples.X)} samples, {splits} splits. Balanced accuracy "
        "(%) with 95 % interval; seconds to train.",
        "",
        format_table(comparison),
        "",
        comparison.recommendation(),
    ]
    if script is not None:
        write_script(script, samples, comparison, plan)
        is_open = comparison.verdict == "too close to call"
        purpose = ", if you want the best of them anyway" if is_open else ""
        lines.append(f"Script{purpose}: {script}, which trains {comparison.best}.")
    if figure is not None:
        plot_comparison(comparison, figure)
        lines.append(f"Figure: {figure}")
    outcome = {
        "source": samples.name,
        "n_samples": len(samples.X),
        "n_splits": splits,
        "imbalance_ratio": imbalance_ratio,
        **as_dict(comparison),
        "script": script,
        "figure": figure,
    }
    echo_outcome(as_json, outcome, lines)


def _make_embedder(options, cache, workers, device):
    """Return an embedder with a cache; its paths hold in any working folder."""
    from ..embedding import FoundationEmbedder

    if options["weights"] is not None:
        options["weights"] = str(options["weights"].resolve())
    return FoundationEmbedder(
        **options,
        memory=str(cache.resolve()),
        num_workers=workers,
        device=device,
        verbose=1,
    )
