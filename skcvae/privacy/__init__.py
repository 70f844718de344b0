"""Privacy: attacks on synthetic samples and released models, and an audit of them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
