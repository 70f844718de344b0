"""Copy a generator, fit it or load it from a cache, and draw from it."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path

import joblib
import numpy as np
from filelock import FileLock
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import assert_all_finite, check_random_state, get_tags
from sklearn.utils.validation import (
    _check_feature_names,
    check_is_fitted,
    check_memory,
)
from threadpoolctl import threadpool_limits

from . import __version__
from ._blocks import Blocks, refuse_blocks
from ._files import make_private_folder
from ._label_sets import check_label_names, is_label_sets, read_label_sets
from ._seeds import draw_seeds
from ._threads import available_threads
from ._validation import check_private_samples, check_samples, check_variance

# Increase it when a fitted generator gets other parts: older entries of a cache would
# load and then fail.
_CACHE_FORMAT = 8
# Few enough samples that a chunk stays in the processor's cache.
CHUNK_SIZE = 2048
_KEYWORDS = ("n_samples", "y", "random_state")


def unfrozen(estimator):
    """Return the estimator inside of scikit-learn's FrozenEstimator, or itself."""
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator


def check_drawable(source, methods=("sample",)):
    """Refuse what cannot draw samples of given classes, before any long work.

    Raise TypeError if one of `methods` is missing, or `sample` lacks a keyword.
    """
    if isinstance(source, type):
        raise TypeError(
            f"Pass an instance, {source.__name__}(), not the class {source.__name__}."
        )
    inner = unfrozen(source)
    name = type(inner).__name__
    for method in methods:
        # A frozen source has a `fit` that does nothing, also if it had none before.
        if not callable(getattr(source, method, None)):
            raise TypeError(
                f"{name} is not a generator: it has no method {method}. A generator "
                "has fit(X, y) and sample(n_samples=None, *, y=None, "
                "random_state=None)."
            )
    parameters = inspect.signature(inner.sample).parameters
    lacking = [keyword for keyword in _KEYWORDS if keyword not in parameters]
    if lacking and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise TypeError(
            f"{name}.sample does not take {' and '.join(lacking)}, so it cannot draw "
            "samples of given classes. Make a density of scikit-learn a generator by "
            "skcvae.generators.DensityGenerator, or give sample the signature "
            "sample(n_samples=None, *, y=None, random_state=None)."
        )


def clone_generator(generator, random_state=None, memory=None, seed=None):
    """Return the copy of a generator that an estimator fits.

    A generator whose own `random_state` is an integer keeps it. The estimator around
    it, which has `random_state` and `memory`, seeds any other, if it has a seed; `seed`
    replaces its seed. A cache needs an integer seed. A frozen generator is not copied.
    """
    check_drawable(generator, ("fit", "sample"))
    if not callable(getattr(generator, "get_params", None)):
        raise TypeError(
            f"{type(generator).__name__} cannot be copied: a generator needs "
            "get_params and set_params, which sklearn.base.BaseEstimator has."
        )
    if isinstance(generator, FrozenEstimator):
        return generator
    generator = clone(generator)
    params = generator.get_params(deep=False)
    if "random_state" not in params or isinstance(params["random_state"], Integral):
        return generator
    check_memory_seed(memory, random_state)
    if random_state is not None:
        generator.set_params(random_state=random_state if seed is None else seed)
    return generator


def check_memory_seed(memory, random_state):
    """Refuse a cache that could not tell two different trainings apart."""
    if memory is not None and not isinstance(random_state, Integral):
        raise ValueError(
            "memory needs an integer random_state: without one, every training would "
            f"differ and the cache would hide it. Got random_state={random_state!r}."
        )


def drawing_seed(generator, random_state):
    """Return the seed of draws: an integer of the generator, else of what wraps it."""
    own = getattr(unfrozen(generator), "random_state", None)
    return own if isinstance(own, Integral) or random_state is None else random_state


def seed_inner(estimator, random_state):
    """Seed a clone by what wraps it, unless its own `random_state` is an integer."""
    own = estimator.get_params(deep=False)["random_state"]
    if random_state is not None and not isinstance(own, Integral):
        estimator.set_params(random_state=random_state)
    return estimator


def seed_all(estimator, random_state):
    """Seed each `random_state` that is no integer, those of nested parts included."""
    if random_state is None:
        return estimator
    unseeded = sorted(
        name
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] == "random_state"
        and not isinstance(value, Integral)
    )
    seeds = draw_seeds(check_random_state(random_state), len(unseeded))
    estimator.set_params(**dict(zip(unseeded, seeds, strict=True)))
    return estimator


def takes_any_values(generator):
    """Tell whether a generator takes values that are not finite, as private ones do."""
    tagged = hasattr(unfrozen(generator), "__sklearn_tags__")
    return tagged and get_tags(generator).input_tags.allow_nan


def check_samples_for(estimator, generator, X, y):
    """Validate the samples of an estimator that go to its generator, and no others."""
    if takes_any_values(generator):
        listed = getattr(unfrozen(generator), "classes", None)
        return check_private_samples(estimator, X, y, listed)
    return check_samples(estimator, X, y)


def check_takes_unlabeled(generator):
    """Refuse a generator that would not be fitted to unlabelled samples."""
    if isinstance(generator, FrozenEstimator):
        raise ValueError(
            "X_unlabeled has no use: the generator in a FrozenEstimator is not fitted "
            "again. Give X_unlabeled to its own fit, and leave it out here."
        )
    if "X_unlabeled" not in inspect.signature(generator.fit).parameters:
        raise TypeError(
            f"{type(generator).__name__}.fit does not take X_unlabeled. Leave it out, "
            "or take skcvae.generators.ClassGaussian."
        )


def fit_generator(generator, X, y, memory=None, X_unlabeled=None):
    """Fit what `clone_generator` returned, or load the same training from a cache.

    The key of the cache is a hash of the samples, the labels and the parameters that
    training reads. Among several processes with the same key one trains and the others
    wait for it. Neither the entries nor joblib's metadata hold a sample. A frozen
    generator must know the features and classes.
    """
    unlabeled = {}
    if X_unlabeled is not None:
        check_takes_unlabeled(generator)
        unlabeled["X_unlabeled"] = X_unlabeled
    if isinstance(generator, FrozenEstimator):
        check_frozen(unfrozen(generator), X, y)
        return generator
    sampling = getattr(generator, "_sampling_parameters", ())
    if "variance" in sampling and not is_label_sets(y):
        listed = getattr(generator, "classes", None)
        check_variance(generator.variance, np.unique(y if listed is None else listed))
    if isinstance(memory, str):
        make_private_folder(Path(memory))
    memory = check_memory(memory)
    if memory.location is None:
        return _fit(generator, X, y, unlabeled)
    if isinstance(X, Blocks):
        refuse_blocks("the key of a cache", "Leave memory out")
    plain = clone(generator)
    defaults = type(generator)().get_params() if sampling else {}
    plain.set_params(**{name: defaults[name] for name in sampling})
    kind = type(plain).__module__, type(plain).__qualname__
    parameters = kind, plain.get_params()
    key = joblib.hash((__version__, _CACHE_FORMAT, parameters, X, y, unlabeled))

    # A new function for each call: joblib does not store the code of a function that
    # it has stored in another cache, and the next process would then train again.
    def fit(key):
        return _fit(plain, X, y, unlabeled)

    with _lock(memory, key):
        fitted = memory.cache(fit)(key)
    return fitted.set_params(**generator.get_params(deep=False))


def _fit(generator, X, y, unlabeled):
    """Fit, without a second check of the samples where the generator is ours."""
    # An attribute of the function: a subclass with a `fit` of its own lacks it.
    fit = getattr(type(generator).fit, "for_checked_samples", None)
    if fit is None and isinstance(X, Blocks):
        refuse_blocks(type(generator).__name__, "Use ClassGaussian or CVAE")
    fit = fit or type(generator).fit
    return fit(generator, X, y, **unlabeled)


def check_frozen(estimator, X, y):
    """Refuse a fitted estimator that lacks these features or classes."""
    if hasattr(estimator, "fit"):
        check_is_fitted(estimator)
    n_features = getattr(estimator, "n_features_in_", X.shape[1])
    if n_features != X.shape[1]:
        raise ValueError(
            f"The frozen {type(estimator).__name__} was fitted to {n_features} "
            f"features, and X has {X.shape[1]}."
        )
    labels = getattr(estimator, "classes_", y)
    if is_label_sets(y):
        # `sample` says which label sets it does not know.
        if hasattr(estimator, "label_sets_") and len(labels) != y.shape[1]:
            raise ValueError(
                f"The frozen {type(estimator).__name__} was fitted to {len(labels)} "
                f"labels, and y has {y.shape[1]}."
            )
        return
    if hasattr(estimator, "label_sets_"):
        raise ValueError(
            f"The frozen {type(estimator).__name__} draws label sets, and one class "
            "for each sample is asked for."
        )
    if hasattr(estimator, "privacy_statement"):
        # An error would tell of a label. Private fits leave out unknown ones, too.
        return
    known = set(np.asarray(labels).tolist())
    lacking = [label for label in np.unique(y).tolist() if label not in known]
    if lacking:
        raise ValueError(
            f"The frozen {type(estimator).__name__} was fitted without the classes "
            f"{lacking[:5]} of y."
        )


def check_frozen_names(generator, Y):
    """Refuse a frozen generator that learned labels of other names than a frame has."""
    inner = unfrozen(generator)
    if inner is not generator and hasattr(inner, "label_sets_"):
        check_label_names(Y, inner.classes_)


def fit_into(estimator, generator, X, y, memory, X_unlabeled=None):
    """Set `generator_` of an estimator to the generator, fitted.

    When training is interrupted, `generator_` is the generator after the last finished
    epoch, if there was one.
    """
    check_validation_names(estimator, generator)
    try:
        estimator.generator_ = fit_generator(generator, X, y, memory, X_unlabeled)
    except KeyboardInterrupt:
        if hasattr(generator, "classes_"):
            estimator.generator_ = generator
        raise


def check_validation_names(estimator, generator):
    """Refuse validation samples of a generator in other columns than those of `fit`.

    The generator gets arrays, and does not know the columns.
    """
    net_params = getattr(generator, "net_params", None) or {}
    if "train_split" not in net_params or not hasattr(estimator, "feature_names_in_"):
        return
    from ._training import given_validation

    valid = given_validation(net_params)
    if valid is not None:
        _check_feature_names(estimator, valid[0], reset=False)


def draw(source, y=None, *, n_samples=None, variance=None, random_state=None, out=None):
    """Draw samples; all parts of skcvae that use a generator call this function.

    The source is a fitted generator, an anonymizer or a loaded release. It draws a
    sample for each label of `y`, in this order, or `n_samples` of classes that it
    chooses. `variance` and `random_state` replace those of the source, if given. The
    samples of `y` may go into an array `out` of shape (n_samples, n_features).

    Return samples and labels. Raise TypeError if the source cannot draw samples of
    given classes, and ValueError if it returns other labels than those asked for, or
    not one finite sample for each of them.
    """
    check_drawable(source)
    given = {
        "n_samples": n_samples,
        "y": y,
        "variance": variance,
        "random_state": random_state,
    }
    given = {k: v for k, v in given.items() if v is not None}
    inner = unfrozen(source)
    # A generator of skcvae whose sample() is not replaced writes into the array.
    sample = getattr(type(inner).sample, "into", None) if out is not None else None
    X, labels = (
        source.sample(**given) if sample is None else sample(inner, out, **given)
    )
    X, labels = np.asarray(X), np.asarray(labels)
    name = type(unfrozen(source)).__name__
    if is_label_sets(y):
        y = read_label_sets(y)[0]
    if X.ndim != 2 or labels.shape[:1] != X.shape[:1]:
        raise ValueError(
            f"{name}.sample must return samples and their labels, got arrays of the "
            f"shapes {X.shape} and {labels.shape}."
        )
    if y is not None and not np.array_equal(labels, np.asarray(y)):
        raise ValueError(
            f"{name}.sample(y=...) must return one sample for each label of y, in the "
            "order of y."
        )
    assert_all_finite(X, estimator_name=name, input_name="drawn samples")
    if out is not None and sample is None:
        out[:] = X
    return X, labels


def make_stream(generator, classes, device, *, variance=None, seed=None):
    """Return a function that draws on a device, for the batches of a training loop.

    It takes sorted codes of `classes`, shape (n,), and a :class:`torch.Generator`, and
    returns samples of shape (n, n_features), float32, in the units of training.
    Generators of skcvae draw on the device, any other through `draw`, which takes
    `seed`.
    """
    inner = unfrozen(generator)
    if hasattr(inner, "make_stream"):
        return inner.make_stream(classes, device, variance=variance)
    import torch

    rng = np.random.RandomState(seed)

    def stream(codes, torch_generator):
        labels = classes[codes.cpu().numpy()]
        X, _ = draw(
            generator, labels, variance=variance, random_state=rng.randint(2**31)
        )
        return torch.as_tensor(X, dtype=torch.float32, device=device)

    return stream


def fill_by_class(
    codes, n_features, dtype, seed, device, draw_chunk, out=None, first=0
):
    """Return an array of samples for class codes, drawn in chunks of bounded size.

    `draw_chunk` takes the places of samples in the array, their codes and a
    :class:`torch.Generator`, and returns samples of the type `dtype`. Samples are drawn
    class after class: a chunk then holds few classes, each of which takes a product
    with its own matrices. `first` is the number of chunks before these codes, where
    they are a part of sorted ones.
    """
    import torch

    X = np.empty((len(codes), n_features), dtype=dtype) if out is None else out
    out = torch.from_numpy(X)
    order = torch.from_numpy(np.argsort(codes, kind="stable"))
    codes = torch.from_numpy(codes)

    def fill(chunk, generator):
        places = order[chunk]
        of = codes.index_select(0, places).to(device)
        out.index_copy_(0, places, draw_chunk(places, of, generator).cpu())

    _fill_in_chunks(fill, len(codes), seed, device, first)
    return X


def _fill_in_chunks(fill, n_samples, seed, device, first=0):
    """Call `fill(slice, torch_generator)` for consecutive chunks.

    Each chunk has a seed of its own, so that its values do not depend on how many
    threads there are. On a CPU, each thread works through its chunks alone: torch
    draws random numbers with one thread, and all others would wait.
    """
    import torch

    starts = range(0, n_samples, CHUNK_SIZE)
    n_seeds = first + len(starts)
    seeds = np.random.SeedSequence(seed).generate_state(n_seeds, np.uint64)[first:]

    @torch.inference_mode()
    def fill_chunk(i):
        chunk = slice(starts[i], min(starts[i] + CHUNK_SIZE, n_samples))
        fill(chunk, torch.Generator(device).manual_seed(int(seeds[i])))

    n_workers = min(len(starts), available_threads())
    if n_workers < 2 or device.type != "cpu":
        for i in range(len(starts)):
            fill_chunk(i)
        return
    with ThreadPoolExecutor(n_workers, initializer=_compute_alone) as pool:
        list(pool.map(fill_chunk, range(len(starts))))


def _compute_alone():
    """Let torch's operations use one thread, in this thread only."""
    import torch

    # torch sets the number of threads at the first call in a thread: ours comes second.
    torch.get_num_threads()
    threadpool_limits(1, user_api="openmp")


def _lock(memory, key):
    """Return a lock that other processes with the same key wait for."""
    if not isinstance(memory.location, (str, Path)):
        return nullcontext()
    folder = Path(memory.location) / "skcvae-locks"
    make_private_folder(folder)
    return FileLock(folder / f"{key}.lock")
