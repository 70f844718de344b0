"""The membership part of an audit: each attack, its controls, and the headline."""

import numpy as np
from scipy import stats

from .._neighbors import nearest_distances
from .._record_sets import scale_by
from .._seeds import draw_seeds
from .._statistics import Estimate, auc, share_of
from ._attack_result import attack_result
from ._audit_parts import (
    SyntheticSamples,
    has_decoder,
    split_anew,
    synthesize,
    train_clone,
)
from ._audit_report import AuditedAttack, AuditedClass
from ._headline import find_headline
from ._latent_search import latent_search_scores
from ._planted import ALL_MEMBERS, NO_LEAK, planted_leaks
from ._sample_attacks import SAMPLE_ATTACKS, SampleAttacks
from ._subspace import subspace_scores

LATENT_SEARCH = "latent_search"
DECODER_ATTACKS = (LATENT_SEARCH, "subspace")
CONFIDENCE = 0.95
# The least number of records on a side for an AUC.
MIN_RECORDS = 20
_SHARE_ISOLATED = 0.1
_N_CLASSES_SHOWN = 5
_MIN_REPEATS = 5


def score_records(names, release, released, attacks, reference_release, seed):
    """Return the scores of members and of non-members by each attack."""
    scores = {
        name: attacks.score(name, released) for name in names if name in SAMPLE_ATTACKS
    }
    of_decoder = {
        LATENT_SEARCH: lambda X, y: latent_search_scores(
            release, X, y, reference_release=reference_release, random_state=seed
        ),
        "subspace": lambda X, y: subspace_scores(release, X, y),
    }
    for name in names:
        if name in DECODER_ATTACKS:
            releases = [release]
            if name == LATENT_SEARCH and reference_release is not None:
                releases.append(reference_release)
            scores[name] = _score_decoder(of_decoder[name], releases, attacks.parts)
    return scores


def _score_decoder(score, releases, parts):
    """Return the scores by an attack on a decoder; NaN for classes it lacks."""
    X = np.concatenate([parts.members.X, parts.nonmembers.X])
    y = np.concatenate([parts.members.y, parts.nonmembers.y])
    known = np.ones(len(y), dtype=bool)
    for release in releases:
        known &= np.isin(y, release.make_decoder("cpu").classes)
    scores = np.full(len(y), np.nan)
    scores[known] = score(X[known], y[known])
    return scores[: len(parts.members.y)], scores[len(parts.members.y) :]


def audit_membership(scores, attacks, released, seed):
    """Return the fields on attacks: the headline, each of them, and classes."""
    parts = attacks.parts
    copies = attacks.count_copies(released)
    isolated = _find_isolated(parts)
    names = [name for name in scores if name in SAMPLE_ATTACKS]
    planted = _PlantedReleases(attacks, names, len(scores), seed)
    audited = tuple(
        _audit_attack(name, scores[name], isolated, planted.controls.get(name))
        for name in scores
    )
    usable = [attack for attack in audited if attack.usable]
    used = {attack.result.name: scores[attack.result.name] for attack in usable}
    return {
        "headline": _find_headline(used, copies, len(scores)),
        "found_by_any": _found_by_any(used),
        "planted": planted.seen_by([name for name in names if name in used]),
        "attacks": audited,
        "maximum": _strongest_auc(usable, scores),
        **_audit_classes(usable, scores, parts),
    }


def _find_headline(scores, copies, n_attacks):
    """Return the headline by scores that may be NaN."""
    present = {name: [_present(s) for s in both] for name, both in scores.items()}
    return find_headline(present, copies, n_attacks)


def _found_by_any(scores):
    """Return the share of the members above all non-members by some attack."""
    if not scores:
        return None
    # A comparison with NaN is false.
    found = [members > np.nanmax(others) for members, others in scores.values()]
    return share_of(np.logical_or.reduce(found))


class _PlantedReleases:
    """Attacks on releases of known leaks: controls, and what the headline shows."""

    def __init__(self, attacks, names, n_attacks, seed):
        self.attacks = attacks
        self.n_attacks = n_attacks
        y = attacks.parts.members.y
        self.releases = {
            name: SyntheticSamples(X, y)
            for name, X in planted_leaks(attacks.parts, seed)
        }
        self.scores, self.copies = {}, {}
        for leak, release in self.releases.items():
            if leak in (NO_LEAK, ALL_MEMBERS):
                self.scores[leak] = {n: attacks.score(n, release) for n in names}
            self.copies[leak] = attacks.count_copies(release)
        # Of twenty audits one at most flags a good attack, whatever their number.
        confidence = 1 - (1 - CONFIDENCE) / max(len(names), 1)
        self.controls = {
            name: [
                auc(*map(_present, self.scores[leak][name]), confidence)
                for leak in (ALL_MEMBERS, NO_LEAK)
            ]
            for name in names
        }

    def seen_by(self, names):
        """Return for each leak the first figure of the headline that shows it."""
        return {leak: self._first_figure(leak, names) for leak in self.releases}

    def _first_figure(self, leak, names):
        # One figure that shows the leak is enough.
        for name in [None, *reversed(names)]:
            scores = {} if name is None else {name: self._score(leak, name)}
            for figure in _find_headline(scores, self.copies[leak], self.n_attacks):
                if figure.beyond_chance:
                    return f"{figure.name} {figure.attack}".strip()
        return ""

    def _score(self, leak, name):
        if leak in self.scores:
            return self.scores[leak][name]
        return self.attacks.score(name, self.releases[leak])


def _find_isolated(parts):
    """Return which members and non-members are the most isolated ones."""
    M, H = scale_by(parts.reference.X, parts.members.X, parts.nonmembers.X)
    of_members = nearest_distances(M, M, exclude_self=True)
    of_others = nearest_distances(H, M)
    threshold = np.quantile(of_members, 1 - _SHARE_ISOLATED)
    return of_members >= threshold, of_others >= threshold


def _audit_attack(name, scores, isolated, controls):
    """Return how an attack did, with its controls where it has any."""
    positive, negative = controls or (None, None)
    usable = controls is None or (
        positive.low > 0.5 and negative.low <= 0.5 <= negative.high
    )
    return AuditedAttack(
        result=attack_result(name, *map(_present, scores), CONFIDENCE),
        isolated=_auc_among(scores, isolated),
        positive=positive,
        negative=negative,
        usable=bool(usable),
    )


def _present(scores):
    return scores[~np.isnan(scores)]


def _auc_among(scores, chosen, confidence=CONFIDENCE):
    """Return the AUC among some of the records; None for too few of them."""
    some = [_present(s[rows]) for s, rows in zip(scores, chosen, strict=True)]
    if min(map(len, some)) < MIN_RECORDS:
        return None
    return auc(*some, confidence)


def check_splits(retrain, n_repeats, names):
    """Refuse too few repeats, and an estimator that does not fit the attacks."""
    if retrain is not None and not (
        hasattr(retrain, "sample") or hasattr(retrain, "fit_transform")
    ):
        raise ValueError("retrain must have the method sample or fit_transform.")
    wanted = DECODER_ATTACKS if n_repeats > 1 else (LATENT_SEARCH,)
    if retrain is not None and not has_decoder(retrain) and {*wanted} & {*names}:
        raise ValueError(
            "retrain must have make_decoder, as the release has, for the attacks "
            f"{[*wanted]}. Give the estimator that made it, or leave these attacks out."
        )
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
        X, y, _ = split.members
        release = train_clone(retrain, X, y, split_seed)
        synthetic = synthesize(release, y, split_seed, X.shape[1])
        attacks = SampleAttacks(split)
        scores = score_records(
            names, release, synthetic, attacks, reference_release, split_seed
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
