"""What a private fit leaves behind, and how it ends, must tell of no sample."""

import logging
import pickle
import re
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import Memory
from numpy.testing import assert_allclose, assert_array_equal
from safetensors import safe_open
from scipy.stats import kstest
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from torch import nn

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer
from skcvae.generators import DPCVAE, ClassGaussian, DPClassGaussian
from skcvae.generators.private import _noise
from skcvae.generators.private._net import _make_clipping, build_private_net
from skcvae.generators.private._noise import SystemNoise
from skcvae.generators.private._statistics import NoiseLedger
from skcvae.over_sampling import GenerativeOverSampler

optimizers = pytest.importorskip("opacus.optimizers")

CLASSES = [0, 1, 2, 3]
RNG = np.random.RandomState(0)
CODES = np.repeat([0, 1, 2], [30, 20, 10])
X = 5 * np.eye(3, 5)[CODES] + RNG.normal(size=(60, 5))
Y = CODES.astype(object)


def make_gaussian(**params):
    return DPClassGaussian(**{"classes": CLASSES, "random_state": 0, **params})


def make_cvae(**params):
    defaults = {
        "classes": CLASSES,
        "latent_dim": 2,
        "hidden_dim": 4,
        "max_epochs": 2,
        "batch_size": 20,
        "device": "cpu",
        "random_state": 0,
    }
    return DPCVAE(**{**defaults, **params})


def make_cvae_anonymizer(random_state=0, **params):
    params = {"classes": CLASSES, "hidden_dim": 4, **params}
    return CVAEAnonymizer(
        epsilon=8.0,
        delta=1e-5,
        dp_params=params,
        latent_dim=2,
        max_epochs=2,
        batch_size=20,
        device="cpu",
        random_state=random_state,
    )


def make_anonymizer(random_state=0, **params):
    generator = make_gaussian(random_state=None, **params)
    return GenerativeAnonymizer(generator, random_state=random_state)


GENERATORS = [make_gaussian, make_cvae]
MAKERS = pytest.mark.parametrize(
    "make",
    [*GENERATORS, make_cvae_anonymizer, make_anonymizer],
    ids=lambda make: make.__name__,
)

# One more record: values, and label.
USUAL = [1.0, -1.0, 0.5, 2.0, 0.0]
RECORDS = {
    "usual": (USUAL, 1),
    "duplicate": (X[0], Y[0]),
    "zeros": ([0.0] * 5, 0),
    "NaN": ([np.nan, *USUAL[1:]], 0),
    "inf": ([np.inf, *USUAL[1:]], 0),
    "-inf": ([-np.inf] * 5, 0),
    "1e36": ([1e36] * 5, 0),
    "1e308": ([1e308, -1e308, 1e308, 0.0, 1e308], 0),
    "5e-324": ([5e-324] * 5, 0),
    "new class": (USUAL, 3),
    "unlisted": (USUAL, 9),
    "unlisted string": (USUAL, "0"),
    "unlisted float": (USUAL, 0.5),
    "None": (USUAL, None),
    "NaN label": (USUAL, np.nan),
    "NA label": (USUAL, pd.NA),
    "list as label": (USUAL, [0]),
    "NaN and unlisted": ([np.nan] * 5, 9),
}


def with_record(values, label):
    """Return the data set with one more record, labels as a list of objects."""
    labels = np.empty(len(Y) + 1, dtype=object)
    labels[:-1], labels[-1] = Y, label
    return np.vstack([X, values]), labels


# What a fitted object holds

COMMON = {
    "n_features_in_",
    "classes_",
    "class_count_",
    "class_means_",
    "mean_shrinkage_",
    "data_norm_",
    "offset_",
    "scale_",
    "privacy_",
    "_output_dtype",
}
_EMPTY = ("_fingerprints", "_distance_filter")
ALLOWED_OF_MODULES = {
    "training",
    "_is_full_backward_hook",
    "_parameters",
    "_buffers",
    "_modules",
    "hidden_dim",
    "in_features",
    "out_features",
    "num_embeddings",
    "embedding_dim",
    "norm_type",
    "scale_grad_by_freq",
    "sparse",
}
ALLOWED = {
    DPClassGaussian: COMMON | {"covariance_"},
    DPCVAE: COMMON | {"module_", "device_"},
    CVAEAnonymizer: {"generator_", "n_features_in_", *_EMPTY},
    GenerativeAnonymizer: {"generator_", "n_features_in_", *_EMPTY},
}
ATOMS = (str, int, float, bool, type(None), np.generic, np.dtype, torch.device)


def walk(value, path=""):
    """Yield path and content of all that is reachable from a fitted object.

    Fail where it is of a kind that is not known to hold nothing else.
    """
    if isinstance(value, ATOMS):
        yield path, repr(value)
    elif isinstance(value, np.ndarray):
        assert type(value) is np.ndarray, path
        # A view would keep all of what it was cut from.
        assert value.base is None or value.base.size == value.size, path
        assert value.dtype != object, path
        yield path, (value.dtype.str, value.shape, value.tolist())
    else:
        for name, item in parts_of(value, path):
            yield from walk(item, path + name)


def parts_of(value, path):
    """Return names and values of the parts of a container or object."""
    if isinstance(value, torch.Tensor):
        return parts_of_tensor(value, path)
    if isinstance(value, dict):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"[{i}]", item) for i, item in enumerate(value)]
    held = vars(value)
    if isinstance(value, nn.Module):
        assert type(value).__module__.split(".")[0] in ("skcvae", "torch"), path
        # Hooks and the like are empty.
        held = {n: v for n, v in held.items() if v or isinstance(v, bool)}
        known = ALLOWED_OF_MODULES
    else:
        held = {n: v for n, v in held.items() if n not in value.get_params(deep=False)}
        known = ALLOWED[type(value)]
    assert set(held) <= known, f"{path} has {sorted(set(held) - known)}"
    return [(f".{name}", item) for name, item in held.items()]


def parts_of_tensor(value, path):
    assert type(value) in (torch.Tensor, nn.Parameter), path
    assert not vars(value), f"{path} has {sorted(vars(value))}"
    assert value.grad is None and value.grad_fn is None, path
    assert not value._backward_hooks, path
    assert value.untyped_storage().nbytes() <= value.nbytes, path
    return [("", value.detach().numpy().copy())]


@MAKERS
@pytest.mark.parametrize("seed", [0, None])
@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_fitted_objects_hold_what_is_allowed_and_nothing_else(make, seed):
    fitted = make(random_state=seed).fit(X, Y)
    leaves = dict(walk(fitted))
    assert any("class_means_" in path for path in leaves)
    assert not any("_fingerprints" in path for path in leaves)
    restored = dict(walk(pickle.loads(pickle.dumps(fitted))))
    assert set(restored) == set(leaves) - {"._distance_filter"}


@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_walk_finds_what_must_not_be_there():
    def plant(change):
        fitted = make_cvae().fit(X, Y)
        change(fitted)
        with pytest.raises((AssertionError, KeyError, AttributeError)):
            dict(walk(fitted))

    weight = "backbone.decoder.out.weight"
    plant(lambda f: setattr(f, "n_batches_", 3))
    plant(lambda f: setattr(f, "scale_", X[0]))
    plant(lambda f: setattr(f, "data_norm_", StandardScaler().fit(X)))
    plant(lambda f: setattr(f.module_, "activations", [torch.ones(2)]))
    plant(lambda f: setattr(f.module_.get_parameter(weight), "summed_grad", X))
    plant(lambda f: setattr(f.module_.get_parameter(weight), "grad",
                            torch.ones(5, 4)))  # fmt: skip
    plant(lambda f: f.module_.register_forward_hook(lambda *_: None))


# Same seed, neighbouring data, and the same noisy outputs


class Tape:
    """Records the noisy outputs of a first fit, and plays them in later ones."""

    def __init__(self, monkeypatch):
        self._outputs, self._place = [], None
        for owner, name in (
            (NoiseLedger, "release"),
            (NoiseLedger, "release_symmetric"),
        ):
            monkeypatch.setattr(owner, name, self._wrap(getattr(owner, name)))
        owner = optimizers.DPOptimizerFastGradientClipping
        add_noise = owner.add_noise

        def replaced(optimizer):
            add_noise(optimizer)
            for parameter in optimizer.params:
                parameter.grad = self._play(parameter.grad)

        monkeypatch.setattr(owner, "add_noise", replaced)

    def _wrap(self, function):
        return lambda *args, **kwargs: self._play(function(*args, **kwargs))

    def _play(self, output):
        if self._place is None:
            self._outputs.append(output)
        else:
            output = self._outputs[self._place]
            self._place += 1
        return output.clone() if torch.is_tensor(output) else np.copy(output)[()]

    def rewind(self):
        assert self._place in (None, len(self._outputs))
        self._place = 0


@MAKERS
@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_only_noisy_outputs_tell_neighbouring_data_sets_apart(
    make, monkeypatch, tmp_path
):
    tape = Tape(monkeypatch)
    expected = everything_of(make().fit(X, Y), tmp_path)
    for record in (*RECORDS.values(), None):
        tape.rewind()
        data = (X[1:], Y[1:]) if record is None else with_record(*record)
        assert everything_of(make().fit(*data), tmp_path) == expected


def everything_of(fitted, folder):
    """Return what is in a fitted object, its pickle and its release."""
    anonymizer = fitted
    if not hasattr(fitted, "release"):
        anonymizer = GenerativeAnonymizer(FrozenEstimator(fitted)).fit(X, Y)
        anonymizer.generator_ = fitted
    path = anonymizer.release(folder / "a.safetensors", min_class_size=0)
    # The order of the entries is a random one.
    with safe_open(path, "numpy") as file:
        released = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        released["manifest"] = file.metadata()
    restored = pickle.loads(pickle.dumps(fitted))
    return [dict(walk(part)) for part in (fitted, restored, released)]


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_cache_entries_hold_noisy_outputs_only(make, monkeypatch, tmp_path):
    tape = Tape(monkeypatch)
    entries = []
    for i, data in enumerate([(X, Y), with_record(*RECORDS["new class"])]):
        if i:
            tape.rewind()
        memory = Memory(tmp_path / str(i), verbose=0)
        GenerativeAnonymizer(make(), memory=memory, random_state=0).fit(*data)
        (entry,) = (tmp_path / str(i)).rglob("output.pkl")
        entries.append(dict(walk(joblib.load(entry))))
    assert entries[0] == entries[1]


# How a fit ends


def outcome(make, data, caplog, capfd):
    """Return how a fit ended: warnings, error, log, output, attributes and shapes."""
    caplog.clear()
    error = shapes = None
    with (
        np.errstate(all="raise"),
        warnings.catch_warnings(record=True) as caught,
        caplog.at_level(logging.DEBUG),
    ):
        warnings.simplefilter("always")
        try:
            fitted = make().fit(*data)
            shapes = {p: v[:2] * isinstance(v, tuple) for p, v in walk(fitted)}
        except Exception as raised:
            error = type(raised), str(raised)
    said = {(w.category, re.sub(r"[\d.]+", "#", str(w.message))) for w in caught}
    return said, error, caplog.text, capfd.readouterr(), shapes


@MAKERS
@pytest.mark.parametrize("name", RECORDS)
def test_a_fit_ends_alike_with_any_record(make, name, caplog, capfd):
    expected = outcome(make, (X, Y), caplog, capfd)
    assert expected[1] is None
    assert outcome(make, with_record(*RECORDS[name]), caplog, capfd) == expected


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.parametrize("n_samples", [0, 1, 2])
def test_a_fit_ends_alike_with_any_number_of_samples(make, n_samples, caplog, capfd):
    expected = outcome(make, (X[:3], Y[:3]), caplog, capfd)
    assert expected[1] is None
    few = outcome(make, (X[:n_samples], Y[:n_samples]), caplog, capfd)
    assert few == expected


values = st.lists(st.floats(), min_size=5, max_size=5)
labels = st.one_of(st.sampled_from(CLASSES), st.none(), st.text(), st.floats())


@given(values, labels)
@settings(max_examples=200, deadline=None)
def test_a_fit_does_not_fail_for_any_record(record, label):
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "For .* classes the noise")
        fitted = make_gaussian().fit(*with_record(record, label))
        assert np.isfinite(fitted.sample(9)[0]).all()


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_replaced_values_and_dropped_labels_are_those_of_the_documentation(make):
    def means(values, label):
        return make().fit(*with_record(values, label)).class_means_

    assert_array_equal(
        means([np.nan, np.inf, -np.inf, 1.0, 1e300], 0),
        means([0.0, 0.0, 0.0, 1.0, 2.0**100], 0),
    )
    without = make().fit(X, Y).class_means_
    assert_array_equal(means(USUAL, 9), without)
    assert_array_equal(means([np.nan] * 5, None), without)
    assert not np.array_equal(means(USUAL, 0), without)


def test_a_label_of_another_type_leaves_the_others_as_they_are():
    # NumPy would make strings of all labels.
    labels = [*Y.tolist(), "0"]
    fitted = make_gaussian().fit(np.vstack([X, USUAL]), labels)
    assert_array_equal(fitted.class_count_, make_gaussian().fit(X, Y).class_count_)


@pytest.mark.filterwarnings("ignore:For .* classes")
def test_a_variance_for_each_class_does_not_depend_on_the_labels_that_occur():
    for data in ((X, Y), (X[:30], Y[:30]), with_record(USUAL, 9)):
        make_anonymizer(variance={3: 0.5}).fit(*data)
        with pytest.raises(ValueError, match="variance names classes"):
            make_anonymizer(variance={9: 0.5}).fit(*data)


@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_a_frozen_private_generator_takes_any_label():
    anonymizer = GenerativeAnonymizer(FrozenEstimator(make_gaussian().fit(X, Y)))
    anonymizer.fit(*with_record([np.nan] * 5, 9)).sample(5)


def test_private_estimators_and_their_wrappers_say_that_they_take_nan():
    private = make_gaussian()
    for estimator, expected in {
        private: True,
        make_cvae(): True,
        make_cvae_anonymizer(): True,
        CVAEAnonymizer(): False,
        GenerativeAnonymizer(private): True,
        GenerativeAnonymizer(FrozenEstimator(private)): True,
        GenerativeAnonymizer(): False,
        GenerativeAnonymizer(ClassGaussian()): False,
        GenerativeOverSampler(private): True,
        GenerativeOverSampler(): False,
    }.items():
        assert get_tags(estimator).input_tags.allow_nan == expected, estimator


@pytest.mark.filterwarnings("ignore:For .* classes")
def test_an_over_sampler_passes_on_what_is_not_finite():
    faulty = X.copy()
    faulty[3, 1] = np.nan
    faulty[4, 0] = 1e300
    sampler = GenerativeOverSampler(make_gaussian(classes=[0, 1, 2]))
    X_res, y_res = sampler.fit_resample(faulty, CODES)
    assert_array_equal(X_res[:60], faulty)
    assert np.isfinite(X_res[60:]).all()
    assert np.bincount(y_res).tolist() == [30] * 3


@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_an_anonymizer_returns_what_is_not_finite_unchanged():
    faulty, labels = with_record([np.nan] * 5, 0)
    anonymizer = make_anonymizer().fit(faulty, labels)
    assert_array_equal(anonymizer.transform(faulty), faulty)
    assert np.isfinite(anonymizer.fit_transform(faulty, labels)).all()


# Gradients


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_no_sample_makes_a_gradient_overflow():
    cvae = make_cvae(clip_norm=1.0, batch_size=1, latent_dim=4, hidden_dim=50)
    cvae.n_features_in_ = 64
    net = build_private_net(cvae, 3, torch.device("cpu"), 0.0, 1.0).initialize()
    net.on_train_begin(net)
    rng = torch.Generator().manual_seed(0)
    x = 16 * nn.functional.normalize(torch.randn(8, 64, generator=rng), dim=1)
    for scale in (1.0, 10.0, 1e3):
        with torch.no_grad():
            for parameter in net.module_.parameters():
                drawn = torch.randn(parameter.shape, generator=rng)
                parameter.copy_(scale * drawn.clamp(-1, 1))
        net.train_step(({"x": x, "y": torch.zeros(8, dtype=torch.long)}, x))
        norm = torch.cat([p.grad.ravel() for p in net.optimizer_.params]).norm()
        # Eight samples, each of norm 1 at most, over a batch size of 1.
        assert torch.isfinite(norm) and norm <= 8 * (1 + 1e-4)


def test_a_gradient_whose_norm_overflows_counts_for_nothing():
    module = nn.Linear(2, 1, bias=False)
    clipping = _make_clipping(module, 3.0)
    # Zero activations times infinite gradients are no number.
    module.weight._norm_sample = torch.tensor([np.nan, np.inf, 0.5, 6.0])
    assert_allclose(clipping.get_clipping_coef(), [0, 0, 1, 0.5], rtol=1e-6)


# Where noise comes from


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_without_a_seed_noise_and_batches_come_from_the_system(make, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("noise that can be computed again")

    monkeypatch.setattr(torch, "normal", forbidden)
    monkeypatch.setattr(torch, "rand", forbidden)
    monkeypatch.setattr(np.random, "default_rng", forbidden)
    make(random_state=None).fit(X, Y)
    with pytest.raises(AssertionError, match="computed again"):
        make(random_state=0).fit(X, Y)


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.filterwarnings("ignore:For .* classes", "ignore:epsilon=")
def test_with_a_seed_nothing_comes_from_the_system(make, monkeypatch):
    def forbidden(n_bytes):
        raise AssertionError("cannot be repeated")

    monkeypatch.setattr(_noise.os, "urandom", forbidden)
    make(random_state=0).fit(X, Y)


def test_system_noise_is_standard_normal():
    drawn = SystemNoise().standard_normal((300, 700))
    assert drawn.shape == (300, 700)
    assert kstest(drawn.ravel(), "norm").pvalue > 1e-6
    assert_allclose([drawn.mean(), drawn.std()], [0, 1], atol=0.02)
    neighbours = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.02
    assert SystemNoise().standard_normal(()).shape == ()
    assert SystemNoise().standard_normal((0, 3)).shape == (0, 3)


def test_system_noise_is_uniform_and_never_at_the_ends(monkeypatch):
    drawn = SystemNoise().random(200_000)
    assert kstest(drawn, "uniform").pvalue > 1e-6
    for byte in (b"\x00", b"\xff"):
        monkeypatch.setattr(_noise.os, "urandom", lambda n, byte=byte: byte * n)
        assert 0 < SystemNoise().random(1)[0] < 1
        assert np.isfinite(SystemNoise().standard_normal(3)).all()


def test_system_noise_sums_four_draws(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(_noise.os, "urandom", rng.bytes)
    found = SystemNoise().standard_normal(10)
    monkeypatch.setattr(_noise.os, "urandom", np.random.default_rng(0).bytes)
    uniform = SystemNoise().random((4, 10))
    assert_allclose(found, _noise.ndtri(uniform).sum(axis=0) / 2)
