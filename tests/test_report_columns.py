"""The section of a report on the columns of tables."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.utils import Bunch
from test_report import parse, table, text_of

from skcvae.anonymization import GenerativeAnonymizer
from skcvae.generators import ClassGaussian, TableGenerator
from skcvae.metrics import table_quality
from skcvae.over_sampling import GenerativeOverSampler
from skcvae.report import _columns, _report, _samples, _sections
from skcvae.report._report import report
from skcvae.report._summary import Measured, summarise

RULE = "loan <= income / 2"


def make_table(n, seed):
    """Return a table with strings, missing values, booleans and a rule, and labels."""
    rng = np.random.RandomState(seed)
    income = np.exp(rng.normal(3.4, 0.5, n)).round(2)
    X = pd.DataFrame(
        {
            "income": income,
            "loan": np.floor(50 * income * rng.uniform(0, 1, n)) / 100,
            "age": np.where(rng.uniform(size=n) < 0.1, np.nan, rng.randint(18, 90, n)),
            "job": rng.choice(["office", "shop", None], n),
            "owner": rng.uniform(size=n) < 0.4,
        }
    )
    return X, np.where(rng.uniform(size=n) < 0.3, "late", "paid")


TRAIN, TEST, REFERENCE = make_table(150, 0), make_table(120, 1), make_table(100, 2)


@pytest.fixture(scope="module", autouse=True)
def short_page():
    """Train linear heads for three epochs, and leave out figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_sections._PROBE, "max_epochs", 3)
        patch.setattr(_report, "draw_figures", lambda run, audit: [])
        patch.setattr(_report, "draw_classes", lambda run: {})
        yield


@pytest.fixture(scope="module")
def sampler():
    sampler = GenerativeOverSampler(constraints=[RULE], random_state=0)
    sampler.fit_resample(*TRAIN)
    return sampler


def write(folder, model, train=TRAIN, test=TEST, **settings):
    """Return the tree of the page of a report; any error of its markup fails."""
    path = folder / "a.html"
    report(path, model, *train, X_test=test[0], y_test=test[1], **settings)
    return parse(path)


def sections(tree):
    return {e.get("id"): text_of(e) for e in tree.iter("section")}


def shown(value):
    return "\u2013" if np.isnan(value) else f"{value:.4g}"


def compare(model, constraints, train=TRAIN, test=TEST):
    """Return the quality of the compared generated and training samples."""
    run = _samples.prepare_run(model, *train, *test, None, None, 0, is_table=True)
    return [
        table_quality(
            run.compared["test"].X,
            run.compared[name].X,
            constraints=constraints,
            random_state=run.seeds[2],
        )
        for name in ("synthetic", "train")
    ]


def test_section_has_the_numbers_of_table_quality(sampler, tmp_path):
    rules = [RULE, "income > 20"]
    tree = write(tmp_path, sampler, constraints=rules)
    generated, training = compare(sampler, rules)
    found = table(tree, "Columns, against test samples")
    assert list(found) == list(TRAIN[0].columns)
    for name, cells in found.items():
        line, other = generated.columns.loc[name], training.columns.loc[name]
        assert cells["kind"] == line["kind"]
        assert cells["missing, test"] == shown(line["missing_real"])
        assert cells["missing, generated"] == shown(line["missing_synthetic"])
        for measure in ("distance", "coverage", "unseen"):
            assert cells[f"{measure}, generated"] == shown(line[measure])
            assert cells[f"{measure}, training"] == shown(other[measure])
    assert generated.columns.loc["job", "missing_real"] > 0.2

    pairs = generated.pairs
    z = (pairs["difference"] / pairs["standard_error"]).to_numpy()
    worst = pairs.iloc[np.argmax(np.abs(z))]
    found = table(tree, "Associations that differ most, 10 of 10 pairs")
    first = next(iter(found))
    assert first == f"{worst['first']}, {worst['second']}"
    assert found[first]["generated"] == shown(worst["synthetic"])
    assert found[first]["difference in standard errors"] == shown(
        z[np.argmax(np.abs(z))]
    )

    broken = table(tree, "Shares of samples that break a rule")
    assert broken[RULE] == {"generated": "0", "training": "0"}
    assert broken["income > 20"] == {
        "generated": shown(generated.violations["income > 20"]),
        "training": shown(training.violations["income > 20"]),
    }
    for quality in (generated, training):
        assert shown(quality.detection_auc) in sections(tree)["columns"]
    assert "No generated sample breaks the rule loan" in sections(tree)["summary"]
    # Numbers of sections go on after the new one.
    titles = [text_of(e).partition(". ") for e in tree.iter("h2")]
    assert [int(number) for number, _, _ in titles] == list(range(1, 11))
    assert "columns5" in sections(tree)["data"]


def test_rules_are_those_of_the_generator_unless_others_are_given(sampler, tmp_path):
    broken = "Shares of samples that break a rule"
    assert list(table(write(tmp_path, sampler), broken)) == [RULE]
    assert not any(
        broken in (e.get("aria-label") or "")
        for e in write(tmp_path, sampler, constraints=[]).iter("div")
    )


def test_polars_gives_the_page_of_pandas(tmp_path, sampler):
    train, test = ((pl.from_pandas(X), y) for X, y in (TRAIN, TEST))
    of_polars = GenerativeOverSampler(constraints=[RULE], random_state=0)
    of_polars.fit_resample(*train)
    expected, found = (
        sections(tree)
        for tree in (
            write(tmp_path, sampler),
            write(tmp_path, of_polars, train, test),
        )
    )
    for name in ("summary", "data", "quality", "columns", "utility"):
        assert found[name] == expected[name]


def test_array_of_objects_and_codes_of_categories_are_tables(tmp_path):
    train, test = ((X[["income", "job"]].to_numpy(), y) for X, y in (TRAIN, TEST))
    model = TableGenerator(random_state=0).fit(*train)
    found = table(write(tmp_path, model, train, test), "Columns, against")
    assert [cells["kind"] for cells in found.values()] == ["number", "category"]
    train, test = (
        (X[["income", "age"]].fillna(0).to_numpy() // 10, y) for X, y in (TRAIN, TEST)
    )
    model = TableGenerator(categorical_features=[1], random_state=0).fit(*train)
    found = table(write(tmp_path, model, train, test), "Columns, against")
    assert [cells["kind"] for cells in found.values()] == ["number", "category"]


def test_audit_attacks_an_encoded_table(tmp_path):
    generator = TableGenerator(
        encoding="given",
        combinations="any",
        bounds={"income": (0, 500), "loan": (0, 250), "age": (0, 100)},
        categories={"job": ["office", "shop", None], "owner": [False, True]},
    )
    train, test, reference = (
        (X.fillna({"age": 40}), y) for X, y in (TRAIN, TEST, REFERENCE)
    )
    model = GenerativeAnonymizer(generator, random_state=0).fit(*train)
    tree = write(
        tmp_path,
        model,
        train,
        test,
        X_reference=reference[0],
        y_reference=reference[1],
    )
    privacy = sections(tree)["privacy"]
    assert "members, the training samples150" in privacy
    # The decoder makes other features than those that the attacks see.
    assert "decoder: latent_search was left out" in privacy


def test_sets_without_common_classes_are_not_compared(tmp_path, sampler):
    test = TEST[0], np.repeat(["other", "strange"], 60)
    found = sections(write(tmp_path, sampler, test=test))
    assert "too few samples in common" in found["columns"]


def test_encoding_learns_from_training_samples():
    train = pd.DataFrame({"job": ["a", "b", None, "a"], "age": [1.0, 3.0, np.nan, 5.0]})
    other = pd.DataFrame({"job": ["b", "z"], "age": [np.nan, 7.0]})
    encoded = _columns._encode([train, other, train[:0]], np.array([True, False]))
    # Missing, a and b; then ages of mean 3 and variance 2, as the median is 3.
    ages = np.array([-2, 0, 0, 2]) / np.sqrt(2)
    np.testing.assert_allclose(
        encoded[0], np.column_stack([[0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0], ages])
    )
    # A category that no training sample has is none of them.
    np.testing.assert_allclose(encoded[1], [[0, 0, 1, 0], [0, 0, 0, 4 / np.sqrt(2)]])
    assert encoded[2].shape == (0, 4)


def test_rare_categories_share_a_feature():
    train = pd.DataFrame({"town": [str(i) for i in range(200)]})
    (encoded,) = _columns._encode([train], np.array([True]))
    assert encoded.shape == (200, _columns.MAX_CATEGORIES)
    assert encoded.sum(axis=0).max() == 200 - _columns.MAX_CATEGORIES + 1


def test_faulty_tables_and_rules_are_refused(tmp_path, sampler):
    with pytest.raises(ValueError, match="same columns"):
        write(tmp_path, sampler, test=(TEST[0].rename(columns={"job": "x"}), TEST[1]))
    with pytest.raises(ValueError, match="cannot evaluate the constraint 'lone > 3'"):
        write(tmp_path, sampler, constraints=["lone > 3"])
    arrays = TRAIN[0][["income", "loan"]].to_numpy(), TRAIN[1]
    gaussian = ClassGaussian(random_state=0).fit(*arrays)
    with pytest.raises(ValueError, match="ClassGaussian draws arrays"):
        write(tmp_path, gaussian, arrays, arrays, constraints=["0 < 1"])
    assert not list(tmp_path.iterdir())


class OtherColumns(TableGenerator):
    """Draws the columns in another order."""

    def sample(self, n_samples=None, *, y=None, random_state=None):
        X, labels = super().sample(n_samples, y=y, random_state=random_state)
        return X[X.columns[::-1]], labels


def test_generator_of_other_columns_is_refused(tmp_path):
    model = OtherColumns(random_state=0).fit(*TRAIN)
    with pytest.raises(ValueError, match="OtherColumns does not draw"):
        write(tmp_path, model)


# The rules of the summary


def measured(distance=0.1, missing=0.0, within=1.0, broken=0.0, auc=0.5):
    """Return numbers of generated samples, and those of sound training samples."""
    generated, training = (
        Bunch(
            columns=pd.DataFrame(
                {
                    "distance": [0.1, far],
                    "missing_real": [0.2, 0.2],
                    "missing_synthetic": [0.2, 0.2 + lost],
                },
                index=["age", "job"],
            ),
            violations={RULE: share},
            detection_auc=area,
        )
        for far, lost, share, area in (
            (distance, missing, broken, auc),
            (0.1, 0.0, 0.0, 0.5),
        )
    )
    return Bunch(
        n_samples=300, generated=generated, training=training, within=(within, 1.0)
    )


@pytest.mark.parametrize(
    ("changed", "doubtful"),
    [
        ({}, None),
        # The margin is 1.95 times the root of 2 / 300, or 0.159.
        ({"distance": 0.255}, None),
        ({"distance": 0.265}, "1 of 2 columns are farther .*: job"),
        ({"missing": -0.155}, None),
        ({"missing": -0.165}, "1 of 2 columns are farther .*: job"),
        ({"within": 0.9}, None),
        ({"within": 0.89}, "89 % of the pairs .* associations are lost"),
        ({"broken": 0.004}, "0.4 % of the generated samples break the rule loan"),
        # The margin is the root of 3 / 300.
        ({"auc": 0.59}, None),
        ({"auc": 0.61}, "AUC of 0.61, and training from test samples with 0.50"),
    ],
)
def test_columns_are_judged_by_training_samples(changed, doubtful):
    findings = summarise(Measured(is_release=False, columns=measured(**changed)))
    assert len(findings) == 4
    bad = [f for f in findings if not f.is_good]
    if doubtful is None:
        assert not bad
    else:
        (finding,) = bad
        assert finding.remedy
        assert re.search(doubtful, finding.sentence)


def test_rule_that_training_samples_break_is_no_constraint():
    columns = measured(broken=0.3)
    columns.training.violations[RULE] = 0.2
    (finding,) = [
        f
        for f in summarise(Measured(is_release=False, columns=columns))
        if not f.is_good
    ]
    assert "30 % of the generated samples" in finding.sentence
    assert "20 % of the training samples" in finding.sentence
    assert not finding.remedy
