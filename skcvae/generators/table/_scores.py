"""Scores of numbers given the states of a table: fill, correct and calibrate them."""

import numpy as np
from scipy.stats import norm
from sklearn.linear_model import RidgeCV

from ..._class_means import raw_class_means

# Penalties to choose from, by the error on samples left out.
_ALPHAS = np.logspace(-1, 5, 7)
# Quantiles of a class that are compared with those of generated samples.
_MAX_QUANTILES = 256


class OneHot:
    """The states of all columns as zeros and ones.

    The states of a column that are rarer than its `max_codes - 1` most frequent ones
    share an entry.

    Parameters
    ----------
    states : ndarray of shape (n_samples, n_columns)
        States of the training samples, -1 for none.

    n_states : list of int
        Number of states of each column.

    max_codes : int
        Largest number of entries of a column.
    """

    def __init__(self, states, n_states, max_codes):
        self._blocks, self._counts, self.n_codes = [], [], 0
        for column, n in zip(states.T, n_states, strict=True):
            counts = np.bincount(column[column >= 0], minlength=n)
            if not len(column):
                counts += 1
            rank = np.argsort(np.argsort(-counts, kind="stable"))
            n_codes = min(n, max_codes) if n > 1 else 0
            self._blocks.append((np.minimum(rank, n_codes - 1), self.n_codes, n_codes))
            self._counts.append(counts)
            self.n_codes += n_codes

    def encode(self, states):
        """Return states, shape (n, n_columns), as codes of shape (n, n_codes)."""
        codes = np.zeros((len(states), self.n_codes))
        for column, (code_of, start, n_codes) in zip(
            states.T, self._blocks, strict=True
        ):
            if n_codes:
                known = np.flatnonzero(column >= 0)
                codes[known, start + code_of[column[known]]] = 1
        return codes

    def decode(self, codes, rng):
        """Draw states from codes as probabilities, which are made non-negative."""
        states = np.zeros((len(codes), len(self._blocks)), dtype=np.intp)
        for j, (code_of, start, n_codes) in enumerate(self._blocks):
            if n_codes:
                counts = self._counts[j]
                seen = np.bincount(code_of, counts, minlength=n_codes) > 0
                drawn = _draw_places(codes[:, start : start + n_codes], seen, rng)
                # States that share an entry are drawn as often as they were seen.
                for code in np.unique(drawn):
                    weight = np.where(code_of == code, counts, 0)
                    of = drawn == code
                    share = weight / weight.sum()
                    states[of, j] = rng.choice(len(counts), of.sum(), p=share)
        return states


def _draw_places(weights, allowed, rng):
    """Draw an allowed place in each line of weights, any where none is positive."""
    weights = weights.clip(0) * allowed
    weights[weights.sum(axis=1) <= 0] = allowed
    sums = weights.cumsum(axis=1)
    thresholds = rng.uniform(size=len(weights)) * sums[:, -1]
    return (sums <= thresholds[:, None]).sum(axis=1).clip(max=weights.shape[1] - 1)


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

    A class may differ from all as far as samples left out confirm it. The slopes
    correct generated scores: for jointly normal scores z and codes c with the
    slopes B of z on c, z + (a - c) B has the distribution of z given that the codes are
    a [1]_.

    Returns
    -------
    slopes : ndarray of shape (n_classes, n_codes, n_numbers)
        The slopes B of each class.

    References
    ----------
    .. [1] Y. Hoffman and E. Ribak, "Constrained realizations of Gaussian fields: a
       simple algorithm", Astrophysical Journal 380, L5-L8, 1991.
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
        if of.sum() > 2 and n_classes > 1:
            residual = filled[of] - codes[of] @ shared
            own += np.atleast_2d(_fit_ridge(codes[of], residual).coef_).T
    return slopes


def _fit_ridge(X, y):
    return RidgeCV(_ALPHAS, alpha_per_target=y.ndim == 2 and y.shape[1] > 1).fit(X, y)


class Calibration:
    """Monotone maps that give generated scores of a class the quantiles of the real.

    The weight of the real quantiles is that of a James-Stein estimator: it is 0 where
    they differ from the generated ones by no more than chance, and nears 1 for many
    samples.

    Parameters
    ----------
    real, generated : ndarray
        Scores of the training samples of a class in a column, and generated ones.
    """

    def __init__(self, real, generated):
        self._at, self._step = np.zeros(1), np.zeros(1)
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
