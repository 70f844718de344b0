"""Augmented views before the backbone, generated rows after it, and both.

    python examples/benchmarks/views_benchmark.py --data FOLDER --weights FILE

"Views, then CVAE" is a pipeline, whose CVAE takes views for photos. "Views beside CVAE"
trains the CVAE on photos only, and the classifier on all three.

FOLDER holds train/CLASS/*.jpg and test/CLASS/*.jpg, FILE the weights of --model. Each
seed thins the training photos out to a long tail, in another order of the classes.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score

from skcvae.datasets import load_image_folder, make_long_tailed
from skcvae.embedding import FoundationEmbedder, ViewOverSampler
from skcvae.generators import CVAE, ClassGaussian
from skcvae.over_sampling import GenerativeOverSampler, RatioStrategy


def build_head():
    """Return the classifier that all are compared with."""
    return LogisticRegression(C=1e-2, max_iter=500)


def build_generators(seed):
    """Return generators of rows."""
    return {
        "ClassGaussian": ClassGaussian(random_state=seed),
        "CVAE": CVAE(device="cpu", random_state=seed),
    }


def build_pipelines(embedder, some_views, seed):
    """Return pipelines from photos to labels; all but the first balance classes."""
    copies = RandomOverSampler(random_state=seed)
    steps = {
        "nothing": [embedder],
        "copies": [embedder, copies],
        "views": [ViewOverSampler(random_state=seed), embedder],
        "views, then copies": [some_views, embedder, copies],
    }
    for name, generator in build_generators(seed).items():
        sampler = GenerativeOverSampler(generator, random_state=seed)
        steps[name] = [embedder, sampler]
        steps[f"views, then {name}"] = [some_views, embedder, sampler]
    return {name: make_pipeline(*parts, build_head()) for name, parts in steps.items()}


def fit_side_by_side(paths, y, embedder, views, generator):
    """Train on photos, views, and rows of a generator that has not seen the views."""
    images, labels = views.fit_resample(paths, y)
    rows = embedder.transform(images)
    generator.fit(rows[: len(paths)], y)
    counts = np.bincount(labels)
    missing = np.repeat(np.arange(len(counts)), counts.max() - counts)
    generated, _ = generator.sample(y=missing)
    head = build_head().fit(
        np.concatenate([rows, generated]), np.concatenate([labels, missing])
    )
    return make_pipeline(embedder, head)


def fit_all(paths, y, embedder, seed):
    """Yield the name of each way to train, and a fitted pipeline."""
    # Views up to half of the largest class, where others fill up the rest.
    some_views = ViewOverSampler(
        sampling_strategy=RatioStrategy(0.5), random_state=seed
    )
    for name, pipeline in build_pipelines(embedder, some_views, seed).items():
        yield name, pipeline.fit(paths, y)
    for name, generator in build_generators(seed).items():
        fitted = fit_side_by_side(paths, y, embedder, some_views, generator)
        yield f"views beside {name}", fitted


def draw_training_photos(photos, per_class, imbalance_ratio, rng):
    """Return paths of a long tail, and codes of the classes by size, largest first."""
    labels = np.unique(photos.y)
    rank_of = dict(zip(rng.permutation(labels), range(len(labels)), strict=True))
    ranks = np.array([rank_of[label] for label in photos.y])
    chosen = np.concatenate(
        [np.flatnonzero(ranks == rank)[:per_class] for rank in range(len(labels))]
    )
    paths, ranks = make_long_tailed(
        photos.paths[chosen],
        ranks[chosen],
        imbalance_ratio=imbalance_ratio,
        random_state=rng,
    )
    return paths, ranks, rank_of


def score(pipeline, test, rank_of):
    """Return the accuracy averaged over all classes, and over the smaller half."""
    expected = np.array([rank_of[label] for label in test.y])
    recall = recall_score(expected, pipeline.predict(test.paths), average=None)
    return recall.mean(), recall[len(recall) // 2 :].mean()


def main(
    data: Annotated[Path, typer.Option(help="Folder of train/CLASS and test/CLASS.")],
    weights: Annotated[Path, typer.Option(help="Weights of the model.")],
    model: Annotated[str, typer.Option(help="Name of timm.")] = "vit_tiny_patch16_224",
    image_size: Annotated[int, typer.Option(help="Side of photos in pixels.")] = 160,
    per_class: Annotated[int, typer.Option(help="Photos of the largest class.")] = 40,
    imbalance_ratio: Annotated[float, typer.Option(help="Largest to smallest.")] = 20,
    seeds: Annotated[int, typer.Option(help="Number of long tails.")] = 5,
    cache: Annotated[Path | None, typer.Option(help="Keeps embeddings.")] = None,
):
    """Print accuracies, mean and standard deviation over the seeds."""
    train = load_image_folder(data, split="train")
    test = load_image_folder(data, split="test")
    scores = {}
    with tempfile.TemporaryDirectory() as scratch:
        embedder = FoundationEmbedder(
            model, weights=weights, image_size=image_size, memory=cache or scratch
        )
        for seed in range(seeds):
            rng = np.random.RandomState(seed)
            paths, y, rank_of = draw_training_photos(
                train, per_class, imbalance_ratio, rng
            )
            for name, pipeline in fit_all(paths, y, embedder, seed):
                result = score(pipeline, test, rank_of)
                scores.setdefault(name, []).append(result)
    print(f"{np.bincount(y).tolist()} training photos, {len(test.paths)} test photos")
    print(f"\n{'':28}{'all classes':>18}{'smaller half':>18}{'better seeds':>14}")
    plain = np.array(scores["nothing"])
    for name, results in scores.items():
        mean, std = np.mean(results, axis=0), np.std(results, axis=0)
        better = np.sum(np.array(results)[:, 0] > plain[:, 0])
        pairs = zip(mean, std, strict=True)
        columns = "".join(f"{m:11.3f} ± {s:.3f}" for m, s in pairs)
        print(f"{name:28}{columns}{better:11} of {seeds}")


if __name__ == "__main__":
    typer.run(main)
