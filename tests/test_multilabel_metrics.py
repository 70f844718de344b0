"""Scores of label sets, against scikit-learn and values counted by hand."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier

from skcvae.metrics import (
    label_set_distance,
    make_multilabel_shot_scorer,
    make_shot_scorer,
    mean_average_precision_score,
    mean_roc_auc_score,
    shot_accuracy_score,
    shot_mean_average_precision,
)

RNG = np.random.RandomState(0)
# Labels of 60, 20, 5 and about 2 % of the samples; the last has no positive.
Y = (RNG.uniform(size=(200, 5)) < [0.6, 0.2, 0.05, 0.02, 0.0]).astype(int)
SCORE = Y + 1.5 * RNG.normal(size=Y.shape)


def test_scores_are_those_of_scikit_learn_for_each_label():
    expected = [average_precision_score(Y[:, k], SCORE[:, k]) for k in range(4)]
    found = mean_average_precision_score(Y, SCORE, average=None)
    assert_allclose(found, [*expected, np.nan])
    assert_allclose(mean_average_precision_score(Y, SCORE), np.mean(expected))
    areas = [roc_auc_score(Y[:, k], SCORE[:, k]) for k in range(4)]
    assert_allclose(mean_roc_auc_score(Y, SCORE, average=None), [*areas, np.nan])
    assert_allclose(mean_roc_auc_score(Y, SCORE), np.mean(areas))
    micro = average_precision_score(Y, SCORE, average="micro")
    assert_allclose(mean_average_precision_score(Y, SCORE, average="micro"), micro)


def test_area_leaves_out_labels_without_negatives():
    full = np.column_stack([Y, np.ones(len(Y))])
    score = np.column_stack([SCORE, SCORE[:, 0]])
    assert mean_roc_auc_score(full, score) == mean_roc_auc_score(Y, SCORE)


@pytest.mark.parametrize("convert", [sparse.csr_array, pd.DataFrame, np.ndarray.tolist])
def test_label_sets_may_be_sparse_frames_or_lists(convert):
    expected = mean_average_precision_score(Y, SCORE)
    assert mean_average_precision_score(convert(Y), SCORE) == expected


@pytest.mark.parametrize("score", [mean_average_precision_score, mean_roc_auc_score])
def test_score_of_no_positive_is_nan_with_a_warning(score):
    with pytest.warns(UserWarning, match="no label for which it is defined"):
        assert np.isnan(score(0 * Y, SCORE))


def test_groups_go_by_the_counts_of_the_training_samples():
    train = np.zeros((300, 5), dtype=int)
    for label, count in enumerate([200, 100, 20, 19, 150]):
        train[:count, label] = 1
    each = mean_average_precision_score(Y, SCORE, average=None)
    scores = shot_mean_average_precision(Y, SCORE, Y_train=train)
    # The last label would be of many samples, but has no positive to rank.
    assert_allclose(scores.many, each[0])
    assert_allclose(scores.medium, each[1:3].mean())
    assert_allclose(scores.few, each[3])
    assert_allclose(scores.overall, each[:4].mean())
    assert scores.n_left_out == 1
    assert scores.n_labels == {"overall": 4, "many": 1, "medium": 2, "few": 1}
    assert np.isnan(shot_mean_average_precision(Y, SCORE, Y_train=train, few=0).few)


class TestScorer:
    X = np.column_stack([SCORE, RNG.normal(size=(200, 2))])

    def test_is_the_function_of_the_decision_values(self):
        varying = Y[:, :4]
        model = OneVsRestClassifier(LogisticRegression()).fit(self.X, varying)
        scorer = make_multilabel_shot_scorer(varying, few=10, many=30)
        found = pickle.loads(pickle.dumps(scorer))(model, self.X, varying)
        expected = shot_mean_average_precision(
            varying, model.decision_function(self.X), Y_train=varying, few=10, many=30
        )
        assert found == {name: expected[name] for name in found}

    def test_takes_the_list_of_probabilities_of_a_forest(self):
        # The label that never varies has one column there.
        forest = RandomForestClassifier(5, random_state=0).fit(self.X, Y)
        found = make_multilabel_shot_scorer(Y)(forest, self.X, Y)
        proba = np.column_stack([p[:, -1] for p in forest.predict_proba(self.X)])
        assert found["overall"] == mean_average_precision_score(Y, proba)

    def test_selects_in_a_grid_search(self):
        varying = Y[:, :3]
        search = GridSearchCV(
            OneVsRestClassifier(LogisticRegression()),
            {"estimator__C": [1e-6, 1.0]},
            scoring=make_multilabel_shot_scorer(varying),
            refit="overall",
            cv=3,
        ).fit(self.X, varying)
        assert search.best_score_ == search.cv_results_["mean_test_overall"].max()


class TestLabelSetDistance:
    def test_is_that_of_frequencies_counted_by_hand(self):
        real = [[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]]
        generated = [[1, 1, 1], [1, 0, 0]]
        found = label_set_distance(real, generated)
        # Frequencies 1/2, 1/2, 1/4 against 1, 1/2, 1/2.
        assert_allclose(found.frequency, np.sqrt(0.5**2 + 0.25**2))
        # Pairs 01, 02, 12: 1/4, 0, 1/4 against 1/2, 1/2, 1/2.
        assert_allclose(found.cooccurrence, np.sqrt(0.25**2 + 0.5**2 + 0.25**2))
        assert found.cardinality == 1.25
        assert found.generated_cardinality == 2.0
        assert found.n_new_sets == 1

    def test_is_zero_for_the_same_sets_in_another_order(self):
        found = label_set_distance(Y, Y[::-1])
        assert found.frequency == found.cooccurrence == found.n_new_sets == 0

    def test_sees_labels_that_were_drawn_independently(self):
        together = np.repeat([[1, 1], [0, 0]], 50, axis=0)
        apart = np.column_stack([together[:, 0], np.tile([0, 1], 50)])
        found = label_set_distance(together, apart)
        assert found.frequency == 0
        assert_allclose(found.cooccurrence, 0.25)


@pytest.mark.parametrize(
    ("truth", "score", "match"),
    [
        (Y[:, 0], SCORE, "a column of 0 and 1"),
        (Y[:, :1], SCORE[:, :1], "at least two labels"),
        (2 * Y, SCORE, "0 and 1 alone"),
        (np.where(Y, "a", "b"), SCORE, "0 and 1 alone"),
        (np.where(Y, np.nan, 0), SCORE, "0 and 1 alone"),
        (Y, SCORE[:, :3], "the same labels"),
        (Y, SCORE[:50], "inconsistent numbers of samples"),
        (Y, np.where(Y, np.nan, SCORE), "NaN"),
    ],
)
def test_faulty_input_is_refused(truth, score, match):
    for function in (mean_average_precision_score, mean_roc_auc_score):
        with pytest.raises(ValueError, match=match):
            function(truth, score)


def test_frames_have_their_labels_in_one_order():
    names = list("abcde")
    truth, score = (pd.DataFrame(values, columns=names) for values in (Y, SCORE))
    expected = mean_average_precision_score(Y, SCORE)
    for given in (score, SCORE, pd.DataFrame(SCORE)):
        assert mean_average_precision_score(truth, given) == expected
    other = names[::-1]
    forest = RandomForestClassifier(2, random_state=0).fit(SCORE, Y)
    for compare in (
        lambda: mean_average_precision_score(truth, score[other]),
        lambda: mean_roc_auc_score(truth[other], score),
        lambda: shot_mean_average_precision(truth, SCORE, Y_train=truth[other]),
        lambda: label_set_distance(truth, truth[other]),
        lambda: make_multilabel_shot_scorer(truth)(forest, SCORE, truth[other]),
    ):
        with pytest.raises(ValueError, match="columns of"):
            compare()


def test_lists_of_labels_are_sent_to_the_binarizer():
    with pytest.raises(ValueError, match="lists of different lengths"):
        mean_average_precision_score([["a"], ["a", "b"]], SCORE[:2])


def test_distance_of_no_sets_is_refused():
    with pytest.raises(ValueError, match="at least one sample each"):
        label_set_distance(Y, Y[:0])


def test_groups_do_not_overlap():
    bounds = {"few": 30, "many": 20}
    y = np.arange(9) % 3
    for score in (
        lambda: shot_mean_average_precision(Y, SCORE, Y_train=Y, **bounds),
        lambda: make_multilabel_shot_scorer(Y, **bounds),
        lambda: shot_accuracy_score(y, y, y_train=y, **bounds),
        lambda: make_shot_scorer(y, **bounds),
    ):
        with pytest.raises(ValueError, match="few=30 must not be above many=20"):
            score()


def test_groups_of_other_labels_are_refused():
    with pytest.raises(ValueError, match="the same labels"):
        shot_mean_average_precision(Y, SCORE, Y_train=Y[:, :3])
