"""The utility probe: scores, scale and noise, equal training, and what is refused."""

import json
import os
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.model_selection import train_test_split

from skcvae._training import LabelledTensors
from skcvae.datasets import load_embeddings
from skcvae.metrics._probe import ProbeResult, _auroc, _label_scores, linear_probe
from skcvae.metrics._probe_training import (
    BatchStream,
    ProbeScale,
    ValidationLoader,
    cycle_batches,
    train_head,
)

DATA = Path(
    os.environ.get("SKCVAE_DATA", Path(__file__).parents[2] / "shared" / "data")
)
SCORES = ["accuracy", "balanced_accuracy", "auroc", "f1", "kappa"]
MEANS = 1.5 * np.eye(3, 5)

pytestmark = pytest.mark.filterwarnings("error::UserWarning")


def draw(n_rows, seed, labels=("a", "b", "c")):
    """Return rows of overlapping Gaussian classes, of which a third are errors."""
    rng = np.random.RandomState(seed)
    codes = np.arange(n_rows) % len(labels)
    X = MEANS[codes] + rng.normal(size=(n_rows, 5))
    return X, np.array(labels)[codes]


class Stream:
    """An endless source of the same distribution as `draw`."""

    def __init__(self, change=lambda X, y: (X, y)):
        self.change = change
        self.asked = []

    def batches(self, batch_size, random_state):
        self.asked.append((batch_size, random_state))
        rng = np.random.RandomState(random_state)
        while True:
            codes = rng.randint(3, size=batch_size)
            X = MEANS[codes] + rng.normal(size=(batch_size, 5))
            yield self.change(X, np.array(list("abc"))[codes])


def probe(source=None, val=None, test=None, **params):
    """Return the result of a short training."""
    params = {"max_epochs": 4, "lr": 0.01, "batch_size": 32, "random_state": 0} | params
    val, test = val or draw(200, 1), test or draw(300, 2)
    return linear_probe(source or draw(300, 0), *val, *test, **params)


# Scores


def test_a_trained_head_is_as_good_as_logistic_regression():
    train, val, test = draw(2000, 0), draw(1000, 1), draw(3000, 2)
    expected = LogisticRegression().fit(*train)
    result = linear_probe(train, *val, *test, lr=0.02, max_epochs=15, random_state=0)
    assert_allclose(result.accuracy, expected.score(*test), atol=0.01)
    probability = expected.predict_proba(test[0])
    auroc = roc_auc_score(test[1], probability, multi_class="ovr")
    assert_allclose(result.auroc, auroc, atol=0.005)
    log_loss = -np.log(
        expected.predict_proba(val[0])[np.arange(1000), np.arange(1000) % 3]
    )
    assert_allclose(result.validation_loss, log_loss.mean(), atol=0.01)


def test_scores_of_a_given_prediction():
    y_true = np.array(list("aaaabbbbcc"))
    y_pred = np.array(list("aaabbbccca"))
    scores = _label_scores(y_true, y_pred, "macro")
    assert_allclose(scores["accuracy"], 6 / 10)
    assert_allclose(scores["balanced_accuracy"], (3 / 4 + 2 / 4 + 1 / 2) / 3)
    # 2 TP / (2 TP + FP + FN) of each class.
    f1 = np.array([6 / 8, 4 / 7, 2 / 5])
    assert_allclose(scores["f1"], f1.mean())
    chance = (4 * 4 + 4 * 3 + 2 * 3) / 100
    assert_allclose(scores["kappa"], (0.6 - chance) / (1 - chance))
    weighted = _label_scores(y_true, y_pred, "weighted")
    assert_allclose(weighted["f1"], f1 @ [0.4, 0.4, 0.2])


def test_true_and_predicted_labels_are_not_swapped():
    # Recall of class a is 1, its precision 1/2.
    scores = _label_scores(np.array(list("aabbbb")), np.array(list("aaaabb")), "macro")
    assert_allclose(scores["balanced_accuracy"], (1 + 2 / 4) / 2)


def test_auroc_of_two_classes_is_that_of_the_second():
    y = np.array(["no", "no", "yes", "yes"])
    second = np.array([0.1, 0.6, 0.5, 0.9])
    probability = np.column_stack([1 - second, second])
    # Of the four pairs, one is in the wrong order.
    assert _auroc(y, probability, np.array(["no", "yes"]), "macro") == 0.75


def test_auroc_of_more_classes_is_one_against_the_rest():
    rng = np.random.RandomState(0)
    y = np.repeat(["a", "b", "c"], [10, 20, 5])
    probability = rng.dirichlet(np.ones(3), size=35)
    each = []
    for column, label in zip(probability.T, "abc", strict=True):
        above = column[y == label][:, None] > column[y != label]
        each.append(above.mean())
    classes = np.array(list("abc"))
    assert_allclose(_auroc(y, probability, classes, "macro"), np.mean(each))
    weighted = np.average(each, weights=[10, 20, 5])
    assert_allclose(_auroc(y, probability, classes, "weighted"), weighted)


def test_two_classes():
    labels = ("no", "yes")
    result = probe(draw(300, 0, labels), draw(200, 1, labels), draw(300, 2, labels))
    assert 0.75 < result.accuracy < 0.95 and 0.85 < result.auroc < 0.99


@pytest.mark.parametrize(
    "labels", [("c", "b", "a"), (7, 0, 2), (True, False), (0.0, 1.0, 5.0)]
)
def test_labels_may_be_of_any_kind_and_order(labels):
    letters = list("abc")[: len(labels)]
    expected = probe(*(draw(300, seed, letters) for seed in range(3)))
    result = probe(*(draw(300, seed, labels) for seed in range(3)))
    # Another order of the classes is another start of the weights.
    assert_allclose(result.accuracy, expected.accuracy, atol=0.03)


def test_lists_frames_and_columns_of_labels_are_taken():
    pandas = pytest.importorskip("pandas")
    (X, y), val, test = draw(300, 0), draw(200, 1), draw(300, 2)
    expected = probe((X, y), val, test)
    frame = pandas.DataFrame(X), pandas.Series(y, dtype="category")
    lists = val[0].tolist(), val[1].tolist()
    # Rows in columns: the orders of memory differ, and the rounding of their mean.
    result = probe(frame, lists, (test[0], pandas.Series(test[1])))
    assert_allclose(result.accuracy, expected.accuracy, atol=0.01)


def test_a_test_label_without_training_is_an_error_and_no_crash():
    X, y = draw(300, 2)
    clean = probe(test=(X, y))
    y_test = np.where(np.arange(300) < 30, "zebra", y)
    result = probe(test=(X, y_test), noise_levels=[0.5])
    changed = probe(test=(X[30:], y[30:]))
    assert_allclose(result.accuracy * 300, changed.accuracy * 270)
    assert np.isnan(result.auroc) and np.isnan(result.robustness[0]["auroc"])
    assert result.auroc_reason == "the head never saw the classes ['zebra']"
    assert clean.auroc_reason == "" and clean.auroc > 0.8


def test_a_class_without_test_rows_has_no_auroc():
    X, y = draw(300, 2)
    result = probe(test=(X[y != "b"], y[y != "b"]))
    assert np.isnan(result.auroc)
    assert result.auroc_reason == "the test samples lack the classes ['b']"
    # The recall of b does not count, but rows taken for b do.
    assert 0.4 < result.balanced_accuracy < 0.95


def test_a_class_of_the_validation_rows_only_is_a_class():
    (X, y), (X_test, y_test) = draw(300, 0), draw(300, 2)
    result = probe((X[y != "c"], y[y != "c"]), test=(X_test, y_test))
    assert not np.isnan(result.auroc)
    assert 0.4 < result.accuracy < 2 / 3


# Training


def train(**params):
    """Return a net trained on few rows with a high rate: it soon gets worse."""
    X, y = draw(30, 0)
    X_val, y_val = draw(60, 1)
    rows, valid = (
        LabelledTensors(
            torch.tensor(X, dtype=torch.float32),
            torch.tensor(np.unique(y, return_inverse=True)[1]),
        )
        for X, y in ((X, y), (X_val, y_val))
    )
    stream = BatchStream(cycle_batches(rows, 8, 0), 5)
    defaults = {"patience": 3, "max_epochs": 60, "lr": 0.2, "weight_decay": 0.0}
    net = train_head(
        stream, valid, 3, 0, batch_size=8, device="cpu", **{**defaults, **params}
    )
    return net, valid


def test_early_stopping_restores_the_weights_of_the_lowest_loss():
    net, valid = train()
    losses = net.history[:, "valid_loss"]
    assert len(losses) == np.argmin(losses) + 1 + 3
    assert len(losses) < 60
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(net.module_(valid.x), valid.y)
    assert_allclose(loss, min(losses), rtol=1e-5)
    assert loss < losses[-1]


def test_the_best_weights_come_back_where_the_epochs_ran_out():
    net, valid = train(max_epochs=5, patience=50)
    losses = net.history[:, "valid_loss"]
    assert len(losses) == 5 and np.argmin(losses) < 4
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(net.module_(valid.x), valid.y)
    assert_allclose(loss, min(losses), rtol=1e-5)


def test_the_validation_loss_is_the_mean_over_all_rows():
    net, valid = train(max_epochs=1)
    sizes = [len(y) for _, y in ValidationLoader(valid, 8)]
    assert sizes == [8] * 7 + [4]
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(net.module_(valid.x), valid.y)
    assert_allclose(net.history[-1, "valid_loss"], loss, rtol=1e-5)


@pytest.mark.parametrize("n_rows", [3, 10, 32, 33, 300])
def test_every_source_gets_the_same_steps_of_the_same_size(n_rows):
    result = probe(draw(n_rows, 0), steps_per_epoch=7, max_epochs=3)
    assert (result.n_epochs, result.n_steps) == (3, 21)
    index = torch.arange(n_rows)
    rows = LabelledTensors(index[:, None].float(), index)
    batches = list(islice(cycle_batches(rows, 8, 0), 3 * n_rows))
    for x, y in batches:
        assert len(y) == 8
        assert_array_equal(x[:, 0], y)
    # 24 passes, one after the other, each in another order.
    passes = torch.cat([y for _, y in batches]).reshape(24, n_rows)
    assert_array_equal(passes.sort(dim=1).values, index.expand(24, -1))
    assert len(np.unique(passes, axis=0)) > 1


def test_a_stream_of_the_same_distribution_does_nearly_as_well():
    train, val, test = draw(3000, 0), draw(1000, 1), draw(3000, 2)
    params = {"max_epochs": 10, "lr": 0.01, "random_state": 0}
    rows = linear_probe(train, *val, *test, **params)
    stream = linear_probe(Stream(), *val, *test, **params)
    assert_allclose(stream.accuracy, rows.accuracy, atol=0.015)
    assert_allclose(stream.auroc, rows.auroc, atol=0.01)
    assert stream.n_steps == rows.n_steps == 500


def test_a_stream_is_asked_once_with_an_integer_seed():
    stream = Stream()
    probe(stream, batch_size=16)
    ((batch_size, seed),) = stream.asked
    assert batch_size == 16 and isinstance(seed, int)


def test_a_stream_of_rows_gives_what_the_same_rows_give():
    """Nothing but the source of the batches differs."""
    X, y = draw(300, 0)

    class Replay:
        def batches(self, batch_size, random_state):
            codes = np.unique(y, return_inverse=True)[1]
            rows = LabelledTensors(torch.tensor(X), torch.tensor(codes))
            for x, code in cycle_batches(rows, batch_size, random_state):
                yield x.numpy(), np.array(list("abc"))[code.numpy()]

    assert probe((X, y)) == probe(Replay())


def test_classes_of_a_stream_that_come_late():
    counter = count()

    def rare(X, y):
        return X, np.where((y == "c") & (next(counter) < 60), "a", y)

    X, y = draw(200, 1)
    val = X[y != "c"], y[y != "c"]
    with pytest.raises(ValueError, match=r"labels \['c'\] that its first epoch lacks"):
        probe(Stream(rare), val)
    stream = Stream(rare)
    stream.classes_ = np.array(["a", "b", "c"])
    assert probe(stream, val).n_epochs == 4


# Scale and noise


def test_the_scale_is_that_of_the_validation_rows():
    X = np.array([[1.0, 10.0], [3.0, 10.0]])
    scale = ProbeScale.of(X, torch.device("cpu"))
    assert_array_equal(scale.offset, [2.0, 10.0])
    # Standard deviations 1 and 0.
    assert_allclose(scale.scale, np.sqrt(0.5))
    rows = scale.apply(np.array([[2.0, 11.0]]), "X")
    assert_allclose(rows, [[0.0, np.sqrt(2)]], rtol=1e-6)


def test_the_unit_of_the_rows_does_not_matter():
    parts = [draw(300, seed) for seed in range(3)]
    moved = [(1024 * X + 4096, y) for X, y in parts]
    first, second = (probe(*p, noise_levels=[0.5, 2.0]) for p in (parts, moved))
    for key in SCORES:
        assert_allclose(getattr(first, key), getattr(second, key), atol=0.005)
        for a, b in zip(first.robustness, second.robustness, strict=True):
            assert_allclose(a[key], b[key], atol=0.005)


def test_a_constant_feature_does_no_harm():
    (X, y), val, test = (
        (np.column_stack([X, np.full(len(X), 3.0)]), y)
        for X, y in (draw(300, seed) for seed in range(3))
    )
    assert probe((X, y), val, test).accuracy > 0.6


def test_noise_lowers_the_scores_to_chance_and_zero_changes_nothing():
    test = draw(3000, 2)
    result = probe(test=test, noise_levels=[0.0, 0.5, 2.0, 1e6])
    clean, *noisy = [[row[key] for key in SCORES] for row in result.robustness]
    assert clean == [getattr(result, key) for key in SCORES]
    assert [row["noise_level"] for row in result.robustness] == [0.0, 0.5, 2.0, 1e6]
    curve = np.array([clean, *noisy])
    assert (np.diff(curve, axis=0) < 0).all()
    assert_allclose(curve[-1], [1 / 3, 1 / 3, 1 / 2, 1 / 3, 0], atol=0.04)


def test_noise_has_the_stated_size(monkeypatch):
    """A head that returns its input shows the noisy rows."""
    from skcvae.metrics import _probe

    seen = []

    def record(stream, valid, *args, **kwargs):
        net = train_head(stream, valid, *args, **kwargs)
        net.module_.register_forward_pre_hook(lambda _, x: seen.append(x[0].numpy()))
        return net

    monkeypatch.setattr(_probe, "train_head", record)
    val, test = draw(200, 1), draw(3000, 2)
    sources = draw(300, 0), (30 * draw(50, 5)[0], draw(50, 5)[1]), Stream()
    noise = []
    for source in sources:
        seen.clear()
        probe(source, val, test, noise_levels=[2.0, 0.5])
        clean, double, half = seen
        noise.append(double - clean)
        assert_allclose((double - clean) / 4, half - clean, atol=1e-5)
    # The same draws for every source, of the standard deviation 2 in the common scale.
    assert_allclose(noise[1], noise[0], atol=1e-5)
    assert_allclose(noise[2], noise[0], atol=1e-5)
    assert_allclose(noise[0].std(), 2.0, rtol=0.02)
    deviation = np.sqrt(val[0].var(axis=0).mean())
    expected = (test[0] - val[0].mean(axis=0)) / deviation
    assert_allclose(clean, expected, atol=1e-5)


# Seeds and interruptions


@pytest.mark.parametrize("make_source", [lambda: draw(300, 0), Stream])
def test_same_seed_same_bits_and_global_random_states_stay(make_source, random_states):
    before = random_states()
    params = {"noise_levels": [1.0], "max_epochs": 2}
    first = probe(make_source(), **params)
    assert random_states() == before
    torch.rand(5)
    assert first == probe(make_source(), **params)
    assert first != probe(make_source(), **params, random_state=1)


def test_the_noise_levels_do_not_change_the_training():
    first, second = probe(), probe(noise_levels=[1.0, 0.3])
    assert [getattr(first, k) for k in SCORES] == [getattr(second, k) for k in SCORES]
    alone = probe(noise_levels=[0.3])
    assert alone.robustness[0] == second.robustness[1]


@pytest.mark.parametrize("batch", [3, 55, 120])
def test_ctrl_c_comes_through(batch):
    """In the look at the first epoch, in the second epoch, and in the third."""

    counter = count(1)

    def interrupt(X, y):
        if next(counter) == batch:
            raise KeyboardInterrupt
        return X, y

    with pytest.raises(KeyboardInterrupt):
        probe(Stream(interrupt))


def test_ctrl_c_in_the_first_epoch_comes_through(monkeypatch):
    def step(self, batch, **params):
        raise KeyboardInterrupt

    monkeypatch.setattr("skcvae.metrics._probe_training.ProbeNet.train_step", step)
    with pytest.raises(KeyboardInterrupt):
        probe()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("make_source", [lambda: draw(300, 0), Stream])
def test_a_gpu_gives_the_same_scores(make_source):
    params = {"noise_levels": [1.0]}
    expected = probe(make_source(), **params)
    result = probe(make_source(), **params, device="cuda")
    assert_allclose(result.accuracy, expected.accuracy, atol=0.01)
    noisy = result.robustness[0]["accuracy"]
    assert_allclose(noisy, expected.robustness[0]["accuracy"], atol=0.01)


# Results


def test_a_result_becomes_json_and_text():
    X, y = draw(300, 2)
    result = probe(test=(X[y != "b"], y[y != "b"]), noise_levels=[0.5])
    read = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert read["auroc"] is None and read["robustness"][0]["auroc"] is None
    assert read["accuracy"] == result.accuracy
    assert read["n_steps"] == 200
    assert read["robustness"][0]["noise_level"] == 0.5
    assert read["robustness"][0]["f1"] == result.robustness[0]["f1"]
    text = str(result)
    assert f"{result.accuracy:.4f}" in text and "200 steps" in text
    assert "the test samples lack the classes ['b']" in text
    with pytest.raises(AttributeError):
        result.accuracy = 1.0


def test_text_of_a_result_without_noise():
    text = str(ProbeResult(0.5, 0.5, 0.75, 0.5, 0.0, 0.7, 3, 1500))
    shown = ["none", "0.5000", "0.5000", "0.7500", "0.5000", "0.0000"]
    assert text.splitlines()[1].split() == shown
    assert text.endswith("Validation loss 0.7000; 3 epochs, 1,500 steps.")


# Errors


def broken(part, value=None, column=slice(None)):
    X, y = draw(300, 2)
    if part == "X":
        X = X.copy()
        X[1, 2] = value
        return X, y
    return X, value


NAN = broken("X", np.nan)
BAD_PARTS = [
    (NAN, "contains NaN"),
    (broken("X", np.inf), "contains infinity"),
    ((np.empty((0, 5)), np.array([], dtype=str)), "0 sample"),
    ((np.ones((4, 3)), list("abca")), "features, and X_val has"),
    ((np.ones(4), list("abca")), "Expected 2D array"),
    ((draw(4, 0)[0], list("abc")), "inconsistent numbers of samples"),
    ((draw(4, 0)[0], [0.1, 0.5, 0.7, 0.2]), "continuous"),
    ((draw(4, 0)[0], ["a", None, "b", "c"]), "none missing"),
    ((draw(4, 0)[0], np.array(["a", 1, "b", "c"], dtype=object)), "all strings or all"),
    ((draw(4, 0)[0], [0, 1, 2, 0]), "Labels must be strings in all parts"),
    ((draw(4, 0)[0].astype(str), list("abca")), "must hold numbers"),
    ((draw(4, 0)[0] * 1e200, list("abca")), "too large|extreme size"),
]


@pytest.mark.parametrize("part", ["source", "val", "test"])
@pytest.mark.parametrize(("rows", "message"), BAD_PARTS)
def test_faulty_rows_are_refused_before_training(part, rows, message, monkeypatch):
    monkeypatch.setattr("skcvae.metrics._probe.train_head", None)
    with pytest.raises(ValueError, match=message) as error:
        probe(**{part: rows})
    name = {"source": "source", "val": "_val", "test": "_test"}[part]
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :3], y), "3 features, and X_val has 5"),
        (lambda X, y: (X[:5], y[:5]), "batches of 32 samples and yielded 5"),
        (lambda X, y: (X, y[:5]), "inconsistent numbers of samples"),
        (lambda X, y: X, "pair .X, y., got ndarray"),
        (lambda X, y: (X[0], y), "Expected 2D array"),
        (lambda X, y: (X * np.nan, y), "contains NaN"),
        (lambda X, y: (X, np.arange(32) + 0.5), "continuous"),
        (lambda X, y: (X, np.arange(32)), "Labels must be strings"),
    ],
)
@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_faulty_streams_are_refused_before_training(change, message, monkeypatch):
    monkeypatch.setattr("skcvae.metrics._probe.train_head", None)
    with pytest.raises(ValueError, match=message):
        probe(Stream(change))


@pytest.mark.parametrize("n_batches", [0, 2, 70])
def test_a_stream_that_ends_is_refused(n_batches):
    class Ending:
        def batches(self, batch_size, random_state):
            return islice(Stream().batches(batch_size, random_state), n_batches)

    with pytest.raises(ValueError, match="must yield for ever"):
        probe(Ending())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"noise_levels": [0.5, -1.0]}, "none negative"),
        ({"noise_levels": 0.5}, "noise_levels"),
        ({"noise_levels": [np.nan]}, "noise_levels contains NaN"),
        ({"source": (np.ones((3, 5)),)}, "pair"),
        ({"source": "rows"}, "source"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
        ({"average": "micro"}, "average"),
        ({"device": "nonsense"}, "device='nonsense'"),
    ],
)
def test_faulty_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        probe(**params)


@pytest.mark.parametrize("part", range(4))
def test_a_part_that_is_missing_is_refused(part):
    parts = [*draw(9, 1), *draw(9, 2)]
    parts[part] = None
    name = ["X_val", "y_val", "X_test", "y_test"][part]
    with pytest.raises(ValueError, match=name):
        linear_probe(draw(9, 0), *parts)


def test_parts_of_one_class_or_one_row_are_refused():
    X, y = draw(300, 2)
    one = X[y == "a"], y[y == "a"]
    with pytest.raises(ValueError, match="y_test holds one class"):
        probe(test=one)
    with pytest.raises(ValueError, match=r"source and y_val hold \['a'\]"):
        probe(one, one)
    with pytest.raises(ValueError, match="X_val has a standard deviation of 0"):
        probe(val=(X[:1], y[:1]))


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="loss of the probe"):
        probe(lr=1e38)


# Real embeddings


@pytest.mark.skipif(
    not (DATA / "mvtec_resnet18.npz").exists(),
    reason="needs mvtec_resnet18.npz in SKCVAE_DATA",
)
def test_on_real_embeddings_half_precision_included():
    data = load_embeddings(DATA / "mvtec_resnet18.npz")
    with np.load(DATA / "mvtec_resnet18.npz") as file:
        anomaly = file["anomaly"]
    y = np.char.add(data.y.astype(str), np.array(["", " broken"])[anomaly])
    X, X_test, y, y_test = train_test_split(
        data.X, y, test_size=0.3, random_state=0, stratify=y
    )
    X, X_val, y, y_val = train_test_split(
        X, y, test_size=0.3, random_state=0, stratify=y
    )
    result = linear_probe(
        (X, y), X_val, y_val, X_test, y_test, max_epochs=12, random_state=0
    )
    scale = X.std()
    expected = LogisticRegression(C=0.01, tol=0.01).fit(X / scale, y)
    predicted = expected.predict(X_test / scale)
    assert result.accuracy > accuracy_score(y_test, predicted) - 0.03
    macro = f1_score(y_test, predicted, average="macro")
    assert result.f1 > macro - 0.03
    assert 0.9 < result.auroc < 1
