"""Table 7 of the thesis: losses, with and without generated rows, CIFAR-100-LT."""

import typer
from _methods import loss_methods
from _thesis import command

main = command(__doc__, {100: "table_7"}, loss_methods)

if __name__ == "__main__":
    typer.run(main)
