"""Head-tail fusion: activation maps tell which parts of a head sample to keep."""

from ._head_tail_fusion import HeadTailFusionSampler

__all__ = ["HeadTailFusionSampler"]
