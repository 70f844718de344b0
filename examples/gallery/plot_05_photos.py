"""
Start here: from a folder of photos to a classifier
===================================================

Photos become embeddings by :class:`~skcvae.embedding.FoundationEmbedder`, the first
step of a pipeline: embed, look, over-sample, classify.

The photos and the weights of the model are downloaded at the first run. Where there is
no network, as for a build without one, the page takes scikit-learn's digits and
describes them by their pixels, and says so below.
"""

# %%
# Photos
# ------
#
# :func:`~skcvae.datasets.fetch_clothing` returns paths and labels, as
# :func:`~skcvae.datasets.load_image_folder` does for your own folders: each sub-folder
# is a class.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from imblearn.pipeline import make_pipeline
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from skcvae.datasets import fetch_clothing
from skcvae.embedding import FoundationEmbedder
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import GenerativeOverSampler

scratch = tempfile.TemporaryDirectory()


def digits_as_photos(folder):
    """Write scikit-learn's digits as images, and return paths and labels."""
    digits = load_digits()
    paths = [str(folder / f"{i}.png") for i in range(len(digits.images))]
    for path, pixels in zip(paths, digits.images, strict=True):
        Image.fromarray((255 - 15 * pixels).astype(np.uint8)).save(path)
    return Bunch(paths=np.array(paths, dtype=object), y=digits.target.astype(str))


def pixels(images):
    """Describe small images by their pixels."""
    return np.array([np.asarray(i.convert("L")).ravel() / 255.0 for i in images])


cache = Path(scratch.name) / "cache"
try:
    images = fetch_clothing(n_retries=0)
    embedder = FoundationEmbedder(
        "vit_tiny_patch16_224.augreg_in21k_ft_in1k", memory=cache
    )
    embedder.fit(images.paths)
    print("photos of clothes, a ViT-Ti/16")
except OSError:
    images = digits_as_photos(Path(scratch.name))
    embedder = FoundationEmbedder(pixels, name="pixels", memory=cache)
    print("no network here: digits, described by their pixels")

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
rare = labels[:2]
kept = ~np.isin(y_train, rare) | (rng.uniform(size=len(y_train)) < 0.15)
head = LogisticRegression(C=0.01, max_iter=500)
for name, steps in {
    "without over-sampling": (embedder, head),
    "GenerativeOverSampler": (embedder, GenerativeOverSampler(random_state=0), head),
    "LongTailClassifier": (embedder, LongTailClassifier(random_state=0)),
}.items():
    pipeline = make_pipeline(*steps).fit(paths_train[kept], y_train[kept])
    predicted = pipeline.predict(paths_test)
    accuracy = balanced_accuracy_score(y_test, predicted)
    of_rare = np.mean(predicted[np.isin(y_test, rare)] == y_test[np.isin(y_test, rare)])
    print(f"{name:22} balanced accuracy {accuracy:.3f}, of the rare {of_rare:.3f}")

scratch.cleanup()
