"""Unlabelled samples through pools, corrected classifiers, pipelines and searches."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skcvae import ClassGaussian, LongTailClassifier
from skcvae._validation import are_new
from skcvae.long_tail import (
    KernelNeighborsClassifier,
    LogLinearPool,
    PriorCorrectedClassifier,
)

FITS = []


class Recording(ClassGaussian):
    """Gaussian that notes the unlabelled samples of each fit."""

    def fit(self, X, y, X_unlabeled=None):
        FITS.append(None if X_unlabeled is None else np.array(X_unlabeled))
        return super().fit(X, y, X_unlabeled)


@pytest.fixture(autouse=True)
def forget_fits():
    FITS.clear()


@pytest.fixture(scope="module")
def labelled():
    return draw([40, 20, 8], 0)


@pytest.fixture(scope="module")
def unlabeled():
    return draw([40, 40, 40], 1)[0]


def draw(counts, seed):
    """Return samples of Gaussian classes, and their codes, in a random order."""
    rng = np.random.RandomState(seed)
    codes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return 2.5 * np.eye(3, 6)[codes] + rng.normal(size=(len(codes), 6)), codes


def classifier(**params):
    return LongTailClassifier(
        Recording(), l2=0.01, device="cpu", random_state=0, **params
    )


def pool_of(member, first=True):
    members = [("classifier", member), ("neighbors", KernelNeighborsClassifier())]
    return LogLinearPool(members if first else members[::-1], cv=2)


def scaled(last):
    """Return a pipeline that scales the unlabelled samples as well."""
    return Pipeline(
        [("scale", StandardScaler()), ("last", last)], transform_input=["X_unlabeled"]
    )


WRAPPERS = {
    "pool": pool_of,
    "prior": lambda member: PriorCorrectedClassifier(member, cv=2),
    "held out": lambda member: PriorCorrectedClassifier(
        member, trained_prior="held_out", calibration="temperature", cv=2
    ),
}
wrappers = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


@wrappers
@pytest.mark.parametrize("as_many", [False, True])
def test_each_fit_gets_all_unlabelled_samples(labelled, unlabeled, wrap, as_many):
    U = unlabeled[: len(labelled[0])] if as_many else unlabeled
    wrapper = wrap(classifier()).fit(*labelled, X_unlabeled=U)
    assert len(FITS) >= 3
    for seen in FITS:
        assert_array_equal(seen, U)
    inner = getattr(wrapper, "estimator_", None) or wrapper.estimators_[0]
    expected = ClassGaussian().fit(*labelled, U).class_means_
    assert_array_equal(inner.generator_.class_means_, expected)


@wrappers
@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, np.float32], ids=str)
def test_copies_of_held_out_samples_are_not_known_in_a_fold(
    labelled, unlabeled, wrap, make
):
    X, y = labelled
    X = X.astype(np.float32)
    wrap(classifier()).fit(make(X), y, X_unlabeled=make(np.concatenate([unlabeled, X])))
    # The classifier leaves out those that it is trained on.
    for seen in FITS:
        assert len(seen) == len(unlabeled)


def test_tables_tell_which_samples_are_new():
    X = np.arange(6.0).reshape(3, 2)
    assert_array_equal(are_new(X[1:].astype(np.float32), X[:2]), [False, True])
    assert are_new(["a", "b"], np.array(["a"])).all()


@wrappers
def test_routing_brings_them_to_who_requests_them(labelled, unlabeled, wrap):
    with sklearn.config_context(enable_metadata_routing=True):
        asking = classifier().set_fit_request(X_unlabeled=True)
        wrap(asking).fit(*labelled, X_unlabeled=unlabeled)
        pool_of(asking, first=False).fit(*labelled, X_unlabeled=unlabeled)
        with pytest.raises(ValueError, match="not explicitly set as requested"):
            wrap(classifier()).fit(*labelled, X_unlabeled=unlabeled)
    assert all(len(seen) == len(unlabeled) for seen in FITS)


@wrappers
def test_pipelines_inside_and_outside_transform_them(labelled, unlabeled, wrap):
    X, y = labelled
    by_hand = wrap(classifier())
    scaler = StandardScaler().fit(X)
    by_hand.fit(scaler.transform(X), y, X_unlabeled=scaler.transform(unlabeled))
    with sklearn.config_context(enable_metadata_routing=True):
        asking = classifier().set_fit_request(X_unlabeled=True)
        outside = scaled(wrap(asking)).fit(X, y, X_unlabeled=unlabeled)
        inside = wrap(scaled(asking)).fit(X, y, X_unlabeled=unlabeled)
    expected = by_hand.predict_proba(scaler.transform(X))
    assert_allclose(outside.predict_proba(X), expected, atol=1e-6)
    final = getattr(inside, "estimator_", None) or inside.estimators_[0]
    assert_allclose(
        final.predict_proba(X),
        clone(classifier())
        .fit(scaler.transform(X), y, X_unlabeled=scaler.transform(unlabeled))
        .predict_proba(scaler.transform(X)),
        atol=1e-6,
    )


@wrappers
def test_cross_validation_and_search_with_and_without_routing(
    labelled, unlabeled, wrap
):
    X, y = labelled
    params = {"X_unlabeled": unlabeled}
    cv = KFold(2, shuffle=True, random_state=0)
    cross_validate(wrap(classifier()), X, y, params=params, cv=cv, error_score="raise")
    with sklearn.config_context(enable_metadata_routing=True):
        asking = classifier().set_fit_request(X_unlabeled=True)
        cross_validate(
            scaled(wrap(asking)), X, y, params=params, cv=cv, error_score="raise"
        )
    name = "classifier__tau" if wrap is pool_of else "estimator__tau"
    search = GridSearchCV(
        wrap(classifier()), {name: [1.0, 1.2]}, cv=cv, error_score="raise"
    )
    search.fit(X, y, X_unlabeled=unlabeled)
    assert all(len(seen) == len(unlabeled) for seen in FITS)


@wrappers
def test_a_search_inside_gets_them(labelled, unlabeled, wrap):
    search = GridSearchCV(classifier(), {"tau": [1.0, 1.2]}, cv=2, error_score="raise")
    wrap(search).fit(*labelled, X_unlabeled=unlabeled)
    assert all(len(seen) == len(unlabeled) for seen in FITS)


# What would be wrong without a word


@wrappers
@pytest.mark.parametrize("in_search", [False, True])
def test_a_pipeline_that_would_not_transform_them_is_refused(
    labelled, unlabeled, wrap, in_search
):
    def make(last):
        pipeline = Pipeline([("scale", StandardScaler()), ("last", last)])
        return GridSearchCV(pipeline, {}, cv=2) if in_search else pipeline

    message = "transform_input=\\['X_unlabeled'\\]"
    with pytest.raises(ValueError, match=message):
        wrap(make(classifier())).fit(*labelled, last__X_unlabeled=unlabeled)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = classifier().set_fit_request(X_unlabeled=True)
        with pytest.raises(ValueError, match=message):
            wrap(make(asking)).fit(*labelled, X_unlabeled=unlabeled)
    assert not FITS


def test_a_pipeline_without_transformers_takes_them(labelled, unlabeled):
    pipeline = Pipeline([("last", classifier())])
    pool_of(pipeline).fit(*labelled, last__X_unlabeled=unlabeled)
    assert all(len(seen) == len(unlabeled) for seen in FITS)


@pytest.mark.parametrize(
    ("wrapper", "error_type", "message"),
    [
        (pool_of(classifier(), first=False), TypeError, "must be the first member"),
        (
            PriorCorrectedClassifier(KernelNeighborsClassifier()),
            TypeError,
            "Neighbors.* does not take X_unlabeled",
        ),
    ],
)
def test_a_classifier_without_a_use_for_them_is_refused(
    labelled, unlabeled, wrapper, error_type, message
):
    with pytest.raises(error_type, match=message):
        wrapper.fit(*labelled, X_unlabeled=unlabeled)


@wrappers
def test_a_frozen_classifier_is_refused_with_them(labelled, unlabeled, wrap):
    frozen = FrozenEstimator(classifier().fit(*labelled))
    with pytest.raises(ValueError, match="FrozenEstimator is not fitted again"):
        wrap(frozen).fit(*labelled, X_unlabeled=unlabeled)


@wrappers
def test_wrong_samples_are_refused(labelled, wrap):
    with pytest.raises(ValueError, match="X_unlabeled contains NaN"):
        wrap(classifier()).fit(*labelled, X_unlabeled=np.full((3, 6), np.nan))
    with pytest.raises(ValueError, match="5 features"):
        wrap(classifier()).fit(*labelled, X_unlabeled=np.ones((3, 5)))
