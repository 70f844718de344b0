"""The commands anonymize, release, audit and probe: output files, messages, errors."""

import json
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from typer.testing import CliRunner

from skcvae import metrics
from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, KSameAnonymizer
from skcvae.anonymization import load as load_release
from skcvae.cli import anonymize, app, audit, probe, release
from skcvae.cli._databases import read_samples
from skcvae.generators import ClassGaussian
from skcvae.metrics import average_min_distance, linear_probe
from skcvae.privacy import privacy_audit

pytestmark = pytest.mark.filterwarnings(
    "ignore:The CVAE uses none", "ignore:Few records"
)


def draw(n_samples, seed):
    """Return samples of two overlapping classes, a third of them of the class "a"."""
    rng = np.random.RandomState(seed)
    y = np.where(np.arange(n_samples) % 3 == 0, "a", "b")
    X = rng.normal(size=(n_samples, 4)) + 2 * (y == "b")[:, None]
    return X.astype(np.float32), y


PARTS = {"train": draw(120, 0), "val": draw(90, 1), "test": draw(100, 2)}


def splits(**changes):
    """Return the arrays of a file with splits."""
    arrays = {}
    for split, (X, y) in PARTS.items():
        arrays |= {f"X_{split}": X, f"y_{split}": y}
    return arrays | changes


@pytest.fixture
def source(tmp_path):
    np.savez(tmp_path / "photos.npz", **splits())
    return tmp_path / "photos.npz"


@pytest.fixture
def lines(monkeypatch):
    """What the commands print."""
    printed = []
    monkeypatch.setattr("typer.echo", printed.append)
    return printed


def load(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def by_class(X, y):
    """Return the samples of each class, sorted by their values."""
    return {label: X[y == label][np.lexsort(X[y == label].T)] for label in np.unique(y)}


def assert_same_samples(arrays, X, y):
    """Check that a file holds these samples with these labels, in any order."""
    found = by_class(arrays["X_train"], arrays["y_train"])
    expected = by_class(X, y)
    assert found.keys() == expected.keys()
    for label, rows in expected.items():
        assert_array_equal(found[label], rows)


# Anonymize


def test_k_same_samples_are_written_and_real_ones_are_not(source, tmp_path, lines):
    output = tmp_path / "out.npz"
    anonymize(source, output, "k-same", k=4)
    arrays = load(output)
    assert sorted(arrays) == ["X_train", "privacy", "y_train"]
    X, y = PARTS["train"]
    assert_same_samples(arrays, KSameAnonymizer(k=4).fit_transform(X, y), y)
    assert (
        "120 samples of 2 classes, 4 features, made by k-same from 120 samples"
        in lines[0]
    )
    assert "no validation and no test samples" in lines[0]
    assert lines[1] == "Privacy: k-anonymity (k-Same), k 4"
    assert any("Membership inference" in line for line in lines[2:])
    assert names_in(tmp_path) == ["out.npz", "photos.npz"]


def test_gaussian_samples_are_those_of_the_anonymizer(source, tmp_path, lines):
    output = tmp_path / "out.npz"
    options = {"variance": 0.5, "seed": 3}
    anonymize(source, output, "gaussian", **options)
    X, y = PARTS["train"]
    anonymizer = GenerativeAnonymizer(ClassGaussian(variance=0.5), random_state=3)
    assert_same_samples(load(output), anonymizer.fit_transform(X, y), y)
    sentence = anonymizer.mean_leakage_.sentence()
    assert lines[1:] == [
        "Privacy: no formal guarantee",
        f"  class means: {sentence}",
    ]
    # No sample of the output is a real one.
    assert not np.isin(load(output)["X_train"], X).any()


def test_cvae_samples_follow_the_seed(source, tmp_path, monkeypatch):
    made = []

    def make(**params):
        made.append(params)
        return CVAEAnonymizer(**params, max_epochs=2)

    monkeypatch.setattr("skcvae.anonymization.CVAEAnonymizer", make)
    written = []
    for seed in (0, 0, 1):
        anonymize(
            source,
            tmp_path / "out.npz",
            "cvae",
            variance=0.5,
            seed=seed,
            device="cpu",
        )
        written.append(load(tmp_path / "out.npz"))
    assert_array_equal(written[0]["X_train"], written[1]["X_train"])
    assert (written[0]["X_train"] != written[2]["X_train"]).any()
    assert sorted(written[0]["y_train"].tolist()) == sorted(PARTS["train"][1].tolist())
    expected = {"variance": 0.5, "device": "cpu", "random_state": 0, "verbose": 1}
    assert made[0] == expected


@pytest.mark.parametrize(
    ("names", "column"),
    [(("embeddings", "labels"), True), (("X", "y"), False)],
)
def test_names_types_and_shapes_are_those_of_the_input(tmp_path, names, column):
    X, y = PARTS["train"]
    codes = (y == "b").astype(np.uint8)
    labels = codes[:, None] if column else codes
    np.savez(
        tmp_path / "train.npz",
        **{names[0]: X.astype(np.float16), names[1]: labels, "secret": X},
    )
    anonymize(tmp_path / "train.npz", tmp_path / "out.npz", "gaussian", seed=0)
    arrays = load(tmp_path / "out.npz")
    assert sorted(arrays) == sorted([*names, "privacy"])
    rows, labels_new = (arrays[name] for name in names)
    assert rows.dtype == np.float16 and rows.shape == X.shape
    assert labels_new.dtype == np.uint8 and labels_new.shape == labels.shape
    # Each class is around its own mean.
    for code, mean in ((0, 0.0), (1, 2.0)):
        assert_allclose(rows[labels_new.ravel() == code].mean(), mean, atol=0.3)


def test_integer_samples_become_floats(tmp_path):
    X, y = PARTS["train"]
    np.savez(tmp_path / "train.npz", X=(10 * X).astype(np.int16), y=y)
    anonymize(tmp_path / "train.npz", tmp_path / "out.npz", "gaussian", seed=0)
    rows = load(tmp_path / "out.npz")["X"]
    assert rows.dtype == np.float32
    assert (rows % 1 != 0).mean() > 0.9


def test_the_order_of_the_records_is_lost(source, tmp_path):
    """Otherwise sample i of k-Same would be near record i."""
    outputs = []
    X, y = PARTS["train"]
    for name, order in (("a", slice(None)), ("b", slice(None, None, -1))):
        np.savez(tmp_path / f"{name}.npz", X=X[order], y=y[order])
        anonymize(tmp_path / f"{name}.npz", tmp_path / f"{name}_out.npz", "k-same", k=3)
        outputs.append(load(tmp_path / f"{name}_out.npz"))
    assert_array_equal(outputs[0]["y"], outputs[1]["y"])
    assert_allclose(outputs[0]["X"], outputs[1]["X"], atol=1e-6)


def test_k_same_averages_over_the_groups_of_a_file(tmp_path, lines):
    X, y = PARTS["train"]
    # Ten persons, each with samples of both classes.
    np.savez(tmp_path / "train.npz", X=X, y=y, groups=np.arange(120) // 12)
    anonymize(tmp_path / "train.npz", tmp_path / "out.npz", "k-same", k=5)
    assert lines[1] == "Privacy: k-anonymity (k-Same), k 5"
    assert "  unit: group" in lines
    rows = load(tmp_path / "out.npz")
    assert sorted(rows) == ["X", "privacy", "y"]
    # Two clusters of five persons in each class.
    assert len(np.unique(rows["X"], axis=0)) == 4


def test_k_same_may_be_blind_to_labels(source, tmp_path):
    output = tmp_path / "out.npz"
    anonymize(source, output, "k-same", k=4, labels_blind=True)
    X, y = PARTS["train"]
    expected = KSameAnonymizer(k=4, within_class=False).fit_transform(X, y)
    assert_same_samples(load(output), expected, y)


def test_k_same_may_drop_the_samples_that_fill_no_cluster(tmp_path, lines):
    # 43 samples are 8 clusters of 5. The reference program drops the last three.
    X, y = draw(43, 0)
    np.savez(tmp_path / "photos.npz", X=X, y=y)
    output = tmp_path / "out.npz"
    options = {"k": 5, "labels_blind": True, "drop_remainder": True}
    anonymize(tmp_path / "photos.npz", output, "k-same", **options)
    arrays = load(output)
    assert sorted(arrays["y"]) == sorted(y[:40])
    counts = np.unique(arrays["X"], axis=0, return_counts=True)[1]
    assert (counts % 5 == 0).all() and counts.sum() == 40
    assert_allclose(arrays["X"].mean(axis=0), X[:40].mean(axis=0), rtol=1e-5)
    assert "40 samples" in lines[0] and "from 43 samples" in lines[0]


def fit_of_command(command, source, output, monkeypatch, **options):
    """Return the anonymizer that a command fits."""
    made = []

    def make(**params):
        made.append(CVAEAnonymizer(**params))
        return made[-1]

    monkeypatch.setattr("skcvae.anonymization.CVAEAnonymizer", make)
    command(source, output, "cvae", seed=0, device="cpu", **options)
    return made[0]


PAPER = {"hidden_dim": 16, "latent_dim": 5, "beta": 0.1}


@pytest.mark.parametrize(
    ("command", "output"), [(anonymize, "out.npz"), (release, "out.safetensors")]
)
def test_a_cvae_stops_by_the_validation_samples_of_its_source(
    source, tmp_path, monkeypatch, command, output
):
    options = {**PAPER, "epochs": 300, "patience": 3}
    fitted = fit_of_command(command, source, tmp_path / output, monkeypatch, **options)
    losses = fitted.generator_.history_[:, "valid_loss"]
    assert len(losses) == int(np.argmin(losses)) + 4 < 300
    batches = fitted.generator_.history_[0, "batches"]
    assert sum(batch.get("valid_batch_size", 0) for batch in batches) == 90
    params = fitted.get_params()
    assert {name: params[name] for name in PAPER} == PAPER
    assert fitted.generator_.net_.module_.backbone.decoder.hidden_dim == 16


def test_the_objective_of_the_paper_comes_with_its_other_settings(
    source, tmp_path, monkeypatch
):
    options = {"objective": "reference", "epochs": 1}
    output = tmp_path / "out.npz"
    params = fit_of_command(anonymize, source, output, monkeypatch, **options)
    expected = {"lr": 1e-3, "batch_size": 512, "prior": "standard", "noise": None}
    found = params.get_params()
    assert found["objective"] == "reference"
    assert {name: found[name] for name in expected} == expected


def test_validation_samples_may_come_from_another_file(source, tmp_path, monkeypatch):
    X, y = PARTS["train"]
    np.savez(tmp_path / "train.npz", X=X, y=y)
    options = {"epochs": 2, "patience": 1}
    output = tmp_path / "out.npz"
    with pytest.raises(ValueError, match="has no validation samples"):
        anonymize(tmp_path / "train.npz", output, "cvae", **options)
    with pytest.raises(ValueError, match="Give another file"):
        own = {"validation": tmp_path / "train.npz", **options}
        anonymize(tmp_path / "train.npz", output, "cvae", **own)
    with pytest.raises(ValueError, match="is for --patience"):
        anonymize(source, output, "cvae", validation=source)
    with pytest.raises(ValueError, match="k-same takes"):
        anonymize(source, output, "k-same", k=2, patience=3)
    fitted = [
        fit_of_command(anonymize, file, output, monkeypatch, **options, **more)
        for file, more in (
            (source, {}),
            (tmp_path / "train.npz", {"validation": source}),
        )
    ]
    losses = [one.generator_.history_[:, "valid_loss"] for one in fitted]
    assert losses[0] == losses[1]


def test_the_average_minimum_distance_is_printed_but_for_private_methods(
    source, tmp_path, monkeypatch
):
    output = tmp_path / "out.npz"
    done = invoke("anonymize", source, "-o", output, "--method", "k-same", "--json")
    distance = average_min_distance(load(output)["X_train"], PARTS["train"][0])
    assert_allclose(json.loads(done.stdout)["average_min_distance"], distance)
    done = invoke("anonymize", source, "-o", output, "--method", "k-same")
    assert f"distance to a training sample: {distance:.3g}." in done.output
    monkeypatch.setattr("skcvae.generators.DPClassGaussian", Private)
    options = ("--method", "dp-gaussian", "--epsilon", 2, "--delta", 1e-5)
    done = invoke("anonymize", source, "-o", output, *options)
    assert done.exit_code == 0 and "distance" not in done.output


def test_options_of_the_cvae_reach_it_and_stdout_is_json(source, tmp_path, monkeypatch):
    made = []

    def make(**params):
        made.append(params)
        return CVAEAnonymizer(**params)

    monkeypatch.setattr("skcvae.anonymization.CVAEAnonymizer", make)
    options = ("--epochs", 2, "--latent-dim", 3, "--beta", 4, "--architecture", "large")
    for name, suffix in (("anonymize", ".npz"), ("release", ".safetensors")):
        output = tmp_path / f"out{suffix}"
        done = invoke(name, source, "-o", output, *options, "--device", "cpu", "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["n_features"] == 4
        given = made.pop()
        assert (given["max_epochs"], given["latent_dim"], given["beta"]) == (2, 3, 4)
        assert given["architecture"] == "large"


def test_a_number_of_samples_is_drawn(source, tmp_path, lines):
    anonymize(
        source,
        tmp_path / "out.npz",
        "gaussian",
        n_samples=600,
        seed=0,
    )
    y = load(tmp_path / "out.npz")["y_train"]
    assert len(y) == 600
    assert_allclose((y == "a").mean(), 1 / 3, atol=0.06)
    assert "600 samples" in lines[0] and "from 120 samples" in lines[0]


class Private(ClassGaussian):
    """A generator that states differential privacy."""

    def __init__(self, *, epsilon=None, delta=None, variance=1.0, random_state=None):
        super().__init__(variance=variance, random_state=random_state)
        self.epsilon = epsilon
        self.delta = delta

    def privacy_statement(self):
        return {
            "guarantee": "differential privacy",
            "epsilon": self.epsilon,
            "delta": self.delta,
            "unit": "record",
            "outside": ["n_features", "classes"],
        }


Private._parameter_constraints = {
    **ClassGaussian._parameter_constraints,
    "epsilon": [float],
    "delta": [float],
}


def test_labels_of_private_samples_are_drawn(source, tmp_path, monkeypatch, lines):
    """Real labels are not covered by the guarantee."""
    monkeypatch.setattr("skcvae.generators.DPClassGaussian", Private)
    counts = set()
    for seed in range(3):
        anonymize(
            source,
            tmp_path / "out.npz",
            "dp-gaussian",
            epsilon=2.0,
            delta=1e-5,
            seed=seed,
        )
        counts.add(int((load(tmp_path / "out.npz")["y_train"] == "a").sum()))
    assert len(counts) > 1
    assert lines[1] == "Privacy: differential privacy, epsilon 2, delta 1e-05"
    assert lines[2:5] == [
        "  unit: record",
        "  outside: n_features",
        "  outside: classes",
    ]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("gaussian", {"epsilon": 1.0}, r"gaussian takes .*not \['epsilon'\]"),
        ("cvae", {"epsilon": 1.0, "delta": 1e-5}, r"not \['delta', 'epsilon'\]"),
        ("cvae", {"k": 5}, r"not \['k'\]"),
        ("k-same", {"variance": 1.0}, r"not \['variance'\]"),
        ("dp-cvae", {"epsilon": 1.0}, r"dp-cvae needs \['delta'\]"),
        ("dp-gaussian", {}, r"needs \['delta', 'epsilon'\]"),
        ("kSAME", {}, "must be one of"),
        ("k-same", {"n_samples": 5}, "k-same draws no samples"),
        ("k-same", {"k": 100}, "Classes with fewer than k=100"),
        ("gaussian", {"variance": -1.0}, "variance"),
        ("gaussian", {"n_samples": -1}, "n_samples"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    source, tmp_path, method, options, message
):
    with pytest.raises(ValueError, match=message):
        anonymize(source, tmp_path / "out.npz", method, **options)
    assert names_in(tmp_path) == ["photos.npz"]


# Files


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_broken_run_leaves_the_old_file(source, tmp_path, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    output = tmp_path / "out.npz"
    output.write_text("an older file")
    for method in ("fit", "privacy_statement"):
        monkeypatch.setattr(KSameAnonymizer, method, fail)
        with pytest.raises(error):
            anonymize(source, output, "k-same")
        monkeypatch.undo()
        assert names_in(tmp_path) == ["out.npz", "photos.npz"]
        assert output.read_text() == "an older file"


def test_a_full_disk_leaves_the_old_file(source, tmp_path, monkeypatch):
    output = tmp_path / "out.npz"
    output.write_text("an older file")
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        anonymize(source, output, "k-same")
    assert output.read_text() == "an older file"
    assert names_in(tmp_path) == ["out.npz", "photos.npz"]


def run_all(source, output):
    """Return each command, ready to be run on one source."""
    return {
        ".npz": lambda: anonymize(source, output, "k-same"),
        ".json": lambda: probe(source, source, source, output=output),
        ".json audit": lambda: audit(*[source] * 4, output=output),
        ".safetensors": lambda: release(source, output, method="gaussian"),
    }


@pytest.mark.parametrize("kind", [".npz", ".json", ".json audit", ".safetensors"])
def test_outputs_that_cannot_be_written_are_refused_first(tmp_path, kind):
    suffix = kind.split()[0]
    missing = tmp_path / "no_source.npz"
    for output, message in (
        (tmp_path / "out.txt", f"must be a {suffix} file"),
        (tmp_path / "none" / f"out{suffix}", "There is no folder"),
        (tmp_path / f"folder{suffix}", "is a folder"),
    ):
        (tmp_path / f"folder{suffix}").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match=message):
            run_all(missing, output)[kind]()
    with pytest.raises(FileNotFoundError):
        run_all(missing, tmp_path / f"out{suffix}")[kind]()
    assert names_in(tmp_path) == [f"folder{suffix}"]


def test_the_input_is_never_overwritten(source, tmp_path):
    content = source.read_bytes()
    (tmp_path / "link.npz").symlink_to(source)
    (tmp_path / "hard.npz").hardlink_to(source)
    (tmp_path / "split").mkdir()
    source_of_folder = tmp_path / "split" / "train.npz"
    source_of_folder.write_bytes(content)
    for first, second in (
        (source, source),
        (source, tmp_path / "link.npz"),
        (source, tmp_path / "hard.npz"),
        (tmp_path / "link.npz", source),
        (tmp_path / "split", source_of_folder),
    ):
        with pytest.raises(ValueError, match="is an input"):
            anonymize(first, second, "k-same")
    assert source.read_bytes() == source_of_folder.read_bytes() == content


def test_samples_of_a_split_are_found(tmp_path):
    np.savez(tmp_path / "splits.npz", **splits(groups_val=np.arange(90)))
    (tmp_path / "folder").mkdir()
    for split, (X, y) in PARTS.items():
        np.savez(tmp_path / "folder" / f"{split}.npz", embeddings=X, labels=y)
        for path in (tmp_path / "splits.npz", tmp_path / "folder"):
            samples = read_samples(path, split)
            assert_array_equal(samples.X, X)
            assert_array_equal(samples.y, y)
    assert_array_equal(
        read_samples(tmp_path / "splits.npz", "val").groups, np.arange(90)
    )
    assert read_samples(tmp_path / "splits.npz", "test").groups is None
    X, y = PARTS["test"]
    np.savez(tmp_path / "whole.npz", X=X, y=y)
    assert_array_equal(read_samples(tmp_path / "whole.npz", "val").X, X)
    np.savez(tmp_path / "train_only.npz", X_train=X, y_train=y)
    with pytest.raises(
        ValueError, match=r"no samples of the split 'val', only \['X_tr"
    ):
        read_samples(tmp_path / "train_only.npz", "val")


# Probe


@pytest.fixture
def short_probe(monkeypatch):
    """Let the commands train for a few epochs, and return the function they call."""
    short = partial(linear_probe, max_epochs=5)
    monkeypatch.setattr("skcvae.metrics.linear_probe", short)
    return short


def test_the_probe_prints_and_writes_what_linear_probe_returns(
    source, tmp_path, short_probe, lines
):
    anonymize(source, tmp_path / "out.npz", "k-same", k=3)
    lines.clear()
    probe(
        tmp_path / "out.npz",
        source,
        source,
        noise=[0.5],
        seed=1,
        device="cpu",
        output=tmp_path / "probe.json",
    )
    synthetic = load(tmp_path / "out.npz")
    expected = short_probe(
        (synthetic["X_train"], synthetic["y_train"]),
        *PARTS["val"],
        *PARTS["test"],
        noise_levels=[0.5],
        random_state=1,
    )
    assert json.loads((tmp_path / "probe.json").read_text()) == expected.to_dict()
    assert lines == [str(expected), f"Written to {tmp_path / 'probe.json'}."]
    assert expected.accuracy > 0.8


def test_epochs_and_the_variance_of_a_release_reach_the_probe(source, tmp_path, lines):
    model = tmp_path / "model.safetensors"
    release(source, model, method="gaussian", variance=0.01)
    assert_allclose(load_release(model).variance, 0.01)
    with pytest.raises(ValueError, match="only a release takes --variance"):
        probe(source, source, source, variance=2.0)
    scores = []
    for variance in (0.01, 100.0):
        output = tmp_path / "probe.json"
        options = {"variance": variance, "epochs": 3, "device": "cpu"}
        probe(model, source, source, **options, output=output)
        scores.append(json.loads(output.read_text()))
    assert scores[0]["n_epochs"] <= 3
    assert scores[0]["validation_loss"] != scores[1]["validation_loss"]


# Release


def test_the_probe_prints_the_average_minimum_distance(source, tmp_path, lines):
    generated = tmp_path / "out.npz"
    anonymize(source, generated, "gaussian", seed=0)
    lines.clear()
    output = tmp_path / "result.json"
    probe(generated, source, source, training=source, epochs=1, output=output)
    expected = average_min_distance(load(generated)["X_train"], PARTS["train"][0])
    found = json.loads(output.read_text())["average_min_distance"]
    assert found == pytest.approx(expected)
    assert f"average_min_distance: {expected:.3g}" in lines
    decoder = tmp_path / "decoder.safetensors"
    release(source, decoder, "gaussian", seed=0)
    distances = []
    for _ in range(2):
        probe(decoder, source, source, training=source, epochs=1, output=output)
        distances.append(json.loads(output.read_text())["average_min_distance"])
    # As many draws as there are training samples, of the same distribution.
    assert distances[0] == pytest.approx(expected, rel=0.2)
    assert distances[0] == distances[1]


def test_the_probe_refuses_other_training_samples_before_it_trains(
    source, tmp_path, monkeypatch
):
    other = tmp_path / "other.npz"
    np.savez(other, X_train=np.ones((5, 3)), y_train=np.arange(5))
    monkeypatch.setattr(metrics, "linear_probe", None)
    with pytest.raises(ValueError, match="features"):
        probe(source, source, source, training=other)


def test_a_release_is_written_probed_and_audited(
    source, tmp_path, short_probe, monkeypatch, lines
):
    model = tmp_path / "model.safetensors"
    release(source, model, method="gaussian", class_prior="training")
    assert "gaussian of 2 classes and 4 features, class prior training" in lines[0]
    assert lines[1] == "Privacy: no formal guarantee"
    loaded = load_release(model)
    assert_allclose(loaded.class_prior_, [1 / 3, 2 / 3], atol=1e-6)
    scores = tmp_path / "probe.json"
    probe(model, source, source, device="cpu", output=scores)
    assert json.loads(scores.read_text())["accuracy"] > 0.85
    # The search for latent vectors takes long.
    samples_only = partial(privacy_audit, attacks=["nearest_neighbor"])
    monkeypatch.setattr("skcvae.privacy.privacy_audit", samples_only)
    output = tmp_path / "audit.json"
    audit(model, *[source] * 3, output=output)
    report = json.loads(output.read_text())
    assert (report["n_members"], report["n_nonmembers"]) == (120, 100)
    assert report["formal"]["guarantee"] == "no formal guarantee"
    assert names_in(tmp_path) == [
        "audit.json",
        "model.safetensors",
        "photos.npz",
        "probe.json",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "k-same"}, "k-same has no model to share"),
        ({"class_prior": "balanced"}, "must be uniform or training"),
        ({"epsilon": 1.0}, r"cvae takes .* not \['epsilon'\]"),
    ],
)
def test_impossible_releases_are_refused(source, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        release(source, tmp_path / "model.safetensors", **options)
    assert names_in(tmp_path) == ["photos.npz"]


# Audit


def test_the_audit_prints_and_writes_what_privacy_audit_returns(
    source, tmp_path, lines
):
    # The members themselves are published.
    output = tmp_path / "audit.json"
    audit(*[source] * 4, seed=2, output=output)
    parts = [a for s in ("train", "test", "val") for a in PARTS[s]]
    expected = privacy_audit(PARTS["train"], *parts, random_state=2)
    assert json.loads(output.read_text()) == json.loads(json.dumps(expected.to_dict()))
    assert lines[0] == str(expected)
    assert expected.maximum.low > 0.9


def test_the_audit_reports_the_guarantee_of_the_samples(source, tmp_path, lines):
    samples = tmp_path / "samples.npz"
    anonymize(source, samples, "k-same", k=7)
    output = tmp_path / "audit.json"
    audit(samples, *[source] * 3, output=output)
    formal = json.loads(output.read_text())["formal"]
    assert (formal["guarantee"], formal["k"]) == ("k-anonymity (k-Same)", 7)
    assert "k-anonymity" in lines[-2]


def test_the_audit_compares_the_groups_of_the_files(tmp_path):
    groups = {f"groups_{s}": np.arange(len(X)) for s, (X, _) in PARTS.items()}
    np.savez(tmp_path / "photos.npz", **splits(**groups))
    with pytest.raises(ValueError, match="group"):
        audit(*[tmp_path / "photos.npz"] * 4)


# Command line


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_workflow_on_the_command_line(source, tmp_path):
    samples, report = tmp_path / "samples.npz", tmp_path / "audit.json"
    model = tmp_path / "model.safetensors"
    done = invoke("anonymize", source, "-o", samples, "--method", "k-same", "--k", 3)
    assert done.exit_code == 0 and "k-anonymity (k-Same), k 3" in done.output
    done = invoke("release", source, "-o", model, "--method", "gaussian")
    assert done.exit_code == 0 and "class prior uniform" in done.output
    real = [("--members", source), ("--nonmembers", source), ("--reference", source)]
    databases = [word for option in real for word in option]
    done = invoke("audit", samples, *databases, "-o", report)
    assert done.exit_code == 0 and done.output.startswith("Privacy audit")
    assert json.loads(report.read_text())["n_members"] == 120
    real = "--validation", source, "--test", source
    done = invoke("probe", samples, *real, "--noise", 0.5, "--noise", 2)
    assert done.exit_code == 0 and "accuracy" in done.output


def test_errors_on_the_command_line_are_one_line(source, tmp_path):
    output = tmp_path / "samples.npz"
    done = invoke("anonymize", source, "-o", output, "--epsilon", 1)
    assert done.exit_code == 1
    assert done.output.startswith("Error: cvae takes") and done.output.count("\n") == 1
    assert invoke("anonymize", tmp_path / "none.npz", "-o", output).exit_code == 2
    done = invoke("release", source, "-o", output)
    assert done.exit_code == 1 and "must be a .safetensors file" in done.output
    assert not output.exists()
