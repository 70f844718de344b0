"""The commands ``skcvae anonymize``, ``probe``, ``audit`` and ``release``."""

import json
from numbers import Number

import numpy as np

from .. import anonymization, generators
from .._files import check_output, write_whole
from ..metrics import linear_probe
from ..privacy import privacy_audit
from ._databases import read_rows, write_rows

#: Options that each method takes.
METHODS = {
    "cvae": {"variance"},
    "gaussian": {"variance"},
    "k-same": {"k"},
    "dp-cvae": {"variance", "epsilon", "delta"},
    "dp-gaussian": {"variance", "epsilon", "delta"},
}
_RELEASE = ".safetensors"


def run_anonymize(
    source,
    output,
    method,
    *,
    k=None,
    epsilon=None,
    delta=None,
    variance=None,
    seed=None,
    device="auto",
    n_samples=None,
    echo=print,
):
    """Anonymize the training rows of a database, and write them as one.

    Rows are sorted by class, and within a class by their first feature, so that their
    order does not tell which records they stand for. Validation and test rows are
    real: they are not written.

    Parameters
    ----------
    source : Path
        Database (.npz) with X_train and y_train, X and y, or embeddings and labels; or
        a folder with train.npz. "k-same" counts the persons of `groups_train`, or
        `groups`, where the file has it.

    output : Path
        File to write, whole or not at all: the training arrays by the same names and
        in the same types, and the privacy statement. Rows of integers become float32.

    method : {"cvae", "gaussian", "k-same", "dp-cvae", "dp-gaussian"}
        How to anonymize. The first three keep the number of rows of each class. Those
        with differential privacy draw the labels, too: the real ones would be outside
        of their guarantee.

    k : int or None, default=None
        Rows, or persons, behind each row of "k-same".

    epsilon, delta : float or None, default=None
        Guarantee of the methods with differential privacy.

    variance : float or None, default=None
        Variance of the draws. None is the default of the method, as for `k`.

    seed : int or None, default=None
        Seed. Who knows it can draw the same noise: None draws one that nobody knows.

    device : str, default="auto"
        Where a CVAE is trained.

    n_samples : int or None, default=None
        Rows to draw, of classes as often as in the training rows. None writes as many
        as there are. Not for "k-same", which draws nothing.

    echo : callable, default=print
        Prints a line.

    Raises
    ------
    ValueError
        If an option does not fit the method, or a file is not what it should be.
    """
    check_output(output, ".npz", source)
    options = {"k": k, "epsilon": epsilon, "delta": delta, "variance": variance}
    anonymizer = make_anonymizer(method, options, seed, device)
    if method == "k-same" and n_samples is not None:
        raise ValueError("k-same draws no rows: leave the number of samples out.")
    rows = read_rows(source, "train")
    if method.startswith("dp-") or n_samples is not None:
        X, y = anonymizer.fit(rows.X, rows.y).sample(n_samples)
    elif method == "k-same":
        y = rows.y
        X = anonymizer.fit_transform(rows.X, y, groups=rows.groups)
    else:
        X, y = anonymizer.fit_transform(rows.X, rows.y), rows.y
    statement = anonymizer.privacy_statement()
    order = np.lexsort((X[:, 0], y))
    write_rows(output, X[order], y[order], rows, statement)
    echo(
        f"{output}: {len(X)} rows of {len(np.unique(y))} classes, {X.shape[1]} "
        f"features, made by {method} from {len(rows.X)} rows. It holds no validation "
        "and no test rows: those are real."
    )
    _echo_statement(statement, echo)


def run_probe(
    source,
    validation,
    test,
    *,
    noise_levels=(),
    seed=0,
    device="auto",
    output=None,
    echo=print,
):
    """Train a linear head on a database or a release, and test it on real rows.

    Parameters
    ----------
    source : Path
        What to train on: a database (.npz), of which the training rows are taken, or a
        release (.safetensors), which draws new rows for every step.

    validation, test : Path
        Real rows: databases, of which X_val and X_test are taken where they have
        splits. Both may be the same file or folder.

    noise_levels : sequence of float, default=()
        Noise on the test rows; see :func:`skcvae.metrics.linear_probe`.

    seed : int, default=0
        Seed.

    device : str, default="auto"
        Where to train.

    output : Path or None, default=None
        File (.json) to write the result to, whole or not at all.

    echo : callable, default=print
        Prints a line.
    """
    check_output(output, ".json", source, validation, test)
    if source.suffix == _RELEASE:
        trained_on = anonymization.load(source, device=device)
    else:
        trained_on = read_rows(source, "train").labelled
    result = linear_probe(
        trained_on,
        *read_rows(validation, "val").labelled,
        *read_rows(test, "test").labelled,
        noise_levels=noise_levels,
        device=device,
        random_state=seed,
    )
    _report(result, output, echo)


def run_audit(
    synthetic, members, nonmembers, reference, *, seed=0, output=None, echo=print
):
    """Attack synthetic rows or a release, and print what leaks.

    Parameters
    ----------
    synthetic : Path
        Database (.npz), of which the training rows are taken, or release
        (.safetensors).

    members, nonmembers, reference : Path
        Databases of real rows: those that `synthetic` was made from, others, and what
        the attacker has. Of files with splits, X_train, X_test and X_val are taken, so
        that all three may be the same file or folder. Their `groups` are used where
        they have them.

    seed : int, default=0
        Seed.

    output : Path or None, default=None
        File (.json) to write the report to, whole or not at all.

    echo : callable, default=print
        Prints a line.
    """
    check_output(output, ".json", synthetic, members, nonmembers, reference)
    if synthetic.suffix == _RELEASE:
        attacked, statement = anonymization.load(synthetic), None
    else:
        rows = read_rows(synthetic, "train")
        attacked, statement = rows.labelled, rows.statement
    parts = {
        "members": read_rows(members, "train"),
        "nonmembers": read_rows(nonmembers, "test"),
        "reference": read_rows(reference, "val"),
    }
    arrays = [array for part in parts.values() for array in part.labelled]
    groups = {f"groups_{name}": part.groups for name, part in parts.items()}
    audit = privacy_audit(
        attacked, *arrays, **groups, statement=statement, random_state=seed
    )
    _report(audit, output, echo)


def run_release(
    source,
    output,
    *,
    method="cvae",
    epsilon=None,
    delta=None,
    class_prior="uniform",
    seed=None,
    device="auto",
    echo=print,
):
    """Train a generator on a database, and write what others need to draw from it.

    Parameters
    ----------
    source : Path
        Database, as of :func:`run_anonymize`.

    output : Path
        File (.safetensors) to write, whole or not at all.

    method : {"cvae", "gaussian", "dp-cvae", "dp-gaussian"}, default="cvae"
        What to train.

    epsilon, delta : float or None, default=None
        Guarantee of the methods with differential privacy.

    class_prior : {"uniform", "training"}, default="uniform"
        How often each class is drawn. "training" tells the class distribution of the
        training rows.

    seed : int or None, default=None
        Seed, as of :func:`run_anonymize`.

    device : str, default="auto"
        Where a CVAE is trained.

    echo : callable, default=print
        Prints a line.
    """
    check_output(output, _RELEASE, source)
    if class_prior not in ("uniform", "training"):
        raise ValueError(
            f"The class prior must be uniform or training, got {class_prior!r}."
        )
    options = {"epsilon": epsilon, "delta": delta}
    anonymizer = make_anonymizer(method, options, seed, device)
    if not hasattr(anonymizer, "release"):
        raise ValueError(
            f"{method} has no model to share: write its rows by anonymize."
        )
    X, y = read_rows(source, "train").labelled
    anonymizer.fit(X, y).release(output, class_prior=class_prior)
    echo(
        f"{output}: {method} of {len(anonymizer.classes_)} classes and {X.shape[1]} "
        f"features, class prior {class_prior}."
    )
    _echo_statement(anonymizer.privacy_statement(), echo)


def make_anonymizer(method, options, seed, device):
    """Return an unfitted anonymizer.

    Parameters
    ----------
    method : str
        Of `METHODS`.

    options : dict
        Values of options; None leaves an option at its default.

    seed : int or None
        Seed.

    device : str
        For a CVAE.

    Raises
    ------
    ValueError
        If the method does not take an option, or lacks one.
    """
    if method not in METHODS:
        raise ValueError(
            f"The method must be one of {sorted(METHODS)}, got {method!r}."
        )
    given = {name: value for name, value in options.items() if value is not None}
    # To ignore an epsilon would promise a guarantee that there is not.
    if excess := sorted(set(given) - METHODS[method]):
        takes = sorted(METHODS[method])
        raise ValueError(f"{method} takes {takes} of the options, and not {excess}.")
    needed = METHODS[method] & {"epsilon", "delta"}
    if missing := sorted(needed - set(given)):
        raise ValueError(f"{method} needs {missing}.")
    if method == "k-same":
        return anonymization.KSameAnonymizer(**given)
    if method.endswith("cvae"):
        return anonymization.CVAEAnonymizer(
            **given, device=device, random_state=seed, verbose=1
        )
    is_private = method.startswith("dp-")
    make = generators.DPClassGaussian if is_private else generators.ClassGaussian
    return anonymization.GenerativeAnonymizer(
        generator=make(**given), random_state=seed
    )


def _report(result, output, echo):
    """Print a result, and write it as JSON where asked for."""
    echo(str(result))
    if output is not None:
        text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
        write_whole(output, text.encode())
        echo(f"Written to {output}.")


def _echo_statement(statement, echo):
    """Print a privacy statement: the guarantee, its numbers, and sentences below it."""
    numbers = {n: v for n, v in statement.items() if isinstance(v, Number)}
    head = [str(statement["guarantee"]), *(f"{n} {v:g}" for n, v in numbers.items())]
    echo(f"Privacy: {', '.join(head)}")
    for name, value in statement.items():
        if name == "guarantee" or name in numbers or value is None:
            continue
        for sentence in value if isinstance(value, list | tuple) else [value]:
            echo(f"  {name}: {sentence}")
