"""Releases with a known leak, which say what an audit would have seen."""

import numpy as np

from ._class_gaussian import fit_class_gaussians

NO_LEAK = "nothing"
ALL_MEMBERS = "all members"
# Factor and shift of planted copies, the latter in standard deviations.
_SCALE = 10
_SHIFT = 5


def planted_leaks(parts, seed):
    """Yield names and samples of planted releases, one for each member.

    Beside the leak, samples are drawn from Gaussians fitted to the reference, for the
    labels of the members. The first release leaks nothing, the second all.
    """
    rng = np.random.RandomState(seed)
    M, y = parts.members.X, parts.members.y
    n_samples, n_features = M.shape
    labels, codes = np.unique(y, return_inverse=True)
    means, covariance = fit_class_gaussians(*parts.reference[:2], labels)
    factor = np.linalg.cholesky(covariance)

    def plant(rows):
        X = means[codes] + rng.standard_normal((n_samples, n_features)) @ factor.T
        X[rows] = M[rows]
        return X.astype(M.dtype)

    order = rng.permutation(n_samples)
    yield NO_LEAK, plant(order[:0])
    yield ALL_MEMBERS, M
    for percent in (1, 5):
        n_leaked = int(np.ceil(percent * n_samples / 100))
        yield f"{percent} % of the members", plant(order[:n_leaked])
    yield "one class", plant(codes == np.bincount(codes).argmax())
    rotation, _ = np.linalg.qr(rng.standard_normal((n_features, n_features)))
    yield "members, rotated", (M @ rotation).astype(M.dtype)
    yield "members, scaled", M * M.dtype.type(_SCALE)
    shift = _SHIFT * M.std(axis=0) * rng.standard_normal(n_features)
    yield "members, shifted", (M + shift).astype(M.dtype)
