"""Wide, large and distributed data: processor time and memory, as ratios in one run.

    python examples/benchmarks/scale_benchmark.py [--only wide ...] [--big 322000]
    python examples/benchmarks/scale_benchmark.py --only inaturalist --big 437513
    python examples/benchmarks/scale_benchmark.py --only disk

The data are synthetic. Each measurement is a process of its own, so that peaks of
memory do not add up. Seconds are those of the processor, with one thread except for the
part "threads". A peak is what the process held at most beyond what it held before. The
part "disk" reads memory maps of up to 3 GB from a temporary folder, the nets through an
array of Dask. Pages of a file are memory that the system takes back at once, and its
peaks leave them out: they are of anonymous memory, which Linux counts as RssAnon.

The parts "gpu" and "compile" time the training of a CVAE, on an accelerator if there is
one, and on the CPU by `torch.compile`.
"""

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Annotated

import dask.array
import numpy as np
import torch
import typer
from _common import record
from imblearn.over_sampling import SMOTE
from scipy.optimize import brentq
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits

from skcvae.generators import CVAE, ClassGaussian, ClassMoments
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import (
    CVAEOverSampler,
    GenerativeOverSampler,
    PowerStrategy,
)

N_WIDE = 61, 27_000
N_NARROW, N_RESAMPLED, N_FEATURES = 10_900, 50_000, 768
N_CLASSES_BIG = 8_142
# iNaturalist 2018 has as many classes, and so many training samples.
N_INATURALIST, LARGEST, SMALLEST = 437_513, 1_000, 2
N_DISK, N_DISK_CLASSES = 2_000_000, 100
N_DISK_NETS = 100_000, 400_000


def wide_data():
    """Return 61 samples, 9 of them in the minority."""
    rng = np.random.RandomState(0)
    n_samples, n_features = N_WIDE
    y = np.repeat([0, 1], [n_samples - 9, 9])
    X = rng.normal(size=(n_samples, 10)) @ rng.normal(size=(10, n_features))
    return (X + rng.normal(size=X.shape) + y[:, None]).astype(np.float32), y


def long_tail(n_samples, n_features, n_classes, ratio=0.01, seed=0):
    """Return float32 samples of classes whose sizes fall exponentially."""
    share = ratio ** (np.arange(n_classes) / max(n_classes - 1, 1))
    counts = np.maximum(np.round(n_samples * share / share.sum()), 2).astype(int)
    return gaussian_classes(counts, n_features, seed)


def inaturalist_sizes(n_samples=N_INATURALIST):
    """Return 8,142 class sizes from 1,000 down to 2, whose sum is `n_samples`.

    The class at the share t of the order has 2 * 500 ** (1 - t ** p) samples, rounded
    down, and the largest ones but the first get one more, until the sum is right.
    """
    place = np.linspace(0, 1, N_CLASSES_BIG)

    def sizes(p):
        return SMALLEST * (LARGEST / SMALLEST) ** (1 - place**p)

    p = brentq(lambda p: sizes(p).sum() - n_samples, 1e-3, 10)
    # A size that is a whole number but for rounding stays one.
    counts = np.floor(sizes(p) + 1e-9).astype(int)
    counts[1 : 1 + n_samples - counts.sum()] += 1
    return counts


def gaussian_classes(counts, n_features, seed=0):
    """Return float32 samples with unit variance around class means of unit variance."""
    rng = np.random.default_rng(seed)
    n_classes = len(counts)
    y = np.repeat(np.arange(n_classes), counts)
    X = rng.standard_normal((len(y), n_features), dtype=np.float32)
    means = rng.standard_normal((n_classes, n_features), dtype=np.float32)
    for start in range(0, len(y), 4096):
        X[start : start + 4096] += means[y[start : start + 4096]]
    return X, y


def narrow_strategy(y):
    """Return how many samples each class gets: as many, but for the largest ones."""
    counts = np.bincount(y)
    return {c: max(N_RESAMPLED // len(counts), int(n)) for c, n in enumerate(counts)}


def over_sample(kind, **params):
    """Return a measurement of an over-sampler on the narrow data."""

    def make(_):
        X, y = long_tail(N_NARROW, N_FEATURES, 100)
        strategy = narrow_strategy(y)
        sampler = kind(sampling_strategy=strategy, random_state=0, **params)
        return X, lambda: sampler.fit_resample(X, y)

    return make


def wide(make_estimator):
    """Return a measurement of an estimator on the wide data."""

    def make(_):
        X, y = wide_data()
        estimator = make_estimator()
        learn = getattr(estimator, "fit_resample", None) or estimator.fit
        return X, lambda: learn(X, y)

    return make


def big_fit(n_samples):
    """Measure the fit of a ClassGaussian to many samples of many classes."""
    X, y = long_tail(n_samples, N_FEATURES, N_CLASSES_BIG)
    return X, lambda: ClassGaussian().fit(X, y)


def big_product(n_samples):
    """Measure the one product of the same samples in float64, in blocks."""
    X, _ = long_tail(n_samples, N_FEATURES, 1)

    def multiply():
        total = np.zeros((N_FEATURES, N_FEATURES))
        for start in range(0, len(X), 2730):
            block = X[start : start + 2730].astype(np.float64)
            total += block.T @ block

    return X, multiply


def big_moments(n_samples):
    """Measure the moments of ten parts, added, and the generator of them."""
    X, y = long_tail(n_samples, N_FEATURES, N_CLASSES_BIG)

    def merge():
        parts = [ClassMoments.from_data(X[i::10], y[i::10]) for i in range(10)]
        return ClassGaussian.from_moments(sum(parts[1:], parts[0]))

    return X, merge


def inaturalist(use):
    """Return a measurement on data of iNaturalist's size; `use` returns what it runs.

    The largest size makes it whole; of a smaller one, classes are as many.
    """

    def make(n_samples):
        X, y = gaussian_classes(inaturalist_sizes(n_samples), N_FEATURES)
        return X, use(X, y)

    return make


def one_epoch(X, y):
    """Train a CVAE for one epoch."""
    return lambda: CVAE(device="cpu", max_epochs=1, random_state=0).fit(X, y)


def predict(X, y):
    """Predict all samples by a linear head without a training worth the name."""
    few = np.unique(y, return_index=True)[1]
    classifier = LongTailClassifier(
        **{"augment": None, "solver": "sgd", "max_epochs": 1, "device": "cpu"}
    )
    classifier.fit(X[few], y[few])
    return lambda: classifier.predict(X)


INATURALIST = {
    "ClassGaussian": lambda X, y: lambda: ClassGaussian().fit(X, y),
    "ClassGaussian, full": lambda X, y: (
        lambda: ClassGaussian(covariance_type="full").fit(X, y)
    ),
    "PowerStrategy": lambda X, y: (
        lambda: GenerativeOverSampler(
            sampling_strategy=PowerStrategy(0.5), random_state=0
        ).fit_resample(X, y)
    ),
    "CVAE, 100 classes": lambda X, y: one_epoch(X, y % 100),
    "CVAE": one_epoch,
    "LongTailClassifier": lambda X, y: (
        lambda: LongTailClassifier(
            solver="sgd", max_epochs=1, device="cpu", random_state=0
        ).fit(X, y)
    ),
    "predict": predict,
}


def train(n_features, n_threads):
    """Return a measurement of a CVAE that may use so many threads."""

    def make(_):
        torch.set_num_threads(n_threads)
        X, y = long_tail(5_000, n_features, 10)
        return X, lambda: CVAE(device="cpu", max_epochs=5, random_state=0).fit(X, y)

    return make


def disk_data(n_samples):
    """Return a memory map of float16 and the labels, of classes in random order."""
    folder = tempfile.TemporaryDirectory()
    shape = n_samples, N_FEATURES
    X = np.memmap(Path(folder.name) / "X.bin", np.float16, "w+", shape=shape)
    X.folder = folder
    rng = np.random.default_rng(0)
    share = 0.01 ** (np.arange(N_DISK_CLASSES) / (N_DISK_CLASSES - 1))
    y = rng.choice(N_DISK_CLASSES, n_samples, p=share / share.sum())
    means = rng.standard_normal((N_DISK_CLASSES, N_FEATURES), dtype=np.float32)
    for start in range(0, n_samples, 8192):
        of = y[start : start + 8192]
        block = rng.standard_normal((len(of), N_FEATURES), dtype=np.float32)
        X[start : start + 8192] = block + means[of]
    return X, y


def disk_resample(_):
    """Measure a fit to samples on disk, and 200,000 more samples in blocks."""
    X, y = disk_data(N_DISK)
    counts = np.bincount(y)
    strategy = {c: n + 200_000 // N_DISK_CLASSES for c, n in enumerate(counts)}
    sampler = GenerativeOverSampler(sampling_strategy=strategy, random_state=0)

    def resample():
        n_samples = sum(len(block) for _, block in sampler.iter_resample(X, y))
        assert n_samples == sum(strategy.values())

    return X, resample


def disk_epoch(kind, n_samples):
    """Return a measurement of one epoch on samples on disk."""

    def make(_):
        X, y = disk_data(n_samples)
        # An array of Dask is read in blocks also where it is small.
        stored = dask.array.from_array(X, chunks=(4096, -1))
        estimator = kind(max_epochs=1, device="cpu", random_state=0)
        return X, lambda: estimator.fit(stored, y)

    return make


# Threads that wait for one another without taking a processor.
SLEEPING = "threads asleep"

MEASUREMENTS = {
    "wide": {
        "GenerativeOverSampler": wide(lambda: GenerativeOverSampler(random_state=0)),
        "CVAEOverSampler": wide(lambda: CVAEOverSampler(device="cpu", random_state=0)),
        "LongTailClassifier": wide(
            lambda: LongTailClassifier(device="cpu", random_state=0)
        ),
        "LongTailClassifier, sgd": wide(
            lambda: LongTailClassifier(device="cpu", solver="sgd", random_state=0)
        ),
    },
    "narrow": {
        "SMOTE": over_sample(SMOTE, k_neighbors=3),
        "GenerativeOverSampler": over_sample(GenerativeOverSampler),
        "CVAEOverSampler": over_sample(CVAEOverSampler, device="cpu"),
    },
    "many-classes": {"product in float64": big_product, "ClassGaussian": big_fit},
    "inaturalist": {name: inaturalist(use) for name, use in INATURALIST.items()},
    "moments": {"ClassGaussian": big_fit, "ten parts, merged": big_moments},
    "threads": {
        f"CVAE, {d} features, {n} threads": train(d, n)
        for d in (64, 768)
        for n in (1, 2)
    }
    | {f"CVAE, 768 features, 2 {SLEEPING}": train(768, 2)},
    "disk": {
        "2,000,000: iter_resample": disk_resample,
        **{f"{n:,}: CVAE": disk_epoch(CVAE, n) for n in N_DISK_NETS},
        **{
            f"{n:,}: LongTailClassifier": disk_epoch(LongTailClassifier, n)
            for n in N_DISK_NETS
        },
    },
}


# Parts whose ratios depend on what else runs on the machine.
UNRECORDED = {"threads"}
# Parts whose data have the size that is given.
SIZED = {"many-classes", "inaturalist", "moments"}
BUSY_LOOP = [sys.executable, "-c", "while True: pass"]
DEMO = [sys.executable, "-c", "from skcvae.cli import app; app()", "demo", "--figure"]
N_BUSY, N_CORES = 8, 2


def peak_bytes():
    """Return what this process has held at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class AnonymousPeak(threading.Thread):
    """Watches how much memory this process holds that is not of a file."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = self.now()

    @staticmethod
    def now():
        """Return the bytes that are held now."""
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.partition("RssAnon:")[2].split()[0])

    def run(self):
        """Look a hundred times a second."""
        while True:
            self.peak = max(self.peak, self.now())
            time.sleep(0.01)


def measure(part, name, n_samples):
    """Print wall time, processor time, peak and size of the data of one measurement."""
    X, run = MEASUREMENTS[part][name](n_samples)
    watch = AnonymousPeak()
    if part == "disk":
        watch.start()

    def get_peak():
        return watch.peak if part == "disk" else peak_bytes()

    before = get_peak()
    with threadpool_limits(None if part == "threads" else 1):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(wall, cpu, get_peak() - before, X.nbytes)


def compare(part, n_samples):
    """Print the measurements of a part, and return their ratios to the first."""
    print(f"\n{part}\n{'':36} CPU s  ratio  wall s  peak GB  peak / data")
    first, ratios = None, {}
    for name in MEASUREMENTS[part]:
        command = [sys.executable, __file__, "--only", part, "--measured", name]
        asleep = {"OMP_WAIT_POLICY": "PASSIVE"} if name.endswith(SLEEPING) else {}
        done = subprocess.run(
            [*command, "--big", str(n_samples)],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | asleep,
        )
        wall, cpu, peak, size = map(float, done.stdout.split())
        if first is not None:
            ratios[f"{part}, {name}, seconds"] = cpu / first
        first = first or cpu
        # With the data, so that a peak of next to nothing has no large ratio.
        ratios[f"{part}, {name}, memory"] = 1 + peak / size
        print(
            f"{name:36} {cpu:5.1f} {cpu / first:6.2f} {wall:7.1f} {peak / 1e9:8.2f} "
            f"{peak / size:12.2f}",
            flush=True,
        )
    return ratios


def run_demo():
    """Return processor time and wall time of `skcvae demo`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        figure = str(Path(folder) / "demo.png")
        subprocess.run([*DEMO, figure], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - start


def compare_busy():
    """Print the times of `skcvae demo` alone and beside eight busy processes.

    Ten processes at most share two cores, so that the demo would take five times its
    processor time if it waited for nobody. The bound is three times that.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:N_CORES])
    alone, wall = run_demo()
    bound = 3 * alone * (N_BUSY + 2) / N_CORES
    print(f"\nbusy\ndemo alone: {alone:.0f} CPU s, {wall:.0f} wall s", flush=True)
    busy = [subprocess.Popen(BUSY_LOOP) for _ in range(N_BUSY)]
    try:
        cpu, wall = run_demo()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    print(f"beside {N_BUSY}: {cpu:.0f} CPU s, {wall:.0f} wall s; bound {bound:.0f} s")
    return {"busy, wall of the demo / bound, seconds": wall / bound}


def time_gpu():
    """Print the seconds that 500 epochs of the thesis's large CVAE take on a GPU."""
    print("\ngpu")
    if not torch.accelerator.is_available():
        print("torch sees no accelerator on this machine: nothing was measured.")
        return
    device = torch.accelerator.current_accelerator()
    X, y = long_tail(10_847, N_FEATURES, 100)
    cvae = CVAE(
        architecture="large",
        objective="reference",
        beta=0.01,
        latent_dim=100,
        lr=1e-3,
        prior="standard",
        noise=None,
        device=device,
        random_state=0,
    )
    cvae.set_params(max_epochs=1).fit(X, y)  # The device wakes up.
    cvae.set_params(max_epochs=500)
    for net_params in (None, {"precision": "bf16"}, {"compile": True}):
        start = time.perf_counter()
        cvae.set_params(net_params=net_params).fit(X, y)
        seconds = time.perf_counter() - start
        print(f"{device}: {len(X):,} x {X.shape[1]}, {net_params}: {seconds:.1f} s")


def processor_time():
    """Return the seconds of this process and of those that it started."""
    return sum(os.times()[:4])


class Clock(Callback):
    """Records the processor time at the end of each epoch."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("processor_time", processor_time())


def time_compile():
    """Print the processor time of epochs on the CPU, compiled and as they are."""
    print("\ncompile")
    X, y = long_tail(5_000, N_FEATURES, 10)
    # Earlier runs leave compiled code in a folder, and other processes compile.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for compiled in (False, True):
            start = processor_time()
            net_params = {"compile": compiled, "callbacks": [("clock", Clock())]}
            cvae = CVAE(
                device="cpu", max_epochs=6, random_state=0, net_params=net_params
            )
            ends = cvae.fit(X, y).history_[:, "processor_time"]
            first, *others = np.diff([start, *ends])
            print(
                f"compiled: {compiled!s:5}  first epoch {first:.1f} CPU s, "
                f"others {np.median(others):.2f} CPU s"
            )


def main(
    only: Annotated[list[str] | None, typer.Option(help="Parts to run.")] = None,
    big: Annotated[int, typer.Option(help="Samples of the largest data.")] = 60_000,
    json: Annotated[Path | None, typer.Option(help="History to append to.")] = None,
    measured: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Compare the costs of estimators on synthetic data."""
    warnings.simplefilter("ignore")
    if measured is not None:
        measure(only[0], measured, big)
        return
    apart = {"busy": compare_busy, "gpu": time_gpu, "compile": time_compile}
    usual = [part for part in MEASUREMENTS if part != "disk"]
    for part in only or [*usual, *apart]:
        ratios = apart[part]() if part in apart else compare(part, big)
        if ratios:
            record(
                json, f"scale, {big:,} samples" if part in SIZED else "scale", ratios
            )


if __name__ == "__main__":
    typer.run(main)
