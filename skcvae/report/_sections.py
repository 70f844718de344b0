"""What the sections of a report say: facts, tables and warnings, without markup."""

import inspect
import platform
import warnings
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from sklearn.utils import Bunch

from .._statistics import quantile
from ..metrics import (
    class_frechet_distance,
    frechet_distance,
    linear_probe,
    nearest_neighbors,
    precision_recall_density_coverage,
    shot_accuracy_score,
)
from ..metrics._probe import run_probe
from ._samples import Rows, clean, find_history, innermost

# Of more classes, the first section has a summary.
_MAX_LISTED = 50
# Generated rows of less or more variance within classes than these shares are off.
_FAR_VARIANCE = (2 / 3, 1.5)
# Imbalance ratio from which on data are long-tailed.
_LONG_TAILED = 10
_N_NEIGHBORS = 5
_LOSSES = {
    "train_loss": "final training loss per row",
    "train_reconstruction": "  of it reconstruction",
    "train_kl": "  KL term",
    "valid_loss": "final validation loss per row",
}
_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "imbalanced-learn",
    "torch",
    "matplotlib",
)
# What `linear_probe` takes where nothing is given.
_PROBE = {
    name: parameter.default
    for name, parameter in inspect.signature(linear_probe).parameters.items()
    if parameter.default is not parameter.empty
}


def describe_data(run):
    """Return the facts on the real rows, and a table of classes."""
    counts = run.counts(run.train)
    facts = [
        ("training rows", len(run.train.y)),
        ("test rows", len(run.test.y)),
        ("reference rows", 0 if run.reference is None else len(run.reference.y)),
        ("features", run.train.X.shape[1]),
        ("classes", len(run.classes)),
        ("imbalance ratio, largest to smallest class", counts.max() / counts.min()),
    ]
    columns = {"training": counts, "test": run.counts(run.test)}
    columns |= _generated_counts(run)
    is_summary = len(run.classes) > _MAX_LISTED
    if is_summary:
        table = _summarise(columns)
    else:
        table = {
            "caption": "Rows of each class",
            "head": ["class", *columns],
            "rows": [
                [name, *(int(column[i]) for column in columns.values())]
                for i, name in enumerate(run.names)
            ],
        }
    return {"facts": facts, "table": table, "is_summary": is_summary}


def _generated_counts(run):
    """Return the column of generated rows by its name."""
    if run.added is None:
        return {"generated": run.counts(run.synthetic)}
    return {"added": run.counts(run.added)}


def _summarise(columns):
    """Return quantiles of the numbers of rows over the classes."""
    shares = {"smallest": 0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "largest": 1}
    return {
        "caption": "Rows of a class, from the smallest to the largest",
        "head": ["classes", *columns],
        "rows": [
            [name, *(float(np.quantile(column, q)) for column in columns.values())]
            for name, q in shares.items()
        ],
    }


def describe_training(run):
    """Return the facts on the model, and its parameters other than the defaults."""
    model, generator = run.model, innermost(run)
    facts = [("model", type(model).__name__)]
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
    """Return a table of parameters that are not the defaults, or of a manifest."""
    if hasattr(model, "manifest_"):
        rows = [
            [name, clean(value)]
            for name, value in model.manifest_.items()
            if isinstance(value, str | int | float)
        ]
        head = ["entry", "value"]
        caption = "The released file"
        return {"caption": caption, "head": head, "rows": rows, "is_text": True}
    rows = _changed_parameters(model)
    if generator is not model and "generator" in model.get_params(deep=False):
        rows += [[f"generator: {n}", *r] for n, *r in _changed_parameters(generator)]
    head = ["parameter", "value", "default"]
    caption = "Parameters that are not the defaults"
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


def measure_quality(run):
    """Return a table of how near generated rows are to test rows, and its numbers."""
    test, sets = run.compared["test"], {}
    for name, label in (("synthetic", "generated rows"), ("train", "training rows")):
        sets[label] = _compare(test, run.compared[name])
    head = ["compared with the test rows", "Fréchet distance"]
    head += ["mean over classes", "precision", "recall", "density", "coverage"]
    head += ["variance within classes"]
    keys = ("frechet", "class_mean", "precision", "recall", "density", "coverage")
    rows = [[label, *(s[k] for k in (*keys, "variance"))] for label, s in sets.items()]
    generated = sets["generated rows"]
    classes = _by_class(run, *(s["by_class"] for s in sets.values()))
    return Bunch(
        table={"caption": "Nearness to the test rows", "head": head, "rows": rows},
        n_rows=len(test.y),
        n_neighbors=_N_NEIGHBORS,
        variance=generated["variance"],
        classes=classes,
    )


def _compare(test, rows):
    """Return the distances and shares of some rows and the test rows; None if few."""
    result = dict.fromkeys(("frechet", "precision", "recall", "density", "coverage"))
    if len(test.y) > 1:
        result["frechet"] = frechet_distance(test.X, rows.X)
    if len(test.y) > _N_NEIGHBORS:
        result |= precision_recall_density_coverage(
            test.X, rows.X, n_neighbors=_N_NEIGHBORS
        )
    result |= {"by_class": {}, "class_mean": None}
    if np.unique(test.y, return_counts=True)[1].max(initial=0) > 1:
        with warnings.catch_warnings():
            # The table shows which classes have too few rows.
            warnings.simplefilter("ignore", UserWarning)
            found = class_frechet_distance(
                test.X, rows.X, y_real=test.y, y_synthetic=rows.y
            )
        distances = zip(found.classes.tolist(), found.distances.tolist(), strict=True)
        result |= {"by_class": dict(distances), "class_mean": found.mean}
    spread = _variance_within(test)
    result["variance"] = _variance_within(rows) / spread if spread else None
    return result


def _variance_within(rows):
    """Return the mean variance of the features around the means of the classes."""
    classes, codes = np.unique(rows.y, return_inverse=True)
    if len(codes) <= len(classes):
        return 0.0
    squares = sum(
        (
            (rows.X[codes == c] - rows.X[codes == c].mean(axis=0, dtype=np.float64))
            ** 2
        ).sum()
        for c in range(len(classes))
    )
    return float(squares / ((len(codes) - len(classes)) * rows.X.shape[1]))


def _by_class(run, generated, training):
    """Return a dict for each class: its numbers of rows and Fréchet distances."""
    columns = {"training": run.counts(run.train), "test": run.counts(run.test)}
    columns |= _generated_counts(run)
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


def measure_utility(run, device):
    """Return a table of linear probes on real rows, and on what a user would have."""
    sources = {"real rows": run.fitting}
    if run.added is None:
        sources["synthetic rows"] = run.synthetic
    elif len(run.added.y):
        pairs = zip(run.fitting, run.added, strict=True)
        sources["real and added rows"] = Rows(*map(np.concatenate, pairs))
    counts = run.counts(run.train)
    is_long_tailed = counts.max() >= _LONG_TAILED * counts.min()
    names = ["accuracy", "balanced_accuracy", "auroc", "f1", "kappa"]
    shots = ["many", "medium", "few"] if is_long_tailed else []
    rows, reasons = [], set()
    for label, source in sources.items():
        try:
            with warnings.catch_warnings():
                # Many classes with a row each to stop by are no regression.
                warnings.filterwarnings("ignore", "The number of unique classes")
                result, shot = _probe(run, source, device)
        except ValueError as error:
            return {"reason": str(error)}
        rows.append(
            [label, len(source.y), *(_finite(getattr(result, n)) for n in names)]
            + [_finite(shot[name]) for name in shots]
        )
        reasons.add(result.auroc_reason)
    head = ["trained on", "rows", "accuracy", "balanced accuracy", "AUROC", "F1"]
    head += ["Cohen's kappa", *(f"accuracy, {name}" for name in shots)]
    return {
        "table": {"caption": "Scores on the test rows", "head": head, "rows": rows},
        "auroc_reason": "; ".join(sorted(reasons - {""})),
        "n_stopping": len(run.stopping.y),
        "is_long_tailed": is_long_tailed,
    }


def _probe(run, source, device):
    """Return what `linear_probe` finds, and accuracies by shot."""
    settings = {**_PROBE, "device": device, "random_state": run.seeds[0]}
    result, predicted = run_probe(source, run.stopping, run.test, **settings)
    shot = shot_accuracy_score(run.test.y, predicted, y_train=run.train.y)
    return result, shot


def find_warnings(run, quality):
    """Return sentences on what went wrong, if anything did."""
    found = []
    if getattr(innermost(run), "n_active_dims_", None) == 0:
        found.append(
            "Posterior collapse: the CVAE uses none of its latent dimensions. Rows are "
            "independent noise around their class mean. Train longer, or lower beta."
        )
    low, high = _FAR_VARIANCE
    if quality.variance is not None and not low <= quality.variance <= high:
        found.append(
            "The variance of generated rows within their classes is "
            f"{quality.variance:.3g} times that of test rows: they are "
            + ("too alike." if quality.variance < low else "too scattered.")
        )
    if sentence := _nearer_than_holdout(run):
        found.append(sentence)
    missing = sorted(set(run.test.y.tolist()) - set(run.classes.tolist()))
    if missing:
        found.append(
            f"The test rows hold classes without training rows: {clean(missing[:5])}."
        )
    return found


def _nearer_than_holdout(run):
    """Say that generated rows are nearer to training rows than test rows are."""
    if not len(run.compared["test"].y):
        return ""
    medians = {
        name: quantile(nearest_neighbors(run.compared[name].X, run.train.X)[0][:, 0])
        for name in ("synthetic", "test")
    }
    if medians["synthetic"].high >= medians["test"].low:
        return ""
    return (
        "Generated rows are nearer to training rows than test rows are: the median "
        f"distance is {medians['synthetic'].value:.4g} against "
        f"{medians['test'].value:.4g}. They may be made too much from single rows."
    )


def describe_reproduction(title, command, random_state):
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
