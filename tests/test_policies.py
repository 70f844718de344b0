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
from skcvae.over_sampling import CVAEOverSampler, augmentation_policies


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
