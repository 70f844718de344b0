"""
Where do SMOTE, ClassGaussian and CVAE put new samples?
=======================================================

Three over-samplers fill up the same small classes: SMOTE interpolates between
neighbours, :class:`~skcvae.generators.ClassGaussian` draws from a Gaussian around the
class mean, and :class:`~skcvae.generators.CVAE` from a learned distribution. We look at
their samples in two dimensions, where everything is visible, and on digits, where the
samples that over-sampling stands in for are known.
"""

# %%
# A toy with curved classes
# -------------------------
#
# Three arcs with 500, 100 and 12 samples. They have the same shape, up to a reflection:
# what a model learns on the large class can help it with the small one. SMOTE looks at
# each class alone.
import matplotlib.pyplot as plt
import numpy as np
from imblearn.over_sampling import SMOTE
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skcvae.datasets import make_long_tailed
from skcvae.generators import ClassGaussian
from skcvae.over_sampling import CVAEOverSampler, GenerativeOverSampler


def arc(label, angle):
    """Return points on the arc of a class."""
    x, y = np.cos(angle), np.sin(angle)
    return np.column_stack([(x, 1 - x, 2 + x)[label], (y, 0.5 - y, y)[label]])


rng = np.random.RandomState(1)
y_arcs = np.repeat([0, 1, 2], [500, 100, 12])
X_arcs = np.concatenate(
    [arc(c, rng.uniform(0, np.pi, n)) for c, n in enumerate(np.bincount(y_arcs))]
)
X_arcs += rng.normal(scale=0.08, size=X_arcs.shape)

# %%
# Digits with a long tail
# -----------------------
#
# The class sizes of the digits fall from 178 images of the zero to 5 of the nine. The
# images of the nine that :func:`~skcvae.datasets.make_long_tailed` takes away show what
# a perfect over-sampler would bring back; nobody trains on them.
X_all, y_all = load_digits(return_X_y=True)
kept, y_digits = make_long_tailed(
    np.arange(len(y_all)), y_all, imbalance_ratio=30, random_state=0
)
X_digits = X_all[kept]
removed_nines = np.delete(X_all, kept, axis=0)[np.delete(y_all, kept) == 9]
print("images per digit:", np.bincount(y_digits).tolist())

# %%
# Three over-samplers
# -------------------
#
# All of them are called alike, and return the training samples followed by the
# generated ones. The defaults of the CVAE are meant for embeddings with hundreds of
# features; the two features of the toy want a smaller latent space, and as few samples
# a larger learning rate and more passes.


def generated_rows(sampler, X, y):
    """Return what a sampler adds to the samples it is given."""
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    return X_resampled[len(X) :], y_resampled[len(y) :]


cvae_arcs = CVAEOverSampler(latent_dim=2, lr=1e-2, max_epochs=400, random_state=0)
cvae_digits = CVAEOverSampler(random_state=0)
samplers = {
    "SMOTE": (SMOTE(k_neighbors=4, random_state=0),) * 2,
    "ClassGaussian": (GenerativeOverSampler(ClassGaussian(), random_state=0),) * 2,
    "CVAE": (cvae_arcs, cvae_digits),
}
generated = {
    name: (
        generated_rows(for_arcs, X_arcs, y_arcs),
        generated_rows(for_digits, X_digits, y_digits),
    )
    for name, (for_arcs, for_digits) in samplers.items()
}

# %%
# What they generate
# ------------------
#
# Crosses are the training samples of the smallest class, dots in colour generated
# samples. Grey is the truth: the arcs without their noise above; below, along the two
# principal axes of all nines, those that were taken away.
COLORS = ["#0072B2", "#E69F00", "#009E73"]
pca = PCA(n_components=2).fit(X_all[y_all == 9])

fig, axes = plt.subplots(
    2, 4, figsize=(11, 6), sharex="row", sharey="row", layout="constrained"
)
for ax, title in zip(axes[0], ["training samples", *generated], strict=True):
    ax.set(title=title, xlabel="feature 1")
    for label in range(3):
        ax.plot(*arc(label, np.linspace(0, np.pi, 100)).T, color="0.75", zorder=0)
for ax in axes[1]:
    ax.set(xlabel="principal axis 1")
    truth = ax.scatter(*pca.transform(removed_nines).T, s=9, color="0.75")
axes[0, 0].set_ylabel("three arcs\nfeature 2")
axes[1, 0].set_ylabel("digit nine\nprincipal axis 2")

for label, color in enumerate(COLORS):
    axes[0, 0].scatter(*X_arcs[y_arcs == label].T, s=5, color=color)
for (top, bottom), (arcs, digits) in zip(axes.T[1:], generated.values(), strict=True):
    for label in (1, 2):
        top.scatter(*arcs[0][arcs[1] == label].T, s=5, color=COLORS[label])
    nines = pca.transform(digits[0][digits[1] == 9])
    drawn = bottom.scatter(*nines.T, s=9, color=COLORS[2])

for top, bottom in axes.T:
    crosses = top.scatter(*X_arcs[y_arcs == 2].T, s=30, marker="x", color="black")
    bottom.scatter(
        *pca.transform(X_digits[y_digits == 9]).T, s=30, marker="x", color="black"
    )
fig.legend(
    [crosses, drawn, truth],
    ["training samples of the smallest class", "generated samples", "truth"],
    loc="outside lower center",
    ncols=3,
    frameon=False,
)
plt.show()

# %%
# SMOTE stays on the segments between training samples: it cuts corners on the arc, and
# draws the outline of five nines. ClassGaussian leaves the segments, but gives all
# classes one ellipse: right for clouds, wrong for arcs. The CVAE bends the small class
# as it has seen the others bend, and gives it their width. None of the three reaches
# the nines far to the right, at which no training sample hints.
