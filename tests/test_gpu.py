"""What only a GPU can show; skipped where there is none."""

import pickle

import numpy as np
import pytest
import torch

from skcvae import CVAE, CVAEOverSampler

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:The CVAE uses none"),
]

_PARAMS = {
    "latent_dim": 3,
    "max_epochs": 5,
    "batch_size": 32,
    "random_state": 0,
    "net_params": {"module__hidden_dim": 16},
}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [100, 40, 20])
    X = 4 * np.eye(3, 6)[y] + rng.normal(size=(160, 2)) @ rng.normal(size=(2, 6))
    return (X + 0.3 * rng.normal(size=X.shape)).astype(np.float32), y


@pytest.fixture(scope="module", params=["small", "large"])
def fitted(request, rows):
    return CVAE(device="cuda", architecture=request.param, **_PARAMS).fit(*rows)


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


def test_auto_is_the_gpu(rows):
    assert CVAE(**_PARAMS).fit(*rows).device_.type == "cuda"


def test_same_seed_gives_the_same_bits(fitted, rows):
    again = CVAE(**fitted.get_params()).fit(*rows)
    np.testing.assert_array_equal(again.sample(500)[0], fitted.sample(500)[0])
    np.testing.assert_array_equal(fitted.sample(500)[0], fitted.sample(500)[0])


def test_global_random_states_are_left_alone(rows):
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    CVAE(device="cuda", **_PARAMS).fit(*rows).sample(10)
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
    on_gpu = fitted.encode(*rows)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = pickle.loads(stored)
    X_new, _ = loaded.sample(500)
    assert X_new.shape == (500, 6)
    assert np.isfinite(X_new).all()
    np.testing.assert_allclose(loaded.encode(*rows), on_gpu, rtol=1e-5, atol=1e-6)


def test_gpu_learns_what_the_cpu_learns(rows):
    losses = [
        CVAE(device=device, **{**_PARAMS, "max_epochs": 30})
        .fit(*rows)
        .history_[-1, "train_loss"]
        for device in ("cuda", "cpu")
    ]
    np.testing.assert_allclose(losses[0], losses[1], atol=0.5)


def test_losses_are_numbers_and_nan_is_refused(rows):
    generator = CVAE(device="cuda", **_PARAMS).fit(*rows)
    batches = generator.history_[:, "batches", :, "train_loss"]
    assert all(isinstance(loss, float) for epoch in batches for loss in epoch)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        generator.set_params(lr=1e20).fit(*rows)
    assert not hasattr(generator, "net_")


def test_over_sampler_trains_on_the_gpu(rows):
    sampler = CVAEOverSampler(device="cuda", **_PARAMS)
    X_resampled, y_resampled = sampler.fit_resample(*rows)
    assert sampler.generator_.device_.type == "cuda"
    np.testing.assert_array_equal(np.bincount(y_resampled), [100, 100, 100])
    np.testing.assert_array_equal(X_resampled[:160], rows[0])
