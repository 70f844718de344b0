"""Over-sampling with the samples of another sampler that pass a test."""

from collections import Counter
from functools import partial
from inspect import signature
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from .._class_means import make_definite
from .._generation import check_frozen, seed_all, unfrozen
from .._neighbors import check_min_distance, nearest_distances, resolve_min_distance
from .._scaling import scale_rows
from .._thin_covariance import ThinCovariance, gaussian_log_density
from ..generators import ClassGaussian
from ._base import BaseDenseOverSampler
from ._discrete import round_discrete
from ._generative import GenerativeOverSampler
from ._wrapping import check_sampler, make_source

# Samples among which near-duplicates are looked for at a time.
_BLOCK_SIZE = 512
# What rounding errors may add to a whole number.
_TOLERANCE = 1e-9


class QualityFilter(BaseDenseOverSampler):
    r"""Over-sample with the samples of another sampler that pass a test.

    Draws more samples than are missing, scores them, drops those of low scores and
    near-duplicates, and draws again until each class has the samples that
    `sampling_strategy` asks for, or fails. Training samples are never dropped.

    .. note::
        Classifiers give high scores to samples far from other classes, and densities to
        samples near the class mean. The kept samples therefore vary less than the drawn
        ones, and fewer of them show where the boundaries between classes are. Choose
        `quantile`, and whether to filter at all, by cross-validation.

    Parameters
    ----------
    sampler : over-sampler, default=None
        What draws samples: :class:`GenerativeOverSampler`, :class:`CVAEOverSampler`,
        :class:`RemixSampler`, or one of imbalanced-learn such as
        :class:`~imblearn.over_sampling.SMOTE`. It is cloned, and its
        `sampling_strategy` must stay "auto". A generator is trained once; other
        samplers are called each time that more samples are drawn. None is
        :class:`GenerativeOverSampler`.

    scorer : {"density", "generator"}, estimator or callable, default="density"
        What scores samples; higher is better. Estimators are cloned and fitted on the
        training samples; a fitted one in scikit-learn's FrozenEstimator is used as it
        is.

        - "density": the log-density of the class in nats, of a Gaussian with shrunk
          class means and a covariance shared by all classes, as
          :class:`~skcvae.generators.ClassGaussian` estimates them;
        - a classifier: its probability of the sample's own label, or the value of its
          `decision_function` for it. Let it balance the classes
          (``class_weight="balanced"``): otherwise samples of small classes score low;
        - an estimator with the methods `fit(X, y)` and `score_samples(X, y)`;
        - "generator": `score_samples(X, y)` of the generator that drew the samples,
          such as the critic of a GAN;
        - a function of X and y that returns an array of one score for each sample. Like
          the others, it is called with samples of one class at a time.

    threshold : float, default=None
        Lowest score of a kept sample, in the units of the scorer.

    quantile : float, default=None
        Share in [0, 1) of samples to drop: the lowest score of a kept sample is this
        quantile of the scores of the first draw of its class. The first draw is as
        large as it takes to keep what is missing: 0.5 draws two for one, and keeps the
        better half. Give either `quantile` or `threshold`; with neither, only
        `min_distance` is looked at.

    min_distance : float or tuple, default=None
        Smallest Euclidean distance of a kept sample to any training sample and to the
        kept samples of its class, in the units of `X`, or ``("quantile", q)`` of the
        distances of the training samples to their own nearest neighbours.

    max_draws : float, default=20
        How many samples may be drawn for each missing sample of a class, at least 1.

    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as in :class:`CVAEOverSampler`.

    random_state : int, RandomState instance or None, default=None
        Seed of `sampler` and `scorer`, unless they have an integer of their own: see
        :ref:`seeds-and-fitted-parts`.

    Attributes
    ----------
    sampler_ : over-sampler
        The fitted sampler.

    scorer_ : estimator or callable
        The fitted scorer; None where only `min_distance` is looked at.

    n_draws_ : dict
        Number of samples that were drawn for each class.

    acceptance_rate_ : dict
        Share of them, for each class, that passed.

    threshold_ : dict
        Lowest score of a kept sample in use for each class; minus infinity where only
        `min_distance` is looked at.

    min_distance_ : float or None
        Smallest distance in use.

    sampling_strategy_ : dict
        Number of samples to add to each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    ProgressiveOverSampler : Fills up classes with one sampler after the other.

    Examples
    --------
    >>> from imblearn.over_sampling import SMOTE
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skcvae.over_sampling import QualityFilter
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> sampler = QualityFilter(
    ...     SMOTE(),
    ...     scorer=LogisticRegression(class_weight="balanced"),
    ...     threshold=0.5,
    ...     random_state=0,
    ... )
    >>> X_res, y_res = sampler.fit_resample(X, y)
    >>> X_res.shape
    (182, 20)
    >>> proba = sampler.scorer_.predict_proba(X_res[100:])[:, 1]
    >>> bool((proba >= 0.5).all())
    True
    """

    _parameter_constraints: dict = {
        **BaseDenseOverSampler._parameter_constraints,
        "sampler": [HasMethods(["fit_resample"]), None],
        "scorer": [StrOptions({"density", "generator"}), HasMethods(["fit"]), callable],
        "threshold": [Interval(Real, None, None, closed="neither"), None],
        "quantile": [Interval(Real, 0, 1, closed="left"), None],
        "min_distance": [Interval(Real, 0, None, closed="left"), tuple, None],
        "max_draws": [Interval(Real, 1, None, closed="left")],
    }

    def __init__(
        self,
        sampler=None,
        *,
        scorer="density",
        threshold=None,
        quantile=None,
        min_distance=None,
        max_draws=20,
        sampling_strategy="auto",
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.sampler = sampler
        self.scorer = scorer
        self.threshold = threshold
        self.quantile = quantile
        self.min_distance = min_distance
        self.max_draws = max_draws
        self.random_state = random_state

    def _check_X_y(self, X, y):
        check_sampler(self._given_sampler(), "QualityFilter")
        check_scorer(self.scorer)
        check_min_distance(self.min_distance)
        self._check_settings()
        return super()._check_X_y(X, y)

    def _check_settings(self):
        """Refuse settings that let all samples pass, or too few."""
        if self.threshold is not None and self.quantile is not None:
            raise ValueError("Give either threshold or quantile, not both.")
        if not self._has_score() and self.min_distance is None:
            raise ValueError(
                "Every sample would pass: give QualityFilter a threshold, a quantile "
                "or a min_distance."
            )
        if self.quantile is not None and self.max_draws * (1 - self.quantile) < 1:
            raise ValueError(
                f"quantile={self.quantile} drops all of the max_draws="
                f"{self.max_draws} samples that may be drawn for one. Lower quantile, "
                "or raise max_draws."
            )

    def _given_sampler(self):
        return GenerativeOverSampler() if self.sampler is None else self.sampler

    def _has_score(self):
        return self.threshold is not None or self.quantile is not None

    def _draw_samples(self, X, y, labels):
        classes = {
            label: _ClassDraws(
                X[:0], n, int(self.max_draws * n), self.threshold, self.quantile
            )
            for label, n in Counter(labels.tolist()).items()
        }
        source = make_source(self._given_sampler(), X, y, self.random_state)
        score = self._fit_scorer(source.generator, X, y)
        distances = self._make_distances(X)
        while counts := {k: n for k, c in classes.items() if (n := c.n_to_draw())}:
            for label, drawn in source.draw(counts).items():
                drawn = round_discrete(drawn, X.dtype, self._discrete)
                own = np.full(len(drawn), label, dtype=y.dtype)
                scores = _checked(score, drawn, own) if len(drawn) else []
                classes[label].take(drawn, scores, counts[label], distances)
        self.sampler_ = source.sampler
        self._report(classes)
        return np.concatenate([X[:0], *(c.kept for c in classes.values())]), labels

    def _fit_scorer(self, generator, X, y):
        """Set `scorer_`, and return a function of samples and labels."""
        self.scorer_ = None
        if not self._has_score():
            return lambda X, y: np.zeros(len(X))
        self.scorer_, score = fit_scorer(
            self.scorer, generator, X, y, self.random_state
        )
        return score

    def _make_distances(self, X):
        """Set `min_distance_`, and return what drops near-duplicates."""
        self.min_distance_ = None
        if self.min_distance is None:
            return None
        self.min_distance_ = resolve_min_distance(X, self.min_distance)
        return NearDuplicates(X, self.min_distance_)

    def _report(self, classes):
        """Set what was drawn and kept; fail if samples are missing."""
        self.n_draws_ = {label: c.n_drawn for label, c in classes.items()}
        self.threshold_ = {label: c.threshold for label, c in classes.items()}
        self.acceptance_rate_ = {
            label: c.n_passed / max(c.n_drawn, 1) for label, c in classes.items()
        }
        failed = {k: c for k, c in classes.items() if len(c.kept) < c.n_wanted}
        if failed:
            shown = ", ".join(
                f"{label!r} ({len(c.kept)} of {c.n_wanted} samples; of {c.n_drawn} "
                f"drawn, {c.n_scored} scored well)"
                for label, c in list(failed.items())[:5]
            )
            raise ValueError(
                f"Too few samples passed for {len(failed)} of {len(classes)} classes: "
                f"{shown}. Lower threshold, quantile or min_distance, or raise "
                f"max_draws={self.max_draws}."
            )


class _ClassDraws:
    """The samples that a class has got so far, and how many more to draw.

    `kept` begins with no sample, in the type and number of features of all others.
    `n_wanted` are missing, and `n_left` may be drawn. `threshold` or `quantile` sets
    the lowest score of a sample that is kept.
    """

    def __init__(self, kept, n_wanted, n_left, threshold, quantile):
        self.kept, self.n_wanted, self.n_left = kept, n_wanted, n_left
        self.threshold, self.quantile = threshold, quantile
        self.n_asked = self.n_drawn = self.n_scored = self.n_passed = 0

    def n_to_draw(self):
        """Return how many samples to draw next.

        As many as are missing, divided by the share of samples that passed so far, but
        at most as many as in all rounds before. Never fewer than were missing at
        first: a round costs a call of the sampler, and ADASYN cannot draw single ones.
        """
        missing = self.n_wanted - len(self.kept)
        if missing == 0:
            return 0
        if self.n_asked == 0:
            share = 1 - (self.quantile or 0)
            n_next = int(np.ceil(missing / share - _TOLERANCE))
        else:
            n_likely = -(-missing * self.n_asked // max(self.n_passed, 1))
            n_next = max(min(n_likely, self.n_asked), self.n_wanted)
        return min(n_next, self.n_left)

    def take(self, drawn, scores, n_asked, distances):
        """Keep the samples that pass, as far as they are needed."""
        self.n_asked += n_asked
        self.n_left -= n_asked
        self.n_drawn += len(drawn)
        if not len(drawn):
            return
        if self.threshold is None:
            self.threshold = -np.inf
            if self.quantile is not None:
                self.threshold = np.quantile(scores, self.quantile, method="higher")
        passed = drawn[scores >= self.threshold]
        self.n_scored += len(passed)
        if distances is not None:
            passed = distances.drop(passed, self.kept)
        self.n_passed += len(passed)
        self.kept = np.concatenate([self.kept, passed])[: self.n_wanted]


class NearDuplicates:
    """Drops samples nearer than a distance to training samples or to one another."""

    def __init__(self, X, distance):
        self._X, self._distance = X, distance

    def drop(self, drawn, kept):
        """Return samples far from training samples, from `kept` and earlier ones."""
        drawn = self._far_from(self._X, drawn)
        found = drawn[:0]
        for start in range(0, len(drawn), _BLOCK_SIZE):
            block = self._far_from(kept, drawn[start : start + _BLOCK_SIZE])
            block = self._far_from_earlier(self._far_from(found, block))
            found = np.concatenate([found, block])
        return found

    def _far_from(self, others, drawn):
        if not len(drawn) or not len(others):
            return drawn
        return drawn[nearest_distances(drawn, others) >= self._distance]

    def _far_from_earlier(self, drawn):
        """Return the samples that are far from all samples kept before them."""
        kept = np.zeros(len(drawn), dtype=bool)
        values = drawn.astype(np.float64)
        for i, sample in enumerate(values):
            squares = ((values[:i][kept[:i]] - sample) ** 2).sum(axis=1)
            kept[i] = (np.sqrt(squares) >= self._distance).all()
        return drawn[kept]


def _checked(score, X, y):
    """Return the scores of samples as an array of one number for each."""
    scores = np.asarray(score(X, y), dtype=float)
    if scores.shape != (len(X),):
        raise ValueError(
            f"The scorer must return one score for each sample: got an array of shape "
            f"{scores.shape} for {len(X)} samples."
        )
    if np.isnan(scores).any():
        raise ValueError(
            f"The scorer returned NaN for {np.isnan(scores).sum()} samples."
        )
    return scores


class GaussianDensity(BaseEstimator):
    """Log-density under a Gaussian around the class mean, as ClassGaussian fits it."""

    def fit(self, X, y):
        """Estimate the shrunk class means and the covariance that they share."""
        gaussian = ClassGaussian(random_state=0).fit(X, y)
        varying = gaussian.scale_ > 0
        if isinstance(gaussian.covariance_, ThinCovariance):
            self.factor_ = make_definite(gaussian.covariance_.take(varying))
        else:
            covariance = gaussian.covariance_[np.ix_(varying, varying)]
            self.factor_ = np.linalg.cholesky(make_definite(covariance))
        self.log_scale_ = np.log(gaussian.scale_[varying]).sum()
        self.varying_ = varying
        self.gaussian_ = gaussian
        return self

    def score_samples(self, X, y):
        """Return log p(x | y) in nats, in the units of X, over features that vary."""
        gaussian = self.gaussian_
        scaled = scale_rows(np.asarray(X, float), gaussian.offset_, gaussian.scale_)
        scaled = scaled - gaussian.class_means_[np.searchsorted(gaussian.classes_, y)]
        density = gaussian_log_density(scaled[:, self.varying_], self.factor_)
        return density - self.log_scale_


def check_scorer(scorer):
    """Refuse estimators whose scores do not depend on the label."""
    if isinstance(scorer, str) or not hasattr(scorer, "fit"):
        return
    if isinstance(scorer, type):
        raise TypeError(f"scorer must be an instance, got the class {scorer!r}.")
    if hasattr(scorer, "score_samples"):
        if "y" in signature(scorer.score_samples).parameters:
            return
        raise TypeError(
            f"score_samples of the scorer {scorer!r} must take samples and labels, X "
            "and y. Use scorer='density' for a density of each class, or a function of "
            "X and y."
        )
    if not (hasattr(scorer, "predict_proba") or hasattr(scorer, "decision_function")):
        raise TypeError(
            f"The scorer {scorer!r} must have the method score_samples(X, y), or be a "
            "classifier with predict_proba or decision_function."
        )


def fit_scorer(scorer, generator, X, y, random_state):
    """Return a fitted scorer, and its function of samples and labels.

    `generator` is that of the sampler, or None. `random_state` seeds scorers that have
    no integer of their own.
    """
    if isinstance(scorer, str) and scorer == "generator":
        if not hasattr(generator, "score_samples"):
            raise TypeError(
                "scorer='generator' needs a sampler with a generator that has the "
                "method score_samples(X, y). Use another scorer."
            )
        return generator, generator.score_samples
    if isinstance(scorer, str):
        scorer = GaussianDensity()
    if not hasattr(scorer, "fit"):
        return scorer, scorer
    if isinstance(scorer, FrozenEstimator):
        check_frozen(unfrozen(scorer), X, y)
    fitted = seed_all(clone(scorer), random_state).fit(X, y)
    if hasattr(fitted, "score_samples"):
        return fitted, fitted.score_samples
    return fitted, partial(label_agreement, fitted)


def label_agreement(classifier, X, y):
    """Return what a classifier gives to the label of each sample."""
    if hasattr(classifier, "predict_proba"):
        scores = classifier.predict_proba(X)
    else:
        scores = classifier.decision_function(X)
        if scores.ndim == 1:
            scores = np.column_stack([-scores, scores])
    if scores.shape[1] != len(classifier.classes_):
        raise ValueError(
            f"{type(classifier).__name__} returned {scores.shape[1]} scores for each "
            f"sample, and there are {len(classifier.classes_)} classes. Use "
            "decision_function_shape='ovr', or a classifier with predict_proba."
        )
    columns = np.searchsorted(classifier.classes_, y)
    return scores[np.arange(len(X)), columns]
