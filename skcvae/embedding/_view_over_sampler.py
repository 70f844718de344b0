"""Over-sampling by augmented views of images, before they are embedded."""

from contextlib import suppress

import numpy as np
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_target_type
from sklearn.utils import check_consistent_length, check_random_state

from .._doc_links import DocLinkMixin
from .._training import draw_seeds
from ._images import ImageReadError, as_sources
from ._views import View, flip_crop_jitter


class ViewOverSampler(DocLinkMixin, BaseOverSampler):
    """Over-sample images by random views of them: crops, flips, other colours.

    The classical augmentation, in the place where it belongs: before the model that
    embeds. In a pipeline, views are made of training images only, and the embedder
    after this step turns all of them into rows; a sampler of rows, such as
    :class:`~skcvae.over_sampling.CVAEOverSampler`, may follow it.

    .. note::
        Never resample before you split: a view of a test image in the training set is
        nearly a copy of it. Pipelines of imbalanced-learn take care of that.

    Parameters
    ----------
    augment : callable, default=None
        Takes an upright RGB image of PIL and returns one, such as a transform of
        `torchvision.transforms.v2`. Its random numbers must be those of torch, which
        are seeded for each view. None is a crop of at least half of the image, at the
        size of the image, mirrored or not, with up to a fifth more or less brightness,
        contrast and saturation.

    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as imbalanced-learn has it: the desired ratio of
        minority to majority (binary only), "minority", "not minority", "not majority"
        ("auto"), "all", a dict from label to the number of images after resampling, or
        a function that returns such a dict for `y`.

    random_state : int, RandomState instance or None, default=None
        Seed of the views.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of views to make for each class.

    sample_indices_ : ndarray of shape (n_images_new,)
        Which image of `X` each image of the output is, or is a view of.

    See Also
    --------
    FoundationEmbedder : The step after it.
    skcvae.over_sampling.CVAEOverSampler : Over-samples embeddings.

    Notes
    -----
    A view is made when the embedder reads it, by its `num_workers`. Each image of a
    class has as many views as any other one of it, or one more.

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

    def __init__(self, augment=None, *, sampling_strategy="auto", random_state=None):
        super().__init__(sampling_strategy=sampling_strategy)
        self.augment = augment
        self.random_state = random_state

    def fit_resample(self, X, y):
        """Add views of the images of small classes.

        Parameters
        ----------
        X : sequence of images
            As :meth:`FoundationEmbedder.transform` takes them.

        y : array-like of shape (n_images,)
            Class of each image.

        Returns
        -------
        X_resampled : ndarray of shape (n_images_new,), object
            The images of `X`, first and as they were given, then the views. A
            :class:`FoundationEmbedder` reads both; the method `open` of a view returns
            it as an image of PIL.

        y_resampled : array-like of shape (n_images_new,)
            Their classes, in the type of `y`.

        Raises
        ------
        TypeError, ValueError
            If `X` is no sequence of images, `y` holds no classes, or `augment`
            returns no image.
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
        augment = flip_crop_jitter if self.augment is None else self.augment
        views = np.empty(len(added), dtype=object)
        for i, seed in enumerate(draw_seeds(rng, len(added))):
            views[i] = View(X[added[i]], augment, seed)
        # A function that does not work is to be known now, not amid the embedding.
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


def _as_objects(X):
    """Return images as an object array of shape (n_images,)."""
    sources = as_sources(X)
    images = np.empty(len(sources), dtype=object)
    for i, source in enumerate(sources):
        images[i] = source
    return images
