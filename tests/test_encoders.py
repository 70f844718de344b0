"""FoundationEmbedder with modules, functions, and models of other libraries."""

import json
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from torch import nn
from torchvision.transforms import v2

from skcvae.embedding import FoundationEmbedder

SIZE = 32
PREPROCESS = v2.Compose(
    [v2.Resize((SIZE, SIZE)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
)


@pytest.fixture(scope="session")
def images():
    """Five images of several sizes."""
    rng = np.random.RandomState(0)
    sizes = [(40, 30), (32, 32), (64, 50), (33, 47), (50, 64)]
    return [Image.fromarray(rng.randint(0, 255, (h, w, 3), np.uint8)) for h, w in sizes]


def mean_colour(images):
    """Average each channel, as an array (n_images, 3)."""
    return np.array([np.asarray(image).mean(axis=(0, 1)) for image in images])


@pytest.fixture
def module(torch_seed):
    """A module with a batch norm, which training mode would change, and its batch."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


# Functions


@pytest.mark.parametrize("batch_size", [1, 2, "auto"])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_function_gets_images_and_gives_embeddings(images, batch_size, num_workers):
    embedder = FoundationEmbedder(
        mean_colour, batch_size=batch_size, num_workers=num_workers
    )
    X = embedder.fit_transform(images)
    assert X.dtype == np.float32
    assert_allclose(X, mean_colour(images), rtol=1e-6)
    assert len(embedder.get_feature_names_out()) == 3


def test_functions_may_return_lists_and_tensors(images):
    expected = mean_colour(images)
    for convert in (np.ndarray.tolist, torch.from_numpy):
        embedder = FoundationEmbedder(
            lambda x, convert=convert: convert(mean_colour(x))
        )
        assert_allclose(embedder.fit_transform(images), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda images: None, "NoneType, not an array"),
        (lambda images: mean_colour(images)[0], "of shape"),
        (lambda images: mean_colour(images)[:1], r"\(1, 3\) for 2 images"),
        (lambda images: mean_colour(images)[:, 0], "n_features"),
        (lambda images: mean_colour(images) + 1j, "complex128"),
        (lambda images: {"a": 1, "b": 2}, "dict, not an array"),
    ],
)
def test_functions_that_give_no_embeddings_are_refused_by_fit(
    images, function, message
):
    with pytest.raises(ValueError, match=message):
        FoundationEmbedder(function).fit(images)


def test_a_function_that_changes_its_number_of_features_is_refused(images):
    def growing(images):
        return np.zeros((len(images), len(images)))

    with pytest.raises(ValueError, match=r"shape \(5, 2\), got \(5, 5\)"):
        FoundationEmbedder(growing).fit_transform(images)


def test_a_function_may_want_images_of_one_size():
    pixels = np.random.RandomState(0).randint(0, 256, (4, 8, 8), np.uint8)

    def flat(images):
        return np.array([np.asarray(image)[..., 0].ravel() for image in images])

    embedder = FoundationEmbedder(flat, on_error="nan")
    assert_array_equal(embedder.fit_transform(pixels), pixels.reshape(4, 64))
    X = embedder.transform(["missing.png", *map(Image.fromarray, pixels)])
    assert_array_equal(X[1:], pixels.reshape(4, 64))


def test_images_that_fail_are_kept_apart_from_a_function(images):
    embedder = FoundationEmbedder(mean_colour, on_error="nan")
    X = embedder.fit_transform([images[0], "missing.png", images[1]])
    assert np.isnan(X).all(axis=1).tolist() == [False, True, False]
    assert_allclose(X[[0, 2]], mean_colour(images[:2]), rtol=1e-6)


def test_the_cache_of_a_function_needs_a_name(images, tmp_path):
    calls = []

    def counted(images):
        calls.append(len(images))
        return mean_colour(images)

    with pytest.raises(ValueError, match="memory needs name="):
        FoundationEmbedder(counted, memory=tmp_path).fit(images)
    embedder = FoundationEmbedder(counted, memory=tmp_path, name="colour, version 1")
    first = embedder.fit_transform(images)
    calls.clear()
    assert_array_equal(embedder.transform(images), first)
    # The two images that tell the number of features.
    assert sum(calls) <= 2
    embedder.set_params(name="colour, version 2", model=lambda x: mean_colour(x) + 1)
    assert_allclose(embedder.transform(images), first + 1, rtol=1e-6)


# Modules


def test_a_module_is_run_in_evaluation_mode_and_left_as_it_was(images, module):
    module.train()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    embedder = FoundationEmbedder(module, preprocess=PREPROCESS, device="cpu")
    X = embedder.fit_transform(images)
    assert module.training and module[0].weight.requires_grad
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    module.eval()
    with torch.no_grad():
        expected = module(torch.stack([PREPROCESS(image) for image in images]))
    assert_allclose(X, expected, atol=1e-6)
    for copy in (clone(embedder), pickle.loads(pickle.dumps(embedder))):
        assert_allclose(copy.transform(images), X, atol=1e-6)


def test_the_cache_notices_other_weights_of_a_module(images, module, tmp_path):
    embedder = FoundationEmbedder(
        module, preprocess=PREPROCESS, memory=tmp_path, device="cpu"
    )
    with pytest.raises(ValueError, match="memory needs name="):
        embedder.fit(images)
    embedder.set_params(name="conv")
    first = embedder.fit_transform(images)
    assert_array_equal(embedder.transform(images), first)
    with torch.no_grad():
        module[0].bias += 1
    second = embedder.transform(images)
    assert np.abs(second - first).min() > 0.1
    # A buffer counts as well.
    module[1].running_mean += 1
    assert np.abs(embedder.transform(images) - second).min() > 0.1


def test_a_model_of_timm_may_be_given_as_a_module(images, torch_seed):
    import timm

    model = timm.create_model("test_vit", num_classes=0, img_size=SIZE)
    for pooling in ("default", "mean", "token_mean"):
        embedder = FoundationEmbedder(model, preprocess=PREPROCESS, pooling=pooling)
        X = embedder.fit_transform(images)
        assert X.shape == (5, 128 if pooling == "token_mean" else 64)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"model": nn.Flatten()}, "needs preprocess="),
        ({"model": mean_colour, "preprocess": PREPROCESS}, "A function gets"),
        ({"model": mean_colour, "weights": "w.pth"}, "weights is for"),
        ({"model": mean_colour, "image_size": 32}, "image_size is for"),
        ({"model": mean_colour, "pooling": "token"}, "forward_features"),
        ({"model": mean_colour, "layers": [1]}, "forward_intermediates"),
        ({"model": "test_vit", "preprocess": PREPROCESS}, "preprocess is for"),
        ({"model": "transformers:a", "image_size": 32}, "image_size is for"),
        ({"model": nn.Identity(), "preprocess": PREPROCESS}, "n_features"),
        ({"model": nn.Flatten(), "preprocess": v2.ToImage()}, "of one shape"),
        ({"model": nn.Flatten(), "preprocess": np.asarray}, "of one shape"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused_by_fit(images, params, message):
    with pytest.raises(ValueError, match=message):
        FoundationEmbedder(**params).fit(images)


# transformers

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
OF_IMAGES = {**SMALL, "image_size": SIZE, "patch_size": 8}
OF_TEXTS = {
    **SMALL,
    "vocab_size": 50,
    "max_position_embeddings": 8,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


@pytest.fixture(scope="session")
def transformers():
    return pytest.importorskip("transformers", reason="needs skcvae[transformers]")


@pytest.fixture
def small_models(transformers, torch_seed):
    """Models of random weights, by the number of tokens that are no patches."""
    t = transformers
    clip = t.CLIPConfig(
        text_config=OF_TEXTS, vision_config=OF_IMAGES, projection_dim=16
    )
    siglip = t.SiglipConfig(text_config=OF_TEXTS, vision_config=OF_IMAGES)
    return {
        "dinov2": (t.Dinov2Model(t.Dinov2Config(**OF_IMAGES)), 1),
        "dinov3": (
            t.DINOv3ViTModel(t.DINOv3ViTConfig(**OF_IMAGES, num_register_tokens=3)),
            4,
        ),
        "clip": (t.CLIPModel(clip), 1),
        "siglip": (t.SiglipModel(siglip), 0),
    }


@pytest.fixture
def processor(transformers):
    size = {"height": SIZE, "width": SIZE}
    return transformers.CLIPImageProcessor(size=size, crop_size=size)


@pytest.mark.parametrize("name", ["dinov2", "dinov3", "clip", "siglip"])
def test_models_of_transformers_by_folder_and_as_objects(
    images, small_models, processor, tmp_path, name
):
    model, n_prefix = small_models[name]
    model.eval()
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        tower = getattr(model, "vision_model", model)
        tokens = tower(pixel_values=pixels).last_hidden_state.numpy()
        if name in ("clip", "siglip"):
            own = model.get_image_features(pixel_values=pixels)
            own = getattr(own, "pooler_output", own)
        else:
            own = model(pixel_values=pixels).pooler_output
    patches = tokens[:, n_prefix:]
    assert patches.shape[1] == (SIZE // 8) ** 2
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    of_folder = FoundationEmbedder(f"transformers:{tmp_path}", device="cpu")
    of_object = FoundationEmbedder(model, preprocess=processor, device="cpu")
    for embedder in (of_folder, of_object):
        assert_allclose(embedder.fit_transform(images), own, atol=1e-5)
        embedder.set_params(pooling="mean")
        assert_allclose(embedder.transform(images), patches.mean(axis=1), atol=1e-5)
        embedder.set_params(pooling="token")
        if n_prefix:
            assert_allclose(embedder.transform(images), tokens[:, 0], atol=1e-5)
        else:
            with pytest.raises(ValueError, match="class token"):
                embedder.transform(images)
        embedder.set_params(pooling="default", layers=[0])
        with pytest.raises(ValueError, match="forward_intermediates"):
            embedder.fit(images)


def test_a_convolutional_model_of_transformers(images, transformers, processor):
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]
    )
    model = transformers.ResNetModel(config).eval()
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        grid = model(pixel_values=pixels).last_hidden_state.numpy()
    for pooling in ("default", "mean"):
        embedder = FoundationEmbedder(model, preprocess=processor, pooling=pooling)
        X = embedder.fit_transform(images)
        assert_allclose(X, grid.mean(axis=(2, 3)), atol=1e-5)


def test_the_cache_notices_other_weights_in_a_folder(
    images, small_models, processor, tmp_path
):
    model, _ = small_models["dinov2"]
    processor.save_pretrained(tmp_path / "a")
    processor.save_pretrained(tmp_path / "b")
    model.save_pretrained(tmp_path / "a")
    with torch.no_grad():
        model.layernorm.bias += 1
    model.save_pretrained(tmp_path / "b")
    first, second = (
        FoundationEmbedder(
            f"transformers:{tmp_path / folder}", memory=tmp_path / "cache"
        ).fit_transform(images)
        for folder in "ab"
    )
    assert_allclose(second, first + 1, atol=1e-5)
    # An object needs no name: weights, configuration and processor say it all.
    of_object = FoundationEmbedder(
        model, preprocess=processor, memory=tmp_path / "cache"
    )
    assert_allclose(of_object.fit_transform(images), second, atol=1e-5)


def test_a_checkpoint_that_misses_weights_is_refused(
    images, small_models, processor, tmp_path
):
    # transformers would fill them up with random ones.
    from safetensors.torch import load_file, save_file

    model = small_models["siglip"][0].vision_model
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    prefix = next(k for k in state if "head.probe" in k)
    without = {k: v for k, v in state.items() if k != prefix}
    save_file(without, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"miss 1 tensors.*probe"):
        FoundationEmbedder(f"transformers:{tmp_path}").fit(images)


def test_a_checkpoint_without_pooler_has_no_default_pooling(
    images, transformers, processor, tmp_path
):
    config = transformers.ViTConfig(**OF_IMAGES)
    model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    embedder = FoundationEmbedder(f"transformers:{tmp_path}")
    with pytest.raises(ValueError, match="no pooling of its own"):
        embedder.fit(images)
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        tokens = model(pixel_values=pixels).last_hidden_state
    X = embedder.set_params(pooling="token").fit_transform(images)
    assert_allclose(X, tokens[:, 0], atol=1e-5)


def test_models_of_transformers_that_cannot_be_loaded(images, small_models, tmp_path):
    with pytest.raises(OSError, match=r"cannot load the vision model[\s\S]*FOLDER"):
        FoundationEmbedder(f"transformers:{tmp_path}").fit(images)
    with pytest.raises(ValueError, match="No image processor is known"):
        FoundationEmbedder(small_models["dinov2"][0]).fit(images)
    file = tmp_path / "w.safetensors"
    file.touch()
    with pytest.raises(ValueError, match="weights is not for"):
        FoundationEmbedder(f"transformers:{tmp_path}", weights=file).fit(images)


# open_clip


@pytest.fixture
def open_clip_file(tmp_path, torch_seed):
    """Register a tiny model with open_clip; return its name and weights."""
    open_clip = pytest.importorskip("open_clip", reason="needs skcvae[open-clip]")
    vision = {"image_size": SIZE, "layers": 2, "width": 64, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    path = tmp_path / "tiny-skcvae.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    model = open_clip.create_model("tiny-skcvae")
    torch.save(model.state_dict(), tmp_path / "w.pt")
    return model, "open_clip:tiny-skcvae", tmp_path / "w.pt"


def test_models_of_open_clip(images, open_clip_file, tmp_path):
    import open_clip

    model, name, path = open_clip_file
    transform = open_clip.image_transform(SIZE, is_train=False)
    embedder = FoundationEmbedder(name, weights=path, memory=tmp_path / "cache")
    X = embedder.fit_transform(images)
    batch = torch.stack([transform(image) for image in images])
    with torch.no_grad():
        expected = model.eval().encode_image(batch)
    assert X.shape == (5, 16)
    assert_allclose(X, expected, atol=1e-5)
    assert_array_equal(clone(embedder).fit_transform(images), X)


def test_models_of_open_clip_that_cannot_be_loaded(images, open_clip_file, tmp_path):
    _, name, path = open_clip_file
    with pytest.raises(ValueError, match="needs the tag of its weights"):
        FoundationEmbedder(name).fit(images)
    with pytest.raises(OSError, match="open_clip cannot load 'none-such/tag'"):
        FoundationEmbedder("open_clip:none-such/tag").fit(images)
    state = torch.load(path)
    del state["visual.proj"]
    torch.save(state, path)
    with pytest.raises(OSError, match="cannot load"):
        FoundationEmbedder(name, weights=path).fit(images)


# datasets


@pytest.mark.parametrize("decode", [True, False])
def test_columns_of_hugging_face_datasets(images, tmp_path, decode):
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    paths = []
    for i, image in enumerate(images):
        paths.append(str(tmp_path / f"{i}.png"))
        image.save(paths[-1])
    table = datasets.Dataset.from_dict({"image": paths, "label": list(range(5))})
    table = table.cast_column("image", datasets.Image(decode=decode))
    embedder = FoundationEmbedder(mean_colour)
    X = embedder.fit_transform(table["image"])
    assert_allclose(X, mean_colour(images), rtol=1e-6)
    with pytest.raises(TypeError, match="column of images"):
        embedder.fit(table)
