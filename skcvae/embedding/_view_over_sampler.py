"""Over-sampling by augmented views of images, before they are embedded."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_target_type
from numpy.typing import ArrayLike
from PIL import Image
from sklearn.utils import check_consistent_length, check_random_state

from .._doc_links import DocLinkMixin
from .._seeds import draw_seeds
from ._images import ImageReadError, as_sources
from ._loading import View


class ViewOverSampler(DocLinkMixin, BaseOverSampler):
    """Over-sample images by random views of them: crops, flips, other colours.

    This is classical data augmentation, applied before the images are embedded. In a
    pipeline, the step makes views of training images only, and the embedder after it
    embeds images and views. A sampler of embeddings, such as
    :class:`~skcvae.over_sampling.CVAEOverSampler`, may follow the embedder.

    .. note::
        Split the data before you resample: a view of a test image in the training set
        is nearly a copy of it. A pipeline of imbalanced-learn does this correctly.

    Parameters
    ----------
    augment : callable, default=None
        Takes an upright RGB image of PIL and returns one, such as a transform of
        `torchvision.transforms.v2`. It must draw its random numbers from torch, which
        is seeded for each view. None crops at least half of the image, resizes the crop
        to the size of the image, mirrors it with probability 1/2, and changes
        brightness, contrast and saturation by up to a fifth.

    sampling_strategy : float, str, dict or callable, default="auto"
        Classes to fill up, as in imbalanced-learn: the desired ratio of minority to
        majority (binary only), "minority", "not minority", "not majority" ("auto"),
        "all", a dict from label to the number of images after resampling, or a function
        that returns such a dict for `y`.

    random_state : int, RandomState instance or None, default=None
        Seed of the views.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of views to make for each class.

    sample_indices_ : ndarray of shape (n_images_new,)
        Index in `X` of each image of the output, or of the image that it is a view of.

    See Also
    --------
    FoundationEmbedder : Embeds images and views.
    skcvae.over_sampling.CVAEOverSampler : Over-samples embeddings.

    Notes
    -----
    The workers of the embedder make a view when they read it. The numbers of views of
    two images of a class differ by at most one.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.embedding import ViewOverSampler
    >>> images = np.random.RandomState(0).randint(0, 256, (5, 32, 32, 3), np.uint8)
    >>> sampler = ViewOverSampler(random_state=0)
    >>> X_res, y_res = sampler.fit_resample(images, ["cat", "dog", "dog", "dog", "dog"])
    >>> y_res
    ['cat', 'dog', 'dog', 'dog', 'dog', 'cat', 'cat', 'cat']
    >>> sampler.sample_indices_
    array([0, 1, 2, 3, 4, 0, 0, 0])
    >>> X_res[-1].open().size
    (32, 32)
    """

    _parameter_constraints: dict = {
        **BaseOverSampler._parameter_constraints,
        "augment": [callable, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        augment: Callable[[Image.Image], Image.Image] | None = None,
        *,
        sampling_strategy: float | str | dict | Callable = "auto",
        random_state: int | np.random.RandomState | None = None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.augment = augment
        self.random_state = random_state

    def fit_resample(self, X: Any, y: ArrayLike) -> tuple[np.ndarray, Any]:
        """Add views of the images of small classes.

        Parameters
        ----------
        X : sequence of images
            As in :meth:`FoundationEmbedder.transform`.

        y : array-like of shape (n_images,)
            Class of each image.

        Returns
        -------
        X_resampled : ndarray of shape (n_images_new,), object
            The images of `X` as they were given, then the views. A
            :class:`FoundationEmbedder` reads both; the method `open` of a view returns
            an image of PIL.

        y_resampled : array-like of shape (n_images_new,)
            Their classes, in the type of `y`.

        Raises
        ------
        TypeError, ValueError
            If `X` is not a sequence of images, `y` does not hold classes, or `augment`
            does not return an image.
        """
        self._validate_params()
        return super().fit_resample(_as_objects(X), y)

    def _check_X_y(self, X, y):
        X = _as_objects(X)
        y, binarize_y = check_target_type(np.asarray(y), indicate_one_vs_all=True)
        check_consistent_length(X, y)
        return X, y, binarize_y

    def _fit_resample(self, X, y):
        rng = check_random_state(self.random_state)
        chosen = [np.arange(len(X))]
        for label, n_views in self.sampling_strategy_.items():
            of_class = rng.permutation(np.flatnonzero(y == label))
            chosen.append(np.resize(of_class, n_views))
        self.sample_indices_ = np.concatenate(chosen)
        added = self.sample_indices_[len(X) :]
        augment = _flip_crop_jitter if self.augment is None else self.augment
        views = np.empty(len(added), dtype=object)
        for i, seed in enumerate(draw_seeds(rng, len(added))):
            views[i] = View(X[added[i]], augment, seed)
        # An `augment` that fails must fail now, not while the views are embedded.
        with suppress(ImageReadError):
            for view in views[:1]:
                view.open()
        return np.concatenate([X, views]), y[self.sample_indices_]

    def __sklearn_is_fitted__(self):
        return hasattr(self, "sampling_strategy_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.sparse = False
        tags.input_tags.string = True
        tags.sampler_tags.sample_indices = True
        return tags


def _flip_crop_jitter(image):
    """Return a random crop of an image at its own size, mirrored or not, recoloured."""
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop((image.height, image.width), scale=(0.5, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ]
    )
    return transform(image)


def _as_objects(X):
    """Return images as an object array of shape (n_images,)."""
    sources = as_sources(X)
    images = np.empty(len(sources), dtype=object)
    for i, source in enumerate(sources):
        images[i] = source
    return images
