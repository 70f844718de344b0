"""
How many samples to add, from which sampler, how wide?
======================================================

Filling all classes up to the largest is only the most common answer.
:class:`~skcvae.over_sampling.PowerStrategy` and
:class:`~skcvae.over_sampling.RatioStrategy` fill them up in part,
:class:`~skcvae.over_sampling.ProgressiveOverSampler` shares the work among samplers,
:class:`~skcvae.over_sampling.RaiseWhileBetter` adds samples as long as that pays, and
``variance="auto"`` chooses how far samples lie from the mean of their class.
"""

# %%
# A long tail
# -----------
import matplotlib.pyplot as plt
import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler

from skcvae.datasets import make_long_tailed
from skcvae.generators import ClassGaussian
from skcvae.long_tail import LongTailShuffleSplit
from skcvae.over_sampling import (
    GenerativeOverSampler,
    PowerStrategy,
    ProgressiveOverSampler,
    RaiseWhileBetter,
    RatioStrategy,
)

X, y = load_digits(return_X_y=True)


def split(seed):
    """Return a long-tailed half to learn from, and a balanced one to test on."""
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    X_train, y_train = make_long_tailed(
        X_train, y_train, imbalance_ratio=30, random_state=seed
    )
    return X_train, y_train, X_test, y_test


X_train, y_train, X_test, y_test = split(0)
n_real = np.bincount(y_train)

# %%
# How many samples
# ----------------
#
# ``RatioStrategy`` has one height for all small classes, ``PowerStrategy`` keeps their
# order. ``max_synthetic_ratio`` bounds how many samples are made of each real one.
strategies = {
    "RatioStrategy(0.5)": RatioStrategy(0.5),
    "PowerStrategy(0.5)": PowerStrategy(0.5),
    "PowerStrategy(0.5,\nmax_synthetic_ratio=2)": PowerStrategy(
        0.5, max_synthetic_ratio=2
    ),
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
for ax, (title, strategy) in zip(axes, strategies.items(), strict=True):
    n_after = np.array(list(strategy(y_train).values()))
    ax.bar(range(10), n_real, color="0.6", label="real")
    ax.bar(range(10), n_after - n_real, bottom=n_real, label="generated")
    ax.set_xlabel("class")
    ax.set_title(title, fontsize="medium")
axes[0].set_ylabel("samples")
axes[0].legend()
plt.show()

# %%
# From which sampler
# ------------------
#
# SMOTE may add as many samples to a class as it has, the Gaussian adds the rest.
# Classes with fewer samples than SMOTE's neighbours go to the Gaussian as a whole.
progressive = ProgressiveOverSampler(
    [("smote", SMOTE(k_neighbors=5)), ("gaussian", GenerativeOverSampler())],
    limits={"smote": 1},
    sampling_strategy=PowerStrategy(0.5),
    random_state=0,
)
progressive.fit_resample(X_train, y_train)
bottom = n_real.copy()
figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
ax.bar(range(10), n_real, color="0.6", label="real")
for (name, added), color in zip(
    progressive.n_added_.items(), ("tab:orange", "tab:blue"), strict=True
):
    height = np.array([added.get(label, 0) for label in range(10)])
    ax.bar(range(10), height, bottom=bottom, color=color, label=name)
    bottom += height
ax.set(xlabel="class", ylabel="samples", title="ProgressiveOverSampler")
ax.legend()
print("left out by SMOTE:", sorted(progressive.skip_reasons_["smote"]))
plt.show()

# %%
# What the strength is worth
# --------------------------
#
# Balanced accuracy on real samples that nothing has learned from, over five splits.
splits = [split(seed) for seed in range(5)]


def accuracies(sampler):
    """Return the balanced accuracy after a sampler, in percent, on each split."""
    pipeline = make_pipeline(
        StandardScaler(), sampler, LogisticRegression(C=0.1, max_iter=500)
    )
    scores = []
    for X_train, y_train, X_test, y_test in splits:
        predicted = pipeline.fit(X_train, y_train).predict(X_test)
        scores.append(100 * balanced_accuracy_score(y_test, predicted))
    return np.array(scores)


powers = [0, 0.25, 0.5, 0.75, 1]
strength = {
    "SMOTE": [
        accuracies(
            SMOTE(k_neighbors=1, sampling_strategy=PowerStrategy(p), random_state=0)
        )
        for p in powers
    ],
    "ClassGaussian": [
        accuracies(
            GenerativeOverSampler(sampling_strategy=PowerStrategy(p), random_state=0)
        )
        for p in powers
    ],
}

# %%
# Start small
# -----------
#
# A search sees held-out training samples, and few of them are of rare classes: the
# score is noisy. ``RaiseWhileBetter`` starts without generated samples, and adds more
# where that gains more than the noise between splits. The grey line is what the search
# does not see: the accuracy on the test samples.
ratios = [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5]
sampler = GenerativeOverSampler(random_state=0)
strategy_name = "generativeoversampler__sampling_strategy"
search = GridSearchCV(
    make_pipeline(StandardScaler(), sampler, LogisticRegression(C=0.1, max_iter=500)),
    {strategy_name: [RatioStrategy(ratio) for ratio in ratios]},
    scoring="balanced_accuracy",
    cv=LongTailShuffleSplit(10, random_state=0),
    refit=RaiseWhileBetter(),
)
search.fit(X_train, y_train)
results = search.cv_results_
unseen = [
    accuracies(sampler.set_params(sampling_strategy=RatioStrategy(ratio)))[0]
    for ratio in ratios
]
error = results["std_test_score"] / np.sqrt(search.n_splits_)
figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
ax.errorbar(
    ratios, 100 * results["mean_test_score"], 100 * error, marker="o", label="held out"
)
ax.plot(ratios, unseen, color="0.6", label="test samples")
ax.axvline(ratios[search.best_index_], color="tab:red", label="chosen")
ax.set(xlabel="ratio: each class has this share of the largest", ylabel="accuracy, %")
ax.legend()
plt.show()
print(
    "chosen:",
    ratios[search.best_index_],
    "highest mean:",
    ratios[int(np.argmax(results["mean_test_score"]))],
)

# %%
# How wide
# --------
#
# ``variance="auto"`` needs no validation samples: it is :math:`1 + 1 / (n_c + k_0)`,
# since the mean of a class of few samples is uncertain.
variances = [0.25, 0.5, 1, 1.5, 2, 3]


def gaussian(variance):
    """Return an over-sampler with a variance."""
    return GenerativeOverSampler(ClassGaussian(variance=variance), random_state=0)


width = [accuracies(gaussian(variance)) for variance in variances]
auto = accuracies(gaussian("auto"))

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for name, scores in strength.items():
    axes[0].errorbar(
        powers, np.mean(scores, axis=1), np.std(scores, axis=1), marker="o", label=name
    )
axes[0].set(
    xlabel="power: 0 adds no samples, 1 fills all classes", ylabel="accuracy, %"
)
axes[1].errorbar(variances, np.mean(width, axis=1), np.std(width, axis=1), marker="o")
axes[1].axhline(auto.mean(), color="tab:red", label='variance="auto"')
axes[1].set(xlabel="variance of ClassGaussian")
for ax in axes:
    ax.legend()
plt.show()

# %%
best = int(np.argmax(np.mean(width, axis=1)))
difference = auto - width[best]
print(
    f"auto: {auto.mean():.1f}; best of the sweep, {variances[best]}: "
    f"{np.mean(width[best]):.1f}; difference {difference.mean():+.2f}, "
    f"standard error {difference.std(ddof=1) / np.sqrt(len(splits)):.2f}"
)
