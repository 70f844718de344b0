"""Table 4 of the thesis: architecture and variance of the CVAE, CIFAR-100-LT."""

import typer
from _methods import variance_methods
from _thesis import command

main = command(__doc__, {100: "table_4"}, variance_methods)

if __name__ == "__main__":
    typer.run(main)
