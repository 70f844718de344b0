"""Class moments: counts, means and scatter of samples, which can be added."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import safetensors.numpy
from numpy.typing import ArrayLike
from sklearn.utils import check_X_y

from .._blocks import Blocks, check_blocks, is_blocked
from .._class_means import raw_class_means, within_scatter
from .._files import open_regular, write_whole
from .._thin_covariance import as_array, check_size
from .._validation import (
    check_finite_in_float32,
    check_labels,
    check_numbers,
    count_zeros,
    warn_about_number_of_zeros,
)

_FORMAT = "skcvae-moments-1"
_TENSORS = {"counts", "means", "scatter"}


@dataclass(eq=False)
class ClassMoments:
    r"""Counts and means of classes, and the scatter within all of them together.

    They are all that a :class:`ClassGaussian` with ``covariance_shrinkage="oas"`` or a
    number learns from. Moments of parts of the data can be added, in any order: parts
    that do not fit into memory together, or that may not leave their site. Sums are in
    float64 and around the means, so that nothing is lost where means are large [1]_.

    Moments are not anonymous. The mean of a class of one sample is that sample, and no
    noise is added: :class:`DPClassGaussian` gives a guarantee.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Labels, sorted.

    counts : ndarray of shape (n_classes,)
        Number of samples of each class, at least 1.

    means : ndarray of shape (n_classes, n_features)
        Mean of each class.

    scatter : ndarray of shape (n_features, n_features)
        Sum over all samples of :math:`(x - \bar{x}_y)(x - \bar{x}_y)'`.

    dtype : str, default="float64"
        Floating-point type of the samples.

    See Also
    --------
    ClassGaussian.from_moments : The generator of moments.
    skcvae.anonymization.merge_releases : For other generators, releases of parts.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for Computing the
       Sample Variance", The American Statistician 37, 1983.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import ClassGaussian, ClassMoments
    >>> X, y = load_digits(return_X_y=True)
    >>> moments = ClassMoments.from_data(X[:900], y[:900])
    >>> moments += ClassMoments.from_data(X[900:], y[900:])
    >>> moments.n_samples
    1797
    >>> ClassGaussian.from_moments(moments, random_state=0).sample(y=[3])[0].shape
    (1, 64)
    """

    classes: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray
    dtype: str = "float64"

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self.counts.sum())

    @classmethod
    def from_data(cls, X: ArrayLike, y: ArrayLike) -> Self:
        """Return the moments of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, of at most 8,192 features. Arrays of zarr, h5py and Dask, and
            memory maps of more than 1 GiB, are read in blocks.

        y : array-like of shape (n_samples,)
            Class of each sample.

        Returns
        -------
        moments : ClassMoments
            Their moments.

        Raises
        ------
        ValueError
            If the samples are not finite, or have too many features.
        """
        if is_blocked(X):
            return cls._from_blocks(X if isinstance(X, Blocks) else check_blocks(X, y))
        check_labels(y)
        X, y = check_X_y(check_numbers(X), y, dtype=[np.float64, np.float32])
        check_finite_in_float32(X)
        return cls._from_checked(X, y)

    @classmethod
    def _from_checked(cls, X, y):
        """Return the moments of samples that have been checked."""
        check_size(*2 * X.shape[1:], "ClassMoments")
        classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        means = raw_class_means(X, codes, len(classes))
        if len(y) == len(classes):
            scatter = np.zeros(2 * X.shape[1:])
        else:
            scatter = as_array(within_scatter(X, codes, means).matrix)
        return cls(classes, counts, means, scatter, X.dtype.name)

    @classmethod
    def _from_blocks(cls, blocks):
        """Return the moments of samples that are read in blocks, and keep them."""
        if blocks.moments is None:
            check_size(*2 * blocks.shape[1:], "ClassMoments")
            blocks.moments, n_zero = blocks.total(_moments_of_block)
            warn_about_number_of_zeros(n_zero, len(blocks))
        return blocks.moments

    def __add__(self, other: Self) -> Self:
        """Return the moments of the samples of both."""
        if not isinstance(other, ClassMoments):
            return NotImplemented
        if self.means.shape[1] != other.means.shape[1]:
            raise ValueError(
                f"Moments of {self.means.shape[1]} features cannot be added to moments "
                f"of {other.means.shape[1]}."
            )
        kinds = {part.classes.dtype.kind in "OUS" for part in (self, other)}
        if len(kinds) > 1:
            raise ValueError("One of the moments has strings as labels, one numbers.")
        classes = np.union1d(self.classes, other.classes)
        (n, means), (m, others) = (part._spread(classes) for part in (self, other))
        counts = n + m
        shifts = others - means
        # A class that one of the two lacks has no shift between its means.
        weight = n * m / counts
        shared = weight > 0
        between = (shifts[shared].T * weight[shared]) @ shifts[shared]
        scatter = self.scatter + other.scatter + between
        means = means + (m / counts)[:, None] * shifts
        dtype = np.result_type(self.dtype, other.dtype).name
        return type(self)(classes, counts, means, scatter, dtype)

    def _spread(self, classes):
        """Return counts and means for more classes, 0 for those that are unknown."""
        places = np.searchsorted(classes, self.classes)
        counts = np.zeros(len(classes), dtype=np.int64)
        means = np.zeros((len(classes), self.means.shape[1]))
        counts[places], means[places] = self.counts, self.means
        return counts, means

    def to_file(self, path: str | os.PathLike, *, min_class_size: int = 5) -> None:
        """Write a safetensors file, whole or not at all.

        Parameters
        ----------
        path : str or PathLike
            File to write. Only its owner may read it.

        min_class_size : int, default=5
            Smallest class that may leave. The mean of a class of one sample is that
            sample, and with a few samples it is close to each of them.

        Raises
        ------
        ValueError
            If a class is smaller, or labels are neither numbers nor strings.
        """
        small = self.classes[self.counts < min_class_size]
        if len(small):
            raise ValueError(
                f"The classes {small[:5].tolist()} have fewer than min_class_size="
                f"{min_class_size} samples, and their means would tell of single ones. "
                "Leave them out, or lower min_class_size if the file stays with you."
            )
        labels = self.classes.tolist()
        if not all(isinstance(label, bool | int | float | str) for label in labels):
            raise ValueError("Labels must be numbers or strings to be written.")
        header = {"format": _FORMAT, "classes": json.dumps(labels), "dtype": self.dtype}
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in _TENSORS}
        tensors["counts"] = tensors["counts"].astype(np.int64)
        write_whole(Path(path), safetensors.numpy.save(tensors, metadata=header))

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> Self:
        """Read what :meth:`to_file` wrote; no code of the file runs.

        Parameters
        ----------
        path : str or PathLike
            File to read.

        Returns
        -------
        moments : ClassMoments
            Its moments.

        Raises
        ------
        ValueError
            If the file is not one of class moments.
        """
        with open_regular(path) as (file, _):
            content = file.read()
        try:
            tensors = safetensors.numpy.load(content)
            size = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + size])["__metadata__"]
            classes = np.array(json.loads(header["classes"]))
            moments = cls(classes, **tensors, dtype=header["dtype"])
            moments._check(header["format"])
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no file of class moments: {error}") from error
        return moments

    def _check(self, written):
        """Raise ValueError unless the parts fit together."""
        if written != _FORMAT:
            raise ValueError(f"its format is {written!r}, not {_FORMAT!r}")
        n_classes, n_features = self.means.shape
        fits = (
            self.classes.shape == self.counts.shape == (n_classes,)
            and self.scatter.shape == (n_features, n_features)
            and self.counts.dtype == np.int64
            and self.dtype in ("float32", "float64")
        )
        if not fits or not (self.counts > 0).all():
            raise ValueError("its parts do not fit together")
        if not (np.isfinite(self.means).all() and np.isfinite(self.scatter).all()):
            raise ValueError("it holds values that are not finite")
        if not np.array_equal(np.unique(self.classes), self.classes):
            raise ValueError("its labels are not sorted")


def _moments_of_block(X, y):
    """Return the moments of checked samples, and how many are all zeros."""
    return ClassMoments._from_checked(X, y), count_zeros(X)
