"""Anonymizers that replace rows by draws from a generator."""

from abc import abstractmethod
from functools import partial
from numbers import Real

import numpy as np
from joblib import Memory
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._generation import clone_generator, draw, drawing_seed, fit_into
from .._neighbors import check_min_distance
from .._validation import check_samples, forget_fit
from .._warnings import warn_user
from ..generators import ClassGaussian
from ._base import BaseAnonymizer
from ._distance_floor import DistanceFloor
from ._release import write_release
from ._streams import BatchesMixin

_FLOOR_SENTENCE = (
    "Rows closer than min_distance to a training row were drawn again. This filter "
    "depends on the data and is no guarantee."
)
_LABELS_SENTENCE = (
    "fit_transform keeps the labels of the training rows, which the guarantee does not "
    "cover. sample(n_samples) draws them as well, from noisy counts."
)


def _has_decoder(anonymizer):
    return hasattr(anonymizer.generator_, "make_decoder")


class BaseGenerativeAnonymizer(BatchesMixin, BaseAnonymizer):
    """Anonymizer around a generator: trains it, then draws a stand-in for each row.

    A subclass implements `_make_generator`, which returns an unfitted generator, and
    has the parameters `min_distance`, `memory` and `random_state`.
    """

    _unpickled = (*BaseAnonymizer._unpickled, "_floor")

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Train the generator. :meth:`transform` will anonymize nothing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least two.

        y : array-like of shape (n_samples,)
            Class of each row.

        Returns
        -------
        self : object
            The fitted anonymizer.
        """
        self._check_and_fit(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_transform(self, X, y):
        """Train the generator, and return a synthetic row for each row of `X`.

        Not the same as ``fit(X, y).transform(X)``, which returns the real rows:
        :meth:`transform` anonymizes nothing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least two.

        y : array-like of shape (n_samples,)
            Class of each row.

        Returns
        -------
        X_synthetic : ndarray of shape (n_samples, n_features)
            Row i is drawn for the class `y[i]`; beyond that it has nothing to do with
            row i of `X`.

        Raises
        ------
        ValueError
            If the input is faulty, or rows cannot be drawn that are at least
            `min_distance` from every training row.
        """
        _, y = self._check_and_fit(X, y)
        return self.sample(y=y)[0]

    def sample(self, n_samples=None, *, y=None, variance=None, random_state=None):
        """Draw new synthetic rows, one for each label of `y` or `n_samples` of any.

        Parameters
        ----------
        n_samples : int, default=None
            Number of rows to draw when `y` is not given, with classes drawn from the
            class distribution of the training rows [1]_. None draws as many rows as
            there were training rows.

        y : array-like of shape (n_samples,), default=None
            Labels to draw a row for, in this order. Each must be in `classes_`.

        variance : float, dict or array-like of shape (n_classes,), default=None
            Replaces the generator's `variance` in this call.

        random_state : int, RandomState instance or None, default=None
            Seed of this call. None uses the generator's: where that is an integer,
            each call returns the same rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Synthetic rows, in the floating-point type of the training rows.

        y : ndarray of shape (n_samples,)
            Their labels.

        Raises
        ------
        ValueError
            If both `n_samples` and `y` are given, `n_samples` is negative, `y` holds a
            class that was not in the training rows, or `min_distance` cannot be kept.

        References
        ----------
        .. [1] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
           datasets by capturing feature distributions with Conditional VAEs",
           BMVC 2024, arXiv 2408.00639, Algorithm 2.
        """
        check_is_fitted(self)
        if random_state is None:
            random_state = drawing_seed(self.generator_, self.random_state)
        draw_samples = partial(draw, self.generator_, variance=variance)
        X, y = draw_samples(y, n_samples=n_samples, random_state=random_state)
        if self.min_distance is None:
            return X, y

        def redraw(y, random_state):
            return draw_samples(y, random_state=random_state)[0]

        seeds = check_random_state(random_state)
        self.n_redrawn_ = self._open_floor().redraw(X, y, redraw, seeds)
        return X, y

    def release(self, path, *, class_prior="uniform", min_class_size=2):
        """Write what drawing rows needs, and nothing else, to a file to share.

        The file holds the decoder, the class means, the latent prior and the noise as
        safetensors, and a JSON manifest with shapes, checksums, versions and the
        privacy statement. It holds no training row, no number of rows, no minimum or
        maximum of the data, and no code; the encoder and the training history stay
        behind. It does hold what the model remembers: run
        :func:`skcvae.privacy.privacy_audit` before you share it.
        :func:`skcvae.anonymization.load` reads it.

        Rows drawn from a release are not held `min_distance` away from the training
        rows, which it does not have.

        Parameters
        ----------
        path : str or Path
            File to write, ending in ``.safetensors``: whole, or not at all.

        class_prior : {"uniform", "training"} or array-like of shape (n_classes,), \
default="uniform"
            How often each class is drawn when the recipient does not say. "training"
            tells the recipient the class distribution of the training rows.

        min_class_size : int, default=2
            Classes of fewer training rows are left out. The mean of a class of one row
            gives that row away.

        Returns
        -------
        path : Path
            The file.

        Raises
        ------
        ValueError
            If the generator cannot be released: another than CVAE and ClassGaussian
            or their private versions, an `architecture` of your own, whose code a
            file does not hold, or ``objective="reference"``, whose scaler is the exact
            minimum and maximum of the data.
        """
        check_is_fitted(self)
        return write_release(
            self.generator_, path, class_prior, min_class_size, self.privacy_statement()
        )

    def privacy_statement(self):
        """Return what is guaranteed about the training rows.

        Returns
        -------
        statement : dict
            `guarantee` is "no formal guarantee", unless the generator gives one;
            for differential privacy there are `epsilon`, `delta` and more.
        """
        check_is_fitted(self)
        if hasattr(self.generator_, "privacy_statement"):
            statement = self.generator_.privacy_statement()
            return {**statement, "labels": _LABELS_SENTENCE}
        statement = {"guarantee": "no formal guarantee"}
        if self.min_distance is not None:
            statement["filter"] = _FLOOR_SENTENCE
        return statement

    @available_if(_has_decoder)
    def make_decoder(self, device=None):
        """Return the decoder as a differentiable module.

        See :meth:`skcvae.generators.DecoderMixin.make_decoder`.
        """
        check_is_fitted(self)
        return self.generator_.make_decoder(device)

    @property
    def classes_(self):
        """Labels seen in :meth:`fit`, sorted."""
        return self.generator_.classes_

    @abstractmethod
    def _make_generator(self):
        """Return the unfitted generator."""

    def _check_and_fit(self, X, y):
        """Fit the generator and return the validated rows and labels."""
        forget_fit(self)
        self._floor = None
        check_min_distance(self.min_distance)
        generator = self._make_generator()
        if self.min_distance is not None and hasattr(generator, "privacy_statement"):
            raise ValueError(
                "min_distance compares generated rows with the training rows, outside "
                "of the generator's differential privacy: set it to None."
            )
        X, y = check_samples(self, X, y)
        _warn_about_single_rows(y)
        fit_into(self, generator, X, y, self.memory)
        if self.min_distance is not None:
            self._floor = DistanceFloor(X, self.min_distance)
        self._remember(X)
        return X, y

    def _open_floor(self):
        floor = getattr(self, "_floor", None)
        if floor is None:
            raise ValueError(
                "min_distance needs the training rows, which are not pickled: fit "
                "again in this process, or set min_distance to None."
            )
        return floor

    def __sklearn_is_fitted__(self):
        return hasattr(self, "generator_")


class GenerativeAnonymizer(BaseGenerativeAnonymizer):
    """Replace rows by draws from any generator of :mod:`skcvae.generators`.

    `fit_transform` returns a synthetic row for each training row; `transform` returns
    its input as it is, so that a pipeline is trained on synthetic rows and tested on
    real ones.

    .. note::
        ``fit_transform(X, y)`` is not ``fit(X, y).transform(X)``: :meth:`transform`
        anonymizes nothing. Publish only what :meth:`fit_transform`, :meth:`sample` or
        :meth:`release` return.

    Parameters
    ----------
    generator : estimator, default=None
        Generator with the methods `fit(X, y)` and `sample(y=...)`. It is cloned, so
        that the one given stays unfitted. None is
        :class:`~skcvae.generators.ClassGaussian`, which needs no training loop;
        :class:`~skcvae.generators.DPClassGaussian` is differentially private.

    min_distance : float, tuple or None, default=None
        Smallest Euclidean distance of a generated row to any training row, in the
        units of `X`, or ``("quantile", q)`` of the distances of the training rows to
        their own nearest neighbours. Rows that are closer are drawn again. This
        filter depends on the data: where it bites, the hole that it leaves tells of a
        row. It needs the training rows, which are kept in this process but are not
        pickled.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators. Candidates of a grid search that differ in what a
        generator uses only when it samples then share one training per fold. Needs an
        integer `random_state`. Keep it as private as the rows.

    random_state : int, RandomState instance or None, default=None
        Seed of what has none of its own: an integer `random_state` of `generator` is
        kept. Keep it secret: who has it can draw the same noise.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator.

    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    n_redrawn_ : int
        With `min_distance`: rows of the last draw that were too close.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    CVAEAnonymizer : The same with a CVAE and its parameters.
    KSameAnonymizer : Replaces rows by means of k rows.
    skcvae.privacy.privacy_audit : Attacks what comes out.

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
        "memory": [str, Memory, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self, generator=None, *, min_distance=None, memory=None, random_state=None
    ):
        self.generator = generator
        self.min_distance = min_distance
        self.memory = memory
        self.random_state = random_state

    def _make_generator(self):
        generator = ClassGaussian() if self.generator is None else self.generator
        return clone_generator(generator, self.random_state, self.memory)


def _warn_about_single_rows(y):
    """Warn about classes whose only row a model cannot but memorise."""
    labels, counts = np.unique(y, return_counts=True)
    single = labels[counts == 1].tolist()
    if single:
        warn_user(
            f"The classes {single[:5]} have a single row, of which synthetic rows tell "
            "much. Drop such classes, or merge them with others, before you publish.",
        )
