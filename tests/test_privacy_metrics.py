"""Intervals against scipy and brute force, closeness against hand-computed values."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from skcvae._statistics import auc, difference, proportion, quantile, tpr_at_fpr
from skcvae.metrics import average_min_distance
from skcvae.privacy._attack_result import attack_result
from skcvae.privacy._closeness import (
    distance_to_closest_record_share,
    exact_copies,
    identifiability,
    nndr,
)

Z = stats.norm.ppf(0.975)


# Shares and differences


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(("n_success", "n_total"), [(0, 10), (3, 10), (10, 10), (1, 1)])
def test_shares_have_the_interval_of_wilson(n_success, n_total, confidence):
    expected = stats.binomtest(n_success, n_total).proportion_ci(confidence, "wilson")
    estimate = proportion(n_success, n_total, confidence)
    assert estimate.value == n_success / n_total
    np.testing.assert_allclose(estimate[1:], expected, atol=1e-12)


@pytest.mark.parametrize(("n_success", "n_total"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_shares_are_refused(n_success, n_total):
    with pytest.raises(ValueError, match="give no share"):
        proportion(n_success, n_total)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        # Table II of Newcombe (1998), method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_differences_have_the_interval_of_newcombe(first, second, low, high):
    estimate = difference(proportion(*first), proportion(*second))
    np.testing.assert_allclose(estimate[1:], (low, high), atol=5e-5)


# Quantiles


@pytest.mark.parametrize("q", [0.05, 0.5, 0.9])
def test_quantiles_have_the_interval_of_scipy(q):
    values = np.random.RandomState(0).randn(300)
    expected = stats.quantile_test(values, p=q).confidence_interval(0.95)
    estimate = quantile(values, q)
    assert estimate.value == np.quantile(values, q)
    np.testing.assert_allclose(estimate[1:], expected)


def test_interval_of_a_quantile_of_few_values_ends_at_the_smallest():
    assert quantile([3.0, 1.0, 2.0], 0.05).low == 1


# Areas under the ROC curve


def scores_with_ties(rng, m, n):
    return rng.randint(6, size=m) + 1.0, rng.randint(6, size=n).astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_area_agrees_with_scikit_learn_with_ties(seed):
    members, others = scores_with_ties(np.random.RandomState(seed), 17, 31)
    expected = roc_auc_score(np.repeat([1, 0], [17, 31]), np.r_[members, others])
    assert auc(members, others).value == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_variance_of_the_area_agrees_with_all_pairs(seed):
    members, others = scores_with_ties(np.random.RandomState(seed), 12, 19)
    wins = (members[:, None] > others) + 0.5 * (members[:, None] == others)
    variance = wins.mean(axis=1).var(ddof=1) / 12 + wins.mean(axis=0).var(ddof=1) / 19
    area = wins.mean()
    half = Z * np.sqrt(variance) / (area * (1 - area))
    bounds = logit(auc(members, others)[1:])
    np.testing.assert_allclose(bounds, (logit(area) - half, logit(area) + half))


def test_interval_of_the_area_agrees_with_the_bootstrap():
    rng = np.random.RandomState(0)
    members, others = rng.randn(150) + 0.8, rng.randn(200)
    draws = [
        auc(rng.choice(members, 150), rng.choice(others, 200)).value
        for _ in range(1000)
    ]
    np.testing.assert_allclose(
        auc(members, others)[1:], np.quantile(draws, (0.025, 0.975)), atol=0.012
    )


@pytest.mark.parametrize(
    ("members", "others", "area"),
    [([2] * 30, [1] * 40, 1.0), ([1] * 30, [2] * 40, 0.0), ([1] * 30, [1] * 40, 0.5)],
)
def test_areas_without_variance_have_the_interval_of_newcombe(members, others, area):
    def excess(theta):
        q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
        # Hanley and McNeil's variance with both sample sizes at their mean.
        rest = (30 + 40) / 2 - 1
        variance = theta * (1 - theta) + rest * (q1 - theta**2 + q2 - theta**2)
        return (area - theta) ** 2 - Z**2 * variance / (30 * 40)

    estimate = auc(members, others)
    assert estimate.value == area
    low = brentq(excess, 1e-9, area - 1e-9) if area > 0 else 0
    high = brentq(excess, area + 1e-9, 1 - 1e-9) if area < 1 else 1
    np.testing.assert_allclose(estimate[1:], (low, high), atol=1e-6)
    assert 0.02 < estimate.high - estimate.low < 0.4


@pytest.mark.parametrize(("m", "n"), [(25, 25), (100, 40)])
def test_interval_covers_half_when_members_are_like_others(m, n):
    rng = np.random.RandomState(0)
    intervals = [auc(rng.randn(m), rng.randn(n)) for _ in range(1000)]
    covered = np.mean([e.low <= 0.5 <= e.high for e in intervals])
    # Four standard errors of a share of 1000.
    assert abs(covered - 0.95) < 0.028


def test_reversed_scores_mirror_the_interval():
    rng = np.random.RandomState(0)
    members, others = rng.randn(30) + 1, rng.randn(40)
    forward, backward = auc(members, others), auc(-members, -others)
    np.testing.assert_allclose(forward, [1 - backward[i] for i in (0, 2, 1)])


@pytest.mark.parametrize(
    ("members", "others", "message"),
    [
        ([1.0], [1.0, 2.0], "needs 2"),
        ([1.0, np.nan], [1.0, 2.0], "NaN"),
        ([1.0, 2.0], [1.0, np.inf], "infinity"),
        ([[1.0], [2.0]], [1.0, 2.0], "one-dimensional"),
    ],
)
def test_scores_that_say_nothing_are_refused(members, others, message):
    with pytest.raises(ValueError, match=message):
        auc(members, others)


# True-positive rates


def test_rate_by_hand():
    # The threshold of 1 % of 0, ..., 499 is 495: four non-members lie above.
    members = np.array([495.0, 495.5, 496.0, 10.0])
    estimate = tpr_at_fpr(members, np.arange(500.0))
    assert estimate.value == 0.5
    # Clopper and Pearson's bounds are quantiles of beta distributions.
    expected = stats.beta.ppf([0.025, 0.975], [2, 3], [3, 2])
    np.testing.assert_allclose(estimate[1:], expected)


@pytest.mark.parametrize("n", [500, 501, 777, 1000, 1999])
def test_no_more_non_members_are_accused_than_asked_for(n):
    scores = np.random.RandomState(0).randn(n)
    assert 0 < tpr_at_fpr(scores, scores).value <= 0.01


def test_ties_at_the_threshold_are_not_found():
    assert tpr_at_fpr(np.zeros(10), np.zeros(600)).value == 0


@pytest.mark.parametrize(("n", "fpr"), [(499, 0.01), (4999, 0.001), (49, 0.1)])
def test_too_few_non_members_for_a_rate_are_refused(n, fpr):
    with pytest.raises(ValueError, match=f"at least {n + 1} non-members"):
        tpr_at_fpr(np.arange(9.0), np.arange(float(n)), fpr)
    tpr_at_fpr(np.arange(9.0), np.arange(float(n + 1)), fpr)


def test_result_of_an_attack_lacks_only_the_rate_that_cannot_be_known():
    few = attack_result("guess", np.arange(9), np.arange(499))
    enough = attack_result("guess", np.arange(9), np.arange(500))
    assert few.tpr is None
    assert enough.tpr == tpr_at_fpr(np.arange(9), np.arange(500))
    assert (enough.n_members, enough.n_nonmembers) == (9, 500)


# Copies and closeness

CLOSENESS = [
    lambda S, M, H: list(exact_copies(S, M, H).values()),
    lambda S, M, H: distance_to_closest_record_share(S, M, H),
    lambda S, M, H: list(nndr(S, M, H).values()),
    lambda S, M, H: list(identifiability(S, M, H).values()),
]


def flat(result):
    return np.hstack([np.ravel(part) for part in result])


def unscaled(*columns):
    """Rows whose reference, the last one given, has a standard deviation of 1."""
    return [np.array(column, dtype=float)[:, None] for column in columns]


def test_copies_by_hand():
    S, M, H = unscaled([0, 0, 1.05, 9], [0, 1, 2, 3], [0.5, 1.5])
    copies = exact_copies(S, M, H, X_reference=[[0], [2]])
    assert (copies.n_synthetic, copies.n_members) == (2, 1)
    assert (copies.synthetic.value, copies.members.value) == (0.5, 0.25)
    # Non-members are 0.5 from their member; 0, 1 and 0.5 are not as far from S, and
    # 1.5 is 0.45 away.
    assert copies.threshold == pytest.approx(0.5)
    assert copies.near_members.value == 0.5
    assert copies.near_nonmembers.value == 0.5


@pytest.mark.parametrize("stored", [np.float16, np.float32])
@pytest.mark.parametrize("read", [np.float16, np.float32, np.float64])
def test_a_copy_that_was_rounded_is_a_copy(stored, read):
    M = np.random.RandomState(0).randn(20, 3)
    assert exact_copies(M[:5].astype(stored).astype(read), M).n_members == 5


def test_counts_that_are_nearly_equal_are_no_copies():
    # float16 could not tell them apart.
    assert exact_copies([[2048.0, 4096.0]], [[2049.0, 4096.0]]).n_members == 0


def test_share_by_hand_and_ties_count_half():
    S, M, H = unscaled([0, 1, 5, 20], [0, 2], [10, 21])
    # 0 and 1 are nearer to a member, 20 to a non-member, 5 is 3 from 2 and 5 from 10.
    share = distance_to_closest_record_share(S, M, H, X_reference=[[0], [2]])
    assert share.value == 0.75
    S[2] = 6
    share = distance_to_closest_record_share(S, M, H, X_reference=[[0], [2]])
    assert share.value == 0.625


def test_interval_of_the_share_counts_clusters():
    S, M, H = unscaled([0, 0, 0, 0, 9], [0, 1], [9, 8])
    share = distance_to_closest_record_share(S, M, H)
    # Four rows at one member, and one at a non-member: 25 / (16 + 1) clusters.
    assert share == pytest.approx(proportion(0.8 * 25 / 17, 25 / 17))


def test_interval_of_the_share_covers_half_for_independent_rows():
    # 150 members, of which a random part is as many as the non-members: more would be
    # nearer by chance.
    covered, as_if_independent = [], []
    for seed in range(100):
        rng = np.random.RandomState(seed)
        S, M, H = rng.randn(1000, 3), rng.randn(150, 3), rng.randn(60, 3)
        share = distance_to_closest_record_share(S, M, H, random_state=rng)
        covered.append(share.low <= 0.5 <= share.high)
        naive = proportion(1000 * share.value, 1000)
        as_if_independent.append(naive.low <= 0.5 <= naive.high)
    assert np.mean(covered) > 0.93
    assert np.mean(as_if_independent) < 0.85


def test_distance_ratios_by_hand():
    S, M, H = unscaled([1, 4, 10], [0, 3, 12], [5, 11, 30])
    ratios = nndr(S, M, H, q=0.5)
    # To members 1/2, 1/4, 2/7; to non-members 4/10, 1/7, 1/5.
    assert ratios.members.value == pytest.approx(2 / 7)
    assert ratios.nonmembers.value == pytest.approx(1 / 5)


def test_distance_ratio_to_two_equal_records_is_that_of_a_copy():
    S, M, H = unscaled([1], [1, 1], [2, 3])
    assert nndr(S, M, H).members.value == 0


def test_identifiability_by_hand():
    S, M, H = unscaled([0.5, 7], [0, 3, 4], [6, 9, 20])
    shares = identifiability(S, M, H)
    # 0 has 0.5 before 3; 3 and 4 have each other. 6 has 7 before 9; 9 has 7 before 6;
    # 20 has 9 before 7.
    assert shares.members.value == pytest.approx(1 / 3)
    assert shares.nonmembers.value == pytest.approx(2 / 3)
    assert shares.difference.value == pytest.approx(-1 / 3)


def reference_program(S, real):
    """What the program of the BMVC paper computes, in its own words."""
    S, real = ((rows - rows.mean(axis=0)) / rows.std(axis=0) for rows in (S, real))
    return cdist(S, real).min(axis=1).mean()


def test_average_distance_in_both_spaces():
    rng = np.random.RandomState(0)
    real = rng.randn(80, 4) * [1, 5, 0.1, 30] + 3
    S = 0.6 * real[:50] + 2
    common = cdist(S / real.std(axis=0), real / real.std(axis=0)).min(axis=1).mean()
    assert average_min_distance(S, real) == pytest.approx(common)
    own = average_min_distance(S, real, space="reference")
    assert own == pytest.approx(reference_program(S, real))
    # A wrong mean and a wrong spread are hidden.
    assert own == pytest.approx(
        average_min_distance(real[:50], real, space="reference"), rel=1e-6
    )


@pytest.mark.parametrize("space", ["common", "reference"])
def test_average_distance_with_a_constant_feature(space):
    rng = np.random.RandomState(0)
    real = np.c_[rng.randn(30, 2), np.full(30, 0.1)]
    expected = average_min_distance(real[:9, :2] + 1, real[:, :2], space=space)
    with_constant = np.c_[real[:9, :2] + 1, np.full(9, 0.1)]
    assert average_min_distance(with_constant, real, space=space) == pytest.approx(
        expected
    )


@pytest.fixture
def sets():
    rng = np.random.RandomState(0)
    return [rng.randn(n, 3) for n in (60, 40, 40)]


@pytest.mark.parametrize("metric", CLOSENESS)
def test_closeness_depends_on_neither_order_nor_units(metric, sets):
    rng = np.random.RandomState(1)
    expected = flat(metric(*sets))
    shuffled = [rows[rng.permutation(len(rows))] for rows in sets]
    np.testing.assert_allclose(flat(metric(*shuffled)), expected, rtol=1e-9)
    in_other_units = [rows * 1e3 + [1, 2, 3] for rows in sets]
    np.testing.assert_allclose(flat(metric(*in_other_units)), expected, rtol=1e-6)


@pytest.mark.parametrize("metric", CLOSENESS)
def test_closeness_refuses_records_on_both_sides(metric, sets):
    S, M, H = sets
    H[:3] = M[5:8]
    with pytest.raises(ValueError, match="3 samples of X_members are also in"):
        metric(S, M, H)


@pytest.mark.parametrize("metric", CLOSENESS)
def test_closeness_refuses_other_features(metric, sets):
    S, M, H = sets
    with pytest.raises(ValueError, match="same features"):
        metric(S[:, :2], M, H)
