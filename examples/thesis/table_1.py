"""Table 1 of the thesis: the data sets at hand."""

import numpy as np
import typer
from _anonymization import DataOption, read
from _figures import CSVOption
from _thesis import NUMBERS, RESULTS, write_csv


def table_rows(path):
    """Yield the row of each data set of a file."""
    for data_set in read(path):
        arrays = data_set.arrays
        labels = {name: y for name, y in arrays.items() if name.startswith("y")}
        # The first one is that of training, or the only one.
        counts = np.unique(labels.get("y_train", arrays.get("y")), return_counts=True)[
            1
        ]
        n_samples = sum(map(len, labels.values()))
        n_features = arrays.get("X_train", arrays.get("X")).shape[1]
        thesis = NUMBERS["table_1"].get(data_set.name.split("_")[0], {})
        yield {
            "data": data_set.name,
            "classes": len(counts),
            "samples": n_samples,
            "features": n_features,
            "training samples": counts.sum(),
            "largest class": counts.max(),
            "smallest class": counts.min(),
            "ratio": f"{counts.max() / counts.min():.0f}",
            "thesis_classes": thesis.get("classes", ""),
            "thesis_samples": thesis.get("samples", ""),
        }


def main(data: DataOption, output: CSVOption = RESULTS / "table_1.csv"):
    """Print names, sizes and class sizes of data sets."""
    print(__doc__, "\n")
    rows = [row for path in data for row in table_rows(path)]
    print("".join(f"{name:>18}" for name in rows[0]))
    for row in rows:
        print("".join(f"{cell:>18}" for cell in row.values()))
    write_csv(rows, output)


if __name__ == "__main__":
    typer.run(main)
