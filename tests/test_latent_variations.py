"""LatentVariationOverSampler against a linear encoder, where all is known."""

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from torch import nn

from skcvae import CVAE, ClassGaussian, CVAEOverSampler
from skcvae.over_sampling import LatentVariationOverSampler
from skcvae.over_sampling._latent_variation import draw_pairs, spherical_interpolation

POSTERIOR_STD = 0.1
VARIATIONS = ["perturb", "linear", "spherical"]
FAST = {
    "max_epochs": 2,
    "latent_dim": 3,
    "device": "cpu",
    "net_params": {"module__hidden_dim": 16},
}

X = np.random.RandomState(0).normal([0, 3, -2, 100], size=(43, 4))
y = np.repeat([0, 1, 2, 3], [30, 10, 2, 1])

pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")


class Identity(nn.Module):
    """Latents are scaled rows around their class mean, with a constant deviation."""

    def __init__(self, n_features, n_classes, latent_dim):
        super().__init__()

    def encode(self, x, y):
        return x, torch.full_like(x, 2 * np.log(POSTERIOR_STD))

    def decode(self, z, y):
        return z


def make_sampler(variation, scale=0.0, n_new=300, cvae_params=(), **params):
    """Return a sampler with the linear CVAE, for `n_new` rows of each class."""
    settings = {"noise": None, "prior": "standard", "max_epochs": 1, "device": "cpu"}
    cvae = CVAE(
        architecture=Identity, latent_dim=4, **{**settings, **dict(cvae_params)}
    )
    params.setdefault(
        "sampling_strategy", {c: n + n_new for c, n in Counter(y).items()}
    )
    return LatentVariationOverSampler(
        cvae, variation=variation, scale=scale, random_state=0, **params
    )


def new_rows(sampler):
    """Return what the sampler adds, as a list with the rows of each class."""
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    assert_array_equal(X_resampled[: len(X)], X)
    added, labels = X_resampled[len(X) :], y_resampled[len(y) :]
    return [added[labels == label] for label in np.unique(y)]


each_variation = pytest.mark.parametrize("variation", VARIATIONS)


@each_variation
def test_counts_and_labels_are_exact(variation):
    assert [len(rows) for rows in new_rows(make_sampler(variation))] == 4 * [300]
    sampler = make_sampler(variation, sampling_strategy="auto")
    assert [len(rows) for rows in new_rows(sampler)] == [0, 20, 28, 29]


def test_perturbing_by_nothing_returns_rows_of_the_class():
    for label, rows in enumerate(new_rows(make_sampler("perturb"))):
        distances = np.abs(rows[:, None] - X[y == label]).max(axis=2)
        assert_allclose(distances.min(axis=1), 0, atol=1e-4)
        # All rows of the class are chosen.
        assert len(set(distances.argmin(axis=1))) == (y == label).sum()


def test_perturbing_by_nothing_returns_reconstructions():
    cvae = CVAE(**FAST, noise=None)
    sampler = LatentVariationOverSampler(cvae, scale=0.0, random_state=0)
    _, few, _, _ = new_rows(sampler)
    expected = sampler.generator_.reconstruct(X[y == 1], y[y == 1])
    distances = np.abs(few[:, None] - expected).max(axis=2).min(axis=1)
    assert_allclose(distances, 0, atol=1e-4)
    # The decoder of two epochs does not return the rows themselves.
    assert np.abs(expected - X[y == 1]).max() > 0.1


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_perturbed_rows_spread_as_the_posterior(scale):
    sampler = make_sampler("perturb", scale, n_new=4000)
    rows = new_rows(sampler)[3]
    std = scale * POSTERIOR_STD * sampler.generator_.scale_
    for feature in range(4):
        only_row = X[y == 3][0, feature]
        standard = (rows[:, feature] - only_row) / std[feature]
        assert kstest(standard, "norm").pvalue > 1e-3
    assert_allclose(np.corrcoef(rows.T), np.eye(4), atol=0.08)


def test_linear_interpolation_fills_segments_evenly():
    first, second = X[y == 2]
    rows = new_rows(make_sampler("linear", n_new=2000))[2]
    way = second - first
    t = (rows - first) @ way / (way @ way)
    assert_allclose(rows, first + t[:, None] * way, atol=1e-4)
    assert kstest(t, "uniform").pvalue > 1e-3


def test_linear_interpolation_connects_any_two_rows_of_the_class():
    ends = X[y == 1]
    rows = new_rows(make_sampler("linear"))[1]
    pairs = list(combinations(range(len(ends)), 2))
    detour = [
        np.linalg.norm(rows - ends[i], axis=1)
        + np.linalg.norm(rows - ends[j], axis=1)
        - np.linalg.norm(ends[i] - ends[j])
        for i, j in pairs
    ]
    assert_allclose(np.min(detour, axis=0), 0, atol=1e-3)
    assert len(set(np.argmin(detour, axis=0))) > 0.9 * len(pairs)


def angle(a, b):
    cosine = (a * b).sum(axis=-1)
    cosine /= np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.arccos(np.clip(cosine, -1, 1))


@pytest.mark.parametrize("prior", ["standard", "aggregate"])
def test_spherical_interpolation_follows_arcs_around_the_centre(prior):
    sampler = make_sampler("spherical", cvae_params={"prior": prior})
    rows = new_rows(sampler)[1]
    cvae = sampler.generator_

    def whiten(rows):
        e = (rows - cvae._centres()[1]) / cvae.scale_
        if prior == "aggregate":
            latent = cvae.latent_prior_
            e = np.linalg.solve(latent.factor[1], (e - latent.centre[1]).T).T
        return e

    e, ends = whiten(rows), whiten(X[y == 1])
    faults = []
    for i, j in combinations(range(len(ends)), 2):
        total = angle(ends[i], ends[j])
        turned = angle(e, ends[i])
        length_i, length_j = np.linalg.norm(ends[[i, j]], axis=1)
        length = length_i + turned / total * (length_j - length_i)
        off_arc = np.abs(turned + angle(e, ends[j]) - total)
        faults.append(off_arc + np.abs(np.linalg.norm(e, axis=1) - length))
    assert_allclose(np.min(faults, axis=0), 0, atol=5e-3)


def test_spherical_interpolation_is_that_of_white_for_equal_lengths():
    rng = np.random.RandomState(0)
    e = rng.normal(size=(2, 500, 8))
    e_0, e_1 = 3 * e / np.linalg.norm(e, axis=2, keepdims=True)
    t = rng.uniform(size=(500, 1))
    a = angle(e_0, e_1)[:, None]
    expected = (np.sin((1 - t) * a) * e_0 + np.sin(t * a) * e_1) / np.sin(a)
    found = spherical_interpolation(*(torch.tensor(v) for v in (e_0, e_1, t)))
    assert_allclose(found, expected, atol=1e-6)
    assert_allclose(np.linalg.norm(found, axis=1), 3, atol=1e-6)


@pytest.mark.parametrize(
    "e_0, e_1, t, expected",
    [
        ([1, 0], [0, 1], 0.5, [0.5**0.5, 0.5**0.5]),
        ([2, 0], [0, 4], 1 / 3, [8 / 3 * 0.75**0.5, 8 / 3 * 0.5]),
        ([1, 0], [3, 0], 0.25, [1.5, 0]),
        ([1, 0], [-3, 0], 0.25, [0, 0]),
        ([0, 0], [0, 2], 0.25, [0, 0.5]),
        ([1, 2], [5, -3], 0.0, [1, 2]),
        ([1, 2], [5, -3], 1.0, [5, -3]),
    ],
)
def test_spherical_interpolation_by_hand(e_0, e_1, t, expected):
    found = spherical_interpolation(
        *(torch.tensor([v], dtype=torch.float32) for v in (e_0, e_1, [t]))
    )
    assert_allclose(found[0], expected, atol=1e-6)


def test_spherical_interpolation_of_almost_opposite_vectors_stays_bounded():
    e_0 = torch.tensor([[2.0, 0.0]]).repeat(400, 1)
    e_1 = torch.stack([torch.full((400,), -1.0), torch.logspace(-8, -1, 400)], dim=1)
    norms = spherical_interpolation(e_0, e_1, torch.full((400, 1), 0.4)).norm(dim=1)
    assert norms.max() <= 2.001


@each_variation
def test_class_of_one_row_varies_that_row(variation):
    rows = new_rows(make_sampler(variation))[3]
    assert_allclose(rows, np.tile(X[y == 3], (300, 1)), atol=1e-4)
    spread = new_rows(make_sampler(variation, scale=1.0))[3].std(axis=0)
    assert (spread > 0.03).all()


def test_partners_are_others_of_the_same_class():
    codes = np.random.RandomState(1).permutation(y)
    wanted = np.repeat([2, 0, 1, 3], 500)
    rows, partners, share = draw_pairs(codes, wanted, np.random.RandomState(0))
    assert_array_equal(codes[rows], wanted)
    assert_array_equal(codes[partners], wanted)
    assert_array_equal(rows == partners, wanted == 3)
    for label in (1, 2):
        n = (codes == label).sum()
        pairs = Counter(
            zip(rows[wanted == label], partners[wanted == label], strict=True)
        )
        assert len(pairs) == n * (n - 1)
    assert share.min() >= 0 and share.max() < 1


@each_variation
def test_noise_of_the_cvae_is_added(variation):
    noisy = make_sampler(variation, cvae_params={"noise": "residual"}, n_new=3000)
    rows = new_rows(noisy)[3]
    cvae = noisy.generator_
    covariance = cvae.noise_factor_ @ cvae.noise_factor_.T * cvae.scale_**2
    # The factor of a row's noise depends on its class and latent, which are one here.
    ratio = np.cov(rows.T) / covariance
    assert_allclose(np.diag(ratio), np.diag(ratio).mean(), rtol=0.15)
    assert_allclose(rows.mean(axis=0), X[y == 3][0], atol=0.1)


@each_variation
def test_neither_variance_nor_prior_matter_beyond_what_is_documented(variation):
    plain, wide, aggregate = (
        np.concatenate(new_rows(make_sampler(variation, 1.0, cvae_params=params)))
        for params in ({}, {"variance": 9.0}, {"prior": "aggregate"})
    )
    assert_array_equal(plain, wide)
    assert np.array_equal(plain, aggregate) == (variation != "spherical")


def test_variations_share_one_training_with_the_cvae_sampler(tmp_path, monkeypatch):
    fits = []
    fit = CVAE._fit
    monkeypatch.setattr(CVAE, "_fit", lambda *args: (fits.append(1), fit(*args))[1])
    settings = {"memory": str(tmp_path), "random_state": 0}
    CVAEOverSampler(**FAST, **settings).fit_resample(X, y)
    for variation in VARIATIONS:
        for scale in (0.0, 1.0):
            LatentVariationOverSampler(
                CVAE(**FAST), variation=variation, scale=scale, **settings
            ).fit_resample(X, y)
    assert len(fits) == 1


@each_variation
def test_seeds_reproduce_and_differ(variation):
    sampler = make_sampler(variation, 1.0)
    once = np.concatenate(new_rows(clone(sampler)))
    assert_array_equal(once, np.concatenate(new_rows(clone(sampler))))
    other = clone(sampler).set_params(random_state=1)
    assert not np.array_equal(once, np.concatenate(new_rows(other)))
    seed_of_cvae = clone(sampler).set_params(random_state=None)
    seed_of_cvae.set_params(generator__random_state=0)
    assert_array_equal(once, np.concatenate(new_rows(seed_of_cvae)))


@each_variation
def test_frames_and_text_labels_come_back(variation):
    frame = pd.DataFrame(X, columns=list("abcd")).astype({"a": np.float32})
    frame["count"] = np.arange(43)
    labels = pd.Series(np.array(["zebra", "ape", "mole", "cow"])[y], name="animal")
    sampler = LatentVariationOverSampler(
        CVAE(**FAST), variation=variation, random_state=0
    )
    X_resampled, y_resampled = sampler.fit_resample(frame, labels)
    pd.testing.assert_series_equal(X_resampled.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(X_resampled[:43], frame)
    assert y_resampled.name == "animal"
    assert Counter(y_resampled) == dict.fromkeys(labels.unique(), 30)


def test_given_cvae_stays_unfitted_and_other_generators_are_refused():
    cvae = CVAE(**FAST)
    before = dict(vars(cvae))
    LatentVariationOverSampler(cvae, random_state=0).fit_resample(X, y)
    assert vars(cvae) == before
    with pytest.raises(ValueError, match="'generator' parameter"):
        LatentVariationOverSampler(ClassGaussian()).fit_resample(X, y)


def test_seeds_and_frozen_cvaes():
    own = LatentVariationOverSampler(CVAE(**FAST, random_state=1), random_state=5)
    assert own.fit(X, y).generator_.random_state == 1
    expected = clone(own).set_params(random_state=6).fit_resample(X, y)[0]
    assert_array_equal(own.fit_resample(X, y)[0], expected)
    frozen = FrozenEstimator(CVAE(**FAST, random_state=1).fit(X, y))
    sampler = LatentVariationOverSampler(frozen, random_state=5)
    assert_array_equal(sampler.fit_resample(X, y)[0], expected)
    assert sampler.generator_ is frozen
    frozen = FrozenEstimator(ClassGaussian().fit(X, y))
    with pytest.raises(TypeError, match="needs a CVAE"):
        LatentVariationOverSampler(frozen).fit_resample(X, y)
