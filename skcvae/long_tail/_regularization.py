"""The strength of a ridge, chosen on held-out samples along a path."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from .._class_means import indices_of_classes
from .._record_sets import first_copies

# Where the path begins: in the middle of what suited our data. It is also taken where
# no class has a sample to hold out.
FALLBACK = 4.0**-3
_FACTOR = 4.0
_MAX_STEPS = 6
# Share by which a step must lower the held-out loss: less is within its noise.
_MIN_GAIN = 0.01
# Generated samples of this variance are tried as well. They act as a ridge, so that
# they go with a strength that is smaller by the same factor.
_WIDTH = 2.0
_N_FOLDS = 5
_N_SPLITS = 3
# Looser than the last fit: the choice needs no more.
_PATH = {"max_iter": 60, "tolerance": 3e-4}
_TEMPERATURES = (0.2, 5.0)


@dataclass
class HeldOut:
    """A split: how to fit its training part, and its held-out samples.

    `objective` is a `HeadObjective`, `z`, `codes` and `weight` are tensors.
    """

    objective: object
    z: torch.Tensor
    codes: torch.Tensor
    weight: torch.Tensor

    def fit(self, l2, width, start):
        """Return weights and biases for this strength, and the held-out logits."""
        self.objective.set_width(width)
        joint = self.objective.fit(l2, start, **_PATH)
        tensor = torch.as_tensor(joint, dtype=self.z.dtype, device=self.z.device)
        return joint, torch.addmm(tensor[:, -1], self.z, tensor[:, :-1].T)


class Point(NamedTuple):
    """Held-out loss of a strength at the best temperature, and the heads of splits."""

    temperature: float
    loss: float
    heads: list


def stratified_splits(X, codes, rng):
    """Return three pairs of training and held-out indices, a fifth of each class.

    The samples of a class are dealt to five folds, of which three are held out in turn,
    beginning at a random one. So a class of two to four samples loses one now and then,
    and a class of one sample is never held out. Copies of a sample go where it goes, as
    training would know them: a class of copies alone is not held out, either.

    `LongTailShuffleSplit` would do, but holds out some samples twice and others never,
    and a class of two to four loses one each time. With it, predictions were 0.4 points
    worse on CIFAR-10, 0.2 on CLINC150, and the same on CIFAR-100 and photos.
    """
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = rng.randint(_N_FOLDS, size=len(counts))
    fold = np.empty(len(codes), dtype=int)
    fold[order] = (rank + np.repeat(start, counts)) % _N_FOLDS
    fold = fold[first_copies(X, codes)]
    # Of such a class, nothing would be left to train on.
    for members in indices_of_classes(codes, len(counts)):
        if len(members) and (fold[members] == fold[members[0]]).all():
            fold[members] = -1
    return [
        (np.flatnonzero(fold != split), np.flatnonzero(fold == split))
        for split in range(_N_SPLITS)
    ]


@dataclass
class Choice:
    """What held-out samples prefer.

    `l2` is at the minimum of the parabola through the best of the path and those beside
    it, over `width`, the factor of the variance of generated samples. `temperature`
    suits the logits, and `loss` is the least held-out loss. `path` holds "l2" from
    strong to weak, "loss" and "temperature", for a width of 1. The head of all samples
    is near `start`, the mean of those of the splits.
    """

    l2: float
    temperature: float = 1.0
    width: float = 1.0
    path: dict | None = None
    loss: float = np.inf
    start: np.ndarray | None = None


def choose_strength(splits, log_prior, may_widen):
    """Return the `Choice` of a strength, along a path from the middle on.

    A strong ridge makes all logits small, which a temperature mends. Without it, the
    held-out loss would ask for a weaker ridge than the predictions need. `log_prior` is
    added to the logits to predict. `may_widen` says whether to try generated samples of
    more variance.
    """

    def measure(l2, near, width=1.0):
        starts = [None] * len(splits) if near is None else near.heads
        pairs = zip(splits, starts, strict=True)
        fits = [split.fit(l2, width, start) for split, start in pairs]
        logits = torch.cat([logits for _, logits in fits])
        found = _best_temperature(logits, splits, log_prior)
        return Point(*found, [head for head, _ in fits])

    tried, best = _walk(lambda step, near: measure(FALLBACK * _FACTOR**-step, near))
    point, steps = tried[best], sorted(tried)
    temperatures, losses = np.array([tried[step][:2] for step in steps]).T
    path = {
        "l2": FALLBACK * _FACTOR ** -np.array(steps, dtype=float),
        "loss": losses,
        "temperature": temperatures,
    }
    l2, width = _lowest_point(path, steps.index(best)), 1.0
    # np.interp takes increasing positions.
    temperature = float(np.interp(-np.log(l2), -np.log(path["l2"]), temperatures))
    if may_widen:
        wide = measure(l2 / _WIDTH, point, _WIDTH)
        if wide.loss < point.loss:
            l2, width = l2 / _WIDTH, _WIDTH
            temperature, point = wide.temperature, wide
    start = np.mean(point.heads, axis=0)
    return Choice(l2, temperature, width, path, point.loss, start)


def _walk(measure):
    """Measure at 0 and in each direction as long as the loss falls.

    Each is measured from the best so far on. Return points by step, and the last step
    that lowered the loss.
    """
    tried, best = {0: measure(0, None)}, 0
    for direction in (1, -1):
        step = direction
        while best == step - direction and abs(step) <= _MAX_STEPS:
            tried[step] = measure(step, tried[best])
            if tried[step].loss < (1 - _MIN_GAIN) * tried[best].loss:
                best = step
            step += direction
    return tried, best


def _best_temperature(logits, splits, log_prior):
    """Return the temperature of least held-out loss, and this loss."""
    logits += torch.as_tensor(log_prior, dtype=logits.dtype, device=logits.device)
    codes = torch.cat([split.codes for split in splits])
    weight = torch.cat([split.weight for split in splits])
    weight = weight / weight.sum()
    own = logits.gather(1, codes[:, None]).squeeze(1)

    def loss(log_temperature):
        inverse = float(np.exp(-log_temperature))
        losses = (inverse * logits).logsumexp(1) - inverse * own
        return float((weight * losses).sum())

    bounds = tuple(np.log(_TEMPERATURES))
    options = {"xatol": 1e-2}
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options=options)
    return float(np.exp(found.x)), float(found.fun)


def _lowest_point(path, best):
    """Return l2 where the parabola around the best point is lowest.

    It is taken for what it says of half a step to each side.
    """
    around = slice(best - 1, best + 2)
    position, loss = -np.log(path["l2"][around]), path["loss"][around]
    if best == 0 or len(loss) < 3:
        return float(path["l2"][best])
    curve = np.polynomial.Polynomial.fit(position, loss, 2)
    ends = position[1] + np.array([-0.5, 0.5]) * np.log(_FACTOR)
    candidates = [*ends, *curve.deriv().roots().clip(*ends)]
    lowest = min(candidates, key=curve)
    return float(np.exp(-lowest))
