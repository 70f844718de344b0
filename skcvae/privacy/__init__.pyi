from ._attack_result import (
    AttackResult,
    Estimate,
    attack_controls,
    attack_result,
    tpr_at_fpr,
)
from ._audit import privacy_audit
from ._audit_report import AuditedAttack, AuditedClass, PrivacyAudit
from ._class_gaussian import class_gaussian_attack
from ._closeness import (
    distance_to_closest_record_share,
    exact_copies,
    identifiability,
    nndr,
)
from ._headline import HeadlineFigure
from ._latent_search import latent_search_attack
from ._membership import (
    label_inference_gap,
    nearest_neighbor_attack,
    scaler_attack,
)
from ._shadow import shadow_attack

__all__ = [
    "AttackResult",
    "AuditedAttack",
    "AuditedClass",
    "Estimate",
    "HeadlineFigure",
    "PrivacyAudit",
    "attack_controls",
    "attack_result",
    "class_gaussian_attack",
    "distance_to_closest_record_share",
    "exact_copies",
    "identifiability",
    "label_inference_gap",
    "latent_search_attack",
    "nearest_neighbor_attack",
    "nndr",
    "privacy_audit",
    "scaler_attack",
    "shadow_attack",
    "tpr_at_fpr",
]
