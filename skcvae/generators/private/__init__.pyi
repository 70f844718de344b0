from ._cvae import DPCVAE
from ._gaussian import DPClassGaussian

__all__ = ["DPCVAE", "DPClassGaussian"]
