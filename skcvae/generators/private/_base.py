"""What the differentially private generators share."""

import copy
from numbers import Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from ..._training import draw_seeds
from ..._validation import check_labels, check_variance, encode_labels
from ..._warnings import warn_user
from .._base import BaseGenerator
from .._decoder import DecoderMixin

_OUTSIDE = (
    "Other rows of the same person: the guarantee is for one row.",
    "The choice of hyper-parameters, if it was made by looking at these rows.",
    "The number, the names and the floating-point type of the features.",
    "The time that fitting takes.",
    "The random number generators: they are not cryptographic, and attacks on the "
    "rounding of noise are not excluded.",
)


class BasePrivateGenerator(DecoderMixin, BaseGenerator):
    """Base class of the differentially private generators.

    Rows reach a subclass unscaled: scale, centre and counts are noisy statistics.
    """

    _parameter_constraints: dict = {
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "delta": [Interval(Real, 0, 1, closed="neither")],
        "classes": ["array-like", None],
        "row_norm": [Interval(Real, 0, None, closed="neither"), None],
        "center": [Interval(Real, None, None, closed="neither"), "array-like", None],
        "variance": [Interval(Real, 0, None, closed="left"), dict, "array-like"],
        "random_state": ["random_state"],
    }

    def privacy_statement(self):
        """Return what is guaranteed about the training rows, and what is not.

        Returns
        -------
        statement : dict
            `guarantee`, and the entries of `privacy_`.
        """
        self._check_ready()
        return {
            "guarantee": "(epsilon, delta)-differential privacy",
            **copy.deepcopy(self.privacy_),
        }

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
                "classes=None takes the labels that y holds: that a class occurs at "
                "all is then outside of the guarantee. Give the list of classes, from "
                "public knowledge.",
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
        """Return the centre that was given, shape (n_features,), or None."""
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
        """Return the source of all noise: from the system, where no seed is given."""
        if self.random_state is None:
            return np.random.SeedSequence()
        return np.random.SeedSequence(
            draw_seeds(check_random_state(self.random_state), 1)[0]
        )

    def _remember(self, private, means, scale):
        """Set the fitted attributes that sampling needs, none of them exact."""
        self.offset_ = private.centre
        self.scale_ = np.full(len(private.centre), scale)
        self.class_means_ = means / scale
        self.row_norm_ = private.row_norm
        counts = np.rint(private.counts).astype(np.int64)
        self.class_count_ = counts if counts.any() else np.ones_like(counts)

    def _describe_privacy(self, **entries):
        """Return the entries of `privacy_`, with what the guarantee does not cover."""
        outside = list(_OUTSIDE)
        if self.classes is None:
            outside.append("The set of labels: it was read from y.")
        for name in ("center", "row_norm"):
            if getattr(self, name) is not None:
                outside.append(f"{name}, as it was given: it must not come from X.")
        if self.random_state is not None:
            outside.append(
                "random_state: it was given, and who knows or guesses it can subtract "
                "the noise. For a release, leave it at None."
            )
        return {
            **entries,
            "delta": float(self.delta),
            "unit": "record",
            "adjacency": "add/remove",
            "outside": outside,
        }
