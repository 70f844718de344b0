"""How long an import takes, beside that of SMOTE, each in processes of its own.

    python examples/benchmarks/import_time.py [--runs 10]

Prints the shortest time of alternating runs, as ``python -X importtime`` tells it, and
its ratio to that of SMOTE.
"""

import subprocess
import sys
from typing import Annotated

import typer

IMPORTS = (
    "from imblearn.over_sampling import SMOTE",
    "from skcvae.over_sampling import GenerativeOverSampler",
    "from skcvae.generators import ClassGaussian",
    "from skcvae.generators import CVAE",
)


def import_seconds(statement):
    """Return the seconds that the modules of a statement take to import."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stderr.splitlines() if "import time:" in line]
    own = [line.removeprefix("import time:").partition("|")[0] for line in lines[1:]]
    return sum(map(int, own)) / 1e6


def main(
    runs: Annotated[int, typer.Option(help="Runs of each import.")] = 10,
) -> None:
    """Compare the times of imports."""
    times = [[import_seconds(statement) for statement in IMPORTS] for _ in range(runs)]
    best = [min(of_statement) for of_statement in zip(*times, strict=True)]
    for statement, seconds in zip(IMPORTS, best, strict=True):
        print(f"{statement:56} {seconds:5.2f} s  ratio {seconds / best[0]:4.2f}")


if __name__ == "__main__":
    typer.run(main)
