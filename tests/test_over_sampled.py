"""Classifiers that hold samples out, fitted to what an over-sampler returned."""

import warnings

import numpy as np
import pytest
from imblearn.over_sampling import ADASYN, SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.linear_model import LogisticRegression

from skcvae.datasets import make_long_tailed
from skcvae.long_tail import (
    LogLinearPool,
    LongTailClassifier,
    MultilabelLongTailClassifier,
    PriorCorrectedClassifier,
)
from skcvae.long_tail._over_sampled import count_added
from skcvae.over_sampling import (
    GenerativeOverSampler,
    MultilabelOverSampler,
    PowerStrategy,
)

SAMPLERS = [
    SMOTE(k_neighbors=2),
    RandomOverSampler(),
    GenerativeOverSampler(),
    GenerativeOverSampler(sampling_strategy=PowerStrategy(0.5)),
]


def long_tail(order, seed=0):
    """Return a long tail of five classes, as it is, sorted or shuffled."""
    X, y = make_classification(
        600, 8, n_informative=8, n_redundant=0, n_classes=5, random_state=seed
    )
    X, y = make_long_tailed(X, y, imbalance_ratio=10, random_state=0)
    places = np.random.RandomState(seed).permutation(len(y))
    if order == "sorted":
        places = np.argsort(y, kind="stable")
    return X[places], y[places]


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_what_an_over_sampler_added_is_found(sampler, order):
    X, y = long_tail(order)
    assert count_added(y) == 0
    _, y_resampled = sampler.fit_resample(X, y)
    n_added = len(y_resampled) - len(y)
    # The last of the samples before may be of the first class that was added to.
    assert n_added <= count_added(y_resampled) <= n_added + 5


@pytest.mark.parametrize("n_classes", [2, 5, 20])
@pytest.mark.parametrize("n_samples", [30, 100, 1000])
def test_samples_in_random_order_and_sorted_ones_are_not_taken_for_added(
    n_samples, n_classes
):
    rng = np.random.RandomState(0)
    shares = np.arange(1, n_classes + 1) / (n_classes * (n_classes + 1) / 2)
    for _ in range(200):
        y = rng.choice(n_classes, n_samples, p=shares)
        y = np.unique(y, return_inverse=True)[1]
        assert count_added(y) == count_added(np.sort(y)) == 0
        assert count_added(np.r_[np.sort(y), np.sort(y)]) == 0


def test_few_samples_are_not_taken_for_added():
    for y in ([0], [0, 1], [0, 0, 0], [0, 1, 0, 0, 1, 1]):
        assert count_added(np.array(y)) == 0


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def test_what_adasyn_added_is_found(cancer):
    X, y = cancer
    _, y_resampled = ADASYN(random_state=0).fit_resample(X, y)
    assert count_added(y_resampled) == len(y_resampled) - len(y) > 100


@pytest.mark.parametrize(
    "make",
    [
        lambda: LongTailClassifier(random_state=0),
        lambda: LogLinearPool([("a", LogisticRegression())], random_state=0),
        lambda: PriorCorrectedClassifier(
            LogisticRegression(), calibration="temperature", trained_prior="train"
        ),
    ],
    ids=["classifier", "pool", "corrected"],
)
def test_an_over_sampler_before_held_out_samples_gives_a_warning(make, cancer):
    with pytest.warns(
        UserWarning, match="last 14. samples are sorted by class"
    ) as caught:
        make_pipeline(SMOTE(random_state=0), make()).fit(*cancer)
    assert len([w for w in caught if "sorted by class" in str(w.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make().fit(*cancer)


def test_an_over_sampler_inside_of_a_pool_gives_none(cancer):
    member = make_pipeline(SMOTE(random_state=0), LogisticRegression())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        LogLinearPool([("a", member)], random_state=0).fit(*cancer)
        PriorCorrectedClassifier(member, calibration="temperature").fit(*cancer)


def test_without_held_out_samples_there_is_no_warning(cancer):
    classifier = LongTailClassifier(l2=0.01, augment=None, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make_pipeline(SMOTE(random_state=0), classifier).fit(*cancer)


def test_an_over_sampler_of_label_sets_gives_a_warning():
    rng = np.random.RandomState(0)
    Y = rng.uniform(size=(400, 3)) < [0.5, 0.1, 0.1]
    X = rng.normal(size=(400, 4))
    sampler = MultilabelOverSampler(sampling_strategy=0.9, random_state=0)
    classifier = MultilabelLongTailClassifier(random_state=0)
    with pytest.warns(UserWarning, match="samples are sorted by class"):
        classifier.fit(*sampler.fit_resample(X, Y * 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        classifier.fit(X, Y * 1)


def test_copies_do_not_weaken_the_ridge():
    X, y = load_digits(return_X_y=True)
    X, y = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    alone = LongTailClassifier(random_state=0).fit(X, y)
    sampler = RandomOverSampler(random_state=0)
    with pytest.warns(UserWarning, match="sorted by class"):
        copied = LongTailClassifier(random_state=0).fit(*sampler.fit_resample(X, y))
    assert copied.l2_ > alone.l2_ / 4
