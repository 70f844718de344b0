"""Prior knowledge of class means, aligned with the means of the samples."""

import numpy as np

from .._class_means import make_whitener

# As for samples: differences must not overflow.
_LARGEST = np.finfo(np.float32).max / 1000


def read_class_embeddings(embeddings, classes, n_features):
    """Return an array of shape (n_classes, n_features), NaN for classes without.

    Raise ValueError if no class has an embedding, or one is not finite or of another
    length.
    """
    found = np.full((len(classes), n_features), np.nan)
    for code, label in enumerate(classes.tolist()):
        if label not in embeddings:
            continue
        vector = np.asarray(embeddings[label], dtype=float)
        if vector.shape != (n_features,):
            raise ValueError(
                f"class_embeddings[{label!r}] must have the shape ({n_features},) of a "
                f"sample of X, got {vector.shape}."
            )
        if not (np.abs(vector) < _LARGEST).all():
            raise ValueError(
                f"class_embeddings[{label!r}] must be finite, also in float32."
            )
        found[code] = vector
    if np.isnan(found).all():
        raise ValueError(
            f"class_embeddings has none of the classes {classes[:5].tolist()} of y. "
            "Its keys must be labels, of the same type."
        )
    return found


def align_class_embeddings(embeddings, means, counts):
    r"""Return the shifts of the centres that class means are shrunk to, and the slope.

    Class means are regressed on the embeddings, :math:`\bar x_c = a + b e_c`, in the
    metric of the covariance within the classes, with the weights :math:`n_c / (n_c +
    k_0)`. The slope b is multiplied by :math:`1 - 1 / F`, which is at least 0, with the
    F statistic of the regression, and is never negative: useless embeddings get a slope
    of about 0. The shifts average to zero over the samples, and are zero for classes
    without an embedding, which have NaN. `means` are shrunk without embeddings.
    """
    known = ~np.isnan(embeddings).any(axis=1)
    shifts = np.zeros_like(means.raw)
    weight = counts / (counts + means.k0) if np.isfinite(means.k0) else 1.0 * counts
    slope = _slope(embeddings[known], means.raw[known], weight[known], means.covariance)
    centred = embeddings[known] - np.average(
        embeddings[known], axis=0, weights=counts[known]
    )
    shifts[known] = slope * centred
    return shifts, slope


def _slope(embeddings, raw, weight, covariance):
    """Return the slope of a regression of class means on embeddings, shrunk to 0."""
    freedom = (len(raw) - 1) * raw.shape[1] - 1
    whiten, _ = make_whitener(covariance)
    e, x = (whiten(a - np.average(a, 0, weights=weight)) for a in (embeddings, raw))
    size = weight @ (e**2).sum(axis=1)
    if freedom < 1 or size == 0:
        return 0.0
    slope = weight @ (e * x).sum(axis=1) / size
    rest = weight @ ((x - slope * e) ** 2).sum(axis=1) / freedom
    explained = slope**2 * size
    if slope <= 0 or explained <= rest:
        return 0.0
    return float(slope * (1 - rest / explained))
