"""The generators on data whose distribution is known, and on awkward data."""

import copy
import io
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from skcvae.generators import CGAN, CVAE, VAE, ClassGaussian, FlowMatching

pytestmark = [
    pytest.mark.filterwarnings("ignore:The C?VAE uses none"),
    pytest.mark.filterwarnings("ignore:Generated samples are"),
]

# A multiple of the number of rows that are drawn at a time.
_WHOLE_CHUNKS = 16_384


_FAST = {
    "latent_dim": 3,
    "max_epochs": 4,
    "batch_size": 64,
    "device": "cpu",
    "random_state": 0,
    "net_params": {"module__hidden_dim": 16},
}


def make_cvae(**params):
    return CVAE(**{**_FAST, **params})


def make_reference(**params):
    return make_cvae(objective="reference", prior="standard", **params)


def make_gaussian(**params):
    return ClassGaussian(**{"random_state": 0, **params})


def make_full(**params):
    return make_gaussian(covariance_type="full", **params)


def make_flow(**params):
    fast = {name: value for name, value in _FAST.items() if name != "latent_dim"}
    return FlowMatching(**{**fast, **params})


def make_vae(**params):
    return VAE(**{**_FAST, **params})


def make_cgan(**params):
    return CGAN(**{**_FAST, **params})


MAKERS = pytest.mark.parametrize(
    "make",
    [
        make_cvae,
        make_reference,
        make_gaussian,
        make_full,
        make_vae,
        make_cgan,
        make_flow,
    ],
    ids=lambda make: make.__name__,
)


def changed(generator, **params):
    """Return a copy of a fitted generator with other sampling parameters."""
    return copy.deepcopy(generator).set_params(**params)


def same_weights(first, second):
    states = [generator.net_.module_.state_dict() for generator in (first, second)]
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def fitted_attributes(generator):
    return [name for name in vars(generator) if name.endswith("_")]


def correlation(covariance):
    deviation = np.sqrt(np.diag(covariance))
    return covariance / np.outer(deviation, deviation)


class LinearBackbone(nn.Module):
    """Affine encoder and decoder, in which sampling has a closed form."""

    def __init__(self, n_features, n_classes, latent_dim):
        super().__init__()
        self.encoder = nn.Linear(n_features, 2 * latent_dim)
        self.decoder = nn.Linear(latent_dim, n_features)

    def encode(self, x, y):
        return self.encoder(x).chunk(2, dim=-1)

    def decode(self, z, y):
        return self.decoder(z)


@pytest.fixture(scope="module")
def factors():
    """Three classes around known means: two shared factors, and noise by class."""
    rng = np.random.RandomState(0)
    means = np.array(
        [[0, 0, 0, 0, 0, 0], [4, -2, 0, 1, 0, 3], [-3, 1, 2, 0, -4, 0]], dtype=float
    )
    loadings = rng.normal(size=(6, 2))
    noise = np.array([0.3, 0.6, 1.0])
    y = np.repeat(np.arange(3), 800)
    latents = rng.normal(size=(len(y), 2))
    X = means[y] + latents @ loadings.T
    X += noise[y][:, None] * rng.normal(size=X.shape)
    covariances = [loadings @ loadings.T + s**2 * np.eye(6) for s in noise]
    X.flags.writeable = y.flags.writeable = False
    return SimpleNamespace(
        X=X, y=y, means=means, covariances=covariances, noise=noise, latents=latents
    )


@pytest.fixture(scope="module")
def trained(factors):
    """A CVAE that has converged on the factors; tests change copies of it."""
    return make_cvae(
        latent_dim=4,
        max_epochs=32,
        batch_size=128,
        lr=1e-2,
        net_params={"module__hidden_dim": 32},
    ).fit(factors.X, factors.y)


@pytest.fixture(scope="module")
def small():
    """Ninety rows of three classes of 50, 30 and 10 rows, five features."""
    rng = np.random.RandomState(1)
    y = np.repeat([0, 1, 2], [50, 30, 10])
    X = rng.normal(size=(90, 2)) @ rng.normal(size=(2, 5)) + 3 * np.eye(3, 5)[y]
    X += 0.2 * rng.normal(size=X.shape)
    X.flags.writeable = y.flags.writeable = False
    return X, y


@pytest.fixture(scope="module", params=[make_cvae, make_gaussian, make_cgan])
def fitted(request, small):
    """Each of the generators, fitted to the small data."""
    return request.param().fit(*small)


# What is learned


@pytest.mark.parametrize("prior", ["aggregate", "standard"])
def test_cvae_recovers_the_moments_of_each_class(prior, factors, trained):
    X_new, y_new = changed(trained, prior=prior).sample(y=np.repeat([0, 1, 2], 8_000))
    for code in range(3):
        rows = X_new[y_new == code]
        covariance, expected = np.cov(rows.T), factors.covariances[code]
        deviation = np.sqrt(np.diag(expected))
        error = (rows.mean(axis=0) - factors.means[code]) / deviation
        np.testing.assert_allclose(error, 0, atol=0.15)
        np.testing.assert_allclose(np.diag(covariance), np.diag(expected), rtol=0.2)
        np.testing.assert_allclose(
            correlation(covariance), correlation(expected), atol=0.12
        )


def test_cvae_learns_the_noise_of_each_class(factors, trained):
    X_new, y_new = trained.sample(y=np.repeat([0, 1, 2], 8_000))
    for code in range(3):
        # Two factors leave four directions with noise only.
        smallest = np.linalg.eigvalsh(np.cov(X_new[y_new == code].T))[:4]
        np.testing.assert_allclose(
            np.sqrt(smallest.mean()), factors.noise[code], rtol=0.15
        )


def test_loss_falls_to_the_entropy_of_the_data(factors, trained):
    losses = trained.history_[:, "train_loss"]
    entropy = np.mean(
        [
            stats.multivariate_normal(cov=covariance).entropy()
            for covariance in factors.covariances
        ]
    )
    entropy -= np.log(trained.scale_).sum()
    assert losses[0] > entropy + 2
    assert entropy - 0.1 < np.mean(losses[-3:]) < entropy + 0.3


def test_small_classes_do_not_look_narrow():
    # Around their own mean, rows of classes of three vary by a third too little.
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(60), 3)
    X = 10 * rng.normal(size=(60, 3))[y] + rng.normal(size=(180, 3))
    generator = make_cvae(max_epochs=60, lr=1e-2).fit(X, y)
    X_new, _ = generator.sample(y=np.repeat(np.arange(60), 100))
    spread = X_new.reshape(60, 100, 3).std(axis=1)
    assert 0.95 < np.sqrt(np.mean(spread**2)) < 1.4


def test_cvae_uses_as_many_dimensions_as_the_data_have(trained):
    assert trained.n_active_dims_ == 2


def test_cvae_warns_where_it_uses_no_dimension(small):
    generator = make_cvae(beta=50, max_epochs=50)
    with pytest.warns(ConvergenceWarning, match="none of its latent dimensions"):
        generator.fit(*small)
    assert generator.n_active_dims_ == 0


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("objective", ["elbo", "reference"])
def test_history_splits_the_loss_into_its_terms(objective, beta, small):
    generator = make_cvae(objective=objective, beta=beta, batch_size=16).fit(*small)
    columns = ("train_loss", "train_reconstruction", "train_kl")
    loss, reconstruction, kl = np.array(generator.history_[:, columns]).T
    assert len(loss) == 4
    assert (kl > 0).all()
    np.testing.assert_allclose(loss, reconstruction + beta * kl, rtol=1e-5)


def test_latents_hold_the_factors_of_the_data(factors, trained):
    Z = trained.encode(factors.X, factors.y)
    assert Z.shape == (len(factors.X), 4)
    assert LinearRegression().fit(Z, factors.latents).score(Z, factors.latents) > 0.85


def test_reconstruction_is_closer_than_the_class_mean(factors, trained):
    X_hat = trained.reconstruct(factors.X, factors.y)
    assert X_hat.shape == factors.X.shape
    assert X_hat.dtype == factors.X.dtype
    error = ((factors.X - X_hat) ** 2).mean()
    around_means = ((factors.X - factors.means[factors.y]) ** 2).mean()
    assert error < 0.2 * around_means


def test_encode_and_reconstruct_check_their_input(small):
    X, y = small
    generator = make_cvae().fit(X, y)
    for method in (generator.encode, generator.reconstruct):
        assert len(method(X[:1], y[:1])) == 1
        with pytest.raises(ValueError, match="unseen"):
            method(X[:1], [7])
        with pytest.raises(ValueError, match="4 features"):
            method(X[:, :4], y)
        with pytest.raises(NotFittedError):
            getattr(make_cvae(), method.__name__)(X, y)


def test_class_gaussian_draws_the_pooled_normal_of_each_class(small):
    X, y = small
    generator = make_gaussian(mean_shrinkage=0, covariance_shrinkage=0).fit(X, y)
    lda = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(X, y)
    expected = lda.covariance_ * len(X) / (len(X) - 3)
    X_new, y_new = generator.sample(y=np.repeat([0, 1, 2], 50_000))
    for code in range(3):
        rows = X_new[y_new == code]
        np.testing.assert_allclose(rows.mean(axis=0), lda.means_[code], atol=0.05)
        np.testing.assert_allclose(np.cov(rows.T), expected, atol=0.05)
        whitened = (rows[:, 0] - lda.means_[code, 0]) / np.sqrt(expected[0, 0])
        assert stats.kstest(whitened[:5_000], "norm").pvalue > 1e-3


def test_class_gaussian_shrinks_means_as_it_says(small):
    X, y = small
    overall = X.mean(axis=0)
    generator = make_gaussian(mean_shrinkage=6.0, variance=0).fit(X, y)
    X_new, _ = generator.sample(y=[0, 1, 2])
    for code, row in enumerate(X_new):
        own = X[y == code]
        expected = (own.sum(axis=0) + 6 * overall) / (len(own) + 6)
        np.testing.assert_allclose(row, expected, rtol=1e-5)


@MAKERS
def test_units_of_the_features_do_not_matter(make, small):
    X, y = small
    rows = [make().fit(unit * X, y).sample(50)[0] / unit for unit in (1, 1024)]
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-5)


def test_reference_objective_keeps_to_the_range_of_the_data(small):
    X, y = small
    generator = make_reference(noise=None, max_epochs=50, lr=1e-2, variance=100)
    X_new, _ = generator.fit(X, y).sample(5_000)
    tolerance = 1e-6 * np.ptp(X, axis=0)
    assert (X_new >= X.min(axis=0) - tolerance).all()
    assert (X_new <= X.max(axis=0) + tolerance).all()
    assert (X_new.std(axis=0) > 0).all()


@pytest.mark.parametrize(("n_samples", "n_epochs"), [(320, 60), (2, 300), (6_400, 10)])
def test_automatic_epochs_make_six_hundred_steps(n_samples, n_epochs):
    X = np.random.RandomState(0).normal(size=(n_samples, 2))
    generator = make_cvae(max_epochs="auto", batch_size=32, latent_dim=1)
    generator.fit(X, np.arange(n_samples) % 2)
    assert len(generator.history_) == n_epochs


# What is asked for


def test_classes_follow_the_training_rows(fitted, small):
    X_new, y_new = fitted.sample(9_000)
    assert X_new.shape == (9_000, 5)
    expected = np.bincount(small[1]) * 100
    assert stats.chisquare(np.bincount(y_new), expected).pvalue > 1e-3


def test_default_is_as_many_rows_as_were_fitted(fitted):
    X_new, y_new = fitted.sample()
    assert len(X_new) == len(y_new) == 90


def test_labels_keep_their_order(fitted, small):
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], 200))
    X_new, y_new = fitted.sample(y=labels)
    np.testing.assert_array_equal(y_new, labels)
    means = np.array([small[0][small[1] == code].mean(axis=0) for code in range(3)])
    for code in range(3):
        distances = np.linalg.norm(means - X_new[labels == code].mean(axis=0), axis=1)
        assert distances.argmin() == code


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_samples": 3, "y": [0]}, "not both"),
        ({"n_samples": -1}, "at least 0"),
        ({"n_samples": 2.5}, "integer"),
        ({"n_samples": "3"}, "integer"),
        ({"y": [0, 3]}, r"unseen labels: \[3\]"),
        ({"y": [0.5]}, "unseen"),
        ({"y": ["1"]}, "unseen"),
        ({"y": [[0], [1]]}, "1d array"),
        ({"y": 1}, "1d array"),
        ({"variance": -1.0}, "not negative"),
        ({"variance": np.nan}, "finite"),
        ({"variance": [1.0, 1.0]}, "3 classes"),
        ({"variance": {5: 1.0}}, r"lacks: \[5\]"),
    ],
)
def test_impossible_requests_are_refused(fitted, kwargs, message):
    with pytest.raises(ValueError, match=message):
        fitted.sample(**kwargs)


def test_longer_names_are_not_cut_to_known_ones(small):
    X, y = small
    generator = make_gaussian().fit(X, np.array(["a", "b", "c"])[y])
    with pytest.raises(ValueError, match="unseen labels: \\['ab'\\]"):
        generator.sample(y=["ab"])


@pytest.mark.parametrize("kwargs", [{"n_samples": 0}, {"y": []}])
def test_nothing_is_an_empty_array(fitted, kwargs):
    X_new, y_new = fitted.sample(**kwargs)
    assert X_new.shape == (0, 5)
    assert y_new.shape == (0,)
    assert X_new.dtype == np.float64
    assert y_new.dtype == fitted.classes_.dtype


def test_sample_needs_a_fit():
    for generator in (make_cvae(), make_gaussian()):
        with pytest.raises(NotFittedError):
            generator.sample(3)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["cat", "dog", "horse"]),
        np.array(["cat", "dog", "horse"], dtype=object),
        np.array([7, -2, 30], dtype=np.int16),
        np.array([0.0, 2.0, 1.0]),
    ],
    ids=["str", "object", "gaps", "float"],
)
def test_labels_of_any_kind_come_back(labels, small):
    X, y = small
    generator = make_gaussian().fit(X, labels[y])
    np.testing.assert_array_equal(generator.classes_, np.unique(labels))
    X_new, y_new = generator.sample(y=np.repeat(labels, 300))
    np.testing.assert_array_equal(y_new, np.repeat(labels, 300))
    assert y_new.dtype == labels.dtype
    for code in range(3):
        centre = X[y == code].mean(axis=0)
        drawn = X_new[y_new == labels[code]].mean(axis=0)
        np.testing.assert_allclose(drawn, centre, atol=0.6)


# Seeds and chunks


def test_an_integer_seed_returns_the_same_rows_in_each_call(fitted):
    first = fitted.sample(50)
    fitted.sample(7, random_state=3)
    for again in (fitted.sample(50), copy.deepcopy(fitted).sample(50)):
        np.testing.assert_array_equal(again[0], first[0])
        np.testing.assert_array_equal(again[1], first[1])


def test_seed_of_a_call_replaces_that_of_the_estimator(fitted):
    rows = [fitted.sample(20, random_state=seed)[0] for seed in (1, 1, 2, 0, None)]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[3], rows[4])
    assert not np.isin(rows[2], rows[0]).any()


@pytest.mark.parametrize("make", [make_cvae, make_gaussian])
def test_random_state_instance_moves_on(make, small):
    def three_calls():
        generator = make(random_state=np.random.RandomState(0)).fit(*small)
        return [generator.sample(10)[0] for _ in range(3)]

    first, second, third = three_calls()
    assert not np.isin(second, first).any()
    assert not np.isin(third, second).any()
    np.testing.assert_array_equal(three_calls(), [first, second, third])


def test_without_a_seed_every_call_differs(fitted):
    generator = changed(fitted, random_state=None)
    assert not np.isin(generator.sample(10)[0], generator.sample(10)[0]).any()


@pytest.mark.parametrize("make", [make_cvae, make_gaussian])
def test_same_seed_same_fit(make, small):
    first, second = (make().fit(*small).sample(50)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_other_seed_other_training(small):
    assert same_weights(make_cvae().fit(*small), make_cvae().fit(*small))
    assert not same_weights(
        make_cvae().fit(*small), make_cvae(random_state=1).fit(*small)
    )


@pytest.mark.parametrize("make", [make_cvae, make_gaussian])
def test_global_random_states_are_left_alone(make, small, random_states):
    before, torch_state = random_states(), torch.get_rng_state()
    make().fit(*small).sample(10)
    assert random_states() == before
    # Without a seed, NumPy's global state gives one, as it does in scikit-learn.
    make(random_state=None).fit(*small).sample(10)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_whole_chunks_do_not_depend_on_the_number_of_rows(fitted):
    few, _ = fitted.sample(y=np.zeros(_WHOLE_CHUNKS + 3, dtype=int))
    many, _ = fitted.sample(y=np.zeros(20_000, dtype=int))
    np.testing.assert_array_equal(few[:_WHOLE_CHUNKS], many[:_WHOLE_CHUNKS])


def test_rows_follow_the_order_of_the_labels(small):
    # With no variance, a row tells its class.
    generator = make_gaussian(variance=0).fit(*small)
    labels = np.random.RandomState(0).randint(3, size=_WHOLE_CHUNKS + 3)
    X_new, y_new = generator.sample(y=labels)
    np.testing.assert_array_equal(y_new, labels)
    one_each, _ = generator.sample(y=[0, 1, 2])
    np.testing.assert_allclose(X_new, one_each[labels], rtol=1e-6)


def test_chunks_do_not_repeat_rows(fitted):
    X_new, _ = fitted.sample(y=np.zeros(20_001, dtype=int))
    assert len(np.unique(X_new[:, 0])) > 0.99 * len(X_new)
    assert np.isfinite(X_new).all()


# Variance, prior and noise


def test_zero_variance_gives_one_row_for_each_class(trained):
    labels = np.repeat([0, 1, 2], 1_000)
    generator = changed(trained, variance=0, noise=None, prior="standard")
    X_new, _ = generator.sample(y=labels)
    for code in range(3):
        rows = X_new[labels == code]
        np.testing.assert_allclose(rows, rows[:1].repeat(1_000, axis=0), atol=1e-6)
    assert len(np.unique(X_new[::1_000].round(3), axis=0)) == 3


def test_variance_scales_the_latents(small):
    # Twice the latents are twice the deviation, where the decoder is affine.
    generator = make_cvae(architecture=LinearBackbone, noise=None, net_params=None)
    generator.fit(*small)
    centre, once, twice = (generator.sample(50, variance=v)[0] for v in (0, 1, 4))
    np.testing.assert_allclose(twice - centre, 2 * (once - centre), atol=1e-5)
    assert np.abs(once - centre).max() > 0.1


def test_variance_scales_the_gaussian(small):
    generator = make_gaussian().fit(*small)
    centre, once, twice = (generator.sample(50, variance=v)[0] for v in (0, 1, 4))
    np.testing.assert_allclose(twice - centre, 2 * (once - centre), atol=1e-5)


def test_more_variance_gives_more_spread(trained):
    spreads = [
        trained.sample(y=np.zeros(2_000, dtype=int), variance=v)[0].std(axis=0).mean()
        for v in (0.25, 1, 4)
    ]
    assert spreads[0] < 0.8 * spreads[1] < 0.64 * spreads[2]


@pytest.mark.parametrize("variance", [{1: 0}, [1, 0, 1], np.array([1.0, 0.0, 1.0])])
def test_variance_of_each_class(fitted, variance):
    params = {"variance": variance}
    if isinstance(fitted, CVAE):
        params.update(noise=None, prior="standard")
    labels = np.repeat([0, 1, 2], 100)
    X_new, _ = changed(fitted, **params).sample(y=labels)
    spread = [X_new[labels == code].std(axis=0).max() for code in range(3)]
    assert spread[1] < 1e-6
    assert min(spread[0], spread[2]) > 0.01
    del params["variance"]
    by_call, _ = changed(fitted, **params).sample(y=labels, variance=variance)
    np.testing.assert_array_equal(by_call, X_new)


def test_variance_may_change_after_the_fit(fitted):
    narrow = changed(fitted, variance=0.01)
    np.testing.assert_array_equal(
        narrow.sample(50)[0], fitted.sample(50, variance=0.01)[0]
    )


@pytest.mark.parametrize(
    "params",
    [{"prior": "standard"}, {"noise": None}, {"variance": 0.3}, {"verbose": 1}],
)
def test_sampling_parameters_do_not_touch_training(params, small):
    plain, other = make_cvae().fit(*small), make_cvae(**params).fit(*small)
    assert same_weights(plain, other)
    late = changed(plain, **params).sample(50)[0]
    np.testing.assert_array_equal(late, other.sample(50)[0])
    if "verbose" not in params:
        assert np.abs(late - plain.sample(50)[0]).max() > 1e-3


def test_auto_variance_is_that_of_a_new_row_around_an_estimated_mean():
    # Many draws of a data set whose classes have few rows, and of one new row each.
    rng = np.random.RandomState(0)
    n_classes, n_rows, n_features = 400, 3, 10
    means = 2 * rng.normal(size=(n_classes, n_features))
    y = np.repeat(np.arange(n_classes), n_rows)
    X = means[y] + rng.normal(size=(len(y), n_features))
    generator = make_gaussian(variance="auto").fit(X, y)
    centres = generator.offset_ + generator.class_means_ * generator.scale_
    spread = np.mean((means + rng.normal(size=means.shape) - centres) ** 2)
    assert generator.mean_shrinkage_ == pytest.approx(1 / 4, rel=0.2)
    X_new, y_new = generator.sample(y=np.repeat(np.arange(n_classes), 50))
    drawn = np.mean((X_new - centres[y_new]) ** 2)
    assert drawn == pytest.approx(spread, rel=0.06)
    plain, _ = generator.sample(y=y_new, variance=1.0)
    ratio = drawn / np.mean((plain - centres[y_new]) ** 2)
    assert ratio == pytest.approx(1 + 1 / (3 + generator.mean_shrinkage_), rel=1e-5)


@MAKERS
def test_auto_variance_differs_by_class_size(make, small):
    generator = make().fit(*small)
    expected = 1 + 1 / (np.array([50, 30, 10]) + generator.mean_shrinkage_)
    labels = [0, 1, 2, 2]
    auto, _ = generator.sample(y=labels, variance="auto")
    given, _ = generator.sample(y=labels, variance=expected)
    np.testing.assert_array_equal(auto, given)
    generator.set_params(variance="auto")
    np.testing.assert_array_equal(generator.sample(y=labels)[0], given)


def test_full_covariances_are_those_of_the_classes_and_shrunk_where_rows_are_few():
    rng = np.random.RandomState(0)
    roots = rng.normal(size=(2, 4, 6))
    truth = roots @ roots.transpose(0, 2, 1)
    y = np.repeat([0, 1, 2], [3_000, 3_000, 5])
    X = np.einsum("nij,nj->ni", roots[np.minimum(y, 1)], rng.normal(size=(len(y), 6)))
    generator = make_gaussian(covariance_type="full").fit(X, y)
    X_new, y_new = generator.sample(y=np.repeat([0, 1, 2], 20_000))
    drawn = [np.cov(X_new[y_new == code].T) for code in range(3)]
    for code in range(2):
        error = np.abs(drawn[code] - truth[code]) / np.abs(truth[code]).max()
        assert error.max() < 0.1
    # Five rows say little: their class lies between its own and the covariance of all.
    pooled = X - np.array([X[y == code].mean(axis=0) for code in range(3)])[y]
    distance = np.linalg.norm(drawn[2] - np.cov(pooled.T))
    assert distance < 0.6 * np.linalg.norm(np.cov(X[y == 2].T) - np.cov(pooled.T))
    assert 1 <= generator.whitening_.k0 < 100


def test_full_covariances_of_equal_classes_are_the_tied_one():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [400, 400, 40])
    X = rng.normal(size=(len(y), 5)) @ rng.normal(size=(5, 5)) + y[:, None]
    labels = np.repeat([0, 1, 2], 20_000)
    drawn = [
        make_gaussian(covariance_type=kind).fit(X, y).sample(y=labels)[0]
        for kind in ("tied", "full")
    ]
    for code in range(3):
        tied, full = (np.cov(rows[labels == code].T) for rows in drawn)
        np.testing.assert_allclose(full, tied, atol=0.1 * np.abs(tied).max())


def test_rows_without_noise_lie_on_a_surface(small):
    generator = make_cvae(
        architecture=LinearBackbone, latent_dim=2, noise=None, net_params=None
    ).fit(*small)
    labels = np.zeros(200, dtype=int)

    def rank():
        X_new, _ = generator.sample(y=labels)
        return np.linalg.matrix_rank(X_new - X_new.mean(axis=0), tol=1e-3)

    assert rank() == 2
    generator.set_params(noise="residual")
    assert rank() == 5


def test_rows_without_noise_vary_less(trained):
    labels = np.zeros(5_000, dtype=int)
    plain, _ = changed(trained, noise=None).sample(y=labels)
    noisy, _ = trained.sample(y=labels)
    assert (plain.std(axis=0) < noisy.std(axis=0)).all()


def test_noise_has_the_correlations_that_one_latent_dimension_cannot_hold():
    rng = np.random.RandomState(0)
    expected = rng.normal(size=(8, 12))
    expected = correlation(expected @ expected.T)
    X = rng.multivariate_normal(np.zeros(8), expected, size=3_000)
    generator = make_cvae(latent_dim=1, net_params=None, max_epochs=10)
    X_new, _ = generator.fit(X, np.zeros(len(X), dtype=int)).sample(20_000)
    np.testing.assert_allclose(np.cov(X_new.T), expected, atol=0.12)


def test_rows_have_the_uneven_distances_from_the_centre_of_the_training_rows():
    # Half of the rows are narrow, half are wide: no Gaussian has such distances.
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1_000, 12)) * np.repeat([0.4, 1.6], 500)[:, None]
    y = np.zeros(len(X), dtype=int)

    def distance_from_the_truth(generator):
        X_new, _ = generator.fit(X, y).sample(4_000)
        norms = (np.linalg.norm(rows, axis=1) for rows in (X_new, X))
        return stats.ks_2samp(*norms).statistic

    cvae = make_cvae(latent_dim=4, net_params=None, max_epochs=40)
    assert distance_from_the_truth(make_gaussian()) > 0.4
    assert distance_from_the_truth(cvae) < 0.25


# Awkward data


def test_training_survives_rows_far_out():
    # Groups of features that are zero but in a few rows, as one-hot columns are.
    rng = np.random.RandomState(0)
    X = StandardScaler().fit_transform(rng.rand(300, 60) < 0.01)
    X, y = np.repeat(X, 10, axis=1), np.repeat([0, 1], [250, 50])
    params = {"latent_dim": 32, "batch_size": 256, "max_epochs": 60, "lr": 1e-2}
    wide = {"module__hidden_dim": 128}
    generator = make_cvae(**params, net_params=wide).fit(X, y)
    first, *_ = losses = generator.history_[:, "train_loss"]
    assert max(losses) < 2 * first
    unclipped = {**wide, "callbacks__gradient_clipping": None}
    generator = make_cvae(**params, net_params=unclipped).fit(X, y)
    assert max(generator.history_[:, "train_loss"]) > 20 * first


@MAKERS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_feature_stays_exactly_constant(make, dtype, small):
    X, y = small
    X = np.column_stack([X, np.full(len(X), 0.1)]).astype(dtype)
    X_new, _ = make().fit(X, y).sample(200)
    np.testing.assert_array_equal(X_new[:, -1], X[0, -1])
    assert (X_new[:, :-1].std(axis=0) > 0).all()


@MAKERS
@pytest.mark.parametrize("value", [0.1, 1e6])
def test_constant_rows_come_back(make, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        generator = make().fit(np.full((9, 3), value), np.arange(9) % 3)
        X_new, _ = generator.sample(20)
    np.testing.assert_array_equal(X_new, value)


@MAKERS
def test_nearly_constant_feature_stays_in_its_range(make, small):
    X, y = small
    wobble = 1e-12 * np.random.RandomState(0).uniform(size=len(X))
    X_new, _ = make().fit(np.column_stack([X, 1 + wobble]), y).sample(200)
    np.testing.assert_allclose(X_new[:, -1], 1, rtol=0, atol=1e-11)


@pytest.mark.parametrize("make", [make_cvae, make_reference])
def test_feature_that_was_constant_is_not_looked_at(make, small):
    X, y = small
    generator = make().fit(np.column_stack([X, np.ones(len(X))]), y)
    Z = generator.encode(np.column_stack([X, np.ones(len(X))]), y)
    other = generator.encode(np.column_stack([X, np.full(len(X), 1e6)]), y)
    np.testing.assert_array_equal(other, Z)


def test_classes_without_variance_keep_their_means():
    centres = np.random.RandomState(0).normal(size=(3, 5))
    y = np.repeat([0, 1, 2], 4)
    X_new, _ = make_gaussian().fit(centres[y], y).sample(y=[0, 1, 2])
    np.testing.assert_allclose(X_new, centres, atol=1e-6)


@pytest.mark.parametrize("make", [make_cvae, make_gaussian])
def test_features_of_different_scales_warn(make, small):
    X, y = small
    with pytest.warns(UserWarning, match="StandardScaler"):
        X_new, _ = make().fit(X * [1, 1, 1e5, 1, 1], y).sample(10)
    assert np.isfinite(X_new).all()


@MAKERS
def test_rows_of_zeros_are_counted(make, small):
    X, y = small
    X = X.copy()
    X[[3, 60]] = 0
    with pytest.warns(UserWarning, match="2 of 90 samples of X are all zeros"):
        make().fit(X, y)


@MAKERS
def test_ordinary_rows_do_not_warn(make, small):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        X_new, _ = make().fit(*small).sample(10)
    assert np.isfinite(X_new).all()


@MAKERS
def test_values_beyond_float32_are_refused_by_column(make, small):
    pandas = pytest.importorskip("pandas")
    X, y = small
    X = X.copy()
    X[4, 2] = 1e300
    with pytest.raises(ValueError, match=r"too large .* features \[2\]"):
        make().fit(X, y)
    with pytest.raises(ValueError, match=r"too large .* features \['c'\]"):
        make().fit(pandas.DataFrame(X, columns=list("abcde")), y)


@MAKERS
@pytest.mark.parametrize("exponent", [-40, -200])
def test_units_in_which_float32_sees_nothing_are_refused(make, exponent, small):
    X, y = small
    if make is make_reference:
        pytest.skip("scales by the range of each feature, which may be as small")
    with pytest.raises(ValueError, match="less than what float32 can tell from 0"):
        make().fit(X * 10.0**exponent, y)


@MAKERS
@pytest.mark.parametrize("exponent", [-30, 30])
def test_extreme_units_are_no_obstacle(make, exponent, small):
    X, y = small
    in_units, _ = make().fit(X, y).sample(500)
    X_new, _ = make().fit(X * 10.0**exponent, y).sample(500)
    np.testing.assert_allclose(X_new / 10.0**exponent, in_units, atol=1e-2)


@MAKERS
@pytest.mark.parametrize(
    "y", [[0, 0], [0, 1], [0, 1, 2, 3, 4], [0, 0, 0, 1], [5, 5, 5, 5, 5]]
)
@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_few_rows_are_enough(make, y):
    X = np.random.RandomState(0).normal(size=(len(y), 30))
    generator = make().fit(X, y)
    X_new, y_new = generator.sample(y=y)
    assert X_new.shape == X.shape
    assert np.isfinite(X_new).all()
    np.testing.assert_array_equal(
        generator.class_count_, np.unique(y, return_counts=True)[1]
    )
    np.testing.assert_array_equal(y_new, y)


@MAKERS
def test_one_row_is_too_few(make):
    with pytest.raises(ValueError, match="minimum of 2"):
        make().fit([[1.0, 2.0]], [0])


@pytest.mark.parametrize("n_samples", [2, 65, 90])
def test_large_architecture_trains_on_batches_of_any_size(n_samples, small):
    X, y = small
    generator = make_cvae(architecture="large", batch_size=64, max_epochs=2)
    X_new, _ = generator.fit(X[:n_samples], y[:n_samples]).sample(20)
    assert np.isfinite(X_new).all()
    assert len(generator.history_) == 2


@MAKERS
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.float16, np.float64),
        (np.int32, np.float64),
    ],
)
def test_dtype_of_the_rows(make, dtype, expected, small):
    X, y = small
    generator = make().fit((10 * X).astype(dtype), y)
    for X_new in (generator.sample(5)[0], generator.sample(0)[0]):
        assert X_new.dtype == expected


def read_only_file(X, path):
    X.tofile(path)
    return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)


@MAKERS
@pytest.mark.parametrize(
    "layout",
    [
        lambda X, path: np.asfortranarray(X),
        lambda X, path: np.ascontiguousarray(X[::-1])[::-1],
        lambda X, path: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
        lambda X, path: np.repeat(X, 2, axis=1)[:, ::2],
        read_only_file,
    ],
    ids=["Fortran", "rows reversed", "columns reversed", "strided", "memmap"],
)
def test_memory_layout_does_not_matter(make, layout, small, tmp_path):
    X, y = small
    expected, _ = make().fit(X, y).sample(50)
    other = layout(X, tmp_path / "X.bin")
    X_new, _ = make().fit(other, y).sample(50)
    np.testing.assert_array_equal(X_new, expected)
    np.testing.assert_array_equal(other, X)


@MAKERS
def test_fit_and_sample_leave_their_input_alone(make, small):
    X, y = (array.copy() for array in small)
    make().fit(X, y).sample(y=y)
    np.testing.assert_array_equal(X, small[0])
    np.testing.assert_array_equal(y, small[1])


# Threads, copies and files


def test_threads_may_sample_at_once(fitted):
    def sample(seed):
        return fitted.sample(9_000, random_state=seed)[0]

    expected = [sample(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        np.testing.assert_array_equal(list(threads.map(sample, range(4))), expected)


def test_threads_may_fit_at_once(small):
    def fit(seed):
        return make_cvae(random_state=seed, max_epochs=10).fit(*small)

    expected = [fit(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        actual = list(threads.map(fit, range(3)))
    assert all(map(same_weights, actual, expected))


@MAKERS
def test_failed_refit_leaves_nothing_behind(make, small):
    X, y = small
    generator = make().fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        generator.fit(np.where(X > 3, np.nan, X), y)
    assert fitted_attributes(generator) == []
    generator.fit(X, y).set_params(variance={"x": 1.0})
    with pytest.raises(ValueError, match="lacks"):
        generator.fit(X, y)
    with pytest.raises(NotFittedError):
        generator.sample(3)


@MAKERS
def test_refit_forgets_the_earlier_fit(make, small):
    X, y = small
    generator = make().fit(X[:60, :3], np.where(y, "one", "other")[:60]).fit(X, y)
    expected = make().fit(X, y)
    assert generator.n_features_in_ == 5
    np.testing.assert_array_equal(generator.classes_, [0, 1, 2])
    np.testing.assert_array_equal(generator.sample(20)[0], expected.sample(20)[0])


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))]
)
def test_copies_draw_the_same_rows(duplicate, fitted):
    other = duplicate(fitted)
    np.testing.assert_array_equal(other.sample(50)[0], fitted.sample(50)[0])
    assert fitted_attributes(other) == fitted_attributes(fitted)


def test_clone_is_unfitted_and_trains_the_same(fitted, small):
    other = clone(fitted)
    assert fitted_attributes(other) == []
    np.testing.assert_array_equal(other.fit(*small).sample(9)[0], fitted.sample(9)[0])


def test_tensors_live_in_the_net_only(fitted):
    tensors = []

    class Pickler(pickle.Pickler):
        def reducer_override(self, obj):
            if isinstance(obj, torch.Tensor):
                tensors.append(obj)
            return NotImplemented

    attributes = {k: v for k, v in vars(fitted).items() if k != "net_"}
    Pickler(io.BytesIO()).dump(attributes)
    assert tensors == []
    if isinstance(fitted, CVAE):
        net = fitted.net_
        assert {p.device.type for p in net.module_.state_dict().values()} == {"cpu"}
        assert not net.module_.training
        assert net.optimizer_ is None


@pytest.mark.parametrize("make", [make_cvae, make_gaussian])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pickle_holds_no_training_row(make, dtype, small):
    X, y = small
    X = X.astype(dtype)
    generator = make().fit(X, y)
    stored = pickle.dumps(generator)
    scaled = (X - generator.offset_) / generator.scale_
    for rows in (X, scaled, scaled - generator.class_means_[y]):
        for kind in (np.float32, np.float64):
            assert not any(row.tobytes() in stored for row in rows.astype(kind))


@pytest.mark.parametrize("make", [make_cvae, make_gaussian])
def test_size_of_the_pickle_does_not_grow_with_the_rows(make, factors):
    params = {"batch_size": 4_096} if make is make_cvae else {}
    sizes = []
    for rows in (slice(None, None, 20), slice(None)):
        generator = make(**params).fit(factors.X[rows], factors.y[rows])
        sizes.append(len(pickle.dumps(generator)))
    assert abs(sizes[1] - sizes[0]) < 200


def test_estimator_of_a_gpu_samples_on_a_machine_without(small, monkeypatch):
    generator = make_cvae().fit(*small)
    expected, _ = generator.sample(50)
    generator.device = "cuda"
    generator.device_ = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    loaded = pickle.loads(pickle.dumps(generator))
    np.testing.assert_array_equal(loaded.sample(50)[0], expected)
    assert loaded.encode(*small).shape == (90, 3)
