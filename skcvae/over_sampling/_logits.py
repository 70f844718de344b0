"""A classifier as a differentiable function of rows."""

import copy

import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import nn


def prepare_classifier(classifier, X, y, seed):
    """Return a classifier that is fitted: as it is, or a copy fitted on the rows.

    Parameters
    ----------
    classifier : estimator or torch.nn.Module
        A module counts as fitted.

    X, y : ndarray
        Training rows and labels.

    seed : int
        For an unfitted classifier without a seed of its own.

    Returns
    -------
    estimator or torch.nn.Module
    """
    if isinstance(classifier, nn.Module):
        return classifier
    try:
        check_is_fitted(classifier)
    except NotFittedError:
        classifier = clone(classifier)
        if classifier.get_params().get("random_state", seed) is None:
            classifier.set_params(random_state=seed)
        return classifier.fit(X, y)
    return classifier


def open_logits(classifier, X, y, device):
    """Return a module from rows to logits, with a column for each class of y.

    Parameters
    ----------
    classifier : estimator or torch.nn.Module
        Fitted. The logits of a module belong to the sorted classes of y.

    X, y : ndarray
        Training rows and labels, which tell what shapes must fit.

    device : torch.device
        Where it computes.

    Returns
    -------
    torch.nn.Module
        It takes rows in the units of `X`; its parameters are copies.

    Raises
    ------
    ValueError
        If the classifier has no gradient, other features or fewer classes.
    """
    labels = np.unique(y)
    if isinstance(classifier, nn.Module):
        logits = copy.deepcopy(classifier)
    elif hasattr(classifier, "make_logits"):
        logits = classifier.make_logits()
    else:
        logits = _linear_logits(classifier)
    logits = logits.requires_grad_(False).to(device).eval()
    classes = getattr(classifier, "classes_", labels)
    _check_shape(logits, X, len(classes), device)
    return _Columns(logits, _positions(labels, classes)).to(device)


class _Columns(nn.Module):
    """Some columns of the output of a module."""

    def __init__(self, module, columns):
        super().__init__()
        self.module = module
        self.register_buffer("columns", columns)

    def forward(self, x):
        """Return the columns."""
        return self.module(x).index_select(1, self.columns)


def _linear_logits(classifier):
    """Return the decision function of a linear classifier of scikit-learn."""
    n_classes = len(getattr(classifier, "classes_", ()))
    coef = np.atleast_2d(getattr(classifier, "coef_", np.empty((0, 0))))
    # SVC has a row for each pair of classes.
    of_pairs = hasattr(classifier, "support_vectors_")
    if len(coef) != (1 if n_classes == 2 else n_classes) or of_pairs:
        raise ValueError(
            f"{type(classifier).__name__} gives no gradient. Pass a linear model of "
            "scikit-learn with coef_ and a row for each class, such as "
            "LogisticRegression or LinearSVC, a LongTailClassifier, or a "
            "torch.nn.Module that returns logits."
        )
    intercept = np.broadcast_to(classifier.intercept_, len(coef))
    if n_classes == 2:
        coef = np.concatenate([np.zeros_like(coef), coef])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    layer = nn.utils.skip_init(nn.Linear, coef.shape[1], n_classes)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(coef))
        layer.bias.copy_(torch.tensor(intercept))
    return layer


def _check_shape(logits, X, n_classes, device):
    probe = torch.tensor(np.asarray(X[:2], dtype=np.float32), device=device)
    try:
        with torch.no_grad():
            shape = tuple(logits(probe).shape)
    except RuntimeError as error:
        raise ValueError(
            f"The classifier does not take rows of {X.shape[1]} features: {error}"
        ) from error
    if shape != (len(probe), n_classes):
        raise ValueError(
            f"For {len(probe)} rows and {n_classes} classes the classifier returned "
            f"an array of shape {shape}. It must return a logit for each class."
        )


def _positions(labels, classes):
    """Return where each label stands in `classes`."""
    known = np.asarray(classes).tolist()
    place = {label: i for i, label in enumerate(known)}
    missing = [label for label in labels.tolist() if label not in place]
    if missing:
        raise ValueError(
            f"The classifier was fitted without the classes {missing[:5]} of y. Fit "
            "it on all of them, or pass an unfitted one."
        )
    return torch.tensor([place[label] for label in labels.tolist()])
