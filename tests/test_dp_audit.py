"""The attack on private fits, and what it finds."""

import dp_audit
import numpy as np
import pytest
from dp_audit import (
    CANARIES,
    EPSILONS,
    FAULTY_EPSILONS,
    audit,
    choose_attack,
    less_noise,
    lower_bound,
    make_data,
    make_generator,
)
from numpy.testing import assert_allclose
from scipy.stats import binom

from skcvae.generators.private._noise import SystemNoise

pytest.importorskip("opacus")
KINDS = pytest.mark.parametrize("kind", ["DPClassGaussian", "DPCVAE"])


def test_bound_follows_from_intervals_of_both_rates():
    # All of 200 hits: the rate whose chance of that is 2.5 %; and no false alarm.
    rate = 0.025 ** (1 / 200)
    expected = np.log((rate - 0.1) / (1 - rate))
    assert_allclose(lower_bound(200, 0, 200, delta=0.1), expected)
    assert lower_bound(0, 0, 200) == lower_bound(200, 200, 200) == 0
    bound = lower_bound(150, 60, 200, delta=0.0)
    assert 0 < bound < np.log(150 / 60)


def test_bound_holds_in_19_of_20_repetitions():
    # Randomized response of epsilon 1, the tightest mechanism for these rates.
    epsilon = 1.0
    tpr = np.exp(epsilon) / (1 + np.exp(epsilon))
    rng = np.random.RandomState(0)
    hits = binom.rvs(200, tpr, size=2000, random_state=rng)
    alarms = binom.rvs(200, 1 - tpr, size=2000, random_state=rng)
    bounds = [lower_bound(a, b, 200, 0.0) for a, b in zip(hits, alarms, strict=True)]
    assert np.mean(np.array(bounds) > epsilon) < 0.05
    assert np.median(bounds) > 0.4


@pytest.mark.parametrize("sign", [1, -1])
def test_chosen_attack_finds_what_differs(sign):
    rng = np.random.RandomState(0)
    without, with_canary = rng.normal(size=(2, 400, 5))
    with_canary[:, 3] += 3 * sign
    attack = choose_attack(without[:200], with_canary[:200])
    tpr, fpr, bound = attack.rate(without[200:], with_canary[200:])
    assert tpr > 0.6 and fpr < 0.2 and bound > 1


def test_chosen_attack_finds_nothing_where_nothing_differs():
    rng = np.random.RandomState(0)
    without, with_canary = rng.normal(size=(2, 400, 5))
    attack = choose_attack(without[:200], with_canary[:200])
    assert attack.rate(without[200:], with_canary[200:])[2] < 0.3


def test_fault_divides_the_noise_and_ends():
    sound = SystemNoise.standard_normal
    with less_noise():
        assert SystemNoise().standard_normal(20_000).std() < 0.11
    assert SystemNoise.standard_normal is sound


@KINDS
@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_attacked_generators_have_the_guarantee(kind):
    for canary in (None, *CANARIES):
        generator = make_generator(kind, 1.0).fit(*make_data(canary))
        statement = generator.privacy_statement()
        assert statement["guarantee"] == "(epsilon, delta)-differential privacy"
        assert 0.9 < statement["epsilon"] <= 1.0
        assert statement["delta"] == dp_audit.DELTA


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_fits_disclose_less_than_they_claim(kind, epsilon):
    for canary, (_, _, bound) in audit(kind, epsilon, n_jobs=2).items():
        assert bound < epsilon, canary


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("epsilon", FAULTY_EPSILONS)
def test_a_tenth_of_the_noise_is_found(kind, epsilon):
    found = audit(kind, epsilon, is_faulty=True, n_jobs=2)
    assert max(bound for _, _, bound in found.values()) > epsilon
