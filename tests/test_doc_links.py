"""The HTML view of an estimator links to the page that the documentation has of it."""

import inspect
import re
from pathlib import Path

import pytest
from imblearn.pipeline import make_pipeline
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

import skcvae
from skcvae._doc_links import DOCS_URL

API = Path(__file__).parents[1] / "docs" / "api.rst"
PUBLIC = [getattr(skcvae, name) for name in skcvae.__all__]
ESTIMATORS = [
    found
    for found in PUBLIC
    if inspect.isclass(found) and issubclass(found, BaseEstimator)
]


def generated_pages():
    """Return the names of the pages that autosummary makes of docs/api.rst."""
    pages, module = set(), "skcvae"
    for line in API.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.fullmatch(r"   (\w+)", line):
            pages.add(f"api/generated/{module}.{match[1]}.html")
    return pages


def links(estimator):
    """Return the targets of all links of the HTML view."""
    return re.findall(r'href="([^"]+)"', estimator._repr_html_())


def build(cls):
    """Return an instance, around a classifier where it needs one."""
    parameters = inspect.signature(cls).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty]
    return cls(**dict.fromkeys(required, LogisticRegression()))


def own_page(cls):
    package = ".".join(cls.__module__.split(".")[:2])
    return f"api/generated/{package}.{cls.__name__}.html"


def test_all_headline_estimators_are_looked_at():
    assert len(ESTIMATORS) == sum(map(inspect.isclass, PUBLIC))


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_estimators_link_to_a_page_that_the_documentation_has(cls):
    page = own_page(cls)
    assert page in generated_pages()
    assert DOCS_URL + page in links(build(cls))


def test_nested_estimators_have_their_own_links():
    pipeline = make_pipeline(
        skcvae.GenerativeOverSampler(skcvae.CVAE()), LogisticRegression()
    )
    found = links(pipeline)
    for cls in (skcvae.GenerativeOverSampler, skcvae.CVAE):
        assert DOCS_URL + own_page(cls) in found
    theirs = [link for link in found if "LogisticRegression.html" in link]
    assert theirs
    assert all(link.startswith("https://scikit-learn.org/") for link in theirs)


def test_subclasses_of_other_packages_do_not_claim_a_page():
    class TheirGenerator(skcvae.ClassGaussian):
        pass

    assert not any(link.startswith(DOCS_URL) for link in links(TheirGenerator()))
