"""Training of a generator's networks on samples that are read in blocks."""

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._block_loader import BlockedSamples, check_unsplit
from .._class_means import class_sums, leave_one_out_residuals
from .._devices import resolve_device
from .._scaling import scale_rows
from .._seeds import draw_seeds
from .._training import LabelledTensors
from .._validation import check_variance
from ._base import warn_about_generation
from ._moment_means import fit_blocks
from ._samplers import JITTER, LatentPrior, indices_of_classes

# Numbers of the samples that the noise is estimated from, and the check of generated
# samples: about 11,000 samples of 768 features.
_SAMPLE_NUMBERS = 2**23


def fit_net_to_blocks(generator, blocks):
    """Train the networks of a generator that models residuals from class means."""
    check_unsplit(generator.net_params)
    device = resolve_device(generator.device)
    seed = draw_seeds(check_random_state(generator.random_state), 1)[0]
    classes, codes = np.unique(blocks.y, return_inverse=True)
    check_variance(generator.variance, classes)
    means = fit_blocks(generator, blocks)
    generator.mean_shrinkage_ = means.k0
    generator.class_means_ = means.shrunk

    def scaled(X, _):
        return scale_rows(X, generator.offset_, generator.scale_)

    def residuals(Z, codes):
        how = means.raw, means.k0, generator.class_count_, 0.0, np.float32
        return leave_one_out_residuals(Z, codes, *how)

    def to_net(X, codes):
        return residuals(scaled(X, codes), codes)

    n_samples = min(len(blocks), max(1, _SAMPLE_NUMBERS // blocks.shape[1]))
    rng = np.random.RandomState(seed)
    places = np.sort(rng.choice(len(blocks), n_samples, replace=False))
    Z = BlockedSamples(blocks, codes, scaled, device).take(places).numpy()
    x = torch.from_numpy(residuals(Z, codes[places])).to(device)
    sample = LabelledTensors(x, torch.from_numpy(codes[places]).to(device))
    data = BlockedSamples(blocks, codes, to_net, device)
    generator._train(data, sample, device, seed)
    warn_about_generation(generator, Z, codes[places], seed, means.raw)


@torch.inference_mode()
def prior_of_blocks(module, data, n_classes, latent_dim):
    """Return what `aggregate_prior` returns for the latents of `BlockedSamples`."""
    sums, variances = np.zeros((2, n_classes, latent_dim))
    squares = np.zeros((n_classes, latent_dim, latent_dim))
    for start, stop in data.blocks.spans():
        codes = data.codes[start:stop]
        x = torch.from_numpy(data.read(start, stop)).to(data.y.device)
        mean, log_var = module.encode(x, data.y[start:stop])
        mean, variance = (t.double().cpu().numpy() for t in (mean, log_var.exp()))
        sums += class_sums(mean, codes, n_classes)
        variances += class_sums(variance, codes, n_classes)
        members = indices_of_classes(codes, n_classes)
        for code in np.unique(codes):
            squares[code] += mean[members[code]].T @ mean[members[code]]
    counts = np.bincount(data.codes, minlength=n_classes)
    return mix_priors(counts, sums, squares, variances)


def mix_priors(counts, sums, squares, variances):
    """Return what `aggregate_prior` returns for sums over the latents of each class.

    The sums are those of their means, of the products and of the variances.
    """
    n_samples, latent_dim = counts.sum(), sums.shape[1]
    overall = sums.sum(axis=0) / n_samples
    deviations = sums - counts[:, None] * overall
    covariance = squares.sum(axis=0) / n_samples - np.outer(overall, overall)
    covariance += np.diag(variances.sum(axis=0) / n_samples)
    covariance += JITTER * np.trace(covariance) / latent_dim * np.eye(latent_dim)
    factor = np.empty(squares.shape, dtype=np.float32)
    weights = counts + latent_dim
    centre = overall + deviations / weights[:, None]
    for code, (n, weight) in enumerate(zip(counts, weights, strict=True)):
        across = np.outer(centre[code], sums[code])
        scatter = squares[code] - across - across.T
        scatter += n * np.outer(centre[code], centre[code]) + np.diag(variances[code])
        factor[code] = np.linalg.cholesky((scatter + latent_dim * covariance) / weight)
    return LatentPrior(centre, factor)
