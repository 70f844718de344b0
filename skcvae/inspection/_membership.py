"""ROC curves of membership attacks, at low false-positive rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve

from .._extras import import_pyplot
from .._statistics import Estimate, auc
from ._base import (
    COLORS,
    LINES,
    Axes,
    BaseDisplay,
    add_legend,
    line_defaults,
    plain_text,
)


@dataclass(kw_only=True, eq=False, repr=False)
class MembershipROCDisplay(BaseDisplay):
    """ROC curves of membership attacks, on logarithmic axes.

    An attack that identifies a few members with certainty does harm, even if its AUC is
    near 0.5, so the left end of the curve matters most [1]_. The number of non-members
    limits how far to the left the curve can be read: the dotted line marks the rate of
    one false positive, and in the grey region there are fewer than five.

    Curves are drawn as steps, because no threshold lies between two scores.

    Parameters
    ----------
    fpr, tpr : dict of str to ndarray of shape (n_thresholds,)
        False-positive and true-positive rates by attack.

    auc : dict of str to Estimate
        Area under each curve, with its 95 % interval over records.

    n_members, n_nonmembers : int
        Numbers of records attacked, the smallest over the attacks.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        Curves by attack.

    ax_, figure_ : matplotlib Axes and Figure
        Axes and figure of the last plot.

    See Also
    --------
    skcvae.privacy.tpr_at_fpr : One point of the curve, with an interval.

    References
    ----------
    .. [1] N. Carlini et al., "Membership Inference Attacks From First Principles", IEEE
       S&P 2022, `arXiv 2112.03570 <https://arxiv.org/abs/2112.03570>`_.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.inspection import MembershipROCDisplay
    >>> rng = np.random.RandomState(0)
    >>> display = MembershipROCDisplay.from_scores(rng.randn(500) + 1, rng.randn(1000))
    >>> round(display.auc["attack"].value, 2)
    0.76
    """

    _title = "Membership attacks"

    fpr: dict[str, np.ndarray]
    tpr: dict[str, np.ndarray]
    auc: dict[str, Estimate]
    n_members: int
    n_nonmembers: int

    @classmethod
    def from_scores(
        cls,
        member_scores: ArrayLike | Mapping[str, ArrayLike],
        nonmember_scores: ArrayLike | Mapping[str, ArrayLike],
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curves of one or several attacks.

        Parameters
        ----------
        member_scores : array-like of shape (n_members,), or dict of str to such
            Scores of members; a higher score means "member". A dict has them by attack.

        nonmember_scores : array-like of shape (n_nonmembers,), or dict of str to such
            Scores of non-members, by the same attacks.

        ax : matplotlib Axes, default=None
            Axes to draw on.

        **kwargs : dict
            Arguments of :class:`matplotlib.lines.Line2D` for all curves.

        Returns
        -------
        display : MembershipROCDisplay
            The display.

        Raises
        ------
        ValueError
            If a set has fewer than two scores, scores are not finite, or the attacks
            of members and of non-members differ.
        """
        import_pyplot(f"{cls.__name__}.from_scores")
        members, others = _by_attack(member_scores), _by_attack(nonmember_scores)
        if set(members) != set(others):
            raise ValueError(
                "member_scores and nonmember_scores must be of the same attacks, got "
                f"{sorted(members)} and {sorted(others)}."
            )
        areas = {name: auc(members[name], others[name]) for name in members}
        curves = {name: _curve(members[name], others[name]) for name in members}
        return cls(
            fpr={name: fpr for name, (fpr, _) in curves.items()},
            tpr={name: tpr for name, (_, tpr) in curves.items()},
            auc=areas,
            n_members=min(len(scores) for scores in members.values()),
            n_nonmembers=min(len(scores) for scores in others.values()),
        ).plot(ax=ax, **kwargs)

    def _draw(self, ax, kwargs):
        self.lines_ = {}
        for i, (name, fpr) in enumerate(self.fpr.items()):
            value, low, high = self.auc[name]
            style = line_defaults(
                kwargs,
                color=COLORS[i % len(COLORS)],
                linestyle=LINES[i % len(LINES)],
                drawstyle="steps-post",
                label=f"{plain_text(name)}: AUC {value:.2f} [{low:.2f}, {high:.2f}]",
            )
            (self.lines_[name],) = ax.plot(fpr, self.tpr[name], **style)
        n = self.n_nonmembers
        left, bottom = 0.5 / n, 0.5 / self.n_members
        diagonal = [min(left, bottom), 1]
        ax.plot(diagonal, diagonal, color="0.5", linewidth=1, label="guessing")
        ax.axvline(1 / n, color="0.4", linestyle=":", label=f"1 of {n:,} non-members")
        rest = {"color": "0.9", "zorder": 0, "label": "fewer than 5 of them"}
        ax.axvspan(left, min(5 / n, 1), **rest)
        ax.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(bottom, 1.1))
        ax.set(xlabel="false-positive rate", ylabel="true-positive rate")
        add_legend(ax, loc="lower right")


def _by_attack(scores):
    return dict(scores) if hasattr(scores, "items") else {"attack": scores}


def _curve(member_scores, nonmember_scores):
    """Return false- and true-positive rates, one for each false-positive rate."""
    scores = np.concatenate([member_scores, nonmember_scores])
    is_member = np.repeat([1, 0], [len(member_scores), len(nonmember_scores)])
    fpr, tpr, _ = roc_curve(is_member, scores, drop_intermediate=False)
    # Of thresholds with the same false positives, keep the one with most true ones.
    last = np.append(fpr[1:] > fpr[:-1], True)
    return fpr[last], tpr[last]
