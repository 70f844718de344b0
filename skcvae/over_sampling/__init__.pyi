from ._cvae import CVAEOverSampler
from ._ensemble import EnsembleOverSampler
from ._generative import GenerativeOverSampler
from ._hard import HardOverSampler
from ._latent_variation import LatentVariationOverSampler
from ._multilabel import MultilabelOverSampler
from ._policies import RaiseWhileBetter, augmentation_policies
from ._progressive import ProgressiveOverSampler
from ._quality_filter import QualityFilter
from ._remix import RemixSampler
from ._resampled import ResampledClassifier
from ._strategies import PowerStrategy, RatioStrategy
from .fusion import HeadTailFusionSampler

__all__ = [
    "CVAEOverSampler",
    "EnsembleOverSampler",
    "GenerativeOverSampler",
    "HardOverSampler",
    "HeadTailFusionSampler",
    "LatentVariationOverSampler",
    "MultilabelOverSampler",
    "PowerStrategy",
    "ProgressiveOverSampler",
    "QualityFilter",
    "RaiseWhileBetter",
    "RatioStrategy",
    "RemixSampler",
    "ResampledClassifier",
    "augmentation_policies",
]
