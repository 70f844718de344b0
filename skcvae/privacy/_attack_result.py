"""What an attack finds: on a release, and on two for which the answer is known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_array, check_random_state
from sklearn.utils._param_validation import validate_params

from .._record_sets import array_likes
from .._statistics import Estimate, TooFewScoresError, auc, tpr_at_fpr

# The least AUC of a usable attack on copies of the members.
_MIN_POSITIVE_AUC = 0.95


@dataclass(frozen=True)
class AttackResult:
    """How well one attack tells members from non-members.

    Attributes
    ----------
    name : str
        The attack.

    auc : Estimate
        Probability that a member scores higher than a non-member, in [0, 1]: 0.5 is
        guessing, 1 the worst for privacy.

    tpr : Estimate or None
        Share of the members found where 1 % of the non-members are accused, in
        [0, 1]: 0.01 is guessing. None where there are too few non-members to know.
        See :func:`tpr_at_fpr`.

    n_members, n_nonmembers : int
        Numbers of records attacked.
    """

    name: str
    auc: Estimate
    tpr: Estimate | None
    n_members: int
    n_nonmembers: int


def attack_result(
    name: str,
    member_scores: ArrayLike,
    nonmember_scores: ArrayLike,
    confidence: float = 0.95,
) -> AttackResult:
    """Evaluate an attack by its scores.

    Parameters
    ----------
    name : str
        The attack.

    member_scores : array-like of shape (n_members,)
        Scores of members; higher says "member".

    nonmember_scores : array-like of shape (n_nonmembers,)
        Scores of non-members.

    confidence : float, default=0.95
        Coverage of the intervals, over records, given this one release.

    Returns
    -------
    result : AttackResult
        The area under the ROC curve, and the true-positive rate at 1 % false
        positives, which is None for fewer than 500 non-members.

    Examples
    --------
    >>> from skcvae.privacy import attack_result
    >>> result = attack_result("guess", [1, 2, 3, 4], [0, 1, 2, 3])
    >>> result.auc.value, result.tpr
    (0.71875, None)
    """
    area = auc(member_scores, nonmember_scores, confidence)
    try:
        tpr = tpr_at_fpr(member_scores, nonmember_scores, 0.01, confidence)
    except TooFewScoresError:
        tpr = None
    sizes = np.size(member_scores), np.size(nonmember_scores)
    return AttackResult(name, area, tpr, *sizes)


@validate_params(
    {
        "attack": [callable],
        **array_likes("X_members", "X_nonmembers", "X_reference"),
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def attack_controls(
    attack: Callable,
    X_members: ArrayLike,
    X_nonmembers: ArrayLike,
    X_reference: ArrayLike,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Try an attack on a release that leaks everything, and on one that leaks nothing.

    The positive control releases the members themselves. The negative control
    releases a random half of the reference, and the attacker keeps the other half: to
    release all of it and calibrate by the same samples would compare the samples with
    themselves, and every record would get the same score.

    An attack is usable if it finds the members in the positive control, by an AUC of
    0.95 or more, and if the interval of its AUC in the negative control includes 0.5.
    By chance, the latter fails for one good attack in twenty.

    Parameters
    ----------
    attack : callable
        ``attack(X_synthetic, X_members, X_nonmembers, X_reference)``, which returns an
        :class:`AttackResult`, as :func:`nearest_neighbor_attack` does.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same distribution that it was not made from.

    X_reference : array-like of shape (n_reference, n_features)
        The attacker's own samples of the same distribution, at least four.

    random_state : int, RandomState instance or None, default=None
        Draws the half of the reference.

    Returns
    -------
    controls : Bunch
        `positive` and `negative`, an :class:`AttackResult` each, and `usable`, a bool.

    Raises
    ------
    ValueError
        If the reference has fewer than four samples, or the attack refuses the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.privacy import attack_controls
    >>> from skcvae.privacy import nearest_neighbor_attack
    >>> X, X_nonmembers, X_reference = np.random.RandomState(0).randn(3, 200, 5)
    >>> controls = attack_controls(
    ...     nearest_neighbor_attack, X, X_nonmembers, X_reference, random_state=0)
    >>> controls.positive.auc.value, controls.usable
    (1.0, True)
    """
    R = check_array(
        X_reference,
        dtype=[float, "float32"],
        ensure_min_samples=4,
        input_name="X_reference",
    )
    order = check_random_state(random_state).permutation(len(R))
    released, kept = R[order[::2]], R[order[1::2]]
    positive = attack(X_members, X_members, X_nonmembers, R)
    negative = attack(released, X_members, X_nonmembers, kept)
    unbiased = negative.auc.low <= 0.5 <= negative.auc.high
    usable = bool(unbiased and positive.auc.value >= _MIN_POSITIVE_AUC)
    return Bunch(positive=positive, negative=negative, usable=usable)
