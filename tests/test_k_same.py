"""k-Same: clusters of at least k rows, whose means are all that is published."""

import pickle
from collections import Counter
from functools import partial

import imblearn.pipeline
import numpy as np
import pandas as pd
import pytest
import sklearn
import sklearn.pipeline
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from skcvae import anonymization
from skcvae.anonymization import _k_same

X = np.random.RandomState(0).normal(size=(60, 4))
y = np.repeat(["cow", "ape", "mole"], [30, 19, 11])
ALL_ROWS = {"within_class": False, "small_classes": "allow"}
# These classes are small on purpose; test_small_classes.py is about `min_class_size`.
KSameAnonymizer = partial(anonymization.KSameAnonymizer, min_class_size=1)

pytestmark = [
    pytest.mark.filterwarnings("ignore:transform anonymizes nothing"),
    pytest.mark.filterwarnings("ignore:.* samples of X are all zeros"),
    pytest.mark.filterwarnings("ignore:The number of unique classes"),
]

REASON = "fit_transform(X) is not transform(X), which is the identity"
NO_ANONYMIZING = {
    "check_transformer_general": REASON,
    "check_transformer_data_not_an_array": REASON,
}


@parametrize_with_checks(
    [
        KSameAnonymizer(k=2, **ALL_ROWS),
        KSameAnonymizer(k=4, small_classes="merge"),
    ],
    expected_failed_checks=lambda anonymizer: NO_ANONYMIZING,
)
def test_sklearn_checks_of_other_settings(estimator, check):
    check(estimator)


def normal_rows(seed, n_rows=97, n_features=5):
    return np.random.RandomState(seed).normal(size=(n_rows, n_features))


def clusters_of(anonymizer):
    """Return the clusters as a set of sets of row numbers, suppressed rows apart."""
    labels = anonymizer.labels_
    return {frozenset(np.flatnonzero(labels == c)) for c in set(labels) - {-1}}


def brute_force(rows, k):
    """Greedy k-Same by the book, one distance after the other."""
    far = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
    left, clusters = set(range(len(rows))), set()
    while len(left) >= 2 * k:
        seed = max(left, key=lambda row: far[row])
        near = sorted(left, key=lambda row: np.linalg.norm(rows[row] - rows[seed]))
        clusters.add(frozenset(near[:k]))
        left -= set(near[:k])
    return clusters | {frozenset(left)}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_those_of_the_brute_force(seed, k, dtype):
    rows = normal_rows(seed).astype(dtype)
    anonymizer = KSameAnonymizer(k, **ALL_ROWS).fit(rows)
    assert clusters_of(anonymizer) == brute_force(rows.astype(float), k)


@pytest.mark.parametrize("block_size", [1, 500, 3000])
def test_clusters_do_not_depend_on_the_size_of_blocks(block_size, monkeypatch):
    monkeypatch.setattr(_k_same, "_BLOCK_SIZE", block_size)
    rows = normal_rows(0, n_rows=200)
    anonymizer = KSameAnonymizer(3, **ALL_ROWS).fit(rows)
    assert clusters_of(anonymizer) == brute_force(rows, 3)


@pytest.mark.parametrize("offset, scale", [(0, 1e30), (0, 1e-30), (1e4, 1), (-3e7, 1)])
def test_clusters_do_not_depend_on_the_unit_or_origin(offset, scale):
    rows = normal_rows(1)
    anonymizer = KSameAnonymizer(3, **ALL_ROWS).fit(offset + scale * rows)
    assert clusters_of(anonymizer) == brute_force(rows, 3)
    huge = (normal_rows(1) * 1e30).astype(np.float32)
    anonymizer.fit(huge)
    assert clusters_of(anonymizer) == brute_force(rows, 3)
    assert np.isfinite(anonymizer.centroids_).all()


def test_hand_computed_example():
    rows = np.array([[10.0], [0.0], [12.0], [1.0], [14.0]])
    # The mean is 7.4: the farthest row is 0, its nearest 1, and three remain.
    anonymizer = KSameAnonymizer(k=2)
    published = anonymizer.fit_transform(rows, [7] * 5)
    assert_array_equal(published, [[12.0], [0.5], [12.0], [0.5], [12.0]])
    assert_array_equal(anonymizer.labels_, [1, 0, 1, 0, 1])
    assert_array_equal(anonymizer.centroids_, [[0.5], [12.0]])
    assert_array_equal(anonymizer.cluster_sizes_, [2, 3])
    assert_array_equal(anonymizer.classes_, [7])
    assert not anonymizer.suppressed_.any()
    assert len(anonymizer.suppressed_classes_) == 0


@pytest.mark.parametrize("k", [2, 3, 5, 11])
@pytest.mark.parametrize("seed", range(5))
def test_each_row_gets_the_mean_of_at_least_k_rows_of_its_class(seed, k):
    rng = np.random.RandomState(seed)
    labels = rng.permutation(np.repeat([4, -1, 9], [11 + rng.randint(40), 11, 30]))
    rows = rng.normal(size=(len(labels), 3))
    anonymizer = KSameAnonymizer(k)
    published = anonymizer.fit_transform(rows, labels)
    assert published.shape == rows.shape
    sizes = Counter()
    for cluster in clusters_of(anonymizer):
        members = sorted(cluster)
        assert k <= len(members) < 2 * k
        assert len(set(labels[members])) == 1
        mean = np.tile(rows[members].mean(axis=0), (len(members), 1))
        assert_allclose(published[members], mean, atol=1e-12)
        sizes[len(members)] += 1
    assert Counter(anonymizer.cluster_sizes_.tolist()) == sizes
    assert sum(anonymizer.cluster_sizes_) == len(rows)
    for label in (4, -1, 9):
        in_class = labels == label
        assert_allclose(published[in_class].mean(axis=0), rows[in_class].mean(axis=0))


def test_classes_are_clustered_as_if_alone():
    published = KSameAnonymizer(k=3).fit_transform(X, y)
    for label in set(y):
        rows = X[y == label]
        alone = KSameAnonymizer(k=3, within_class=False).fit_transform(rows)
        assert_array_equal(published[y == label], alone)


@pytest.mark.parametrize("params", [{}, ALL_ROWS, {"small_classes": "merge", "k": 15}])
def test_order_of_the_rows_changes_nothing(params):
    order = np.random.RandomState(1).permutation(60)
    published = KSameAnonymizer(**params).fit_transform(X, y)
    shuffled = KSameAnonymizer(**params).fit_transform(X[order], y[order])
    assert_allclose(shuffled, published[order], atol=1e-12)
    assert_array_equal(KSameAnonymizer(**params).fit_transform(X, y), published)


def test_variance_lost_is_that_of_the_reference_program(long_tailed_digits):
    rows = long_tailed_digits[0][:400]
    for k in (2, 5, 10):
        distances = cdist(rows, rows)
        left = np.ones(len(rows), dtype=bool)
        expected = 0
        while left.any():
            # The reference starts where the sum of distances is largest.
            sums = np.where(left, distances[:, left].sum(axis=1), -1)
            near = np.argsort(np.where(left, distances[sums.argmax()], np.inf))[:k]
            left[near] = False
            expected += ((rows[near] - rows[near].mean(axis=0)) ** 2).sum()
        lost = ((KSameAnonymizer(k, **ALL_ROWS).fit_transform(rows) - rows) ** 2).sum()
        assert_allclose(lost, expected, rtol=0.06)


def test_labels_are_ignored_across_classes():
    expected = KSameAnonymizer(**ALL_ROWS).fit_transform(X)
    for labels in (y, X[:, 0], np.full(60, np.nan)):
        anonymizer = KSameAnonymizer(**ALL_ROWS)
        assert_array_equal(anonymizer.fit_transform(X, labels), expected)
        assert not hasattr(anonymizer, "classes_")
    mixed = [set(y[sorted(cluster)]) for cluster in clusters_of(anonymizer)]
    assert max(map(len, mixed)) > 1


def test_labels_are_required_within_classes():
    with pytest.raises(ValueError, match=r"y is None\. Pass.*within_class=False"):
        KSameAnonymizer().fit(X)


def test_small_classes_are_refused_by_name_and_size():
    labels = np.array(["cow"] * 50 + ["ape"] * 4 + ["mole"] * 6)
    message = r"fewer than k=5 samples: 'ape' \(4\)\. .*smaller k.*'merge'.*'suppress'"
    with pytest.raises(ValueError, match=message):
        KSameAnonymizer().fit(X, labels)
    with pytest.raises(ValueError, match=r"\d \(1\), .* and 20 more\. Choose"):
        KSameAnonymizer().fit(X, [*range(30), *[99] * 30])


@pytest.mark.parametrize("small_classes", ["error", "merge", "suppress"])
@pytest.mark.parametrize("within_class", [True, False])
def test_fewer_than_k_rows_are_refused(small_classes, within_class):
    anonymizer = KSameAnonymizer(
        61, small_classes=small_classes, within_class=within_class
    )
    with pytest.raises(ValueError, match="60 samples, and k=61 needs at least as many"):
        anonymizer.fit(X, y)
    groups = np.arange(60) // 2
    with pytest.raises(ValueError, match="30 groups, and k=31 needs"):
        anonymizer.set_params(k=31).fit(X, y, groups=groups)


def test_small_class_is_merged_with_the_class_of_nearest_mean():
    near, far = normal_rows(0, 8, 2), 100 + normal_rows(1, 8, 2)
    rows = np.vstack([near, [[90.0, 90.0]], far])
    labels = np.repeat(["a", "b", "c"], [8, 1, 8])
    anonymizer = KSameAnonymizer(k=2, small_classes="merge")
    published = anonymizer.fit_transform(rows, labels)
    expected = KSameAnonymizer(k=2).fit_transform(near, labels[:8])
    assert_array_equal(published[:8], expected)
    expected = KSameAnonymizer(k=2, **ALL_ROWS).fit_transform(rows[8:])
    assert_array_equal(published[8:], expected)
    assert anonymizer.cluster_sizes_.min() == 2
    assert published[8].min() > 90.5
    assert_array_equal(anonymizer.classes_, ["a", "b", "c"])


def test_merging_goes_on_until_k_rows_are_together():
    rows, labels = np.array([[0.0], [1.0], [50.0]]), [2, 0, 1]
    merging = {"small_classes": "merge"}
    # 0 and 1 make two; 50 is left alone, and joins them.
    assert_array_equal(
        KSameAnonymizer(2, **merging).fit_transform(rows, labels), np.full((3, 1), 17.0)
    )
    # The mean of 0, 0, 6 is 2, nearer to 5 than to 9; then 5, 5 is large enough.
    rows = np.array([0.0, 0.0, 6.0, 5.0, 5.0, 9.0, 9.0, 9.0, 9.0])[:, None]
    labels = [0, 0, 1, 2, 2, 3, 3, 3, 3]
    published = KSameAnonymizer(4, **merging).fit_transform(rows, labels)
    assert_array_equal(published.ravel(), [3.2] * 5 + [9.0] * 4)


@pytest.mark.parametrize("seed", range(3))
def test_merged_clusters_have_k_rows_of_any_label(seed):
    rng = np.random.RandomState(seed)
    labels = rng.geometric(0.15, size=200)
    rows = rng.normal(size=(200, 3)) + labels[:, None]
    anonymizer = KSameAnonymizer(10, small_classes="merge").fit(rows, labels)
    assert np.bincount(labels).max() > 10
    assert np.bincount(anonymizer.labels_).min() >= 10
    assert len(anonymizer.labels_) == 200


def test_suppressed_classes_leave_nothing_behind():
    labels = np.array(["cow"] * 30 + ["ape"] * 3 + ["mole"] * 26 + ["emu"])
    withheld = np.isin(labels, ["ape", "emu"])
    anonymizer = KSameAnonymizer(4, small_classes="suppress")
    with pytest.warns(UserWarning, match=r"4 of 60 samples.*suppressed_\]") as record:
        published = anonymizer.fit_transform(X, labels)
    assert record[0].filename == __file__
    assert_array_equal(anonymizer.suppressed_, withheld)
    assert_array_equal(anonymizer.suppressed_classes_, ["ape", "emu"])
    assert_array_equal(anonymizer.labels_ == -1, withheld)
    others = KSameAnonymizer(4).fit_transform(X[~withheld], labels[~withheld])
    assert_array_equal(published[~withheld], others)
    mean = np.tile(X[~withheld].mean(axis=0), (4, 1))
    assert_allclose(published[withheld], mean, atol=1e-12)
    changed = np.where(withheld[:, None], 7.0, X)
    with pytest.warns(UserWarning, match="suppressed"):
        assert_array_equal(anonymizer.fit_transform(changed, labels), published)


def test_suppressing_everything_is_refused():
    with pytest.raises(ValueError, match="where other classes have enough"):
        KSameAnonymizer(31, small_classes="suppress").fit(X, y)


def test_remainder_is_dropped_as_by_the_reference_program():
    anonymizer = KSameAnonymizer(k=7, remainder="drop", **ALL_ROWS)
    with pytest.warns(UserWarning, match="4 of 60 samples are suppressed"):
        published = anonymizer.fit_transform(X)
    assert_array_equal(np.flatnonzero(anonymizer.suppressed_), [56, 57, 58, 59])
    assert set(anonymizer.cluster_sizes_) == {7}
    kept = KSameAnonymizer(k=7, **ALL_ROWS).fit_transform(X[:56])
    assert_array_equal(published[:56], kept)
    assert_allclose(published[56:], np.tile(X[:56].mean(axis=0), (4, 1)), atol=1e-12)


def test_remainder_of_each_class_is_dropped():
    anonymizer = KSameAnonymizer(k=4, remainder="drop").fit(X, y)
    # 30, 19 and 11 rows: two, three and three too many.
    expected = [28, 29, 46, 47, 48, 57, 58, 59]
    assert_array_equal(np.flatnonzero(anonymizer.suppressed_), expected)
    assert set(anonymizer.cluster_sizes_) == {4}
    assert len(anonymizer.suppressed_classes_) == 0


def test_each_group_counts_once_in_the_centroid():
    rows = np.array([[0.0], [3.0], [10.0], [2.0], [13.0]])
    patients = ["p1", "p2", "p3", "p1", "p4"]
    # Means 1, 3, 10, 13 around 6.75: 13 takes 10, and 1 and 3 remain.
    anonymizer = KSameAnonymizer(k=2)
    published = anonymizer.fit_transform(rows, [0] * 5, groups=patients)
    assert_array_equal(published.ravel(), [2.0, 2.0, 11.5, 2.0, 11.5])
    assert_array_equal(anonymizer.cluster_sizes_, [2, 2])
    assert anonymizer.unit_ == "group"


@pytest.mark.parametrize("small_classes", ["merge", "error"])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_have_k_distinct_groups(seed, small_classes):
    rng = np.random.RandomState(seed)
    groups = rng.randint(40, size=150)
    sizes = [75, 67, 8] if small_classes == "merge" else [75, 75]
    labels = np.repeat([0, 1, 2][: len(sizes)], sizes)
    rows = rng.normal(size=(150, 3)) + labels[:, None]
    anonymizer = KSameAnonymizer(9, small_classes=small_classes)
    published = anonymizer.fit_transform(rows, labels, groups=groups)
    table = pd.DataFrame({"cluster": anonymizer.labels_, "group": groups})
    distinct = table.groupby("cluster")["group"].nunique()
    assert distinct.min() >= 9
    assert_array_equal(distinct, anonymizer.cluster_sizes_)
    together = np.minimum(labels, 1)
    for _, members in table.groupby(["group", together]).groups.items():
        assert len(np.unique(published[members], axis=0)) == 1
    for cluster, members in table.groupby("cluster").groups.items():
        by_group = pd.DataFrame(rows[members]).groupby(groups[members]).mean()
        assert_allclose(anonymizer.centroids_[cluster], by_group.mean(), atol=1e-12)


def test_groups_of_one_row_are_rows():
    names = [f"patient {i}" for i in np.random.RandomState(0).permutation(60)]
    expected = KSameAnonymizer(3).fit_transform(X, y)
    assert_array_equal(KSameAnonymizer(3).fit_transform(X, y, groups=names), expected)


def test_small_classes_are_counted_and_merged_by_groups():
    rows = np.array([0.0, 1.0, 2.0, 8.0, 9.0, 10.0])[:, None]
    labels = ["a", "a", "b", "c", "c", "c"]
    patients = [1, 1, 1, 2, 3, 2]
    anonymizer = KSameAnonymizer(k=2)
    with pytest.raises(ValueError, match=r"groups: 'a' \(1\), 'b' \(1\)"):
        anonymizer.fit(rows, labels, groups=patients)
    # The same patient in a and b is one group: c must join them.
    anonymizer.set_params(small_classes="merge")
    published = anonymizer.fit_transform(rows, labels, groups=patients)
    assert_allclose(published.ravel(), (1 + 9 + 9) / 3)
    assert_array_equal(anonymizer.cluster_sizes_, [3])


def test_remainder_of_groups_is_dropped_with_all_its_rows():
    groups = np.array([5, 5, 3, 8, 3, 1, 8, 8, 1, 2])
    anonymizer = KSameAnonymizer(k=2, remainder="drop", **ALL_ROWS)
    anonymizer.fit(X[:10], groups=groups)
    # Five groups: the one that appears last is left over.
    assert_array_equal(np.flatnonzero(anonymizer.suppressed_), [9])
    anonymizer.fit(X[:9], groups=groups[:9])
    assert not anonymizer.suppressed_.any()


@pytest.mark.parametrize(
    "groups, message",
    [
        ([None, *range(59)], "groups contains missing"),
        ([np.nan, *range(59)], "groups contains missing"),
        (pd.Series([pd.NA, *range(59)], dtype="Int64"), "groups contains missing"),
        (range(59), "inconsistent numbers of samples"),
        (np.zeros((60, 2)), "1d array"),
    ],
)
def test_faulty_groups_are_refused(groups, message):
    anonymizer = KSameAnonymizer().fit(X, y)
    with pytest.raises(ValueError, match=message):
        anonymizer.fit(X, y, groups=groups)
    with pytest.raises(NotFittedError):
        check_is_fitted(anonymizer)


def test_a_refused_fit_leaves_nothing_behind():
    anonymizer = KSameAnonymizer().fit(X, y)
    with pytest.raises(ValueError, match="fewer than"):
        anonymizer.fit(X, [*y[:-1], "emu"])
    with pytest.raises(NotFittedError):
        anonymizer.transform(X)


def test_no_published_row_is_a_training_row():
    for params in ({}, ALL_ROWS, {"k": 20, "small_classes": "merge"}):
        published = KSameAnonymizer(**{"k": 2, **params}).fit_transform(X, y)
        assert cdist(published, X).min() > 1e-3
        assert not set(published.ravel()) & set(X.ravel())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pickle_holds_no_training_row(dtype):
    rows = X.astype(dtype)
    labels = np.append(y[:-1], "emu")
    anonymizer = KSameAnonymizer(2, small_classes="suppress").fit(rows, labels)
    by_group = KSameAnonymizer(2).fit(rows, y, groups=np.arange(60) // 2)
    # The means of the groups are on the way to the centroids, and must not stay.
    means = (rows[::2].astype(float) + rows[1::2]) / 2
    for fitted, hidden in ((anonymizer, rows), (by_group, [*rows, *means])):
        pickled = pickle.dumps(fitted)
        assert fitted.centroids_.tobytes() in pickled
        for row in hidden:
            for kind in (np.float64, np.float32):
                assert row.astype(kind).tobytes() not in pickled
    restored = pickle.loads(pickled)
    assert_array_equal(restored.centroids_, by_group.centroids_)


@pytest.mark.parametrize("k", [3, 7])
def test_identical_rows_share_a_cluster_and_keep_their_value(k):
    rows = np.repeat(normal_rows(3, 10), k, axis=0)
    anonymizer = KSameAnonymizer(k, **ALL_ROWS)
    with pytest.warns(UserWarning, match="10 of 10 clusters consist of copies of one"):
        assert_array_equal(anonymizer.fit_transform(rows), rows)
    constant = np.full((20, 3), 0.1)
    with pytest.warns(UserWarning, match="published as it is"):
        assert_array_equal(anonymizer.fit_transform(constant), constant)


def test_copies_that_are_a_group_are_not_published():
    rows = np.concatenate([X, np.tile(X[:1] + 9, (7, 1))])
    labels = np.append(y, np.repeat(y[:1], 7))
    with pytest.warns(UserWarning, match="1 of .* clusters consist of copies of one"):
        published = KSameAnonymizer(7).fit_transform(rows, labels)
    assert (published == rows[-1]).all(axis=1).any()
    groups = np.minimum(np.arange(len(rows)), len(X))
    published = KSameAnonymizer(7).fit_transform(rows, labels, groups=groups)
    assert not (published == rows[-1]).all(axis=1).any()


def test_constant_feature_is_kept_exactly():
    rows = np.column_stack([X, np.full(60, 0.1)])
    assert set(KSameAnonymizer(7).fit_transform(rows, y)[:, 4]) == {0.1}


@pytest.mark.parametrize("layout", ["read-only memmap", "Fortran", "strided"])
def test_input_in_any_layout_is_left_alone(layout, tmp_path):
    np.save(tmp_path / "X.npy", X)
    rows = {
        "read-only memmap": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "Fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=0)[::2],
    }[layout]
    published = KSameAnonymizer(9).fit_transform(rows, y)
    assert_array_equal(rows, X)
    assert_array_equal(published, KSameAnonymizer(9).fit_transform(X, y))
    assert published.flags.writeable


@pytest.mark.parametrize(
    "dtype, expected",
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int16, np.float64),
        (bool, np.float64),
    ],
)
def test_floats_keep_their_type_and_others_become_float64(dtype, expected):
    rows = (5 * X).astype(dtype)
    anonymizer = KSameAnonymizer(3, **ALL_ROWS)
    published, same = anonymizer.fit_transform(rows), anonymizer.transform(rows)
    assert published.dtype == same.dtype == anonymizer.centroids_.dtype == expected
    assert_array_equal(same, rows)
    for cluster in clusters_of(anonymizer):
        mean = rows[sorted(cluster)].astype(np.float64).mean(axis=0)
        assert_allclose(published[min(cluster)], mean, rtol=1e-6, atol=1e-7)


def test_means_of_float32_rows_are_computed_in_float64():
    rows = np.full((4, 1), 2**24, dtype=np.float32)
    rows[1:] += [[2], [2], [0]]
    # In float32 the sum of the four would be rounded to a multiple of eight.
    published = KSameAnonymizer(4, **ALL_ROWS).fit_transform(rows)
    assert_array_equal(published, np.full((4, 1), 2**24 + 1).astype(np.float32))
    rows[0] += 4
    published = KSameAnonymizer(4, **ALL_ROWS).fit_transform(rows)
    assert_array_equal(published, np.full((4, 1), 2**24 + 2))


def test_frames_in_and_out():
    frame = pd.DataFrame(X, columns=list("abcd"), index=[f"row {i}" for i in range(60)])
    anonymizer = KSameAnonymizer(3).set_output(transform="pandas")
    published = anonymizer.fit_transform(frame, pd.Series(y, dtype="category"))
    assert_array_equal(published, KSameAnonymizer(3).fit_transform(X, y))
    assert_array_equal(published.index, frame.index)
    assert list(published.columns) == list("abcd")
    assert_array_equal(anonymizer.get_feature_names_out(), list("abcd"))
    pd.testing.assert_frame_equal(anonymizer.transform(frame[:9]), frame[:9])
    with pytest.raises(ValueError, match="same order"):
        anonymizer.transform(frame[["b", "a", "c", "d"]])


each_pipeline = pytest.mark.parametrize(
    "make_pipeline", [sklearn.pipeline.make_pipeline, imblearn.pipeline.make_pipeline]
)


@each_pipeline
def test_pipeline_trains_on_centroids_and_predicts_real_rows(
    make_pipeline, long_tailed_digits
):
    rows, labels = long_tailed_digits[0] / 16, long_tailed_digits[1]
    train, test = np.arange(602) % 2 == 0, np.arange(602) % 2 == 1
    anonymizer, classifier = KSameAnonymizer(4), LogisticRegression(max_iter=300)
    pipeline = make_pipeline(anonymizer, classifier).fit(rows[train], labels[train])
    published = KSameAnonymizer(4).fit_transform(rows[train], labels[train])
    alone = LogisticRegression(max_iter=300).fit(published, labels[train])
    assert_array_equal(pipeline[-1].coef_, alone.coef_)
    expected = alone.predict_proba(rows[test])
    assert_array_equal(pipeline.predict_proba(rows[test]), expected)
    assert pipeline.score(rows[test], labels[test]) > 0.85


@each_pipeline
def test_groups_reach_the_anonymizer_through_a_pipeline(make_pipeline):
    groups = np.arange(60) // 2
    expected = KSameAnonymizer(3).fit(X, y, groups=groups).centroids_
    plain = make_pipeline(KSameAnonymizer(3), LogisticRegression())
    plain.fit(X, y, ksameanonymizer__groups=groups)
    assert_array_equal(plain[0].centroids_, expected)
    with sklearn.config_context(enable_metadata_routing=True):
        anonymizer = KSameAnonymizer(3).set_fit_request(groups=True)
        routed = make_pipeline(anonymizer, LogisticRegression())
        routed.fit(X, y, groups=groups)
        assert_array_equal(routed[0].centroids_, expected)
        assert routed[0].unit_ == "group"
        folds = cross_validate(
            routed,
            X,
            y,
            cv=GroupKFold(3),
            params={"groups": groups},
            return_estimator=True,
        )
    for pipeline, train in zip(
        folds["estimator"],
        [train for train, _ in GroupKFold(3).split(X, y, groups)],
        strict=True,
    ):
        alone = KSameAnonymizer(3).fit(X[train], y[train], groups=groups[train])
        assert_array_equal(pipeline[0].centroids_, alone.centroids_)


def test_privacy_statement_says_what_k_counts_and_what_it_leaves_open():
    anonymizer = KSameAnonymizer(4)
    with pytest.raises(NotFittedError):
        anonymizer.privacy_statement()
    by_sample = anonymizer.fit(X, y).privacy_statement()
    assert by_sample["guarantee"] == "k-anonymity (k-Same)"
    assert (by_sample["k"], by_sample["unit"]) == (4, "sample")
    topics = [sentence.partition(":")[0] for sentence in by_sample["not covered"]]
    assert topics[0] == "Membership inference"
    assert "Persons with several samples" in topics
    by_group = anonymizer.fit(X, y, groups=np.arange(60) // 2).privacy_statement()
    assert (by_group["k"], by_group["unit"]) == (4, "group")
    assert not any("Persons" in sentence for sentence in by_group["not covered"])
    assert any("several classes" in sentence for sentence in by_group["not covered"])


def test_privacy_statement_describes_the_fit_and_not_later_parameters():
    anonymizer = KSameAnonymizer(4).fit(X, y).set_params(k=50)
    assert anonymizer.privacy_statement()["k"] == 4
    # One cluster holds all seven rows.
    single = KSameAnonymizer(4, **ALL_ROWS).fit(X[:7])
    assert single.privacy_statement()["k"] == 7


def test_whoever_knows_all_other_members_computes_the_last():
    anonymizer = KSameAnonymizer(3)
    published = anonymizer.fit_transform(X, y)
    cluster = sorted(next(iter(clusters_of(anonymizer))))
    unknown, *known = cluster
    computed = len(cluster) * published[unknown] - X[known].sum(axis=0)
    assert_allclose(computed, X[unknown])
