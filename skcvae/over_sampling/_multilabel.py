"""Over-sampling of samples with several labels."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, Self

import numpy as np
from joblib import Memory
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import validate_data

from .._doc_links import DocLinkMixin
from .._generation import (
    check_frozen_names,
    clone_generator,
    draw,
    drawing_seed,
    fit_into,
)
from .._label_sets import find_label_sets, read_label_sets
from .._states import ArrayStateMixin
from .._tables import back_to_polars, to_pandas
from .._validation import check_finite_in_float32, check_numbers, forget_fit
from ..generators import ClassGaussian
from ._discrete import discrete_ranges, round_discrete
from ._label_set_choice import choose_label_sets
from ._strategies import MeanRatioStrategy, RatioStrategy, Strategy


class MultilabelOverSampler(DocLinkMixin, ArrayStateMixin, BaseEstimator):
    r"""Over-sample rare labels where samples have several labels, or none.

    A new sample has a label set that occurs in training, and a generator draws it for
    this set. As rare labels come with frequent ones, the sets are those that lift each
    rare label to its target and change the distribution of label sets least. How often
    set :math:`s` is there afterwards, :math:`N_s`, instead of :math:`m_s` before, is
    the minimum of

    .. math:: \sum_s m_s \, \varphi(N_s / m_s)
        + \lambda \sum_l \Bigl(\sum_{s \ni l} N_s - t_l\Bigr)_+, \quad
        \varphi(x) = x \log x - x + 1

    over :math:`N_s \ge m_s` that give each label :math:`l` at least its target
    :math:`t_l`. The first sum is a Kullback-Leibler divergence. The second counts
    labels that are added beyond their target, at the cost :math:`\lambda`. The problem
    is convex, with one dual variable for each label, and is solved exactly up to whole
    numbers.

    Each label with samples reaches its target, also one that occurs with frequent
    labels only: these then rise, too, and `label_counts_` says by how much. Labels
    without samples stay without.

    Parameters
    ----------
    generator : estimator, default=None
        Generator with the methods `fit(X, Y)` and `sample(y=Y)`, for label sets `Y` of
        shape (n_samples, n_labels). It is cloned; a fitted one in scikit-learn's
        FrozenEstimator is used as it is. None is
        :class:`~skcvae.generators.ClassGaussian` with a variance of 0: new samples are
        the means of their label sets. A rare label has few new samples, and classifiers
        learn the noise of these.

    sampling_strategy : {"auto"}, float, dict, callable, default="auto"
        How many samples a label shall have at least. A number in (0, 1] is a share of
        the most frequent label. :class:`PowerStrategy` and :class:`RatioStrategy`
        compute it from the counts. A dict goes from label, the name of its column in a
        frame, else its number, to the count; a function returns such a dict for `Y`,
        an array. "auto" is the
        harmonic mean of the counts of labels with samples. These are the labels of
        ML-ROS [1]_, whose imbalance ratio is above the mean, and it is reduced to it.

    inflation_cost : float, default=1.0
        The cost :math:`\lambda`, in [0, 100]: for 0, sets of a rare label rise alike;
        the larger it is, the more those without frequent labels do instead.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators, as in :class:`GenerativeOverSampler`.

    random_state : int, RandomState instance or None, default=None
        Seed of the choice of sets and of `generator`, unless it has an integer of its
        own: see :ref:`seeds-and-fitted-parts`.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator.

    sampling_strategy_ : dict
        How many samples each label lacks to its target, for labels that lack some.

    label_counts_ : ndarray of shape (2, n_labels)
        Number of samples with each label, before and after. Set by
        :meth:`fit_resample`.

    n_added_ : int
        Number of new samples. Set by :meth:`fit_resample`.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    GenerativeOverSampler : For one class for each sample.

    References
    ----------
    .. [1] F. Charte, A. J. Rivera, M. J. del Jesus, F. Herrera, "Addressing imbalance
       in multilabel classification: measures and random resampling algorithms",
       Neurocomputing 163, 2015.

    .. [2] J.-C. Deville, C.-E. Särndal, "Calibration estimators in survey sampling",
       JASA 87, 1992: weights that meet totals at the least change.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from skcvae.over_sampling import MultilabelOverSampler
    >>> X, Y = make_multilabel_classification(200, n_classes=4, random_state=1)
    >>> sampler = MultilabelOverSampler(sampling_strategy=0.8, random_state=0)
    >>> X_resampled, Y_resampled = sampler.fit_resample(X, Y)
    >>> sampler.label_counts_.tolist()
    [[117, 131, 17, 100], [205, 219, 105, 188]]
    """

    _parameter_constraints: dict = {
        "generator": [HasMethods(["fit", "sample"]), None],
        "sampling_strategy": [
            StrOptions({"auto"}),
            Interval(Real, 0, 1, closed="right"),
            dict,
            callable,
        ],
        "inflation_cost": [Interval(Real, 0, 100, closed="both")],
        "memory": [str, Memory, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        generator=None,
        *,
        sampling_strategy="auto",
        inflation_cost=1.0,
        memory=None,
        random_state=None,
    ):
        self.generator = generator
        self.sampling_strategy = sampling_strategy
        self.inflation_cost = inflation_cost
        self.memory = memory
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Check the samples, count what labels lack, and train the generator.

        :meth:`fit_resample` does all of this, too: call `fit` only for its attributes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : {array-like, sparse matrix} of shape (n_samples, n_labels)
            Label sets: 1 where a sample has a label, 0 elsewhere.

        Returns
        -------
        self : object
            The fitted sampler.
        """
        X, sets, _ = self._check(to_pandas(X), to_pandas(y))
        self._train(X, sets)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Learn from the samples, and add some that have rare labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples: NumPy array, list, or DataFrame of pandas or polars.

        y : {array-like, sparse matrix} of shape (n_samples, n_labels)
            Label sets: 1 where a sample has a label, 0 elsewhere.

        Returns
        -------
        X_resampled : array-like of shape (n_samples_new, n_features)
            The samples of `X`, first and unchanged, then the new ones, in the type of
            `X`. New values of integer and boolean columns are rounded.

        y_resampled : {array-like, sparse matrix} of shape (n_samples_new, n_labels)
            Their label sets, in the type of `y`.

        Raises
        ------
        ValueError
            If `y` has one dimension or one column, or other values than 0 and 1; if
            `sampling_strategy` is a dict with unknown labels, labels without samples,
            or counts that are below those of `y`, or no whole numbers.

        TypeError
            If a function as `sampling_strategy` returns no dict.
        """
        frames = to_pandas(X), to_pandas(y)
        checked, sets, targets = self._check(*frames)
        self._train(checked, sets)
        seed = drawing_seed(self.generator_, self.random_state)
        rng = check_random_state(seed)
        new_sets = choose_label_sets(sets, targets, self.inflation_cost, rng)
        drawn = np.empty((0, checked.shape[1]))
        if len(new_sets):
            drawn, _ = draw(self.generator_, new_sets.astype(int), random_state=seed)
        drawn = round_discrete(drawn, checked.dtype, discrete_ranges(frames[0]))
        self.n_added_ = len(new_sets)
        before = sets.sum(axis=0)
        self.label_counts_ = np.stack([before, before + new_sets.sum(axis=0)])
        # Samples of these sets tell how they are written: 1, 1.0, True or a category.
        places = find_label_sets(new_sets, sets)
        extended = _extend(frames[0], drawn), _repeat(frames[1], places)
        X_resampled, y_resampled = map(back_to_polars, extended, (X, y))
        return X_resampled, y_resampled

    def _check(self, X, y):
        """Return validated samples, label sets and the target count of each label."""
        forget_fit(self)
        sets, names = read_label_sets(y, one_label="GenerativeOverSampler")
        names = names.tolist()
        check_frozen_names(self.generator, y)
        X = check_numbers(X)
        discrete_ranges(X)
        X = validate_data(self, X, ensure_min_samples=2)
        check_finite_in_float32(X, getattr(self, "feature_names_in_", None))
        check_consistent_length(X, sets)
        counts = sets.sum(axis=0)
        targets = _find_targets(self.sampling_strategy, sets, names)
        self.sampling_strategy_ = {
            name: int(lacking)
            for name, lacking in zip(names, targets - counts, strict=True)
            if lacking
        }
        return X, sets, targets

    def _train(self, X, sets):
        generator = self.generator
        if generator is None:
            generator = ClassGaussian(variance=0)
        generator = clone_generator(generator, self.random_state, self.memory)
        fit_into(self, generator, X, sets.astype(int), self.memory)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "generator_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = "sampler"
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        return tags


def _find_targets(strategy, sets, names):
    """Return how many samples each label shall have, at least as many as it has."""
    counts = sets.sum(axis=0)
    if isinstance(strategy, str):
        strategy = MeanRatioStrategy()
    if isinstance(strategy, Real):
        strategy = RatioStrategy(strategy)
    if not isinstance(strategy, Strategy):
        asked = strategy if isinstance(strategy, Mapping) else strategy(sets * 1)
        if not isinstance(asked, Mapping):
            raise TypeError(
                "sampling_strategy must return a dict from label to number of samples, "
                f"got {type(asked).__name__}."
            )
        return _read_targets(asked, counts, names)
    targets, known = counts.copy(), counts > 0
    if known.any():
        targets[known] = strategy.sizes(counts[known])
    return targets


def _read_targets(asked, counts, names):
    """Return target counts with those that a dict asks for; refuse what cannot be."""
    unknown = [label for label in asked if label not in names]
    if unknown:
        raise ValueError(f"sampling_strategy names labels that y lacks: {unknown}.")
    targets = counts.copy()
    for label, target in asked.items():
        place = names.index(label)
        if not (isinstance(target, Real) and float(target).is_integer()):
            raise ValueError(
                "sampling_strategy must ask for whole numbers of samples, got "
                f"{target!r} for the label {label!r}."
            )
        if target < counts[place]:
            raise ValueError(
                f"sampling_strategy asks for {target} samples with the label "
                f"{label!r}, which has {counts[place]}, and takes none away."
            )
        if target and not counts[place]:
            raise ValueError(
                f"The label {label!r} has no samples to learn from, and "
                f"sampling_strategy asks for {target}. Leave it out."
            )
        targets[place] = target
    return targets


def _extend(X, drawn):
    """Return samples with new ones, in the type of `X`."""
    if hasattr(X, "iloc"):
        import pandas as pd

        drawn = pd.DataFrame(drawn, columns=X.columns).astype(X.dtypes)
        return pd.concat([X, drawn], ignore_index=True)
    X = np.asarray(X)
    return np.concatenate([X, drawn.astype(X.dtype)])


def _repeat(y, places):
    """Return label sets and those at some places once more, in the type of `y`."""
    if not hasattr(y, "shape"):
        y = np.asarray(y)
    places = np.append(np.arange(y.shape[0]), places)
    if hasattr(y, "iloc"):
        return y.iloc[places].reset_index(drop=True)
    if sparse.issparse(y):
        return type(y)(y.tocsr()[places].asformat(y.format))
    return np.asarray(y)[places]
