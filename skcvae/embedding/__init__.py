"""Embeddings of images by frozen foundation models."""

from ._embedder import FoundationEmbedder
from ._folder import embed_folder

__all__ = ["FoundationEmbedder", "embed_folder"]
