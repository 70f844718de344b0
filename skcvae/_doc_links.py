"""Where the HTML view of an estimator finds its page in the documentation."""

#: Where the built documentation is published.
DOCS_URL = "https://skcvae.readthedocs.io/en/latest/"


class DocLinkMixin:
    """Link from the HTML view of an estimator to its page, in scikit-learn's way.

    It stands left of scikit-learn's or imbalanced-learn's base class. A class of
    another package that inherits from one of ours has no page here, and gets no link.
    """

    _doc_link_module = "skcvae"
    # As autosummary names the pages of docs/api.rst.
    _doc_link_template = (
        DOCS_URL + "api/generated/{estimator_module}.{estimator_name}.html"
    )

    def _doc_link_url_param_generator(self):
        # The documentation has each class below the package that users import it from,
        # whatever sub-package it lives in.
        package = ".".join(type(self).__module__.split(".")[:2])
        return {"estimator_module": package, "estimator_name": type(self).__name__}
