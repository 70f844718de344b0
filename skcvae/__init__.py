"""Generative over-sampling of embeddings, in the idiom of scikit-learn.

Generators learn p(x | y) on the embeddings of a frozen foundation model. Samplers
decide how many samples of which class to draw. Submodules are imported at first use, so
that ``import skcvae`` stays cheap.
"""

from lazy_loader import attach_stub

__version__ = "0.1.0.dev0"

__getattr__, _, __all__ = attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __dir__():
    return sorted(__all__)
