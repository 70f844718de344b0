"""Metrics of quality, long tails, calibration and utility: functions of arrays."""

from .._lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
