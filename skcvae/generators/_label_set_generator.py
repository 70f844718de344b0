"""Generators that learn p(x | labels) for several labels of each sample."""

import copy

import numpy as np

from .._drawing import draw_codes
from .._label_sets import (
    check_label_sets,
    check_new_label_sets,
    find_label_sets,
    is_label_sets,
    unique_label_sets,
)
from .._warnings import warn_user
from ._decoder import require_labels
from ._label_effects import LabelEffects, fit_label_effects


class LabelSetMixin:
    """Mixin of generators whose `fit` also takes label sets, (n_samples, n_labels).

    Each distinct label set of the training samples is a class code. `label_sets_` holds
    them, and `classes_` the names of the labels. Samples are drawn from a view: a copy
    whose codes are the sets that are asked for, and whose classes are their numbers.
    """

    #: Of a view: the variance of the error of each mean.
    _leverage = None

    def _check_fit(self, X, y):
        if not is_label_sets(y):
            return super()._check_fit(X, y)
        X, sets, self.classes_ = check_label_sets(self, X, y)
        return X, sets

    def _encode(self, y):
        if y.ndim == 1:
            return super()._encode(y)
        self._check_label_set_parameters()
        names = getattr(self, "classes_", np.arange(y.shape[1]))
        if not y.any():
            raise ValueError("No sample of y has a label: y holds zeros only.")
        without = int((~y.any(axis=0)).sum())
        if without:
            warn_user(
                f"{without} of {y.shape[1]} labels have no training sample. A "
                "sample of such a label is drawn as if it had not got it."
            )
        self.label_sets_, codes = unique_label_sets(y)
        return names, codes

    def _check_label_set_parameters(self):
        """Refuse parameters that are for classes only."""
        _check_one_variance(self.variance)

    def _read_validation(self, X, y):
        """Return validation samples whose codes are those of the training's sets."""
        if not hasattr(self, "label_sets_"):
            return super()._read_validation(X, y)
        sets = check_new_label_sets(y, self.classes_)
        codes = find_label_sets(sets, self.label_sets_)
        if (codes < 0).any():
            raise ValueError(
                f"{(codes < 0).sum()} of {len(codes)} validation samples have label "
                "sets that no training sample has: leave them out."
            )
        view = self._with_codes(len(self.label_sets_))
        return view._read_validation(X, codes)

    def _fit_effects(self, Z, codes, *how):
        """Return the `ClassMeans` of the label sets, and keep the labels' effects."""
        means, effects = fit_label_effects(Z, self.label_sets_, codes, *how)
        self.intercept_, self.label_effects_ = effects.intercept, effects.effects
        self._label_inverse, self._label_centre = effects.inverse, effects.centre
        self._label_base = effects.base
        return means

    def _effects(self):
        return LabelEffects(
            self.intercept_,
            self.label_effects_,
            self._label_inverse,
            self._label_centre,
            self._label_base,
        )

    def _of_codes(self):
        if not hasattr(self, "label_sets_"):
            return self
        return self._for_label_sets(self.label_sets_)

    def _with_codes(self, n_sets):
        """Return a copy whose classes are the numbers of label sets."""
        view = copy.copy(self)
        view.classes_ = np.arange(n_sets)
        del view.label_sets_
        return view

    def _for_label_sets(self, sets):
        """Return a copy that draws by class codes: the positions of distinct sets."""
        effects, known = self._effects(), find_label_sets(sets, self.label_sets_)
        view = self._with_codes(len(sets))
        means = effects.means(sets)
        means[known >= 0] = self.class_means_[known[known >= 0]]
        view.class_means_ = means
        view.class_count_ = np.where(known >= 0, self.class_count_[known], 0)
        view._leverage = effects.leverage(sets)
        return view

    def _view(self, Y):
        """Return a view of label sets, and the code of each sample in it."""
        require_labels(Y)
        sets, codes = unique_label_sets(check_new_label_sets(Y, self.classes_))
        return self._for_label_sets(sets), codes

    def _resolve_labels(self, n_samples, y, seed):
        if not hasattr(self, "label_sets_"):
            return super()._resolve_labels(n_samples, y, seed)
        if y is None:
            codes = draw_codes(
                n_samples,
                None,
                seed,
                np.arange(len(self.label_sets_)),
                self._class_weights(),
                self._default_n_samples,
            )
            view, sets = self._of_codes(), self.label_sets_
            return view, codes, sets[codes].astype(int)
        if n_samples is not None:
            raise ValueError("Give either n_samples or y, not both.")
        view, codes = self._view(y)
        sets = check_new_label_sets(y, self.classes_)
        new = find_label_sets(sets, self.label_sets_) < 0
        if new.any():
            n_new, n_sets = len(np.unique(codes[new])), len(np.unique(codes))
            warn_user(
                f"{n_new} of {n_sets} label sets are not among the "
                "training samples: their means are sums of the effects of their labels."
            )
        return view, codes, sets.astype(int)

    def make_decoder(self, device=None):
        """Return the decoder; with label sets, its codes are those of `label_sets_`."""
        if not hasattr(self, "label_sets_"):
            return super().make_decoder(device)
        return self._of_codes().make_decoder(device)

    def decode(self, z, y, **params):
        """Decode latent vectors of labels or label sets, without observation noise."""
        if not hasattr(self, "label_sets_"):
            return super().decode(z, y, **params)
        view, codes = self._view(y)
        return view.decode(z, codes, **params)

    def make_stream(self, classes, device, *, variance=None):
        """Return a function that draws on a device: see :meth:`sample`.

        `classes` has the shape (n_classes,), or (n_sets, n_labels) for label sets.
        """
        if not hasattr(self, "label_sets_"):
            return super().make_stream(classes, device, variance=variance)
        view, codes = self._view(classes)
        return view.make_stream(codes, device, variance=variance)

    def _resolve_variance(self, variance=None):
        if self._leverage is not None:
            _check_one_variance(self.variance if variance is None else variance)
        return super()._resolve_variance(variance)

    def _auto_variance(self):
        if self._leverage is None:
            return super()._auto_variance()
        return 1 + self._leverage


def _check_one_variance(variance):
    """Refuse variances of classes: label sets have no order that a user knows."""
    if not np.isscalar(variance):
        raise ValueError(
            "With several labels for each sample, variance must be one number, or "
            f"'auto', got {variance!r}."
        )
