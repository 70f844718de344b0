"""Membership attack on a released decoder, by searching its latent space."""

from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from .._devices import resolve_device
from .._record_sets import (
    array_likes,
    check_disjoint,
    check_one_label_per_sample,
    check_record_sets,
)
from .._seeds import draw_seeds
from .._validation import find_codes
from .._warnings import warn_user
from ._attack_result import AttackResult, attack_result

# Peak of the learning rate, in standard deviations of the latents: at 200 steps, the
# search reaches the minimum of linear decoders of condition number 6000.
_LR = 0.3
# The one scale of a decoder without noise, as a share of the deviation around the
# class means: small, so that the minimum is close to a log-density.
_RELATIVE_SCALE = 0.1
# The least noise of a feature, as a share of the root mean square of all features:
# a feature that was constant in training must not outweigh all others.
_MIN_RELATIVE_NOISE = 0.1
# A search has converged when its last quarter improved the objective by no more than
# this share; what is left is then less.
_TOLERANCE = 0.05
_MAX_UNCONVERGED = 0.1


@validate_params(
    {
        "release": [HasMethods("make_decoder")],
        **array_likes("X_members", "y_members", "X_nonmembers", "y_nonmembers"),
        "reference_release": [HasMethods("make_decoder"), None],
        "regularization": [Interval(Real, 0, None, closed="neither")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def latent_search_attack(
    release: object,
    X_members: ArrayLike,
    y_members: ArrayLike,
    X_nonmembers: ArrayLike,
    y_nonmembers: ArrayLike,
    *,
    reference_release: object | None = None,
    regularization: float = 1.0,
    n_steps: int = 200,
    n_restarts: int = 2,
    batch_size: int = 1024,
    device: str | torch.device = "cpu",
    random_state: int | np.random.RandomState | None = None,
) -> AttackResult:
    r"""Infer membership from how well a released decoder reproduces a sample.

    The "partial black-box" attack of GAN-Leaks [1]_: whoever holds the decoder searches
    its latent space for the best reproduction of a sample x of class y,

    .. math:: q(x) = \min_e \; \sum_j \frac{(g(e, y)_j - x_j)^2}{s_j^2}
        + \lambda \lVert e \rVert^2,

    by Adam, from e = 0 and from random starts, and takes a low minimum for a sign of
    membership. Samples differ in how easy they are to reproduce by any decoder.
    `reference_release`, trained on other samples of the same population, calibrates for
    that: the score is then the reference's minimum less the release's, without it
    :math:`-q(x)`.

    Where the decoder has observation noise, s is its standard deviation, but at least
    a tenth of the root mean square over the features. With :math:`\lambda = 1`, q is
    then :math:`-2 \log p(x \mid e, y) p(e)` up to a constant, at the best e. A
    decoder without noise gets one s for all features: a tenth of the root mean square
    of :math:`x - g(0, y)` over all samples attacked (of the release, where both have no
    noise). A linear decoder, as that of a Gaussian, then gives a squared Mahalanobis
    distance, little smoothed.

    Parameters
    ----------
    release : object
        The released object. Its `make_decoder(device)` returns a differentiable
        function of latent vectors of shape (n, `latent_dim`), standard normal, and
        class codes, with the attributes `latent_dim`, `classes` and `noise_std`. All
        generators of this package and their releases have it.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was trained on.

    y_members : array-like of shape (n_members,)
        Their classes.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same population that it was not trained on.

    y_nonmembers : array-like of shape (n_nonmembers,)
        Their classes.

    reference_release : object, default=None
        The same kind of release, trained by the attacker on samples that are neither
        members nor non-members. Without it, the attack is much weaker.

    regularization : float, default=1.0
        The factor :math:`\lambda > 0` of the latent vector's squared length. Towards
        0, a wide decoder reproduces every sample.

    n_steps : int, default=200
        Steps of Adam in each search, at a learning rate that falls along a cosine.

    n_restarts : int, default=2
        Number of searches for each sample: the first starts at 0, the others at random.

    batch_size : int, default=1024
        Samples searched for at once. It bounds memory, and does not change the scores
        but for rounding.

    device : str or torch.device, default="cpu"
        Where to search. "auto" is the GPU that torch reports, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of the random starts.

    Returns
    -------
    result : AttackResult
        AUC and true-positive rate with their intervals; no scores of single samples.

    Warns
    -----
    ConvergenceWarning
        If more than a tenth of the samples gained over 5 % in the last quarter of their
        search: it was too short, and the leakage may be understated.

    Raises
    ------
    ValueError
        If samples have a class or a number of features that a release lacks, members
        and non-members share a sample, the input is empty or not finite, or the decoder
        returns values that are not finite.

    See Also
    --------
    shadow_attack : Trains copies of the generator, and compares each sample with them.

    References
    ----------
    .. [1] D. Chen, N. Yu, Y. Zhang and M. Fritz, "GAN-Leaks: A Taxonomy of Membership
       Inference Attacks against Generative Models", CCS 2020, `arXiv 1909.03935
       <https://arxiv.org/abs/1909.03935>`_.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import ClassGaussian
    >>> from skcvae.privacy import latent_search_attack
    >>> X, y = load_digits(return_X_y=True)
    >>> members, others, reference = slice(0, 200), slice(200, 400), slice(400, 600)
    >>> release = ClassGaussian().fit(X[members], y[members])
    >>> result = latent_search_attack(
    ...     release, X[members], y[members], X[others], y[others],
    ...     reference_release=ClassGaussian().fit(X[reference], y[reference]),
    ...     n_steps=100, n_restarts=1)
    >>> result.auc.value > 0.7
    True
    """
    X, y, n_members = check_candidates(X_members, y_members, X_nonmembers, y_nonmembers)
    scores = latent_search_scores(
        release,
        X,
        y,
        reference_release=reference_release,
        regularization=regularization,
        n_steps=n_steps,
        n_restarts=n_restarts,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
    )
    name = "latent_search"
    if reference_release is None:
        name = "latent_search_uncalibrated"
    return attack_result(name, scores[:n_members], scores[n_members:])


def check_candidates(X_members, y_members, X_nonmembers, y_nonmembers, **others):
    """Return samples, members first, their labels, number of members, other sets."""
    sets = check_record_sets(X_members=X_members, X_nonmembers=X_nonmembers, **others)
    check_disjoint(**sets)
    M, H, *others = sets.values()
    y = np.concatenate(
        [
            check_one_label_per_sample(y_members, M, "y_members"),
            check_one_label_per_sample(y_nonmembers, H, "y_nonmembers"),
        ]
    )
    return np.concatenate([M, H]), y, len(M), *others


def latent_search_scores(
    release,
    X,
    y,
    *,
    reference_release=None,
    regularization=1.0,
    n_steps=200,
    n_restarts=2,
    batch_size=1024,
    device="cpu",
    random_state=None,
):
    """Return the score of each sample, as in :func:`latent_search_attack`.

    Scores of single samples tell who is a member: do not publish them.
    """
    device = resolve_device(device)
    X = check_array(X, dtype=np.float32, input_name="X")
    y = check_one_label_per_sample(y, X, "y")
    x = torch.tensor(X, device=device)
    releases = [r for r in (release, reference_release) if r is not None]
    decoders = [r.make_decoder(device) for r in releases]
    # All checks come before the first search, which may take minutes.
    codes = [_encode_labels(decoder, y).to(device) for decoder in decoders]
    one_scale = _one_scale(decoders[0], x, codes[0], batch_size)
    seed = draw_seeds(check_random_state(random_state), 1)[0]
    minima = []
    for decoder, of in zip(decoders, codes, strict=True):
        std = _noise_scale(decoder, one_scale)
        generator = torch.Generator().manual_seed(seed)
        starts = [torch.zeros(len(x), decoder.latent_dim)]
        for _ in range(n_restarts - 1):
            shape = len(x), decoder.latent_dim
            starts.append(torch.randn(shape, generator=generator))
        minima.append(
            _minima(decoder, x, of, std, starts, regularization, n_steps, batch_size)
        )
    return minima[1] - minima[0] if reference_release is not None else -minima[0]


def _encode_labels(decoder, y):
    """Return class codes; refuse classes that the decoder lacks."""
    codes = find_codes(y, np.asarray(decoder.classes))
    unknown = sorted(set(y[codes < 0].tolist()), key=str)
    if unknown:
        raise ValueError(
            f"A release lacks the classes {unknown[:5]} of samples to attack. Leave "
            "them out: their membership cannot be inferred from it."
        )
    return torch.from_numpy(codes)


@torch.no_grad()
def _one_scale(decoder, x, codes, batch_size):
    """Return the scale of a decoder without noise, from its residuals at e = 0."""
    squares = 0.0
    for rows in gen_batches(len(x), batch_size):
        zeros = torch.zeros(len(x[rows]), decoder.latent_dim, device=x.device)
        decoded = decoder(zeros, codes[rows])
        if decoded.shape != x[rows].shape:
            raise ValueError(
                f"The samples to attack have {x.shape[1]} features, and the release "
                f"decodes {decoded.shape[1]}. They must be the same features."
            )
        squares += (decoded - x[rows]).cpu().double().square().sum().item()
    return _RELATIVE_SCALE * np.sqrt(squares / x.numel()) or 1.0


def _noise_scale(decoder, one_scale):
    """Return what residuals are divided by: a number, or one for each feature."""
    noise = decoder.noise_std
    if noise is None or not noise.any():
        return one_scale
    noise = noise.detach()
    return noise.clamp_min(_MIN_RELATIVE_NOISE * noise.square().mean().sqrt())


def _minima(decoder, x, codes, std, starts, regularization, n_steps, batch_size):
    """Return the least objective of each sample over all starts."""
    minima = torch.full((len(x),), torch.inf)
    late_gains = torch.zeros(len(x))
    for start in starts:
        for rows in gen_batches(len(x), batch_size):
            e = start[rows].to(x.device)
            objective = _objective(decoder, x[rows], codes[rows], std, regularization)
            found, gain = (values.cpu() for values in _descend(objective, e, n_steps))
            if not found.isfinite().all():
                raise ValueError("The decoder returned values that are not finite.")
            better = found < minima[rows]
            minima[rows] = torch.where(better, found, minima[rows])
            late_gains[rows] = torch.where(better, gain, late_gains[rows])
    unconverged = (late_gains > _TOLERANCE * minima.clamp_min(1)).float().mean().item()
    if unconverged > _MAX_UNCONVERGED:
        warn_user(
            f"The search did not converge for {unconverged:.0%} of the samples, and "
            "leakage may be understated. Use a larger n_steps.",
            ConvergenceWarning,
        )
    return minima.double().numpy()


def _objective(decoder, x, codes, std, regularization):
    """Return the function of the latent vectors to minimise, one value per sample."""

    def objective(e):
        residual = (decoder(e, codes) - x) / std
        return residual.square().sum(dim=1) + regularization * e.square().sum(dim=1)

    return objective


@torch.enable_grad()
def _descend(objective, e, n_steps):
    """Return the objective where Adam ends, and what the last quarter gained."""
    e = e.clone().requires_grad_()
    optimizer = torch.optim.Adam([e], lr=_LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for step in range(n_steps):
        values = objective(e)
        if step == 3 * n_steps // 4:
            late = values.detach()
        # The gradients of the decoder's own weights are not touched.
        (e.grad,) = torch.autograd.grad(values.sum(), e)
        optimizer.step()
        schedule.step()
    values = objective(e).detach()
    return values, late - values
