"""All tables and figures of the thesis; a run that was stopped continues."""

import importlib
import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _figures import both_cvaes, plane_models
from _methods import loss_methods, resampling_methods, variance_methods
from _thesis import ARCHITECTURES, THESIS_CVAE_EPOCHS, Setup, head_job, load

CIFAR_10, CIFAR_100 = "cifar10_lt", "cifar100_lt"
# The samples that the training samples of CIFAR-100-LT lack.
REST = "cifar100_rest"
# The data sets of the thesis's table 9, then what stands in for them here.
MEDICAL = (
    *(f"{name}mnist" for name in ("path", "derma", "oct", "blood", "tissue")),
    *(f"organ{view}mnist" for view in "acs"),
    *("breastmnist", "mvtec"),
)


@dataclass
class Task:
    """A script, and how the names of its files of data begin.

    `methods(setup)` returns the rows of a table, and `models(setup)` the pairs of setup
    and generator that the script fits. A script of `several` data sets takes those at
    hand.
    """

    script: str
    data: tuple
    methods: Callable | None = None
    models: Callable | None = None
    several: bool = False
    needs_rest: bool = False


def models_of_figures(setup):
    """Return what the figures 9 to 11 fit."""
    return [(setup, g) for name in ARCHITECTURES for g in both_cvaes(setup, name)]


def models_of_planes(setup):
    """Return what the tables 2 and 3 fit."""
    models = [m for seed in range(setup.n_seeds) for m in plane_models(setup, seed)]
    return [(model.setup, model.unfitted) for model in models]


def models_of_figure_8(setup):
    """Return what figure 8 fits."""
    models = plane_models(setup, 0, ARCHITECTURES)
    return [(model.setup, model.unfitted) for model in models]


def models_of_figure_7(setup):
    """Return what figure 7 fits."""
    return [(setup, setup.thesis_cvae("small", 1))]


_BOTH = (CIFAR_10, CIFAR_100)
TASKS = {
    "table_1": Task("table_1", (*_BOTH, *MEDICAL), several=True),
    "table_2_3": Task("table_2_3", (CIFAR_10,), models=models_of_planes),
    "table_4": Task("table_4", (CIFAR_100,), variance_methods),
    "table_5": Task("table_5", (CIFAR_10,), variance_methods),
    "table_6_cifar100": Task("table_6", (CIFAR_100,), resampling_methods),
    "table_6_cifar10": Task("table_6", (CIFAR_10,), resampling_methods),
    "table_7": Task("table_7", (CIFAR_100,), loss_methods),
    "table_8": Task("table_8", (CIFAR_10,), loss_methods),
    "table_9": Task("table_9", MEDICAL, several=True),
    "figure_7": Task("figure_7", _BOTH, models=models_of_figure_7, several=True),
    "figure_8": Task("figure_8", (CIFAR_10,), models=models_of_figure_8),
    "figure_9": Task("figure_9", _BOTH, models=models_of_figures, several=True),
    "figure_10": Task(
        "figure_10", (CIFAR_100,), models=models_of_figures, needs_rest=True
    ),
    "figure_11": Task(
        "figure_11", (CIFAR_100,), models=models_of_figures, needs_rest=True
    ),
    "figure_12": Task("figure_12", (CIFAR_100, "mvtec"), several=True),
}


def find(folder, start):
    """Return the file of a folder whose name begins so, None if there is none."""
    paths = sorted(folder.glob(f"{start}*.npz"))
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise typer.BadParameter(f"Several files begin with {start}: {names}.")
    return paths[0] if paths else None


def missing_jobs(task, setup):
    """Return the kinds of the jobs that have no result yet, by file."""
    missing = {}

    def check(holder, kind, settings):
        path = holder.ledger.path(kind, settings)
        if not path.exists():
            missing[path] = kind

    pairs = task.models(setup) if task.models else []
    for method in task.methods(setup) if task.methods else []:
        pairs += [(setup, generator) for generator in method.generators(setup)]
        for seeds in (pair for training in method.seeds(setup) for pair in training):
            check(setup, *head_job(method, setup, seeds))
    for holder, generator in pairs:
        check(holder, *holder.fit_job(generator)[1:])
    return missing


def show_remaining(name, task, setups):
    """Print how many jobs of a task are left, and what they would take."""
    kinds = Counter()
    for setup in setups:
        kinds.update(missing_jobs(task, setup).values())
    ledger = setups[0].ledger
    seconds = sum(n * ledger.seconds(kind) for kind, n in kinds.items())
    took = "unknown time" if np.isnan(seconds) else f"about {seconds / 60:.0f} minutes"
    print(f"{name:20}{kinds.total()} jobs left, {took}", flush=True)


def run_task(name, task, paths, options):
    """Run a script with those of the options that it has."""
    main = importlib.import_module(task.script).main
    folder = options.pop("folder")
    if folder is not None:
        options["output"] = folder / f"{name}.csv"
        options["output_3"] = folder / "table_3.csv"
        options["figure"] = folder / f"{name}.png"
    taken = inspect.signature(main).parameters
    given = {key: value for key, value in options.items() if key in taken}
    main(paths if task.several else paths[0], **given)


def main(
    data: Annotated[
        Path,
        typer.Option(exists=True, file_okay=False, help="Folder with the .npz files."),
    ],
    only: Annotated[
        list[str] | None, typer.Option(help="Name of a table or figure; repeat.")
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="Folder that keeps generators and results.")
    ] = Path("thesis_results"),
    output: Annotated[
        Path | None, typer.Option(help="Folder for CSV and PNG; else those of docs/.")
    ] = None,
    cvae_epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the thesis's models.")
    ] = THESIS_CVAE_EPOCHS,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, or runs.")] = 5,
    small: Annotated[
        int, typer.Option(min=1, help="Trainings of the thesis's small CVAE.")
    ] = 5,
    large: Annotated[
        int, typer.Option(min=1, help="Trainings of the thesis's large CVAE.")
    ] = 2,
    show: Annotated[
        bool, typer.Option("--list", help="Print what remains, and run nothing.")
    ] = False,
):
    """Rerun tables and figures of the thesis; each job that is done stays done."""
    unknown = set(only or ()) - set(TASKS)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)} are not among {list(TASKS)}.")
    cvaes = {"small": small, "large": large}
    for name in only or TASKS:
        task = TASKS[name]
        paths = list(filter(None, (find(data, start) for start in task.data)))
        rest = find(data, REST)
        if not paths or (task.needs_rest and rest is None):
            print(f"{name:20}its data are not in {data}")
            continue
        if task.methods or task.models:
            setups = [Setup(load(p), cvae_epochs, seeds, cache, cvaes) for p in paths]
            show_remaining(name, task, setups)
        else:
            print(f"{name:20}runs as a whole", flush=True)
        if not show:
            options = {"folder": output, "reference": rest, "cache": cache}
            options |= {"cvae_epochs": cvae_epochs, "seeds": seeds, "runs": seeds}
            run_task(name, task, paths, options | cvaes)


if __name__ == "__main__":
    typer.run(main)
