"""Table 8 of the thesis: losses, with and without generated rows, CIFAR-10-LT."""

import typer
from _methods import loss_methods
from _thesis import command

main = command(__doc__, {10: "table_8"}, loss_methods)

if __name__ == "__main__":
    typer.run(main)
