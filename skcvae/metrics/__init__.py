"""Metrics of long-tailed learning, utility and privacy: plain functions."""

from ._calibration import expected_calibration_error
from ._confidence import AttackResult, Estimate, attack_result, tpr_at_fpr
from ._long_tail import make_shot_scorer, shot_accuracy_score
from ._nearest import nearest_neighbors
from ._privacy._audit import privacy_audit
from ._privacy._audit_report import AuditedAttack, AuditedClass, PrivacyAudit
from ._privacy._closeness import (
    average_min_distance,
    distance_to_closest_record_share,
    exact_copies,
    identifiability,
    nndr,
)
from ._privacy._controls import attack_controls
from ._privacy._latent_search import latent_search_attack
from ._privacy._membership import (
    domias_attack,
    label_inference_gap,
    nearest_neighbor_attack,
    scaler_attack,
)
from ._privacy._shadow import shadow_attack
from ._probe import ProbeResult, linear_probe

__all__ = [
    "AttackResult",
    "AuditedAttack",
    "AuditedClass",
    "Estimate",
    "PrivacyAudit",
    "ProbeResult",
    "attack_controls",
    "attack_result",
    "average_min_distance",
    "distance_to_closest_record_share",
    "domias_attack",
    "exact_copies",
    "expected_calibration_error",
    "identifiability",
    "label_inference_gap",
    "latent_search_attack",
    "linear_probe",
    "make_shot_scorer",
    "nearest_neighbor_attack",
    "nearest_neighbors",
    "nndr",
    "privacy_audit",
    "scaler_attack",
    "shadow_attack",
    "shot_accuracy_score",
    "tpr_at_fpr",
]
