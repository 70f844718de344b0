"""Over-sampling with any generator."""

import numpy as np
from imblearn.utils import check_target_type
from joblib import Memory
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import validate_data

from .._generation import (
    check_drawable,
    clone_generator,
    drawing_seed,
    takes_any_values,
    unfrozen,
)
from .._several_labels import check_one_hot
from .._tables import cast_like, column_names, read_table
from ..generators import ClassGaussian, TableGenerator
from ._base import BaseGenerativeOverSampler


class GenerativeOverSampler(BaseGenerativeOverSampler):
    """Over-sample with any generator of :mod:`skcvae.generators`.

    Parameters
    ----------
    generator : estimator, default=None
        Generator with the methods `fit(X, y)` and `sample(y=...)`. It is cloned; a
        fitted one in scikit-learn's FrozenEstimator is used as it is. None is
        :class:`~skcvae.generators.ClassGaussian`, which needs no training loop.

    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as in :class:`CVAEOverSampler`.

    categorical_features : "auto", array-like or None, default=None
        Columns of categories of a table, as :class:`imblearn.over_sampling.SMOTENC`
        takes them: a mask, places or names. "auto" takes columns of categories and
        strings. A :class:`~skcvae.generators.TableGenerator` around `generator` then
        draws samples with the categories, types and missing values of the table. None
        takes numbers only.

    constraints : list of str or callable, default=None
        Rules that all training samples and each new sample keep, such as
        ``"loan <= income / 2"``: see :class:`~skcvae.generators.TableGenerator`. With
        them, None as `categorical_features` means "auto".

    memory : str or joblib.Memory, default=None
        Cache of fitted generators. Candidates of a grid search that differ in
        `sampling_strategy` or in what a generator uses only when it samples then
        share one training per fold. Needs an integer `random_state`. It holds fitted
        generators and no samples, but protect it as you protect the samples: the mean
        of a class of one sample is that sample.

    random_state : int, RandomState instance or None, default=None
        Seed of `generator`, unless it has an integer of its own: see
        :ref:`seeds-and-fitted-parts`.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator.

    sampling_strategy_ : dict
        Number of samples to generate for each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    CVAEOverSampler : The same with a CVAE and its parameters.
    MultilabelOverSampler : For samples with several labels, or none.
    imblearn.over_sampling.SMOTE : Interpolates between neighbours.

    Examples
    --------
    >>> from collections import Counter
    >>> from sklearn.datasets import make_classification
    >>> from skcvae.over_sampling import GenerativeOverSampler
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> X_res, y_res = GenerativeOverSampler(random_state=0).fit_resample(X, y)
    >>> sorted(Counter(y_res.tolist()).items())
    [(0, 91), (1, 91)]
    """

    _parameter_constraints: dict = {
        **BaseGenerativeOverSampler._parameter_constraints,
        "generator": [HasMethods(["fit", "sample"]), None],
        "categorical_features": ["array-like", StrOptions({"auto"}), None],
        "constraints": [list, tuple, None],
        "memory": [str, Memory, None],
    }

    def __init__(
        self,
        generator=None,
        *,
        sampling_strategy="auto",
        categorical_features=None,
        constraints=None,
        memory=None,
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.generator = generator
        self.categorical_features = categorical_features
        self.constraints = constraints
        self.memory = memory
        self.random_state = random_state

    def _makes_tables(self):
        """Tell whether samples are tables, with categories or constraints."""
        given = self.categorical_features is not None or self.constraints is not None
        return given or isinstance(unfrozen(self.generator), TableGenerator)

    def _make_generator(self):
        generator = ClassGaussian() if self.generator is None else self.generator
        check_drawable(generator, ("fit", "sample"))
        given = self.categorical_features is not None or self.constraints is not None
        if given and isinstance(unfrozen(generator), TableGenerator):
            raise ValueError(
                "Give categorical_features and constraints to the TableGenerator, and "
                "leave them out here."
            )
        if self.memory is not None and self._makes_tables():
            raise ValueError(
                "memory does not take tables: a fitted TableGenerator holds the "
                "training samples, and a cache must not."
            )
        if given:
            listed = self.categorical_features
            generator = TableGenerator(
                generator,
                categorical_features="auto" if listed is None else listed,
                constraints=self.constraints,
            )
        return clone_generator(generator, self.random_state, self.memory)

    def _check_X_y(self, X, y):
        if not self._makes_tables():
            return super()._check_X_y(X, y)
        y = np.asarray(y) if isinstance(y, list) else y
        check_one_hot(y)
        y, binarize_y = check_target_type(y, indicate_one_vs_all=True)
        X = read_table(X)
        validate_data(self, X, y, skip_check_array=True)
        self._discrete = []
        return X, y, binarize_y

    def _resample(self, X, y):
        if not self._makes_tables():
            return super()._resample(X, y)
        labels = self._missing_labels(y)
        self._train(X, y)
        seed = drawing_seed(self.generator_, self.random_state)
        drawn, labels = self.generator_.sample(y=labels, random_state=seed)
        drawn = read_table(drawn)
        if type(drawn) is not type(X) or column_names(drawn) != column_names(X):
            raise ValueError(
                "The frozen TableGenerator was fitted to other columns than those of X."
            )
        y_resampled = np.concatenate([y, labels.astype(y.dtype)])
        if not hasattr(X, "iloc"):
            return np.concatenate([X, drawn]), y_resampled
        import pandas as pd

        return pd.concat([X, cast_like(drawn, X)], ignore_index=True), y_resampled

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        is_table = self._makes_tables()
        tags.input_tags.allow_nan = is_table or takes_any_values(self.generator)
        tags.input_tags.string = tags.input_tags.categorical = is_table
        return tags
