"""Head-tail fusion: which parts help, where it does not, and what its masks show.

    python examples/benchmarks/head_tail_fusion.py --data FOLDER \\
        --weights FILE [--seeds 5]

FOLDER holds `cifar100_lt_vit_tiny.npz` and `clothing/{train,test}/<class>/*.jpg`, FILE
the weights of timm's vit_tiny_patch16_224. Parts, by `--only`:

- cifar: vectors, 10,847 rows of 100 classes, beside SMOTE, Remix and CVAE. The label
  policy is chosen on held-out parts of the training rows
- clothing: patch tokens of 3,068 photos of 10 classes, beside the same
- cifar-ablation, clothing-ablation: training, generations, sparsity, threshold,
  neighbours, noise, labels
- masks: a figure of tail and head photos, their maps and masks

A linear head is trained for the same number of steps on the rows of each contender, and
on shared labels where the policy shares them. Accuracies are averages over classes, in
percent. "class FD" is the mean Fréchet distance of new rows to test rows of their
class, less its bias: smaller is better.
With `--keep`, each row of a table is written to a file once it is known, and a run that
was interrupted goes on from there.
"""

import resource
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _common import Ledger
from _fusion_measures import (
    MODEL,
    load_cifar,
    load_clothing,
    load_photos,
    measure,
    print_table,
)
from imblearn.over_sampling import SMOTE
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import StratifiedShuffleSplit

from skcvae.over_sampling import CVAEOverSampler, HeadTailFusionSampler, RemixSampler

POLICIES = ("hard", "soft", "agreement")
BALANCED = "class-balanced sampling"
RIVALS = {
    "no over-sampling": None,
    BALANCED: None,
    "SMOTE": SMOTE(k_neighbors=4),
    "Remix": RemixSampler(),
    "CVAE": CVAEOverSampler(device="cpu"),
}
ABLATION = {
    # One step: an encoder that has learned next to nothing.
    "interaction_steps": (1,),
    "n_generations": (0, 1, 2, 3),
    "temperature": (0.1, 0.5, 1.0, 2.0),
    "quantile": (0.0, 0.25, 0.5, 0.75, 0.9),
    "n_neighbors": (1, 10, 100, 1000),
    "noise": ("residual", None),
    "label_policy": POLICIES,
}


def fusion(steps, **params):
    """Return the sampler; agents learn for `steps` steps, and imitate for a third."""
    imitation = max(1, steps // 3)
    return HeadTailFusionSampler(
        interaction_steps=steps, imitation_steps=imitation, device="cpu", **params
    )


def contend(split, sampler, balanced=False):
    """Return a function of the seed that measures a sampler."""
    return lambda seed: measure(split, sampler, seed, balanced)


def rivals(split):
    """Return all contenders but fusion."""
    return {
        name: contend(split, sampler, balanced=name == BALANCED)
        for name, sampler in RIVALS.items()
    }


def fusions(split, steps, prefix="fusion"):
    """Return fusion with each label policy."""
    return {
        f"{prefix}, {policy}": contend(split, fusion(steps, label_policy=policy))
        for policy in POLICIES
    }


def collect(ledger, title, contenders, seeds):
    """Return the rows of each contender over the seeds."""
    rows = {name: [] for name in contenders}
    for seed in seeds:
        for name, measured in contenders.items():
            row = ledger.get((title, seed, name), partial(measured, seed))
            rows[name].append(row)
        print(f"seed {seed} done", flush=True)
    return rows


def choose_policy(split, seeds, options):
    """Return the policy of the best balanced accuracy on held-out training rows."""
    splits = StratifiedShuffleSplit(len(seeds), test_size=0.2, random_state=0)
    rows = {policy: [] for policy in POLICIES}
    for seed, (train, test) in enumerate(splits.split(split.y, split.y)):
        contenders = fusions(split.parts(train, test), options["steps"])
        found = collect(options["ledger"], "held-out rows", contenders, [seed])
        for policy, row in zip(POLICIES, found.values(), strict=True):
            rows[policy] += row
    scores = {policy: np.mean(row, axis=0)[0] for policy, row in rows.items()}
    print("\nbalanced accuracy on held-out training rows:")
    for policy, score in scores.items():
        print(f"  {policy:12}{score:6.2f}")
    return max(POLICIES, key=scores.get)


def cifar(options, seeds):
    """Compare on vectors; the policy is chosen without the test rows."""
    split = load_cifar(options["data"])
    chosen = choose_policy(split, seeds, options)
    title = "long-tailed CIFAR-100, vectors"
    contenders = rivals(split) | fusions(split, options["steps"])
    rows = collect(options["ledger"], title, contenders, seeds)
    print_table(title, rows)
    difference = np.subtract(rows[f"fusion, {chosen}"], rows[BALANCED])[:, 0]
    print(f"\nheld-out rows prefer {chosen!r}: {difference.mean():+.2f} points overall")
    print(
        f"against {BALANCED}, from {difference.min():+.2f} to {difference.max():+.2f}"
    )


def clothing(options, seeds):
    """Compare on patch tokens, and on their averages."""
    split = load_clothing(options["data"], options["weights"], options["cache"])
    steps = options["steps"]
    contenders = (
        rivals(split.pooled)
        | fusions(split.pooled, steps)
        | fusions(split, steps, "fusion of tokens")
    )
    title = "photos of clothes, 196 patch tokens each"
    print_table(title, collect(options["ledger"], title, contenders, seeds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory of the process {peak:.2f} GB")


def ablate(title, split, base, seeds, ledger):
    """Vary one parameter at a time."""
    contenders = {"base": contend(split, base)}
    for name, values in ABLATION.items():
        for value in values:
            if value != getattr(base, name):
                sampler = clone(base).set_params(**{name: value})
                contenders[f"{name} = {value}"] = contend(split, sampler)
    names = {name: getattr(base, name) for name in ABLATION}
    title = f"{title}; base: {names}"
    print_table(title, collect(ledger, title, contenders, seeds))


def cifar_ablation(options, seeds):
    """Ablate on vectors."""
    split, base = load_cifar(options["data"]), fusion(options["steps"])
    ablate("CIFAR-100, vectors", split, base, seeds, options["ledger"])


def coarse(tokens):
    """Return averages of 2 x 2 neighbouring patches of 14 x 14."""
    n_rows, _, n_features = tokens.shape
    grid = tokens.reshape(n_rows, 7, 2, 7, 2, n_features)
    return grid.mean(axis=(2, 4)).reshape(n_rows, 49, n_features)


def clothing_ablation(options, seeds):
    """Ablate on the smaller set: averaged tokens, then coarse maps in fewer steps."""
    split = load_clothing(options["data"], options["weights"], options["cache"])
    base, ledger = fusion(options["steps"]), options["ledger"]
    ablate("clothes, averaged", split.pooled, base, seeds, ledger)
    maps = replace(split, X=coarse(split.X))
    base = fusion(max(1, options["steps"] // 3), n_generations=1)
    ablate("clothes, maps of 7 x 7", maps, base, seeds, ledger)


def crop(path):
    """Return a photo as the model sees it, values in [0, 1]."""
    photo = Image.open(path).convert("RGB").resize((248, 248), Image.Resampling.BICUBIC)
    return np.asarray(photo.crop((12, 12, 236, 236)), dtype=np.float32) / 255


def upsample(patches):
    """Return one value per pixel from one per patch, (196,) to (224, 224)."""
    return np.kron(patches.reshape(14, 14), np.ones((16, 16)))


def masks(options, seeds, n_rows=6):
    """Draw tail and head photos, their maps, and what comes from which."""
    import matplotlib.pyplot as plt

    split = load_clothing(options["data"], options["weights"], options["cache"])
    paths, _ = load_photos(options["data"], "train")
    sampler = fusion(options["steps"], random_state=0)
    sampler.fit_resample(split.X, split.y)
    rng = np.random.RandomState(0)
    shown = rng.choice(len(sampler.parents_), n_rows, replace=False)
    titles = ("tail", "its map", "head", "its map", "from the tail", "fused")
    fig, axes = plt.subplots(
        n_rows, 6, figsize=(12, 2 * n_rows), squeeze=False, layout="constrained"
    )
    for row, new in zip(axes, shown, strict=True):
        parents = sampler.parents_[new]
        tail, head = (crop(paths[parent]) for parent in parents)
        maps = sampler.activation_maps(split.X[parents], split.y[parents])
        mask = upsample(sampler.masks_[new])
        fused = np.where(mask[..., None] > 0, tail, head)
        drawn = (tail, maps[0], head, maps[1], mask, fused)
        for ax, image in zip(row, drawn, strict=True):
            image = upsample(image) if image.size == 196 else image
            ax.imshow(image)
            ax.set_axis_off()
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    file = options["figures"] / "head_tail_fusion_masks.png"
    fig.savefig(file, dpi=110)
    print(f"\nwrote {file}; new rows are made of features, not of pixels as shown")


PARTS = {
    "cifar": cifar,
    "clothing": clothing,
    "cifar-ablation": cifar_ablation,
    "clothing-ablation": clothing_ablation,
    "masks": masks,
}


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    weights: Annotated[
        Path | None, typer.Option(help=f"Weights of {MODEL}, for photos.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps of an agent.")] = 300,
    cache: Annotated[Path | None, typer.Option(help="Folder for tokens.")] = None,
    figures: Annotated[Path, typer.Option(help="Folder for figures.")] = Path("."),
    keep: Annotated[Path | None, typer.Option(help="File of known rows.")] = None,
):
    """Run the parts in turn."""
    warnings.simplefilter("ignore")
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(PARTS)}.")
    options = {
        "data": data,
        "weights": weights,
        "steps": steps,
        "cache": cache,
        "figures": figures,
        "ledger": Ledger(keep),
    }
    for name in only or PARTS:
        PARTS[name](options, range(seeds))


if __name__ == "__main__":
    typer.run(main)
