"""Samples as positions, and which parts of their codes speak for a class."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from ..._scaling import estimate_scale, scale_rows

# Positions that are worked on at a time, about.
_CHUNK_POSITIONS = 4096
# Positions of maps from which the scale of their features is estimated, about.
_SCALE_POSITIONS = 100_000


def chunks(n_samples, n_positions):
    """Yield slices of samples that hold a bounded number of positions."""
    step = max(1, _CHUNK_POSITIONS // n_positions)
    for start in range(0, n_samples, step):
        yield slice(start, min(start + step, n_samples))


def pool_positions(X):
    """Return samples of any layout averaged over positions, (n, n_features)."""
    return X if X.ndim == 2 else X.mean(axis=1 if X.ndim == 3 else (2, 3))


@dataclass
class PositionScaler:
    """The layout of samples, and the scale of their features.

    `sample_shape` is (n_features,), (n_tokens, n_features) or (n_channels, height,
    width). `offset` and `scale`, of shape (n_features,), are those of the features at
    all positions.
    """

    sample_shape: tuple
    dtype: str
    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, X):
        """Return the scaler of samples, shape (n, ...)."""
        step = 1
        if X.ndim > 2:
            n_features = X.shape[1 if X.ndim == 4 else 2]
            step += X.size // n_features // _SCALE_POSITIONS
        # Sums depend on the order in memory.
        sample = np.ascontiguousarray(_features_last(X[::step]))
        offset, scale = estimate_scale(sample.reshape(-1, sample.shape[-1]))
        return cls(X.shape[1:], sample.dtype.name, offset, scale)

    @property
    def grid(self):
        """Shape of the positions: (), (n_tokens,) or (height, width)."""
        shape = self.sample_shape
        return {1: (), 2: shape[:1], 3: shape[1:]}[len(shape)]

    def to_positions(self, X):
        """Return scaled positions, float32 of shape (n, n_positions, n_features)."""
        n_features = len(self.offset)
        Z = np.empty((len(X), int(np.prod(self.grid)), n_features), dtype=np.float32)
        for part in chunks(*Z.shape[:2]):
            positions = _features_last(X[part]).reshape(-1, n_features)
            scaled = scale_rows(positions, self.offset, self.scale)
            Z[part] = scaled.reshape(Z[part].shape)
        return Z

    def to_samples(self, Z):
        """Return samples of scaled positions, of shape (n, ...)."""
        X = (self.offset + Z * self.scale).astype(self.dtype)
        X = X.reshape(len(Z), *self.grid, len(self.offset))
        return np.moveaxis(X, -1, 1) if len(self.sample_shape) == 3 else X


def _features_last(X):
    """Return samples in a float type, with features on the last axis."""
    X = np.moveaxis(X, 1, -1) if X.ndim == 4 else X
    return X.astype(np.result_type(X.dtype, np.float32), copy=False)


@torch.no_grad()
def encoded(module, Z):
    """Yield slices of samples, and codes (n, n_positions, n_groups, group_size)."""
    for part in chunks(*Z.shape[:2]):
        yield part, module.encode(torch.from_numpy(Z[part]))


def mean_code(module, Z):
    """Return the code averaged over samples and positions, (n_groups, group_size)."""
    total = sum(
        codes.sum(dim=(0, 1), dtype=torch.float64) for _, codes in encoded(module, Z)
    )
    return (total / (Z.shape[0] * Z.shape[1])).float()


@torch.no_grad()
def class_activation(module, codes, labels, mean):
    r"""Return what each unit of a code adds to the logit of a class, (n, n_units).

    For a linear classifier with weights :math:`w_c` of the pooled code, the logit of
    class c, less the mean of the logits of all classes, is up to a constant the average
    over the positions p, or for samples without positions the sum over the groups l, of

    .. math::
        A_c(p) = (w_c - \bar w) \cdot (s_p - \bar s), \qquad
        A_c(l) = (w_{cl} - \bar w_l) \cdot (s_l - \bar s_l),

    the class activation map of Zhou et al. ("Learning Deep Features for Discriminative
    Localization", CVPR 2016) around the mean code :math:`\bar s`, of shape (n_groups,
    group_size). Codes have the shape (n, n_positions, n_groups, group_size). The units
    are the positions, or of a single position the groups.
    """
    weight = module.head.weight - module.head.weight.mean(dim=0)
    weight = weight[labels].view(-1, 1, *mean.shape)
    by_group = (weight * (codes - mean)).sum(dim=-1)
    return by_group[:, 0] if codes.shape[1] == 1 else by_group.sum(dim=-1)


def all_activations(module, Z, labels, mean):
    """Return the activation maps of all samples for given classes, (n, n_units)."""
    labels = torch.from_numpy(labels)
    parts = [
        class_activation(module, codes, labels[part], mean).numpy()
        for part, codes in encoded(module, Z)
    ]
    return np.concatenate(parts)


def specific_units(maps, quantile):
    """Mark the units of each map that reach its quantile."""
    return maps >= np.quantile(maps, quantile, axis=1, keepdims=True)


def head_samples(codes, code):
    """Return the samples of classes larger than one, or else of all others."""
    count = np.bincount(codes)
    larger = count[codes] > count[code]
    return np.flatnonzero(larger if larger.any() else codes != code)


def draw_partners(maps, codes, tails, n_neighbors, rng):
    """Return a head sample for each tail sample, among those of the nearest maps.

    Both are indices of shape (n_new,). `maps`, of shape (n_samples, n_units), are those
    of each sample for its own class; they are compared by their direction. One of
    `n_neighbors` head samples is drawn.
    """
    norm = np.linalg.norm(maps, axis=1, keepdims=True)
    directions = maps / np.where(norm > 0, norm, 1)
    partners = np.empty(len(tails), dtype=np.intp)
    for code in np.unique(codes[tails]):
        heads = head_samples(codes, code)
        members, place = np.unique(tails[codes[tails] == code], return_inverse=True)
        k = min(n_neighbors, len(heads))
        nearest = NearestNeighbors(n_neighbors=k).fit(directions[heads])
        found = nearest.kneighbors(directions[members], return_distance=False)
        drawn = found[place, rng.randint(k, size=len(place))]
        partners[codes[tails] == code] = heads[drawn]
    return partners
