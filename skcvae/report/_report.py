"""A report on a release or on over-sampling, as one page."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np

from .._extras import import_extra, import_pyplot
from .._files import check_output, write_whole
from .._statistics import Estimate
from ._figures import MAX_CLASS_IMAGES, draw_classes, draw_figures
from ._privacy import audit, describe_privacy
from ._samples import clean, open_run
from ._sections import (
    describe_data,
    describe_reproduction,
    describe_training,
    find_warnings,
    measure_quality,
    measure_utility,
)


def report(  # noqa: PLR0913  three sets of rows with their groups
    path,
    model,
    X,
    y,
    *,
    X_test,
    y_test,
    X_reference=None,
    y_reference=None,
    groups=None,
    groups_test=None,
    groups_reference=None,
    title=None,
    command=None,
    device="cpu",
    random_state=0,
):
    """Write a report on a release or on over-sampling, as one HTML file.

    It says what the data are and what was trained; how near generated rows are to test
    rows, beside how near training rows are; what a linear head learns from them; what
    attacks on a release find, without a verdict; and has figures, a view of each
    class, versions and seeds. The file needs no network and no JavaScript.

    .. note::
        The report tells of the real rows, and of the seed: show it to those who may
        see the data. It is no part of a release.

    Fréchet distances, precision, recall, density and coverage compare sets of the same
    numbers of rows of each class, the smallest that training, test and generated rows
    have, and at most 5,000 in all. The linear head is that of
    :func:`~skcvae.metrics.linear_probe`.

    Parameters
    ----------
    path : str or Path
        File to write, ending in ``.html``: whole, or not at all.

    model : object
        Fitted anonymizer, or release of :func:`~skcvae.anonymization.load`; or fitted
        over-sampler with a generator, or a generator, whose rows fill up all classes
        to the largest.

    X : array-like of shape (n_samples, n_features)
        Rows that it was fitted on; of :class:`~skcvae.anonymization.KSameAnonymizer`,
        in the same order.

    y : array-like of shape (n_samples,)
        Their classes.

    X_test : array-like of shape (n_test, n_features)
        Real rows that nothing was fitted on. They are the non-members of the audit.

    y_test : array-like of shape (n_test,)
        Their classes, two or more.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Other real rows: those that an attacker has, and that stop the training of the
        linear head. None leaves the audit out, and takes a fifth of the training rows
        to stop by.

    y_reference : array-like of shape (n_reference,), default=None
        Their classes.

    groups, groups_test, groups_reference : array-like, default=None
        Group of each row, as the patient, for :func:`~skcvae.privacy.privacy_audit`.

    title : str, default=None
        Title. None names the model.

    command : str, default=None
        Command that reproduces the report.

    device : str or torch.device, default="cpu"
        Where to train the linear head.

    random_state : int, RandomState instance or None, default=0
        Seed of all that the report draws.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    ImportError
        If matplotlib or jinja2 is missing.

    ValueError
        If the file cannot be written, rows do not fit together or to the model, or the
        model generates no rows.

    See Also
    --------
    skcvae.privacy.privacy_audit : The attacks, as numbers.
    skcvae.metrics.linear_probe : The scores.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from skcvae.generators import ClassGaussian
    >>> from skcvae.report import report
    >>> X, y = load_iris(return_X_y=True)
    >>> gaussian = ClassGaussian(random_state=0).fit(X[::2], y[::2])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = report(
    ...         f"{folder}/iris.html", gaussian, X[::2], y[::2],
    ...         X_test=X[1::2], y_test=y[1::2])
    ...     "Linear probe" in path.read_text(encoding="utf-8")
    True
    """
    template = open_template()
    path = Path(path)
    check_output(path, ".html")
    run = open_run(model, X, y, X_test, y_test, X_reference, y_reference, random_state)
    found, reason = audit(
        run,
        {
            "groups_members": groups,
            "groups_nonmembers": groups_test,
            "groups_reference": groups_reference,
        },
    )
    quality = measure_quality(run)
    title = clean(title or f"Report on a {type(model).__name__}")
    page = template.render(
        run=run,
        data=describe_data(run),
        training=describe_training(run),
        warnings=find_warnings(run, quality),
        quality=quality,
        utility=measure_utility(run, device),
        privacy=describe_privacy(run, found, reason),
        figures=draw_figures(run, found),
        class_figures=draw_classes(run),
        max_class_images=MAX_CLASS_IMAGES,
        reproduction=describe_reproduction(title, command, random_state),
    )
    write_whole(path, page.encode())
    return path


def open_template():
    """Return the template; say what to install before any long work."""
    import_pyplot("report")
    jinja2 = import_extra("jinja2", "plot", "report")
    folder = files(__package__)
    script = (folder / "picker.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # All that a user gives is data, not markup.
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _format_cell
    environment.filters["clean"] = clean
    environment.globals |= {"script": script, "script_hash": digest}
    text = (folder / "report.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(text)


def _format_cell(value):
    """Return a number, an estimate or a text as a page shows it."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "\u2013"
    if isinstance(value, Estimate):
        middle, low, high = (f"{number:.3g}" for number in value)
        return f"{middle} [{low}, {high}]"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
