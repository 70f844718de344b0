"""Over-sampling with variations of training samples."""

from numbers import Real

import numpy as np
import torch
from joblib import Memory
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from torch.nn import functional

from .._generation import clone_generator, fill_by_class, unfrozen
from .._seeds import draw_seeds
from .._validation import encode_labels
from ..generators import CVAE
from ._base import BaseGenerativeOverSampler

# Below this sine of the angle, two directions do not span a plane in float32.
_MIN_SINE = 1e-4


class LatentVariationOverSampler(BaseGenerativeOverSampler):
    r"""Over-sample with variations of training samples, made in the latent space.

    A :class:`~skcvae.generators.CVAE` encodes a sample of the class; its latent vector
    is changed, and decoded. "perturb" draws it from the posterior of the sample,
    :math:`z \sim N(\mu(x, y), s^2 \operatorname{diag}(\sigma^2(x, y)))`; "linear" and
    "spherical" go from there towards the latent vector of another sample of the class.

    With ``variation="perturb", scale=1.0``, samples are drawn from the average of the
    posteriors of a class. The CVAE's ``prior="aggregate"``, from which
    :class:`CVAEOverSampler` draws, is a Gaussian approximation of it.

    .. note::
        Do not use it to anonymize, nor for classes of few samples: a variation stays
        close to the samples that it is made of, closer than a draw of
        :class:`CVAEOverSampler`, and does not show how far the class extends.

    Parameters
    ----------
    generator : CVAE, default=None
        It is cloned; a fitted one in scikit-learn's FrozenEstimator is used as it is.
        None is ``CVAE()``. Its parameter `noise` has the effect that it has in
        sampling; `prior` has one for "spherical" only, and `variance` has none.

    variation : {"perturb", "linear", "spherical"}, default="perturb"
        How the latent vector of a sample becomes a new one:

        - "perturb": it stays where it is drawn.
        - "linear": a random point, uniform, on the segment to that of another sample
          of the class.
        - "spherical": a random point on an arc around the centre of the class [1]_, in
          the coordinates in which the latent prior of the class is N(0, I). The
          direction turns at a constant speed and the length changes linearly, so that
          a point between two vectors of typical length has typical length, where the
          segment cuts through the middle.

        The partner is drawn at random, with no regard to distance. In a class of one
        sample it is a second draw from the posterior of the same sample.

    scale : float, default=1.0
        Factor :math:`s \ge 0` of the standard deviation of the posterior. 0 takes its
        mean; "perturb" then returns reconstructions, plus the noise of the CVAE.

    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as in :class:`CVAEOverSampler`.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators. Candidates that differ in `variation`, `scale` or
        `sampling_strategy` share one training, also with a :class:`CVAEOverSampler`
        of the same CVAE. Needs an integer `random_state`.

    random_state : int, RandomState instance or None, default=None
        Seed of `generator`, unless it has an integer of its own: see
        :ref:`seeds-and-fitted-parts`.

    Attributes
    ----------
    generator_ : CVAE
        The fitted generator.

    sampling_strategy_ : dict
        Number of samples to generate for each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    CVAEOverSampler : Draws latent vectors from the prior.
    HardOverSampler : Moves them to where a classifier is unsure.
    imblearn.over_sampling.SMOTE : Interpolates between neighbours, without a model.

    References
    ----------
    .. [1] T. White, "Sampling Generative Networks", arXiv 1609.04468, 2016.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skcvae.generators import CVAE
    >>> from skcvae.over_sampling import LatentVariationOverSampler
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> cvae = CVAE(max_epochs=2, device="cpu")
    >>> sampler = LatentVariationOverSampler(cvae, variation="linear", random_state=0)
    >>> X_res, y_res = sampler.fit_resample(X, y)
    >>> X_res.shape
    (182, 20)
    """

    _parameter_constraints: dict = {
        **BaseGenerativeOverSampler._parameter_constraints,
        "generator": [CVAE, FrozenEstimator, None],
        "variation": [StrOptions({"perturb", "linear", "spherical"})],
        "scale": [Interval(Real, 0, None, closed="left")],
        "memory": [str, Memory, None],
    }

    def __init__(
        self,
        generator=None,
        *,
        variation="perturb",
        scale=1.0,
        sampling_strategy="auto",
        memory=None,
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.generator = generator
        self.variation = variation
        self.scale = scale
        self.memory = memory
        self.random_state = random_state

    def _make_generator(self):
        generator = CVAE() if self.generator is None else self.generator
        if not isinstance(unfrozen(generator), CVAE):
            raise TypeError(
                "LatentVariationOverSampler needs a CVAE, which encodes samples, got "
                f"{generator!r}. HardOverSampler takes other generators."
            )
        return clone_generator(generator, self.random_state, self.memory)

    def _draw_fitted(self, X, y, labels, random_state):
        cvae = self.generator_
        _, pair_seed, draw_seed = draw_seeds(check_random_state(random_state), 3)
        codes = encode_labels(labels, cvae.classes_)
        rng = np.random.RandomState(pair_seed)
        pairs = draw_pairs(encode_labels(y, cvae.classes_), codes, rng)
        decoder = cvae.make_decoder()
        draw = self._make_variations(decoder, X, y, pairs)
        size = X.shape[1], np.float32 if X.dtype == np.float32 else np.float64
        device = decoder.scale.device
        return fill_by_class(codes, *size, draw_seed, device, draw), labels

    @torch.inference_mode()
    def _make_variations(self, decoder, X, y, pairs):
        """Return a function that draws samples, as `fill_by_class` asks for."""
        sampler, device = decoder.sampler, decoder.scale.device
        is_single = X.dtype == np.float32
        to_units = decoder.make_units(torch.float32 if is_single else torch.float64)
        mean, std = map(torch.from_numpy, self.generator_.encode(X, y, return_std=True))
        std = self.scale * std
        firsts, partners, share = (torch.from_numpy(a) for a in pairs)

        def encode(of, generator):
            at, around = mean[of].to(device), std[of].to(device)
            noise = torch.randn(at.shape, generator=generator, device=device)
            return at.addcmul_(noise, around)

        def draw(places, codes, generator):
            z = encode(firsts[places], generator)
            if self.variation != "perturb":
                other = encode(partners[places], generator)
                t = share[places, None].to(device)
                z = self._between(z, other, t, sampler, codes)
            return to_units(sampler.draw_at(z, codes, generator), codes)

        return draw

    def _between(self, z_0, z_1, t, sampler, codes):
        if self.variation == "linear":
            return torch.lerp(z_0, z_1, t)
        centre, factor = sampler.centre[codes], sampler.factor[codes]
        ends = torch.stack([z_0 - centre, z_1 - centre], dim=2)
        e_0, e_1 = torch.linalg.solve_triangular(factor, ends, upper=False).unbind(2)
        e = spherical_interpolation(e_0, e_1, t)
        return centre + torch.einsum("nij,nj->ni", factor, e)


def draw_pairs(codes, wanted, rng):
    """Return a sample for each wanted class, a partner in the class, and a share.

    Samples and partners are indices of shape (n_new,); they differ, but in a class of
    one sample. The share, float32 and uniform in [0, 1), is how far to go from one to
    the other.
    """
    counts = np.bincount(codes)
    by_class = np.argsort(codes, kind="stable")
    first, n = (np.cumsum(counts) - counts)[wanted], counts[wanted]
    own = rng.randint(n)
    partner = (own + 1 + rng.randint(np.maximum(n - 1, 1))) % n
    share = rng.uniform(size=len(wanted)).astype(np.float32)
    return by_class[first + own], by_class[first + partner], share


def spherical_interpolation(e_0, e_1, t):
    """Turn the direction from e_0 to e_1, and change the length linearly.

    For vectors of one length this is White's formula, sin((1 - t) a) / sin(a) e_0 +
    sin(t a) / sin(a) e_1 with the angle a between them. His formula for vectors of two
    lengths grows without bound as they become opposite; here, the length stays between
    theirs. Opposite vectors have no arc: the way is the segment. The ends have the
    shape (n, dim), and t, the share of the way in [0, 1], (n, 1).
    """
    u_0, u_1 = functional.normalize(e_0, dim=1), functional.normalize(e_1, dim=1)
    angle = torch.acos((u_0 * u_1).sum(dim=1, keepdim=True).clamp(-1, 1))
    sine = angle.sin()
    turned = torch.sin((1 - t) * angle) * u_0 + torch.sin(t * angle) * u_1
    length = torch.lerp(e_0.norm(dim=1, keepdim=True), e_1.norm(dim=1, keepdim=True), t)
    on_arc = length * functional.normalize(turned, dim=1)
    return torch.where(sine > _MIN_SINE, on_arc, torch.lerp(e_0, e_1, t))
