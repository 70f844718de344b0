"""Print the lower bounds of pyproject.toml as a constraints file.

`uv pip install --resolution lowest-direct` says the same in theory, but gives up the
lower bound of torch when it meets newer releases of torchvision.
"""

import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
EXTRAS = ("dask", "dp", "plot", "test")


def main():
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + [r for e in EXTRAS for r in extras[e]]
    for requirement in requirements:
        print(requirement.replace(">=", "=="))


if __name__ == "__main__":
    main()
