"""What an attack reached."""

from dataclasses import dataclass

from .._statistics import Estimate, TooFewScoresError, auc, tpr_at_fpr


@dataclass(frozen=True)
class AttackResult:
    """How well one attack tells members from non-members.

    Attributes
    ----------
    name : str
        The attack.

    auc : Estimate
        Probability that a member scores higher than a non-member, in [0, 1]: 0.5 is
        guessing, 1 the worst for privacy. See :func:`auc`.

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


def attack_result(name, member_scores, nonmember_scores, confidence=0.95):
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
    return AttackResult(name, area, tpr, len(member_scores), len(nonmember_scores))
