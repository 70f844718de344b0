"""Embeddings of images by frozen foundation models, and random views of images."""

from ._embedder import FoundationEmbedder
from ._folder import embed_folder
from ._view_over_sampler import ViewOverSampler

__all__ = ["FoundationEmbedder", "ViewOverSampler", "embed_folder"]
