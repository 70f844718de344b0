"""The search of a decoder's latent space against closed forms and known answers."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skcvae.generators import CVAE, ClassGaussian
from skcvae.privacy._latent_search import latent_search_attack, latent_search_scores


class Release:
    """A decoder that a function of (e, codes) makes, as a release has it."""

    def __init__(self, decode, latent_dim, classes=(0,), noise_std=None):
        self.decode = decode
        self.latent_dim = latent_dim
        self.classes = np.array(classes)
        self.noise_std = None
        if noise_std is not None:
            self.noise_std = torch.tensor(noise_std, dtype=torch.float32)
        self.n_decoded = 0

    def make_decoder(self, device):
        return self

    def __call__(self, e, codes):
        self.n_decoded += 1
        return self.decode(e, codes)


def linear_release(centers, factor, classes, noise_std=None):
    centers = torch.tensor(centers, dtype=torch.float32)
    factor = torch.tensor(factor, dtype=torch.float32)
    return Release(
        lambda e, codes: centers[codes] + e @ factor.T,
        factor.shape[1],
        classes,
        noise_std,
    )


def memorizing_release(X):
    """Return a decoder whose outputs include each row: the latents choose rows."""
    rows = torch.tensor(X, dtype=torch.float32)
    return Release(lambda e, codes: (4 * e).softmax(dim=1) @ rows, len(rows))


def ridge_objective(residual, factor, std, regularization):
    """Return the minimum over e of |r - F e|² / s² + lambda |e|², by linear algebra."""
    covariance = factor @ factor.T / regularization + np.diag(std**2)
    return (residual * np.linalg.solve(covariance, residual.T).T).sum(axis=1)


@pytest.fixture
def rng():
    return np.random.RandomState(0)


@pytest.fixture
def linear(rng):
    """Rows of classes "b" and "a", centers in the order of the codes, and a factor."""
    centers, factor = rng.normal(size=(2, 6)), rng.normal(size=(6, 3))
    y = np.array(["b", "a"])[rng.randint(2, size=40)]
    X = rng.normal(size=(40, 6))
    residual = X - centers[(y == "a").astype(int)]
    return X, y, centers, factor, residual


@pytest.mark.parametrize("regularization", [0.3, 5.0])
def test_minima_of_a_linear_decoder_with_noise_are_ridge_regressions(
    linear, rng, regularization
):
    X, y, centers, factor, residual = linear
    std = rng.uniform(0.2, 2.0, size=6)
    # Codes follow the order of the decoder's classes, not that of the alphabet.
    release = linear_release(centers, factor, ["b", "a"], std)
    scores = latent_search_scores(
        release, X, y, regularization=regularization, random_state=0
    )
    expected = -ridge_objective(residual, factor, std, regularization)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_without_noise_a_tenth_of_the_deviation_is_the_scale(linear):
    X, y, centers, factor, residual = linear
    release = linear_release(centers, factor, ["b", "a"])
    std = np.full(6, 0.1 * np.sqrt((residual**2).mean()))
    expected = -ridge_objective(residual, factor, std, 1.0)
    scores = latent_search_scores(release, X, y, random_state=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-3)


def test_a_feature_without_noise_counts_as_one_of_little_noise(linear):
    X, y, centers, factor, residual = linear
    std = np.array([0.0, 1, 1, 1, 1, 1])
    release = linear_release(centers, factor, ["b", "a"], std)
    std[0] = 0.1 * np.sqrt(5 / 6)
    expected = -ridge_objective(residual, factor, std, 1.0)
    scores = latent_search_scores(release, X, y, random_state=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-3)


def test_the_reference_is_searched_with_the_same_scale_and_subtracted(linear, rng):
    X, y, centers, factor, residual = linear
    other_centers = rng.normal(size=(2, 6))
    scores = latent_search_scores(
        linear_release(centers, factor, ["b", "a"]),
        X,
        y,
        # Another order of classes in the reference must not mix up the labels.
        reference_release=linear_release(other_centers, factor, ["a", "b"]),
        random_state=0,
    )
    std = np.full(6, 0.1 * np.sqrt((residual**2).mean()))
    other_residual = X - other_centers[(y == "b").astype(int)]
    expected = ridge_objective(other_residual, factor, std, 1.0)
    expected -= ridge_objective(residual, factor, std, 1.0)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=0.1)


def test_scores_against_a_class_gaussian_are_mahalanobis_distances():
    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300]
    generator = ClassGaussian().fit(X[:200], y[:200])
    scores = latent_search_scores(generator, X, y, n_restarts=1)
    centers = generator.offset_ + generator.class_means_ * generator.scale_
    residual = X - centers[y]
    scale = np.diag(generator.scale_)
    covariance = scale @ generator.covariance_ @ scale
    covariance += 0.01 * (residual**2).mean() * np.eye(64)
    expected = -(residual * np.linalg.solve(covariance, residual.T).T).sum(axis=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-3)


def test_a_decoder_that_memorized_the_members_leaks_them(rng):
    X, X_other = rng.normal(size=(2, 40, 8))
    labels = np.zeros(40, dtype=int)
    result = latent_search_attack(
        memorizing_release(X),
        X,
        labels,
        X_other,
        labels,
        n_steps=400,
        n_restarts=1,
        random_state=0,
    )
    assert result.auc.value > 0.97
    assert (result.name, result.n_members) == ("latent_search_uncalibrated", 40)


def test_a_decoder_that_memorized_other_samples_leaks_nothing(rng):
    X, X_other, X_trained = rng.normal(size=(3, 150, 8))
    labels = np.zeros(150, dtype=int)
    result = latent_search_attack(
        memorizing_release(X_trained[:40]),
        X,
        labels,
        X_other,
        labels,
        reference_release=memorizing_release(X_trained[40:80]),
        random_state=0,
    )
    assert 0.4 < result.auc.value < 0.6
    assert result.auc.low < 0.5 < result.auc.high
    assert result.name == "latent_search"


def test_calibration_finds_members_among_rows_of_unequal_difficulty(rng):
    # Distances to the centre range over decades, and a member is nearer by a little.
    difficulty = np.exp(2 * rng.normal(size=(400, 1)))
    X = difficulty * rng.choice([-1, 1], size=(400, 4))
    labels = np.zeros(200, dtype=int)
    shrink = np.repeat([0.9, 1.0], 200)
    rows = torch.tensor(X, dtype=torch.float32)
    towards = torch.tensor(X * (1 - shrink)[:, None], dtype=torch.float32)

    class Decoder(Release):
        def __call__(self, e, codes):
            # The scale asks for all rows at once, and so does each step.
            return towards + 0 * e.sum()

    release = Decoder(None, 2, noise_std=np.ones(4))
    reference = Release(lambda e, codes: torch.zeros_like(rows), 2, (0,), np.ones(4))
    arguments = release, X[:200], labels, X[200:], labels
    plain = latent_search_attack(*arguments)
    calibrated = latent_search_attack(*arguments, reference_release=reference)
    assert plain.auc.value < 0.6
    assert calibrated.auc.value == 1


def test_the_attack_on_a_cvae_of_few_rows_finds_members():
    X, y = load_digits(return_X_y=True)
    M, rest = train_test_split(np.arange(600), train_size=200, random_state=0)
    H, R = rest[:200], rest[200:]
    release, reference = (
        CVAE(max_epochs=150, device="cpu", random_state=0).fit(X[rows], y[rows])
        for rows in (M, R)
    )
    result = latent_search_attack(
        release,
        X[M],
        y[M],
        X[H],
        y[H],
        reference_release=reference,
        n_steps=60,
        n_restarts=1,
    )
    assert result.auc.low > 0.55


def test_random_starts_find_what_the_start_at_zero_does_not(rng):
    # At e = 0 the gradient is 0: the search from there stays.
    release = Release(lambda e, codes: 10 * e.square(), 3)
    X = rng.uniform(5, 10, size=(30, 3))
    y = np.zeros(30, dtype=int)
    one = latent_search_scores(release, X, y, n_restarts=1, random_state=0)
    two = latent_search_scores(release, X, y, n_restarts=2, random_state=0)
    assert (two > one + 100).all()


def test_more_restarts_never_give_a_worse_minimum(rng):
    X = rng.normal(size=(30, 8))
    release = memorizing_release(rng.normal(size=(20, 8)))
    y = np.zeros(30, dtype=int)
    scores = [
        latent_search_scores(release, X, y, n_restarts=n, random_state=0)
        for n in (1, 2, 4)
    ]
    assert (scores[1] >= scores[0] - 1e-3).all()
    assert (scores[2] >= scores[1] - 1e-3).all()


def test_the_seed_decides_the_scores_and_global_states_are_not_touched(
    rng, random_states
):
    X = rng.normal(size=(30, 8))
    y = np.zeros(30, dtype=int)
    release = memorizing_release(rng.normal(size=(20, 8)))
    before = random_states()
    options = {"n_steps": 20, "n_restarts": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        first, again, other = (
            latent_search_scores(release, X, y, random_state=seed, **options)
            for seed in (0, 0, 1)
        )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert random_states() == before


def test_batches_do_not_change_the_scores(rng):
    X = rng.normal(size=(30, 8))
    y = np.zeros(30, dtype=int)
    release = memorizing_release(rng.normal(size=(20, 8)))
    whole, parts = (
        latent_search_scores(release, X, y, batch_size=size, random_state=0)
        for size in (1024, 17)
    )
    np.testing.assert_allclose(whole, parts, rtol=1e-3)


def test_gradients_of_the_weights_of_a_decoder_are_left_alone(rng):
    layer = torch.nn.Linear(2, 5)
    release = Release(lambda e, codes: layer(e), 2)
    latent_search_scores(release, rng.normal(size=(9, 5)), np.zeros(9, dtype=int))
    assert layer.weight.grad is None


def test_a_search_that_is_too_short_warns(linear):
    X, y, centers, factor, _ = linear
    release = linear_release(centers, factor, ["b", "a"])
    with pytest.warns(ConvergenceWarning, match="larger n_steps"):
        latent_search_scores(release, X, y, n_steps=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        latent_search_scores(release, X, y)


@pytest.mark.parametrize("in_reference", [False, True])
def test_unknown_classes_are_named_before_the_search(linear, in_reference):
    X, y, centers, factor, _ = linear
    full = linear_release(centers, factor, ["b", "a"])
    part = linear_release(centers, factor, ["b", "other"])
    release, reference = (full, part) if in_reference else (part, full)
    with pytest.raises(ValueError, match=r"lacks the classes \['a'\]"):
        latent_search_attack(
            release, X[:20], y[:20], X[20:], y[20:], reference_release=reference
        )
    assert full.n_decoded == part.n_decoded == 0


def test_bad_input_is_refused(linear):
    X, y, centers, factor, _ = linear
    release = linear_release(centers, factor, ["b", "a"])
    M, H = X[:20], X[20:]
    with pytest.raises(ValueError, match="20 samples of X_members are also in"):
        latent_search_attack(release, M, y[:20], M, y[:20])
    with pytest.raises(ValueError, match=r"have 5 features.*decodes 6"):
        latent_search_attack(release, M[:, 1:], y[:20], H[:, 1:], y[20:])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        latent_search_attack(release, M, y[:20], H, y[19:])
    with pytest.raises(ValueError, match="NaN"):
        latent_search_attack(release, np.where(M[0] == M, np.nan, M), y[:20], H, y[20:])
    with pytest.raises(ValueError, match="'regularization' parameter"):
        latent_search_attack(release, M, y[:20], H, y[20:], regularization=0)
    with pytest.raises(ValueError, match="'release' parameter"):
        latent_search_attack((M, y[:20]), M, y[:20], H, y[20:])


def test_a_decoder_that_returns_nan_is_refused(linear):
    X, y, centers, factor, _ = linear
    centers = np.where(centers == centers[0, 0], np.nan, centers)
    release = linear_release(centers, factor, ["b", "a"], np.ones(6))
    with pytest.raises(ValueError, match="decoder returned values that are not finite"):
        latent_search_attack(release, X[:20], y[:20], X[20:], y[20:])
