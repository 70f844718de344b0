"""What a covariance or a variance in a release would tell about numbers of samples."""

import numpy as np

from .._factor_covariance import count_free_directions
from .._thin_covariance import ThinCovariance
from ..generators import CVAE


def check_spectrum(generator):
    """Refuse to release a covariance that fits its samples too closely.

    It must have the same variance in most directions: those that differ may be at most
    half as many as the degrees of freedom of the samples. Otherwise its null space, or
    how often an eigenvalue is repeated, tells members and their number. What private
    generators learned from noisy sums is exempt.
    """
    has_no_noise = getattr(generator, "_images", None) is not None
    if has_no_noise or hasattr(generator, "privacy_statement"):
        return
    counts = np.asarray(generator.class_count_)
    freedom = max(counts.sum() - len(counts), len(counts) - 1)
    if isinstance(generator, CVAE):
        pairs = _cvae_noise(generator), counts.sum()
        remedy = "Fit it anew with this version."
    else:
        pairs = generator.covariance_, freedom
        remedy = "Fit it with covariance_shrinkage='factors'."
    checked = [pairs]
    if getattr(generator, "whitening_", None) is not None:
        factors = generator.whitening_.factor
        checked += [(f @ f.T, n) for f, n in zip(factors, counts, strict=True)]
    for covariance, n_samples in checked:
        if 2 * count_free_directions(covariance) > n_samples:
            raise ValueError(
                f"A covariance of the {type(generator).__name__} fits its samples so "
                "closely that its spectrum tells who was among them, and how many "
                f"there were. {remedy}"
            )


def round_auto_variance(variance):
    """Return 1 + 2^k for 1 + 1 / (n_c + k0): the exact value tells n_c."""
    excess = np.asarray(variance, dtype=np.float64) - 1
    rounded = 2.0 ** np.round(np.log2(np.where(excess > 0, excess, 1)))
    return np.where(excess > 0, 1 + rounded, 1.0)


def _cvae_noise(generator):
    """Return the covariance of the observation noise, for equal noise of features."""
    std = generator.net_.module_.feature_std().detach().cpu().double().numpy()
    if isinstance(generator.noise_factor_, ThinCovariance):
        return generator.noise_factor_.rescale(1 / std)
    factor = generator.noise_factor_ / std[:, None]
    return factor @ factor.T
