"""The command ``skcvae predict``."""

from pathlib import Path
from typing import Annotated

import typer

from ._common import AsJson, choice, echo_outcome


def predict(
    model: Annotated[
        Path, typer.Argument(exists=True, help="What train wrote (.skops).")
    ],
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="Database (.npz, .parquet or .safetensors); labels may be missing.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table (.csv) to write.")
    ],
    split: Annotated[
        str,
        choice(
            ("train", "val", "test"), "Which samples to predict, if there are splits."
        ),
    ] = "test",
    as_json: AsJson = False,
) -> None:
    """Predict the classes of samples.

    The table has a line for each sample, in the order of the database: its number from
    0, the predicted class and its probability; and the label and the file of the
    photo, if they are known.
    """
    import csv
    from io import StringIO

    from .._files import check_output, write_whole
    from ._databases import check_finite, read_unlabelled
    from ._models import load_model, score

    check_output(output, ".csv", model, source)
    classifier = load_model(model)
    samples, is_labelled = read_unlabelled(source, split)
    check_finite(source, samples)
    X, y = samples.labelled
    probability = classifier.predict_proba(X)
    predicted = classifier.classes_[probability.argmax(axis=1)]
    columns = [range(len(X)), predicted.tolist(), probability.max(axis=1).tolist()]
    names = ["sample", "prediction", "probability"]
    outcome = {"output": output, "n_samples": len(X)}
    text = f"{output}: predictions of {len(X)} samples."
    if is_labelled:
        names.append("label")
        columns.append(y.tolist())
        accuracy, note = score(y, predicted, classifier.classes_)
        if accuracy is not None:
            outcome["balanced_accuracy"] = accuracy
            text += (
                f" Balanced accuracy on the labels in {source}: {100 * accuracy:.1f} "
                "%; only a score if the model has not seen these samples."
            )
        text += note
    if samples.files is not None:
        names.append("file")
        columns.append(samples.files.tolist())
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([names, *zip(*columns, strict=True)])
    write_whole(output, buffer.getvalue().encode())
    echo_outcome(as_json, outcome, [text])
