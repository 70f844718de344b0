"""FoundationEmbedder: same result as timm, weights, cache, failures, pipelines."""

import os
import pickle
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import check_param_validation
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from timm.data import create_transform, resolve_model_data_config

from skcvae.embedding import FoundationEmbedder, _backbone, _embedder
from skcvae.over_sampling import CVAEOverSampler

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SKCVAE_DATA", ROOT.parent / "shared" / "data")).parent
VIT = SHARED / "weights" / "vit_tiny_patch16_224.safetensors"
CLOTHING = SHARED / "data" / "clothing"

# Small images of a small model.
SIZE = 32
MALICIOUS = "import pathlib; pathlib.Path({!r}).touch()"


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Random weights of test_vit, and others, in files."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("test_vit", "test_vit2", "resnet18"):
        with torch.random.fork_rng([]):
            torch.manual_seed(len(name))
            state = timm.create_model(name).state_dict()
        if name != "resnet18":
            # With the initial weights of timm, embeddings hardly depend on the image.
            state = {k: v * 4 if v.ndim == 2 else v for k, v in state.items()}
        save_file(state, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Ten small photos of two classes, dark and bright, in several formats."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.RandomState(0)
    paths = []
    for i in range(10):
        pixels = rng.randint(0, 128, (30 + 3 * i, 50 - 2 * i, 3)) + 120 * (i % 2)
        paths.append(str(folder / f"{i}.{('png', 'bmp', 'webp')[i % 3]}"))
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def make(weights):
    """Return a function that makes an embedder of test_vit."""

    def make_embedder(name="test_vit", **params):
        params = {
            "weights": weights / f"{name}.safetensors",
            "image_size": SIZE if name == "test_vit" else 64,
            "device": "cpu",
            **params,
        }
        return FoundationEmbedder(name, **params)

    return make_embedder


@pytest.fixture
def forwards(monkeypatch):
    """List the sizes of the batches that the model sees, but for those of one probe."""
    sizes = []
    embed_batch = _embedder.embed_batch

    def counted(model, images, *args):
        sizes.append(len(images))
        return embed_batch(model, images, *args)

    monkeypatch.setattr(_embedder, "embed_batch", counted)
    return sizes


def timm_model(name, path, size=None, **settings):
    """Return a model of timm and its transform, made by hand."""
    model = timm.create_model(
        name,
        pretrained=True,
        num_classes=0,
        pretrained_cfg_overlay={"file": str(path)},
        **settings,
    ).eval()
    config = resolve_model_data_config(model)
    if size is not None:
        config["input_size"] = (3, size, size)
    return model, create_transform(**config, is_training=False)


def timm_batch(paths, transform):
    return torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])


@pytest.fixture(scope="session")
def vit(weights, photos):
    """test_vit and the batch of all photos, by hand."""
    path = weights / "test_vit.safetensors"
    model, transform = timm_model("test_vit", path, size=SIZE, img_size=SIZE)
    return model, timm_batch(photos, transform)


@pytest.fixture(scope="session")
def expected(vit):
    """The embeddings of the photos, computed with timm alone."""
    model, batch = vit
    with torch.no_grad():
        return torch.cat([model(image[None]) for image in batch]).numpy()


# Equal to timm


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_embeddings_equal_those_of_timm(
    make, photos, expected, batch_size, num_workers
):
    embedder = make(batch_size=batch_size, num_workers=num_workers)
    rows = embedder.fit_transform(photos)
    assert rows.dtype == np.float32
    assert np.ptp(expected, axis=0).min() > 0.1
    assert_allclose(rows, expected, atol=1e-5)


def test_pooling_of_tokens_equals_timm(make, photos, vit):
    model, batch = vit
    with torch.no_grad():
        tokens = model.forward_features(batch).numpy()
    token, patches = tokens[:, 0], tokens[:, 1:]
    poolings = {
        "token": token,
        "mean": patches.mean(axis=1),
        "token_mean": np.hstack([token, patches.mean(axis=1)]),
        "map": patches,
    }
    for pooling, rows in poolings.items():
        drawn = make(pooling=pooling).fit_transform(photos)
        assert_allclose(drawn, rows, atol=1e-5, err_msg=pooling)


def test_layers_are_pooled_and_joined_in_the_models_order(make, photos, vit):
    model, batch = vit
    with torch.no_grad():
        outputs = model.forward_intermediates(
            batch,
            indices=[1, 5],
            norm=True,
            return_prefix_tokens=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
    token = np.hstack([prefix[:, 0].numpy() for _, prefix in outputs])
    mean = np.hstack([grid.mean(dim=1).numpy() for grid, _ in outputs])
    for layers in ([1, -1], (5, 1), np.array([1, 5])):
        drawn = make(pooling="token", layers=layers).fit_transform(photos)
        assert_allclose(drawn, token, atol=1e-5)
    assert_allclose(
        make(pooling="mean", layers=[1, 5]).fit_transform(photos), mean, atol=1e-5
    )
    last = make(pooling="token_mean", layers=[-1]).fit_transform(photos)
    assert_allclose(last, make(pooling="token_mean").fit_transform(photos), atol=1e-5)


def test_convolutional_models_pool_their_map(make, weights, photos):
    model, transform = timm_model("resnet18", weights / "resnet18.safetensors", size=64)
    batch = timm_batch(photos[:3], transform)
    with torch.no_grad():
        grid = model.forward_features(batch).numpy()
        early = model.forward_intermediates(
            batch, indices=[2], intermediates_only=True
        )[0].numpy()
    assert grid.shape == (3, 512, 2, 2)

    def rows(**params):
        return make("resnet18", **params).fit_transform(photos[:3])

    assert_allclose(rows(), grid.mean(axis=(2, 3)), atol=1e-4)
    assert_allclose(rows(pooling="mean"), grid.mean(axis=(2, 3)), atol=1e-4)
    assert_allclose(rows(pooling="map"), grid, atol=1e-4)
    joined = rows(pooling="mean", layers=[2, -1])
    assert_allclose(joined[:, 128:], grid.mean(axis=(2, 3)), atol=1e-4)
    assert_allclose(joined[:, :128], early.mean(axis=(2, 3)), atol=1e-4)
    for layers in (None, [2]):
        with pytest.raises(ValueError, match="class token"):
            rows(pooling="token", layers=layers)


def test_image_size_is_that_of_the_model_by_default(make, weights, photos):
    path = weights / "test_vit.safetensors"
    model, transform = timm_model("test_vit", path)
    batch = timm_batch(photos[:2], transform)
    assert batch.shape[2:] == (160, 160)
    rows = make(image_size=None).fit_transform(photos[:2])
    with torch.no_grad():
        assert_allclose(rows, model(batch).numpy(), atol=1e-5)


@pytest.mark.skipif(
    not (VIT.exists() and CLOTHING.exists()),
    reason="needs weights/vit_tiny_patch16_224.safetensors and data/clothing beside "
    "each other: set SKCVAE_DATA to data",
)
def test_embeddings_of_the_real_vit_equal_those_of_timm_and_tell_clothes_apart():
    paths = [
        str(path)
        for label in ("hat", "pants")
        for path in sorted((CLOTHING / "train" / label).iterdir())[:4]
    ]
    name = "vit_tiny_patch16_224"
    model, transform = timm_model(name, VIT)
    with torch.no_grad():
        expected = model(timm_batch(paths, transform)).numpy()
    rows = FoundationEmbedder(name, weights=VIT, batch_size=3).fit_transform(paths)
    assert_allclose(rows, expected, atol=1e-5 * np.abs(expected).max())
    # The nearest other photo by cosine is one of the same class.
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    nearest = (unit @ unit.T - 2 * np.eye(8)).argmax(axis=1)
    assert (nearest // 4 == np.arange(8) // 4).mean() >= 0.75


# Weights


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_checkpoints_of_plain_tensors_give_the_same_embeddings(
    make, weights, photos, expected, tmp_path, wrap
):
    state = _backbone.load_file(weights / "test_vit.safetensors")
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "w.pth")
    rows = make(weights=str(tmp_path / "w.pth")).fit_transform(photos)
    assert_allclose(rows, expected, atol=1e-5)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return exec, (MALICIOUS.format(self.path),)


@pytest.mark.parametrize("save", [torch.save, pickle.dump])
def test_code_in_weights_is_not_run(make, photos, tmp_path, save):
    trap, path = tmp_path / "trap", tmp_path / "w.pth"
    if save is torch.save:
        torch.save({"state_dict": Malicious(trap)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(trap), protocol=2))
    with pytest.raises(ValueError, match=r"w.pth.*would run code"):
        make(weights=path).fit_transform(photos)
    assert not trap.exists()
    # The trap works.
    if save is torch.save:
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert trap.exists()


def test_weights_of_another_model_are_refused(make, weights, photos):
    for name, file in (("test_vit", "resnet18"), ("resnet18", "test_vit2")):
        path = weights / f"{file}.safetensors"
        with pytest.raises(ValueError, match=f"{file}.*do not fit.*'{name}'"):
            make(name, weights=path).fit(photos)


def test_weights_that_miss_a_tensor_are_refused(make, weights, photos, tmp_path):
    state = _backbone.load_file(weights / "test_vit.safetensors")
    del state["blocks.3.norm1.weight"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"1 of .*missing.*'blocks.3.norm1.weight'"):
        make(weights=tmp_path / "w.safetensors").fit(photos)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_that_are_no_weights_are_refused(make, photos, tmp_path, name):
    path = tmp_path / name
    with pytest.raises(FileNotFoundError, match=f"weights=.*{name}' is not a file"):
        make(weights=path).fit(photos)
    path.write_text("a page that says: not found")
    with pytest.raises(ValueError, match=name):
        make(weights=path).fit(photos)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match=name):
        make(weights=path).fit(photos)


def test_weights_that_are_exchanged_are_read_again(make, weights, photos, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes((weights / "test_vit.safetensors").read_bytes())
    embedder = make(weights=path, memory=tmp_path / "cache")
    before = embedder.fit_transform(photos[:2])
    state = _backbone.load_file(path)
    state["pos_embed"] = state["pos_embed"].flip(1)
    save_file(state, path)
    os.utime(path, (1, 1))
    assert np.abs(embedder.transform(photos[:2]) - before).max() > 1e-3


def test_unknown_models_are_refused(make, weights, photos):
    for path in (None, weights / "test_vit.safetensors"):
        with pytest.raises(ValueError, match="timm has no model 'no_such_vit'"):
            FoundationEmbedder("no_such_vit", weights=path).fit(photos)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"layers": [6]}, r"layers=\[6\].*out of range"),
        ({"layers": []}, r"layers=\[\]"),
        ({"layers": ["a"]}, "layers"),
        ({"image_size": 40}, r"\(40, 40\) pixels.*divisible by patch size"),
        ({"device": "nonsense"}, "device"),
        ({"pooling": "map", "memory": "cache"}, "memory keeps one vector"),
    ],
)
def test_settings_that_the_model_refuses_are_refused_by_fit(
    make, photos, params, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        make(**params).fit(photos)


# Network


def refuse(*args, **kwargs):
    raise AssertionError("the network was touched")


def test_no_network_is_touched_with_weights(make, photos, expected, monkeypatch):
    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    _backbone.load_backbone.cache_clear()
    assert_allclose(make().fit_transform(photos), expected, atol=1e-5)


class ConnectError(Exception):
    """As that of httpx, which is no OSError."""


ConnectError.__module__ = "httpx"


@pytest.mark.parametrize(
    "error", [OSError("no route"), ConnectError("no route")], ids=["OSError", "httpx"]
)
def test_a_download_that_fails_says_how_to_give_weights(photos, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    with pytest.raises(OSError, match=r"no route[\s\S]*weights='model.safetensors'"):
        FoundationEmbedder("test_vit").fit(photos)


def test_offline_with_an_empty_cache_says_how_to_give_weights(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    with pytest.raises(OSError, match="'test_vit' could not be downloaded") as caught:
        FoundationEmbedder("test_vit").fit(photos)
    assert "FoundationEmbedder(weights='model.safetensors')" in str(caught.value)
    for option in ("--weights", "--model", "HF_HUB_OFFLINE=1"):
        assert option in str(caught.value)


# The model


@pytest.fixture
def builds(monkeypatch):
    """List the names of models that are built."""
    _backbone.load_backbone.cache_clear()
    names = []
    create_model = timm.create_model

    def counted(name, **settings):
        names.append(name)
        return create_model(name, **settings)

    monkeypatch.setattr(timm, "create_model", counted)
    return names


def test_the_model_is_built_at_first_use_and_once(make, builds, photos):
    embedder = clone(make())
    assert builds == []
    embedder.fit(photos)
    clone(embedder).fit(photos).transform(photos)
    pipeline = make_pipeline(clone(embedder), LogisticRegression())
    cross_val_score(pipeline, photos, [0, 1] * 5, cv=2)
    assert builds == ["test_vit"]


def test_transform_builds_the_model_without_fit(make, builds, photos, expected):
    assert_allclose(make().transform(photos), expected, atol=1e-5)
    assert builds == ["test_vit"]


def test_the_model_is_frozen_and_in_evaluation_mode(make, photos):
    seen = []
    embedder = make().fit(photos)
    model = embedder._backbone().model
    handle = model.register_forward_hook(
        lambda *_: seen.append((model.training, torch.is_grad_enabled()))
    )
    embedder.transform(photos)
    handle.remove()
    assert set(seen) == {(False, False)}
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_pickle_is_small_and_gives_the_same_embeddings(make, photos, expected):
    embedder = make(on_error="nan").fit(photos)
    embedder.transform(photos)
    data = pickle.dumps(embedder)
    assert len(data) < 2000
    _backbone.load_backbone.cache_clear()
    assert_allclose(pickle.loads(data).transform(photos), expected, atol=1e-5)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_global_random_states_are_left_alone(make, photos, num_workers, random_states):
    _backbone.load_backbone.cache_clear()
    before = random_states()
    make(num_workers=num_workers).fit_transform(photos[:3])
    assert random_states() == before


def test_threads_get_the_same_embeddings(make, photos, expected):
    _backbone.load_backbone.cache_clear()
    embedder = make(batch_size=2)
    with ThreadPoolExecutor(2) as pool:
        for rows in pool.map(lambda _: embedder.transform(photos), range(4)):
            assert_allclose(rows, expected, atol=1e-5)


def test_lower_precision_is_close_and_still_float32(make, photos, expected):
    rows = make(dtype="bfloat16").fit_transform(photos)
    assert rows.dtype == np.float32
    error = np.abs(rows - expected).max()
    assert 1e-5 < error < 0.1 * np.abs(expected).max()


# scikit-learn


def test_pandas_output_has_names(make, photos, expected):
    embedder = make().set_output(transform="pandas")
    frame = embedder.fit_transform(photos)
    assert isinstance(frame, pd.DataFrame)
    names = [f"foundationembedder{i}" for i in range(64)]
    assert list(frame.columns) == names == list(embedder.get_feature_names_out())
    assert_allclose(frame.to_numpy(), expected, atol=1e-5)
    double = make(pooling="token_mean").fit(photos).get_feature_names_out()
    assert len(double) == 128


def test_names_are_those_of_the_last_run_and_maps_have_none(make, photos):
    embedder = make()
    with pytest.raises(NotFittedError):
        embedder.get_feature_names_out()
    frame = embedder.set_output(transform="pandas").transform(photos)
    assert frame.columns[-1] == "foundationembedder63"
    with pytest.raises(ValueError, match="have no names"):
        make(pooling="map").fit(photos).get_feature_names_out()


@pytest.mark.parametrize("weights", [None, "no_such_file.safetensors"])
def test_the_view_of_a_notebook_builds_no_model(make, builds, weights):
    embedder = FoundationEmbedder("test_vit", weights=weights)
    for shown in (embedder, make_pipeline(embedder, LogisticRegression())):
        assert "test_vit" in shown._repr_html_()
    assert "transform" in dir(embedder)
    assert builds == []


@pytest.mark.parametrize("pooling", ["mean", "map"])
def test_a_fitted_embedder_can_be_shown_where_its_model_is_not(
    make, builds, photos, pooling
):
    embedder = pickle.loads(pickle.dumps(make(pooling=pooling).fit(photos)))
    _backbone.load_backbone.cache_clear()
    builds.clear()
    html = embedder._repr_html_()
    assert ("foundationembedder63" in html) == (pooling == "mean")
    assert "transform" in dir(embedder)
    assert builds == []


def test_series_keep_their_index_in_pandas_output(make, photos):
    series = pd.Series(photos, index=list("abcdefghij")[::-1])
    frame = make().set_output(transform="pandas").fit_transform(series)
    assert list(frame.index) == list(series.index)


CONTAINERS = {
    "list": list,
    "array": np.array,
    "series": lambda paths: pd.Series(paths, index=range(100, 100 + len(paths))),
    "frame": lambda paths: pd.DataFrame({"path": paths}),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")
def test_pipeline_from_paths_to_classes(make, photos, container, one_thread_per_worker):
    X, y = CONTAINERS[container](photos * 3), np.array([0, 1] * 15)
    keep = [i for i in range(30) if y[i] == 0 or i < 20]
    X = X.iloc[keep] if hasattr(X, "iloc") else [X[i] for i in keep]
    pipeline = make_pipeline(
        make(),
        CVAEOverSampler(max_epochs=1, latent_dim=2, device="cpu", random_state=0),
        LogisticRegression(max_iter=1000),
    )
    scores = cross_val_score(pipeline, X, y[keep], cv=2)
    assert scores.min() > 0.8


@pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")
def test_grid_search_in_two_processes(make, photos, tmp_path, one_thread_per_worker):
    pipeline = make_pipeline(
        make(memory=tmp_path),
        CVAEOverSampler(max_epochs=1, latent_dim=2, device="cpu", random_state=0),
        LogisticRegression(max_iter=1000),
    )
    grid = {"foundationembedder__pooling": ["default", "mean"]}
    X = pd.Series(photos * 2)
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise")
    search.fit(X, np.array([0, 1] * 10))
    assert search.best_score_ > 0.8


@pytest.fixture
def beside_weights(weights, monkeypatch):
    """Let an embedder find small weights by their name alone."""
    monkeypatch.chdir(weights)


# Of estimators that take no table of numbers, scikit-learn runs few checks.
@parametrize_with_checks(
    [FoundationEmbedder("test_vit", weights="test_vit.safetensors", device="cpu")]
)
def test_sklearn_checks(estimator, check, beside_weights):
    check(estimator)


@pytest.mark.parametrize(
    "name",
    [
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
        "check_valid_tag_types",
    ],
)
def test_sklearn_checks_that_need_no_data(make, name):
    getattr(estimator_checks, name)("FoundationEmbedder", make())


def test_every_parameter_is_validated(make):
    check_param_validation("FoundationEmbedder", make())


def test_transform_validates_parameters_too(make, photos):
    with pytest.raises(ValueError, match="'batch_size' parameter"):
        make(batch_size=0).transform(photos)


# Images that cannot be read


@pytest.fixture
def broken(photos, tmp_path):
    """Photos 0 to 9, where 2 is truncated, 3 a text and 7 missing."""
    paths = list(photos)
    (tmp_path / "cut.png").write_bytes(Path(photos[0]).read_bytes()[:200])
    (tmp_path / "text.jpg").write_text("no image")
    paths[2] = str(tmp_path / "cut.png")
    paths[3] = str(tmp_path / "text.jpg")
    paths[7] = str(tmp_path / "missing.png")
    return paths


BAD, GOOD = [2, 3, 7], [0, 1, 4, 5, 6, 8, 9]


@pytest.mark.parametrize("block", [2, 1024])
@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_embeddings_stay_aligned_where_images_fail(
    make, broken, expected, tmp_path, monkeypatch, block, memory, num_workers
):
    monkeypatch.setattr(_embedder, "_BLOCK_SIZE", block)
    embedder = make(
        on_error="nan",
        batch_size=3,
        num_workers=num_workers if block > 2 else 0,
        memory=tmp_path / "cache" if memory else None,
    )
    for _ in range(2):
        rows = embedder.fit_transform(broken)
        assert_allclose(rows[GOOD], expected[GOOD], atol=1e-5)
        assert np.isnan(rows[BAD]).all()
        assert [failure.index for failure in embedder.failures_] == BAD
        table = pd.DataFrame(embedder.failures_)
        assert table["source"].tolist() == [broken[i] for i in BAD]
        assert table["reason"].str.len().min() > 5
        assert "does not exist" in table["reason"][2]


def test_an_image_that_fails_stops_with_its_path(make, broken):
    with pytest.raises(ValueError, match=r"Image 2 \(.*cut.png\) cannot be read: "):
        make().fit_transform(broken)


def test_a_stopped_run_keeps_the_embeddings_before_it(make, broken, tmp_path, forwards):
    embedder = make(memory=tmp_path / "cache", batch_size=1)
    with pytest.raises(ValueError, match="Image 2 "):
        embedder.fit_transform(broken)
    embedder.set_params(on_error="nan").fit_transform(broken)
    assert sum(forwards) == len(GOOD)


@pytest.mark.parametrize("memory", [True, False])
def test_all_images_may_fail(make, broken, tmp_path, memory):
    paths = [broken[i] for i in BAD]
    embedder = make(on_error="nan", memory=tmp_path / "cache" if memory else None)
    rows = embedder.fit_transform(paths)
    assert rows.shape == (3, 64) and np.isnan(rows).all() and rows.dtype == np.float32
    assert [failure.index for failure in embedder.failures_] == [0, 1, 2]


@pytest.mark.parametrize("memory", [True, False])
def test_the_first_block_may_fail(
    make, broken, photos, expected, tmp_path, monkeypatch, memory
):
    monkeypatch.setattr(_embedder, "_BLOCK_SIZE", 2)
    embedder = make(on_error="nan", memory=tmp_path / "cache" if memory else None)
    rows = embedder.fit_transform([broken[7], broken[3], *photos[:3]])
    assert np.isnan(rows[:2]).all()
    assert_allclose(rows[2:], expected[:3], atol=1e-5)


def test_failures_are_those_of_the_last_transform(make, broken, photos):
    embedder = make(on_error="nan")
    embedder.fit_transform(broken)
    embedder.transform(photos)
    assert embedder.failures_ == []


def test_features_that_are_not_finite_count_as_failures(
    make, photos, monkeypatch, tmp_path, expected
):
    embed_batch = _embedder.embed_batch

    def overflow(*args):
        features = embed_batch(*args)
        features[1::2] = float("inf")
        features[3::2] = float("nan")
        return features

    embedder = make(memory=tmp_path, on_error="nan").fit(photos)
    with monkeypatch.context() as patched:
        patched.setattr(_embedder, "embed_batch", overflow)
        rows = embedder.transform(photos)
        assert np.isnan(rows[1::2]).all()
        assert [f.index for f in embedder.failures_] == [1, 3, 5, 7, 9]
        assert "NaN or infinity" in embedder.failures_[0].reason
        with pytest.raises(ValueError, match=r"Image 1 .*NaN or infinity"):
            make().transform(photos)
    # None of them is kept.
    assert_allclose(embedder.transform(photos), expected, atol=1e-5)


# Cache


def test_a_second_run_computes_nothing(make, photos, expected, tmp_path, forwards):
    first = make(memory=tmp_path).fit_transform(photos)
    assert sum(forwards) == 10
    second = make(memory=str(tmp_path), batch_size=2).fit_transform(photos[::-1])
    assert sum(forwards) == 10
    assert_array_equal(second[::-1], first)
    assert_allclose(first, expected, atol=1e-5)


def test_other_settings_do_not_reuse_embeddings(
    make, photos, weights, tmp_path, forwards
):
    other = _backbone.load_file(weights / "test_vit.safetensors")
    other["pos_embed"] = other["pos_embed"] + 0.1
    save_file(other, tmp_path / "other.safetensors")
    settings = [
        {},
        {"weights": tmp_path / "other.safetensors"},
        {"pooling": "mean"},
        {"pooling": "token"},
        {"layers": [2]},
        {"image_size": 48},
        {"dtype": "bfloat16"},
    ]
    rows = [
        make(memory=tmp_path / "cache", **params).fit_transform(photos[:2])
        for params in settings
    ]
    assert sum(forwards) == 2 * len(settings)
    for params, drawn in zip(settings, rows, strict=True):
        assert_allclose(make(**params).fit_transform(photos[:2]), drawn, atol=1e-5)


def test_an_edited_image_is_computed_anew(make, photos, tmp_path, forwards):
    path = tmp_path / "a.png"
    path.write_bytes(Path(photos[0]).read_bytes())
    status = os.stat(path)
    embedder = make(memory=tmp_path / "cache")
    embedder.fit_transform([path, photos[1]])
    Image.open(photos[1]).resize(Image.open(photos[0]).size).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    rows = embedder.transform([path, photos[1]])
    assert sum(forwards) == 3
    assert_allclose(rows[0], make().fit_transform([path])[0], atol=1e-5)


def test_copies_of_an_image_share_a_row(make, photos, expected, tmp_path, forwards):
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(photos[0]).read_bytes())
    embedder = make(memory=tmp_path / "cache")
    embedder.fit_transform(photos)
    rows = embedder.transform([photos[1], copy, photos[1], str(copy), photos[2]])
    assert sum(forwards) == 10
    assert_allclose(rows, expected[[1, 0, 1, 0, 2]], atol=1e-5)
    fresh = make(memory=tmp_path / "fresh")
    rows = fresh.fit_transform([photos[1], copy, photos[1], copy, photos[2]])
    assert_allclose(rows, expected[[1, 0, 1, 0, 2]], atol=1e-5)


def test_pixels_are_cached_by_content(make, tmp_path, forwards):
    pixels = np.random.RandomState(0).randint(0, 256, (4, 9, 8, 3)).astype(np.uint8)
    embedder = make(memory=tmp_path)
    rows = embedder.fit_transform(pixels)
    as_images = embedder.transform([Image.fromarray(p) for p in pixels])
    assert_array_equal(as_images, rows)
    assert sum(forwards) == 4
    assert_allclose(make().fit_transform(pixels), rows, atol=1e-5)


def test_an_interrupted_run_goes_on(make, photos, expected, tmp_path, monkeypatch):
    embed_batch = _embedder.embed_batch
    calls = []

    def interrupted(model, images, *args):
        calls.append(len(images))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return embed_batch(model, images, *args)

    monkeypatch.setattr(_embedder, "embed_batch", interrupted)
    embedder = make(memory=tmp_path, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        embedder.fit_transform(photos)
    assert_allclose(embedder.fit_transform(photos), expected, atol=1e-5)
    assert calls == [2, 2, 2, 2, 2, 2]


def test_failed_images_are_not_cached(make, photos, expected, tmp_path):
    path = tmp_path / "later.png"
    embedder = make(memory=tmp_path / "cache", on_error="nan")
    assert np.isnan(embedder.fit_transform([path])).all()
    path.write_bytes(Path(photos[0]).read_bytes()[:200])
    assert np.isnan(embedder.transform([path])).all()
    path.write_bytes(Path(photos[0]).read_bytes())
    assert_allclose(embedder.transform([path])[0], expected[0], atol=1e-5)
    assert embedder.failures_ == []


def test_a_damaged_entry_is_computed_again(make, photos, expected, tmp_path, forwards):
    import sqlite3

    embedder = make(memory=tmp_path)
    embedder.fit_transform(photos)
    (file,) = tmp_path.glob("*.sqlite")
    connection = sqlite3.connect(file)
    connection.execute(
        "UPDATE embeddings SET row = zeroblob(length(row)) "
        "WHERE rowid IN (SELECT rowid FROM embeddings LIMIT 2)"
    )
    connection.commit()
    connection.close()
    assert_allclose(embedder.transform(photos), expected, atol=1e-5)
    assert sum(forwards) == 12


# Memory of the device


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("can't allocate memory"),
    ],
)
def test_auto_batch_size_backs_off(make, photos, expected, monkeypatch, error):
    _backbone.load_backbone.cache_clear()
    embed_batch = _embedder.embed_batch
    sizes = []

    def small(model, images, *args):
        sizes.append(len(images))
        if len(images) > 3:
            raise error
        return embed_batch(model, images, *args)

    embedder = make(batch_size="auto").fit(photos)
    monkeypatch.setattr(_embedder, "embed_batch", small)
    assert_allclose(embedder.transform(photos), expected, atol=1e-5)
    assert sizes[:3] == [10, 5, 3] and max(sizes[2:]) == 3
    # What was learned stays known.
    sizes.clear()
    embedder.transform(photos)
    assert sizes == [3, 3, 3, 1]
    with pytest.raises(RuntimeError, match="memory"):
        make(batch_size=8).transform(photos)
    _backbone.load_backbone.cache_clear()


def test_other_errors_of_the_model_are_raised(make, photos, monkeypatch):
    def fail(*args):
        raise RuntimeError("a bug")

    embedder = make().fit(photos)
    monkeypatch.setattr(_embedder, "embed_batch", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        embedder.transform(photos)


# EXIF


def test_orientation_counts_and_other_metadata_does_not(make, tmp_path):
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:16] = 255
    image = Image.fromarray(pixels)
    tags = {"plain": {}, "turned": {0x0112: 3}, "named": {0x010E: "Jane Doe"}}
    for name, values in tags.items():
        exif = Image.Exif()
        exif.update(values)
        image.save(tmp_path / f"{name}.png", exif=exif)
    image.rotate(180).save(tmp_path / "upright.png")
    names = ("plain", "turned", "named", "upright")
    rows = make().fit_transform([tmp_path / f"{name}.png" for name in names])
    plain, turned, named, upright = rows
    assert_allclose(named, plain, atol=1e-5)
    assert_allclose(turned, upright, atol=1e-5)
    assert np.abs(turned - plain).max() > 1e-2


def test_progress_shows_images_per_second(make, photos, capfd):
    make(verbose=1).fit_transform(photos)
    assert "10/10" in capfd.readouterr().err
    make().fit_transform(photos)
    assert capfd.readouterr().err == ""


def test_long_strips_are_refused_before_they_are_enlarged(make):
    embedder = make(on_error="nan")
    images = [Image.new("RGB", size) for size in ((3000, 2), (40, 40), (400, 4))]
    rows = embedder.transform(images)
    assert np.isnan(rows).all(axis=1).tolist() == [True, False, False]
    assert "sides differ" in embedder.failures_[0].reason
