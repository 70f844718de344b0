"""Remix: whose label a mixture has, and of which rows it is made."""

import pickle
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB

from skcvae._remix import remix_label_share
from skcvae.over_sampling import RemixSampler

# All ratios but that of classes 1 and 2 are above 3; that of 0 and 1 is exactly 4.
COUNTS = np.array([24, 6, 4, 1])
CODES = np.repeat(np.arange(4), COUNTS)
# Independent rows: a mixture has one reconstruction only, with weights of its rows.
ROWS = np.random.RandomState(0).normal(size=(35, 40))

# (share, count, partner's count, kappa, tau) and the share of the label, by hand.
RULE = [
    # At least three times as large, and a share below tau: all to the partner.
    (0.4, 30, 10, 3, 0.5, 0.0),
    (0.4, 100, 1, 3, 0.5, 0.0),
    # At tau, and above it, shares stay.
    (0.5, 30, 10, 3, 0.5, 0.5),
    (0.6, 30, 10, 3, 0.5, 0.6),
    # Not large enough.
    (0.4, 29, 10, 3, 0.5, 0.4),
    (0.4, 10, 10, 3, 0.9, 0.4),
    # The mirror image: the row is of the small class, its partner has 1 - share.
    (0.6, 10, 30, 3, 0.5, 1.0),
    (0.5, 10, 30, 3, 0.5, 0.5),
    (0.4, 10, 30, 3, 0.5, 0.4),
    (0.6, 10, 29, 3, 0.5, 0.6),
    # A large tau moves the label of what is almost all of the large class.
    (0.8, 30, 10, 3, 0.9, 0.0),
    (0.2, 10, 30, 3, 0.9, 1.0),
    (0.95, 30, 10, 3, 0.9, 0.95),
    # tau = 0 moves nothing, tau = 1 everything that is mixed at all.
    (0.0, 30, 10, 3, 0.0, 0.0),
    (0.1, 30, 10, 3, 0.0, 0.1),
    (0.9, 30, 10, 3, 1.0, 0.0),
    (1.0, 30, 10, 3, 1.0, 1.0),
]


@pytest.mark.parametrize("case", RULE, ids=str)
def test_rule_by_hand(case):
    share, count, partner_count, kappa, tau, expected = case
    for as_array in (np.array, torch.tensor):
        result = remix_label_share(
            as_array([share]), as_array([count]), as_array([partner_count]), kappa, tau
        )
        assert result.tolist() == as_array([expected]).tolist()


def test_rule_works_row_by_row_and_keeps_the_type():
    share, count, partner_count, *_, expected = np.array(RULE[:2] + RULE[6:9]).T
    result = remix_label_share(share, count, partner_count, 3, 0.5)
    assert_array_equal(result, expected)
    result = remix_label_share(
        torch.from_numpy(share).float(),
        torch.from_numpy(count),
        torch.from_numpy(partner_count),
        3,
        0.5,
    )
    assert result.dtype == torch.float32
    assert_allclose(result, expected, rtol=1e-6)


def test_both_rows_of_a_pair_agree_on_the_label_shares():
    rng = np.random.RandomState(0)
    share, tau = rng.uniform(size=1000), 0.7
    count, partner_count = rng.randint(1, 50, size=(2, 1000))
    own = remix_label_share(share, count, partner_count, 3, tau)
    partner = remix_label_share(1 - share, partner_count, count, 3, tau)
    assert_allclose(own + partner, 1)
    assert 100 < ((own == 0) | (own == 1)).sum() < 900


def fill(n_added, rows=ROWS, codes=CODES, **params):
    """Return new rows and their classes, `n_added` for each class."""
    strategy = {c: n + n_added for c, n in enumerate(np.bincount(codes))}
    sampler = RemixSampler(sampling_strategy=strategy, random_state=0, **params)
    rows_resampled, codes_resampled = sampler.fit_resample(rows, codes)
    return rows_resampled[len(rows) :], codes_resampled[len(rows) :]


def weights_of(mixtures):
    """Return the weight of each training row in each mixture, by least squares."""
    return np.linalg.lstsq(ROWS.T, mixtures.T)[0].T


def class_shares(mixtures):
    """Return the weight of each class in each mixture."""
    return weights_of(mixtures) @ np.eye(4)[CODES]


@pytest.mark.parametrize("tau", [0.0, 0.5, 0.9, 1.0])
def test_new_rows_lie_between_a_row_of_their_class_and_another(tau):
    mixtures, codes = fill(300, tau=tau)
    weights = weights_of(mixtures)
    assert_allclose(weights @ ROWS, mixtures, atol=1e-9)
    assert_allclose(weights.sum(axis=1), 1)
    assert weights.min() > -1e-9
    used = weights > 1e-9
    assert used.sum(axis=1).max() == 2
    of_own_class = used & (codes[:, None] == CODES)
    assert of_own_class.any(axis=1).all()


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.5])
def test_up_to_one_half_the_own_class_has_the_larger_share(tau):
    mixtures, codes = fill(400, tau=tau)
    own = class_shares(mixtures)[np.arange(len(codes)), codes]
    assert own.min() >= 0.5 - 1e-9
    assert own.min() < 0.52
    # The rule turns no label here, so that kappa does not count.
    assert_array_equal(mixtures, fill(400, tau=tau, kappa=1e6)[0])


def test_a_tie_goes_to_the_class_to_be_filled():
    # So large an alpha draws shares of exactly one half.
    mixtures, codes = fill(100, alpha=1e300)
    own = class_shares(mixtures)[np.arange(len(codes)), codes]
    assert_allclose(own[own < 0.99], 0.5)
    assert (own < 0.99).mean() > 0.5


def test_only_classes_three_times_as_large_exceed_one_half_and_never_reach_tau():
    mixtures, codes = fill(3000, tau=0.9, kappa=3.0)
    shares = class_shares(mixtures)
    for code in range(4):
        largest = shares[codes == code].max(axis=0)
        for other in set(range(4)) - {code}:
            if COUNTS[other] >= 3 * COUNTS[code]:
                assert 0.7 < largest[other] < 0.9
            elif COUNTS[code] >= 3 * COUNTS[other]:
                # The small class would keep the label from a tenth on.
                assert largest[other] <= 0.1 + 1e-9
            else:
                assert 0.3 < largest[other] <= 0.5 + 1e-9
    # Class 0 is exactly four times as large as class 1.
    for kappa, limit in ((4.0, 0.9), (4.001, 0.5)):
        mixtures, codes = fill(400, tau=0.9, kappa=kappa)
        largest = class_shares(mixtures)[codes == 1, 0].max()
        assert limit - 0.1 < largest <= limit + 1e-9


def test_partners_are_drawn_uniformly_from_all_rows():
    mixtures, codes = fill(6000, tau=0.5)
    weights = weights_of(mixtures[codes == 1])
    partners = (weights > 1e-9) & (CODES != 1)
    # Of 35 rows, 6 are of the class itself and always taken, the others half the time.
    frequency = partners.mean(axis=0)[CODES != 1]
    assert_allclose(frequency, 0.5 / (6 + 29 / 2), atol=0.008)
    own = ((weights > 1e-9) & (CODES == 1)).sum(axis=0) / weights.shape[0]
    assert_allclose(own[CODES == 1], own[CODES == 1].mean(), atol=0.03)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_follow_the_beta_distribution(alpha):
    # Two rows of one class, which no rule touches, and one that is always refused.
    rows = np.array([[0.0], [1.0], [np.pi]])
    codes = np.array([0, 0, 1])
    sampler = RemixSampler(
        sampling_strategy={0: 40_002}, alpha=alpha, tau=1.0, kappa=2, random_state=0
    )
    new = sampler.fit_resample(rows, codes)[0][3:]
    shares = new[(new > 0) & (new < 1)]
    assert_allclose(shares.mean(), 0.5, atol=0.02)
    assert_allclose(shares.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.05)


@pytest.mark.parametrize(
    "strategy, expected",
    [
        ("auto", [24, 24, 24, 24]),
        ("minority", [24, 6, 4, 24]),
        ({2: 30, 1: 12}, [24, 12, 30, 1]),
        ({1: 6}, [24, 6, 4, 1]),
        (lambda y: {0: 2 * (y == 0).sum()}, [48, 6, 4, 1]),
    ],
    # Not by `str`: the address of a function differs between workers.
    ids=lambda value: "callable" if callable(value) else str(value),
)
def test_counts_and_real_rows_first(strategy, expected):
    sampler = RemixSampler(sampling_strategy=strategy, random_state=0)
    X, y = sampler.fit_resample(ROWS, CODES)
    assert_array_equal(np.bincount(y), expected)
    assert X[:35].tobytes() == ROWS.tobytes()
    assert_array_equal(y[:35], CODES)
    added = {c: n - COUNTS[c] for c, n in enumerate(expected)}
    assert Counter(added) == Counter(sampler.sampling_strategy_)
    fitted = RemixSampler(sampling_strategy=strategy).fit(ROWS, CODES)
    assert fitted.sampling_strategy_ == sampler.sampling_strategy_


def test_classes_of_one_row_are_filled():
    mixtures, codes = fill(200)
    weights = weights_of(mixtures[codes == 3])
    assert weights[:, 34].min() >= 0.5 - 1e-9
    assert (weights[:, 34] < 1 - 1e-9).mean() > 0.8
    two = RemixSampler(random_state=0, sampling_strategy={0: 3})
    X, _ = two.fit_resample([[0.0], [1.0]], [0, 1])
    assert max(X[2][0], X[3][0]) <= 0.5


def test_units_of_features_do_not_matter():
    scale = np.logspace(-6, 6, 40)
    mixtures, _ = fill(20)
    scaled, _ = fill(20, rows=ROWS * scale)
    assert_allclose(scaled, mixtures * scale, rtol=1e-9)


def test_what_both_rows_agree_in_stays_exact():
    rows = np.column_stack([ROWS, np.full(35, 0.1), np.full(35, 1e9 + 0.1)])
    mixtures, _ = fill(300, rows=rows)
    assert set(mixtures[:, -2]) == {0.1}
    assert set(mixtures[:, -1]) == {1e9 + 0.1}


@pytest.mark.parametrize(
    "names", [["zebra", "ape", "mole", "cow"], [7, 0, 100, -2], ["10", "9", "2", "1"]]
)
def test_labels_of_any_kind_stay_with_their_rows(names):
    labels = np.array(names)[CODES]
    strategy = {names[c]: 200 + COUNTS[c] for c in (2, 0, 3, 1)}
    sampler = RemixSampler(sampling_strategy=strategy, tau=0.0, random_state=0)
    X, y = sampler.fit_resample(ROWS, labels)
    assert y.dtype == labels.dtype
    assert Counter(y[35:].tolist()) == dict.fromkeys(names, 200)
    shares = class_shares(X[35:])
    assert_array_equal(np.array(names)[shares.argmax(axis=1)], y[35:])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_keep_their_type_and_stay_between_their_rows(dtype):
    largest = min(float(np.finfo(dtype).max), 1e30)
    rows = np.array([[-largest], [largest], [largest]], dtype=dtype)
    X, _ = RemixSampler(
        sampling_strategy={0: 200}, tau=1.0, kappa=2, random_state=0
    ).fit_resample(rows, [0, 1, 1])
    assert X.dtype == dtype
    assert np.isfinite(X).all()
    assert len(np.unique(X)) > 100


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, bool])
@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
def test_whole_numbers_are_rounded_without_bias(dtype, container):
    low, high = (0, 1) if dtype is bool else (0, 100)
    rows = np.array([[low], [high], [high]], dtype=dtype)
    sampler = RemixSampler(
        sampling_strategy={0: 1001}, tau=1.0, kappa=2, random_state=0
    )
    X, _ = sampler.fit_resample(container(rows), [0, 1, 1])
    new = np.asarray(X)[3:]
    assert new.dtype == dtype
    exact = sampler.fit_resample(rows.astype(float), [0, 1, 1])[0][3:]
    assert_allclose(new.astype(float), np.rint(exact))
    assert len(np.unique(new)) == (2 if dtype is bool else 101)


def test_frames_keep_columns_and_types():
    frame = pd.DataFrame(
        {
            "float32": ROWS[:, 0].astype(np.float32),
            "int8": np.where(ROWS[:, 1] > 0, 127, 120).astype(np.int8),
            "id": np.int64(2**53) + 1 + 2 * np.arange(35),
            "boolean": pd.array(ROWS[:, 3] > 1, dtype="boolean"),
        },
        index=[f"patient {i}" for i in range(35)],
    )
    labels = pd.Series(CODES, index=frame.index, name="disease").astype("category")
    X, y = RemixSampler(random_state=0).fit_resample(frame, labels)
    pd.testing.assert_series_equal(X.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(X[:35], frame.reset_index(drop=True))
    pd.testing.assert_series_equal(y[:35], labels.reset_index(drop=True))
    assert len(X) == len(y) == 96
    assert X["int8"].between(120, 127).all()


def test_lists_in_lists_out():
    X, y = RemixSampler(random_state=0).fit_resample(ROWS.tolist(), CODES.tolist())
    assert X[:35] == ROWS.tolist()
    assert Counter(y) == dict.fromkeys(range(4), 24)
    assert_array_equal(X, RemixSampler(random_state=0).fit_resample(ROWS, CODES)[0])


def test_one_seed_gives_the_same_bits_and_others_differ():
    sampler = RemixSampler(random_state=0)
    first, _ = sampler.fit_resample(ROWS, CODES)
    for again in (sampler, pickle.loads(pickle.dumps(sampler))):
        assert again.fit_resample(ROWS, CODES)[0].tobytes() == first.tobytes()
    for other in (1, None, np.random.RandomState(3)):
        different, _ = RemixSampler(random_state=other).fit_resample(ROWS, CODES)
        assert not np.array_equal(different, first)


def test_global_random_states_are_left_alone(random_states):
    before = random_states()
    RemixSampler(random_state=0).fit_resample(ROWS, CODES)
    assert random_states() == before


@pytest.mark.parametrize(
    "params",
    [
        {"alpha": 0},
        {"alpha": -1.0},
        {"alpha": np.inf},
        {"alpha": np.nan},
        {"kappa": 1.0},
        {"kappa": np.inf},
        {"tau": -0.1},
        {"tau": 1.1},
        {"tau": None},
        {"random_state": "zero"},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused(params):
    (name,) = params
    for method in ("fit", "fit_resample"):
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            getattr(RemixSampler(**params), method)(ROWS, CODES)


REFUSED = {
    "sparse": (sparse.csr_array(ROWS), CODES, TypeError, "toarray"),
    "NaN": (np.where(ROWS > 2, np.nan, ROWS), CODES, ValueError, "contains NaN"),
    "strings": (ROWS.astype(str), CODES, ValueError, "contains strings"),
    "missing label": (ROWS, [None, *CODES[1:]], ValueError, "missing values"),
    "single class": (ROWS, np.zeros(35, dtype=int), ValueError, "more than 1 class"),
    "category column": (
        pd.DataFrame(ROWS).assign(sex=pd.Categorical(CODES % 2)),
        CODES,
        ValueError,
        r"\['sex'\].*categorical",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_faulty_input_is_refused(case):
    X, y, error, message = REFUSED[case]
    for method in ("fit", "fit_resample"):
        with pytest.raises(error, match=message):
            getattr(RemixSampler(), method)(X, y)


def test_pipeline_in_cross_validation(separated_classes):
    rows, codes = separated_classes
    pipeline = make_pipeline(RemixSampler(random_state=0), GaussianNB())
    scores = cross_val_score(
        pipeline, rows, codes, cv=3, scoring="balanced_accuracy", error_score="raise"
    )
    assert scores.min() > 0.95
