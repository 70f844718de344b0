"""Over-sampling policies, chosen by cross-validation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from numbers import Real
from typing import Any

import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from joblib import Memory

from .._generation import check_memory_seed
from ..generators import ClassGaussian
from ._cvae import CVAEOverSampler
from ._generative import GenerativeOverSampler
from ._progressive import ProgressiveOverSampler
from ._strategies import PowerStrategy

_STRATEGIES = (PowerStrategy(0.5), "auto")


def augmentation_policies(
    step: str = "sampler",
    *,
    strategies: Sequence[Any] = _STRATEGIES,
    variances: Sequence[float] = (0.5, 1.0, 1.5),
    extra: dict[str, Any] | None = None,
    memory: str | Memory | None = None,
    random_state: int | None = 0,
) -> list[dict[str, Any]]:
    """Return parameter grids from which a search chooses how to over-sample, or not.

    For the `param_grid` of :class:`~sklearn.model_selection.GridSearchCV` around an
    imbalanced-learn pipeline. The policies are no over-sampling; repeated samples;
    SMOTE, with repeated samples for classes that are too small for it; samples of a
    :class:`~skcvae.generators.ClassGaussian`; and samples of a
    :class:`~skcvae.generators.CVAE`. Samplers see the training part of each split only,
    so that nothing leaks into the score.

    Parameters
    ----------
    step : str, default="sampler"
        Name of the step of the pipeline that over-samples.

    strategies : sequence, default=(PowerStrategy(0.5), "auto")
        Values of `sampling_strategy`: how strongly to over-sample.

    variances : sequence of float, default=(0.5, 1.0, 1.5)
        Values of `variance` of the generators.

    extra : dict, default=None
        Parameters to try with every policy, for example
        ``{"classifier__loss": ["cross_entropy", "balanced_softmax"]}`` where the last
        step is a :class:`~skcvae.long_tail.LongTailClassifier`.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators. With it, each generator is trained once per split,
        whatever the number of policies.

    random_state : int, default=0
        Seed of the samplers: see :ref:`seeds-and-fitted-parts`. A cache needs an
        integer.

    Returns
    -------
    param_grid : list of dict
        From parameter name to values.

    Raises
    ------
    ValueError
        If `memory` is given and `random_state` is no integer.

    See Also
    --------
    PowerStrategy : Over-sampling between none and to equal sizes.

    Examples
    --------
    >>> from imblearn.pipeline import Pipeline
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skcvae.over_sampling import augmentation_policies
    >>> X, y = make_classification(300, weights=[0.9], random_state=0)
    >>> pipeline = Pipeline(
    ...     [("sampler", "passthrough"), ("classifier", LogisticRegression())]
    ... )
    >>> policies = augmentation_policies()[:4]  # without the CVAE
    >>> search = GridSearchCV(pipeline, policies, scoring="balanced_accuracy")
    >>> type(search.fit(X, y).best_params_["sampler"]).__name__
    'GenerativeOverSampler'
    """
    check_memory_seed(memory, random_state)
    seed = {"random_state": random_state}
    cached = {"memory": memory, **seed}
    smote = [("smote", SMOTE()), ("repeat", RandomOverSampler())]
    common = {f"{step}__sampling_strategy": list(strategies), **(extra or {})}
    return [
        {step: ["passthrough"], **(extra or {})},
        {step: [RandomOverSampler(**seed)], **common},
        {step: [ProgressiveOverSampler(smote, **seed)], **common},
        {
            step: [GenerativeOverSampler(ClassGaussian(), **cached)],
            f"{step}__generator__variance": list(variances),
            **common,
        },
        {
            step: [CVAEOverSampler(**cached)],
            f"{step}__variance": list(variances),
            **common,
        },
    ]


@dataclass(frozen=True)
class RaiseWhileBetter:
    r"""Choose how much to augment: start small, and raise while the score improves.

    For the parameter `refit` of :class:`~sklearn.model_selection.GridSearchCV`, whose
    grid lists the candidates from the least to the most augmentation. Starting with the
    first, the search moves on to the next candidate that is better by more than noise,
    until none is: the mean :math:`\bar d` of the differences of the scores, split by
    split, must exceed `n_errors` standard errors,

    .. math:: \bar d > \text{n\_errors} \cdot s_d / \sqrt{K},

    over :math:`K` splits. The largest mean score alone may be due to chance. Samplers
    belong in the pipeline that is searched: then no split is scored on generated
    samples, or on samples that a generator has learned from.

    Parameters
    ----------
    n_errors : float, default=1.0
        How many standard errors are noise, at least 0. Splits share training samples,
        so that the standard error is too small: 2 is a strict choice.

    scoring : str, default="score"
        Name of the score, where the search has several. Higher must be better, as for
        all scorers of scikit-learn.

    Raises
    ------
    ValueError
        If `n_errors` is negative or not finite. In a search: if there are fewer than
        two splits, a score is missing, or a parameter returns to a value that it had
        before, or both rises and falls, so that candidates have no order.

    See Also
    --------
    RatioStrategy : How far to fill up classes.
    EnsembleOverSampler : Its `weights` are shares of samplers.

    Examples
    --------
    >>> from imblearn.pipeline import make_pipeline
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skcvae.over_sampling import (
    ...     GenerativeOverSampler, RaiseWhileBetter, RatioStrategy
    ... )
    >>> X, y = make_classification(400, weights=[0.9], random_state=0)
    >>> search = GridSearchCV(
    ...     make_pipeline(GenerativeOverSampler(random_state=0), LogisticRegression()),
    ...     {
    ...         "generativeoversampler__sampling_strategy": [
    ...             RatioStrategy(ratio) for ratio in (0, 0.25, 0.5, 1, 1.5)
    ...         ]
    ...     },
    ...     scoring="balanced_accuracy",
    ...     refit=RaiseWhileBetter(),
    ... )
    >>> chosen = search.fit(X, y).best_params_
    >>> chosen["generativeoversampler__sampling_strategy"].ratio
    1.5
    """

    n_errors: float = 1.0
    scoring: str = "score"

    def __post_init__(self) -> None:
        if not 0 <= self.n_errors < np.inf:
            raise ValueError(
                f"n_errors must be a finite number of at least 0, got {self.n_errors}."
            )

    def __call__(self, cv_results: dict[str, Any]) -> int:
        """Return the index of the candidate to choose.

        Parameters
        ----------
        cv_results : dict
            The `cv_results_` of the search.

        Returns
        -------
        best_index : int
            Index of the candidate.
        """
        _check_order(cv_results["params"])
        scores = self._scores_of_splits(cv_results)
        chosen = 0
        for candidate in range(1, len(scores)):
            gain = scores[candidate] - scores[chosen]
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            if gain.mean() > self.n_errors * error:
                chosen = candidate
        return chosen

    def _scores_of_splits(self, cv_results):
        """Return the scores of shape (n_candidates, n_splits)."""
        of_score = re.compile(rf"split\d+_test_{re.escape(self.scoring)}")
        of_split = [v for name, v in cv_results.items() if of_score.fullmatch(name)]
        if len(of_split) < 2:
            raise ValueError(
                f"RaiseWhileBetter needs the score {self.scoring!r} of at least two "
                f"splits, and found {len(of_split)}. Set cv, or scoring."
            )
        scores = np.transpose(of_split)
        if not np.isfinite(scores).all():
            raise ValueError(
                "RaiseWhileBetter needs all scores, and some candidates failed. Set "
                "error_score='raise' in the search to see why."
            )
        return scores


def _check_order(candidates):
    """Refuse a grid of several parameters: its candidates are in no order."""
    for name in sorted({name for params in candidates for name in params}):
        values = [params.get(name) for params in candidates]
        runs = [value for value, _ in groupby(map(id, values))]
        if len(set(runs)) < len(runs) or _turns(values):
            raise ValueError(
                "RaiseWhileBetter needs candidates from the least to the most "
                f"augmentation, and {name!r} returns to a value that it had before, or "
                "rises and falls. Search over one parameter in order, or a list of "
                "grids of one candidate each."
            )


def _turns(values):
    """Tell whether numbers both rise and fall, as those of a random search do."""
    if not all(isinstance(value, Real) for value in values):
        return False
    steps = np.diff(np.array(values, dtype=float))
    return (steps < 0).any() and (steps > 0).any()
