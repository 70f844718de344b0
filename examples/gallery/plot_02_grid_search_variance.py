"""
Tune an over-sampler with one training per fold
===============================================

How far should generated samples lie from their class mean, and how far should small
classes be filled up? Both are chosen by cross-validation. Neither changes what the
generator learns: with ``memory=``, all candidates of a fold share one training.
"""

# %%
# A pipeline that resamples inside of each fold
# ---------------------------------------------
#
# Half of the digits are made long-tailed, for training; the other half stays balanced,
# for the test at the end.
import tempfile
from collections import Counter

import matplotlib.pyplot as plt
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from skcvae.datasets import make_long_tailed
from skcvae.over_sampling import CVAEOverSampler

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
X_train, y_train = make_long_tailed(
    X_train, y_train, imbalance_ratio=15, random_state=0
)

# %%
# imbalanced-learn's pipeline calls the sampler in `fit` only: the samples that a fold
# is tested on are never seen by the generator, and stay as they are. A callback of
# skorch counts how often a generator is trained.


class CountTrainings(Callback):
    """Count the trainings of all nets that have this callback."""

    n_trainings = 0

    def on_train_begin(self, net, **kwargs):
        CountTrainings.n_trainings += 1


cache = tempfile.TemporaryDirectory()
pipeline = make_pipeline(
    StandardScaler(),
    CVAEOverSampler(
        memory=cache.name,
        random_state=0,
        net_params={"callbacks": [("count", CountTrainings())]},
    ),
    LogisticRegression(C=0.1, max_iter=500),
)

# %%
# The grid
# --------
#
# `sampling_strategy` may be a function of `y`: here one that fills classes up to a
# share of the largest one. `variance` is :math:`\sigma^2`, the factor of the variance
# of the latents.


def fill_to_half(y):
    """Return how many samples each small class has after resampling."""
    counts = Counter(y.tolist())
    target = max(counts.values()) // 2
    return {label: max(n, target) for label, n in counts.items()}


strategies = {"to half of the largest": fill_to_half, "to the largest": "auto"}
variances = [0.1, 0.3, 1.0, 2.0, 4.0, 8.0]
search = GridSearchCV(
    pipeline,
    {
        "cvaeoversampler__variance": variances,
        "cvaeoversampler__sampling_strategy": list(strategies.values()),
    },
    scoring="balanced_accuracy",
    cv=StratifiedKFold(4, shuffle=True, random_state=0),
).fit(X_train, y_train)

n_fits = search.n_splits_ * len(search.cv_results_["params"]) + 1
print(f"pipelines fitted:    {n_fits}")
print(f"generators trained:  {CountTrainings.n_trainings}")

# %%
# One training for each fold, and one for the final fit on all training samples. The
# cache needs an integer `random_state`, and works with ``n_jobs`` as well.
#
# What was chosen
# ---------------
COLORS, MARKERS = ["#E69F00", "#0072B2"], "os"
mean = search.cv_results_["mean_test_score"].reshape(len(strategies), len(variances))

fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for name, scores, color, marker in zip(strategies, mean, COLORS, MARKERS, strict=True):
    ax.plot(variances, scores, color=color, marker=marker, label=name)
ax.axvline(
    search.best_params_["cvaeoversampler__variance"],
    color="0.6",
    linestyle="--",
    zorder=0,
    label="chosen variance",
)
ax.set_xscale("log")
ax.set_xticks(variances, [f"{v:g}" for v in variances])
ax.minorticks_off()
ax.set_xlabel(r"variance $\sigma^2$")
ax.set_ylabel("balanced accuracy, mean over folds")
ax.legend(title="small classes are filled up", frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Too small a variance repeats the class means, too large a one blurs the classes. Read
# the curves, not their third digit: the smallest class has so few samples that each
# fold tests on one or two of them.
#
# The search has fitted the best pipeline on all training samples. The balanced half of
# the digits, which it has not seen, says what the resampling was worth.
plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
for name, model in {
    "without resampling": plain.fit(X_train, y_train),
    "best of the search": search.best_estimator_,
}.items():
    print(f"test accuracy {name}: {100 * model.score(X_test, y_test):.1f} %")

cache.cleanup()
