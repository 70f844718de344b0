"""How heads for several labels are chosen on held-out samples, and calibrated."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from ..metrics import mean_average_precision_score
from ._closed_form import half_whitener, principal_axes
from ._label_heads import LabelHeads
from ._priors import SAMPLING_EXPONENTS, augment_probability

# From strong to weak, in units in which the mean variance of a feature is 1.
_STRENGTHS = 4.0 ** np.arange(3, -7, -1)
# Steps without a better held-out score after which the path ends.
_PATIENCE = 2
# Looser than the last fit: the choice needs no more.
_PATH = {"max_iter": 60, "tolerance": 3e-4}
_MAX_LOG_SLOPE = np.log(30.0)
# Held-out positives that a label needs for a threshold of its own.
_MIN_POSITIVES = 10


def rarest_labels(Y):
    """Return the rarest label of each sample, and how many samples have each label.

    Samples without labels count as samples of one more label.
    """
    Y = np.column_stack([Y, ~Y.any(1)])
    count = Y.sum(0)
    return np.where(Y, count, np.inf).argmin(1), count


def batch_samples(Y, sampling, augment, p_min, p_max, rng):
    """Return weights of samples, and of which sets how many weighted samples to draw.

    In batches of Algorithm 1, a sample is drawn with a weight that is a power of the
    count of its rarest label, and replaced with a probability that falls with it. The
    mean over such batches has each sample with the weight of not being replaced, and
    generated samples of the same label sets for the rest. As many are drawn as there
    are samples. Return (weight, chosen, weight of each drawn).
    """
    rarest, count = rarest_labels(Y)
    seen = count > 0
    drawn = count[rarest] ** -float(SAMPLING_EXPONENTS.get(sampling, sampling))
    drawn /= drawn.sum()
    if augment is None:
        return drawn, np.empty(0, dtype=int), 0.0
    chance = np.zeros(len(count))
    chance[seen] = augment_probability(augment, count[seen] * 1.0, p_min, p_max)
    replaced = drawn * chance[rarest]
    if not replaced.any():
        return drawn, np.empty(0, dtype=int), 0.0
    # Evenly spaced draws, which vary less than independent ones.
    places = (np.arange(len(Y)) + rng.uniform()) / len(Y) * replaced.sum()
    chosen = np.searchsorted(replaced.cumsum(), places).clip(max=len(Y) - 1)
    return drawn - replaced, chosen, replaced.sum() / len(Y)


@dataclass
class TrainingSamples:
    """Real and generated samples of a fit: scaled, with label sets and weights."""

    Z: np.ndarray
    Y: np.ndarray
    weight: np.ndarray
    n_real: int

    @property
    def real_sets(self):
        """Label sets of the samples that are not generated."""
        return self.Y[: self.n_real]

    def effective_prior(self):
        """Return the share of each label in the weighted samples."""
        return self.weight @ self.Y / self.weight.sum()


@dataclass
class Heads:
    """Weights and biases, and what turns their logits into calibrated log-odds."""

    loss: object
    weights: np.ndarray
    bias: np.ndarray
    prior_left: np.ndarray
    slope: float = 1.0
    shift: np.ndarray | float = 0.0

    def raw_log_odds(self, Z):
        """Return log-odds for the training prior, before the slope."""
        return self.loss.log_odds(Z @ self.weights.T + self.bias) - self.prior_left

    def log_odds(self, Z):
        """Return log-odds for the training prior."""
        return self.slope * self.raw_log_odds(Z) + self.shift

    def set_slope(self, slope, samples):
        """Take a slope, with the shift that keeps the mean probability of each label.

        The mean is that over the training samples that are not generated.
        """
        raw = self.raw_log_odds(samples.Z[: samples.n_real])
        self.slope = slope
        self.shift = _matching_shift(slope * raw, samples.real_sets.mean(0))


class Objective:
    """The fit of heads to training samples, in the coordinates of one metric."""

    def __init__(self, samples, whitener, loss, balanced, adjusted):
        Y = samples.Y
        prior = np.clip(samples.effective_prior(), 1e-6, 1 - 1e-6)
        weight = np.ones((2, Y.shape[1]))
        if balanced:
            weight = 0.5 / np.stack([1 - prior, prior])
        real_prior = np.clip(samples.real_sets.mean(0), 1e-6, 1 - 1e-6)
        shift = logit(prior) if adjusted else np.zeros_like(prior)
        # What the weights and the adjustment leave of the prior in the logits.
        self.prior_left = logit(prior) + np.log(weight[1] / weight[0]) - shift
        self.prior_left = self.prior_left - logit(real_prior)
        self.whitener, self.loss = whitener, loss
        self.heads = LabelHeads(
            samples.Z @ whitener,
            Y.astype(np.float32),
            samples.weight,
            loss,
            weight,
            shift,
        )

    def fit(self, l2, start=None, **options):
        """Return the `Heads`, and the array from which another fit may start."""
        joint = self.heads.fit(l2, start, **options)
        weights = (joint[:, :-1] @ self.whitener.T).astype(np.float32)
        bias = joint[:, -1].astype(np.float32)
        return Heads(self.loss, weights, bias, self.prior_left), joint


def metrics_of(Z):
    """Return by name the matrices into coordinates in which a ridge is a plain one."""
    centred = Z - Z.mean(0)
    covariance = (centred.T @ centred / len(Z)).astype(np.float64)
    even = np.ones(len(Z))
    found = {}
    for name, matrix in [
        ("half_whitened", half_whitener(covariance)),
        ("identity", np.eye(len(covariance))),
    ]:
        matrix = matrix.astype(np.float32)
        axes, _ = principal_axes(Z @ matrix, even)
        found[name] = matrix @ axes.astype(np.float32)
    return found


@dataclass
class Choice:
    """The strength of the ridge and its metric, the slope, and what they rest on.

    `path` has "metric", "l2" and "average_precision". `log_odds` and `Y` are those of
    held-out samples.
    """

    l2: float
    metric: str
    slope: float = 1.0
    path: dict | None = None
    log_odds: np.ndarray | None = None
    Y: np.ndarray | None = None


def choose(splits, metrics, make_objective, strengths=None):
    """Return the `Choice` of most mean average precision on held-out samples.

    `splits` are pairs of `TrainingSamples` and (Z, Y) held out. The order of the
    samples is what no slope and no threshold can mend.
    """
    Y = np.concatenate([held_out[1] for _, held_out in splits])
    tried = []
    for metric, whitener in metrics.items():
        objectives = [make_objective(samples, whitener) for samples, _ in splits]
        tried += _walk(objectives, splits, Y, metric, strengths)
    best = max(tried, key=lambda point: point[0])
    _, metric, l2, heads = best
    path = {
        "metric": [point[1] for point in tried],
        "l2": np.array([point[2] for point in tried]),
        "average_precision": np.array([point[0] for point in tried]),
    }
    slope = _best_slope(heads, splits, Y)
    log_odds = np.concatenate(
        [h.log_odds(Z) for h, (_, (Z, _)) in zip(heads, splits, strict=True)]
    )
    return Choice(l2, metric, slope, path, log_odds, Y)


def _walk(objectives, splits, Y, metric, strengths):
    """Return points (score, metric, l2, heads of splits) from strong to weak."""
    tried, starts = [], [None] * len(splits)
    for l2 in _STRENGTHS if strengths is None else strengths:
        fits = [
            objective.fit(l2, start, **_PATH)
            for objective, start in zip(objectives, starts, strict=True)
        ]
        starts = [joint for _, joint in fits]
        heads = [head for head, _ in fits]
        scores = np.concatenate(
            [h.raw_log_odds(Z) for h, (_, (Z, _)) in zip(heads, splits, strict=True)]
        )
        tried.append((mean_average_precision_score(Y, scores), metric, l2, heads))
        best = max(range(len(tried)), key=lambda i: tried[i][0])
        if len(tried) - 1 - best >= _PATIENCE:
            break
    return tried


def _best_slope(heads, splits, Y):
    """Return the slope of least held-out log loss, and set it in the heads."""

    def loss(log_slope):
        total = 0.0
        for head, (samples, (Z, sets)) in zip(heads, splits, strict=True):
            head.set_slope(np.exp(log_slope), samples)
            odds = head.log_odds(Z)
            total += float((np.logaddexp(0, odds) - sets * odds).sum())
        return total / Y.size

    bounds = (-_MAX_LOG_SLOPE, _MAX_LOG_SLOPE)
    options = {"xatol": 2e-2}
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options=options)
    loss(found.x)
    return float(np.exp(found.x))


def _matching_shift(scores, prior):
    """Return the shift of each label with which its mean probability is the prior.

    Newton's method from below would overshoot where scores lie far apart; halving an
    interval does not.
    """
    with np.errstate(divide="ignore"):
        target = logit(prior)
    low, high = target - scores.max(0), target - scores.min(0)
    low, high = np.nan_to_num(low), np.nan_to_num(high)
    for _ in range(30):
        middle = (low + high) / 2
        is_low = expit(scores + middle).mean(0) < prior
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return (low + high) / 2


def f1_thresholds(log_odds, Y):
    """Return for each label the probability above which F1 is highest.

    Labels with few positives share one, which is best for their pooled F1.
    """
    proba = expit(log_odds)
    own = Y.sum(0) >= _MIN_POSITIVES
    thresholds = np.full(Y.shape[1], 0.5)
    for label in np.flatnonzero(own):
        thresholds[label] = _best_threshold(proba[:, label], Y[:, label])
    if Y[:, ~own].any():
        pooled = _best_threshold(proba[:, ~own].ravel(), Y[:, ~own].ravel())
        thresholds[~own] = pooled
    return thresholds


def _best_threshold(proba, y):
    """Return the middle between two probabilities that gives the highest F1."""
    order = np.argsort(-proba, kind="stable")
    proba, hits = proba[order], np.cumsum(y[order])
    f1 = 2 * hits / (np.arange(1, len(y) + 1) + hits[-1])
    # Samples of the same probability are predicted alike.
    f1[:-1][proba[:-1] == proba[1:]] = -1.0
    best = int(f1.argmax())
    after = proba[best + 1] if best + 1 < len(y) else 0.0
    return (proba[best] + after) / 2
