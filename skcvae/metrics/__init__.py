"""Metrics: plain functions of arrays, and a scorer for model selection."""

from ._calibration import expected_calibration_error
from ._long_tail import make_shot_scorer, shot_accuracy_score

__all__ = ["expected_calibration_error", "make_shot_scorer", "shot_accuracy_score"]
