"""Generators: estimators that learn p(x | y) and draw samples for any label."""

from .._lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
