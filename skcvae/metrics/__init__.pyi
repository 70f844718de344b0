from ._calibration import expected_calibration_error
from ._diversity import (
    class_pairwise_distance,
    inception_score,
    mean_pairwise_distance,
    minimum_pairwise_distance,
)
from ._frechet import (
    class_frechet_distance,
    extrapolated_frechet_distance,
    frechet_bias,
    frechet_distance,
)
from ._generalization import generalization_gap
from ._latents import latent_normality_distance, latent_separability
from ._long_tail import (
    balanced_log_loss,
    make_shot_scorer,
    neg_balanced_log_loss_scorer,
    shot_accuracy_score,
)
from ._manifold import (
    average_min_distance,
    class_nearest_neighbor_coverage,
    nearest_neighbor_coverage,
    nearest_neighbors,
    precision_recall_density_coverage,
)
from ._multilabel import (
    label_set_distance,
    make_multilabel_shot_scorer,
    mean_average_precision_score,
    mean_roc_auc_score,
    shot_mean_average_precision,
)
from ._probe import linear_probe
from ._robustness import corruption_scores, noise_accuracy_curve
from ._spheres import bounding_sphere, class_bounding_spheres
from ._tables import table_quality
from ._two_sample import classifier_two_sample_test, maximum_mean_discrepancy

__all__ = [
    "average_min_distance",
    "balanced_log_loss",
    "bounding_sphere",
    "class_bounding_spheres",
    "class_frechet_distance",
    "class_nearest_neighbor_coverage",
    "class_pairwise_distance",
    "classifier_two_sample_test",
    "corruption_scores",
    "expected_calibration_error",
    "extrapolated_frechet_distance",
    "frechet_bias",
    "frechet_distance",
    "generalization_gap",
    "inception_score",
    "label_set_distance",
    "latent_normality_distance",
    "latent_separability",
    "linear_probe",
    "make_multilabel_shot_scorer",
    "make_shot_scorer",
    "maximum_mean_discrepancy",
    "mean_average_precision_score",
    "mean_pairwise_distance",
    "mean_roc_auc_score",
    "minimum_pairwise_distance",
    "nearest_neighbor_coverage",
    "nearest_neighbors",
    "neg_balanced_log_loss_scorer",
    "noise_accuracy_curve",
    "precision_recall_density_coverage",
    "shot_accuracy_score",
    "shot_mean_average_precision",
    "table_quality",
]
