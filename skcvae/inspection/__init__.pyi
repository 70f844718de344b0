from ._class_counts import ClassCountDisplay
from ._class_curves import ClassCoverageDisplay, SphereRadiusDisplay
from ._distances import NearestNeighborDistanceDisplay
from ._frechet import FrechetVarianceDisplay
from ._history import TrainingHistoryDisplay
from ._images import ImageGridDisplay, InterpolationDisplay
from ._latent import LatentSpaceDisplay
from ._membership import MembershipROCDisplay
from ._nearest_images import NearestImagesDisplay
from ._projection import ProjectionDisplay
from ._regularization import RegularizationPathDisplay
from ._reliability import ReliabilityDisplay
from ._shots import ShotAccuracyDisplay

__all__ = [
    "ClassCountDisplay",
    "ClassCoverageDisplay",
    "FrechetVarianceDisplay",
    "ImageGridDisplay",
    "InterpolationDisplay",
    "LatentSpaceDisplay",
    "MembershipROCDisplay",
    "NearestImagesDisplay",
    "NearestNeighborDistanceDisplay",
    "ProjectionDisplay",
    "RegularizationPathDisplay",
    "ReliabilityDisplay",
    "ShotAccuracyDisplay",
    "SphereRadiusDisplay",
    "TrainingHistoryDisplay",
]
