"""The headline of an audit: a few figures, each with the largest that chance gives."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from .._statistics import auc

# The chance that any figure of a clean release is beyond its limit, at most.
_FALSE_ALARMS = 0.05
_FIGURES_OF_ATTACK = 3
_FIGURES_OF_COPIES = 2
_FPR = 0.01
# So many of the others must be accused for a threshold to mean anything.
_MIN_ACCUSED = 5


@dataclass(frozen=True)
class HeadlineFigure:
    """One figure of the headline, and what chance gives.

    Attributes
    ----------
    name : str
        What is counted.

    attack : str
        The attack that it comes from; empty for copies.

    value : float
        The figure: an AUC in [0.5, 1], in either direction; a share of the members in
        [0, 1]; or a number of members.

    by_chance : float
        The largest value that is expected of a release that does not depend on who is
        a member, corrected for the number of attacks and figures.
    """

    name: str
    attack: str
    value: float
    by_chance: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the figure is larger than chance gives."""
        return bool(self.value > self.by_chance)


def find_headline(scores, copies, n_attacks):
    """Return the figures: the most telling attack by each measure, and copies.

    Where a release does not depend on who is a member, members and others can be
    exchanged: the rank sum has its known variance, and the number of members above
    the highest scores of others a hypergeometric one. The level of each test is 5 %
    over the number of tests (Bonferroni), three for each attack and two for copies.

    `scores` are those of members and of others by the name of an attack, without NaN.
    `copies` is what :meth:`SampleAttacks.count_copies` returns. `n_attacks` is the
    number to correct for.
    """
    level = _FALSE_ALARMS / (_FIGURES_OF_ATTACK * n_attacks + _FIGURES_OF_COPIES)
    figures = []
    for measure in (_area, _found_at_fpr, _found_at_no_fpr):
        found = [measure(name, *both, level) for name, both in scores.items()]
        found = [figure for figure in found if figure is not None]
        if found:
            figures.append(max(found, key=lambda f: f.value - f.by_chance))
    return (*figures, *_copied(**copies, level=level))


def _area(attack, members, others, level):
    m, n = len(members), len(others)
    area = auc(members, others).value
    half = stats.norm.isf(level / 2) * np.sqrt((m + n + 1) / (12 * m * n))
    return HeadlineFigure(
        "largest AUC", attack, max(area, 1 - area), float(min(0.5 + half, 1))
    )


def _found_at_fpr(attack, members, others, level):
    n_accused = int(_FPR * len(others) + 1e-6)
    if n_accused < _MIN_ACCUSED:
        return None
    return _found("largest TPR at 1 % FPR", attack, members, others, n_accused, level)


def _found_at_no_fpr(attack, members, others, level):
    return _found("found at FPR 0", attack, members, others, 0, level)


def _found(name, attack, members, others, n_accused, level):
    """Return the share of the members that score above all but some of the others."""
    m, n = len(members), len(others)
    threshold = np.sort(others)[n - 1 - n_accused]
    share = np.count_nonzero(members > threshold) / m
    limit = _most_found(n_accused, m, n, level)
    return HeadlineFigure(name, attack, share, limit / m)


def _copied(exact, near, sizes, level):
    """Return the numbers of members copied, against those of others."""
    limits = [_most_copied(others, *sizes, level) for _, others in (exact, near)]
    # Samples of continuous features are never equal by chance.
    if exact[1] == 0:
        limits[0] = 0
    return (
        HeadlineFigure("members copied exactly", "", exact[0], limits[0]),
        HeadlineFigure("members copied nearly", "", near[0], limits[1]),
    )


@lru_cache
def _most_found(n_accused, m, n, level):
    """Return how many of m members may rank before one more of n others is accused."""
    counts = np.arange(m + 1)
    chance = stats.hypergeom.cdf(n_accused, m + n, n, counts + n_accused)
    return int(np.count_nonzero(chance > level)) - 1


@lru_cache
def _most_copied(n_others, m, n, level):
    """Return how many of m members may be copied where so many of n others are."""
    counts = np.arange(m + 1)
    chance = stats.hypergeom.sf(counts - 1, m + n, n_others + counts, m)
    return int(np.count_nonzero(chance > level)) - 1
