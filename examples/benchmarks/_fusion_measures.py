"""What `head_tail_fusion.py` measures: splits, a linear head, Fréchet distances."""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from _common import global_scale, half_widths
from sklearn.base import clone
from torch.nn.functional import cross_entropy

from skcvae.datasets import load_embeddings, load_image_folder
from skcvae.embedding import FoundationEmbedder
from skcvae.metrics import class_frechet_distance, shot_accuracy_score

# Accuracies are averages over classes.
COLUMNS = ("overall", "many", "medium", "few", "class FD", "seconds")
# Steps of the linear head, of 256 rows each.
HEAD_STEPS = 860
# New rows of each class that enter the Fréchet distance.
FRECHET_ROWS = 100
MODEL = "vit_tiny_patch16_224"


@dataclass
class Split:
    """Rows to learn from and pooled rows to test on; labels are class codes."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    # Class sizes up to which shots are few, and from which on many.
    shots: dict = field(default_factory=dict)

    @property
    def pooled(self):
        """The same split, with maps averaged over their positions."""
        return Split(pool(self.X), self.y, self.X_test, self.y_test, self.shots)

    def parts(self, train, test):
        """Return a split of the training rows."""
        X = self.X
        return Split(X[train], self.y[train], pool(X[test]), self.y[test], self.shots)


def pool(X):
    """Return vectors: patch tokens are averaged."""
    return X.mean(axis=1) if X.ndim == 3 else X


def load_cifar(data):
    """Return long-tailed CIFAR-100 as vectors, centred and divided by one scale."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    X, X_test = global_scale(cifar.X_train, cifar.X_test)
    return Split(X, cifar.y_train.astype(np.int64), X_test, cifar.y_test)


def load_photos(data, part):
    """Return paths and class codes of the photos of clothes."""
    images = load_image_folder(data / "clothing" / part)
    return images.paths, np.unique(images.y, return_inverse=True)[1]


def load_clothing(data, weights, cache):
    """Return photos of clothes as patch tokens, kept in a folder if there is one."""
    arrays = []
    for part in ("train", "test"):
        paths, y = load_photos(data, part)
        file = cache / f"clothing_{part}_tokens.npy" if cache else None
        if file is None or not file.exists():
            embedder = FoundationEmbedder(MODEL, weights=weights, pooling="map")
            tokens = embedder.fit_transform(paths)
            if file:
                np.save(file, tokens)
        else:
            tokens = np.load(file)
        arrays += [tokens, y]
    X, y, X_test, y_test = arrays
    return Split(X, y, pool(X_test), y_test, {"few": 200, "many": 400})


def linear_head(X, shares, X_test, seed, balanced=False):
    """Train a linear layer with Adam on labels that may be shared; return classes.

    With `balanced`, batches are drawn so that each class is equally frequent.
    """
    X, X_test = (torch.tensor(rows).float() for rows in global_scale(X, X_test))
    shares = torch.tensor(shares).float()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        n_rows = HEAD_STEPS * 256
        if balanced:
            labels = shares.argmax(dim=1)
            weights = 1 / torch.bincount(labels).float()[labels]
            order = torch.multinomial(weights, n_rows, replacement=True)
        else:
            n_passes = -(-n_rows // len(X))
            order = torch.cat([torch.randperm(len(X)) for _ in range(n_passes)])
        head = torch.nn.Linear(X.shape[1], shares.shape[1])
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3, fused=True)
    for batch in order[:n_rows].split(256):
        optimizer.zero_grad()
        cross_entropy(head(X[batch]), shares[batch]).backward()
        optimizer.step()
    return head(X_test).argmax(dim=1).numpy()


def frechet(split, X_new, y_new, seed):
    """Return the mean distance of new rows to test rows of their class, less its bias.

    Classes with fewer than `FRECHET_ROWS` new rows are left out.
    """
    rng = np.random.RandomState(seed)
    classes = np.flatnonzero(np.bincount(y_new) >= FRECHET_ROWS)
    drawn = [
        rng.permutation(np.flatnonzero(y_new == label))[:FRECHET_ROWS]
        for label in classes
    ]
    drawn, tested = np.concatenate(drawn), np.isin(split.y_test, classes)
    distance = class_frechet_distance(
        split.X_test[tested],
        X_new[drawn],
        y_real=split.y_test[tested],
        y_synthetic=y_new[drawn],
        n_permutations=3,
        random_state=seed,
    )
    return np.nanmean(distance.distances - distance.biases)


def score(split, predicted):
    """Return the accuracies in percent."""
    shots = shot_accuracy_score(split.y_test, predicted, y_train=split.y, **split.shots)
    return [100 * shots[group] for group in COLUMNS[:4]]


def measure(split, sampler, seed, balanced=False):
    """Return a row of the table: accuracies, Fréchet distance and seconds."""
    X, y, start = split.X, split.y, time.perf_counter()
    shares = None
    if sampler is not None:
        sampler = clone(sampler).set_params(random_state=seed)
        X, y = sampler.fit_resample(X, y)
        shares = getattr(sampler, "soft_labels_", None)
    seconds = time.perf_counter() - start
    X = pool(X)
    shares = np.eye(y.max() + 1)[y] if shares is None else shares
    predicted = linear_head(X, shares, split.X_test, seed, balanced)
    n_real = len(split.y)
    distance = np.nan
    if sampler is not None:
        distance = frechet(split, X[n_real:], y[n_real:], seed)
    return [*score(split, predicted), distance, seconds]


def print_table(title, rows):
    """Print means over the seeds, and paired differences of accuracy to the first.

    What follows ± is half of a 95 % interval over the seeds.
    """
    first = np.array(next(iter(rows.values())))[:, 0]
    print(f"\n{title}, mean of {len(first)} seeds\n")
    header = "".join(f"{name:>10}" for name in COLUMNS)
    print(f"{'':32}{header}{'overall - first row':>24}")
    for name, values in rows.items():
        values = np.array(values)
        cells = "".join(
            f"{'':>10}" if np.isnan(mean) else f"{mean:10.2f}"
            for mean in values.mean(axis=0)
        )
        difference = values[:, 0] - first
        spread = half_widths(difference)
        print(f"{name:32}{cells}{difference.mean():+16.2f} ± {spread:5.2f}", flush=True)
