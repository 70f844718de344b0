"""Over-sampling of samples with several labels."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_array_equal
from scipy import sparse
from scipy.optimize import LinearConstraint, linprog, minimize
from scipy.special import entr
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier

from skcvae.generators import ClassGaussian
from skcvae.long_tail import MultilabelLongTailClassifier
from skcvae.over_sampling import (
    MultilabelOverSampler,
    PowerStrategy,
    RatioStrategy,
)
from skcvae.over_sampling._label_set_choice import _fractional_counts, choose_label_sets


class SetMeans(BaseEstimator):
    """Generator that returns the sum of the numbers of the labels of a set."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        """Remember what came in."""
        self.n_features_in_, self.n_labels_ = X.shape[1], y.shape[1]
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        """Return the sum of 1, 2, ... for the labels of each set, and noise."""
        sums = np.asarray(y) @ np.arange(1.0, self.n_labels_ + 1)
        noise = np.random.RandomState(random_state).uniform(size=len(y)) / 10
        return np.repeat((sums + noise)[:, None], self.n_features_in_, axis=1), y


@pytest.fixture(scope="module")
def labelled():
    """Return 300 samples with four labels: 0 is frequent, 3 rare, 2 never alone."""
    rng = np.random.RandomState(0)
    Y = (rng.uniform(size=(300, 4)) < [0.6, 0.3, 0.0, 0.05]).astype(int)
    Y[:6, 2] = Y[:6, 0] = 1
    return rng.normal(size=(300, 3)), Y


def choose(Y, targets, cost=1.0, seed=0):
    rng = np.random.RandomState(seed)
    return choose_label_sets(Y.astype(bool), np.array(targets), cost, rng)


def test_a_rare_label_rises_by_its_set_without_frequent_labels():
    Y = np.repeat([[1, 0], [1, 1], [0, 1]], [90, 4, 4], axis=0)
    n_alone = [(choose(Y, [94, 20], cost)[:, 0] == 0).sum() for cost in (0, 1, 9)]
    # The set alone rises from 4 to N, the other one to max(4, N / e^cost), which is 20.
    expected = [6, 20 / (1 + np.exp(-1)) - 4, 12]
    np.testing.assert_allclose(n_alone, expected, atol=1)
    assert n_alone[2] == 12


def test_sets_of_a_label_rise_alike_where_nothing_tells_them_apart():
    Y = np.repeat([[0, 0], [1, 0], [1, 1]], [50, 6, 2], axis=0)
    added = choose(Y, [24, 2], cost=0)
    # Label 0 goes from 8 to 24, three times: its sets have 12 and 4 samples more.
    assert_array_equal(added.sum(axis=0), [16, 4])


@pytest.mark.parametrize("cost", [0.0, 0.5, 2.0])
def test_the_choice_is_the_minimum_of_the_stated_problem(cost):
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]], float)
    sizes = np.array([40, 10, 3, 5, 2])
    counts = sizes @ sets
    targets = np.array([counts[0], 30, 30])
    found = _fractional_counts(sets, sizes, counts, targets, cost)

    def objective(after):
        excess = after[len(sizes) :]
        after = after[: len(sizes)]
        divergence = -entr(after / sizes) - after / sizes + 1
        return sizes @ divergence + cost * excess.sum()

    # The variables are the sizes afterwards, and what labels have beyond their targets.
    wide = np.hstack([sets.T, np.zeros((3, 3))])
    excess = np.hstack([sets.T, -np.eye(3)])
    start = np.concatenate([10.0 * sizes, np.full(3, 1e3)])
    solved = minimize(
        objective,
        start,
        method="SLSQP",
        bounds=[(n, None) for n in sizes] + [(0, None)] * 3,
        constraints=[
            LinearConstraint(wide, lb=targets),
            LinearConstraint(excess, ub=targets),
        ],
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert solved.success
    after = sizes + found
    ours = np.concatenate([after, np.maximum(after @ sets - targets, 0)])
    assert (after @ sets >= targets - 1e-3).all()
    assert objective(ours) == pytest.approx(solved.fun, rel=1e-4)


@pytest.mark.filterwarnings("error")
def test_a_high_cost_adds_the_fewest_labels():
    rng = np.random.RandomState(3)
    Y = rng.uniform(size=(400, 40)) < np.geomspace(0.7, 0.02, 40)
    sets, sizes = np.unique(Y, axis=0, return_counts=True)
    counts = sizes @ sets
    targets = np.maximum(counts, 150)
    added = _fractional_counts(sets.astype(float), sizes, counts, targets, 100.0)
    assert (counts + added @ sets >= targets - 0.01).all()
    # Without the divergence, the least excess is a linear problem.
    solved = linprog(
        sets.sum(axis=1), A_ub=-sets.T.astype(float), b_ub=counts - targets
    )
    assert added @ sets.sum(axis=1) == pytest.approx(solved.fun, rel=1e-3)


def test_whole_numbers_reach_targets_with_many_rare_sets():
    rng = np.random.RandomState(0)
    shares = np.geomspace(0.3, 0.002, 60)
    Y = rng.uniform(size=(1000, 60)) < shares
    counts = Y.sum(axis=0)
    targets = np.where(counts > 0, np.maximum(counts, 40), 0)
    added = choose(Y, targets)
    assert ((counts + added.sum(axis=0)) >= targets).all()
    known = {row.tobytes() for row in Y}
    assert {row.tobytes() for row in added} <= known
    assert_array_equal(added, choose(Y, targets))


def test_nothing_lacks_nothing_is_added(labelled):
    X, Y = labelled
    sampler = MultilabelOverSampler(SetMeans(), sampling_strategy={})
    X_resampled, Y_resampled = sampler.fit_resample(X, Y)
    assert_array_equal(X_resampled, X)
    assert_array_equal(Y_resampled, Y)
    assert sampler.n_added_ == 0
    assert sampler.sampling_strategy_ == {}


def test_originals_come_first_and_new_samples_fit_their_sets(labelled):
    X, Y = labelled
    sampler = MultilabelOverSampler(SetMeans(), random_state=0)
    X_resampled, Y_resampled = sampler.fit_resample(X, Y)
    assert_array_equal(X_resampled[:300], X)
    assert_array_equal(Y_resampled[:300], Y)
    assert len(X_resampled) == len(Y_resampled) == 300 + sampler.n_added_
    sums = np.floor(X_resampled[300:, 0])
    assert_array_equal(sums, Y_resampled[300:] @ [1, 2, 3, 4])
    assert_array_equal(sampler.label_counts_, [Y.sum(axis=0), Y_resampled.sum(axis=0)])


def test_strategies(labelled):
    X, Y = labelled
    counts = Y.sum(axis=0)

    def after(strategy):
        sampler = MultilabelOverSampler(
            SetMeans(), sampling_strategy=strategy, random_state=0
        )
        sampler.fit_resample(X, Y)
        assert all(n > 0 for n in sampler.sampling_strategy_.values())
        return sampler.label_counts_[1]

    assert (after(0.5) >= counts[0] / 2 - 0.5).all()
    assert_array_equal(after(0.5), after(RatioStrategy(0.5)))
    power = np.rint(np.sqrt(counts * counts.max()))
    assert (after(PowerStrategy(0.5)) >= power).all()
    assert after({3: 77})[3] == 77
    assert_array_equal(after({3: 77}), after(lambda Y: {3: 77}))


def test_auto_reduces_imbalance_ratios_to_their_mean(labelled):
    X, Y = labelled
    counts = Y.sum(axis=0)
    ratios = counts.max() / counts
    sampler = MultilabelOverSampler(SetMeans()).fit(X, Y)
    above = np.flatnonzero(ratios > ratios.mean())
    lacking = {i: round(counts.max() / ratios.mean()) - counts[i] for i in above}
    assert sampler.sampling_strategy_ == lacking
    assert list(above) == [2, 3]


def test_labels_that_come_with_a_frequent_one_lift_it_by_as_much(labelled):
    X, Y = labelled
    sampler = MultilabelOverSampler(
        SetMeans(), sampling_strategy={2: 50}, random_state=0
    )
    sampler.fit_resample(X, Y)
    added = np.diff(sampler.label_counts_, axis=0)[0]
    assert added[2] == 44
    assert added[0] == 44
    assert sampler.n_added_ == 44


def test_labels_without_samples_stay_without(labelled):
    X, Y = labelled
    Y = np.hstack([Y, np.zeros((300, 1), int)])
    for strategy in ("auto", 1.0, PowerStrategy(1.0)):
        sampler = MultilabelOverSampler(
            SetMeans(), sampling_strategy=strategy, random_state=0
        )
        assert not sampler.fit_resample(X, Y)[1][:, 4].any()
    with pytest.raises(ValueError, match="label 4 has no samples to learn from"):
        MultilabelOverSampler(SetMeans(), sampling_strategy={4: 5}).fit_resample(X, Y)
    nothing = MultilabelOverSampler(SetMeans()).fit_resample(X, np.zeros((300, 2)))
    assert len(nothing[0]) == 300


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({9: 5}, r"labels that y lacks: \[9\]"),
        ({0: 5}, "takes none away"),
        (1.5, "sampling_strategy"),
        ("all", "sampling_strategy"),
        ({3: 77.5}, "whole numbers of samples, got 77.5 for the label 3"),
        ({3: np.inf}, "whole numbers"),
        ({3: "many"}, "whole numbers"),
    ],
)
def test_faulty_strategies_are_refused(labelled, strategy, message):
    with pytest.raises(ValueError, match=message):
        MultilabelOverSampler(SetMeans(), sampling_strategy=strategy).fit(*labelled)


def test_costs_too_high_to_solve_for_are_refused(labelled):
    with pytest.raises(ValueError, match=r"range \[0.0, 100.0\]"):
        MultilabelOverSampler(SetMeans(), inflation_cost=1e3).fit(*labelled)


def test_a_function_must_return_a_dict(labelled):
    sampler = MultilabelOverSampler(SetMeans(), sampling_strategy=lambda Y: [9] * 4)
    with pytest.raises(TypeError, match="must return a dict"):
        sampler.fit(*labelled)


def test_integer_names_of_a_frame_are_those_of_a_dict(labelled):
    X, Y = labelled
    frame = pd.DataFrame(Y, columns=[1, 2, 3, 4])
    sampler = MultilabelOverSampler(SetMeans(), sampling_strategy={4: 77})
    new = sampler.fit_resample(X, frame)[1]
    assert new[4].sum() == 77


def test_faulty_label_sets_are_refused(labelled):
    X, Y = labelled
    sampler = MultilabelOverSampler(SetMeans())
    for faulty, message in (
        (Y[:, 0], "GenerativeOverSampler"),
        (Y[:, [0]], "GenerativeOverSampler"),
        (2 * Y, "must hold 0 and 1"),
        (np.where(Y, np.nan, 0), "must hold 0 and 1"),
        (Y[:, None], "label sets"),
        (Y[:10], "inconsistent numbers of samples"),
        (None, "label sets"),
    ):
        with pytest.raises(ValueError, match=message):
            sampler.fit_resample(X, faulty)
    with pytest.raises(ValueError, match="NaN"):
        sampler.fit_resample(np.where(X > 2, np.nan, X), Y)


def test_containers_keep_their_types(labelled):
    X, Y = labelled
    sampler = MultilabelOverSampler(SetMeans(), random_state=0)
    expected_X, expected_Y = sampler.fit_resample(X, Y)
    names = ["city", "sky", "cat", "owl"]
    frame_X, frame_Y = pd.DataFrame(X, columns=list("abc")), pd.DataFrame(Y > 0)
    frame_Y.columns = names
    frame_X["n"] = np.arange(300)
    new_X, new_Y = sampler.fit_resample(frame_X, frame_Y)
    assert (new_X.dtypes == frame_X.dtypes).all()
    assert (new_Y.dtypes == frame_Y.dtypes).all()
    assert list(new_Y) == names
    assert_array_equal(new_Y, expected_Y == 1)
    assert_array_equal(new_X["n"][:300], frame_X["n"])
    assert set(sampler.sampling_strategy_) <= set(names)
    for kind in (sparse.csr_array, sparse.csc_matrix):
        _, of_sparse = sampler.fit_resample(X, kind(Y))
        assert type(of_sparse) is kind
        assert of_sparse.dtype == Y.dtype
        assert_array_equal(of_sparse.toarray(), expected_Y)
    of_polars, sets = sampler.fit_resample(pl.DataFrame(X), pl.DataFrame(Y, names))
    assert isinstance(of_polars, pl.DataFrame)
    assert_array_equal(of_polars.to_numpy(), expected_X)
    assert_array_equal(sets.to_numpy(), expected_Y)
    assert_array_equal(sampler.fit_resample(X.tolist(), Y.tolist())[0], expected_X)
    for dtype in ("category", "Int64", pd.SparseDtype(int, 0)):
        of_type = sampler.fit_resample(X, pd.DataFrame(Y).astype(dtype))[1]
        assert (of_type.dtypes == pd.DataFrame(Y).astype(dtype).dtypes).all()
        assert_array_equal(of_type.astype(int), expected_Y)


def test_seeds(labelled):
    def draw(seed, own=None):
        sampler = MultilabelOverSampler(SetMeans(own), random_state=seed)
        return sampler.fit_resample(*labelled)[0]

    assert_array_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1))
    assert_array_equal(draw(0, own=5), draw(1, own=5))  # an own integer wins


def test_a_frozen_generator_is_used_as_it_is(labelled):
    X, Y = labelled
    generator = SetMeans().fit(X, Y)
    sampler = MultilabelOverSampler(FrozenEstimator(generator), random_state=0)
    sampler.fit(X, Y)
    assert sampler.generator_.estimator is generator


def test_a_frozen_generator_knows_the_labels_in_their_order(labelled):
    X, Y = labelled
    frame = pd.DataFrame(Y, columns=list("abcd"))
    frozen = FrozenEstimator(ClassGaussian().fit(X, frame))
    for estimator in (
        MultilabelOverSampler(frozen),
        MultilabelLongTailClassifier(frozen),
    ):
        with pytest.raises(ValueError, match="not the labels of fit"):
            estimator.fit(X, frame[list("dcba")])
        with pytest.raises(ValueError, match="was fitted to 4 labels, and y has 2"):
            estimator.fit(X, Y[:, [0, 1]])
        with pytest.raises(ValueError, match="fitted to 3 features, and X has 2"):
            estimator.fit(X[:, :2], Y)


def test_a_cache_trains_once(labelled, tmp_path):
    X, Y = labelled
    with pytest.raises(ValueError, match="integer random_state"):
        MultilabelOverSampler(SetMeans(), memory=str(tmp_path)).fit(X, Y)
    sampler = MultilabelOverSampler(
        SetMeans(), memory=str(tmp_path / "cache"), random_state=0
    )
    first, second = sampler.fit_resample(X, Y)[0], sampler.fit_resample(X, Y)[0]
    assert_array_equal(first, second)


def test_the_default_draws_the_means_of_label_sets(labelled):
    X, Y = labelled
    sampler = MultilabelOverSampler(random_state=0)
    X_resampled, Y_resampled = sampler.fit_resample(X, Y)
    plain = ClassGaussian(variance=0, random_state=0).fit(X, Y)
    expected = plain.sample(y=Y_resampled[300:])[0]
    np.testing.assert_allclose(X_resampled[300:], expected, atol=1e-12)
    assert sampler.n_added_


def test_generated_samples_have_the_additive_means_of_their_sets():
    rng = np.random.RandomState(0)
    effects = 5 * np.eye(3, 6)
    Y = (rng.uniform(size=(2000, 3)) < [0.6, 0.3, 0.05]).astype(int)
    X = Y @ effects + rng.normal(size=(2000, 6))
    sampler = MultilabelOverSampler(
        ClassGaussian(), sampling_strategy={2: 2000}, random_state=0
    )
    X_resampled, Y_resampled = sampler.fit_resample(X, Y)
    errors = X_resampled[2000:] - Y_resampled[2000:] @ effects
    assert np.abs(errors.mean(axis=0)).max() < 0.3  # 3 standard errors of 100 samples
    np.testing.assert_allclose(errors.std(axis=0), 1, rtol=0.1)


@pytest.mark.parametrize(
    "classifier", [OneVsRestClassifier, MultiOutputClassifier, ClassifierChain]
)
def test_pipelines_of_imbalanced_learn(labelled, classifier):
    X, Y = labelled
    sampler = MultilabelOverSampler(SetMeans(), random_state=0)
    pipeline = make_pipeline(sampler, classifier(LogisticRegression()))
    predicted = clone(pipeline).fit(X, Y).predict(X)
    assert predicted.shape == Y.shape
    by_hand = classifier(LogisticRegression()).fit(*sampler.fit_resample(X, Y))
    assert_array_equal(predicted, by_hand.predict(X))
