"""Images as samples: what a convolutional CVAE is worth beside a dense one and SMOTE.

Run ``python examples/benchmarks/pixel_benchmark.py --part PART``. The parts are

- digits: accuracy on real digits of a logistic regression that is trained on generated
  ones only;
- breast: balanced accuracy of a logistic regression that is trained on a release of
  BreastMNIST, and the AUC of a membership attack on it. Needs ``--data DATA``, a folder
  with ``breastmnist.npz``;
- tail: balanced accuracy after over-sampling long-tailed digits;
- speed: seconds for 20 epochs of 10,000 images of 28 x 28 pixels.

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
from skcvae.generators import CGAN, CVAE, VAE, ConvBackbone
from skcvae.over_sampling import CVAEOverSampler
from skcvae.privacy import nearest_neighbor_attack

IMBALANCE_RATIO = 20


def score(X, y, X_test, y_test, highest):
    """Return the balanced accuracy of a logistic regression on pixels."""
    classifier = LogisticRegression(max_iter=3000).fit(X / highest, y)
    return balanced_accuracy_score(y_test, classifier.predict(X_test / highest))


def run_digits(seed, args):
    """Train on as many generated digits of each class as there are real ones."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=seed)
    common = {"random_state": seed, "device": "cpu"}
    backbone = ConvBackbone((8, 8))
    scores = {"real": score(X, y, X_test, y_test, 16)}
    for name, generator in {
        "dense CVAE": CVAE(**common),
        "conv CVAE": CVAE(architecture=backbone, **common),
        "conv VAE": VAE(architecture=backbone, **common),
        "conv CGAN": CGAN(architecture=backbone, lr=0.01, **common),
    }.items():
        generated, _ = generator.fit(X, y).sample(y=y)
        scores[name] = score(generated, y, X_test, y_test, 16)
    return scores


def run_breast(seed, args):
    """Release half of the training images, and attack by the other half."""
    with np.load(args.data / "breastmnist.npz") as file:
        parts = {
            part: (file[f"X_{part}"].reshape(-1, 784) * 1.0, file[f"y_{part}"].ravel())
            for part in ("train", "val", "test")
        }
    X, X_out, y, _ = train_test_split(
        *parts["train"], test_size=0.5, random_state=seed, stratify=parts["train"][1]
    )
    # The default width of 16 memorises more of 273 images than the dense networks do.
    backbone = ConvBackbone((28, 28), width=4, value_range=(0, 255))
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


PARTS = {
    "digits": run_digits,
    "breast": run_breast,
    "tail": run_tail,
    "speed": run_speed,
}


def main():
    """Print the mean of each figure, and its standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    found = []
    for seed in range(args.seeds):
        found.append(PARTS[args.part](seed, args))
        print(seed, {name: round(value, 3) for name, value in found[-1].items()})
    for name in found[0]:
        values = [row[name] for row in found]
        error = stats.sem(values) if len(values) > 1 else np.nan
        print(f"{name:24} {np.mean(values):.4f} +- {error:.4f}")


if __name__ == "__main__":
    main()
