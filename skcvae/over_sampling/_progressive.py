"""Over-sampling with one sampler after the other."""

from collections import Counter
from numbers import Real

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from .._warnings import warn_user
from ._composition import BaseComposedOverSampler
from ._strategies import n_synthetic_allowed
from ._wrapping import make_source


class ProgressiveOverSampler(BaseComposedOverSampler):
    """Over-sample with one sampler after the other.

    Each step adds as many samples to a class as its limit allows, and the next step
    adds what is still missing: first the cheap or trusted sampler, then the generator.
    A step does not run where nothing is missing. A step can fail to fill a class, as
    :class:`~imblearn.over_sampling.SMOTE` fails for a class with fewer samples than
    neighbours: the next step then fills it, and `skip_reasons_` tells why. The last
    step has no limit: each class ends with the samples that `sampling_strategy` asks
    for, or an error is raised.

    All steps learn from the training samples, and not from those of the steps before.
    To let a sampler learn from the samples of another one, put both into
    :func:`imblearn.pipeline.make_pipeline`.

    Parameters
    ----------
    steps : list of (str, over-sampler)
        Names and samplers, in the order in which they fill up classes. They are cloned,
        and their `sampling_strategy` must stay "auto". Their parameters are set as
        ``name__parameter``, and a step is replaced as ``name``.

    limits : dict, default=None
        From the name of a step to the number of samples, at least 0, that it may add at
        most to a class for each training sample of that class. Steps without a limit
        fill up all that they can. The last step can have none: to bound the number of
        all added samples, use ``RatioStrategy(max_synthetic_ratio=...)`` as
        `sampling_strategy`.

    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as in :class:`CVAEOverSampler`.

    random_state : int, RandomState instance or None, default=None
        Seed of the steps, a different one for each. A step keeps an integer of its own:
        see :ref:`seeds-and-fitted-parts`. Equal steps with the same integer would draw
        the same samples.

    Attributes
    ----------
    samplers_ : dict
        The fitted sampler of each step that was run, by name.

    n_added_ : dict
        From the name of a step to the number of samples that it added to each class.

    skip_reasons_ : dict
        From the name of a step to the classes that it left to the next one, and the
        reason for each.

    sampling_strategy_ : dict
        Number of samples to add to each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    EnsembleOverSampler : Shares the missing samples out among samplers.
    QualityFilter : Keeps the samples of a sampler that pass a test.

    Examples
    --------
    >>> import numpy as np
    >>> from imblearn.over_sampling import SMOTE
    >>> from skcvae.over_sampling import GenerativeOverSampler, ProgressiveOverSampler
    >>> X = np.random.RandomState(0).normal(size=(66, 4))
    >>> y = np.repeat(["cat", "dog", "owl"], [50, 14, 2])
    >>> sampler = ProgressiveOverSampler(
    ...     [("smote", SMOTE()), ("gaussian", GenerativeOverSampler())],
    ...     limits={"smote": 2},
    ...     random_state=0,
    ... )
    >>> X_res, y_res = sampler.fit_resample(X, y)
    >>> sampler.n_added_
    {'smote': {'dog': 28}, 'gaussian': {'dog': 8, 'owl': 48}}
    >>> list(sampler.skip_reasons_["smote"])
    ['owl']
    """

    _parameter_constraints: dict = {
        **BaseComposedOverSampler._parameter_constraints,
        "steps": [list],
        "limits": [dict, None],
    }
    _named = "steps"
    _member = "step"

    def __init__(
        self, steps, *, limits=None, sampling_strategy="auto", random_state=None
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.steps = steps
        self.limits = limits
        self.random_state = random_state

    def _check_X_y(self, X, y):
        self._check_members()
        self._check_limits()
        return super()._check_X_y(X, y)

    def _check_limits(self):
        names = [name for name, _ in self.steps]
        for name, limit in (self.limits or {}).items():
            if name not in names[:-1]:
                raise ValueError(
                    f"limits names {name!r}. It must be one of the steps {names[:-1]}: "
                    "the last one fills up what is missing. To bound the number of all "
                    "added samples, use RatioStrategy(max_synthetic_ratio=...) as "
                    "sampling_strategy."
                )
            if not (isinstance(limit, Real) and 0 <= float(limit) < np.inf):
                raise ValueError(
                    f"The limit of {name!r} must be a finite number of at least 0, got "
                    f"{limit!r}."
                )

    def _draw_samples(self, X, y, labels):
        missing, n_real = Counter(labels.tolist()), Counter(y.tolist())
        self.samplers_, self.n_added_, self.skip_reasons_ = {}, {}, {}
        found = {label: [X[:0]] for label in missing}
        seeds = self._draw_member_seeds()
        for (name, sampler), seed in zip(self.steps, seeds, strict=True):
            counts = self._counts_of_step(name, missing, n_real)
            if not counts:
                continue
            source = make_source(sampler, X, y, seed)
            for label, drawn in self._run_step(name, source, counts).items():
                found[label].append(drawn)
                missing[label] -= len(drawn)
        self._check_filled(missing)
        parts = [part for of_class in found.values() for part in of_class]
        return np.concatenate([X[:0], *parts]), labels

    def _counts_of_step(self, name, missing, n_real):
        """Return how many samples a step is to add to each class that lacks some."""
        counts = {label: n for label, n in missing.items() if n}
        if name not in (self.limits or {}):
            return counts
        allowed = {c: n_synthetic_allowed(self.limits[name], n_real[c]) for c in counts}
        return {c: min(n, allowed[c]) for c, n in counts.items() if allowed[c]}

    def _run_step(self, name, source, counts):
        """Return the samples of a step by class, and record what it did."""
        samples, reasons = _fill(source, counts)
        for label, drawn in samples.items():
            if len(drawn) < counts[label]:
                reasons[label] = f"It drew {len(drawn)} of {counts[label]} samples."
        self.samplers_[name] = source.sampler
        self.n_added_[name] = {
            c: len(drawn) for c, drawn in samples.items() if len(drawn)
        }
        self.skip_reasons_[name] = reasons
        if not self.n_added_[name]:
            warn_user(
                f"The step {name!r} of ProgressiveOverSampler could fill none of its "
                f"{len(counts)} classes. The first reason: "
                f"{next(iter(reasons.values()))}",
            )
        return samples

    def _check_filled(self, missing):
        failed = {label: n for label, n in missing.items() if n}
        if failed:
            label, last = next(iter(failed)), self.steps[-1][0]
            raise ValueError(
                f"No step could fill the classes {list(failed)[:5]}. The reason of the "
                f"last one, {last!r}, for {label!r}: {self.skip_reasons_[last][label]} "
                "Add a step that can, such as GenerativeOverSampler()."
            )


def _fill(source, counts):
    """Return samples by class, and why classes got none.

    Where drawing fails, halves of the classes are tried: those that fail end alone.
    """
    try:
        return source.draw(counts), {}
    except InvalidParameterError:
        raise
    except (ValueError, RuntimeError) as error:
        labels = list(counts)
        if len(labels) == 1:
            return {}, {labels[0]: str(error)}
    middle = len(labels) // 2
    first, last = (
        _fill(source, {label: counts[label] for label in half})
        for half in (labels[:middle], labels[middle:])
    )
    return first[0] | last[0], first[1] | last[1]
