"""Over-sampling with several samplers, each of which makes a share."""

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import InvalidParameterError

from .._class_values import refuse_index
from ._composition import BaseComposedOverSampler, largest_remainder
from ._wrapping import make_source

# Samplers such as ADASYN add about as many samples as they are asked for.
_MAX_DRAWS = 10


class EnsembleOverSampler(BaseComposedOverSampler):
    r"""Over-sample with several samplers, each of which makes a share.

    Traditional and generative augmentation together: of the samples that a class lacks,
    each sampler makes its share, for instance half by
    :class:`~imblearn.over_sampling.SMOTE` and half by a generator. All samplers learn
    from the training samples. Class sizes are exact: a share of :math:`m` missing
    samples is rounded by largest remainders, and ties go to the sampler that comes
    first.

    Parameters
    ----------
    samplers : list of (str, over-sampler)
        Names and samplers. They are cloned, and their `sampling_strategy` must stay
        "auto". Their parameters are set as ``name__parameter``, and a sampler is
        replaced as ``name``. Samplers of imbalanced-learn that only add samples work,
        and :class:`ProgressiveOverSampler` where one sampler must step in for another.

    weights : array-like of shape (n_samplers,), default=None
        Shares of the samplers, at least 0, as multiples of one another. A sampler with
        the weight 0 is not run. None shares equally.

    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as in :class:`CVAEOverSampler`.

    random_state : int, RandomState instance or None, default=None
        Seed of the samplers, a different one for each. A sampler keeps an integer of
        its own: see :ref:`seeds-and-fitted-parts`.

    Attributes
    ----------
    samplers_ : dict
        The fitted samplers that were run, by name.

    n_added_ : dict
        From the name of a sampler to the number of samples that it added to each class.

    sampler_indices_ : ndarray of shape (n_samples_new,)
        Place in `samplers` of the sampler that made each sample of the output, and -1
        for training samples.

    sampling_strategy_ : dict
        Number of samples to add to each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    ProgressiveOverSampler : One sampler after the other, each up to a limit.
    RaiseWhileBetter : Chooses shares by cross-validation, the least first.

    Examples
    --------
    >>> import numpy as np
    >>> from imblearn.over_sampling import SMOTE
    >>> from skcvae.over_sampling import EnsembleOverSampler, GenerativeOverSampler
    >>> X = np.random.RandomState(0).normal(size=(70, 4))
    >>> y = np.repeat(["cat", "dog", "owl"], [50, 13, 7])
    >>> sampler = EnsembleOverSampler(
    ...     [("smote", SMOTE()), ("gaussian", GenerativeOverSampler())],
    ...     weights=[1, 3],
    ...     random_state=0,
    ... )
    >>> X_res, y_res = sampler.fit_resample(X, y)
    >>> sampler.n_added_
    {'smote': {'dog': 9, 'owl': 11}, 'gaussian': {'dog': 28, 'owl': 32}}
    >>> np.bincount(sampler.sampler_indices_ + 1)
    array([70, 20, 60])
    """

    _parameter_constraints: dict = {
        **BaseComposedOverSampler._parameter_constraints,
        "samplers": [list],
        "weights": ["array-like", None],
    }
    _named = "samplers"
    _member = "sampler"

    def __init__(
        self,
        samplers,
        *,
        weights: ArrayLike | None = None,
        sampling_strategy="auto",
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.samplers = samplers
        self.weights = weights
        self.random_state = random_state

    def _check_X_y(self, X, y):
        self._check_members()
        self._resolve_shares()
        return super()._check_X_y(X, y)

    def _resolve_shares(self):
        """Return the share of each sampler; shares sum to 1."""
        if self.weights is None:
            return np.full(len(self.samplers), 1 / len(self.samplers))
        refuse_index(self.weights, "weights", "samplers", "loc[names]")
        try:
            weights = np.asarray(self.weights, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"weights must be numbers: {self.weights!r}.") from error
        if weights.shape != (len(self.samplers),) or not (
            np.isfinite(weights).all() and (weights >= 0).all() and weights.any()
        ):
            raise ValueError(
                "weights must be a finite number of at least 0 for each of the "
                f"{len(self.samplers)} samplers, not all 0, got {self.weights!r}."
            )
        # Two steps, for the sum of huge numbers would overflow.
        weights = weights / weights.max()
        return weights / weights.sum()

    def _draw_samples(self, X, y, labels):
        shares, missing = self._resolve_shares(), Counter(labels.tolist())
        parts = {c: largest_remainder(shares, n) for c, n in missing.items()}
        self.samplers_, self.n_added_ = {}, {}
        drawn, made_by = {c: [X[:0]] for c in missing}, {c: [] for c in missing}
        seeds = self._draw_member_seeds()
        for i, (name, sampler) in enumerate(self.samplers):
            counts = {c: int(n[i]) for c, n in parts.items() if n[i]}
            if not counts:
                continue
            source = make_source(sampler, X, y, seeds[i])
            for label, samples in _draw_all(source, counts, name).items():
                drawn[label].append(samples)
                made_by[label].append(np.full(len(samples), i))
            self.samplers_[name], self.n_added_[name] = source.sampler, counts
        origin = [np.full(len(X), -1), *(a for of in made_by.values() for a in of)]
        self.sampler_indices_ = np.concatenate(origin)
        parts = [part for of_class in drawn.values() for part in of_class]
        return np.concatenate([X[:0], *parts]), labels


def _draw_all(source, counts, name):
    """Return as many samples of each class as asked for, or say who could not."""
    found = {label: [] for label in counts}
    for _ in range(_MAX_DRAWS):
        left = {c: n - sum(map(len, found[c])) for c, n in counts.items()}
        # A sampler that adds about as many is asked for all of them again.
        asked = {c: counts[c] for c, n in left.items() if n}
        if not asked:
            break
        for label, samples in _draw_named(source, asked, name).items():
            found[label].append(samples[: left[label]])
    for label, n in counts.items():
        n_found = sum(map(len, found[label]))
        if n_found < n:
            raise ValueError(
                f"The sampler {name!r} of EnsembleOverSampler drew {n_found} of {n} "
                f"samples of the class {label!r}. {_REMEDY}"
            )
    return {label: np.concatenate(parts) for label, parts in found.items()}


def _draw_named(source, counts, name):
    """Draw, and name the sampler where it fails."""
    try:
        return source.draw(counts)
    except InvalidParameterError:
        raise
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"The sampler {name!r} of EnsembleOverSampler failed: {error} {_REMEDY}"
        ) from error


_REMEDY = (
    "Give this sampler the weight 0, or put it first into a ProgressiveOverSampler, "
    "whose next step fills what it cannot."
)
