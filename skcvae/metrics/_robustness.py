"""How accurate a fitted classifier stays when samples or images are disturbed."""

import io
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageFilter
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils import (
    Bunch,
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)
from sklearn.utils.validation import check_is_fitted

from .._record_sets import array_likes
from .._seeds import draw_seeds

_SCORING = [StrOptions(set(get_scorer_names())), callable]


@validate_params(
    {
        "estimator": [HasMethods(["predict"])],
        **array_likes("X", "y", "sigmas"),
        "unit": [
            StrOptions({"within_class"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
        ],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "scoring": _SCORING,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def noise_accuracy_curve(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    sigmas: ArrayLike = (0.0, 0.25, 0.5, 1.0, 2.0),
    *,
    unit: str | float | ArrayLike = "within_class",
    n_repeats: int = 5,
    scoring: str | Callable = "accuracy",
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Compute the score under Gaussian noise on the features.

    Feature :math:`j` of each sample gets noise from :math:`N(0, \sigma^2 u_j^2)`, for
    the unit :math:`u_j`. All :math:`\sigma` share their draws, and so do all
    classifiers that are given the same samples and the same integer seed: differences
    between them are no chance of the draws.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier. It is not fitted again.

    X : array-like of shape (n_samples, n_features)
        Real samples that it was not fitted on. They are not modified.

    y : array-like of shape (n_samples,)
        Their classes.

    sigmas : array-like of shape (n_sigmas,), default=(0.0, 0.25, 0.5, 1.0, 2.0)
        Standard deviations of the noise, at least 0, in units of `unit`. For 0, the
        score is that of the samples as they are.

    unit : "within_class", float or array-like, default="within_class"
        What 1 is: the pooled standard deviation of each feature within the classes of
        `X`, or a number above 0 in the units of `X`, for all features or for each.

    n_repeats : int, default=5
        Number of draws of the noise.

    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn.

    random_state : int, RandomState instance or None, default=None
        Seed of the noise.

    Returns
    -------
    result : Bunch
        `sigmas`; `scores` of shape (n_sigmas, n_repeats); their `mean` and `std` over
        the repeats, of shape (n_sigmas,); and the `unit` of each feature.

    Raises
    ------
    ValueError
        If samples, `sigmas` or `unit` are not as above, or each class has one sample,
        whose features have no standard deviation.

    NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    corruption_scores : The same for images.
    linear_probe : Trains a head, and scores it under noise.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skcvae.metrics import noise_accuracy_curve
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = LogisticRegression(max_iter=500).fit(X[::2], y[::2])
    >>> curve = noise_accuracy_curve(
    ...     classifier, X[1::2], y[1::2], [0, 1, 4], random_state=0
    ... )
    >>> curve.mean.round(2)
    array([0.96, 0.93, 0.67])
    """
    check_is_fitted(estimator)
    values = check_array(X, dtype=np.float64, input_name="X")
    y = column_or_1d(y)
    check_consistent_length(values, y)
    levels = _check_sigmas(sigmas)
    unit = _resolve_unit(unit, values, y)
    score = get_scorer(scoring)
    scores = np.empty((len(levels), n_repeats))
    for repeat, seed in enumerate(
        draw_seeds(check_random_state(random_state), n_repeats)
    ):
        noise = unit * np.random.RandomState(seed).standard_normal(values.shape)
        for row, sigma in enumerate(levels):
            disturbed = _like(X, values + sigma * noise) if sigma else X
            scores[row, repeat] = score(estimator, disturbed, y)
    return Bunch(
        sigmas=levels,
        scores=scores,
        mean=scores.mean(axis=1),
        std=scores.std(axis=1),
        unit=unit,
    )


def _check_sigmas(sigmas):
    """Return standard deviations, none negative, shape (n_sigmas,)."""
    levels = check_array(sigmas, ensure_2d=False, dtype=np.float64, input_name="sigmas")
    if levels.ndim != 1 or (levels < 0).any():
        raise ValueError(
            f"sigmas must be a sequence of numbers of at least 0, got {sigmas!r}."
        )
    return levels


def _resolve_unit(unit, X, y):
    """Return the unit of each feature, shape (n_features,)."""
    n_features = X.shape[1]
    if not isinstance(unit, str):
        unit = np.asarray(unit, dtype=np.float64)
        if unit.shape not in ((), (n_features,)) or not (
            np.isfinite(unit).all() and (unit > 0).all()
        ):
            raise ValueError(
                "unit must be a finite number above 0, or one for each of the "
                f"{n_features} features, got {unit}."
            )
        return np.broadcast_to(unit, (n_features,)).copy()
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    n_free = len(X) - len(counts)
    if not n_free:
        raise ValueError(
            "unit='within_class' needs a class of two samples or more. Give unit as a "
            "number, or as one for each feature."
        )
    means = np.zeros((len(counts), n_features))
    np.add.at(means, codes, X)
    deviations = X - (means / counts[:, None])[codes]
    return np.sqrt((deviations**2).sum(axis=0) / n_free)


def _like(X, values):
    """Return values as a data frame where the samples are one."""
    if not hasattr(X, "iloc"):
        return values
    return type(X)(values, columns=X.columns, index=X.index)


# The side of the images that the radius of the blur is for.
_BLUR_SIDE = 224


def _blur(pixels, level, rng):
    radius = level * min(pixels.shape[:2]) / _BLUR_SIDE
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _noise(pixels, level, rng):
    return pixels + 255 * level * rng.standard_normal(pixels.shape)


def _brightness(pixels, level, rng):
    """Raise the largest channel, and the others so that hue and saturation stay."""
    if pixels.ndim == 2:
        return pixels + 255.0 * level
    value = pixels.max(axis=2, keepdims=True).astype(float)
    raised = np.minimum(value + 255 * level, 255)
    return np.where(value > 0, pixels * raised / np.maximum(value, 1), raised)


def _contrast(pixels, level, rng):
    mean = pixels.mean(axis=(0, 1))
    return mean + level * (pixels - mean)


def _jpeg(pixels, level, rng):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=level)
    with Image.open(file) as image:
        return np.asarray(image)


# Functions, and their levels from 1 to 5 (Hendrycks and Dietterich 2019).
_CORRUPTIONS = {
    "blur": (_blur, (1, 2, 3, 4, 6)),
    "noise": (_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "jpeg": (_jpeg, (25, 18, 15, 10, 7)),
}


@validate_params(
    {
        "estimator": [HasMethods(["predict"])],
        "embedder": [HasMethods(["transform"]), None],
        "images": ["array-like"],
        "y": ["array-like"],
        "corruptions": ["array-like", dict],
        "severities": ["array-like"],
        "scoring": _SCORING,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def corruption_scores(
    estimator: BaseEstimator,
    embedder: Any,
    images: Sequence,
    y: ArrayLike,
    *,
    corruptions: Sequence[str] | Mapping[str, Callable] = tuple(_CORRUPTIONS),
    severities: Sequence[int] = (1, 3, 5),
    scoring: str | Callable = "accuracy",
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Compute the score on images that are blurred, noisy, too bright, flat or coarse.

    The five corruptions and their severities are as in ImageNet-C [1]_; the radius of
    the blur is that for a side of 224 pixels, and shrinks with the shorter side.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier of embeddings, or a pipeline that takes images. It is not
        fitted again.

    embedder : object with the method transform, or None
        Turns images into what the classifier takes, such as a
        :class:`~skcvae.embedding.FoundationEmbedder`. None hands over images.

    images : array of shape (n_images, height, width[, 3]) or sequence
        Pixels of type uint8, grey or RGB, as one array or as images of PIL in the modes
        "L" and "RGB". They are not modified. One array stays one; a sequence is handed
        over as a list of images of PIL.

    y : array-like of shape (n_images,)
        Their classes.

    corruptions : sequence of str or dict
        Names of corruptions, by default all of "blur", "noise", "brightness",
        "contrast" and "jpeg"; or a dict from names to functions of your own, which take
        the pixels of an image as floats from 0 to 255, a severity and a
        :class:`numpy.random.RandomState`, and return pixels of the same shape. They are
        rounded and cut to [0, 255].

    severities : sequence of int, default=(1, 3, 5)
        From 1 to 5 for the named corruptions, and any values for your own.

    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn.

    random_state : int, RandomState instance or None, default=None
        Seed of the noise. Each severity of a corruption has the same draws.

    Returns
    -------
    result : Bunch
        `clean`, the score on the images as they are; `scores`, a dict from the name of
        a corruption to an array of shape (n_severities,); `mean`, the mean of all of
        these; and `severities`.

    Raises
    ------
    ValueError, TypeError
        If images, corruptions or severities are not as above, or a function returns
        another shape, or values that are not finite.

    NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    noise_accuracy_curve : Noise on features.

    References
    ----------
    .. [1] D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to
       Common Corruptions and Perturbations", ICLR 2019, arXiv 1903.12261.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from skcvae.metrics import corruption_scores
    >>> digits = load_digits()
    >>> images = np.uint8(digits.images * 15)
    >>> def flatten(images):
    ...     return images.reshape(len(images), -1) / 255
    >>> classifier = make_pipeline(
    ...     FunctionTransformer(flatten), LogisticRegression(max_iter=500)
    ... ).fit(images[::2], digits.target[::2])
    >>> found = corruption_scores(
    ...     classifier, None, images[1::2], digits.target[1::2],
    ...     corruptions=["noise"], random_state=0,
    ... )
    >>> round(found.clean, 2), found.scores["noise"].round(2)
    (0.95, array([0.93, 0.92, 0.74]))
    """
    check_is_fitted(estimator)
    y = column_or_1d(y)
    check_consistent_length(images, y)
    is_array = isinstance(images, np.ndarray)
    pixels = [_pixels(image) for image in images]
    chosen = _check_corruptions(corruptions, severities)
    score = get_scorer(scoring)

    def score_of(disturbed):
        pictures = map(Image.fromarray, disturbed)
        given = np.stack(disturbed) if is_array else list(pictures)
        X = given if embedder is None else embedder.transform(given)
        return float(score(estimator, X, y))

    seeds = draw_seeds(check_random_state(random_state), len(chosen))
    scores = {
        name: np.array(
            [score_of(_corrupted(pixels, name, function, s, seed)) for s in severities]
        )
        for (name, function), seed in zip(chosen.items(), seeds, strict=True)
    }
    return Bunch(
        clean=score_of(pixels),
        scores=scores,
        mean=float(np.mean(list(scores.values()))),
        severities=np.asarray(severities),
    )


def _pixels(image):
    """Return the pixels of an image, or refuse it."""
    if isinstance(image, Image.Image):
        if image.mode not in ("L", "RGB"):
            raise ValueError(
                f"Images of PIL must have the mode 'L' or 'RGB', got {image.mode!r}. "
                "Use image.convert('RGB')."
            )
        return np.asarray(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(
            "images must be an array, or a sequence of arrays or images of PIL, got "
            f"{type(image).__name__}. Open files by PIL.Image.open."
        )
    grey_or_rgb = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not grey_or_rgb or not image.size:
        raise ValueError(
            "Each image must be of type uint8 and of shape (height, width) or (height, "
            f"width, 3), got {image.dtype} and {image.shape}."
        )
    return image


def _check_corruptions(corruptions, severities):
    """Return the functions of corruptions by name, which take a severity."""
    if len(corruptions) == 0 or len(severities) == 0:
        raise ValueError("There must be at least one corruption and one severity.")
    if isinstance(corruptions, Mapping):
        return {name: _own(function) for name, function in corruptions.items()}
    unknown = [name for name in corruptions if name not in _CORRUPTIONS]
    if isinstance(corruptions, str) or unknown:
        raise ValueError(
            f"corruptions must be some of {list(_CORRUPTIONS)}, got {corruptions!r}."
        )
    if not all(isinstance(s, Integral) and 1 <= s <= 5 for s in severities):
        raise ValueError(
            f"severities must be integers from 1 to 5, got {severities!r}."
        )
    return {name: _named(*_CORRUPTIONS[name]) for name in corruptions}


def _named(function, levels):
    def corrupt(pixels, severity, rng):
        return function(pixels, levels[severity - 1], rng)

    return corrupt


def _own(function):
    def corrupt(pixels, severity, rng):
        # Sums of bytes would wrap around, and the function may write into its argument.
        return function(pixels.astype(np.float64), severity, rng)

    return corrupt


def _corrupted(images, name, function, severity, seed):
    """Return the pixels of corrupted images."""
    rng = np.random.RandomState(seed)
    corrupted = []
    for image in images:
        values = np.asarray(function(image, severity, rng))
        if values.shape != image.shape:
            raise ValueError(
                f"The corruption {name!r} returned the shape {values.shape} for an "
                f"image of the shape {image.shape}."
            )
        if not np.isfinite(values).all():
            raise ValueError(f"The corruption {name!r} returned NaN or infinity.")
        corrupted.append(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    return corrupted
