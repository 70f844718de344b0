"""Densities of scikit-learn as generators: one for each class."""

import inspect
from copy import copy
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.neighbors import KernelDensity
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from .._class_means import fit_class_means, leave_one_out_residuals
from .._doc_links import DocLinkMixin
from .._drawing import draw_codes
from .._scaling import estimate_scale, scale_rows
from .._seeds import draw_seeds
from .._states import ArrayStateMixin
from .._validation import (
    check_samples,
    forget_fit,
    warn_about_zeros,
)


class DensityGenerator(DocLinkMixin, ArrayStateMixin, BaseEstimator):
    """Generator that fits one density estimator of scikit-learn for each class.

    It makes a generator of any estimator with `fit(X)` and `sample(n_samples)`, such as
    :class:`~sklearn.neighbors.KernelDensity` and
    :class:`~sklearn.mixture.GaussianMixture`. Classes of few samples share one
    estimate: a density of the deviations of all samples from their class means, around
    the shrunk mean of the class (see :class:`ClassGaussian`).

    A kernel density draws near training samples: use it to compare with, not to
    anonymize.

    Parameters
    ----------
    density : estimator, default=None
        Estimator with `fit(X)` and `sample(n_samples)`. It is cloned for each class,
        and fitted to samples that are centred and divided by one scale. None is
        ``KernelDensity(bandwidth="scott")``.

    min_class_size : int, default=20
        Classes of fewer samples use the shared estimate. At least 1.

    random_state : int, RandomState instance or None, default=None
        Seed of the fits and of :meth:`sample`. Each class and each call with another
        seed gets draws of its own, also where `density` has an integer seed, which
        then belongs to its fits only.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of training samples of each class.

    densities_ : list of n_classes estimators
        Fitted density of each class; None where the class shares `shared_density_`.

    shared_density_ : estimator or None
        Fitted to deviations from class means; None where no class needs it.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    ClassGaussian : One Gaussian for each class, with shared parts.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.mixture import GaussianMixture
    >>> from skcvae.generators import DensityGenerator
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = DensityGenerator(GaussianMixture(2, reg_covar=1e-3), random_state=0)
    >>> X_new, y_new = generator.fit(X, y).sample(y=[3, 3, 8])
    >>> X_new.shape, y_new.tolist()
    ((3, 64), [3, 3, 8])
    """

    _parameter_constraints: dict = {
        "density": [HasMethods(["fit", "sample"]), None],
        "min_class_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, density=None, *, min_class_size=20, random_state=None):
        self.density = density
        self.min_class_size = min_class_size
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike) -> "DensityGenerator":
        """Fit a density to the samples of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples, at least two.

        y : array-like of shape (n_samples,)
            Class of each sample.

        Returns
        -------
        self : object
            The fitted generator.

        Raises
        ------
        ValueError
            If the input is faulty, or a density cannot be fitted to a class.
        """
        forget_fit(self)
        try:
            self._learn(*check_samples(self, X, y))
        except BaseException:
            forget_fit(self)
            raise
        return self

    def _learn(self, X, y):
        warn_about_zeros(X)
        classes, codes = np.unique(y, return_inverse=True)
        offset, scale = estimate_scale(X)
        Z = scale_rows(X, offset, scale).astype(np.float64)
        counts = np.bincount(codes)
        own = counts >= self.min_class_size
        seeds = draw_seeds(check_random_state(self.random_state), len(classes) + 1)
        means, shared = None, None
        if not own.all():
            means = fit_class_means(Z, codes, len(classes))
            deviations = leave_one_out_residuals(Z, codes, means.raw, means.k0)
            shared = self._fit_density(deviations, "all classes", seeds[-1])
        densities = [
            self._fit_density(Z[codes == code], f"the class {label!r}", seed)
            if own[code]
            else None
            for code, (label, seed) in enumerate(
                zip(classes.tolist(), seeds, strict=False)
            )
        ]
        self.densities_, self.shared_density_ = densities, shared
        self.classes_, self.class_count_ = classes, counts
        self.offset_, self.scale_ = offset, scale
        self._class_means = None if means is None else means.shrunk
        self._output_dtype = X.dtype

    def sample(
        self,
        n_samples: int | None = None,
        *,
        y: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[NDArray, NDArray]:
        """Draw samples, one for each label of `y` or `n_samples` of any class.

        Parameters
        ----------
        n_samples : int, default=None
            Number of samples to draw when `y` is not given, of classes as frequent as
            in training. None draws as many as there were training samples.

        y : array-like of shape (n_samples,), default=None
            Labels to draw a sample for, in this order. Each must be in `classes_`.

        random_state : int, RandomState instance or None, default=None
            Seed of this call. None uses the parameter `random_state`: where that is an
            integer, each call returns the same samples.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Samples, in the floating-point type of the training samples.

        y : ndarray of shape (n_samples,)
            Their labels.

        Raises
        ------
        ValueError
            If both `n_samples` and `y` are given, `n_samples` is negative, or `y`
            holds a class that was not in the training samples.
        """
        check_is_fitted(self)
        seed = self.random_state if random_state is None else random_state
        # The first seed of a RandomState is the one that `fit` takes.
        _, label_seed, *seeds = draw_seeds(
            check_random_state(seed), 2 + len(self.classes_)
        )
        counts = self.class_count_
        codes = draw_codes(n_samples, y, label_seed, self.classes_, counts, counts.sum)
        X = np.empty((len(codes), self.n_features_in_), dtype=self._output_dtype)
        for code in np.unique(codes):
            places = np.flatnonzero(codes == code)
            Z = self._draw_class(code, len(places), np.random.RandomState(seeds[code]))
            X[places] = self.offset_ + Z * self.scale_
        return X, self.classes_[codes]

    def _fit_density(self, Z, name, seed):
        density = KernelDensity(bandwidth="scott")
        if self.density is not None:
            density = clone(self.density)
        if density.get_params().get("random_state", seed) is None:
            density.set_params(random_state=seed)
        try:
            return density.fit(Z)
        except ValueError as error:
            raise ValueError(
                f"{type(density).__name__} cannot be fitted to the {len(Z)} samples of "
                f"{name}: {error} Raise min_class_size, or choose a simpler density."
            ) from error

    def _draw_class(self, code, n_samples, rng):
        """Return scaled samples of a class, in random order."""
        density, shift = self.densities_[code], 0.0
        if density is None:
            density, shift = self.shared_density_, self._class_means[code]
        if "random_state" in inspect.signature(density.sample).parameters:
            drawn = density.sample(n_samples, random_state=rng)
        else:
            density = copy(density)
            if hasattr(density, "random_state"):
                density.random_state = rng
            drawn = density.sample(n_samples)
        Z = drawn[0] if isinstance(drawn, tuple) else drawn
        # A mixture returns its samples by component.
        return shift + rng.permutation(np.asarray(Z))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
