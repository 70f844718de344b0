"""Check an installed skcvae: every public module imports, and its data files are there.

Run it outside the checkout, so that the checkout is not what is imported.
"""

import importlib
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import skcvae

DATA_FILES = ("py.typed", "report/picker.js", "report/report.html.jinja")


def main():
    place = Path(skcvae.__file__).resolve()
    if not place.is_relative_to(Path(sys.prefix).resolve()):
        sys.exit(f"skcvae is imported from {place}, not from {sys.prefix}")
    if version("skcvae") != skcvae.__version__:
        sys.exit(f"the installed version is not {skcvae.__version__}")
    for name in skcvae.__all__:
        getattr(skcvae, name)
    importlib.import_module("skcvae.cli")
    missing = [
        name for name in DATA_FILES if not files("skcvae").joinpath(name).is_file()
    ]
    if missing:
        sys.exit(f"the wheel lacks {missing}")


if __name__ == "__main__":
    main()
