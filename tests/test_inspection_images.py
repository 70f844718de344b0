"""Displays of images: which image is where, how bright, and who may see it."""

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.datasets import load_digits

from skcvae.anonymization import GenerativeAnonymizer, load
from skcvae.generators import CVAE, VAE, ClassGaussian
from skcvae.inspection import (
    ImageGridDisplay,
    InterpolationDisplay,
    NearestImagesDisplay,
)
from skcvae.over_sampling import CVAEOverSampler, GenerativeOverSampler

X, Y = load_digits(return_X_y=True)
X, Y = X[:300], Y[:300]
SHAPE = {"image_shape": (8, 8)}


@pytest.fixture(scope="module")
def gaussian():
    return ClassGaussian(random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def cvae():
    return CVAE(max_epochs=2, device="cpu", random_state=0).fit(X, Y)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def colour(samples):
    """Render the first three features of each sample as a patch of colour."""
    return np.tile(samples[:, None, None, :3] / 16, (1, 4, 6, 1))


DRAW = {
    ImageGridDisplay: lambda g, **kw: ImageGridDisplay.from_generator(
        g, X, Y, **SHAPE, **kw
    ),
    InterpolationDisplay: lambda g, **kw: InterpolationDisplay.from_estimator(
        g, X[:2], X[10:12], Y[:2], **SHAPE, **kw
    ),
    NearestImagesDisplay: lambda g, **kw: NearestImagesDisplay.from_data(
        X[:5] + 1, X, **SHAPE, **kw
    ),
}
each_display = pytest.mark.parametrize("kind", DRAW)


@each_display
def test_given_axes_are_used_and_nothing_else_changes(kind, cvae, random_states):
    figure = Figure(layout="constrained")
    ax = figure.subplots()
    before = random_states(), plt.get_fignums(), matplotlib.rcParams.copy()
    display = DRAW[kind](cvae, ax=ax, alpha=0.5)
    assert before == (random_states(), plt.get_fignums(), matplotlib.rcParams)
    assert (display.ax_, display.figure_) == (ax, figure)
    assert display.image_.get_alpha() == 0.5
    assert ax.get_title()
    assert display.plot() is display


@each_display
def test_missing_matplotlib_names_the_extra(kind, cvae, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "skcvae\[plot\]"') as raised:
        DRAW[kind](cvae)
    assert kind.__name__ in str(raised.value)


def test_a_grid_has_each_image_in_its_place():
    real = {0: np.array([[[0, 255]], [[255, 0]]], dtype=np.uint8)}
    new = {0: np.array([[[51, 51]]], dtype=np.uint8), 1: real[0][:1]}
    display = ImageGridDisplay(real=real, synthetic=new).plot()
    picture = display.image_.get_array()
    # Images of 1 x 2 with gaps of 1, and a gap of 3 more between the two kinds.
    one = 1.0
    assert_array_equal(picture[0], [0, 1, one, 1, 0, one, one, one, one, 0.2, 0.2, one])
    assert_array_equal(picture[2], [one] * 9 + [0, 1, one])
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["0", "1"]
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == [
        "real",
        "generated",
    ]


def test_generated_images_are_as_bright_as_real_ones():
    real, new = {0: np.array([[[0.0, 16.0]]])}, {0: np.array([[[8.0, 20.0]]])}
    both = ImageGridDisplay(real=real, synthetic=new).plot().image_.get_array()
    assert_array_equal(both[0, -3:-1], [0.5, 1])
    alone = ImageGridDisplay(synthetic=new).plot().image_.get_array()
    assert_array_equal(alone[0, :2], [0, 1])
    unit = ImageGridDisplay(synthetic={0: np.array([[[0.2, 0.4]]])}).plot()
    assert_array_equal(unit.image_.get_array()[0, :2], [0.2, 0.4])


def test_whatever_draws_samples_is_shown(gaussian, cvae, tmp_path):
    anonymizer = GenerativeAnonymizer(ClassGaussian(random_state=0)).fit(X, Y)
    anonymizer.release(tmp_path / "release.safetensors")
    release = load(tmp_path / "release.safetensors", device="cpu")
    over_sampler = GenerativeOverSampler(ClassGaussian()).fit(X, Y)
    net_sampler = CVAEOverSampler(max_epochs=1, device="cpu").fit(X, Y)
    for source in (gaussian, cvae, anonymizer, release, over_sampler, net_sampler):
        display = ImageGridDisplay.from_generator(
            source, classes=[3, 8], n_images=2, decoder=colour, random_state=0
        )
        assert not display.real
        assert [images.shape for images in display.synthetic.values()] == [
            (2, 4, 6, 3)
        ] * 2
    expected, _ = gaussian.sample(y=[3, 3, 8, 8], random_state=0)
    drawn = ImageGridDisplay.from_generator(
        gaussian, classes=[3, 8], n_images=2, random_state=0, **SHAPE
    ).synthetic
    assert_allclose(np.concatenate(list(drawn.values())).reshape(4, 64), expected)


def test_samples_of_any_over_sampler_are_shown():
    display = ImageGridDisplay.from_data(
        X[:200], Y[:200], X[200:], Y[200:], classes=[7], n_images=3, **SHAPE
    )
    assert_array_equal(display.real[7][0].ravel(), X[:200][Y[:200] == 7][0])
    assert_array_equal(display.synthetic[7][-1].ravel(), X[200:][Y[200:] == 7][-1])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "Give either image_shape"),
        ({"decoder": colour, **SHAPE}, "Give either image_shape"),
        ({"image_shape": (8, 9)}, r"has 72 values, and a sample has 64.*decoder"),
        ({"image_shape": 64}, "two or three integers above 0"),
        ({"image_shape": (-8, -8)}, "two or three integers above 0"),
        ({"image_shape": (8.0, 8.0)}, "two or three integers above 0"),
        ({"decoder": lambda X: X[:1]}, "an image for each sample, got 1 images for 5"),
        ({"decoder": lambda X: X}, r"must give images of shape \(h, w\)"),
        ({"decoder": lambda X: X.reshape(-1, 1, 8, 8)}, "channels comes last"),
        ({"decoder": lambda X: np.full((len(X), 8, 8), np.nan)}, "finite numbers"),
    ],
)
def test_what_makes_no_images_is_refused(gaussian, how, message):
    with pytest.raises(ValueError, match=message):
        ImageGridDisplay.from_generator(gaussian, **how)


def test_classes_without_samples_are_refused():
    with pytest.raises(ValueError, match=r"of the classes \[77\]"):
        ImageGridDisplay.from_data(X, Y, X, Y, classes=[3, 77], **SHAPE)
    with pytest.raises(ValueError, match="1d array"):
        ImageGridDisplay.from_data(X, Y, X, Y, classes=3, **SHAPE)


def test_pixels_of_bytes_are_drawn_in_the_range_of_bytes():
    real, new = np.full((2, 1), 51, dtype=np.uint8), np.array([[102.3], [-3.0]])
    y, one = np.zeros(2), {"image_shape": (1, 1)}
    grid = ImageGridDisplay.from_data(real, y, new, y, **one).image_.get_array()
    assert_allclose(grid[0, [0, 2]], 0.2)
    assert_allclose(grid[0, [-4, -2]], [0.4, 0])
    nearest = NearestImagesDisplay.from_data(new, real, n_neighbors=1, **one)
    assert_allclose(nearest.image_.get_array()[0, [0, -2]], [0.4, 0.2])


def test_frames_and_strips_of_bytes_are_drawn_in_the_range_of_bytes():
    real = pd.DataFrame(np.full((2, 1), 51, dtype=np.uint8))
    y, one = np.zeros(2), {"image_shape": (1, 1)}
    grid = ImageGridDisplay.from_data(real, y, real, y, **one).image_.get_array()
    assert_allclose(grid[0, 0], 0.2)
    nearest = NearestImagesDisplay.from_data(real, real, n_neighbors=1, **one)
    assert_allclose(nearest.image_.get_array()[0, 0], 0.2)
    dark = (X * 6).astype(np.uint8)
    cvae = CVAE(max_epochs=1, device="cpu", random_state=0).fit(dark, Y)
    strip = InterpolationDisplay.from_estimator(cvae, dark[:1], dark[:1], [0], **SHAPE)
    expected = cvae.interpolate(dark[:1], dark[:1], [0])[0, 0].reshape(8, 8) / 255
    drawn = strip.image_.get_array()[:8, :8]
    assert_allclose(drawn, expected.clip(0), atol=0.5 / 255 + 1e-9)


def test_ones_of_images_in_black_and_white_are_drawn_white():
    real, new = np.array([[1], [0]], dtype=np.uint8), np.array([[0.2], [0.8]])
    y, one = np.zeros(2), {"image_shape": (1, 1)}
    grid = ImageGridDisplay.from_data(real, y, new, y, **one).image_.get_array()
    assert_allclose(grid[0, [0, 2, -4, -2]], [1, 0, 0.2, 0.8])
    nearest = NearestImagesDisplay.from_data(new, real, n_neighbors=1, **one)
    assert_allclose(nearest.image_.get_array()[[0, 2], 0], [0.2, 0.8])


def test_bytes_beside_fractions_are_refused():
    real = (X * 15).astype(np.uint8)
    with pytest.raises(ValueError, match="Give all from 0 to 255"):
        ImageGridDisplay.from_data(real, Y, X / 16, Y, **SHAPE)
    with pytest.raises(ValueError, match="Give all from 0 to 255"):
        NearestImagesDisplay.from_data(X[:3] / 16, real, **SHAPE)


def test_a_decoder_must_be_a_function(gaussian):
    with pytest.raises(TypeError, match="decoder must be a function"):
        ImageGridDisplay.from_generator(gaussian, decoder="vae")


def test_a_strip_shows_the_steps(cvae):
    pair = X[Y == 3][:2]
    display = InterpolationDisplay.from_estimator(
        cvae, pair[:1], pair[1:], [3], n_steps=4, **SHAPE
    )
    expected = cvae.interpolate(pair[:1], pair[1:], [3], n_steps=4)
    assert_array_equal(display.images.reshape(1, 4, 64), expected)
    vae = VAE(max_epochs=1, device="cpu").fit(X, Y)
    InterpolationDisplay.from_estimator(vae, X[:1], X[1:2], **SHAPE)


def test_a_release_has_no_strip(gaussian):
    with pytest.raises(ValueError, match="no 'interpolate'"):
        InterpolationDisplay.from_estimator(gaussian, X[:1], X[1:2], [3], **SHAPE)


@pytest.fixture
def photos(tmp_path):
    """Paths of twelve photos of one colour each, and their embeddings."""
    reds = np.arange(12) * 20
    paths = [tmp_path / f"{red}.png" for red in reds]
    for path, red in zip(paths, reds, strict=True):
        Image.new("RGB", (30, 20), (int(red), 0, 0)).save(path)
    return paths, np.column_stack([reds, np.zeros(12)]).astype(float)


@pytest.mark.parametrize("as_array", [False, True])
def test_the_photos_of_the_nearest_embeddings_are_shown(photos, as_array):
    paths, embeddings = photos
    images = np.stack([np.asarray(Image.open(p)) for p in paths]) if as_array else paths
    display = NearestImagesDisplay.from_data(
        [[41.0, 0], [200, 3]], embeddings, images, y_synthetic=["a", "b"], n_neighbors=2
    )
    assert_array_equal(display.indices, [[2, 3], [10, 9]])
    assert_allclose(display.distances, [[1, 19], [3, np.hypot(20, 3)]])
    shown = [[image[48, 48, 0] for image in row] for row in display.neighbors]
    assert_array_equal(shown, [[40, 60], [200, 180]])
    assert [text.get_text() for text in display.texts_] == ["1", "19", "3", "20.2"]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["a", "b"]
    assert display.synthetic is None


def test_generated_samples_are_rendered_beside_the_photos(photos):
    paths, embeddings = photos
    display = NearestImagesDisplay.from_data(
        embeddings[:2] + 1,
        embeddings,
        paths,
        decoder=lambda Z: np.full((len(Z), 2, 2), 0.5),
    )
    picture = display.image_.get_array()
    assert_array_equal(picture[:96, :96], np.full((96, 96, 3), 0.5))


def test_nearest_images_say_that_they_are_not_for_publication(photos):
    paths, embeddings = photos
    ax = Figure().subplots()
    ax.set_title("a title of the user")
    NearestImagesDisplay.from_data(embeddings, embeddings, paths, ax=ax)
    assert "do not publish" in ax.get_xlabel()
    title = NearestImagesDisplay.from_data(
        embeddings, embeddings, paths
    ).ax_.get_title()
    assert "owner's eyes only" in title
    assert "do not publish" in " ".join(NearestImagesDisplay.__doc__.split())


def test_photos_must_belong_to_the_training_samples(photos):
    paths, embeddings = photos
    with pytest.raises(ValueError, match="each of the 12 training samples, got 5"):
        NearestImagesDisplay.from_data(embeddings, embeddings, paths[:5])
    with pytest.raises(ValueError, match="Give either image_shape"):
        NearestImagesDisplay.from_data(embeddings, embeddings)
    paths[11].unlink()
    # The last photo is not among the nearest, and is missed all the same.
    with pytest.raises(ValueError, match="Image 11 cannot be read: the file"):
        NearestImagesDisplay.from_data(embeddings[:1], embeddings, np.array(paths))
    paths[0].unlink()
    with pytest.raises(
        ValueError, match="Image 0 cannot be read: the file does not exist"
    ):
        NearestImagesDisplay.from_data(embeddings[:1], embeddings, paths)
