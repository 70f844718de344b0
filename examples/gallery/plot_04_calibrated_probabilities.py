"""
Repair probabilities after over-sampling
========================================

A classifier that was trained on resampled data believes that all classes are equally
frequent. Its probabilities are wrong wherever they are not.
:class:`~skcvae.long_tail.PriorCorrectedClassifier` wraps the whole pipeline and
repairs them.
"""

# %%
# One sample in twenty is positive
# --------------------------------
import matplotlib.pyplot as plt
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.calibration import calibration_curve
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skcvae.long_tail import PriorCorrectedClassifier
from skcvae.metrics import expected_calibration_error
from skcvae.over_sampling import CVAEOverSampler

X, y = make_classification(
    n_samples=8_000,
    n_features=12,
    n_informative=8,
    n_clusters_per_class=3,
    weights=[0.95],
    class_sep=0.8,
    random_state=0,
)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)

# %%
# Three classifiers for each sampler
# ----------------------------------
#
# As trained; with the class frequencies exchanged by Bayes' rule, which is exact where
# the generated samples follow p(x | y); and calibrated on held-out real samples as
# well, for samplers that change p(x | y), as SMOTE does by drawing between neighbours.
samplers = {
    "SMOTE": SMOTE(random_state=0),
    "CVAE": CVAEOverSampler(latent_dim=4, random_state=0),
}
repairs = {
    "as trained": lambda pipeline: pipeline,
    "prior corrected": PriorCorrectedClassifier,
    "and calibrated": lambda pipeline: PriorCorrectedClassifier(
        pipeline, calibration="sigmoid", cv=3
    ),
}
colors = ["#999999", "#E69F00", "#0072B2"]

fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
print(f"{'':24}{'calibration error':>18}{'log loss':>10}")
for ax, (sampler_name, sampler) in zip(axes, samplers.items(), strict=True):
    for (repair_name, repair), color in zip(repairs.items(), colors, strict=True):
        model = repair(make_pipeline(sampler, LogisticRegression()))
        proba = model.fit(X_train, y_train).predict_proba(X_test)
        error = expected_calibration_error(y_test, proba, kind="classwise")
        loss = log_loss(y_test, proba)
        print(f"{sampler_name + ', ' + repair_name:24}{error:18.3f}{loss:10.3f}")
        observed, predicted = calibration_curve(
            y_test, proba[:, 1], n_bins=10, strategy="quantile"
        )
        ax.plot(
            predicted, observed, "o-", color=color, label=f"{repair_name} ({error:.3f})"
        )
    ax.plot([0, 1], [0, 1], color="0.8", zorder=0)
    ax.set_title(sampler_name)
    ax.set_xlabel("predicted probability of the rare class")
    ax.legend(title="expected calibration error", frameon=False, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("observed frequency")
plt.show()

# %%
# The ranking of the samples, and with it the area under the ROC curve, is the same for
# all three of a sampler: what changes is what a probability of 0.3 means.
