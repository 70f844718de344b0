"""The command ``skcvae embed``."""

import shutil
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from .._files import printable
from .._warnings import warn_user
from ._common import (
    DEFAULT_MODEL,
    AsJson,
    Device,
    ImageSize,
    Model,
    Pooling,
    Weights,
    Workers,
    echo_outcome,
)
from ._leaks import describe_leaks

# Names of sub-folders, by the suffix of the arrays in the output.
_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def embed(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="Folder of class folders, also below train and test; folder of photos "
            "without labels; CSV file with the columns path, label and optionally "
            "group; or MedMNIST file (.npz).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="File (.npz, .parquet or .safetensors) to write, or, without a "
            "suffix, a folder for train.npz, val.npz and test.npz.",
        ),
    ],
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    pooling: Pooling = "default",
    image_size: ImageSize = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Sub-folder to embed as one split; repeatable. Without it, the "
            "command looks for train, val (or validation) and test."
        ),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="Images that cannot be read: raise, nan or skip.")
    ] = "raise",
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps embeddings for later runs.")
    ] = None,
    device: Device = "auto",
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Turn a folder of photos into a file of embeddings for the other commands.

    If a run is interrupted, the next one continues it.
    """
    from .._files import check_output
    from .._formats import SUFFIXES
    from ..embedding import FoundationEmbedder
    from ._databases import write_database, write_folder

    if output.suffix:
        check_output(output, SUFFIXES, source)
    else:
        _check_folder(output, source, split)
    # Without a cache of the user, the embeddings are kept until the output is written.
    folder = cache or output.with_name(f"{output.name}.cache")
    embedder = FoundationEmbedder(
        model,
        weights=weights,
        pooling=pooling,
        image_size=image_size,
        device=device,
        num_workers=workers,
        memory=folder,
        verbose=1,
    )
    if source.suffix == ".npz":
        arrays, images = _embed_medmnist(source, embedder, as_json)
        failures = []
    elif not split and (flat := _find_unlabelled(source)):
        typer.echo(f"{source} has no sub-folders: no labels are written.", err=as_json)
        arrays, failures = _embed_unlabelled(flat, embedder, on_error)
        images = {}
    else:
        splits = _name_splits(split) if split else find_splits(source)
        arrays, images, failures = _embed_splits(
            source, embedder, on_error, splits, as_json
        )
    for name, failure in failures:
        typer.echo(
            f"not read{name}: {printable(failure.source)}: {failure.reason}",
            err=as_json,
        )
    if output.suffix:
        write_database(output, arrays)
    else:
        write_folder(output, arrays)
    if cache is None:
        shutil.rmtree(folder, ignore_errors=True)
    leaks = describe_leaks({n: (arrays[f"X_{n}"], images[n]) for n in images})
    for line in leaks:
        typer.echo(f"Warning: {line}", err=as_json)
    shapes = ", ".join(f"{k} {v.shape}" for k, v in arrays.items() if k[0] == "X")
    outcome = {
        "output": output,
        "shapes": {name: array.shape for name, array in arrays.items()},
        "not_read": [failure.source for _, failure in failures],
        "leaks": leaks,
    }
    text = f"{output}: {shapes}; {len(failures)} images could not be read"
    echo_outcome(as_json, outcome, [text])


def _check_folder(output, source, split):
    """Refuse a folder to write to that cannot be, or would not hold splits."""
    if not output.parent.is_dir() or output.is_file():
        raise ValueError(f"{output} cannot be made a folder. Name another one.")
    if output.exists() and output.samefile(source):
        raise ValueError(f"{output} is the folder of the images. Name another one.")
    if source.suffix != ".npz" and not split and "" in find_splits(source):
        raise ValueError(
            f"{output} has no suffix and is taken for a folder of splits, but {source} "
            f"has no splits train and test. Name a file, such as {output}.npz."
        )


def _embed_splits(source, embedder, on_error, splits, as_json):
    """Return the arrays of a folder or CSV file, paths by split, and the failures."""
    from ..embedding import embed_folder

    arrays, paths, failures = {}, {}, []
    for suffix, split in splits.items():
        if split is not None:
            typer.echo(f"Embedding {split}.", err=as_json)
        with warnings.catch_warnings():
            # The command compares the splits itself, and pixels instead of files.
            warnings.filterwarnings("ignore", ".* images are also in the split")
            found = embed_folder(source, embedder, split=split, on_error=on_error)
        if split is not None:
            paths[suffix[1:]] = found.paths.tolist()
        arrays |= {f"X{suffix}": found.X, f"y{suffix}": found.y.astype(str)}
        if found.groups is not None:
            arrays[f"groups{suffix}"] = found.groups.astype(str)
        failures += [
            ("" if split is None else f" ({split})", f) for f in found.failures
        ]
    return arrays, paths, failures


def _find_unlabelled(source):
    """Return the images of a folder without sub-folders, sorted by name, or none."""
    from .._image_formats import count_unread, is_readable

    if not source.is_dir():
        return []
    entries = sorted(path for path in source.iterdir() if path.name[0] != ".")
    if any(path.is_dir() for path in entries):
        return []
    found = [path for path in entries if is_readable(str(path))]
    if found and (unread := count_unread([str(path) for path in entries])):
        warn_user(f"{printable(source)} holds {unread}")
    return found


def _embed_unlabelled(paths, embedder, on_error):
    """Return the embeddings and names of photos without labels, and the failures."""
    if on_error not in ("raise", "nan", "skip"):
        raise ValueError(
            f"on_error must be 'raise', 'nan' or 'skip', got {on_error!r}."
        )
    embedder.set_params(on_error="raise" if on_error == "raise" else "nan")
    X = embedder.fit_transform([str(path) for path in paths])
    files = np.array([path.name for path in paths])
    if on_error == "skip":
        failed = [failure.index for failure in embedder.failures_]
        X, files = np.delete(X, failed, axis=0), np.delete(files, failed)
    failures = [("", failure) for failure in embedder.failures_]
    return {"X": X, "files": files}, failures


def _name_splits(splits):
    """Return sub-folders by the suffix that their arrays get."""
    suffix_of = {alias: suffix for suffix in _SPLITS for alias in _SPLITS[suffix]}
    return {f"_{suffix_of.get(split.lower(), split)}": split for split in splits}


def find_splits(source):
    """Return sub-folders that are splits, by suffix; the whole folder without any."""
    names = (
        {p.name.lower(): p.name for p in source.iterdir()} if source.is_dir() else {}
    )
    found = {
        f"_{suffix}": names[alias]
        for suffix, aliases in _SPLITS.items()
        for alias in aliases
        if alias in names
    }
    return found if {"_train", "_test"} <= set(found) else {"": None}


def _embed_medmnist(source, embedder, as_json):
    """Return the arrays of a MedMNIST file, and its images by split."""
    arrays, pixels = {}, {}
    for split, (images, y) in _read_medmnist(source).items():
        typer.echo(f"Embedding {split}.", err=as_json)
        arrays[f"X_{split}"] = embedder.fit_transform(images)
        arrays[f"y_{split}"] = y
        pixels[split] = images
    return arrays, pixels


def _read_medmnist(source):
    """Return images and labels of a MedMNIST file, by split."""
    from .._npz import read_npz

    arrays = read_npz(source)
    splits = [s for s in _SPLITS if {f"{s}_images", f"{s}_labels"} <= set(arrays)]
    if not splits:
        raise ValueError(
            f"{source} needs arrays such as train_images and train_labels, but "
            f"holds {sorted(arrays)}."
        )
    found = {}
    for split in splits:
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        n_images = images.shape[:1]
        if labels.shape not in (n_images, (*n_images, 1)):
            raise ValueError(
                f"{source}: {split}_labels must hold one label for each image, got the "
                f"shape {labels.shape} for {split}_images of shape {images.shape}."
            )
        found[split] = images, labels.ravel()
    return found
