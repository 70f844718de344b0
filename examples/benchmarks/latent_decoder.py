"""Fused latents as images: Fréchet distances after 0, 1 and 5 steps of a denoiser.

    python examples/benchmarks/latent_decoder.py --data FOLDER --weights FILE \\
        --autoencoder FOLDER [--denoiser FOLDER --scheduler FOLDER [--condition FILE]]

The latents of photos of clothes, by your AutoencoderKL of diffusers, are fused by
HeadTailFusionSampler for the smallest class, and decoded. Images are compared with
test photos of that class in the features of timm's vit_tiny_patch16_224, whose weights
are FILE, and not of the Inception net: distances are no FID of the literature, and with
few photos they are too large, for all alike. For reference, there are training photos
of the class, and the same after they were encoded ("decoded again").

The denoiser is a folder of a UNet2DModel, or of a UNet2DConditionModel and a file
`.npy` with the text embedding that it is told, of shape (tokens, d). Without a
denoiser, there are 0 steps only.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from _fusion_measures import MODEL, load_photos
from matplotlib import pyplot as plt

from skcvae.embedding import FoundationEmbedder, LatentAutoencoder
from skcvae.inspection import ImageGridDisplay
from skcvae.metrics import frechet_distance
from skcvae.over_sampling import HeadTailFusionSampler


def load_denoiser(folder, condition):
    """Return a function of latents and a step, of a model with or without a text."""
    import diffusers

    name = json.loads((folder / "config.json").read_text())["_class_name"]
    net = getattr(diffusers, name).from_pretrained(folder, local_files_only=True).eval()
    if condition is None:
        return net
    text = torch.from_numpy(np.load(condition)).float()

    def denoise(latents, step):
        return net(
            latents, step, encoder_hidden_states=text.expand(len(latents), -1, -1)
        )

    return denoise


def fuse(autoencoder, paths, y, label, n_new, steps):
    """Return latents of new samples of a class."""
    maps = autoencoder.transform(paths).reshape(-1, *autoencoder.latent_shape_)
    sampler = HeadTailFusionSampler(
        interaction_steps=steps,
        imitation_steps=max(1, steps // 3),
        sampling_strategy={label: int((y == label).sum()) + n_new},
        device="cpu",
        random_state=0,
    )
    fused, _ = sampler.fit_resample(maps, y)
    return fused[len(y) :]


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    weights: Annotated[Path, typer.Option(help=f"Weights of {MODEL}.")],
    autoencoder: Annotated[Path, typer.Option(help="Folder of an AutoencoderKL.")],
    denoiser: Annotated[Path | None, typer.Option(help="Folder of a U-net.")] = None,
    scheduler: Annotated[
        Path | None, typer.Option(help="Folder of a scheduler.")
    ] = None,
    condition: Annotated[Path | None, typer.Option(help="A text embedding.")] = None,
    photos: Annotated[int, typer.Option(min=200, help="Training photos.")] = 600,
    size: Annotated[int, typer.Option(help="Side of the photos.")] = 224,
    steps: Annotated[int, typer.Option(min=1, help="Steps of an agent.")] = 300,
    figure: Annotated[Path, typer.Option(help="Figure to write.")] = Path(
        "latent_decoder.png"
    ),
):
    """Fuse, decode, and print a table."""
    codec = {"image_size": size, "device": "cpu", "random_state": 0}
    n_steps = (0,)
    if denoiser is not None:
        from diffusers import DDIMScheduler

        codec["scheduler"] = DDIMScheduler.from_pretrained(
            scheduler, local_files_only=True
        )
        codec["denoiser"] = load_denoiser(denoiser, condition)
        n_steps = (0, 1, 5)
    paths, y = load_photos(data, "train")
    chosen = np.random.RandomState(0).permutation(len(y))[:photos]
    paths, y = [paths[i] for i in chosen], y[chosen]
    labels, counts = np.unique(y, return_counts=True)
    label = int(labels[counts.argmin()])
    own = [path for path, code in zip(paths, y, strict=True) if code == label]
    test, y_test = load_photos(data, "test")
    real = [path for path, code in zip(test, y_test, strict=True) if code == label]

    codecs = {
        n: LatentAutoencoder(autoencoder, n_steps=n, **codec).fit() for n in n_steps
    }
    fused = fuse(codecs[0], paths, y, label, len(own), steps)
    sets = {
        "training photos": own,
        "decoded again": codecs[0].inverse_transform(codecs[0].transform(own)),
    }
    for n, one in codecs.items():
        sets[f"fused, {n} steps"] = one.inverse_transform(fused)

    embedder = FoundationEmbedder(MODEL, weights=weights, device="cpu")
    features = embedder.fit_transform(real)
    print(f"{len(own)} images of each kind, {len(real)} test photos")
    for name, images in sets.items():
        distance = frechet_distance(features, embedder.transform(images))
        print(f"{name:20}{distance:10.2f}")
    shown = {
        name: images for name, images in sets.items() if isinstance(images, np.ndarray)
    }
    display = ImageGridDisplay(synthetic={n: i[:6] for n, i in shown.items()})
    display.plot().figure_.savefig(figure)
    plt.close()
    print(f"wrote {figure}")


if __name__ == "__main__":
    typer.run(main)
