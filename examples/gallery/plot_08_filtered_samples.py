"""
When does it pay to filter generated samples?
=============================================

A sampler may draw samples where they do not belong: SMOTE walks straight across another
class if that lies between two training samples.
:class:`~skcvae.over_sampling.QualityFilter` draws more samples than are missing, and
keeps those that a scorer likes and that are no near-duplicates. We look at what it
keeps, and then at what it is worth.
"""

# %%
# Two islands
# -----------
#
# The small class has two groups of samples, and the large class lies between them.
import matplotlib.pyplot as plt
import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from skcvae.datasets import make_long_tailed
from skcvae.over_sampling import (
    GenerativeOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
)

rng = np.random.RandomState(0)
y_islands = np.repeat([0, 1], [300, 16])
X_islands = rng.normal(scale=[0.6, 0.9], size=(316, 2))
X_islands[300:] = rng.normal(scale=0.35, size=(16, 2))
X_islands[300:, 0] += np.repeat([-2.5, 2.5], 8)

# %%
# SMOTE with more neighbours than an island has samples draws bridges. A classifier that
# learned from the training samples knows better: it gives the samples in the middle a
# low probability of their label. `min_distance` thins out what is left.
smote = SMOTE(k_neighbors=12)
samplers = {
    "SMOTE": SMOTE(k_neighbors=12, random_state=0),
    "samples that a classifier likes": QualityFilter(
        smote,
        scorer=SVC(class_weight="balanced"),
        threshold=0,
        random_state=0,
    ),
    "... and no near-duplicates": QualityFilter(
        smote,
        scorer=SVC(class_weight="balanced"),
        threshold=0,
        min_distance=0.05,
        random_state=0,
    ),
}

# %%
# A support vector machine has no probabilities by default; its decision for the label
# is the score, and 0 is the boundary.
fig, axes = plt.subplots(
    1, 3, figsize=(11, 3.6), sharex=True, sharey=True, layout="constrained"
)
for ax, (name, sampler) in zip(axes, samplers.items(), strict=True):
    X_new = sampler.fit_resample(X_islands, y_islands)[0][len(X_islands) :]
    ax.scatter(*X_islands[:300].T, s=6, color="0.75", label="large class")
    ax.scatter(*X_new.T, s=8, color="#0072B2", label="generated samples")
    ax.scatter(*X_islands[300:].T, s=30, marker="x", color="black", label="small class")
    ax.set(title=name, xlabel="feature 1")
    if name != "SMOTE":
        print(f"{name}: {sampler.acceptance_rate_[1]:.0%} of the samples passed")
axes[0].set_ylabel("feature 2")
fig.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=3,
    frameon=False,
)
plt.show()

# %%
# Does it help?
# -------------
#
# On the digits there are no islands. Classes are filled up by SMOTE, or by
# :class:`~skcvae.generators.ClassGaussian`, and the lowest share of samples is thrown
# away: by a classifier, or by the density of the class. The figure shows the mean and
# the standard deviation over five seeds of the sampler.
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.5, stratify=y, random_state=0
)
X_train, y_train = make_long_tailed(
    X_train, y_train, imbalance_ratio=20, random_state=0
)
scorers = {
    "classifier": LogisticRegression(class_weight="balanced", max_iter=200),
    "density": "density",
}
wrapped = {"SMOTE": SMOTE(k_neighbors=3), "ClassGaussian": GenerativeOverSampler()}
quantiles = [0.0, 0.2, 0.4, 0.6, 0.8]


def accuracy(sampler, scorer, quantile, seed):
    """Return the test accuracy of a classifier on real and filtered samples."""
    model = make_pipeline(
        QualityFilter(sampler, scorer=scorer, quantile=quantile, random_state=seed),
        LogisticRegression(max_iter=200),
    )
    return 100 * model.fit(X_train, y_train).score(X_test, y_test)


COLORS = {"SMOTE": "#E69F00", "ClassGaussian": "#0072B2"}
STYLES = {"classifier": "-", "density": "--"}
fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
shifts = iter([-0.015, -0.005, 0.005, 0.015])
for name, sampler in wrapped.items():
    for kind, scorer in scorers.items():
        scores = np.array(
            [
                [accuracy(sampler, scorer, quantile, seed) for seed in range(5)]
                for quantile in quantiles
            ]
        )
        ax.errorbar(
            np.array(quantiles) + next(shifts),
            scores.mean(axis=1),
            scores.std(axis=1, ddof=1),
            color=COLORS[name],
            linestyle=STYLES[kind],
            capsize=3,
            label=f"{name}, {kind}",
        )
        print(f"{name:14}{kind:11}", *(f"{m:5.1f}" for m in scores.mean(axis=1)))
ax.set_xlabel("share of generated samples that is thrown away")
ax.set_ylabel("test accuracy (%)")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# At 0, nothing is filtered. A filter repairs a sampler that draws nonsense, as on the
# islands. Here there is nothing to repair: the more samples of SMOTE the classifier
# throws away, the worse, because the samples that it is sure of are those that teach
# least. The density does little to samples that were drawn from it. Compare with the
# unfiltered sampler before you believe in a filter.
#
# One sampler after the other
# ---------------------------
#
# Filters fail where too few samples pass, and SMOTE fails where a class has too few
# samples. :class:`~skcvae.over_sampling.ProgressiveOverSampler` hands such classes to
# the next step, and tells which.
sampler = ProgressiveOverSampler(
    [("smote", SMOTE(k_neighbors=8)), ("gaussian", GenerativeOverSampler())],
    limits={"smote": 3},
    random_state=0,
)
sampler.fit_resample(X_train, y_train)
print("training samples:", np.bincount(y_train).tolist())
for name, counts in sampler.n_added_.items():
    print(f"added by {name}: {counts}")
print("not for SMOTE:", list(sampler.skip_reasons_["smote"]))
