"""Over-sampling with the rows of a sampler that pass a test."""

from collections import Counter
from numbers import Real

import numpy as np
from sklearn import config_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from .._neighbors import check_min_distance, nearest_neighbors, resolve_min_distance
from ._base import BaseDenseOverSampler, _round_discrete
from ._generative import GenerativeOverSampler
from ._scorers import check_scorer, open_scorer
from ._sources import check_sampler, open_source

# Rows among which near-duplicates are looked for at a time.
_BLOCK_SIZE = 512
# What rounding errors may add to a whole number.
_TOLERANCE = 1e-9


class QualityFilter(BaseDenseOverSampler):
    r"""Over-sample with the rows of another sampler that pass a test.

    Draws more rows than are missing, scores them, throws away those of low scores and
    near-duplicates, and draws again until each class has the rows that
    `sampling_strategy` asks for, or fails. Training rows are never thrown away.

    .. note::
        A score is an opinion. A classifier likes rows far from other classes, and a
        density likes rows near the class mean: what is kept varies less than what was
        drawn, and boundaries between classes lose the rows that show where they are.
        Choose `quantile`, and whether to filter at all, by cross-validation.

    Parameters
    ----------
    sampler : over-sampler, default=None
        What draws rows: :class:`GenerativeOverSampler`, :class:`CVAEOverSampler`,
        :class:`RemixSampler`, or one of imbalanced-learn such as
        :class:`~imblearn.over_sampling.SMOTE`. It is cloned, and its
        `sampling_strategy` must stay "auto". A generator is trained once; other
        samplers are called each time that more rows are drawn. None is
        :class:`GenerativeOverSampler`.

    scorer : {"density", "generator"}, estimator or callable, default="density"
        What scores rows; higher is better. All but callables and "generator" are
        cloned and fitted on the training rows.

        - "density": the log-density of the class in nats, of a Gaussian with shrunk
          class means and a covariance shared by all classes, as
          :class:`~skcvae.generators.ClassGaussian` estimates them;
        - a classifier: its probability of the row's own label, or the value of its
          `decision_function` for it. Tell it to balance the classes
          (``class_weight="balanced"``), or rows of small classes score low;
        - an estimator with the methods `fit(X, y)` and `score_samples(X, y)`;
        - "generator": `score_samples(X, y)` of the generator that drew the rows, such
          as the critic of a GAN;
        - a function of X and y that returns an array of one score for each row. Like
          the others, it is called with rows of one class at a time.

    threshold : float, default=None
        Lowest score of a kept row, in the units of the scorer.

    quantile : float, default=None
        Share in [0, 1) of rows to throw away: the lowest score of a kept row is this
        quantile of the scores of the rows of its class that are drawn first. They are
        as many as leave what is missing: 0.5 draws two for one, and keeps the better
        half. Give it or `threshold`, or neither to look at `min_distance` only.

    min_distance : float or tuple, default=None
        Smallest Euclidean distance of a kept row to any training row and to the kept
        rows of its class, in the units of `X`, or ``("quantile", q)`` of the distances
        of the training rows to their own nearest neighbours.

    max_draws : float, default=20
        How many rows may be drawn for each missing row of a class, at least 1.

    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as imbalanced-learn has it: the desired ratio of
        minority to majority (binary only), "minority", "not minority", "not majority"
        ("auto"), "all", a dict from label to the number of rows after resampling, or a
        function that returns such a dict for `y`.

    random_state : int, RandomState instance or None, default=None
        Seed; replaces that of `sampler` unless it is None, and seeds the scorer where
        that has no seed.

    Attributes
    ----------
    sampler_ : over-sampler
        The fitted sampler.

    scorer_ : estimator or callable
        The fitted scorer; None where only `min_distance` is looked at.

    n_draws_ : dict
        Number of rows that were drawn for each class.

    acceptance_rate_ : dict
        Share of them, for each class, that passed.

    threshold_ : dict
        Lowest score of a kept row in use for each class; minus infinity where only
        `min_distance` is looked at.

    min_distance_ : float or None
        Smallest distance in use.

    sampling_strategy_ : dict
        Number of rows to add to each class.

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
        """Refuse settings that let all rows pass, or too few."""
        if self.threshold is not None and self.quantile is not None:
            raise ValueError("Give either threshold or quantile, not both.")
        if not self._scores_rows() and self.min_distance is None:
            raise ValueError(
                "Every row would pass: give QualityFilter a threshold, a quantile or a "
                "min_distance."
            )
        if self.quantile is not None and self.max_draws * (1 - self.quantile) < 1:
            raise ValueError(
                f"quantile={self.quantile} throws away all of the max_draws="
                f"{self.max_draws} rows that may be drawn for one. Lower quantile, or "
                "raise max_draws."
            )

    def _given_sampler(self):
        return GenerativeOverSampler() if self.sampler is None else self.sampler

    def _scores_rows(self):
        return self.threshold is not None or self.quantile is not None

    def _draw_rows(self, X, y, labels):
        classes = {
            label: _ClassRows(n, int(self.max_draws * n), self.threshold, self.quantile)
            for label, n in Counter(labels.tolist()).items()
        }
        # imbalanced-learn switches off the checks of the parameters of nested ones.
        with config_context(skip_parameter_validation=False):
            source = open_source(self._given_sampler(), X, y, self.random_state)
            score = self._open_scorer(source.generator, X, y)
            distances = self._open_distances(X)
            while counts := {k: n for k, c in classes.items() if (n := c.n_to_draw())}:
                for label, rows in source.draw(counts).items():
                    rows = _round_discrete(rows, X.dtype, self._discrete)
                    own = np.full(len(rows), label, dtype=y.dtype)
                    scores = _checked(score(rows, own), len(rows)) if len(rows) else []
                    classes[label].take(rows, scores, counts[label], distances)
        self.sampler_ = source.sampler
        self._report(classes)
        drawn = [X[:0], *(found.rows for found in classes.values())]
        return np.concatenate(drawn), labels

    def _open_scorer(self, generator, X, y):
        """Set `scorer_`, and return a function of rows and labels."""
        self.scorer_ = None
        if not self._scores_rows():
            return lambda X, y: np.zeros(len(X))
        self.scorer_, score = open_scorer(
            self.scorer, generator, X, y, self.random_state
        )
        return score

    def _open_distances(self, X):
        """Set `min_distance_`, and return what drops near-duplicates."""
        self.min_distance_ = None
        if self.min_distance is None:
            return None
        self.min_distance_ = resolve_min_distance(X, self.min_distance)
        return _NearDuplicates(X, self.min_distance_)

    def _report(self, classes):
        """Set what was drawn and kept; fail if rows are missing."""
        self.n_draws_ = {label: c.n_drawn for label, c in classes.items()}
        self.threshold_ = {label: c.threshold for label, c in classes.items()}
        self.acceptance_rate_ = {
            label: c.n_passed / max(c.n_drawn, 1) for label, c in classes.items()
        }
        failed = {k: c for k, c in classes.items() if len(c.rows) < c.n_wanted}
        if failed:
            shown = ", ".join(
                f"{label!r} ({len(c.rows)} of {c.n_wanted} rows; of {c.n_drawn} drawn, "
                f"{c.n_scored} scored well)"
                for label, c in list(failed.items())[:5]
            )
            raise ValueError(
                f"Too few rows passed for {len(failed)} of {len(classes)} classes: "
                f"{shown}. Lower threshold, quantile or min_distance, or raise "
                f"max_draws={self.max_draws}."
            )


class _ClassRows:
    """The rows that a class has got so far, and how many more to draw.

    Parameters
    ----------
    n_wanted : int
        Number of rows that are missing.

    n_left : int
        Number of rows that may be drawn.

    threshold, quantile : float or None
        What tells the lowest score of a row that is kept.
    """

    def __init__(self, n_wanted, n_left, threshold, quantile):
        self.n_wanted, self.n_left = n_wanted, n_left
        self.threshold, self.quantile = threshold, quantile
        self.rows = ()
        self.n_asked = self.n_drawn = self.n_scored = self.n_passed = 0

    def n_to_draw(self):
        """Return how many rows to draw next.

        As many as are missing, divided by the share of rows that passed so far, but
        at most as many as in all rounds before. Never fewer than were missing at
        first: a round costs a call of the sampler, and ADASYN cannot draw single rows.
        """
        missing = self.n_wanted - len(self.rows)
        if missing == 0:
            return 0
        if self.n_asked == 0:
            share = 1 - (self.quantile or 0)
            n_next = int(np.ceil(missing / share - _TOLERANCE))
        else:
            n_likely = -(-missing * self.n_asked // max(self.n_passed, 1))
            n_next = max(min(n_likely, self.n_asked), self.n_wanted)
        return min(n_next, self.n_left)

    def take(self, rows, scores, n_asked, distances):
        """Keep the rows that pass, as far as they are needed."""
        self.n_asked += n_asked
        self.n_left -= n_asked
        self.n_drawn += len(rows)
        if not len(rows):
            return
        if self.threshold is None:
            self.threshold = -np.inf
            if self.quantile is not None:
                self.threshold = np.quantile(scores, self.quantile, method="higher")
        passed = rows[scores >= self.threshold]
        self.n_scored += len(passed)
        if distances is not None:
            passed = distances.drop(passed, self.rows)
        self.n_passed += len(passed)
        kept = np.concatenate([self.rows, passed]) if len(self.rows) else passed
        self.rows = kept[: self.n_wanted]


class _NearDuplicates:
    """Drops rows that are too close to training rows or to one another.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Training rows.

    distance : float
        Smallest Euclidean distance.
    """

    def __init__(self, X, distance):
        self._X, self._distance = X, distance

    def drop(self, rows, kept):
        """Return the rows far from training rows, `kept` rows and earlier ones."""
        rows = self._far_from(self._X, rows)
        found = rows[:0]
        for start in range(0, len(rows), _BLOCK_SIZE):
            block = self._far_from(kept, rows[start : start + _BLOCK_SIZE])
            block = self._far_from_earlier(self._far_from(found, block))
            found = np.concatenate([found, block])
        return found

    def _far_from(self, others, rows):
        if not len(rows) or not len(others):
            return rows
        nearest, _ = nearest_neighbors(rows, others)
        return rows[nearest[:, 0] >= self._distance]

    def _far_from_earlier(self, rows):
        """Return the rows that are far from all rows kept before them."""
        kept = np.zeros(len(rows), dtype=bool)
        values = rows.astype(np.float64)
        for i, row in enumerate(values):
            squares = ((values[:i][kept[:i]] - row) ** 2).sum(axis=1)
            kept[i] = (np.sqrt(squares) >= self._distance).all()
        return rows[kept]


def _checked(scores, n_rows):
    """Return scores as an array of one number for each row."""
    scores = np.asarray(scores, dtype=float)
    if scores.shape != (n_rows,):
        raise ValueError(
            f"The scorer must return one score for each row: got an array of shape "
            f"{scores.shape} for {n_rows} rows."
        )
    if np.isnan(scores).any():
        raise ValueError(f"The scorer returned NaN for {np.isnan(scores).sum()} rows.")
    return scores
