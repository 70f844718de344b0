"""Data sets: long-tailed versions, files of embeddings, folders of images."""

from ._clothing import fetch_clothing
from ._embeddings import load_embeddings
from ._image_folder import load_image_folder
from ._long_tail import make_long_tailed

__all__ = [
    "fetch_clothing",
    "load_embeddings",
    "load_image_folder",
    "make_long_tailed",
]
