"""
Find the best sampler, loss and prior in one search
===================================================

Which samples does a batch hold, which of them are generated, and which loss sees them?
:class:`~skcvae.long_tail.LongTailClassifier` has a parameter for each, samplers go
before it in a pipeline, and one grid search compares them all.
"""

# %%
# A long tail, and a balanced test set
# ------------------------------------
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, ParameterGrid, train_test_split

from skcvae.datasets import make_long_tailed
from skcvae.generators import CVAE
from skcvae.long_tail import LongTailClassifier, LongTailShuffleSplit
from skcvae.metrics import make_shot_scorer, shot_accuracy_score
from skcvae.over_sampling import RemixSampler

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
X_train, y_train = make_long_tailed(
    X_train, y_train, imbalance_ratio=20, random_state=0
)

# %%
# One search for all
# ------------------
#
# A list of grids keeps apart what does not go together. The first one resamples before
# the training, and leaves the head as plain as it can be. In the others, batches draw a
# sample of a class of n samples with weight :math:`n^{-b}`; the loss corrects the class
# prior that is left after that, to the power `tau`; and some samples are replaced by
# generated ones, drawn anew for each batch. With `memory`, the candidates of a fold
# share one CVAE.
cache = tempfile.TemporaryDirectory()
# Fewer steps than by default, to keep this page quick.
quick = {"max_epochs": 200, "lr": 5e-3, "random_state": 0}
plain = LongTailClassifier(
    augment=None,
    sampling="instance",
    loss="cross_entropy",
    prior_correction=None,
    **quick,
)
rebalanced = LongTailClassifier(**quick)
generative = LongTailClassifier(CVAE(random_state=0), memory=cache.name, **quick)
pipeline = Pipeline([("resample", "passthrough"), ("classify", plain)])
grids = [
    {
        "resample": [
            "passthrough",
            SMOTE(k_neighbors=1, random_state=0),
            RemixSampler(tau=0.8, random_state=0),
        ],
    },
    {
        "classify": [rebalanced],
        "classify__augment": [None],
        "classify__loss": ["balanced_softmax", "class_balanced"],
        "classify__tau": [1.0, 1.3],
    },
    {
        "classify": [generative],
        "classify__sampling": [0.5, 1.0],
        "classify__tau": [1.0, 1.3],
        "classify__variance": [0.5, 1.0],
    },
]
sizes = {"few": 12, "many": 40}
# Three splits with each class in both parts: one would judge a class of three samples
# by one of them. SMOTE needs two samples of a class.
splits = LongTailShuffleSplit(3, min_train=2, random_state=0)
search = GridSearchCV(
    pipeline,
    grids,
    scoring=make_shot_scorer(y_train, **sizes),
    refit="overall",
    cv=splits,
).fit(X_train, y_train)
print(search.best_params_)

# %%
# :func:`~skcvae.metrics.make_shot_scorer` scores classes by how many samples they have
# in `y_train`; here, few are fewer than 12. The best candidate of each kind:
results = pd.DataFrame(search.cv_results_)
n_candidates = [len(ParameterGrid(grid)) for grid in grids]
results["kind"] = np.repeat(["resampled", "loss only", "generated"], n_candidates)
best = results.loc[results.groupby("kind")["mean_test_overall"].idxmax()]
columns = [f"mean_test_{group}" for group in ("overall", "many", "medium", "few")]
print(best.set_index("kind")[columns].round(3).to_string())

# %%
# On the test set
# ---------------
#
# The best of each kind, fitted on all training samples, against the plain head.
models = {"plain": pipeline}
for kind, params in best.set_index("kind")["params"].items():
    models[kind] = clone(pipeline).set_params(**clone(params, safe=False))
groups = ["overall", "many", "medium", "few"]
colors = ["#999999", "#E69F00", "#56B4E9", "#0072B2"]

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for i, (name, model) in enumerate(models.items()):
    predicted = model.fit(X_train, y_train).predict(X_test)
    scores = shot_accuracy_score(y_test, predicted, y_train=y_train, **sizes)
    heights = [100 * scores[group] for group in groups]
    ax.bar(np.arange(4) + 0.2 * (i - 1.5), heights, 0.2, color=colors[i], label=name)
    print(f"{name:10}" + "".join(f"{height:7.1f}" for height in heights))
ax.set_xticks(range(4), groups)
ax.set_xlabel("classes, by number of training samples")
ax.set_ylabel("test accuracy (%)")
ax.set_ylim(0, 100)
ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Which candidate wins is decided by few samples of small classes: the folds hold one or
# two samples of the smallest. Look at the size of the differences before their sign.
cache.cleanup()
