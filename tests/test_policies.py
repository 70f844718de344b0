"""The grid of over-sampling policies, and what a search chooses from it."""

import numpy as np
import pytest
from imblearn.pipeline import Pipeline
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid

import skcvae.generators
from skcvae.generators import CVAE
from skcvae.over_sampling import (
    CVAEOverSampler,
    GenerativeOverSampler,
    RaiseWhileBetter,
    RatioStrategy,
    augmentation_policies,
)


@pytest.fixture
def rows():
    """Two overlapping classes of 180 and 20 rows."""
    return make_blobs([180, 20], 4, cluster_std=3.0, random_state=0)


def make_pipeline(classifier):
    return Pipeline([("sampler", "passthrough"), ("classifier", classifier)])


def search(policies, scoring, rows):
    pipeline = make_pipeline(LogisticRegression())
    return GridSearchCV(pipeline, policies, scoring=scoring, cv=3).fit(*rows)


def small_policies(**params):
    """Return policies whose CVAE takes no time."""
    policies = augmentation_policies(**params)
    policies[-1]["sampler"][0].set_params(max_epochs=2, latent_dim=2, device="cpu")
    return policies


def test_every_policy_fits(rows):
    for params in ParameterGrid(small_policies()):
        pipeline = make_pipeline(LogisticRegression()).set_params(**params)
        assert pipeline.fit(*rows).predict(rows[0]).shape == (200,)


def test_no_over_sampling_is_chosen_where_the_class_sizes_carry_information(rows):
    best = search(small_policies(), "neg_log_loss", rows).best_params_
    assert best["sampler"] == "passthrough"


def test_over_sampling_is_chosen_where_all_classes_count_alike(rows):
    best = search(small_policies(), "balanced_accuracy", rows).best_params_
    assert best["sampler"] != "passthrough"


def test_classes_too_small_for_smote_do_not_fail():
    X, y = make_blobs([60, 20, 3], 4, random_state=0)
    (smote,) = augmentation_policies()[2]["sampler"]
    _, y_resampled = smote.fit_resample(X, y)
    assert np.bincount(y_resampled).tolist() == [60, 60, 60]


class LastLabel(ClassifierMixin, BaseEstimator):
    """Predicts one label, and keeps the rows that it was fitted on."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.X_ = X
        return self

    def predict(self, X):
        seen = {row.tobytes() for row in self.X_}
        assert not any(row.tobytes() for row in X if row.tobytes() in seen)
        return np.full(len(X), self.classes_[-1])


def test_no_row_of_the_held_out_part_is_in_what_is_fitted(rows):
    pipeline = make_pipeline(LastLabel())
    result = GridSearchCV(
        pipeline, small_policies(), cv=3, refit=False, error_score="raise"
    ).fit(*rows)
    assert np.isfinite(result.cv_results_["mean_test_score"]).all()


def test_with_a_cache_the_cvae_is_trained_once_per_split(rows, tmp_path, monkeypatch):
    fits = []
    original = CVAE._fit

    def counted(self, *arguments):
        fits.append(self)
        return original(self, *arguments)

    monkeypatch.setattr(skcvae.generators.CVAE, "_fit", counted)
    policies = small_policies(memory=str(tmp_path))[-1:]
    assert len(ParameterGrid(policies)) == 6
    pipeline = make_pipeline(LogisticRegression())
    GridSearchCV(pipeline, policies, cv=3, refit=False).fit(*rows)
    assert len(fits) == 3


def test_parameters_and_extra_ones_are_in_every_policy():
    policies = augmentation_policies(
        "over",
        strategies=["auto"],
        variances=[1.0, 2.0],
        extra={"classifier__C": [0.1, 1.0]},
        random_state=3,
    )
    grid = list(ParameterGrid(policies))
    assert len(grid) == 2 * (1 + 1 + 1 + 2 + 2)
    assert {params["classifier__C"] for params in grid} == {0.1, 1.0}
    assert "over__sampling_strategy" not in policies[0]
    for policy in policies[1:]:
        assert policy["over"][0].random_state == 3
    (cvae,) = policies[-1]["over"]
    assert isinstance(cvae, CVAEOverSampler)


def test_an_integer_of_a_generator_wins_over_that_of_the_policies(rows):
    policies = small_policies(random_state=3)
    for policy, name in ((3, "generator__random_state"), (4, "random_state")):
        sampler = policies[policy]["sampler"][0].fit(*rows)
        assert sampler.generator_.random_state == 3
        sampler.set_params(**{name: 7}).fit(*rows)
        assert sampler.generator_.random_state == 7
    smote = policies[2]["sampler"][0]
    expected = smote.fit_resample(*rows)[0]
    np.testing.assert_array_equal(smote.fit_resample(*rows)[0], expected)
    own = smote.set_params(smote__random_state=1).fit_resample(*rows)[0]
    assert not np.array_equal(own, expected)
    other = smote.set_params(random_state=4).fit_resample(*rows)[0]
    np.testing.assert_array_equal(other, own)


def test_cache_without_an_integer_seed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="memory needs an integer random_state"):
        augmentation_policies(memory=str(tmp_path), random_state=None)


def results_of(scores, name="score", values=None):
    """Return what a search with these scores, of shape (n_candidates, n_splits) has."""
    scores = np.asarray(scores)
    params = [{"p": v} for v in (values or range(len(scores)))]
    return {
        "params": params,
        f"mean_test_{name}": scores.mean(axis=1),
        **{f"split{i}_test_{name}": column for i, column in enumerate(scores.T)},
        **{f"split{i}_train_{name}": -column for i, column in enumerate(scores.T)},
    }


def test_the_share_is_raised_only_by_gains_above_noise():
    # Gains over the first: mean 1, standard error 1 / sqrt(3), then 1 with sqrt(3).
    clear, noisy = [[0, 0, 0], [0, 1, 2]], [[0, 0, 0], [-2, 1, 4]]
    assert RaiseWhileBetter()(results_of(clear)) == 1
    assert RaiseWhileBetter(n_errors=1.72)(results_of(clear)) == 1
    assert RaiseWhileBetter(n_errors=1.74)(results_of(clear)) == 0
    assert RaiseWhileBetter()(results_of(noisy)) == 0
    assert RaiseWhileBetter(n_errors=0)(results_of(noisy)) == 1


def test_a_candidate_is_compared_with_the_one_that_is_chosen_so_far():
    steps = [[0, 0.0], [1, 0.8], [1, 0.8], [0.5, 0.4], [2, 1.9], [2.1, 1.7]]
    assert RaiseWhileBetter()(results_of(steps)) == 4
    # A gain that comes in small steps is seen as a whole.
    slow = [[0, 0.0], [0.1, -0.1], [0.2, 0.1]]
    assert RaiseWhileBetter()(results_of(slow)) == 2


def test_one_of_several_scores_decides():
    results = results_of([[0, 0.0], [1, 1]], "recall") | results_of([[1, 1.0], [0, 0]])
    assert RaiseWhileBetter(scoring="recall")(results) == 1
    assert RaiseWhileBetter()(results) == 0


def test_searches_that_tell_nothing_are_refused():
    rule = RaiseWhileBetter()
    with pytest.raises(ValueError, match="at least two splits, and found 1"):
        rule(results_of([[0.0], [1.0]]))
    with pytest.raises(ValueError, match="'recall' of at least two splits"):
        RaiseWhileBetter(scoring="recall")(results_of([[0.0, 0], [1, 1]]))
    with pytest.raises(ValueError, match="some candidates failed"):
        rule(results_of([[0, 0.0], [np.nan, 1]]))
    with pytest.raises(ValueError, match="'p' returns to a value"):
        rule(results_of([[0, 0.0]] * 3, values=[1, 2, 1]))
    # As a random search tries them.
    with pytest.raises(ValueError, match="rises and falls"):
        rule(results_of([[0, 0.0]] * 3, values=[0.1, 0.9, 0.5]))
    assert rule(results_of([[0, 0.0], [1, 1], [1, 1]], values=[3, 2.0, 1])) == 1
    for value in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="n_errors must be"):
            RaiseWhileBetter(value)


class Watching(GenerativeOverSampler):
    """Notes the samples that each fit learned from, and those that it made."""

    seen: list = []

    def fit_resample(self, X, y):
        resampled = super().fit_resample(X, y)
        self.seen.append((X, resampled[0][len(X) :]))
        return resampled


def test_no_split_is_scored_on_samples_that_were_generated_or_learned_from(rows):
    scored = []

    def score(estimator, X, y):
        scored.append(X)
        return estimator.score(X, y)

    Watching.seen = []
    pipeline = Pipeline(
        [("sampler", Watching(random_state=0)), ("classifier", LogisticRegression())]
    )
    ratios = [RatioStrategy(r) for r in (0.2, 0.6, 1.3)]
    found = GridSearchCV(
        pipeline,
        {"sampler__sampling_strategy": ratios},
        scoring=score,
        cv=4,
        refit=RaiseWhileBetter(),
    ).fit(*rows)
    assert found.best_estimator_[0].sampling_strategy == ratios[found.best_index_]
    assert len(scored) == 12
    for held_out, (learned, made) in zip(scored, Watching.seen[:12], strict=True):
        known = {sample.tobytes() for sample in np.vstack([learned, made])}
        assert len(learned) + len(held_out) == 200
        assert len(made) > 0
        assert not known & {sample.tobytes() for sample in held_out}
