"""The training images nearest to generated samples."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar

from .._extras import import_pyplot
from .._record_sets import check_one_label_per_sample, check_record_sets
from .._rendering import check_renders, to_images
from ..metrics import nearest_neighbors
from ._base import Axes, BaseDisplay, shorten, thin
from ._mosaic import has_bytes, make_scale, show_blocks, to_bytes

# Side of a photo, in pixels.
_PHOTO_SIZE = 96
_TEXT = {
    "fontsize": "xx-small",
    "bbox": {"facecolor": "white", "alpha": 0.9, "edgecolor": "none", "pad": 0.5},
}


@dataclass(kw_only=True, eq=False, repr=False)
class NearestImagesDisplay(BaseDisplay):
    """The training images nearest to generated samples, with their distances.

    A generated sample that looks like its nearest training image, and is much nearer to
    it than to the next ones, may be a copy. Compare the distances with those of
    hold-out samples, see :class:`NearestNeighborDistanceDisplay`; images that look
    different do not prove privacy.

    .. warning::
        It shows real training images. It is for the eyes of the owner of the data only:
        do not publish it, and do not hand it on with a release.

    Parameters
    ----------
    neighbors : list of list of ndarray of shape (h, w) or (h, w, 3)
        Training images of each generated sample, from the nearest on.

    distances : ndarray of shape (n_samples, n_neighbors)
        Their distances from the generated sample.

    indices : ndarray of shape (n_samples, n_neighbors)
        Their positions among the training samples.

    labels : list of str
        Name of each generated sample.

    synthetic : ndarray of shape (n_samples, h, w[, 3]) or None
        Images of the generated samples. None where nothing renders them.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        All images in one.

    texts_ : list of matplotlib Text
        The distances.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    See Also
    --------
    NearestNeighborDistanceDisplay : Distances of all samples, beside those of others.
    skcvae.privacy.privacy_audit : Attacks a release.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import ClassGaussian
    >>> from skcvae.inspection import NearestImagesDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> X_new, y_new = ClassGaussian(random_state=0).fit(X, y).sample(y=[3, 8])
    >>> display = NearestImagesDisplay.from_data(X_new, X, image_shape=(8, 8))
    >>> display.distances.shape
    (2, 3)
    """

    _title = "Nearest training images: for the owner's eyes only"

    neighbors: list[list[NDArray]]
    distances: NDArray
    indices: NDArray
    labels: list[str]
    synthetic: NDArray | None = None

    @classmethod
    def from_data(
        cls,
        X_synthetic: ArrayLike,
        X_train: ArrayLike,
        images: Any = None,
        *,
        y_synthetic: ArrayLike | None = None,
        n_neighbors: int = 3,
        max_samples: int = 8,
        metric: str = "euclidean",
        decoder: Any = None,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Find the nearest training samples, and show their images.

        Parameters
        ----------
        X_synthetic : array-like of shape (n_synthetic, n_features)
            Generated samples.

        X_train : array-like of shape (n_train, n_features)
            Samples that the generator was fitted on.

        images : sequence of n_train images, default=None
            The image of each training sample, as
            :class:`~skcvae.embedding.FoundationEmbedder` takes them: paths, PIL images,
            or an array of bytes. Only those shown are read. None shows what `decoder`
            or `image_shape` make of the training samples.

        y_synthetic : array-like of shape (n_synthetic,), default=None
            Classes of the generated samples, which name the rows. None numbers them.

        n_neighbors : int, default=3
            Training images of each generated sample.

        max_samples : int, default=8
            Largest number of generated samples, taken evenly.

        metric : {"euclidean", "cosine"}, default="euclidean"
            Distance, see :func:`~skcvae.metrics.nearest_neighbors`.

        decoder : callable, default=None
            Renders samples, see :meth:`ImageGridDisplay.from_generator`.

        image_shape : tuple of int, default=None
            Shape (h, w) or (h, w, c) of an image, where samples are pixels. With
            `images`, neither is needed; generated samples are then not drawn.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : NearestImagesDisplay
            The display.

        Raises
        ------
        ValueError
            If there is not one image for each training sample, an image cannot be
            read, or as in :meth:`ImageGridDisplay.from_generator`.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        can_render = decoder is not None or image_shape is not None
        if images is None or can_render:
            check_renders(decoder, image_shape)
        check_scalar(max_samples, "max_samples", Integral, min_val=1)
        S, M = check_record_sets(X_synthetic=X_synthetic, X_train=X_train).values()
        sources = None if images is None else check_photos(images, len(M))
        labels = np.arange(len(S))
        if y_synthetic is not None:
            labels = check_one_label_per_sample(y_synthetic, S, "y_synthetic")
        S, labels = thin(S, max_samples), thin(labels, max_samples)
        distances, indices = nearest_neighbors(S, M, n_neighbors, metric=metric)
        if decoder is None and has_bytes(X_train):
            S, M = to_bytes(S), to_bytes(M)
        synthetic = None
        if can_render:
            synthetic = to_images(S, decoder, image_shape)
        if sources is None:
            found = to_images(M[indices.ravel()], decoder, image_shape)
            found = list(found.reshape(*indices.shape, *found.shape[1:]))
        else:
            found = [[_read_photo(sources, i) for i in row] for row in indices]
        return cls(
            neighbors=found,
            distances=distances,
            indices=indices,
            labels=[shorten(label) for label in labels.tolist()],
            synthetic=synthetic,
        ).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        real = [[np.asarray(image) for image in row] for row in self.neighbors]
        scale = make_scale([image for row in real for image in row])
        blocks = [[[scale(image) for image in row] for row in real]]
        if self.synthetic is not None:
            # Photos are bytes, and what a decoder renders need not be.
            own = make_scale(self.synthetic)
            same = self.synthetic.dtype == real[0][0].dtype
            rendered = (scale if same else own)(self.synthetic)
            blocks.insert(0, [[image] for image in rendered])
        self.image_, centres, corners = show_blocks(ax, blocks, kwargs)
        self.texts_ = [
            ax.text(x, y, f"{self.distances[i, j]:.3g}", va="top", **_TEXT)
            for i, row in enumerate(corners[-1])
            for j, (x, y) in enumerate(row)
        ]
        names = ["generated", "training\nimages"][-len(blocks) :]
        ax.set_xticks([np.mean(block) for block in centres], names)
        ax.set_xlabel("Real images: do not publish.")
        ax.set_yticks(ax.get_yticks(), self.labels)
        ax.set_ylabel("generated sample")


def check_photos(images, n_samples):
    """Return a source for each sample; refuse missing files, without reading any."""
    from ..embedding._images import as_sources, check_files

    sources = as_sources(images)
    if len(sources) != n_samples:
        raise ValueError(
            f"images must hold one image for each of the {n_samples} training samples, "
            f"got {len(sources)}."
        )
    check_files(sources)
    return sources


def _read_photo(sources, index):
    """Return a photo as bytes of shape (h, w, 3), with white beside."""
    from PIL import ImageOps

    from ..embedding._images import ImageReadError, read_image

    try:
        photo = read_image(sources[index])
    except ImageReadError as error:
        raise ValueError(f"images[{index}] cannot be read: {error}.") from error
    size = (_PHOTO_SIZE, _PHOTO_SIZE)
    return np.asarray(ImageOps.pad(photo, size, color="white"))
