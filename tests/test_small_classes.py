"""Classes of few samples: one vocabulary and one rule for all anonymizers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from typer.testing import CliRunner

from skcvae.anonymization import (
    CVAEAnonymizer,
    GenerativeAnonymizer,
    KSameAnonymizer,
    load,
)
from skcvae.cli import app
from skcvae.datasets import load_embeddings
from skcvae.generators import ClassGaussian, DPClassGaussian

FAST = {"max_epochs": 2, "latent_dim": 2, "device": "cpu", "random_state": 0}
GAUSSIAN = GenerativeAnonymizer(random_state=0)
GENERATIVE = [GAUSSIAN, CVAEAnonymizer(**FAST)]
ALL = [
    *GENERATIVE,
    KSameAnonymizer(k=2),
    KSameAnonymizer(k=2, within_class=False),
]
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore:The CVAE uses none of its latent",
)


def for_each(anonymizers):
    return pytest.mark.parametrize("anonymizer", anonymizers, ids=repr)


def make(**sizes):
    """Return samples of classes at 0, 10, 20, ... in a mixed order, and labels."""
    rng = np.random.RandomState(0)
    labels = np.array(sorted(sizes))
    y = rng.permutation(np.repeat(labels, [sizes[label] for label in labels]))
    return rng.normal(size=(len(y), 3)) + 10 * np.searchsorted(labels, y)[:, None], y


@for_each(ALL)
def test_the_default_refuses_fewer_than_ten_distinct_samples(anonymizer):
    clone(anonymizer).fit(*make(a=20, b=10))
    with pytest.raises(ValueError, match=r"min_class_size=10 distinct.*: 'b' \(9\)\."):
        clone(anonymizer).fit(*make(a=20, b=9))
    assert not hasattr(clone(anonymizer), "suppressed_")


@for_each(ALL)
def test_copies_count_once(anonymizer):
    X, y = make(a=20, b=12)
    X[y == "b"] = X[y == "b"][np.arange(12) % 2]
    # The same number, written in two ways.
    X[np.flatnonzero(y == "b")[0], 0] = 0.0
    X[np.flatnonzero(y == "b")[2], 0] = -0.0
    X[np.flatnonzero(y == "b")[4:], 0] = 0.0
    with pytest.raises(ValueError, match=r"'b' \([23]\)\."):
        clone(anonymizer).fit(X, y)


@for_each(ALL)
def test_the_least_size_is_the_users_and_allow_has_none(anonymizer):
    X, y = make(a=20, b=4)
    clone(anonymizer).set_params(min_class_size=4).fit(X, y)
    with pytest.raises(ValueError, match=r"min_class_size=5 .*'b' \(4\)"):
        clone(anonymizer).set_params(min_class_size=5).fit(X, y)
    allowed = clone(anonymizer).set_params(small_classes="allow").fit_transform(X, y)
    assert allowed.shape == X.shape


def test_allow_still_keeps_k():
    with pytest.raises(ValueError, match=r"fewer than k=5 samples: 'b' \(4\)"):
        KSameAnonymizer(k=5, small_classes="allow").fit(*make(a=20, b=4))


def test_samples_without_labels_are_one_class():
    anonymizer = KSameAnonymizer(k=2, within_class=False)
    X, _ = make(a=9)
    with pytest.raises(ValueError, match=r"min_class_size=10 .* \(9\)"):
        anonymizer.fit(X)
    anonymizer.fit(make(a=10)[0])


@for_each(GENERATIVE)
def test_a_merged_class_is_drawn_as_its_neighbour_and_keeps_its_labels(
    anonymizer, tmp_path
):
    X, y = make(a=30, b=30, c=3)
    anonymizer = clone(anonymizer).set_params(small_classes="merge")
    drawn = anonymizer.fit_transform(X, y)
    assert drawn.shape == X.shape
    assert anonymizer.merged_classes_ == {"c": "b"}
    assert_array_equal(anonymizer.classes_, ["a", "b"])
    assert not anonymizer.suppressed_.any()
    # The generator never sees the label.
    as_b = np.where(y == "c", "b", y)
    expected = clone(anonymizer).fit_transform(X, as_b)
    assert_array_equal(drawn, expected)
    labels = ["c", "a", "c", "b"]
    drawn, drawn_labels = anonymizer.sample(y=labels, random_state=1)
    assert_array_equal(drawn_labels, labels)
    expected, _ = anonymizer.sample(y=["b", "a", "b", "b"], random_state=1)
    assert_array_equal(drawn, expected)
    assert set(anonymizer.sample(200)[1]) == {"a", "b"}
    assert set(next(anonymizer.batches(200))[1]) == {"a", "b"}
    release = load(anonymizer.release(tmp_path / "a.safetensors"), device="cpu")
    assert_array_equal(release.classes_, ["a", "b"])


def test_small_classes_merge_until_they_are_large_enough():
    # c and d are neighbours, and six together; b is the nearest of the others.
    X, y = make(a=30, b=30, c=3, d=3)
    X[y == "d"] -= 8
    settings = {"small_classes": "merge", "random_state": 0}
    two = GenerativeAnonymizer(min_class_size=6, **settings).fit(X, y)
    assert set(map(frozenset, two.merged_classes_.items())) == {frozenset("cd")}
    three = GenerativeAnonymizer(min_class_size=7, **settings).fit(X, y)
    assert set(three.merged_classes_) == {"c", "d"}
    assert_array_equal(three.classes_, ["a", "b"])


def test_integer_labels_can_be_merged():
    X, y = make(a=30, b=30, c=3)
    codes = np.searchsorted(["a", "b", "c"], y)
    anonymizer = clone(GAUSSIAN).set_params(small_classes="merge").fit(X, codes)
    assert anonymizer.merged_classes_ == {2: 1}
    assert anonymizer.sample(y=codes)[1].dtype == codes.dtype


def test_labels_shorter_than_those_they_are_merged_with_are_not_cut():
    X, y = make(a=30, b=30, c=3)
    # c is merged with b: cut to one character, its name is that of another class.
    names = np.array(["a", "along", "c"])[np.searchsorted(["a", "b", "c"], y)]
    anonymizer = clone(GAUSSIAN).set_params(small_classes="merge").fit(X, names)
    expected, _ = anonymizer.sample(y=["along"] * 4, random_state=0)
    for labels in (["c"] * 4, np.array(["c"] * 4), np.array(["c"] * 4, object)):
        drawn, drawn_labels = anonymizer.sample(y=labels, random_state=0)
        assert_array_equal(drawn, expected)
        assert_array_equal(drawn_labels, labels)
    numbers = np.array([0, 1000, 2])[np.searchsorted(["a", "b", "c"], y)]
    anonymizer.fit(X, numbers)
    few = np.full(4, 2, dtype=np.uint8)
    drawn, _ = anonymizer.sample(y=few, random_state=0)
    assert_array_equal(drawn, expected)
    assert len(anonymizer.sample(y=few[:0])[0]) == 0


@for_each(GENERATIVE)
def test_a_suppressed_class_leaves_nothing_but_its_marks(anonymizer):
    X, y = make(a=30, b=30, c=3)
    anonymizer = clone(anonymizer).set_params(small_classes="suppress")
    with pytest.warns(UserWarning, match=r"3 of 63 samples are suppressed") as record:
        drawn = anonymizer.fit_transform(X, y)
    assert record[0].filename == __file__
    suppressed = anonymizer.suppressed_
    assert_array_equal(suppressed, y == "c")
    assert_array_equal(anonymizer.suppressed_classes_, ["c"])
    assert_array_equal(anonymizer.classes_, ["a", "b"])
    expected = clone(anonymizer).fit_transform(X[~suppressed], y[~suppressed])
    assert_array_equal(drawn[~suppressed], expected)
    mean = np.tile(expected.mean(axis=0), (3, 1))
    assert_allclose(drawn[suppressed], mean, atol=1e-6)
    with pytest.raises(ValueError, match="unseen labels"):
        anonymizer.sample(y=["c"])
    assert "suppressed" in str(anonymizer.privacy_statement())
    changed = np.where(suppressed[:, None], 7.0, X)
    with pytest.warns(UserWarning, match="suppressed"):
        assert_array_equal(anonymizer.fit_transform(changed, y), drawn)


def test_labels_are_published_so_blind_clusters_suppress_rare_ones():
    X, y = make(a=30, b=3)
    anonymizer = KSameAnonymizer(k=2, within_class=False, small_classes="suppress")
    anonymizer.fit(X, y)
    assert_array_equal(anonymizer.suppressed_, y == "b")
    assert_array_equal(anonymizer.suppressed_classes_, ["b"])
    merging = clone(anonymizer).set_params(small_classes="merge").fit(X, y)
    assert not merging.suppressed_.any()


def test_what_is_left_after_suppressing_still_needs_k_samples():
    settings = {"within_class": False, "small_classes": "suppress"}
    X, y = make(a=12, b=5)
    with pytest.raises(ValueError, match="12 samples, and k=15 needs at least as many"):
        KSameAnonymizer(k=15, **settings).fit(X, y)
    assert KSameAnonymizer(k=12, **settings).fit(X, y).cluster_sizes_.tolist() == [12]


@pytest.mark.parametrize("small_classes", ["merge", "suppress"])
@for_each(ALL)
def test_too_few_samples_in_all_are_refused(anonymizer, small_classes):
    anonymizer = clone(anonymizer).set_params(small_classes=small_classes)
    with pytest.raises(ValueError, match="fewer than min_class_size"):
        anonymizer.fit(*make(a=3, b=4))


@pytest.mark.parametrize("small_classes", ["merge", "suppress"])
def test_a_frozen_generator_cannot_forget_a_class(small_classes):
    X, y = make(a=30, b=3)
    frozen = FrozenEstimator(ClassGaussian().fit(X, y))
    anonymizer = GenerativeAnonymizer(frozen, small_classes=small_classes)
    with pytest.raises(ValueError, match="frozen generator has learned its classes"):
        anonymizer.fit(X, y)
    with pytest.raises(ValueError, match="min_class_size=10"):
        GenerativeAnonymizer(frozen).fit(X, y)


@pytest.mark.parametrize("small_classes", ["error", "merge", "suppress", "allow"])
def test_private_generators_fit_alike_whatever_the_class_sizes(small_classes, recwarn):
    X, y = make(a=20, b=1)
    generator = DPClassGaussian(
        epsilon=1.0, delta=0.1, classes=["a", "b"], center=0.0, data_norm=30.0
    )
    anonymizer = GenerativeAnonymizer(generator, small_classes=small_classes)
    anonymizer.fit(X, y)
    larger = clone(anonymizer).fit(*make(a=20, b=20))
    assert vars(anonymizer).keys() == vars(larger).keys()
    assert not hasattr(anonymizer, "suppressed_")
    assert not recwarn


def run(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A database with a class of three samples, in the current folder."""
    monkeypatch.chdir(tmp_path)
    X, y = make(a=30, b=30, c=3)
    np.savez("photos.npz", X=X, y=y)
    return "photos.npz"


@pytest.mark.filterwarnings("ignore:.*suppressed")
@pytest.mark.parametrize("method", ["gaussian", "k-same"])
def test_commands_follow_the_same_rule(database, method):
    command = "anonymize", database, "--method", method, "-o", "out.npz"
    code, output = run(*command)
    scarce = {"gaussian": "min_class_size=10 distinct samples", "k-same": "k=5 samples"}
    assert code == 1 and f"fewer than {scarce[method]}: 'c' (3)" in output
    kept = {"merge": 3, "suppress": 0, "allow": 3}
    if method == "k-same":
        # Fewer than k are never clustered alone.
        assert run(*command, "--small-classes", "allow")[0] == 1
        kept.pop("allow")
    for small_classes, n_kept in kept.items():
        code, output = run(*command, "--small-classes", small_classes)
        assert code == 0, output
        assert (load_embeddings("out.npz").y == "c").sum() == n_kept
        assert len(load_embeddings("out.npz").y) == 60 + n_kept
    assert run(*command, "--min-class-size", 3, "--k", 2)[0] == (method != "k-same")
    assert run(*command, "--min-class-size", 31, "--small-classes", "allow")[0] == (
        method == "k-same"
    )


def test_releases_of_the_command_leave_small_classes_out(database):
    command = "release", database, "--method", "gaussian", "-o", "a.safetensors"
    assert run(*command)[0] == 1
    for small_classes in ("merge", "suppress"):
        code, output = run(*command, "--small-classes", small_classes)
        assert code == 0, output
        assert load("a.safetensors").classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "option", [("--small-classes", "allow"), ("--min-class-size", 3)]
)
def test_private_methods_take_no_such_option(database, option):
    command = "anonymize", database, "-o", "out.npz", "--method", "dp-gaussian"
    code, output = run(*command, "--epsilon", 1, "--delta", 0.1, *option)
    assert code == 1 and "and not" in output


def find_rate(small_classes):
    """Return how often the only sample of a class is nearest to the mean of 400 draws.

    There are 200 other samples of its class, which were not in training.
    """
    n_found = 0
    for seed in range(30):
        rng = np.random.RandomState(seed)
        y = np.repeat(np.arange(10), [20] * 9 + [1])
        means = 3 * rng.normal(size=(10, 10))
        X = means[y] + rng.normal(size=(len(y), 10))
        others = means[9] + rng.normal(size=(200, 10))
        candidates = np.vstack([X[y == 9], others])
        anonymizer = GenerativeAnonymizer(
            small_classes=small_classes, random_state=seed
        ).fit(X, y)
        mean = anonymizer.sample(y=[9] * 400)[0].mean(axis=0)
        n_found += ((candidates - mean) ** 2).sum(axis=1).argmin() == 0
    return n_found / 30


@pytest.mark.filterwarnings("ignore:.*single sample")
def test_draws_of_a_merged_class_do_not_find_its_sample():
    assert find_rate("allow") > 0.2
    assert find_rate("merge") < 0.1
