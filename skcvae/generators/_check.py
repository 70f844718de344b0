"""A check that authors of generators run in their own tests."""

import inspect
import pickle
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from .._generation import check_drawable, clone_generator, draw


def check_generator(generator: Any) -> None:
    """Check that an object is a generator for all parts of skcvae.

    It fits copies to small data sets and draws from them: labels that are numbers and
    strings, a class of one sample, float32 and float64, seeds, pickling, and a
    decoder where there is one. Run it in the tests of a package that has a generator.

    Parameters
    ----------
    generator : estimator
        Unfitted, with parameters that make it fast on 60 samples of 4 features.

    Raises
    ------
    TypeError
        If the object lacks a method or a keyword of the protocol.

    AssertionError
        If it has them, but does not do what they promise. The message says what.

    Examples
    --------
    >>> from skcvae.generators import ClassGaussian, check_generator
    >>> check_generator(ClassGaussian())
    """
    check_drawable(generator, ("fit", "sample"))
    for label_type in (int, str):
        _check_draws(generator, *_make_samples(label_type))
    _check_refit(generator)
    _check_seeds(generator)
    _check_dtypes(generator)
    if hasattr(generator, "make_decoder"):
        _check_decoder(generator)


def _make_samples(label_type=int):
    """Return 60 samples of three classes, one of which has a single sample."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [39, 20, 1])
    X = rng.normal(size=(60, 4)) + 10 * np.eye(3, 4)[y]
    order = rng.permutation(60)
    return X[order], y[order].astype(label_type)


def _expect(condition, generator, promise):
    """Raise where a promise is broken."""
    if not condition:
        raise AssertionError(f"{type(generator).__name__}: {promise}")


def _copy(generator, seed=0):
    """Return an unfitted copy that is seeded as a wrapper does it."""
    return clone_generator(clone(generator), seed)


def _check_draws(generator, X, y):
    """Check samples of given labels, and of labels that the generator draws."""
    copied = _copy(generator)
    fitted = copied.fit(X, y)
    _expect(fitted is copied, generator, "fit must return self.")
    check_is_fitted(fitted)
    wanted = np.unique(y)[[2, 0, 0, 1, 2]]
    drawn, labels = draw(fitted, wanted, random_state=0)
    _expect(drawn.shape == (5, 4), generator, "samples must have the features of X.")
    try:
        drawn, labels = draw(fitted, n_samples=7, random_state=0)
    except Exception as error:
        raise AssertionError(
            f"{type(generator).__name__}: sample(n_samples=7) without y failed: {error}"
        ) from error
    _expect(len(drawn) == 7, generator, "sample(n_samples=7) must return 7 samples.")
    known = set(labels.tolist()) <= set(y.tolist())
    _expect(known, generator, "sample(n_samples) must return labels of y.")
    empty, _ = draw(fitted, wanted[:0], random_state=0)
    _expect(empty.shape == (0, 4), generator, "sample(y=[]) must return no sample.")
    near, _ = draw(fitted, np.repeat(np.unique(y)[:2], 200), random_state=0)
    means = [X[y == label].mean(axis=0) for label in np.unique(y)[:2]]
    nearest = [
        np.argmin([np.linalg.norm(part.mean(axis=0) - mean) for mean in means])
        for part in (near[:200], near[200:])
    ]
    _expect(nearest == [0, 1], generator, "samples must resemble those of their class.")
    try:
        fitted.sample(y=["no such class"], random_state=0)
    except (ValueError, KeyError):
        return
    _expect(False, generator, "sample must refuse a label that was not in y.")


def _check_refit(generator):
    """Check that a second fit forgets the first, and leaves its arguments alone."""
    X, y = _make_samples()
    kept = X.copy(), y.copy()
    fitted = _copy(generator).fit(X[:, :2], y % 2).fit(X, y)
    expected = draw(_copy(generator).fit(X, y), y, random_state=1)[0]
    drawn = draw(fitted, y, random_state=1)[0]
    _expect(np.array_equal(drawn, expected), generator, "fit must forget earlier fits.")
    unchanged = np.array_equal(X, kept[0]) and np.array_equal(y, kept[1])
    _expect(unchanged, generator, "fit must not change its arguments.")
    restored = pickle.loads(pickle.dumps(fitted))
    drawn = draw(restored, y, random_state=1)[0]
    _expect(np.array_equal(drawn, expected), generator, "pickling must keep the model.")


def _check_seeds(generator):
    """Check that a seed decides what is drawn, and that no global state moves."""
    X, y = _make_samples()
    before = str(np.random.get_state())
    fitted = _copy(generator).fit(X, y)
    first, again, other = (draw(fitted, y, random_state=s)[0] for s in (1, 1, 2))
    _expect(np.array_equal(first, again), generator, "a seed must draw the same again.")
    _expect(not np.array_equal(first, other), generator, "other seeds must draw anew.")
    _expect(
        str(np.random.get_state()) == before,
        generator,
        "NumPy's global random state must be left alone: use random_state.",
    )


def _check_dtypes(generator):
    """Check that samples have the type of the training samples."""
    X, y = _make_samples()
    for dtype in (np.float32, np.float64):
        drawn, _ = draw(_copy(generator).fit(X.astype(dtype), y), y, random_state=0)
        _expect(drawn.dtype == dtype, generator, f"samples must be {dtype.__name__}.")


def _check_decoder(generator):
    """Check that the decoder returns samples, with gradients."""
    import torch

    X, y = _make_samples()
    decoder = _copy(generator).fit(X, y).make_decoder("cpu")
    for name in ("latent_dim", "classes", "latent_std", "noise_std"):
        _expect(hasattr(decoder, name), generator, f"its decoder must have {name}.")
    z = torch.zeros(3, decoder.latent_dim, requires_grad=True)
    decoded = decoder(z, torch.arange(3))
    _expect(
        tuple(decoded.shape) == (3, 4), generator, "its decoder must return samples."
    )
    decoded.sum().backward()
    _expect(z.grad is not None, generator, "its decoder must be differentiable.")
    parameters = inspect.signature(generator.decode).parameters
    _expect({"z", "y"} <= set(parameters), generator, "it must have decode(z, y).")
