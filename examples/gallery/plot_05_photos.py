"""
From a folder of photos to a classifier
=======================================

Photos become embeddings by :class:`~skcvae.embedding.FoundationEmbedder`, the first
step of a pipeline: embed, look, over-sample, classify.

This page was built with photos of clothes, if the builder had them; else with cut-outs
of the two photos that scikit-learn brings, and a small model of random weights.
"""

# %%
# A folder of photos
# ------------------
#
# Each sub-folder is a class, as in torchvision's ImageFolder.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import timm
from imblearn.pipeline import make_pipeline
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from skcvae.datasets import load_image_folder
from skcvae.embedding import FoundationEmbedder
from skcvae.over_sampling import CVAEOverSampler

scratch = tempfile.TemporaryDirectory()


def find(name):
    """Return a file of the shared data beside the project, or None."""
    for parent in (Path(".."), Path("../..")):
        if (parent / "shared" / name).exists():
            return parent / "shared" / name
    return None


def cut_sample_photos(folder):
    """Cut scikit-learn's two photos into small ones, a class folder for each."""
    rng = np.random.RandomState(0)
    photos = zip(("temple", "flower"), load_sample_images().images, strict=True)
    for label, photo in photos:
        (folder / label).mkdir()
        for i in range(150 if label == "temple" else 30):
            top, left = rng.randint(300), rng.randint(500)
            cut = photo[top : top + 120, left : left + 120]
            Image.fromarray(cut).save(folder / label / f"{i:03}.jpg")
    return folder


photos = find("data/clothing/train")
weights = find("weights/vit_tiny_patch16_224.safetensors")
model_name = "vit_tiny_patch16_224"
if photos is None or weights is None:
    photos = cut_sample_photos(Path(scratch.name))
    model_name, weights = "test_vit", Path(scratch.name) / "random.safetensors"
    save_file(timm.create_model(model_name).state_dict(), weights)

images = load_image_folder(photos)
labels, counts = np.unique(images.y, return_counts=True)
print(dict(zip(labels.tolist(), counts.tolist(), strict=True)))

# %%
# At most 60 photos of each class, to keep this page quick; a third of them for the
# test.
rng = np.random.RandomState(0)
chosen = np.concatenate(
    [rng.permutation(np.flatnonzero(images.y == label))[:60] for label in labels]
)
paths_train, paths_test, y_train, y_test = train_test_split(
    images.paths[chosen],
    images.y[chosen],
    test_size=1 / 3,
    stratify=images.y[chosen],
    random_state=0,
)

# %%
# Embed
# -----
#
# With `memory`, embeddings are kept on disk by the content of the photo: what follows
# embeds each of them once.
embedder = FoundationEmbedder(
    model_name, weights=weights, memory=Path(scratch.name) / "cache"
)
X_train = embedder.fit_transform(paths_train)
print(X_train.shape, X_train.dtype)

# %%
# Look
# ----
#
# Each photo at the place of its embedding, along the two directions in which the
# embeddings vary most.
places = PCA(2).fit_transform(X_train)
shown = rng.permutation(len(places))[:70]
fig, ax = plt.subplots(figsize=(8, 6), layout="constrained")
for place, path in zip(places[shown], paths_train[shown], strict=True):
    thumbnail = Image.open(path).convert("RGB").resize((64, 64))
    width = 0.055 * np.ptp(places, axis=0)
    left, bottom = place - width / 2
    ax.imshow(
        thumbnail,
        extent=(left, left + width[0], bottom, bottom + width[1]),
        aspect="auto",
    )
margin = 0.05 * np.ptp(places, axis=0)
ax.set_xlim(places[:, 0].min() - margin[0], places[:, 0].max() + margin[0])
ax.set_ylim(places[:, 1].min() - margin[1], places[:, 1].max() + margin[1])
ax.set_xlabel("first principal component")
ax.set_ylabel("second principal component")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Over-sample and classify
# ------------------------
#
# One pipeline from paths to labels. It makes two classes rare, to have something to
# fill up.
rare = labels[:1] if len(labels) < 4 else labels[:2]
kept = ~np.isin(y_train, rare) | (rng.uniform(size=len(y_train)) < 0.15)
head = LogisticRegression(C=0.01, max_iter=500)
for name, steps in {
    "without over-sampling": (embedder, head),
    "CVAEOverSampler": (embedder, CVAEOverSampler(random_state=0), head),
}.items():
    pipeline = make_pipeline(*steps).fit(paths_train[kept], y_train[kept])
    predicted = pipeline.predict(paths_test)
    accuracy = balanced_accuracy_score(y_test, predicted)
    of_rare = np.mean(predicted[np.isin(y_test, rare)] == y_test[np.isin(y_test, rare)])
    print(f"{name:22} balanced accuracy {accuracy:.3f}, of the rare {of_rare:.3f}")

scratch.cleanup()
