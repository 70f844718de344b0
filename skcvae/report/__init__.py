"""A report: quality, utility and privacy of a model on one HTML page.

It needs matplotlib and Jinja2: ``pip install "skcvae[plot]"``.
"""

from ._report import report

__all__ = ["report"]
