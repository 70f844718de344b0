"""Table 6 of the thesis: resampling and augmentation, either CIFAR-LT."""

import typer
from _methods import resampling_methods
from _thesis import command

main = command(
    __doc__, {100: "table_6_cifar100", 10: "table_6_cifar10"}, resampling_methods
)

if __name__ == "__main__":
    typer.run(main)
