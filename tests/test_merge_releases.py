"""Releases of several sites: shares, union of classes, refusals, and what they say."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest, ks_2samp
from sklearn.frozen import FrozenEstimator

from skcvae.anonymization import (
    CVAEAnonymizer,
    GenerativeAnonymizer,
    SyntheticDataset,
    load,
    merge_releases,
)
from skcvae.generators import DPClassGaussian
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import GenerativeOverSampler

# Number of samples of each class at each site.
COUNTS = [{"a": 60, "b": 20}, {"b": 30, "c": 90}]
SIZES = [80, 120]
# Sites are so far apart that each sample tells where it was drawn.
SHIFT = 100.0


def make_site(counts, shift, seed=0, n_features=3):
    rng = np.random.RandomState(seed)
    y = np.repeat(list(counts), list(counts.values()))
    codes = np.unique(y, return_inverse=True)[1]
    return rng.normal(size=(len(y), n_features)) + shift + codes[:, None], y


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Return a function that fits to samples, and loads the release that it writes."""
    folder = tmp_path_factory.mktemp("sites")

    def release(X, y, anonymizer=None, class_prior="training", **params):
        if anonymizer is None:
            anonymizer = GenerativeAnonymizer(random_state=0, max_mean_leakage=1)
        path = folder / "site.safetensors"
        anonymizer.fit(X, y).release(path, class_prior=class_prior, **params)
        return load(path)

    return release


@pytest.fixture(scope="module")
def releases(write):
    return [write(*make_site(counts, i * SHIFT, i)) for i, counts in enumerate(COUNTS)]


def site_of(X):
    """Return the site that samples come from."""
    return (X[:, 0] > SHIFT / 2).astype(int)


@pytest.mark.parametrize("given", [{"site_sizes": SIZES}, {"weights": COUNTS}])
def test_sites_and_classes_are_drawn_by_their_counts(releases, given):
    merged = merge_releases(releases, **given)
    assert_array_equal(merged.classes_, ["a", "b", "c"])
    # 20 and 30 samples of the class b; 60, 50 and 90 of 200 samples.
    assert_allclose(merged.site_shares_, [[1, 0.4, 0], [0, 0.6, 1]], atol=1e-6)
    assert_allclose(merged.class_prior_, [0.3, 0.25, 0.45], atol=1e-6)
    X, y = merged.sample(4000, random_state=0)
    for label, share, at_second in zip(
        "abc", [0.3, 0.25, 0.45], [0, 0.6, 1], strict=True
    ):
        of_class = y == label
        assert binomtest(int(of_class.sum()), 4000, share).pvalue > 0.001
        found = site_of(X[of_class])
        assert binomtest(int(found.sum()), len(found), at_second).pvalue > 0.001


def test_samples_are_those_of_the_releases(releases):
    merged = merge_releases(releases, weights=COUNTS)
    X, _ = merged.sample(y=["b"] * 3000, random_state=0)
    assert X.dtype == np.float32
    for site, release in enumerate(releases):
        expected, _ = release.sample(y=["b"] * 3000, random_state=1)
        drawn = X[site_of(X) == site]
        for feature in range(3):
            found = ks_2samp(drawn[:, feature], expected[:, feature])
            assert found.pvalue > 0.001


def test_weights_may_name_more_classes_and_be_zero(releases):
    weights = [{"a": 0, "b": 0, "z": 7}, {"b": 0, "c": 5}]
    merged = merge_releases(releases, weights=weights)
    assert_array_equal(merged.class_prior_, [0, 0, 1])
    # Nobody has a sample of b: both sites draw it alike.
    assert_array_equal(merged.site_shares_, [[1, 0.5, 0], [0, 0.5, 1]])
    assert set(merged.sample(50, random_state=0)[1]) == {"c"}


def test_order_of_sites_does_not_change_the_distribution(releases):
    merged = merge_releases(releases, weights=COUNTS)
    turned = merge_releases(releases[::-1], weights=COUNTS[::-1])
    assert_array_equal(merged.classes_, turned.classes_)
    assert_array_equal(merged.site_shares_, turned.site_shares_[::-1])
    assert_array_equal(merged.class_prior_, turned.class_prior_)
    X, X_turned = (
        m.sample(y=["a", "b", "c"] * 1000, random_state=0)[0] for m in (merged, turned)
    )
    for feature in range(3):
        assert ks_2samp(X[:, feature], X_turned[:, feature]).pvalue > 0.001


def test_one_release_draws_as_it_does_alone(releases):
    merged = merge_releases(releases[:1], site_sizes=[80])
    expected, _ = releases[0].sample(y=["a"] * 2000, random_state=0)
    drawn, _ = merged.sample(y=["a"] * 2000, random_state=0)
    assert ks_2samp(drawn[:, 0], expected[:, 0]).pvalue > 0.001


def test_seeds_reproduce_and_global_states_stay(releases, random_states):
    merged = merge_releases(releases, site_sizes=SIZES)
    before = random_states()
    y = np.array(list("cabbca") * 5)
    first, again, other = (merged.sample(y=y, random_state=s)[0] for s in (1, 1, 2))
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    restored = pickle.loads(pickle.dumps(merged))
    assert_array_equal(restored.sample(y=y, random_state=1)[0], first)
    one, two = (next(merged.batches(32, random_state=3)) for _ in range(2))
    assert_array_equal(one[0], two[0])
    assert random_states() == before


def test_variance_is_that_of_the_classes_of_all_sites(releases):
    merged = merge_releases(releases, weights=COUNTS)
    X, y = merged.sample(300, variance={"a": 0.0, "c": 0.0}, random_state=0)
    for label in "ac":
        assert not np.ptp(X[y == label], axis=0).any()
    assert X[(y == "b") & (site_of(X) == 0)].std() > 0.1
    X, y = merged.sample(300, variance=[0.0, 0.0, 1.0], random_state=0)
    assert not np.ptp(X[y == "a"], axis=0).any()
    assert (X[y == "c"].std(axis=0) > 0.1).all()
    with pytest.raises(ValueError, match="variance='auto' is not known to a Release"):
        merged.sample(3, variance="auto")
    with pytest.raises(ValueError, match="one number for each of the 3 classes"):
        merged.sample(3, variance=[1.0, 1.0])


def test_each_release_keeps_its_own_variance(write):
    anonymizers = [
        GenerativeAnonymizer(DPClassGaussian(variance=v, classes=["a", "b"]))
        for v in (0.0, 1.0)
    ]
    counts = {"a": 3000, "b": 3000}
    parts = [
        write(*make_site(counts, i * SHIFT), anonymizer)
        for i, anonymizer in enumerate(anonymizers)
    ]
    X, _ = merge_releases(parts, site_sizes=[1, 1]).sample(y=["a"] * 500)
    assert not np.ptp(X[site_of(X) == 0], axis=0).any()
    assert (X[site_of(X) == 1].std(axis=0) > 0.1).all()


def test_a_stream_draws_the_asked_classes_by_their_counts(releases):
    merged = merge_releases(releases, weights=COUNTS)
    stream = merged.make_stream(np.array(["b", "c"]), torch.device("cpu"))
    codes = torch.arange(2).repeat_interleave(1000)
    X = stream(codes, torch.Generator().manual_seed(0)).numpy()
    found = site_of(X)
    assert found[1000:].all()
    assert binomtest(int(found[:1000].sum()), 1000, 0.6).pvalue > 0.001
    assert stream(codes[:0], torch.Generator()).shape == (0, 3)


def test_no_label_and_unknown_labels(releases):
    merged = merge_releases(releases, site_sizes=SIZES)
    assert merged.sample(y=[])[0].shape == (0, 3)
    with pytest.raises(ValueError, match=r"previously unseen labels: \['z'\]"):
        merged.sample(y=["z"])
    with pytest.raises(ValueError, match="Give n_samples or y"):
        merged.sample()
    assert not hasattr(merged, "make_decoder")


@pytest.mark.parametrize("which", ["release", "merged"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_consumers_take_frozen_releases(releases, which):
    X, y = make_site({"a": 40, "b": 8}, 0.0, seed=5)
    source = releases[0]
    if which == "merged":
        source = merge_releases(releases, weights=[{"a": 1, "b": 1}, {"b": 0, "c": 1}])
    frozen = FrozenEstimator(source)
    X_new, y_new = GenerativeOverSampler(frozen, random_state=0).fit_resample(X, y)
    assert np.unique(y_new, return_counts=True)[1].tolist() == [40, 40]
    assert (site_of(X_new) == 0).all()
    classifier = LongTailClassifier(frozen, max_epochs=2, device="cpu", random_state=0)
    assert set(classifier.fit(X, y).predict(X)) <= {"a", "b"}
    with pytest.raises(ValueError, match="features, and X has 2"):
        GenerativeOverSampler(frozen).fit_resample(X[:, :2], y)


def test_a_dataset_of_torch_takes_merged_releases(releases):
    merged = merge_releases(releases, site_sizes=SIZES)
    x, codes = next(iter(SyntheticDataset(merged, batch_size=16, random_state=0)))
    assert x.shape == (16, 3)
    assert set(codes.tolist()) <= {0, 1, 2}


def test_generators_of_different_kinds_can_be_merged(releases, write):
    anonymizer = CVAEAnonymizer(
        max_epochs=2, hidden_dim=8, latent_dim=2, random_state=0, max_mean_leakage=1
    )
    X, y = make_site({"c": 40, "d": 40}, 2 * SHIFT)
    merged = merge_releases(
        [*releases, write(X, y, anonymizer)], site_sizes=[*SIZES, 80]
    )
    X, y = merged.sample(y=["d", "c", "a"] * 50, random_state=0)
    assert_allclose(X[y == "d"].mean(), 2 * SHIFT, atol=10)


# Refusals


def test_counts_must_be_given_once(releases):
    with pytest.raises(ValueError, match="a release does not tell how many samples"):
        merge_releases(releases)
    with pytest.raises(ValueError, match="Give either site_sizes"):
        merge_releases(releases, site_sizes=SIZES, weights=COUNTS)


def test_a_uniform_prior_does_not_tell_counts(releases, write):
    uniform = write(*make_site(COUNTS[1], SHIFT), class_prior="uniform")
    with pytest.raises(ValueError, match="Release 1 has class_prior='uniform'"):
        merge_releases([releases[0], uniform], site_sizes=SIZES)
    merged = merge_releases([releases[0], uniform], weights=COUNTS)
    assert_allclose(merged.class_prior_, [0.3, 0.25, 0.45])


@pytest.mark.parametrize("sizes", [[80], [80, 0], [80, np.nan], [80, -1], 80])
def test_sizes_that_do_not_fit(releases, sizes):
    with pytest.raises(ValueError, match="one number above 0 for each of the 2"):
        merge_releases(releases, site_sizes=sizes)


def test_pandas_sizes_are_refused_for_their_order(releases):
    sizes = pd.Series([9, 1], index=["second", "first"])
    with pytest.raises(TypeError, match=r"that of the releases.*loc\[sites\]"):
        merge_releases(releases, site_sizes=sizes)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (COUNTS[:1], "one dict for each of the 2 releases, got 1 values"),
        ({"a": 1, "b": 2}, r"one dict for each of the 2 .* values: \['a', 'b'\]"),
        ([COUNTS[0], {"c": 1}], r"weights\[1\] lacks the classes \['b'\]"),
        ([COUNTS[0], {"b": -1, "c": 1}], r"weights\[1\] must be finite and at least 0"),
        ([{"a": 0, "b": 0}, {"b": 0, "c": 0}], "are 0 for all classes"),
    ],
)
def test_weights_that_do_not_fit(releases, weights, message):
    with pytest.raises(ValueError, match=message):
        merge_releases(releases, weights=weights)


def test_other_features_and_label_types(releases, write):
    wide = write(*make_site(COUNTS[1], SHIFT, n_features=4))
    with pytest.raises(ValueError, match=r"different numbers of features, \[3, 4\]"):
        merge_releases([releases[0], wide], site_sizes=SIZES)
    numbers = write(*make_site({0: 20, 1: 20}, SHIFT))
    with pytest.raises(ValueError, match=r"different types, \['str', 'int64'\]"):
        merge_releases([releases[0], numbers], site_sizes=SIZES)


def test_the_same_samples_twice(releases, write):
    X, y = make_site(COUNTS[0], 0.0, 0)
    again = write(X, y, class_prior="uniform")
    for twin in (releases[0], again):
        with pytest.raises(ValueError, match="releases 0 and 2 have the same class"):
            merge_releases([*releases, twin], weights=[*COUNTS, COUNTS[0]])


def test_what_is_no_release(releases):
    with pytest.raises(ValueError, match="at least one release"):
        merge_releases([], site_sizes=[])
    with pytest.raises(TypeError, match="load returns, got str"):
        merge_releases(["a.safetensors"], site_sizes=[1])
    merged = merge_releases(releases, site_sizes=SIZES)
    with pytest.raises(TypeError, match="got MergedRelease"):
        merge_releases([merged], site_sizes=[1])


# Privacy


def private_release(write, shift, **params):
    generator = DPClassGaussian(classes=["a", "b"], **params)
    data = make_site({"a": 3000, "b": 3000}, shift)
    return write(*data, GenerativeAnonymizer(generator))


def test_differential_privacy_composes_in_parallel(write):
    parts = [
        private_release(write, 0.0, epsilon=2.0, delta=1e-6),
        private_release(write, SHIFT, epsilon=1.0, delta=1e-5, center=SHIFT),
    ]
    statement = merge_releases(parts, site_sizes=[1, 1]).privacy_statement()
    assert statement["guarantee"] == "(epsilon, delta)-differential privacy"
    assert_allclose(statement["epsilon"], 2.0)
    assert statement["delta"] == 1e-5
    assert (statement["unit"], statement["adjacency"]) == ("record", "add/remove")
    outside = " ".join(statement["outside"])
    assert "at several sites" in outside
    assert "site_sizes and weights" in outside
    # What one of the releases does not cover, both together do not.
    assert "center, as it was given" in outside
    assert len(statement["outside"]) == len(set(statement["outside"]))


def test_one_release_without_differential_privacy_voids_it(releases, write):
    private = private_release(write, 0.0)
    seeded = private_release(write, SHIFT, random_state=0)
    for other in (releases[1], seeded):
        merged = merge_releases([private, other], weights=[{"a": 1, "b": 1}, Ones()])
        statement = merged.privacy_statement()
        assert statement["guarantee"].startswith("no guarantee: the releases [1]")
        assert "epsilon" not in statement
        assert statement["releases"][0] == "(epsilon, delta)-differential privacy"


class Ones(dict):
    """A weight of 1 for each label."""

    def __contains__(self, label):
        return True

    def __missing__(self, label):
        return 1


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"unit": "person"}, "no guarantee: the statements of the releases"),
        ({"epsilon": None}, "no guarantee: the releases [1]"),
        ({"epsilon": float("nan")}, "no guarantee: the releases [1]"),
        ({"epsilon": "1"}, "no guarantee: the releases [1]"),
        ({"guarantee": "very private"}, "no guarantee: the releases [1]"),
    ],
)
def test_statements_that_do_not_compose(write, monkeypatch, changes, begins):
    parts = [private_release(write, shift) for shift in (0.0, SHIFT)]
    changed = {**parts[1].manifest_["privacy"], **changes}
    monkeypatch.setitem(parts[1].manifest_, "privacy", changed)
    statement = merge_releases(parts, site_sizes=[1, 1]).privacy_statement()
    assert statement["guarantee"].startswith(begins)
