"""Speed and quality of the generators, side by side in one run.

    python examples/benchmarks/benchmark.py --data FOLDER \\
        [--only accuracy --only overhead ...]

FOLDER holds `cifar100_lt_vit_tiny.npz` (arrays X_train, y_train, X_test, y_test) and
`mvtec_resnet18.npz` (X, y, anomaly). Every comparison runs its contenders in turn on
one machine and prints ratios: single times say little on a shared machine.
"""

import copy
import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from _common import global_scale, read_mvtec
from imblearn.over_sampling import SMOTE
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import train_test_split
from skorch.callbacks import LRScheduler

from skcvae._training import LabelledTensors, TensorLoader
from skcvae.datasets import load_embeddings
from skcvae.generators import CVAE, ClassGaussian
from skcvae.generators._cvae_net import build_net
from skcvae.metrics import shot_accuracy_score
from skcvae.over_sampling import CVAEOverSampler, GenerativeOverSampler

GROUPS = ("overall", "many", "medium", "few")

# The settings of the thesis, section 4: its program multiplies randn by 1.
THESIS = {
    "objective": "reference",
    "latent_dim": 100,
    "beta": 0.01,
    "prior": "standard",
    "noise": None,
    "lr": 1e-3,
    "batch_size": 256,
}
THESIS_EPOCHS = 500


def linear_head(X, y, X_test, *, n_classes, seed, balanced=False, n_steps=860):
    """Train a linear layer with Adam for a fixed number of steps, and predict."""
    torch.manual_seed(seed)
    X, y, X_test = torch.tensor(X), torch.tensor(y), torch.tensor(X_test)
    if balanced:
        weights = 1 / torch.bincount(y).float()[y]
        order = torch.multinomial(weights, n_steps * 256, replacement=True)
    else:
        n_passes = -(-n_steps * 256 // len(y))
        order = torch.cat([torch.randperm(len(y)) for _ in range(n_passes)])
    head = torch.nn.Linear(X.shape[1], n_classes)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3, fused=True)
    for batch in order[: n_steps * 256].split(256):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(X[batch]), y[batch]).backward()
        optimizer.step()
    return head(X_test).argmax(dim=1).numpy()


def accuracy(data, reference_epochs):
    """Accuracy on long-tailed CIFAR-100, and training time against the thesis's."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    X, X_test = global_scale(cifar.X_train, cifar.X_test)
    y, y_test = cifar.y_train.astype(np.int64), cifar.y_test
    thesis = dict(THESIS, max_epochs=reference_epochs)
    samplers = {
        "cross-entropy": lambda seed: None,
        "class-balanced sampling": lambda seed: None,
        "SMOTE": lambda seed: SMOTE(k_neighbors=4, random_state=seed),
        "ClassGaussian": lambda seed: GenerativeOverSampler(random_state=seed),
        "CVAE": lambda seed: CVAEOverSampler(random_state=seed),
        "thesis, small": lambda seed: CVAEOverSampler(random_state=seed, **thesis),
    }
    print(f"long-tailed CIFAR-100: linear head, median of 3 seeds; {reference_epochs}")
    print(f"epochs of the thesis's CVAE, its time scaled to {THESIS_EPOCHS}\n")
    print(f"{'':24}" + "".join(f"{c:>9}" for c in (*GROUPS, "fit (s)")))
    seconds = {}
    for name, make in samplers.items():
        scores = []
        for seed in range(3):
            sampler, start = make(seed), time.perf_counter()
            rows = sampler.fit_resample(X, y) if sampler is not None else (X, y)
            fit_time = time.perf_counter() - start
            if name.startswith("thesis"):
                fit_time *= THESIS_EPOCHS / reference_epochs
            predicted = linear_head(
                *rows,
                X_test,
                n_classes=100,
                seed=seed,
                balanced=name == "class-balanced sampling",
            )
            score = shot_accuracy_score(y_test, predicted, y_train=y)
            scores.append([*(100 * score[group] for group in GROUPS), fit_time])
        medians = np.median(scores, axis=0)
        seconds[name] = medians[-1]
        print(f"{name:24}" + "".join(f"{m:9.1f}" for m in medians), flush=True)
    large = CVAE(architecture="large", **dict(THESIS, max_epochs=5), random_state=0)
    large.fit(X, y)
    seconds["thesis, large"] = np.median(large.history_[:, "dur"]) * THESIS_EPOCHS
    for name in ("thesis, small", "thesis, large"):
        ratio = seconds[name] / seconds["CVAE"]
        print(f"{name}: {seconds[name]:.0f} s, {ratio:.0f} times the default CVAE")


def bare_epochs(net, rows, n_epochs, schedule):
    """Train the module of a fresh net in a plain PyTorch loop; return the seconds."""
    net = copy.deepcopy(net).initialize()
    module, criterion, optimizer = net.module_, net.criterion_, net.optimizer_
    schedule = schedule.policy(optimizer, **schedule.kwargs)
    loader = TensorLoader(rows, net.batch_size, shuffle=True)
    module.train()
    start = time.perf_counter()
    for _ in range(n_epochs):
        for batch, x in loader:
            optimizer.zero_grad()
            loss = criterion(module(**batch), x)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss.item()
    return time.perf_counter() - start


def overhead(data, n_epochs=4, n_rounds=5):
    """Time of skorch's loop over that of a bare loop, on the same batches."""
    print("\nskorch's loop against a bare loop, default CVAE, 10,847 rows\n")
    print(f"{'features':>8}{'skorch (s)':>12}{'bare (s)':>10}{'ratio':>8}")
    for n_features in (192, 768):
        cvae = CVAE(max_epochs=n_epochs)
        cvae.n_features_in_ = n_features
        net = build_net(cvae, 10847, 100, torch.device("cpu"))
        schedule = next(c for _, c in net.callbacks if isinstance(c, LRScheduler))
        rows = LabelledTensors(
            torch.randn(10847, n_features), torch.randint(100, (10847,))
        )
        times = []
        for _ in range(n_rounds + 1):
            fresh = copy.deepcopy(net).initialize()
            start = time.perf_counter()
            fresh.partial_fit(rows, None)
            skorch_time = time.perf_counter() - start
            times.append((skorch_time, bare_epochs(net, rows, n_epochs, schedule)))
        # The first round warms up.
        times = np.array(times[1:])
        ratio = np.median(times[:, 0] / times[:, 1])
        skorch_time, bare_time = np.median(times, axis=0)
        print(f"{n_features:8}{skorch_time:12.2f}{bare_time:10.2f}{ratio:8.3f}")


def read_memory(name):
    """Return a field of the process's memory status in MB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise ValueError(name)


def bare_products(generator, n_rows, chunk=2048):
    """Run the matrix products that drawing needs, into an output of the same size."""
    decoder = generator.net_.module_.backbone.decoder
    first, second = decoder.hidden.linear, decoder.out
    z = torch.randn(chunk, generator.latent_dim)
    axes = torch.randn(generator.latent_dim, generator.latent_dim)
    hidden = torch.empty(chunk, first.out_features)
    start = time.perf_counter()
    rows = torch.from_numpy(np.empty((n_rows, second.out_features), np.float32))
    with torch.inference_mode():
        for stop in range(chunk, n_rows, chunk):
            torch.mm(torch.mm(z, axes), first.weight.T, out=hidden)
            torch.mm(hidden, second.weight.T, out=rows[stop - chunk : stop])
    return time.perf_counter() - start


def sampling(data, n_rows=1_000_000, n_rounds=5):
    """Speed and memory of drawing a million rows."""
    cifar = load_embeddings(data / "cifar100_lt_vit_tiny.npz")
    generator = CVAE(max_epochs=1, random_state=0, device="cpu")
    generator.fit(cifar.X_train, cifar.y_train)
    times = []
    for _ in range(n_rounds + 1):
        start = time.perf_counter()
        generator.sample(n_rows)
        draw_time = time.perf_counter() - start
        times.append((draw_time, bare_products(generator, n_rows)))
    times = np.array(times[1:])
    draw_time, bare_time = np.median(times, axis=0)
    ratio = np.median(times[:, 1] / times[:, 0])
    # Writing 5 resets the recorded peak.
    Path("/proc/self/clear_refs").write_text("5")
    before = read_memory("VmRSS")
    X, y = generator.sample(n_rows)
    output = (X.nbytes + y.nbytes) / 2**20
    extra = read_memory("VmHWM") - before - output
    print(f"\ndrawing {n_rows:,} rows of {X.shape[1]} features from the default CVAE\n")
    print(f"drawing {draw_time:.2f} s, its matrix products alone {bare_time:.2f} s:")
    print(f"{ratio:.2f} of their speed; peak memory beyond the output {extra:.0f} MB")


def release(data, n_splits=5):
    """Train on generated rows only, test on real ones: 30 industrial classes."""
    X, y = read_mvtec(data)
    thesis = dict(THESIS, beta=0.1, max_epochs=100)
    generators = {
        "real rows": lambda seed: None,
        "ClassGaussian": lambda seed: ClassGaussian(random_state=seed),
        "CVAE": lambda seed: CVAE(random_state=seed),
        "thesis, small": lambda seed: CVAE(random_state=seed, **thesis),
    }
    scores = {name: [] for name in generators}
    for seed in range(n_splits):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.5, stratify=y, random_state=seed
        )
        for name, make in generators.items():
            generator, rows = make(seed), X_train
            if generator is not None:
                rows, _ = generator.fit(X_train, y_train).sample(y=y_train)
            rows, test = global_scale(rows, X_test)
            probe = LogisticRegression(max_iter=200).fit(rows, y_train)
            predicted = probe.predict(test)
            scores[name].append(
                [
                    100 * accuracy_score(y_test, predicted),
                    100 * balanced_accuracy_score(y_test, predicted),
                ]
            )
    print(f"\n30 classes of industrial photos, mean of {n_splits} paired splits\n")
    print(f"{'trained on':16}{'accuracy':>10}{'balanced':>10}{'to real':>9}")
    real = np.mean(scores["real rows"], axis=0)[1]
    for name, values in scores.items():
        overall, balanced = np.mean(values, axis=0)
        print(f"{name:16}{overall:10.1f}{balanced:10.1f}{balanced - real:9.1f}")


def gpu(n_epochs=20):
    """Time of the thesis's large CVAE on a GPU, through skorch."""
    if not torch.cuda.is_available():
        print("\nGPU: not measured, torch sees none")
        return
    X = np.random.RandomState(0).rand(10847, 768).astype(np.float32)
    y = np.arange(10847) % 100
    large = CVAE(architecture="large", **dict(THESIS, max_epochs=n_epochs))
    seconds = np.median(large.fit(X, y).history_[:, "dur"]) * THESIS_EPOCHS
    print(f"\nGPU: large CVAE of the thesis, {THESIS_EPOCHS} epochs: {seconds:.1f} s")


def main(
    data: Annotated[Path, typer.Option(help="Folder of the embeddings.")],
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
    reference_epochs: Annotated[
        int, typer.Option(help="Epochs of the thesis's small CVAE.")
    ] = 60,
):
    """Run the parts in turn."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    parts = {
        "sampling": lambda: sampling(data),
        "overhead": lambda: overhead(data),
        "accuracy": lambda: accuracy(data, reference_epochs),
        "release": lambda: release(data),
        "gpu": gpu,
    }
    unknown = set(only or ()) - set(parts)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: choose among {list(parts)}.")
    for name in only or parts:
        parts[name]()


if __name__ == "__main__":
    typer.run(main)
