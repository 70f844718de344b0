from . import (
    anonymization,
    datasets,
    embedding,
    generators,
    inspection,
    long_tail,
    metrics,
    over_sampling,
    privacy,
    report,
)
from .anonymization import (
    CVAEAnonymizer,
    GenerativeAnonymizer,
    KSameAnonymizer,
)
from .embedding import (
    FoundationEmbedder,
    ViewOverSampler,
)
from .generators import (
    CVAE,
    DPCVAE,
    ClassGaussian,
    DPClassGaussian,
    FlowMatching,
)
from .long_tail import (
    LongTailClassifier,
    MultilabelLongTailClassifier,
    PriorCorrectedClassifier,
)
from .over_sampling import (
    CVAEOverSampler,
    GenerativeOverSampler,
    HardOverSampler,
    MultilabelOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
    RemixSampler,
)

__version__: str

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
    "MultilabelLongTailClassifier",
    "MultilabelOverSampler",
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
