"""Which parts of a sparse code speak for a class, and rows that agree in them."""

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from ._positions import chunks


@torch.no_grad()
def encode_all(module, Z):
    """Return the codes of rows, (n, n_positions, n_groups, group_size)."""
    parts = [
        module.encode(torch.from_numpy(Z[rows])).numpy()
        for rows in chunks(*Z.shape[:2])
    ]
    return np.concatenate(parts)


@torch.no_grad()
def mean_code(module, Z):
    """Return the code averaged over rows and positions, (n_groups, group_size)."""
    total = sum(
        module.encode(torch.from_numpy(Z[rows])).sum(dim=(0, 1), dtype=torch.float64)
        for rows in chunks(*Z.shape[:2])
    )
    return (total / (Z.shape[0] * Z.shape[1])).float()


@torch.no_grad()
def class_activation(module, codes, labels, mean):
    r"""Return what each unit of a code adds to the logit of a class.

    For a linear classifier with weights :math:`w_c` of the pooled code, the logit of
    class c, less the mean of the logits of all classes, is up to a constant the
    average over the positions p, or for rows without positions the sum over the
    groups l, of

    .. math::
        A_c(p) = (w_c - \bar w) \cdot (s_p - \bar s), \qquad
        A_c(l) = (w_{cl} - \bar w_l) \cdot (s_l - \bar s_l),

    the class activation map of Zhou et al. ("Learning Deep Features for Discriminative
    Localization", CVPR 2016) around the mean code :math:`\bar s`.

    Parameters
    ----------
    module : SimplicialAutoencoder
        Its classifier is read.

    codes : Tensor of shape (n, n_positions, n_groups, group_size)
        Codes of rows.

    labels : Tensor of shape (n,)
        Class code of each row.

    mean : Tensor of shape (n_groups, group_size)
        Mean code.

    Returns
    -------
    Tensor of shape (n, n_units)
        The units are the positions, or of a single position the groups.
    """
    weight = module.head.weight - module.head.weight.mean(dim=0)
    weight = weight[labels].view(-1, 1, *mean.shape)
    by_group = (weight * (codes - mean)).sum(dim=-1)
    return by_group[:, 0] if codes.shape[1] == 1 else by_group.sum(dim=-1)


@torch.no_grad()
def all_activations(module, Z, labels, mean):
    """Return the activation maps of all rows for given classes, (n, n_units)."""
    parts = [
        class_activation(
            module,
            module.encode(torch.from_numpy(Z[rows])),
            torch.from_numpy(labels[rows]),
            mean,
        ).numpy()
        for rows in chunks(*Z.shape[:2])
    ]
    return np.concatenate(parts)


def specific_units(maps, quantile):
    """Mark the units of each map that reach its quantile."""
    return maps >= np.quantile(maps, quantile, axis=1, keepdims=True)


def head_rows(codes, code):
    """Return the rows of larger classes than one, or else of all other classes."""
    count = np.bincount(codes)
    larger = count[codes] > count[code]
    return np.flatnonzero(larger if larger.any() else codes != code)


def draw_partners(maps, codes, tails, n_neighbors, rng):
    """Return a head row for each tail row, among those of the nearest maps.

    Parameters
    ----------
    maps : ndarray of shape (n_samples, n_units)
        Map of each row for its own class; they are compared by their direction.

    codes : ndarray of shape (n_samples,)
        Class codes.

    tails : ndarray of shape (n_new,)
        Indices of the tail rows.

    n_neighbors : int
        Nearest head rows that one is drawn from.

    rng : RandomState
        Draws.

    Returns
    -------
    ndarray of shape (n_new,)
        Indices of the head rows.
    """
    norm = np.linalg.norm(maps, axis=1, keepdims=True)
    directions = maps / np.where(norm > 0, norm, 1)
    partners = np.empty(len(tails), dtype=np.intp)
    for code in np.unique(codes[tails]):
        heads = head_rows(codes, code)
        members, place = np.unique(tails[codes[tails] == code], return_inverse=True)
        k = min(n_neighbors, len(heads))
        nearest = NearestNeighbors(n_neighbors=k).fit(directions[heads])
        found = nearest.kneighbors(directions[members], return_distance=False)
        drawn = found[place, rng.randint(k, size=len(place))]
        partners[codes[tails] == code] = heads[drawn]
    return partners
