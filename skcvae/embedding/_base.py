"""Base class of the embedders of images and of texts."""

from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)

from .._doc_links import DocLinkMixin
from .._states import ArrayStateMixin


class BaseEmbedder(
    DocLinkMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ArrayStateMixin,
    BaseEstimator,
):
    """Transformer of objects into vectors by a frozen model: it learns nothing.

    A subclass sets `_n_features_out` in `fit` and in `transform`.
    """

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
