"""The strength of a ridge, chosen on held-out samples along a path."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar

# From strong to weak: the path ends where held-out samples no longer gain.
_STRENGTHS = 4.0 ** -np.arange(9)
# Where no class has a sample to hold out.
FALLBACK = 4.0**-3
_N_FOLDS = 5
_N_SPLITS = 3
# Looser than the last fit: the choice needs no more.
_PATH = {"max_iter": 30, "tolerance": 1e-3}
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

    def __post_init__(self):
        self.joint = None

    def move(self, l2):
        """Fit for this strength from the last one on; return the held-out logits."""
        self.joint = self.objective.fit(l2, self.joint, **_PATH)
        joint = torch.as_tensor(self.joint, dtype=self.z.dtype, device=self.z.device)
        return torch.addmm(joint[:, -1], self.z, joint[:, :-1].T)


def stratified_splits(codes, rng):
    """Return three pairs of training and held-out indices, a fifth of each class.

    The samples of a class are dealt to five folds, of which three are held out in turn,
    beginning at a random one. So a class of two to four samples loses one now and then,
    and a class of one sample is never held out.
    """
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = rng.randint(_N_FOLDS, size=len(counts))
    fold = np.empty(len(codes), dtype=int)
    fold[order] = (rank + np.repeat(start, counts)) % _N_FOLDS
    fold[counts[codes] == 1] = -1
    return [
        (np.flatnonzero(fold != split), np.flatnonzero(fold == split))
        for split in range(_N_SPLITS)
    ]


def choose_strength(splits, log_prior):
    """Return the l2 that held-out samples prefer, with a temperature, and the path.

    A strong ridge makes all logits small, which a temperature mends. Without it, the
    held-out loss would ask for a weaker ridge than the predictions need.

    Parameters
    ----------
    splits : list of HeldOut
        Of each, the training part is fitted along the path.

    log_prior : ndarray of shape (n_classes,)
        What is added to the logits to predict.

    Returns
    -------
    l2 : float
        At the minimum of the parabola through the best of the path and those beside it.

    temperature : float
        Interpolated for this strength.

    path : dict of str to ndarray of shape (n_strengths,)
        "l2", "loss" (held-out) and "temperature".
    """
    path = {"l2": [], "loss": [], "temperature": []}
    for l2 in _STRENGTHS:
        parts = [(split.move(l2), split) for split in splits]
        temperature, loss = _best_temperature(parts, log_prior)
        for name, value in zip(path, (l2, loss, temperature), strict=True):
            path[name].append(value)
        if loss > min(path["loss"]):
            break
    path = {name: np.array(values) for name, values in path.items()}
    l2 = _lowest_point(path)
    # np.interp takes increasing positions.
    temperature = np.interp(np.log(1 / l2), np.log(1 / path["l2"]), path["temperature"])
    return l2, float(temperature), path


def _best_temperature(parts, log_prior):
    """Return the temperature of least held-out loss, and this loss."""
    logits = torch.cat([z for z, _ in parts])
    logits += torch.as_tensor(log_prior, dtype=logits.dtype, device=logits.device)
    codes = torch.cat([split.codes for _, split in parts])
    weight = torch.cat([split.weight for _, split in parts])
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


def _lowest_point(path):
    """Return the l2 where the parabola through three points of the path is lowest."""
    best = int(path["loss"].argmin())
    if best in (0, len(path["l2"]) - 1):
        return float(path["l2"][best])
    around = slice(best - 1, best + 2)
    curve = np.polynomial.Polynomial.fit(
        np.log(path["l2"][around]), path["loss"][around], 2
    )
    return float(np.exp(curve.deriv().roots()[0]))
