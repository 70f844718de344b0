"""Scores of generated rows: the density of a class, agreement of a classifier."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC

from skcvae import ClassGaussian
from skcvae.over_sampling._quality_filter import GaussianDensity, label_agreement

X = np.random.RandomState(0).normal(size=(40, 4))
y = np.repeat([0, 1, 2], [25, 10, 5])
NAMES = np.array(["zebra", "ape", "mole"])


def test_density_is_that_of_the_class_gaussian():
    generator = ClassGaussian(random_state=0).fit(X, y)
    scale = generator.scale_
    covariance = generator.covariance_ * np.outer(scale, scale)
    rows, labels = generator.sample(50)
    expected = [
        multivariate_normal(
            generator.offset_ + generator.class_means_[label] * scale, covariance
        ).logpdf(row)
        for row, label in zip(rows, labels, strict=True)
    ]
    density = GaussianDensity().fit(X, NAMES[y])
    # The classes are sorted: ape, mole, zebra.
    names = NAMES[labels]
    assert_allclose(density.score_samples(rows, names), expected, rtol=1e-5)


def test_density_leaves_out_constant_features_and_holds_for_single_rows():
    constant = np.column_stack([X, np.full(40, 7.0)])
    expected = GaussianDensity().fit(X, y).score_samples(X, y)
    found = GaussianDensity().fit(constant, y).score_samples(constant, y)
    assert_allclose(found, expected, rtol=0.1)
    single = GaussianDensity().fit(X[24:26], y[24:26])
    assert np.isfinite(single.score_samples(X, np.tile([0, 1], 20))).all()
    identical = GaussianDensity().fit(np.eye(3)[y], y)
    own, other = (identical.score_samples(np.eye(3)[y], k) for k in (y, (y + 1) % 3))
    assert (own > other).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_agreement_with_the_label(n_classes):
    names = NAMES[np.minimum(y, n_classes - 1)]
    logistic = LogisticRegression().fit(X, names)
    proba = pd.DataFrame(logistic.predict_proba(X), columns=logistic.classes_)
    expected = [proba.loc[i, name] for i, name in enumerate(names)]
    assert_allclose(label_agreement(logistic, X, names), expected)
    svm = LinearSVC().fit(X, names)
    # The largest decision is the prediction, where there are two classes as well.
    by_class = [label_agreement(svm, X, np.full(40, name)) for name in svm.classes_]
    assert_array_equal(svm.classes_[np.argmax(by_class, axis=0)], svm.predict(X))


def test_decisions_between_pairs_of_classes_are_refused():
    four = np.repeat([0, 1, 2, 3], 10)
    svm = SVC(decision_function_shape="ovo").fit(X, four)
    with pytest.raises(ValueError, match=r"6 scores for each sample.*'ovr'"):
        label_agreement(svm, X, four)
