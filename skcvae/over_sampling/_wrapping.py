"""What samplers do with estimators inside of them: check, seed, fit and draw."""

from abc import ABC, abstractmethod
from collections import Counter
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import assert_all_finite, check_random_state

from .._generation import (
    check_frozen,
    drawing_seed,
    seed_all,
    seed_inner,
    unfrozen,
)
from .._seeds import draw_seeds
from ._base import BaseGenerativeOverSampler


def check_sampler(sampler, owner, name="sampler"):
    """Refuse what is no over-sampler, or sets the number of samples itself."""
    needed = {"sampling_strategy", "random_state"}
    of_instance = not isinstance(sampler, type) and hasattr(sampler, "get_params")
    params = sampler.get_params(deep=False) if of_instance else {}
    if not hasattr(sampler, "fit_resample") or not needed <= set(params):
        raise TypeError(
            f"The {name} of {owner} must be an over-sampler instance with the method "
            "fit_resample and the parameters sampling_strategy and random_state, got "
            f"{sampler!r}."
        )
    strategy = params["sampling_strategy"]
    if not isinstance(strategy, str) or strategy != "auto":
        raise ValueError(
            f"Set sampling_strategy on {owner}, which tells its {name} how many "
            f"samples to draw: there it must stay 'auto', got {strategy!r}."
        )


def fit_classifier(classifier, X, y, random_state):
    """Return a clone of a classifier, fitted, or a frozen one or a module as it is.

    `random_state` seeds a classifier that has no integer of its own. Raise ValueError
    if a frozen classifier was fitted to other features, or lacks a class of `y`.
    """
    from torch import nn

    if isinstance(classifier, nn.Module):
        return classifier
    if isinstance(classifier, FrozenEstimator):
        check_frozen(unfrozen(classifier), X, y)
        return classifier
    classifier = clone(classifier)
    has_seed = "random_state" in classifier.get_params(deep=False)
    # An estimator with a seed hands it to its parts; a pipeline has none.
    return (seed_inner if has_seed else seed_all)(classifier, random_state).fit(X, y)


def make_source(sampler, X, y, random_state=None):
    """Return what draws samples of a copy of a sampler, trained once if it is trained.

    Types of `X` that hold no fractions are widened. `random_state` seeds a sampler that
    has no integer of its own.
    """
    sampler = seed_inner(clone(sampler), random_state)
    X = X.astype(np.result_type(X.dtype, np.float32), copy=False)
    if isinstance(sampler, BaseGenerativeOverSampler):
        return _GeneratorSource(sampler, X, y)
    return _ResamplingSource(sampler, X, y)


class _Source(ABC):
    """Draws samples; `generator` is the fitted generator of `sampler`, or None.

    A subclass implements `_draw`, which returns samples and their labels.
    """

    generator = None

    def __init__(self, sampler, X, y):
        self.sampler, self._X, self._y = sampler, X, y

    def draw(self, counts):
        """Return new samples by label: as many as `counts` asks for, or fewer.

        Each call draws with another seed.
        """
        samples, labels = self._draw(counts)
        name = type(self.sampler).__name__
        if samples.shape[1:] != self._X.shape[1:]:
            raise ValueError(
                f"{name} drew samples of shape {samples.shape[1:]}, and the training "
                f"samples have {self._X.shape[1:]}."
            )
        assert_all_finite(samples, estimator_name=name, input_name="drawn samples")
        order = np.argsort(labels, kind="stable")
        classes, starts = np.unique(labels[order], return_index=True)
        groups = np.split(samples[order], starts[1:])
        found = dict(zip(classes.tolist(), groups, strict=False))
        return {c: found.get(c, samples[:0])[:n] for c, n in counts.items()}

    @abstractmethod
    def _draw(self, counts):
        """Return samples of shape (n, n_features), and the label of each."""


class _GeneratorSource(_Source):
    """Trains the generator of a sampler once, and draws from it."""

    def __init__(self, sampler, X, y):
        super().__init__(sampler.fit(X, y), X, y)
        self.generator = sampler.generator_
        self._seeds = check_random_state(
            drawing_seed(self.generator, sampler.random_state)
        )

    def _draw(self, counts):
        labels = np.array(list(counts), dtype=self._y.dtype)
        labels = np.repeat(labels, list(counts.values()))
        seed = draw_seeds(self._seeds, 1)[0]
        return self.sampler._draw_fitted(self._X, self._y, labels, seed)


class _ResamplingSource(_Source):
    """Calls `fit_resample` each time, with larger classes as its strategy."""

    def __init__(self, sampler, X, y):
        super().__init__(sampler, X, y)
        _check_frozen_seeds(sampler)
        self._n_real = Counter(y.tolist())
        self._seeds = {
            name: check_random_state(seed) for name, seed in _own_seeds(sampler)
        }

    def _draw(self, counts):
        sizes = {label: self._n_real[label] + n for label, n in counts.items()}
        seeds = {name: draw_seeds(rng, 1)[0] for name, rng in self._seeds.items()}
        sampler = clone(self.sampler).set_params(sampling_strategy=sizes, **seeds)
        samples, labels = sampler.fit_resample(self._X, self._y)
        n_real = len(self._X)
        if np.shape(labels) != (len(samples),):
            raise ValueError(
                f"{type(sampler).__name__} must return one hard label for each sample, "
                f"got labels of shape {np.shape(labels)} for {len(samples)} samples."
            )
        if not (
            np.array_equal(samples[:n_real], self._X)
            and np.array_equal(labels[:n_real], self._y)
        ):
            raise ValueError(
                f"{type(sampler).__name__} must return the training samples first and "
                "unchanged: only over-samplers can be used here."
            )
        self.sampler = sampler
        return samples[n_real:], labels[n_real:]


def _check_frozen_seeds(sampler):
    """Refuse frozen generators inside that would draw the same in each call."""
    for name, part in sampler.get_params().items():
        own = getattr(unfrozen(part), "random_state", None)
        is_frozen = isinstance(part, FrozenEstimator) and hasattr(part, "sample")
        if is_frozen and isinstance(own, Integral):
            raise ValueError(
                f"The frozen generator {name!r} of {type(sampler).__name__} has "
                f"random_state={own}, with which each call draws the same samples. Set "
                "it to None on the generator before you freeze it."
            )


def _own_seeds(sampler):
    """Yield the seed of a sampler, and integers of samplers and generators inside.

    Each starts a stream: with the integer itself, each call would draw the same.
    """
    params = sampler.get_params()
    yield "random_state", params["random_state"]
    for name, seed in params.items():
        part, _, key = name.rpartition("__")
        draws = hasattr(params.get(part), "fit_resample") or hasattr(
            params.get(part), "sample"
        )
        if draws and key == "random_state" and isinstance(seed, Integral):
            yield name, seed
