"""Over-samplers that fill classes with generated or mixed rows."""

from ._cvae import CVAEOverSampler
from ._generative import GenerativeOverSampler
from ._remix import RemixSampler

__all__ = ["CVAEOverSampler", "GenerativeOverSampler", "RemixSampler"]
