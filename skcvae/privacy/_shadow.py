"""Membership attack that trains copies of the generator: LiRA."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from scipy import optimize, special
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)

from .._neighbors import nearest_distances
from .._record_sets import array_likes, check_one_label_per_sample, scale_by
from .._seeds import draw_seeds
from ._attack_result import AttackResult, attack_result
from ._audit_parts import synthesize, train_clone
from ._latent_search import check_candidates, latent_search_scores

# Distances per square root of a feature, in standard deviations of the reference,
# below which samples count as equal: copies may be rounded, and 0 has no logarithm.
_MIN_DISTANCE = 1e-6
_MIN_OBJECTIVE = 1e-12
# The least standard deviation of a record's scores, as a share of that of all scores.
_MIN_RELATIVE_STD = 1e-3
# How many deviations a member's scores are above those of a non-member, at least.
_MIN_SEPARATION = 1.0
# A half needs two samples for a generator to be trained on it.
_MIN_REFERENCE = 4
# Two shadows trained with a sample, and two without it, have a variance each.
_MIN_ONLINE = 4


@validate_params(
    {
        "estimator": [HasMethods(["fit", "sample"]), HasMethods("fit_transform")],
        **array_likes("X_members", "y_members", "X_nonmembers", "y_nonmembers"),
        **array_likes("X_reference", "y_reference"),
        "synthetic": [tuple, HasMethods("sample"), HasMethods("make_decoder"), None],
        "n_shadows": [Interval(Integral, 2, None, closed="left")],
        "score": [StrOptions({"nearest", "latent_search"}), callable],
        "mode": [StrOptions({"offline", "online"})],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def shadow_attack(  # noqa: PLR0913  three labelled sets of samples are six of them
    estimator: BaseEstimator,
    X_members: ArrayLike,
    y_members: ArrayLike,
    X_nonmembers: ArrayLike,
    y_nonmembers: ArrayLike,
    X_reference: ArrayLike,
    y_reference: ArrayLike,
    *,
    synthetic: tuple | object | None = None,
    n_shadows: int = 16,
    score: str | Callable = "nearest",
    mode: str = "offline",
    n_jobs: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
) -> AttackResult:
    r"""Infer membership by comparing with copies of the generator (LiRA).

    Some samples look like members whether they are or not. The likelihood-ratio attack
    [1]_ learns the usual scores of each sample: it trains shadow copies of the
    generator on random halves of a pool, scores the sample against each, and judges its
    score s against the release by the mean and deviation of the scores of those shadows
    that were trained with the sample ("in") or without it ("out").

    - "online": members, non-members and reference are the pool. Each sample is in half
      of the shadows, and
      :math:`\Lambda = \log N(s; \mu_{in}, \sigma^2) - \log N(s; \mu_{out}, \sigma^2)`.
    - "offline": the reference is the pool, and no shadow has seen a sample attacked.
      :math:`\Lambda = (s - \mu_{out}) / \sigma`, which ranks samples as the one-sided
      p-value of the original does. It finds less.

    Few shadows say little about a single sample. Three things differ from the original
    for that: both cases share a variance; it is shrunk towards that of other samples,
    by as much as the variances of all samples tell [2]_; and :math:`\mu_{in}` is at
    least one deviation above :math:`\mu_{out}`. Without the last, errors of the two
    means could reverse the score of a sample, and copies would go undetected where the
    shadows do not copy.

    Parameters
    ----------
    estimator : estimator object
        The unfitted generator or anonymizer that made the release. It has
        `fit(X, y)` and `sample(y=...)`, or a `fit_transform(X, y)` that returns a
        synthetic sample for each sample.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from.

    y_members : array-like of shape (n_members,)
        Their classes.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same population that it was not made from.

    y_nonmembers : array-like of shape (n_nonmembers,)
        Their classes.

    X_reference : array-like of shape (n_reference, n_features)
        The attacker's own samples of the same population, neither members nor
        non-members. "offline" needs at least four, and some of each class; best are
        twice as many as members.

    y_reference : array-like of shape (n_reference,)
        Their classes.

    synthetic : tuple, object or None, default=None
        The release: a tuple (X, y) of samples and their classes, or a fitted object
        with `sample(y=...)`, from which a sample is drawn for the label of each member.
        None makes one, by fitting a clone of `estimator` to the members.

    n_shadows : int, default=16
        Number of shadow copies, at least 2, or 4 for "online". Each takes as long as
        the training of the release. They come in pairs trained on complementary
        halves, stratified by class.

    score : {"nearest", "latent_search"} or callable, default="nearest"
        The score to compare. "nearest" is minus the logarithm of the Euclidean distance
        to the nearest synthetic sample of the same class. It is not calibrated by the
        distance to the reference, which is the same for all shadows. "latent_search" is
        minus the logarithm of the minimum that :func:`latent_search_attack` finds from
        e = 0: it attacks a decoder. A callable takes a release (a fitted object, or a
        tuple of synthetic samples and classes), samples and their classes, and returns
        a score for each sample.

    mode : {"offline", "online"}, default="offline"
        The pool that shadows are trained on, see above.

    n_jobs : int, default=None
        Number of shadows trained at the same time. None means 1 unless in a
        :func:`joblib.parallel_config` context, -1 all processors. It does not change
        the result, but for rounding where shadows get another number of threads.

    random_state : int, RandomState instance or None, default=None
        Seed of the halves, of each shadow's `random_state`, and of sampling.

    verbose : int, default=0
        Verbosity of :class:`joblib.Parallel`.

    Returns
    -------
    result : AttackResult
        AUC and true-positive rate with their intervals; no scores of single samples.

    Raises
    ------
    ValueError
        If sets share samples, shadows or reference samples are too few, a class is
        missing in the release or the reference, or the score needs what the release
        lacks.

    See Also
    --------
    latent_search_attack : Attacks a decoder without training copies of it.

    References
    ----------
    .. [1] N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramèr, "Membership
       Inference Attacks From First Principles", IEEE S&P 2022, `arXiv 2112.03570
       <https://arxiv.org/abs/2112.03570>`_.
    .. [2] G. K. Smyth, "Linear Models and Empirical Bayes Methods for Assessing
       Differential Expression in Microarray Experiments", Statistical Applications in
       Genetics and Molecular Biology 3, 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.utils import shuffle
    >>> from skcvae.generators import ClassGaussian
    >>> from skcvae.privacy import shadow_attack
    >>> X, y = shuffle(*load_digits(return_X_y=True), random_state=0)
    >>> members, others, reference = slice(0, 100), slice(100, 200), slice(200, 400)
    >>> result = shadow_attack(
    ...     ClassGaussian(), X[members], y[members], X[others], y[others],
    ...     X[reference], y[reference], score="latent_search", n_shadows=2,
    ...     random_state=0)
    >>> result.auc.value > 0.7
    True
    """
    X, y, n_members, R = check_candidates(
        X_members, y_members, X_nonmembers, y_nonmembers, X_reference=X_reference
    )
    y_R = check_one_label_per_sample(y_reference, R, "y_reference")
    _check_shadows(mode, n_shadows, y, y_R)
    _check_release(synthetic, estimator, score)
    target_seed, split_seed, *seeds = draw_seeds(
        check_random_state(random_state), n_shadows + 2
    )
    if synthetic is None:
        synthetic = train_clone(estimator, X[:n_members], y[:n_members], target_seed)
    labels = y[:n_members]
    if isinstance(synthetic, tuple):
        labels = np.asarray(synthetic[-1])
    statistic = _Statistic(score, R, labels)
    target = statistic(synthetic, X, y, target_seed)
    _check_complete(target, y)
    X_pool, y_pool = R, y_R
    if mode == "online":
        X_pool, y_pool = np.concatenate([X, R]), np.concatenate([y, y_R])
    halves = _draw_halves(y_pool, n_shadows, np.random.RandomState(split_seed))
    shadows = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(_score_shadow)(estimator, X_pool, y_pool, half, statistic, X, y, seed)
        for half, seed in zip(halves, seeds, strict=True)
    )
    is_in = np.zeros((n_shadows, len(X)), dtype=bool)
    if mode == "online":
        is_in = halves[:, : len(X)]
    ratios = likelihood_ratios(target, np.array(shadows), is_in)
    return attack_result(f"shadow_{mode}", ratios[:n_members], ratios[n_members:])


def _check_shadows(mode, n_shadows, y, y_reference):
    """Refuse too few shadows, and a reference that is too small or lacks classes."""
    if mode == "online":
        if n_shadows < _MIN_ONLINE:
            raise ValueError(
                f"mode='online' needs n_shadows of at least {_MIN_ONLINE}, two with "
                f"and two without each sample, got {n_shadows}."
            )
        return
    if len(y_reference) < _MIN_REFERENCE:
        raise ValueError(
            f"X_reference has {len(y_reference)} samples, and mode='offline' trains on "
            f"halves of it: it needs {_MIN_REFERENCE} or more. Or use mode='online'."
        )
    unknown = np.setdiff1d(y, y_reference).tolist()
    if unknown:
        raise ValueError(
            f"y_reference lacks the classes {unknown[:5]} of samples to attack, so "
            "that shadows cannot learn them. Leave these samples out, or use "
            "mode='online'."
        )


def _check_release(synthetic, estimator, score):
    """Refuse releases that the score cannot be computed of."""
    release = estimator if synthetic is None else synthetic
    if score == "latent_search" and not (
        hasattr(estimator, "make_decoder") and hasattr(release, "make_decoder")
    ):
        raise ValueError(
            "score='latent_search' needs an estimator, and a fitted object as "
            "synthetic, that have make_decoder. Use score='nearest' for samples."
        )
    is_tuple = synthetic is None or isinstance(synthetic, tuple)
    if score == "nearest" and not (is_tuple or hasattr(synthetic, "sample")):
        raise ValueError(
            "score='nearest' needs released samples: synthetic must be a tuple (X, y) "
            "or have sample(y=...)."
        )


def _check_complete(scores, y):
    """Refuse samples to attack whose class was not released."""
    missing = np.unique(y[np.isnan(scores)]).tolist()
    if missing:
        raise ValueError(
            f"The release has no samples of the classes {missing[:5]}. Leave these "
            "classes out of the attack: there is nothing to compare with."
        )


@dataclass
class _Statistic:
    """Score of samples against a release; NaN where it has no samples of a class."""

    score: str | Callable
    reference: np.ndarray
    labels: np.ndarray

    def __call__(self, release, X, y, seed):
        if self.score == "nearest":
            # Only distances within the classes of the samples matter.
            labels = self.labels[np.isin(self.labels, y)]
            S, y_S = synthesize(release, labels, seed, X.shape[1])
            return _nearest_scores(*scale_by(self.reference, S, X), y_S, y)
        if self.score == "latent_search":
            scores = latent_search_scores(
                release, X, y, n_restarts=1, random_state=seed
            )
            return -np.log(np.maximum(-scores, _MIN_OBJECTIVE))
        scores = np.asarray(self.score(release, X, y), dtype=float)
        if scores.shape != (len(X),) or not np.isfinite(scores).all():
            raise ValueError(
                f"score must return {len(X)} finite numbers, one for each sample, got "
                f"shape {scores.shape}."
            )
        return scores


def _nearest_scores(S, X, y_S, y):
    """Return minus the log-distance to the nearest synthetic sample of the class."""
    scores = np.full(len(X), np.nan)
    for label in np.unique(y):
        rows, of_class = y == label, y_S == label
        if of_class.any():
            distances = nearest_distances(X[rows], S[of_class])
            least = _MIN_DISTANCE * np.sqrt(X.shape[1])
            scores[rows] = -np.log(np.maximum(distances, least))
    return scores


def _score_shadow(estimator, X_pool, y_pool, half, statistic, X, y, seed):
    """Train one shadow; return the scores of the samples whose class it has seen."""
    train_seed, sample_seed = draw_seeds(np.random.RandomState(seed), 2)
    shadow = train_clone(estimator, X_pool[half], y_pool[half], train_seed)
    known = np.isin(y, y_pool[half])
    scores = np.full(len(X), np.nan)
    scores[known] = statistic(shadow, X[known], y[known], sample_seed)
    return scores


def _draw_halves(y, n_shadows, random_state):
    """Return which samples each shadow is trained on, in complementary pairs."""
    codes = np.unique(y, return_inverse=True)[1]
    ends = np.cumsum(np.bincount(codes))[:-1]
    halves = np.zeros((n_shadows, len(y)), dtype=bool)
    for pair in range(0, n_shadows, 2):
        order = random_state.permutation(len(y))
        order = order[np.argsort(codes[order], kind="stable")]
        for rows in np.split(order, ends):
            halves[pair, rows[random_state.randint(2) :: 2]] = True
        halves[pair + 1 : pair + 2] = ~halves[pair]
    return halves


def likelihood_ratios(target, shadows, is_in):
    """Return how much more likely each sample is a member; higher says "member".

    `target` has shape (n_rows,); the scores `shadows`, NaN where there is none, and
    `is_in`, what each shadow was trained on, have shape (n_shadows, n_rows).
    """
    seen = np.isfinite(shadows)
    mean_out, squares_out, dof_out = _moments(shadows, seen & ~is_in)
    mean_in, squares_in, dof_in = _moments(shadows, seen & is_in)
    dof = dof_out + dof_in
    variance = moderated_variances((squares_out + squares_in) / np.maximum(dof, 1), dof)
    least = _MIN_RELATIVE_STD * np.nanstd(shadows) or 1.0
    std = np.maximum(np.sqrt(variance), least)
    # Offline, and where a sample is alone in its class, one of the means is NaN.
    center = np.nanmean([mean_in, mean_out], axis=0)
    separation = np.fmax((mean_in - mean_out) / std, _MIN_SEPARATION)
    return separation * (target - center) / std


def _moments(scores, chosen):
    """Return mean, sum of squares and degrees of freedom of chosen scores by column."""
    n_chosen = chosen.sum(axis=0)
    total = np.where(chosen, scores, 0.0).sum(axis=0)
    mean = np.where(n_chosen > 0, total / np.maximum(n_chosen, 1), np.nan)
    squares = np.where(chosen, (scores - mean) ** 2, 0.0).sum(axis=0)
    return mean, squares, np.maximum(n_chosen - 1, 0)


def moderated_variances(variances, dof):
    """Return variances shrunk towards a common one, by Smyth's empirical Bayes.

    The true variances are taken to be scaled inverse chi-square; the two parameters,
    a variance and how many degrees of freedom it is worth, match mean and variance of
    the logarithms of the observed ones.
    """
    known = (dof > 0) & (variances > 0)
    if known.sum() < 2:
        return np.full(len(variances), variances.max())
    pooled = np.full(len(variances), np.average(variances, weights=dof))
    half = dof[known] / 2
    logs = np.log(variances[known]) - special.digamma(half) + np.log(half)
    excess = logs.var(ddof=1) - special.polygamma(1, half).mean()
    if excess <= 1e-6:
        return pooled
    prior = optimize.brentq(lambda a: special.polygamma(1, a) - excess, 1e-4, 1e7)
    common = np.exp(logs.mean() + special.digamma(prior) - np.log(prior))
    return (2 * prior * common + dof * variances) / (2 * prior + dof)
