"""Displays of the training of generators, of their samples, and of classifiers.

As in scikit-learn, a class method `from_estimator`, `from_data` or `from_predictions`
computes and draws. The attributes hold what was drawn, and `plot` draws it again.
Displays need matplotlib: ``pip install "skcvae[plot]"``.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
