"""Samples of texts, dates or complex numbers are refused before any work."""

import numpy as np
import pandas as pd
import pytest

from skcvae.anonymization import KSameAnonymizer
from skcvae.generators import ClassGaussian
from skcvae.over_sampling import GenerativeOverSampler

DAYS = pd.date_range("2020", periods=40)
VALUES = np.random.RandomState(0).normal(size=(40, 2))
NO_NUMBERS = {
    "dates or times": VALUES.astype("datetime64[s]"),
    "dates or times in a duration": VALUES.astype("timedelta64[s]"),
    r"dates or times in the columns \['when'\]": pd.DataFrame(
        {"a": VALUES[:, 0], "when": DAYS}
    ),
    r"dates or times in the columns \['day'\]": pd.DataFrame({"day": DAYS}),
    r"dates or times in the columns \['utc'\]": pd.DataFrame(
        {"a": VALUES[:, 0], "utc": DAYS.tz_localize("UTC")}
    ),
    r"dates or times in the columns \['lag'\]": pd.DataFrame(
        {"a": VALUES[:, 0], "lag": DAYS - DAYS[0]}
    ),
    "strings": VALUES.astype("S8").astype(object),
    "complex numbers": (VALUES + 1j).astype(object),
}


@pytest.mark.parametrize("what", NO_NUMBERS)
@pytest.mark.parametrize(
    "estimator", [ClassGaussian(), KSameAnonymizer(k=2), GenerativeOverSampler()]
)
def test_what_is_no_number_is_refused_and_its_column_named(estimator, what):
    y = np.repeat([0, 1], [30, 10])
    fit = getattr(estimator, "fit_resample", estimator.fit)
    message = what.removesuffix(" in a duration")
    with pytest.raises(ValueError, match=f"X contains {message}.* to numbers first"):
        fit(NO_NUMBERS[what], y)
