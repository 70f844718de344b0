"""Generators: estimators that learn p(x | y) and draw rows for any label."""

from ._base import BaseGenerator
from ._cgan import CGAN
from ._class_gaussian import ClassGaussian
from ._cvae import CVAE
from ._dp_cvae import DPCVAE
from ._dp_gaussian import DPClassGaussian
from ._flow_matching import FlowMatching
from ._vae import VAE

__all__ = [
    "CGAN",
    "CVAE",
    "DPCVAE",
    "VAE",
    "BaseGenerator",
    "ClassGaussian",
    "DPClassGaussian",
    "FlowMatching",
]
