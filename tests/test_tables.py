"""Tables with numbers, dates and categories: generate, over-sample, anonymize."""

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.over_sampling import SMOTENC
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import (
    parametrize_with_checks as parametrize_with_imblearn_checks,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ks_2samp
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcvae._constraints import check_constraints, move_to_allowed
from skcvae.anonymization import GenerativeAnonymizer
from skcvae.generators import ClassGaussian, DPClassGaussian, TableGenerator
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import (
    GenerativeOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
    ResampledClassifier,
)

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("SKCVAE_DATA", ROOT.parent / "shared" / "data"))
RULE = "loan <= income / 2"


@pytest.fixture(scope="module")
def loans():
    """400 loans, of which 65 are late; no loan is more than half of the income."""
    rng = np.random.RandomState(0)
    income = np.exp(rng.normal(3.4, 0.5, 400)).round(2)
    late = np.arange(400) >= 335
    X = pd.DataFrame(
        {
            "income": income,
            "loan": np.floor(50 * income * rng.uniform(0, 1, 400)) / 100,
            "age": np.rint(rng.gamma(9, 5, 400) + 18).clip(18, 90).astype(int),
            "n_late": rng.poisson(0.5 + 2 * late),
            "owns_home": rng.uniform(size=400) < 0.5,
            "region": rng.choice(["north", "east", "south"], 400),
            "job": pd.Categorical(
                np.where(late, rng.choice(["shop", "none"], 400), "office"),
                categories=["none", "shop", "office", "farm"],
                ordered=True,
            ),
        }
    )
    return X, np.where(late, "late", "paid")


CATEGORIES = ["owns_home", "region", "job"]


@pytest.fixture(scope="module")
def every_type():
    """Columns of all types that a table may have, with missing values."""
    rng = np.random.RandomState(0)
    n = 400
    missing = rng.uniform(size=(n, 6)) < 0.2
    seconds = pd.to_timedelta(rng.randint(0, 10**9, n), unit="s")
    time = pd.Timestamp("2020-01-01") + seconds
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    X = pd.DataFrame(
        {
            "int64": rng.randint(low, high, n, dtype=np.int64),
            "uint64": rng.randint(2**63, 2**64 - 1, n, dtype=np.uint64),
            "int8": rng.randint(-128, 128, n).astype(np.int8),
            "hundreds": 100 * rng.randint(1, 500, n) + 50,
            "float32": rng.normal(size=n).astype(np.float32),
            "float64": np.where(missing[:, 0], np.nan, rng.normal(size=n)),
            "decimals": rng.normal(size=n).round(2),
            "zeros": np.where(rng.uniform(size=n) < 0.7, 0, rng.gamma(2, 2, n)),
            "Int64": pd.array(
                np.where(missing[:, 1], None, rng.randint(0, 1000, n)), dtype="Int64"
            ),
            "Float64": pd.array(
                np.where(missing[:, 2], None, rng.normal(size=n)), dtype="Float64"
            ),
            "time": pd.Series(time).mask(missing[:, 3]),
            "zone": time.tz_localize("UTC").tz_convert("Asia/Tokyo"),
            "day": time.normalize(),
            "duration": seconds,
            "bool": rng.uniform(size=n) < 0.3,
            "boolean": pd.array(
                np.where(missing[:, 4], None, rng.uniform(size=n) < 0.3), "boolean"
            ),
            "text": np.where(missing[:, 5], None, rng.choice(["x", "y"], n)),
            "object": pd.Series(
                np.where(missing[:, 5], None, rng.choice(["x", "y"], n)), dtype=object
            ),
            "ordered": pd.Categorical(
                rng.choice(["a", "b"], n), ["b", "c", "a"], ordered=True
            ),
            "empty": np.full(n, np.nan),
            "constant": 5,
        }
    )
    return X, rng.choice(["k", "l"], n, p=[0.8, 0.2])


def keys(X):
    """Return the columns of a frame that are categories as tuples of text."""
    return list(X[CATEGORIES].astype(str).itertuples(index=False, name=None))


def test_rule_bounds_and_integers_of_270_new_loans_hold(loans):
    X, y = loans
    sampler = GenerativeOverSampler(
        categorical_features=CATEGORIES, constraints=[RULE], random_state=0
    )
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    new = X_resampled[400:]
    assert len(new) == 270
    assert set(y_resampled[400:]) == {"late"}
    pd.testing.assert_frame_equal(X_resampled[:400], X)
    assert (new["income"] < 0).sum() == 0
    assert (new["loan"] > new["income"] / 2).sum() == 0
    assert (~new["age"].between(18, 90)).sum() == 0
    assert_array_equal(new["income"], new["income"].round(2))
    # The interior is reached, too.
    assert (new["loan"] < 0.9 * new["income"] / 2).mean() > 0.7


def test_it_takes_the_place_of_smotenc_by_one_word(loans):
    X, y = loans
    mask = np.isin(X.columns, CATEGORIES).tolist()
    for listed in (CATEGORIES, [4, 5, 6], mask):
        options = {"categorical_features": listed, "random_state": 0}
        by_smotenc = SMOTENC(**options).fit_resample(X, y)
        ours = GenerativeOverSampler(**options).fit_resample(X, y)
        assert_array_equal(ours[1], by_smotenc[1])
        pd.testing.assert_series_equal(ours[0].dtypes, by_smotenc[0].dtypes)
    automatic = GenerativeOverSampler(categorical_features="auto", random_state=0)
    pd.testing.assert_frame_equal(automatic.fit_resample(X, y)[0], ours[0])


def test_arrays_of_numbers_and_of_objects_are_tables(loans):
    X, y = loans
    objects = X.astype(object).to_numpy()
    coded = np.column_stack([X["income"], X["region"].astype("category").cat.codes])
    for array, listed in ((objects, [4, 5, 6]), (coded, [1])):
        sampler = GenerativeOverSampler(categorical_features=listed, random_state=0)
        resampled, _ = sampler.fit_resample(array, y)
        assert resampled.dtype == array.dtype
        for column in listed:
            assert set(resampled[400:, column]) <= set(array[y == "late", column])
    assert {type(v) for v in resampled[:, 0]} == {np.float64}
    new = GenerativeOverSampler(categorical_features="auto", random_state=0)
    rows = new.fit_resample(objects, y)[0]
    assert [type(v) for v in rows[-1]] == [type(v) for v in objects[-1]]


@pytest.mark.parametrize("combinations", ["seen", "any"])
def test_polars_and_pandas_have_the_same_values(loans, combinations):
    X, y = loans
    generator = TableGenerator(combinations=combinations, random_state=0)
    expected, _ = generator.fit(X, y).sample(300)
    drawn, _ = generator.fit(pl.from_pandas(X), y).sample(300)
    assert isinstance(drawn, pl.DataFrame)
    assert drawn.schema == pl.from_pandas(X).schema
    for name in X:
        assert_array_equal(drawn[name].to_list(), expected[name].tolist())
    sampler = GenerativeOverSampler(categorical_features="auto", random_state=0)
    frames = [sampler.fit_resample(f, y)[0] for f in (X, pl.from_pandas(X))]
    assert frames[1].equals(pl.from_pandas(frames[0]).cast(dict(frames[1].schema)))


@pytest.mark.parametrize("combinations", ["seen", "any"])
def test_every_type_comes_back_within_its_range_and_categories(
    every_type, combinations
):
    X, y = every_type
    generator = TableGenerator(combinations=combinations, random_state=0).fit(X, y)
    drawn, _ = generator.sample(2000)
    pd.testing.assert_series_equal(drawn.dtypes, X.dtypes)
    assert list(drawn.columns) == list(X.columns)
    for name, real in X.items():
        new = drawn[name]
        assert real.isna().any() == new.isna().any()
        real, new = real.dropna(), new.dropna()
        if name in ("bool", "boolean", "text", "object", "ordered"):
            assert set(new) == set(real)
        elif len(real):
            assert real.min() <= new.min() and new.max() <= real.max()
    assert ((drawn["hundreds"] - 50) % 100 == 0).all()
    assert (drawn["day"] == drawn["day"].dt.normalize()).all()
    assert_array_equal(drawn["decimals"], drawn["decimals"].round(2))
    assert (drawn["constant"] == 5).all() and drawn["empty"].isna().all()


def test_shares_of_zeros_and_missing_values_are_those_of_the_class(every_type):
    X, y = every_type
    drawn, labels = TableGenerator(random_state=0).fit(X, y).sample(8000)
    for label in ("k", "l"):
        real, new = X[y == label], drawn[labels == label]
        for of in (lambda t: t["zeros"] == 0, lambda t: t["Int64"].isna()):
            share, n = of(real).mean(), len(new)
            assert abs(of(new).mean() - share) < 4 * np.sqrt(share * (1 - share) / n)
        together = [
            (t["text"].isna() == t["object"].isna()).mean() for t in (real, new)
        ]
        assert_allclose(*together)


def test_marginals_of_a_large_class_are_those_of_its_samples():
    rng = np.random.RandomState(0)
    skewed = np.concatenate([rng.gamma(1, 5, 2000), 50 + rng.gamma(1, 1, 2000)])
    X = np.column_stack([skewed, rng.normal(size=4000)])
    y = np.repeat([0, 1], 2000)
    drawn, _ = TableGenerator(random_state=0).fit(X, y).sample(y=y)
    for label in (0, 1):
        real, new = (values[y == label, 0] for values in (X, drawn))
        # The statistic exceeds 0.043 by chance in one of twenty pairs of samples.
        assert ks_2samp(real, new).statistic < 0.043


def test_numbers_follow_their_categories():
    rng = np.random.RandomState(0)
    kind = rng.choice(["a", "b", "c"], 3000, p=[0.6, 0.3, 0.1])
    means = pd.Series({"a": 0.0, "b": 2.0, "c": -3.0})
    X = pd.DataFrame(
        {"kind": kind, "x": means[kind].to_numpy() + rng.normal(size=3000)}
    )
    X["z"] = 0.8 * X["x"] + rng.normal(size=3000)
    drawn, _ = TableGenerator(random_state=0).fit(X, np.zeros(3000)).sample()
    groups = [table.groupby("kind")["x"] for table in (X, drawn)]
    error = np.sqrt(sum(g.var() / g.size() for g in groups))
    # Scores are monotone and not linear: the shape within a category may differ.
    assert ((groups[0].mean() - groups[1].mean()).abs() < 4 * error + 0.1).all()
    correlations = [t[["x", "z"]].corr("spearman").iloc[0, 1] for t in (X, drawn)]
    assert abs(np.subtract(*correlations)) < 0.05


def test_any_combinations_have_the_shares_of_the_class(loans):
    X, y = loans
    generator = TableGenerator(combinations="any", random_state=0).fit(X, y)
    drawn, labels = generator.sample(y=np.repeat(["late", "paid"], 2000))
    for label in ("late", "paid"):
        for name in CATEGORIES:
            shares = [
                t[name].astype(str).value_counts(normalize=True)
                for t in (X[y == label], drawn[labels == label])
            ]
            assert shares[0].sub(shares[1], fill_value=0).abs().max() < 0.04
    # Associations are weaker, and most of them is kept.
    tied = X.assign(loan=X["owns_home"] * 5 + X["loan"] % 1)
    drawn, _ = generator.fit(tied, y).sample(4000)
    means = [t.groupby("owns_home")["loan"].mean() for t in (tied, drawn)]
    assert 0.75 < means[1].diff().iloc[1] / means[0].diff().iloc[1] < 1.05


def test_no_combination_is_new_unless_any_is_allowed(loans):
    X, y = loans
    X = X.assign(region=np.where(X["owns_home"], "south", X["region"]))
    for combinations in ("seen", "any"):
        generator = TableGenerator(combinations=combinations, random_state=0)
        drawn, labels = generator.fit(X, y).sample(2000)
        new = set(zip(keys(drawn), labels, strict=True)) - set(
            zip(keys(X), y, strict=True)
        )
        assert bool(new) == (combinations == "any")


def test_classes_of_one_sample_and_tables_of_categories_only_work(loans):
    X, y = loans
    y = y.copy()
    y[0] = "lost"
    drawn, _ = TableGenerator(random_state=0).fit(X, y).sample(y=["lost"] * 50)
    assert set(keys(drawn)) == set(keys(X[:1]))
    assert drawn["income"].nunique() > 10
    drawn, _ = TableGenerator(random_state=0).fit(X[CATEGORIES], y).sample()
    assert set(keys(drawn)) <= set(keys(X))
    constant = X[["region"]].assign(region="north")
    assert TableGenerator().fit(constant, y).sample(7)[0].equals(constant[:7])


def test_a_median_is_no_failed_feature_extraction():
    X = pd.DataFrame({"a": np.random.RandomState(0).normal(size=201)})
    with warnings.catch_warnings(action="error"):
        TableGenerator().fit(X, np.arange(201) % 2)


def test_wrapped_generators_are_cloned_seeded_and_may_be_frozen(loans):
    X, y = loans
    inner = ClassGaussian()
    generator = TableGenerator(inner, random_state=3).fit(X, y)
    assert not hasattr(inner, "class_count_")
    assert generator.generator_.random_state == 3
    sampler = GenerativeOverSampler(FrozenEstimator(generator), random_state=0)
    assert len(sampler.fit_resample(X, y)[0]) == 670
    renamed = X.rename(columns={"age": "years"})
    with pytest.raises(ValueError, match="other columns"):
        sampler.fit_resample(renamed, y)


CALLABLE = {"callable": lambda t: t["loan"] <= t["income"] / 2, "text": RULE}


@pytest.mark.parametrize("rule", CALLABLE.values(), ids=CALLABLE)
def test_constraints_hold_in_every_draw(loans, rule):
    X, y = loans
    drawn, _ = TableGenerator(constraints=[rule], random_state=0).fit(X, y).sample(5000)
    assert (drawn["loan"] <= drawn["income"] / 2).all()


def test_constraints_that_hardly_any_draw_keeps_are_kept():
    rng = np.random.RandomState(0)
    months = rng.randint(1, 73, 500)
    months[:60] = 1
    price = rng.gamma(5, 10, 500).round(2)
    total = (price * months * rng.uniform(1, 1.1, 500)).round(2)
    total[months == 1] = price[months == 1]
    X = pd.DataFrame({"months": months, "price": price, "total": total})
    rules = ["total >= price", "(months > 1) | (total == price)"]
    generator = TableGenerator(constraints=rules, random_state=0).fit(X, months > 50)
    drawn, _ = generator.sample(2000)
    assert (drawn["total"] >= drawn["price"]).all()
    first = drawn[drawn["months"] == 1]
    assert (first["total"] == first["price"]).all()
    # Months of a large share are not drawn less often because a rule binds them.
    assert 0.08 < len(first) / 2000 < 0.17


def test_constraints_that_no_draw_keeps_are_an_error_with_the_rate():
    a = np.random.RandomState(0).normal(size=200)
    X, y = pd.DataFrame({"a": a, "b": a}), np.zeros(200)
    options = {"constraints": ["a == b"], "random_state": 0}
    generator = TableGenerator(combinations="any", **options).fit(X, y)
    with pytest.raises(ValueError, match=r"of 50 .*20 rounds: 0\.\d+% of all"):
        generator.sample(50)
    # Where training samples lend their combination, they lend their numbers, too.
    drawn, _ = TableGenerator(**options).fit(X, y).sample(50)
    assert (drawn["a"] == drawn["b"]).all()


@pytest.mark.parametrize("read", [np.asarray, pd.to_datetime])
def test_rules_that_floats_cannot_hold_are_refused_before_training(read):
    # Counted from two lowest values, equal integers become floats that differ.
    start = np.random.RandomState(0).randint(2**61, 2**62, 201)
    end, first = start.copy(), np.arange(201) == 0
    end[0] = 12345
    X = pd.DataFrame({"start": read(start), "end": read(end), "first": first})
    generator = TableGenerator(constraints=["(start == end) | first"], random_state=0)
    with pytest.raises(ValueError, match="coarser units"):
        generator.fit(X, start % 2)
    drawn, _ = generator.fit(X[1:], start[1:] % 2).sample()
    assert (drawn["start"] == drawn["end"]).all()


def test_masks_in_another_order_are_refused():
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    X["b"] = X[["a", "b"]].max(axis=1)

    def rule(table):
        ordered = table.sort_values("a")
        return ordered["a"] <= ordered["b"]

    with pytest.raises(ValueError, match=r"another order .* End it with .sort_index"):
        TableGenerator(constraints=[rule]).fit(X, np.zeros(200))
    rules = [lambda t: rule(t).sort_index(), lambda t: t.set_index("b")["a"] < 9]
    generator = TableGenerator(constraints=rules, random_state=0)
    drawn, _ = generator.fit(X, np.zeros(200)).sample(1000)
    assert (drawn["a"] <= drawn["b"]).all()


def test_numbers_move_to_the_nearest_allowed_place_on_a_line():
    start = np.array([[4.0, 0.0], [0.0, 0.0], [10.0, 1.0]])
    goal = np.array([[0.0, 4.0], [1.0, 1.0], [0.0, 1.0]])
    moved = move_to_allowed(start, goal, lambda x: x[:, 0] <= x[:, 1])
    # x = y is at a half, at the start itself, and at nine tenths of the way.
    assert_allclose(moved, [[2, 2], [0, 0], [1, 1]], atol=1e-4)
    only_goal = move_to_allowed(start, goal, lambda x: np.zeros(3, dtype=bool))
    assert_array_equal(only_goal, goal)


def test_a_rule_that_missing_values_break_says_how_to_let_them_pass():
    table = pd.DataFrame({"a": [1.0, np.nan, 3.0, 9.0], "b": [1.0, 2.0, np.nan, 4.0]})
    message = r"2 of 4 training samples break .* 1 of them miss a value.*isna"
    with pytest.raises(ValueError, match=message):
        check_constraints(["a <= 3"], table)
    with pytest.raises(ValueError, match=r"weaker one\.$"):
        check_constraints(["a != 9 or b != 4"], table)


REFUSED_RULES = {
    "broken": ("loan <= income / 4", ValueError, r"\d+ of 400 training samples break"),
    "no mask": ("loan + income", ValueError, "must be true or false"),
    "assignment": ("loan = income", ValueError, "must be true or false"),
    "scalar": (lambda t: True, ValueError, "must be true or false"),
    "unknown column": ("debt > 0", ValueError, "cannot evaluate.*debt"),
    "local variable": ("loan < @x", ValueError, "may name columns only"),
    "dunder": ("loan.__class__", ValueError, "may name columns only"),
    "number": (3, TypeError, "a string such as"),
}


@pytest.mark.parametrize(
    ("rule", "error", "message"), REFUSED_RULES.values(), ids=REFUSED_RULES
)
def test_faulty_constraints_are_refused_before_training(loans, rule, error, message):
    x = 1.0  # what "@x" must not reach
    generator = TableGenerator(constraints=[rule])
    with pytest.raises(error, match=message):
        generator.fit(*loans)
    assert not hasattr(generator, "generator_") and x


def test_texts_of_constraints_need_names(loans):
    X, y = loans
    numbers = X[["income", "loan"]].to_numpy()
    with pytest.raises(TypeError, match="array without"):
        TableGenerator(constraints=[RULE]).fit(numbers, y)
    rule = [lambda a: a[:, 1] <= a[:, 0] / 2]
    drawn, _ = TableGenerator(constraints=rule, random_state=0).fit(numbers, y).sample()
    assert (drawn[:, 1] <= drawn[:, 0] / 2).all()


REFUSED = {
    "unlisted": (
        {"categorical_features": [5]},
        r"neither numbers nor dates.*\['job'\]",
    ),
    "unknown name": ({"categorical_features": ["town"]}, "does not fit the 7 columns"),
    "far place": ({"categorical_features": [7]}, "does not fit the 7 columns"),
    "short mask": ({"categorical_features": [True, False]}, "does not fit"),
    "two axes": ({"categorical_features": [["job"]]}, "one-dimensional"),
    "bounds of categories": ({"bounds": {"job": (0, 1)}}, "no columns of numbers"),
    "categories of numbers": ({"categories": {"age": [1]}}, "no columns of categories"),
    "outside": ({"bounds": {"age": (18, 60)}}, r"\d+ training samples lie outside"),
    "unlisted value": ({"categories": {"job": ["none"]}}, "335|lie outside"),
    "turned bounds": ({"bounds": {"age": (90, 18)}}, "the lower first"),
    "text as bounds": ({"bounds": {"age": ("a", "b")}}, "two values of its type"),
    "unknown to the type": (
        {"categories": {"job": ["none", "shop", "office", "pilot"]}},
        "cannot hold all of its categories",
    ),
    "fractions of integers": ({"bounds": {"age": (0.5, 99)}}, "two values of its type"),
    "infinite bounds": ({"bounds": {"income": (0, np.inf)}}, "must be finite"),
    "infinite bounds of integers": (
        {"bounds": {"age": (0, np.inf)}},
        r"bounds of 'age' must be two values of its type",
    ),
    "given and seen": ({"encoding": "given"}, "combinations='any'"),
    "nothing given": (
        {"encoding": "given", "combinations": "any"},
        r"give bounds of the columns \['income'",
    ),
    "private": ({"generator": DPClassGaussian()}, "encoding='given'"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_the_table_is_refused(loans, options, message):
    with pytest.raises(ValueError, match=message):
        TableGenerator(**options).fit(*loans)


def test_what_arrays_would_convert_is_refused():
    X, y = np.random.RandomState(0).randint(0, 3, size=(50, 2)), np.zeros(50)
    for options in ({"bounds": {0: (-0.5, 9)}}, {"categories": {1: [0, 1, 2, 2.5]}}):
        with pytest.raises(ValueError, match=r"of its type|cannot hold all"):
            TableGenerator(categorical_features=[1], **options).fit(X, y)


def test_integers_beyond_64_bits_are_refused_with_their_column():
    X = pd.DataFrame({"id": pd.Series([2**64 + i for i in range(50)], dtype=object)})
    with pytest.raises(ValueError, match="'id' holds integers beyond 64 bits"):
        TableGenerator().fit(X, np.zeros(50))
    drawn, _ = TableGenerator(categorical_features=["id"]).fit(X, np.zeros(50)).sample()
    assert set(drawn["id"]) <= set(X["id"])


def test_grids_of_numbers_hold_up_to_bounds_beside_them():
    rng = np.random.RandomState(0)
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.randint(0, 300, 200), "D")
    X = pd.DataFrame(
        {
            "hundreds": 100 * rng.randint(1, 60, 200) + 50,
            "day": day,
            "tenths": rng.uniform(0, 10, 200).round(1).astype(np.float32),
        }
    )
    bounds = {
        "hundreds": (0, 6075),
        "day": (pd.Timestamp("2019-12-31 18:00"), pd.Timestamp("2020-10-28 06:00")),
        "tenths": (-1.04, 11.04),
    }
    generator = TableGenerator(bounds=bounds, random_state=0).fit(X, np.zeros(200))
    # Scores that go as far as the bounds do.
    scores = np.tile([[-9.0], [9.0]], 3)
    numbers = generator._encoding.to_numbers(scores)
    drawn = generator._encoding.to_table(np.zeros((2, 3), dtype=int), numbers)
    assert drawn["hundreds"].tolist() == [50, 6050]
    assert drawn["day"].astype(str).tolist() == ["2020-01-01", "2020-10-28"]
    assert_array_equal(drawn["tenths"], np.array([-1, 11], dtype=np.float32))


def test_whole_days_of_a_time_zone_stay_whole_where_clocks_change():
    day = pd.date_range("2020-01-01", periods=300, tz="Europe/Berlin")
    X = pd.DataFrame({"day": day, "hour": day + pd.Timedelta("6h")})
    drawn, _ = TableGenerator(random_state=0).fit(X, np.zeros(300)).sample(2000)
    assert (drawn["day"] == drawn["day"].dt.normalize()).all()
    assert drawn["day"].between(day[0], day[-1]).all()
    assert drawn["day"].nunique() > 250
    pd.testing.assert_series_equal(drawn.dtypes, X.dtypes)


def test_large_integers_of_polars_stay_beside_missing_ones():
    X = pl.DataFrame({"id": [None, *range(2**60, 2**60 + 99)], "n": [None, *range(99)]})
    y = np.repeat([0, 1], [70, 30])
    sampler = GenerativeOverSampler(categorical_features="auto", random_state=0)
    resampled, _ = sampler.fit_resample(X, y)
    assert resampled.schema == X.schema
    assert resampled[:100].equals(X)
    assert resampled["id"].drop_nulls().is_between(2**60, 2**60 + 98).all()


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        (pd.Series(["a", "b", "c"] * 20), pd.Series(pd.Categorical(["a", "b"] * 30))),
        (pd.Series(np.linspace(0, 1, 60)), pd.Series(np.arange(60))),
    ],
    ids=["category", "fraction"],
)
def test_frozen_tables_that_the_types_cannot_hold_are_refused(fitted, given):
    y = np.repeat([0, 1], [40, 20])
    generator = TableGenerator(random_state=0).fit(fitted.to_frame("x"), y)
    sampler = GenerativeOverSampler(FrozenEstimator(generator))
    with pytest.raises(ValueError, match=r"other types: the columns \['x'\] of X"):
        sampler.fit_resample(given.to_frame("x"), y)
    # Types that hold the values keep them.
    wide, _ = sampler.fit_resample(fitted.astype(object).to_frame("x"), y)
    assert wide["x"].dtype == object and not wide["x"].isna().any()


def test_wider_bounds_are_kept_and_used(loans):
    X, y = loans
    generator = TableGenerator(bounds={"age": (0, 150)}, random_state=0).fit(X, y)
    drawn, _ = generator.sample(5000)
    assert drawn["age"].between(0, 150).all()


GIVEN = {
    "encoding": "given",
    "combinations": "any",
    "bounds": {
        "income": (0, 500),
        "loan": (0, 250),
        "age": (18, 100),
        "n_late": (0, 50),
    },
    "categories": {
        "owns_home": [False, True],
        "region": ["north", "east", "south", "west"],
        "job": ["none", "shop", "office", "farm"],
    },
    "constraints": [RULE],
}


def test_a_given_encoding_learns_nothing_of_the_samples(loans):
    X, y = loans
    halves = [TableGenerator(**GIVEN).fit_given(X[h::2], y[h::2])[0] for h in (0, 1)]
    both, _ = TableGenerator(**GIVEN).fit_given(X, y)
    assert_array_equal(both[::2], halves[0])
    assert_array_equal(both[1::2], halves[1])
    tables = [TableGenerator(**GIVEN), TableGenerator(**GIVEN)]
    for part, table in enumerate(tables):
        table.fit_given(X[part::2], y[part::2])
    assert pickle.dumps(tables[0]) == pickle.dumps(tables[1])


@pytest.mark.filterwarnings("ignore:.*noise")
def test_a_given_encoding_draws_without_an_anonymizer(loans):
    X, y = loans
    private = DPClassGaussian(epsilon=50, classes=["late", "paid"])
    for inner in (None, private):
        generator = TableGenerator(inner, random_state=0, **GIVEN).fit(X, y)
        drawn, labels = generator.sample(500)
        assert set(labels) == {"late", "paid"}
        assert (drawn["loan"] <= drawn["income"] / 2).all()
    with pytest.raises(ValueError, match="either n_samples or y"):
        generator.sample(2, y=["late"])
    with pytest.raises(ValueError, match="7 training samples lack a number"):
        TableGenerator(**GIVEN | {"constraints": None}).fit(
            X.assign(income=X["income"].where(X.index >= 7)), y
        )


@pytest.mark.parametrize(
    "inner",
    [None, DPClassGaussian(epsilon=50, classes=["late", "paid"])],
    ids=["gaussian", "private"],
)
@pytest.mark.filterwarnings("ignore:.*noise")
def test_anonymizers_make_tables_from_what_is_given(loans, inner):
    X, y = loans
    anonymizer = GenerativeAnonymizer(TableGenerator(inner, **GIVEN), random_state=0)
    synthetic = anonymizer.fit_transform(X, y)
    pd.testing.assert_series_equal(synthetic.dtypes, X.dtypes)
    assert len(synthetic) == 400
    assert (synthetic["loan"] <= synthetic["income"] / 2).all()
    for name, (low, high) in GIVEN["bounds"].items():
        assert synthetic[name].between(low, high).all()
    assert anonymizer.transform(X) is X
    restored = pickle.loads(pickle.dumps(anonymizer))
    drawn = [a.sample(9, random_state=1)[0] for a in (anonymizer, restored)]
    pd.testing.assert_frame_equal(*drawn)
    for share in (anonymizer.batches, lambda: anonymizer.release("never_written")):
        with pytest.raises(ValueError, match="cannot be released or streamed"):
            share()
    with pytest.raises(ValueError, match="variance on the generator"):
        anonymizer.sample(9, variance=0.5)


@pytest.mark.filterwarnings("ignore:.*noise")
def test_no_value_tells_a_private_table_what_objects_are():
    X = pd.DataFrame({"n": np.arange(60), "c": list("ab") * 30}, dtype=object)
    y = np.repeat([0, 1], 30)
    inner = DPClassGaussian(epsilon=1.0, delta=1e-3, classes=[0, 1])
    options = {"encoding": "given", "combinations": "any"}
    table = TableGenerator(
        inner, bounds={"n": (0, 99)}, categories={"c": ["a", "b"]}, **options
    )
    for odd in (X, X.replace({"n": {3: 3.5}}), X.replace({"n": {3: "x"}})):
        with pytest.raises(ValueError, match=r"\['n'\] hold objects"):
            table.fit(odd, y)
    # Listed categories may be any object.
    X["n"] = X["n"].astype(int)
    X.loc[3, "c"] = 1.5
    drawn, _ = table.fit(X, y).sample(20)
    assert set(drawn["c"]) <= {"a", "b"} and drawn["n"].dtype == int


def test_no_value_of_a_sample_is_an_error_of_a_private_table(loans):
    X, y = loans
    X, y = X.copy(), y.astype(object)
    X.loc[:3, "income"] = [1e9, -1e9, np.nan, np.inf]
    X.loc[4, "age"], X.loc[5, "region"], y[6] = -5, "moon", None
    inner = DPClassGaussian(epsilon=50, classes=["late", "paid"])
    anonymizer = GenerativeAnonymizer(TableGenerator(inner, **GIVEN), random_state=0)
    synthetic, _ = anonymizer.fit(X, y).sample(50)
    assert synthetic["income"].between(0, 500).all()
    # Without privacy, each of these is refused.
    with pytest.raises(ValueError, match=r"training samples break|missing values"):
        GenerativeAnonymizer(TableGenerator(**GIVEN)).fit(X, y)


def test_small_classes_of_tables_are_merged_or_refused(loans):
    X, y = loans
    y = np.where(np.arange(400) < 3, "lost", y)
    table = TableGenerator(**GIVEN)
    with pytest.raises(ValueError, match="'lost'"):
        GenerativeAnonymizer(table).fit(X, y)
    with pytest.raises(ValueError, match="small_classes='suppress'"):
        GenerativeAnonymizer(table, small_classes="suppress").fit(X, y)
    merged = GenerativeAnonymizer(table, small_classes="merge", random_state=0)
    assert len(merged.fit_transform(X, y)) == 400
    assert list(merged.merged_classes_) == ["lost"]


def test_anonymizers_refuse_what_learns_from_the_samples(loans):
    with pytest.raises(ValueError, match="must not learn ranges, quantiles"):
        GenerativeAnonymizer(TableGenerator()).fit(*loans)
    sampler = GenerativeOverSampler(categorical_features="auto", memory="cache")
    with pytest.raises(ValueError, match="memory does not take tables"):
        sampler.fit_resample(*loans)
    twice = GenerativeOverSampler(TableGenerator(), categorical_features="auto")
    with pytest.raises(ValueError, match="to the TableGenerator, and"):
        twice.fit_resample(*loans)
    unhashable = loans[0].assign(region=[["north"]] * 400)
    listed = GenerativeOverSampler(categorical_features=CATEGORIES)
    with pytest.raises(TypeError, match="'region' holds values that cannot be"):
        listed.fit_resample(unhashable, loans[1])
    with pytest.raises(ValueError, match="infinity in the column 'income'"):
        listed.fit_resample(loans[0].assign(income=np.inf), loans[1])


@pytest.mark.parametrize(
    "estimator", [GenerativeOverSampler(), LongTailClassifier(), ClassGaussian()]
)
def test_strings_are_refused_with_what_takes_them(loans, estimator):
    X, y = loans
    with pytest.raises(ValueError, match='categorical_features="auto"'):
        estimator.fit(X, y)


def test_a_column_transformer_may_follow_in_a_pipeline(loans):
    X, y = loans
    X = X.copy()
    X.loc[::7, "region"] = None
    encoder = make_column_transformer(
        (StandardScaler(), ["income", "loan", "age", "n_late"]),
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
    )
    sampler = GenerativeOverSampler(
        categorical_features=CATEGORIES, constraints=[RULE], random_state=0
    )
    pipeline = make_pipeline(sampler, encoder, LogisticRegression(max_iter=500))
    scores = cross_val_score(pipeline, X, y, scoring="balanced_accuracy", cv=3)
    assert scores.min() > 0.9


def test_samplers_around_samplers_of_tables_take_arrays_of_numbers():
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.normal(size=(120, 3)), rng.randint(0, 3, 120)])
    y = np.repeat([0, 1], [90, 30])
    inner = GenerativeOverSampler(categorical_features=[3])
    for sampler in (
        QualityFilter(inner, quantile=0.5, random_state=0),
        ProgressiveOverSampler([("first", inner), ("last", inner)], random_state=0),
    ):
        resampled, _ = sampler.fit_resample(X, y)
        assert set(resampled[120:, 3]) == {0, 1, 2}
    model = ResampledClassifier(inner, LogisticRegression()).fit(X, y)
    assert model.predict(X).shape == y.shape


TABLE_SAMPLERS = [
    GenerativeOverSampler(categorical_features=[0], random_state=0),
    GenerativeOverSampler(categorical_features="auto", random_state=0),
    GenerativeOverSampler(TableGenerator(combinations="any"), random_state=0),
]


def imblearn_checks(samplers):
    mark = parametrize_with_imblearn_checks(samplers)
    names, checks = mark.args
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)


@imblearn_checks(TABLE_SAMPLERS)
def test_imblearn_checks(estimator, check):
    check(estimator)


@parametrize_with_checks(TABLE_SAMPLERS)
def test_sklearn_checks(estimator, check):
    check(estimator)


# Rules without a violation in the real tables.
RULES = {
    "adult": [
        "~((capital_gain > 0) & (capital_loss > 0))",
        "(marital_status != 'Never-married') | ~relationship.isin(['Husband', 'Wife'])",
        lambda t: ~t["workclass"].isna() | t["occupation"].isna(),
    ],
    "telco_churn": [
        "(tenure == 0) == (TotalCharges == 0)",
        "(tenure != 1) | (TotalCharges == MonthlyCharges)",
        "(tenure == 0) | (TotalCharges >= MonthlyCharges)",
        "(InternetService != 'No') | (MonthlyCharges <= 26.9)",
    ],
    "bank_marketing": [
        "(previous == 0) == (poutcome == 'nonexistent')",
        "(pdays == 999) | (previous >= 1)",
        "(poutcome != 'success') | (pdays != 999)",
    ],
    "hmda": [],
    "heart_sites": [],
}


def check_real_table(name, n_samples):
    """Generate samples of a real table, and look for what a real one cannot hold."""
    path = DATA / f"tab_{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"needs {path.name} in SKCVAE_DATA")
    X = pd.read_csv(path)
    y = X.pop("target")
    generator = TableGenerator(constraints=RULES[name], random_state=0).fit(X, y)
    drawn, _ = generator.sample(n_samples)
    pd.testing.assert_series_equal(drawn.dtypes, X.dtypes)
    for column, real in X.items():
        new = drawn[column].dropna()
        if real.dtype.kind in "if":
            assert new.between(real.min(), real.max()).all()
        else:
            assert set(new) <= set(real.dropna())
        if real.dtype.kind == "f" and (real.dropna() % 1 == 0).all():
            assert (new % 1 == 0).all()
    for rule in RULES[name]:
        assert np.asarray(
            drawn.eval(rule) if isinstance(rule, str) else rule(drawn)
        ).all()
    names = [column for column in X if X[column].dtype.kind not in "if"]
    real, new = (
        set(t[names].astype(str).itertuples(index=False, name=None)) for t in (X, drawn)
    )
    assert new <= real


@pytest.mark.parametrize("name", RULES)
def test_real_tables_have_no_violations(name):
    check_real_table(name, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_100_000_samples_of_real_tables_have_no_violations(name):
    check_real_table(name, 100_000)
