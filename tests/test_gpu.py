"""What only a GPU can show; skipped where there is none."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.dataset import ValidSplit

from skcvae import CVAE, DPCVAE, CVAEOverSampler, FlowMatching
from skcvae.generators import CGAN, VAE

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # Most are trained for five epochs.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

_COMMON = {"max_epochs": 5, "batch_size": 32, "random_state": 0}
_NET = {**_COMMON, "net_params": {"module__hidden_dim": 16}}
_PARAMS = {**_NET, "latent_dim": 3}
LIKELIHOOD = {
    "small CVAE": CVAE(**_PARAMS),
    "large CVAE": CVAE(architecture="large", **_PARAMS),
    # It learns where the classes are by training alone, which takes more of it.
    "VAE": VAE(
        **{**_COMMON, "max_epochs": 100},
        latent_dim=6,
        net_params={"module__hidden_dim": 64},
    ),
    "FlowMatching": FlowMatching(**_NET),
}
TRAINED = {**LIKELIHOOD, "CGAN": CGAN(**_PARAMS)}
# So little noise that what is learned can be compared with the rows.
PRIVATE = DPCVAE(epsilon=1e4, classes=[0, 1, 2], latent_dim=3, hidden_dim=16, **_COMMON)
GENERATORS = {**TRAINED, "DPCVAE": PRIVATE}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [100, 40, 20])
    X = 4 * np.eye(3, 6)[y] + rng.normal(size=(160, 2)) @ rng.normal(size=(2, 6))
    return (X + 0.3 * rng.normal(size=X.shape)).astype(np.float32), y


def build(generator, **params):
    """Return an unfitted copy; private ones need a package that may be missing."""
    if isinstance(generator, DPCVAE):
        pytest.importorskip("opacus", reason="needs skcvae[dp]")
    return clone(generator).set_params(**params)


def each(generators):
    return pytest.mark.parametrize("generator", generators.values(), ids=[*generators])


@pytest.fixture(scope="module", params=GENERATORS)
def fitted(request, rows):
    return build(GENERATORS[request.param], device="cuda").fit(*rows)


def gpu_tensors(estimator):
    """Return the tensors in a pickle that lie on a GPU."""
    found = []

    class Pickler(pickle.Pickler):
        def reducer_override(self, obj):
            if isinstance(obj, torch.Tensor) and obj.is_cuda:
                found.append(obj)
            return NotImplemented

    with open("/dev/null", "wb") as sink:
        Pickler(sink).dump(estimator)
    return found


def test_training_and_sampling_use_the_gpu(fitted, rows):
    assert fitted.device_.type == "cuda"
    torch.cuda.reset_peak_memory_stats()
    X_new, y_new = fitted.sample(5_000)
    assert torch.cuda.max_memory_allocated() > 0
    assert X_new.shape == (5_000, 6)
    assert X_new.dtype == np.float32
    assert np.isfinite(X_new).all()
    X, y = rows
    for code in range(3):
        drawn, real = X_new[y_new == code].mean(axis=0), X[y == code].mean(axis=0)
        np.testing.assert_allclose(drawn, real, atol=1.5)


@each(GENERATORS)
def test_auto_is_the_gpu(generator, rows):
    assert build(generator).fit(*rows).device_.type == "cuda"


def test_same_seed_gives_the_same_bits(fitted, rows):
    again = clone(fitted).fit(*rows)
    np.testing.assert_array_equal(again.sample(500)[0], fitted.sample(500)[0])
    np.testing.assert_array_equal(fitted.sample(500)[0], fitted.sample(500)[0])


@each(GENERATORS)
def test_global_random_states_are_left_alone(generator, rows):
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    build(generator, device="cuda").fit(*rows).sample(10)
    after = torch.get_rng_state(), torch.cuda.get_rng_state()
    assert all(map(torch.equal, before, after))


def test_no_tensor_stays_on_the_gpu(fitted):
    assert gpu_tensors(fitted) == []
    state = fitted.net_.module_.state_dict()
    assert {value.device.type for value in state.values()} == {"cpu"}


def test_pickle_draws_the_same_rows(fitted):
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.sample(500)[0], fitted.sample(500)[0])


def test_pickle_works_where_there_is_no_gpu(fitted, rows, monkeypatch):
    stored = pickle.dumps(fitted)
    # What runs on the CPU of either machine.
    method = next(
        (name for name in ("encode", "score_samples") if hasattr(fitted, name)), None
    )
    expected = getattr(fitted, method)(*rows) if method else None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = pickle.loads(stored)
    X_new, _ = loaded.sample(500)
    assert X_new.shape == (500, 6)
    assert np.isfinite(X_new).all()
    if method:
        again = getattr(loaded, method)(*rows)
        np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)


@each(LIKELIHOOD)
def test_gpu_learns_what_the_cpu_learns(generator, rows):
    losses = [
        build(generator, device=device, max_epochs=30)
        .fit(*rows)
        .history_[-1, "train_loss"]
        for device in ("cuda", "cpu")
    ]
    np.testing.assert_allclose(losses[0], losses[1], atol=0.5)


@each(TRAINED)
def test_losses_are_numbers_and_nan_is_refused(generator, rows):
    generator = build(generator, device="cuda").fit(*rows)
    batches = generator.history_[:, "batches", :, "train_loss"]
    assert all(isinstance(loss, float) for epoch in batches for loss in epoch)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        generator.set_params(lr=1e20).fit(*rows)
    assert not hasattr(generator, "net_")


def test_solvers_and_guidance_run_on_the_gpu(rows):
    flow = build(TRAINED["FlowMatching"], device="cuda").fit(*rows)
    midpoint = flow.set_params(n_steps=50).sample(500)[0]
    dopri5 = flow.set_params(solver="dopri5").sample(500)[0]
    np.testing.assert_allclose(midpoint, dopri5, atol=0.05)
    assert np.isfinite(flow.set_params(guidance=2.0).sample(500)[0]).all()


def test_validation_and_scores_of_a_cgan_run_on_the_gpu(rows):
    net_params = {**_PARAMS["net_params"], "train_split": ValidSplit(4)}
    gan = build(TRAINED["CGAN"], device="cuda", net_params=net_params).fit(*rows)
    losses = gan.history_[:, ("valid_loss", "valid_critic_loss")]
    assert np.isfinite(losses).all()
    assert np.isfinite(gan.score_samples(*rows)).all()


def test_privacy_costs_the_same_on_either_device(rows):
    spent = [
        build(PRIVATE, epsilon=50, device=device).fit(*rows).privacy_["epsilon"]
        for device in ("cuda", "cpu")
    ]
    assert spent[0] == spent[1]
    assert 0 < spent[0] <= 50


def test_over_sampler_trains_on_the_gpu(rows):
    sampler = CVAEOverSampler(device="cuda", **_PARAMS)
    X_resampled, y_resampled = sampler.fit_resample(*rows)
    assert sampler.generator_.device_.type == "cuda"
    np.testing.assert_array_equal(np.bincount(y_resampled), [100, 100, 100])
    np.testing.assert_array_equal(X_resampled[:160], rows[0])
