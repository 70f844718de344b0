"""Releases: what a file holds, that it draws alike, and that damage is refused."""

import hashlib
import json
import os
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ks_2samp
from sklearn.base import clone
from sklearn.datasets import load_digits

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, Release, load
from skcvae.anonymization._release_file import parse_release
from skcvae.generators import CVAE, ClassGaussian

ALLOW = {"small_classes": "allow"}
FAST = {"max_epochs": 2, "latent_dim": 4, "device": "cpu", "random_state": 0, **ALLOW}
SMALL = {"net_params": {"module__hidden_dim": 15}}
ANONYMIZERS = {
    "gaussian-full": GenerativeAnonymizer(
        ClassGaussian(covariance_type="full"), random_state=0, **ALLOW
    ),
    "gaussian": GenerativeAnonymizer(
        ClassGaussian(variance=0.5), random_state=0, **ALLOW
    ),
    "small": CVAEAnonymizer(**FAST, **SMALL),
    "large": CVAEAnonymizer(**FAST, **SMALL, architecture="large", variance=2.0),
    "standard": CVAEAnonymizer(**FAST, **SMALL, prior="standard", noise=None),
}

pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")


@pytest.fixture(scope="module")
def rows():
    """Continuous rows of four classes, one of them with a single row."""
    rng = np.random.RandomState(0)
    y = np.repeat(["head", "tail", "rare", "single"], [80, 30, 5, 1])
    X = rng.normal(size=(116, 6)) @ rng.normal(size=(6, 6))
    return X + np.arange(4)[np.unique(y, return_inverse=True)[1], None], y


@pytest.fixture(scope="module", params=ANONYMIZERS)
def fitted(request, rows):
    with pytest.warns(UserWarning, match="single sample"):
        return clone(ANONYMIZERS[request.param]).fit(*rows)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "release.safetensors"


@pytest.fixture(scope="module")
def content(rows, tmp_path_factory):
    """The bytes of a release of a small CVAE."""
    path = tmp_path_factory.mktemp("release") / "a.safetensors"
    with pytest.warns(UserWarning, match="single sample"):
        clone(ANONYMIZERS["small"]).fit(*rows).release(path)
    return path.read_bytes()


def pack(header, body):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def unpack(content):
    n_header = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + n_header]), content[8 + n_header :]


def with_manifest(content, change, sign=True):
    """Return a release whose manifest is changed; `sign` as a forger would."""
    header, body = unpack(content)
    manifest = json.loads(header["__metadata__"]["manifest"])
    changed = change(manifest)
    text = json.dumps(manifest if changed is None else changed)
    header["__metadata__"]["manifest"] = text
    if sign:
        digest = hashlib.sha256(text.encode()).hexdigest()
        header["__metadata__"]["manifest_sha256"] = digest
    return pack(header, body)


def with_tensor(content, name, value):
    """Return a release with another tensor and the right checksums, as a forger."""
    header, _ = unpack(content)
    tensors = safetensors.torch.load(content)
    tensors[name] = value
    manifest = json.loads(header["__metadata__"]["manifest"])
    manifest["tensors"][name]["sha256"] = hashlib.sha256(
        value.numpy().tobytes()
    ).hexdigest()
    text = json.dumps(manifest)
    digest = hashlib.sha256(text.encode()).hexdigest()
    metadata = {"manifest": text, "manifest_sha256": digest}
    return safetensors.torch.save(tensors, metadata=metadata)


def test_release_draws_the_rows_that_the_anonymizer_draws(fitted, path):
    release = load(fitted.release(path), device="cpu")
    assert repr(release) == "<Release of 3 classes and 6 features>"
    labels = ["tail", "head", "rare", "head"] * 500
    expected, _ = fitted.sample(y=labels, random_state=3)
    drawn, drawn_labels = release.sample(y=labels, random_state=3)
    assert_array_equal(drawn_labels, labels)
    assert drawn.dtype == np.float32
    # The classes that are left out change nothing but the codes of the others.
    assert_allclose(drawn, expected, rtol=1e-4, atol=1e-4)


def test_release_without_a_seed_draws_new_rows_of_the_same_distribution(fitted, path):
    release = load(fitted.release(path), device="cpu")
    first, _ = release.sample(y=["head"] * 4000)
    second, _ = release.sample(y=["head"] * 4000)
    assert not np.array_equal(first, second)
    assert ks_2samp(first[:, 0], second[:, 0]).pvalue > 1e-3


def test_single_rows_are_left_out_and_the_threshold_is_the_users(fitted, path):
    assert_array_equal(load(fitted.release(path)).classes_, ["head", "rare", "tail"])
    release = load(fitted.release(path, min_class_size=6))
    assert_array_equal(release.classes_, ["head", "tail"])
    with pytest.raises(ValueError, match="unseen labels"):
        release.sample(y=["rare"])
    with pytest.raises(ValueError, match="min_class_size=1000"):
        fitted.release(path, min_class_size=1000)


def test_class_prior_is_uniform_unless_allowed(fitted, path):
    def shares(**settings):
        release = load(fitted.release(path, **settings))
        _, labels = release.sample(30_000, random_state=0)
        return [(labels == c).mean() for c in ("head", "rare", "tail")]

    assert_allclose(shares(), [1 / 3] * 3, atol=0.01)
    assert_allclose(
        shares(class_prior="training"), np.array([80, 5, 30]) / 115, atol=0.01
    )
    assert_allclose(shares(class_prior=[1, 3, 0, 0]), [0.25, 0.75, 0], atol=0.01)
    for wrong in ("counts", [1, 2], [0, 0, 0, 0], [1, 1, 1, -1], [np.nan] * 4):
        with pytest.raises(ValueError, match="class_prior"):
            fitted.release(path, class_prior=wrong)
    # The third class, of one sample, is left out.
    for wrong in ([0, 0, 1, 0], [np.inf, 1, 1, 1]):
        with pytest.raises(ValueError, match="class_prior must have one finite number"):
            fitted.release(path, class_prior=wrong)
    with pytest.raises(TypeError, match=r"class_prior\.sort_index\(\)"):
        fitted.release(path, class_prior=pd.Series(1, index=list("abcd")))
    assert_allclose(shares(class_prior=[1e308] * 4), [1 / 3] * 3, atol=0.01)


def test_release_tells_neither_rows_counts_nor_extremes(fitted, rows, path):
    X, _ = rows
    content = fitted.release(path).read_bytes()
    for row in X:
        for dtype in (np.float32, np.float64):
            assert row.astype(dtype).tobytes() not in content
    manifest = load(path).manifest_
    assert not {"80", "30", "116", "115"} & set(map(str, numbers_in(manifest)))
    held = np.concatenate(
        [v.numpy().ravel() for v in safetensors.torch.load(content).values()]
    )
    extremes = np.concatenate([X.min(axis=0), X.max(axis=0)]).astype(np.float32)
    assert not np.isin(extremes, held.astype(np.float32)).any()


def numbers_in(value):
    if isinstance(value, dict):
        value = [v for k, v in value.items() if k not in ("tensors", "versions")]
    if isinstance(value, list):
        return [n for v in value for n in numbers_in(v)]
    return [value]


def test_number_of_training_steps_stays_behind(rows, path):
    with pytest.warns(UserWarning, match="single sample"):
        anonymizer = clone(ANONYMIZERS["large"]).fit(*rows)
    sampler = anonymizer.generator_._make_sampler()
    kept = {k: v for k, v in sampler.state_dict().items() if "num_batches" in k}
    assert kept and all(v > 0 for v in kept.values())
    released = safetensors.torch.load(anonymizer.release(path).read_bytes())
    assert all(released[f"sampler.{name}"] == 0 for name in kept)


def test_pickle_of_a_loaded_release_holds_no_more_than_the_file(fitted, rows, path):
    release = pickle.loads(pickle.dumps(load(fitted.release(path))))
    assert release.sample(5, random_state=0)[0].shape == (5, 6)


@pytest.mark.parametrize(
    "labels",
    [[3, 1, 2], ["ü", "b", "🜚"], [True, False], [5.0, -1.0, 2.0]],
    ids=["int", "str", "bool", "float"],
)
def test_labels_come_back_as_they_were(labels, path):
    y = np.array(labels * 20)
    X = np.random.RandomState(0).normal(size=(len(y), 3))
    release = load(GenerativeAnonymizer(random_state=0).fit(X, y).release(path))
    assert release.classes_.dtype.kind == y.dtype.kind
    assert_array_equal(release.classes_, np.unique(y))
    assert_array_equal(release.sample(y=y[:5])[1], y[:5])


def test_number_of_rows_must_be_given(fitted, path):
    release = load(fitted.release(path))
    with pytest.raises(ValueError, match="Give n_samples or y"):
        release.sample()
    assert release.sample(0)[0].shape == (0, 6)
    rows, labels = next(release.batches(32, random_state=0))
    assert rows.shape == (32, 6) and set(labels) <= set(release.classes_)


def test_decoder_of_a_release_is_that_of_the_generator(fitted, path):
    ours = fitted.make_decoder()
    theirs = load(fitted.release(path)).make_decoder()
    e = torch.randn(6, ours.latent_dim, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor([0, 1, 0, 1, 0, 1])
    torch.testing.assert_close(ours(e, codes), theirs(e, codes), rtol=1e-5, atol=1e-5)


def test_reference_objective_and_own_architectures_are_refused(rows, path):
    X, y = rows[0][:115], rows[1][:115]
    with pytest.raises(ValueError, match="exact minimum and maximum"):
        CVAEAnonymizer(**FAST, objective="reference").fit(X, y).release(path)
    own = {k: v for k, v in FAST.items() if k not in ("latent_dim", *ALLOW)}

    def architecture(n_features, n_classes, latent_dim):
        from skcvae.generators._cvae_net import SmallBackbone

        class Own(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = SmallBackbone(n_features, n_classes, latent_dim)
                self.encode, self.decode = self.inner.encode, self.inner.decode

        return Own()

    anonymizer = CVAEAnonymizer(**own, **ALLOW, latent_dim=2, architecture=architecture)
    with pytest.raises(ValueError, match="holds no code"):
        anonymizer.fit(X, y).release(path)

    class Other(CVAE):
        _checks_generation = False

        def _make_sampler(self):
            return torch.nn.Linear(1, 1)

    with pytest.raises(ValueError, match="cannot be released"):
        GenerativeAnonymizer(Other(**own, latent_dim=2), **ALLOW).fit(X, y).release(
            path
        )
    with pytest.raises(ValueError, match=r"end in \.safetensors"):
        GenerativeAnonymizer(**ALLOW).fit(X, y).release(path.with_suffix(".pkl"))
    assert not list(path.parent.iterdir())


@pytest.mark.filterwarnings("ignore:.*single sample")
def test_rank_above_the_number_of_features_is_refused(rows, path):
    clone(ANONYMIZERS["gaussian-full"]).fit(*rows).release(path)
    forged = with_manifest(path.read_bytes(), changed(hidden_dim=7))
    with pytest.raises(ValueError, match="at most n_features"):
        parse_release(forged)


def test_values_too_large_to_be_drawn_are_not_released(path):
    X, y = np.random.RandomState(0).normal(size=(40, 3)), np.repeat([0, 1], 20)
    anonymizer = GenerativeAnonymizer(random_state=0)
    drawn = load(anonymizer.fit(1e33 * X, y).release(path)).sample(1000)[0]
    assert np.isfinite(drawn).all() and np.abs(drawn).max() > 1e33
    path.unlink()
    huge = np.finfo(np.float32).max / 1001 * X / np.abs(X).max()
    huge[:20] += np.finfo(np.float32).max / 2000
    anonymizer = GenerativeAnonymizer(ClassGaussian(variance=1e10))
    with pytest.raises(ValueError, match=r"could draw values .* scale them"):
        anonymizer.fit(huge / 10, y).release(path)
    assert not path.exists()


def test_killed_write_leaves_the_old_file(rows, path, monkeypatch):
    X, y = rows[0][:115], rows[1][:115]
    anonymizer = GenerativeAnonymizer(random_state=0, **ALLOW).fit(X, y)
    anonymizer.release(path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        anonymizer.release(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_intact_release_parses(content):
    manifest, tensors = parse_release(content)
    assert manifest["kind"] == "cvae"
    assert all(v.isfinite().all() for v in tensors.values())
    parse_release(with_manifest(content, lambda manifest: None))
    same = safetensors.torch.load(content)["scale"]
    parse_release(with_tensor(content, "scale", same))


def test_every_truncation_is_refused(content):
    rng = np.random.RandomState(0)
    lengths = [*range(64), *rng.randint(len(content), size=200), len(content) - 1]
    for n_bytes in lengths:
        with pytest.raises(ValueError):
            parse_release(content[:n_bytes])
    with pytest.raises(ValueError, match="truncated or altered"):
        parse_release(content + b"\0")


def test_every_flipped_bit_is_noticed(content):
    rng = np.random.RandomState(0)
    n_header = struct.unpack("<Q", content[:8])[0]
    places = [
        *range(8),
        *rng.randint(8, 8 + n_header, size=400),
        *rng.randint(8 + n_header, len(content), size=100),
    ]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randint(8)
        with pytest.raises(ValueError):
            parse_release(bytes(damaged))


def test_random_bytes_are_refused():
    rng = np.random.RandomState(0)
    for n_bytes in rng.randint(200, size=300):
        junk = rng.bytes(n_bytes)
        with pytest.raises(ValueError):
            parse_release(junk)
        with pytest.raises(ValueError):
            parse_release(struct.pack("<Q", n_bytes) + junk)


def changed(**entries):
    return lambda manifest: manifest.update(entries)


def dropped(name):
    return lambda manifest: manifest.pop(name) and None


def bad_tensor_table(manifest):
    manifest["tensors"]["evil"] = manifest["tensors"]["scale"]


FORGED = {
    "no object": (lambda manifest: [1], "not that of a release"),
    "format": (changed(format="other"), "not that of a release"),
    "newer schema": (changed(schema_version=3), "schema version 3"),
    "schema true": (changed(schema_version=True), "schema version"),
    "unknown entry": (changed(code="import os"), "unknown entries: .'code'"),
    "missing entry": (dropped("privacy"), "missing or unknown entries"),
    "kind": (changed(kind="pickle"), "kind 'pickle' is unknown"),
    "kind list": (changed(kind=[]), "kind"),
    "architecture": (changed(architecture="os.system"), "architecture"),
    "architecture dict": (changed(architecture={}), "architecture"),
    "gaussian with networks": (changed(kind="gaussian"), "architecture"),
    "huge": (changed(n_features=2**40), "n_features must be an integer"),
    "large": (changed(latent_dim=2**17), "another type or shape"),
    "zero": (changed(n_features=0), "n_features"),
    "negative": (changed(n_classes=-1), "n_classes"),
    "float": (changed(latent_dim=4.0), "latent_dim"),
    "bool": (changed(hidden_dim=True), "hidden_dim"),
    "noise": (changed(noise="yes"), "noise"),
    "no noise": (changed(noise=False), "other tensors"),
    "privacy": (changed(privacy="private!"), "must be objects"),
    "label type": (changed(label_type="object"), "known type"),
    "label type list": (changed(label_type=["str"]), "known type"),
    "labels": (changed(classes="abc"), "known type"),
    "labels of other type": (changed(classes=[1, 2, 3]), "type str"),
    "too few labels": (changed(classes=["a", "b"]), "as many"),
    "equal labels": (changed(classes=["a", "a", "b"]), "as many"),
    "other tensor": (bad_tensor_table, "other tensors"),
    "tensors": (changed(tensors=None), "other tensors"),
    "tensor list": (changed(tensors=["scale"]), "other tensors"),
}


@pytest.mark.parametrize("fault", FORGED)
def test_forged_manifest_is_refused(fault, content):
    change, message = FORGED[fault]
    with pytest.raises(ValueError, match=message):
        parse_release(with_manifest(content, change))
    with pytest.raises(ValueError):
        parse_release(with_manifest(content, change, sign=False))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("name", ["scale", "variance", "class_prior"])
def test_forged_values_are_refused(name, value, content):
    tensor = safetensors.torch.load(content)[name].clone()
    tensor[0] = value
    with pytest.raises(ValueError, match=f"'{name}' holds"):
        parse_release(with_tensor(content, name, tensor))


def test_forged_tensors_are_refused(content):
    centres = safetensors.torch.load(content)["centres"]
    for wrong in (
        centres.double(),
        centres[:, :-1].contiguous(),
        centres.T.contiguous(),
    ):
        with pytest.raises(ValueError, match="'centres' has another type or shape"):
            parse_release(with_tensor(content, "centres", wrong))
    zero = torch.zeros_like(safetensors.torch.load(content)["class_prior"])
    with pytest.raises(ValueError, match="class prior is zero"):
        parse_release(with_tensor(content, "class_prior", zero))


def test_header_bombs_are_refused():
    deep = b"[" * 200_000 + b"]" * 200_000
    many = {
        f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for i in range(20_000)
    }
    for text in (deep, b'{"__metadata__": ' + deep + b"}", json.dumps(many).encode()):
        with pytest.raises(ValueError):
            parse_release(struct.pack("<Q", len(text)) + text)
    for n_header in (2**63, 2**64 - 1, 2**25):
        with pytest.raises(ValueError, match="truncated, or no safetensors"):
            parse_release(struct.pack("<Q", n_header) + b"{}")


def test_pickles_are_not_opened(path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(path.parent / "owned"),)

    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="cannot be used as a release"):
        load(path)
    torch.save({"a": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="cannot be used as a release"):
        load(path)
    assert not (path.parent / "owned").exists()


def test_files_above_the_limit_are_not_read(content, path):
    path.write_bytes(content)
    assert isinstance(load(path, max_bytes=len(content)), Release)
    with pytest.raises(ValueError, match="more than max_bytes"):
        load(path, max_bytes=len(content) - 1)
    with pytest.raises(FileNotFoundError):
        load(path.with_name("other.safetensors"))


def test_other_safetensors_files_are_refused(path):
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="no manifest"):
        load(path)


def test_digits_of_a_release_look_like_digits(path):
    X, y = load_digits(return_X_y=True)
    anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    rows, _ = load(anonymizer.release(path)).sample(y=[7] * 3000, random_state=0)
    assert_allclose(rows.mean(axis=0), X[y == 7].mean(axis=0), atol=0.5)
