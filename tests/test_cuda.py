"""What only a GPU can show; skipped where there is none, but for one test."""

import importlib
import inspect
import os
import pickle
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from sklearn.base import clone
from skorch.dataset import ValidSplit

import skcvae
from skcvae import CVAE, DPCVAE, CVAEOverSampler, FlowMatching
from skcvae._devices import take_samples
from skcvae.anonymization import CVAEAnonymizer, load
from skcvae.embedding import FoundationEmbedder, TextEmbedder
from skcvae.generators import CGAN, VAE
from skcvae.long_tail import (
    KernelNeighborsClassifier,
    LogLinearPool,
    LongTailClassifier,
)
from skcvae.metrics import linear_probe
from skcvae.over_sampling import (
    HardOverSampler,
    HeadTailFusionSampler,
    LatentVariationOverSampler,
)
from skcvae.privacy import latent_search_attack, privacy_audit, shadow_attack

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)
# Most are trained for five epochs.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

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


@needs_cuda
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


@needs_cuda
@each(GENERATORS)
def test_auto_is_the_gpu(generator, rows):
    assert build(generator).fit(*rows).device_.type == "cuda"


@needs_cuda
def test_same_seed_gives_the_same_bits(fitted, rows):
    again = clone(fitted).fit(*rows)
    np.testing.assert_array_equal(again.sample(500)[0], fitted.sample(500)[0])
    np.testing.assert_array_equal(fitted.sample(500)[0], fitted.sample(500)[0])


@needs_cuda
@each(GENERATORS)
def test_global_random_states_are_left_alone(generator, rows):
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    build(generator, device="cuda").fit(*rows).sample(10)
    after = torch.get_rng_state(), torch.cuda.get_rng_state()
    assert all(map(torch.equal, before, after))


@needs_cuda
def test_no_tensor_stays_on_the_gpu(fitted):
    assert gpu_tensors(fitted) == []
    module = fitted.module_ if hasattr(fitted, "module_") else fitted.net_.module_
    state = module.state_dict()
    assert {value.device.type for value in state.values()} == {"cpu"}


@needs_cuda
def test_pickle_draws_the_same_rows(fitted):
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.sample(500)[0], fitted.sample(500)[0])


@needs_cuda
@each(LIKELIHOOD)
def test_gpu_learns_what_the_cpu_learns(generator, rows):
    losses = [
        build(generator, device=device, max_epochs=30)
        .fit(*rows)
        .history_[-1, "train_loss"]
        for device in ("cuda", "cpu")
    ]
    np.testing.assert_allclose(losses[0], losses[1], atol=0.5)


@needs_cuda
@each(TRAINED)
def test_losses_are_numbers_and_nan_is_refused(generator, rows):
    generator = build(generator, device="cuda").fit(*rows)
    batches = generator.history_[:, "batches", :, "train_loss"]
    assert all(isinstance(loss, float) for epoch in batches for loss in epoch)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        generator.set_params(lr=1e20).fit(*rows)
    assert not hasattr(generator, "net_")


@needs_cuda
def test_solvers_and_guidance_run_on_the_gpu(rows):
    flow = build(TRAINED["FlowMatching"], device="cuda").fit(*rows)
    midpoint = flow.set_params(n_steps=50).sample(500)[0]
    dopri5 = flow.set_params(solver="dopri5").sample(500)[0]
    np.testing.assert_allclose(midpoint, dopri5, atol=0.05)
    assert np.isfinite(flow.set_params(guidance=2.0).sample(500)[0]).all()


@needs_cuda
def test_validation_and_scores_of_a_cgan_run_on_the_gpu(rows):
    net_params = {**_PARAMS["net_params"], "train_split": ValidSplit(4)}
    gan = build(TRAINED["CGAN"], device="cuda", net_params=net_params).fit(*rows)
    losses = gan.history_[:, ("valid_loss", "valid_critic_loss")]
    assert np.isfinite(losses).all()
    assert np.isfinite(gan.score_samples(*rows)).all()


@needs_cuda
def test_privacy_costs_the_same_on_either_device(rows):
    spent = [
        build(PRIVATE, epsilon=50, device=device).fit(*rows).privacy_["epsilon"]
        for device in ("cuda", "cpu")
    ]
    assert spent[0] == spent[1]
    assert 0 < spent[0] <= 50


@needs_cuda
def test_over_sampler_trains_on_the_gpu(rows):
    sampler = CVAEOverSampler(device="cuda", **_PARAMS)
    X_resampled, y_resampled = sampler.fit_resample(*rows)
    assert sampler.generator_.device_.type == "cuda"
    np.testing.assert_array_equal(np.bincount(y_resampled), [100, 100, 100])
    np.testing.assert_array_equal(X_resampled[:160], rows[0])


# Every estimator and function that computes on a device


def classifier(**params):
    def compute(device, rows):
        fitted = LongTailClassifier(device=device, random_state=0, **params).fit(*rows)
        return fitted, fitted.predict_proba(rows[0])

    return compute


def generator(unfitted):
    def compute(device, rows):
        fitted = build(unfitted, device=device).fit(*rows)
        return fitted, class_means(*fitted.sample(y=np.repeat([0, 1, 2], 2_000)))

    return compute


def over_sampler(unfitted, *, on="device"):
    def compute(device, rows):
        fitted = clone(unfitted).set_params(**{on: device})
        X_new, y_new = fitted.fit_resample(*rows)
        return fitted, class_means(X_new[len(rows[1]) :], y_new[len(rows[1]) :])

    return compute


def class_means(X, y):
    return np.stack([X[y == label].mean(axis=0) for label in np.unique(y)])


def anonymizer(device, rows):
    fitted = CVAEAnonymizer(device=device, random_state=0, max_epochs=30)
    return fitted, class_means(fitted.fit_transform(*rows), rows[1])


def release(device, rows):
    fitted = CVAEAnonymizer(device="cpu", random_state=0, max_epochs=5).fit(*rows)
    with tempfile.TemporaryDirectory() as folder:
        path = fitted.release(f"{folder}/release.safetensors")
        loaded = load(path, device=device)
    y = np.repeat([0, 1, 2], 2_000)
    return None, class_means(*loaded.sample(y=y, random_state=0))


def embedder(device, rows):
    images = np.random.RandomState(0).randint(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = timm.create_model("test_vit")
    fitted = FoundationEmbedder(
        model, device=device, dtype="float32", preprocess=to_tensor
    )
    return fitted, fitted.fit_transform(images)


def to_tensor(image):
    pixels = np.array(image.resize((32, 32)), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


class CountingModel(torch.nn.Module):
    """Counts letters on the device of its weights."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(3))

    def encode(self, texts, **settings):
        counts = [[text.count(letter) for letter in "aot"] for text in texts]
        device = self.weight.device
        return torch.tensor(counts, dtype=torch.float32, device=device) @ self.weight


def text_embedder(device, rows):
    fitted = TextEmbedder(CountingModel(), device=device)
    return fitted, fitted.fit_transform(["a cat", "another cat", "a dog"])


def pool(device, rows):
    members = [
        ("head", LongTailClassifier(device=device)),
        ("neighbors", KernelNeighborsClassifier()),
    ]
    fitted = LogLinearPool(members, random_state=0).fit(*rows)
    return fitted, fitted.predict_proba(rows[0])


def probe(device, rows):
    X, y = rows
    result = linear_probe(
        (X, y), X, y, X, y, device=device, random_state=0, max_epochs=20
    )
    return None, np.array([result.accuracy])


def split(rows):
    X, y = rows
    return [part for start in range(3) for part in (X[start::3], y[start::3])]


def latent_search(device, rows):
    fitted = CVAE(device="cpu", max_epochs=5, random_state=0).fit(*rows)
    result = latent_search_attack(
        fitted, *split(rows)[:4], n_steps=20, device=device, random_state=0
    )
    return None, np.array([result.auc.value])


def shadows(device, rows):
    attacked = CVAE(device=device, **{**_COMMON, "max_epochs": 20})
    result = shadow_attack(attacked, *split(rows), n_shadows=4, random_state=0)
    return None, np.array([result.auc.value])


def audit(device, rows):
    fitted = CVAE(device=device, **_COMMON).fit(*split(rows)[:2])
    result = privacy_audit(fitted, *split(rows), random_state=0)
    return None, np.array([attack.result.auc.value for attack in result.attacks])


# What each public name computes, and how far the GPU may be from the CPU: draws are
# others there, and means of some thousand draws differ by about 0.2.
COMPUTED = {
    "LongTailClassifier": (classifier(), 1e-3),
    "LongTailClassifier, sgd": (classifier(solver="sgd", max_epochs=30), 0.15),
    "CVAE": (generator(LIKELIHOOD["small CVAE"]), 0.5),
    "CVAE, large": (generator(LIKELIHOOD["large CVAE"]), 0.5),
    "VAE": (generator(LIKELIHOOD["VAE"]), 1.5),
    "CGAN": (generator(TRAINED["CGAN"]), 0.5),
    "FlowMatching": (generator(LIKELIHOOD["FlowMatching"]), 0.5),
    "DPCVAE": (generator(PRIVATE), 1.5),
    "CVAEOverSampler": (over_sampler(CVAEOverSampler(**_PARAMS)), 1.0),
    "HardOverSampler": (
        over_sampler(HardOverSampler(TRAINED["small CVAE"]), on="generator__device"),
        1.0,
    ),
    "LatentVariationOverSampler": (
        over_sampler(
            LatentVariationOverSampler(TRAINED["small CVAE"]), on="generator__device"
        ),
        1.0,
    ),
    "HeadTailFusionSampler": (
        over_sampler(
            HeadTailFusionSampler(n_generations=1, interaction_steps=20, random_state=0)
        ),
        1.5,
    ),
    "CVAEAnonymizer": (anonymizer, 1.0),
    "Release": (release, 0.3),
    "load": (release, 0.3),
    "FoundationEmbedder": (embedder, 1e-3),
    "TextEmbedder": (text_embedder, 1e-5),
    "LogLinearPool": (pool, 1e-2),
    "linear_probe": (probe, 0.02),
    "latent_search_attack": (latent_search, 0.05),
    "shadow_attack": (shadows, 0.3),
    "privacy_audit": (audit, 0.3),
}


def each_computed(names=COMPUTED):
    return pytest.mark.parametrize("name", names)


def run(name, device, rows):
    """Return a fitted estimator or None, and an array."""
    if name in ("DPCVAE",):
        pytest.importorskip("opacus", reason="needs skcvae[dp]")
    return COMPUTED[name][0](device, rows)


def public_names_with_a_device():
    """Return the names of the public classes and functions that take `device`."""
    names = set()
    for package in pkgutil.iter_modules(skcvae.__path__, "skcvae."):
        if package.ispkg and not package.name.endswith(".cli"):
            module = importlib.import_module(package.name)
            for name in module.__all__:
                public = getattr(module, name)
                if (
                    callable(public)
                    and "device" in inspect.signature(public).parameters
                ):
                    names.add(name)
    return names


def test_the_table_holds_all_that_take_a_device():
    # The device of a report is that of its linear probe. An autoencoder needs weights:
    # see test_latent_autoencoder.py.
    apart = {"report", "LatentAutoencoder"}
    assert public_names_with_a_device() - apart <= set(COMPUTED)


# Runs anywhere, so that the table itself is known to work.
@each_computed()
def test_results_are_arrays_of_finite_numbers(name, rows):
    fitted, found = run(name, "cpu", rows)
    assert type(found) is np.ndarray
    assert np.isfinite(found).all()
    if fitted is not None:
        pickle.dumps(fitted)


@needs_cuda
@each_computed()
def test_gpu_and_cpu_agree_and_a_seed_gives_the_same_bits(name, rows):
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    _, found = run(name, "cuda", rows)
    _, again = run(name, "cuda", rows)
    after = torch.get_rng_state(), torch.cuda.get_rng_state()
    assert all(map(torch.equal, before, after))
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(again, found)
    _, expected = run(name, "cpu", rows)
    np.testing.assert_allclose(found, expected, atol=COMPUTED[name][1])


LOAD = """
import pickle, sys
import numpy as np, torch
assert not torch.cuda.is_available()
with open(sys.argv[1], "rb") as file:
    fitted, X, y = pickle.load(file)
if hasattr(fitted, "predict_proba"):
    assert np.isfinite(fitted.predict_proba(X)).all()
if hasattr(fitted, "sample"):
    assert np.isfinite(fitted.sample(100)[0]).all()
    for name in ("encode", "score_samples"):
        if hasattr(fitted, name):
            assert np.isfinite(getattr(fitted, name)(X, y)).all()
"""


@needs_cuda
@each_computed(
    [
        *("LongTailClassifier", "LongTailClassifier, sgd", "LogLinearPool"),
        *("CVAE", "VAE", "CGAN", "FlowMatching", "DPCVAE", "CVAEAnonymizer"),
        *("CVAEOverSampler", "HardOverSampler", "HeadTailFusionSampler"),
    ]
)
def test_pickles_load_and_work_where_there_is_no_gpu(name, rows, tmp_path):
    fitted, _ = run(name, "cuda", rows)
    assert gpu_tensors(fitted) == []
    (tmp_path / "fitted.pkl").write_bytes(pickle.dumps((fitted, *rows)))
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", LOAD, str(tmp_path / "fitted.pkl")]
    root = Path(skcvae.__file__).parents[1]
    subprocess.run(command, check=True, env=environment, cwd=root)


@needs_cuda
@each_computed(
    [
        *("CVAE", "CGAN", "FlowMatching", "DPCVAE"),
        *("LongTailClassifier, sgd", "HeadTailFusionSampler"),
    ]
)
def test_samples_for_which_the_gpu_is_too_small_are_streamed(name, rows, monkeypatch):
    _, expected = run(name, "cuda", rows)
    streamed = []

    def take(x, places, device):
        streamed.append(x.device.type)
        return take_samples(x, places, device)

    monkeypatch.setattr("skcvae._devices.free_memory", lambda device: 0)
    for module in ("_training", "generators.private._net", "long_tail._batches"):
        monkeypatch.setattr(f"skcvae.{module}.take_samples", take)
    _, found = run(name, "cuda", rows)
    assert set(streamed) == {"cpu"}
    np.testing.assert_array_equal(found, expected)


@needs_cuda
@each({name: TRAINED[name] for name in ("small CVAE", "large CVAE", "FlowMatching")})
def test_bf16_trains_on_the_gpu(generator, rows):
    losses = [
        build(generator, device="cuda", max_epochs=30)
        .set_params(net_params={**_NET["net_params"], "precision": precision})
        .fit(*rows)
        .history_[-1, "train_loss"]
        for precision in ("float32", "bf16")
    ]
    np.testing.assert_allclose(losses[1], losses[0], atol=0.5)
