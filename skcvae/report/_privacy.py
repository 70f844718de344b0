"""The section of a report on privacy: an audit in plain words, without a verdict."""

from typing import Any

import numpy as np

from ..privacy import PrivacyAudit, privacy_audit
from ..privacy._audit_report import audit_tables
from ._samples import Run, clean

_NOT_AUDITED = (
    "not audited: there are no reference samples. An attacker has samples of the same "
    "kind, which calibrate the attacks: split some off before the model is trained, "
    "and pass them as X_reference and y_reference."
)
_FOR_TRAINING = (
    "not audited: generated samples of over-sampling are for training, not for "
    "publication. They are used together with the real samples and do not hide them."
)
_ASKS = {
    "nearest_neighbor": "is there a generated sample very near to the record?",
    "nearest_by_feature": "the same, with each feature on its own scale.",
    "likelihood": "is the record likelier under a Gaussian of its class in the "
    "generated samples than in the reference?",
    "class_means": "is the generated mean of its class moved towards the record?",
    "aligned_copies": "is there a generated sample very near to the record, after a "
    "rotation, mirroring, scale and shift?",
    "latent_search": "can the released decoder generate the record?",
    "subspace": "has the record no part in directions that the decoder lacks?",
}
_CAPTIONS = {
    "headline": "Headline: is any figure beyond what chance gives? Of releases that "
    "disclose nothing, one in twenty has such a figure, at most",
    "controls": "Do the attacks work? AUC if the members themselves are released "
    "(must be above 0.5), and if other samples are released (must be near 0.5)",
    "planted": "Would the headline have shown a leak? Other releases, with planted "
    "leaks, and the first figure that shows each",
    "attacks": "Who was in the training samples? The attacks on this release",
}


class _Published:
    """A release whose rows are those of all other sections."""

    def __init__(self, run):
        self.rows = run.synthetic
        # Those of suppressed classes are not published.
        self.classes_ = np.unique(run.synthetic.y)
        # The decoder of a table makes other codes than those of the report.
        if run.tables is None and hasattr(run.generator, "make_decoder"):
            self.make_decoder = run.generator.make_decoder

    def sample(self, n_samples=None, *, y=None, random_state=None):
        """Return the samples, whatever is asked for."""
        return self.rows


def audit(run: Run, groups: dict[str, Any]) -> tuple[PrivacyAudit | None, str]:
    """Return the audit and "", or None and the reason why there is none."""
    if not run.is_release:
        return None, _FOR_TRAINING
    if run.reference is None:
        return None, _NOT_AUDITED
    try:
        found = privacy_audit(
            _Published(run),
            *run.train,
            *run.test,
            *run.reference,
            **groups,
            statement=_formal_guarantee(run),
            random_state=run.seeds[1],
        )
    except ValueError as error:
        return None, f"not audited: {error}"
    return found, ""


def _formal_guarantee(run):
    """Return the privacy statement of the model or of its generator."""
    for part in (run.model, run.generator):
        if hasattr(part, "privacy_statement"):
            return part.privacy_statement()
    return {"guarantee": "no formal guarantee"}


def describe_privacy(
    run: Run, found: PrivacyAudit | None, reason: str
) -> dict[str, Any]:
    """Return tables and sentences on the audit and the guarantee."""
    section = {"reason": reason, "formal": _list_formal(_formal_guarantee(run))}
    if found is None:
        return section
    return section | {
        "sizes": [
            ("members, the training samples", found.n_members),
            ("non-members, the test samples", found.n_nonmembers),
            ("reference samples of the attacker", found.n_reference),
            ("generated samples attacked", found.n_synthetic),
        ],
        "asks": [(a.result.name, _ASKS[a.result.name]) for a in found.attacks],
        "tables": _list_tables(found),
        "maximum": found.maximum,
        "dead_end": " ".join(found.dead_end),
        "closeness": _closeness(found.closeness),
        "attribute": _attribute(found.attribute),
        "notes": found.notes,
        "closing": found.to_dict()["closing"],
    }


def _list_formal(statement):
    """Return names and lists of sentences, the guarantee first."""
    entries = []
    for name, value in statement.items():
        values = value if isinstance(value, list | tuple) else [value]
        entries.append((clean(name), [clean(v) for v in values if v is not None]))
    return sorted(entries, key=lambda entry: entry[0] != "guarantee")


def _list_tables(found):
    """Return the tables of an audit with a caption each; one without lines is left out.

    The headline has one more line.
    """
    tables = audit_tables(found)
    tables["headline"].append(
        ("found at FPR 0 by any attack", "", found.found_by_any, "", "")
    )
    captions = {
        **_CAPTIONS,
        "classes": f"The classes of highest AUC by {found.class_attack}, of "
        f"{found.n_classes_tested} tested; {found.n_classes_small} had too few "
        "samples. Intervals are corrected for the selection",
    }
    return [
        {"caption": caption, "head": tables[name][0], "rows": tables[name][1:]}
        for name, caption in captions.items()
        if len(tables[name]) > 1
    ]


def _closeness(found):
    distance = "median distance, in root mean square deviations of the reference: "
    return [
        ("generated samples that equal a training sample", found["n_copies"]),
        ("share of the training samples nearly copied", found["near_members"]),
        (
            "share of the test samples nearly copied, by chance",
            found["near_nonmembers"],
        ),
        (
            "share of generated samples nearer to a training than to a test sample; "
            "0.5 by chance",
            found["share"],
        ),
        (f"{distance}generated to training samples", found["synthetic_to_member"]),
        (f"{distance}generated to test samples", found["synthetic_to_nonmember"]),
        (f"{distance}test to training samples", found["nonmember_to_member"]),
    ]


def _attribute(found):
    return [
        ("accuracy for training samples", found["members"]),
        ("accuracy for test samples", found["nonmembers"]),
        ("difference; 0 if membership has no effect", found["difference"]),
    ]
