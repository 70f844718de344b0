"""Contents of the sections of a report: facts, tables and warnings without markup."""

import inspect
import platform
import warnings
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from scipy import stats
from sklearn.utils import Bunch

from .._class_means import raw_class_means
from .._neighbors import nearest_distances
from .._statistics import Estimate, quantile
from ..metrics import (
    class_frechet_distance,
    frechet_distance,
    linear_probe,
    precision_recall_density_coverage,
    shot_accuracy_score,
)
from ..metrics._probe import run_probe
from ..privacy import PrivacyAudit
from ._samples import Run, Samples, clean, find_history, innermost
from ._summary import Measured

# With more classes, the first section has a summary.
_MAX_LISTED = 50
# Data with at least this imbalance ratio are long-tailed.
_LONG_TAILED = 10
_N_NEIGHBORS = 5
_LOSSES = {
    "train_loss": "final training loss per sample",
    "train_reconstruction": "  of it reconstruction",
    "train_kl": "  KL term",
    "valid_loss": "final validation loss per sample",
}
_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "imbalanced-learn",
    "torch",
    "matplotlib",
)
# The default arguments of `linear_probe`.
_PROBE: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(linear_probe).parameters.items()
    if parameter.default is not parameter.empty
}


def describe_data(run: Run) -> dict[str, Any]:
    """Return the facts on the real samples, and a table of classes."""
    counts = run.counts(run.train)
    facts = [
        ("training samples", len(run.train.y)),
        ("test samples", len(run.test.y)),
        ("reference samples", 0 if run.reference is None else len(run.reference.y)),
        *([] if run.tables is None else [("columns", len(run.tables.categorical))]),
        ("features", run.train.X.shape[1]),
        ("classes", len(run.classes)),
        ("imbalance ratio, largest to smallest class", counts.max() / counts.min()),
    ]
    columns = _count_classes(run)
    is_summary = len(run.classes) > _MAX_LISTED
    if is_summary:
        table = _summarise(columns)
    else:
        table = {
            "caption": "Samples of each class",
            "head": ["class", *columns],
            "rows": [
                [name, *(int(column[i]) for column in columns.values())]
                for i, name in enumerate(run.names)
            ],
        }
    return {"facts": facts, "table": table, "is_summary": is_summary}


def _count_classes(run):
    """Return the numbers of samples of each class by the name of their column."""
    made = {"generated": run.synthetic} if run.added is None else {"added": run.added}
    parts = {"training": run.train, "test": run.test, **made}
    return {name: run.counts(part) for name, part in parts.items()}


def _summarise(columns):
    """Return quantiles of the numbers of samples over the classes."""
    shares = {"smallest": 0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "largest": 1}
    return {
        "caption": "Samples of a class, from the smallest to the largest",
        "head": ["classes", *columns],
        "rows": [
            [name, *(float(np.quantile(column, q)) for column in columns.values())]
            for name, q in shares.items()
        ],
    }


def describe_training(run: Run) -> dict[str, Any]:
    """Return the facts on the model, and its parameters that are not the defaults."""
    model, generator = run.model, innermost(run)
    facts: list[tuple[str, Any]] = [("model", type(model).__name__)]
    if generator is not model:
        facts.append(("generator", type(generator).__name__))
    history = find_history(run)
    if history:
        facts += [
            ("epochs", len(history)),
            ("training time in seconds", float(sum(r["dur"] for r in history))),
        ]
        facts += [
            (label, float(history[-1][name]))
            for name, label in _LOSSES.items()
            if name in history[-1]
        ]
    if hasattr(generator, "n_active_dims_"):
        used = f"{generator.n_active_dims_} of {generator.latent_dim}"
        facts.append(("latent dimensions in use", used))
    if hasattr(generator, "device_"):
        facts.append(("device", str(generator.device_)))
    return {"facts": facts, "table": _describe_parameters(model, generator)}


def _describe_parameters(model, generator):
    """Return a table of changed parameters, or of the manifest of a release."""
    if hasattr(model, "manifest_"):
        caption, head = "The released file", ["entry", "value"]
        rows = [
            [name, clean(value)]
            for name, value in model.manifest_.items()
            if isinstance(value, str | int | float)
        ]
    else:
        caption = "Parameters that are not the defaults"
        head = ["parameter", "value", "default"]
        rows = _changed_parameters(model)
        if generator is not model and "generator" in model.get_params(deep=False):
            changed = _changed_parameters(generator)
            rows += [[f"generator: {name}", *rest] for name, *rest in changed]
    return {"caption": caption, "head": head, "rows": rows, "is_text": True}


def _changed_parameters(estimator):
    """Return name, value and default of each parameter that was set."""
    known = inspect.signature(type(estimator).__init__).parameters
    rows = []
    for name, value in estimator.get_params(deep=False).items():
        text, default = clean(repr(value)), clean(repr(known[name].default))
        if text != default:
            rows.append([name, text if len(text) <= 300 else f"{text[:299]}…", default])
    return rows


def measure_quality(run: Run) -> Bunch:
    """Return distances of generated and of training samples to the test samples."""
    test = run.compared["test"]
    generated = _compare(test, run.compared["synthetic"])
    training = _compare(test, run.compared["train"])
    head = ["compared with the test samples", "Fréchet distance"]
    head += ["mean over classes", "precision", "recall", "density", "coverage"]
    head += ["variance within classes"]
    keys = ("frechet", "class_mean", "precision", "recall", "density", "coverage")
    rows = [
        [label, *(of_set[key] for key in (*keys, "variance"))]
        for label, of_set in (
            ("generated samples", generated),
            ("training samples", training),
        )
    ]
    shares = {}
    for key in ("coverage", "precision"):
        both = generated[key], training[key]
        shares[key] = None if None in both else both
    return Bunch(
        table={"caption": "Nearness to the test samples", "head": head, "rows": rows},
        n_samples=len(test.y),
        n_neighbors=_N_NEIGHBORS,
        variance=generated["variance"],
        classes=_by_class(run, generated["by_class"], training["by_class"]),
        **shares,
    )


def _compare(test, samples):
    """Return measures of samples against test samples; None if there are too few."""
    result = dict.fromkeys(("frechet", "precision", "recall", "density", "coverage"))
    if len(test.y) > 1:
        result["frechet"] = frechet_distance(test.X, samples.X)
    if len(test.y) > _N_NEIGHBORS:
        result |= precision_recall_density_coverage(
            test.X, samples.X, n_neighbors=_N_NEIGHBORS
        )
    result |= {"by_class": {}, "class_mean": None}
    if np.unique(test.y, return_counts=True)[1].max(initial=0) > 1:
        with warnings.catch_warnings():
            # The table shows the classes with too few samples.
            warnings.simplefilter("ignore", UserWarning)
            found = class_frechet_distance(
                test.X, samples.X, y_real=test.y, y_synthetic=samples.y
            )
        distances = zip(found.classes.tolist(), found.distances.tolist(), strict=True)
        result |= {"by_class": dict(distances), "class_mean": found.mean}
    spread = _variance_within(test)
    result["variance"] = _variance_within(samples) / spread if spread else None
    return result


def _variance_within(samples):
    """Return the mean variance of the features around the means of the classes."""
    classes, codes = np.unique(samples.y, return_inverse=True)
    freedom = len(codes) - len(classes)
    if freedom <= 0:
        return 0.0
    residuals = samples.X - raw_class_means(samples.X, codes, len(classes))[codes]
    return float(np.square(residuals).sum() / (freedom * residuals.shape[1]))


def _by_class(run, generated, training):
    """Return a dict for each class: its numbers of samples and Fréchet distances."""
    columns = _count_classes(run)
    return [
        {
            "name": name,
            **{key: int(column[i]) for key, column in columns.items()},
            "frechet": _finite(generated.get(label)),
            "baseline": _finite(training.get(label)),
        }
        for i, (label, name) in enumerate(
            zip(run.classes.tolist(), run.names, strict=True)
        )
    ]


def _finite(value):
    return None if value is None or not np.isfinite(value) else float(value)


def measure_utility(run: Run, device: Any) -> dict[str, Any]:
    """Return scores of linear probes on real and on synthetic or added samples."""
    sources = {"real samples": run.fitting}
    if run.added is None:
        sources["synthetic samples"] = run.synthetic
    elif len(run.added.y):
        pairs = zip(run.fitting, run.added, strict=True)
        sources["real and added samples"] = Samples(*map(np.concatenate, pairs))
    counts = run.counts(run.train)
    is_long_tailed = counts.max() >= _LONG_TAILED * counts.min()
    names = ["accuracy", "balanced_accuracy", "auroc", "f1", "kappa"]
    shots = ["many", "medium", "few"] if is_long_tailed else []
    settings = {**_PROBE, "device": device, "random_state": run.seeds[0]}
    rows, reasons, is_right = [], set(), []
    for label, source in sources.items():
        try:
            with warnings.catch_warnings():
                # Many classes of one sample look like a regression to scikit-learn.
                warnings.filterwarnings("ignore", "The number of unique classes")
                result, predicted = run_probe(
                    source, run.stopping, run.test, **settings
                )
        except ValueError as error:
            return {"reason": str(error)}
        shot = shot_accuracy_score(run.test.y, predicted, y_train=run.train.y)
        rows.append(
            [label, len(source.y), *(_finite(getattr(result, n)) for n in names)]
            + [_finite(shot[name]) for name in shots]
        )
        reasons.add(result.auroc_reason)
        is_right.append(predicted == run.test.y)
    head = ["trained on", "samples", "accuracy", "balanced accuracy", "AUROC", "F1"]
    head += ["Cohen's kappa", *(f"accuracy, {name}" for name in shots)]
    return {
        "table": {"caption": "Scores on the test samples", "head": head, "rows": rows},
        "auroc_reason": "; ".join(sorted(reasons - {""})),
        "difference": balanced_difference(is_right[1], is_right[0], run.test.y)
        if len(is_right) > 1
        else None,
        "n_stopping": len(run.stopping.y),
        "is_long_tailed": is_long_tailed,
    }


def balanced_difference(first: Any, second: Any, y: Any) -> Estimate | None:
    """Estimate a difference of balanced accuracies on the same samples.

    `first` and `second` say of each sample whether it was classified right. The
    standard error is that of a mean over classes of paired differences, whose variance
    within classes is pooled. None where no class has two samples.
    """
    gains = np.asarray(first, dtype=float) - second
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(codes) <= len(counts):
        return None
    means = np.bincount(codes, gains) / counts
    variance = ((gains - means[codes]) ** 2).sum() / (len(codes) - len(counts))
    half = stats.norm.ppf(0.975) * np.sqrt(variance * (1 / counts).sum()) / len(counts)
    value = float(means.mean())
    return Estimate(value, value - float(half), value + float(half))


def collect(
    run: Run,
    quality: Bunch,
    columns: Bunch | None,
    utility: dict[str, Any],
    privacy: tuple[PrivacyAudit | None, str, str],
    messages: tuple[str, ...],
) -> Measured:
    """Return the numbers that the summary judges.

    `privacy` is the audit, why there is none, and the formal guarantee.
    """
    generator = innermost(run)
    scores = getattr(generator, "held_out_scores_", {})
    missing = sorted(set(run.test.y.tolist()) - set(run.classes.tolist()))
    audit, not_audited, guarantee = privacy
    return Measured(
        is_release=run.is_release,
        n_active_dims=getattr(generator, "n_active_dims_", None),
        held_out_scores=(scores["gaussian"][1], scores[generator.hidden_dim_][1])
        if "gaussian" in scores
        else None,
        unknown_classes=clean(missing[:5]) if missing else "",
        n_neighbors=quality.n_neighbors,
        coverage=quality.coverage,
        precision=quality.precision,
        variance=quality.variance,
        columns=None if columns is None or "reason" in columns else columns,
        medians=_median_distances(run),
        difference=utility.get("difference"),
        audit=audit,
        not_audited=not_audited,
        guarantee=guarantee,
        messages=messages,
    )


def _median_distances(run):
    """Return how far generated and test samples are from training samples."""
    if not len(run.compared["test"].y):
        return None
    generated, test = (
        quantile(nearest_distances(run.compared[name].X, run.train.X))
        for name in ("synthetic", "test")
    )
    return generated, test


def describe_reproduction(
    title: str, command: str | None, random_state: Any
) -> dict[str, Any]:
    """Return date, versions and seed."""
    versions = [("Python", platform.python_version())]
    for name in ("skcvae", *_PACKAGES):
        try:
            versions.append((name, version(name)))
        except PackageNotFoundError:
            versions.append((name, "not installed as a package"))
    return {
        "title": title,
        "date": datetime.now().astimezone().isoformat(" ", "minutes"),
        "command": command,
        "random_state": repr(random_state),
        "versions": versions,
    }
