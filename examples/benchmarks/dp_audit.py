"""Attack private fits: how much of epsilon is there to see?

Each generator is fitted hundreds of times to a data set without and with one more
record, the canary. A score is chosen on the first half of the fits, and tells fits with
the canary from those without in the second half. If epsilon and delta are what a
generator claims, then TPR <= exp(epsilon) FPR + delta, so that the error rates bound
epsilon from below (Jagielski, Ullman and Oprea, arXiv 2006.07709). The bound is that of
Clopper and Pearson at 95 %. It must be below the claim. With a planted fault, a tenth
of the noise, it must be above: else the attack is too weak to say anything.

    python examples/benchmarks/dp_audit.py --fits 200
"""

import argparse
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skcvae.generators import DPCVAE, DPClassGaussian
from skcvae.generators.private._noise import SystemNoise

# With a small delta, the noise is so large at an epsilon of
# 0.1 that no attack by 200 fits could see a tenth of it.
DELTA = 0.1
EPSILONS = (0.1, 1.0, 8.0)
# An attack by 200 fits cannot show more than an epsilon of 4.
FAULTY_EPSILONS = (0.1, 1.0)
CLASSES = (0, 1, 2)
# Values, and label: zeros are at the distance of the clipping norm from the centre.
CANARIES = {
    "zeros": ([0.0, 0.0], 0),
    "large norm": ([1e6, 1.0], 0),
    "new class": ([1e6, 1.0], 2),
}
N_SAMPLES = 40


def make_generator(kind, epsilon):
    """Return an unseeded, unfitted generator with public bounds."""
    params = {
        "epsilon": epsilon,
        "delta": DELTA,
        "classes": CLASSES,
        "center": 1.0,
        "data_norm": 1.0,
    }
    if kind == "DPClassGaussian":
        return DPClassGaussian(**params)
    # Every step sees every sample: the strongest case for an attack.
    sizes = {"latent_dim": 1, "hidden_dim": 2, "max_epochs": 2, "batch_size": 10**6}
    return DPCVAE(**params, **sizes, device="cpu")


def make_data(canary=None):
    """Return samples of the classes 0 and 1 at the centre, and the canary."""
    X, y = np.ones((N_SAMPLES, 2)), np.arange(N_SAMPLES) % 2
    if canary is None:
        return X, y
    values, label = CANARIES[canary]
    return np.vstack([X, values]), np.append(y, label)


@contextmanager
def less_noise(factor=0.1):
    """Plant a fault: divide all noise, and leave what is claimed as it is."""
    sound = SystemNoise.standard_normal

    def faulty(self, size):
        return factor * sound(self, size)

    SystemNoise.standard_normal = faulty
    try:
        yield
    finally:
        SystemNoise.standard_normal = sound


def observe(kind, epsilon, canary, is_faulty):
    """Fit, and return what an attacker sees, as numbers."""
    generator = make_generator(kind, epsilon)
    with warnings.catch_warnings(), less_noise() if is_faulty else nullcontext():
        warnings.simplefilter("ignore")
        generator.fit(*make_data(canary))
    counts = generator.class_count_.astype(float)
    means = generator.class_means_ * generator.scale_
    seen = [counts, means.ravel(), (counts[:, None] * means).ravel(), counts @ means]
    seen.append(generator.scale_[:1])
    if kind == "DPClassGaussian":
        seen.append(generator.covariance_.ravel() * generator.scale_[0] ** 2)
    else:
        seen += [p.numpy().ravel() for p in generator.module_.parameters()]
    return np.concatenate(seen)


def lower_bound(n_true, n_false, n_fits, delta=DELTA):
    """Return the lower bound of epsilon from hits and false alarms of an attack.

    TPR is bounded from below and FPR from above, with 2.5 % of error each.
    """
    tpr = beta.ppf(0.025, n_true, n_fits - n_true + 1) if n_true else 0.0
    fpr = beta.ppf(0.975, n_false + 1, n_fits - n_false) if n_false < n_fits else 1.0
    return float(np.log(max((tpr - delta) / fpr, 1.0)))


@dataclass
class Attack:
    """Calls fits with a score above a threshold "with" the canary, or "without"."""

    score: object
    threshold: float
    finds_members: bool

    def rate(self, without, with_canary):
        """Return TPR, FPR and the lower bound of epsilon."""
        sides = [self.score(without) > self.threshold]
        sides.append(self.score(with_canary) > self.threshold)
        if not self.finds_members:
            sides = [~sides[1], ~sides[0]]
        n_false, n_true = (int(side.sum()) for side in sides)
        n_fits = len(without)
        return n_true / n_fits, n_false / n_fits, lower_bound(n_true, n_false, n_fits)


def choose_attack(without, with_canary):
    """Return the attack of the largest bound; all is chosen on these fits."""
    half = len(without) // 2
    X = np.concatenate([without[:half], with_canary[:half]])
    y = np.repeat([0, 1], half)
    scores = [_column(i, sign) for i in range(X.shape[1]) for sign in (1, -1)]
    for C in (0.001, 0.01, 0.1, 1.0):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=5000))
        scores.append(model.fit(X, y).decision_function)
    held_out = without[half:], with_canary[half:]
    attacks = [
        Attack(score, threshold, finds_members)
        for score in scores
        for threshold in np.quantile(
            np.concatenate([score(side) for side in held_out]), np.linspace(0, 1, 41)
        )
        for finds_members in (True, False)
    ]
    return max(attacks, key=lambda attack: _merit(attack, held_out))


def _column(place, sign):
    return lambda seen: sign * seen[:, place]


def _merit(attack, fits):
    """Return the bound, and where it is 0 what the attack gains over guessing."""
    tpr, fpr, bound = attack.rate(*fits)
    return bound, tpr - fpr


def audit(kind, epsilon, is_faulty=False, n_fits=200, n_jobs=None):
    """Return TPR, FPR and the lower bound of epsilon for each canary.

    So many fits of each side choose the attack, and as many others rate it.
    """
    run = Parallel(n_jobs=n_jobs)
    sides = {
        canary: np.array(
            run(
                delayed(observe)(kind, epsilon, canary, is_faulty)
                for _ in range(2 * n_fits)
            )
        )
        for canary in (None, *CANARIES)
    }
    without = sides.pop(None)
    return {
        canary: choose_attack(without[:n_fits], seen[:n_fits]).rate(
            without[n_fits:], seen[n_fits:]
        )
        for canary, seen in sides.items()
    }


def main():
    """Print a table of bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=200, help="fits of each side")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    print(f"delta = {DELTA}; {args.fits} fits a side choose, {args.fits} rate")
    print(f"{'generator':16} {'noise':6} {'claimed':>7} {'canary':11} "
          f"{'TPR':>5} {'FPR':>5} {'bound':>6}")  # fmt: skip
    for kind in ("DPClassGaussian", "DPCVAE"):
        cases = [(e, False) for e in EPSILONS] + [(e, True) for e in FAULTY_EPSILONS]
        for epsilon, is_faulty in cases:
            found = audit(kind, epsilon, is_faulty, args.fits, args.jobs)
            for canary, (tpr, fpr, bound) in found.items():
                noise = "a 10th" if is_faulty else "sound"
                print(f"{kind:16} {noise:6} {epsilon:7g} {canary:11} "
                      f"{tpr:5.3f} {fpr:5.3f} {bound:6.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
