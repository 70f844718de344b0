"""Databases of any content: arrays of plain types, or one line that names the fault."""

import io
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

from skcvae._npz import read_arrays, read_npz
from skcvae.cli import app
from skcvae.cli._databases import read_samples
from skcvae.datasets import load_embeddings

X, Y = np.arange(12.0).reshape(6, 2), np.repeat(["a", "b"], 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photos.npz"


def with_header(path, name, shape, dtype="<f8", content=b""):
    """Write a database in which one array has a header of ours."""
    np.savez(path, **{"X": X, "y": Y} | {name: X})
    with zipfile.ZipFile(path) as old:
        members = {n: old.read(n) for n in old.namelist()}
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(buffer, header)
    members[f"{name}.npy"] = buffer.getvalue() + content
    with zipfile.ZipFile(path, "w") as new:
        for member, data in members.items():
            new.writestr(member, data)


BAD_SAMPLES = {
    "complex128": X + 1j,
    "<U3": X.astype("U3"),
    "|S3": X.astype("S3"),
    r"datetime64\[D\]": X.astype("datetime64[D]"),
    r"timedelta64\[s\]": X.astype("timedelta64[s]"),
    r"\[\('f0', '<f8'\)\]": np.zeros((6, 2), dtype=[("f0", float)]),
}


@pytest.mark.parametrize("kind", BAD_SAMPLES)
def test_samples_that_are_no_numbers_are_refused_by_name(path, kind):
    np.savez(path, X=BAD_SAMPLES[kind], y=Y)
    kind = kind.replace("|S3", "<U3")
    for read in (load_embeddings, lambda path: read_samples(path, "train")):
        with pytest.raises(ValueError, match=f"photos.npz: X must hold.*type {kind}"):
            read(path)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "u1", "bool"])
def test_numbers_of_any_type_are_read(path, dtype):
    np.savez(path, X=X.astype(dtype), y=Y)
    assert_array_equal(read_samples(path, "train").X, X.astype(dtype).astype(float))
    assert load_embeddings(path).X.dtype == np.float32


def test_values_that_float32_cannot_hold_are_not_made_infinite(path):
    np.savez(path, X=X * 1e300, y=Y)
    with pytest.raises(ValueError, match="X has values too large for float32"):
        load_embeddings(path)
    np.savez(path, X=np.where(X == 3, np.inf, X), y=Y)
    assert np.isinf(load_embeddings(path).X).sum() == 1


def test_labels_and_groups_of_bytes_become_text(path):
    names = np.array(["café", "b", "b"] * 2)
    np.savez(path, X=X, y=np.char.encode(names, "utf-8"), groups=Y.astype("S"))
    assert_array_equal(load_embeddings(path).y, names)
    samples = read_samples(path, "train")
    assert_array_equal(samples.y, names)
    assert_array_equal(samples.groups, Y)


def test_bytes_that_are_no_text_are_refused_by_name(path):
    np.savez(path, X=X, y=np.array([b"\xff"] * 6))
    with pytest.raises(ValueError, match=r"the array y holds bytes .*astype\(str\)"):
        load_embeddings(path)


@pytest.mark.parametrize("name", ["X", "y", "groups"])
def test_objects_are_refused_by_name_and_with_the_remedy(path, name):
    arrays = {"X": X, "y": Y, "groups": Y}
    np.savez(path, **arrays | {name: arrays[name].astype(object)})
    message = rf"photos\.npz: the array {name} holds Python objects.*astype\(str\)"
    with pytest.raises(ValueError, match=message):
        read_samples(path, "train")


@pytest.mark.parametrize("labels", [X[:, 0] + 1j, X[:, 0].astype("datetime64[s]")])
def test_labels_of_other_types_are_refused(path, labels):
    np.savez(path, X=X, y=labels)
    with pytest.raises(ValueError, match=r"y must hold numbers or text.*astype\(str\)"):
        load_embeddings(path)


@pytest.mark.parametrize("groups", [Y[:5], X, np.float64(3)])
def test_groups_of_another_shape_are_refused(path, groups):
    np.savez(path, X=X, y=Y, groups=groups)
    with pytest.raises(ValueError, match="groups must have one value for each of 6"):
        read_samples(path, "train")


@pytest.mark.parametrize("text", ["", "[1]", "{}", "[" * 100_000, "3"])
def test_a_privacy_statement_of_another_form_is_refused(path, text):
    np.savez(path, X=X, y=Y, privacy=text)
    with pytest.raises(ValueError, match="array privacy holds no privacy statement"):
        read_samples(path, "train")


@pytest.mark.parametrize(
    "shape", [(10**12, 3), (2**62, 2**62), (10**7, 2), (3, 2**63), (0, 2**70)]
)
@pytest.mark.parametrize("name", ["X", "y", "groups"])
def test_a_header_larger_than_the_file_is_refused_before_it_is_read(path, name, shape):
    with_header(path, name, shape)
    with pytest.raises(ValueError, match=f"photos.npz: the array {name} "):
        read_samples(path, "train")


@pytest.mark.parametrize("name", ["y", "groups"])
@pytest.mark.parametrize("dtype", ["|S0", "<U0", "|V0"])
def test_items_of_no_bytes_are_counted(path, name, dtype):
    with_header(path, name, (10**12,), dtype)
    with pytest.raises(ValueError, match=f"the array {name} says"):
        read_samples(path, "train")


def test_a_zip_file_that_lies_about_sizes_is_refused(path):
    with_header(path, "X", (10**12, 3))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02", content.index(b"X.npy") + 1)
    while content[place + 46 : place + 51] != b"X.npy":
        place = content.index(b"PK\x01\x02", place + 1)
    content[place + 24 : place + 28] = b"\xfe\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="the array X "):
        load_embeddings(path)


@pytest.mark.parametrize("dtype", ["|O", "zzz", "<f9", "('f',", "<U" + "9" * 30])
def test_headers_of_odd_types_are_refused(path, dtype):
    with_header(path, "y", (6,), dtype)
    with pytest.raises(ValueError, match="the array y "):
        load_embeddings(path)


def test_damaged_files_raise_no_other_error(path):
    rng = np.random.RandomState(0)
    for save in (np.savez, np.savez_compressed):
        save(path, X=X, y=Y, groups=Y, privacy='{"guarantee": "none"}')
        content = path.read_bytes()
        for _ in range(700):
            damaged = bytearray(content[: rng.randint(1, len(content) + 1)])
            for place in rng.randint(len(damaged), size=rng.randint(4)):
                damaged[place] = rng.randint(256)
            if rng.randint(2):
                damaged[rng.randint(len(damaged)) :] = content[-200:]
            path.write_bytes(damaged)
            try:
                read_samples(path, "train")
            except ValueError as error:
                assert "\n" not in str(error)


def test_a_file_that_is_no_zip_file_is_named(path):
    np.save(path.with_suffix(".npy"), X)
    path.with_suffix(".npy").rename(path)
    with pytest.raises(ValueError, match=r"photos\.npz is not a \.npz file"):
        read_npz(path)
    with pytest.raises(ValueError, match="not a regular file"):
        read_arrays(path.parent)


COMMANDS = {
    "anonymize": ("-o", "out.npz", "--method", "gaussian"),
    "release": ("-o", "out.safetensors", "--method", "gaussian"),
    "probe": ("--validation", "photos.npz", "--test", "photos.npz"),
}
BAD_FILES = {
    "objects": {"y": Y.astype(object)},
    "texts": {"X": X.astype(str)},
    "complex": {"X": X + 1j},
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", BAD_FILES)
def test_commands_print_one_line(path, monkeypatch, command, fault):
    monkeypatch.chdir(path.parent)
    np.savez(path, **{"X": X, "y": Y} | BAD_FILES[fault])
    result = CliRunner().invoke(app, [command, "photos.npz", *COMMANDS[command]])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert (
        result.output.startswith("Error: photos.npz") and result.output.count("\n") == 1
    )


def test_commands_write_labels_of_bytes_as_text(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    rng = np.random.RandomState(0)
    np.savez(path, X=rng.normal(size=(40, 3)), y=np.repeat([b"a", b"b"], 20))
    options = ["--method", "gaussian", "-o", "out.npz"]
    result = CliRunner().invoke(app, ["anonymize", "photos.npz", *options])
    assert result.exit_code == 0, result.output
    assert sorted(set(load_embeddings("out.npz").y)) == ["a", "b"]


@pytest.mark.parametrize(
    "command", [("anonymize", "out.npz"), ("release", "out.safetensors")]
)
def test_private_methods_take_values_that_are_not_finite(path, monkeypatch, command):
    monkeypatch.chdir(path.parent)
    rows = np.random.RandomState(0).normal(size=(40, 3))
    rows[0, 0], rows[1, 1] = np.nan, np.inf
    np.savez(path, X=rows, y=np.repeat([0, 1], 20))
    options = ["--method", "dp-gaussian", "--epsilon", "1", "--delta", "0.01"]
    name, output = command
    result = CliRunner().invoke(app, [name, "photos.npz", "-o", output, *options])
    assert result.exit_code == 0, result.output
    options = ["--method", "gaussian"]
    result = CliRunner().invoke(app, [name, "photos.npz", "-o", output, *options])
    assert result.exit_code == 1
