"""The command ``skcvae``."""

from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Generative over-sampling and anonymization of embeddings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Database = Annotated[
    Path,
    typer.Argument(
        exists=True,
        help="Database (.npz) with the arrays X and y, embeddings and labels, or "
        "X_train and y_train; or a folder with train.npz, val.npz and test.npz.",
    ),
]
K = Annotated[int | None, typer.Option(min=2, help="Rows behind each row of k-same.")]
Epsilon = Annotated[
    float | None, typer.Option(help="Of the methods with differential privacy.")
]
Delta = Annotated[
    float | None, typer.Option(help="Likewise; well below one over the number of rows.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0, help="Random seed. Keep it secret: without it nobody draws the same."
    ),
]
OpenSeed = Annotated[int, typer.Option(min=0, help="Random seed.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[
    Path | None, typer.Option("--output", "-o", help="File (.json) for the result.")
]


@contextmanager
def _errors_in_a_line():
    """Turn what a user can mend into one line and the exit status 1."""
    try:
        yield
    except (
        FloatingPointError,
        ImportError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Embeddings (.npz) with the arrays X_train, y_train, X_test and "
            "y_test, or X and y. Without it: a long-tailed version of scikit-learn's "
            "digits."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Where to write the figure.")] = Path(
        "skcvae_demo.png"
    ),
    folds: Annotated[
        int, typer.Option(min=2, help="Folds, or seeds where the file has a split.")
    ] = 5,
    seed: OpenSeed = 0,
    device: Device = "auto",
):
    """Compare no resampling, SMOTE, ClassGaussian and CVAE through one pipeline.

    Prints the accuracy over all classes and over those with many (more than 100), a
    medium number of, and few (less than 20) training rows, and draws it.
    """
    # Imported here, so that `skcvae --help` answers at once.
    from ._demo import run_demo

    with _errors_in_a_line():
        run_demo(data, output, folds, seed, device, typer.echo)


@app.command()
def embed(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="Folder of class folders, also below train and test; CSV file with "
            "the columns path, label and optionally group; or MedMNIST file (.npz).",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File (.npz).")],
    model: Annotated[
        str, typer.Option(help="Name of a model of timm.")
    ] = "vit_base_patch14_dinov2.lvd142m",
    weights: Annotated[
        Path | None, typer.Option(help="Its weights; without it they are downloaded.")
    ] = None,
    pooling: Annotated[
        str, typer.Option(help="default, token, mean or token_mean.")
    ] = "default",
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Side of the images in pixels.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Sub-folder to embed for itself; may be given several times. Without "
            "it, train, val (or validation) and test are looked for."
        ),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="Images that cannot be read: raise, nan or skip.")
    ] = "raise",
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps embeddings for later runs.")
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that read images.")
    ] = 0,
):
    """Turn a folder of photos into a file of embeddings.

    A run that was killed goes on where it stopped when it is started again. The file
    is what the other commands read.
    """
    from ..embedding import FoundationEmbedder
    from ._embed import run_embed

    embedder = FoundationEmbedder(
        model,
        weights=weights,
        pooling=pooling,
        image_size=image_size,
        device=device,
        num_workers=workers,
        verbose=1,
    )
    with _errors_in_a_line():
        run_embed(source, output, embedder, on_error, cache, typer.echo, split or ())


@app.command()
def anonymize(
    source: Database,
    output: Annotated[Path, typer.Option("--output", "-o", help="File (.npz).")],
    method: Annotated[
        str, typer.Option(help="cvae, gaussian, k-same, dp-cvae or dp-gaussian.")
    ] = "cvae",
    k: K = None,
    epsilon: Epsilon = None,
    delta: Delta = None,
    variance: Annotated[
        float | None, typer.Option(min=0, help="Variance of the draws, 1 by default.")
    ] = None,
    n_samples: Annotated[
        int | None, typer.Option(min=1, help="Rows to draw; by default as many.")
    ] = None,
    seed: Seed = None,
    device: Device = "auto",
):
    """Replace the training rows of a database by synthetic ones of the same classes.

    Validation and test rows are real, and are not written.
    """
    from ._privacy_commands import run_anonymize

    with _errors_in_a_line():
        run_anonymize(
            source,
            output,
            method,
            k=k,
            epsilon=epsilon,
            delta=delta,
            variance=variance,
            n_samples=n_samples,
            seed=seed,
            device=device,
            echo=typer.echo,
        )


@app.command()
def release(
    source: Database,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File (.safetensors).")
    ],
    method: Annotated[
        str, typer.Option(help="cvae, gaussian, dp-cvae or dp-gaussian.")
    ] = "cvae",
    epsilon: Epsilon = None,
    delta: Delta = None,
    class_prior: Annotated[
        str,
        typer.Option(
            help="uniform, or training, which tells the recipient the class "
            "distribution of the training rows."
        ),
    ] = "uniform",
    seed: Seed = None,
    device: Device = "auto",
):
    """Train a generator, and write what others need to draw rows from it."""
    from ._privacy_commands import run_release

    with _errors_in_a_line():
        run_release(
            source,
            output,
            method=method,
            epsilon=epsilon,
            delta=delta,
            class_prior=class_prior,
            seed=seed,
            device=device,
            echo=typer.echo,
        )


@app.command()
def audit(
    synthetic: Annotated[
        Path,
        typer.Argument(exists=True, help="What anonymize or release wrote."),
    ],
    members: Annotated[
        Path,
        typer.Option(exists=True, help="Database that it was made from (X_train)."),
    ],
    nonmembers: Annotated[
        Path,
        typer.Option(exists=True, help="Other rows of the same kind (X_test)."),
    ],
    reference: Annotated[
        Path,
        typer.Option(exists=True, help="Rows that an attacker has (X_val)."),
    ],
    output: Json = None,
    seed: OpenSeed = 0,
):
    """Attack synthetic rows or a release, and report what leaks."""
    from ._privacy_commands import run_audit

    with _errors_in_a_line():
        run_audit(
            synthetic,
            members,
            nonmembers,
            reference,
            seed=seed,
            output=output,
            echo=typer.echo,
        )


@app.command()
def probe(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="What to train on: a database, or a release, which draws new rows for "
            "every step.",
        ),
    ],
    validation: Annotated[
        Path, typer.Option(exists=True, help="Real rows for early stopping (X_val).")
    ],
    test: Annotated[
        Path, typer.Option(exists=True, help="Real rows to test on (X_test).")
    ],
    noise: Annotated[
        list[float] | None,
        typer.Option(help="Standard deviation of noise on the test rows; repeatable."),
    ] = None,
    output: Json = None,
    seed: OpenSeed = 0,
    device: Device = "auto",
):
    """Train a linear head on synthetic or real rows, and test it on real ones."""
    from ._privacy_commands import run_probe

    with _errors_in_a_line():
        run_probe(
            source,
            validation,
            test,
            noise_levels=noise or (),
            seed=seed,
            device=device,
            output=output,
            echo=typer.echo,
        )


@app.command()
def report(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="Database (.npz) with the splits train, val and test, or a folder "
            "with train.npz, val.npz and test.npz.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File (.html).")],
    method: Annotated[
        str,
        typer.Option(
            help="cvae, gaussian, k-same, dp-gaussian, dp-cvae or over-sample."
        ),
    ] = "cvae",
    k: K = None,
    epsilon: Epsilon = None,
    delta: Delta = None,
    seed: OpenSeed = 0,
    device: Device = "auto",
):
    """Fit a method, and write what it is worth as one HTML page.

    Test rows measure quality and utility; validation rows are what an attacker has,
    and stop the training of the linear probe.
    """
    from ._report import run_report

    with _errors_in_a_line():
        run_report(
            source,
            output,
            method,
            k=k,
            epsilon=epsilon,
            delta=delta,
            seed=seed,
            device=device,
            echo=typer.echo,
        )
