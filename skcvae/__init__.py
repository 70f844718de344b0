"""Generative over-sampling of embeddings, in the idiom of scikit-learn.

Generators learn p(x | y) on the embeddings of a frozen foundation model. Samplers
decide how many samples of which class to draw. Submodules are imported at first use, so
that ``import skcvae`` stays cheap.
"""

from importlib import import_module

__version__ = "0.1.0.dev0"

_SUBMODULE_OF = {
    "CVAE": "generators",
    "ClassGaussian": "generators",
    "DPCVAE": "generators",
    "DPClassGaussian": "generators",
    "FlowMatching": "generators",
    "CVAEAnonymizer": "anonymization",
    "FoundationEmbedder": "embedding",
    "GenerativeAnonymizer": "anonymization",
    "KSameAnonymizer": "anonymization",
    "CVAEOverSampler": "over_sampling",
    "GenerativeOverSampler": "over_sampling",
    "HardOverSampler": "over_sampling",
    "LongTailClassifier": "long_tail",
    "PriorCorrectedClassifier": "long_tail",
    "ProgressiveOverSampler": "over_sampling",
    "QualityFilter": "over_sampling",
    "RemixSampler": "over_sampling",
    "ViewOverSampler": "embedding",
}
_SUBMODULES = (
    "anonymization",
    "datasets",
    "embedding",
    "generators",
    "inspection",
    "long_tail",
    "metrics",
    "over_sampling",
    "privacy",
    "report",
)

__all__ = [
    "CVAE",
    "DPCVAE",
    "CVAEAnonymizer",
    "CVAEOverSampler",
    "ClassGaussian",
    "DPClassGaussian",
    "FlowMatching",
    "FoundationEmbedder",
    "GenerativeAnonymizer",
    "GenerativeOverSampler",
    "HardOverSampler",
    "KSameAnonymizer",
    "LongTailClassifier",
    "PriorCorrectedClassifier",
    "ProgressiveOverSampler",
    "QualityFilter",
    "RemixSampler",
    "ViewOverSampler",
    "__version__",
    "anonymization",
    "datasets",
    "embedding",
    "generators",
    "inspection",
    "long_tail",
    "metrics",
    "over_sampling",
    "privacy",
    "report",
]


def __getattr__(name):
    if name in _SUBMODULES:
        return import_module(f"skcvae.{name}")
    if name in _SUBMODULE_OF:
        return getattr(import_module(f"skcvae.{_SUBMODULE_OF[name]}"), name)
    raise AttributeError(f"module 'skcvae' has no attribute {name!r}")


def __dir__():
    return __all__
