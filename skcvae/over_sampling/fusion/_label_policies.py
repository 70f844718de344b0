"""Labels of fused rows: shared by their parts, or agreed on by a classifier."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .._logits import prepare_classifier
from ._positions import pool_positions

# How often a row is drawn before it repeats its tail row.
_MAX_DRAWS = 10


def share_labels(codes, fused):
    """Return the share of each class in the labels of training rows, then new ones.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,)
        Class codes of the training rows.

    fused : FusedRows
        The tail has the share of the label that it has of the units.

    Returns
    -------
    ndarray of shape (n_samples + n_new, n_classes), float32
    """
    of_tail = fused.masks.mean(axis=1)
    shares = np.zeros((len(codes) + len(of_tail), codes.max() + 1), dtype=np.float32)
    shares[np.arange(len(codes)), codes] = 1
    new = np.arange(len(codes), len(shares))
    tails, heads = codes[fused.parents].T
    shares[new, tails] = of_tail
    shares[new, heads] = 1 - of_tail
    return shares


def fit_classifier(policy, X, y, seed):
    """Return the classifier that must agree, fitted on rows averaged over positions."""
    if policy == "agreement":
        head = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500)
        policy = make_pipeline(StandardScaler(), head)
    return prepare_classifier(policy, pool_positions(X), y, seed)


def redraw_refused(fusion, fused, X, labels, classifier, rng):
    """Draw rows again, in place, that a classifier takes for another class.

    Rows that it refuses each time become their tail row.

    Parameters
    ----------
    fusion : Fusion
        Draws.

    fused : FusedRows
        Rows that are drawn already.

    X : ndarray of shape (n_samples, ...)
        Training rows.

    labels : ndarray of shape (n_new,)
        What the classifier must say.

    classifier : estimator
        Fitted.

    rng : RandomState
        Of the draws.

    Returns
    -------
    n_repeated : int
        Number of rows that became their tail row.
    """
    left = _refused(classifier, fused.rows, labels, np.arange(len(labels)))
    for _ in range(_MAX_DRAWS - 1):
        if not len(left):
            break
        again = fusion.draw(fusion.codes[fused.parents[left, 0]], rng)
        fused.rows[left] = again.rows
        fused.parents[left], fused.masks[left] = again.parents, again.masks
        left = _refused(classifier, fused.rows, labels, left)
    fused.masks[left] = True
    fused.rows[left] = X[fused.parents[left, 0]]
    return len(left)


def _refused(classifier, rows, labels, among):
    """Return which of some rows the classifier takes for another class."""
    if not len(among):
        return among
    predicted = classifier.predict(pool_positions(rows[among]))
    return among[predicted != labels[among]]
