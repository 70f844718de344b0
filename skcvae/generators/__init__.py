"""Generators: estimators that learn p(x | y) and draw samples for any label."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
