"""The result of a privacy audit, as plain data and as text."""

from dataclasses import dataclass

from .._statistics import Estimate, to_plain
from ._attack_result import AttackResult
from ._headline import HeadlineFigure
from ._planted import NO_LEAK

_CLOSING = "These are lower bounds from the listed attacks; stronger attacks may exist."
_FLAGGED = (
    "The headline shows a leak in a planted release that has none; in one audit of "
    "twenty it does so by chance."
)
_APART = (
    "No attack with controls is usable: samples that leak nothing set members and "
    "non-members apart."
)
_SETS_DIFFER = (
    "The likely cause is that the two sets differ in distribution, by their source, "
    "their time, or the shares of their classes, and the audit says nothing about "
    "membership."
)
_SPLIT_ANEW = (
    "Split one set at random into members, non-members and reference, whole groups "
    "together; train on the members, and audit again."
)
_TOO_FEW = (
    "No attack with controls is usable: none notices a release of the members "
    "themselves. The likely cause is that there are too few records, or that many are "
    "equal, and the audit says nothing about membership.",
    "Audit with more members, non-members and reference samples.",
)


@dataclass(frozen=True)
class AuditedAttack:
    """One attack of an audit.

    Attributes
    ----------
    result : AttackResult
        AUC and true-positive rate on the release.

    isolated : Estimate or None
        AUC among the most isolated records. None where these are too few, or the
        attack gives no scores.

    positive, negative : Estimate or None
        AUC where members were released, and where samples of Gaussians fitted to the
        reference were, with intervals corrected for the number of attacks. None for an
        attack that would need another training for it.

    usable : bool
        Whether the first interval is above 0.5 and the second includes it, or there are
        no controls.
    """

    result: AttackResult
    isolated: Estimate | None
    positive: Estimate | None
    negative: Estimate | None
    usable: bool


@dataclass(frozen=True)
class AuditedClass:
    """AUC among the records of one class, corrected for the number of classes."""

    label: str
    auc: Estimate
    n_members: int
    n_nonmembers: int


@dataclass(frozen=True)
class PrivacyAudit:
    """The report of :func:`privacy_audit`: aggregates only, and no verdict.

    Print it to read it; :meth:`to_dict` gives it to programs. All intervals are of
    95 %, over records, given this one release, unless it says otherwise.

    Attributes
    ----------
    n_members, n_nonmembers, n_reference, n_synthetic : int
        Numbers of samples.

    headline : tuple of HeadlineFigure
        The largest AUC in either direction, the largest true-positive rate at 1 % false
        positives (with 500 non-members or more), the largest share of the members that
        one attack finds at no false positive, and the numbers of members copied exactly
        and nearly. Where a figure is beyond chance, the release leaks. Of releases
        that do not depend on who is a member, one in twenty has such a figure, at most
        (Bonferroni's correction for all attacks and figures). It holds where members
        and non-members were split at random, sample by sample.

    found_by_any : Estimate or None
        Share of the members that score above all non-members by some usable attack.
        Each attack finds about one member by chance; "aligned_copies" attacks half.

    planted : dict
        Planted leaks, and the first figure of the headline that shows each; empty if
        none does. All are as large as the members: samples of Gaussians fitted to the
        reference, without members, with 1 % and 5 % of them, and with those of one
        class; and all members, rotated, ten times as large, and shifted.

    attacks : tuple of AuditedAttack
        Membership attacks with their controls.

    maximum : Estimate or None
        The largest AUC of the usable attacks, of scores or of their reverse, with
        Bonferroni's correction: the true one is in the interval with 95 %, although
        the strongest attack was picked after the fact. None without a usable attack.

    classes : tuple of AuditedClass
        The classes of highest AUC by the attack `class_attack`.

    class_attack : str
        The usable attack of the highest AUC among those that score records.

    n_classes_tested, n_classes_small : int
        Numbers of classes with enough samples, and without.

    closeness : dict
        `n_copies`, exact copies among synthetic samples; `near_members`,
        `near_nonmembers`, see :func:`exact_copies`; `share`, see
        :func:`distance_to_closest_record_share`; medians of the distances from
        synthetic samples and from non-members to the nearest record.

    attribute : dict
        See :func:`label_inference_gap`.

    extremes : dict or None
        See :func:`scaler_attack`.

    formal : dict
        The formal guarantee; the key `guarantee` at least.

    splits : dict or None
        Mean AUC over splits with retraining, by attack.

    notes : tuple of str
        Limits of this audit.
    """

    n_members: int
    n_nonmembers: int
    n_reference: int
    n_synthetic: int
    headline: tuple[HeadlineFigure, ...]
    found_by_any: Estimate | None
    planted: dict
    attacks: tuple[AuditedAttack, ...]
    maximum: Estimate | None
    classes: tuple[AuditedClass, ...]
    class_attack: str
    n_classes_tested: int
    n_classes_small: int
    closeness: dict
    attribute: dict
    extremes: dict | None
    formal: dict
    splits: dict | None
    notes: tuple[str, ...]

    @property
    def dead_end(self) -> tuple[str, ...]:
        """Likely cause and remedy where the audit cannot tell; empty otherwise.

        This is where no attack with controls is usable, or where the headline shows a
        leak in the planted release that has none.
        """
        controlled = [a for a in self.attacks if a.positive is not None]
        if controlled and not any(attack.usable for attack in controlled):
            clean = [a.negative for a in controlled if a.negative is not None]
            if all(area.low <= 0.5 <= area.high for area in clean):
                return _TOO_FEW
            return f"{_APART} {_SETS_DIFFER}", _SPLIT_ANEW
        if self.planted.get(NO_LEAK):
            return f"{_FLAGGED} {_SETS_DIFFER}", _SPLIT_ANEW
        return ()

    def to_dict(self) -> dict:
        """Return all fields as plain numbers, strings, lists and dicts for JSON."""
        return {
            **to_plain(self),
            "headline": [
                {**to_plain(figure), "beyond_chance": figure.beyond_chance}
                for figure in self.headline
            ],
            "dead_end": " ".join(self.dead_end),
            "closing": _CLOSING,
        }

    def __str__(self):
        tables = audit_tables(self)
        sections = [
            _overview(self),
            _headline(self, tables),
            _controls(tables),
            _membership(self, tables),
            _splits(self),
            _classes(self, tables),
            _closeness(self),
            _attribute(self),
            _formal(self),
            _notes(self),
            [_CLOSING],
        ]
        return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _overview(audit):
    return [
        "Privacy audit",
        f"{audit.n_members} members, {audit.n_nonmembers} non-members, "
        f"{audit.n_reference} reference samples; "
        f"{audit.n_synthetic} synthetic samples.",
        "In brackets: 95 % intervals over records, given this one release.",
        "AUC: 0.5 is guessing, 1 tells every member from every non-member.",
    ]


def audit_tables(audit):
    """Return tables by name: a head, and lines of texts, numbers and estimates."""
    attacks = audit.attacks
    return {
        "headline": [
            ("figure", "attack", "value", "by chance up to", "result"),
            *(
                (
                    *(figure.name, figure.attack or "-"),
                    *(figure.value, figure.by_chance),
                    "beyond chance" if figure.beyond_chance else "",
                )
                for figure in audit.headline
            ),
        ],
        "controls": [
            ("attack", "members released", "others released", "usable"),
            *((a.result.name, a.positive, a.negative, _usable(a)) for a in attacks),
        ],
        "planted": [
            ("planted leak", "shown in the headline by"),
            *((leak, figure or "nothing") for leak, figure in audit.planted.items()),
        ],
        "attacks": [
            ("attack", "AUC", "TPR at 1 % FPR", "AUC, 10 % isolated"),
            *((a.result.name, a.result.auc, a.result.tpr, a.isolated) for a in attacks),
        ],
        "classes": [
            ("class", "AUC", "members", "non-members"),
            *((c.label, c.auc, c.n_members, c.n_nonmembers) for c in audit.classes),
        ],
    }


def _usable(attack):
    if attack.positive is None:
        return "no control"
    return "yes" if attack.usable else "not usable"


def _headline(audit, tables):
    return [
        "Headline: a clean release has a figure beyond chance once in twenty audits",
        *_table(tables["headline"]),
        f"Members that any attack finds at FPR 0: {_format(audit.found_by_any)}",
    ]


def _controls(tables):
    return [
        "1. Controls: AUC where all leaks (above 0.5), and where nothing does (0.5)",
        *_table(tables["controls"]),
        "",
        *_table(tables["planted"]),
    ]


def _membership(audit, tables):
    lines = ["2. Membership: who was in the training set", *_table(tables["attacks"])]
    lines += audit.dead_end
    if audit.maximum is None:
        lines.append("No attack was usable: nothing is known about membership.")
    else:
        n_usable = sum(attack.usable for attack in audit.attacks)
        lines += [
            f"Maximum of {n_usable} usable, in either direction, corrected for the "
            f"choice: {_format(audit.maximum)}"
        ]
    if audit.extremes is not None:
        lines += [
            "Released extremes are attained by",
            f"   members      {_format(audit.extremes['tpr'])}",
            f"   non-members  {_format(audit.extremes['fpr'])}",
        ]
    return lines


def _splits(audit):
    if audit.splits is None:
        return []
    return [
        f"   Over {audit.splits['n_repeats']} random splits into members and "
        "non-members, trained anew each time",
        *_table([("attack", "mean AUC"), *audit.splits["auc"].items()]),
        "These intervals are over splits, trainings and draws of synthetic samples.",
        "The splits share their records: other records are not accounted for.",
    ]


def _classes(audit, tables):
    title = f"   By class: {audit.n_classes_small} had too few records"
    if not audit.classes:
        return [f"{title}, and no other could be tested."]
    return [
        f"{title}; the worst of the other {audit.n_classes_tested} by "
        f"{audit.class_attack},",
        "   corrected for the choice",
        *_table(tables["classes"]),
    ]


def _closeness(audit):
    found = audit.closeness
    return [
        "3. Copies and closeness",
        "An overfitting alarm; a pass is not evidence of privacy.",
        f"Synthetic samples that equal a member: {found['n_copies']}",
        f"Members nearly copied: {_format(found['near_members'])}; non-members: "
        f"{_format(found['near_nonmembers'])}",
        "Synthetic samples nearer to a member (0.5 by chance): "
        f"{_format(found['share'])}",
        "Median distance, in root mean square deviations of the reference:",
        f"   synthetic to member      {_format(found['synthetic_to_member'])}",
        f"   synthetic to non-member  {_format(found['synthetic_to_nonmember'])}",
        f"   non-member to member     {_format(found['nonmember_to_member'])}",
    ]


def _attribute(audit):
    found = audit.attribute
    return [
        "4. Attribute: labels inferred from the features by the synthetic samples",
        f"Accuracy for members {_format(found['members'])}, for non-members "
        f"{_format(found['nonmembers'])};",
        f"difference {_format(found['difference'])}; 0 if membership does not matter",
    ]


def _formal(audit):
    lines = ["5. Formal guarantee", str(audit.formal["guarantee"])]
    for name, value in audit.formal.items():
        if isinstance(value, list | tuple):
            lines += [f"{name}:", *(f"   - {entry}" for entry in value)]
        elif name != "guarantee":
            lines.append(f"{name}: {value}")
    return lines


def _notes(audit):
    return ["Notes", *(f"- {note}" for note in audit.notes)] if audit.notes else []


def _format(value):
    """Return the text of an estimate, a number or a text in the width of a column."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if not isinstance(value, Estimate):
        return str(value)
    # Distances can have more digits before the point than rates have.
    digits = 3 if abs(value.high) < 10 else 1
    middle, low, high = (f"{number:.{digits}f}" for number in value)
    return f"{middle} [{low}, {high}]"


def _table(rows):
    """Return the lines of a table with columns of fixed width."""
    cells = [[_format(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
