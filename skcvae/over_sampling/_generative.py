"""Over-sampling with any generator."""

from joblib import Memory
from sklearn.utils._param_validation import HasMethods

from .._generation import clone_generator, takes_any_values
from ..generators import ClassGaussian
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
        "memory": [str, Memory, None],
    }

    def __init__(
        self,
        generator=None,
        *,
        sampling_strategy="auto",
        memory=None,
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.generator = generator
        self.memory = memory
        self.random_state = random_state

    def _make_generator(self):
        generator = ClassGaussian() if self.generator is None else self.generator
        return clone_generator(generator, self.random_state, self.memory)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = takes_any_values(self.generator)
        return tags
