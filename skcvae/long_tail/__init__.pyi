from ._classifier import LongTailClassifier
from ._heads import CosineHead, MLPHead
from ._kernel_neighbors import KernelNeighborsClassifier
from ._log_linear_pool import LogLinearPool
from ._losses import (
    BalancedSoftmaxLoss,
    ClassBalancedLoss,
    EqualizationLoss,
    FocalLoss,
    LDAMLoss,
    LogitAdjustedLoss,
)
from ._multilabel_classifier import MultilabelLongTailClassifier
from ._prior_corrected import PriorCorrectedClassifier
from ._quadratic import ShrunkQuadraticDiscriminant
from ._schedules import EpochSchedule, ValidationSchedule
from ._splits import LongTailShuffleSplit

__all__ = [
    "BalancedSoftmaxLoss",
    "ClassBalancedLoss",
    "CosineHead",
    "EpochSchedule",
    "EqualizationLoss",
    "FocalLoss",
    "KernelNeighborsClassifier",
    "LDAMLoss",
    "LogLinearPool",
    "LogitAdjustedLoss",
    "LongTailClassifier",
    "LongTailShuffleSplit",
    "MLPHead",
    "MultilabelLongTailClassifier",
    "PriorCorrectedClassifier",
    "ShrunkQuadraticDiscriminant",
    "ValidationSchedule",
]
