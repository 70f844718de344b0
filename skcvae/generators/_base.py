"""What all generators share: checks, scaling, labels, seeds, and drawing in chunks."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from .._blocks import Blocks, check_blocks, is_blocked, refuse_blocks
from .._class_means import raw_class_means
from .._doc_links import DocLinkMixin
from .._drawing import DrawingMixin
from .._neighbors import nearest_neighbors
from .._scaling import estimate_scale, scale_rows
from .._seeds import draw_seeds
from .._several_labels import refuse_label_sets
from .._states import ArrayStateMixin
from .._validation import (
    check_samples,
    check_variance,
    fitting,
    warn_about_zeros,
)
from .._warnings import warn_user

# Number of drawn samples, and of training samples, whose neighbours are looked for.
_N_SAMPLES = 256
# Fewer training samples say little about their own distances.
_MIN_SAMPLES = 20
# How far off the variance within classes may be. In sound fits to digits, mvtec,
# CIFAR-100 and tabular sets, mean or median was 0.5 to 1.1 times that of training.
_VARIANCE_FACTOR = 4
# How much nearer generated samples may be to training samples than these to one
# another. In the same fits, they were at 0.9 to 4.5 times the distance.
_DISTANCE_FACTOR = 2
_BATCH_SIZE = 4096


class SamplingMixin(DrawingMixin):
    """Base class of fitted generators and loaded releases: noise around class means.

    A subclass has the attributes below and implements the abstract methods.
    """

    scale_: NDArray
    variance: ArrayLike | dict

    @abstractmethod
    def _make_sampler(self):
        """Return a module on the CPU that draws, :mod:`skcvae.generators._samplers`.

        Its `forward(codes, std, generator)` returns scaled samples around the class
        means, shape (n, n_features). `codes`, sorted, and `std`, the square root of
        the variance of each sample, are tensors on the device of `generator`. It is
        called once for each use, so that several threads may draw at the same time.
        """

    @abstractmethod
    def _centres(self):
        """Return the mean of each class, shape (n_classes, n_features)."""

    def _resolve_variance(self, variance=None):
        """Return the variance of each class, shape (n_classes,); None is our own."""
        variance = self.variance if variance is None else variance
        if isinstance(variance, str) and variance == "auto":
            return self._auto_variance()
        return check_variance(variance, self.classes_)

    def _auto_variance(self):
        """Return the variance of each class that `variance="auto"` stands for."""
        raise ValueError(
            f"variance='auto' is not known to a {type(self).__name__}: give numbers."
        )

    def _make_draw(self, device, variance, dtype):
        import torch

        is_whole = not dtype.is_floating_point
        draw_scaled = self._make_scaled_draw(device, variance)
        float_type = torch.float32 if is_whole else dtype
        to_units = make_units(self._centres(), self.scale_, device, float_type)

        def draw(codes, generator):
            drawn = to_units(draw_scaled(codes, generator), codes)
            return drawn.round_().to(dtype) if is_whole else drawn

        return draw

    def _make_scaled_draw(self, device, variance):
        """Return a function from sorted codes and a generator to scaled samples."""
        import torch

        std = np.sqrt(self._resolve_variance(variance))
        std = torch.from_numpy(std.astype(np.float32)).to(device)
        sampler = self._make_sampler().to(device)

        @torch.inference_mode()
        def draw(codes, generator):
            # index_select gathers samples several times faster than indexing does.
            return sampler(codes, std.index_select(0, codes), generator)

        return draw


def make_units(centres, scale, device, dtype):
    """Return a function from scaled samples and codes to samples in their units."""
    import torch

    # Copies: what a cache maps into memory cannot be written to.
    centres = torch.tensor(centres, dtype=dtype, device=device)
    scale = torch.tensor(scale, dtype=dtype, device=device)

    @torch.inference_mode()
    def to_units(drawn, codes):
        around = centres.index_select(0, codes)
        return around.addcmul_(drawn.to(dtype), scale)

    return to_units


class BaseGenerator(SamplingMixin, DocLinkMixin, ArrayStateMixin, BaseEstimator):
    """Base class of the generators.

    A subclass has the parameters `variance` and `random_state` and implements two
    hooks: `_fit` learns from scaled samples and class codes, and `_make_sampler`
    returns a module that draws scaled samples for class codes. This class checks and
    scales the input, encodes labels, and turns `random_state` into seeds.
    """

    #: Parameters that do not change what is learned.
    _sampling_parameters: tuple[str, ...] = ("variance",)
    #: Whether `fit` draws samples, and warns where they differ from the training data.
    _checks_generation = True

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the distribution of the samples of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples, at least two. :class:`ClassGaussian` and :class:`CVAE`
            read arrays of zarr, h5py and Dask, and memory maps of more than 1 GiB, in
            blocks.

        y : array-like of shape (n_samples,)
            Class of each sample: numbers or strings. One sample for a class is enough.

        Returns
        -------
        self : object
            The fitted generator.

        Warns
        -----
        ConvergenceWarning
            If samples drawn with a variance of 1 have more than four times, or less
            than a quarter of, the variance of the training samples within their
            classes, or if they are less than half as far from a training sample as
            training samples are from one another. :func:`skcvae.report.report` shows
            more. :class:`ClassGaussian` and private generators skip this check.

        Raises
        ------
        ValueError
            If the input is empty, not finite, not two-dimensional, or its labels are
            not classes.
        """
        with fitting(self):
            if is_blocked(X):
                return self._fit_checked(check_blocks(X, y), y)
            self._learn(*self._check_fit(X, y))
        return self

    def _check_fit(self, X, y):
        """Return the samples and labels of `fit`, validated."""
        return check_samples(self, X, y)

    def _encode(self, y):
        """Return the classes of labels, and the code of each sample."""
        refuse_label_sets(y)
        encoder = LabelEncoder().fit(y)
        return encoder.classes_, encoder.transform(y)

    def _of_codes(self):
        """Return the generator that draws by the class codes of its training."""
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def _fit_checked(self, X, y, **unlabeled):
        """Fit to samples that the estimator around this one has checked."""
        with fitting(self):
            self.n_features_in_ = X.shape[1]
            if isinstance(X, Blocks):
                self._learn_blocks(X, **unlabeled)
                return self
            is_float = X.dtype in (np.float64, np.float32)
            X = np.asarray(X, X.dtype if is_float else np.float64, "C")
            self._learn(X, y, **unlabeled)
        return self

    fit.for_checked_samples = _fit_checked

    def _learn(self, X, y, X_unlabeled=None):
        """Scale checked samples, encode their labels, and learn from both.

        Unlabelled samples go to those generators only whose `fit` takes them.
        """
        classes, codes = self._encode(y)
        check_variance(self.variance, classes)
        warn_about_zeros(X)
        offset, scale = self._estimate_scaling(X)
        Z = scale_rows(X, offset, scale)
        seed = draw_seeds(check_random_state(self.random_state), 1)[0]
        self.classes_ = classes
        self.class_count_ = np.bincount(codes)
        self.offset_, self.scale_ = offset, scale
        self._output_dtype = X.dtype
        if X_unlabeled is None:
            self._fit(Z, codes, seed)
        else:
            self._fit(Z, codes, seed, scale_rows(X_unlabeled, offset, scale))
        if self._checks_generation:
            warn_about_generation(self._of_codes(), Z, codes, seed)

    def _learn_blocks(self, blocks):
        """Learn from samples that are read in blocks."""
        refuse_blocks(type(self).__name__, "Use ClassGaussian or CVAE")

    @abstractmethod
    def _fit(self, Z, codes, seed):
        """Learn from scaled samples and class codes; set `class_means_` and more."""

    def _check_ready(self):
        check_is_fitted(self)

    def _class_weights(self):
        return self.class_count_

    def _default_n_samples(self):
        return round(self.class_count_.sum())

    def _centres(self):
        return self.offset_ + self.class_means_ * self.scale_

    def _auto_variance(self):
        if not hasattr(self, "mean_shrinkage_"):
            return super()._auto_variance()
        # The mean of a class is known up to W / (n_c + k0), and a new sample scatters
        # around it with W.
        return 1 + 1 / (self.class_count_ + self.mean_shrinkage_)

    def _estimate_scaling(self, X):
        """Return offset and scale of the features, shape (n_features,) each."""
        return estimate_scale(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def warn_about_generation(generator, Z, codes, seed, means=None):
    """Warn if samples of variance 1 have another spread than X, or are near copies.

    Only classes with two training samples or more are looked at. `means` are those of
    all training samples, where `Z` is a part of them.
    """
    class_count = generator.class_count_
    eligible = np.flatnonzero(class_count[codes] > 1)
    if len(eligible) < _MIN_SAMPLES:
        return
    if means is None:
        means = raw_class_means(Z, codes, len(class_count))
    chosen = np.random.RandomState(seed).choice(eligible, _N_SAMPLES)
    drawn = generator._make_fill(1.0)(codes[chosen], seed)
    # Images may be whole numbers.
    drawn = drawn.astype(np.result_type(drawn, np.float32), copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        drawn = scale_rows(drawn, generator.offset_, generator.scale_)
    found = _judge_spread(
        _squared_distances(drawn, codes[chosen], means),
        # Each sample from the mean of the others.
        _squared_distances(Z[eligible], codes[eligible], means)
        * (class_count / np.maximum(class_count - 1, 1))[codes[eligible]] ** 2,
    ) or _judge_nearness(drawn, Z, chosen)
    if found:
        warn_user(found, ConvergenceWarning)


def _judge_spread(drawn, real):
    """Return what is wrong with squared distances from the means of the classes."""
    if not real.any():
        return ""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mean = np.mean(drawn) / np.mean(real)
        median = np.median(drawn) / np.median(real)
    if not mean <= _VARIANCE_FACTOR:
        return (
            "Generated samples are scattered: their variance within classes is "
            f"{mean:.3g} times that of the training samples. Scale features whose "
            "units differ, lower lr, or take ClassGaussian."
        )
    # A few outliers can hold most of the variance: the median leaves them out.
    if max(mean, median) < 1 / _VARIANCE_FACTOR:
        return (
            "Generated samples are too alike: their variance within classes is "
            f"{mean:.3g} times that of the training samples. Train longer, and do not "
            "leave out the observation noise where the model has one."
        )
    return ""


def _judge_nearness(drawn, Z, chosen):
    """Return what is wrong with the distances to the nearest training sample."""
    others = np.median(nearest_neighbors(Z[np.unique(chosen)], Z, 2)[0][:, 1])
    nearest = np.median(nearest_neighbors(drawn.astype(Z.dtype), Z)[0])
    if nearest * _DISTANCE_FACTOR >= others:
        return ""
    return (
        "Generated samples are near copies of training samples: the median distance "
        f"to the nearest one is {nearest / others:.3g} times that between training "
        "samples. The model has memorised its training data: use a smaller model, or "
        "train for fewer epochs."
    )


def _squared_distances(samples, codes, means):
    """Return squared distances from the mean of the class, in bounded memory."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate(
            [
                np.square(samples[batch] - means[codes[batch]]).sum(axis=1)
                for batch in gen_batches(len(samples), _BATCH_SIZE)
            ]
        )
