"""Generators of tables with numbers, dates and categories."""

from ._generator import TableGenerator

__all__ = ["TableGenerator"]
