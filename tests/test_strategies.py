"""Functions of y for `sampling_strategy`: class sizes by hand, and as parameters."""

import pickle
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skcvae.over_sampling import (
    GenerativeOverSampler,
    PowerStrategy,
    QualityFilter,
    RatioStrategy,
)

Y = np.repeat(["cat", "ape", "owl"], [100, 25, 4])
STRATEGIES = [
    RatioStrategy(),
    RatioStrategy(0.5, max_synthetic_ratio=1.5),
    PowerStrategy(),
    PowerStrategy(1, max_synthetic_ratio=0.29),
    RatioStrategy(1.3, missing_share=0.5),
]


@pytest.mark.parametrize(
    ("strategy", "ape", "owl"),
    [
        (RatioStrategy(), 100, 100),
        (RatioStrategy(0), 25, 4),
        (RatioStrategy(0.1), 25, 10),
        (RatioStrategy(0.5), 50, 50),
        # 0.29 * 100 is below 29 in floating point.
        (RatioStrategy(0.29), 29, 29),
        (RatioStrategy(1.0, max_synthetic_ratio=0), 25, 4),
        (RatioStrategy(1.0, max_synthetic_ratio=2), 75, 12),
        (RatioStrategy(0.5, max_synthetic_ratio=2), 50, 12),
        # 0.3 * 4 is 1.2 rows: one.
        (RatioStrategy(max_synthetic_ratio=0.3), 32, 5),
        (PowerStrategy(0), 25, 4),
        (PowerStrategy(1), 100, 100),
        # 100 * sqrt(1 / 4), and 100 * sqrt(1 / 25).
        (PowerStrategy(0.5), 50, 20),
        (PowerStrategy(0.5, max_synthetic_ratio=1), 50, 8),
        # 100 * 0.25 ** 0.25 = 70.7, and 100 * 0.04 ** 0.25 = 44.7.
        (PowerStrategy(0.75), 71, 45),
        (RatioStrategy(missing_share=0), 25, 4),
        (RatioStrategy(0.5, missing_share=0.4), 35, 22),
        # Half of 75 and 96 are 38 (of 37.5) and 48; the cap is 1 for each sample.
        (RatioStrategy(missing_share=0.5, max_synthetic_ratio=1), 50, 8),
    ],
    ids=repr,
)
def test_sizes_by_hand(strategy, ape, owl):
    expected = {"ape": ape, "cat": 100, "owl": owl}
    assert strategy(Y) == expected
    assert strategy(Y.tolist()) == expected
    assert strategy(pd.Series(Y, dtype="category")) == expected
    _, y_resampled = RandomOverSampler(
        sampling_strategy=strategy, random_state=0
    ).fit_resample(np.zeros((129, 1)), Y)
    assert Counter(y_resampled.tolist()) == expected


def test_the_cap_on_a_small_class_is_exact():
    # 0.29 of 100 rows is 29, though the product is below it in floating point.
    sizes = RatioStrategy(max_synthetic_ratio=0.29)(np.repeat([0, 1], [300, 100]))
    assert sizes == {0: 300, 1: 129}


@pytest.mark.parametrize("ratio", [0.4, 0.5, 0.75, 1.0])
def test_ratio_is_what_a_number_means_for_two_classes(ratio):
    y = np.repeat([False, True], [40, 12])
    X = np.random.RandomState(0).normal(size=(52, 2))
    counts = []
    for strategy in (ratio, RatioStrategy(ratio)):
        sampler = SMOTE(sampling_strategy=strategy, random_state=0)
        counts.append(Counter(sampler.fit_resample(X, y)[1].tolist()))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_strategies_are_values(strategy):
    assert eval(repr(strategy)) == strategy
    assert pickle.loads(pickle.dumps(strategy)) == strategy
    assert hash(pickle.loads(pickle.dumps(strategy))) == hash(strategy)
    for sampler in (SMOTE(), GenerativeOverSampler(), QualityFilter()):
        copied = clone(sampler.set_params(sampling_strategy=strategy))
        assert copied.sampling_strategy == strategy
        assert repr(strategy) in " ".join(repr(copied).split())


def test_grid_search_over_strategies():
    X = np.random.RandomState(0).normal(size=(52, 2))
    y = np.repeat([0, 1, 2], [30, 12, 10])
    pipeline = make_pipeline(
        GenerativeOverSampler(random_state=0), LogisticRegression()
    )
    name = "generativeoversampler__sampling_strategy"
    search = GridSearchCV(pipeline, {name: STRATEGIES}, cv=3, error_score="raise")
    search.fit(X, y)
    assert list(search.cv_results_[f"param_{name}"]) == STRATEGIES


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_values_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="ratio must be a finite number of at least 0"):
        RatioStrategy(value)
    with pytest.raises(ValueError, match=r"power must be in \[0, 1\]"):
        PowerStrategy(value)


def test_label_sets_are_not_taken_for_classes():
    with pytest.raises(ValueError, match="1d array"):
        RatioStrategy()(np.eye(3, dtype=int))


@pytest.mark.parametrize("strategy", [RatioStrategy, PowerStrategy])
@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan])
def test_shares_out_of_range_are_refused(strategy, share):
    with pytest.raises(ValueError, match=r"missing_share must be in \[0, 1\]"):
        strategy(missing_share=share)


def test_a_power_above_one_is_refused():
    with pytest.raises(ValueError, match=r"power must be in \[0, 1\]"):
        PowerStrategy(1.1)


def test_ratios_above_one_add_to_the_largest_class_as_a_dict_does():
    sizes = {"ape": 130, "cat": 130, "owl": 130}
    assert RatioStrategy(1.3)(Y) == sizes
    X = np.random.RandomState(0).normal(size=(129, 2))
    results = [
        GenerativeOverSampler(sampling_strategy=s, random_state=0).fit_resample(X, Y)
        for s in (sizes, RatioStrategy(1.3))
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])


def test_two_samplers_in_a_pipeline_share_the_missing_samples():
    X = np.random.RandomState(0).normal(size=(129, 2))
    first = RandomOverSampler(
        sampling_strategy=RatioStrategy(missing_share=0.25), random_state=0
    )
    X_first, y_first = first.fit_resample(X, Y)
    # 75 and 96 are missing; 18.75 and 24 of these are added.
    assert Counter(y_first.tolist()) == {"cat": 100, "ape": 44, "owl": 28}
    _, y_all = GenerativeOverSampler(random_state=0).fit_resample(X_first, y_first)
    assert set(Counter(y_all.tolist()).values()) == {100}


@pytest.mark.parametrize("strategy", [RatioStrategy, PowerStrategy])
@pytest.mark.parametrize("cap", [-1, np.nan, np.inf])
def test_caps_out_of_range_are_refused(strategy, cap):
    with pytest.raises(ValueError, match="max_synthetic_ratio must be"):
        strategy(max_synthetic_ratio=cap)
