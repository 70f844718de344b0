"""The attacks by class means and covariance, against densities of scipy."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from skcvae.privacy import class_gaussian_attack

SCORES = ["likelihood", "class_means"]


@pytest.fixture
def sets():
    """Copies of members, members, non-members and reference, with labels."""
    rng = np.random.RandomState(0)
    sizes = 60, 60, 50, 70
    X = [rng.randn(n, 40) for n in sizes]
    X[0] = X[1] + 0.5 * X[0]
    return [part for rows in X for part in (rows, np.arange(len(rows)) % 3)]


def fit(X, y):
    means = np.array([X[y == label].mean(axis=0) for label in range(3)])
    covariance, _ = ledoit_wolf(X - means[y], assume_centered=True)
    return means, covariance * len(X) / (len(X) - 3)


def expected_scores(score, S, y_S, R, y_R, X, y):
    (m, W), (mu, V) = fit(S, y_S), fit(R, y_R)
    scores = np.empty(len(X))
    for i, (x, label) in enumerate(zip(X, y, strict=True)):
        if score == "likelihood":
            scores[i] = multivariate_normal(m[label], W).logpdf(x)
            scores[i] -= multivariate_normal(mu[label], V).logpdf(x)
        else:
            metric = np.linalg.inv(W + V)
            scores[i] = (x - mu[label]) @ metric @ (m[label] - mu[label])
    for label in range(3):
        scores[y == label] -= scores[y == label].mean()
    return scores


@pytest.mark.parametrize("score", SCORES)
def test_scores_are_those_of_the_formulas(score, sets):
    S, y_S, M, y_M, H, y_H, R, y_R = sets
    X, y = np.concatenate([M, H]), np.concatenate([y_M, y_H])
    scale = np.sqrt(R.var(axis=0).mean())
    scores = expected_scores(score, S / scale, y_S, R / scale, y_R, X / scale, y)
    result = class_gaussian_attack(*sets, score=score)
    assert result.auc.value == pytest.approx(
        roc_auc_score(np.repeat([1, 0], [len(M), len(H)]), scores), abs=1e-3
    )
    assert result.auc.value > 0.7
    assert result.name == score


@pytest.mark.parametrize("score", SCORES)
def test_they_depend_on_neither_order_nor_units(score, sets):
    expected = class_gaussian_attack(*sets, score=score).auc
    rng = np.random.RandomState(1)
    orders = [rng.permutation(len(X)) for X in sets[::2] for _ in "Xy"]
    for i in range(1, 8, 2):
        orders[i] = orders[i - 1]
    shuffled = [part[order] for part, order in zip(sets, orders, strict=True)]
    in_other_units = [part * 1e3 + 5 if part.ndim == 2 else part for part in shuffled]
    np.testing.assert_allclose(
        class_gaussian_attack(*in_other_units, score=score).auc, expected, rtol=1e-9
    )


@pytest.mark.parametrize("score", SCORES)
def test_samples_without_spread_and_missing_classes_give_finite_scores(score, sets):
    X, labels = sets[::2], sets[1::2]
    X = [np.c_[rows, np.full(len(rows), 0.1)] for rows in X]
    labels[0] = np.full(60, 9)
    labels[2][:5] = 7
    parts = [part for pair in zip(X, labels, strict=True) for part in pair]
    assert np.isfinite(class_gaussian_attack(*parts, score=score).auc).all()
    # As many classes as samples.
    parts[1] = np.arange(60)
    assert np.isfinite(class_gaussian_attack(*parts, score=score).auc).all()


def test_only_differences_within_a_class_count(sets):
    # All members are of one class, and all non-members of another.
    sets[3], sets[5] = np.zeros(60), np.ones(50)
    sets[2] = sets[2] + 100
    assert 0.3 < class_gaussian_attack(*sets).auc.value < 0.7


def test_a_sample_in_two_sets_is_refused(sets):
    sets[4][:4] = sets[2][3:7]
    with pytest.raises(ValueError, match="4 samples of X_members are also in X_non"):
        class_gaussian_attack(*sets)
