"""What importing loads, who may import whom, and what is public."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skcvae

_ROOT = Path(skcvae.__file__).parent
_STUBS = sorted(_ROOT.rglob("__init__.pyi"))
_FILES = sorted([*_ROOT.rglob("*.py"), *_STUBS])

# The parts of skcvae, from the lowest on. A part may import those of the lines above.
LAYERS = [
    {"_thin_covariance"},
    {
        "_devices",
        "_doc_links",
        "_extras",
        "_factor_covariance",
        "_files",
        "_image_formats",
        "_remix",
        "_rendering",
        "_seeds",
        "_several_labels",
        "_states",
        "_statistics",
        "_threads",
        "_warnings",
    },
    {
        "_class_means",
        "_class_values",
        "_mean_leakage",
        "_neighbors",
        "_npz",
        "_record_sets",
        "_scaling",
        "_training",
    },
    {"_formats", "_validation"},
    {"_label_sets", "_tables"},
    {"_blocks", "_constraints"},
    {"_block_loader", "_generation"},
    {"_drawing"},
    {"metrics", "datasets"},
    {"generators", "embedding"},
    {"over_sampling", "anonymization", "long_tail"},
    {"privacy"},
    {"inspection"},
    {"report"},
    {"cli"},
]
RANKS = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

# Private modules that another part imports, each with the reason why it is not public.
_RELEASE = "a release holds the inner parts of a generator, and nothing else does"
_PHOTOS = "photos are shown as the embedder reads them"
_SECTIONS = "the report shows what the public function leaves out of its result"
PRIVATE_IMPORTS = {
    ("skcvae.anonymization._release", "skcvae.generators._released"): _RELEASE,
    ("skcvae.anonymization._release", "skcvae.generators._base"): _RELEASE,
    (
        "skcvae.anonymization._release",
        "skcvae.generators._label_set_generator",
    ): _RELEASE,
    ("skcvae.anonymization._release_file", "skcvae.generators._released"): _RELEASE,
    ("skcvae.inspection._nearest_images", "skcvae.embedding._images"): _PHOTOS,
    ("skcvae.report._report", "skcvae.inspection._nearest_images"): _PHOTOS,
    ("skcvae.report._figures", "skcvae.privacy._sample_attacks"): _SECTIONS,
    ("skcvae.report._figures", "skcvae.privacy._audit_parts"): _SECTIONS,
    ("skcvae.report._privacy", "skcvae.privacy._audit_report"): _SECTIONS,
    ("skcvae.report._sections", "skcvae.metrics._probe"): _SECTIONS,
}


def loaded_by(statement):
    """Return the top-level modules that a statement loads in a fresh interpreter."""
    code = f"{statement}; import sys; print(*sys.modules)"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_ROOT.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in finished.stdout.split()}


def part_of(module):
    """Return "generators" for "skcvae.generators._base", and "" for "skcvae"."""
    return module.partition(".")[2].partition(".")[0]


def module_name(path):
    parts = path.relative_to(_ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path):
    """Return the absolute names of all modules that a file imports."""
    package = module_name(path).split(".")
    if path.stem != "__init__":
        package = package[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            # The names in the top level are submodules, but for __version__.
            names |= (
                {f"{base}.{a.name}" for a in node.names if not a.name.startswith("__")}
                if base == "skcvae"
                else {base}
            )
    return names


def public_modules():
    names = [
        f"skcvae.{module.name}"
        for module in pkgutil.iter_modules([str(_ROOT)])
        if not module.name.startswith("_")
    ]
    return ["skcvae", *names]


def public_objects():
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", []):
            yield f"{module_name}.{name}", getattr(module, name)


def test_package_is_cheap_to_import():
    loaded = loaded_by("import skcvae")
    assert "skcvae" in loaded
    assert not loaded & {"timm", "matplotlib", "pandas", "torch", "sklearn"}


WITHOUT_TORCH = {
    "anonymization": ["KSameAnonymizer"],
    "datasets": ["load_embeddings", "make_long_tailed"],
    "generators": ["ClassGaussian", "ClassMoments", "DensityGenerator"],
    "generators.private": ["DPClassGaussian"],
    "inspection": ["ClassCountDisplay", "ShotAccuracyDisplay"],
    "long_tail": ["KernelNeighborsClassifier", "PriorCorrectedClassifier"],
    "metrics": ["frechet_distance", "nearest_neighbors", "shot_accuracy_score"],
    "over_sampling": [
        "GenerativeOverSampler",
        "PowerStrategy",
        "ProgressiveOverSampler",
        "QualityFilter",
        "RemixSampler",
        "ResampledClassifier",
    ],
    "privacy": ["nearest_neighbor_attack"],
}


def test_what_needs_no_torch_loads_none():
    loaded = loaded_by(
        "; ".join(
            f"from skcvae.{part} import {', '.join(names)}"
            for part, names in WITHOUT_TORCH.items()
        )
    )
    assert "sklearn" in loaded
    assert not loaded & {"torch", "skorch", "timm", "matplotlib"}


def test_class_gaussian_learns_without_torch():
    loaded = loaded_by(
        "from skcvae.over_sampling import GenerativeOverSampler; "
        "GenerativeOverSampler().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 0, 1])"
    )
    assert "torch" not in loaded


def test_nets_load_neither_timm_nor_matplotlib():
    loaded = loaded_by("from skcvae.generators import CVAE; CVAE()")
    assert "torch" in loaded
    assert not loaded & {"timm", "matplotlib"}


@pytest.mark.parametrize("stub", _STUBS, ids=module_name)
def test_a_stub_lists_the_names_that_its_package_has(stub):
    declared = {}
    exec(re.search(r"^__all__ = \[.*?\]", stub.read_text(), re.M | re.S)[0], declared)
    package = importlib.import_module(module_name(stub))
    assert sorted(declared["__all__"]) == sorted(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="SMOTE"):
        _ = package.SMOTE


@pytest.mark.parametrize("path", _FILES, ids=module_name)
def test_dependencies_point_one_way(path):
    part = part_of(module_name(path))
    imported = {
        part_of(name)
        for name in imported_modules(path)
        if name.partition(".")[0] == "skcvae"
    }
    if not part:
        assert path in _STUBS or not imported, "it imports at first use"
        return
    above = {other for other in imported - {part} if RANKS[other] >= RANKS[part]}
    assert not above, f"{part} stands below {above} in LAYERS, or beside them"


def test_every_part_has_a_layer():
    parts = {part_of(module_name(path)) for path in _FILES} - {""}
    assert parts == set(RANKS)


def private_imports():
    """Return pairs of an importing file and a private module of another part."""
    found = set()
    for path in _FILES:
        part = part_of(module_name(path))
        for name in imported_modules(path):
            root, _, inner = name.partition(".")
            other = part_of(name)
            is_private = any(p.startswith("_") for p in inner.split(".")[1:])
            if root == "skcvae" and is_private and other != part:
                found.add((module_name(path), name))
    return found


def test_parts_import_the_public_names_of_other_parts():
    found = private_imports()
    assert found == set(PRIVATE_IMPORTS), "make it public, or move it to a root module"
    assert len(found) <= 10


def test_imports_of_a_file_are_resolved():
    names = imported_modules(_ROOT / "over_sampling" / "_base.py")
    assert {"skcvae._generation", "imblearn.utils", "numpy"} <= names
    names = imported_modules(_ROOT / "generators" / "_base.py")
    assert "skcvae._seeds" in names


@pytest.mark.parametrize("name", public_modules())
def test_public_modules_list_what_they_have(name):
    module = importlib.import_module(name)
    assert module.__doc__
    names = getattr(module, "__all__", None)
    if name != "skcvae.cli":
        assert names
        assert len(names) == len(set(names))
    for public in names or []:
        assert hasattr(module, public)


def test_top_level_names_are_those_of_the_submodules():
    for name in set(skcvae.__all__) - {"__version__"}:
        found = getattr(skcvae, name)
        if not inspect.ismodule(found):
            package = importlib.import_module(f"skcvae.{part_of(found.__module__)}")
            assert found is getattr(package, name)
            assert name in package.__all__


def test_public_objects_have_docstrings():
    undocumented = []
    for name, obj in public_objects():
        if inspect.ismodule(obj) or isinstance(obj, str):
            continue
        members = {name: obj}
        if inspect.isclass(obj):
            own = [
                f"{name}.{attribute}"
                for attribute, value in inspect.getmembers(obj)
                if not attribute.startswith("_")
                and inspect.isroutine(value)
                and (getattr(value, "__module__", None) or "").startswith("skcvae")
            ]
            members |= {n: getattr(obj, n.rpartition(".")[2]) for n in own}
        undocumented += [n for n, member in members.items() if not member.__doc__]
    assert not undocumented
