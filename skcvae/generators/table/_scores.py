"""Scores of numbers given the states of a table: fill, correct and calibrate them."""

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm
from sklearn.linear_model import RidgeCV

from ..._class_means import raw_class_means

# Penalties to choose from, by the error on samples left out.
_ALPHAS = np.logspace(-1, 5, 7)
# Quantiles of a class that are compared with those of generated samples.
_MAX_QUANTILES = 256
# Steps towards the shares of categories.
_N_SHIFTS = 30


class OneHot:
    """The states of all columns as zeros and ones.

    The states of a column that are rarer than its `max_codes - 1` most frequent ones in
    the training samples share an entry. `states`, of shape (n_samples, n_columns), are
    -1 for none.
    """

    def __init__(self, states, n_states, max_codes):
        self.blocks, self._counts, self.n_codes = [], [], 0
        for column, n in zip(states.T, n_states, strict=True):
            counts = np.bincount(column[column >= 0], minlength=n)
            if not len(column):
                counts += 1
            rank = np.argsort(np.argsort(-counts, kind="stable"))
            n_codes = min(n, max_codes) if n > 1 else 0
            self.blocks.append((np.minimum(rank, n_codes - 1), self.n_codes, n_codes))
            self._counts.append(counts)
            self.n_codes += n_codes

    def encode(self, states):
        """Return states, shape (n, n_columns), as codes of shape (n, n_codes)."""
        codes = np.zeros((len(states), self.n_codes))
        for column, (code_of, start, n_codes) in zip(
            states.T, self.blocks, strict=True
        ):
            if n_codes:
                known = np.flatnonzero(column >= 0)
                codes[known, start + code_of[column[known]]] = 1
        return codes

    def to_states(self, entries, rng):
        """Return states for the entry of each column, shape (n, n_columns)."""
        states = np.zeros(entries.shape, dtype=np.intp)
        for j, (code_of, _, _) in enumerate(self.blocks):
            # States that share an entry are drawn as often as they were seen.
            for entry in np.unique(entries[:, j]):
                weight = np.where(code_of == entry, self._counts[j], 0)
                if weight.any():
                    of = entries[:, j] == entry
                    share = weight / weight.sum()
                    states[of, j] = rng.choice(len(weight), of.sum(), p=share)
        return states


class CodeDecoder:
    """Takes the largest of the codes of each column, after a shift of each.

    Generated codes of a class scatter as its real ones do: zeros and ones. A draw with
    codes as probabilities would scatter twice, and weaken associations. The shifts are
    such that each entry is the largest as often as its share in the class, by default
    the mean of its codes.
    """

    def __init__(self, one_hot, codes, shares=None):
        self._blocks = one_hot.blocks
        self._mean, spread = codes.mean(axis=0), codes.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        shares = (self._mean if shares is None else shares).clip(0)
        scaled = (codes - self._mean) / self._spread
        self._shift = np.concatenate(
            [np.zeros(0)]
            + [
                _fit_shift(scaled[:, start : start + n], shares[start : start + n])
                for _, start, n in self._blocks
                if n
            ]
        )

    def __call__(self, codes):
        """Return the place of the largest code of each column."""
        scaled = (codes - self._mean) / self._spread + self._shift
        entries = np.zeros((len(codes), len(self._blocks)), dtype=np.intp)
        for j, (_, start, n) in enumerate(self._blocks):
            if n:
                entries[:, j] = scaled[:, start : start + n].argmax(axis=1)
        return entries


def _fit_shift(scaled, shares):
    """Return what to add to codes so that each is the largest as often as its share."""
    shares = shares / shares.sum() if shares.any() else np.full(len(shares), 1.0)
    least = 0.5 / len(scaled)
    goal = ndtri(shares.clip(least, 1 - least))
    shift = np.where(shares > 0, goal, -np.inf)
    for _ in range(_N_SHIFTS):
        largest = (scaled + shift).argmax(axis=1)
        found = np.bincount(largest, minlength=len(shares)) / len(scaled)
        shift += (goal - ndtri(found.clip(least, 1 - least))) / 2
    return shift


def fill_scores(scores, codes, labels, rng):
    """Replace scores that are NaN by draws from a regression on all that is known.

    A generator takes no missing values. Means would lower the variance and all
    correlations, so that the residuals of known scores are added.
    """
    filled = np.where(np.isnan(scores), 0.0, scores)
    for j, column in enumerate(scores.T):
        known = ~np.isnan(column)
        if known.all():
            continue
        if not known.any():
            filled[:, j] = rng.normal(size=len(column))
            continue
        others = np.column_stack([codes, np.delete(filled, j, axis=1)])
        centre = _shrunk_means(column[known], labels[known], labels.max() + 1)[labels]
        target = column[known] - centre[known]
        predicted = centre.copy()
        if others.shape[1] and known.sum() > 2:
            predicted += _fit_ridge(others[known], target).predict(others)
        residual = rng.choice(column[known] - predicted[known], (~known).sum())
        filled[~known, j] = predicted[~known] + residual
    return filled


def _shrunk_means(values, labels, n_classes):
    """Return class means, with the overall mean counted as one sample of each."""
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.bincount(labels, values, minlength=n_classes)
    return (sums + values.mean()) / (counts + 1)


def regress_on_codes(filled, codes, labels):
    """Return the slopes of scores on codes in each class.

    A class of more samples than codes may differ from all others, as far as samples
    left out confirm it. The slopes correct generated scores: for jointly normal scores
    z and codes c with the slopes B of z on c, z + (a - c) B has the distribution of z
    given that the codes are a (Y. Hoffman and E. Ribak, "Constrained realizations of
    Gaussian fields: a simple algorithm", Astrophysical Journal 380, L5-L8, 1991). They
    have the shape (n_classes, n_codes, n_numbers).
    """
    if not (filled.size and codes.size):
        return np.zeros((labels.max() + 1, codes.shape[1], filled.shape[1]))
    n_classes = labels.max() + 1
    filled = filled - raw_class_means(filled, labels, n_classes)[labels]
    codes = codes - raw_class_means(codes, labels, n_classes)[labels]
    shared = np.atleast_2d(_fit_ridge(codes, filled).coef_).T
    slopes = np.repeat(shared[None], n_classes, axis=0)
    for label, own in enumerate(slopes):
        of = labels == label
        if n_classes > 1 and of.sum() > max(codes.shape[1], 2):
            residual = filled[of] - codes[of] @ shared
            own += np.atleast_2d(_fit_ridge(codes[of], residual).coef_).T
    return slopes


def _fit_ridge(X, y):
    return RidgeCV(_ALPHAS, alpha_per_target=y.ndim == 2 and y.shape[1] > 1).fit(X, y)


class Calibration:
    """Monotone maps that give generated scores of a class the quantiles of the real.

    The weight of the real quantiles is that of a James-Stein estimator: it is 0 where
    they differ from the generated ones by no more than chance, and nears 1 for many
    samples. Scores that are NaN are left out.
    """

    def __init__(self, real, generated):
        self._at, self._step = np.zeros(1), np.zeros(1)
        real, generated = real[~np.isnan(real)], generated[~np.isnan(generated)]
        if len(real) < 2 or len(generated) < 2:
            return
        n = min(len(real), len(generated), _MAX_QUANTILES)
        shares = (np.arange(n) + 0.5) / n
        self._at = np.quantile(generated, shares)
        difference = np.quantile(real, shares) - self._at
        # The variance of a sample quantile of a normal distribution.
        noise = np.mean(shares * (1 - shares) / norm.pdf(norm.ppf(shares)) ** 2)
        noise *= real.var() / len(real) + generated.var() / len(generated)
        found = np.mean(difference**2)
        self._step = difference * (max(0.0, 1 - noise / found) if found else 0.0)

    def __call__(self, scores):
        """Return calibrated scores."""
        return scores + np.interp(scores, self._at, self._step)
