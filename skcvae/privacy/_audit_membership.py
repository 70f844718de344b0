"""The membership part of an audit: each attack, its controls, and the strongest."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from .._neighbors import nearest_neighbors
from .._record_sets import check_record_sets, scale_by
from .._statistics import Estimate, auc
from ._attack_result import attack_result
from ._audit_report import AuditedAttack, AuditedClass
from ._controls import attack_controls
from ._membership import (
    _domias_scores,
    _nearest_scores,
    domias_attack,
    nearest_neighbor_attack,
)


class RowAttack(NamedTuple):
    """An attack on rows: for the controls, for scores of records, and their scale."""

    attack: Callable
    score: Callable
    scale: str = "common"


ROW_ATTACKS = {
    "nearest_neighbor": RowAttack(nearest_neighbor_attack, _nearest_scores),
    "nearest_by_feature": RowAttack(
        partial(nearest_neighbor_attack, scale="feature"), _nearest_scores, "feature"
    ),
    "domias": RowAttack(domias_attack, _domias_scores),
}
LATENT_SEARCH = "latent_search"
CONFIDENCE = 0.95
# Fewer records on a side than these cannot carry an AUC.
MIN_ROWS = 20
_SHARE_ISOLATED = 0.1
_N_CLASSES_SHOWN = 5


def score_records(names, release, S, parts, reference_release, seed):
    """Return the scores of members and of non-members by each attack."""
    sets = check_record_sets(
        X_synthetic=S, **{f"X_{n}": p.X for n, p in parts._asdict().items()}
    )
    scores = {}
    for name in names:
        if name in ROW_ATTACKS:
            by = ROW_ATTACKS[name]
            S, M, H, R = scale_by(sets["X_reference"], *sets.values(), scale=by.scale)
            scores[name] = by.score(S, R, M), by.score(S, R, H)
    if LATENT_SEARCH in names:
        scores[LATENT_SEARCH] = _score_decoder(
            release, *parts[:2], reference_release, seed
        )
    return scores


def _score_decoder(release, members, nonmembers, reference_release, seed):
    """Return the scores by the attack on a decoder; NaN for classes it lacks."""
    from ._latent_search import latent_search_scores

    X = np.concatenate([members.X, nonmembers.X])
    y = np.concatenate([members.y, nonmembers.y])
    known = np.ones(len(y), dtype=bool)
    for one in (release, reference_release):
        if one is not None:
            known &= np.isin(y, one.make_decoder("cpu").classes)
    scores = np.full(len(y), np.nan)
    scores[known] = latent_search_scores(
        release,
        X[known],
        y[known],
        reference_release=reference_release,
        random_state=seed,
    )
    return scores[: len(members.y)], scores[len(members.y) :]


def audit_membership(scores, parts, seed):
    """Return the fields on attacks: each of them, the strongest, and classes."""
    isolated = _find_isolated(parts)
    attacks = tuple(
        _audit_attack(name, scores[name], parts, isolated, seed) for name in scores
    )
    usable = [attack for attack in attacks if attack.usable]
    return {
        "attacks": attacks,
        "maximum": _strongest_auc(usable, scores),
        **_audit_classes(usable, scores, parts),
    }


def _find_isolated(parts):
    """Return which records are as far from other members as the most isolated ones."""
    M, H = scale_by(parts.reference.X, parts.members.X, parts.nonmembers.X)
    of_members = nearest_neighbors(M, M, exclude_self=True)[0][:, 0]
    of_others = nearest_neighbors(H, M)[0][:, 0]
    threshold = np.quantile(of_members, 1 - _SHARE_ISOLATED)
    return of_members >= threshold, of_others >= threshold


def _audit_attack(name, scores, parts, isolated, seed):
    """Return how an attack did, with its controls where it has any."""
    positive = negative = None
    usable = True
    if name in ROW_ATTACKS:
        controls = attack_controls(
            ROW_ATTACKS[name].attack, *(part.X for part in parts), random_state=seed
        )
        positive, negative = controls.positive.auc, controls.negative.auc
        usable = controls.usable
    return AuditedAttack(
        result=attack_result(name, *map(_present, scores), CONFIDENCE),
        isolated=_auc_among(scores, isolated),
        positive=positive,
        negative=negative,
        usable=usable,
    )


def _present(scores):
    """Return the scores that there are."""
    return scores[~np.isnan(scores)]


def _auc_among(scores, chosen, confidence=CONFIDENCE):
    """Return the AUC among some of the records; None for too few of them."""
    some = [_present(s[rows]) for s, rows in zip(scores, chosen, strict=True)]
    if min(map(len, some)) < MIN_ROWS:
        return None
    return auc(*some, confidence)


def attack_anew(names, reference_release):
    """Return the function that attacks the release of one split, by AUC."""

    def attack(estimator, S, parts, seed):
        scores = score_records(names, estimator, S, parts, reference_release, seed)
        return {n: auc(*map(_present, both)).value for n, both in scores.items()}

    return attack


def _strongest_auc(usable, scores):
    """Return the largest AUC, of scores or of their reverse, after Bonferroni."""
    if not usable:
        return None
    confidence = 1 - (1 - CONFIDENCE) / len(usable)
    areas = [
        auc(*map(_present, scores[attack.result.name]), confidence) for attack in usable
    ]
    # All intervals hold at once, so that their largest bounds hold for the largest.
    either = [max(area.value, 1 - area.value) for area in areas]
    low = [max(area.low, 1 - area.high) for area in areas]
    high = [max(area.high, 1 - area.low) for area in areas]
    return Estimate(max(either), max(low), max(high))


def _audit_classes(usable, scores, parts):
    """Return the fields on classes: the worst, and how many there are."""
    y_M, y_H = parts.members.y, parts.nonmembers.y
    sizes = {
        label: (np.count_nonzero(y_M == label), np.count_nonzero(y_H == label))
        for label in np.unique(y_M)
    }
    tested = [label for label, counts in sizes.items() if min(counts) >= MIN_ROWS]
    results = [attack.result for attack in usable]
    strongest = max(results, key=lambda result: result.auc.value, default=None)
    classes = []
    if strongest is not None:
        confidence = 1 - (1 - CONFIDENCE) / max(len(tested), 1)
        of_records = scores[strongest.name]
        areas = [
            _auc_among(of_records, (y_M == label, y_H == label), confidence)
            for label in tested
        ]
        classes = [
            AuditedClass(str(label), area, *sizes[label])
            for label, area in zip(tested, areas, strict=True)
            if area is not None
        ]
    classes.sort(key=lambda row: row.auc.value, reverse=True)
    return {
        "classes": tuple(classes[:_N_CLASSES_SHOWN]),
        "class_attack": "" if strongest is None else strongest.name,
        "n_classes_tested": len(classes),
        "n_classes_small": len(sizes) - len(tested),
    }
