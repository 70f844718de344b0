"""Images of real and generated samples."""

from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar, column_or_1d

from .._extras import import_pyplot
from .._generation import draw
from .._record_sets import check_record_sets
from .._rendering import check_renders, to_images
from ._base import (
    Axes,
    BaseDisplay,
    check_classes,
    fitted_generator,
    shorten,
    spread_by_size,
    thin,
)
from ._mosaic import has_bytes, make_scale, show_blocks, to_bytes

_MAX_CLASSES = 10


@dataclass(kw_only=True, eq=False, repr=False)
class ImageGridDisplay(BaseDisplay):
    """Images of real and of generated samples, side by side, a class in each row.

    Samples are images where they are pixels, or where a function renders them. Whatever
    draws samples can be shown, a loaded release too, and so can what an over-sampler
    such as SMOTE adds, by :meth:`from_data`. If there are real samples, the figure
    shows them: show it only to people who may see the data.

    Parameters
    ----------
    synthetic : dict of label to ndarray of shape (n_images, h, w[, 3])
        Generated images of each class.

    real : dict of label to ndarray of shape (n_images, h, w) or (n_images, h, w, 3)
        Real images of each class; empty where there are none.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        All images in one.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    Notes
    -----
    Images of bytes above 1 are drawn in 0..255, others in 0..1 if the real ones lie
    there, and else between the least and the largest value of the real ones; without
    real ones, of the generated ones.

    See Also
    --------
    NearestImagesDisplay : Looks for copies.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import ClassGaussian
    >>> from skcvae.inspection import ImageGridDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = ClassGaussian(random_state=0).fit(X, y)
    >>> display = ImageGridDisplay.from_generator(generator, X, y, image_shape=(8, 8))
    >>> display.synthetic[3].shape
    (5, 8, 8)
    """

    _title = "Images by class"

    synthetic: dict[Any, NDArray]
    real: dict[Any, NDArray] = field(default_factory=dict)

    @classmethod
    def from_generator(
        cls,
        generator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
        n_images: int = 5,
        decoder: Any = None,
        image_shape: tuple[int, ...] | None = None,
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw samples of each class, and show them.

        Parameters
        ----------
        generator : object
            Fitted generator or anonymizer, loaded release, or fitted over-sampler with
            a generator.

        X : array-like of shape (n_samples, n_features), default=None
            Real samples to show beside. None shows generated ones only.

        y : array-like of shape (n_samples,), default=None
            Their classes.

        classes : array-like of shape (n_classes,), default=None
            Classes to show. None shows at most 10, spread evenly.

        n_images : int, default=5
            Images of each class, of either kind.

        decoder : callable, default=None
            Renders samples: a function of an array (n, n_features), a part of them,
            that returns images (n, h, w) or (n, h, w, c) with 1 or 3 channels.

        image_shape : tuple of int, default=None
            Shape (h, w) or (h, w, c) of an image, where samples are pixels. Give this
            or `decoder`.

        random_state : int, RandomState instance or None, default=None
            Seed of the draws. None takes that of the generator.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : ImageGridDisplay
            The display.

        Raises
        ------
        ValueError
            If both or neither of `decoder` and `image_shape` are given, what they make
            of samples are no images, or a class has no samples.
        """
        import_pyplot(f"{cls.__name__}.from_generator")
        check_renders(decoder, image_shape)
        check_scalar(n_images, "n_images", Integral, min_val=1)
        if (X is None) != (y is None):
            raise ValueError("Give both of X and y, or neither.")
        source = generator
        if hasattr(generator, "fit"):
            source = fitted_generator(generator, "sample")
        if classes is None and y is not None:
            classes = spread_by_size(y, _MAX_CLASSES)
        elif classes is None:
            classes = thin(source.classes_, _MAX_CLASSES)
        labels = np.repeat(column_or_1d(classes), n_images)
        X_new, y_new = draw(source, labels, random_state=random_state)
        return cls._from_sets(
            [(X_new, y_new)] if X is None else [(X_new, y_new), (X, y)],
            classes,
            n_images,
            (decoder, image_shape),
        ).plot(ax=ax, **kwargs)

    @classmethod
    def from_data(
        cls,
        X_real: ArrayLike,
        y_real: ArrayLike,
        X_synthetic: ArrayLike,
        y_synthetic: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n_images: int = 5,
        decoder: Any = None,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Show real and generated samples.

        Parameters
        ----------
        X_real : array-like of shape (n_real, n_features)
            Real samples.

        y_real : array-like of shape (n_real,)
            Their classes.

        X_synthetic : array-like of shape (n_synthetic, n_features)
            Generated samples.

        y_synthetic : array-like of shape (n_synthetic,)
            Their classes.

        classes : array-like of shape (n_classes,), default=None
            Classes to show. None shows at most 10 of the generated samples, spread
            evenly from the largest to the smallest.

        n_images : int, default=5
            Largest number of images of each class, of either kind. They are taken
            evenly from the samples of the class.

        decoder : callable, default=None
            Renders samples, see :meth:`from_generator`.

        image_shape : tuple of int, default=None
            Shape (h, w) or (h, w, c) of an image, where samples are pixels.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : ImageGridDisplay
            The display.

        Raises
        ------
        ValueError
            As in :meth:`from_generator`.
        """
        import_pyplot(f"{cls.__name__}.from_data")
        check_renders(decoder, image_shape)
        check_scalar(n_images, "n_images", Integral, min_val=1)
        if classes is None:
            classes = spread_by_size(y_synthetic, _MAX_CLASSES)
        return cls._from_sets(
            [(X_synthetic, y_synthetic), (X_real, y_real)],
            classes,
            n_images,
            (decoder, image_shape),
        ).plot(ax=ax, **kwargs)

    @classmethod
    def _from_sets(cls, sets, classes, n_images, how):
        """Return the display of generated samples and, perhaps, real ones."""
        names = ("synthetic", "real")[: len(sets)]
        samples = check_record_sets(
            **{f"X_{n}": s[0] for n, s in zip(names, sets, strict=True)}
        )
        bytes_only = how[0] is None and has_bytes(sets[-1][0])
        labels = column_or_1d(classes).tolist()
        found: dict[str, dict] = {}
        for name, X, (_, y) in zip(names, samples.values(), sets, strict=True):
            y = check_classes(y, X, f"y_{name}")
            X = to_bytes(X) if bytes_only else X
            found[name] = {
                label: to_images(thin(X[y == label], n_images), *how)
                for label in labels
                if (y == label).any()
            }
        missing = [
            c for c in labels if all(c not in images for images in found.values())
        ]
        if missing:
            raise ValueError(f"No samples are of the classes {missing}.")
        return cls(**found)

    def _draw(self, ax, kwargs):
        groups = {"real": self.real, "generated": self.synthetic}
        groups = {name: images for name, images in groups.items() if images}
        scale = make_scale(next(iter(groups.values())).values())
        labels = list(dict.fromkeys(c for images in groups.values() for c in images))
        blocks = [
            [scale(images[c]) if c in images else () for c in labels]
            for images in groups.values()
        ]
        self.image_, centres, _ = show_blocks(ax, blocks, kwargs)
        ax.set_xticks([np.mean(block) for block in centres], list(groups))
        ax.set_yticks(ax.get_yticks(), [shorten(label) for label in labels])
        ax.set_ylabel("class")


@dataclass(kw_only=True, eq=False, repr=False)
class InterpolationDisplay(BaseDisplay):
    """Images on the way between two samples in the latent space, a way in each row.

    The ends are the reconstructions of the two samples, not the samples. Steps in the
    middle that look like neither end, but like samples, say that the latent space has
    no gaps there.

    Parameters
    ----------
    images : ndarray of shape (n_pairs, n_steps, h, w) or (n_pairs, n_steps, h, w, 3)
        Images of the steps.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        All images in one.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    See Also
    --------
    skcvae.generators.CVAE.interpolate : The steps as samples.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import CVAE
    >>> from skcvae.inspection import InterpolationDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> cvae = CVAE(max_epochs=2, device="cpu", random_state=0).fit(X, y)
    >>> threes = X[y == 3]
    >>> display = InterpolationDisplay.from_estimator(
    ...     cvae, threes[:2], threes[2:4], [3, 3], image_shape=(8, 8))
    >>> display.images.shape
    (2, 8, 8, 8)
    """

    _title = "From one sample to another"

    images: NDArray

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X1: ArrayLike,
        X2: ArrayLike,
        y: ArrayLike | None = None,
        *,
        n_steps: int = 8,
        decoder: Any = None,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Interpolate and show the steps.

        Parameters
        ----------
        estimator : object
            Fitted :class:`~skcvae.generators.CVAE` or
            :class:`~skcvae.generators.VAE`, or an estimator that holds one as
            `generator_`.

        X1, X2 : array-like of shape (n_pairs, n_features)
            Samples where the ways begin and where they end.

        y : array-like of shape (n_pairs,), default=None
            The label of both samples of each pair. A VAE needs none.

        n_steps : int, default=8
            Number of steps, at least 2, the ends included.

        decoder : callable, default=None
            Renders samples, see :meth:`ImageGridDisplay.from_generator`.

        image_shape : tuple of int, default=None
            Shape (h, w) or (h, w, c) of an image, where samples are pixels.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : InterpolationDisplay
            The display.

        Raises
        ------
        ValueError
            If the estimator does not interpolate, or as in
            :meth:`ImageGridDisplay.from_generator`.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_renders(decoder, image_shape)
        source = fitted_generator(estimator, "interpolate")
        ways = source.interpolate(X1, X2, y, n_steps=n_steps)
        if decoder is None and has_bytes(X1):
            ways = to_bytes(ways)
        images = to_images(ways.reshape(-1, ways.shape[2]), decoder, image_shape)
        images = images.reshape(*ways.shape[:2], *images.shape[1:])
        return cls(images=images).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        scaled = make_scale(self.images)(self.images)
        self.image_, (centres,), _ = show_blocks(ax, [list(scaled)], kwargs)
        ax.set_xticks([centres[0], centres[-1]], ["first", "second"])
        ax.set_yticks([])
