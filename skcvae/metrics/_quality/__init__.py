"""Fidelity, diversity and generalization of synthetic rows."""
