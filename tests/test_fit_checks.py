"""Warnings at fit where generated rows are nothing like the training rows."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from torch import nn

from skcvae._class_means import raw_class_means
from skcvae.generators import CVAE, BaseGenerator


class FromTrainingRows(nn.Module):
    """Draw training rows of the class, scaled around its mean, with noise."""

    latent_dim, noise = 1, None

    def __init__(self, rows, codes, spread, jitter):
        super().__init__()
        self.rows, self.codes = torch.from_numpy(rows), codes
        self.spread, self.jitter = spread, jitter

    def forward(self, codes, std, generator):
        first = np.searchsorted(self.codes, codes.numpy())
        count = np.bincount(self.codes)[codes.numpy()]
        place = torch.rand(len(codes), generator=generator).numpy()
        drawn = self.rows[first + (place * count).astype(int)]
        noise = torch.randn(drawn.shape, generator=generator)
        return self.spread * drawn + self.jitter * noise


class Copycat(BaseGenerator):
    """Redraws its training rows."""

    _parameter_constraints: dict = {}

    def __init__(self, *, spread=1.0, jitter=0.0, variance=1.0, random_state=0):
        self.spread = spread
        self.jitter = jitter
        self.variance = variance
        self.random_state = random_state

    def _fit(self, Z, codes, seed):
        self.class_means_ = raw_class_means(Z, codes, len(self.classes_))
        order = np.argsort(codes, kind="stable")
        rows = (Z - self.class_means_[codes])[order].astype(np.float32)
        self.kept_ = rows, codes[order]

    def _make_sampler(self):
        return FromTrainingRows(*self.kept_, self.spread, self.jitter)


@pytest.fixture
def rows():
    rng = np.random.RandomState(0)
    y = np.repeat(["a", "b", "c"], [60, 30, 10])
    return rng.randn(100, 8) + 3 * rng.randn(3, 8)[np.repeat(range(3), [60, 30, 10])], y


def messages_of(fit):
    """Return what is said of convergence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    return [
        str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)
    ]


@pytest.mark.parametrize(
    ("spread", "jitter", "message"),
    [
        (1.0, 0.0, "near copies"),
        (1.0, 0.01, "near copies"),
        # Nine times the variance of rows around the mean of the others.
        (3.0, 0.0, "scattered: .* is (8|9)"),
        (0.0, 0.2, "too alike: .* is 0.[012]"),
        (0.0, 0.0, "too alike"),
        (1e30, 0.0, "scattered"),
        (np.inf, 0.0, "scattered: .* is (nan|inf)"),
    ],
)
def test_generators_that_draw_the_wrong_rows_are_told(spread, jitter, message, rows):
    generator = Copycat(spread=spread, jitter=jitter)
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        generator.fit(*rows)
    assert caught[0].filename == __file__


def test_fresh_rows_of_the_same_distribution_are_not():
    # The spread of a Gaussian is kept, and no row is where a training row was.
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], [200, 100])
    X = np.eye(8)[y] + rng.randn(300, 8)
    assert not messages_of(lambda: Copycat(spread=0.0, jitter=0.95).fit(X, y))


def test_one_outlier_with_most_of_the_variance_is_no_reason():
    rng = np.random.RandomState(0)
    X = rng.randn(400, 8)
    X[0] = 200
    # Of the same spread as all rows but one.
    deviation = 1 / np.sqrt(np.mean(X.std(axis=0) ** 2))
    generator = Copycat(spread=0.0, jitter=deviation)
    assert not messages_of(lambda: generator.fit(X, np.zeros(400)))


@pytest.mark.parametrize("variance", [0.01, 100.0])
def test_the_variance_that_a_user_asks_for_is_no_failure(variance):
    X, y = load_iris(return_X_y=True)
    cvae = CVAE(
        latent_dim=2, variance=variance, max_epochs=30, device="cpu", random_state=0
    )
    assert not messages_of(lambda: cvae.fit(X, y))


@pytest.mark.parametrize(
    ("X", "y"),
    [
        # No class has two rows; no class has any variance; a handful of rows.
        (np.random.RandomState(0).randn(6, 3), np.arange(6)),
        (np.eye(3)[np.repeat([0, 1], 30)], np.repeat([0, 1], 30)),
        (np.random.RandomState(0).randn(6, 3), np.zeros(6)),
    ],
)
def test_where_nothing_can_be_compared_nothing_is_said(X, y):
    assert not messages_of(lambda: Copycat().fit(X, y))


def test_healthy_fits_are_not_warned_of():
    digits, iris = (load(return_X_y=True) for load in (load_digits, load_iris))
    for X, y in (digits, (StandardScaler().fit_transform(iris[0]), iris[1])):
        cvae = CVAE(
            latent_dim=min(16, X.shape[1]), max_epochs=20, device="cpu", random_state=0
        )
        assert not messages_of(lambda cvae=cvae, X=X, y=y: cvae.fit(X, y))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        # Nothing pulls latents to where they are drawn from.
        ({"objective": "reference", "beta": 0.0}, "scattered"),
        # Means of classes, and nothing else.
        ({"beta": 5.0}, "too alike"),
    ],
)
def test_settings_of_a_cvae_that_do_not_work_are_told(settings, message):
    cvae = CVAE(
        latent_dim=4,
        max_epochs=60,
        lr=1e-2,
        prior="standard",
        noise=None,
        device="cpu",
        random_state=0,
        **settings,
    )
    said = messages_of(lambda: cvae.fit(*load_iris(return_X_y=True)))
    assert any(message in one for one in said)


def test_fit_draws_without_touching_what_it_returns(rows, random_states):
    before = random_states()
    with pytest.warns(ConvergenceWarning):
        first = Copycat(random_state=3).fit(*rows)
    assert random_states() == before
    first._checks_generation = False
    silent = Copycat(random_state=3)
    silent._checks_generation = False
    assert not messages_of(lambda: silent.fit(*rows))
    np.testing.assert_array_equal(silent.sample()[0], first.sample()[0])
