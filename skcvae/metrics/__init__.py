"""Metrics of quality, long tails, calibration and utility: functions of arrays."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
