"""
Over-sample samples with several labels
=======================================

Photos show several things at once. Whoever repeats the photos of a rare thing repeats
the frequent ones beside it. Here is how to raise rare labels alone, as far as possible.
"""

# %%
# Labels with a long tail
# -----------------------
#
# Each of eight labels moves a sample by a vector of its own. The first label is forty
# times as frequent as the last, and every second sample with the last has the first.
import matplotlib.pyplot as plt
import numpy as np
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.multiclass import OneVsRestClassifier

from skcvae.over_sampling import MultilabelOverSampler

N_LABELS, N_FEATURES = 8, 40
rng = np.random.RandomState(0)
effects = rng.normal(scale=0.5, size=(N_LABELS, N_FEATURES))
shares = np.geomspace(0.4, 0.01, N_LABELS)


def draw(n_samples):
    """Draw samples and their label sets."""
    Y = (rng.uniform(size=(n_samples, N_LABELS)) < shares).astype(int)
    Y[:, 0] |= Y[:, -1] & rng.randint(2, size=n_samples)
    return Y @ effects + rng.normal(size=(n_samples, N_FEATURES)), Y


X, Y = draw(1000)
X_test, Y_test = draw(5000)

# %%
# Which label sets are added
# --------------------------
#
# Each label shall have at least a third of the samples of the most frequent one. The
# sampler prefers sets without frequent labels; the higher `inflation_cost`, the more.
samplers = {
    cost: MultilabelOverSampler(
        sampling_strategy=1 / 3, inflation_cost=cost, random_state=0
    )
    for cost in (0.0, 1.0)
}
resampled = {cost: sampler.fit_resample(X, Y) for cost, sampler in samplers.items()}
for cost, sampler in samplers.items():
    before, after = sampler.label_counts_
    print(f"cost {cost}: {sampler.n_added_} samples more, labels {after.tolist()}")

# %%
# Repeating samples of each rare label at random, as ML-ROS does, lifts the frequent
# labels most.
repeated = []
for label in np.argsort(before):
    lacking = before.max() // 3 - before[label] - Y[repeated, label].sum()
    holders = np.flatnonzero(Y[:, label])
    repeated += rng.choice(holders, max(lacking, 0)).tolist()

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
places = np.arange(N_LABELS)
bars = {
    "before": before,
    "repeated": before + Y[repeated].sum(axis=0),
    "generated, cost 1": samplers[1.0].label_counts_[1],
}
for i, (name, counts) in enumerate(bars.items()):
    color = ("0.6", "#D55E00", "#0072B2")[i]
    ax.bar(places + 0.27 * (i - 1), counts, width=0.25, color=color, label=name)
ax.axhline(before.max() / 3, color="0.8", zorder=0)
ax.set(xlabel="label", ylabel="samples")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

# %%
# In a pipeline
# -------------
#
# The sampler stands before any classifier of label sets, and does nothing to test
# samples. F1 looks at the answers, and average precision at the order of the samples.
heads = OneVsRestClassifier(LogisticRegression(C=0.1))
models = {"as they are": heads, "generated": make_pipeline(samplers[1.0], heads)}
for name, model in models.items():
    model.fit(X, Y)
    order = average_precision_score(Y_test, model.predict_proba(X_test), average=None)
    answers = f1_score(Y_test, model.predict(X_test), average=None)
    print(f"{name:12} rarest three labels: F1 {answers[-3:].mean():.3f}, ", end="")
    print(f"average precision {order[-3:].mean():.3f}")

# %%
# F1 rises, because more rare labels are found. Average precision falls: the order of
# the samples is worse than without. Compare with doing nothing before you over-sample
# label sets. Thresholds for each label, which ``thresholds="f1"`` of
# ``MultilabelLongTailClassifier`` chooses, change the answers and leave the order.
