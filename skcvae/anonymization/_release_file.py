"""The file format of a release: safetensors, and a JSON manifest in its header.

Reading runs no code of the file. Names, shapes and types of all tensors must follow
from a few bounded integers of the manifest; any other file is refused.
"""

import hashlib
import json
import platform
from io import BytesIO
from math import prod

import numpy as np
import safetensors
import safetensors.torch
import torch

from .. import __version__
from .._files import open_regular, write_whole
from .._label_sets import unique_label_sets
from ..generators._released import (
    ARCHITECTURES,
    bound_draws,
    build_sampler,
    check_images,
)

FORMAT = "skcvae-release"
SCHEMA_VERSION = 2

# Parsed twice, a header of this size takes less than 200 MB and two seconds.
_MAX_HEADER_BYTES = 2 * 2**20
# An array of strings takes four bytes for each character of its longest one.
_MAX_LABEL_BYTES = 2**26
_MAX_SIZES = {
    "n_features": 2**17,
    "n_classes": 2**20,
    "latent_dim": 2**17,
    "hidden_dim": 2**16,
}
_LABEL_TYPES = {"bool": bool, "int64": int, "float64": float, "str": str}
_KEYS = {
    "format",
    "schema_version",
    "kind",
    "architecture",
    "noise",
    *_MAX_SIZES,
    "classes",
    "label_type",
    "class_prior",
    "privacy",
    "versions",
    "tensors",
}
_DTYPES = {"F32": torch.float32, "I64": torch.int64}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def expected_tensors(manifest):
    """Return type and shape of every tensor of a manifest, by name."""
    n_classes, n_features = manifest["n_classes"], manifest["n_features"]
    expected = {
        "centres": ("F32", [n_classes, n_features]),
        "scale": ("F32", [n_features]),
        "variance": ("F32", [n_classes]),
        "class_prior": ("F32", [n_classes]),
    }
    if "label_sets" in manifest:
        expected["label_sets"] = "F32", [n_classes, len(manifest["label_sets"][0])]
    for name, value in build_sampler(manifest).state_dict().items():
        expected[f"sampler.{name}"] = _DTYPE_NAMES[value.dtype], list(value.shape)
    return expected


def write_release_file(path, manifest, tensors):
    """Write a complete release file, or none if writing fails.

    `manifest` lacks only the format, versions and checksums; `tensors` are those of
    `expected_tensors`.
    """
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    manifest = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        **manifest,
        "versions": {
            "skcvae": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "safetensors": safetensors.__version__,
            "python": platform.python_version(),
        },
        "tensors": {
            name: {
                "dtype": _DTYPE_NAMES[value.dtype],
                "shape": list(value.shape),
                "sha256": hashlib.sha256(value.numpy().tobytes()).hexdigest(),
            }
            for name, value in tensors.items()
        },
    }
    text = json.dumps(manifest, allow_nan=False)
    header = {
        "manifest": text,
        "manifest_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    content = safetensors.torch.save(tensors, metadata=header)
    try:
        parse_release(content)
    except ValueError as error:
        raise ValueError(
            f"The release could not be read again, and is not written: {error}. If the "
            "values of X are very large, scale them."
        ) from error
    write_whole(path, content)


def read_release_file(path, max_bytes):
    """Return manifest and tensors of a regular file, checked; see `parse_release`."""
    with open_regular(path) as (file, size):
        if size > max_bytes:
            raise ValueError(
                f"{path} has {size:,} bytes, more than max_bytes={max_bytes:,}. Raise "
                "max_bytes if you expect a release of that size."
            )
        try:
            return _read_release(file, size)
        except ValueError as error:
            raise ValueError(
                f"{path} cannot be used as a release: {error}. Nothing of it was used."
            ) from error


def parse_release(content):
    """Return manifest and tensors of the bytes of a release; refuse other bytes."""
    return _read_release(BytesIO(content), len(content))


def _read_release(file, size):
    """Read the header, then the tensors if the size is the one that it implies."""
    start = _read_header(file, size)
    header = _parse_json(start[8:])
    manifest = _read_manifest(header)
    _check_manifest(manifest)
    expected = expected_tensors(manifest)
    _check_forms(manifest["tensors"], expected, {"dtype", "shape", "sha256"})
    _check_forms({n: header[n] for n in header if n != "__metadata__"}, expected)
    n_bytes = sum(
        _DTYPES[dtype].itemsize * prod(shape) for dtype, shape in expected.values()
    )
    if size != len(start) + n_bytes:
        raise ValueError("it is truncated or altered (its size is not as expected)")
    # One byte more detects a file that has grown since.
    content = start + file.read(n_bytes + 1)
    try:
        found = dict(safetensors.deserialize(content))
    except safetensors.SafetensorError as error:
        raise ValueError(f"it is truncated or altered ({error})") from error
    _check_forms(found, expected)
    tensors = _make_tensors(found, expected, manifest["tensors"])
    _check_values(tensors)
    _check_draws(manifest, tensors)
    return manifest, tensors


def _check_forms(found, expected, keys=None):
    """Compare names, types and shapes of tensors, and keys of the entries, if given."""
    if not isinstance(found, dict) or found.keys() != expected.keys():
        raise ValueError(
            "it has other tensors than those that follow from its manifest"
        )
    for name, form in expected.items():
        entry = found[name]
        if (
            not isinstance(entry, dict)
            or (keys is not None and entry.keys() != keys)
            or (entry.get("dtype"), entry.get("shape")) != form
        ):
            raise ValueError(f"the tensor {name!r} has another type or shape")


def _make_tensors(found, expected, table):
    """Return the tensors by name; compare their checksums."""
    tensors = {}
    for name, (dtype, shape) in expected.items():
        data = bytearray(found[name]["data"])
        if hashlib.sha256(data).hexdigest() != table[name]["sha256"]:
            raise ValueError(f"the tensor {name!r} was altered (its SHA-256 differs)")
        tensors[name] = torch.frombuffer(data, dtype=_DTYPES[dtype]).reshape(shape)
    return tensors


def _read_header(file, size):
    """Return the first bytes of a safetensors file: a length, and that much JSON."""
    start = file.read(8)
    if len(start) < 8:
        raise ValueError("it is too short")
    n_header = int.from_bytes(start, "little")
    if n_header > size - 8:
        raise ValueError("it is truncated, or no safetensors file")
    if n_header > _MAX_HEADER_BYTES:
        raise ValueError(f"its header has more than {_MAX_HEADER_BYTES:,} bytes")
    return start + file.read(n_header)


def _read_manifest(header):
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.keys() != {
        "manifest",
        "manifest_sha256",
    }:
        raise ValueError("it has no manifest of a release")
    text = metadata["manifest"]
    if not isinstance(text, str):
        raise ValueError("its manifest is not a text")
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    if digest != metadata["manifest_sha256"]:
        raise ValueError("its manifest was altered (its SHA-256 differs)")
    return _parse_json(text)


def _parse_json(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("its header is not valid JSON") from error


def _check_manifest(manifest):
    """Refuse a manifest with unknown, missing or unbounded entries."""
    _check_entries(manifest)
    for name, limit in _MAX_SIZES.items():
        value = manifest[name]
        if type(value) is not int or not 1 <= value <= limit:
            raise ValueError(f"{name} must be an integer from 1 to {limit}")
    kind, architecture = manifest["kind"], manifest["architecture"]
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise ValueError(f"the kind {kind!r} is unknown")
    if (
        not isinstance(architecture, str | None)
        or architecture not in ARCHITECTURES[kind]
    ):
        raise ValueError(f"the architecture {architecture!r} is unknown")
    if kind == "gaussian-full" and manifest["hidden_dim"] > manifest["n_features"]:
        raise ValueError("hidden_dim must be at most n_features")
    if type(manifest["noise"]) is not bool:
        raise ValueError("noise must be true or false")
    if architecture == "conv":
        check_images(manifest)
    classes = manifest["classes"], manifest["label_type"]
    _check_labels(*classes, manifest["n_classes"])
    _check_names_of_labels(manifest)


def _check_names_of_labels(manifest):
    """Refuse names of the labels of label sets that are not two or more."""
    if "label_sets" not in manifest:
        return
    named = manifest["label_sets"]
    if not (isinstance(named, list) and len(named) == 2 and isinstance(named[0], list)):
        raise ValueError("its label_sets are not labels and their type")
    if len(named[0]) < 2:
        raise ValueError("its label sets have fewer than two labels")
    _check_labels(*named, len(named[0]))


def _check_entries(manifest):
    """Refuse another format or version, and missing or unknown entries."""
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError("its manifest is not that of a release")
    version = manifest.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ValueError(
            f"it has the schema version {version!r}, and this skcvae reads "
            f"{SCHEMA_VERSION}"
        )
    is_conv = manifest.get("architecture") == "conv"
    of_images = {"image_shape", "dtype"} if is_conv else set()
    of_sets = manifest.keys() & {"label_sets"}
    odd = sorted(manifest.keys() ^ (_KEYS | of_images | of_sets))
    if odd:
        raise ValueError(f"its manifest has missing or unknown entries: {odd[:5]}")
    if not all(isinstance(manifest[n], dict) for n in ("privacy", "versions")):
        raise ValueError("privacy and versions must be objects")


def _check_labels(classes, label_type, n_classes):
    """Refuse what is not a list of so many different labels of a known type."""
    known = isinstance(label_type, str) and label_type in _LABEL_TYPES
    if not known or not isinstance(classes, list):
        raise ValueError("its classes are not a list of labels of a known type")
    if any(type(label) is not _LABEL_TYPES[label_type] for label in classes):
        raise ValueError(f"its classes are not all of the type {label_type}")
    if len(classes) != n_classes or len(set(classes)) != len(classes):
        raise ValueError("it does not have as many different classes as it says")
    if label_type == "str" and len(classes) * 4 * max(map(len, classes)) > (
        _MAX_LABEL_BYTES
    ):
        raise ValueError("its classes have too long names")
    try:
        array = labels_from_json(classes, label_type)
        kept = array.tolist() == classes
    except OverflowError:
        kept = False
    # Larger integers, infinity, and strings that end with a null.
    if not kept or (label_type == "float64" and not np.isfinite(array).all()):
        raise ValueError(f"its classes are not values of the type {label_type}")


def _check_values(tensors):
    """Refuse values that are not finite, negative scales and a prior of zero."""
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"the tensor {name!r} holds values that are not finite")
    not_negative = ("scale", "variance", "class_prior", "running_var")
    for name, value in tensors.items():
        if name.endswith(not_negative) and (value < 0).any():
            raise ValueError(f"the tensor {name!r} holds negative values")
    if not tensors["class_prior"].sum() > 0:
        raise ValueError("its class prior is zero")
    if "label_sets" in tensors:
        _check_label_sets(tensors["label_sets"].numpy())


def _check_draws(manifest, tensors):
    """Refuse what could draw values that are not finite, or out of a type's range."""
    largest = bound_draws(manifest, tensors)
    if not largest.isfinite().all():
        raise ValueError("it could draw values that are not finite")
    is_whole = manifest.get("dtype") == "uint8"
    if is_whole and ((tensors["centres"] < 0).any() or (largest.round() > 255).any()):
        raise ValueError("it could draw values out of the range of uint8")


def _check_label_sets(sets):
    """Refuse label sets of other values than 0 and 1, and equal ones."""
    if not np.isin(sets, (0, 1)).all():
        raise ValueError("its label sets hold other values than 0 and 1")
    if len(unique_label_sets(sets.astype(bool))[0]) != len(sets):
        raise ValueError("its label sets are not different")


def labels_to_json(classes):
    """Return labels as a list of plain Python values, and the name of their type."""
    labels = classes.tolist()
    for name, kind in _LABEL_TYPES.items():
        if all(type(label) is kind for label in labels):
            return labels, name
    raise ValueError(
        "Labels must be strings, integers, floats or booleans to be released, got "
        f"{labels[:3]}."
    )


def labels_from_json(labels, label_type):
    """Return the array of labels."""
    return np.array(labels, dtype=None if label_type == "str" else label_type)
