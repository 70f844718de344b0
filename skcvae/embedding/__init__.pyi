from ._embedder import FoundationEmbedder
from ._folder import embed_folder
from ._latent_autoencoder import LatentAutoencoder
from ._text import TextEmbedder
from ._view_over_sampler import ViewOverSampler

__all__ = [
    "FoundationEmbedder",
    "LatentAutoencoder",
    "TextEmbedder",
    "ViewOverSampler",
    "embed_folder",
]
