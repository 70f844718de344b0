"""Over-samplers that fill classes with generated rows."""

from ._cvae import CVAEOverSampler
from ._generative import GenerativeOverSampler

__all__ = ["CVAEOverSampler", "GenerativeOverSampler"]
