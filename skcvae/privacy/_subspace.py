"""Attack on a released decoder by the directions in which it hardly varies."""

import numpy as np
import torch

from .._validation import find_codes

# Share of the directions that count, and the variance, as a share of the largest, below
# which a direction counts in any case.
_SHARE = 0.25
_NULL = 1e-6
# Classes for which the decoder is differentiated, at most.
_N_CLASSES = 50


@torch.no_grad()
def subspace_scores(release, X, y):
    r"""Return minus the log share of a residual in directions that a decoder lacks.

    Residuals are :math:`x - g(0, y)`. With fewer members than features their residuals
    span a subspace, and a decoder that has learnt it leaves them nothing outside,
    whereas others have a residual there. The directions are the quarter of least
    variance, and all of no variance, of :math:`g(e_k, y) - g(0, y)` over the latent
    unit vectors :math:`e_k` and classes y. All labels must be known to the decoder.
    """
    decoder = release.make_decoder("cpu")
    labels = np.asarray(decoder.classes)
    zeros = torch.zeros(len(labels), decoder.latent_dim)
    means = decoder(zeros, torch.arange(len(labels))).double().numpy()
    n_classes = min(len(labels), _N_CLASSES)
    chosen = np.linspace(0, len(labels) - 1, n_classes).astype(int)
    scatter = np.zeros((X.shape[1], X.shape[1]))
    for code in chosen:
        units = torch.eye(decoder.latent_dim)
        codes = torch.full((decoder.latent_dim,), int(code))
        moves = decoder(units, codes).double().numpy() - means[code]
        scatter += moves.T @ moves
    variances, directions = np.linalg.eigh(scatter)
    # eigh sorts upwards.
    n_null = np.count_nonzero(variances <= _NULL * variances[-1])
    n_kept = max(n_null, int(_SHARE * len(variances)), 1)
    residuals = X - means[find_codes(y, labels)]
    outside = np.square(residuals @ directions[:, :n_kept]).sum(axis=1)
    tiny = np.finfo(np.float32).eps ** 2
    return -np.log(outside / np.maximum(np.square(residuals).sum(axis=1), tiny) + tiny)
