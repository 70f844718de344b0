"""Links from the HTML view of estimators to the documentation."""

#: Where the built documentation is published.
DOCS_URL = "https://skcvae.readthedocs.io/en/latest/"


class DocLinkMixin:
    """Link from the HTML view of an estimator to its page, as in scikit-learn.

    The mixin must precede the base class of scikit-learn or imbalanced-learn. A class
    of another package that inherits from one of ours gets no link.
    """

    _doc_link_module = "skcvae"
    # autosummary gives these names to the pages of docs/api.rst.
    _doc_link_template = (
        DOCS_URL + "api/generated/{estimator_module}.{estimator_name}.html"
    )

    def _doc_link_url_param_generator(self):
        # The documentation lists a class under the package from which users import it.
        package = ".".join(type(self).__module__.split(".")[:2])
        return {"estimator_module": package, "estimator_name": type(self).__name__}
