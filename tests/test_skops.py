"""Round trips through skops, which runs no code of a file and asks for each type."""

import copy
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import skops.io as skops
import timm
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.datasets import load_digits
from test_common import (
    CLOSED_FORM,
    EVERYTHING,
    PRIVATE_WITH_CLASSES,
    PRIVATE_WRAPPERS,
    PROBES,
    X,
    draw_again,
    for_each,
    y,
)
from torch import nn

from skcvae.embedding import FoundationEmbedder, TextEmbedder, ViewOverSampler
from skcvae.generators import (
    CVAE,
    VAE,
    ClassGaussian,
    FlowMatching,
    TableGenerator,
)
from skcvae.long_tail import LDAMLoss, LongTailClassifier, MLPHead
from skcvae.over_sampling import HeadTailFusionSampler

pytestmark = pytest.mark.filterwarnings(
    "ignore:The C?VAE uses none of its latent",
    "ignore:The generator has",
    "ignore:Generated samples are",
    "ignore:classes=None takes the labels",
    "ignore:For .* classes the noise",
    "ignore:.*needs a noise multiplier",
)

# Types of scikit-learn that skops asks for, as it does without skcvae.
OF_SKLEARN = {
    "DensityGenerator": {
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
    },
    "LogLinearPool": {"sklearn.utils._bunch.Bunch"},
}
SMALL = {"max_epochs": 1, "device": "cpu", "random_state": 0}
CVAE_SIZES = {"latent_dim": 3, "hidden_dim": 8}
NETS = [
    CVAE(**SMALL, latent_dim=3, architecture="large", hidden_dim=8),
    CVAE(**SMALL, **CVAE_SIZES, objective="reference"),
    CVAE(**SMALL, **CVAE_SIZES, noise=None, prior="standard"),
    VAE(**SMALL, **CVAE_SIZES, objective="reference"),
    FlowMatching(**SMALL, guidance=2.0, solver="dopri5", tol=0.1),
    LongTailClassifier(**SMALL, solver="sgd", head="mlp"),
    LongTailClassifier(**SMALL, solver="sgd", head="cosine"),
    LongTailClassifier(**SMALL, solver="sgd", loss="ldam"),
    LongTailClassifier(
        **SMALL, solver="sgd", head="mlp", net_params={"module__hidden_dim": 9}
    ),
]


def small_head(n_features, n_classes):
    return nn.Linear(n_features, n_classes)


class Backbone(nn.Module):
    """A backbone with random numbers that are no weights."""

    def __init__(self, n_features, n_classes, latent_dim):
        super().__init__()
        self.turn = torch.randn(n_features, latent_dim)
        self.out = nn.Linear(latent_dim, n_features)

    def encode(self, x, y):
        mean = x @ self.turn
        return mean, torch.zeros_like(mean)

    def decode(self, z, y):
        return self.out(z)


CUSTOM = [
    CVAE(**SMALL, latent_dim=2, architecture=Backbone),
    LongTailClassifier(**SMALL, solver="sgd", head=small_head),
    LongTailClassifier(**SMALL, solver="sgd", head=partial(MLPHead, hidden_dim=9)),
    LongTailClassifier(**SMALL, solver="sgd", loss=nn.CrossEntropyLoss()),
    LongTailClassifier(**SMALL, solver="sgd", loss=LDAMLoss([25, 10, 5])),
]


def round_trip(estimator):
    """Return a copy by skops, and the types it asked for."""
    stored = skops.dumps(estimator)
    types = set(skops.get_untrusted_types(data=stored))
    return skops.loads(stored, trusted=sorted(types)), types


@for_each([*EVERYTHING, *CLOSED_FORM, *PRIVATE_WITH_CLASSES, *PRIVATE_WRAPPERS, *NETS])
def test_loaded_estimators_draw_and_predict_the_same(estimator):
    fitted = clone(estimator).fit(X, y)
    loaded, types = round_trip(fitted)
    others = {name for name in types if not name.startswith("skcvae.")}
    assert others == OF_SKLEARN.get(type(estimator).__name__, set())
    if getattr(fitted, "random_state", None) is not None:
        assert_array_equal(draw_again(loaded), draw_again(fitted))
    # What a loaded estimator has, and says, is what the fitted one has.
    assert loaded.__getstate__().keys() == fitted.__getstate__().keys()
    assert round_trip(loaded)[1] == types
    for name in {"device_", "_output_dtype", "history_"} & vars(fitted).keys():
        assert getattr(loaded, name) == getattr(fitted, name)
        assert type(getattr(loaded, name)) is type(getattr(fitted, name))


@for_each(EVERYTHING)
def test_unfitted_estimators_need_no_other_types(estimator):
    loaded, types = round_trip(clone(estimator))
    assert all(name.startswith("skcvae.") for name in types)
    assert repr(loaded) == repr(estimator)


def test_embedders_are_stored_by_what_names_their_weights(tmp_path):
    weights = timm.create_model("test_vit").state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    images = np.random.RandomState(0).randint(255, size=(6, 32, 32, 3)).astype(np.uint8)
    embedder = FoundationEmbedder(
        "test_vit",
        weights=str(tmp_path / "weights.safetensors"),
        image_size=32,
        device="cpu",
    ).fit(images)
    loaded, types = round_trip(embedder)
    assert types == {"skcvae.embedding._embedder.FoundationEmbedder"}
    assert_array_equal(loaded.transform(images), embedder.transform(images))
    for other in (TextEmbedder("folder"), ViewOverSampler(random_state=0)):
        loaded, types = round_trip(other)
        assert len(types) == 1 and repr(loaded) == repr(other)
    with pytest.raises(TypeError, match="skops cannot store this FoundationEmbedder"):
        skops.dumps(FoundationEmbedder(nn.Identity()))


def test_parameters_may_change_between_fit_and_saving():
    fitted = [
        CVAE(**SMALL, **CVAE_SIZES).fit(X, y),
        LongTailClassifier(**SMALL, solver="sgd", head="mlp").fit(X, y),
    ]
    expected = fitted[0].encode(X, y), fitted[1].predict_proba(X)
    fitted[0].set_params(hidden_dim=16, architecture="large")
    fitted[1].set_params(head="cosine")
    for copied in (lambda e: round_trip(e)[0], copy.deepcopy):
        cvae, classifier = map(copied, fitted)
        assert_array_equal(cvae.encode(X, y), expected[0])
        assert_array_equal(classifier.predict_proba(X), expected[1])


def test_a_net_trained_on_coordinates_is_stored_with_features():
    wide = np.random.RandomState(0).normal(size=(40, 4000)).astype(np.float32)
    fitted = CVAE(**SMALL, **CVAE_SIZES).fit(wide, y)
    loaded, _ = round_trip(fitted)
    assert_array_equal(loaded.encode(wide, y), fitted.encode(wide, y))
    assert_array_equal(loaded.sample(y=y)[0], fitted.sample(y=y)[0])


def test_activation_maps_of_a_loaded_sampler_are_the_same():
    sampler = next(e for e in EVERYTHING if isinstance(e, HeadTailFusionSampler))
    fitted = clone(sampler).fit(X, y)
    loaded, _ = round_trip(fitted)
    assert_array_equal(loaded.encode(X), fitted.encode(X))
    assert_array_equal(loaded.activation_maps(X, y), fitted.activation_maps(X, y))


def test_loading_reads_and_changes_no_global_random_state():
    stored = skops.dumps(CVAE(**SMALL, **CVAE_SIZES).fit(X, y))
    types = skops.get_untrusted_types(data=stored)
    before = torch.random.get_rng_state()
    skops.loads(stored, trusted=types)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("estimator", CUSTOM)
def test_modules_of_the_user_are_pickled_and_refused_by_skops(estimator):
    fitted = clone(estimator).fit(X, y)
    with pytest.raises(TypeError, match=r"skops cannot store this .* save by joblib"):
        skops.dumps(fitted)
    for loaded in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert_array_equal(draw_again(loaded), draw_again(fitted))


@for_each(NETS)
def test_pickles_of_nets_are_the_same(estimator):
    fitted = clone(estimator).fit(X, y)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(draw_again(loaded), draw_again(fitted))
    assert repr(loaded.net_.module_) == repr(fitted.net_.module_)
    assert not loaded.net_.module_.training
    for name in ("predict_proba", "encode"):
        if hasattr(fitted, name):
            arguments = (PROBES,) if name == "predict_proba" else (X, y)
            expected = getattr(fitted, name)(*arguments)
            assert_array_equal(getattr(loaded, name)(*arguments), expected)


def run_code():
    raise AssertionError("code of a file was run")


class Exploit:
    def __reduce__(self):
        return run_code, ()


def test_a_file_that_asks_for_types_of_skcvae_only_runs_no_code():
    net = LongTailClassifier(**SMALL, solver="sgd").fit(X, y).net_
    code = pickle.dumps({"module_": Exploit()})
    # In this entry, skorch keeps a pickle.
    vars(net)["__cuda_dependent_attributes__"] = code
    loaded, types = round_trip(net)
    assert all(name.startswith("skcvae.") for name in types)
    assert isinstance(loaded.module_, nn.Module)
    del vars(net)["__cuda_dependent_attributes__"]
    state = net.__getstate__()
    for module in (print, dict, "builtins.exec"):
        with pytest.raises(ValueError, match="is not a module of skcvae or torch"):
            net.__setstate__({**state, "module": module})


def test_types_are_few_for_a_generator_in_closed_form():
    _, types = round_trip(ClassGaussian().fit(*load_digits(return_X_y=True)))
    assert types == {"skcvae.generators._class_gaussian.ClassGaussian"}


def test_a_table_of_pandas_is_refused_with_what_stores_it():
    labels = np.repeat([0, 1], 20)
    frame = pd.DataFrame({"a": np.linspace(0, 1, 40), "b": list("xy") * 20})
    generator = TableGenerator(random_state=0).fit(frame, labels)
    with pytest.raises(TypeError, match=r"fitted to a data frame.*joblib"):
        skops.dumps(generator)
    copied = pickle.loads(pickle.dumps(generator))
    pd.testing.assert_frame_equal(copied.sample()[0], generator.sample()[0])
    generator.fit(frame[["a"]].to_numpy(), labels)
    content = skops.dumps(generator)
    loaded = skops.loads(content, trusted=skops.get_untrusted_types(data=content))
    assert_array_equal(loaded.sample()[0], generator.sample()[0])
