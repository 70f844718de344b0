"""The classifier for several labels: optimum, prior, calibration and faulty input."""

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_multilabel_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils import estimator_checks

from skcvae.generators import ClassGaussian
from skcvae.long_tail import MultilabelLongTailClassifier
from skcvae.long_tail._label_fit import batch_samples, f1_thresholds
from skcvae.long_tail._label_heads import LabelHeads, SigmoidLoss
from skcvae.metrics import make_multilabel_shot_scorer, mean_average_precision_score

DATA = Path(
    os.environ.get(
        "SKCVAE_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data"
    )
)
LOSSES = ["cross_entropy", "balanced", "logit_adjusted", "focal", "asymmetric"]
# Coefficients and biases of the labels of `make_labels`, from frequent to rare.
WEIGHTS = np.array([[1.5, 0, 0, 0], [0, 1, -1, 0], [0, 0, 1, 1.5], [1, 1, 0, 0]])
BIAS = np.array([0.5, -1.0, -2.5, -3.5])


def make_labels(n, seed):
    """Return samples, label sets, and the true probabilities of a logistic model."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n, 4))
    proba = expit(X @ WEIGHTS.T + BIAS)
    return X, (rng.uniform(size=proba.shape) < proba).astype(int), proba


X, Y, _ = make_labels(400, 0)
X_TEST, Y_TEST, P_TEST = make_labels(4000, 1)


class SetMeans(BaseEstimator):
    """A generator for tests: the samples of a label set with some noise."""

    def __init__(self, noise=0.1, random_state=None):
        self.noise = noise
        self.random_state = random_state

    def fit(self, X, Y):
        self.X_, self.Y_ = X, np.asarray(Y)
        self.n_seen_ = len(X)
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        rng = np.random.RandomState(random_state)
        rows = np.empty(len(y), dtype=int)
        for labels in np.unique(y, axis=0):
            own = np.flatnonzero((labels == y).all(1))
            rows[own] = rng.choice(np.flatnonzero((labels == self.Y_).all(1)), len(own))
        return self.X_[rows] + self.noise * rng.normal(size=(len(y), 4)), y


class TestLosses:
    Z = np.linspace(-6, 6, 41)

    @pytest.mark.parametrize("gamma", [1.0, 2.0])
    def test_focal_loss_is_that_of_its_paper(self, gamma):
        z = torch.from_numpy(self.Z)
        p = expit(self.Z)
        loss = SigmoidLoss(gamma, gamma)
        assert_allclose(loss(z, torch.ones(41)), -((1 - p) ** gamma) * np.log(p))
        assert_allclose(loss(z, torch.zeros(41)), -(p**gamma) * np.log1p(-p))

    def test_asymmetric_loss_is_that_of_its_paper(self):
        z = torch.from_numpy(self.Z)
        p = expit(self.Z)
        shifted = np.maximum(p - 0.05, 0)
        loss = SigmoidLoss(1.0, 4.0, 0.05)
        assert_allclose(loss(z, torch.ones(41)), -(1 - p) * np.log(p))
        expected = -(shifted**4) * np.log1p(-shifted)
        assert_allclose(loss(z, torch.zeros(41)), expected, atol=1e-40)

    @pytest.mark.parametrize("params", [(0, 0, 0), (2, 2, 0), (0, 4, 0.05), (1, 2, 0)])
    @pytest.mark.parametrize("truth", [0.15, 0.5, 0.9])
    def test_log_odds_at_the_least_expected_loss_are_the_true_ones(self, params, truth):
        loss = SigmoidLoss(*params)

        def expected(z):
            z = torch.tensor([z], dtype=torch.float64)
            return float(truth * loss.positive(z) + (1 - truth) * loss.negative(z))

        found = minimize_scalar(
            expected, bounds=(-8, 8), method="bounded", options={"xatol": 1e-9}
        )
        assert_allclose(loss.log_odds(np.array([found.x])), logit(truth), atol=1e-4)

    @pytest.mark.parametrize("params", [(2, 2, 0), (0, 4, 0.05), (1, 2, 0.2)])
    def test_log_odds_keep_the_order_of_logits(self, params):
        log_odds = SigmoidLoss(*params).log_odds(np.linspace(-60, 60, 999))
        assert np.isfinite(log_odds).all()
        assert (np.diff(log_odds) > 0).all()


def test_heads_are_those_of_logistic_regression():
    l2 = 0.01
    heads = LabelHeads(
        X.astype(np.float32),
        Y.astype(np.float32),
        np.ones(len(X)),
        SigmoidLoss(),
        np.ones((2, 4)),
        np.zeros(4),
    )
    joint = heads.fit(l2, tolerance=1e-12)
    # scikit-learn's C weighs the sum of the losses, and l2 their mean.
    for label in range(4):
        other = LogisticRegression(C=1 / (l2 * len(X)), tol=1e-8).fit(X, Y[:, label])
        expected = np.append(other.coef_, other.intercept_)
        assert_allclose(joint[label], expected, atol=2e-3)


class TestProbabilities:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_are_near_the_true_ones(self, loss):
        train = make_labels(4000, 2)
        classifier = MultilabelLongTailClassifier(loss=loss, random_state=0)
        proba = classifier.fit(*train[:2]).predict_proba(X_TEST)
        assert_allclose(proba.mean(0), Y_TEST.mean(0), atol=0.02)
        if loss == "asymmetric":
            # A margin makes probabilities rough; without one, they are as the others.
            classifier.set_params(loss_params={"margin": 0.0})
            proba = classifier.fit(*train[:2]).predict_proba(X_TEST)
        assert np.abs(proba - P_TEST).mean() < 0.02

    @pytest.mark.parametrize("sampling", ["balanced", 0.5])
    @pytest.mark.parametrize("generator", [None, SetMeans()])
    def test_have_the_original_prior_after_sampling(self, sampling, generator):
        train = make_labels(4000, 2)
        classifier = MultilabelLongTailClassifier(
            generator, sampling=sampling, random_state=0
        )
        proba = classifier.fit(*train[:2]).predict_proba(X_TEST)
        # The batches have about four times as many positives of the rarest label.
        assert classifier.effective_prior_[3] > 1.5 * Y_TEST[:, 3].mean()
        assert_allclose(proba.mean(0), Y_TEST.mean(0), atol=0.02)
        assert np.abs(proba - P_TEST).mean() < 0.03

    def test_logit_adjustment_gives_those_of_the_cross_entropy(self):
        # The free intercept of a head takes up what is added to its logits.
        plain, adjusted = (
            MultilabelLongTailClassifier(loss=loss, l2=0.01, random_state=0).fit(X, Y)
            for loss in ("cross_entropy", "logit_adjusted")
        )
        found = adjusted.predict_proba(X_TEST)
        assert_allclose(found, plain.predict_proba(X_TEST), atol=1e-4)

    def test_move_to_a_target_prior_by_its_odds(self):
        plain = MultilabelLongTailClassifier(l2=0.01, random_state=0).fit(X, Y)
        moved = clone(plain).set_params(target_prior=[0.5, 0.2, 0.3, 0.9]).fit(X, Y)
        change = logit([0.5, 0.2, 0.3, 0.9]) - logit(Y.mean(0))
        expected = plain.decision_function(X_TEST) + change
        assert_allclose(moved.decision_function(X_TEST), expected)
        uniform = clone(plain).set_params(target_prior="uniform").fit(X, Y)
        assert_allclose(uniform.target_prior_, 0.5)

    def test_come_from_coefficients_in_the_units_of_the_samples(self):
        classifier = MultilabelLongTailClassifier(random_state=0)
        expected = classifier.fit(X, Y).predict_proba(X_TEST)
        log_odds = X_TEST @ classifier.coef_.T + classifier.intercept_
        log_odds = classifier.slope_ * log_odds + classifier.log_odds_shift_
        assert_allclose(expit(log_odds), expected, rtol=1e-6)
        moved = clone(classifier).fit(100 * X + 7, Y)
        assert_allclose(moved.predict_proba(100 * X_TEST + 7), expected, atol=2e-3)


class TestLabelsThatDoNotVary:
    SETS = np.column_stack([Y, np.zeros(400, int), np.ones(400, int)])

    @pytest.mark.parametrize("target_prior", ["train", "uniform"])
    @pytest.mark.parametrize("loss", ["cross_entropy", "asymmetric"])
    def test_have_their_smoothed_frequency_after_one_warning(self, target_prior, loss):
        classifier = MultilabelLongTailClassifier(
            loss=loss, target_prior=target_prior, thresholds=[0.4] * 5 + [1.0]
        )
        with pytest.warns(UserWarning, match=r"2 labels cannot .*: \[4, 5\]") as caught:
            classifier.fit(X, self.SETS)
        assert len(caught) == 1
        proba = classifier.predict_proba(X_TEST)
        assert_allclose(proba[:, 4], 0.5 / 401)
        assert_allclose(proba[:, 5], 400.5 / 401)
        assert_array_equal(classifier.predict(X_TEST)[:, 4:], [[0, 1]] * 4000)
        assert not classifier.coef_[4:].any()

    @pytest.mark.filterwarnings("ignore:2 labels cannot be learned")
    def test_change_nothing_for_the_others(self):
        plain = MultilabelLongTailClassifier(l2=0.1, random_state=0).fit(X, Y)
        other = clone(plain).fit(X, self.SETS)
        found = other.predict_proba(X_TEST)[:, :4]
        assert np.abs(found - plain.predict_proba(X_TEST)).mean() < 0.02


class TestBatches:
    SETS = np.repeat([[1, 0], [1, 1], [0, 0]], [8, 2, 5], axis=0).astype(bool)

    def test_weights_fall_with_the_rarest_label(self):
        rng = np.random.RandomState(0)
        weight, chosen, _ = batch_samples(self.SETS, 1.0, None, 0, 1, rng)
        # Samples: label 0 has ten, label 1 two, and five have none.
        expected = np.repeat([1 / 10, 1 / 2, 1 / 5], [8, 2, 5])
        assert_allclose(weight, expected / expected.sum())
        assert len(chosen) == 0

    def test_rare_sets_are_replaced_most_and_weights_add_up(self):
        rng = np.random.RandomState(0)
        weight, chosen, each = batch_samples(self.SETS, 0.0, "inverse", 0.2, 0.7, rng)
        # 1 / n, scaled to [0, 1]: 0 for n = 10, 1 for n = 2, 1/4 for n = 5.
        replaced = np.repeat([0.2, 0.7, 0.25], [8, 2, 5])
        assert_allclose(weight * 15, 1 - replaced)
        assert_allclose(weight.sum() + each * len(chosen), 1)
        of_rare = (chosen >= 8) & (chosen < 10)
        assert abs(of_rare.sum() * each - 1.4 / 15) <= each


class TestGenerator:
    def test_sees_no_held_out_sample(self):
        seen = []

        class Watched(SetMeans):
            def fit(self, X, Y):
                seen.append(len(X))
                return super().fit(X, Y)

        classifier = MultilabelLongTailClassifier(Watched(), l2=0.1, random_state=0)
        classifier.fit(X, Y)
        assert seen[-1] == classifier.generator_.n_seen_ == 400
        assert len(seen) == 4
        assert max(seen[:3]) < 340

    def test_frozen_one_is_used_as_it_is(self):
        generator = SetMeans().fit(X, Y)
        classifier = MultilabelLongTailClassifier(FrozenEstimator(generator))
        assert classifier.fit(X, Y).generator_.estimator is generator

    def test_that_returns_other_sets_is_refused(self):
        class Wrong(SetMeans):
            def sample(self, n_samples=None, *, y=None, random_state=None):
                rows, sets = super().sample(y=y, random_state=random_state)
                return rows, 1 - sets

        with pytest.raises(ValueError, match=r"Wrong.sample\(y=...\) must return"):
            MultilabelLongTailClassifier(Wrong()).fit(X, Y)

    def test_warns_once_of_a_label_without_samples(self):
        sets = np.column_stack([Y, np.zeros(400, int)])
        classifier = MultilabelLongTailClassifier(ClassGaussian(), l2=0.1)
        with pytest.warns(UserWarning) as caught:
            classifier.fit(X, sets)
        assert len(caught) == 1


class TestThresholds:
    def test_of_f1_are_the_best_ones(self):
        rng = np.random.RandomState(0)
        truth = rng.uniform(size=(90, 2)) < 0.3
        log_odds = 2.0 * truth + rng.normal(size=truth.shape) - 2
        found = f1_thresholds(log_odds, truth)
        for label in range(2):
            proba = expit(log_odds[:, label])
            scores = [f1_score(truth[:, label], proba > t) for t in [0, *proba]]
            best = f1_score(truth[:, label], proba > found[label])
            assert_allclose(best, max(scores))

    def test_of_labels_with_few_positives_is_a_shared_one(self):
        log_odds = np.random.RandomState(0).normal(size=(50, 3))
        truth = np.zeros((50, 3), bool)
        truth[:20, 0] = truth[:5, 1] = True
        found = f1_thresholds(log_odds, truth)
        assert found[1] == found[2] != found[0]
        proba, pooled = expit(log_odds[:, 1:]).ravel(), truth[:, 1:].ravel()
        scores = [f1_score(pooled, proba > t) for t in [0, *proba]]
        assert_allclose(f1_score(pooled, proba > found[1]), max(scores))

    def test_raise_the_f1_of_rare_labels(self):
        train = make_labels(4000, 2)
        plain = MultilabelLongTailClassifier(random_state=0).fit(*train[:2])
        tuned = clone(plain).set_params(thresholds="f1").fit(*train[:2])
        of_plain = f1_score(Y_TEST, plain.predict(X_TEST), average="macro")
        of_tuned = f1_score(Y_TEST, tuned.predict(X_TEST), average="macro")
        assert of_tuned > of_plain + 0.02
        assert_array_equal(tuned.predict_proba(X), plain.predict_proba(X))

    def test_may_be_given(self):
        classifier = MultilabelLongTailClassifier(l2=0.1, thresholds=0.3).fit(X, Y)
        expected = classifier.predict_proba(X_TEST) > 0.3
        assert_array_equal(classifier.predict(X_TEST), expected)

    @pytest.mark.parametrize("target_prior", ["train", "uniform"])
    def test_may_be_an_array(self, target_prior):
        given = np.array([0.1, 0.2, 0.3, 0.4])
        classifier = MultilabelLongTailClassifier(
            l2=0.1, thresholds=given, target_prior=target_prior
        ).fit(X, Y)
        expected = classifier.predict_proba(X_TEST) > given
        assert_array_equal(classifier.predict(X_TEST), expected)


class TestTargets:
    def test_names_of_a_frame_are_kept(self):
        frame = pd.DataFrame(Y, columns=list("abcd"))
        classifier = MultilabelLongTailClassifier(l2=0.1).fit(X, frame)
        assert classifier.classes_.tolist() == list("abcd")

    @pytest.mark.parametrize("convert", [sparse.csr_matrix, np.ndarray.tolist])
    def test_sparse_ones_and_lists_are_the_same(self, convert):
        plain = MultilabelLongTailClassifier(l2=0.1, random_state=0).fit(X, Y)
        other = clone(plain).fit(X, convert(Y))
        assert_array_equal(other.predict_proba(X), plain.predict_proba(X))

    def test_one_hot_ones_are_sets_of_one_label(self):
        sets = np.eye(3, dtype=int)[(X @ WEIGHTS[:3].T).argmax(1)]
        classifier = MultilabelLongTailClassifier(random_state=0).fit(X, sets)
        assert (classifier.predict_proba(X).argmax(1) == sets.argmax(1)).mean() > 0.9

    @pytest.mark.parametrize("y", [Y[:, 0], Y[:, :1], list("ab") * 200])
    def test_one_class_per_sample_is_sent_to_the_other_classifier(self, y):
        with pytest.raises(ValueError, match="use LongTailClassifier"):
            MultilabelLongTailClassifier().fit(X, y)

    @pytest.mark.parametrize("value", [2, 0.5, -1, np.nan, "a"])
    def test_other_numbers_are_refused(self, value):
        sets = Y.astype(object)
        sets[3, 1] = value
        with pytest.raises(ValueError, match="0 and 1 alone"):
            MultilabelLongTailClassifier().fit(X, sets)

    def test_where_no_label_varies_are_refused(self):
        with pytest.raises(ValueError, match="some samples have and some do not"):
            MultilabelLongTailClassifier().fit(X, 0 * Y)

    def test_of_two_samples_are_enough(self):
        classifier = MultilabelLongTailClassifier().fit(X[:2], [[1, 0], [0, 1]])
        assert classifier.l2_path_ is None
        assert np.isfinite(classifier.predict_proba(X)).all()


def test_parameters_that_change_after_fit_change_no_prediction():
    classifier = MultilabelLongTailClassifier(l2=0.1, loss="focal").fit(X, Y)
    expected = classifier.predict_proba(X)
    classifier.set_params(loss="asymmetric", loss_params={"margin": 0.2})
    assert_array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"target_prior": [0.5, 0.5]}, "each of the 4 labels"),
        ({"target_prior": [0, 0.5, 0.5, 1]}, "above 0 and below 1"),
        ({"thresholds": [0.5, 0.5, 0.5, 2]}, "thresholds must have one number in"),
        ({"thresholds": "f1", "target_prior": "uniform"}, "needs target_prior='train'"),
        ({"loss_params": {"gamma": 1}}, r"has no parameters \['gamma'\]"),
        ({"p_min": 0.5, "p_max": 0.1}, "above p_max"),
        ({"loss": "focal", "loss_params": {"gamma": -1}}, r"gamma must be in \[0, inf"),
        (
            {"loss": "asymmetric", "loss_params": {"margin": 0.5}},
            r"margin must be in \[0, 0.3",
        ),
    ],
)
def test_contradictions_are_refused(params, match):
    with pytest.raises(ValueError, match=match):
        MultilabelLongTailClassifier(**params).fit(X, Y)


@pytest.mark.parametrize("name", ["target_prior", "thresholds"])
def test_pandas_values_are_refused_for_their_order(name):
    labels = pd.DataFrame(Y, columns=list("bdac"))
    values = pd.Series([0.1, 0.2, 0.3, 0.4], index=list("abcd"))
    classifier = MultilabelLongTailClassifier(l2=0.1, **{name: values})
    with pytest.raises(TypeError, match=rf"order .* {name}\.loc\[Y\.columns\]"):
        classifier.fit(X, labels)
    in_order = values.loc[labels.columns].to_numpy()
    fitted = classifier.set_params(**{name: in_order}).fit(X, labels)
    assert_array_equal(getattr(fitted, f"{name}_"), [0.2, 0.4, 0.1, 0.3])


def test_scores_in_cross_validation_and_pickles():
    classifier = MultilabelLongTailClassifier(l2=0.1, random_state=0)
    scorer = make_multilabel_shot_scorer(Y)
    fitted = clone(classifier).fit(X, Y)
    assert 0 < scorer(fitted, X, Y)["overall"] < 1
    assert cross_val_score(classifier, X, Y, cv=3).mean() > 0.4
    restored = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(restored.predict_proba(X), fitted.predict_proba(X))


class OneHotTargets(MultilabelLongTailClassifier):
    """Takes the classes that scikit-learn's checks give, as one-hot label sets."""

    def fit(self, X, Y):
        """Fit."""
        labels = np.asarray(Y).ravel()
        return super().fit(X, np.equal.outer(labels, np.unique(labels)))


@pytest.mark.parametrize(
    "check",
    [
        "check_no_attributes_set_in_init",
        "check_dict_unchanged",
        "check_estimators_dtypes",
        "check_estimators_nan_inf",
        "check_estimators_empty_data_messages",
        "check_estimators_unfitted",
        "check_fit2d_1sample",
        "check_fit2d_1feature",
        "check_f_contiguous_array_estimator",
        "check_n_features_in_after_fitting",
        "check_methods_subset_invariance",
        "check_methods_sample_order_invariance",
        "check_readonly_memmap_input",
    ],
)
def test_sklearn_checks(check):
    estimator = OneHotTargets(random_state=0)
    getattr(estimator_checks, check)("OneHotTargets", estimator)


@pytest.mark.parametrize(
    "check",
    ["check_classifier_multioutput", "check_param_validation", "check_requires_y_none"],
)
def test_sklearn_checks_of_label_sets(check):
    estimator = MultilabelLongTailClassifier(random_state=0)
    getattr(estimator_checks, check)("MultilabelLongTailClassifier", estimator)


def test_names_of_features_are_checked():
    frame = pd.DataFrame(X, columns=list("abcd"))
    classifier = MultilabelLongTailClassifier(l2=0.1).fit(frame, Y)
    assert classifier.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(frame[list("bacd")])


@pytest.mark.skipif(
    not (DATA / "ml_scene.npz").exists(), reason="needs ml_scene.npz in SKCVAE_DATA"
)
def test_ranks_real_scenes_at_least_as_well_as_logistic_regression():
    arrays = np.load(DATA / "ml_scene.npz", allow_pickle=False)
    train, test = (
        (arrays[f"X_{part}"].astype(float), arrays[f"Y_{part}"].astype(int))
        for part in ("train", "test")
    )
    ours = MultilabelLongTailClassifier(random_state=0).fit(*train)
    other = OneVsRestClassifier(LogisticRegression(max_iter=1000)).fit(*train)
    score, baseline = (
        mean_average_precision_score(test[1], model.decision_function(test[0]))
        for model in (ours, other)
    )
    assert score >= baseline


def test_default_ranks_as_well_as_logistic_regression_on_made_data():
    rows, sets = make_multilabel_classification(
        600, n_features=30, n_classes=6, random_state=0
    )
    ours = MultilabelLongTailClassifier(random_state=0).fit(rows[:300], sets[:300])
    other = OneVsRestClassifier(LogisticRegression()).fit(rows[:300], sets[:300])
    score, baseline = (
        mean_average_precision_score(sets[300:], model.decision_function(rows[300:]))
        for model in (ours, other)
    )
    assert score >= baseline
