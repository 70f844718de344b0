"""ResampledClassifier: weights reach the classifier."""

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from skcvae.over_sampling import GenerativeOverSampler, ResampledClassifier


@pytest.fixture
def data(separated_classes):
    X, y = separated_classes
    rng = np.random.RandomState(0)
    # Classes that overlap, so that weights matter.
    return X + 5 * rng.normal(size=X.shape), y, rng.uniform(0, 3, len(y))


def test_without_weights_it_is_a_pipeline(data):
    X, y, _ = data
    steps = GenerativeOverSampler(random_state=0), LogisticRegression(max_iter=500)
    ours = ResampledClassifier(*steps).fit(X, y)
    theirs = make_pipeline(*steps).fit(X, y)
    assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    assert_array_equal(ours.decision_function(X), theirs.decision_function(X))
    assert ours.score(X, y) == theirs.score(X, y)


def test_weights_reach_the_classifier(data):
    X, y, weights = data
    sampler = GenerativeOverSampler(random_state=0)
    head = LogisticRegression(max_iter=500)
    ours = ResampledClassifier(sampler, head).fit(X, y, sample_weight=weights)
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    means = np.array([weights[y == label].mean() for label in range(4)])
    extended = np.concatenate([weights, means[y_resampled[len(y) :]]])
    head.fit(X_resampled, y_resampled, sample_weight=extended)
    assert_allclose(ours.predict_proba(X), head.predict_proba(X))
    unweighted = ResampledClassifier(sampler, head).fit(X, y)
    assert np.abs(unweighted.predict_proba(X) - ours.predict_proba(X)).max() > 0.01


def test_weights_that_would_be_lost_are_refused(data):
    X, y, weights = data
    head = LogisticRegression(max_iter=500)
    smote = ResampledClassifier(SMOTE(k_neighbors=3, random_state=0), head)
    assert smote.fit(X, y).score(X, y) > 0.5
    with pytest.raises(ValueError, match="SMOTE takes no sample_weight"):
        smote.fit(X, y, sample_weight=weights)
    neighbors = ResampledClassifier(GenerativeOverSampler(), KNeighborsClassifier())
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight"):
        neighbors.fit(X, y, sample_weight=weights)


def test_methods_are_those_of_the_classifier():
    of_svm = ResampledClassifier(GenerativeOverSampler(), LinearSVC())
    assert not hasattr(of_svm, "predict_proba")
    assert hasattr(of_svm, "decision_function")
