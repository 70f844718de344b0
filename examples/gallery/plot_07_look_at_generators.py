"""
Check what a generator has learned, in figures
==============================================

Has it learned enough of the small classes, and not too much of single samples? The
displays of :mod:`skcvae.inspection` answer in figures, from the training to the
classifier that is trained on the generated samples. As in scikit-learn, each has its
numbers as attributes, and draws on axes that it is given.
"""

# %%
# A long tail, and real samples to compare with
# ---------------------------------------------
import matplotlib.pyplot as plt
import numpy as np
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skcvae.datasets import make_long_tailed
from skcvae.generators import CVAE, ClassGaussian
from skcvae.inspection import (
    ClassCountDisplay,
    ClassCoverageDisplay,
    FrechetVarianceDisplay,
    LatentSpaceDisplay,
    MembershipROCDisplay,
    NearestNeighborDistanceDisplay,
    ProjectionDisplay,
    ReliabilityDisplay,
    ShotAccuracyDisplay,
    SphereRadiusDisplay,
    TrainingHistoryDisplay,
)
from skcvae.metrics import (
    class_bounding_spheres,
    class_frechet_distance,
    class_nearest_neighbor_coverage,
    nearest_neighbors,
)
from skcvae.over_sampling import GenerativeOverSampler

X, y = load_digits(return_X_y=True)
X_rest, X_test, y_rest, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
X_train, y_train = make_long_tailed(X_rest, y_rest, imbalance_ratio=15, random_state=0)

# %%
# The training, and the latent space
# ----------------------------------
#
# The curves should have become flat. The decoder is told the class, so that latents
# need not hold it: colours that lie on top of each other are what a conditional model
# should have.
cvae = CVAE(latent_dim=16, random_state=0).fit(X_train, y_train)

fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
TrainingHistoryDisplay.from_estimator(cvae, ax=axes[0])
LatentSpaceDisplay.from_estimator(cvae, X_test, y_test, ax=axes[1])
plt.show()

# %%
# What over-sampling adds
# -----------------------
#
# The projection may be any transformer with two outputs. A discriminant analysis shows
# classes apart that overlap in principal components; generated samples of the wrong
# place would be seen between the clouds. The three classes are the largest, a middle
# one and the smallest.
sampler = GenerativeOverSampler(cvae)
X_resampled, y_resampled = sampler.fit_resample(X_train, y_train)
X_new, y_new = X_resampled[len(X_train) :], y_resampled[len(X_train) :]

fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
ClassCountDisplay.from_data(y_train, y_resampled, ax=axes[0])
ProjectionDisplay.from_data(
    X_rest,
    y_rest,
    X_new,
    y_new,
    classes=[0, 5, 9],
    transformer=LinearDiscriminantAnalysis(n_components=2),
    ax=axes[1],
)
axes[1].set_title("All real samples, and generated ones")
plt.show()

# %%
# How near, how wide, how varied
# ------------------------------
#
# Generated samples are compared with all samples of the training half, of which the
# tail was taken. For each variance, as many samples of each class are drawn.
variances = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0]
generators = {
    "CVAE": cvae,
    "ClassGaussian": ClassGaussian(random_state=0).fit(X_train, y_train),
}


def frechet(generator, variance, seed):
    """Return the mean distance of the classes to their real samples."""
    X_new, y_new = generator.sample(y=y_rest, variance=variance, random_state=seed)
    return class_frechet_distance(X_rest, X_new, y_real=y_rest, y_synthetic=y_new).mean


distances = [
    [
        [frechet(generator, variance, seed) for seed in range(3)]
        for variance in variances
    ]
    for generator in generators.values()
]
samples = {
    f"{name}, {variance:g}": generator.sample(y=y_rest, variance=variance)[0]
    for name, generator in generators.items()
    for variance in (1.0, 2.0)
}
class_count = cvae.class_count_
coverages = {
    name: class_nearest_neighbor_coverage(X_rest, rows, y_reference=y_rest, y=labels)
    for name, (rows, labels) in {
        "training samples": (X_train, y_train),
        **{name: (rows, y_rest) for name, rows in samples.items()},
    }.items()
}
spheres = {
    "training samples": class_bounding_spheres(X_train, y=y_train),
    "all samples": class_bounding_spheres(X_rest, y=y_rest),
    **{name: class_bounding_spheres(rows, y=y_rest) for name, rows in samples.items()},
}

fig, axes = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
FrechetVarianceDisplay.from_data(variances, distances, list(generators), ax=axes[0])
ClassCoverageDisplay.from_data(
    {name: result.coverages for name, result in coverages.items()},
    class_count,
    ax=axes[1],
)
SphereRadiusDisplay.from_data(
    {name: result.radii for name, result in spheres.items()}, class_count, ax=axes[2]
)
plt.show()

# %%
# In the legends is the name of the generator and the variance. Where the curve of
# generated samples lies above that of the training samples, they stand in for samples
# that the generator has not seen.
#
# Too much of single samples?
# ---------------------------
#
# What was released is attacked here: the nearer a record is to a generated sample, the
# more it looks like a training sample. Records of the hold-out were none. It has the
# class sizes of the training samples, or else the attack would tell classes apart
# instead of members, and so have the generated samples.
X_holdout, _ = make_long_tailed(X_test, y_test, imbalance_ratio=15, random_state=0)
released = {
    name: g.sample(y=np.repeat(y_train, 3))[0] for name, g in generators.items()
}


def attack_scores(records):
    """Return how near the records are to the samples of each release."""
    return {
        name: -nearest_neighbors(records, rows)[0][:, 0]
        for name, rows in released.items()
    }


fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
NearestNeighborDistanceDisplay.from_data(
    released["CVAE"], X_train, X_holdout, ax=axes[0]
)
MembershipROCDisplay.from_scores(
    attack_scores(X_train), attack_scores(X_holdout), ax=axes[1]
)
plt.show()

# %%
# The distances look harmless: generated samples are about as near to the training
# samples as the hold-out is. The attack finds more, because it asks the other way
# round, how near each record is to the generated samples. It shows what leaks at least,
# and not what is safe: :func:`~skcvae.privacy.privacy_audit` runs several, with
# controls.
#
# What the classifier makes of it
# -------------------------------
#
# With three seeds of the samplers.
plain = LogisticRegression(C=0.01, max_iter=1000)
models = {"real samples only": plain}
for name, generator in {"ClassGaussian": ClassGaussian(), "CVAE": cvae}.items():
    models[name] = make_pipeline(GenerativeOverSampler(generator), plain)


def predict(model, seed):
    """Return what a model predicts with this seed of its sampler."""
    if model is not plain:
        model.set_params(generativeoversampler__random_state=seed)
    return model.fit(X_train, y_train).predict(X_test)


predictions = {
    name: [predict(model, seed) for seed in range(1 if model is plain else 3)]
    for name, model in models.items()
}

fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
ShotAccuracyDisplay.from_predictions(
    y_test, predictions, y_train=y_train, few=12, many=40, ax=axes[0]
)
ReliabilityDisplay.from_estimator(models["CVAE"], X_test, y_test, n_bins=10, ax=axes[1])
axes[1].set_title("Reliability with samples of the CVAE")
plt.show()
