"""The HTML report: its contents, valid markup, and how browsers show it."""

import base64
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager

import html5lib
import matplotlib
import numpy as np
import pytest
from typer.testing import CliRunner

from skcvae.anonymization import GenerativeAnonymizer, KSameAnonymizer, load
from skcvae.cli import app
from skcvae.cli import report as report_command
from skcvae.generators import CVAE, ClassGaussian
from skcvae.metrics import linear_probe
from skcvae.metrics._frechet import class_frechet_distance, frechet_distance
from skcvae.metrics._manifold import precision_recall_density_coverage
from skcvae.over_sampling import CVAEOverSampler, GenerativeOverSampler, RemixSampler
from skcvae.privacy import privacy_audit
from skcvae.report import _report, _samples, _sections
from skcvae.report._report import report

SECTIONS = [
    "summary",
    "data",
    "training",
    "quality",
    "utility",
    "privacy",
    "figures",
    "classes",
    "reproduce",
]
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><b>$x_{$ & ' \x00\x1b\ud800",
]


def draw(counts, seed, names=None, n_features=5):
    """Return samples of Gaussian classes of the given sizes."""
    rng = np.random.RandomState(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.RandomState(0).normal(size=(len(counts), n_features))
    X = 2 * centres[codes] + rng.normal(size=(len(codes), n_features))
    return X, codes if names is None else np.array(names)[codes]


def parse(path):
    """Return the tree of a page; any error of its markup fails."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(path.read_text(encoding="utf-8"))


def text_of(element):
    return " ".join("".join(element.itertext()).split())


def section(tree, name):
    (found,) = [e for e in tree.iter("section") if e.get("id") == name]
    return found


def table(tree, caption):
    """Return the cells of a table by the first of its row, and its head."""
    (box,) = [e for e in tree.iter("div") if caption in (e.get("aria-label") or "")]
    head, *rows = [[text_of(c) for c in row] for row in box.iter("tr")]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def shown(value):
    return f"{value:.4g}"


def images(tree):
    """Return the texts of the images of a page."""
    prefix = "data:image/svg+xml;base64,"
    return [
        base64.b64decode(e.get("src").removeprefix(prefix)).decode()
        for e in tree.iter("img")
    ]


# Equal numbers of samples of each class in each set, so all are compared.
COUNTS = [40, 30]
TRAIN, TEST, REFERENCE = (draw(COUNTS, seed) for seed in (1, 2, 3))
REAL = {
    "X_test": TEST[0],
    "y_test": TEST[1],
    "X_reference": REFERENCE[0],
    "y_reference": REFERENCE[1],
}


@pytest.fixture(scope="module", autouse=True)
def short_probe():
    """Train linear heads for three epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_sections._PROBE, "max_epochs", 3)
        yield


@pytest.fixture
def without_figures(monkeypatch):
    """Leave out figures, which take most of the time."""
    monkeypatch.setattr(_report, "draw_figures", lambda run, audit: [])
    monkeypatch.setattr(_report, "draw_classes", lambda run: {})


@pytest.fixture(scope="module")
def anonymizer():
    return GenerativeAnonymizer(ClassGaussian(variance=0.5), random_state=3).fit(*TRAIN)


@pytest.fixture(scope="module")
def page(anonymizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "release.html"
    assert report(path, anonymizer, *TRAIN, **REAL, command="skcvae report a") == path
    return path


@pytest.fixture(scope="module")
def tree(page):
    return parse(page)


@pytest.fixture(scope="module")
def run(anonymizer):
    """Return what the report of the anonymizer compares."""
    return _samples.prepare_run(anonymizer, *TRAIN, *TEST, *REFERENCE, 0)


@pytest.fixture(scope="module")
def long_tailed(tmp_path_factory):
    """Return the page of over-sampling classes with names that are markup."""
    path = tmp_path_factory.mktemp("report") / "over.html"
    X, y = draw([120, 30, 6], 1, EVIL)
    model = CVAEOverSampler(latent_dim=2, max_epochs=3, device="cpu", random_state=0)
    X_test, y_test = draw([20, 20, 20], 2, EVIL)
    title = EVIL[0] + EVIL[1]
    model.fit(X, y)
    report(
        path, model, X, y, X_test=X_test, y_test=y_test, title=title, command=EVIL[1]
    )
    return path


@pytest.fixture(scope="module")
def many_classes(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "many.html"
    counts = np.linspace(12, 3, 300).astype(int)
    X, y = draw(counts, 1)
    X_test, y_test = draw(np.full(300, 3), 2)
    generator = ClassGaussian(random_state=0).fit(X, y)
    report(path, generator, X, y, X_test=X_test, y_test=y_test)
    return path


# What it says


def test_page_of_a_release_has_all_sections_with_how_to_read_them(tree):
    ids = [e.get("id") for e in tree.iter("section")]
    assert ids == SECTIONS
    for name in SECTIONS:
        assert "How to read" in text_of(section(tree, name))
    (title,) = tree.iter("title")
    assert text_of(title) == "Report on a GenerativeAnonymizer"


def test_class_counts_are_those_of_the_labels(tree):
    assert table(tree, "Samples of each class") == {
        "0": {"training": "40", "test": "40", "generated": "40"},
        "1": {"training": "30", "test": "30", "generated": "30"},
    }
    assert "1.333" in text_of(section(tree, "data"))


def test_quality_is_what_the_metrics_say(tree, run, anonymizer):
    found = table(tree, "Nearness")
    # Samples were drawn for the labels of the training samples, from one seed.
    assert np.array_equal(run.synthetic.y, TRAIN[1])
    for label, (X, y) in {
        "generated samples": run.synthetic,
        "training samples": TRAIN,
    }.items():
        by_class = class_frechet_distance(TEST[0], X, y_real=TEST[1], y_synthetic=y)
        expected = {
            "Fréchet distance": frechet_distance(TEST[0], X),
            "mean over classes": by_class.mean,
            **precision_recall_density_coverage(TEST[0], X),
        }
        for name, value in expected.items():
            assert found[label][name] == shown(value)
    within = [
        sum(
            X[y == c].var(axis=0, ddof=1).mean() * (n - 1) for c, n in enumerate(COUNTS)
        )
        for X, y in (run.synthetic, TEST)
    ]
    ratio = found["generated samples"]["variance within classes"]
    assert ratio == shown(within[0] / within[1])
    # The draws have half of the variance: this is worth a warning.
    assert float(ratio) < 0.667
    assert "too alike" in text_of(section(tree, "summary"))


def test_utility_is_that_of_the_linear_probe(tree, run):
    found = table(tree, "Scores on the test samples")
    sources = {"real samples": TRAIN, "synthetic samples": tuple(run.synthetic)}
    for label, source in sources.items():
        probe = linear_probe(
            source, *REFERENCE, *TEST, random_state=run.seeds[0], max_epochs=3
        )
        assert found[label] == {
            "samples": "70",
            "accuracy": shown(probe.accuracy),
            "balanced accuracy": shown(probe.balanced_accuracy),
            "AUROC": shown(probe.auroc),
            "F1": shown(probe.f1),
            "Cohen's kappa": shown(probe.kappa),
        }


@pytest.mark.filterwarnings("ignore:Few records")
def test_privacy_is_that_of_the_audit_of_the_same_samples(tree, run):
    audit = privacy_audit(
        tuple(run.synthetic), *TRAIN, *TEST, *REFERENCE, random_state=run.seeds[1]
    )
    found = table(tree, "Who was in the training samples?")
    controls = table(tree, "Do the attacks work?")
    names = [a.result.name for a in audit.attacks]
    assert list(found) == [*names, "latent_search", "subspace"]
    for attack in audit.attacks:
        value, low, high = attack.result.auc
        name = attack.result.name
        assert found[name]["AUC"] == f"{value:.3g} [{low:.3g}, {high:.3g}]"
        value, low, high = attack.positive
        positive = controls[name]["members released"]
        assert positive == f"{value:.3g} [{low:.3g}, {high:.3g}]"
        # The figure has the same attacks on the same samples.
        alt = [e.get("alt") for e in tree.iter("img")]
        assert any(f"{name} {attack.result.auc.value:.3f}" in a for a in alt)
    privacy = text_of(section(tree, "privacy"))
    assert "no formal guarantee" in privacy
    assert "lower bounds from the listed attacks" in privacy
    assert "Few records" in privacy
    assert controls["latent_search"]["usable"] == "no control"


def test_over_sampling_is_not_audited_and_says_why(long_tailed):
    tree = parse(long_tailed)
    privacy = text_of(section(tree, "privacy"))
    assert (
        "generated samples of over-sampling are for training, not for publication"
        in (privacy)
    )
    found = table(tree, "Samples of each class")
    # Sorted by name, not by size.
    assert [row["training"] for row in found.values()] == ["30", "6", "120"]
    assert [row["added"] for row in found.values()] == ["90", "114", "0"]
    scores = table(tree, "Scores on the test samples")
    # A fifth of each class stops the training: 24, 6 and 1 samples.
    assert scores["real samples"]["samples"] == "125"
    assert scores["real and added samples"]["samples"] == "329"
    for row in scores.values():
        shots = [float(row[f"accuracy, {name}"]) for name in ("many", "medium", "few")]
        assert np.mean(shots) == pytest.approx(
            float(row["balanced accuracy"]), abs=1e-3
        )
    training = text_of(section(tree, "training"))
    assert "epochs3" in training.replace(" ", "")
    parameters = table(tree, "Parameters that are not the defaults")
    assert parameters["latent_dim"] == {"value": "2", "default": "32"}
    assert "beta" not in parameters


@pytest.mark.usefixtures("without_figures")
def test_release_without_a_reference_is_not_audited_and_says_why(tmp_path, anonymizer):
    path = anonymizer.release(tmp_path / "a.safetensors")
    page = tmp_path / "a.html"
    report(page, load(path, device="cpu"), *TRAIN, X_test=TEST[0], y_test=TEST[1])
    tree = parse(page)
    assert "not audited: there are no reference samples" in text_of(
        section(tree, "privacy")
    )
    assert table(tree, "The released file")["kind"] == {"value": "gaussian"}
    assert "fifth of each class" in text_of(section(tree, "utility"))


@pytest.mark.usefixtures("without_figures")
def test_audit_that_is_impossible_says_why(tmp_path, anonymizer):
    page = tmp_path / "a.html"
    mixed = np.concatenate([REFERENCE[0], TRAIN[0][:2]])
    real = {**REAL, "X_reference": mixed, "y_reference": [*REFERENCE[1], 0, 0]}
    report(page, anonymizer, *TRAIN, **real)
    found = text_of(section(parse(page), "privacy"))
    assert "not audited: 2 samples of X_members are also in X_reference" in found


@pytest.mark.usefixtures("without_figures")
def test_samples_of_k_same_are_the_published_ones(tmp_path):
    X, y = draw([40, 30, 3], 1)
    model = KSameAnonymizer(k=4, small_classes="suppress").fit(X, y)
    run = _samples.prepare_run(model, X, y, *TEST, *REFERENCE, 0)
    with pytest.warns(UserWarning, match="suppressed"):
        published = KSameAnonymizer(k=4, small_classes="suppress").fit_transform(X, y)
    np.testing.assert_array_equal(run.synthetic.X, published[:70])
    np.testing.assert_array_equal(run.synthetic.y, y[:70])
    report(tmp_path / "a.html", model, X, y, **REAL)
    tree = parse(tmp_path / "a.html")
    assert table(tree, "Samples of each class")["2"]["generated"] == "0"
    assert "k-anonymity (k-Same)" in text_of(section(tree, "privacy"))
    assert "Background knowledge" in text_of(section(tree, "privacy"))


@pytest.mark.parametrize(
    ("small_classes", "n_drawn"), [("merge", "3"), ("suppress", "0")]
)
@pytest.mark.usefixtures("without_figures")
def test_small_classes_that_are_merged_or_suppressed(tmp_path, small_classes, n_drawn):
    X, y = draw([40, 30, 3], 1)
    model = GenerativeAnonymizer(random_state=0, small_classes=small_classes).fit(X, y)
    report(tmp_path / "a.html", model, X, y, **REAL)
    tree = parse(tmp_path / "a.html")
    assert table(tree, "Samples of each class")["2"]["generated"] == n_drawn
    assert "not audited" not in text_of(section(tree, "privacy"))


@pytest.mark.filterwarnings("ignore:The CVAE uses none")
@pytest.mark.usefixtures("without_figures")
def test_posterior_collapse_is_a_warning(tmp_path):
    cvae = CVAE(latent_dim=2, max_epochs=2, beta=1000, device="cpu", random_state=0)
    cvae.fit(*TRAIN)
    assert cvae.n_active_dims_ == 0
    report(tmp_path / "a.html", cvae, *TRAIN, X_test=TEST[0], y_test=TEST[1])
    tree = parse(tmp_path / "a.html")
    assert "Posterior collapse" in text_of(section(tree, "summary"))
    training = text_of(section(tree, "training"))
    assert shown(cvae.history_[-1]["train_loss"]) in training


class Copies(ClassGaussian):
    """Returns the first training row of each class."""

    def sample(self, n_samples=None, *, y=None, variance=None, random_state=None):
        X, labels = TRAIN
        return np.array([X[np.argmax(labels == c)] for c in y]), np.asarray(y)


@pytest.mark.usefixtures("without_figures")
def test_copies_are_a_warning(tmp_path):
    model = Copies().fit(*TRAIN)
    report(tmp_path / "a.html", model, *TRAIN, X_test=TEST[0], y_test=TEST[1])
    summary = text_of(section(parse(tmp_path / "a.html"), "summary"))
    assert "nearer to training samples than test samples are" in summary
    assert "the median distance is 0 against" in summary


class WarningCopies(Copies):
    """Warns when it draws."""

    def sample(self, n_samples=None, *, y=None, variance=None, random_state=None):
        warnings.warn("The <b>draws</b> are copies.", UserWarning, stacklevel=2)
        return super().sample(y=y)


@pytest.mark.filterwarnings("error")
def test_warnings_are_sentences_of_the_page(tmp_path, without_figures):
    model = WarningCopies().fit(*TRAIN)
    report(tmp_path / "a.html", model, *TRAIN, X_test=TEST[0], y_test=TEST[1])
    summary = text_of(section(parse(tmp_path / "a.html"), "summary"))
    assert summary.count("The <b>draws</b> are copies.") == 1
    assert "UserWarning" not in summary
    assert ".py" not in summary


def test_progress_names_the_sections(tmp_path, without_figures, capsys):
    model = Copies().fit(*TRAIN)
    real = {"X_test": TEST[0], "y_test": TEST[1]}
    report(tmp_path / "a.html", model, *TRAIN, **real)
    assert capsys.readouterr() == ("", "")
    report(tmp_path / "a.html", model, *TRAIN, **real, verbose=1)
    shown = capsys.readouterr().err
    for name in ("quality", "utility", "privacy", "figures", "classes"):
        assert name in shown


def test_shifted_test_samples_are_named_as_the_cause(
    tmp_path, anonymizer, without_figures
):
    shifted = {**REAL, "X_test": TEST[0] + 20}
    report(tmp_path / "a.html", anonymizer, *TRAIN, **shifted)
    tree = parse(tmp_path / "a.html")
    for name in ("summary", "privacy"):
        found = text_of(section(tree, name))
        assert "the two sets differ in distribution" in found
        assert "Split one set at random into members" in found
    assert "Training samples cover 0 % of the test samples" in text_of(
        section(tree, "summary")
    )


def test_same_seed_gives_the_same_numbers_and_figures(
    tmp_path, page, anonymizer, random_states
):
    before = random_states()
    settings = dict(matplotlib.rcParams)
    again = tmp_path / "again.html"
    report(again, anonymizer, *TRAIN, **REAL, command="skcvae report a")
    dates = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d[+-]\d\d:\d\d")
    assert dates.sub("", again.read_text("utf-8")) == dates.sub(
        "", page.read_text("utf-8")
    )
    assert random_states() == before
    assert settings == dict(matplotlib.rcParams)


def test_many_classes_have_a_summary_a_full_table_and_30_images(many_classes):
    tree = parse(many_classes)
    summary = table(tree, "from the smallest to the largest")
    assert summary["smallest"]["training"] == "3"
    assert summary["largest"]["training"] == "12"
    classes = table(tree, "All classes")
    assert len(classes) == 300
    assert classes["0"]["training"] == "12"
    cards = [e for e in tree.iter("figure") if e.get("class") == "card"]
    assert len(cards) == 30
    assert many_classes.stat().st_size < 3e6


def test_compared_sets_have_the_same_numbers_of_samples_of_each_class(monkeypatch):
    X, y = draw([90, 20, 5], 1)
    model = GenerativeOverSampler(random_state=0).fit(X, y)
    X_test, y_test = draw([30, 30, 30], 2)
    arguments = (model, X, y, X_test, y_test, None, None, 0)
    run = _samples.prepare_run(*arguments)
    for part in run.compared.values():
        assert np.bincount(part.y).tolist() == [30, 20, 5]
    monkeypatch.setattr(_samples, "_MAX_COMPARED", 11)
    for part in _samples.prepare_run(*arguments).compared.values():
        assert np.bincount(part.y).tolist() == [6, 4, 1]


# One sound page


@pytest.mark.parametrize("name", ["page", "long_tailed", "many_classes"])
def test_page_is_valid_and_loads_nothing(name, request):
    tree = parse(request.getfixturevalue(name))
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for element in tree.iter():
        assert not [a for a in element.attrib if a.startswith("on")]
        for attribute in ("src", "href", "srcset", "action", "data", "poster"):
            value = element.get(attribute, "")
            assert not value or value.startswith(("data:", "#"))
    (style,) = tree.iter("style")
    assert "url(" not in style.text and "@import" not in style.text
    for element in tree.iter("img"):
        assert int(element.get("width")) > 0 and int(element.get("height")) > 0
        assert element.get("alt")
    for svg in images(tree):
        assert "<script" not in svg
        assert not re.search(r'(href|src)="(?!#)', svg)


def test_names_that_are_markup_stay_text(long_tailed):
    tree = parse(long_tailed)
    found = table(tree, "Samples of each class")
    assert set(found) == {*EVIL[:2], "</script><b>$x_{$ & ' \ufffd\ufffd\ufffd"}
    scripts = list(tree.iter("script"))
    assert [e.get("type") for e in scripts] == ["application/json", None]
    assert scripts[1].text.startswith('"use strict"')
    assert not [e for e in tree.iter("img") if e.get("src") == "x"]
    assert "<" not in scripts[0].text
    assert {row["name"] for row in json.loads(scripts[0].text)} == set(found)
    assert text_of(next(tree.iter("h1"))) == EVIL[0] + EVIL[1]
    assert text_of(next(tree.iter("pre"))) == EVIL[1]
    # In the figures, too.
    assert any("&lt;script&gt;aler" in svg for svg in images(tree))


def test_content_is_there_without_javascript(tree, run):
    assert not list(tree.iter("noscript"))
    by_class = class_frechet_distance(
        TEST[0], run.synthetic.X, y_real=TEST[1], y_synthetic=run.synthetic.y
    )
    found = table(tree, "All classes")
    distances = [row["distance, generated"] for row in found.values()]
    assert distances == [shown(d) for d in by_class.distances]
    cards = [e for e in tree.iter("figure") if e.get("class") == "card"]
    assert [len(list(card.iter("img"))) for card in cards] == [1, 1]
    data = json.loads(next(tree.iter("script")).text)
    assert [row["frechet"] for row in data] == by_class.distances.tolist()


@pytest.mark.usefixtures("without_figures")
def test_broken_write_leaves_the_old_file(tmp_path, anonymizer, monkeypatch):
    path = tmp_path / "a.html"
    path.write_text("old")

    def fail(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        report(path, anonymizer, *TRAIN, X_test=TEST[0], y_test=TEST[1])
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_missing_package_names_the_extra(module, tmp_path, anonymizer, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{module}: pip install "skcvae\[plot\]"'):
        report(tmp_path / "a.html", anonymizer, *TRAIN, **REAL)
    assert not list(tmp_path.iterdir())


def refuse(tmp_path, match, model=None, error=ValueError, name="a.html", **changes):
    arguments = {"X": TRAIN[0], "y": TRAIN[1], **REAL, **changes}
    with pytest.raises(error, match=match):
        report(tmp_path / name, model or Copies().fit(*TRAIN), **arguments)
    assert not list(tmp_path.iterdir())


def test_faulty_input_is_refused_before_any_work(tmp_path, anonymizer):
    refuse(tmp_path, "must be a .html file", name="a.pdf")
    refuse(tmp_path, "no folder", name="b/a.html")
    refuse(tmp_path, "both of X_reference", y_reference=None)
    refuse(tmp_path, "fitted on 5", X=TRAIN[0][:, :4], **narrow())
    refuse(tmp_path, "same features", X=TRAIN[0][:, :4])
    refuse(tmp_path, "strings in all sets", y=TRAIN[1].astype(str))
    refuse(tmp_path, "inconsistent numbers", y=TRAIN[1][:-1])
    refuse(tmp_path, "none of the classes", y=TRAIN[1] + 7)
    sampler = RemixSampler(random_state=0).fit(*TRAIN)
    refuse(tmp_path, "neither `sample` nor", model=sampler)
    refuse(tmp_path, "not fitted yet", model=GenerativeAnonymizer())
    k_same = KSameAnonymizer().fit(TRAIN[0][:60], TRAIN[1][:60])
    refuse(tmp_path, "same samples in the same order", model=k_same)


def narrow():
    return {"X_test": TEST[0][:, :4], "X_reference": REFERENCE[0][:, :4]}


# The command


@pytest.fixture
def database(tmp_path):
    np.savez(
        tmp_path / "samples.npz",
        X_train=TRAIN[0],
        y_train=TRAIN[1],
        X_val=REFERENCE[0],
        y_val=REFERENCE[1],
        X_test=TEST[0],
        y_test=TEST[1],
    )
    return tmp_path / "samples.npz"


@pytest.mark.usefixtures("without_figures")
def test_command_writes_what_the_function_does(database, tmp_path):
    output = tmp_path / "a b.html"
    arguments = ["report", str(database), "-o", str(output), "--method", "k-same"]
    result = CliRunner().invoke(app, [*arguments, "--k", "3", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "Fitting k-same to 70 samples." in result.output
    tree = parse(output)
    command = text_of(next(tree.iter("pre")))
    assert command.startswith(f"skcvae report {database} -o '{output}' --method k-same")
    assert "--k 3 --seed 0 --device cpu" in command
    X, y = TRAIN
    expected = tmp_path / "expected.html"
    model = KSameAnonymizer(k=3).fit(X, y)
    report(expected, model, X, y, **REAL, random_state=0)
    for caption in ("Nearness", "Scores", "Who was in", "All classes"):
        assert table(tree, caption) == table(parse(expected), caption)


@pytest.mark.usefixtures("without_figures")
def test_command_prints_warnings_as_sentences_and_progress(database, tmp_path):
    rng = np.random.RandomState(0)
    samples = {}
    for split in ("train", "val", "test"):
        samples |= {f"X_{split}": rng.normal(size=(300, 5)), f"y_{split}": [0, 1] * 150}
    np.savez(database, **samples)
    arguments = ["report", str(database), "-o", str(tmp_path / "a.html")]
    result = CliRunner().invoke(app, [*arguments, "--epochs", "1"])
    assert result.exit_code == 0, result.output
    assert "Warning: A CVAE does not pay for these samples" in result.stderr
    assert "UserWarning" not in result.output
    assert "privacy" in result.stderr
    tree = parse(tmp_path / "a.html")
    assert "the CVAE does not pay" in text_of(section(tree, "summary"))


@pytest.mark.usefixtures("without_figures")
def test_command_seeds_no_private_method_unless_told_so(database, tmp_path):
    output = tmp_path / "a.html"
    arguments = ["report", str(database), "-o", str(output), "--method", "dp-gaussian"]
    arguments += ["--epsilon", "1", "--delta", "0.01"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    tree = parse(output)
    assert "--seed" not in text_of(next(tree.iter("pre")))
    assert "no guarantee" not in text_of(section(tree, "privacy"))
    assert "differential privacy" in text_of(section(tree, "privacy"))
    result = CliRunner().invoke(app, [*arguments, "--seed", "0"])
    assert result.exit_code == 0, result.output
    tree = parse(output)
    assert "--seed 0" in text_of(next(tree.iter("pre")))
    assert "no guarantee" in text_of(section(tree, "privacy"))


def test_command_refuses_what_it_cannot_do(database, tmp_path, capsys):
    np.savez(tmp_path / "whole.npz", X=TRAIN[0], y=TRAIN[1])
    run, output = report_command, tmp_path / "a.html"
    with np.load(database) as file:
        arrays = dict(file)
    arrays["X_train"][0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(ValueError, match="not finite, and a report compares"):
        run(tmp_path / "nan.npz", output, "dp-gaussian", epsilon=1, delta=0.1)
    arrays["X_train"][0, 0] = 0
    wide = np.c_[arrays["X_val"], arrays["X_val"]]
    np.savez(tmp_path / "wide.npz", **arrays | {"X_val": wide})
    np.savez(tmp_path / "text.npz", **arrays | {"y_val": arrays["y_val"].astype(str)})
    for name, message in (("wide", "same features, got"), ("text", "text in all")):
        with pytest.raises(ValueError, match=message):
            run(tmp_path / f"{name}.npz", output, "gaussian")
        # Nothing was fitted before.
        assert "Fitting" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="has no splits"):
        run(tmp_path / "whole.npz", output, "gaussian")
    with pytest.raises(ValueError, match=r"must be one of .*over-sample"):
        run(database, output, "smote")
    with pytest.raises(ValueError, match=r"of the options, and not \['k'\]"):
        run(database, output, "over-sample", k=3)
    with pytest.raises(ValueError, match="dp-gaussian needs"):
        run(database, output, "dp-gaussian")
    assert not output.exists()


# In a browser


class Browser:
    """Headless Chromium, spoken to through its debugging pipe."""

    def __init__(self, program, folder):
        from_us, self._to = os.pipe()
        self._from, to_us = os.pipe()

        def place():
            # The numbers that Chromium expects. Copies first: a pipe may have them.
            copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (from_us, to_us)]
            for number, copy in zip((3, 4), copies, strict=True):
                os.dup2(copy, number)

        options = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={folder}"]
        self.process = subprocess.Popen(
            [program, *options, "about:blank"],
            preexec_fn=place,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        self._n, self._rest, self._session = 0, b"", {}
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Log", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Call a method of the protocol, and return its result."""
        self._n += 1
        message = {"id": self._n, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._n:
            self.events.append(answer)
        return answer["result"]

    def _receive(self):
        while b"\0" not in self._rest:
            received = os.read(self._from, 2**20)
            assert received, "Chromium has ended"
            self._rest += received
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, path, width):
        """Open a page in a window of a width, and wait until it is loaded."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self.methods():
            self.events.append(self._receive())

    def methods(self):
        return {event.get("method") for event in self.events}

    def evaluate(self, expression):
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        return result["result"]["value"]


@contextmanager
def running(program, folder):
    browser = Browser(program, folder)
    try:
        yield browser
    finally:
        browser.process.terminate()
        browser.process.wait(10)


VISIBLE_CARDS = (
    "[...document.querySelectorAll('.card')].filter(c => c.offsetWidth).length"
)


def test_browser_shows_the_page_without_errors(
    page, long_tailed, many_classes, tmp_path
):
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium to open the page in")
    with running(program, tmp_path / "profile") as browser:
        for path in (page, long_tailed, many_classes):
            for width in (360, 400, 1280):
                browser.open(path, width)
                errors = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
                errors |= {"Log.entryAdded", "Page.javascriptDialogOpening"}
                assert not browser.methods() & errors
                urls = [
                    event["params"]["request"]["url"].partition(":")[0]
                    for event in browser.events
                    if event.get("method") == "Network.requestWillBeSent"
                ]
                assert set(urls) <= {"file", "data"} and urls.count("file") == 1
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                assert browser.evaluate(
                    "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
                )
                # With the script, one class is shown, and others can be chosen.
                assert browser.evaluate(VISIBLE_CARDS) == 1
        browser.open(page, 1200)
        browser.evaluate(
            "{ const s = document.getElementById('class-choice'); s.value = '1';"
            "s.dispatchEvent(new Event('change')); 1 }"
        )
        facts = browser.evaluate("document.getElementById('class-facts').textContent")
        assert "training samples30" in facts
        assert browser.evaluate("document.getElementById('class-1').offsetWidth") > 0
        # Without it, all are.
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(page, 1200)
        assert browser.evaluate(VISIBLE_CARDS) == 2
        assert browser.evaluate("document.getElementById('picker').offsetWidth") == 0


def pixels(samples):
    """Render the first two features of each sample as a patch of grey."""
    return np.tile(samples[:, :2, None], (1, 4, 8))


def test_a_page_has_pictures_of_training_samples_only_where_they_are_given(
    tree, tmp_path, anonymizer, without_figures
):
    assert not any("<image" in image for image in images(tree))
    assert not [e for e in tree.iter("h3") if e.get("id") == "gallery"]

    photos = np.random.RandomState(0).randint(0, 255, (70, 16, 16, 3), dtype=np.uint8)
    path = tmp_path / "gallery.html"
    report(path, anonymizer, *TRAIN, **REAL, images=photos, decoder=pixels)
    shown = images(parse(path))
    assert len(shown) == 2
    assert all("<image" in image for image in shown)
    assert "pass this page on to nobody" in path.read_text(encoding="utf-8")


def test_a_decoder_that_is_no_function_is_refused(anonymizer, tmp_path):
    with pytest.raises(TypeError, match="decoder must be a function"):
        report(tmp_path / "a.html", anonymizer, *TRAIN, **REAL, decoder="vae")


def test_a_gallery_needs_an_image_for_each_training_sample(tmp_path, anonymizer):
    path = tmp_path / "gallery.html"
    with pytest.raises(ValueError, match="each of the 70 training samples, got 3"):
        report(path, anonymizer, *TRAIN, **REAL, images=["a.png"] * 3)
    assert not path.exists()


@pytest.mark.parametrize(
    ("gallery", "error", "message"),
    [
        ({"images": [*"ab"] * 35}, ValueError, "Image 0 cannot be read: the file"),
        ({"images": np.zeros((70, 8, 8))}, ValueError, "must be uint8"),
        ({"images": [1.0] * 70}, TypeError, "list of float"),
        ({"decoder": lambda X: X}, ValueError, "decoder must give images"),
        ({"decoder": lambda X: X[:0]}, ValueError, "an image for each sample"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_the_work(
    gallery, error, message, anonymizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(_report, "_measure", lambda *args: pytest.fail("too late"))
    path = tmp_path / "gallery.html"
    with pytest.raises(error, match=message):
        report(path, anonymizer, *TRAIN, **REAL, **gallery)
    assert not path.exists()
