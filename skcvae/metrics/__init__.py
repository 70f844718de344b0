"""Metrics: plain functions of arrays."""

from ._long_tail import shot_accuracy_score

__all__ = ["shot_accuracy_score"]
