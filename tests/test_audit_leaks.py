"""The headline of the audit on releases that leak in known ways, and on clean ones."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from skcvae.privacy import privacy_audit
from skcvae.privacy._audit_parts import Part, Parts, SyntheticSamples
from skcvae.privacy._class_gaussian import fit_class_gaussians
from skcvae.privacy._headline import find_headline
from skcvae.privacy._sample_attacks import SAMPLE_ATTACKS, SampleAttacks

pytestmark = pytest.mark.filterwarnings("ignore:Few records")


def split(X, y, n, seed):
    """Return members, non-members, reference, and samples of strangers."""
    rows = np.random.RandomState(seed).permutation(len(X))[: 4 * n].reshape(4, n)
    return [Part(X[part].astype(np.float32), y[part], None) for part in rows]


def generated(seed, n=200, n_features=100, n_classes=5):
    """Return samples of classes whose variance falls from direction to direction."""
    rng = np.random.RandomState(seed)
    y = rng.randint(n_classes, size=4 * n)
    means = rng.randn(n_classes, n_features)
    std = 1 / np.sqrt(1 + np.arange(n_features) / 5)
    rotation, _ = np.linalg.qr(rng.randn(n_features, n_features))
    return (means[y] + 3 * rng.randn(4 * n, n_features) * std) @ rotation, y


def draw_clean(strangers, y, rng):
    """Draw from Gaussians fitted to strangers, for given labels."""
    labels, codes = np.unique(y, return_inverse=True)
    means, covariance = fit_class_gaussians(*strangers[:2], labels)
    noise = rng.randn(len(y), covariance.shape[0])
    return means[codes] + noise @ np.linalg.cholesky(covariance).T


def verbatim(chosen, factor=1):
    def leak(M, y, clean, rng):
        rows = chosen(y)
        clean[rows] = M[rows] * factor
        return clean

    return leak


def noisy(n_deviations):
    return lambda M, y, clean, rng: (
        M + n_deviations * M.std(axis=0) * rng.randn(*M.shape)
    )


def means_of_pairs(M, y, clean, rng):
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        for pair in np.array_split(rows, max(len(rows) // 2, 1)):
            clean[pair] = M[pair].mean(axis=0)
    return clean


def rotated(M, y, clean, rng):
    return M @ stats.ortho_group.rvs(M.shape[1], random_state=rng)


LEAKS = {
    "rotated": rotated,
    "permuted": lambda M, y, clean, rng: M[:, rng.permutation(M.shape[1])],
    "negated": lambda M, y, clean, rng: -M,
    "times ten": lambda M, y, clean, rng: 10 * M,
    "shifted": lambda M, y, clean, rng: M + 5 * rng.randn(M.shape[1]),
    "1 % verbatim": verbatim(lambda y: np.arange(len(y) // 100)),
    "5 % verbatim": verbatim(lambda y: np.arange(len(y) // 20)),
    "all verbatim": verbatim(lambda y: np.arange(len(y))),
    "5 % times 1.0001": verbatim(lambda y: np.arange(len(y) // 20), np.float32(1.0001)),
    "one class verbatim": verbatim(lambda y: y == np.bincount(y).argmax()),
    "half a deviation of noise": noisy(0.5),
    "one deviation of noise": noisy(1),
    "two deviations of noise": noisy(2),
    "means of pairs": means_of_pairs,
}


def make_release(leak, parts, seed):
    """Return a leaking release in an order of its own; None is a clean one."""
    rng = np.random.RandomState(seed)
    members, strangers = parts[0], parts[3]
    X = draw_clean(strangers, members.y, rng)
    if leak is not None:
        X = LEAKS[leak](members.X, members.y, X, rng)
    order = rng.permutation(len(X))
    return SyntheticSamples(X[order].astype(np.float32), members.y[order])


def beyond_chance(release, attacks):
    """Return the names of the figures beyond chance, by all attacks on samples."""
    scores = {name: attacks.score(name, release) for name in SAMPLE_ATTACKS}
    present = {n: [s[~np.isnan(s)] for s in both] for n, both in scores.items()}
    figures = find_headline(present, attacks.count_copies(release), len(scores))
    return [figure.name for figure in figures if figure.beyond_chance]


@pytest.fixture(scope="module")
def small():
    return split(*generated(0), 200, 0)


@pytest.mark.parametrize("leak", LEAKS)
def test_the_headline_shows_each_leak(leak, small):
    release = make_release(leak, small, 1)
    sets = [array for part in small[:3] for array in part[:2]]
    audit = privacy_audit(tuple(release), *sets, random_state=0)
    assert any(figure.beyond_chance for figure in audit.headline)
    headline = str(audit).split("1. Controls")[0]
    assert headline.count("beyond chance\n") == sum(
        figure["beyond_chance"] for figure in audit.to_dict()["headline"]
    )


@pytest.mark.parametrize("stored", [np.float16, np.float32])
@pytest.mark.parametrize("read", [np.float32, np.float64])
def test_few_copies_are_seen_in_the_precision_they_were_stored_in(stored, read):
    X, y = generated(0)
    members, others, reference, strangers = np.split(X, 4)
    clean = strangers.copy()
    clean[:2] = members[:2]
    release = clean.astype(stored).astype(read)
    labels = y[:200]
    sets = [a for part in (members, others, reference) for a in (part, labels)]
    audit = privacy_audit((release, labels), *sets, random_state=0)
    (copied,) = [f for f in audit.headline if f.name == "members copied exactly"]
    assert copied.value == 2
    assert copied.beyond_chance
    with pytest.raises(ValueError, match="2 samples of X_members are also in X_nonm"):
        privacy_audit((others, labels), members, labels, release, *sets[3:])


def test_members_given_twice_are_no_leak(small):
    members, others, reference, strangers = small
    twice = [np.repeat(values, 2, axis=0) for values in members[:2]]
    sets = [*twice, *others[:2], *reference[:2]]
    audit = privacy_audit(strangers[:2], *sets, random_state=0)
    assert not any(figure.beyond_chance for figure in audit.headline)
    assert any("200 samples of X_members repeat others" in n for n in audit.notes)
    copied = privacy_audit(members[:2], *sets, random_state=0).headline
    assert all(figure.beyond_chance for figure in copied)


def test_planted_leaks_say_what_the_headline_would_have_shown(small):
    sets = [array for part in small[:3] for array in part[:2]]
    clean = tuple(make_release(None, small, 1))
    audit = privacy_audit(clean, *sets, random_state=0)
    assert audit.planted["nothing"] == ""
    assert len(audit.planted) == 8
    assert all(shown for leak, shown in audit.planted.items() if leak != "nothing")
    assert audit.planted["members, rotated"] == "largest AUC aligned_copies"
    # Without the attack that undoes rotations, the audit says that it is blind to them.
    names = ["nearest_neighbor", "likelihood"]
    audit = privacy_audit(clean, *sets, attacks=names, random_state=0)
    assert audit.planted["members, rotated"] == ""
    assert re.search(r"members, rotated +nothing\n", str(audit))
    assert audit.planted["1 % of the members"] == "members copied exactly"


def test_at_most_one_of_twenty_clean_releases_is_shown():
    flagged = []
    for seed in range(20):
        parts = split(*generated(seed), 200, seed)
        attacks = SampleAttacks(Parts(*parts[:3]))
        flagged.append(bool(beyond_chance(make_release(None, parts, seed), attacks)))
    assert sum(flagged) <= 1


# Decoders


class SubspaceDecoder:
    """Class means and the directions of the residuals of all training samples."""

    noise_std = None

    def __init__(self, X, y):
        self.classes, codes = np.unique(y, return_inverse=True)
        means = np.array([X[codes == code].mean(axis=0) for code in np.unique(codes)])
        residuals = X - means[codes]
        self.means = torch.tensor(means, dtype=torch.float32)
        self.directions = torch.tensor(residuals / np.sqrt(len(X))).float()
        self.latent_dim = len(X)
        self.noise = 0.5 * X.std()

    def __call__(self, latents, codes):
        return self.means[codes] + latents @ self.directions

    def make_decoder(self, device):
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        """Return noise around class means, which gives away little."""
        rng = np.random.RandomState(random_state)
        means = self.means.numpy()[np.searchsorted(self.classes, y)]
        return means + 20 * self.noise * rng.randn(*means.shape), y


def test_the_headline_shows_a_decoder_of_fewer_samples_than_features(small):
    members, *others = small[:3]
    members = Part(members.X[:80], members.y[:80], None)
    sets = [array for part in (members, *others) for array in part[:2]]
    decoder = SubspaceDecoder(*members[:2])
    audit = privacy_audit(
        decoder, *sets, attacks=["class_means", "subspace"], random_state=0
    )
    assert any(f.beyond_chance for f in audit.headline if f.attack == "subspace")
    by_name = {attack.result.name: attack.result for attack in audit.attacks}
    assert by_name["subspace"].auc.low > 0.95
    strangers = SubspaceDecoder(*small[3][:2])
    audit = privacy_audit(strangers, *sets, attacks=["subspace"], random_state=0)
    assert not any(f.beyond_chance for f in audit.headline)


# Chance


def test_limits_are_those_of_random_ranks():
    rng = np.random.RandomState(0)
    beyond = np.zeros(2000, dtype=bool)
    copies = {"exact": [0, 0], "near": [0, 0], "sizes": [500, 600]}
    for i in range(len(beyond)):
        scores = {name: [rng.randn(500), rng.randn(600)] for name in "ab"}
        figures = find_headline(scores, copies, 2)
        beyond[i] = any(figure.beyond_chance for figure in figures)
    assert 0.01 < beyond.mean() <= 0.05


def test_figures_by_hand():
    members = np.r_[np.full(30, 9.0), np.linspace(-1, 1, 470)]
    others = np.linspace(-1, 1, 500) + 1e-4
    copies = {"exact": [2, 0], "near": [30, 1], "sizes": [500, 500]}
    area, at_fpr, at_none, exact, near = find_headline(
        {"a": [members, others]}, copies, 1
    )
    assert (at_none.value, at_none.attack, at_none.beyond_chance) == (0.06, "a", True)
    # Five others are accused.
    assert at_fpr.value == pytest.approx(
        0.06 + np.mean(members[30:] > others[-6]) * 0.94
    )
    # Level 0.05 / 5: P(k or more members before any other) is about 2 ** -k.
    assert at_none.by_chance == 6 / 500
    half = stats.norm.isf(0.005) * np.sqrt(1001 / (12 * 500**2))
    assert area.by_chance == pytest.approx(0.5 + half)
    assert (exact.value, exact.by_chance, exact.beyond_chance) == (2, 0, True)
    chance = [
        stats.fisher_exact([[k, 500 - k], [1, 499]], "greater").pvalue
        for k in (near.by_chance, near.by_chance + 1)
    ]
    assert chance[0] > 0.01 >= chance[1]


def test_copies_that_strangers_have_as_well_are_no_leak():
    copies = {"exact": [6, 4], "near": [6, 4], "sizes": [500, 500]}
    assert not any(f.beyond_chance for f in find_headline({}, copies, 1))


# Real embeddings


ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("SKCVAE_DATA", ROOT.parent / "shared" / "data"))


def real(name):
    """Return samples of a data set in the folder of SKCVAE_DATA."""
    path = DATA / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no {path.name} in the folder of SKCVAE_DATA")
    data = np.load(path)
    if "X" in data:
        return data["X"], data["y"].astype(int) * 2 + data["anomaly"]
    return data["X_train"], data["y_train"].astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mvtec_resnet18", "cifar100_lt_vit_tiny"])
def test_the_headline_shows_each_leak_of_real_embeddings(name):
    parts = split(*real(name), 1000, 0)
    attacks = SampleAttacks(Parts(*parts[:3]))
    hidden = [
        leak
        for leak in LEAKS
        if not beyond_chance(make_release(leak, parts, 1), attacks)
    ]
    assert hidden == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mvtec_resnet18", "cifar100_lt_vit_tiny"])
def test_few_clean_releases_of_real_embeddings_are_shown(name):
    X, y = real(name)
    flagged = 0
    for seed in range(20):
        parts = split(X, y, 1000, seed)
        attacks = SampleAttacks(Parts(*parts[:3]))
        flagged += bool(beyond_chance(make_release(None, parts, seed), attacks))
    assert flagged <= 1
