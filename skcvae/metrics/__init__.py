"""Metrics of long-tailed learning, quality, utility and privacy: plain functions."""

from ._calibration import expected_calibration_error
from ._confidence import AttackResult, Estimate, attack_result, tpr_at_fpr
from ._long_tail import make_shot_scorer, shot_accuracy_score
from ._nearest import nearest_neighbors
from ._privacy._audit import privacy_audit
from ._privacy._audit_report import AuditedAttack, AuditedClass, PrivacyAudit
from ._privacy._average_distance import average_min_distance
from ._privacy._closeness import (
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
from ._quality._diversity import (
    class_pairwise_distance,
    inception_score,
    mean_pairwise_distance,
    minimum_pairwise_distance,
)
from ._quality._frechet import (
    class_frechet_distance,
    extrapolated_frechet_distance,
    frechet_bias,
    frechet_distance,
)
from ._quality._generalization import (
    generalization_gap,
)
from ._quality._latents import (
    latent_normality_distance,
    latent_separability,
)
from ._quality._manifold import (
    class_nearest_neighbor_coverage,
    nearest_neighbor_coverage,
    precision_recall_density_coverage,
)
from ._quality._spheres import (
    bounding_sphere,
    class_bounding_spheres,
)
from ._quality._two_sample import (
    classifier_two_sample_test,
    maximum_mean_discrepancy,
)

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
    "bounding_sphere",
    "class_bounding_spheres",
    "class_frechet_distance",
    "class_nearest_neighbor_coverage",
    "class_pairwise_distance",
    "classifier_two_sample_test",
    "distance_to_closest_record_share",
    "domias_attack",
    "exact_copies",
    "expected_calibration_error",
    "extrapolated_frechet_distance",
    "frechet_bias",
    "frechet_distance",
    "generalization_gap",
    "identifiability",
    "inception_score",
    "label_inference_gap",
    "latent_normality_distance",
    "latent_search_attack",
    "latent_separability",
    "linear_probe",
    "make_shot_scorer",
    "maximum_mean_discrepancy",
    "mean_pairwise_distance",
    "minimum_pairwise_distance",
    "nearest_neighbor_attack",
    "nearest_neighbor_coverage",
    "nearest_neighbors",
    "nndr",
    "precision_recall_density_coverage",
    "privacy_audit",
    "scaler_attack",
    "shadow_attack",
    "shot_accuracy_score",
    "tpr_at_fpr",
]
