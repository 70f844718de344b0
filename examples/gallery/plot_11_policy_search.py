"""
Do you need augmentation at all? Let a search decide
====================================================

:func:`~skcvae.over_sampling.augmentation_policies` returns the grids of a search over
samplers, their strength and their variance. No over-sampling is one of them, and
cross-validation may choose it. Each sampler sees the training part of a split only.
"""

# %%
# Two questions to the same samples
# ---------------------------------
#
# One sample in ten is of the rare class, and the classes overlap. Balanced accuracy
# asks for both classes alike, the log-loss for probabilities of samples as they come.
import tempfile

import matplotlib.pyplot as plt
import numpy as np
from imblearn.pipeline import Pipeline
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skcvae.over_sampling import augmentation_policies

X, y = make_classification(
    1_000, n_informative=6, weights=[0.9], class_sep=0.7, random_state=0
)
pipeline = Pipeline([("sampler", "passthrough"), ("classifier", LogisticRegression())])

# %%
# With ``memory`` each generator is trained once per split, whatever the number of its
# policies, and whatever the number of searches.
folds = StratifiedKFold(3, shuffle=True, random_state=0)
scorings = ["balanced_accuracy", "neg_log_loss"]
with tempfile.TemporaryDirectory() as cache:
    search = GridSearchCV(
        pipeline,
        augmentation_policies(variances=(0.5, 1.0), memory=cache),
        scoring=scorings,
        refit=False,
        cv=folds,
    ).fit(X, y)


# %%
# The answers differ
# ------------------
#
# Over-sampling serves the first question and harms the second: it changes how likely
# classes look.
def describe(params):
    """Return a policy in a few words."""
    sampler = params["sampler"]
    if sampler == "passthrough":
        return "none"
    name = type(sampler).__name__.removesuffix("OverSampler")
    variance = [v for key, v in params.items() if key.endswith("variance")]
    names = {"Random": "repeated samples", "Progressive": "SMOTE"}
    name = (names | {"Generative": "ClassGaussian"}).get(name, name)
    strength = params["sampler__sampling_strategy"]
    strength = "all equal" if strength == "auto" else "square root"
    return ", ".join([name, strength, *(f"variance {v:g}" for v in variance)])


results = search.cv_results_
names = [describe(params) for params in results["params"]]
figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), sharey=True, layout="constrained")
for ax, scoring in zip(axes, scorings, strict=True):
    scores = results[f"mean_test_{scoring}"]
    best = np.argmax(scores)
    colors = np.where(np.arange(len(scores)) == best, "tab:blue", "0.7")
    ax.scatter(scores, range(len(scores)), c=colors, s=60)
    ax.set(xlabel=scoring.replace("neg_", "negative ").replace("_", " "))
    print(f"{scoring}: {names[best]}")
axes[0].set_yticks(range(len(names)), names)
axes[0].invert_yaxis()
plt.show()
