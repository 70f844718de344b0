"""Scores under noise and corruptions: closed forms, and what is left alone."""

import colorsys
import io

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, get_scorer
from sklearn.preprocessing import FunctionTransformer

from skcvae.metrics import corruption_scores, noise_accuracy_curve

SIGMAS = [0, 0.5, 1, 3]


class Sign(ClassifierMixin, BaseEstimator):
    """Class 1 where the first feature is positive; notes what it is given."""

    def __init__(self):
        self.classes_ = np.array([0, 1])
        self.given = []

    def fit(self, X, y):
        raise AssertionError

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        self.given.append(X)
        return (np.asarray(X)[:, 0] > 0).astype(int)


def two_gaussians(n=20_000, spread=1.0):
    y = np.repeat([0, 1], [n // 2, n - n // 2])
    X = np.random.RandomState(0).normal(size=(n, 2)) * spread
    X[:, 0] += spread * (2 * y - 1)
    return X, y


# Noise on features


@pytest.mark.parametrize("unit", ["within_class", 5.0, [5.0, 1.0]])
def test_two_gaussians_have_the_accuracy_of_the_closed_form(unit):
    X, y = two_gaussians(spread=5.0)
    curve = noise_accuracy_curve(Sign(), X, y, SIGMAS, unit=unit, random_state=0)
    # Means of 1 and -1, and noise beside the standard deviation 1.
    expected = norm.cdf(1 / np.sqrt(1 + np.square(SIGMAS)))
    assert_allclose(curve.mean, expected, atol=4 * 0.5 / np.sqrt(len(X)))


def test_given_the_samples_the_mean_is_the_closed_form():
    X, y = two_gaussians(50)
    curve = noise_accuracy_curve(
        Sign(), X, y, [0.7], unit=1.0, n_repeats=2000, random_state=0
    )
    expected = norm.cdf((2 * y - 1) * X[:, 0] / 0.7)
    error = np.sqrt((expected * (1 - expected)).sum() / 2000) / len(X)
    assert abs(curve.mean[0] - expected.mean()) < 4 * error
    assert curve.std[0] == pytest.approx(error * np.sqrt(2000), rel=0.1)


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "neg_log_loss"])
def test_without_noise_it_is_the_plain_score(scoring):
    X, y = two_gaussians(300)
    X, y = X[100:], y[100:]
    classifier = LogisticRegression().fit(X, y)
    curve = noise_accuracy_curve(classifier, X, y, [0.0], scoring=scoring)
    plain = get_scorer(scoring)(classifier, X, y)
    assert_array_equal(curve.scores, np.full((1, 5), plain))
    assert_array_equal(curve.std, 0)


def test_the_unit_is_the_pooled_deviation_within_classes():
    rng = np.random.RandomState(0)
    y = np.array(["b", "a"])[rng.randint(2, size=60)]
    X = rng.normal(size=(60, 3)) * [1, 10, 0] + 100 * (y == "a")[:, None]
    curve = noise_accuracy_curve(LogisticRegression().fit(X, y), X, y)
    # LDA has the same covariance, divided by n.
    lda = LinearDiscriminantAnalysis(store_covariance=True).fit(X[:, :2], y)
    expected = np.sqrt(np.diag(lda.covariance_) * 60 / 58)
    assert_allclose(curve.unit[:2], expected)
    assert curve.unit[2] == 0
    # A class of one sample says nothing of a deviation.
    with_one = np.vstack([X, [[1e6] * 3]])
    labels = np.append(y, "c")
    more = noise_accuracy_curve(
        LogisticRegression().fit(with_one, labels), with_one, labels, [0]
    )
    assert_allclose(more.unit, curve.unit)


def test_sigmas_and_classifiers_share_their_draws():
    X, y = two_gaussians(40)
    first, second = Sign(), Sign()
    for classifier in (first, second):
        noise_accuracy_curve(
            classifier, X, y, [1, 2], unit=1.0, n_repeats=2, random_state=3
        )
    assert_array_equal(first.given, second.given)
    assert_allclose(2 * (first.given[0] - X), first.given[1] - X)
    assert not np.allclose(first.given[0], first.given[2])


def test_samples_are_not_modified_and_frames_stay_frames():
    X, y = two_gaussians(30)
    frame = pd.DataFrame(X, columns=["first", "second"], index=np.arange(30) + 5)
    before, classifier = frame.copy(), Sign()
    noise_accuracy_curve(classifier, frame, y, [0, 1], n_repeats=1)
    pd.testing.assert_frame_equal(frame, before)
    assert classifier.given[0] is frame
    assert classifier.given[1].columns.tolist() == ["first", "second"]
    whole = np.arange(60).reshape(30, 2)
    noise_accuracy_curve(classifier, whole, y, [1])
    assert_array_equal(whole, np.arange(60).reshape(30, 2))
    assert classifier.given[-1].dtype == np.float64


X2, Y2 = two_gaussians(20)
REFUSED_NOISE = {
    "negative": ({"sigmas": [-1]}, "at least 0"),
    "NaN": ({"sigmas": [np.nan]}, "NaN"),
    "none": ({"sigmas": []}, "minimum of 1"),
    "number": ({"sigmas": 1.0}, "'sigmas' parameter"),
    "unit 0": ({"unit": 0.0}, "'unit' parameter"),
    "unit of another length": ({"unit": [1.0, 1.0, 1.0]}, "each of the 2 features"),
    "unit negative": ({"unit": [1.0, -1.0]}, "above 0"),
    "unit unknown": ({"unit": "range"}, "'unit' parameter"),
    "lone samples": ({"y": np.arange(20)}, "a class of two samples or more"),
    "lengths": ({"y": Y2[:5]}, "inconsistent numbers"),
    "NaN in X": ({"X": np.full((20, 2), np.nan)}, "NaN"),
    "scoring": ({"scoring": "good"}, "'scoring' parameter"),
    "repeats": ({"n_repeats": 0}, "'n_repeats' parameter"),
}


@pytest.mark.parametrize("case", REFUSED_NOISE)
def test_faulty_noise_is_refused(case):
    params, message = REFUSED_NOISE[case]
    with pytest.raises(ValueError, match=message):
        noise_accuracy_curve(**{"estimator": Sign(), "X": X2, "y": Y2, **params})


def test_classifiers_must_be_fitted():
    with pytest.raises(NotFittedError):
        noise_accuracy_curve(LogisticRegression(), X2, Y2)
    with pytest.raises(NotFittedError):
        corruption_scores(LogisticRegression(), None, GREY, LABELS)


# Corruptions of images

GREY = np.random.RandomState(0).randint(60, 190, size=(6, 16, 20), dtype=np.uint8)
COLOUR = np.random.RandomState(1).randint(60, 190, size=(6, 16, 20, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 0, 1, 1, 0])


class Brightness(ClassifierMixin, BaseEstimator):
    """Class 1 where the mean pixel is above a threshold; notes what it is given."""

    def __init__(self, threshold=125.0):
        self.threshold = threshold
        self.classes_ = np.array([0, 1])
        self.given = []

    def fit(self, X, y):
        raise AssertionError

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, images):
        self.given.append(images)
        return np.array([np.mean(image) > self.threshold for image in images], int)


def corrupted(name, images, severity):
    classifier = Brightness()
    corruption_scores(
        classifier,
        None,
        images,
        LABELS,
        corruptions=[name],
        severities=[severity],
        random_state=0,
    )
    disturbed, clean = classifier.given
    assert_array_equal(clean, images)
    assert disturbed.dtype == np.uint8
    return disturbed.astype(float)


def lighter(images, share):
    """Raise the value of hue, saturation and value, as ImageNet-C does."""
    if images.ndim == 3:
        return np.minimum(images + 255 * share, 255)
    found = np.empty(images.shape)
    for place in np.ndindex(images.shape[:3]):
        hue, saturation, value = colorsys.rgb_to_hsv(*images[place] / 255)
        raised = min(value + share, 1)
        found[place] = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, raised))
    return found


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
def test_corruptions_by_hand(images):
    plain = images.astype(float)
    brighter = corrupted("brightness", images, 2)
    assert_allclose(brighter, lighter(images, 0.2), atol=0.5 + 1e-9)
    mean = plain.mean(axis=(1, 2), keepdims=True)
    flat = corrupted("contrast", images, 3)
    assert_allclose(flat, mean + 0.2 * (plain - mean), atol=0.5 + 1e-9)
    # Pixels in the middle of the range are not cut.
    noise = corrupted("noise", images, 1) - plain
    assert noise.std() == pytest.approx(255 * 0.08, rel=0.05)
    assert abs(noise.mean()) < 4 * 255 * 0.08 / np.sqrt(noise.size)
    file = io.BytesIO()
    Image.fromarray(images[0]).save(file, "JPEG", quality=7)
    assert_array_equal(corrupted("jpeg", images, 5)[0], np.asarray(Image.open(file)))


def test_the_radius_of_the_blur_is_relative_to_the_side():
    edge = np.zeros((6, 64, 64), dtype=np.uint8)
    edge[:, :, 32:] = 255
    blurred = corrupted("blur", edge, 5)[0, 32]
    # A blurred edge is the distribution function of the Gaussian, of radius 6 / 224.
    expected = 255 * norm.cdf((np.arange(64) - 31.5) / (6 * 64 / 224))
    assert_allclose(blurred, expected, atol=6)


def test_scores_are_those_of_the_classifier():
    found = corruption_scores(
        Brightness(),
        None,
        GREY,
        LABELS,
        corruptions=["brightness", "contrast"],
        severities=[1, 5],
        scoring="balanced_accuracy",
    )

    def expected(images):
        predicted = np.mean(images, axis=(1, 2)) > 125
        return balanced_accuracy_score(LABELS, predicted)

    assert found.clean == expected(GREY)
    brighter = [np.minimum(GREY + 25.5 * s, 255) for s in (1, 5)]
    assert_allclose(found.scores["brightness"], [expected(b) for b in brighter])
    assert found.mean == np.mean(
        [*found.scores["brightness"], *found.scores["contrast"]]
    )
    assert found.severities.tolist() == [1, 5]


def test_an_embedder_gets_images_and_the_classifier_its_output():
    pictures = [Image.fromarray(image) for image in COLOUR]
    seen = []

    def embed(images):
        seen.append(images)
        return np.array([[np.mean(image) - 125] for image in images])

    embedder = FunctionTransformer(embed)
    found = corruption_scores(Sign(), embedder, pictures, LABELS, severities=[1])
    assert set(found.scores) == {"blur", "noise", "brightness", "contrast", "jpeg"}
    assert len(seen) == 6
    assert all(isinstance(image, Image.Image) for images in seen for image in images)
    embedded = COLOUR.mean(axis=(1, 2, 3)) > 125
    assert found.clean == accuracy_score(LABELS, embedded)
    for picture, image in zip(pictures, COLOUR, strict=True):
        assert_array_equal(picture, image)


def test_corruptions_of_your_own_and_images_left_alone():
    def erase(pixels, severity, rng):
        pixels[:severity] = 0
        return pixels

    before, classifier = GREY.copy(), Brightness()
    corruption_scores(
        classifier, None, GREY, LABELS, corruptions={"erase": erase}, severities=[3, 16]
    )
    assert_array_equal(GREY, before)
    assert_array_equal(classifier.given[0][:, 3:], GREY[:, 3:])
    assert not classifier.given[0][:, :3].any()
    assert not classifier.given[1].any()


def test_sums_of_a_corruption_of_your_own_do_not_wrap_around():
    classifier = Brightness()
    own = {"lighter": lambda pixels, severity, rng: pixels + 40 * severity}
    corruption_scores(
        classifier, None, GREY, LABELS, corruptions=own, severities=[1, 4]
    )
    assert_array_equal(classifier.given[0], np.minimum(GREY + 40.0, 255))
    assert_array_equal(classifier.given[1], np.minimum(GREY + 160.0, 255))


def test_black_pixels_of_colour_become_grey():
    black = np.zeros((6, 4, 4, 3), dtype=np.uint8)
    assert_allclose(corrupted("brightness", black, 2), lighter(black, 0.2))


def test_severities_share_their_noise_and_seeds_reproduce():
    first, second = Brightness(), Brightness()
    for classifier in (first, second):
        corruption_scores(
            classifier,
            None,
            GREY,
            LABELS,
            corruptions=["noise"],
            severities=[1, 2],
            random_state=5,
        )
    assert_array_equal(first.given, second.given)
    weak, strong = (given.astype(float) - GREY for given in first.given[:2])
    uncut = (np.abs(strong) < 50).all(axis=0)
    assert_allclose(weak[:, uncut] * 1.5, strong[:, uncut], atol=1.3)


REFUSED_IMAGES = {
    "floats": ({"images": GREY / 255}, ValueError, "uint8"),
    "channels": ({"images": np.zeros((6, 4, 4, 2), np.uint8)}, ValueError, "uint8"),
    "flat": ({"images": GREY.reshape(6, -1)}, ValueError, "shape"),
    "files": ({"images": ["a.png"] * 6}, TypeError, r"PIL\.Image\.open"),
    "mode": (
        {"images": [Image.new("CMYK", (4, 4))] * 6},
        ValueError,
        r"convert\('RGB'\)",
    ),
    "lengths": ({"y": LABELS[:2]}, ValueError, "inconsistent numbers"),
    "unknown": ({"corruptions": ["fog"]}, ValueError, "must be some of"),
    "no corruption": ({"corruptions": []}, ValueError, "at least one"),
    "no severity": ({"severities": []}, ValueError, "at least one"),
    "severity": ({"severities": [0]}, ValueError, "from 1 to 5"),
    "half a severity": ({"severities": [1.5]}, ValueError, "from 1 to 5"),
    "shape": (
        {"corruptions": {"cut": lambda pixels, severity, rng: pixels[1:]}},
        ValueError,
        "'cut' returned the shape",
    ),
    "not finite": (
        {"corruptions": {"log": lambda pixels, severity, rng: pixels * np.nan}},
        ValueError,
        "'log' returned NaN",
    ),
    "embedder": ({"embedder": np.mean}, ValueError, "'embedder' parameter"),
}


@pytest.mark.parametrize("case", REFUSED_IMAGES)
def test_faulty_images_are_refused(case):
    params, error, message = REFUSED_IMAGES[case]
    arguments = {
        "estimator": Brightness(),
        "embedder": None,
        "images": GREY,
        "y": LABELS,
        **params,
    }
    with pytest.raises(error, match=message):
        corruption_scores(**arguments)
