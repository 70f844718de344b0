"""How much the networks of a CVAE may learn, chosen by held-out samples."""

import numpy as np
import torch
from scipy.linalg import solve_triangular
from sklearn.base import clone

from .._class_means import fit_class_means, indices_of_classes, make_definite
from .._record_sets import first_copies
from .._thin_covariance import ThinCovariance, gaussian_log_density
from ._cvae_net import NegativeELBO, count_epochs

# Wider nets had a higher likelihood still on one of three data sets. They disclosed
# more, and classifiers trained on their samples were no better.
_WIDTHS = (32, 64, 128)
# Images: parts of the usual number of epochs.
_EPOCH_DIVISORS = (8, 4, 2, 1)
# One of this many samples of each class is held out.
_FOLDS = 5
# Fewer held-out samples tell little.
_MIN_HELD_OUT = 20
_OWN_CALLBACKS = ("callbacks__lr_schedule", "callbacks__gradient_clipping")


def choose_width(cvae, Z, codes, seed):
    """Return the width of a CVAE's networks, and the scores by which it was chosen.

    The width is doubled as long as that makes held-out samples more likely, by more
    than the standard error and by more than half of what it does for the training
    samples. The rest would be memorised. The scores, for each width that was tried and
    for "gaussian", a `ClassGaussian`, are the mean log-likelihood of training and of
    held-out samples, or its lower bound, in nats.
    """
    parts = _split(Z, codes, seed)
    if parts is None:
        return _WIDTHS[0], {}
    means = fit_class_means(*parts[0], codes.max() + 1)
    gaussian = _means(gaussian_log_likelihood(means, *p) for p in parts)
    tried = {width: (width, {}) for width in _WIDTHS}
    chosen, scores = _raise(cvae, parts, seed, tried, is_worth)
    return chosen, {"gaussian": gaussian, **scores}


def choose_epochs(cvae, Z, codes, seed):
    """Return the number of epochs of a CVAE of images, and the scores behind it.

    An eighth of the usual number is doubled as long as that makes held-out images more
    likely, and training images not more so: no noise hides what images of a network
    have memorised. Either counts where chance does not explain it. The scores are as
    in `choose_width`, for each number of epochs that was tried.
    """
    usual = count_epochs(cvae, len(Z))
    numbers = [max(usual // divisor, 1) for divisor in _EPOCH_DIVISORS]
    parts = _split(Z, codes, seed)
    if parts is None:
        return numbers[0], {}
    tried = {n: (cvae.architecture.width, {"max_epochs": n}) for n in numbers}
    return _raise(cvae, parts, seed, tried, generalises)


def _split(Z, codes, seed):
    """Return training and held-out samples with their codes, or None if too few."""
    held_out = hold_out(Z, codes, seed)
    if np.count_nonzero(held_out) < _MIN_HELD_OUT:
        return None
    return [(Z[mask], codes[mask]) for mask in (~held_out, held_out)]


def _raise(cvae, parts, seed, tried, gains):
    """Return the last candidate before one that gains nothing, and all scores.

    `tried` has width and parameters of each. `gains` compares the log-likelihoods of
    training and of held-out samples with those of the candidate before.
    """
    scores, chosen, best = {}, None, None
    for name, (width, params) in tried.items():
        candidate = _fit_width(cvae, width, *parts[0], seed, **params)
        bounds = [log_likelihood_bound(candidate, *part, seed) for part in parts]
        scores[name] = _means(bounds)
        if best is not None and not gains(bounds[0] - best[0], bounds[1] - best[1]):
            break
        chosen, best = name, bounds
    return chosen, scores


def hold_out(Z, codes, seed):
    """Return a mask of a fifth of the samples of each class, rounded down.

    Copies of a sample go where it goes: a network would know them.
    """
    rng = np.random.RandomState(seed)
    mask = np.zeros(len(codes), dtype=bool)
    classes = indices_of_classes(codes, codes.max() + 1)
    for members in classes:
        mask[rng.permutation(members)[: len(members) // _FOLDS]] = True
    mask = mask[first_copies(Z, codes)]
    for members in classes:
        # Of such a class, nothing would be left to train on.
        if mask[members].all():
            mask[members] = False
    return mask


def _means(parts):
    """Return the mean score of training and held-out samples."""
    return tuple(float(part.mean()) for part in parts)


def is_worth(gains, held_out_gains):
    """Tell whether held-out samples gain, and more than half of what training ones do.

    A gain of no more than its standard error does not count.
    """
    gain = held_out_gains.mean()
    error = held_out_gains.std() / len(held_out_gains) ** 0.5
    return gain > error and gain > gains.mean() / 2


def generalises(gains, held_out_gains):
    """Tell whether held-out samples gain, and no less than training ones do.

    A gain of no more than its standard error does not count, nor does a difference of
    no more than two standard errors.
    """
    gain = held_out_gains.mean()
    error = held_out_gains.std() / len(held_out_gains) ** 0.5
    of_difference = np.hypot(error, gains.std() / len(gains) ** 0.5)
    return gain > error and gains.mean() - gain <= 2 * of_difference


def _fit_width(cvae, width, Z, codes, seed, **params):
    """Return a copy of a CVAE of one width, fitted to scaled samples."""
    candidate = clone(cvae).set_params(net_params=_of_trial(cvae.net_params), **params)
    candidate.classes_, candidate.n_features_in_ = cvae.classes_, cvae.n_features_in_
    candidate.class_count_ = np.bincount(codes)
    candidate.hidden_dim_ = width
    candidate._progress_title = f"trying {params or {'width': width}}"
    candidate._fit_net(Z, codes, seed)
    return candidate


def _of_trial(net_params):
    """Leave out callbacks and validation set of the user, which are for one training.

    Without the callbacks, nothing would look at the validation loss.
    """
    return {
        name: value
        for name, value in (net_params or {}).items()
        if not name.startswith(("callbacks", "train_split"))
        or name.startswith(_OWN_CALLBACKS)
    }


def gaussian_log_likelihood(means, Z, codes):
    """Return the log-likelihood of samples under the Gaussian of a `ClassMeans`."""
    factor = make_definite(means.covariance)
    if not isinstance(factor, ThinCovariance):
        factor = np.linalg.cholesky(factor)
    return gaussian_log_density(Z - means.shrunk[codes], factor)


def kl_to_prior(mean, variance, codes, prior):
    """Return KL(N(mean, diag(variance)) || prior of the class) of each sample."""
    divergence = np.empty(len(mean))
    for code, members in enumerate(indices_of_classes(codes, len(prior.centre))):
        factor = prior.factor[code].astype(np.float64)
        inverse = solve_triangular(factor, np.eye(len(factor)), lower=True)
        shift = (mean[members] - prior.centre[code]) @ inverse.T
        spread = variance[members] @ np.square(inverse).sum(axis=0)
        log_ratio = 2 * np.log(np.diag(factor)).sum() - np.log(variance[members]).sum(1)
        squared = np.square(shift).sum(axis=1)
        divergence[members] = 0.5 * (squared + spread - mean.shape[1] + log_ratio)
    return divergence


@torch.inference_mode()
def log_likelihood_bound(cvae, Z, codes, seed):
    """Return a lower bound of log p(x | y) of each scaled sample, under a fitted CVAE.

    p has the latent prior of the class and the correlated noise, as samples have that
    are drawn, where training has N(0, I) and independent noise. Images have that noise
    here too. One latent vector is drawn for each sample.
    """
    module = cvae.net_.module_
    x = torch.from_numpy((Z - cvae.class_means_[codes]).astype(np.float32))
    y = torch.from_numpy(codes)
    mean, log_var = module.encode(x, y)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(mean.shape, generator=generator)
    z = mean + (0.5 * log_var).exp() * drawn
    x_hat = module.decode(z, y)
    if cvae._images is None:
        residuals = (x - x_hat).double().numpy()
        log_scale = module.noise_scale(z, y).double().numpy().ravel()
        log_density = gaussian_log_density(residuals, cvae.noise_factor_, log_scale)
    else:
        outputs = x_hat, mean, log_var, module.log_noise(z, y)
        log_density = -NegativeELBO().terms(outputs, x)[0].double().numpy()
    mean, variance = mean.double().numpy(), log_var.double().exp().numpy()
    return log_density - kl_to_prior(mean, variance, codes, cvae.latent_prior_)
