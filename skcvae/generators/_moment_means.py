"""Scaling, class means and covariance of class moments, and of samples in blocks."""

import numpy as np

from .._class_means import Scatter, shrink_means
from .._scaling import scale_of_moments
from ._moments import ClassMoments


def means_of_moments(moments, k0="auto", covariance_shrinkage="auto", blocks=None):
    """Return offset and scale of the features, and the scaled `ClassMeans`.

    The shrinkage "auto" reads fourth moments around the means, in another pass over
    the `Blocks` of the samples.
    """
    counts, n_classes = moments.counts, len(moments.counts)
    offset, scale = scale_of_moments(
        moments.means, counts, moments.scatter, moments.dtype
    )
    divisor = np.where(scale > 0, scale, np.inf)
    raw = (moments.means - offset) / divisor
    freedom = moments.n_samples - n_classes
    matrix = raw.T @ raw
    if freedom:
        matrix = moments.scatter / divisor[:, None] / divisor
    fourth = None
    if covariance_shrinkage == "auto":
        centres = moments.means if freedom else np.broadcast_to(offset, raw.shape)
        (fourth,) = blocks.total(_fourth_moment, moments.classes, centres, divisor)
    scatter = Scatter(
        matrix, moments.n_samples, freedom or max(n_classes - 1, 1), fourth
    )
    covariance = scatter.covariance(covariance_shrinkage)
    centre = np.zeros(len(offset))
    return offset, scale, shrink_means(raw, centre, counts, scatter, covariance, k0)


def fit_blocks(generator, blocks, k0="auto", covariance_shrinkage="auto"):
    """Set what all generators know of classes and scaling; return the `ClassMeans`."""
    moments = ClassMoments.from_data(blocks, blocks.y)
    generator.offset_, generator.scale_, means = means_of_moments(
        moments, k0, covariance_shrinkage, blocks
    )
    generator.classes_, generator.class_count_ = moments.classes, moments.counts
    generator._output_dtype = blocks.dtype
    return means


def _fourth_moment(X, y, classes, centres, divisor):
    """Return the sum of the fourth powers of the lengths of scaled residuals."""
    residuals = (X - centres[np.searchsorted(classes, y)]) / divisor
    return (np.sum(np.einsum("ij,ij->i", residuals, residuals) ** 2),)
