"""
Over-sample a table with numbers and categories
===============================================

Most tables are mixed: amounts, counts, yes or no, names of places. Here is how to
over-sample one without encoding it by hand, and without breaking its rules.
"""

# %%
# The table
# ---------
#
# Loans, of which few are not paid back. `income` and `loan` are numbers, `age` and
# `n_late` are integers, `owns_home` is yes or no, `region` and `job` are categories.
# The bank has a rule: no loan is more than half of the income.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTENC
from imblearn.pipeline import make_pipeline
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skcvae.metrics import table_quality
from skcvae.over_sampling import GenerativeOverSampler

NUMBERS = ["income", "loan", "age", "n_late"]
CATEGORIES = ["owns_home", "region", "job"]
RULE = "loan <= income / 2"


def draw_loans(n_loans, defaulted, rng):
    """Draw a table of loans, paid back or not."""
    age = rng.gamma(9, 5, n_loans) + 18 - 6 * defaulted
    income = np.exp(rng.normal(3.4 - 0.4 * defaulted, 0.4, n_loans))
    job = ["office", "shop", "building site", "none"]
    region = ["north", "east", "south", "west"]
    return pd.DataFrame(
        {
            "income": income,
            "loan": income / 2 * rng.beta(4 if defaulted else 2, 2, n_loans),
            "age": np.rint(age.clip(18, 90)).astype(int),
            "n_late": rng.poisson(0.6 + 1.6 * defaulted, n_loans),
            "owns_home": rng.uniform(size=n_loans) < 0.6 - 0.3 * defaulted,
            "region": rng.choice(
                region, n_loans, p=[0.1, 0.2, 0.6, 0.1] if defaulted else [0.25] * 4
            ),
            "job": rng.choice(
                job,
                n_loans,
                p=[0.2, 0.4, 0.1, 0.3] if defaulted else [0.5, 0.3, 0.15, 0.05],
            ),
        }
    )


rng = np.random.RandomState(0)
X = pd.concat(
    [draw_loans(1000, False, rng), draw_loans(80, True, rng)], ignore_index=True
)
y = pd.Series(np.repeat(["paid", "defaulted"], [1000, 80]), name="end")
print(X.dtypes)

# %%
# Say which columns are categories
# --------------------------------
#
# Without `categorical_features`, strings are refused: a sampler that gave the regions
# numbers would take the south for twice the east.
try:
    GenerativeOverSampler().fit_resample(X, y)
except ValueError as error:
    print(error)

# %%
# With it, the call is that of SMOTENC. New samples have the columns and types of the
# table, and keep the rule.
smotenc = SMOTENC(categorical_features=CATEGORIES, random_state=0)
sampler = GenerativeOverSampler(
    categorical_features=CATEGORIES, constraints=[RULE], random_state=0
)
X_resampled, y_resampled = sampler.fit_resample(X, y)
new = X_resampled[len(X) :]
assert (X_resampled.dtypes == X.dtypes).all()
new.head()

# %%
# In a pipeline
# -------------
#
# Scaling and one-hot encoding come after the sampler, and in the test folds without it.
encoder = make_column_transformer(
    (StandardScaler(), NUMBERS), (OneHotEncoder(sparse_output=False), CATEGORIES)
)
classifier = LogisticRegression(max_iter=500)
pipelines = {
    "nothing": make_pipeline(encoder, classifier),
    "class weights": make_pipeline(
        encoder, LogisticRegression(max_iter=500, class_weight="balanced")
    ),
    "SMOTENC": make_pipeline(smotenc, encoder, classifier),
    "generated": make_pipeline(sampler, encoder, classifier),
}
folds = StratifiedKFold(3, shuffle=True, random_state=0)
for name, pipeline in pipelines.items():
    scores = cross_val_score(pipeline, X, y, cv=folds, scoring="balanced_accuracy")
    print(f"{name:13} balanced accuracy {scores.mean():.3f} ± {scores.std():.3f}")

# %%
# Do the samples look real?
# -------------------------
#
# Defaulters only, the class that was filled up. The distance is the total variation of
# categories, and the Kolmogorov-Smirnov statistic of numbers.
real = X[y == "defaulted"]
tables = {"SMOTENC": smotenc.fit_resample(X, y)[0][len(X) :], "generated": new}
quality = {
    name: table_quality(real, table, constraints=[RULE], random_state=0)
    for name, table in tables.items()
}
pd.DataFrame({name: found.columns["distance"] for name, found in quality.items()})

# %%
# Pairs of columns belong together as they do among real defaulters where the points are
# on the diagonal.
colors = {"real": "0.35", "SMOTENC": "#D55E00", "generated": "#0072B2"}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
for ax, column in zip(axes, ("region", "job"), strict=False):
    values = sorted(X[column].unique())
    for i, (name, table) in enumerate({"real": real, **tables}.items()):
        share = table[column].value_counts(normalize=True).reindex(values, fill_value=0)
        places = np.arange(len(values)) + 0.27 * (i - 1)
        ax.bar(places, share, width=0.25, color=colors[name], label=name)
    ax.set_xticks(range(len(values)), values)
    ax.set_title(column)
axes[0].set_ylabel("share of defaulters")
axes[0].legend(frameon=False)
for name, found in quality.items():
    pairs = found.pairs
    axes[2].scatter(pairs["real"], pairs["synthetic"], color=colors[name], s=18)
axes[2].axline((0, 0), slope=1, color="0.8", zorder=0)
axes[2].set(title="associations of pairs", xlabel="real", ylabel="synthetic")
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

for name, found in quality.items():
    difference = found.pairs["difference"].abs().mean()
    print(
        f"{name:9} breaks the rule in {found.violations[RULE]:.1%} of samples; mean "
        f"difference of associations {difference:.3f}"
    )

# %%
# SMOTENC gives a new sample the most frequent category among its neighbours, and so
# exaggerates the south. It interpolates numbers, which keeps a linear rule, but not
# one with "or" or "unless"; here, a rule may be any expression of the columns.
# :func:`skcvae.metrics.table_quality` says more. Look before you use such a table.
