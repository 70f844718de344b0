"""Class distributions: given by name or number, counted, and exchanged."""

import numpy as np
from scipy.special import softmax
from sklearn.utils.class_weight import compute_class_weight


def resolve_target_prior(target_prior, class_count, *, name="target_prior"):
    """Return a class distribution as float64 that sums to one.

    Parameters
    ----------
    target_prior : {"train", "uniform"} or array-like of shape (n_classes,)
        The frequencies of `class_count`, equal numbers, or any numbers >= 0 that are
        not all 0.

    class_count : array-like of shape (n_classes,)
        Number of training rows of each class.

    name : str, default="target_prior"
        Parameter that errors name.

    Returns
    -------
    prior : ndarray of shape (n_classes,)
        The distribution, in the order of `class_count`.
    """
    class_count = np.asarray(class_count, dtype=np.float64)
    if isinstance(target_prior, str):
        prior = {"train": class_count, "uniform": np.ones_like(class_count)}[
            target_prior
        ]
    else:
        prior = _check_prior(target_prior, len(class_count), name)
    # Two steps, for the sum of huge numbers would overflow.
    prior = prior / prior.max()
    return prior / prior.sum()


def trained_prior(classifier, y, classes):
    """Return the class distribution of labels, times the weights of the classes."""
    present, counts = np.unique(y, return_counts=True)
    if len(present) == len(classes):
        weight = classifier.get_params(deep=False).get("class_weight")
        # Forests spell out that they balance each tree's rows.
        weight = "balanced" if weight == "balanced_subsample" else weight
        counts = counts * compute_class_weight(weight, classes=present, y=y)
    else:
        # The error below will name the classes that are gone.
        counts = np.isin(classes, present)
    return check_positive(resolve_target_prior("train", counts), classes)


def check_positive(prior, classes):
    """Return the prior, or refuse classes that the classifier cannot have learned."""
    if not prior.all():
        raise ValueError(
            f"The resampled prior of the classes {classes[prior == 0].tolist()} is 0: "
            "a classifier that learned nothing of a class cannot tell its probability. "
            "Check the sampler, class_weight and resampled_prior."
        )
    return prior


def move_prior(proba, prior, target_prior):
    """Return probabilities for another prior; rows that lose all get that prior."""
    with np.errstate(divide="ignore"):
        target = np.log(target_prior)
        scores = np.log(np.asarray(proba, dtype=np.float64)) + target - np.log(prior)
    lost = np.isneginf(scores).all(axis=1)
    scores[lost] = target
    return softmax(scores, axis=1)


def _check_prior(values, n_classes, name):
    """Return the numbers as float64, or say what is wrong with them."""
    if hasattr(values, "iloc"):
        raise TypeError(
            f"{name} is a pandas object, whose order may differ from that of the "
            f"classes: pass {name}.sort_index().to_numpy()."
        )
    try:
        prior = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, got {values!r}.") from error
    if prior.shape != (n_classes,):
        raise ValueError(
            f"{name} must have one number for each of the {n_classes} classes, in "
            f"sorted order of the labels; got an array of shape {prior.shape}."
        )
    if not (np.isfinite(prior).all() and (prior >= 0).all() and prior.any()):
        raise ValueError(
            f"{name} must be finite numbers >= 0 that are not all 0, got {values!r}."
        )
    return prior
