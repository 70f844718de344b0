"""Base class of the differentially private generators."""

import copy
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from ..._seeds import draw_seeds
from ..._validation import (
    check_labels,
    check_private_samples,
    check_variance,
    find_codes,
    fitting,
)
from ..._warnings import warn_user
from .._base import BaseGenerator
from .._decoder import DecoderMixin
from ._noise import SystemNoise
from ._statistics import (
    NoiseLedger,
    private_shares,
    residual_bound,
    shrink_noisy_means,
    sum_classes,
)

_GUARANTEE = "(epsilon, delta)-differential privacy"
_NO_GUARANTEE = (
    "no guarantee: fit had a random_state, its own or one of a wrapper, from which the "
    "noise can be computed"
)
_OUTSIDE = (
    "Other samples of the same person: the guarantee is for one sample.",
    "The choice of hyper-parameters, if these samples were used to make it.",
    "The number, the names and the types of the features, and the types of X and y.",
    "The time and the memory that fitting takes, and a lack of memory.",
    "Rounding: the proof is for real numbers, and sums of samples are rounded.",
)
# Squares of values up to this one, and sums of many squares, are finite.
_LARGEST_VALUE = 2.0**100


class BasePrivateGenerator(DecoderMixin, BaseGenerator):
    """Base class of the differentially private generators.

    Samples reach a subclass unscaled: scale, centre and counts are noisy statistics.
    """

    _parameter_constraints: dict = {
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "delta": [Interval(Real, 0, 1, closed="neither")],
        "classes": ["array-like", None],
        "data_norm": [Interval(Real, 0, None, closed="neither"), None],
        "center": [Interval(Real, None, None, closed="neither"), "array-like", None],
        "variance": [Interval(Real, 0, None, closed="left"), dict, "array-like"],
        "random_state": ["random_state"],
    }

    def privacy_statement(self) -> dict[str, Any]:
        """Return what is guaranteed about the training samples, and what is not.

        Returns
        -------
        statement : dict
            A copy of `privacy_`. Its `guarantee` begins with "no guarantee" if
            :meth:`fit` had a `random_state`, also one that a wrapper had passed on;
            `epsilon` and `delta` then say what an unseeded fit would have guaranteed.
        """
        self._check_ready()
        return copy.deepcopy(self.privacy_)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        r"""Learn the distribution of the samples of each class, with noise.

        With `classes`, no value of a sample and no label raises an error or a warning,
        because that would disclose it: look for faulty samples before.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples. Values that are not finite count as 0, and values beyond
            :math:`\pm 2^{100}` as that limit.

        y : array-like of shape (n_samples,)
            Class of each sample. Samples whose label is not in `classes` are left out.

        Returns
        -------
        self : object
            The fitted generator.

        Raises
        ------
        ValueError
            If `X` is not two-dimensional or holds no numbers, or `y` has not one label
            for each sample; without `classes`, also if `X` is empty or `y` holds what
            are no classes.
        """
        with fitting(self):
            self._learn(*check_private_samples(self, X, y, self.classes))
        return self

    fit.for_checked_samples = BaseGenerator._fit_checked

    def _learn(self, X, y):
        """Bound all values, leave out samples of other classes, and learn."""
        classes = self._resolve_classes(y)
        check_variance(self.variance, classes)
        self.classes_ = classes
        self._output_dtype = X.dtype
        # NumPy may have been told to raise where numbers overflow or underflow.
        with np.errstate(all="ignore"):
            codes = find_codes(y, classes)
            listed = codes >= 0
            X = np.nan_to_num(X[listed].astype(np.float64), posinf=0, neginf=0)
            X = X.clip(-_LARGEST_VALUE, _LARGEST_VALUE)
            self._fit(X, codes[listed], self._make_seeds())

    def _resolve_classes(self, y):
        """Return the sorted labels, those given or those found."""
        if self.classes is None:
            warn_user(
                "classes=None takes the labels from y, so that the guarantee does not "
                "cover whether a class occurs. Give the list of classes, from public "
                "knowledge.",
            )
            return np.unique(y)
        classes = np.asarray(self.classes)
        check_labels(classes)
        if classes.ndim != 1 or not 0 < classes.size == len(set(classes.tolist())):
            raise ValueError("classes must be a list of different labels.")
        return np.unique(classes)

    def _resolve_center(self, n_features):
        """Return the given centre, shape (n_features,), or None."""
        if self.center is None:
            return None
        center = np.asarray(self.center, dtype=float)
        if center.ndim and center.shape != (n_features,):
            raise ValueError(
                f"center must be a number or {n_features} numbers, one for each "
                f"feature, got shape {center.shape}."
            )
        if not np.isfinite(center).all():
            raise ValueError("center must be finite.")
        return np.broadcast_to(center, n_features)

    def _make_seeds(self):
        """Return the source of all seeds, a secret one where there is no seed."""
        if self.random_state is None:
            return np.random.SeedSequence()
        return np.random.SeedSequence(
            draw_seeds(check_random_state(self.random_state), 1)[0]
        )

    def _make_noise(self, seed):
        """Return the source of noise: the operating system, if there is no seed."""
        if self.random_state is None:
            return SystemNoise()
        return np.random.default_rng(seed)

    def _read_class_means(self, X, codes, mu, shares, seed):
        """Compute the noisy statistics that both generators begin with.

        Return the ledger, the `PrivateSums`, the exact residuals around noisy class
        means, and the noisy norm to clip them to.
        """
        n_classes, n_features = len(self.classes_), X.shape[1]
        center = self._resolve_center(n_features)
        shares = private_shares(shares, self.center, self.data_norm)
        ledger = NoiseLedger(mu, shares, self._make_noise(seed))
        private = sum_classes(X, codes, n_classes, ledger, center, self.data_norm)
        isotropic = np.eye(n_features) * (private.data_norm**2 / n_features)
        means, _ = shrink_noisy_means(private, isotropic)
        residuals = X - private.centre - means[codes]
        bound = residual_bound(residuals, ledger, private.data_norm)
        return ledger, private, residuals, bound

    def _remember(self, private, means, scale):
        """Set the fitted attributes that sampling needs; all of them are noisy."""
        self.offset_ = private.centre
        self.scale_ = np.full(len(private.centre), scale)
        self.class_means_ = means / scale
        self.data_norm_ = private.data_norm
        counts = np.rint(private.counts).astype(np.int64)
        self.class_count_ = counts if counts.any() else np.ones_like(counts)

    def _describe_privacy(self, **entries):
        """Return the entries of `privacy_`, with what the guarantee does not cover."""
        outside = list(_OUTSIDE)
        if self.classes is None:
            outside.append("The set of labels: it was read from y.")
        for name in ("center", "data_norm"):
            if getattr(self, name) is not None:
                outside.append(f"{name}, as it was given: it must not come from X.")
        if self.random_state is not None:
            outside.append(
                "random_state: it was given, and whoever knows or guesses it can "
                "subtract the noise. For a release, leave it at None."
            )
        return {
            "guarantee": _GUARANTEE if self.random_state is None else _NO_GUARANTEE,
            **entries,
            "delta": float(self.delta),
            "unit": "record",
            "adjacency": "add/remove",
            "outside": outside,
        }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
