"""The membership part of an audit: each attack, its controls, and the strongest."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import stats

from .._neighbors import nearest_neighbors
from .._record_sets import check_record_sets, scale_by
from .._statistics import Estimate, auc
from .._training import draw_seeds
from ._attack_result import attack_controls, attack_result
from ._audit_parts import fit_clone, split_anew
from ._audit_report import AuditedAttack, AuditedClass
from ._latent_search import latent_search_scores
from ._membership import (
    _domias_scores,
    _nearest_scores,
    domias_attack,
    nearest_neighbor_attack,
)


class SampleAttack(NamedTuple):
    """An attack on released samples: the function, its scores, and their scale."""

    attack: Callable
    score: Callable
    scale: str = "common"


SAMPLE_ATTACKS = {
    "nearest_neighbor": SampleAttack(nearest_neighbor_attack, _nearest_scores),
    "nearest_by_feature": SampleAttack(
        partial(nearest_neighbor_attack, scale="feature"), _nearest_scores, "feature"
    ),
    "domias": SampleAttack(domias_attack, _domias_scores),
}
LATENT_SEARCH = "latent_search"
CONFIDENCE = 0.95
# The least number of records on a side for an AUC.
MIN_RECORDS = 20
_SHARE_ISOLATED = 0.1
_N_CLASSES_SHOWN = 5
_MIN_REPEATS = 5


def score_records(names, release, S, parts, reference_release, seed):
    """Return the scores of members and of non-members by each attack."""
    sets = check_record_sets(
        X_synthetic=S, **{f"X_{n}": p.X for n, p in parts._asdict().items()}
    )
    scores = {}
    for name in names:
        if name in SAMPLE_ATTACKS:
            by = SAMPLE_ATTACKS[name]
            S, M, H, R = scale_by(sets["X_reference"], *sets.values(), scale=by.scale)
            scores[name] = by.score(S, R, M), by.score(S, R, H)
    if LATENT_SEARCH in names:
        scores[LATENT_SEARCH] = _score_decoder(
            release, *parts[:2], reference_release, seed
        )
    return scores


def _score_decoder(release, members, nonmembers, reference_release, seed):
    """Return the scores by the attack on a decoder; NaN for classes it lacks."""
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
    """Return which members and non-members are the most isolated ones."""
    M, H = scale_by(parts.reference.X, parts.members.X, parts.nonmembers.X)
    of_members = nearest_neighbors(M, M, exclude_self=True)[0][:, 0]
    of_others = nearest_neighbors(H, M)[0][:, 0]
    threshold = np.quantile(of_members, 1 - _SHARE_ISOLATED)
    return of_members >= threshold, of_others >= threshold


def _audit_attack(name, scores, parts, isolated, seed):
    """Return how an attack did, with its controls where it has any."""
    positive = negative = None
    usable = True
    if name in SAMPLE_ATTACKS:
        controls = attack_controls(
            SAMPLE_ATTACKS[name].attack, *(part.X for part in parts), random_state=seed
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
    if min(map(len, some)) < MIN_RECORDS:
        return None
    return auc(*some, confidence)


def check_splits(retrain, n_repeats):
    """Refuse too few repeats, and an estimator that cannot be trained again."""
    if retrain is not None and not (
        hasattr(retrain, "sample") or hasattr(retrain, "fit_transform")
    ):
        raise ValueError("retrain must have the method sample or fit_transform.")
    if 1 < n_repeats < _MIN_REPEATS:
        raise ValueError(
            f"n_repeats={n_repeats} trainings are too few for an interval: use 1, or "
            f"{_MIN_REPEATS} or more."
        )
    if n_repeats > 1 and retrain is None:
        raise ValueError(
            f"n_repeats={n_repeats} needs retrain, the unfitted estimator that made "
            "the release."
        )


def audit_splits(names, retrain, n_repeats, parts, reference_release, seed):
    """Return the mean AUC of each attack over splits with retraining."""
    if n_repeats == 1:
        return None
    areas = []
    for split_seed in draw_seeds(np.random.RandomState(seed), n_repeats):
        split = split_anew(parts, split_seed)
        release, synthetic = fit_clone(retrain, split.members, split_seed)
        scores = score_records(
            names, release, synthetic.X, split, reference_release, split_seed
        )
        areas.append({n: auc(*map(_present, both)).value for n, both in scores.items()})
    return {
        "n_repeats": n_repeats,
        "auc": {name: _mean([area[name] for area in areas]) for name in areas[0]},
    }


def _mean(areas):
    """Return the mean with Student's interval, within [0, 1]."""
    mean, error = np.mean(areas), stats.sem(areas)
    half = stats.t.ppf(0.975, len(areas) - 1) * error
    low, high = np.clip([mean - half, mean + half], 0, 1)
    return Estimate(float(mean), float(low), float(high))


def _strongest_auc(usable, scores):
    """Return the largest AUC, of scores or of their reverse, after Bonferroni."""
    if not usable:
        return None
    confidence = 1 - (1 - CONFIDENCE) / len(usable)
    areas = [
        auc(*map(_present, scores[attack.result.name]), confidence) for attack in usable
    ]
    # All intervals hold at once: their largest bounds hold for the largest AUC.
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
    tested = [label for label, counts in sizes.items() if min(counts) >= MIN_RECORDS]
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
