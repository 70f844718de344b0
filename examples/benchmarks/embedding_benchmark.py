"""Speed of FoundationEmbedder against a bare loop, and what its embeddings are worth.

    python examples/benchmarks/embedding_benchmark.py --data FOLDER --weights FILE

FOLDER holds train/CLASS/*.jpg and test/CLASS/*.jpg, FILE the weights of --model.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import timm
import torch
import typer
from imblearn.pipeline import make_pipeline
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from timm.data import create_transform, resolve_model_data_config

from skcvae.datasets import load_image_folder
from skcvae.embedding import FoundationEmbedder
from skcvae.over_sampling import CVAEOverSampler


def bare_loop(paths, model_name, weights, batch_size):
    """Embed photos as one writes it by hand; return rows and images per second."""
    overlay = {"file": str(weights)}
    model = timm.create_model(
        model_name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
    ).eval()
    config = resolve_model_data_config(model)
    transform = create_transform(**config, is_training=False)
    rows = []
    start = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, len(paths), batch_size):
            images = []
            for path in paths[first : first + batch_size]:
                with Image.open(path) as image:
                    images.append(transform(image.convert("RGB")))
            rows.append(model(torch.stack(images)).numpy())
    return np.concatenate(rows), len(paths) / (time.perf_counter() - start)


def timed(embedder, paths):
    """Return rows and images per second of an embedder that is built already."""
    embedder.fit(paths[:1])
    start = time.perf_counter()
    rows = embedder.transform(paths)
    return rows, len(paths) / (time.perf_counter() - start)


def compare_speed(paths, model, weights, batch_size, n_rounds):
    """Print images per second of the bare loop, of ours, and of a second run."""
    settings = {"weights": weights, "batch_size": batch_size, "device": "cpu"}
    speeds = []
    for _ in range(n_rounds):
        with tempfile.TemporaryDirectory() as cache:
            plain = FoundationEmbedder(model, **settings)
            cached = FoundationEmbedder(model, memory=cache, **settings)
            expected, bare_speed = bare_loop(paths, model, weights, batch_size)
            rows, speed = timed(plain, paths)
            _, first_speed = timed(cached, paths)
            _, second_speed = timed(cached, paths)
        speeds.append((bare_speed, speed, first_speed, second_speed))
    print(f"{len(paths)} photos, batches of {batch_size}, median of {n_rounds} rounds")
    print(f"largest difference from the bare loop: {np.abs(rows - expected).max():.1e}")
    print(f"\n{'':28}{'images/s':>10}{'ratio':>9}")
    names = ("bare timm loop", "FoundationEmbedder", "filling its cache", "second run")
    speeds = np.array(speeds)
    for i, name in enumerate(names):
        ratio = np.median(speeds[:, i] / speeds[:, 0])
        print(f"{name:28}{np.median(speeds[:, i]):10.1f}{ratio:9.2f}")


def classify(data, model, weights, cache):
    """Print the test accuracy of pipelines on image paths."""
    train = load_image_folder(data, split="train")
    test = load_image_folder(data, split="test")
    embedder = FoundationEmbedder(model, weights=weights, memory=cache)
    head = LogisticRegression(C=1e-2, max_iter=500)
    pipelines = {
        "logistic regression": make_pipeline(embedder, head),
        "CVAEOverSampler before it": make_pipeline(
            embedder, CVAEOverSampler(random_state=0), head
        ),
    }
    print(f"\n{len(train.paths)} training and {len(test.paths)} test photos\n")
    print(f"{'':28}{'accuracy':>10}{'balanced':>10}")
    for name, pipeline in pipelines.items():
        predicted = pipeline.fit(train.paths, train.y).predict(test.paths)
        accuracy = np.mean(predicted == test.y)
        balanced = balanced_accuracy_score(test.y, predicted)
        print(f"{name:28}{accuracy:10.3f}{balanced:10.3f}", flush=True)


def main(
    data: Annotated[Path, typer.Option(help="Folder of train/CLASS and test/CLASS.")],
    weights: Annotated[Path, typer.Option(help="Weights of the model.")],
    model: Annotated[str, typer.Option(help="Name of timm.")] = "vit_tiny_patch16_224",
    photos: Annotated[int, typer.Option(help="Photos to time.")] = 256,
    rounds: Annotated[int, typer.Option(help="Rounds to time.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Photos per batch.")] = 32,
):
    """Run both parts."""
    paths = load_image_folder(data, split="test").paths[:photos]
    compare_speed(paths, model, weights, batch_size, rounds)
    with tempfile.TemporaryDirectory() as cache:
        classify(data, model, weights, cache)


if __name__ == "__main__":
    typer.run(main)
