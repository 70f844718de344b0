"""
Which quality metric can be fooled, and how?
============================================

No number says how good generated samples are. Here are five sets of samples of which we
know what is wrong, because we made them so, and what each metric says of them. Then:
how a distance falls with the number of samples, although nothing gets better.
"""

# %%
# Samples with a known fault
# --------------------------
#
# A generator is fitted to a third of the digits. Another third is what all sets are
# compared with. The last third, real samples that no generator has seen, shows what a
# metric says of samples that could not be better.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from skcvae.generators import ClassGaussian
from skcvae.metrics import (
    class_bounding_spheres,
    class_frechet_distance,
    class_nearest_neighbor_coverage,
    class_pairwise_distance,
    classifier_two_sample_test,
    extrapolated_frechet_distance,
    frechet_bias,
    frechet_distance,
    inception_score,
    maximum_mean_discrepancy,
    precision_recall_density_coverage,
)
from skcvae.privacy import distance_to_closest_record_share

X, y = load_digits(return_X_y=True)
folds = StratifiedKFold(3, shuffle=True, random_state=0)
(X_train, y_train), (X_real, y_real), (X_more, y_more) = (
    (X[rows], y[rows]) for _, rows in folds.split(X, y)
)
generator = ClassGaussian(random_state=0).fit(X_train, y_train)
rng = np.random.RandomState(0)

suspects = {
    "real samples": (X_more, y_more),
    "Gaussian": generator.sample(y=y_train),
    "too alike": generator.sample(y=y_train, variance=0.1),
    "too wide": generator.sample(y=y_train, variance=4.0),
    "three classes": generator.sample(y=y_train % 3),
    "wrong labels": (X_more, rng.permutation(y_more)),
    "copies": (X_train + 0.1 * rng.randn(*X_train.shape), y_train),
}

# %%
# What each metric says
# ---------------------
#
# The classifier of the Inception score is trained on real samples. Classes that a set
# lacks have no Fréchet distance, and a warning says so: here, they are left out.
classifier = LogisticRegression(max_iter=2000).fit(X_train, y_train)


def look(rows, labels):
    """Return what the metrics say of a set of samples."""
    scores = precision_recall_density_coverage(X_real, rows)
    present = np.isin(y_real, labels)
    classes = class_frechet_distance(
        X_real[present], rows, y_real=y_real[present], y_synthetic=labels
    )
    covered = class_nearest_neighbor_coverage(
        X_real, rows, y_reference=y_real, y=labels
    )
    distances = class_pairwise_distance(rows, y=labels)
    spheres = class_bounding_spheres(rows, y=labels)
    told_apart = classifier_two_sample_test(X_real, rows, random_state=0)
    closest = distance_to_closest_record_share(rows, X_train, X_real)
    return {
        "Fréchet distance": frechet_distance(X_real, rows),
        "Fréchet, mean of classes": classes.mean,
        "MMD x 1000": 1000 * maximum_mean_discrepancy(X_real, rows).discrepancy,
        "told from real by classifier": told_apart.accuracy.value,
        "precision": scores.precision,
        "recall": scores.recall,
        "density": scores.density,
        "coverage": scores.coverage,
        "coverage of classes": covered.mean,
        "pairwise distance in class": distances.mean,
        "radius of classes": spheres.mean,
        "Inception score": inception_score(classifier.predict_proba(rows)),
        "nearer to training samples": closest.value,
    }


table = {name: look(*suspect) for name, suspect in suspects.items()}
metrics = list(table["real samples"])
values = np.array([[said[metric] for said in table.values()] for metric in metrics])

# %%
# Dark cells are far from what the metric says of real samples, measured in the largest
# difference of its line. A fault that leaves a cell white is one that the metric does
# not see.
difference = np.abs(values - values[:, :1])
shade = difference / difference.max(axis=1, keepdims=True)

fig, ax = plt.subplots(figsize=(9.5, 6), layout="constrained")
ax.imshow(shade, cmap="Oranges", vmin=0, vmax=1.4, aspect="auto")
for (row, column), value in np.ndenumerate(values):
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    ax.text(column, row, text, ha="center", va="center", fontsize=9)
ax.set_xticks(range(len(table)), table)
ax.set_yticks(range(len(metrics)), metrics)
ax.xaxis.tick_top()
ax.tick_params(length=0)
ax.spines[:].set_visible(False)
plt.show()

# %%
# **Copies look best.** Most metrics take them for real samples, and nearly they are.
# The share that is nearer to training samples than to others tells, and with it an
# attack; the classifier sees the noise, on pixels that are always 0 in real samples.
# **Wrong labels** are seen by what looks at each class by itself, and by nothing else.
# A mean over the classes that are left does not see that **others are missing**.
# **Samples that are too alike** are the most precise of all, and the Inception score
# likes them best; **samples that are too wide** have the highest recall. The
# discrepancy does not see what is wrong with the **Gaussian**, whose means are right:
# its kernel is as wide as all digits are apart.
#
# The same samples, fewer of them
# -------------------------------
#
# Both sets are drawn from one Gaussian: the true distance is 0. The Fréchet distance is
# not, and falls with the number of samples. It can only be compared with distances of
# as many samples, or with what shuffled samples have, its bias. The discrepancy of
# kernel means does not have this bias, and of enough samples the distance can be
# extrapolated.
sizes = [50, 100, 200, 400, 800, 1600]
curves = {
    "Fréchet distance": [],
    "its bias, by shuffling": [],
    "extrapolated": [],
}
discrepancies = []
for size in sizes:
    labels = rng.choice(y_train, size)
    first, second = (
        generator.sample(y=labels, random_state=seed)[0] for seed in (1, 2)
    )
    curves["Fréchet distance"].append(frechet_distance(first, second))
    curves["its bias, by shuffling"].append(
        frechet_bias(first, second, n_permutations=5, random_state=0).mean
    )
    # Parts of no more samples than features are refused.
    curves["extrapolated"].append(
        extrapolated_frechet_distance(first, second, n_parts=2, random_state=0).distance
        if size // 2 > X.shape[1]
        else np.nan
    )
    discrepancies.append(maximum_mean_discrepancy(first, second).discrepancy)

fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
styles = zip(("#0072B2", "#D55E00", "#009E73"), ("o-", "s--", "D-."), strict=True)
for (name, curve), (color, line) in zip(curves.items(), styles, strict=True):
    axes[0].plot(sizes, curve, line, color=color, label=name)
axes[0].set_ylabel("squared units of the features")
axes[0].set_title("Fréchet distance of one distribution to itself")
axes[0].legend(frameon=False)
axes[1].plot(sizes, discrepancies, "o-", color="#CC79A7")
# What a visible difference has, for comparison.
wide = generator.sample(y=y_train, variance=2.0)[0]
seen = maximum_mean_discrepancy(X_real, wide).discrepancy
axes[1].axhline(seen, color="0.5", linestyle=":")
axes[1].annotate(
    "samples of twice the variance",
    (1.0, seen),
    xycoords=("axes fraction", "data"),
    xytext=(0, -4),
    textcoords="offset points",
    ha="right",
    va="top",
    color="0.3",
)
axes[1].set_ylabel("squared discrepancy")
axes[1].set_title("Maximum mean discrepancy")
for ax in axes:
    ax.axhline(0, color="0.8", zorder=0)
    ax.set_xscale("log")
    ax.set_xticks(sizes, sizes, minor=False)
    ax.minorticks_off()
    ax.set_xlabel("samples in each set")
    ax.spines[["top", "right"]].set_visible(False)
plt.show()
