"""Configuration of ``sphinx-build -W -b html docs docs/_build/html``."""

import os
import sys
from pathlib import Path

# The pages describe this checkout, whatever version is installed.
sys.path.insert(0, str(Path(__file__).parents[1]))

import skcvae
from skcvae._doc_links import DOCS_URL

project = "skcvae"
author = "the skcvae developers"
copyright = author
version = release = skcvae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    # Math shows without a network.
    "sphinx-mathjax-offline",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "api/generated/backreferences"]
templates_path = ["_templates"]

# Single backticks name parameters and attributes, as in scikit-learn's docstrings.
default_role = "literal"
extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
# Class pages list members by the template: numpydoc would list them a second time.
numpydoc_show_class_members = False
# What the pages show is checked here; pyproject.toml has the checks of private code.
numpydoc_validation_checks = {
    *("GL01", "GL02", "GL03", "GL05", "GL06", "GL08", "GL09", "GL10"),
    *("PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR08", "PR09", "PR10"),
    *("RT03", "RT04", "RT05"),
    *("SS01", "SS02", "SS03", "SS04", "SS05", "SS06"),
}
# These two methods are those of Python's tuples.
numpydoc_validation_exclude = {r"\.(count|index)$"}

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "auto_examples",
    # Run and list plot_*.py only: benchmarks take long and need data.
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("skcvae",),
    "exclude_implicit_doc": {r"\.Base"},
    "abort_on_example_error": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skcvae"
html_show_sourcelink = False
html_baseurl = DOCS_URL
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2}
html_sidebars = {
    page: []
    for page in (
        "architecture",
        "auto_examples/plot_*",
        "changelog",
        "contributing",
        "install",
        "privacy_model",
        "policies",
    )
}

# Links to other projects need their inventories, hence a network: ask for them.
if os.environ.get("SKCVAE_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "imblearn": ("https://imbalanced-learn.org/stable", None),
        "joblib": ("https://joblib.readthedocs.io/en/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "python": ("https://docs.python.org/3", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }


def allow_missing_figures(app, config):
    """Build pages without the figures of the gallery where `-D plot_gallery=0` is."""
    if not _runs_gallery(app):
        config.suppress_warnings.append("image.not_readable")


def write_benchmark_history(app):
    """Write the table and the figure of the page on benchmarks."""
    benchmarks = Path(__file__).parents[1] / "examples" / "benchmarks"
    sys.path.insert(0, str(benchmarks))
    import history

    entries = history.read()
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    (folder / "benchmarks.inc").write_text(history.table(entries), encoding="utf-8")
    history.draw(entries, folder / "benchmarks.png")


def write_demo_report(app, exception):
    """Write the report that the page on quality links to, among the built pages."""
    if exception or app.builder.format != "html" or not _runs_gallery(app):
        return
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold

    from skcvae.anonymization import CVAEAnonymizer
    from skcvae.report import report

    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    train, test, reference = ((X[rows], y[rows]) for _, rows in folds.split(X, y))
    model = CVAEAnonymizer(latent_dim=16, device="cpu", random_state=0).fit(*train)
    report(
        Path(app.outdir) / "demo_report.html",
        model,
        *train,
        X_test=test[0],
        y_test=test[1],
        X_reference=reference[0],
        y_reference=reference[1],
        title="Digits, replaced by samples of a CVAE",
    )


def _runs_gallery(app):
    """Tell whether the examples run; they take most of the time of a build."""
    return app.config.plot_gallery in (True, "1", "True")


def setup(app):
    app.connect("config-inited", allow_missing_figures)
    app.connect("builder-inited", write_benchmark_history)
    app.connect("build-finished", write_demo_report)
