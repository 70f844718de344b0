"""Comparison of tables by column, pair and rule."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import spearmanr, wasserstein_distance
from scipy.stats.contingency import association

from skcvae.metrics import table_quality


def make_table(n, seed):
    rng = np.random.RandomState(seed)
    job = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    age = np.rint(rng.normal(40, 10, n) + 10 * (job == "c"))
    town = np.where(rng.uniform(size=n) < 0.7, job, rng.choice(["a", "d"], n))
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(age, unit="D")
    return pd.DataFrame({"age": age, "job": job, "town": town, "day": day})


REAL, OTHER = make_table(800, 0), make_table(600, 1)


def test_columns_have_the_distances_of_scipy_and_of_counts():
    other = OTHER.assign(job=OTHER["job"].replace("c", "z"))
    columns = table_quality(REAL, other, random_state=0).columns
    shares = [
        t["job"].value_counts(normalize=True).reindex(list("abcz"), fill_value=0)
        for t in (REAL, other)
    ]
    assert columns.loc["job", "distance"] == pytest.approx(
        (shares[0] - shares[1]).abs().sum() / 2
    )
    assert columns.loc["job", "coverage"] == pytest.approx(2 / 3)
    assert columns.loc["job", "unseen"] == pytest.approx(shares[1]["z"])
    expected = wasserstein_distance(REAL["age"], other["age"]) / REAL["age"].std(ddof=0)
    assert columns.loc["age", "wasserstein"] == pytest.approx(expected)
    # A day a year of age: the same distance in its own unit.
    assert columns.loc["day", "wasserstein"] == pytest.approx(expected)
    beyond = (other["age"] > REAL["age"].max()) | (other["age"] < REAL["age"].min())
    assert columns.loc["age", "unseen"] == pytest.approx(beyond.mean())


def test_pairs_have_the_associations_of_scipy():
    pairs = table_quality(REAL, OTHER, random_state=0).pairs
    pairs = pairs.set_index(["first", "second"])
    for side, table in {"real": REAL, "synthetic": OTHER}.items():
        counts = pd.crosstab(table["job"], table["town"])
        assert pairs.loc[("job", "town"), side] == pytest.approx(association(counts))
        rank = table["age"].rank()
        means = rank.groupby(table["job"]).transform("mean")
        assert pairs.loc[("age", "job"), side] == pytest.approx(
            means.std() / rank.std()
        )
        other = spearmanr(table["age"], table["day"].astype("int64")).statistic
        assert pairs.loc[("age", "day"), side] == pytest.approx(other)
    assert pairs.loc[("age", "day"), "measure"] == "rank correlation"
    assert pairs.loc[("age", "job"), "measure"] == "correlation ratio"
    assert pairs.loc[("job", "town"), "measure"] == "Cramér's V"


def test_differences_of_equal_distributions_are_within_their_errors():
    ratios = []
    for seed in range(8):
        quality = table_quality(
            make_table(500, 2 * seed),
            make_table(500, 2 * seed + 1),
            n_resamples=30,
            random_state=0,
        )
        pairs = quality.pairs[quality.pairs["standard_error"] > 1e-6]
        ratios.extend(pairs["difference"] / pairs["standard_error"])
    # Standard normal: one in three is above 1, hardly any above 3.
    assert 0.7 < np.std(ratios) < 1.3
    assert np.mean(np.abs(ratios) > 3) < 0.03


def test_detection_is_even_for_equal_and_high_for_other_distributions():
    assert abs(table_quality(REAL, OTHER, random_state=0).detection_auc - 0.5) < 0.08
    shuffled = REAL.assign(town=REAL["town"].sample(frac=1, random_state=0).to_numpy())
    assert table_quality(REAL, shuffled, random_state=0).detection_auc > 0.65


def test_missing_values_and_rules_are_counted():
    synthetic = OTHER.assign(job=OTHER["job"].mask(OTHER["age"] > 50))
    rules = ["age > 30", lambda t: t["age"] > 0]
    quality = table_quality(REAL, synthetic, constraints=rules, random_state=0)
    missing = quality.columns.loc["job", ["missing_real", "missing_synthetic"]]
    assert missing.tolist() == [0, (OTHER["age"] > 50).mean()]
    assert list(quality.violations) == ["age > 30", "<lambda>"]
    assert quality.violations["age > 30"] == pytest.approx((OTHER["age"] <= 30).mean())


def test_polars_and_arrays_are_compared_as_frames_are():
    names = ["age", "job", "town"]
    expected = table_quality(REAL[names], OTHER[names], random_state=0)
    by_polars = table_quality(
        pl.from_pandas(REAL[names]), pl.from_pandas(OTHER[names]), random_state=0
    )
    by_array = table_quality(
        REAL[names].to_numpy(),
        OTHER[names].to_numpy(),
        categorical_features=[1, 2],
        random_state=0,
    )
    for found in (by_polars, by_array):
        assert found.detection_auc == expected.detection_auc
        pd.testing.assert_frame_equal(
            found.columns.set_axis(names), expected.columns.set_axis(names)
        )
        np.testing.assert_array_equal(
            found.pairs["difference"], expected.pairs["difference"]
        )


def test_other_columns_and_single_samples_are_refused():
    with pytest.raises(ValueError, match="different columns"):
        table_quality(REAL, OTHER[["age", "job"]])
    with pytest.raises(ValueError, match="at least two samples"):
        table_quality(REAL, OTHER[:1])


def test_numbers_and_dates_that_are_none_are_refused_with_their_column():
    for other in (OTHER.assign(day=OTHER["day"].astype(str)), OTHER.assign(day=5)):
        with pytest.raises(ValueError, match=r"'day' holds \['dates', "):
            table_quality(REAL, other)
    with pytest.raises(ValueError, match=r"'age' holds \['numbers', 'other values'\]"):
        table_quality(REAL, OTHER.assign(age="old"))


def test_dates_of_any_year_unit_and_zone_are_compared():
    days = np.datetime64("1200-01-01") + 100 * np.arange(3000)  # up to the year 2021
    real = pd.DataFrame({"day": days.astype("datetime64[s]")})
    columns = table_quality(real, real[-1500:], random_state=0).columns
    assert columns.loc["day", "distance"] == pytest.approx(0.5)
    late = real[-100:]["day"].dt.tz_localize("UTC")
    zones = [
        pd.DataFrame({"day": late.astype(f"datetime64[{unit}, {zone}]")})
        for unit, zone in (("ns", "Asia/Tokyo"), ("ms", "UTC"))
    ]
    with warnings.catch_warnings(action="error"):
        columns = table_quality(*zones, random_state=0).columns
    assert columns.loc["day", "distance"] == 0


def test_columns_that_are_constant_or_empty_have_no_association():
    tables = [t.assign(empty=np.nan, one=1, same="a") for t in (REAL, OTHER)]
    quality = table_quality(*tables, random_state=0)
    pairs = quality.pairs.set_index(["first", "second"])["real"]
    for name in ("empty", "one", "same"):
        assert pairs["age", name] == pairs["job", name] == 0
    assert quality.columns.loc["empty", "missing_synthetic"] == 1
    assert np.isnan(quality.columns.loc["empty", "distance"])


def test_rules_of_one_name_are_refused():
    # The share of the first would be replaced by that of the second.
    rules = [lambda table: table["age"] > 0, lambda table: table["age"] > 50]
    with pytest.raises(ValueError, match=r"one name, of \['<lambda>'\]"):
        table_quality(REAL, OTHER, constraints=rules)
