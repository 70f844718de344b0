"""Grids of over-sampling policies for a search by cross-validation."""

from collections.abc import Sequence
from typing import Any

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
