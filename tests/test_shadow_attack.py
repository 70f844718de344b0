"""The shadow attack on generators whose leakage is known, and its statistics."""

import re

import joblib
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.utils import shuffle

from skcvae.anonymization import GenerativeAnonymizer
from skcvae.generators import ClassGaussian
from skcvae.privacy._membership import nearest_neighbor_attack
from skcvae.privacy._shadow import (
    _draw_halves,
    likelihood_ratios,
    moderated_variances,
    shadow_attack,
)


class CopyGenerator(BaseEstimator):
    """Returns training rows of the class in random order, plus noise."""

    def __init__(self, noise=0.01, random_state=None):
        self.noise = noise
        self.random_state = random_state

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        self.classes_ = np.unique(y)
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        rng = np.random.RandomState(self.random_state)
        X = np.empty((len(y), self.X_.shape[1]))
        for label in np.unique(y):
            rows = np.flatnonzero(y == label)
            known = np.flatnonzero(self.y_ == label)
            X[rows] = self.X_[np.resize(rng.permutation(known), len(rows))]
        return X + self.noise * rng.normal(size=X.shape), y


class IgnorantGenerator(CopyGenerator):
    """Knows the classes, and nothing else of the rows."""

    def sample(self, n_samples=None, *, y=None, random_state=None):
        rng = np.random.RandomState(self.random_state)
        return rng.normal(size=(len(y), self.X_.shape[1])), y


class CopyAnonymizer(BaseEstimator):
    """Adds noise to the rows it is given, and has no `sample`."""

    def __init__(self, noise=0.01, random_state=None):
        self.noise = noise
        self.random_state = random_state

    def fit_transform(self, X, y):
        rng = np.random.RandomState(self.random_state)
        return X + self.noise * rng.normal(size=X.shape)


def draw_sets(seed, n_rows=120, n_features=4, difficulties=(1.0,)):
    """Return members, non-members and reference, with labels "a" and "b"."""
    rng = np.random.RandomState(seed)
    sets = []
    for _ in range(3):
        X = rng.normal(size=(n_rows, n_features))
        X *= rng.choice(difficulties, size=(n_rows, 1))
        sets += [X, np.repeat(["a", "b"], n_rows // 2)]
    return sets


@pytest.mark.parametrize("mode", ["offline", "online"])
@pytest.mark.parametrize("estimator", [CopyGenerator(), CopyAnonymizer()])
def test_copies_with_little_noise_are_caught(mode, estimator):
    result = shadow_attack(
        estimator, *draw_sets(0), mode=mode, n_shadows=4, random_state=0
    )
    assert result.auc.value > 0.95
    assert (result.name, result.n_members) == (f"shadow_{mode}", 120)


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_generator_that_ignores_the_samples_leaks_nothing(mode):
    areas = [
        shadow_attack(
            IgnorantGenerator(),
            *draw_sets(seed, 400),
            mode=mode,
            n_shadows=8,
            random_state=seed,
        ).auc
        for seed in range(10)
    ]
    # One area has a standard error of 0.02.
    assert np.mean([area.value for area in areas]) == pytest.approx(0.5, abs=0.02)
    assert sum(area.low < 0.5 < area.high for area in areas) >= 8


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_release_of_copies_is_caught_by_shadows_that_do_not_copy(mode):
    M, y_M, *others = draw_sets(0)
    result = shadow_attack(
        IgnorantGenerator(),
        M,
        y_M,
        *others,
        synthetic=(M, y_M),
        mode=mode,
        n_shadows=4,
        random_state=0,
    )
    assert result.auc.value > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shadows_find_more_than_a_reference_where_difficulty_differs(seed):
    # Half of the rows are crowded, so that the noise hides them, half are isolated.
    sets = draw_sets(seed, 240, difficulties=(0.1, 2.0))
    M, y_M, H, _, R, _ = sets
    estimator = CopyGenerator(noise=0.3, random_state=7)
    S = estimator.fit(M, y_M).sample(y=y_M)
    plain = nearest_neighbor_attack(S[0], M, H, R).auc.value
    offline, online = (
        shadow_attack(estimator, *sets, synthetic=S, mode=mode, random_state=0)
        for mode in ("offline", "online")
    )
    assert offline.auc.value > plain + 0.02
    assert online.auc.value > plain + 0.06


def test_likelihood_ratios_by_hand():
    # Each row has two shadows in and two out, and a deviation of 0.1: of all rows.
    is_in = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]], dtype=bool)
    means_in, means_out = np.array([5.0, 1.0, 0.0]), np.array([2.0, 0.5, 0.02])
    shadows = np.where(is_in, means_in, means_out)
    step = 0.1 / np.sqrt(2)
    shadows += step * np.array([[1, 1, -1], [-1, 1, 1], [1, -1, 1], [-1, -1, -1]])
    target = np.array([4.0, 0.6, 0.1])
    ratios = likelihood_ratios(target, shadows, is_in)
    expected = norm.logpdf(target, means_in, 0.1) - norm.logpdf(target, means_out, 0.1)
    # In the last row, the two means are kept one deviation apart around their middle.
    expected[2] = norm.logpdf(0.1, 0.06, 0.1) - norm.logpdf(0.1, -0.04, 0.1)
    np.testing.assert_allclose(ratios, expected)


def test_offline_scores_rank_as_p_values_by_hand():
    shadows = np.array([[1.0, 11.0], [3.0, 13.0]])
    is_in = np.zeros((2, 2), dtype=bool)
    ratios = likelihood_ratios(np.array([4.0, 12.0]), shadows, is_in)
    np.testing.assert_allclose(ratios, [2 / np.sqrt(2), 0], atol=1e-12)


def test_missing_scores_count_as_shadows_that_were_not_trained():
    rng = np.random.RandomState(0)
    shadows, target = rng.normal(size=(6, 5)), rng.normal(size=5)
    is_in = np.tile([[True], [False]], (3, 5))
    padded = np.vstack([shadows, np.full((2, 5), np.nan)])
    np.testing.assert_array_equal(
        likelihood_ratios(target, padded, np.vstack([is_in, is_in[:2]])),
        likelihood_ratios(target, shadows, is_in),
    )


def test_equal_variances_are_pooled():
    rng = np.random.RandomState(0)
    dof = np.full(500, 7)
    variances = 4 * rng.chisquare(7, size=500) / 7
    variances[:2] = 1.2 * 4, 0.8 * 4
    moderated = moderated_variances(variances, dof)
    np.testing.assert_allclose(moderated, 4, rtol=0.1)


def test_variances_are_shrunk_as_bayes_would():
    # True variances are 3 * 5 / chi-square(5): a prior worth 5 degrees of freedom.
    rng = np.random.RandomState(0)
    dof = np.full(100_000, 7)
    truth = 3 * 5 / rng.chisquare(5, size=len(dof))
    variances = truth * rng.chisquare(7, size=len(dof)) / 7
    moderated = moderated_variances(variances, dof)
    np.testing.assert_allclose(moderated, (5 * 3 + 7 * variances) / 12, rtol=0.05)


def test_halves_are_complementary_and_stratified():
    y = np.repeat(["a", "b", "c"], [10, 7, 1])
    halves = _draw_halves(y, 5, np.random.RandomState(0))
    assert halves.shape == (5, 18)
    for pair in (0, 2):
        np.testing.assert_array_equal(halves[pair], ~halves[pair + 1])
    for label, sizes in (("a", {5}), ("b", {3, 4}), ("c", {0, 1})):
        assert {half[y == label].sum() for half in halves} <= sizes
    assert len(np.unique(halves, axis=0)) == 5


def test_one_and_two_jobs_give_the_same_result():
    sets = draw_sets(0, 60)
    # Threads share what processes do not: the stricter test, and the quicker.
    with joblib.parallel_config(backend="threading"):
        one, two, other = (
            shadow_attack(
                CopyGenerator(0.5), *sets, n_shadows=8, n_jobs=n_jobs, random_state=seed
            )
            for n_jobs, seed in ((1, 0), (2, 0), (1, 1))
        )
    assert one == two
    assert one != other


def test_each_shadow_has_its_own_seed_and_its_own_rows():
    M, y_M, H, y_H, R, y_R = draw_sets(0, 40)
    shadows = []

    def record(release, X, y):
        shadows.append(release)
        return X[:, 0]

    estimator = CopyGenerator()
    shadow_attack(
        estimator, M, y_M, H, y_H, R, y_R, n_shadows=4, score=record, random_state=0
    )
    target, *shadows = shadows
    np.testing.assert_array_equal(target.X_, M)
    assert len({shadow.random_state for shadow in shadows}) == 4
    for shadow in shadows:
        assert len(shadow.X_) == 20
        assert np.isin(shadow.X_, R).all()
    assert estimator.random_state is None
    assert not hasattr(estimator, "X_")


def test_online_shadows_see_each_row_in_half_of_them():
    M, y_M, H, y_H, R, y_R = draw_sets(0, 40)
    seen = []

    def record(release, X, y):
        seen.append(np.isin(np.concatenate([M, H, R]), release.X_).all(axis=1))
        return X[:, 0]

    shadow_attack(
        CopyGenerator(),
        *(M, y_M, H, y_H, R, y_R),
        synthetic=CopyGenerator().fit(M, y_M),
        n_shadows=6,
        score=record,
        mode="online",
        random_state=0,
    )
    assert np.sum(seen[1:], axis=0).tolist() == [3] * 120


def test_the_release_may_be_rows_or_a_fitted_object():
    M, y_M, *others = draw_sets(0)
    release = CopyGenerator(random_state=3).fit(M, y_M)
    options = {"n_shadows": 2, "random_state": 0}
    as_object, as_rows = (
        shadow_attack(CopyGenerator(), M, y_M, *others, synthetic=synthetic, **options)
        for synthetic in (release, release.sample(y=y_M))
    )
    assert as_object == as_rows


def test_classes_of_one_row_are_attacked_with_the_others():
    M, y_M, H, y_H, R, y_R = draw_sets(0)
    y_M, y_R = y_M.astype("U5"), y_R.astype("U5")
    y_M[0] = y_R[0] = "rare"
    for mode in ("offline", "online"):
        result = shadow_attack(
            CopyGenerator(),
            *(M, y_M, H, y_H, R, y_R),
            mode=mode,
            n_shadows=4,
            random_state=0,
        )
        assert result.auc.value > 0.95
        assert result.n_members == 120


def test_a_decoder_leaks_more_than_its_samples(random_states):
    X, y = shuffle(*load_digits(return_X_y=True), random_state=0)
    sets = [part for i in range(3) for part in (X[i::9], y[i::9])]
    options = {"n_shadows": 2, "random_state": 0}
    before = random_states()
    rows, decoder = (
        shadow_attack(ClassGaussian(), *sets, score=score, **options)
        for score in ("nearest", "latent_search")
    )
    assert decoder.auc.low > max(0.6, rows.auc.value)
    assert random_states() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_shadows": 1}, "'n_shadows' parameter"),
        ({"n_shadows": 3, "mode": "online"}, "n_shadows of at least 4"),
        ({"mode": "on"}, "'mode' parameter"),
        ({"score": "latent_search"}, "have make_decoder"),
        ({"score": lambda release, X, y: X[:, 0] / 0}, "finite numbers"),
        ({"score": lambda release, X, y: X[1:, 0]}, r"got shape \(79,\)"),
        ({"estimator": BaseEstimator()}, "'estimator' parameter"),
        (
            {"X_reference": np.eye(4)[:3], "y_reference": ["a", "b", "a"]},
            "has 3 samples",
        ),
        ({"y_reference": ["a"] * 40}, r"lacks the classes \['b'\]"),
        ({"y_reference": ["a"] * 39}, "inconsistent numbers"),
        ({"X_reference": np.eye(5, 3)}, "same features"),
        (
            {"synthetic": (np.eye(4), list("aaaa"))},
            r"no samples of the classes \['b'\]",
        ),
        ({"synthetic": (np.eye(4),)}, "tuple"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_bad_input_is_refused(change, message):
    names = ["X_members", "y_members", "X_nonmembers", "y_nonmembers"]
    names += ["X_reference", "y_reference"]
    given = dict(zip(names, draw_sets(0, 40), strict=True))
    given |= {"estimator": CopyGenerator(), "n_shadows": 4, "random_state": 0}
    with pytest.raises(ValueError, match=message):
        shadow_attack(**(given | change))


@pytest.mark.parametrize("pair", [(0, 2), (0, 4), (2, 4)])
def test_sets_that_share_a_row_are_refused(pair):
    sets = draw_sets(0, 40)
    sets[pair[1]][3] = sets[pair[0]][5]
    names = {0: "X_members", 2: "X_nonmembers", 4: "X_reference"}
    message = f"1 samples of {names[pair[0]]} are also in {names[pair[1]]}"
    with pytest.raises(ValueError, match=re.escape(message)):
        shadow_attack(CopyGenerator(), *sets)


def test_the_decoder_of_an_anonymizer_is_attacked_as_that_of_its_generator():
    X, y = shuffle(*load_digits(return_X_y=True), random_state=0)
    parts = slice(0, 200), slice(200, 400), slice(400, 800)
    sets = [array[part] for part in parts for array in (X, y)]
    gaussian = ClassGaussian(covariance_shrinkage="factors")
    anonymizers = [
        GenerativeAnonymizer(generator, small_classes="allow")
        for generator in (gaussian, None)
    ]
    results = [
        shadow_attack(
            estimator, *sets, score="latent_search", n_shadows=2, random_state=0
        )
        for estimator in (gaussian, *anonymizers)
    ]
    assert results[0] == results[1] == results[2]
    assert results[0].auc.low > 0.5
