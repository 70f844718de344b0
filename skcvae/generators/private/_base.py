"""Base class of the differentially private generators."""

import copy
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from ..._training import draw_seeds
from ..._validation import check_labels, check_variance, encode_labels
from ..._warnings import warn_user
from .._base import BaseGenerator
from .._decoder import DecoderMixin
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
    "The number, the names and the floating-point type of the features.",
    "The time that fitting takes.",
    "The random number generators: they are not cryptographic, and attacks on the "
    "rounding of noise are not excluded.",
)


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

    def _learn(self, X, y):
        classes = self._resolve_classes(y)
        check_variance(self.variance, classes)
        self.classes_ = classes
        self._output_dtype = X.dtype
        self._fit(X.astype(np.float64), encode_labels(y, classes), self._make_seeds())

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
        if classes.ndim != 1 or len(set(classes.tolist())) != classes.size:
            raise ValueError("classes must be a list of different labels.")
        unknown = sorted(set(y.tolist()) - set(classes.tolist()), key=str)
        if unknown:
            raise ValueError(f"y contains labels that classes lacks: {unknown[:5]}.")
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
        """Return the source of all noise: the operating system, if there is no seed."""
        if self.random_state is None:
            return np.random.SeedSequence()
        return np.random.SeedSequence(
            draw_seeds(check_random_state(self.random_state), 1)[0]
        )

    def _read_class_means(self, X, codes, mu, shares, seed):
        """Compute the noisy statistics that both generators begin with.

        Return the ledger, the `PrivateSums`, the exact residuals around noisy class
        means, and the noisy norm to clip them to.
        """
        n_classes, n_features = len(self.classes_), X.shape[1]
        center = self._resolve_center(n_features)
        shares = private_shares(shares, self.center, self.data_norm)
        ledger = NoiseLedger(mu, shares, np.random.default_rng(seed))
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
