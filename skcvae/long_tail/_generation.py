"""Generated rows for training batches."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from .._generation import fit_generator
from ..generators import ClassGaussian
from ..generators._base import BaseGenerator


def prepare_generator(generator, X, y, variance, memory, seed):
    """Fit a generator; one that is fitted already is taken as it is.

    Parameters
    ----------
    generator : estimator or None
        None is :class:`~skcvae.generators.ClassGaussian`.

    X, y : ndarray
        Training rows and labels.

    variance : float, dict, array-like or None
        Variance of the draws to come, checked before a long training.

    memory : str, joblib.Memory or None
        Cache of fitted generators.

    seed : int
        For a generator without a `random_state` of its own.

    Returns
    -------
    estimator
        Fitted.
    """
    generator = ClassGaussian() if generator is None else generator
    if _is_fitted(generator):
        _check_fitted(generator, X, y)
        return generator
    if isinstance(generator, BaseGenerator) and variance is not None:
        generator._check_variance(variance, np.unique(y))
    generator = clone(generator)
    params = generator.get_params()
    if memory is not None and not isinstance(params.get("random_state"), Integral):
        raise ValueError(
            "memory needs a generator with an integer random_state, for example "
            "generator=CVAE(random_state=0): else every training would differ."
        )
    if params.get("random_state", seed) is None:
        generator.set_params(random_state=seed)
    return fit_generator(generator, X, y, memory)


def _is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _check_fitted(generator, X, y):
    """Refuse a fitted generator that cannot make rows for these."""
    n_features = getattr(generator, "n_features_in_", X.shape[1])
    if n_features != X.shape[1]:
        raise ValueError(
            f"The generator was fitted on {n_features} features, and X has "
            f"{X.shape[1]}. Fit it on rows like X, or pass an unfitted one."
        )
    known = set(np.asarray(getattr(generator, "classes_", y)).tolist())
    lacks = [label for label in np.unique(y).tolist() if label not in known]
    if lacks:
        raise ValueError(
            f"The generator was fitted without the classes {lacks[:5]} of y. "
            "Fit it on all of them, or pass an unfitted one."
        )


def open_stream(generator, classes, variance, scaling, device, seed):
    """Return a function that draws scaled rows for sorted codes of `classes`.

    Parameters
    ----------
    generator : estimator
        Fitted: one of ours, which draws on the device, or any with `sample(y=...)`.

    classes : ndarray of shape (n_classes,)
        Labels that the codes stand for.

    variance : float, dict, array-like or None
        Variance of the draws; None is the generator's own.

    scaling : tuple of two ndarrays of shape (n_features,)
        Offset and scale by which the rows that the head sees were scaled.

    device : torch.device
        Where to draw.

    seed : int
        Seed for generators that are not ours.

    Returns
    -------
    callable
        Takes class codes, sorted, of shape (n,) and a :class:`torch.Generator`, and
        returns rows of shape (n, n_features).
    """
    offset, scale = (torch.as_tensor(a, dtype=torch.float32) for a in scaling)
    offset, scale = offset.to(device), scale.to(device)
    factor = torch.where(scale > 0, 1 / scale, 0.0)
    if isinstance(generator, BaseGenerator):
        codes_of = torch.from_numpy(generator._encode_labels(classes)).to(device)
        draw = generator._open_stream(device, variance)

        @torch.inference_mode()
        def stream(codes, torch_generator):
            rows = draw(codes_of.index_select(0, codes), torch_generator)
            return rows.sub_(offset).mul_(factor)

        return stream

    rng = np.random.RandomState(seed)
    settings = {} if variance is None else {"variance": variance}

    def sample(codes, torch_generator):
        labels = classes[codes.cpu().numpy()]
        X, _ = generator.sample(y=labels, random_state=rng.randint(2**31), **settings)
        rows = torch.as_tensor(np.asarray(X), dtype=torch.float32, device=device)
        return rows.sub(offset).mul_(factor)

    return sample
