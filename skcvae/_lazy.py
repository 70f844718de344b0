"""Packages whose names are imported at first use, as in SPEC 1 of Scientific Python."""

import ast
from importlib import import_module
from pathlib import Path


def attach_stub(package, file):
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    The stub beside the file, ``__init__.pyi``, has the relative imports that the file
    would have. Type checkers read it, too. The names are the public ones.
    """
    stub = Path(file).with_suffix(".pyi").read_text(encoding="utf-8")
    # From a name to its module, and None for a name that is a submodule.
    sources = {
        alias.name: "." * node.level + node.module if node.module else None
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = sorted(sources)

    def __getattr__(name):
        if name not in sources:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        source = sources[name]
        if source is None:
            return import_module(f".{name}", package)
        return getattr(import_module(source, package), name)

    return __getattr__, lambda: names, names
