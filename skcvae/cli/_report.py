"""The command ``skcvae report``."""

import shlex

from .._files import check_output
from ..over_sampling import CVAEOverSampler
from ..report._report import open_template, report
from ._databases import read_rows
from ._privacy_commands import METHODS, make_anonymizer

OVER_SAMPLE = "over-sample"


def run_report(
    source,
    output,
    method,
    *,
    k=None,
    epsilon=None,
    delta=None,
    seed=0,
    device="auto",
    echo=print,
):
    """Fit a method to the training rows of a database, and write a report on it.

    Test rows measure quality and utility, and are the non-members of the audit;
    validation rows are what the attacker has, and stop the training of the linear
    probe. The model never sees either.

    Parameters
    ----------
    source : Path
        Database (.npz) with the splits train, val and test, or a folder with
        train.npz, val.npz and test.npz.

    output : Path
        File (.html) to write, whole or not at all.

    method : {"cvae", "gaussian", "k-same", "dp-gaussian", "dp-cvae", "over-sample"}
        What to fit: an anonymizer, or a CVAE that fills up classes.

    k : int or None, default=None
        Rows, or persons, behind each row of "k-same".

    epsilon, delta : float or None, default=None
        Guarantee of the methods with differential privacy.

    seed : int, default=0
        Seed of the model and of the report.

    device : str, default="auto"
        Where to train.

    echo : callable, default=print
        Prints a line.

    Raises
    ------
    ValueError
        If an option does not fit the method, the database has no splits, or rows are
        not what they should be.

    ImportError
        If matplotlib or jinja2 is missing.
    """
    check_output(output, ".html", source)
    open_template()
    options = {"k": k, "epsilon": epsilon, "delta": delta}
    model = _make_model(method, options, seed, device)
    parts = [read_rows(source, split) for split in ("train", "val", "test")]
    train, reference, test = parts
    if source.is_file() and train.names == test.names:
        raise ValueError(
            f"{source} has no splits. A report compares rows of three: give a file "
            "with X_train, X_val and X_test, and labels, or a folder with train.npz, "
            "val.npz and test.npz."
        )
    echo(f"Fitting {method} to {len(train.X)} rows.")
    groups = {"groups": train.groups} if method == "k-same" else {}
    model.fit(train.X, train.y, **groups)
    echo("Measuring quality, utility and privacy.")
    report(
        output,
        model,
        train.X,
        train.y,
        X_test=test.X,
        y_test=test.y,
        X_reference=reference.X,
        y_reference=reference.y,
        groups=train.groups,
        groups_test=test.groups,
        groups_reference=reference.groups,
        title=f"Report on {method} for {source.name}",
        command=_command(source, output, method, options, seed, device),
        device=device,
        random_state=seed,
    )
    echo(f"{output}: open it in a browser. It tells of the real rows: keep it private.")


def _make_model(method, options, seed, device):
    """Return an unfitted anonymizer or over-sampler."""
    if method != OVER_SAMPLE:
        if method not in METHODS:
            known = [*sorted(METHODS), OVER_SAMPLE]
            raise ValueError(f"The method must be one of {known}, got {method!r}.")
        return make_anonymizer(method, options, seed, device)
    if excess := sorted(name for name, value in options.items() if value is not None):
        raise ValueError(f"{OVER_SAMPLE} takes none of the options {excess}.")
    return CVAEOverSampler(random_state=seed, device=device, verbose=1)


def _command(source, output, method, options, seed, device):
    """Return the command line that does the same again."""
    words = ["skcvae", "report", source, "-o", output, "--method", method]
    for name, value in {**options, "seed": seed, "device": device}.items():
        if value is not None:
            words += [f"--{name}", value]
    return shlex.join(map(str, words))
