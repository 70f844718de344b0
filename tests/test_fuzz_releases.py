"""Mutated releases: refused by ValueError or OSError, quickly, or drawn from.

The normal tests try 2,000 mutations. The slow job tries as many as the environment
variable SKCVAE_FUZZ says, 100,000 by default::

    pytest -m slow tests/test_fuzz_releases.py
"""

import hashlib
import json
import os
import struct
import time
import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, load
from skcvae.anonymization._release_file import _MAX_HEADER_BYTES
from skcvae.generators import ClassGaussian, ConvBackbone

N_QUICK = 2000
N_SLOW = int(os.environ.get("SKCVAE_FUZZ", "100000"))
MAX_SECONDS = 2.0
MAX_BYTES = 200 * 10**6

_FAST = {"max_epochs": 1, "latent_dim": 2, "device": "cpu", "random_state": 0}
_SMALL = {"net_params": {"module__hidden_dim": 6}}
SOURCES = {
    "gaussian": GenerativeAnonymizer(random_state=0),
    "full": GenerativeAnonymizer(ClassGaussian(covariance_type="full"), random_state=0),
    "label sets": GenerativeAnonymizer(random_state=0),
    "small": CVAEAnonymizer(**_FAST, **_SMALL),
    "large": CVAEAnonymizer(**_FAST, **_SMALL, architecture="large"),
    "no noise": CVAEAnonymizer(**_FAST, **_SMALL, noise=None),
    "conv": CVAEAnonymizer(
        **_FAST,
        architecture=ConvBackbone((8, 9), width=2, value_range=(0, 1)),
        max_mean_leakage=1,
    ),
    "bytes": CVAEAnonymizer(
        **_FAST,
        architecture=ConvBackbone((8, 8), width=2, dtype="uint8"),
        max_mean_leakage=1,
    ),
}
# Numbers at the edges of types, and of what a file may say.
INTEGERS = [0, 1, 2, 3, -1, 7, 255, 2**16, 2**17, 2**17 + 1, 2**20, 2**31, 2**53, 2**62]
INTEGERS += [2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400]
TEXTS = ["", "a", "\0", "a\0", "\ud800", "é" * 50, "x" * 100_000, "str", "gaussian"]
ODD = [None, True, False, 0.5, 1e308, float("inf"), float("nan"), -0.0, [], {}, [[]]]
FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-45, 1e10, 1e20, 1e30, 3.4e38, -3.4e38]
FLOATS += [float("inf"), float("-inf"), float("nan")]


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Header, manifest and body of a release of each kind."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(60, 4)), np.repeat(["a", "b", "c"], 20)
    found = []
    for name, anonymizer in SOURCES.items():
        path = tmp_path_factory.mktemp("fuzz") / "a.safetensors"
        labels = y if name != "full" else np.unique(y, return_inverse=True)[1]
        if name == "label sets":
            labels = (y[:, None] != ["a", "b"]).astype(int)
        if name == "conv":
            samples = rng.uniform(size=(len(X), 72))
        else:
            samples = X if name != "bytes" else rng.randint(256, size=(len(X), 64))
        content = clone(anonymizer).fit(samples, labels).release(path).read_bytes()
        n_header = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + n_header])
        manifest = json.loads(header.pop("__metadata__")["manifest"])
        found.append((header, manifest, content[8 + n_header :]))
    return found


def place_of(header, name):
    """Return where a tensor begins and ends in the body."""
    entry = header.get(name)
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2:
        return 0, 0
    return tuple(o if isinstance(o, int) and 0 <= o < 2**40 else 0 for o in offsets)


def pack(header, manifest, body, *, fresh=True, signed=True, n_header=None):
    """Return a file: with fresh checksums of its tensors and its manifest."""
    table = manifest.get("tensors")
    for name in table if fresh and isinstance(table, dict) else ():
        begin, end = place_of(header, name)
        if isinstance(table[name], dict):
            table[name]["sha256"] = hashlib.sha256(body[begin:end]).hexdigest()
    text = json.dumps(manifest)
    digest = hashlib.sha256(text.encode()).hexdigest()
    metadata = {"manifest": text, "manifest_sha256": digest if signed else digest[::-1]}
    packed = json.dumps({"__metadata__": metadata, **header}).encode()
    n_header = len(packed) if n_header is None else max(0, n_header)
    return struct.pack("<Q", n_header) + packed + body


class Mutator:
    """Changes a release in one to three ways, and signs it again in most cases."""

    def __init__(self, releases, seed):
        self.releases = releases
        self.rng = np.random.RandomState(seed)

    def choose(self, values):
        """Return one of some values."""
        return values[self.rng.randint(len(values))]

    def any_value(self):
        """Return a value of any type."""
        return self.choose(
            [self.choose(INTEGERS), self.choose(TEXTS), self.choose(ODD)]
        )

    def make(self):
        """Return the bytes of a mutated release."""
        header, manifest, body = self.choose(self.releases)
        header, manifest = json.loads(json.dumps([header, manifest]))
        body = bytearray(body)
        ways = [self.values, self.values, self.entry, self.labels, self.sizes]
        ways += [self.table, self.header, self.swap, self.prune, self.retype]
        for _ in range(self.rng.randint(1, 4)):
            self.choose(ways)(header, manifest, body)
        settings = {
            "fresh": self.rng.randint(10) > 0,
            "signed": self.rng.randint(20) > 0,
            "n_header": None if self.rng.randint(50) else self.choose(INTEGERS[:14]),
        }
        return self.damage(pack(header, manifest, body, **settings))

    def damage(self, content):
        """Return a file that is cut, prolonged or has other bytes, in one of ten."""
        if self.rng.randint(10):
            return content
        content = bytearray(content)
        kind = self.rng.randint(3)
        if kind == 0:
            return content[: self.rng.randint(len(content))]
        if kind == 1:
            return content + bytes(self.rng.randint(1, 5000))
        for place in self.rng.randint(len(content), size=self.rng.randint(1, 20)):
            content[place] = self.rng.randint(256)
        return content

    # Ways to change a release

    def values(self, header, manifest, body):
        """Write odd or huge numbers into a tensor."""
        begin, end = place_of(header, self.choose(sorted(header) or ["none"]))
        n_values = (min(end, len(body)) - begin) // 4
        if n_values < 1 or begin < 0:
            return
        value = struct.pack("<f", self.choose(FLOATS))
        count = self.choose([1, n_values])
        for i in self.rng.permutation(n_values)[:count]:
            body[begin + 4 * i : begin + 4 * i + 4] = value

    def entry(self, header, manifest, body):
        """Replace an entry of the manifest by anything."""
        manifest[self.choose([*manifest, "code"])] = self.any_value()

    def labels(self, header, manifest, body):
        """Replace labels, or all of them, and the type that they are said to have."""
        classes = manifest.get("classes")
        if not isinstance(classes, list) or not classes:
            return
        kind = self.rng.randint(3)
        if kind == 0:
            classes[self.rng.randint(len(classes))] = self.any_value()
        elif kind == 1:
            manifest["classes"] = [self.choose(INTEGERS) for _ in classes]
            manifest["label_type"] = "int64"
        else:
            manifest["classes"] = [self.choose([*FLOATS, 2.5, 1e300]) for _ in classes]
            manifest["label_type"] = self.choose(["float64", "str", "bool"])

    def sizes(self, header, manifest, body):
        """Change a number from which shapes follow."""
        name = self.choose(["n_features", "n_classes", "latent_dim", "hidden_dim"])
        manifest[name] = self.choose(INTEGERS)

    def table(self, header, manifest, body):
        """Change the entry of a tensor in the manifest."""
        table = manifest.get("tensors")
        if not isinstance(table, dict) or not table:
            return
        entry = table[self.choose(sorted(table))]
        if isinstance(entry, dict):
            entry[self.choose(["dtype", "shape", "sha256", "more"])] = self.any_value()

    def header(self, header, manifest, body):
        """Change type, shape or place of a tensor in the header."""
        if not header:
            return
        entry = header[self.choose(sorted(header))]
        if not isinstance(entry, dict):
            return
        kind = self.choose(["dtype", "shape", "data_offsets", "more"])
        some = [self.choose(INTEGERS) for _ in range(self.rng.randint(4))]
        types = ["F64", "F16", "I32", "BOOL", "I64", "F32", "X", None]
        entry[kind] = self.choose([some, self.choose(types), self.any_value()])

    def swap(self, header, manifest, body):
        """Exchange two tensors."""
        if header:
            a, b = self.choose(sorted(header)), self.choose(sorted(header))
            header[a], header[b] = header[b], header[a]

    def prune(self, header, manifest, body):
        """Leave out a tensor, in the header or in both places."""
        name = self.choose(sorted(header) or ["none"])
        header.pop(name, None)
        if self.rng.randint(2) and isinstance(manifest.get("tensors"), dict):
            manifest["tensors"].pop(name, None)

    def retype(self, header, manifest, body):
        """Say that it is a release of another kind."""
        manifest["kind"] = self.choose(["gaussian", "gaussian-full", "cvae", "evil"])
        manifest["architecture"] = self.choose(["small", "large", None, [], {}])
        manifest["noise"] = self.choose([True, False, 1])


def check(path):
    """Load and draw: return whether the file was taken; no other error passes."""
    try:
        release = load(path, device="cpu")
    except (ValueError, OSError) as error:
        assert str(error)
        return False
    X, labels = release.sample(300, random_state=0)
    assert np.isfinite(X).all()
    known = getattr(release, "label_sets_", release.classes_).astype(labels.dtype)
    assert len(labels) == 300
    assert set(map(str, labels.tolist())) <= set(map(str, known.tolist()))
    assert np.isfinite(release.sample(y=known, random_state=1)[0]).all()
    return True


def fuzz(releases, folder, n_mutations, seed, measured):
    """Try mutated releases, and return how many of them were taken.

    Memory is measured for one in `measured`, because that is slow.
    """
    path, mutator, n_taken = folder / "a.safetensors", Mutator(releases, seed), 0
    for i in range(n_mutations):
        path.write_bytes(mutator.make())
        begin = time.process_time()
        n_taken += check(path)
        assert time.process_time() - begin < MAX_SECONDS
        if i % measured == 0:
            tracemalloc.start()
            check(path)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < MAX_BYTES
    return n_taken


def test_releases_that_are_not_mutated_are_taken(releases, tmp_path):
    path = tmp_path / "a.safetensors"
    for header, manifest, body in releases:
        path.write_bytes(pack(header, manifest, bytearray(body)))
        assert check(path)


def test_mutated_releases_are_refused_or_drawn_from(releases, tmp_path):
    n_taken = fuzz(releases, tmp_path, N_QUICK, seed=0, measured=20)
    # Else the mutator finds nothing but the first check.
    assert 0.02 * N_QUICK < n_taken < 0.5 * N_QUICK


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_many_mutated_releases_are_refused_or_drawn_from(releases, tmp_path, part):
    assert fuzz(releases, tmp_path, N_SLOW // 10, seed=1 + part, measured=20)


# Texts as long as a header may be, and one that is longer.
_LENGTH = _MAX_HEADER_BYTES - 1000
BOMBS = {
    "nested": b"[" * _LENGTH,
    "many lists": b'{"__metadata__": [' + b"[]," * (_LENGTH // 3) + b"[]]}",
    "many objects": b"[" + b"{}," * (_LENGTH // 3) + b"{}]",
    "many numbers": b"[" + b"1," * (_LENGTH // 2) + b"1]",
    "a long number": b"[" + b"1" * _LENGTH + b"]",
    "too long": b"[" + b"1," * _LENGTH + b"1]",
}


def bombs_in_manifests():
    """Yield texts as manifests, which are longer there because of escapes, signed."""
    for name, text in BOMBS.items():
        digest = hashlib.sha256(text).hexdigest()
        metadata = {"manifest": text.decode(), "manifest_sha256": digest}
        yield f"{name}, as a manifest", json.dumps({"__metadata__": metadata}).encode()


@pytest.mark.parametrize(
    ("name", "text"), [*BOMBS.items(), *bombs_in_manifests()], ids=lambda v: str(v)[:30]
)
def test_headers_that_unfold_take_little_time_and_memory(tmp_path, name, text):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    begin = time.process_time()
    assert not check(path)
    assert time.process_time() - begin < MAX_SECONDS
    tracemalloc.start()
    assert not check(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MAX_BYTES


LABELS = {
    "one long name": ["a" * 100_000, *map(str, range(10_000))],
    "integers beyond 64 bits": [2**63, 1, 2],
    "a null at the end": ["a", "a\0", "b"],
    "infinity": [1.0, 2.0, float("inf")],
    "not a number": [1.0, 2.0, float("nan")],
}


@pytest.mark.parametrize("fault", LABELS)
def test_labels_that_no_array_holds_are_refused(releases, tmp_path, fault):
    header, manifest, body = releases[0]
    kinds = {int: "int64", float: "float64", str: "str"}
    classes = LABELS[fault]
    changed = manifest | {
        "classes": classes,
        "n_classes": len(classes),
        "label_type": kinds[type(classes[0])],
    }
    path = tmp_path / "a.safetensors"
    path.write_bytes(pack(header, changed, bytearray(body)))
    with pytest.raises(ValueError, match=r"its classes|valid JSON"):
        load(path)


@pytest.mark.parametrize("kind", range(len(SOURCES)))
def test_weights_that_overflow_when_drawn_are_refused(releases, tmp_path, kind):
    header, manifest, body = releases[kind]
    path = tmp_path / "a.safetensors"
    n_refused = 0
    for name in sorted(set(header) - {"class_prior", "variance"}):
        begin, end = place_of(header, name)
        if header[name]["dtype"] != "F32":
            continue
        changed = bytearray(body)
        changed[begin:end] = struct.pack("<f", 3e38) * ((end - begin) // 4)
        path.write_bytes(pack(header, manifest, changed))
        n_refused += not check(path)
    assert n_refused > 1
