"""The command ``skcvae embed``: photos in, a file of embeddings out."""

import shutil
import zipfile

import numpy as np

from .._files import replacing
from ..embedding import embed_folder

# Names of sub-folders, and of arrays of a MedMNIST file, by the suffix of the output.
_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def run_embed(source, output, embedder, on_error, cache, echo, splits=()):
    """Embed a folder, a CSV file or a MedMNIST file, and write a ``.npz``.

    Parameters
    ----------
    source : Path
        Folder of class folders, or of splits of them; CSV file; or a ``.npz`` with
        `train_images`, `train_labels` and so on.

    output : Path
        File to write, whole or not at all: `X` and `y`, or `X_train`, `y_train`,
        `X_val`, ... for splits, and `groups` where there are some.

    embedder : FoundationEmbedder
        Without `memory`, which is set here.

    on_error : {"raise", "nan", "skip"}
        What an image does that cannot be read.

    cache : Path or None
        Folder that keeps embeddings for later runs. None keeps them beside the output
        until that is written, so that a run that was killed goes on.

    echo : callable
        Prints a line.

    splits : sequence of str, default=()
        Sub-folders to embed, each for itself. Without any, they are looked for.
    """
    if output.suffix != ".npz":
        raise ValueError(f"The output must be a .npz file, got {output}.")
    folder = cache or output.with_name(f"{output.name}.cache")
    embedder.set_params(memory=folder)
    if source.suffix == ".npz":
        arrays, failures = _embed_medmnist(source, embedder), []
    else:
        found = _name_splits(splits) if splits else _find_splits(source)
        arrays, failures = _embed_splits(source, embedder, on_error, found)
    for name, failure in failures:
        echo(f"not read{name}: {failure.source}: {failure.reason}")
    _save(output, arrays)
    if cache is None:
        shutil.rmtree(folder, ignore_errors=True)
    shapes = ", ".join(f"{k} {v.shape}" for k, v in arrays.items() if k[0] == "X")
    echo(f"{output}: {shapes}; {len(failures)} images could not be read")


def _embed_splits(source, embedder, on_error, splits):
    """Return the arrays of a folder or CSV file, and the failures."""
    arrays, failures = {}, []
    for suffix, split in splits.items():
        found = embed_folder(source, embedder, split=split, on_error=on_error)
        arrays |= {f"X{suffix}": found.X, f"y{suffix}": found.y.astype(str)}
        if found.groups is not None:
            arrays[f"groups{suffix}"] = found.groups.astype(str)
        failures += [
            ("" if split is None else f" ({split})", f) for f in found.failures
        ]
    return arrays, failures


def _name_splits(splits):
    """Return sub-folders by the suffix that their arrays get."""
    suffix_of = {alias: suffix for suffix in _SPLITS for alias in _SPLITS[suffix]}
    return {f"_{suffix_of.get(split.lower(), split)}": split for split in splits}


def _find_splits(source):
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


def _embed_medmnist(source, embedder):
    """Return the arrays of a MedMNIST file; its images are always readable."""
    images, labels = _read_medmnist(source)
    arrays = {}
    for split in images:
        arrays[f"X_{split}"] = embedder.fit_transform(images[split])
        arrays[f"y_{split}"] = labels[split]
    return arrays


def _read_medmnist(source):
    """Return the images and the labels of a MedMNIST file, by split."""
    try:
        with np.load(source, allow_pickle=False) as file:
            arrays = dict(file)
    except (zipfile.BadZipFile, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{source} is not a .npz file of plain arrays: {error}"
        ) from error
    splits = [s for s in _SPLITS if {f"{s}_images", f"{s}_labels"} <= set(arrays)]
    if not splits:
        raise ValueError(
            f"{source} needs arrays such as train_images and train_labels, but "
            f"holds {sorted(arrays)}."
        )
    images = {split: arrays[f"{split}_images"] for split in splits}
    labels = {split: arrays[f"{split}_labels"] for split in splits}
    for split in splits:
        n_images = images[split].shape[:1]
        if labels[split].shape not in (n_images, (*n_images, 1)):
            raise ValueError(
                f"{source}: {split}_labels must hold one label for each image, got the "
                f"shape {labels[split].shape} for {split}_images of shape "
                f"{images[split].shape}."
            )
    return images, {split: y.ravel() for split, y in labels.items()}


def _save(output, arrays):
    """Write a file whole or not at all."""
    with replacing(output) as partial:
        np.savez(partial, **arrays)
