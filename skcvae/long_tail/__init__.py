"""Long-tailed classification: a classifier, losses, and priors put right."""

from ._classifier import LongTailClassifier
from ._heads import CosineHead, MLPHead
from ._losses import (
    BalancedSoftmaxLoss,
    ClassBalancedLoss,
    EqualizationLoss,
    FocalLoss,
    LDAMLoss,
    LogitAdjustedLoss,
)
from ._prior_corrected import PriorCorrectedClassifier
from ._splits import LongTailShuffleSplit

__all__ = [
    "BalancedSoftmaxLoss",
    "ClassBalancedLoss",
    "CosineHead",
    "EqualizationLoss",
    "FocalLoss",
    "LDAMLoss",
    "LogitAdjustedLoss",
    "LongTailClassifier",
    "LongTailShuffleSplit",
    "MLPHead",
    "PriorCorrectedClassifier",
]
