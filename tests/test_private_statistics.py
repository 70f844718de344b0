"""Noisy statistics: what one row can change, what noise is added, what that costs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.stats import norm

from skcvae.generators.private._accounting import (
    find_noise_multiplier,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    renyi_budget,
    renyi_epsilon,
)
from skcvae.generators.private._statistics import (
    NoiseLedger,
    PrivateSums,
    class_sums,
    clip_to_norm,
    noisy_norm_bound,
    private_shares,
    residual_bound,
    second_moment,
    shrink_noisy_covariance,
    shrink_noisy_means,
    sum_classes,
)

SHARES = {
    "counts": 1,
    "raw_norm": 1,
    "center": 1,
    "data_norm": 1,
    "sums": 3,
    "residual_norm": 1,
    "second_moment": 2,
}


def make_ledger(mu=1e6, seed=0, shares=SHARES):
    """Return a ledger; the default budget is so large that there is no noise."""
    return NoiseLedger(mu, shares, np.random.default_rng(seed))


def compute_all(X, codes, n_classes, ledger, **given):
    """Compute all statistics in turn, as the generators do."""
    private = sum_classes(X, codes, n_classes, ledger, **given)
    means, _ = shrink_noisy_means(private, np.eye(X.shape[1]))
    residuals = X - private.centre - means[codes]
    bound = residual_bound(residuals, ledger, private.data_norm)
    second_moment(residuals, bound, private.n_samples, ledger)


class RecordingLedger(NoiseLedger):
    """Keep the exact statistics, and return them or the outputs of another run."""

    def __init__(self, outputs=None):
        super().__init__(1.0, SHARES, np.random.default_rng(0))
        self.outputs = outputs
        self.exact = []

    def release(self, name, value, sensitivity, n_releases=1):
        self._record(name, sensitivity, n_releases)
        self.exact.append(np.array(value, dtype=float))
        if self.outputs is None:
            return value
        return self.outputs[len(self.exact) - 1]

    def release_symmetric(self, name, matrix, sensitivity):
        return self.release(name, matrix, sensitivity)


# What noise costs


@pytest.mark.parametrize("epsilon, mu", [(0.1, 0.05), (1.0, 0.5), (3.0, 2.0)])
def test_delta_is_the_hockey_stick_divergence_of_two_normal_densities(epsilon, mu):
    def excess(x):
        return max(norm.pdf(x, mu) - np.exp(epsilon) * norm.pdf(x), 0)

    # Above this point the first density is the larger one.
    start = epsilon / mu + mu / 2
    expected, _ = quad(excess, start, start + 40)
    assert_allclose(gaussian_delta(epsilon, mu), expected, rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.01, 1.0, 8.0, 500.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-10])
def test_budget_is_used_up_and_never_exceeded(epsilon, delta):
    spent = gaussian_epsilon(gaussian_mu(epsilon, delta), delta)
    assert spent <= epsilon
    assert_allclose(spent, epsilon, rtol=1e-4)


def test_epsilon_is_zero_where_delta_alone_covers_the_loss():
    assert gaussian_epsilon(1e-4, 0.1) == 0


def test_composition_of_gaussian_mechanisms_agrees_with_dp_accounting():
    dp = pytest.importorskip("dp_accounting")
    ledger = make_ledger(mu=0.7)
    rng = np.random.RandomState(0)
    compute_all(rng.normal(size=(50, 3)), rng.randint(2, size=50), 2, ledger)
    accountant = dp.pld.PLDAccountant()
    for _, sensitivity, std in ledger.releases:
        accountant.compose(dp.GaussianDpEvent(std / sensitivity))
    epsilon = gaussian_epsilon(ledger.mu, 1e-5)
    assert_allclose(epsilon, accountant.get_epsilon(1e-5), rtol=1e-3)


def test_statistics_spend_the_whole_budget():
    rng = np.random.RandomState(0)
    X, codes = rng.normal(size=(50, 3)), rng.randint(2, size=50)
    for given in ({}, {"center": np.zeros(3)}, {"data_norm": 2.0}):
        shares = private_shares(SHARES, given.get("center"), given.get("data_norm"))
        ledger = make_ledger(mu=0.7, shares=shares)
        compute_all(X, codes, 2, ledger, **given)
        assert_allclose(ledger.mu, 0.7, rtol=1e-12)
        assert {name for name, _, _ in ledger.releases} == set(shares)


@pytest.mark.parametrize("noise_multiplier", [0.7, 3.0])
def test_renyi_epsilon_agrees_with_dp_accounting(noise_multiplier):
    dp = pytest.importorskip("dp_accounting")
    for order in (2.5, 7.0, 30.0):
        accountant = dp.rdp.RdpAccountant([order])
        accountant.compose(dp.GaussianDpEvent(noise_multiplier))
        cost = order / (2 * noise_multiplier**2)
        assert_allclose(
            renyi_epsilon(cost, order, 1e-5), accountant.get_epsilon(1e-5), rtol=1e-9
        )


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 8.0, 100.0])
def test_renyi_budget_is_what_epsilon_allows(epsilon):
    order, budget = renyi_budget(epsilon, 1e-5)
    assert_allclose(renyi_epsilon(budget, order, 1e-5), epsilon)
    # For Gaussian noise the conversion loses little against the exact formula.
    mu = np.sqrt(2 * budget / order)
    assert 0.8 * gaussian_mu(epsilon, 1e-5) < mu < gaussian_mu(epsilon, 1e-5)


def test_renyi_budget_refuses_what_no_order_can_give():
    with pytest.raises(ValueError, match="too small for delta"):
        renyi_budget(1e-6, 1e-5)


def test_noise_multiplier_is_the_smallest_that_fits():
    found = find_noise_multiplier(lambda noise: 1 / noise**2, 1 / 49)
    assert 7 <= found < 7.001
    assert find_noise_multiplier(lambda noise: 0.0, 1.0) < 0.1001


# What one row can change


@pytest.mark.parametrize("seed", range(20))
def test_one_row_changes_each_statistic_by_at_most_its_sensitivity(seed):
    rng = np.random.RandomState(seed)
    n_classes, n_features = rng.randint(1, 5), rng.randint(1, 7)
    X = rng.normal(size=(30, n_features)) * 10.0 ** rng.randint(-2, 3)
    X[0] *= 1e8
    X[1] = 0
    X[2] *= 1e-30
    codes = rng.randint(n_classes, size=30)
    for removed in (0, 1, 2, rng.randint(3, 30)):
        full = RecordingLedger()
        compute_all(X, codes, n_classes, full)
        rest = np.delete(np.arange(30), removed)
        less = RecordingLedger(outputs=full.exact)
        compute_all(X[rest], codes[rest], n_classes, less)
        assert full.releases == less.releases
        for (_, sensitivity, _), a, b in zip(
            full.releases, full.exact, less.exact, strict=True
        ):
            # Sums of rows of very different size round off.
            rounding = 1e-12 * max(np.abs(a).max(), np.abs(b).max())
            assert np.linalg.norm(a - b) <= sensitivity * (1 + 1e-9) + rounding


def test_sensitivities_are_reached():
    X = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    codes = np.array([0, 1, 1])
    given = {"center": np.zeros(2), "data_norm": 2.0}
    runs = []
    for rows in (slice(None), slice(1, None)):
        ledger = RecordingLedger(outputs=runs[0].exact if runs else None)
        sum_classes(X[rows], codes[rows], 2, ledger, **given)
        runs.append(ledger)
    changes = [
        np.linalg.norm(a - b) for a, b in zip(runs[0].exact, runs[1].exact, strict=True)
    ]
    assert_allclose(changes, [1.0, 2.0])
    assert [s for _, s, _ in runs[0].releases] == [1.0, 2.0]


# What noise is added


def test_noise_has_the_deviation_that_is_accounted_for():
    ledger = make_ledger(mu=0.5, shares={"a": 3, "b": 1})
    noise = ledger.release("a", np.zeros((300, 100)), sensitivity=4.0)
    expected = 4.0 / (0.5 * np.sqrt(3 / 4))
    assert ledger.releases == [("a", 4.0, pytest.approx(expected))]
    assert_allclose(noise.std(), expected, rtol=0.02)
    assert abs(noise.mean()) < 5 * expected / np.sqrt(noise.size)


def test_several_releases_share_the_budget_of_their_name():
    ledger = make_ledger(mu=0.5, shares={"a": 1})
    for _ in range(9):
        ledger.release("a", 0.0, 1.0, n_releases=9)
    assert_allclose(ledger.mu, 0.5)
    assert ledger.describe() == {
        "a": {"noise_multiplier": pytest.approx(6.0), "releases": 9}
    }


def test_noise_of_a_symmetric_matrix_is_even_in_all_directions():
    ledger = make_ledger(mu=1.0, shares={"a": 1})
    noise = ledger.release_symmetric("a", np.zeros((300, 300)), sensitivity=2.0)
    assert_array_equal(noise, noise.T)
    above = noise[np.triu_indices(300, 1)]
    # In the coordinates whose Euclidean norm is the matrix's Frobenius norm.
    assert_allclose(np.sqrt(2) * above.std(), 2.0, rtol=0.02)
    assert_allclose(np.diag(noise).std(), 2.0, rtol=0.15)


def test_noise_of_the_sums_is_what_they_report():
    X, codes = np.ones((10, 40)), np.zeros(10, dtype=int)
    draws = []
    for seed in range(200):
        ledger = make_ledger(mu=0.5, seed=seed)
        private = sum_classes(X, codes, 2, ledger, np.zeros(40), 3.0)
        draws.append(private.sums)
    assert_allclose(private.noise_std, 3.0 / (0.5 * np.sqrt(3 / 10)))
    deviation = np.std(draws, axis=0)
    assert_allclose(deviation.mean(), private.noise_std, rtol=0.02)
    exact = class_sums(clip_to_norm(X, 3.0), codes, 2)
    assert np.abs(np.mean(draws, axis=0) - exact).max() < private.noise_std / 3


# The statistics themselves, without noise


def test_clipping_shortens_long_rows_and_keeps_the_others():
    X = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [3e30, 4e30]])
    clipped = clip_to_norm(X, 1.0)
    assert_allclose(clipped, [[0.6, 0.8], [0.3, 0.4], [0.0, 0.0], [0.6, 0.8]])
    assert (np.linalg.norm(clipped, axis=1) <= 1 + 1e-12).all()


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 40.0, 1e9])
@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_norm_bound_is_the_quantile_rounded_up_by_less_than_a_fifth(scale, spread):
    norms = scale * np.random.RandomState(0).lognormal(sigma=spread, size=501)
    bound = noisy_norm_bound(norms, make_ledger(), "data_norm")
    ratio = bound / np.quantile(norms, 0.9)
    assert 0.999 <= ratio <= 1.001 * 2**0.25


def test_norm_bound_stays_on_its_grid():
    assert noisy_norm_bound(np.zeros(9), make_ledger(), "data_norm") == 2.0**-64
    assert noisy_norm_bound(np.full(9, 1e30), make_ledger(), "data_norm") == 2.0**65.5


def test_outliers_move_the_norm_bound_by_a_small_factor_only():
    norms = np.ones(400)
    norms[:100] = 1e12
    for seed in range(20):
        ledger = make_ledger(mu=0.5, seed=seed)
        assert noisy_norm_bound(norms, ledger, "data_norm") < 4


def test_norm_bound_asks_at_most_as_often_as_its_budget_says():
    for norms in (np.zeros(9), np.full(9, 1e30), np.arange(9.0)):
        ledger = make_ledger()
        noisy_norm_bound(norms, ledger, "data_norm")
        assert 11 <= len(ledger.releases) <= 12


def test_residuals_are_shortened_at_most_as_far_as_rows():
    residuals = np.full((9, 1), 1e6)
    assert residual_bound(residuals, make_ledger(), 2.0) == 2.0


def test_counts_are_not_negative_and_sums_keep_their_class():
    X = np.array([[1.0], [2.0], [4.0]])
    private = sum_classes(X, np.array([2, 2, 0]), 3, make_ledger(), np.zeros(1), 9.0)
    assert_allclose(private.sums.ravel(), [4, 0, 3], atol=1e-3)
    assert_allclose(private.counts, [1, 0, 2], atol=1e-3)
    noisy = sum_classes(X, np.array([2, 2, 0]), 3, make_ledger(mu=0.01))
    assert (noisy.counts >= 0).all()
    assert noisy.n_samples >= 1


# Shrinkage


def private_sums(sums, counts, noise_std):
    return PrivateSums(
        np.zeros(sums.shape[1]),
        1.0,
        np.array(counts),
        sum(counts),
        sums,
        noise_std,
        0.0,
    )


def test_without_noise_means_are_shrunk_as_those_of_the_class_gaussian():
    rng = np.random.RandomState(0)
    counts = np.array([40.0, 10.0, 3.0, 0.0])
    sums = counts[:, None] * rng.normal(size=(4, 5))
    means, k0 = shrink_noisy_means(private_sums(sums, counts, 1e-6), np.eye(5))
    overall = sums.sum(axis=0) / counts.sum()
    expected = (sums + k0 * overall) / (counts + k0)[:, None]
    assert_allclose(means, expected, atol=1e-9)
    assert_allclose(means[3], overall, atol=1e-9)


def test_shrinkage_finds_the_ratio_of_variances_and_lowers_the_error():
    rng = np.random.RandomState(0)
    within = np.diag([4.0, 1.0, 1.0, 0.1])
    counts = np.tile([200.0, 50.0, 20.0, 5.0], 50)
    truth = rng.normal(size=(200, 4)) @ np.sqrt(within / 3.0)
    sums = counts[:, None] * truth
    sums += np.sqrt(counts)[:, None] * rng.normal(size=truth.shape) @ np.sqrt(within)
    sums += 30.0 * rng.normal(size=truth.shape)
    means, k0 = shrink_noisy_means(private_sums(sums, counts, 30.0), within)
    assert 2 < k0 < 4.5
    raw_error = ((sums / counts[:, None] - truth) ** 2).mean(axis=1)
    error = ((means - truth) ** 2).mean(axis=1)
    for size in (5, 20, 50, 200):
        assert error[counts == size].mean() < raw_error[counts == size].mean()
    # The noise of five rows exceeds what classes differ by: little is left of it.
    assert means[counts == 5].std() < 0.2 * truth.std() < means[counts == 200].std()


def test_uncertain_counts_shrink_small_classes_more():
    counts = np.array([50.0, 40.0, 2.0])
    sums = counts[:, None] * [[3.0, 0.0], [-3.0, 1.0], [0.0, 4.0]]
    private = private_sums(sums, counts, 1.0)
    overall = sums.sum(axis=0) / counts.sum()
    exact = shrink_noisy_means(private, np.eye(2))[0] - overall
    private.count_std = 2.0
    uncertain = shrink_noisy_means(private, np.eye(2))[0] - overall
    ratio = np.linalg.norm(uncertain, axis=1) / np.linalg.norm(exact, axis=1)
    assert ratio[0] > 0.95
    assert ratio[2] < 0.7


def test_covariance_without_noise_is_kept():
    A = np.random.RandomState(0).normal(size=(6, 6))
    covariance = A @ A.T + np.eye(6)
    assert_allclose(shrink_noisy_covariance(covariance, 0.0), covariance, rtol=1e-9)


@pytest.mark.parametrize("noise_std", [0.05, 0.3, 3.0])
def test_noisy_covariance_becomes_definite_and_closer_to_the_truth(noise_std):
    rng = np.random.RandomState(0)
    n_features = 60
    axes = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    values = np.r_[20.0, 8.0, np.ones(n_features - 2)]
    truth = (axes * values) @ axes.T
    noise = noise_std * rng.normal(size=truth.shape)
    noisy = truth + (noise + noise.T) / 2
    shrunk = shrink_noisy_covariance(noisy, noise_std)
    assert np.linalg.eigvalsh(shrunk).min() > 0
    assert_allclose(np.trace(shrunk), np.trace(noisy), rtol=1e-9)
    assert np.linalg.norm(shrunk - truth) < 0.75 * np.linalg.norm(noisy - truth)


def test_noise_around_the_identity_is_removed():
    noise = np.random.RandomState(0).normal(size=(200, 200))
    shrunk = shrink_noisy_covariance(np.eye(200) + 0.02 * (noise + noise.T), 0.04)
    assert np.abs(np.linalg.eigvalsh(shrunk) - 1).max() < 0.2


def test_covariance_of_nothing_but_noise_is_finite_and_definite():
    noise = np.random.RandomState(0).normal(size=(20, 20))
    shrunk = shrink_noisy_covariance(-np.eye(20) + (noise + noise.T) / 2, 1.0)
    values = np.linalg.eigvalsh(shrunk)
    assert np.isfinite(values).all()
    assert values.min() > 0
