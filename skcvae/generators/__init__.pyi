from ._base import BaseGenerator
from ._callbacks import InputNoise, KLAnnealing, early_stopping
from ._cgan import CGAN
from ._check import check_generator
from ._class_gaussian import ClassGaussian
from ._conv_backbone import ConvBackbone
from ._cvae import CVAE
from ._decoder import DecoderMixin
from ._density import DensityGenerator
from ._flow_matching import FlowMatching
from ._latent_decoder import LatentDecoder
from ._moments import ClassMoments
from ._vae import VAE
from .private import DPCVAE, DPClassGaussian
from .table import TableGenerator

__all__ = [
    "CGAN",
    "CVAE",
    "DPCVAE",
    "VAE",
    "BaseGenerator",
    "ClassGaussian",
    "ClassMoments",
    "ConvBackbone",
    "DPClassGaussian",
    "DecoderMixin",
    "DensityGenerator",
    "FlowMatching",
    "InputNoise",
    "KLAnnealing",
    "LatentDecoder",
    "TableGenerator",
    "check_generator",
    "early_stopping",
]
