"""Data sets: long-tailed versions of balanced ones, and files of embeddings."""

from ._embeddings import load_embeddings
from ._long_tail import make_long_tailed

__all__ = ["load_embeddings", "make_long_tailed"]
