"""A report on a release or on over-sampling, as one page."""

import base64
import hashlib
import os
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from .._extras import import_extra, import_pyplot
from .._files import check_output, write_whole
from .._rendering import check_renders, to_images
from .._statistics import Estimate
from .._tables import find_categorical
from ..inspection._nearest_images import check_photos
from ._columns import MAX_CATEGORIES, encode_run, measure_columns
from ._figures import MAX_CLASS_IMAGES, draw_classes, draw_figures, draw_gallery
from ._privacy import audit, describe_privacy
from ._samples import clean, find_table_generator, prepare_run
from ._sections import (
    collect,
    describe_data,
    describe_reproduction,
    describe_training,
    measure_quality,
    measure_utility,
)
from ._summary import COLUMN_RULES, RULES, next_steps, summarise


def report(  # noqa: PLR0913  three sets of samples with their groups
    path: str | os.PathLike[str],
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    X_test: ArrayLike,
    y_test: ArrayLike,
    X_reference: ArrayLike | None = None,
    y_reference: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    groups_test: ArrayLike | None = None,
    groups_reference: ArrayLike | None = None,
    constraints: list | None = None,
    images: Any = None,
    decoder: Callable | None = None,
    title: str | None = None,
    command: str | None = None,
    device: str | torch.device = "cpu",
    verbose: int = 0,
    random_state: int | np.random.RandomState | None = 0,
) -> Path:
    """Write a report on a release or on over-sampling, as one HTML file.

    The report opens with a summary: what is good, what is doubtful, and what to do
    next, by rules that it states. It describes the data and the training. It compares
    generated samples with test samples, and training samples with test samples for
    reference. It scores a linear head that is trained on generated samples. It lists
    what attacks on a release find, without a verdict. It has figures, a view of each
    class, versions and seeds. The file needs no network and no JavaScript. Warnings
    that arise while the report is made are sentences in its summary.

    .. note::
        The report contains facts about the real samples, and the seed. Show it only to
        people who may see the data, and do not publish it with a release. It holds
        pictures of training samples only if you give `images` or `decoder`.

    Fréchet distances, precision, recall, density and coverage compare training, test
    and generated sets with equal numbers of samples of each class, at most 5,000
    samples each. The linear head is that of :func:`~skcvae.metrics.linear_probe`.

    Where the model has a :class:`~skcvae.generators.TableGenerator`, samples are
    tables, and the section "Columns" has the numbers of
    :func:`~skcvae.metrics.table_quality`. All other sections take them as numbers: a
    feature for each of the 50 most frequent categories of a column, and standardised
    numbers with the median in the place of missing values.

    Parameters
    ----------
    path : str or path-like
        File to write, ending in ``.html``. It is written completely or not at all.

    model : object
        Fitted anonymizer; release of :func:`~skcvae.anonymization.load`; fitted
        over-sampler with a generator; or fitted generator, whose samples fill up all
        classes to the size of the largest.

    X : array-like or DataFrame of shape (n_samples, n_features)
        Samples that the model was fitted on. For
        :class:`~skcvae.anonymization.KSameAnonymizer`, they must have the same order.

    y : array-like of shape (n_samples,)
        Their classes.

    X_test : array-like of shape (n_test, n_features)
        Real samples that nothing was fitted on. They are the non-members of the audit.

    y_test : array-like of shape (n_test,)
        Their classes, two or more.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Other real samples. They are the knowledge of the attacker, and stop the
        training of the linear head. With None, there is no audit, and a fifth of the
        training samples stops the training.

    y_reference : array-like of shape (n_reference,), default=None
        Their classes.

    groups, groups_test, groups_reference : array-like, default=None
        Group of each sample, such as the patient, for
        :func:`~skcvae.privacy.privacy_audit`.

    constraints : list of str or callable, default=None
        Rules of tables, of which the report counts the broken ones. None takes those of
        the :class:`~skcvae.generators.TableGenerator`.

    images : sequence of n_samples images, default=None
        The photo of each training sample: paths, PIL images, or an array of bytes. The
        page then has a gallery of generated samples beside the nearest training photos.

    decoder : callable, default=None
        Renders samples in the gallery, see
        :meth:`skcvae.inspection.ImageGridDisplay.from_generator`: generated ones, and
        training samples, too.

    title : str, default=None
        Title. None uses the name of the model's class.

    command : str, default=None
        Command that reproduces the report.

    device : str or torch.device, default="cpu"
        Device that trains the linear head.

    verbose : int, default=0
        Above 0, show a progress bar that names the section.

    random_state : int, RandomState instance or None, default=0
        Seed of the report's random draws.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    ImportError
        If matplotlib or jinja2 is missing.

    TypeError
        If `decoder` is no function.

    ValueError
        If the file cannot be written, there is not one image for each training sample,
        a file of an image is missing, `decoder` returns no images, the features differ,
        the model cannot generate samples, or a constraint cannot be applied.

    See Also
    --------
    skcvae.privacy.privacy_audit : Results of the attacks as numbers.
    skcvae.metrics.linear_probe : Scores of the linear head.
    skcvae.metrics.table_quality : Comparison of tables as numbers.

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
    template = _make_template()
    path = Path(path)
    check_output(path, ".html")
    groups_of = {
        "groups_members": groups,
        "groups_nonmembers": groups_test,
        "groups_reference": groups_reference,
    }
    title = clean(title or f"Report on a {type(model).__name__}")
    tables = find_table_generator(model)
    if tables is None and constraints is not None:
        raise ValueError(
            "constraints need a model that draws tables, with a TableGenerator, and "
            f"{type(model).__name__} draws arrays. Leave them out."
        )
    _check_gallery(images, decoder, X, tables is not None)
    with _collected_warnings() as messages:
        run = prepare_run(
            model,
            X,
            y,
            X_test,
            y_test,
            X_reference,
            y_reference,
            random_state,
            is_table=tables is not None,
        )
        if decoder is not None:
            to_images(run.train.X[:1], decoder)
        if tables is not None:
            listed = find_categorical(run.train.X, tables.categorical_features)
            rules = tables.constraints if constraints is None else constraints
            run = encode_run(run, listed, list(rules or ()))
        sections = _measure(run, groups_of, device, messages, verbose)
        gallery = draw_gallery(run, images, decoder)
    page = template.render(
        run=run,
        **sections,
        gallery=gallery,
        rules=RULES if run.tables is None else RULES + COLUMN_RULES,
        max_categories=MAX_CATEGORIES,
        max_class_images=MAX_CLASS_IMAGES,
        reproduction=describe_reproduction(title, command, random_state),
    )
    write_whole(path, page.encode())
    return path


def _check_gallery(images, decoder, X, is_table):
    """Refuse what cannot be shown, before any work."""
    if is_table and not (images is None and decoder is None):
        raise ValueError(
            "Samples of a table have no images: leave out what shows them."
        )
    if decoder is not None:
        check_renders(decoder, None)
    if images is not None:
        check_photos(images, len(X))


def _measure(run, groups, device, messages, verbose):
    """Return the contents of the sections by their names in the template."""
    with tqdm(total=6, unit="section", desc="report", disable=not verbose) as progress:

        def measure(name, function, *args):
            progress.set_postfix_str(name)
            result = function(*args)
            progress.update()
            return result

        columns = measure("columns", measure_columns, run)
        quality = measure("quality", measure_quality, run)
        utility = measure("utility", measure_utility, run, device)
        found, reason = measure("privacy", audit, run, groups)
        figures = measure("figures", draw_figures, run, found)
        class_figures = measure("classes", draw_classes, run)
    privacy = describe_privacy(run, found, reason)
    guarantee = dict(privacy["formal"])["guarantee"][0]
    findings = summarise(
        collect(
            run, quality, columns, utility, (found, reason, guarantee), tuple(messages)
        )
    )
    return {
        "findings": findings,
        "next_steps": next_steps(findings),
        "data": describe_data(run),
        "training": describe_training(run),
        "quality": quality,
        "columns": columns,
        "utility": utility,
        "privacy": privacy,
        "figures": figures,
        "class_figures": class_figures,
    }


@contextmanager
def _collected_warnings():
    """Yield the messages of the user warnings inside the block, each once."""
    messages: dict[str, None] = {}

    def show(message, category, *args, **kwargs):
        if issubclass(category, UserWarning):
            messages[clean(message)] = None
        else:
            shown(message, category, *args, **kwargs)

    with warnings.catch_warnings():
        shown = warnings.showwarning
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield messages


def _make_template():
    """Return the template, or raise an error that names a missing package."""
    import_pyplot("report")
    jinja2 = import_extra("jinja2", "plot", "report")
    folder = files(__package__)
    script = (folder / "picker.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Texts of the user must not act as markup.
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
    """Return the text of a number, an estimate or a text in a page."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "\u2013"
    if isinstance(value, Estimate):
        middle, low, high = (f"{number:.3g}" for number in value)
        return f"{middle} [{low}, {high}]"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return clean(value)
