"""ViewOverSampler: whose views, which labels, which seeds, and none of test images."""

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
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.utils import estimator_checks
from torchvision.transforms import v2

from skcvae.embedding import FoundationEmbedder, ViewOverSampler
from skcvae.over_sampling import CVAEOverSampler, RatioStrategy

# Class a has 5 images, b 3 and c one; their places are mixed.
LABELS = np.array(list("abacabaab"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Nine plain images whose grey value, from 20 to 180, is 20 times their number."""
    folder = tmp_path_factory.mktemp("plain")
    paths = []
    for i in range(9):
        paths.append(str(folder / f"{i}.png"))
        Image.new("RGB", (20 + i, 30), (20 * (i + 1),) * 3).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        state = timm.create_model("test_vit").state_dict()
    save_file({k: v * 4 if v.ndim == 2 else v for k, v in state.items()}, path)
    return FoundationEmbedder("test_vit", weights=path, image_size=32, device="cpu")


def brighter(image):
    """Return an image that is between 1 and 9 levels brighter."""
    by = int(torch.randint(1, 10, ()))
    return image.point(lambda value: value + by)


def pixels(views):
    return [np.asarray(view.open()) for view in views]


def test_views_fill_classes_and_show_an_image_of_their_class(paths):
    sampler = ViewOverSampler(brighter, random_state=0)
    X, y = sampler.fit_resample(paths, LABELS)
    assert X[:9].tolist() == paths
    assert_array_equal(y[:9], LABELS)
    assert dict(zip(*np.unique(y, return_counts=True), strict=True)) == dict.fromkeys(
        "abc", 5
    )
    # The grey value tells which image a view was made of.
    sources = [int(view[0, 0, 0]) // 20 - 1 for view in pixels(X[9:])]
    assert_array_equal(LABELS[sources], y[9:])
    assert_array_equal(sampler.sample_indices_, [*range(9), *sources])


@pytest.mark.parametrize("n_views", [3, 4, 8])
def test_images_of_a_class_have_the_same_number_of_views(paths, n_views):
    sampler = ViewOverSampler(
        brighter, sampling_strategy={"b": 3 + n_views}, random_state=0
    )
    sampler.fit_resample(paths, LABELS)
    of_image = np.bincount(sampler.sample_indices_[9:], minlength=9)
    assert of_image.sum() == of_image[LABELS == "b"].sum() == n_views
    assert np.ptp(of_image[LABELS == "b"]) <= 1


def test_all_images_get_views_by_a_strategy(paths):
    def thrice(y):
        labels, counts = np.unique(y, return_counts=True)
        return dict(zip(labels.tolist(), (3 * counts).tolist(), strict=True))

    sampler = ViewOverSampler(brighter, sampling_strategy=thrice, random_state=0)
    sampler.fit_resample(paths, LABELS)
    assert np.bincount(sampler.sample_indices_).tolist() == [3] * 9


def test_the_same_seed_gives_the_same_views_whenever_they_are_read(paths):
    first, again, other = (
        ViewOverSampler(random_state=seed).fit_resample(paths, LABELS)[0][9:]
        for seed in (0, 0, 1)
    )
    expected = pixels(first)
    torch.rand(3)
    for view, same in zip(pixels(again[::-1])[::-1], expected, strict=True):
        assert_array_equal(view, same)
    for view, same in zip(pixels(first), expected, strict=True):
        assert_array_equal(view, same)
    assert any(
        view.shape != same.shape or (view != same).any()
        for view, same in zip(pixels(other), expected, strict=True)
    )


def test_views_of_an_image_differ_among_each_other():
    image = np.random.RandomState(0).randint(0, 256, (24, 32, 3)).astype(np.uint8)
    X, _ = ViewOverSampler(random_state=0).fit_resample([image] * 7, [0] + [1] * 6)
    views = pixels(X[7:])
    assert len(views) == 5
    assert len({view.tobytes() for view in [image, *views]}) == 6
    assert {view.shape for view in views} == {image.shape}


def test_global_random_states_are_left_alone(paths, random_states):
    before = random_states()
    X, _ = ViewOverSampler(random_state=0).fit_resample(paths, LABELS)
    pixels(X[9:])
    assert random_states() == before


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_embedder_reads_views_like_the_images_that_they_are(
    paths, embedder, tmp_path, num_workers
):
    X, _ = ViewOverSampler(random_state=0).fit_resample(paths, LABELS)
    by_hand = [Image.open(path) for path in paths] + [view.open() for view in X[9:]]
    expected = embedder.fit_transform(by_hand)
    assert np.ptp(expected, axis=0).min() > 0
    cached = clone(embedder).set_params(
        memory=tmp_path, num_workers=num_workers, batch_size=4
    )
    # The second run reads what the first one has kept.
    for _ in range(2):
        assert_allclose(cached.transform(X), expected, atol=1e-5)


def test_no_view_is_made_of_test_images(paths, embedder):
    seen = []

    def spy(image):
        seen.append(image.getpixel((0, 0))[0] // 20 - 1)
        return image

    sampler = ViewOverSampler(spy, random_state=0)
    pipeline = make_pipeline(sampler, embedder, LogisticRegression())
    train = [0, 1, 2, 4, 5]
    pipeline.fit([paths[i] for i in train], LABELS[train])
    assert set(seen) <= set(train)
    seen.clear()
    pipeline.predict(paths)
    assert seen == []


@pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")
def test_views_then_generated_embeddings_in_a_cross_validation(embedder, tmp_path):
    rng = np.random.RandomState(0)
    y = np.repeat(["dark", "bright"], [24, 8])
    levels = np.where(y == "dark", 0, 120)[:, None, None, None]
    X = (rng.randint(0, 130, (32, 20, 20, 3)) + levels).astype(np.uint8)
    pipeline = make_pipeline(
        ViewOverSampler(sampling_strategy=RatioStrategy(0.6), random_state=0),
        clone(embedder).set_params(memory=tmp_path),
        CVAEOverSampler(max_epochs=1, latent_dim=2, device="cpu", random_state=0),
        LogisticRegression(max_iter=1000),
    )
    predicted = cross_val_predict(pipeline, X, y, cv=2)
    assert (predicted == y).mean() > 0.8


CONTAINERS = {
    "list": list,
    "array": np.array,
    "series": pd.Series,
    "frame": lambda paths: pd.DataFrame({"path": paths}),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_of_paths(paths, container):
    y = pd.Series(LABELS, name="kind")
    sampler = ViewOverSampler(brighter, random_state=0)
    X, y_resampled = sampler.fit_resample(CONTAINERS[container](paths), y)
    assert X.shape == (15,) and X[:9].tolist() == paths
    assert isinstance(y_resampled, pd.Series) and y_resampled.name == "kind"
    assert_array_equal(y_resampled, LABELS[sampler.sample_indices_])


@pytest.mark.parametrize("shape", [(9, 8, 10), (9, 8, 10, 1), (9, 8, 10, 3)])
def test_arrays_of_pixels(shape):
    images = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    X, _ = ViewOverSampler(random_state=0).fit_resample(images, LABELS)
    assert_array_equal(np.stack(X[:9].tolist()), images)
    assert {view.shape for view in pixels(X[9:])} == {(8, 10, 3)}


def test_an_unreadable_image_fails_where_it_always_does(paths, embedder, tmp_path):
    missing = str(tmp_path / "missing.png")
    X, _ = ViewOverSampler(random_state=0).fit_resample(
        [missing, *paths[:3]], [0, 1, 1, 1]
    )
    with pytest.raises(ValueError, match=r"Image 0 .*missing.png"):
        embedder.fit_transform(X)
    rows = clone(embedder).set_params(on_error="nan").fit(X)
    assert np.isnan(rows.transform(X)).all(axis=1).tolist() == [
        *(True, False, False, False),
        *(True, True),
    ]
    assert rows.failures_[1].source == f"view of {missing}"


@pytest.mark.parametrize(
    "augment", [np.asarray, v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip()])]
)
def test_functions_that_give_no_image_are_refused_at_once(paths, augment):
    with pytest.raises(TypeError, match="augment must return an image of PIL"):
        ViewOverSampler(augment).fit_resample(paths, LABELS)


def test_other_modes_become_rgb(paths):
    X, _ = ViewOverSampler(v2.Grayscale()).fit_resample(paths, LABELS)
    assert X[-1].open().mode == "RGB"


@pytest.mark.parametrize(
    "X, y, error, message",
    [
        (["a.png"] * 9, LABELS[:8], ValueError, "inconsistent numbers"),
        ("a.png", ["a"], TypeError, "single path"),
        ([], [], ValueError, "holds no image"),
        (["a.png"] * 4, [0.5, 0.1, 0.2, 0.7], ValueError, "continuous"),
        (["a.png"] * 4, ["a", "b", None, "b"], TypeError, "NoneType"),
        (["a.png"] * 4, ["a"] * 4, ValueError, "more than 1 class"),
    ],
)
def test_bad_input_is_refused(X, y, error, message):
    with pytest.raises(error, match=message):
        ViewOverSampler().fit_resample(X, y)


def test_every_parameter_is_validated():
    check_param_validation("ViewOverSampler", ViewOverSampler())


@pytest.mark.parametrize(
    "name",
    [
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
        "check_valid_tag_types",
    ],
)
def test_sklearn_checks_that_need_no_data(name):
    getattr(estimator_checks, name)("ViewOverSampler", ViewOverSampler())
