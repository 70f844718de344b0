"""How normal latents are within classes, and how well they separate classes."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr
from scipy.stats import ks_1samp
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from .._record_sets import array_likes, check_one_label_per_sample


@validate_params(array_likes("Z", "y"), prefer_skip_nested_validation=True)
def latent_normality_distance(Z: ArrayLike, *, y: ArrayLike) -> Bunch:
    r"""Compute how far the latents of each class are from the standard normal.

    The Kolmogorov-Smirnov distance

    .. math:: D = \sup_z \lvert \hat F(z) - \Phi(z) \rvert

    of the latents of a class in one dimension, for each class and dimension. Where a
    CVAE is conditioned on the class, its latents should be standard normal in every
    class; those of a VAE without the class are not [1]_.

    .. note::
       Few samples are farther by chance: latents that are standard normal have an
       expected distance of about :math:`0.87 / \sqrt{n}`. Compare models on the same
       samples.

    Parameters
    ----------
    Z : array-like of shape (n_samples, latent_dim)
        Latents: draws from the encoder, or its means.

    y : array-like of shape (n_samples,)
        Classes of the samples.

    Returns
    -------
    result : Bunch
        `classes`; `distances`, of shape (n_classes, latent_dim), in [0, 1], lower is
        better; `p_values` of the same shape, of the test that the latents are standard
        normal; `class_means`, of shape (n_classes,), the mean distance of each class;
        and `mean`, that of all classes.

    Raises
    ------
    ValueError
        If latents are not finite, or labels do not fit them.

    References
    ----------
    .. [1] D. Tafler, "Generative Data Augmentation in the Embedding Space of Vision
       Foundation Models to Address Long-Tailed Learning and Privacy Constraints",
       master's thesis, University of Bamberg, 2024 (table 3).

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.metrics import latent_normality_distance
    >>> Z = np.random.RandomState(0).randn(400, 2)
    >>> y = np.repeat([0, 1], 200)
    >>> Z[y == 1, 0] += 1
    >>> latent_normality_distance(Z, y=y).distances.round(2).tolist()
    [[0.08, 0.04], [0.37, 0.08]]
    """
    latents = check_array(Z, dtype=np.float64, input_name="Z")
    labels = check_one_label_per_sample(y, latents, "y")
    classes = np.unique(labels)
    tests = [ks_1samp(latents[labels == label], ndtr, axis=0) for label in classes]
    distances = np.array([test.statistic for test in tests])
    class_means = distances.mean(axis=1)
    return Bunch(
        classes=classes,
        distances=distances,
        p_values=np.array([test.pvalue for test in tests]),
        class_means=class_means,
        mean=float(class_means.mean()),
    )


@validate_params(
    {
        **array_likes("Z", "y"),
        "classifier": [HasMethods(["fit", "predict"]), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def latent_separability(
    Z: ArrayLike,
    *,
    y: ArrayLike,
    classifier: BaseEstimator | None = None,
    cv: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Estimate how well classes can be told from latents, by cross-validation.

    The latents of a CVAE need not hold the class, which its decoder is given: the
    accuracy is then that of guessing. It is high for a VAE without the class [1]_.

    Parameters
    ----------
    Z : array-like of shape (n_samples, latent_dim)
        Latents: draws from the encoder, or its means.

    y : array-like of shape (n_samples,)
        Classes of the samples, two or more, each with `cv` samples or more.

    classifier : estimator, default=None
        Classifier. None takes logistic regression on standardised latents; [1]_ takes
        a net of two layers.

    cv : int, default=5
        Number of folds, stratified and shuffled.

    random_state : int, RandomState instance or None, default=None
        Draws the folds. It does not seed the classifier.

    Returns
    -------
    result : Bunch
        `accuracy`, the mean over folds of the share of held-out samples whose class is
        predicted, in [0, 1], and `std`, its standard deviation over folds; `chance`,
        the share of the largest class, which is what guessing reaches.

    Raises
    ------
    ValueError
        If there is one class, a class has fewer samples than folds, latents are not
        finite, or labels do not fit them.

    References
    ----------
    .. [1] D. Tafler, "Generative Data Augmentation in the Embedding Space of Vision
       Foundation Models to Address Long-Tailed Learning and Privacy Constraints",
       master's thesis, University of Bamberg, 2024 (table 2).

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.metrics import latent_separability
    >>> rng = np.random.RandomState(0)
    >>> y = np.repeat([0, 1], 200)
    >>> knows, knows_not = rng.randn(400, 2) + 3 * y[:, None], rng.randn(400, 2)
    >>> round(latent_separability(knows, y=y, random_state=0).accuracy, 2)
    0.97
    >>> round(latent_separability(knows_not, y=y, random_state=0).accuracy, 2)
    0.52
    """
    latents = check_array(Z, dtype=[np.float64, np.float32], input_name="Z")
    labels = check_one_label_per_sample(y, latents, "y")
    chance = _check_folds(labels, cv)
    if classifier is None:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(
        cv, shuffle=True, random_state=check_random_state(random_state)
    )
    accuracies = cross_val_score(
        classifier, latents, labels, cv=folds, scoring="accuracy", error_score="raise"
    )
    return Bunch(
        accuracy=float(accuracies.mean()),
        std=float(accuracies.std(ddof=1)),
        chance=chance,
    )


def _check_folds(y, cv):
    """Refuse classes that cannot be in every fold; return the largest class's share."""
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise ValueError("y has one class. Separability needs two or more.")
    small = classes[counts < cv]
    if len(small):
        raise ValueError(
            f"{len(small)} classes have fewer than {cv} samples, one for each fold: "
            f"{small[:5].tolist()}. Lower cv, or leave them out."
        )
    return float(counts.max() / len(y))
