"""The generator of mixed tables."""

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_is_fitted,
)

from ..._constraints import check_constraints, check_stored
from ..._doc_links import DocLinkMixin
from ..._generation import clone_generator, draw, fit_generator, unfrozen
from ..._seeds import draw_seeds
from ..._tables import (
    back_to_polars,
    find_categorical,
    is_polars,
    private_features,
    read_table,
)
from ..._validation import check_targets, encode_labels, fitting
from .._class_gaussian import ClassGaussian
from ._allowed import draw_allowed
from ._encoding import TableEncoding
from ._scores import Calibration, CodeDecoder, fill_scores, regress_on_codes

# Generated samples of a class that its calibration needs.
_MIN_CALIBRATION = 200
# Generated samples of a class that the shares of its categories need.
_N_DECODED = 1000


class TableGenerator(DocLinkMixin, BaseEstimator):
    """Learn tables with numbers, dates, categories and missing values.

    It turns a table into numbers for any generator, and generated numbers into samples
    with the columns, types and categories of the table:

    - A category is a state, and so are a missing value and a number that many samples
      share, such as 0. All states of a sample are drawn together from the training
      samples of its class, so that no new combination arises.
    - Other numbers, dates and durations become normal scores, which the generator
      learns together with one-hot codes of the states. Generated scores are corrected
      to those of the states drawn [1]_, and get the quantiles of their class.
    - Numbers stay in the observed range of their column, integers stay integers, and
      rounded numbers keep their decimals.

    .. warning::
        The range and the states of training samples are reproduced, and the fitted
        generator holds the training samples. For synthetic data that others get, see
        ``encoding="given"`` and :class:`~skcvae.anonymization.GenerativeAnonymizer`.

    Parameters
    ----------
    generator : estimator, default=None
        Generator of the scores and codes. It is cloned. None is
        :class:`~skcvae.generators.ClassGaussian`.

    categorical_features : "auto" or array-like, default="auto"
        Columns of categories: a mask, places or names, as
        :class:`imblearn.over_sampling.SMOTENC` takes them. "auto" takes columns of
        categories and strings. Columns of booleans count in any case.

    combinations : {"seen", "any"}, default="seen"
        "seen" draws the states of all columns together, as a training sample of the
        class had them. "any" takes each column from the generated codes, with the
        shares of its class: combinations may be new, and associations are weaker.

    constraints : list of str or callable, default=None
        Rules that each sample keeps. A string such as ``"loan <= income / 2"`` is
        evaluated by :meth:`pandas.DataFrame.eval` on the columns. A callable takes
        samples, a data frame of pandas or an array, and returns a mask. Samples that
        break a rule are drawn again up to twenty times. Then their numbers move towards
        those of the training sample with their states, up to the first place that is
        allowed: for linear inequalities the nearest on this line.

    bounds : dict, default=None
        For names of columns, or their numbers in an array, the lowest and highest
        value. Other columns keep their observed range.

    categories : dict, default=None
        For names of columns, or their numbers in an array, a list of all categories,
        which may hold a missing value. Others have the categories observed.

    encoding : {"learned", "given"}, default="learned"
        "given" scales each number by its `bounds` and learns no ranges, quantiles,
        shared values or categories: all of them must be given, and `combinations` be
        "any". Only the generator then learns from the samples. Numbers must not be
        missing. A private generator sees values beyond the bounds clipped, and unlisted
        categories as none; without one, both are refused.

    max_discrete : int, default=20
        A column of numbers with at most so many distinct values consists of states. Of
        other columns, each value that at least one in `max_discrete` samples has is a
        state.

    random_state : int, RandomState instance or None, default=None
        Seed, also of `generator`, unless that has an integer of its own.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator of scores and codes.

    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of training samples of each class.

    categorical_features_ : ndarray of int
        Places of the columns of categories.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where all are strings.

    See Also
    --------
    skcvae.over_sampling.GenerativeOverSampler : Over-samples tables with it.
    skcvae.metrics.table_quality : Compares real and generated tables by column.

    References
    ----------
    .. [1] Y. Hoffman and E. Ribak, "Constrained realizations of Gaussian fields: a
       simple algorithm", Astrophysical Journal 380, L5-L8, 1991.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skcvae.generators import TableGenerator
    >>> rng = np.random.RandomState(0)
    >>> income = rng.gamma(5, 10, 200).round(2)
    >>> X = pd.DataFrame(
    ...     {
    ...         "income": income,
    ...         "loan": (income * rng.uniform(0, 0.5, 200)).round(2),
    ...         "job": rng.choice(["office", "shop"], 200),
    ...     }
    ... )
    >>> X["loan"] = X["loan"].clip(upper=X["income"] / 2)
    >>> y = rng.choice(["paid", "late"], 200)
    >>> generator = TableGenerator(constraints=["loan <= income / 2"], random_state=0)
    >>> table, labels = generator.fit(X, y).sample(y=["late"] * 100)
    >>> bool((table["loan"] <= table["income"] / 2).all())
    True
    >>> sorted(set(table["job"]))
    ['office', 'shop']
    """

    _parameter_constraints: dict = {
        "generator": [HasMethods(["fit", "sample"]), None],
        "categorical_features": ["array-like", StrOptions({"auto"})],
        "combinations": [StrOptions({"seen", "any"})],
        "constraints": [list, tuple, None],
        "bounds": [dict, None],
        "categories": [dict, None],
        "encoding": [StrOptions({"learned", "given"})],
        "max_discrete": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        generator: Any = None,
        *,
        categorical_features: Any = "auto",
        combinations: str = "seen",
        constraints: list | None = None,
        bounds: dict | None = None,
        categories: dict | None = None,
        encoding: str = "learned",
        max_discrete: int = 20,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.generator = generator
        self.categorical_features = categorical_features
        self.combinations = combinations
        self.constraints = constraints
        self.bounds = bounds
        self.categories = categories
        self.encoding = encoding
        self.max_discrete = max_discrete
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the distribution of the samples of each class.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, (n_samples, n_features)
            Training samples, at least two.

        y : array-like of shape (n_samples,)
            Class of each sample.

        Returns
        -------
        self : object
            The fitted generator.

        Raises
        ------
        ValueError
            If training samples break a constraint or lie outside of `bounds` or
            `categories`, with their number; or if the input is invalid.
        """
        with fitting(self):
            self._fit(X, y)
        return self

    def _fit(self, X, y):
        fit_seed, seed = draw_seeds(check_random_state(self.random_state), 2)
        generator = self.make_generator()
        if self.encoding == "given":
            is_private = hasattr(generator, "privacy_statement")
            encoded, y = self.fit_given(X, y, is_private)
            fit = type(generator).fit if is_private else fit_generator
            fitted = fit(generator, encoded, y)
            known = getattr(unfrozen(fitted), "classes_", None)
            self.draw_from(fitted, np.unique(y) if known is None else known)
            return
        if hasattr(generator, "privacy_statement"):
            raise ValueError(
                f"{type(generator).__name__} is private, and a learned encoding is "
                "not: set encoding='given'."
            )
        table, y = self._read(X, y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.class_count_ = np.bincount(labels)
        rng = np.random.RandomState(fit_seed)
        scores, states, numbers = self._encoding.fit(table, rng)
        if self.constraints:
            stored = self._encoding.to_table(states, self._encoding.snap(numbers))
            check_stored(self.constraints, stored)
        codes = self._encoding.one_hot.encode(states)
        filled = fill_scores(scores, codes, labels, rng)
        encoded = np.column_stack([filled, codes])
        if not encoded.shape[1]:
            # Each column holds one value. A generator takes one feature at least.
            encoded = np.ones((len(table), 1))
        with warnings.catch_warnings():
            # A score of 0 is a median, and no failed feature extraction.
            warnings.filterwarnings("ignore", ".* samples of X are all zeros")
            self.generator_ = fit_generator(generator, encoded, y)
        order = np.argsort(labels, kind="stable")
        self._members = np.split(order, np.cumsum(self.class_count_)[:-1])
        self._states, self._training_numbers = states, numbers
        self._slopes = regress_on_codes(filled, codes, labels)
        self._calibrate(scores, codes, seed)

    def make_generator(self):
        """Return the unfitted generator of scores and codes."""
        generator = ClassGaussian() if self.generator is None else self.generator
        return clone_generator(generator, self.random_state)

    def fit_given(self, X, y, is_private=False):
        """Return scores and codes of samples, and labels: for ``encoding="given"``.

        :meth:`draw_from` takes a generator that was fitted to them. With `is_private`,
        no error depends on the values of samples.
        """
        table, y = self._read(X, y, is_private)
        scores, states, _ = self._encoding.fit(table, None, is_private)
        return np.column_stack([scores, self._encoding.one_hot.encode(states)]), y

    def draw_from(self, generator, classes):
        """Draw scores and codes from a fitted generator: for ``encoding="given"``."""
        self.generator_, self.classes_ = generator, classes
        labels = np.repeat(np.arange(len(classes)), _N_DECODED)
        scores, codes = self._draw_encoded(labels, np.random.RandomState(0))
        self._slopes = regress_on_codes(scores, codes, labels)
        one_hot = self._encoding.one_hot
        self._decoders = [
            CodeDecoder(one_hot, codes[labels == label])
            for label in range(len(classes))
        ]
        return self

    def _read(self, X, y, is_private=False):
        """Return checked samples as a table, and labels; make the encoding."""
        is_given = self.encoding == "given"
        if is_given and self.combinations == "seen":
            raise ValueError(
                "encoding='given' keeps no combinations of the training samples: set "
                "combinations='any'."
            )
        self._polars = X.head(0) if is_polars(X) else None
        table = read_table(X)
        if not is_private:
            # An error would tell of a label. The private generator checks them itself.
            check_targets(y)
        y = column_or_1d(y, warn=True)
        check_consistent_length(table, y)
        if len(table) < 2 and not is_private:
            raise ValueError(
                f"Found array with {len(table)} sample(s) (shape={table.shape}) while "
                "a minimum of 2 is required."
            )
        _check_feature_names(self, table, reset=True)
        _check_n_features(self, table, reset=True)
        if not is_private:
            check_constraints(self.constraints or (), table)
        features = self.categorical_features
        if is_private:
            features = private_features(table, features, self.categories or {})
        categorical = find_categorical(table, features)
        self.categorical_features_ = np.flatnonzero(categorical)
        self._encoding = TableEncoding(
            table,
            categorical,
            self.bounds or {},
            self.categories or {},
            None if is_given else self.max_discrete,
        )
        return table, y

    def _calibrate(self, scores, codes, seed):
        """Learn maps from generated to real scores and shares of each class."""
        rng = np.random.RandomState(seed)
        is_any = self.combinations == "any"
        sizes = np.maximum(
            self.class_count_, _N_DECODED if is_any else _MIN_CALIBRATION
        )
        labels = np.repeat(np.arange(len(sizes)), sizes)
        encoded = self._draw_encoded(labels, rng)
        if is_any:
            self._decoders = [
                CodeDecoder(
                    self._encoding.one_hot,
                    encoded[1][labels == label],
                    codes[members].mean(axis=0),
                )
                for label, members in enumerate(self._members)
            ]
        drawn, states, _ = self._correct(labels, *encoded, rng)
        drawn = np.where(self._encoding.is_scored(states), drawn, np.nan)
        self._calibrations = [
            list(map(Calibration, scores[members].T, drawn[labels == label].T))
            for label, members in enumerate(self._members)
        ]

    def sample(
        self,
        n_samples: int | None = None,
        *,
        y: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[Any, Any]:
        """Draw samples, one for each label of `y` or `n_samples` of any class.

        Parameters
        ----------
        n_samples : int, default=None
            Number of samples to draw when `y` is not given. Their classes are drawn
            from the class distribution of the training samples. None draws as many
            samples as the generator was fitted on.

        y : array-like of shape (n_samples,), default=None
            Labels, each in `classes_`. One sample is drawn for each, in this order.

        random_state : int, RandomState instance or None, default=None
            Seed of this call. None uses the parameter `random_state`: where that is an
            integer, each call returns the same samples.

        Returns
        -------
        X : DataFrame or ndarray of shape (n_samples, n_features)
            Generated samples, in the container and types of the training samples.

        y : ndarray of shape (n_samples,)
            Their labels.

        Raises
        ------
        ValueError
            If both `n_samples` and `y` are given, `n_samples` is negative, `y` holds a
            class that was not in the training samples, or with ``combinations="any"``
            too few samples keep the constraints.
        """
        check_is_fitted(self)
        rng = check_random_state(
            self.random_state if random_state is None else random_state
        )
        rng = np.random.RandomState(draw_seeds(rng, 3)[2])
        if y is None:
            y = self.generator_.sample(n_samples, random_state=rng.randint(2**31))[1]
        elif n_samples is not None:
            raise ValueError("Give either n_samples or y, not both.")
        labels = encode_labels(y, self.classes_)
        table = self._encoding.to_table(*draw_allowed(self, labels, rng))
        if self._polars is not None:
            table = back_to_polars(table, self._polars)
        return table, self.classes_[labels]

    def _draw(self, labels, rng, parents=None):
        """Return states, numbers, and the training samples that had the states."""
        encoded = self._draw_encoded(labels, rng)
        scores, states, parents = self._correct(labels, *encoded, rng, parents)
        if self.encoding == "learned":
            for label in np.unique(labels):
                of = np.flatnonzero(labels == label)
                for k, calibrate in enumerate(self._calibrations[label]):
                    scores[of, k] = calibrate(scores[of, k])
        return states, self._encoding.to_numbers(scores), parents

    def _draw_encoded(self, labels, rng):
        """Return scores and codes that the generator draws for class codes."""
        encoded, _ = draw(
            self.generator_, self.classes_[labels], random_state=rng.randint(2**31)
        )
        ends = np.cumsum([self._encoding.n_numbers, self._encoding.one_hot.n_codes])
        scores, codes, _ = np.split(encoded.astype(np.float64), ends, axis=1)
        return scores, codes

    def _correct(self, labels, scores, codes, rng, parents=None):
        """Return scores for states, the states, and the samples that had them."""
        one_hot = self._encoding.one_hot
        members = {label: labels == label for label in np.unique(labels)}
        if self.combinations == "seen":
            if parents is None:
                parents = np.empty(len(labels), dtype=np.intp)
                for label, of in members.items():
                    parents[of] = rng.choice(self._members[label], of.sum())
            states = self._states[parents]
        else:
            entries = np.empty((len(labels), self.n_features_in_), dtype=np.intp)
            for label, of in members.items():
                entries[of] = self._decoders[label](codes[of])
            states = one_hot.to_states(entries, rng)
        change = one_hot.encode(states) - codes
        corrected = scores.copy()
        for label, of in members.items():
            corrected[of] += change[of] @ self._slopes[label]
        return corrected, states, parents

    def __sklearn_is_fitted__(self):
        return hasattr(self, "generator_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags
