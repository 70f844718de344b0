"""Files of trained classifiers, in the format of skops: no pickles, few types."""

from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from .._extras import import_extra
from .._files import open_regular, write_whole

SUFFIX = ".skops"
#: Types that skops does not trust by itself, and that a model of `train` is made of.
TRUSTED = frozenset(
    {
        "sklearn.utils._bunch.Bunch",
        "skcvae.generators._class_gaussian.ClassGaussian",
        "skcvae.long_tail._classifier.LongTailClassifier",
        "skcvae.long_tail._kernel_neighbors.KernelNeighborsClassifier",
        "skcvae.long_tail._log_linear_pool.LogLinearPool",
    }
)


def without_samplers(model: BaseEstimator) -> BaseEstimator:
    """Return what predicts of a fitted model: of a pipeline, all but its samplers.

    A sampler has no part in a prediction, and it may hold training samples.
    """
    if not hasattr(model, "steps"):
        return model
    steps = [step for _, step in model.steps if not hasattr(step, "fit_resample")]
    return make_pipeline(*steps)


def save_model(path: Path, model: BaseEstimator) -> None:
    """Write a model completely or not at all."""
    write_whole(path, import_skops("train").dumps(model))


def load_model(path: Path) -> Any:
    """Read a model, and run no code of the file.

    Raise ValueError if the file is damaged, needs other types than `train` writes, or
    holds no classifier.
    """
    skops = import_skops("predict")
    with open_regular(path) as (file, _):
        content = file.read()
    try:
        untrusted = set(skops.get_untrusted_types(data=content))
        if not untrusted - TRUSTED:
            model = skops.loads(content, trusted=sorted(untrusted))
    except Exception as error:  # Damaged files break the parsers in many ways.
        raise ValueError(f"{path} is not a {SUFFIX} file, or damaged.") from error
    if excess := sorted(untrusted - TRUSTED):
        raise ValueError(
            f"{path} needs types that `skcvae train` does not write, and they are not "
            f"trusted: {', '.join(excess)}. If you know who made it, load it by skops."
        )
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise ValueError(f"{path} holds no classifier with probabilities.")
    return model


def score(y: Any, predicted: Any, classes: Any) -> tuple[float | None, str]:
    """Return the balanced accuracy, and a sentence on labels that are no classes.

    The accuracy is None if no label is one of the classes.
    """
    from ..metrics import shot_accuracy_score

    known, labels = set(classes.tolist()), y.tolist()
    unknown = [label for label in labels if label not in known]
    if len(unknown) == len(labels):
        return None, (
            f" No accuracy: no label, such as {unknown[0]!r}, is a class of the model, "
            f"such as {classes.tolist()[0]!r}."
        )
    note = ""
    if unknown:
        note = (
            f" {len(unknown)} of {len(labels)} labels, such as {unknown[0]!r}, are no "
            "classes of the model, and count as errors."
        )
    return shot_accuracy_score(y, predicted, y_train=y).overall, note


def import_skops(command: str) -> Any:
    """Return skops.io, or raise an error that says how to install it."""
    return import_extra("skops.io", "skops", f"skcvae {command}")
