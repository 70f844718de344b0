"""Images as samples: what a convolutional CVAE is worth beside a dense one and SMOTE.

Run ``python examples/benchmarks/pixel_benchmark.py --part PART``. The parts are

- digits: accuracy on real digits of a logistic regression that is trained on generated
  ones only;
- breast: balanced accuracy of a logistic regression that is trained on a release of
  BreastMNIST, and the AUC of a membership attack on it. Needs ``--data DATA``, a folder
  with ``breastmnist.npz``;
- tail: balanced accuracy after over-sampling long-tailed digits;
- speed: seconds for 20 epochs of 10,000 images of 28 x 28 pixels;
- spaces: balanced accuracy after over-sampling a ``--dataset`` in pixels or in
  embeddings. Needs ``--data`` with the files of MedMNIST, and ``--weights``, those of a
  ViT-Tiny;
- fidelity: how near generated samples are to real ones, and what they disclose. Needs
  the same;
- figure: generated images beside their nearest training images, written to ``--out``.

All means are over ``--seeds`` seeds, each with another split.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from imblearn.over_sampling import SMOTE
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from skcvae.anonymization import CVAEAnonymizer
from skcvae.datasets import make_long_tailed
from skcvae.embedding import FoundationEmbedder, ViewOverSampler
from skcvae.generators import CVAE, ClassGaussian, ConvBackbone
from skcvae.inspection import NearestImagesDisplay
from skcvae.metrics import (
    frechet_distance,
    nearest_neighbors,
    precision_recall_density_coverage,
)
from skcvae.over_sampling import CVAEOverSampler, GenerativeOverSampler
from skcvae.privacy import nearest_neighbor_attack

IMBALANCE_RATIO = 20
# File, and number of training images: few, for images are scarce where one generates.
DATASETS = {
    "breast": ("breastmnist.npz", 256),
    "pneumonia": ("img_pneumoniamnist_imb.npz", 256),
    "retina": ("img_retinamnist.npz", 256),
    "digits": (None, 256),
}
# Images of 28 pixels have no more detail at 224.
EMBEDDED_SIDE = 96


def score(X, y, X_test, y_test, highest, **params):
    """Return the balanced accuracy of a logistic regression on pixels."""
    classifier = LogisticRegression(max_iter=3000, **params).fit(X / highest, y)
    return balanced_accuracy_score(y_test, classifier.predict(X_test / highest))


def run_digits(seed, args):
    """Train on as many generated digits of each class as there are real ones."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=seed)
    common = {"random_state": seed, "device": "cpu"}
    scores = {"real": score(X, y, X_test, y_test, 16)}
    for name, generator in {
        "dense CVAE": CVAE(**common),
        "conv CVAE": CVAE(architecture=ConvBackbone((8, 8)), **common),
    }.items():
        generated, _ = generator.fit(X, y).sample(y=y)
        scores[name] = score(generated, y, X_test, y_test, 16)
    return scores


def load_breast(folder):
    """Return the parts of BreastMNIST: pixels from 0 to 255, and labels."""
    with np.load(folder / "breastmnist.npz") as file:
        return {
            part: (file[f"X_{part}"].reshape(-1, 784) * 1.0, file[f"y_{part}"].ravel())
            for part in ("train", "val", "test")
        }


def run_breast(seed, args):
    """Release half of the training images, and attack by the other half."""
    parts = load_breast(args.data)
    X, X_out, y, _ = train_test_split(
        *parts["train"], test_size=0.5, random_state=seed, stratify=parts["train"][1]
    )
    backbone = ConvBackbone((28, 28), value_range=(0, 255))
    labels = np.repeat(np.unique(y), len(y))
    found = {"real balanced accuracy": score(X, y, *parts["test"], 255)}
    for name, architecture in {"dense": "small", "conv": backbone}.items():
        anonymizer = CVAEAnonymizer(
            architecture=architecture,
            max_mean_leakage=1,
            random_state=seed,
            device="cpu",
        ).fit(X, y)
        released, _ = anonymizer.sample(y=labels)
        attack = nearest_neighbor_attack(released, X, X_out, parts["val"][0])
        found[f"{name} balanced accuracy"] = score(
            released, labels, *parts["test"], 255
        )
        found[f"{name} membership AUC"] = attack.auc.value
        found[f"{name} epochs"] = len(anonymizer.generator_.history_)
    return found


def run_tail(seed, args):
    """Over-sample long-tailed digits."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.4, random_state=seed, stratify=y
    )
    # Which class is rare differs from seed to seed.
    order = np.random.RandomState(seed).permutation(10)
    X, y = make_long_tailed(
        X, order[y], imbalance_ratio=IMBALANCE_RATIO, random_state=seed
    )
    y_test = order[y_test]
    common = {"random_state": seed, "device": "cpu"}
    scores = {"none": score(X, y, X_test, y_test, 16)}
    for name, sampler in {
        "SMOTE": SMOTE(k_neighbors=3, random_state=seed),
        "dense CVAE": CVAEOverSampler(**common),
        "conv CVAE": CVAEOverSampler(architecture=ConvBackbone((8, 8)), **common),
    }.items():
        scores[name] = score(*sampler.fit_resample(X, y), X_test, y_test, 16)
    return scores


def run_speed(seed, args):
    """Train on random images, which take as long as others."""
    rng = np.random.RandomState(seed)
    X = rng.randint(0, 256, (10_000, 784)).astype(np.float32)
    y = rng.randint(0, 10, len(X))
    started, used = time.monotonic(), time.process_time()
    CVAE(
        architecture=ConvBackbone((28, 28)),
        max_epochs=20,
        device="cpu",
        random_state=seed,
    ).fit(X, y)
    return {
        "seconds": time.monotonic() - started,
        "seconds of CPU": time.process_time() - used,
    }


def load_images(args, seed):
    """Return training images, others, test images, and more of the smallest class.

    Training and test images come with labels. The others are of the same distribution
    as the training images. Only one data set has the last, else they are None.
    """
    name, n_train = DATASETS[args.dataset]
    more = None
    if name is None:
        X, y = load_digits(return_X_y=True)
        X = np.rint(X.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
        X, X_test, y, y_test = train_test_split(
            X, y, test_size=0.4, random_state=seed, stratify=y
        )
        tail, _ = make_long_tailed(
            np.arange(len(y))[:, None], y, imbalance_ratio=10, random_state=seed
        )
        X, y = X[tail.ravel()], y[tail.ravel()]
    else:
        with np.load(args.data / name) as file:
            X, y = file["X_train"], file["y_train"].ravel()
            X_test, y_test = file["X_test"], file["y_test"].ravel()
            if "X_rest_normal" in file:
                more = file["X_rest_normal"]
    X, X_out, y, _ = train_test_split(
        X, y, train_size=n_train, random_state=seed, stratify=y
    )
    return (X, y), X_out[:300], (X_test, y_test), more


def make_embed(shape, args):
    """Return a function from samples, images of a shape, to embeddings."""
    embedder = FoundationEmbedder(
        "vit_tiny_patch16_224",
        weights=args.weights,
        image_size=EMBEDDED_SIDE,
        memory=args.cache,
        device="cpu",
    )
    return lambda X: embedder.transform(X.reshape(-1, *shape))


def flatten(images):
    """Return images as samples."""
    return images.reshape(len(images), -1)


def make_smote(y, seed):
    """Return a SMOTE that knows how few samples the smallest class has."""
    return SMOTE(k_neighbors=min(3, np.bincount(y).min() - 1), random_state=seed)


def over_sample(X, y, seed):
    """Return the results of some ways to over-sample images."""
    sampler = CVAEOverSampler(
        architecture=ConvBackbone(X.shape[1:], dtype="uint8"),
        device="cpu",
        random_state=seed,
    )
    images, y_views = ViewOverSampler(random_state=seed).fit_resample(list(X), y)
    mode = "RGB" if X.ndim == 4 else "L"
    views = [np.asarray(view.open().convert(mode)) for view in images[len(X) :]]
    return {
        "SMOTE": make_smote(y, seed).fit_resample(flatten(X), y),
        "views": (flatten(np.concatenate([X, views])), y_views),
        "conv CVAE": sampler.fit_resample(flatten(X), y),
    }


def run_spaces(seed, args):
    """Over-sample images before or after they are embedded."""
    (X, y), _, (X_test, y_test), more = load_images(args, seed)
    embed = make_embed(X.shape[1:], args)
    E, E_test = embed(X), embed(X_test)

    def of_pixels(X, y, **params):
        return score(flatten(X), y, flatten(X_test), y_test, 255, **params)

    def of_embeddings(E, y, **params):
        return score(E, y, E_test, y_test, E.std(), **params)

    found = {}
    for name, weight in {"none": None, "class weights": "balanced"}.items():
        found[f"{name}: pixels"] = of_pixels(X, y, class_weight=weight)
        found[f"{name}: embeddings"] = of_embeddings(E, y, class_weight=weight)
    results = over_sample(X, y, seed)
    if more is not None:
        counts = np.bincount(y)
        more = more[: counts.max() - counts.min()]
        y_more = np.concatenate([y, np.full(len(more), counts.argmin())])
        results["more real images"] = flatten(np.concatenate([X, more])), y_more
    for name, (X_new, y_new) in results.items():
        E_new = np.concatenate([E, embed(X_new[len(X) :])])
        found[f"{name} of images: pixels"] = of_pixels(X_new, y_new)
        found[f"{name} of images: embeddings"] = of_embeddings(E_new, y_new)
    for name, sampler in {
        "SMOTE": make_smote(y, seed),
        "ClassGaussian": GenerativeOverSampler(ClassGaussian(random_state=seed)),
    }.items():
        resampled = sampler.fit_resample(E, y)
        found[f"{name} of embeddings: embeddings"] = of_embeddings(*resampled)
    return found


def run_fidelity(seed, args):
    """Compare generated samples with real ones, in either space."""
    (X, y), others, _, _ = load_images(args, seed)
    embed = make_embed(X.shape[1:], args)
    backbone = ConvBackbone(X.shape[1:], value_range=(0, 255), dtype="uint8")
    # The training images themselves: the figures of perfect copies.
    drawn = {"training images": flatten(X)}
    for name, architecture in {"dense CVAE": "small", "conv CVAE": backbone}.items():
        anonymizer = CVAEAnonymizer(
            architecture=architecture,
            max_mean_leakage=1,
            small_classes="allow",
            random_state=seed,
            device="cpu",
        ).fit(flatten(X) * 1.0, y)
        pixels = anonymizer.sample(y=y)[0]
        drawn[name] = np.rint(pixels).clip(0, 255).astype(np.uint8)
    E, E_out = embed(X), embed(others)
    X, others, found = flatten(X) / 255, flatten(others) / 255, {}
    for name, pixels in drawn.items():
        found |= judge(f"pixels, {name}", pixels / 255, X, others)
        found |= judge(f"embeddings, {name}", embed(pixels), E, E_out)
    generated, _ = ClassGaussian(random_state=seed).fit(E, y).sample(y=y)
    return found | judge("embeddings, ClassGaussian", generated, E, E_out)


def judge(name, generated, members, others):
    """Return fidelity, memorisation and disclosure of generated samples."""
    quality = precision_recall_density_coverage(others, generated)
    # How far training samples are from one another.
    usual = np.median(nearest_neighbors(members, members, exclude_self=True)[0])
    nearest = nearest_neighbors(generated, members)[0]
    attack = nearest_neighbor_attack(generated, members, others[::2], others[1::2])
    return {
        f"{name}: Frechet distance": frechet_distance(others, generated),
        f"{name}: precision": quality.precision,
        f"{name}: recall": quality.recall,
        f"{name}: nearer than usual": np.mean(nearest < usual),
        f"{name}: membership AUC": attack.auc.value,
    }


def draw_figure(args):
    """Draw generated images beside their nearest training images."""
    import matplotlib.pyplot as plt

    X, y = load_digits(return_X_y=True)
    breast = [part[::2] for part in load_breast(args.data)["train"]]
    sets = {
        "digits": (X[::2], y[::2], (8, 8), [0, 2, 3, 8]),
        "BreastMNIST": (*breast, (28, 28), [0, 1]),
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 6), layout="constrained")
    for ax, (name, (X, y, shape, classes)) in zip(axes, sets.items(), strict=True):
        anonymizer = CVAEAnonymizer(
            architecture=ConvBackbone(shape),
            max_mean_leakage=1,
            random_state=0,
            device="cpu",
        ).fit(X, y)
        labels = np.resize(classes, 8)
        labels.sort()
        drawn, _ = anonymizer.sample(y=labels)
        NearestImagesDisplay.from_data(
            drawn, X, y_synthetic=labels, image_shape=shape, ax=ax, cmap="gray"
        )
        ax.set_title(name)
        contrasts = [f"{A.std(axis=1).mean():.3g}" for A in (drawn, X)]
        epochs = len(anonymizer.generator_.history_)
        print(f"{name}: {epochs} epochs; contrast {contrasts[0]}, real {contrasts[1]}")
    figure.savefig(args.out, dpi=80)


PARTS = {
    "digits": run_digits,
    "breast": run_breast,
    "tail": run_tail,
    "speed": run_speed,
    "spaces": run_spaces,
    "fidelity": run_fidelity,
}


def main():
    """Print the mean of each figure, and its standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=[*PARTS, "figure"], required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--dataset", choices=DATASETS, default="digits")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cache", type=Path, help="keeps embeddings")
    parser.add_argument("--out", type=Path, default="docs/images/generated_images.png")
    args = parser.parse_args()
    if args.part == "figure":
        draw_figure(args)
        return
    found = []
    for seed in range(args.seeds):
        found.append(PARTS[args.part](seed, args))
        print(
            seed,
            {name: round(value, 3) for name, value in found[-1].items()},
            flush=True,
        )
    for name in found[0]:
        values = [row[name] for row in found]
        error = stats.sem(values) if len(values) > 1 else np.nan
        print(f"{name:58} {np.mean(values):.4f} +- {error:.4f}")


if __name__ == "__main__":
    main()
