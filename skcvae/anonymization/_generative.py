"""The anonymizer around any generator."""

from copy import copy
from numbers import Real
from typing import Any

import numpy as np
from joblib import Memory
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import validate_data

from .._generation import (
    clone_generator,
    drawing_seed,
    takes_any_values,
    unfrozen,
)
from .._tables import to_pandas
from .._validation import forget_fit
from ..generators import ClassGaussian, TableGenerator
from ._base import (
    MIN_CLASS_SIZE,
    SMALL_CLASS_CONSTRAINTS,
)
from ._base_generative import BaseGenerativeAnonymizer


class GenerativeAnonymizer(BaseGenerativeAnonymizer):
    """Replace samples by draws from any generator of :mod:`skcvae.generators`.

    `fit_transform` returns a synthetic sample for each training sample; `transform`
    returns its input unchanged, so that a pipeline is trained on synthetic samples and
    tested on real ones.

    .. note::
        ``fit_transform(X, y)`` is not ``fit(X, y).transform(X)``: :meth:`transform`
        anonymizes nothing. Publish only what :meth:`fit_transform`, :meth:`sample` or
        :meth:`release` return.

    Parameters
    ----------
    generator : estimator, default=None
        Generator with the methods `fit(X, y)` and `sample(y=...)`. It is cloned, so
        that the one given stays unfitted. None is
        :class:`~skcvae.generators.ClassGaussian`, which needs no training loop, and
        whose ``covariance_shrinkage="auto"`` becomes "factors" here;
        :class:`~skcvae.generators.DPClassGaussian` is differentially private. A
        :class:`~skcvae.generators.CVAE` keeps its own defaults: those of
        :class:`CVAEAnonymizer`, ``hidden_dim="auto"`` and ``beta=2.0``, disclose less.
        With a :class:`~skcvae.generators.TableGenerator`, samples are tables with
        categories. It needs ``encoding="given"``, with which it learns no range, no
        quantile and no category. :meth:`release` and :meth:`batches` refuse tables.

    min_distance : float, tuple or None, default=None
        Smallest Euclidean distance of a generated sample to any training sample, in the
        units of `X`, or ``("quantile", q)`` of the distances of the training samples to
        their own nearest neighbours. Samples that are closer are drawn again. This
        filter discloses information: a region without generated samples shows that a
        training sample is near. It needs the training samples, which are kept in memory
        but not pickled.

    small_classes : {"error", "merge", "suppress", "allow"}, default="error"
        What happens to classes with fewer than `min_class_size` distinct samples.
        Private generators are exempt: such a count would tell of a sample.

        - "error" raises a ValueError.
        - "merge" lets the generator learn them, smallest first, as a part of the class
          with the nearest mean. `fit_transform` and ``sample(y=...)`` then draw from
          that class for their labels, which stay as they are. ``sample(n_samples)``,
          `batches` and `release` have the labels of `classes_` only.
        - "suppress" leaves them out. `fit_transform` returns the mean of all others in
          the place of their samples, marks these in `suppressed_` and warns. Drop them
          and their labels.
        - "allow" draws from them.

        Label sets, `y` of shape (n_samples, n_labels), are treated in the same way, but
        for "merge": from the sets of most labels on, a rare one loses the label that
        fewest samples have, until enough samples share what is left. Samples that are
        rare without any label are suppressed. What is drawn, released or asked for is
        a set of `label_sets_`. Publish `published_label_sets_` with the samples of
        `fit_transform`: `y` holds the rare combinations.

    min_class_size : int, default=10
        Least number of distinct samples of a class or label set. Near copies count as
        distinct.

    max_mean_leakage : float, default=0.9
        Largest expected AUC, for any class, with which class means may tell members to
        an attacker who knows the true ones. :meth:`release`, :meth:`batches` and the
        commands refuse more; at 0.9, members come before others in nine pairs of ten. 1
        allows all. Private generators are exempt.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators. Candidates of a grid search that differ only in
        parameters of sampling then share one training per fold. Needs an integer
        `random_state`. It is as sensitive as the samples.

    random_state : int, RandomState instance or None, default=None
        Seed of what has none of its own: an integer `random_state` of `generator` is
        kept. Keep it secret: with it, anybody can draw the same noise. It voids the
        guarantee of a private generator.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator.

    classes_ : ndarray of shape (n_classes,)
        Labels that the generator learned, sorted: those of :meth:`fit` without small
        classes that are merged or suppressed.

    merged_classes_ : dict
        For the label of each merged class, the label of the class that is drawn in its
        place. Not with a private generator.

    suppressed_ : ndarray of shape (n_samples,)
        True for suppressed samples. Not with a private generator.

    suppressed_classes_ : ndarray
        Labels of suppressed classes, or labels that no learned label set has. Not with
        a private generator.

    label_sets_ : ndarray of shape (n_sets, n_labels)
        Label sets that can be drawn, bool. Only with label sets, as what follows;
        `classes_` are then the names of the labels.

    published_label_sets_ : ndarray of shape (n_samples, n_labels)
        Label set of 0 and 1 that each sample of `fit_transform` is drawn for; without
        labels where it is suppressed. It is not pickled.

    mean_leakage_ : MeanLeakage
        What class means tell about members, predicted from the training samples:
        `samples`, the expected AUC for a release of as many samples, and `decoder`, for
        a release or a stream; both for the class that is worst off, and an attacker who
        knows the true means. ``auc(n_synthetic, n_reference)`` is that of each class,
        and of an attacker with `n_reference` samples of it. Not with a private
        generator. Keep it private: it holds the class counts.

    n_redrawn_ : int
        With `min_distance`: number of samples of the last draw that were too close.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    CVAEAnonymizer : The same with a CVAE and its parameters.
    KSameAnonymizer : Replaces samples by means of k samples.
    skcvae.privacy.privacy_audit : Attacks the synthetic samples.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from skcvae.anonymization import GenerativeAnonymizer
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> anonymizer = GenerativeAnonymizer(random_state=0)
    >>> pipeline = make_pipeline(anonymizer, LogisticRegression(max_iter=2000))
    >>> pipeline.fit(X_train, y_train).score(X_test, y_test) > 0.8
    True
    """

    _parameter_constraints: dict = {
        "generator": [HasMethods(["fit", "sample"]), None],
        "min_distance": [Interval(Real, 0, None, closed="left"), tuple, None],
        **SMALL_CLASS_CONSTRAINTS,
        "max_mean_leakage": [Interval(Real, 0.5, 1, closed="both")],
        "memory": [str, Memory, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        generator: Any = None,
        *,
        min_distance: float | tuple[str, float] | None = None,
        small_classes: str = "error",
        min_class_size: int = MIN_CLASS_SIZE,
        max_mean_leakage: float = 0.9,
        memory: str | Memory | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.generator = generator
        self.min_distance = min_distance
        self.small_classes = small_classes
        self.min_class_size = min_class_size
        self.max_mean_leakage = max_mean_leakage
        self.memory = memory
        self.random_state = random_state

    def _pass_through(self, X):
        if not self._makes_tables():
            return super()._pass_through(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        return X

    def _draw(self, n_samples=None, *, y=None, variance=None, random_state=None):
        if not self._makes_tables():
            return super()._draw(
                n_samples, y=y, variance=variance, random_state=random_state
            )
        if variance is not None:
            raise ValueError("Set variance on the generator inside of TableGenerator.")
        if random_state is None:
            random_state = drawing_seed(self.generator_, self.random_state)
        table = copy(self._table)
        table.generator_ = _Encoded(super()._draw)
        return table.sample(n_samples, y=y, random_state=random_state)

    def _makes_tables(self):
        return isinstance(unfrozen(self.generator), TableGenerator)

    def _make_generator(self):
        if self._makes_tables():
            # Its covariance does not leave: a table has no release. One variance for
            # all other directions, as "factors" has, fits no numbers beside codes.
            inner = self._table.make_generator()
            return clone_generator(inner, self.random_state, self.memory)
        generator = ClassGaussian() if self.generator is None else self.generator
        generator = clone_generator(generator, self.random_state, self.memory)
        if generator.get_params().get("covariance_shrinkage") == "auto":
            generator.set_params(covariance_shrinkage="factors")
        return generator

    def _check_and_fit(self, X, y):
        if not self._makes_tables():
            return super()._check_and_fit(X, y)
        if self.generator.get_params().get("encoding") != "given":
            raise ValueError(
                "An anonymizer must not learn ranges, quantiles and categories of the "
                "samples: use TableGenerator(encoding='given', combinations='any', "
                "bounds=..., categories=...), not frozen."
            )
        if self.small_classes == "suppress":
            raise ValueError(
                "small_classes='suppress' replaces samples by a mean, which a table "
                "does not have: merge small classes, or drop them before."
            )
        forget_fit(self)
        self._table = clone(self.generator)
        is_private = hasattr(self._make_generator(), "privacy_statement")
        encoded, y = self._table.fit_given(X, y, is_private)
        labels = super()._check_and_fit(encoded, y)
        known = self.classes_ if is_private else np.unique(labels)
        self._table.draw_from(_Encoded(super()._draw), known)
        # It draws through this anonymizer, which a pickle must not hold twice.
        self._table.generator_ = None
        # The columns of the table, and not the codes, are the features.
        validate_data(self, to_pandas(X), skip_check_array=True)
        return labels

    def _check_stream(self, min_class_size=1):
        if self._makes_tables():
            raise ValueError(
                "A table cannot be released or streamed, because the file has no place "
                "for its columns: share what fit_transform or sample return."
            )
        super()._check_stream(min_class_size)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = takes_any_values(self.generator)
        return tags


class _Encoded:
    """Generator whose `sample` is that of an anonymizer, in scores and codes."""

    random_state = None

    def __init__(self, draw):
        self._draw = draw

    def sample(self, n_samples=None, *, y=None, random_state=None):
        return self._draw(n_samples, y=y, random_state=random_state)
