"""
How much accuracy does privacy cost?
====================================

An anonymizer replaces training samples by others of the same classes. What it costs in
accuracy and what it hides are two sides of one choice: here is the curve, for means of
k samples (k-Same), for a Gaussian of each class, and for a CVAE.
"""

# %%
# Three disjoint thirds
# ---------------------
#
# Members are what the release is made from. Non-members are needed twice: to test the
# classifier, and to see whether an attack can tell members from them. The reference is
# what the attacker has: without it, an attack takes typical samples for members.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, KSameAnonymizer
from skcvae.privacy import nearest_neighbor_attack, privacy_audit

X, y = load_digits(return_X_y=True)
folds = StratifiedKFold(3, shuffle=True, random_state=0)
members, nonmembers, reference = ((X[rows], y[rows]) for _, rows in folds.split(X, y))

# %%
# Accuracy against leakage
# ------------------------
#
# An anonymizer is a step of a pipeline like any other: the classifier is trained on
# what `fit_transform` returns, and tested on real samples, which `transform` leaves
# alone.
families = {
    "real samples": {"": None},
    "k-Same": {f"k={k}": KSameAnonymizer(k) for k in (2, 5, 10, 20)},
    "ClassGaussian": {"": GenerativeAnonymizer(random_state=0)},
    "CVAE": {
        f"variance={v}": CVAEAnonymizer(variance=v, latent_dim=16, random_state=0)
        for v in (0.25, 1.0, 4.0)
    },
}
colors = {
    "real samples": "#000000",
    "k-Same": "#D55E00",
    "ClassGaussian": "#E69F00",
    "CVAE": "#0072B2",
}

fig, ax = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
print(f"{'':28}{'accuracy':>9}{'attack AUC':>12}")
for family, variants in families.items():
    points = []
    for variant, anonymizer in variants.items():
        classifier = LogisticRegression(max_iter=5000)
        published = members[0]
        if anonymizer is not None:
            classifier = make_pipeline(anonymizer, classifier)
            published = anonymizer.fit_transform(*members)
        accuracy = classifier.fit(*members).score(*nonmembers)
        attack = nearest_neighbor_attack(
            published, members[0], nonmembers[0], reference[0]
        )
        points.append((attack.auc.value, accuracy))
        print(f"{family} {variant}".ljust(28), end="")
        print(f"{accuracy:9.3f}{attack.auc.value:12.3f}")
        ax.annotate(
            variant,
            points[-1],
            xytext=(6, -3),
            textcoords="offset points",
            fontsize=8,
            color=colors[family],
        )
    ax.plot(*np.transpose(points), "o-", color=colors[family], label=family)
ax.axvline(0.5, color="0.8", zorder=0)
ax.set_xlabel("membership attack, AUC (0.5: guessing)")
ax.set_ylabel("accuracy on real samples")
ax.set_xlim(0.45, 1.12)
ax.legend(frameon=False, loc="lower right")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# k-Same leaks most where it is useful: a mean of two samples is near both. It promises
# that no sample can be matched to fewer than k others, which is less than it sounds.
#
# What an audit says
# ------------------
#
# One attack that fails proves nothing. :func:`~skcvae.privacy.privacy_audit` runs
# several, each with a control that must succeed and one that must fail, also for single
# classes and for isolated samples, and looks for copies. For what draws samples it
# attacks the model, too, since a released decoder tells more than samples do.
anonymizer = GenerativeAnonymizer(random_state=0).fit(*members)
print(privacy_audit(anonymizer, *members, *nonmembers, *reference, random_state=0))
