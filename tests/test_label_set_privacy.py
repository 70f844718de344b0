"""Anonymizers, releases and audits of label sets: rare combinations do not leave."""

import json
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from test_fuzz_releases import pack

from skcvae._mean_leakage import estimate_mean_leakage
from skcvae._record_sets import row_hashes
from skcvae._statistics import auc
from skcvae.anonymization import (
    CVAEAnonymizer,
    GenerativeAnonymizer,
    KSameAnonymizer,
    SyntheticDataset,
    load,
    merge_releases,
)
from skcvae.anonymization._rare_label_sets import settle_rare_label_sets
from skcvae.generators import (
    ClassGaussian,
    DPClassGaussian,
    FlowMatching,
    TableGenerator,
)
from skcvae.over_sampling import GenerativeOverSampler
from skcvae.privacy import (
    class_gaussian_attack,
    label_inference_gap,
    latent_search_attack,
    privacy_audit,
)

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}")
    for text in (
        ".* labels have no training sample",
        ".* had rare label sets",
        "Generated samples are too alike",
        "The CVAE uses none of its latent dimensions",
        "Few records",
    )
]

N_FEATURES = 8
EFFECTS = np.random.RandomState(7).normal(scale=2, size=(6, N_FEATURES))
MERGING = GenerativeAnonymizer(small_classes="merge", random_state=0)
MERGING_CVAE = CVAEAnonymizer(
    small_classes="merge",
    hidden_dim=16,
    latent_dim=4,
    max_epochs=2,
    device="cpu",
    random_state=0,
)
TABLE = TableGenerator(
    encoding="given",
    combinations="any",
    bounds=dict.fromkeys(range(N_FEATURES), (-20, 20)),
)
BOTH = pytest.mark.parametrize("anonymizer", [MERGING, MERGING_CVAE], ids=["g", "cvae"])


def draw_data(n_samples=400, seed=0, share=(0.5, 0.3, 0.2, 0.1, 0.05, 0.01)):
    """Return samples with additive effects of labels, and their label sets."""
    rng = np.random.RandomState(seed)
    Y = (rng.uniform(size=(n_samples, len(share))) < share).astype(int)
    return Y @ EFFECTS[: len(share)] + rng.normal(size=(n_samples, N_FEATURES)), Y


def keys(sets):
    """Return label sets as tuples of positions."""
    return [tuple(np.flatnonzero(one).tolist()) for one in np.asarray(sets)]


def rare_keys(Y, least=10):
    """Return the label sets of fewer samples."""
    sets, counts = np.unique(Y, axis=0, return_counts=True)
    return set(keys(sets[counts < least]))


# Merging


@pytest.mark.parametrize("seed", range(20))
def test_each_merged_set_has_k_distinct_samples(seed):
    rng = np.random.RandomState(seed)
    n_samples, n_labels, least = rng.randint([30, 2, 1], [300, 12, 15])
    sets = rng.uniform(size=(n_samples, n_labels)) < rng.uniform(size=n_labels)
    sets[: least + 1] = True  # one set at least is kept
    X = rng.normal(size=(n_samples, 3))
    X[5:9] = X[4]  # copies, which count once
    merged, left_out = settle_rare_label_sets(X, sets, "merge", least)
    own = {key: set() for key in keys(merged[~left_out])}
    kept = keys(merged[~left_out]), row_hashes(X[~left_out])
    for key, sample in zip(*kept, strict=True):
        own[key].add(sample)
    assert min(map(len, own.values())) >= least
    # Labels are lost, and none is added.
    assert (merged <= sets).all()
    assert not merged[left_out].any() and left_out.sum() < least + 4
    assert merged[~left_out].sum(axis=0)[merged.any(axis=0)].min() >= least


def test_the_rarest_label_is_dropped_first():
    sets = np.repeat(
        np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 1, 1], [0, 0, 1], [0, 0, 0]]),
        [4, 5, 2, 1, 3, 1],
        axis=0,
    ).astype(bool)
    X = np.arange(len(sets), dtype=float)[:, None]
    merged, left_out = settle_rare_label_sets(X, sets, "merge", 5)
    # Labels have 12, 5 and 6 samples. {0, 1, 2} loses 1 and then, with {0, 2}, loses 2;
    # {0, 1} loses 1. {2} loses 2, and with the samples without labels it stays rare.
    assert keys(merged[:12]) == [(0,)] * 12
    assert left_out.tolist() == [False] * 12 + [True] * 4


def test_frequent_sets_are_left_alone():
    X, Y = draw_data()
    merged, left_out = settle_rare_label_sets(X, Y.astype(bool), "merge", 10)
    frequent = np.array([key not in rare_keys(Y) for key in keys(Y)])
    assert 0 < frequent.sum() < len(Y)
    assert_array_equal(merged[frequent], Y[frequent])
    assert not left_out.any()


# What leaves


@BOTH
@pytest.mark.parametrize("how", ["merge", "suppress"])
@pytest.mark.filterwarnings("ignore:.* samples are suppressed")
def test_rare_sets_never_leave(anonymizer, how, tmp_path):
    X, Y = draw_data()
    least = anonymizer.min_class_size
    fitted = clone(anonymizer).set_params(small_classes=how)
    X_synthetic = fitted.fit_transform(X, Y)
    assert X_synthetic.shape == X.shape and np.isfinite(X_synthetic).all()
    kept = fitted.published_label_sets_[~fitted.suppressed_]
    _, counts = np.unique(kept, axis=0, return_counts=True)
    assert counts.min() >= least
    release = load(fitted.release(tmp_path / "a.safetensors"))
    opened = pickle.loads(pickle.dumps(fitted))
    assert not hasattr(opened, "published_label_sets_")
    for source in (fitted, opened, release):
        drawn = source.sample(500, random_state=1)[1]
        assert set(keys(drawn)) <= set(keys(source.label_sets_)) == set(keys(kept))
        for one in source.label_sets_.astype(bool):
            # So many samples have all these labels, and with "suppress" no others.
            own = Y[:, one].all(axis=1)
            if how == "suppress":
                own &= ~Y[:, ~one].any(axis=1)
            assert own.sum() >= least


def test_suppressed_samples_hold_the_mean_of_others():
    X, Y = draw_data()
    fitted = clone(MERGING).set_params(small_classes="suppress")
    with pytest.warns(UserWarning, match="samples are suppressed"):
        X_synthetic = fitted.fit_transform(X, Y)
    suppressed = np.array([key in rare_keys(Y) for key in keys(Y)])
    assert_array_equal(fitted.suppressed_, suppressed)
    assert not fitted.published_label_sets_[suppressed].any()
    mean = X_synthetic[~suppressed].mean(axis=0)
    assert_allclose(X_synthetic[suppressed], np.tile(mean, (suppressed.sum(), 1)))
    assert "not covered" in fitted.privacy_statement()


def test_rare_sets_are_counted_and_not_named():
    X, Y = draw_data()
    n_rare, n_samples = len(rare_keys(Y)), sum(key in rare_keys(Y) for key in keys(Y))
    with pytest.raises(ValueError, match="small_classes='merge'") as error:
        GenerativeAnonymizer().fit(X, Y)
    begin = f"{n_rare} label sets, of {n_samples} of 400 samples, have fewer than"
    assert str(error.value).startswith(begin)
    with pytest.raises(ValueError, match="no label is left"):
        clone(MERGING).set_params(min_class_size=400).fit(X, Y)


def test_merging_is_said_with_what_to_publish():
    X, Y = draw_data()
    fitted = clone(MERGING)
    with pytest.warns(UserWarning, match=" of 400 samples had rare label sets") as said:
        fitted.fit_transform(X, Y)
    n_changed = (fitted.published_label_sets_ != Y).any(axis=1).sum()
    assert n_changed > 0
    assert any(str(one.message).startswith(f"{n_changed} of") for one in said)


def test_rare_and_unseen_sets_are_refused_alike():
    X, Y = draw_data()
    fitted = clone(MERGING).fit(X, Y)
    unseen = np.ones((1, 6), dtype=int)
    assert tuple(range(6)) not in keys(Y)
    messages = set()
    for wanted in (unseen, np.eye(6, dtype=int)[5:]):
        with pytest.raises(ValueError, match="1 label sets of y cannot be drawn") as e:
            fitted.sample(y=wanted)
        messages.add(str(e.value))
    assert len(messages) == 1
    drawn, sets = fitted.sample(y=fitted.label_sets_)
    assert len(drawn) == len(fitted.label_sets_)
    assert_array_equal(sets, fitted.label_sets_)


def test_allow_draws_all_and_warns_about_single_samples():
    X, Y = draw_data()
    _, counts = np.unique(Y, axis=0, return_counts=True)
    anonymizer = GenerativeAnonymizer(small_classes="allow", random_state=0)
    with pytest.warns(UserWarning, match=f"^{(counts == 1).sum()} label sets have a"):
        anonymizer.fit(X, Y)
    assert_array_equal(anonymizer.published_label_sets_, Y)


def test_released_means_are_those_of_the_labels():
    X, Y = draw_data(4000)
    fitted = clone(MERGING).fit(X, Y)
    drawn, sets = fitted.sample(20_000, random_state=1)
    single = (sets.sum(axis=1) == 1) & (sets[:, 1] == 1)
    assert_allclose(drawn[single].mean(axis=0), EFFECTS[1], atol=0.25)


# Input


def test_names_of_a_frame_are_kept(tmp_path):
    X, Y = draw_data()
    names = [f"finding {i}" for i in range(6)]
    fitted = clone(MERGING).fit(X, pd.DataFrame(Y, columns=names))
    assert fitted.classes_.tolist() == names
    assert fitted.suppressed_classes_.tolist() == ["finding 5"]
    release = load(fitted.release(tmp_path / "a.safetensors"))
    assert release.classes_.tolist() == names
    with pytest.raises(ValueError, match="not the labels of fit"):
        release.sample(y=pd.DataFrame(Y, columns=names[::-1]))


@BOTH
def test_seeds_and_sparse_label_sets_repeat_the_draws(anonymizer):
    X, Y = draw_data()
    first, second = (clone(anonymizer).fit_transform(X, y) for y in (Y, csr_array(Y)))
    assert_array_equal(first, second)
    other = clone(anonymizer).set_params(random_state=1).fit_transform(X, Y)
    assert not np.array_equal(first, other)


def test_sets_of_one_label_are_drawn_as_classes():
    X, _ = draw_data(300)
    y = np.arange(300) % 3
    of_classes = GenerativeAnonymizer(random_state=0).fit(X, y)
    of_sets = GenerativeAnonymizer(random_state=0).fit(X, np.eye(3, dtype=int)[y])
    drawn = of_sets.sample(y=np.eye(3, dtype=int)[y])[0]
    assert_allclose(drawn, of_classes.sample(y=y)[0], atol=1e-5)
    leakage = of_sets.mean_leakage_
    assert_allclose(leakage.decoder, of_classes.mean_leakage_.decoder)
    assert_allclose(leakage.samples, of_classes.mean_leakage_.samples)


def test_a_pipeline_trains_on_synthetic_samples():
    X, Y = draw_data(800)
    classifier = OneVsRestClassifier(LogisticRegression(max_iter=500))
    pipeline = make_pipeline(clone(MERGING), classifier).fit(X[:600], Y[:600, :4])
    assert (pipeline.predict(X[600:]) == Y[600:, :4]).mean() > 0.85


def test_min_distance_is_kept():
    X, Y = draw_data()
    fitted = clone(MERGING).set_params(min_distance=1.0)
    X_synthetic = fitted.fit_transform(X, Y)
    distances = np.linalg.norm(X_synthetic[:, None] - X[None], axis=2)
    assert distances.min() >= 1 - 1e-6 and fitted.n_redrawn_ > 0
    with pytest.raises(ValueError, match="still closer than"):
        fitted.set_params(min_distance=1e6).fit_transform(X, Y)


@pytest.mark.parametrize(
    ("anonymizer", "message"),
    [
        (KSameAnonymizer(), "GenerativeAnonymizer and CVAEAnonymizer release them"),
        (GenerativeAnonymizer(FlowMatching()), "CVAEAnonymizer release them"),
        (GenerativeAnonymizer(DPClassGaussian(epsilon=1)), "release them"),
        (GenerativeAnonymizer(FrozenEstimator(ClassGaussian())), "FrozenEstimator"),
        (GenerativeAnonymizer(TABLE), "several labels"),
        (CVAEAnonymizer(), "a number as hidden_dim"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_what_takes_classes_only_says_so(anonymizer, message, form):
    X, Y = draw_data(share=(0.5, 0.4))
    with pytest.raises(ValueError, match=message):
        clone(anonymizer).fit(X, form(Y))


# What means of label sets tell


def test_means_of_sets_tell_what_a_simulation_finds():
    share = (0.3, 0.5, 0.15)
    dimension, n_members = 30, 120
    Y = draw_data(n_members, share=share)[1]
    sets, codes = np.unique(Y, axis=0, return_inverse=True)
    codes = codes.ravel()
    rng = np.random.RandomState(0)
    design = np.column_stack([np.ones(n_members), Y])
    found = [([], []) for _ in sets]
    for _ in range(60):
        U, others = rng.normal(size=(2, n_members, dimension))
        fitted = design @ np.linalg.lstsq(design, U, rcond=None)[0]
        for code in range(len(sets)):
            of_set = codes == code
            mean = fitted[of_set][0]
            found[code][0].extend(U[of_set] @ mean)
            found[code][1].extend(others[of_set] @ mean)
    leakage = estimate_mean_leakage(rng.normal(size=(n_members, dimension)), Y)
    assert_array_equal(leakage.classes, sets)
    leakage.effective_dimension = dimension
    simulated = [auc(*map(np.array, both), 0.95).value for both in found]
    assert_allclose(leakage.auc(), simulated, atol=0.03)
    assert (leakage.mean_count >= leakage.class_count - 1e-9).all()


def test_too_telling_means_of_sets_are_refused(tmp_path):
    rng = np.random.RandomState(0)
    Y = np.repeat(np.array([[1, 0], [0, 1], [1, 1]]), 4, axis=0)
    X = rng.normal(size=(12, 60))
    fitted = GenerativeAnonymizer(min_class_size=4, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="is expected for a label set of 4 samples"):
        fitted.release(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="a label set"):
        fitted.batches(4)


# Releases


@BOTH
def test_a_release_draws_what_the_anonymizer_draws(anonymizer, tmp_path):
    X, Y = draw_data()
    fitted = clone(anonymizer).fit(X, Y)
    path = fitted.release(tmp_path / "a.safetensors", class_prior="training")
    release = load(path)
    n_sets = len(fitted.label_sets_)
    assert repr(release) == f"<Release of {n_sets} label sets and 8 features>"
    for given in ({"n_samples": 40}, {"y": fitted.published_label_sets_}):
        drawn, again = (s.sample(random_state=3, **given) for s in (fitted, release))
        assert_allclose(drawn[0], again[0], atol=1e-4)
        assert_array_equal(drawn[1], again[1])
    with pytest.raises(ValueError, match="cannot be drawn"):
        release.sample(y=np.ones((1, 6), dtype=int))
    z = np.zeros((n_sets, release.make_decoder("cpu").latent_dim))
    sets = release.label_sets_
    assert_allclose(
        release.decode(z, sets), fitted.generator_.decode(z, sets), atol=1e-4
    )
    stream = release.make_stream(sets[::-1], torch.device("cpu"), variance=0.0)
    codes = torch.arange(n_sets)
    drawn = stream(codes, torch.Generator().manual_seed(0))
    assert drawn.shape == (n_sets, N_FEATURES)
    with pytest.raises(ValueError, match="cannot be merged"):
        merge_releases([release, release])


def test_batches_and_data_sets_have_label_sets(tmp_path):
    X, Y = draw_data()
    fitted = clone(MERGING).fit(X, Y)
    release = load(fitted.release(tmp_path / "a.safetensors"))
    for source in (fitted, release):
        assert next(source.batches(7))[1].shape == (7, 6)
        x, targets = next(iter(SyntheticDataset(source, 7, random_state=0)))
        assert x.shape == (7, N_FEATURES)
        assert targets.shape == (7, 6) and targets.dtype == torch.float32


def test_classes_are_not_drawn_from_a_release_of_label_sets(tmp_path):
    X, Y = draw_data()
    release = load(clone(MERGING).fit(X, Y).release(tmp_path / "a.safetensors"))
    y = np.repeat(np.arange(6), [200, 40, 40, 40, 40, 40])
    sampler = GenerativeOverSampler(FrozenEstimator(release))
    with pytest.raises(ValueError, match="The frozen Release draws label sets"):
        sampler.fit_resample(X, y)
    with pytest.raises(ValueError, match="This Release draws label sets"):
        release.sample.plan_blocks(release, y, 0, 1000)


def test_a_file_holds_no_count(tmp_path):
    X, Y = draw_data()
    fitted = clone(MERGING).fit(X, Y)
    content = fitted.release(tmp_path / "a.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    manifest = json.loads(header["__metadata__"]["manifest"])
    assert manifest["label_sets"] == [list(range(6)), "int64"]
    n_sets = len(fitted.label_sets_)
    assert manifest["classes"] == list(range(n_sets))
    shapes = {name: entry["shape"] for name, entry in manifest["tensors"].items()}
    assert shapes["label_sets"] == [n_sets, 6]
    assert not any(len(X) in shape for shape in shapes.values())


def test_numbers_of_released_sets_do_not_tell_of_one_that_is_left_out(tmp_path):
    X, _ = draw_data(81)
    Y = np.repeat([[1, 0], [0, 1], [0, 0]], [40, 1, 40], axis=0)
    fitted = GenerativeAnonymizer(
        small_classes="allow", max_mean_leakage=1, random_state=0
    )
    with pytest.warns(UserWarning, match="1 label sets have a single sample"):
        fitted.fit(X, Y)
    release = load(fitted.release(tmp_path / "a.safetensors"))
    assert_array_equal(release.label_sets_, [[1, 0], [0, 0]])
    assert release.manifest_["classes"] == [0, 1]


FORGED_NAMES = [
    None,
    [],
    [["a", "b"]],
    [["a"], "str"],
    [["a", "a"], "str"],
    [[1, 2], "str"],
    ["ab", "str"],
    [["a", "b"], []],
    [["a", "b", "c"], "str"],
]


@pytest.mark.parametrize("names", FORGED_NAMES, ids=str)
def test_forged_names_of_labels_are_refused(names, tmp_path):
    with pytest.raises(ValueError, match="cannot be used as a release"):
        load(forge(tmp_path, names=names))


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([[1, 0], [0, 2], [1, 1]], "other values than 0 and 1"),
        ([[1, 0], [0, 0.5], [1, 1]], "other values than 0 and 1"),
        ([[1, 0], [1, 0], [1, 1]], "are not different"),
        ([[1, 0], [0, np.nan], [1, 1]], "not finite"),
    ],
)
def test_forged_label_sets_are_refused(sets, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load(forge(tmp_path, sets=sets))


def test_the_forger_can_write_a_release(tmp_path):
    sets = [[0, 0], [1, 0], [0, 1]]
    release = load(forge(tmp_path, sets=sets, names=[["a", "b"], "str"]))
    assert_array_equal(release.label_sets_, np.array(sets, dtype=bool))
    assert release.sample(4)[1].shape == (4, 2)


def forge(folder, sets=None, names=False):
    """Return a release of three label sets with another table, signed again."""
    X, _ = draw_data(60)
    Y = np.repeat(np.array([[1, 0], [0, 1], [1, 1]]), 20, axis=0)
    path = (
        GenerativeAnonymizer(random_state=0).fit(X, Y).release(folder / "a.safetensors")
    )
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    manifest = json.loads(header.pop("__metadata__")["manifest"])
    body = bytearray(content[8 + size :])
    if sets is not None:
        begin, end = header["label_sets"]["data_offsets"]
        body[begin:end] = np.array(sets, dtype=np.float32).tobytes()
    if names is not False:
        manifest["label_sets"] = names
    path.write_bytes(pack(header, manifest, body))
    return path


# Audits


class Leaky:
    """A release that returns copies of training samples, slightly moved."""

    def __init__(self, X, Y, knows_sets):
        self.X, self.Y, self.classes_ = X, Y, np.arange(Y.shape[1])
        if knows_sets:
            self.label_sets_ = np.unique(Y, axis=0)

    def sample(self, n_samples=None, *, y=None, random_state=None):
        """Return a member of each label set that is asked for."""
        rng = np.random.RandomState(0)
        turn, chosen = {}, []
        for wanted in np.asarray(y, dtype=int):
            own = np.flatnonzero(np.equal(self.Y, wanted).all(axis=1))
            n = turn[wanted.tobytes()] = turn.get(wanted.tobytes(), -1) + 1
            chosen.append(own[n % len(own)])
        noise = 0.01 * rng.normal(size=(len(chosen), self.X.shape[1]))
        return self.X[chosen] + noise, np.asarray(y, dtype=int)


@pytest.fixture(scope="module")
def parts():
    return [part for seed in range(3) for part in draw_data(200, seed=seed)]


@pytest.mark.parametrize("kind", ["tuple", "source", "source of known sets"])
def test_planted_copies_are_found(parts, kind):
    release = Leaky(*parts[:2], knows_sets=kind.endswith("sets"))
    if kind == "tuple":
        release = release.sample(y=parts[1])
    audit = privacy_audit(release, *parts, random_state=0)
    assert audit.maximum.low > 0.95
    assert any(figure.beyond_chance for figure in audit.headline)


def test_a_clean_release_is_audited_by_set(parts, tmp_path):
    fitted = clone(MERGING).fit(*parts[:2])
    release = load(fitted.release(tmp_path / "a.safetensors"))
    for source in (fitted, release):
        audit = privacy_audit(source, *parts, random_state=0)
        assert not any(figure.beyond_chance for figure in audit.headline)
        names = {attack.result.name for attack in audit.attacks}
        assert {"latent_search", "subspace", "likelihood"} <= names
        known = {str(list(key)) for key in keys(fitted.label_sets_)}
        assert {row.label for row in audit.classes} <= known
        assert audit.formal["guarantee"] == "no formal guarantee"


def test_audits_of_sparse_and_dense_label_sets_agree(parts):
    release = clone(MERGING).fit_transform(*parts[:2]), parts[1]
    sparse = [csr_array(part) if i % 2 else part for i, part in enumerate(parts)]
    reports = [
        str(privacy_audit(release, *given, random_state=0)) for given in (parts, sparse)
    ]
    assert reports[0] == reports[1]


def test_what_an_audit_cannot_compare_is_refused(parts):
    release = clone(MERGING).fit(*parts[:2])
    with pytest.raises(ValueError, match="leave it out for label sets"):
        privacy_audit(release, *parts, retrain=MERGING)
    fewer = [*parts[:3], parts[3][:, :4], *parts[4:]]
    with pytest.raises(ValueError, match="'y_members': 6, 'y_nonmembers': 4"):
        privacy_audit(release, *fewer)
    with pytest.raises(ValueError, match="'y_reference': 4, 'label_sets_': 6"):
        privacy_audit(release, *[p[:, :4] if i % 2 else p for i, p in enumerate(parts)])
    mixed = [*parts[:3], parts[3][:, 0], *parts[4:]]
    with pytest.raises(ValueError, match="y_nonmembers must have a column"):
        privacy_audit(release, *mixed)


def test_columns_of_an_audit_have_one_order(parts):
    named = [
        pd.DataFrame(part, columns=list("abcdef")) if i % 2 else part
        for i, part in enumerate(parts)
    ]
    release = clone(MERGING).fit(*named[:2])
    mixed = [*named[:3], named[3][list("fedcba")], *named[4:]]
    samples = named[0], release.published_label_sets_
    for source in (release, samples):
        with pytest.raises(ValueError, match="must be the same labels, in one order"):
            privacy_audit(source, *mixed)
    turned = [p[list("fedcba")] if i % 2 else p for i, p in enumerate(named)]
    with pytest.raises(ValueError, match="not the labels of fit"):
        privacy_audit(release, *turned)


@pytest.mark.parametrize(
    "attack",
    [
        lambda parts: class_gaussian_attack(*parts[:2], *parts),
        lambda parts: label_inference_gap(*parts[:2], *parts[:4]),
        lambda parts: latent_search_attack(clone(MERGING).fit(*parts[:2]), *parts[:4]),
    ],
    ids=["class_gaussian", "label_inference", "latent_search"],
)
def test_attacks_on_classes_name_the_audit(parts, attack):
    with pytest.raises(ValueError, match="privacy_audit compares label sets"):
        attack(parts)
