"""What the benchmark scripts compute besides what the library does."""

import importlib.util
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import import_time
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn

from skcvae.datasets import make_long_tailed
from skcvae.generators import CVAE, ClassGaussian
from skcvae.generators._cvae_net import SmallBackbone

EXAMPLES = Path(__file__).parents[1] / "examples" / "benchmarks"
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # Its dataclasses look their module up.
        patch.setitem(importlib.sys.modules, name, module)
        spec.loader.exec_module(module)
    return module


closed_form = load_script("closed_form_benchmark")
common = load_script("_common")
generators = load_script("generator_benchmark")
options = load_script("cvae_training_options")
oracle = load_script("oracle_benchmark")
quality = load_script("quality_benchmark")
scale = load_script("scale_benchmark")
schedules = load_script("schedule_benchmark")
sites = load_script("sites_benchmark")
splits = load_script("_splits")
sweep = load_script("variance_sweep")
tables = load_script("table_benchmark")
table_splits = load_script("_tables")


@pytest.fixture(scope="module")
def digits():
    """Training and test rows of a long tail, in units of one scale."""
    X, y = load_digits(return_X_y=True)
    X_train, y_train = make_long_tailed(
        X[:900], y[:900], imbalance_ratio=10, random_state=0
    )
    X_train, X_test = common.global_scale(X_train, X[900:])
    return X_train, y_train, X_test, y[900:]


# The oracle


def test_import_times_of_all_modules_are_summed(monkeypatch):
    lines = (
        "import time: self [us] | cumulative | imported package",
        "import time:       100 |        100 |   inner",
        "A warning of a module.",
        "import time:       250 |        350 | outer",
    )
    done = SimpleNamespace(stderr="\n".join(lines))
    monkeypatch.setattr(import_time.subprocess, "run", lambda *_, **__: done)
    assert import_time.import_seconds("import outer") == 350e-6


def test_means_of_another_generator_are_in_the_same_place(digits):
    X, y, X_test, y_test = digits
    X_test = 2 * X_test + 1
    own = ClassGaussian().fit(X, y)
    other = ClassGaussian(mean_shrinkage=0).fit(X_test, y_test)
    changed = oracle.with_means_of(own, other)
    means = [X_test[y_test == label].mean(axis=0) for label in range(10)]
    found = changed.offset_ + changed.class_means_ * changed.scale_
    varies = own.scale_ > 0
    np.testing.assert_allclose(found[:, varies], np.array(means)[:, varies], atol=1e-4)
    np.testing.assert_array_equal(changed.covariance_, own.covariance_)


def test_real_samples_are_those_of_the_class(digits):
    X, y, _, _ = digits
    drawn, labels = oracle.RealSamples().fit(X, y).sample(40, random_state=0)
    assert len(np.unique(labels)) > 3
    for row, label in zip(drawn, labels, strict=True):
        assert (X[y == label] == row).all(axis=1).any()


# The closed form


def test_row_of_a_method_has_every_column(digits):
    row = closed_form.measure(digits, {"l2": 0.01})
    assert len(row) == len(closed_form.COLUMNS)
    accuracy, balanced, *_, loss, seconds = row
    assert 70 < accuracy < 100 and 70 < balanced < 100
    assert 0 < loss < 1.5 and seconds > 0


# The table of all generators


def test_holm_adjusts_as_by_hand():
    p_values = np.array([0.01, 0.04, 0.03, 0.9])
    np.testing.assert_allclose(generators.holm(p_values), [0.04, 0.09, 0.09, 0.9])


def test_row_of_a_generator_has_every_column(digits, monkeypatch):
    monkeypatch.setattr(generators, "N_DRAWN", 100)
    short = generators.LongTailClassifier
    monkeypatch.setattr(
        generators, "LongTailClassifier", lambda *a, **k: short(*a, max_epochs=2, **k)
    )
    split = splits.Split(*digits, digits[2])
    row = generators.measure(split, ClassGaussian(), seed=0)
    assert len(row) == len(generators.COLUMNS) == len(generators.FORMATS)
    online, offline, _, _, coverage, auc, *seconds = row
    assert 50 < offline <= 100
    assert 0 <= online <= 100
    assert 0 <= coverage <= 1
    assert 0.3 < auc < 0.8
    assert min(seconds) > 0


def test_balance_keeps_training_rows_first_and_evens_the_classes(digits):
    split = splits.Split(*digits, digits[2])
    X, y = generators.balance(split, ClassGaussian(random_state=0).fit(*digits[:2]))
    np.testing.assert_array_equal(X[: len(split.X)], split.X)
    assert len(set(np.bincount(y))) == 1


def test_differences_are_paired_by_seed(capsys):
    rng = np.random.RandomState(0)
    base = rng.normal(size=(4, len(generators.COLUMNS))) * 100
    rows = {name: base + i for i, name in enumerate(generators.GENERATORS)}
    rows["CVAE"] = base + np.array([1.0, 2, 3, 4])[:, None]
    generators.print_differences(rows)
    printed = {line[:20].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert "ClassGaussian" not in printed
    # Seeds differ by hundreds, differences do not.
    assert "+1.000 ±0.000" in printed["ClassGaussian, full"].replace(" ±  ", " ±")
    interval = stats.t.interval(0.95, 3, 2.5, stats.sem([1, 2, 3, 4]))
    assert f"+2.500 ±{interval[1] - 2.5:.3f}" in printed["CVAE"].replace("± ", "±")


def test_ranks_give_the_better_of_two_the_lower_number(capsys):
    scores = {
        "SMOTE": np.arange(12.0),
        "best": np.arange(12.0) + 3,
        "worst": -np.ones(12),
    }
    generators.print_ranks(scores)
    printed = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in printed if line.strip()][2:]
    assert names == ["best", "SMOTE", "worst"]
    expected = stats.wilcoxon(scores["best"], scores["SMOTE"]).pvalue
    assert f"{min(2 * expected, 1):.2g}" in printed[-3]


# Quality


def test_smote_rows_are_new_and_of_the_labels_asked_for(digits):
    X, y, *_ = digits
    labels = np.repeat([0, 8], [5, 7])
    X_new, y_new = quality.smote(X, y)(labels, seed=0)
    assert sorted(y_new.tolist()) == labels.tolist()
    assert not {row.tobytes() for row in X_new} & {row.tobytes() for row in X}


def test_real_rows_are_drawn_once_each_as_far_as_there_are_enough(digits):
    X, y, *_ = digits
    draw = quality.Subset(X, y)
    drawn, labels = draw(np.repeat([0, 1], [10, 10_000]), seed=0)
    assert np.bincount(labels).tolist() == [10, (y == 1).sum()]
    rows = {row.tobytes(): label for row, label in zip(X, y, strict=True)}
    for row, label in zip(drawn, labels, strict=True):
        assert rows[row.tobytes()] == label


# Training options


@pytest.fixture
def batch(torch_seed):
    y = torch.tensor([0] * 60 + [1] * 30 + [2])
    x = torch.randn(91, 8) + 10 * y[:, None]
    return {"x": x, "y": y}, x


NET = SimpleNamespace(module__n_classes=3)


def test_mixup_stays_within_classes(batch):
    inputs, target = batch
    before = target.clone()
    options.Mixup().on_batch_begin(NET, batch, training=True)
    assert inputs["x"] is target
    assert (target != before).any(dim=1).sum() > 80
    distance = (target.mean(dim=1) - 10 * inputs["y"]).abs()
    assert distance.max() < 4


def test_cutmix_gives_each_row_the_share_of_labels_that_its_features_have(batch):
    inputs, target = batch
    before, y = target.clone(), inputs["y"]
    options.CutMix().on_batch_begin(NET, batch, training=True)
    assert inputs["x"] is target
    own = (target == before).float().mean(dim=1)
    others = (target == before.roll(1, 0)).float().mean(dim=1)
    assert (own + others == 1).all()
    shares = torch.zeros(91, 3)
    shares.index_put_((torch.arange(91), y), own, accumulate=True)
    shares.index_put_((torch.arange(91), y.roll(1)), others, accumulate=True)
    torch.testing.assert_close(inputs["y"], shares)


@pytest.mark.parametrize("kind", [options.Mixup, options.CutMix])
def test_validation_batches_are_not_mixed(kind, batch):
    before = batch[1].clone()
    kind().on_batch_begin(NET, batch, training=False)
    assert torch.equal(batch[1], before) and batch[0]["y"].shape == (91,)


def test_a_whole_share_of_one_class_is_its_label():
    y = torch.tensor([2, 0])
    module = options.MixedVAE(SmallBackbone, 4, 3, latent_dim=2, hidden_dim=5)
    nn.init.normal_(module.noise_scale.class_bias.weight)
    x = torch.randn(2, 4)
    for one, other in zip(
        module.encode(x, y),
        module.encode(x, nn.functional.one_hot(y, 3).float()),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", options.OPTIONS)
def test_every_option_trains(name, digits, monkeypatch):
    quick = partial(CVAE, hidden_dim=16)
    monkeypatch.setattr(options, "CVAE", quick)
    make_params, params = options.OPTIONS[name]
    monkeypatch.setitem(
        options.OPTIONS, name, (make_params, params | {"max_epochs": 2})
    )
    likelihood, overall, _, epochs = options.measure(name, digits, 0)
    assert np.isnan(likelihood) == name.startswith("thesis")
    assert overall > 20 and epochs == 2


def test_sweep_has_an_accuracy_for_each_variance(digits):
    cvae = CVAE(max_epochs=2, device="cpu", random_state=0)
    accuracies = sweep.sweep(splits.Split(*digits, digits[2]), cvae)
    assert len(accuracies) == len(sweep.VARIANCES)
    assert min(accuracies) > 10


def test_ledger_goes_on_where_a_run_was_interrupted(tmp_path):
    path = tmp_path / "rows.jsonl"
    ledger = common.Ledger(path)
    assert ledger.get(("digits", 0, "CVAE"), lambda: np.array([1.5, np.nan]))[0] == 1.5
    with pytest.raises(ZeroDivisionError):
        ledger.get(("digits", 0, "VAE"), lambda: 1 / 0)
    again = common.Ledger(path)
    found = again.get(("digits", 0, "CVAE"), lambda: pytest.fail("known already"))
    np.testing.assert_array_equal(found, [1.5, np.nan])
    assert again.get(("digits", 0, "VAE"), lambda: [2]) == [2.0]
    assert len(path.read_text().splitlines()) == 2


def test_table_is_collected_over_seeds_and_read_once_each(digits, monkeypatch):
    monkeypatch.setattr(generators, "GENERATORS", {"known": ClassGaussian()})
    monkeypatch.setattr(
        generators, "measure", lambda split, g, seed: [seed, split.seen]
    )
    seen = []

    def split(seed):
        seen.append(seed)
        return SimpleNamespace(**vars(splits.Split(*digits, digits[2])), seen=7)

    table = generators.collect(common.Ledger(None), "digits", split, range(2))
    assert seen == [0, 1]
    assert table["known"].tolist() == [[0, 7], [1, 7]]
    assert table["SMOTE"].shape == (2, len(generators.COLUMNS))


# Tables


@pytest.fixture(scope="module")
def drawer():
    """Contenders on a table with gaps, and a rule that ties its categories."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], [220, 60])
    city = rng.choice(["Bonn", "Trier"], 280).astype(object)
    X = pd.DataFrame(
        {
            "age": rng.randint(18, 60, 280) + 30 * y,
            "income": np.where(
                rng.uniform(size=280) < 0.1, np.nan, rng.normal(size=280)
            ),
            "city": city,
            "state": np.where(city == "Bonn", "north", "south").astype(object),
        }
    )
    split = table_splits.halve(X, y, 0)
    split.categories = ["city", "state"]
    split.rules = ["age >= 18", table_splits.SeenTogether(X, ["city", "state"])]
    return tables.Drawer(lambda: split, seed=0)


@pytest.mark.parametrize("name", [*tables.PLAIN, *tables.SAMPLERS[:-1]])
def test_scores_of_a_table_have_every_column(drawer, name):
    row = dict(zip(tables.COLUMNS, tables.measure(drawer, name), strict=True))
    assert 80 < row["LR AUROC"] <= 100 and 80 < row["GB AUROC"] <= 100
    assert 60 < row["LR bal"] <= 100 and 60 < row["GB bal"] <= 100
    assert np.isnan(row["broken %"]) == (name in tables.PLAIN)


def test_fidelity_of_copies_is_better_than_that_of_shuffled_columns(drawer):
    def shuffled(name, wanted):
        X, y, seconds = drawer(name, wanted)
        rng = np.random.RandomState(0)
        return X.apply(lambda column: rng.permutation(column)), y, seconds

    class Shuffled:
        split, __call__ = staticmethod(drawer.split), staticmethod(shuffled)

    copied = tables.measure_fidelity(drawer, "random")
    broken = tables.measure_fidelity(Shuffled(), "random")
    assert copied[0] == copied[2] == 1
    assert copied[4] == 100 and broken[4] < 10
    # Two of ten pairs are associated: city with state, and age with the class.
    assert broken[0] == 0.8 and broken[1] > 3 * copied[1]


def test_scores_are_printed_with_ranks_over_both_kinds_of_tables(
    drawer, monkeypatch, capsys
):
    for name, value in (
        ("FILES", dict.fromkeys("abc")),
        ("numeric_names", lambda data: ["d", "e"]),
        ("split_mixed", lambda *_: drawer.read()),
        ("split_numeric", lambda *_: drawer.read()),
        ("measure", lambda drawer, name: [len(name)] * len(tables.COLUMNS)),
    ):
        monkeypatch.setattr(tables, name, value)
    tables.Run(None, list("abc"), 2, 1, common.Ledger(None)).scores()
    printed = capsys.readouterr().out
    assert "3 mixed tables, mean of 2 seeds" in printed
    assert "2 numeric tables, mean of 2 seeds" in printed
    assert printed.count("mean rank") == 4
    ranks = printed[printed.index("mean rank") :].splitlines()[1:]
    assert ranks[0].split()[0] in ("ClassGaussian", "class")


def test_scaled_smote_gives_numbers_in_units_of_the_table(drawer):
    X, y, _ = drawer("SMOTE, scaled", [0, 50])
    assert y.tolist() == [1] * 50
    split = drawer.split("SMOTE")
    assert (X.dtypes == split.X.dtypes).all()
    real = split.X[split.y == 1]
    for name in split.numbers:
        assert real[name].min() <= X[name].min() < X[name].max() <= real[name].max()


def test_rules_are_counted_by_sample():
    table = pd.DataFrame({"a": [1, 2, 3, 4], "b": [1, 1, 5, 9]})
    tied = table_splits.SeenTogether(table[:3], ["a", "b"])
    assert tables.broken(["b <= a", tied], table) == 50
    assert tables.broken([tied], table) == 25
    assert np.isnan(tables.broken([], table))


def test_each_kind_of_violation_is_found():
    X = pd.DataFrame({"n": [1, 2, 3, 4], "c": list("aabb")})
    split = table_splits.TableSplit(X, None, X, None, ["c"], ["n > 1 | c == 'a'"])
    assert tables.find_violations(split, X).tolist() == [0, 0, 0, 0]
    wrong = pd.DataFrame({"n": [0.0, 1.5, 5.0, 1.0], "c": list("aczb")})
    assert tables.find_violations(split, wrong).tolist() == [2, 1, 2, 1]


def test_only_the_smaller_class_is_cut_to_a_tenth():
    y = np.repeat([1, 0], [100, 40])
    kept = table_splits.make_imbalanced(y, seed=0)
    assert np.bincount(y[kept]).tolist() == [10, 100]
    small = np.repeat([0, 1], [100, 4])
    assert len(table_splits.make_imbalanced(small, seed=0)) == 104


def test_deep_contenders_draw_as_many_of_each_class_as_wanted():
    class Deep:
        def sample(self, n):
            return pd.DataFrame({"a": np.arange(n), "target": np.arange(n) % 3})

    X, y = tables.draw_deep(Deep(), ["a"], [2, 0, 700])
    assert np.bincount(y).tolist() == [2, 0, 700]
    assert (X["a"] % 3 == y).all()


# Several sites


def test_attacks_see_as_many_members_as_test_samples_of_each_class():
    y, y_test = np.repeat([0, 1, 2], [5, 3, 1]), np.repeat([0, 1, 2], [2, 4, 2])
    X = np.zeros((9, 2))
    samples = sites.Samples(X, y, y, X[:8], y_test, X, y)
    members, others = sites.attacked_parts(samples, seed=0)
    assert len(set(members)) == len(members) == len(set(others)) == len(others)
    assert np.bincount(y[members]).tolist() == [2, 3, 1]
    assert np.bincount(y_test[others]).tolist() == [2, 3, 1]


def test_moments_of_small_classes_at_a_site_are_left_out():
    first = np.arange(6.0)[:, None], np.repeat([0, 1], [4, 2])
    second = np.arange(3.0)[:, None], np.repeat([1, 2], [1, 2])
    moments = sites.add_moments([first, second], min_class_size=2)
    assert moments.classes.tolist() == [0, 1, 2]
    assert moments.counts.tolist() == [4, 2, 2]
    assert moments.means.ravel().tolist() == [1.5, 4.5, 1.5]


# Data of iNaturalist's size


@pytest.mark.parametrize("n_samples", [437_513, 43_751])
def test_class_sizes_are_those_that_are_promised(n_samples):
    counts = scale.inaturalist_sizes(n_samples)
    assert len(counts) == 8_142
    assert counts.sum() == n_samples
    assert (counts[0], counts[-1]) == (1_000, 2)
    assert (np.diff(counts) <= 0).all()
    X, y = scale.gaussian_classes(counts[-100:], 3)
    np.testing.assert_array_equal(np.bincount(y), counts[-100:])
    assert X.shape == (counts[-100:].sum(), 3)


# Schedules


def test_schedules_are_chosen_on_validation_samples(monkeypatch, capsys):
    def accuracies(parts, params, seed):
        value = next(iter(params.values()))
        if not callable(value):
            # Validation prefers 2, or 0.2, and test samples the largest.
            best = 2.0 if "variance" in params else 0.2
            return [70.0 + (value == best), 60 + value]
        rises = type(value).__name__ == "EpochSchedule" and value.start < value.end
        return [70.0 + rises * value.end, 63.0 + seed / 10]

    monkeypatch.setattr(schedules, "read", lambda data, seed: seed)
    monkeypatch.setattr(schedules, "accuracies", accuracies)
    schedules.main(None, 3)
    printed = capsys.readouterr().out
    assert "share: 60.20 with 0.2, 63.10 with EpochSchedule(start=0.2" in printed
    # Differences of 1.0, 1.1 and 1.2: their standard error is 0.0577, and t is 4.303.
    assert "variance: 62.00 with 2.0, 63.10 with EpochSchedule(start=1.0" in printed
    assert printed.strip().endswith("+1.10 ± 0.25")
