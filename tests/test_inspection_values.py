"""What displays draw, against arrays that are computed in another way."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score
from skorch.dataset import ValidSplit

from skcvae.anonymization import CVAEAnonymizer
from skcvae.generators import CVAE
from skcvae.inspection import (
    ClassCountDisplay,
    ClassCoverageDisplay,
    FrechetVarianceDisplay,
    LatentSpaceDisplay,
    MembershipROCDisplay,
    NearestNeighborDistanceDisplay,
    ProjectionDisplay,
    ReliabilityDisplay,
    ShotAccuracyDisplay,
    SphereRadiusDisplay,
    TrainingHistoryDisplay,
)
from skcvae.long_tail import LongTailClassifier
from skcvae.metrics import expected_calibration_error, shot_accuracy_score
from skcvae.over_sampling import CVAEOverSampler
from skcvae.privacy import tpr_at_fpr

SMALL = {"max_epochs": 4, "latent_dim": 3, "device": "cpu", "random_state": 0}
# Four epochs of 107 samples suffice, because the fit does not matter here.
pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def validated_cvae(separated_classes):
    net_params = {"train_split": ValidSplit(4), "module__hidden_dim": 16}
    return CVAE(**SMALL, net_params=net_params).fit(*separated_classes)


def xy(line):
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


# Training history


def test_history_is_drawn_with_validation(validated_cvae):
    display = TrainingHistoryDisplay.from_estimator(validated_cvae)
    history = validated_cvae.history_
    assert set(display.lines_) == {
        f"{part}_{term}"
        for part in ("train", "valid")
        for term in ("total", "reconstruction", "kl")
    }
    for name, line in display.lines_.items():
        epochs, values = xy(line)
        assert epochs.tolist() == [1, 2, 3, 4]
        assert values.tolist() == history[:, name.replace("total", "loss")]
        assert line.axes is (display.kl_ax_ if "kl" in name else display.ax_)


@pytest.mark.parametrize(
    "holder",
    [CVAEOverSampler(**SMALL), CVAEAnonymizer(**SMALL, small_classes="allow")],
    ids=lambda holder: type(holder).__name__,
)
def test_history_of_the_generator_inside(holder, separated_classes):
    estimator = clone(holder).fit(*separated_classes)
    display = TrainingHistoryDisplay.from_estimator(estimator)
    expected = estimator.generator_.history_[:, "train_loss"]
    assert display.train["total"].tolist() == expected
    assert display.valid is None


def test_history_of_a_classifier_is_its_own(separated_classes):
    classifier = LongTailClassifier(max_epochs=3, device="cpu", random_state=0)
    classifier.fit(*separated_classes)
    display = TrainingHistoryDisplay.from_estimator(classifier)
    assert display.train["total"].tolist() == classifier.history_[:, "train_loss"]
    assert set(display.train) == {"total"}
    assert display.kl_ax_ is None


def test_history_has_a_gap_where_training_was_interrupted():
    class Interrupted(BaseEstimator):
        history_ = (
            {"epoch": 1, "train_loss": 3.0},
            {"epoch": 2, "train_loss": 2.0},
            {"epoch": 3},
        )

        def fit(self, X, y):
            return self

        def __sklearn_is_fitted__(self):
            return True

    values = TrainingHistoryDisplay.from_estimator(Interrupted()).train["total"]
    assert_array_equal(values, [3, 2, np.nan])


# Latent space and projection


def test_latents_of_two_dimensions_are_drawn_as_they_are(separated_classes):
    X, y = separated_classes
    cvae = CVAE(**{**SMALL, "latent_dim": 2}).fit(X, y)
    display = LatentSpaceDisplay.from_estimator(cvae, X, y)
    Z = cvae.encode(X, y)
    assert list(display.lines_) == [0, 1, 2, 3]
    for label, line in display.lines_.items():
        assert_allclose(np.transpose(xy(line)), Z[y == label])


def test_latents_of_an_over_sampler_are_those_of_its_generator(separated_classes):
    X, y = separated_classes
    sampler = CVAEOverSampler(**SMALL).fit(X, y)
    inside = LatentSpaceDisplay.from_estimator(sampler.generator_, X, y)
    display = LatentSpaceDisplay.from_estimator(sampler, X, y)
    assert_array_equal(display.points[0], inside.points[0])


def test_more_latents_are_projected_to_components_around_the_origin():
    rng = np.random.RandomState(0)
    Z = rng.normal(size=(500, 4)) * [1, 5, 1, 3] + [2, 7, 0, -4]
    y = rng.randint(3, size=500)
    display = LatentSpaceDisplay.from_data(Z, y)
    _, vectors = np.linalg.eigh(np.cov(Z.T))
    expected = Z @ vectors[:, [3, 2]]
    for label in range(3):
        assert_allclose(np.abs(display.points[label]), np.abs(expected[y == label]))


def test_circle_holds_95_percent_of_a_standard_normal():
    Z = np.random.RandomState(0).normal(size=(200_000, 2))
    display = LatentSpaceDisplay.from_data(Z, np.arange(len(Z)) % 2)
    circle = next(
        line for line in display.ax_.lines if line.get_label().startswith("95")
    )
    radius = np.hypot(*xy(circle))
    assert_allclose(radius, radius[0])
    inside = np.mean(np.linalg.norm(Z, axis=1) < radius[0])
    assert inside == pytest.approx(0.95, abs=0.002)


def test_many_classes_are_grey_but_for_some_from_large_to_small():
    y = np.repeat(np.arange(100), np.arange(100, 0, -1))
    Z = np.random.RandomState(0).normal(size=(len(y), 2))
    display = LatentSpaceDisplay.from_data(Z, y, max_classes=5)
    assert list(display.points) == [0, 25, 50, 74, 99]
    assert display.n_others == 95
    n_colored = sum(len(points) for points in display.points.values())
    assert len(display.others) == len(y) - n_colored


def test_points_are_thinned_out_but_rare_classes_keep_theirs():
    y = np.repeat([0, 1], [50_000, 5])
    Z = np.random.RandomState(0).normal(size=(len(y), 2))
    display = LatentSpaceDisplay.from_data(Z, y, max_points=1000)
    assert len(display.points[0]) == 500
    assert_array_equal(display.points[1], Z[-5:])
    drawn = {tuple(row) for row in display.points[0]}
    assert drawn <= {tuple(row) for row in Z[:50_000]}


def test_projection_is_fitted_on_real_samples_of_the_classes(separated_classes):
    X, y = separated_classes
    X_new, y_new = X[:40] + 3, y[:40]
    display = ProjectionDisplay.from_data(X, y, X_new, y_new, classes=[2, 0])
    pca = PCA(2).fit(X[np.isin(y, [0, 2])])
    assert list(display.real) == [2, 0]
    for label in (2, 0):
        for source, rows in (
            ("real", X[y == label]),
            ("synthetic", X_new[y_new == label]),
        ):
            drawn = np.transpose(xy(display.lines_[source, label]))
            assert_allclose(np.abs(drawn), np.abs(pca.transform(rows)))


def test_projection_by_a_supervised_transformer(separated_classes):
    X, y = separated_classes
    lda = LinearDiscriminantAnalysis(n_components=2)
    display = ProjectionDisplay.from_data(X, y, X[:9], y[:9], transformer=lda)
    assert not hasattr(lda, "classes_"), "the user's object stays unfitted"
    fitted = lda.fit(X, y)
    assert_allclose(display.real[1], fitted.transform(X[y == 1]))
    assert_allclose(display.synthetic[0], fitted.transform(X[:9][y[:9] == 0]))


def test_projection_of_a_class_without_generated_samples(separated_classes):
    X, y = separated_classes
    display = ProjectionDisplay.from_data(X, y, X[y < 2], y[y < 2])
    assert display.synthetic[3].shape == (0, 2)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "3, real" in texts
    assert "3, generated" not in texts


@pytest.mark.parametrize(
    ("transformer", "message"),
    [(PCA(3), "two columns"), (TSNE(), "TSNE has no `transform`")],
)
def test_projections_that_cannot_be_drawn(transformer, message, separated_classes):
    X, y = separated_classes
    with pytest.raises(ValueError, match=message):
        ProjectionDisplay.from_data(X, y, X, y, transformer=transformer)


# Curves over classes


def test_coverage_is_sorted_by_class_size():
    display = ClassCoverageDisplay.from_data(
        {"a": [0.1, 0.2, 0.3], "b": [0.4, np.nan, 0.6]},
        [5, 50, 5],
        labels=["x", "y", "z"],
    )
    assert display.labels.tolist() == ["y", "x", "z"]
    assert display.class_count.tolist() == [50, 5, 5]
    ranks, values = xy(display.lines_["a"])
    assert ranks.tolist() == [1, 2, 3]
    assert values.tolist() == [0.2, 0.1, 0.3]
    assert_array_equal(xy(display.lines_["b"])[1], [np.nan, 0.4, 0.6])
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert ticks == ["y\n50", "x\n5", "z\n5"]


def test_many_classes_are_summarised_in_25_groups():
    rng = np.random.RandomState(0)
    sizes = rng.permutation(1000) + 1
    radii = rng.uniform(1, 9, 1000)
    display = SphereRadiusDisplay.from_data({"a": radii}, sizes)
    ordered = radii[np.argsort(-sizes)].reshape(25, 40)
    assert_allclose(display.ranks, 20.5 + 40 * np.arange(25))
    assert_allclose(xy(display.lines_["a"])[1], ordered.mean(axis=1))
    assert_allclose(display.low["a"], np.quantile(ordered, 0.1, axis=1))
    assert_allclose(display.high["a"], np.quantile(ordered, 0.9, axis=1))
    (band,) = display.ax_.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == display.low["a"].min()
    assert heights.max() == display.high["a"].max()


def test_groups_leave_missing_values_out():
    radii = np.ones(100)
    radii[:4] = np.nan
    radii[4] = np.nan
    display = SphereRadiusDisplay.from_data({"a": radii}, np.arange(100, 0, -1))
    assert_array_equal(display.values["a"], [np.nan] + [1] * 24)


def test_groups_are_no_more_than_classes_allowed():
    radii = np.arange(12.0)
    display = SphereRadiusDisplay.from_data({"a": radii}, 12 - radii, max_classes=5)
    groups = np.array_split(radii, 5)
    assert display.values["a"].tolist() == [group.mean() for group in groups]


def test_few_classes_are_never_summarised():
    display = SphereRadiusDisplay.from_data({"a": np.arange(50.0)}, np.ones(50))
    assert display.low is None
    assert display.values["a"].tolist() == list(range(50))


def test_ticks_of_many_classes_tell_rank_and_size():
    sizes = np.random.RandomState(0).permutation(1000) + 1
    display = SphereRadiusDisplay.from_data({"a": np.ones(1000)}, sizes)
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert ticks[0] == "1\n1,000"
    for tick in ticks:
        rank, size = tick.split("\n")
        assert int(size.replace(",", "")) == 1001 - int(rank)


def test_class_counts_before_and_after():
    display = ClassCountDisplay.from_data(
        ["b"] * 3 + ["a"] * 7 + ["c"] * 3, ["a"] * 7 + ["b"] * 5 + ["c"] * 6
    )
    assert display.labels.tolist() == ["a", "b", "c"]
    assert xy(display.lines_["before"])[1].tolist() == [7, 3, 3]
    assert xy(display.lines_["after"])[1].tolist() == [7, 5, 6]
    assert display.ax_.get_yscale() == "log"


def test_a_class_that_vanished_is_drawn_at_zero():
    display = ClassCountDisplay.from_data([0, 0, 1], [0, 2, 2])
    assert display.labels.tolist() == [0, 1, 2]
    assert display.before.tolist() == [2, 1, 0]
    assert display.after.tolist() == [1, 0, 2]
    display.figure_.draw_without_rendering()
    low, high = display.ax_.get_ylim()
    assert low < 0 < 2 < high


# Distances


def test_frechet_distances_are_sorted_by_variance():
    display = FrechetVarianceDisplay.from_data(
        [2.0, 0.5, 1.0], [[30, 10, 20], [3, 1, 2]], ["large", "small"]
    )
    variances, distances = xy(display.lines_["large"])
    assert variances.tolist() == [0.5, 1, 2]
    assert distances.tolist() == [10, 20, 30]
    assert display.errors is None
    assert display.ax_.get_xscale() == display.ax_.get_yscale() == "log"


def test_repeated_distances_have_means_and_deviations():
    display = FrechetVarianceDisplay.from_data(
        [1.0, 2.0], [[[10, 14], [20, 20]]], ["a"]
    )
    assert display.distances["a"].tolist() == [12, 20]
    assert_allclose(display.errors["a"], [np.sqrt(8), 0])
    (bars,) = (c for c in display.ax_.collections)
    first = bars.get_segments()[0]
    assert_allclose(first[:, 1], [12 - np.sqrt(8), 12 + np.sqrt(8)])


def test_a_variance_of_zero_has_a_linear_axis():
    display = FrechetVarianceDisplay.from_data([0.0, 1.0], [[3, 2]], ["a"])
    assert display.ax_.get_xscale() == "linear"
    assert display.ax_.get_yscale() == "log"


def test_nearest_distances_are_those_of_all_pairs():
    rng = np.random.RandomState(0)
    X_members, X_holdout = rng.normal(size=(2, 60, 5))
    X_synthetic = np.vstack([X_members[:3], rng.normal(size=(40, 5))])
    display = NearestNeighborDistanceDisplay.from_data(
        X_synthetic, X_members, X_holdout
    )
    pairs = cdist(X_members, X_members) + np.diag(np.full(60, np.inf))
    expected = {
        "synthetic": cdist(X_synthetic, X_members).min(axis=1),
        "holdout": cdist(X_holdout, X_members).min(axis=1),
        "members": pairs.min(axis=1),
    }
    for name, values in expected.items():
        assert_allclose(display.distances[name], values)
        found, share = xy(display.lines_[name])
        assert_allclose(found[1:], np.sort(values))
        assert_allclose(share[1:], np.arange(1, len(values) + 1) / len(values))
    assert (display.distances["synthetic"] == 0).sum() == 3


def test_far_samples_do_not_stretch_the_axis():
    rng = np.random.RandomState(0)
    X_members, X_holdout = rng.normal(size=(2, 60, 5))
    X_synthetic = np.vstack([rng.normal(size=(1999, 5)), np.full((1, 5), 1e6)])
    display = NearestNeighborDistanceDisplay.from_data(
        X_synthetic, X_members, X_holdout, metric="euclidean"
    )
    left, right = display.ax_.get_xlim()
    assert left == 0
    assert display.distances["holdout"].max() < right < 100


# Membership


def test_roc_curve_is_what_thresholds_reach():
    rng = np.random.RandomState(0)
    # Rounded: with ties among and between the two.
    members, others = rng.normal(0.5, 1, 300).round(1), rng.normal(size=600).round(1)
    display = MembershipROCDisplay.from_scores(members, others)
    fpr, tpr = xy(display.lines_["attack"])
    thresholds = np.append(np.unique(np.concatenate([members, others])), np.inf)
    reached = {}
    for threshold in thresholds:
        accused = np.mean(others >= threshold)
        reached[accused] = max(reached.get(accused, 0), np.mean(members >= threshold))
    assert_allclose(fpr, sorted(reached))
    assert_allclose(tpr, [reached[share] for share in sorted(reached)])
    area = roc_auc_score(np.repeat([1, 0], [300, 600]), np.r_[members, others])
    assert display.auc["attack"].value == pytest.approx(area)


def test_roc_steps_agree_with_tpr_at_fpr():
    rng = np.random.RandomState(1)
    members, others = rng.normal(1, 1, 500), rng.normal(size=1000)
    display = MembershipROCDisplay.from_scores(members, others)
    line = display.lines_["attack"]
    assert line.get_drawstyle() == "steps-post"
    for limit in (0.01, 0.1):
        last = np.searchsorted(display.fpr["attack"], limit, side="right") - 1
        expected = tpr_at_fpr(members, others, limit).value
        # Its threshold is a score, above which at most that share lies.
        assert display.tpr["attack"][last] == pytest.approx(expected, abs=0.01)
        assert display.tpr["attack"][last] >= expected


def test_roc_marks_diagonal_and_resolution():
    rng = np.random.RandomState(0)
    scores = {"a": rng.normal(size=50), "b": rng.normal(size=50)}
    others = {"b": rng.normal(size=200), "a": rng.normal(size=200)}
    ax = MembershipROCDisplay.from_scores(scores, others).ax_
    lines = {line.get_label(): line for line in ax.lines}
    guessing = xy(lines["guessing"])
    assert_array_equal(*guessing)
    assert lines["1 of 200 non-members"].get_xdata()[0] == 1 / 200
    (rest,) = ax.patches
    assert rest.get_x() + rest.get_width() == pytest.approx(5 / 200)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlim()[0] < 1 / 200


# Classifiers


def test_bars_are_shot_accuracies_with_deviations():
    rng = np.random.RandomState(0)
    y_train = np.repeat(np.arange(6), [200, 150, 60, 30, 10, 5])
    y_true = np.repeat(np.arange(6), 20)
    runs = rng.randint(6, size=(4, 120))
    display = ShotAccuracyDisplay.from_predictions(
        y_true, {"one": runs[0], "four": runs}, y_train=y_train
    )
    scores = [shot_accuracy_score(y_true, run, y_train=y_train) for run in runs]
    expected = np.array([[s.overall, s.many, s.medium, s.few] for s in scores])
    assert_allclose(
        [bar.get_height() for bar in display.bars_["four"]], expected.mean(axis=0)
    )
    assert_allclose([bar.get_height() for bar in display.bars_["one"]], expected[0])
    (whiskers,) = display.bars_["four"].errorbar.lines[2]
    half = np.ptp([segment[:, 1] for segment in whiskers.get_segments()], axis=1) / 2
    assert_allclose(half, expected.std(axis=0, ddof=1))
    assert display.bars_["one"].errorbar is None


def test_a_group_without_classes_says_so():
    display = ShotAccuracyDisplay.from_predictions(
        [0, 1], {"a": [0, 1]}, y_train=[0] * 500 + [1] * 50
    )
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert ticks == [
        "overall\nall classes",
        "many\n> 100",
        "medium\n20 to 100",
        "few\nno class",
    ]


@pytest.mark.parametrize("n_classes", [2, 10])
def test_reliability_sums_up_to_the_calibration_error(n_classes):
    rng = np.random.RandomState(0)
    y_prob = rng.dirichlet(np.full(n_classes, 0.3), size=800)
    y_true = rng.randint(n_classes, size=800)
    display = ReliabilityDisplay.from_predictions(y_true, y_prob, n_bins=12)
    gaps = np.abs(display.accuracy - display.confidence)
    expected = expected_calibration_error(y_true, y_prob, n_bins=12)
    assert np.nansum(display.share * gaps) == pytest.approx(expected)
    assert display.error == pytest.approx(expected)


def test_reliability_by_hand():
    # Two bins: (0, 0.5] with no row, (0.5, 1] with three, two of them right.
    y_prob = [[0.6, 0.4], [0.2, 0.8], [1.0, 0.0]]
    display = ReliabilityDisplay.from_predictions(["a", "b", "b"], y_prob, n_bins=2)
    confidence, accuracy = xy(display.line_)
    assert_allclose(confidence, [0.8])
    assert_allclose(accuracy, [2 / 3])
    assert [bar.get_height() for bar in display.bars_] == [0, 1]
    assert [bar.get_x() for bar in display.bars_] == [0, 0.5]
    assert display.low[1] < 2 / 3 < display.high[1]


def test_reliability_of_an_estimator_knows_its_classes(separated_classes):
    X, y = separated_classes
    classifier = LogisticRegression().fit(X, y)
    # A test set without the first class.
    rows = y > 0
    display = ReliabilityDisplay.from_estimator(classifier, X[rows], y[rows])
    expected = expected_calibration_error(
        y[rows], classifier.predict_proba(X[rows]), labels=[0, 1, 2, 3]
    )
    assert display.error == pytest.approx(expected)
