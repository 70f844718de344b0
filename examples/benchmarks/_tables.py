"""Real mixed tables, split for the benchmark of tables, and the rules they keep."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from _splits import read_table
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split

# Samples of each half at most, so that slow generators end.
MAX_SAMPLES = 2_000
# The smaller class of a mixed table is cut to this share of the larger one.
MAX_RATIO = 0.1
MIN_SAMPLES, MAX_TABLE, MIN_IMBALANCE = 300, 5_000, 5

FILES = {
    "adult": "tab_adult.csv.gz",
    "bank": "tab_bank_marketing.csv.gz",
    "heart": "tab_heart_sites.csv.gz",
    "hmda": "tab_hmda.csv.gz",
    "telco": "tab_telco_churn.csv.gz",
}
# The duration of a call is known after its outcome only.
LEAKS = {"bank": ["duration"]}
CODES = {"telco": ["SeniorCitizen"]}
SERVICES = (
    "OnlineSecurity",
    "OnlineBackup",
    "DeviceProtection",
    "TechSupport",
    "StreamingTV",
    "StreamingMovies",
)
RULES = {
    "adult": [
        "capital_gain == 0 | capital_loss == 0",
        "workclass.notna() | occupation.isna()",
        "occupation.notna() | workclass.isna() | workclass == 'Never-worked'",
        "marital_status != 'Never-married' | "
        "(relationship != 'Husband' & relationship != 'Wife')",
        "relationship != 'Wife' | marital_status == 'Married-civ-spouse' | "
        "marital_status == 'Married-AF-spouse'",
    ],
    "bank": [
        "(previous == 0) == (poutcome == 'nonexistent')",
        "pdays == 999 | previous >= 1",
        "poutcome != 'success' | pdays != 999",
        "(housing == 'unknown') == (loan == 'unknown')",
    ],
    "telco": [
        *(
            f"(InternetService == 'No') == ({name} == 'No internet service')"
            for name in SERVICES
        ),
        "(PhoneService == 'No') == (MultipleLines == 'No phone service')",
        "PhoneService == 'Yes' | InternetService == 'DSL'",
        "(tenure == 0) == (TotalCharges == 0)",
        "tenure != 1 | TotalCharges == MonthlyCharges",
        "tenure == 0 | TotalCharges >= MonthlyCharges",
        "InternetService != 'No' | MonthlyCharges <= 26.9",
    ],
}
# Columns of which the first determines the others: pairs of values are those seen in
# the whole table.
TIED = {
    "adult": ["education", "education_num"],
    "bank": [
        "cons_price_idx",
        "month",
        "emp_var_rate",
        "cons_conf_idx",
        "nr_employed",
    ],
}


class SeenTogether:
    """A rule: the values of some columns occur together in a table."""

    def __init__(self, table, columns):
        self._columns = columns
        self._seen = pd.MultiIndex.from_frame(table[columns].drop_duplicates())
        self.__name__ = f"{columns[0]} determines " + ", ".join(columns[1:])

    def __call__(self, table):
        """Mark the samples whose values occur together."""
        return pd.MultiIndex.from_frame(table[self._columns]).isin(self._seen)


@dataclass
class TableSplit:
    """Samples of a table to learn from and to test on."""

    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    categories: list = field(default_factory=list)
    rules: list = field(default_factory=list)

    @property
    def numbers(self):
        """Names of the columns of numbers."""
        return [name for name in self.X if name not in self.categories]

    def impute(self):
        """Return the split with medians and most frequent categories in gaps."""
        X, X_test = self.X.copy(), self.X_test.copy()
        for names, strategy in (
            (self.numbers, "median"),
            (self.categories, "most_frequent"),
        ):
            gaps = [n for n in names if X[n].isna().any() or X_test[n].isna().any()]
            if gaps:
                imputer = SimpleImputer(strategy=strategy).fit(X[gaps])
                X[gaps], X_test[gaps] = (
                    imputer.transform(t[gaps]) for t in (X, X_test)
                )
        return TableSplit(X, self.y, X_test, self.y_test, self.categories, self.rules)


def split_mixed(data, name, seed):
    """Return a mixed table, of which the training part is made imbalanced."""
    table = pd.read_csv(data / FILES[name]).drop(columns=LEAKS.get(name, []))
    y = table.pop("target").to_numpy()
    texts = table.select_dtypes(exclude="number").columns
    # Objects hold the same strings with all versions of pandas.
    table = table.astype(dict.fromkeys(texts, object))
    rules = list(RULES.get(name, []))
    if name in TIED:
        rules.append(SeenTogether(table, TIED[name]))
    split = halve(table, y, seed)
    split.categories, split.rules = [*texts, *CODES.get(name, [])], rules
    kept = make_imbalanced(split.y, seed)
    split.X, split.y = split.X.iloc[kept].reset_index(drop=True), split.y[kept]
    return split


def make_imbalanced(y, seed):
    """Return the places of all samples but some of the smaller of two classes."""
    counts = np.bincount(y)
    small = np.argmin(counts)
    n_kept = min(counts[small], round(MAX_RATIO * counts.max()))
    chosen = np.random.RandomState(seed).permutation(np.flatnonzero(y == small))
    return np.sort(np.concatenate([np.flatnonzero(y != small), chosen[:n_kept]]))


def numeric_names(data):
    """Return the names of the numeric sets of a suitable size and imbalance."""
    with np.load(data / "tabular_imbalanced.npz") as file:
        names = sorted(key.removesuffix("__X") for key in file if key.endswith("__X"))

    def fits(name):
        X, y = read_table(data, name)
        counts = np.bincount(y)
        return (
            MIN_SAMPLES <= len(X) <= MAX_TABLE
            and counts.max() >= MIN_IMBALANCE * counts.min()
        )

    return [name for name in names if fits(name)]


def split_numeric(data, name, seed):
    """Return a numeric set, each different sample once."""
    X, y = read_table(data, name)
    columns = [f"x{j}" for j in range(X.shape[1])]
    return halve(pd.DataFrame(X, columns=columns), y, seed)


def halve(table, y, seed):
    """Return two halves with at most `MAX_SAMPLES` each, stratified."""
    size = min(MAX_SAMPLES, len(y) // 2)
    X, X_test, y, y_test = train_test_split(
        table, y, train_size=size, test_size=size, stratify=y, random_state=seed
    )
    X, X_test = (t.reset_index(drop=True) for t in (X, X_test))
    return TableSplit(X, y, X_test, y_test)
