"""Embeddings of images and texts by frozen models, and random views of images."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
