"""Generators: estimators that learn p(x | y) and draw rows for any label."""

from ._base import BaseGenerator
from ._class_gaussian import ClassGaussian
from ._cvae import CVAE
from ._dp_cvae import DPCVAE
from ._dp_gaussian import DPClassGaussian
from ._flow_matching import FlowMatching

__all__ = [
    "CVAE",
    "DPCVAE",
    "BaseGenerator",
    "ClassGaussian",
    "DPClassGaussian",
    "FlowMatching",
]
