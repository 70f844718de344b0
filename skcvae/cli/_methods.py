"""Methods for long tails by name: what `compare`, `resample` and `train` offer."""

from typing import Any

import numpy as np
from imblearn.over_sampling import ADASYN, SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..generators import ClassGaussian
from ..long_tail import KernelNeighborsClassifier, LogLinearPool, LongTailClassifier
from ..over_sampling import CVAEOverSampler, GenerativeOverSampler, RemixSampler


def make_classifier(
    name: str, smallest: int, seed: int, device: str = "auto", **options: Any
) -> BaseEstimator:
    """Return an unfitted classifier, for a key of `CLASSIFIERS`.

    `smallest` is the number of training samples of the smallest class. Raise ValueError
    if SMOTE cannot work with it.
    """
    if name == "long-tail":
        return _long_tail(device).set_params(random_state=seed)
    if name == "pool":
        members = [
            ("classifier", _long_tail(device)),
            ("neighbors", KernelNeighborsClassifier()),
        ]
        return LogLinearPool(members, random_state=seed)
    weight = "balanced" if name == "class-weights" else None
    scaler = StandardScaler()
    head = LogisticRegression(C=0.1, class_weight=weight, max_iter=1000)
    if name in ("none", "class-weights"):
        return make_pipeline(scaler, head)
    sampler = make_sampler(name, smallest, seed, device, **options)
    return make_sampling_pipeline(scaler, sampler, head)


def make_sampler(
    name: str, smallest: int, seed: int | None, device: str = "auto", **options: Any
) -> BaseEstimator:
    """Return an unfitted over-sampler; options are those of the CVAE or Gaussian.

    `smallest` is as in `make_classifier`.
    """
    if name in ("smote", "adasyn"):
        if smallest < 2:
            raise ValueError(
                f"{name} interpolates between samples of a class, and a class has one "
                "sample only. Take the method gaussian, cvae, remix or random."
            )
        n_neighbors = min(5, smallest - 1)
        if name == "smote":
            return SMOTE(k_neighbors=n_neighbors, random_state=seed)
        return ADASYN(n_neighbors=n_neighbors, random_state=seed)
    if name == "gaussian":
        return GenerativeOverSampler(ClassGaussian(**options), random_state=seed)
    if name == "cvae":
        return CVAEOverSampler(**options, device=device, random_state=seed)
    if name == "remix":
        return RemixSampler(random_state=seed)
    return RandomOverSampler(random_state=seed)


def smallest_class(y: np.ndarray) -> int:
    """Return the number of samples of the smallest class; refuse no samples."""
    if not len(y):
        raise ValueError("The database holds no training samples.")
    return int(np.unique(y, return_counts=True)[1].min())


def code_of(estimator: BaseEstimator) -> tuple[list[str], str]:
    """Return Python code for an unfitted estimator: its imports, and an expression."""
    parts = [estimator, *estimator.get_params().values()]
    # The module of a class without its private parts.
    imports = {
        f"from {type(part).__module__.partition('._')[0]} import {type(part).__name__}"
        for part in parts
        if isinstance(part, BaseEstimator)
    }
    return sorted(imports), estimator.__repr__(N_CHAR_MAX=10**9)


def _long_tail(device):
    # `skcvae predict` trusts the few types of the closed form.
    return LongTailClassifier(solver="closed_form", device=device)
