"""Audits that train anew on random splits."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from skcvae.generators import ClassGaussian
from skcvae.privacy._audit import privacy_audit
from skcvae.privacy._audit_parts import Part, Parts, split_anew

N_FEATURES = 6


def records(n=500, n_classes=2, seed=0):
    """Members, non-members and reference, each with labels."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % n_classes
    rows = rng.randn(3, n, N_FEATURES) + y[:, None]
    return [part for X in rows for part in (X, y.copy())]


def near_copies(X, noise=0.02):
    return X + noise * np.random.RandomState(1).randn(*X.shape)


def independent_rows(n=500, seed=9):
    return tuple(records(n, seed=seed)[:2])


class Memoriser(BaseEstimator):
    """Releases its training rows with noise; counts its trainings."""

    n_fits = 0

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        Memoriser.n_fits += 1
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        np.testing.assert_array_equal(y, self.y_)
        return near_copies(self.X_), y


def test_splits_train_anew_and_find_a_memoriser():
    X, y, *others = records()
    Memoriser.n_fits = 0
    audit = privacy_audit(
        (near_copies(X), y),
        X,
        y,
        *others,
        retrain=Memoriser(),
        n_repeats=5,
        random_state=0,
    )
    assert Memoriser.n_fits == 5
    assert audit.splits["n_repeats"] == 5
    assert audit.splits["auc"]["nearest_neighbor"].low > 0.9
    assert "Over 5 random splits" in str(audit)


class Shuffler(BaseEstimator):
    """Releases rows that have nothing to do with its training rows."""

    def fit(self, X, y):
        return self

    def fit_transform(self, X, y):
        return np.random.RandomState(len(X)).randn(*X.shape) + y[:, None]


def test_splits_with_a_transformer_that_leaks_nothing():
    audit = privacy_audit(
        independent_rows(),
        *records(),
        retrain=Shuffler(),
        n_repeats=8,
        random_state=0,
    )
    area = audit.splits["auc"]["nearest_neighbor"]
    assert 0.4 < area.low < 0.5 < area.high < 0.6


def test_a_split_keeps_groups_and_duplicates_on_one_side():
    rng = np.random.RandomState(0)
    X, groups = rng.randn(60, 2), np.repeat(np.arange(20), 3)
    reference = Part(X[:0], groups[:0], None)
    parts = Parts(
        Part(X[:30], groups[:30], groups[:30]),
        Part(X[30:], groups[30:], groups[30:]),
        reference,
    )
    for seed in range(5):
        members, nonmembers, _ = split_anew(parts, seed)
        assert not set(members.y) & set(nonmembers.y)
        assert len(members.X) == len(nonmembers.X) == 30
    X[1::2] = X[::2]
    parts = Parts(
        Part(X[:30], groups[:30], None), Part(X[30:], groups[30:], None), reference
    )
    members, nonmembers, _ = split_anew(parts, 0)
    assert len(members.X) == 30
    assert not set(members.X[:, 0]) & set(nonmembers.X[:, 0])
    assert 0 < len(nonmembers.X) < 30


def test_the_seed_reaches_the_steps_of_a_pipeline():
    retrain = make_pipeline(StandardScaler(), GaussianRandomProjection(6))
    aucs = [
        privacy_audit(
            independent_rows(),
            *records(),
            attacks=["nearest_neighbor"],
            retrain=retrain,
            n_repeats=5,
            random_state=0,
        ).splits["auc"]
        for _ in range(2)
    ]
    assert aucs[0] == aucs[1]


def test_an_estimator_without_a_decoder_cannot_calibrate_the_attack_on_one():
    X, y, *others = records()
    release = ClassGaussian().fit(X, y)
    Memoriser.n_fits = 0
    with pytest.raises(ValueError, match="retrain must have make_decoder"):
        privacy_audit(release, X, y, *others, retrain=Memoriser())
    assert Memoriser.n_fits == 0
