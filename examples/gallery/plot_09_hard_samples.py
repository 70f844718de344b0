"""
Steer a CVAE: plain, varied and hard samples
============================================

A fitted CVAE can be asked for more than draws from its prior: for variations of the
samples that are there, and for samples that a classifier finds hard. In two dimensions
we see where each of them lands.
"""

# %%
# Two arcs that overlap
# ---------------------
#
# The large class has 400 samples, the small one 30.
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skcvae.generators import CVAE
from skcvae.over_sampling import (
    CVAEOverSampler,
    HardOverSampler,
    LatentVariationOverSampler,
)

X, y = make_moons((400, 30), noise=0.1, random_state=3)

# %%
# One generator, five ways to use it
# ----------------------------------
#
# With ``memory=``, the five samplers share one training. The classifier is linear: its
# boundary is a straight line. The hard samples make five steps at most, stop at the
# boundary, and stay where at least one in ten plain draws is less probable.
settings = {"latent_dim": 2, "lr": 1e-2, "batch_size": 64, "max_epochs": 300}
cvae = CVAE(**settings)
classifier = LogisticRegression(class_weight="balanced").fit(X, y)

with TemporaryDirectory() as folder:
    shared = {"memory": folder, "random_state": 0}
    samplers = {
        "plain draws": CVAEOverSampler(**settings, **shared),
        "perturbed": LatentVariationOverSampler(cvae, **shared),
        "linear": LatentVariationOverSampler(cvae, variation="linear", **shared),
        "spherical": LatentVariationOverSampler(cvae, variation="spherical", **shared),
        "hard": HardOverSampler(cvae, FrozenEstimator(classifier), **shared),
    }
    generated = {
        name: sampler.fit_resample(X, y)[0][len(X) :]
        for name, sampler in samplers.items()
    }

# %%
# The loss of the classifier on each of them tells how hard they are.
for name, rows in generated.items():
    loss = -classifier.predict_log_proba(rows)[:, 1].mean()
    beyond = np.mean(classifier.predict(rows) == 0)
    print(f"{name:12} loss {loss:.2f} nats, {beyond:4.0%} beyond the boundary")
hard = samplers["hard"]
print(f"latent norm at most {hard.latent_norm_.max():.3f} of {hard.max_norm_:.3f};")
print(f"{hard.share_at_floor_:.0%} of the hard samples are on the density floor")

# %%
# Where they land
# ---------------
#
# Dots in colour are the samples that each sampler adds to the small class, crosses its
# training samples. The black line is the boundary of the classifier.
(w_0, w_1), b = classifier.coef_[0], classifier.intercept_[0]
x_line = np.array([X[:, 0].min(), X[:, 0].max()])

fig, axes = plt.subplots(
    2, 3, figsize=(11, 6.5), sharex=True, sharey=True, layout="constrained"
)
panels = {"training samples": X[:0], **generated}
for ax, (title, rows) in zip(axes.flat, panels.items(), strict=True):
    large = ax.scatter(*X[y == 0].T, s=8, color="0.8")
    new = ax.scatter(*rows.T, s=8, color="#0072B2")
    small = ax.scatter(*X[y == 1].T, s=30, marker="x", color="black")
    (line,) = ax.plot(x_line, -(w_0 * x_line + b) / w_1, color="black", lw=1)
    ax.set(title=title, ylim=(X[:, 1].min() - 0.4, X[:, 1].max() + 0.3))
for ax in axes[1]:
    ax.set_xlabel("feature 1")
for ax in axes[:, 0]:
    ax.set_ylabel("feature 2")
fig.legend(
    [large, small, new, line],
    ["large class", "small class", "generated samples", "boundary"],
    loc="outside lower center",
    ncols=4,
    frameon=False,
)
plt.show()

# %%
# Plain draws follow the whole arc. Perturbed samples gather around the crosses, and
# leave the gaps between them emptier. Points between two latent vectors fill the gaps:
# on the segment they favour the middle of the class over its ends, on the arc less so.
# All of them bend as the class does, where a segment between the samples themselves
# would cut through the large class. The hard samples have moved along the arc to its
# two ends, where the boundary is near, and have stopped there: the class stays
# recognisable, but no longer has its shape.
