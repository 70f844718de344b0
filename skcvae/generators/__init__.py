"""Generators: estimators that learn p(x | y) and draw rows for any label."""

from ._base import BaseGenerator
from ._class_gaussian import ClassGaussian
from ._cvae import CVAE

__all__ = ["CVAE", "BaseGenerator", "ClassGaussian"]
