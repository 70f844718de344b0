"""What anonymizers that draw from a generator have in common."""

import os
from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._generation import (
    check_samples_for,
    draw,
    drawing_seed,
    fit_into,
    unfrozen,
)
from .._label_sets import (
    check_label_sets,
    encode_label_sets,
    is_label_sets,
    read_label_sets,
)
from .._mean_leakage import check_mean_leakage, estimate_mean_leakage, warn_of_leakage
from .._neighbors import check_min_distance, nearest_distances, resolve_min_distance
from .._seeds import draw_seeds
from .._several_labels import SEVERAL_LABELS
from .._validation import forget_fit
from .._warnings import warn_user
from ._base import (
    SUPPRESSED_SENTENCE,
    BaseAnonymizer,
    merge_labels,
    warn_about_single_samples,
)
from ._rare_label_sets import settle_rare_label_sets
from ._release import write_release
from ._streams import BatchesMixin

_FILTER_SENTENCE = (
    "Samples closer than min_distance to a training sample were drawn again. This "
    "filter depends on the data and is no guarantee."
)
_LABELS_SENTENCE = (
    "fit_transform keeps the labels of the training samples, which the guarantee does "
    "not cover. sample(n_samples) draws the labels too, from noisy counts."
)
# Rounds of drawing again for min_distance.
_MAX_ROUNDS = 100


def _has_decoder(anonymizer):
    # Before fit, the generator that is given tells; without one it is a ClassGaussian.
    generator = getattr(anonymizer, "generator", None)
    generator = getattr(anonymizer, "generator_", generator)
    return generator is None or hasattr(generator, "make_decoder")


class BaseGenerativeAnonymizer(BatchesMixin, BaseAnonymizer):
    """Anonymizer that trains a generator, then draws a substitute for each sample.

    A subclass implements `_make_generator`, which returns an unfitted generator, and
    has the parameters `min_distance`, `max_mean_leakage`, `small_classes`,
    `min_class_size`, `memory` and `random_state`.
    """

    _unpickled = (
        *BaseAnonymizer._unpickled,
        "_distance_filter",
        "published_label_sets_",
    )

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train the generator. :meth:`transform` will anonymize nothing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples, at least two.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class of each sample, or its label set of 0 and 1.

        Returns
        -------
        self : object
            The fitted anonymizer.
        """
        self._check_and_fit(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_transform(self, X: ArrayLike, y: ArrayLike) -> NDArray:
        """Train the generator, and return a synthetic sample for each sample of `X`.

        Not the same as ``fit(X, y).transform(X)``, which returns the real samples:
        :meth:`transform` anonymizes nothing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples, at least two.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class of each sample, or its label set of 0 and 1.

        Returns
        -------
        X_synthetic : ndarray of shape (n_samples, n_features)
            Sample i is drawn for the class `y[i]`, independently of sample i of `X`; of
            label sets, for ``published_label_sets_[i]``. Publish these, and not `y`.
            Samples marked in `suppressed_` hold the mean of all others. Drop them.

        Warns
        -----
        UserWarning
            If the class means of the samples tell members to an attacker who knows the
            true means with an expected AUC above 0.75, unless ``max_mean_leakage=1``.
            If label sets were merged.

        Raises
        ------
        ValueError
            If the input is invalid, a class is too small (see `small_classes`), or
            after many draws samples are still closer than `min_distance` to a training
            sample.
        """
        labels = self._check_and_fit(X, y)
        if self.max_mean_leakage < 1:
            warn_of_leakage(getattr(self, "mean_leakage_", None))
        if hasattr(self, "published_label_sets_"):
            self._warn_about_merged(y)
        if not hasattr(self, "suppressed_"):
            return self.sample(y=labels)[0]
        return self._fill_suppressed(self.sample(y=labels[~self.suppressed_])[0])

    def sample(
        self,
        n_samples: int | None = None,
        *,
        y: ArrayLike | None = None,
        variance: ArrayLike | dict | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[Any, NDArray]:
        """Draw synthetic samples, one for each label of `y` or `n_samples` of any.

        Parameters
        ----------
        n_samples : int, default=None
            Number of samples to draw when `y` is not given, with classes drawn from the
            class distribution of the training samples [1]_. None draws as many as there
            were training samples.

        y : array-like of shape (n_samples,), default=None
            Labels to draw a sample for, in this order. Each must be in `classes_` or
            `merged_classes_`; label sets, of shape (n_samples, n_labels), must be in
            `label_sets_`.

        variance : float, dict or array-like of shape (n_classes,), default=None
            Replaces the generator's `variance` in this call. Not for tables.

        random_state : int, RandomState instance or None, default=None
            Seed of this call. None uses the generator's: where that is an integer,
            each call returns the same samples.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Synthetic samples, in the floating-point type of the training samples.
            Tables come in their container and types.

        y : ndarray of shape (n_samples,)
            Their labels.

        Raises
        ------
        ValueError
            If both `n_samples` and `y` are given, `n_samples` is negative, `y` holds an
            unknown class, or `min_distance` or a constraint of a table cannot be kept.

        References
        ----------
        .. [1] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
           datasets by capturing feature distributions with Conditional VAEs",
           BMVC 2024, arXiv 2408.00639, Algorithm 2.
        """
        check_is_fitted(self)
        return self._draw(n_samples, y=y, variance=variance, random_state=random_state)

    def _draw(self, n_samples=None, *, y=None, variance=None, random_state=None):
        """Draw from the generator, for :meth:`sample`."""
        if random_state is None:
            random_state = drawing_seed(self.generator_, self.random_state)
        draw_samples = partial(draw, self.generator_, variance=variance)
        if y is not None and hasattr(self.generator_, "label_sets_"):
            known = self.label_sets_
            y = known[encode_label_sets(y, self.classes_, known)].astype(int)
        known = merge_labels(y, getattr(self, "merged_classes_", {}))
        X, labels = draw_samples(known, n_samples=n_samples, random_state=random_state)
        asked = labels if y is None or labels.ndim == 2 else np.asarray(y)
        if self.min_distance is None:
            return X, asked

        def redraw(y, random_state):
            return draw_samples(y, random_state=random_state)[0]

        seeds = check_random_state(random_state)
        self.n_redrawn_ = self._get_filter().redraw(X, labels, redraw, seeds)
        return X, asked

    def release(
        self,
        path: str | os.PathLike,
        *,
        class_prior: str | ArrayLike = "uniform",
        min_class_size: int = 2,
    ) -> Path:
        """Write the parts that are needed to draw samples to a file to share.

        The file holds the decoder, the class means, the latent prior and the noise as
        safetensors, and a JSON manifest with shapes, checksums, versions and the
        privacy statement. It holds no training sample, no number of samples, no minimum
        or maximum of the data, no encoder, no training history and no code. The model
        can have memorized samples: run :func:`skcvae.privacy.privacy_audit` before you
        share it. :func:`skcvae.anonymization.load` reads the file.

        `min_distance` does not apply to samples drawn from a release, because the file
        does not have the training samples.

        Parameters
        ----------
        path : str or Path
            File to write, ending in ``.safetensors``: whole, or not at all.

        class_prior : {"uniform", "training"} or array-like of shape (n_classes,), \
default="uniform"
            How often each class, or label set of `label_sets_`, is drawn if the
            recipient gives no labels. "training" discloses the class distribution of
            the training samples.

        min_class_size : int, default=2
            Classes and label sets of fewer training samples are left out. The mean of a
            class of one sample is that sample.

        Returns
        -------
        path : Path
            The file.

        Raises
        ------
        ValueError
            If the generator is not a CVAE, a ClassGaussian, a private version of them,
            or a CGAN of images; if its `architecture` is a callable other than a
            ConvBackbone, whose code a file does not hold; if the range of images was
            read from the samples; or if it has ``objective="reference"``, whose scaler
            is the exact minimum and maximum of the data. If its covariance tells the
            samples or their number (see ``covariance_shrinkage`` of
            :class:`~skcvae.generators.ClassGaussian`), or its class means tell members
            with an expected AUC above `max_mean_leakage`.
        """
        check_is_fitted(self)
        self._check_stream(min_class_size)
        return write_release(
            self.generator_, path, class_prior, min_class_size, self.privacy_statement()
        )

    def privacy_statement(self) -> dict[str, Any]:
        """Return what is guaranteed about the training samples.

        Returns
        -------
        statement : dict
            `guarantee` is "no formal guarantee", unless the generator has a statement.
            `class means` is what `mean_leakage_` predicts, rounded up.
            That of a private generator has `epsilon`, `delta` and more, and its
            `guarantee` begins with "no guarantee" if it was fitted with a
            `random_state`, its own or that of the anonymizer.
        """
        check_is_fitted(self)
        if hasattr(self.generator_, "privacy_statement"):
            statement = self.generator_.privacy_statement()
            return {**statement, "labels": _LABELS_SENTENCE}
        statement = {"guarantee": "no formal guarantee"}
        statement["class means"] = self.mean_leakage_.sentence()
        if self.min_distance is not None:
            statement["filter"] = _FILTER_SENTENCE
        if self.suppressed_.any():
            statement["not covered"] = SUPPRESSED_SENTENCE
        return statement

    @available_if(_has_decoder)
    def make_decoder(self, device: str | torch.device | None = None) -> torch.nn.Module:
        """Return the decoder as a differentiable module.

        See :meth:`skcvae.generators.DecoderMixin.make_decoder`.
        """
        check_is_fitted(self)
        return self.generator_.make_decoder(device)

    @property
    def classes_(self) -> NDArray:
        """Labels that the generator learned, sorted."""
        return self.generator_.classes_

    @property
    def label_sets_(self) -> NDArray:
        """Label sets that are drawn, shape (n_sets, n_labels): not for classes."""
        return self.generator_.label_sets_

    @abstractmethod
    def _make_generator(self):
        """Return the unfitted generator."""

    def _check_and_fit(self, X, y):
        """Fit the generator and return the validated labels."""
        forget_fit(self)
        self._distance_filter = None
        check_min_distance(self.min_distance)
        generator = self._make_generator()
        is_private = hasattr(generator, "privacy_statement")
        if self.min_distance is not None and is_private:
            raise ValueError(
                "min_distance compares generated samples with the training samples, "
                "outside of the generator's differential privacy: set it to None."
            )
        if is_label_sets(y):
            X, y, labels = self._check_label_sets(generator, X, y)
            learned = X[~self.suppressed_], y[~self.suppressed_]
            self.suppressed_classes_ = labels[~y.any(axis=0)]
        else:
            X, y = check_samples_for(self, generator, X, y)
            learned = self._settle_small_classes(generator, X, y)
        if not is_private:
            self.mean_leakage_ = estimate_mean_leakage(*learned)
        fit_into(self, generator, *learned, self.memory)
        if y.ndim == 2:
            self.generator_.classes_ = labels
        if self.min_distance is not None:
            self._distance_filter = _DistanceFilter(X, self.min_distance)
        # What is kept of samples beside a private generator would tell of them.
        self._remember(X[:0] if is_private else X)
        return y

    def _check_label_sets(self, generator, X, y):
        """Return samples, the label sets to learn and publish, and names of labels."""
        if not hasattr(unfrozen(generator), "_for_label_sets"):
            raise ValueError(SEVERAL_LABELS)
        if isinstance(generator, FrozenEstimator):
            raise ValueError(
                "A frozen generator has learned its label sets, and rare ones cannot "
                "be merged or suppressed any more: pass it without FrozenEstimator."
            )
        X, sets, labels = check_label_sets(self, X, y)
        sets, self.suppressed_ = settle_rare_label_sets(
            X, sets, self.small_classes, self.min_class_size
        )
        self.merged_classes_, self.published_label_sets_ = {}, sets.astype(int)
        return X, sets, labels

    def _warn_about_merged(self, y):
        """Warn where the label sets to publish are not those of the samples."""
        changed = self.published_label_sets_ != read_label_sets(y)[0]
        n_merged = int((changed.any(axis=1) & ~self.suppressed_).sum())
        if n_merged:
            warn_user(
                f"{n_merged} of {len(changed)} samples had rare label sets, and are "
                "drawn for subsets of these. Publish published_label_sets_ of the "
                "anonymizer, and not y, which holds the rare ones."
            )

    def _settle_small_classes(self, generator, X, y):
        """Return the samples and labels that the generator learns from."""
        if hasattr(generator, "privacy_statement"):
            return X, y
        if self.small_classes == "allow":
            warn_about_single_samples(y)
        classes, codes = np.unique(y, return_inverse=True)
        placed = self._place_small_classes(X, codes, classes)
        self.suppressed_ = placed < 0
        moved = (placed != codes) & ~self.suppressed_
        self.merged_classes_ = dict(
            zip(y[moved].tolist(), classes[placed[moved]].tolist(), strict=True)
        )
        if (placed == codes).all():
            return X, y
        if isinstance(generator, FrozenEstimator):
            raise ValueError(
                "A frozen generator has learned its classes, and small ones cannot be "
                "merged or suppressed any more: fit it to other classes, or set "
                "small_classes='allow'."
            )
        return X[~self.suppressed_], classes[placed[~self.suppressed_]]

    def _check_stream(self, min_class_size=1):
        """Refuse a decoder or a stream whose class means tell members too well."""
        leakage = getattr(self, "mean_leakage_", None)
        check_mean_leakage(
            leakage, self.max_mean_leakage, min_class_size=min_class_size
        )

    def _get_filter(self):
        found = getattr(self, "_distance_filter", None)
        if found is None:
            raise ValueError(
                "min_distance needs the training samples, which are not pickled: fit "
                "again in this process, or set min_distance to None."
            )
        return found

    def __sklearn_is_fitted__(self):
        return hasattr(self, "generator_")


class _DistanceFilter:
    """Draws samples again that are closer than `min_distance` to a training sample."""

    def __init__(self, X, min_distance):
        self._training = X
        self._distance = resolve_min_distance(X, min_distance)

    def redraw(self, X, y, sample, random_state):
        """Replace samples of `X` that are too close, and return how many were drawn.

        `sample` takes `y` and `random_state`, and returns a sample for each label.
        """
        n_redrawn, close = 0, np.arange(len(X))
        for _ in range(_MAX_ROUNDS):
            if len(close):
                nearest = nearest_distances(X[close], self._training)
                close = close[nearest < self._distance]
            if not len(close):
                return n_redrawn
            n_redrawn += len(close)
            seed = draw_seeds(random_state, 1)[0]
            X[close] = sample(y=y[close], random_state=seed)
        named = ""
        if y.ndim == 1:
            named = f", of the classes {np.unique(y[close])[:5].tolist()}"
        raise ValueError(
            f"{len(close)} of {len(X)} samples were still closer than "
            f"{self._distance:.4g} to a training sample after {_MAX_ROUNDS} draws"
            f"{named}. Lower min_distance, or raise variance."
        )
