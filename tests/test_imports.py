"""What importing loads, who may import whom, and what is public."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import skcvae

_ROOT = Path(skcvae.__file__).parent
_FILES = sorted(_ROOT.rglob("*.py"))

# What each part of skcvae may import of the others. None stands for everything.
ALLOWED = {
    "_doc_links": set(),
    "_training": {"metrics"},
    "_remix": set(),
    "_files": set(),
    "metrics": {"_training"},
    "datasets": set(),
    "embedding": {"_doc_links", "_training", "datasets"},
    "generators": {"_doc_links", "_training", "metrics"},
    "over_sampling": {"_doc_links", "_training", "_remix", "metrics", "generators"},
    "anonymization": {"_doc_links", "_training", "_files", "metrics", "generators"},
    "long_tail": {"_doc_links", "_training", "_remix", "metrics", "generators"},
    "inspection": None,
    "cli": None,
    "_demo": None,
    "_embed": None,
    "_databases": {"_files", "datasets"},
    "_privacy_commands": None,
    "_report_command": None,
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
    if path.name != "__init__.py":
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


def test_estimators_load_neither_timm_nor_matplotlib():
    loaded = loaded_by("import skcvae.over_sampling, skcvae.generators")
    assert "torch" in loaded
    assert not loaded & {"timm", "matplotlib"}


@pytest.mark.parametrize("path", _FILES, ids=module_name)
def test_dependencies_point_one_way(path):
    part = part_of(module_name(path))
    imported = {
        part_of(name)
        for name in imported_modules(path)
        if name.partition(".")[0] == "skcvae"
    }
    if not part:
        assert not imported, "the top level imports at first use"
        return
    allowed = ALLOWED[part]
    assert allowed is None or imported - {part} <= allowed


def test_imports_of_a_file_are_resolved():
    names = imported_modules(_ROOT / "over_sampling" / "_base.py")
    assert {"skcvae.generators._cache", "imblearn.utils", "numpy"} <= names
    names = imported_modules(_ROOT / "generators" / "_base.py")
    assert "skcvae._training" in names


@pytest.mark.parametrize("name", public_modules())
def test_public_modules_list_what_they_have(name):
    module = importlib.import_module(name)
    assert module.__doc__
    names = getattr(module, "__all__", None)
    if name.partition(".")[2] in skcvae._SUBMODULES or name == "skcvae":
        assert names
        assert len(names) == len(set(names))
    for public in names or []:
        assert hasattr(module, public)


def test_top_level_names_are_those_of_the_submodules():
    for name, submodule in skcvae._SUBMODULE_OF.items():
        module = importlib.import_module(f"skcvae.{submodule}")
        assert getattr(skcvae, name) is getattr(module, name)
        assert name in module.__all__
        assert name in skcvae.__all__
    assert set(skcvae.__all__) <= set(dir(skcvae))
    with pytest.raises(AttributeError, match="no attribute 'SMOTE'"):
        _ = skcvae.SMOTE


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
