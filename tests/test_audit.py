"""The privacy audit: leaks it must find, answers it must not give."""

import json
import re

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator

from skcvae.generators import ClassGaussian
from skcvae.privacy._audit import privacy_audit
from skcvae.privacy._audit_parts import Parts

N_FEATURES = 6


def records(n=500, n_classes=2, seed=0):
    """Members, non-members and reference, each with labels."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % n_classes
    rows = rng.randn(3, n, N_FEATURES) + y[:, None]
    return [part for X in rows for part in (X, y.copy())]


def near_copies(X, noise=0.02):
    return X + noise * np.random.RandomState(1).randn(*X.shape)


def independent_rows(n=500, seed=9):
    return tuple(records(n, seed=seed)[:2])


class Memoriser(BaseEstimator):
    """Releases its training rows with noise."""

    def __init__(self, noise=0.02, random_state=None):
        self.noise = noise
        self.random_state = random_state

    def fit(self, X, y):
        self.X_, self.y_, self.classes_ = X, y, np.unique(y)
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        rng = np.random.RandomState(random_state)
        rows = np.empty((len(y), self.X_.shape[1]))
        for label in np.unique(y):
            of_class = self.X_[self.y_ == label]
            rows[y == label] = np.resize(of_class, ((y == label).sum(), len(rows[0])))
        return rows + self.noise * rng.randn(*rows.shape), y

    def privacy_statement(self):
        return {"guarantee": "none", "epsilon": np.float32(2.5), "outside": ["all"]}


def by_name(audit):
    return {attack.result.name: attack for attack in audit.attacks}


# What it finds


def test_near_copies_are_found():
    X, y, *others = records()
    audit = privacy_audit((near_copies(X), y), X, y, *others, random_state=0)
    attack = by_name(audit)["nearest_neighbor"]
    assert attack.usable
    assert attack.result.auc.low > 0.95
    assert attack.result.tpr.low > 0.95
    assert attack.isolated.low > 0.9
    assert audit.maximum.low > 0.95
    assert all(row.auc.low > 0.95 for row in audit.classes)
    assert audit.closeness["share"].low > 0.95
    assert audit.closeness["near_members"].low > 0.95
    assert audit.closeness["near_nonmembers"].high < 0.05
    medians = [
        audit.closeness[f"synthetic_to_{who}"] for who in ("member", "nonmember")
    ]
    assert medians[0].high < 0.1 < medians[1].low
    report = str(audit)
    assert re.search(
        r"nearest_neighbor +(1\.000|0\.9[5-9])", report.split("2. Memb")[1]
    )


def test_independent_rows_show_no_leak():
    audit = privacy_audit(independent_rows(), *records(), random_state=0)
    for attack in audit.attacks:
        for estimate in (attack.result.auc, attack.negative):
            assert estimate.low < 0.5 < estimate.high
        if attack.usable:
            assert attack.isolated.low < 0.5 < attack.isolated.high
        assert attack.result.tpr.low < 0.01 < attack.result.tpr.high
    assert not any(figure.beyond_chance for figure in audit.headline)
    assert audit.maximum.low < 0.5 < audit.maximum.high
    assert all(row.auc.low < 0.5 < row.auc.high for row in audit.classes)
    assert audit.closeness["n_copies"] == 0
    assert audit.closeness["share"].low < 0.5 < audit.closeness["share"].high
    assert audit.attribute["difference"].low < 0 < audit.attribute["difference"].high


def test_a_leak_of_one_class_is_on_top():
    X, y, *others = records(n_classes=4)
    rows, labels = records(n_classes=4, seed=9)[:2]
    rows[y == 2] = near_copies(X[y == 2])
    audit = privacy_audit((rows, labels), X, y, *others, random_state=0)
    worst, *rest = audit.classes
    assert (worst.label, worst.n_members, worst.n_nonmembers) == ("2", 125, 125)
    assert worst.auc.low > 0.9
    assert all(row.auc.high < 0.9 for row in rest)


def test_classes_with_too_few_records_are_counted_and_not_told():
    X, y, *others = records()
    y[:19] = 7
    audit = privacy_audit((near_copies(X), y), X, y, *others, random_state=0)
    assert (audit.n_classes_tested, audit.n_classes_small) == (2, 1)
    assert "7" not in {row.label for row in audit.classes}
    assert "1 had too few records" in str(audit)


def test_a_leak_of_isolated_members_is_seen_among_them():
    X, y, *others = records()
    far = np.linalg.norm(X - y[:, None], axis=1)
    isolated = far > np.quantile(far, 0.9)
    rows, _ = independent_rows()
    rows[isolated] = near_copies(X[isolated])
    audit = privacy_audit((rows, y), X, y, *others, random_state=0)
    attack = by_name(audit)["nearest_neighbor"]
    assert attack.isolated.low > 0.7
    assert attack.isolated.low > attack.result.auc.high


def test_rows_that_keep_away_from_members_leak_as_well():
    # As by a filter that drops synthetic rows near to a member.
    X, y, *others = records()
    pool = np.random.RandomState(5).randn(5000, N_FEATURES) + 0.5
    distance = cdist(pool, X).min(axis=1)
    rows = pool[distance > np.quantile(distance, 0.5)]
    labels = np.zeros(len(rows))
    audit = privacy_audit((rows, labels), X, y, *others, random_state=0)
    area = by_name(audit)["nearest_neighbor"].result.auc
    assert area.high < 0.5
    assert audit.maximum.value == 1 - area.value
    assert audit.maximum.low > 0.5


def test_exact_copies_are_counted():
    X, y, *others = records()
    rows, labels = independent_rows()
    rows[:7] = X[10:17]
    audit = privacy_audit((rows, labels), X, y, *others, random_state=0)
    assert audit.closeness["n_copies"] == 7


def test_released_extremes_are_attacked():
    X, y, *others = records()
    extremes = X.min(axis=0), X.max(axis=0)
    audit = privacy_audit(
        independent_rows(), X, y, *others, extremes=extremes, random_state=0
    )
    n_extreme = ((extremes[0] == X) | (extremes[1] == X)).any(axis=1).sum()
    assert audit.extremes["tpr"].value == n_extreme / 500
    assert audit.extremes["fpr"].value == 0
    assert "Released extremes" in str(audit)


def test_an_attack_that_misses_copies_is_flagged_and_left_out_of_the_maximum():
    # In six dimensions, means and covariance of 500 samples hide each of them.
    X, y, *others = records()
    names = ["nearest_neighbor", "likelihood", "class_means"]
    audit = privacy_audit(
        (near_copies(X), y), X, y, *others, random_state=0, attacks=names
    )
    for name in names[1:]:
        attack = by_name(audit)[name]
        assert attack.positive.low < 0.5
        assert not attack.usable
        assert re.search(rf"{name} .* not usable\n", str(audit))
    assert audit.maximum.value == by_name(audit)["nearest_neighbor"].result.auc.value


def test_an_audit_without_a_usable_attack_says_so(monkeypatch):
    def blind(self, name, released):
        return np.random.RandomState(0).randn(2, 500)

    monkeypatch.setattr("skcvae.privacy._sample_attacks.SampleAttacks.score", blind)
    audit = privacy_audit(independent_rows(), *records(), random_state=0)
    assert audit.maximum is None
    assert audit.classes == ()
    assert "No attack was usable" in str(audit)
    assert [figure.attack for figure in audit.headline] == ["", ""]


# Objects


def test_an_object_is_sampled_for_the_labels_of_members():
    X, y, *others = records()
    audit = privacy_audit(Memoriser().fit(X, y), X, y, *others, random_state=0)
    assert audit.n_synthetic == 500
    assert audit.maximum.low > 0.9
    assert audit.formal["epsilon"] == 2.5
    assert "epsilon: 2.5" in str(audit)


def test_classes_that_a_release_left_out_are_not_asked_for():
    X, y, *others = records()
    release = Memoriser().fit(X[y == 0], y[y == 0])
    audit = privacy_audit(release, X, y, *others, random_state=0)
    assert audit.n_synthetic == 250
    release.classes_ = np.array(["other"])
    with pytest.raises(ValueError, match="knows none of the labels"):
        privacy_audit(release, X, y, *others, random_state=0)


def test_formal_part_of_rows_is_what_the_user_states():
    audit = privacy_audit(
        independent_rows(), *records(), statement={"guarantee": "k-Same", "k": 5}
    )
    assert audit.formal == {"guarantee": "k-Same", "k": 5}
    silent = privacy_audit(independent_rows(), *records())
    assert silent.formal == {"guarantee": "no formal guarantee"}
    with pytest.raises(ValueError, match="'guarantee'"):
        privacy_audit(independent_rows(), *records(), statement={"k": 5})


@pytest.fixture(scope="module")
def decoder_audit():
    # Twelve rows a class in 12 features: the covariance is nearly that of the members.
    rng = np.random.RandomState(0)
    parts = [part for X in rng.randn(3, 60, 12) for part in (X, np.arange(60) % 2)]
    release = ClassGaussian(random_state=0).fit(*parts[:2])
    with pytest.warns(UserWarning, match="Few records"):
        return privacy_audit(
            release, *parts, retrain=ClassGaussian(random_state=0), random_state=0
        )


def test_a_decoder_is_searched_by_default(decoder_audit):
    attack = by_name(decoder_audit)["latent_search"]
    assert attack.result.auc.low > 0.5
    assert attack.result.tpr is None
    assert attack.positive is None
    assert attack.usable
    assert "no control" in str(decoder_audit)


def test_a_decoder_is_not_searched_where_not_asked_for(decoder_audit):
    rng = np.random.RandomState(0)
    parts = [part for X in rng.randn(3, 500, 12) for part in (X, np.arange(500) % 2)]
    release = ClassGaussian(random_state=0).fit(*parts[:2])
    audit = privacy_audit(release, *parts, attacks=["nearest_neighbor"])
    assert list(by_name(audit)) == ["nearest_neighbor"]


def test_a_decoder_is_searched_for_the_classes_that_it_has():
    X, y, *others = records(60)
    y[:5] = 8
    release = ClassGaussian(random_state=0).fit(X[5:], y[5:])
    with pytest.warns(UserWarning, match="Few records"):
        audit = privacy_audit(release, X, y, *others, attacks=["latent_search"])
    result = audit.attacks[0].result
    assert (result.n_members, result.n_nonmembers) == (55, 60)
    assert "not calibrated" in str(audit)


# The report


def test_report_is_aggregates_only_and_gives_no_verdict():
    X, y, *others = records()
    audit = privacy_audit((near_copies(X), y), X, y, *others, random_state=0)
    plain = audit.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain

    def longest(value):
        if isinstance(value, dict):
            return max(map(longest, value.values()), default=0)
        if isinstance(value, list):
            return max([len(value), *map(longest, value)])
        return 0

    assert longest(plain) <= 5
    text = str(audit)
    closing = "lower bounds from the listed attacks; stronger attacks may exist."
    assert text.endswith(closing)
    assert plain["closing"].endswith(closing)
    assert "a pass is not evidence of privacy" in text
    assert "no formal guarantee" in text
    assert not re.search(r"\b(safe|passed|failed|anonymous)\b", text, re.IGNORECASE)
    assert max(map(len, text.splitlines())) <= 88


def test_maximum_is_wider_than_the_interval_of_the_attack_picked(decoder_audit):
    usable = [a for a in decoder_audit.attacks if a.usable]
    assert len(usable) > 1
    best = max((attack.result.auc for attack in usable), key=lambda area: area.value)
    assert decoder_audit.maximum.value == best.value
    assert decoder_audit.maximum.low < best.low
    assert decoder_audit.maximum.high > best.high


def test_same_seed_same_report_and_global_states_are_left_alone(random_states):
    X, y, *others = records()
    release = ClassGaussian(random_state=None).fit(X, y)
    before = random_states()
    first, second = (
        privacy_audit(release, X, y, *others, attacks=["likelihood"], random_state=3)
        for _ in range(2)
    )
    assert first == second
    assert random_states() == before


# What it refuses


@pytest.mark.parametrize("empty", [None, np.empty((0, N_FEATURES)), np.ones((19, 6))])
@pytest.mark.parametrize(("position", "name"), [(2, "nonmembers"), (4, "reference")])
def test_without_hold_out_or_reference_there_is_no_report(empty, position, name):
    parts = records()
    parts[position] = empty
    with pytest.raises(ValueError, match=f"at least 20 samples in X_{name}"):
        privacy_audit(independent_rows(), *parts)


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [(0, 2, "X_members are also in X_nonmembers"), (0, 4, "X_members .* X_reference")],
)
def test_records_in_two_sets_are_refused(first, second, names):
    parts = records()
    parts[second][:3] = parts[first][5:8]
    with pytest.raises(ValueError, match=f"3 samples of {names}"):
        privacy_audit(independent_rows(), *parts)


def test_an_audit_of_one_record_given_often_is_refused():
    sets = records(n=40)
    sets[0] = np.repeat(sets[0][:2], 20, axis=0)
    with pytest.raises(ValueError, match="20 distinct samples in X_members, got 2"):
        privacy_audit(independent_rows(40), *sets)


def test_shared_groups_are_refused():
    groups = np.arange(500)
    with pytest.raises(ValueError, match="2 groups have samples in X_members and in"):
        privacy_audit(
            independent_rows(),
            *records(),
            groups_members=groups,
            groups_nonmembers=groups + 498,
        )
    with pytest.raises(ValueError, match="groups_reference must have one value"):
        privacy_audit(independent_rows(), *records(), groups_reference=groups[:9])


def test_few_records_are_warned_about_and_noted():
    with pytest.warns(UserWarning, match="Few records: with 60"):
        audit = privacy_audit(independent_rows(60), *records(60), random_state=0)
    assert "Few records" in str(audit)
    assert by_name(audit)["nearest_neighbor"].result.tpr is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_repeats": 3, "retrain": ClassGaussian()}, "too few for an interval"),
        ({"n_repeats": 5}, "needs retrain"),
        ({"retrain": BaseEstimator()}, "retrain"),
        ({"attacks": ["latent_search"]}, "make_decoder"),
        ({"attacks": ["guess"]}, "guess"),
        ({"attacks": []}, "at least one"),
        ({"synthetic": (np.ones((5, N_FEATURES)),)}, "1 entries"),
        ({"synthetic": (np.ones((5, 2)), np.ones(5))}, "2 features, real ones 6"),
        ({"synthetic": (np.ones((5, N_FEATURES)), np.ones(4))}, "inconsistent"),
        ({"synthetic": (np.full((5, N_FEATURES), np.nan), np.ones(5))}, "NaN"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        privacy_audit(
            **{"synthetic": independent_rows(), **arguments},
            **dict(
                zip(
                    [f"{k}_{p}" for p in Parts._fields for k in "Xy"],
                    records(),
                    strict=True,
                )
            ),
        )
